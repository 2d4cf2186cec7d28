//! A model of a disk that loses power: what was synced is there, of everything written since then
//! each block is old, new, or (where the file grew) empty, in any mixture.
//!
//! The journal is synced before what goes to the freezer is written, and that before the rows. So
//! the power goes while one of the three is written: those before it are new, those behind it old.

use std::fs;
use std::path::Path;

use node_core::rows::Write;
use node_store::Store;
use proptest::prelude::RngExt as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::{common, freezer};

const BLOCK_BYTES: usize = 4096;
const ROUNDS: u64 = 6;
const IMAGES_PER_ROUND: u64 = 3;
const COMMITS_PER_ROUND: u64 = 40;

fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_files(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Any mixture of the blocks of two states of a file, the old one synced.
fn cut(old: &[u8], new: &[u8], rng: &mut TestRng) -> Vec<u8> {
    let mut image = old.to_vec();
    if new.len() > old.len() {
        let grown = rng.random_range(0..=new.len() - old.len());
        image.resize(old.len() + grown, 0);
    }
    for (at, block) in new.chunks(BLOCK_BYTES).enumerate().map(|(n, b)| (n * BLOCK_BYTES, b)) {
        let end = (at + block.len()).min(image.len());
        if at < end && image[at..end] != block[..end - at] && rng.random() {
            image[at..end].copy_from_slice(&block[..end - at]);
        }
    }
    image
}

#[test]
fn case_02_after_a_power_cut_the_state_is_a_prefix_with_every_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let [data, synced, after, image] =
        ["data", "synced", "after", "image"].map(|name| dir.path().join(name));
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let (store, _) = Store::open(&data).unwrap();
    let mut n = 0;
    for round in 0..common::rounds(ROUNDS) {
        for _ in 0..COMMITS_PER_ROUND {
            n += 1;
            store.commit(&common::history(n)).unwrap();
        }
        copy_files(&data, &synced);
        let acknowledged = n;
        for _ in 0..=round % 3 {
            n += 1;
            store.commit(&common::history(n)).unwrap();
        }
        copy_files(&data, &after);
        for _ in 0..IMAGES_PER_ROUND {
            fs::remove_dir_all(&image).ok();
            copy_files(&synced, &image);
            let files = ["signed.journal", "freezer/00000001.seg", "state/db"];
            let torn = rng.random_range(0..files.len());
            for before in &files[..torn] {
                fs::copy(after.join(before), image.join(before)).unwrap();
            }
            let old = fs::read(synced.join(files[torn])).unwrap();
            let new = fs::read(after.join(files[torn])).unwrap();
            fs::write(image.join(files[torn]), cut(&old, &new, &mut rng)).unwrap();
            let (store, loaded) = Store::open(&image).unwrap();
            assert!(loaded.is_complete(), "round {round}: {:?}", loaded.rebuilt);
            assert!(loaded.journal.len() as u64 >= acknowledged);
            let found = common::assert_is_a_prefix(loaded.rows);
            let newest = if files[torn] == "state/db" { n } else { acknowledged };
            assert!((acknowledged..=newest).contains(&found), "{acknowledged} {found} {newest}");
            freezer::assert_freezer_is_whole(&store, found);
        }
    }
}

/// Rows of 60 kB each that one commit writes: more than two of sled's log segments.
const LARGE_COMMIT_ROWS: u64 = 600;

#[test]
fn case_02_after_a_power_cut_a_commit_of_several_log_segments_is_whole_or_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let [data, synced, image] = ["data", "synced", "image"].map(|name| dir.path().join(name));
    let mut rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let (store, _) = Store::open(&data).unwrap();
    store.commit(&common::history(1)).unwrap();
    copy_files(&data, &synced);
    let before = common::state_after(1).len();
    let rows = (100..100 + LARGE_COMMIT_ROWS).map(|n| Write::Put(common::intent(n, 1, 4096)));
    store.commit(&rows.collect::<Vec<_>>()).unwrap();
    let with_all = before + usize::try_from(LARGE_COMMIT_ROWS).unwrap();
    let old = fs::read(synced.join("state/db")).unwrap();
    let new = fs::read(data.join("state/db")).unwrap();
    assert!(new.len() > 32 << 20);
    // Everything but one block, everything, and a mixture.
    let mut all_but_one = new.clone();
    let middle = new.len() / 2 / BLOCK_BYTES * BLOCK_BYTES;
    all_but_one[middle..middle + BLOCK_BYTES].fill(0);
    let mut images = vec![(all_but_one, before), (new.clone(), with_all)];
    images.push((cut(&old, &new, &mut rng), before));
    for (number, (db, expected)) in images.into_iter().enumerate() {
        fs::remove_dir_all(&image).ok();
        copy_files(&synced, &image);
        fs::write(image.join("state/db"), db).unwrap();
        let (_, loaded) = Store::open(&image).unwrap();
        assert!(loaded.is_complete(), "image {number}: {:?}", loaded.rebuilt);
        assert_eq!(loaded.rows.len(), expected, "image {number}");
    }
}

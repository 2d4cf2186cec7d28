//! Damage is noticed, named, and never passed over.

use std::path::Path;

use node_core::rows::Write;
use node_store::{read_journal, JournalFault, OpenError, Store};

use crate::common;

fn store_after(dir: &Path, commits: u64) {
    let (store, _) = Store::open(dir).unwrap();
    for n in 1..=commits {
        store.commit(&common::history(n)).unwrap();
    }
}

/// Changes one byte of the first place in a file where `needle` stands.
fn flip_byte_at(path: &Path, needle: &[u8]) {
    let mut bytes = std::fs::read(path).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at + needle.len() / 2] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_byte_in_a_record_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 3);
    // The newest lease, so that no later page of the log covers it.
    flip_byte_at(&dir.path().join("state/db"), b"\xa7attempt\x03\xa5spent");
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(!loaded.is_complete(), "an acknowledged lease is gone and nobody says so");
    assert_eq!(loaded.journal.len(), 3, "what was signed is known in any case");
}

#[test]
fn a_state_that_does_not_open_is_moved_aside_and_the_journal_stays() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 3);
    let snapshot = std::fs::read_dir(dir.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("snap."))
        .unwrap_or_else(|| dir.path().join("state/snap.0000000000000010"));
    std::fs::write(snapshot, b"nonsense").unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    let rebuilt = loaded.rebuilt.unwrap();
    assert!(rebuilt.reason.contains("damaged"), "{}", rebuilt.reason);
    assert!(rebuilt.moved_to.join("db").exists());
    assert!(rebuilt.moved_to.to_string_lossy().contains("state.broken-"));
    assert!(loaded.rows.is_empty());
    assert_eq!(loaded.journal.len(), 3);
    store.commit(&common::history(4)).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.rebuilt.is_none() && !loaded.is_complete(), "nobody caught up yet");
    assert_eq!(loaded.journal.len(), 4);
}

/// Takes the end of what was written from the state's file.
fn cut_short(dir: &Path) {
    let path = dir.join("state/db");
    let bytes = std::fs::read(&path).unwrap();
    let needle = b"\xa7attempt\x03\xa5spent";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(at as u64).unwrap();
}

#[test]
fn rows_that_were_lost_are_lost_until_somebody_says_that_they_were_told_again() {
    let gone = |dir: &Path| std::fs::remove_dir_all(dir.join("state")).unwrap();
    for lose in [gone as fn(&Path), cut_short] {
        let dir = tempfile::tempdir().unwrap();
        store_after(dir.path(), 3);
        lose(dir.path());
        let (store, loaded) = Store::open(dir.path()).unwrap();
        assert!(!loaded.is_complete() && !loaded.lacks_rows, "found out now");
        store.commit(&common::history(4)).unwrap();
        drop(store);
        // Once with a commit in between, once without.
        for commits in [common::history(5), Vec::new()] {
            let (store, loaded) = Store::open(dir.path()).unwrap();
            assert!(loaded.lacks_rows && !loaded.is_complete(), "the restart forgot it");
            store.commit(&commits).unwrap();
        }
        let (store, _) = Store::open(dir.path()).unwrap();
        store.commit(&[Write::CaughtUp]).unwrap();
        store.commit(&common::history(6)).unwrap();
        drop(store);
        let (_, loaded) = Store::open(dir.path()).unwrap();
        assert!(loaded.is_complete());
    }
}

#[test]
fn a_node_that_dies_before_its_first_commit_leaves_the_loss_to_be_found() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 3);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    drop(Store::open(dir.path()).unwrap());
    // The mark is not synced: a power cut may take it.
    std::fs::remove_file(dir.path().join("commit.mark")).unwrap();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.lacks_rows && !loaded.is_complete());
}

#[test]
fn a_state_that_was_removed_is_not_taken_for_a_new_node() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 3);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    let lost = loaded.lost_commits.unwrap();
    assert_eq!((lost.acknowledged, lost.found), (3, 0));
}

#[test]
fn an_older_copy_of_the_state_put_back_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
    store_after(&data, 3);
    std::fs::rename(data.join("state"), &copy).unwrap();
    std::fs::create_dir(data.join("state")).unwrap();
    for entry in std::fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), data.join("state").join(entry.file_name())).unwrap();
        }
    }
    let (store, loaded) = Store::open(&data).unwrap();
    assert!(loaded.is_complete());
    store.commit(&common::history(4)).unwrap();
    drop(store);
    std::fs::remove_dir_all(data.join("state")).unwrap();
    std::fs::rename(&copy, data.join("state")).unwrap();
    let (_, loaded) = Store::open(&data).unwrap();
    let lost = loaded.lost_commits.unwrap();
    assert_eq!((lost.acknowledged, lost.found), (4, 3));
    assert_eq!(common::assert_is_a_prefix(loaded.rows), 3);
}

#[test]
fn a_start_that_was_killed_while_sled_wrote_its_snapshot_does_not_cost_the_state() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 3);
    std::fs::write(dir.path().join("state/snap.00000000FFFFFFFF.generating"), b"").unwrap();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert_eq!(common::assert_is_a_prefix(loaded.rows), 3);
}

#[test]
fn case_04_a_node_that_has_signed_does_not_start_without_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 3);
    let journal = dir.path().join("signed.journal");
    let copy = dir.path().join("copy");
    std::fs::rename(&journal, &copy).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let OpenError::Journal { source: JournalFault::Missing { path, .. } } = error else {
        panic!("{error}")
    };
    assert_eq!(path, journal);
    assert!(matches!(read_journal(dir.path()), Err(JournalFault::Missing { .. })));
    // Also when the mark is gone as well: the state remembers.
    let mark = dir.path().join("commit.mark");
    let marked = std::fs::read(&mark).unwrap();
    std::fs::remove_file(&mark).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::Journal { .. })));
    assert!(matches!(read_journal(dir.path()), Err(JournalFault::Gone { .. })));
    std::fs::write(&mark, marked).unwrap();
    // Also when the state is gone as well: the mark remembers.
    std::fs::rename(dir.path().join("state"), dir.path().join("gone")).unwrap();
    assert!(matches!(Store::open(dir.path()), Err(OpenError::Journal { .. })));
    std::fs::rename(&copy, &journal).unwrap();
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.journal.len(), 3);
}

#[test]
fn a_torn_journal_tail_is_reported_and_the_next_entry_follows_the_last_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 2);
    let path = dir.path().join("signed.journal");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(br#"{"entry":{"hotkey":"5G"#);
    std::fs::write(&path, bytes).unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.torn_tail.unwrap().line, 3);
    assert_eq!(loaded.journal.len(), 2);
    store.commit(&[Write::Journal(common::entry(3))]).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.torn_tail, None);
    assert_eq!(loaded.journal, [1, 2, 3].map(common::entry));
}

#[test]
fn a_damaged_journal_stops_the_start_and_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    store_after(dir.path(), 3);
    let path = dir.path().join("signed.journal");
    flip_byte_at(&path, b"\"epoch\":2");
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, OpenError::Journal { source: JournalFault::Damaged { line: 2, .. } }));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

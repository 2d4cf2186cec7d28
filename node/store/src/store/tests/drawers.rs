//! What becomes of what a damaged record of the freezer's index named.

use std::path::Path;

use node_core::id::SubmissionId;
use node_core::rows::{Frozen, Table, Write};
use node_core::unit::BlockNumber;

use super::{cursor, HEAD};
use crate::batch::{Batch, Change};
use crate::envelope;
use crate::error::{CommitError, OpenError, ReadError, StateFault};
use crate::freezer::{FreezerFault, Key};
use crate::store::{find_places, Loaded, Store};

const FIRST: SubmissionId = SubmissionId([1; 32]);
const OTHER: SubmissionId = SubmissionId([2; 32]);

/// One whose id begins as that of [`FIRST`].
const NEIGHBOUR: SubmissionId = {
    let mut id = FIRST.0;
    id[31] = 9;
    SubmissionId(id)
};

fn frozen(submission: SubmissionId, at: u64) -> Frozen {
    Frozen { submission, at: BlockNumber(at), part: 0, rows: vec![cursor(1, at)] }
}

fn put_away(store: &Store, frozen: &Frozen) {
    store.commit(&[Write::Freeze(Box::new(frozen.clone()))]).unwrap();
}

fn change_drawer(store: &Store, of: SubmissionId, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let inner = store.lock();
    inner.state.as_ref().unwrap().change_drawer(&of, change).unwrap();
}

/// A store with one record of each submission, and a damaged drawer of two of them.
fn damaged_store(dir: &Path) -> Store {
    let (store, _) = Store::open(dir).unwrap();
    for submission in [FIRST, NEIGHBOUR, OTHER] {
        put_away(&store, &frozen(submission, 7));
    }
    change_drawer(&store, FIRST, |mut record| {
        record[9] ^= 1;
        record
    });
    store
}

fn open(dir: &Path) -> (Store, Loaded) {
    Store::open(dir).unwrap()
}

/// Records that can be read, and those that cannot.
fn counts(store: &Store) -> (u64, u64) {
    let report = store.verify().unwrap();
    assert_eq!(report.damaged_frozen.len() as u64, report.damaged_count);
    (report.frozen, report.damaged_count)
}

#[test]
fn a_damaged_drawer_is_named_by_whoever_would_miss_what_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged_store(dir.path());
    let report = store.verify().unwrap();
    assert_eq!((report.frozen, report.damaged_count), (1, 1));
    let [FreezerFault::Index { drawer }] = report.damaged_frozen.as_slice() else {
        panic!("{:?}", report.damaged_frozen)
    };
    assert_eq!(drawer, "01010000");
    let copied = store.export(&HEAD, &mut Vec::new());
    for error in [store.frozen(&FIRST).unwrap_err(), copied.unwrap_err()] {
        let ReadError::Freezer { source: FreezerFault::Index { drawer } } = error else {
            panic!("{error}")
        };
        assert_eq!(drawer, "01010000");
    }
    assert_eq!(store.frozen(&OTHER).unwrap(), [frozen(OTHER, 7)]);
    drop(store);
    let store = Store::open_to_read(dir.path()).unwrap();
    assert_eq!(counts(&store), (1, 1), "who only reads changes nothing");
}

#[test]
fn a_damaged_drawer_stops_no_commit_and_the_next_start_finds_again_what_it_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged_store(dir.path());
    // The same once more, and something new.
    put_away(&store, &frozen(FIRST, 7));
    put_away(&store, &frozen(FIRST, 8));
    assert_eq!(counts(&store), (3, 1));
    drop(store);
    let (store, loaded) = open(dir.path());
    assert!(loaded.is_complete(), "no row is missing");
    assert_eq!(loaded.damaged_drawers, 1);
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!(loaded.damaged_drawers, 0, "it was mended");
    // Once more: what stands in a later drawer is put there, and not into the one that was emptied.
    put_away(&store, &frozen(FIRST, 7));
    assert_eq!(store.frozen(&FIRST).unwrap(), [frozen(FIRST, 7), frozen(FIRST, 8)]);
    assert_eq!(store.frozen(&NEIGHBOUR).unwrap(), [frozen(NEIGHBOUR, 7)]);
    assert_eq!(store.frozen(&OTHER).unwrap(), [frozen(OTHER, 7)]);
    assert_eq!(counts(&store), (4, 0));
    assert_eq!(store.export(&HEAD, &mut Vec::new()).unwrap().frozen, 4);
}

#[test]
fn a_damaged_drawer_beside_lost_rows_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged_store(dir.path());
    let mut batch = Batch::default();
    let record = Some(vec![0; 9]);
    batch.changes.push(Change { table: Table::Cursors, key: vec![2; 32], record });
    store.lock().commit(&batch).unwrap();
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.damaged.len(), loaded.damaged_drawers), (1, 1));
    for submission in [FIRST, NEIGHBOUR, OTHER] {
        assert_eq!(store.frozen(&submission).unwrap(), [frozen(submission, 7)]);
    }
}

#[test]
fn who_dies_before_a_damaged_drawer_is_emptied_finds_all_of_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged_store(dir.path());
    // As much of the mending as a start that was killed had done.
    let (freezer, tip) = {
        let inner = store.lock();
        (inner.freezer.dir().to_owned(), inner.tip)
    };
    let is_lost = |key: &Key| key.starts_with(&[1, 1]);
    find_places(store.lock().state.as_ref().unwrap(), &freezer, tip, is_lost).unwrap();
    assert_eq!(counts(&store), (3, 1));
    drop(store);
    let (store, loaded) = open(dir.path());
    assert_eq!((loaded.damaged_drawers, counts(&store)), (1, (3, 0)));
}

#[test]
fn whoever_meets_a_damaged_drawer_tells_the_next_start() {
    type Meet = fn(&Store);
    let meetings: [(&str, Meet); 4] = [
        ("a look", |store| drop(store.frozen(&NEIGHBOUR).unwrap_err())),
        ("a copy", |store| drop(store.export(&HEAD, &mut Vec::new()).unwrap_err())),
        ("a check", |store| drop(store.verify().unwrap())),
        ("a commit", |store| put_away(store, &frozen(NEIGHBOUR, 8))),
    ];
    for (name, meet) in meetings {
        let dir = tempfile::tempdir().unwrap();
        drop(damaged_store(dir.path()));
        let (store, loaded) = open(dir.path());
        assert_eq!(loaded.damaged_drawers, 0, "{name}: nobody met it, and a start does not look");
        meet(&store);
        drop(store);
        let (store, loaded) = open(dir.path());
        assert_eq!(loaded.damaged_drawers, 1, "{name}");
        assert_eq!(store.frozen(&FIRST).unwrap(), [frozen(FIRST, 7)], "{name}");
        drop(store);
        assert_eq!(open(dir.path()).1.damaged_drawers, 0, "{name}");
    }
}

#[test]
fn a_check_of_a_stopped_node_tells_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    drop(damaged_store(dir.path()));
    let store = Store::open_to_read(dir.path()).unwrap();
    assert_eq!(counts(&store), (1, 1));
    drop(store);
    assert_eq!(open(dir.path()).1.damaged_drawers, 1);
}

#[test]
fn a_drawer_of_a_newer_build_stops_the_commit_that_needs_it_and_each_start_after_that() {
    let dir = tempfile::tempdir().unwrap();
    let store = damaged_store(dir.path());
    change_drawer(&store, FIRST, |_| envelope::seal(u8::MAX, b"another way"));
    let refused = store.commit(&[Write::Freeze(Box::new(frozen(FIRST, 8)))]).unwrap_err();
    assert!(
        matches!(refused, CommitError::State { source: StateFault::Foreign { .. } }),
        "{refused}"
    );
    drop(store);
    for _ in 0..2 {
        let error = Store::open(dir.path()).unwrap_err();
        let OpenError::State { source: StateFault::Foreign { detail }, .. } = error else {
            panic!("{error}")
        };
        assert!(detail.contains("version 255"), "{detail}");
    }
}

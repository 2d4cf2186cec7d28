//! What is put away can be looked up, is copied and put back, and is nothing that a start reads.

use std::path::Path;

use node_core::id::SubmissionId;
use node_core::rows::{Frozen, Row, Table, Write};
use node_core::unit::{BlockNumber, UnixMs};
use node_store::{BackupHead, FreezerFault, ReadError, Store};

use crate::common;
use crate::restore::OWNER;

pub fn frozen(submission: u64, at: u64, part: u16) -> Frozen {
    let rows = (0..3).map(|n| common::receipt(submission + n, at)).collect();
    Frozen { submission: SubmissionId(common::hash(submission)), at: BlockNumber(at), part, rows }
}

fn put_away(store: &Store, frozen: &Frozen) {
    store.commit(&[Write::Freeze(Box::new(frozen.clone()))]).unwrap();
}

fn of(store: &Store, submission: u64) -> Vec<Frozen> {
    store.frozen(&SubmissionId(common::hash(submission))).unwrap()
}

#[test]
fn what_was_put_away_is_found_by_its_submission_the_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let records = [frozen(1, 500, 0), frozen(1, 300, 1), frozen(1, 300, 0)];
    let (store, _) = Store::open(dir.path()).unwrap();
    records.iter().for_each(|record| put_away(&store, record));
    put_away(&store, &frozen(2, 400, 0));
    let [later, second, first] = records;
    let expected = [first, second, later];
    assert_eq!(of(&store, 1), expected);
    assert_eq!(of(&store, 3), []);
    drop(store);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete() && loaded.rows.is_empty(), "a start reads none of it");
    assert_eq!(of(&store, 1), expected);
    assert_eq!(store.verify().unwrap().frozen, 4);
}

#[test]
fn rows_leave_their_tables_in_the_commit_that_puts_them_away() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let record = frozen(1, 7, 0);
    let rows: Vec<Write> = record.rows.iter().cloned().map(Write::Put).collect();
    store.commit(&rows).unwrap();
    let mut writes: Vec<Write> =
        record.rows.iter().map(|row| Write::Delete(row.table(), row.key())).collect();
    writes.push(Write::Freeze(Box::new(record.clone())));
    // The same writes again change nothing.
    for _ in 0..2 {
        store.commit(&writes).unwrap();
        assert_eq!(of(&store, 1), std::slice::from_ref(&record));
    }
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.rows, []);
}

/// More than a record of the index has room for, all of one submission.
#[test]
fn any_number_of_records_of_one_submission_is_found_checked_and_copied() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let record = |part| Frozen { rows: vec![common::receipt(1, 7)], ..frozen(1, 7, part) };
    let records: Vec<Frozen> = (0..2_100).map(record).collect();
    for some in records.chunks(700) {
        let writes: Vec<Write> =
            some.iter().map(|record| Write::Freeze(Box::new(record.clone()))).collect();
        store.commit(&writes).unwrap();
    }
    put_away(&store, &records[2_000]);
    put_away(&store, &frozen(2, 7, 0));
    assert!(of(&store, 1) == records);
    assert_eq!(store.verify().unwrap().frozen, 2_101);
    let head = BackupHead { owner: OWNER, made_at: UnixMs(7) };
    let mut copy = Vec::new();
    let copied = store.export(&head, &mut copy).unwrap();
    assert_eq!(copied.frozen, 2_101);
}

fn only_segment(dir: &Path) -> std::path::PathBuf {
    let mut entries = std::fs::read_dir(dir.join("freezer")).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    path
}

#[test]
fn damage_in_the_freezer_is_named_and_stops_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    put_away(&store, &frozen(1, 7, 0));
    put_away(&store, &frozen(2, 7, 0));
    let path = only_segment(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    drop(store);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    let error = store.frozen(&SubmissionId(common::hash(1))).unwrap_err();
    let ReadError::Freezer { source: FreezerFault::Damaged { path: named, .. } } = error else {
        panic!("{error}")
    };
    assert_eq!(named, path);
    assert_eq!(of(&store, 2).len(), 1);
    let report = store.verify().unwrap();
    let counted = (report.frozen, report.damaged_frozen.len(), report.damaged_count);
    assert_eq!(counted, (1, 1, 1));
}

#[test]
fn a_state_that_is_made_anew_finds_what_was_put_away() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    (1..=3).for_each(|n| put_away(&store, &frozen(n, 7, 0)));
    drop(store);
    let snapshot = dir.path().join("state/snap.000000FFFFFFFFFF");
    std::fs::write(snapshot, b"nonsense").unwrap();
    for _ in 0..2 {
        let (store, loaded) = Store::open(dir.path()).unwrap();
        assert!(!loaded.is_complete());
        for n in 1..=3 {
            assert_eq!(of(&store, n), [frozen(n, 7, 0)]);
        }
    }
}

#[test]
fn rows_of_every_table_can_be_put_away() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let record = Frozen { rows: common::one_of_each(), ..frozen(1, 7, 0) };
    let tables: std::collections::BTreeSet<Table> = record.rows.iter().map(Row::table).collect();
    assert_eq!(tables.len(), Table::ALL.len());
    put_away(&store, &record);
    assert_eq!(of(&store, 1), [record]);
}

/// Everything that the commits up to `n` put away can be read, and nothing is damaged.
pub fn assert_freezer_is_whole(store: &Store, n: u64) {
    for n in n.saturating_sub(2 * common::SLOTS).max(1)..=n {
        let frozen = common::put_away(n);
        assert_eq!(store.frozen(&frozen.submission).unwrap(), [frozen], "commit {n}");
    }
    let report = store.verify().unwrap();
    assert!(report.frozen >= n && report.damaged_frozen.is_empty());
}

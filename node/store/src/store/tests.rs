use std::path::Path;

use node_core::id::{Hotkey, IntentId, Netuid};
use node_core::rows::{CursorRow, JournalEntry, JournalStep, Row, Table, Write};
use node_core::unit::{BlockNumber, EpochIndex};

use super::Store;
use crate::batch::{Batch, Change};
use crate::error::{CommitError, OpenError, ReadError};
use crate::record::RecordFault;
use crate::{envelope, journal};

fn cursor(peer: u8, after: u64) -> Row {
    Row::Cursor(CursorRow { peer: Hotkey([peer; 32]), after })
}

fn entry(epoch: u64) -> JournalEntry {
    JournalEntry {
        hotkey: Hotkey([1; 32]),
        intent: IntentId([2; 32]),
        netuid: Netuid(3),
        mechanism: 0,
        epoch: EpochIndex(epoch),
        step: JournalStep::Landed { block: BlockNumber(4) },
    }
}

/// A store with one good row, and a record under the key of peer 2 as another build, or a broken
/// one, would have written it.
fn store_with_foreign_record(dir: &Path, record: Vec<u8>) -> Store {
    let (store, _) = Store::open(dir).unwrap();
    store.commit(&[Write::Put(cursor(1, 1))]).unwrap();
    let mut batch = Batch::default();
    batch.changes.push(Change { table: Table::Cursors, key: vec![2; 32], record: Some(record) });
    store.lock().commit(&batch).unwrap();
    store
}

#[test]
fn a_record_of_a_newer_build_stops_the_start_and_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    drop(store_with_foreign_record(dir.path(), envelope::seal(2, br#"{"new":true}"#)));
    for _ in 0..2 {
        let error = Store::open(dir.path()).unwrap_err();
        let OpenError::NewerSchema { source } = error else { panic!("{error}") };
        assert!(matches!(source.fault, RecordFault::NewerSchema { got: 2, known: 1 }));
        assert_eq!((source.table, source.key), (Table::Cursors, "02".repeat(32)));
    }
}

#[test]
fn a_damaged_record_is_listed_everywhere_and_the_others_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut record = envelope::seal(1, br#"{"peer":"x","after":1}"#);
    record[9] ^= 1;
    drop(store_with_foreign_record(dir.path(), record));
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.rows, [cursor(1, 1)]);
    assert!(!loaded.is_complete());
    assert_eq!(loaded.damaged.len(), 1);
    let report = store.verify().unwrap();
    assert!(matches!(report.damaged[0].fault, RecordFault::Damaged { .. }));
    assert!(report.records.contains(&(Table::Cursors, 1)));
    let copy = dir.path().join("copy");
    assert!(matches!(store.export(&copy), Err(ReadError::Damaged { .. })));
    assert!(!copy.exists(), "an incomplete copy does not get the name of a copy");
}

#[test]
fn a_crash_between_journal_and_rows_leaves_the_entry_and_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.commit(&[Write::Journal(entry(1)), Write::Put(cursor(1, 1))]).unwrap();
    // The first half of the next commit, and the process is gone.
    let line = journal::encode_line(&entry(2)).unwrap();
    store.lock().journal.append(line.as_bytes()).unwrap();
    drop(store);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert_eq!(loaded.journal, [entry(1), entry(2)]);
    assert_eq!(loaded.rows, [cursor(1, 1)]);
    store.commit(&[Write::Journal(entry(3)), Write::Put(cursor(1, 3))]).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.journal, [entry(1), entry(2), entry(3)]);
    assert_eq!(loaded.rows, [cursor(1, 3)]);
}

#[test]
fn rows_that_cannot_be_written_leave_their_journal_entry() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.lock().state = None;
    let writes = [Write::Put(cursor(1, 1)), Write::Journal(entry(1))];
    assert!(store.commit(&writes).is_err());
    assert_eq!(store.lock().journal.entries().unwrap(), [entry(1)]);
}

#[test]
fn a_store_that_failed_takes_no_commit_until_it_is_reopened() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let writes = [Write::Put(cursor(1, 1))];
    store.commit(&writes).unwrap();
    store.lock().fail("the disk said no");
    let error = store.commit(&[Write::Put(cursor(1, 2))]).unwrap_err();
    assert!(matches!(error, CommitError::Poisoned { .. }));
    assert!(error.to_string().contains("the disk said no"));
    store.reopen().unwrap();
    store.commit(&[Write::Put(cursor(1, 3))]).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert_eq!(loaded.rows, [cursor(1, 3)]);
}

#[test]
fn a_state_that_cannot_be_reopened_stays_closed_and_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.commit(&[Write::Put(cursor(1, 1))]).unwrap();
    store.lock().fail("the disk said no");
    let (state, away) = (dir.path().join("state"), dir.path().join("away"));
    std::fs::rename(&state, &away).unwrap();
    assert!(store.reopen().is_err());
    assert!(matches!(store.verify(), Err(ReadError::Closed)));
    assert!(store.commit(&[Write::Put(cursor(1, 2))]).is_err());
    std::fs::rename(&away, &state).unwrap();
    store.reopen().unwrap();
    assert!(store.verify().unwrap().records.contains(&(Table::Cursors, 1)));
}

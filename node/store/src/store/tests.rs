use std::path::Path;

use node_core::admission::Verdict;
use node_core::duplicates::Sketch;
use node_core::id::{ContentDigest, Digest, Hotkey, IntentId, Netuid, Uid};
use node_core::rows::{
    Carries, CursorRow, JournalEntry, JournalStep, Row, SignedExtrinsic, Table, VerdictRow, Write,
};
use node_core::unit::{BlockNumber, EpochIndex, UnixMs};

use super::{OnJournalLoss, Store};
use crate::batch::{Batch, Change};
use crate::compact::{write_smaller, Compaction};
use crate::dump::BackupHead;
use crate::error::{CommitError, OpenError, ReadError};
use crate::history::{tests::OWNER, History};
use crate::record::RecordFault;
use crate::{envelope, journal};

mod copies;
mod drawers;
mod formats;

const HEAD: BackupHead = BackupHead { owner: OWNER, made_at: UnixMs(1) };

fn cursor(peer: u8, after: u64) -> Row {
    Row::Cursor(CursorRow { peer: Hotkey([peer; 32]), after })
}

fn entry(epoch: u64) -> JournalEntry {
    JournalEntry {
        hotkey: Hotkey([1; 32]),
        intent: IntentId([2; 32]),
        netuid: Netuid(3),
        mechanism: 0,
        registered_at: None,
        epoch: EpochIndex(epoch),
        step: JournalStep::Landed { block: BlockNumber(4), hash: None },
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
    assert_eq!((report.damaged.len(), report.damaged_count), (1, 1));
    let error = store.export(&HEAD, &mut Vec::new()).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { .. }), "{error}");
    assert!(store.lock().copying.is_none(), "commits set nothing aside any more");
    drop(store);
    let store = Store::open_to_read(dir.path()).unwrap();
    assert_eq!(store.verify().unwrap().damaged_count, 1);
}

#[test]
fn a_damaged_verdict_hides_no_other_sketch() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let [both, alone, sound] = [1, 2, 3].map(|n| ContentDigest([n; 32]));
    let sketch = Sketch::of(&(0..100).collect());
    let row = |content, policy: u8| {
        let (policy, verdict) = (Digest([policy; 32]), Verdict::admitted(1, 2));
        Row::Verdict(VerdictRow { content, policy, verdict, sketch: Some(sketch.clone()) })
    };
    let mut batch = Batch::default();
    for damaged in [row(both, 1), row(both, 3), row(alone, 1)] {
        let (table, key, record) = (Table::Verdicts, damaged.key(), Some(vec![0; 9]));
        batch.changes.push(Change { table, key, record });
    }
    store.lock().commit(&batch).unwrap();
    store.commit(&[row(both, 2), row(sound, 1)].map(Write::Put)).unwrap();
    let found = store.sketches(&[both, alone, sound]).unwrap();
    assert_eq!(found, [(both, sketch.clone()), (sound, sketch.clone())]);
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

#[test]
fn a_journal_that_is_full_takes_no_line_and_rows_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let len = store.journal_bytes();
    store.lock().journal.pretend_len(journal::JOURNAL_BYTES_MAX - 10);
    let error = store.commit(&[Write::Journal(entry(1))]).unwrap_err();
    assert!(matches!(error, CommitError::JournalFull { .. }) && error.is_refusal(), "{error}");
    store.lock().journal.pretend_len(len);
    store.commit(&[Write::Put(cursor(1, 1)), Write::Journal(entry(1))]).unwrap();
}

/// Epochs `0..count` with vectors of a hundred uids. All have landed but the third, a commit that
/// waits, and the last.
fn long_journal(count: u64) -> Vec<JournalEntry> {
    let vector: Vec<_> = (0..100).map(|uid| (Uid(uid), u16::MAX)).collect();
    let mut lines = Vec::new();
    for epoch in 0..count {
        let block = BlockNumber(10 * epoch);
        let mut line = |step| lines.push(History::new(OWNER).entry(0, EpochIndex(epoch), step));
        line(JournalStep::Intended { vector: vector.clone(), version_key: 1, computed_at: block });
        let signed = SignedExtrinsic {
            bytes: vec![7; 500],
            hash: Digest([u8::try_from(epoch).unwrap(); 32]),
            nonce: u32::try_from(epoch).unwrap(),
            anchor: block,
            era_end: BlockNumber(10 * epoch + 16),
            spec_version: 301,
            carries: Carries::Plain,
            vector: vector.clone(),
        };
        line(JournalStep::Signed { signed });
        if epoch == 2 {
            line(JournalStep::Committed { block, epoch: EpochIndex(2), hash: None });
        } else if epoch + 1 < count {
            line(JournalStep::Landed { block, hash: None });
        }
    }
    lines
}

const SMALL: Compaction = Compaction { from_bytes: 0, whole_epochs: 5 };

fn commit_journal(dir: &Path, lines: &[JournalEntry]) {
    let (store, _) = Store::open(dir).unwrap();
    let lines: Vec<_> = lines.iter().cloned().map(Write::Journal).collect();
    store.commit(&lines).unwrap();
}

#[test]
fn a_long_journal_gets_smaller_and_says_of_every_epoch_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let lines = long_journal(30);
    commit_journal(dir.path(), &lines);
    let open = || Store::open_with(dir.path(), OnJournalLoss::Refuse, SMALL).unwrap();
    let (store, loaded) = open();
    let compacted = loaded.compacted.unwrap().unwrap();
    assert!(compacted.to_bytes < compacted.from_bytes / 2, "{compacted:?}");
    assert_eq!(store.journal_bytes(), compacted.to_bytes);
    assert_eq!(store.lock().journal.entries().unwrap(), loaded.journal);
    // What follows is written behind it.
    store.commit(&[Write::Journal(entry(1)), Write::Put(cursor(1, 1))]).unwrap();
    drop(store);
    let (_, loaded) = open();
    assert!(loaded.is_complete() && loaded.compacted.is_none(), "nothing is left to gain");
    assert_eq!(journal::read_journal(dir.path()).unwrap().entries, loaded.journal);
    let (full, small) =
        (History::of_journal(OWNER, &lines), History::of_journal(OWNER, &loaded.journal));
    let (full_epochs, small_epochs) = (&full.mechanisms[&0].epochs, &small.mechanisms[&0].epochs);
    assert_eq!(full_epochs.len(), small_epochs.len());
    for (key, before) in full_epochs {
        let after = &small_epochs[key];
        assert_eq!((before.state(), before.updated_at()), (after.state(), after.updated_at()));
        let known = |one: &SignedExtrinsic| (one.hash, one.nonce, one.anchor, one.era_end);
        let of = |signed: Vec<&SignedExtrinsic>| signed.into_iter().map(known).collect::<Vec<_>>();
        assert_eq!(of(before.ordered_signings()), of(after.ordered_signings()));
        let is_whole = key.epoch.0 >= 25 || key.epoch.0 == 2;
        assert_eq!(before == after, is_whole, "{key}");
        assert_eq!(after.vector().is_empty(), !is_whole, "{key}");
    }
}

#[test]
fn a_crash_before_the_smaller_journal_takes_its_place_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let lines = long_journal(30);
    commit_journal(dir.path(), &lines);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    let mut entries = loaded.journal;
    let bytes = store.journal_bytes();
    let fresh = write_smaller(dir.path(), &mut entries, bytes, SMALL).unwrap().unwrap();
    store.lock().remember_length(fresh.bytes).unwrap();
    drop(store);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert_eq!(loaded.journal, lines);
    assert!(!dir.path().join("signed.journal.new").exists());
    store.commit(&[Write::Journal(entry(1))]).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.journal.len(), lines.len() + 1);
}

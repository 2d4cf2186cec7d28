//! Copies that are made while somebody commits.

use std::io;

use node_core::id::{Hotkey, SubmissionId};
use node_core::rows::{CursorRow, Frozen, JournalEntry, Row, StrikeCause, StrikeRow, Table, Write};
use node_core::unit::BlockNumber;

use super::{entry, HEAD};
use crate::dump::{BackupItem, BackupReader};
use crate::error::ReadError;
use crate::store::Store;

/// Rows of the table that is copied in several pieces.
const CURSORS: u64 = 700;

fn key(number: u64) -> [u8; 32] {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_be_bytes());
    key
}

fn cursor(number: u64, after: u64) -> Row {
    Row::Cursor(CursorRow { peer: Hotkey(key(number)), after })
}

/// A row of a table behind that of the cursors.
fn strike(number: u64) -> Row {
    Row::Strike(StrikeRow {
        validator: Hotkey(key(number)),
        submission: SubmissionId([1; 32]),
        cause: StrikeCause::BrokeSeal,
        evidence: Vec::new(),
        block: BlockNumber(1),
    })
}

fn put_away(n: u64) -> Write {
    let rows = vec![cursor(n, n)];
    let (submission, at) = (SubmissionId([1; 32]), BlockNumber(n));
    Write::Freeze(Box::new(Frozen { submission, at, part: 0, rows }))
}

fn delete(row: &Row) -> Write {
    Write::Delete(row.table(), row.key())
}

/// A store with every other cursor, some strikes and two lines.
fn store(dir: &std::path::Path) -> Store {
    let (store, _) = Store::open(dir).unwrap();
    let cursors = (0..CURSORS).step_by(2).map(|number| cursor(number, number));
    let rows = cursors.chain((0..4).map(strike)).map(Write::Put);
    let lines = [entry(1), entry(2)].map(Write::Journal);
    store.commit(&rows.chain(lines).chain([put_away(0)]).collect::<Vec<_>>()).unwrap();
    store
}

/// Takes a copy, and does something to its store before each piece of it.
struct Meddler<F> {
    taken: Vec<u8>,
    writes: u64,
    meddle: F,
}

impl<F: FnMut(u64) -> io::Result<()>> io::Write for Meddler<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writes += 1;
        (self.meddle)(self.writes)?;
        self.taken.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn meddler<F: FnMut(u64) -> io::Result<()>>(meddle: F) -> Meddler<F> {
    Meddler { taken: Vec::new(), writes: 0, meddle }
}

fn items(copy: &[u8]) -> (Vec<Row>, Vec<JournalEntry>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), copy).unwrap();
    let mut reader = BackupReader::open(file.path()).unwrap();
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            BackupItem::Row(row) => rows.push(*row),
            // Records have tests of their own; here it matters how many there are.
            BackupItem::Frozen(_) => {}
            BackupItem::Journal(entry) => lines.push(*entry),
        }
    }
    (rows, lines)
}

#[test]
fn a_copy_is_of_the_moment_at_which_it_was_begun_whatever_is_committed_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut before = Vec::new();
    store.export(&HEAD, &mut before).unwrap();
    let mut out = meddler(|n| {
        // Changes, comings and goings on both sides of where the copy is, and in both tables.
        let at = |step: u64| n * step % CURSORS;
        let writes = [
            Write::Put(cursor(at(7), 1_000 + n)),
            Write::Put(cursor(at(11), 2_000 + n)),
            delete(&cursor(at(13), 0)),
            Write::Put(strike(n % 9)),
            delete(&strike(n * 5 % 9)),
            Write::Journal(entry(100 + n)),
            put_away(n),
        ];
        store.commit(&writes).map_err(io::Error::other)
    });
    let copied = store.export(&HEAD, &mut out).unwrap();
    assert_eq!((copied.rows, copied.frozen, copied.journal), (CURSORS / 2 + 4, 1, 2));
    let taken = std::mem::take(&mut out.taken);
    assert_eq!(items(&taken), items(&before));
    assert!(taken == before, "the same to the byte");
    let mut after = Vec::new();
    let copied = store.export(&HEAD, &mut after).unwrap();
    let (rows, lines) = items(&after);
    assert!(lines.len() > 300 && copied.frozen > 300, "there was something to keep out");
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!((loaded.rows, loaded.journal), (rows, lines), "the commits are all there");
}

#[test]
fn a_copy_that_nobody_takes_any_more_ends_and_the_next_one_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut out = meddler(|n| if n < 300 { Ok(()) } else { Err(io::Error::other("gone")) });
    let error = store.export(&HEAD, &mut out).unwrap_err();
    assert!(matches!(error, ReadError::Write { .. }), "{error}");
    assert!(store.lock().copying.is_none());
    store.commit(&[Write::Put(cursor(1, 1))]).unwrap();
    let mut copy = Vec::new();
    store.export(&HEAD, &mut copy).unwrap();
    assert!(items(&copy).0.contains(&cursor(1, 1)));
}

#[test]
fn one_copy_is_made_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut refused = 0;
    let mut out = meddler(|_| {
        let error = store.export(&HEAD, &mut Vec::new()).unwrap_err();
        refused += u64::from(matches!(error, ReadError::Busy));
        Ok(())
    });
    store.export(&HEAD, &mut out).unwrap();
    let writes = out.writes;
    assert_eq!(refused, writes);
}

#[test]
fn a_copy_during_which_more_changes_than_there_is_room_for_is_given_up_and_commits_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mut out = meddler(|n| {
        if n == 1 {
            store.lock().copying.as_mut().unwrap().pretend_room(1_000);
        }
        let ahead: Vec<_> = (0..40).map(|k| Write::Put(cursor(CURSORS - 1 - k, n))).collect();
        store.commit(&ahead).map_err(io::Error::other)
    });
    let error = store.export(&HEAD, &mut out).unwrap_err();
    assert!(matches!(error, ReadError::ChangedTooMuch), "{error}");
    let report = store.verify().unwrap();
    assert!(report.records.iter().any(|(table, count)| *table == Table::Cursors && *count > 300));
}

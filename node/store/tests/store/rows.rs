//! What goes in comes out: rows, journal, copies.

use node_core::duplicates::Sketch;
use node_core::id::{ContentDigest, Digest};
use node_core::rows::{Row, Table, VerdictRow, Write};
use node_store::{CommitError, Store, BATCH_BYTES_MAX, RECORD_BYTES_MAX};

use crate::common;

fn puts(rows: &[Row]) -> Vec<Write> {
    rows.iter().cloned().map(Write::Put).collect()
}

#[test]
fn a_row_of_every_table_survives_closing_and_opening() {
    let dir = tempfile::tempdir().unwrap();
    let rows = common::one_of_each();
    assert_eq!(rows.iter().map(Row::table).collect::<Vec<_>>(), Table::ALL);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.rows.is_empty() && loaded.journal.is_empty() && loaded.is_complete());
    store.commit(&puts(&rows)).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.rows, rows);
    assert!(loaded.is_complete());
}

#[test]
fn later_writes_of_a_commit_win_and_a_delete_deletes() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let gone = common::run(1);
    let writes = [
        Write::Put(common::cursor(1, 1)),
        Write::Put(common::cursor(1, 2)),
        Write::Put(gone.clone()),
        Write::Delete(Table::Runs, gone.key()),
        Write::Delete(Table::Runs, b"never there".to_vec()),
    ];
    store.commit(&writes).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.rows, [common::cursor(1, 2)]);
}

#[test]
fn the_journal_comes_back_in_order_and_the_same_writes_again_change_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    store.commit(&common::history(1)).unwrap();
    store.commit(&common::history(2)).unwrap();
    store.commit(&common::history(2)).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.journal, [common::entry(1), common::entry(2), common::entry(2)]);
    assert_eq!(common::assert_is_a_prefix(loaded.rows), 2);
}

#[test]
fn a_row_that_is_too_large_is_refused_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let too_large = common::intent(1, 1, 12_000);
    let writes =
        [Write::Journal(common::entry(1)), Write::Put(common::run(1)), Write::Put(too_large)];
    let error = store.commit(&writes).unwrap_err();
    assert!(
        matches!(error, CommitError::RecordTooLarge { got_bytes, .. } if got_bytes > RECORD_BYTES_MAX)
    );
    assert!(error.is_refusal());
    store.commit(&puts(&[common::cursor(1, 1)])).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.rows, [common::cursor(1, 1)]);
    assert!(loaded.journal.is_empty());
}

#[test]
fn a_commit_that_is_too_large_is_refused_and_the_largest_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let row_bytes = 61_500;
    let rows = |count: usize| {
        (0..count).map(|n| Write::Put(common::intent(n as u64, 1, 4096))).collect::<Vec<_>>()
    };
    let error = store.commit(&rows(BATCH_BYTES_MAX / row_bytes + 10)).unwrap_err();
    assert!(matches!(error, CommitError::BatchTooLarge { .. }));
    let most = BATCH_BYTES_MAX / row_bytes - 4;
    // It fills several log segments.
    store.commit(&rows(most)).unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("state/blobs")).unwrap().count(), 0);
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(loaded.rows.len(), most);
}

#[test]
fn verify_counts_every_record_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    for n in 1..=20 {
        store.commit(&common::history(n)).unwrap();
    }
    let report = store.verify().unwrap();
    assert!(report.damaged.is_empty());
    assert_eq!(report.journal_entries, 20);
    let count = |table| report.records.iter().find(|(t, _)| *t == table).unwrap().1;
    assert_eq!((count(Table::Leases), count(Table::Runs), count(Table::Verdicts)), (16, 1, 0));
    assert!(store.size_on_disk().unwrap() > 10_000);
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_enter_the_data_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a/b");
    let (_store, _) = Store::open(&data).unwrap();
    let mode =
        |name: &str| std::fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("signed.journal"), 0o600);
    assert_eq!(mode("lock"), 0o600);
}

#[test]
fn the_sketches_of_a_content_are_found_under_whatever_policies_they_were_stored() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let verdict = |content: u8, policy: u8, sketch: Option<Sketch>| {
        let rows = common::one_of_each();
        let Some(Row::Verdict(row)) = rows.into_iter().find(|row| row.table() == Table::Verdicts)
        else {
            panic!("there is one of each")
        };
        let (content, policy) = (ContentDigest([content; 32]), Digest([policy; 32]));
        Row::Verdict(VerdictRow { content, policy, sketch, ..row })
    };
    let sketch = |first: u64| Sketch::of(&(first..first + 100).collect());
    let rows = [
        verdict(1, 1, Some(sketch(1))),
        verdict(2, 1, None),
        verdict(2, 2, None),
        verdict(2, 3, Some(sketch(2))),
        verdict(2, 4, None),
        verdict(3, 1, None),
        verdict(4, 1, Some(sketch(4))),
        verdict(6, 1, Some(sketch(6))),
        verdict(6, 2, Some(sketch(7))),
        verdict(6, 3, Some(sketch(6))),
    ];
    store.commit(&puts(&rows)).unwrap();
    let content = |content: u8| ContentDigest([content; 32]);
    let asked = [2, 3, 4, 5, 6].map(content);
    let found = store.sketches(&asked).unwrap();
    let expected = [(2, 2), (4, 4), (6, 6), (6, 7)];
    let expected = expected.map(|(of, first)| (content(of), sketch(first)));
    assert_eq!(found, expected, "each that there is of a content, once");
    assert_eq!(store.sketches(&[]).unwrap(), []);
}

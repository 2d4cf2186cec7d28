//! Stores of other builds: older ones are found whole, newer ones refused.
//!
//! A record is upgraded when it is read, and written anew when its row changes; so a store may be
//! of several versions for ever, and there is no moment in between that could be cut short.

use std::path::PathBuf;

use node_core::rows::{Row, Table, Write};
use serde_json::Value;

#[allow(dead_code, unreachable_pub, reason = "shared with the tests of the store from outside")]
#[path = "../../../tests/store/common.rs"]
mod common;

use crate::batch::{Batch, Change};
use crate::envelope;
use crate::error::OpenError;
use crate::migration::row_name;
use crate::record::{self, RecordFault};
use crate::store::Store;

/// A record as it lies in the store.
type Record = (Table, Vec<u8>, Vec<u8>);

/// Writes records past the encoding of this build.
fn put(store: &Store, records: &[Record]) {
    let mut batch = Batch::default();
    for (table, key, record) in records.iter().cloned() {
        batch.changes.push(Change { table, key, record: Some(record) });
    }
    store.lock().commit(&batch).unwrap();
}

fn store_of(dir: &std::path::Path, records: &[Record]) {
    let (store, _) = Store::open(dir).unwrap();
    put(&store, records);
}

/// The record of a row as the first build wrote it: JSON, and one device per run.
fn of_the_first_build(row: &Row) -> Record {
    let table = row.table();
    let mut value = serde_json::to_value(row).unwrap();
    let mut value: Value = value[row_name(table)].take();
    assert!(value.is_object(), "a row of `{}` is called otherwise in a copy", table.name());
    if table == Table::Runs {
        let devices = value.as_object_mut().unwrap().remove("devices").unwrap();
        value["device"] = devices[0].clone();
    }
    (table, row.key(), envelope::seal(1, value.to_string().as_bytes()))
}

/// One row of every table, as each could be in the first build.
fn rows() -> Vec<Row> {
    let mut rows = common::one_of_each();
    for row in &mut rows {
        if let Row::Run(run) = row {
            run.devices.truncate(1);
        }
    }
    rows
}

fn old_records() -> Vec<Record> {
    rows().iter().map(of_the_first_build).collect()
}

#[test]
fn a_store_of_the_first_build_is_found_whole_and_copied_as_one_of_this_build() {
    let dir = tempfile::tempdir().unwrap();
    store_of(dir.path(), &old_records());
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete(), "{:?}", loaded.damaged);
    assert_eq!(loaded.rows, rows());
    let report = store.verify().unwrap();
    assert_eq!(report.damaged_count, 0);
    assert!(report.records.iter().all(|(_, count)| *count == 1), "{:?}", report.records);
    let copy = dir.path().join("copy");
    let mut file = std::fs::File::create(&copy).unwrap();
    store.export(&super::HEAD, &mut file).unwrap();
    let mut reader = crate::BackupReader::open(&copy).unwrap();
    let mut copied = Vec::new();
    while let Some(item) = reader.next_item().unwrap() {
        let crate::BackupItem::Row(row) = item else { continue };
        copied.push(*row);
    }
    assert_eq!(copied, rows());
}

#[test]
fn a_store_that_was_upgraded_in_part_when_its_process_died_is_found_whole() {
    let dir = tempfile::tempdir().unwrap();
    store_of(dir.path(), &old_records());
    let all = rows();
    // Each life writes some rows anew, and dies.
    for half in [&all[..4], &all[3..7]] {
        let (store, loaded) = Store::open(dir.path()).unwrap();
        assert_eq!(loaded.rows, all);
        let writes: Vec<_> = half.iter().cloned().map(Write::Put).collect();
        store.commit(&writes).unwrap();
    }
    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert_eq!(loaded.rows, all);
    let version = |row: &Row| {
        let inner = store.lock();
        let state = inner.state.as_ref().unwrap();
        let record = state.record(row.table(), &row.key()).unwrap().unwrap();
        envelope::unseal(&record).unwrap().0
    };
    let versions: Vec<u8> = all.iter().map(version).collect();
    assert_eq!(versions[..7], [0x81, 0x81, 0x81, 0x81, 0x82, 0x81, 0x81]);
    assert!(versions[7..].iter().all(|version| *version == 1), "{versions:?}");
}

#[test]
fn a_store_of_a_newer_build_is_refused_by_name_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let row = common::cursor(3, 4);
    let version = row.table().schema_version() + 1;
    for marked in [version, version | 0x80] {
        let newer = (row.table(), row.key(), envelope::seal(marked, br#"{"new":true}"#));
        let dir = dir.path().join(marked.to_string());
        store_of(&dir, &[old_records(), vec![newer.clone()]].concat());
        let error = Store::open(&dir).unwrap_err();
        assert_eq!(error.to_string(), "the state was written by a newer build; start that one");
        let OpenError::NewerSchema { source } = error else { panic!("{error}") };
        let said = source.fault.to_string();
        assert_eq!(said, format!("schema version is {version}, this build knows up to 1"));
        // Somebody may look, and sees what this build cannot read; nothing is moved aside.
        let store = Store::open_to_read(&dir).unwrap();
        let report = store.verify().unwrap();
        assert!(matches!(report.damaged[0].fault, RecordFault::NewerSchema { .. }));
        assert_eq!(report.damaged_count, 1);
        let inner = store.lock();
        let kept = inner.state.as_ref().unwrap().record(row.table(), &row.key()).unwrap();
        assert_eq!(kept, Some(newer.2));
    }
}

/// Records of a version of this format, a line each: table, key, record.
fn golden() -> PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/store/golden/records.txt")
}

/// How rows are written. If this fails, stores that are out there are read otherwise than they were
/// written: raise `Table::schema_version`, add the step to `migration`, and add the lines that this
/// test then wants (`ASSAY_STORE_BLESS=1` appends them) without taking any away.
#[test]
fn rows_are_written_to_the_byte_as_the_golden_file_has_them() {
    let line = |row: &Row| {
        let record = record::encode(row).unwrap();
        format!("{} {} {}\n", row.table().name(), hex::encode(row.key()), hex::encode(record))
    };
    let known = std::fs::read_to_string(golden()).unwrap_or_default();
    let is_new = |line: &String| !known.lines().any(|known| known == line.trim_end());
    let new: String = common::one_of_each().iter().map(line).filter(is_new).collect();
    if std::env::var_os("ASSAY_STORE_BLESS").is_some() {
        std::fs::create_dir_all(golden().parent().unwrap()).unwrap();
        std::fs::write(golden(), format!("{known}{new}")).unwrap();
        return;
    }
    assert!(new.is_empty(), "not in {}:\n{new}", golden().display());
}

#[test]
fn every_record_of_the_golden_file_is_read_whatever_was_changed_since() {
    let text = std::fs::read_to_string(golden()).unwrap();
    let mut read = 0;
    for line in text.lines() {
        let mut parts = line.split(' ');
        let name = parts.next().unwrap();
        let table = Table::ALL.iter().find(|table| table.name() == name).unwrap();
        let mut bytes = || hex::decode(parts.next().unwrap()).unwrap();
        let (key, record) = (bytes(), bytes());
        let row = record::decode(*table, &key, &record);
        assert!(row.is_ok(), "{name}: {row:?}");
        read += 1;
    }
    assert!(read >= Table::ALL.len(), "{read} records are golden");
}

//! A copy that is put back: all of it or nothing, never over a node's own state, and marked as one.

use std::fs::File;
use std::path::{Path, PathBuf};

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::rows::{JournalStep, Row, Write};
use node_core::unit::UnixMs;
use node_store::{
    check_backup, BackupError, BackupHead, Begun, OpenError, Owner, RestoreError, Restoring, Store,
};

use crate::common;
use crate::freezer::assert_freezer_is_whole;

pub const OWNER: Owner =
    Owner { genesis: BlockHash([1; 32]), netuid: Netuid(1), hotkey: Hotkey([7; 32]) };

/// A copy of a store with a row of every table and a history; the rows that it has.
fn copy(dir: &Path) -> (PathBuf, Vec<Row>) {
    let (store, _) = Store::open(&dir.join("old")).unwrap();
    let rows: Vec<_> = common::one_of_each().into_iter().map(Write::Put).collect();
    store.commit(&rows).unwrap();
    for n in 1..=20 {
        store.commit(&common::history(n)).unwrap();
    }
    let path = dir.join("copy.jsonl");
    let head = BackupHead { owner: OWNER, made_at: UnixMs(7) };
    store.export(&head, &mut File::create(&path).unwrap()).unwrap();
    drop(store);
    let (_, loaded) = Store::open(&dir.join("old")).unwrap();
    (path, loaded.rows)
}

fn begin(dir: &Path) -> Restoring {
    match Restoring::begin(dir).unwrap() {
        Begun::Empty(restoring) => restoring,
        Begun::Finished => panic!("there was nothing to finish"),
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_put_back_is_what_was_copied_and_says_that_it_is_a_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (copy, rows) = copy(dir.path());
    let new = dir.path().join("new");
    let restoring = begin(&new);
    let report = restoring.fill(&copy).unwrap();
    assert_eq!(names(&new), ["lock", "restoring"], "nothing has its place yet");
    assert_eq!((report.copied.rows, report.copied.journal), (rows.len() as u64, 20));
    assert_eq!(report.copied.frozen, 20);
    std::fs::write(restoring.inside().join("identity.json"), "{}").unwrap();
    restoring.finish().unwrap();
    let places = ["commit.mark", "freezer", "identity.json", "lock", "signed.journal", "state"];
    assert_eq!(names(&new), places);
    for life in 0..2 {
        let (store, loaded) = Store::open(&new).unwrap();
        assert_eq!(loaded.rows, rows);
        let (last, before) = loaded.journal.split_last().unwrap();
        assert_eq!(before, (1..=20).map(common::entry).collect::<Vec<_>>());
        assert_eq!(last.step, JournalStep::Restored { since: None, spent: None });
        assert_eq!((last.hotkey, last.netuid), (OWNER.hotkey, OWNER.netuid));
        assert!(loaded.lacks_rows && !loaded.is_complete(), "life {life}: peers know more");
        assert!(loaded.lost_commits.is_none() && loaded.rebuilt.is_none());
        store.commit(&[Write::Put(rows[0].clone())]).unwrap();
    }
    let (store, _) = Store::open(&new).unwrap();
    store.commit(&[Write::CaughtUp]).unwrap();
    assert_freezer_is_whole(&store, 20);
    assert!(!store.verify().unwrap().lacks_rows);
}

#[test]
fn a_directory_in_which_a_node_lived_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (_, _) = copy(dir.path());
    let old = dir.path().join("old");
    let before = names(&old);
    let error = Restoring::begin(&old).unwrap_err();
    assert!(matches!(error, RestoreError::NotEmpty { found: "signed.journal", .. }), "{error}");
    assert_eq!(names(&old), before);
    for name in ["signed.journal", "commit.mark", "identity.json"] {
        let dir = dir.path().join(format!("with-{name}"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join(name), "").unwrap();
        let error = Restoring::begin(&dir).unwrap_err();
        assert!(matches!(error, RestoreError::NotEmpty { found, .. } if found == name), "{error}");
    }
    let (store, _) = Store::open(&old).unwrap();
    let error = Restoring::begin(&old).unwrap_err();
    let RestoreError::Open { source: OpenError::Locked { .. } } = error else { panic!("{error}") };
    drop(store);
    // What is not a node's state is in nobody's way.
    let with_data = dir.path().join("with-data");
    std::fs::create_dir_all(with_data.join("datasets/nas")).unwrap();
    drop(begin(&with_data));
    assert_eq!(names(&with_data), ["datasets", "lock"]);
}

#[test]
fn a_copy_that_is_no_copy_is_refused_before_anything_has_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let (copy, rows) = copy(dir.path());
    let bytes = std::fs::read(&copy).unwrap();
    let cut = dir.path().join("cut");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let new = dir.path().join("new");
    let restoring = begin(&new);
    let error = restoring.fill(&cut).unwrap_err();
    assert!(matches!(error, RestoreError::Backup { .. }), "{error}");
    let error = restoring.fill(&dir.path().join("nothing")).unwrap_err();
    let RestoreError::Backup { source: BackupError::Io { .. } } = error else { panic!("{error}") };
    drop(restoring);
    assert_eq!(names(&new), ["lock"]);
    assert!(matches!(Store::open_to_read(&new), Err(OpenError::NoStore { .. })));
    let report = check_backup(&copy).unwrap();
    assert_eq!(report.copied.rows, rows.len() as u64);
}

#[test]
fn a_restore_that_was_cut_off_begins_anew_or_is_finished_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let (copy, rows) = copy(dir.path());
    let new = dir.path().join("new");
    let restoring = begin(&new);
    restoring.fill(&copy).unwrap();
    drop(restoring);
    assert_eq!(names(&new), ["lock", "restoring"], "the process died here");
    let restoring = begin(&new);
    assert_eq!(names(&new), ["lock"]);
    restoring.fill(&copy).unwrap();
    drop(restoring);
    // It dies a second time, after the journal got its place and before the state did.
    let inside = new.join("restoring");
    std::fs::write(inside.join("complete"), "").unwrap();
    std::fs::rename(inside.join("signed.journal"), new.join("signed.journal")).unwrap();
    for error in [Store::open(&new).unwrap_err(), Store::open_to_repair(&new).unwrap_err()] {
        assert!(matches!(error, OpenError::HalfRestored { .. }), "{error}");
    }
    assert!(matches!(Restoring::begin(&new).unwrap(), Begun::Finished));
    assert_eq!(names(&new), ["commit.mark", "freezer", "lock", "signed.journal", "state"]);
    let (_, loaded) = Store::open(&new).unwrap();
    assert_eq!((loaded.rows, loaded.journal.len()), (rows, 21));
}

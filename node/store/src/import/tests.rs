use node_core::id::{BlockHash, Digest, Hotkey, Netuid, Uid};
use node_core::restoration::Restoration;
use node_core::rows::{Carries, IntentState, SignedExtrinsic};

use super::*;
use crate::{JournalFault, OpenError};

const OWNER: Owner =
    Owner { genesis: BlockHash([1; 32]), netuid: Netuid(3), hotkey: Hotkey([2; 32]) };

fn signed(number: u8) -> SignedExtrinsic {
    SignedExtrinsic {
        bytes: vec![number; 8],
        hash: Digest([number; 32]),
        nonce: u32::from(number),
        anchor: BlockNumber(u64::from(number)),
        era_end: BlockNumber(u64::from(number) + 16),
        spec_version: 301,
        carries: Carries::Plain,
        vector: vec![(Uid(1), u16::MAX)],
    }
}

/// Epochs `1..=count`, each signed once and landed, the last one only signed.
fn history(count: u8) -> History {
    let mut lines = Vec::new();
    for number in 1..=count {
        let epoch = EpochIndex(u64::from(number));
        let entry = |step| History::new(OWNER).entry(0, epoch, step);
        lines.push(entry(JournalStep::Intended {
            vector: vec![(Uid(1), u16::MAX)],
            version_key: 0,
            computed_at: BlockNumber(u64::from(number)),
        }));
        lines.push(entry(JournalStep::Signed { signed: signed(number) }));
        if number < count {
            lines.push(entry(JournalStep::Landed {
                block: BlockNumber(u64::from(number) + 5),
                hash: None,
            }));
        }
    }
    History::of_journal(OWNER, &lines)
}

fn intents(loaded: &Loaded) -> Vec<&IntentRow> {
    let intents = loaded.rows.iter().filter_map(|row| match row {
        Row::Intent(row) => Some(row),
        _ => None,
    });
    let mut intents: Vec<_> = intents.collect();
    intents.sort_by_key(|row| row.epoch);
    intents
}

#[test]
fn an_import_into_a_new_directory_gives_the_node_lines_and_rows_and_a_second_one_gives_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let theirs = history(70);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    let imported = store.import(&loaded, &theirs).unwrap();
    assert_eq!((imported.epochs, imported.signatures, imported.epochs_known), (70, 70, 70));
    drop(store);

    let (store, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.is_complete());
    assert_eq!(known_history(OWNER, &loaded), theirs);
    let rows = intents(&loaded);
    assert_eq!(rows.len(), ROWS_MAX, "as many as a node keeps");
    let newest = rows.last().unwrap();
    assert_eq!((newest.epoch, &newest.state), (EpochIndex(70), &IntentState::Signed));
    assert_eq!(newest.signings, [signed(70)], "with the bytes, to be sent again");
    let landed = rows[ROWS_MAX - 2];
    assert_eq!(landed.state, IntentState::Landed { block: BlockNumber(74) });
    assert_eq!(landed.updated_at, Some(BlockNumber(74)));

    let again = store.import(&loaded, &theirs).unwrap();
    assert_eq!(again, Imported { epochs_known: 70, ..Imported::default() });
    let older = store.import(&loaded, &history(3)).unwrap();
    assert_eq!((older.lines, older.epochs_known), (0, 70), "an older export lowers nothing");
}

#[test]
fn a_lost_journal_is_written_anew_from_rows_and_file_and_only_then_opens() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &history(5)).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("signed.journal")).unwrap();

    let missing = |dir| matches!(Store::open(dir), Err(OpenError::Journal { .. }));
    assert!(missing(dir.path()));
    let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
    assert!(matches!(loaded.journal_loss, Some(JournalFault::Missing { .. })));
    drop(store);
    assert!(missing(dir.path()), "looking at it repairs nothing");

    let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
    // The file is older than the rows: both together are what is known.
    store.import(&loaded, &history(2)).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(History::of_journal(OWNER, &loaded.journal), history(5));
    assert!(loaded.is_complete());
}

#[test]
fn adopting_writes_the_block_and_what_the_rows_know() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &history(2)).unwrap();
    drop(store);
    std::fs::remove_file(dir.path().join("signed.journal")).unwrap();
    let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
    store.adopt(&loaded, OWNER, 0, BlockNumber(99)).unwrap();
    drop(store);
    let (store, loaded) = Store::open(dir.path()).unwrap();
    let known = History::of_journal(OWNER, &loaded.journal);
    assert_eq!(known.mechanisms[&0].adopted, Some(BlockNumber(99)));
    assert_eq!(known.epochs(), 2);
    let lower = store.adopt(&loaded, OWNER, 0, BlockNumber(98)).unwrap();
    assert_eq!(lower.lines, 0, "a greater block is vouched for already");
}

#[test]
fn case_04_a_short_journal_is_refused_like_a_missing_one_and_can_be_repaired() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &history(3)).unwrap();
    drop(store);
    let path = dir.path().join("signed.journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let first: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, first).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    let OpenError::Journal { source } = error else { panic!("{error}") };
    assert!(matches!(source, JournalFault::Short { .. }), "{source}");
    assert!(source.next_step().contains("assay weights import"), "{}", source.next_step());
    let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
    store.import(&loaded, &History::new(OWNER)).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert_eq!(known_history(OWNER, &loaded), history(3));
}

#[test]
fn a_node_that_starts_after_a_repair_still_learns_that_rows_were_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &history(3)).unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    std::fs::remove_file(dir.path().join("signed.journal")).unwrap();
    let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
    assert!(!loaded.is_complete());
    store.import(&loaded, &history(3)).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    assert!(loaded.lacks_rows, "it has to catch up before it signs");
    assert_eq!(known_history(OWNER, &loaded), history(3));
}

/// Whether a node that starts with this directory waits for what was signed after a copy.
fn waits(dir: &std::path::Path) -> bool {
    let (_, loaded) = Store::open(dir).unwrap();
    Restoration::of_journal(&loaded.journal, OWNER.hotkey, OWNER.netuid).is_some()
}

/// A directory that was put back from a copy, and whose node has caught up with its peers since.
fn restored(settled: Option<BlockNumber>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &history(3)).unwrap();
    let line = |step| Write::Journal(History::new(OWNER).entry(0, EpochIndex(0), step));
    store.commit(&[line(JournalStep::Restored { since: None, spent: None })]).unwrap();
    store.commit(&[Write::CaughtUp]).unwrap();
    if let Some(block) = settled {
        store.commit(&[line(JournalStep::Settled { block })]).unwrap();
    }
    dir
}

#[test]
fn a_copys_journal_that_is_lost_before_it_settled_is_begun_anew_as_a_copys() {
    for is_imported in [true, false] {
        let dir = restored(None);
        assert!(waits(dir.path()));
        std::fs::remove_file(dir.path().join("signed.journal")).unwrap();
        let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
        assert!(loaded.is_complete() && loaded.may_lack_signatures());
        // Neither says for which epoch the last signature was made.
        if is_imported {
            store.import(&loaded, &history(2)).unwrap();
        } else {
            store.adopt(&loaded, OWNER, 0, BlockNumber(99)).unwrap();
        }
        drop(store);
        assert!(waits(dir.path()), "imported: {is_imported}");
        // Lost once more: what was begun anew is a copy's still.
        std::fs::remove_file(dir.path().join("signed.journal")).unwrap();
        let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
        store.import(&loaded, &History::new(OWNER)).unwrap();
        drop(store);
        assert!(waits(dir.path()), "imported: {is_imported}");
    }
}

#[test]
fn a_copys_journal_that_is_shortened_before_its_line_about_that_is_a_copys_still() {
    let dir = restored(None);
    let path = dir.path().join("signed.journal");
    let text = std::fs::read_to_string(&path).unwrap();
    let first: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    std::fs::write(&path, first).unwrap();
    let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
    store.import(&loaded, &history(3)).unwrap();
    drop(store);
    assert!(waits(dir.path()));
}

#[test]
fn a_journal_that_is_lost_after_its_copy_settled_or_without_a_copy_makes_nobody_wait() {
    let settled = restored(Some(BlockNumber(70)));
    let never_copied = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(never_copied.path()).unwrap();
    store.import(&loaded, &history(3)).unwrap();
    drop(store);
    for dir in [settled, never_copied] {
        std::fs::remove_file(dir.path().join("signed.journal")).unwrap();
        let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
        assert!(!loaded.may_lack_signatures());
        store.import(&loaded, &history(3)).unwrap();
        drop(store);
        assert!(!waits(dir.path()));
        let (_, loaded) = Store::open(dir.path()).unwrap();
        assert_eq!(known_history(OWNER, &loaded), history(3));
    }
}

#[test]
fn a_journal_that_is_lost_with_the_rows_is_begun_anew_as_a_copys() {
    let dir = tempfile::tempdir().unwrap();
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &history(3)).unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    std::fs::remove_file(dir.path().join("signed.journal")).unwrap();
    let (store, loaded) = Store::open_to_repair(dir.path()).unwrap();
    // The file is older than what was lost.
    store.import(&loaded, &history(2)).unwrap();
    drop(store);
    assert!(waits(dir.path()));
}

#[test]
fn of_several_commits_the_one_that_landed_is_looked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let entry = |step| History::new(OWNER).entry(0, EpochIndex(1), step);
    let commit = |number| SignedExtrinsic {
        carries: Carries::Hashed { commit: Digest([number; 32]), salt: vec![u16::from(number)] },
        ..signed(number)
    };
    let steps = [
        JournalStep::Signed { signed: commit(1) },
        JournalStep::Signed { signed: commit(2) },
        JournalStep::Committed { block: BlockNumber(9), epoch: EpochIndex(1), hash: None },
    ];
    let theirs = History::of_journal(OWNER, &steps.map(entry));
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &theirs).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    let rows = intents(&loaded);
    assert_eq!((rows[0].signings.len(), &rows[0].state), (2, &IntentState::Signed));
    assert_eq!(rows[0].updated_at, Some(BlockNumber(9)), "the update is explained all the same");
}

#[test]
fn of_several_commits_the_one_that_the_journal_names_needs_no_search() {
    let dir = tempfile::tempdir().unwrap();
    let entry = |step| History::new(OWNER).entry(0, EpochIndex(1), step);
    let commit = |number| SignedExtrinsic {
        carries: Carries::Hashed { commit: Digest([number; 32]), salt: vec![u16::from(number)] },
        ..signed(number)
    };
    let hash = Some(commit(1).hash);
    let steps = [
        JournalStep::Signed { signed: commit(1) },
        JournalStep::Signed { signed: commit(2) },
        JournalStep::Committed { block: BlockNumber(9), epoch: EpochIndex(1), hash },
    ];
    let theirs = History::of_journal(OWNER, &steps.map(entry));
    let (store, loaded) = Store::open(dir.path()).unwrap();
    store.import(&loaded, &theirs).unwrap();
    drop(store);
    let (_, loaded) = Store::open(dir.path()).unwrap();
    let row = intents(&loaded)[0];
    assert_eq!(row.state, IntentState::Committed { block: BlockNumber(9), epoch: EpochIndex(1) });
    assert_eq!(row.signings.last().map(|signed| signed.hash), hash);
    assert_eq!(row.vector, commit(1).vector);
}

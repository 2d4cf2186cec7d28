//! The state directory: what survives, and what is refused.

use crate::world::{commit, raw, World};
use localnet::{
    chain::ChainError,
    journal::{Journal, JournalError, FILE_NAME},
    keys::Keyring,
    Chain, ChainOptions, GenesisSpec,
};
use node_subtensor_runtime::{commitments::CommitmentOf, Runtime};
use std::{fs, path::Path, sync::Arc};

fn open(dir: &Path, spec: &GenesisSpec) -> World {
    let journal = Journal::open(dir, spec).unwrap();
    let chain = Chain::from_journal(journal, ChainOptions::default()).unwrap();
    World { chain: Arc::new(chain), keys: Keyring::new() }
}

/// A directory with five blocks, a commitment in the third; and the best hash.
fn filled() -> (tempfile::TempDir, node_subtensor_runtime::Hash) {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), &GenesisSpec::default());
    world.seal_until(2);
    world.send(&world.miner(0), commit(vec![raw(b"kept")])).unwrap();
    world.seal_until(5);
    let best = world.chain.best().hash;
    (dir, best)
}

#[test]
fn a_chain_continues_where_it_was() {
    let (dir, best) = filled();
    let world = open(dir.path(), &GenesisSpec::default());
    assert_eq!(world.chain.best().hash, best);
    assert_eq!(world.chain.finalized().hash, best);
    let miner = world.miner(0);
    assert!(world.read(|| CommitmentOf::<Runtime>::contains_key(1, miner.account())));
    assert_eq!(world.chain.next_index(&miner.account()).unwrap(), 1);
    let time = world.chain.last_timestamp();
    let next = world.seal();
    assert_eq!(next.number(), 6);
    assert!(world.chain.last_timestamp() > time);
    world.chain.verify(next.hash).unwrap();
    drop(world);
    assert_eq!(open(dir.path(), &GenesisSpec::default()).chain.best().hash, next.hash);
}

#[test]
fn a_record_cut_off_anywhere_costs_that_block_only() {
    let (dir, _) = filled();
    let file = dir.path().join(FILE_NAME);
    let whole = fs::read(&file).unwrap();
    let fourth = {
        let world = open(dir.path(), &GenesisSpec::default());
        world.chain.block_hash(4).unwrap()
    };
    // The last block's record: 8 bytes of frame, 4 + 32 + body.
    for cut in [1, 7, 20, 40] {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        let world = open(dir.path(), &GenesisSpec::default());
        assert_eq!(world.chain.best().hash, fourth, "{cut} bytes cut off");
        assert_eq!(world.seal().number(), 5, "and it goes on");
        drop(world);
        assert_eq!(open(dir.path(), &GenesisSpec::default()).chain.best().number(), 5);
    }
}

#[test]
fn damage_in_the_middle_is_an_error_and_changes_nothing() {
    let (dir, _) = filled();
    let file = dir.path().join(FILE_NAME);
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() - 150;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let mut journal = Journal::open(dir.path(), &GenesisSpec::default()).unwrap();
    let error = journal.read_blocks().unwrap_err();
    assert!(matches!(error, JournalError::Damaged { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn another_genesis_is_refused_by_the_name_of_what_differs() {
    let (dir, _) = filled();
    let other = GenesisSpec { tempo: 99, ..GenesisSpec::default() };
    let error = Journal::open(dir.path(), &other).unwrap_err();
    assert!(error.to_string().contains("tempo differs"), "{error}");
    // The block time is a matter of running the chain, not of what it is.
    let slower = GenesisSpec { slot_ms: 60_000, ..GenesisSpec::default() };
    let journal = Journal::open(dir.path(), &slower).unwrap();
    assert_eq!(journal.genesis().slot_ms, GenesisSpec::default().slot_ms);
}

#[test]
fn a_directory_serves_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Journal::open(dir.path(), &GenesisSpec::default()).unwrap();
    let error = Journal::open(dir.path(), &GenesisSpec::default()).unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(first);
    Journal::open(dir.path(), &GenesisSpec::default()).unwrap();
}

#[test]
fn somebody_elses_file_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE_NAME);
    for content in ["not a journal at all", "short"] {
        fs::write(&file, content).unwrap();
        let error = Journal::open(dir.path(), &GenesisSpec::default()).unwrap_err();
        assert!(matches!(error, JournalError::NotAJournal { .. }), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), content);
    }
}

#[test]
fn blocks_of_another_build_are_not_taken_for_ours() {
    let (dir, _) = filled();
    let file = dir.path().join(FILE_NAME);
    // The journal of a chain that differs in a single block's time.
    let mut journal = Journal::open(dir.path(), &GenesisSpec::default()).unwrap();
    let mut records = journal.read_blocks().unwrap();
    drop(journal);
    let other = node_subtensor_runtime::Hash::repeat_byte(1);
    (records[1].hash, records[2].parent) = (other, other);
    let text = fs::read(&file).unwrap();
    let head = text.len() - records_len(&text);
    let mut bytes = text[..head].to_vec();
    for record in &records {
        let payload = codec::Encode::encode(record);
        bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend(crc32fast::hash(&payload).to_le_bytes());
        bytes.extend(payload);
    }
    fs::write(&file, bytes).unwrap();
    let journal = Journal::open(dir.path(), &GenesisSpec::default()).unwrap();
    let error = Chain::from_journal(journal, ChainOptions::default()).unwrap_err();
    assert!(matches!(error, ChainError::Diverged { number: 2, .. }), "{error}");
}

/// Bytes after the genesis record.
fn records_len(bytes: &[u8]) -> usize {
    let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    bytes.len() - 16 - usize::try_from(length).unwrap()
}

#[test]
fn states_in_the_window_stay_whole_and_older_ones_are_forgotten() {
    let options = ChainOptions { state_window: 4, ..ChainOptions::default() };
    let world = World::with_options(GenesisSpec::default(), options);
    let miner = world.miner(0);
    let mut genesis_and_more = 0;
    for round in 0..60_u32 {
        // The same few values again and again: nodes die and come back within the window.
        let text = [u8::try_from(round % 3).unwrap(); 60];
        world.send(&miner, commit(vec![raw(&text)])).unwrap();
        let best = world.seal();
        for back in 0..=4.min(best.number()) {
            let hash = world.chain.block_hash(best.number() - back).unwrap();
            let keys = world.chain.keys_paged(&[], usize::MAX, None, Some(hash)).unwrap();
            for key in &keys {
                assert!(world.chain.storage(key, Some(hash)).unwrap().is_some());
            }
        }
        if let Some(old) = best.number().checked_sub(5) {
            let hash = world.chain.block_hash(old).unwrap();
            assert!(world.chain.storage(b"x", Some(hash)).is_err());
        }
        if round == 10 {
            genesis_and_more = world.chain.trie_nodes();
        }
    }
    // Every block adds one hash to `System.BlockHash` for good, and little else.
    let grown = world.chain.trie_nodes() - genesis_and_more;
    assert!(grown < 50 * 4, "{grown} nodes more after 50 blocks");
}

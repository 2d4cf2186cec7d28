//! Nonces, eras, duplicates: what the pool answers and with which number.

use crate::world::{commit, raw, World};
use localnet::{
    chain::{SubmitError, TxStatus, BAN_BLOCKS},
    rpc,
    sign::{sign, Lifetime, Terms},
    ChainOptions, GenesisSpec,
};
use node_subtensor_runtime::{frame_system, RuntimeCall, VERSION};
use serde_json::{json, Value};
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};

fn invalid(reason: InvalidTransaction) -> SubmitError {
    SubmitError::Invalid(TransactionValidityError::Invalid(reason))
}

fn remark(bytes: &[u8]) -> RuntimeCall {
    frame_system::Call::remark { remark: bytes.to_vec() }.into()
}

#[test]
fn a_gap_in_the_nonces_waits_until_it_is_filled() {
    let world = World::new(GenesisSpec::default());
    let miner = world.miner(0);
    let later = world.signed_at(&miner, 1, commit(vec![raw(b"second")]));
    let (_, mut watcher) = world.chain.submit_and_watch(later).unwrap();
    world.seal();
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Future);
    assert_eq!(world.chain.pending().len(), 1, "it is still there");

    world.send(&miner, commit(vec![raw(b"first")])).unwrap();
    assert_eq!(world.chain.next_index(&miner.account()).unwrap(), 2, "the pool counts");
    let block = world.seal();
    assert_eq!(block.body.len(), 3);
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::InBlock(block.hash));
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Finalized(block.hash));
}

#[test]
fn the_finalized_status_waits_for_finality() {
    let options = ChainOptions { finality_lag: 2, ..ChainOptions::default() };
    let world = World::with_options(GenesisSpec::default(), options);
    let mut watcher = world.watch(&world.miner(0), commit(vec![raw(b"a")]));
    let block = world.seal();
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Ready);
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::InBlock(block.hash));
    world.seal();
    assert!(watcher.try_recv().is_err());
    assert_eq!(world.chain.finalized().number(), 0);
    world.seal();
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Finalized(block.hash));
    assert_eq!(world.chain.finalized().number(), 1);
    assert!(watcher.try_recv().is_err());
}

#[test]
fn a_call_with_a_fee_needs_an_account_and_a_free_one_does_not() {
    let world = World::new(GenesisSpec::default());
    let miner = world.miner(0);
    assert_eq!(world.send(&miner, remark(b"x")), Err(invalid(InvalidTransaction::Payment)));
    world.send(&miner, commit(vec![raw(b"x")])).unwrap();
    // A stranger without account commits too; what it does with the call is dispatch's business.
    world.send(&world.miner(77), commit(vec![raw(b"x")])).unwrap();
    world.send(&world.keys.derive(&["Alice"]), remark(b"x")).unwrap();
    assert_eq!(world.seal().body.len(), 4);
}

#[test]
fn a_tip_does_not_replace_what_is_in_the_pool() {
    let world = World::new(GenesisSpec::default());
    let alice = world.keys.derive(&["Alice"]);
    let tipped = |tip, text: &[u8]| {
        let terms = Terms { tip, ..Terms::immortal(0) };
        sign(remark(text), &alice.pair, world.chain.genesis_hash(), terms)
    };
    world.chain.submit(tipped(0, b"first")).unwrap();
    let refused = world.chain.submit(tipped(1_000_000, b"second"));
    assert_eq!(refused, Err(SubmitError::TooLowPriority { old: 1, new: 1 }));
}

#[test]
fn an_era_that_is_over_looks_like_a_bad_signature() {
    let world = World::new(GenesisSpec::default());
    world.seal_until(10);
    let from = (10, world.chain.best().hash);
    let miner = world.miner(0);
    let mortal = |period, nonce, text: &[u8]| {
        let lifetime = Lifetime::Mortal { period, from };
        let call = commit(vec![raw(text)]);
        sign(call, &miner.pair, world.chain.genesis_hash(), Terms { nonce, tip: 0, lifetime })
    };
    let in_time = mortal(8, 0, b"in time");
    let [late, later] = [mortal(8, 1, b"late"), mortal(8, 1, b"later")];
    world.chain.submit(in_time).unwrap();
    world.seal();
    assert_eq!(world.failures(), []);
    // Its eight blocks are 10 to 17. In block 18 the next period starts with a block that has no
    // hash yet; from then on it has one, and it is not the one that was signed.
    world.seal_until(17);
    assert_eq!(world.chain.submit(late), Err(invalid(InvalidTransaction::AncientBirthBlock)));
    world.seal_until(18);
    assert_eq!(world.chain.submit(later), Err(invalid(InvalidTransaction::BadProof)));
}

#[test]
fn a_waiting_transaction_is_dropped_when_its_era_ends() {
    let world = World::new(GenesisSpec::default());
    world.seal_until(4);
    let miner = world.miner(0);
    let lifetime = Lifetime::Mortal { period: 4, from: (4, world.chain.best().hash) };
    // Nonce 1 while nonce 0 never comes.
    let terms = Terms { nonce: 1, tip: 0, lifetime };
    let bytes = sign(commit(vec![raw(b"x")]), &miner.pair, world.chain.genesis_hash(), terms);
    let (_, mut watcher) = world.chain.submit_and_watch(bytes).unwrap();
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Future);
    world.seal_until(8);
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Invalid);
    assert_eq!(world.chain.pending().len(), 0);
}

#[test]
fn a_signature_for_another_chain_or_version_is_bad() {
    let world = World::new(GenesisSpec::default());
    let other = World::new(GenesisSpec { tempo: 21, ..GenesisSpec::default() });
    assert_ne!(world.chain.genesis_hash(), other.chain.genesis_hash());
    let foreign = other.signed(&other.miner(0), commit(vec![raw(b"x")]));
    assert_eq!(world.chain.submit(foreign), Err(invalid(InvalidTransaction::BadProof)));
    assert_eq!((VERSION.spec_version, VERSION.transaction_version), (425, 1));
}

#[test]
fn what_was_included_is_banned_for_a_while_and_outdated_after() {
    let world = World::new(GenesisSpec::default());
    let bytes = world.signed(&world.miner(0), commit(vec![raw(b"x")]));
    world.chain.submit(bytes.clone()).unwrap();
    let included = world.seal().number();
    assert_eq!(world.chain.submit(bytes.clone()), Err(SubmitError::TemporarilyBanned));
    world.seal_until(included + BAN_BLOCKS);
    assert_eq!(world.chain.submit(bytes), Err(invalid(InvalidTransaction::Stale)));
}

#[test]
fn a_full_block_leaves_the_rest_for_the_next() {
    let world = World::new(GenesisSpec {
        validator_stakes: vec![],
        miners: 250,
        mechanisms: 1,
        ..GenesisSpec::default()
    });
    // A row of 250 entries weighs 13.5e9 of the 3e12 a block has for ordinary calls.
    let dests: Vec<u16> = (0..250).collect();
    for index in 0..250 {
        world.send(&world.miner(index), crate::world::set_weights(&dests, &dests)).unwrap();
    }
    let first = world.seal().body.len() - 1;
    assert!((100..250).contains(&first), "{first} fit");
    let second = world.seal().body.len() - 1;
    assert_eq!(first + second, 250);
    world.chain.verify(world.chain.best().hash).unwrap();
}

async fn submit(world: &World, bytes: &[u8]) -> Value {
    let module = rpc::module(world.chain.clone()).unwrap();
    let hex = format!("0x{}", hex::encode(bytes));
    let request = json!({
        "jsonrpc": "2.0", "id": 1, "method": "author_submitExtrinsic", "params": [hex],
    });
    let (answer, _) = module.raw_json_request(&request.to_string(), 1).await.unwrap();
    serde_json::from_str(answer.get()).unwrap()
}

#[tokio::test]
async fn refusals_have_the_numbers_and_words_of_a_real_node() {
    let world = World::new(GenesisSpec::default());
    let miner = world.miner(0);
    let mut forged = world.signed(&miner, commit(vec![raw(b"forged")]));
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let first = world.signed_at(&miner, 0, commit(vec![raw(b"one")]));
    let rival = world.signed_at(&miner, 0, commit(vec![raw(b"two")]));
    let unpaid = world.signed_at(&miner, 1, remark(b"x"));
    let fields_of_four = [&[0x12_u8, 0, 1, 0, 4 << 2][..], &[0, 0, 0, 0]].concat();
    let loopback = world.signed_at(&miner, 1, crate::world::serve_axon(0x7f00_0001, 1, 4));

    let ok = submit(&world, &first).await;
    assert!(ok["result"].as_str().is_some_and(|hash| hash.len() == 66), "{ok}");
    let table = [
        (first.clone(), 1013, "Transaction Already Imported", Value::Null),
        (rival.clone(), 1014, "Priority is too low: (1 vs 1)", Value::Null),
        (forged.clone(), 1010, "Invalid Transaction", json!("Transaction has a bad signature")),
        (forged, 1012, "Transaction is temporarily banned", Value::Null),
        (
            unpaid,
            1010,
            "Invalid Transaction",
            json!("Inability to pay some fees (e.g. account balance too low)"),
        ),
        (loopback, 1010, "Invalid Transaction", json!("Custom error: 11")),
    ];
    for (bytes, code, message, data) in table {
        let answer = submit(&world, &bytes).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert_eq!(answer["error"]["message"], message);
        if !data.is_null() {
            assert_eq!(answer["error"]["data"], data);
        }
    }
    for garbage in [&b"garbage"[..], &fields_of_four, &[]] {
        let answer = submit(&world, garbage).await;
        assert_eq!(answer["error"]["code"], 1002, "{answer}");
    }

    world.seal();
    assert_eq!(submit(&world, &first).await["error"]["code"], 1012);
    let answer = submit(&world, &rival).await;
    assert_eq!(answer["error"]["code"], 1010);
    assert_eq!(answer["error"]["data"], "Transaction is outdated");
}

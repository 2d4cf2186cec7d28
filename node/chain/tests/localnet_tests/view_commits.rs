//! Commitments of every kind, and our own hidden weights.

use node_core::id::{Digest, Hotkey};
use node_core::unit::{BlockNumber, EpochIndex};
use node_core::view::OwnCommit;
use node_subtensor_runtime::commitments::{
    CommitmentInfo, CommitmentOf, Data, Registration, RevealedCommitments,
};
use node_subtensor_runtime::subtensor::{
    RevealPeriodEpochs, SealedWeights, SubnetEpochIndex, TimelockedWeightCommits, WeightCommits,
};
use node_subtensor_runtime::{AccountId, Runtime};
use subxt::ext::codec::Encode as _;

use crate::support::{alter, miner, neurons, store, validator, Chain};

fn account(hotkey: Hotkey) -> AccountId {
    AccountId::from(hotkey.0)
}

fn raw(bytes: &[u8]) -> Data {
    Data::Raw(bytes.to_vec().try_into().unwrap())
}

fn timelocked() -> Data {
    Data::TimelockEncrypted { encrypted: vec![7; 300].try_into().unwrap(), reveal_round: 9 }
}

/// Stores what a miner committed in block 1.
fn commit(index: u16, fields: Vec<Data>) {
    let info = CommitmentInfo { fields: fields.try_into().unwrap() };
    let registration = Registration { deposit: 0, block: 1, info };
    CommitmentOf::<Runtime>::insert(1, account(miner(index).public()), registration);
}

fn reveal(index: u16, reveals: Vec<(Vec<u8>, u64)>) {
    RevealedCommitments::<Runtime>::insert(1, account(miner(index).public()), reveals);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_commitment_is_a_record_or_none() {
    let chain = Chain::start(neurons(&[10], 12)).await;
    chain.seal(3).await;
    alter(&chain, || {
        commit(0, vec![raw(b"one"), Data::BigRaw(vec![b'!'; 300].try_into().unwrap())]);
        commit(1, vec![Data::None, raw(b"two"), Data::ResetBondsFlag]);
        commit(2, vec![Data::Sha256([1; 32]), Data::BlakeTwo256([2; 32])]);
        commit(3, vec![Data::Keccak256([1; 32]), Data::ShaThree256([2; 32]), Data::None]);
        commit(4, vec![timelocked()]);
        // Opened: the plain part stays, what was hidden counts from its reveal on.
        commit(5, vec![raw(b"plain")]);
        reveal(5, vec![(b"older".to_vec(), 1), (b"hidden".to_vec(), 2)]);
        // Written again after the reveal.
        reveal(6, vec![(b"hidden".to_vec(), 1)]);
        commit(6, vec![raw(b"newer")]);
        reveal(7, vec![(b"with its length".to_vec().encode(), 2)]);
        // Not seated: nobody's business.
        commit(99, vec![raw(b"gone")]);
        reveal(98, vec![(b"gone".to_vec(), 2)]);
        commit(8, vec![raw(b"")]);
        commit(9, vec![]);
    })
    .await;
    let client = chain.client().await;
    let view = chain.view(&client).await;
    let record = |index: u16| {
        let found = view.commitments.iter().find(|c| c.hotkey == miner(index).public())?;
        assert_eq!(found.seed_block_hash, Some(chain.hash_of(found.block.0 + 1)));
        Some((found.block.0, found.bytes.clone()))
    };
    let big = [b"one".to_vec(), vec![b'!'; 300]].concat();
    assert_eq!(record(0), Some((1, big)));
    assert_eq!(record(1), Some((1, b"two".to_vec())));
    assert_eq!((record(2), record(3), record(4)), (None, None, None));
    assert_eq!(record(5), Some((2, b"hidden".to_vec())));
    assert_eq!(record(6), Some((1, b"newer".to_vec())));
    assert_eq!(record(7), Some((2, b"with its length".to_vec())));
    assert_eq!((record(8), record(9)), (Some((1, vec![])), None));
    assert_eq!(view.commitments.len(), 6);
    assert!(view.commitments.is_sorted_by_key(|record| record.hotkey));
    assert_eq!(client.read_counts().unreadable_commitments, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_broken_blob_costs_its_hotkey_only() {
    let chain = Chain::start(neurons(&[10], 3)).await;
    chain.seal(3).await;
    alter(&chain, || commit(0, vec![raw(b"fine")])).await;
    let account = |index| account(miner(index).public());
    store(&chain, CommitmentOf::<Runtime>::hashed_key_for(1, account(1)), vec![0xff; 40]).await;
    let key = RevealedCommitments::<Runtime>::hashed_key_for(1, account(2));
    store(&chain, key, vec![0xff; 40]).await;
    let client = chain.client().await;
    let view = chain.view(&client).await;
    assert_eq!(view.commitments.len(), 1);
    assert_eq!(view.commitments[0].bytes, b"fine");
    assert!(client.read_counts().unreadable_commitments > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_need_not_be_final_keeps_the_commitments_of_the_view_before() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    chain.seal(3).await;
    alter(&chain, || commit(0, vec![raw(b"first")])).await;
    let client = chain.client().await;
    let before = chain.view(&client).await;
    let head = alter(&chain, || {
        commit(0, vec![raw(b"second")]);
        commit(1, vec![raw(b"other")]);
    })
    .await;
    let best = client.best_view_after(&before, head.hash).await.unwrap();
    assert_eq!((best.number, &best.commitments), (head.number, &before.commitments));
    let last = client.view_after(&best, head.hash).await.unwrap();
    let bytes: Vec<_> = last.commitments.iter().map(|record| record.bytes.as_slice()).collect();
    assert_eq!((bytes.len(), bytes.contains(&&b"second"[..])), (2, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_commits_are_found_in_every_epoch_that_keeps_them() {
    let chain = Chain::start(localnet::GenesisSpec { tempo: 0, ..neurons(&[10, 10], 1) }).await;
    let own = validator(0).public();
    alter(&chain, move || {
        SubnetEpochIndex::<Runtime>::insert(1, 9);
        RevealPeriodEpochs::<Runtime>::insert(1, 2);
        for epoch in [5, 6, 9, 10, 11, 12] {
            let commit = |hotkey: Hotkey, text: &[u8]| {
                let bytes = [text, &[u8::try_from(epoch).unwrap()]].concat();
                let sealed = SealedWeights::try_from(bytes).unwrap();
                (account(hotkey), 100 + epoch, sealed, 1_000 + epoch)
            };
            let queue = vec![commit(validator(1).public(), b"theirs"), commit(own, b"ours")];
            TimelockedWeightCommits::<Runtime>::insert(1, epoch, queue);
        }
        let hashed = vec![(sp_core::H256([3; 32]), 8, 55, 0)];
        WeightCommits::<Runtime>::insert(1, account(own), hashed);
    })
    .await;
    let commit = |epoch: u8| OwnCommit {
        hash: Digest(sp_crypto_hashing::blake2_256(&[&b"ours"[..], &[epoch]].concat())),
        block: BlockNumber(100 + u64::from(epoch)),
        epoch: EpochIndex(epoch.into()),
        reveal_round: Some(1_000 + u64::from(epoch)),
    };
    let hashed = OwnCommit {
        hash: Digest([3; 32]),
        block: BlockNumber(55),
        epoch: EpochIndex(8),
        reveal_round: None,
    };
    let client = chain.client_of(own).await;
    let expected = [commit(6), hashed.clone(), commit(9), commit(10)];
    assert_eq!(chain.view(&client).await.own_commits, expected);
    // An epoch later without having foreseen it.
    alter(&chain, || SubnetEpochIndex::<Runtime>::insert(1, 11)).await;
    let expected = [hashed, commit(9), commit(10), commit(11), commit(12)];
    assert_eq!(chain.view(&client).await.own_commits, expected);
    let nobody = chain.client().await;
    assert_eq!(chain.view(&nobody).await.own_commits, []);
}

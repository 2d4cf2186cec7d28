//! What changes between two views, and how the second one shows it.

use localnet::keys::{Keyring, Role};
use node_core::id::{Hotkey, Uid};
use node_core::unit::BlockNumber;
use node_core::view::ChainView;
use node_subtensor_runtime::subtensor::{
    BlockAtRegistration, IsNetworkMember, Keys, SubnetworkN, TotalHotkeyAlpha, Uids, Weights,
};
use node_subtensor_runtime::{AccountId, Runtime};

use crate::support::{alter, miner, neurons, validator, Chain, TAO};

fn account(hotkey: Hotkey) -> AccountId {
    AccountId::from(hotkey.0)
}

async fn start(tempo: u16) -> Chain {
    Chain::start(localnet::GenesisSpec { tempo, ..neurons(&[1_000, 3], 2) }).await
}

/// What an increment takes from the view before it.
fn kept(view: &ChainView) -> Vec<(u64, bool, u16)> {
    let of = |neuron: &node_core::view::Neuron| {
        (neuron.stake_rao, neuron.validator_permit, neuron.dividends)
    };
    view.neurons.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn stakes_and_rows_of_others_are_those_of_the_last_full_read_until_an_epoch_runs() {
    let chain = start(20).await;
    let client = chain.client_of(validator(0).public()).await;
    chain.seal(1).await;
    let first = chain.view(&client).await;
    let head = alter(&chain, || {
        let staked = account(miner(1).public());
        TotalHotkeyAlpha::<Runtime>::insert(staked, 1, 50 * TAO);
        Weights::<Runtime>::insert(1, 0, vec![(2, 65_535)]);
        Weights::<Runtime>::insert(1, 1, vec![(3, 65_535)]);
    })
    .await;
    let increment = client.view_after(&first, head.hash).await.unwrap();
    assert_eq!(kept(&increment), kept(&first));
    assert_eq!(increment.weights, [(Uid(0), vec![(Uid(2), 65_535)])], "our row only");
    let full = client.view_at(head.hash).await.unwrap();
    assert_eq!(full.neurons[3].stake_rao, 50 * TAO);
    assert_eq!(full.weights.len(), 2);
    assert_eq!(client.read_counts().refreshed, 0);

    let next = increment.epoch.next_epoch_block.unwrap();
    let head = chain.seal(u32::try_from(next.0 - head.number.0).unwrap()).await;
    let after = client.view_after(&increment, head.hash).await.unwrap();
    assert_eq!(after.epoch.index.0, first.epoch.index.0 + 1);
    assert_eq!(client.read_counts().refreshed, 1);
    assert_eq!(after, client.view_at(head.hash).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uid_that_changed_hands_is_another_neuron_with_its_own_registration() {
    let chain = start(100).await;
    let client = chain.client_of(validator(0).public()).await;
    chain.seal(1).await;
    let before = chain.view(&client).await;
    let newcomer = miner(9).public();
    let head = alter(&chain, move || {
        let (old, new) = (account(miner(0).public()), account(miner(9).public()));
        Uids::<Runtime>::remove(1, &old);
        IsNetworkMember::<Runtime>::remove(&old, 1);
        Keys::<Runtime>::insert(1, 2, new.clone());
        Uids::<Runtime>::insert(1, &new, 2);
        IsNetworkMember::<Runtime>::insert(&new, 1, true);
        BlockAtRegistration::<Runtime>::insert(1, 2, 2);
    })
    .await;
    let after = client.view_after(&before, head.hash).await.unwrap();
    assert_eq!(after.neuron(&miner(0).public()), None);
    let neuron = after.neuron(&newcomer).unwrap();
    assert_eq!((neuron.uid, neuron.registered_at), (Uid(2), BlockNumber(2)));
    assert_eq!(client.read_counts().refreshed, 1);
    assert_eq!(after, client.view_at(head.hash).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_hotkey_registered_anew_is_noticed_too() {
    let chain = start(100).await;
    let client = chain.client_of(validator(0).public()).await;
    chain.seal(1).await;
    let before = chain.view(&client).await;
    let head = alter(&chain, || BlockAtRegistration::<Runtime>::insert(1, 2, 2)).await;
    let after = client.view_after(&before, head.hash).await.unwrap();
    let registered = |view: &ChainView| view.neurons[2].registered_at;
    assert_eq!((registered(&before), registered(&after)), (BlockNumber(0), BlockNumber(2)));
    assert_eq!(client.read_counts().refreshed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renumbered_subnet_is_read_by_its_new_numbers() {
    let chain = start(100).await;
    let client = chain.client_of(validator(0).public()).await;
    chain.seal(1).await;
    let before = chain.view(&client).await;
    // The last two neurons go, and the owner takes the uid before them.
    let head = alter(&chain, || {
        let owner = Keyring::new().hotkey(Role::Owner, 0).account();
        let (own, other) = (account(validator(0).public()), account(validator(1).public()));
        for (uid, hotkey) in [(0, other), (1, own), (2, owner)] {
            Keys::<Runtime>::insert(1, uid, hotkey.clone());
            Uids::<Runtime>::insert(1, hotkey, uid);
        }
        Keys::<Runtime>::remove(1, 3);
        SubnetworkN::<Runtime>::insert(1, 3);
        Weights::<Runtime>::insert(1, 1, vec![(0, 7)]);
    })
    .await;
    let after = client.view_after(&before, head.hash).await.unwrap();
    assert_eq!(after.neurons.len(), 3);
    assert_eq!(after.neuron(&validator(0).public()).unwrap().uid, Uid(1));
    assert_eq!(after.weights_of(Uid(1)), [(Uid(0), 7)], "our row, under our new number");
    assert_eq!(after, client.view_at(head.hash).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_after_one_of_another_subnet_is_a_full_one() {
    let chain = start(100).await;
    let client = chain.client().await;
    let head = chain.seal(1).await;
    let other = ChainView { netuid: node_core::id::Netuid(7), ..ChainView::default() };
    let view = client.view_after(&other, head.hash).await.unwrap();
    assert_eq!(view, client.view_at(head.hash).await.unwrap());
}

//! Runtimes that lack what a view is usually read from, and upgrades between two views.

use localnet::admin::UpgradeTo;
use localnet::flavour::Flavour;
use node_chain::{CallError, ReadCounts, ReadError};
use node_core::epoch::Schedule;
use node_core::unit::BlockCount;
use node_core::view::{ChainView, ConsensusMode};
use node_subtensor_runtime::commitments::RevealedCommitments;
use node_subtensor_runtime::{AccountId, Runtime};

use crate::support::{alter, miner, neurons, soon, upgrade, validator, Chain};

async fn start() -> Chain {
    Chain::start(localnet::GenesisSpec { tempo: 50, ..neurons(&[1_000, 3], 2) }).await
}

/// Views of the same block by clients that know nothing yet: by what the runtime has, then by what
/// is left of it without `items`.
async fn before_and_without(items: &[&str]) -> (ChainView, ChainView, ReadCounts) {
    let chain = start().await;
    let own = validator(0).public();
    chain.seal(2).await;
    let before = chain.view(&chain.client_of(own).await).await;
    let without = items.iter().map(|item| (*item).to_owned()).collect();
    let to = UpgradeTo { spec_version: Some(426), without: Some(without), ..UpgradeTo::default() };
    upgrade(&chain, to).await;
    let client = chain.client_of(own).await;
    let after = chain.view(&client).await;
    assert_eq!((before.spec_version, after.spec_version), (425, 426));
    (before, after, client.read_counts())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_metagraph_neurons_are_read_item_by_item() {
    let items = ["SubnetInfoRuntimeApi.get_selective_metagraph"];
    let (before, after, counts) = before_and_without(&items).await;
    assert_eq!(before.neurons, after.neurons);
    assert_eq!(before.params, after.params);
    assert_eq!((counts.views, counts.without_metagraph), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_runtimes_prediction_the_next_epoch_is_computed() {
    let items = ["SubnetInfoRuntimeApi.get_next_epoch_start_block"];
    let (before, after, _) = before_and_without(&items).await;
    assert!(before.epoch.next_epoch_block.is_some());
    assert_eq!(before.epoch.next_epoch_block, after.epoch.next_epoch_block);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_epoch_counter_the_clock_is_the_old_one() {
    let items =
        ["SubtensorModule.SubnetEpochIndex", "SubnetInfoRuntimeApi.get_next_epoch_start_block"];
    let (before, after, _) = before_and_without(&items).await;
    assert!(matches!(before.epoch.schedule, Schedule::Stateful { .. }));
    assert_eq!(after.epoch.schedule, Schedule::Legacy { netuid: after.netuid });
    let next = after.epoch.next_epoch_block.unwrap();
    assert_eq!((next.0 + 1 + 1) % (50 + 1), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_a_runtime_lacks_are_the_chains_defaults_and_commits_the_old_ones() {
    let items = [
        "SubtensorModule.ActivityCutoffFactorMilli",
        "SubtensorModule.CommitRevealWeightsVersion",
        "SubtensorModule.MechanismCountCurrent",
        "SubtensorModule.ImmunityPeriod",
        "SubtensorModule.MaxAllowedUids",
        "SubtensorModule.ServingRateLimit",
        "SubtensorModule.SubnetOwnerHotkey",
        "SubtensorModule.Active",
        "SubtensorModule.ValidatorTrust",
        "SubtensorModule.Dividends",
        "SubtensorModule.Emission",
    ];
    let (before, after, _) = before_and_without(&items).await;
    let params = &after.params;
    assert_eq!(before.params.activity_cutoff, BlockCount(13_889 * 50 / 1_000));
    assert_eq!(params.activity_cutoff, BlockCount(5_000));
    assert_eq!((params.commit_reveal_version, params.mechanism_count), (None, 1));
    assert_eq!((params.immunity_period.0, params.max_uids), (4_096, 256));
    assert_eq!((params.serving_rate_limit.0, params.owner_hotkey), (50, None));
    assert!(before.abilities.timelocked && !after.abilities.timelocked);
    assert!(after.abilities.plain && after.abilities.hashed);
    assert!(after.neurons.iter().all(|neuron| neuron.is_active), "by their last updates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_without_rounds_has_no_beacon_and_one_without_its_own_has_quicknet() {
    let (_, after, _) = before_and_without(&["Drand.LastStoredRound"]).await;
    assert_eq!(after.beacon, None);
    assert!(!after.abilities.timelocked);
    let (_, after, _) = before_and_without(&["Drand.BeaconConfig"]).await;
    let schedule = after.beacon.unwrap().schedule;
    assert_eq!((schedule.genesis.0, schedule.period_ms), (1_692_803_367_000, 3_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_under_names_of_their_own_change_nothing() {
    let chain = start().await;
    let client = chain.client_of(validator(0).public()).await;
    chain.seal(1).await;
    let before = chain.view(&client).await;
    let to = UpgradeTo {
        spec_version: Some(460),
        flavour: Some(Flavour::Newtype),
        ..UpgradeTo::default()
    };
    let head = upgrade(&chain, to).await;
    let after = client.view_after(&before, head.hash).await.unwrap();
    assert_eq!(after.spec_version, 460);
    assert_eq!(after.neurons, before.neurons);
    assert_eq!(after.params, before.params);
    assert_eq!((&after.beacon, after.abilities), (&before.beacon, before.abilities));
    assert_eq!(after.params.consensus, ConsensusMode::Yuma);
    let counts = client.read_counts();
    assert_eq!((counts.other_runtime, counts.without_metagraph), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_between_two_views_costs_one_more_round_and_nothing_else() {
    let chain = start().await;
    let client = chain.client_of(validator(0).public()).await;
    chain.seal(1).await;
    let before = chain.view(&client).await;
    let to = UpgradeTo { spec_version: Some(426), ..UpgradeTo::default() };
    let head = upgrade(&chain, to).await;
    let after = client.view_after(&before, head.hash).await.unwrap();
    let counts = client.read_counts();
    assert_eq!((counts.other_runtime, counts.one_round), (1, 0));
    // The next view knows the new runtime.
    let head = chain.seal(1).await;
    let next = client.view_after(&after, head.hash).await.unwrap();
    assert_eq!((after.spec_version, next.spec_version), (426, 426));
    assert_eq!(client.read_counts(), ReadCounts { views: 3, one_round: 1, ..counts });
    // And a view of a block before the upgrade is read by the old one.
    let old = client.view_at(before.hash).await.unwrap();
    assert_eq!(old, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lists_no_keys_is_asked_about_everybody() {
    let chain = start().await;
    let hotkey = miner(0).public();
    alter(&chain, move || {
        let reveals = vec![(b"hidden".to_vec(), 1)];
        RevealedCommitments::<Runtime>::insert(1, AccountId::from(hotkey.0), reveals);
    })
    .await;
    let client = chain.client().await;
    let listed = chain.view(&client).await;
    assert_eq!(listed.commitments[0].bytes, b"hidden");
    refuse(&chain, "state_getKeysPaged", -32_601);
    assert_eq!(chain.view(&client).await, listed);
    assert_eq!(chain.view(&chain.client().await).await, listed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_for_which_every_answer_is_too_large_is_an_error_and_no_endless_loop() {
    let chain = start().await;
    let client = chain.client().await;
    chain.seal(1).await;
    refuse(&chain, "state_queryStorageAt", -32_008);
    let error = soon("the refusal", client.view_at(chain.head().hash)).await.unwrap_err();
    let ReadError::Call { source, .. } = error else { panic!("{error}") };
    assert!(matches!(*source, CallError::Refused { .. }), "{source}");
}

fn refuse(chain: &Chain, method: &str, code: i32) {
    let refused = serde_json::json!({ "refuse": { method: code } });
    chain.localnet.fault(refused).unwrap();
}

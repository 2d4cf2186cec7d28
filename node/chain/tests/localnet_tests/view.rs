use std::collections::BTreeMap;

use node_chain::{ChainClient, ChainConfig, ReadCounts, ReadError};
use node_core::id::{BlockHash, Netuid};
use node_core::unit::{BlockCount, BlockNumber, EpochIndex};
use node_core::view::{Abilities, ConsensusMode, SubnetParams};
use node_subtensor_runtime::subtensor::LastUpdate;
use node_subtensor_runtime::Runtime;

use crate::proxy::Proxy;
use crate::support::{alter, miner, neurons, owner, soon, validator, Chain, TAO};

#[tokio::test(flavor = "multi_thread")]
async fn a_view_equals_what_the_chain_was_given() {
    let genesis = localnet::GenesisSpec {
        tempo: 7,
        weights_set_rate_limit: 3,
        weights_version_key: 12,
        min_allowed_weights: 2,
        stake_threshold: 5 * TAO,
        max_allowed_uids: 99,
        immunity_period: 88,
        serving_rate_limit: 77,
        mechanisms: 2,
        ..neurons(&[1_000, 3], 2)
    };
    let chain = Chain::start(genesis).await;
    let client = chain.client().await;
    let head = chain.seal(5).await;
    let view = chain.view(&client).await;

    assert_eq!((view.number, view.hash), (head.number, head.hash));
    assert_eq!((view.genesis, view.netuid), (chain.genesis(), Netuid(1)));
    assert_eq!(view.timestamp.0, chain.localnet.chain().last_timestamp());
    assert_eq!((view.spec_version, view.block_ms), (425, 1_000));
    assert_eq!(
        view.params,
        SubnetParams {
            tempo: BlockCount(7),
            min_allowed_weights: 2,
            weights_rate_limit: BlockCount(3),
            weights_version_key: 12,
            commit_reveal_enabled: false,
            commit_reveal_version: Some(4),
            reveal_period: 1,
            mechanism_count: 2,
            consensus: ConsensusMode::Yuma,
            stake_threshold_rao: 5 * TAO,
            activity_cutoff: BlockCount(13_889 * 7 / 1_000),
            immunity_period: BlockCount(88),
            max_uids: 99,
            serving_rate_limit: BlockCount(77),
            registered_at: BlockNumber(0),
            owner_hotkey: Some(owner().public()),
        }
    );
    let beacon = view.beacon.clone().unwrap();
    assert_eq!(beacon.public_key.len(), 96);
    assert_eq!(view.abilities, Abilities { plain: true, timelocked: true, hashed: true });
    assert_eq!((view.safe_mode_until, view.own_commits.len()), (None, 0));
    let expected = [validator(0), validator(1), miner(0), miner(1)].map(|key| key.public());
    let found: Vec<_> = view.neurons.iter().map(|neuron| neuron.hotkey).collect();
    assert_eq!(found, expected);
    let uids: Vec<_> = view.neurons.iter().map(|neuron| neuron.uid.0).collect();
    assert_eq!(uids, [0, 1, 2, 3]);
    let stakes: Vec<_> = view.neurons.iter().map(|neuron| neuron.stake_rao / TAO).collect();
    assert_eq!(stakes, [1_000, 3, 0, 0]);
    let permits: Vec<_> = view.neurons.iter().map(|neuron| neuron.validator_permit).collect();
    assert_eq!(permits, [true, true, false, false]);
    assert!(view.neurons.iter().all(|neuron| neuron.is_active));
    assert!(view.is_validator(&expected[0]));
    assert!(!view.is_validator(&expected[1]), "its stake is below the threshold");
    assert_eq!((view.commitments.len(), view.weights.len(), view.own_nonce), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_epoch_clock_is_the_chains_own() {
    let chain = Chain::start(localnet::GenesisSpec { tempo: 7, ..neurons(&[10], 1) }).await;
    let client = chain.client().await;
    chain.seal(3).await;
    let before = chain.view(&client).await.epoch;
    assert_eq!((before.index, before.last_epoch_block), (EpochIndex(0), BlockNumber(0)));
    let next = before.next_epoch_block.unwrap();
    assert_eq!(next, BlockNumber(7));
    chain.seal(u32::try_from(next.0).unwrap() - 3).await;
    let after = chain.view(&client).await.epoch;
    assert_eq!((after.index, after.last_epoch_block), (EpochIndex(1), next));
    assert_eq!(after.next_epoch_block, Some(BlockNumber(14)));
}

#[tokio::test(flavor = "multi_thread")]
async fn commitments_and_axons_are_read_with_their_blocks_and_seeds() {
    let chain = Chain::start_sealing(neurons(&[10], 2)).await;
    let client = chain.client().await;
    let location = b"nas:1:pc4M4GXpT5oo0QVM9PKvXl8pmxZwPtBaDiqjpaQZmyM:";
    let miner = miner(1);
    let block = soon("the commitment", client.set_commitment(&miner, location)).await.unwrap();
    let address = "10.1.2.3:8091".parse().unwrap();
    let served = soon("the axon", client.serve_axon(&miner, address)).await.unwrap();
    assert!(served.number > block.number);

    let at_once = client.view_at(block.hash).await.unwrap();
    let record = &at_once.commitments[0];
    assert_eq!((record.hotkey, record.block), (miner.public(), block.number));
    assert_eq!(record.bytes, location);
    assert_eq!(record.seed_block_hash, None, "the next block is not known yet");
    assert_eq!(at_once.neuron(&miner.public()).unwrap().axon, None);

    let later = client.view_at(served.hash).await.unwrap();
    let seed = chain.hash_of(block.number.0 + 1);
    assert_eq!(later.commitments[0].seed_block_hash, Some(seed));
    assert_eq!(later.commitments[0].bytes, location);
    assert_eq!(later.neuron(&miner.public()).unwrap().axon, Some(address));
    // Once more, now from what was kept.
    assert_eq!(client.view_at(served.hash).await.unwrap(), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_of_submissions_are_told_by_their_first_blocks_where_nobody_committed_too() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let config = ChainConfig { window: Some(BlockCount(4)), ..chain.config() };
    let client = ChainClient::connect(config).await.unwrap();
    chain.seal(3).await;
    assert!(chain.view(&client).await.window_hashes.is_empty(), "none has ended");
    chain.seal(4).await;
    let of = |starts: &[u64]| -> BTreeMap<BlockNumber, BlockHash> {
        starts.iter().map(|start| (BlockNumber(*start), chain.hash_of(*start))).collect()
    };
    assert_eq!(chain.view(&client).await.window_hashes, of(&[4]));
    chain.seal(1).await;
    let view = chain.view(&client).await;
    assert_eq!(view.window_hashes, of(&[4, 8]));
    chain.seal(1).await;
    let next = client.view_after(&view, chain.head().hash).await.unwrap();
    assert_eq!(next.window_hashes, of(&[4, 8]));
    chain.seal(10).await;
    assert_eq!(chain.view(&client).await.window_hashes, of(&[12, 16]));
}

/// Header, version, metagraph, next epoch, who has reveals, and one batch of storage values.
const CALLS_PER_ROUND: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_subnet_is_read_whole_in_one_round_of_calls_once_its_neurons_are_known() {
    let chain = Chain::start(neurons(&[10; 8], 248)).await;
    let proxy = Proxy::to(chain.localnet.address()).await;
    let own_hotkey = Some(validator(3).public());
    let config = ChainConfig { endpoints: vec![proxy.url()], own_hotkey, ..chain.config() };
    let client = ChainClient::connect(config).await.unwrap();
    chain.seal(1).await;
    let mut view = chain.view(&client).await;
    let cold = client.read_counts();
    assert_eq!(cold, ReadCounts { views: 1, one_round: 0, not_foreseen: 1, ..cold });
    for warm in 1..=3 {
        let head = chain.seal(1).await;
        let before = proxy.answers();
        let full = client.view_at(head.hash).await.unwrap();
        assert_eq!(proxy.answers() - before, CALLS_PER_ROUND);
        let before = proxy.answers();
        view = client.view_after(&view, head.hash).await.unwrap();
        assert_eq!(proxy.answers() - before, CALLS_PER_ROUND);
        assert_eq!(view, full);
        let now = client.read_counts();
        assert_eq!(now, ReadCounts { views: 1 + 2 * warm, one_round: 2 * warm, ..cold });
    }
    assert_eq!(view.neurons.len(), 256);
    for (at, neuron) in view.neurons.iter().enumerate() {
        assert_eq!(usize::from(neuron.uid.0), at);
    }
    assert_eq!(view.neurons[255].hotkey, miner(247).public());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mechanism_has_updates_of_its_own() {
    let genesis = localnet::GenesisSpec { mechanisms: 2, ..neurons(&[10], 1) };
    let chain = Chain::start(genesis).await;
    alter(&chain, || LastUpdate::<Runtime>::insert(4097, vec![77, 78])).await;
    let updates = |config: ChainConfig| async {
        let client = ChainClient::connect(config).await.unwrap();
        let view = chain.view(&client).await;
        view.neurons.iter().map(|neuron| neuron.last_update.0).collect::<Vec<_>>()
    };
    assert_eq!(updates(ChainConfig { mechanism: 1, ..chain.config() }).await, [77, 78]);
    assert_ne!(updates(chain.config()).await, [77, 78]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_block_or_subnet_is_named() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let client = chain.client().await;
    let error = client.view_at(BlockHash([7; 32])).await.unwrap_err();
    assert!(error.to_string().contains("0707"), "{error}");
    chain.seal(1).await;
    let other = ChainConfig { netuid: Netuid(9), ..chain.config() };
    let other = ChainClient::connect(other).await.unwrap();
    let error = other.view_at(chain.head().hash).await.unwrap_err();
    assert!(matches!(error, ReadError::NoSuchSubnet { netuid: Netuid(9), .. }), "{error}");
    assert!(!other.subnet_exists(chain.head().hash).await.unwrap());
    assert!(client.subnet_exists(chain.head().hash).await.unwrap());
    assert!(client.subnet_exists(BlockHash([7; 32])).await.is_err());
}

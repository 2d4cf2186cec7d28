//! Weights in every form on the chain, what became of them, and every way of losing them.

use localnet::admin::UpgradeTo;
use localnet::chain::Fate;
use localnet::{ChainOptions, Config};
use node_chain::commit::SALT_LEN;
use node_chain::{ChainClient, ChainConfig, SendAccepted, SendRefused, SignError, TraceError};
use node_core::id::{Digest, Uid};
use node_core::machine::effect::WeightsToSign;
use node_core::machine::event::Traced;
use node_core::rows::{Carries, SignedExtrinsic};
use node_core::submit_guard::{Binding, WeightsForm};
use node_core::unit::{BlockNumber, EpochIndex};
use node_subtensor_runtime::drand::{Pulse, Pulses};
use node_subtensor_runtime::subtensor::TimelockedWeightCommits;
use node_subtensor_runtime::Runtime;
use serde_json::json;

use crate::support::{alter, miner, neurons, soon, upgrade, validator, Chain, VECTOR};

/// Quicknet's key, and its signature of round 1000.
const BEACON_KEY: &str = "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c\
    8c4b450b6a0a6c3ac6a5776a2d1064510d1fec758c921cc22b0e17e63aaf4bcb\
    5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a";
const ROUND_1000: &str = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125\
    e342b73a8dd2bacbe47e4b6b63ed5e39";

/// A chain on which weights are concealed for one epoch of ten blocks.
async fn concealing() -> Chain {
    let genesis = localnet::GenesisSpec { commit_reveal: true, tempo: 10, ..neurons(&[10], 2) };
    Chain::start(genesis).await
}

async fn signed(client: &ChainClient, weights: &WeightsToSign) -> SignedExtrinsic {
    client.sign_weights(weights, &validator(0)).await.unwrap()
}

async fn send(client: &ChainClient, signed: &SignedExtrinsic) {
    let sent = client.send_signed(&signed.bytes, Some(signed.era_end)).await.unwrap();
    assert_eq!(sent, SendAccepted::New);
}

/// Signs, sends and seals, and expects success in that block.
async fn land(client: &ChainClient, chain: &Chain, weights: &WeightsToSign) -> SignedExtrinsic {
    let signed = signed(client, weights).await;
    send(client, &signed).await;
    let block = chain.seal(1).await.number;
    let landed = Traced::Succeeded { hash: signed.hash, block };
    assert_eq!(traced(client, chain, &signed).await, landed);
    signed
}

async fn traced(client: &ChainClient, chain: &Chain, signed: &SignedExtrinsic) -> Traced {
    client.trace(&[signed.hash], BlockNumber(0), chain.head().number).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timelocked_commit_lands_and_is_opened_by_the_chain_itself() {
    let chain = concealing().await;
    let client = chain.client().await;
    chain.seal(3).await;
    let form = WeightsForm::Timelocked {
        commit_version: 4,
        beacon_key: hex::decode(BEACON_KEY).unwrap(),
        reveal_round: 1000,
        reveal_epoch: EpochIndex(1),
    };
    let weights = WeightsToSign { form, ..chain.weights(0, &VECTOR) };
    let signed = land(&client, &chain, &weights).await;
    let Carries::Timelocked { commit, reveal_round: 1000, reveal_epoch: EpochIndex(1) } =
        signed.carries
    else {
        panic!("{:?}", signed.carries)
    };
    let waiting = chain.localnet.chain().read(|| TimelockedWeightCommits::<Runtime>::get(1, 0));
    let waiting = waiting.unwrap();
    assert_eq!(commit.0, sp_crypto_hashing::blake2_256(&waiting[0].2));
    assert!(!signed.bytes.windows(4).any(|bytes| bytes == [0xff, 0xff, 0x39, 0x30]), "concealed");

    alter(&chain, || {
        let signature = hex::decode(ROUND_1000).unwrap();
        let pulse = Pulse {
            round: 1000,
            randomness: vec![0; 32].try_into().unwrap(),
            signature: signature.try_into().unwrap(),
        };
        Pulses::<Runtime>::insert(1000, pulse);
    })
    .await;
    chain.seal(8).await;
    assert_eq!(chain.view(&client).await.weights_of(Uid(0)), VECTOR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hash_commit_and_its_reveal_land_with_the_salt_that_was_drawn() {
    let chain = concealing().await;
    let client = chain.client().await;
    chain.seal(3).await;
    let commit = WeightsToSign { form: WeightsForm::Hashed, ..chain.weights(0, &VECTOR) };
    let signed = land(&client, &chain, &commit).await;
    assert_eq!(signed.vector, VECTOR);
    let Carries::Hashed { salt, .. } = signed.carries else { panic!("{:?}", signed.carries) };
    assert_eq!(salt.len(), SALT_LEN);
    chain.seal(8).await;
    let form = WeightsForm::Reveal { salt };
    let reveal = WeightsToSign { form, ..chain.weights(1, &VECTOR) };
    let signed = land(&client, &chain, &reveal).await;
    assert_eq!(signed.carries, Carries::Reveal);
    assert_eq!(chain.view(&client).await.weights_of(Uid(0)), VECTOR);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_beacon_key_is_refused_before_anything_is_signed() {
    let chain = concealing().await;
    let client = chain.client().await;
    chain.seal(3).await;
    let with = |beacon_key| WeightsForm::Timelocked {
        commit_version: 4,
        beacon_key,
        reveal_round: 1000,
        reveal_epoch: EpochIndex(1),
    };
    let sign = |key| {
        let weights = WeightsToSign { form: with(key), ..chain.weights(0, &VECTOR) };
        let client = client.clone();
        async move { client.sign_weights(&weights, &validator(0)).await.unwrap_err() }
    };
    let short = sign(vec![1; 48]).await;
    assert!(matches!(short, SignError::BeaconKey { got: 48 }), "{short}");
    let no_point = sign(vec![1; 96]).await;
    assert!(matches!(no_point, SignError::Conceal(_)), "{no_point}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_while_the_pool_holds_something_of_the_hotkey() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let first = signed(&client, &chain.weights(0, &VECTOR)).await;
    send(&client, &first).await;
    let own = validator(0);
    let pending = client.sign_weights(&chain.weights(0, &VECTOR), &own).await.unwrap_err();
    assert!(matches!(pending, SignError::Pending { nonce: 0, next: 1 }), "{pending}");
    let ahead = client.sign_weights(&chain.weights(5, &VECTOR), &own).await.unwrap_err();
    assert!(matches!(ahead, SignError::EndpointBehind { nonce: 5, next: 1 }), "{ahead}");
    chain.seal(1).await;
    signed(&client, &chain.weights(1, &VECTOR)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_era_from_a_distant_finalized_block_lands_and_is_traced_once_final() {
    let options = ChainOptions { finality_lag: 20, ..ChainOptions::default() };
    let genesis = neurons(&[10], 2);
    let chain = Chain::start_with(Config { genesis, options, ..Config::default() }).await;
    let client = chain.client().await;
    chain.seal(30).await;
    let weights = chain.weights(0, &VECTOR);
    let binding = Binding { era_blocks: 32, ..weights.binding };
    assert_eq!(binding.anchor, BlockNumber(10));
    let signed = signed(&client, &WeightsToSign { binding, ..weights }).await;
    assert_eq!((signed.anchor, signed.era_end), (BlockNumber(10), BlockNumber(42)));
    send(&client, &signed).await;
    chain.seal(1).await;
    let hashes = [signed.hash];
    let trace = |until| client.trace(&hashes, signed.anchor, BlockNumber(until));
    let early = trace(31).await.unwrap_err();
    let behind = |number: u64| BlockNumber(number);
    assert!(
        matches!(early, TraceError::EndpointBehind { finalized, until }
            if finalized == behind(11) && until == behind(31)),
        "{early}"
    );
    assert_eq!(trace(11).await.unwrap(), Traced::NotFound);
    chain.seal(20).await;
    let landed = Traced::Succeeded { hash: signed.hash, block: BlockNumber(31) };
    assert_eq!(trace(31).await.unwrap(), landed);
    let others = [Digest([1; 32]), Digest([2; 32])];
    let none = client.trace(&others, BlockNumber(0), BlockNumber(31)).await.unwrap();
    assert_eq!(none, Traced::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_the_same_bytes_land_after_a_reorganisation_took_them_back() {
    let options = ChainOptions { finality_lag: 5, ..ChainOptions::default() };
    let genesis = neurons(&[10], 2);
    let chain = Chain::start_with(Config { genesis, options, ..Config::default() }).await;
    let client = chain.client().await;
    chain.seal(8).await;
    let signed = signed(&client, &chain.weights(0, &VECTOR)).await;
    send(&client, &signed).await;
    chain.seal(1).await;
    let inner = chain.localnet.chain().clone();
    tokio::task::spawn_blocking(move || inner.reorg(2, Fate::Lost).unwrap()).await.unwrap();
    assert_eq!(chain.pending(), 0, "nobody has them any more");
    let nonce = client.next_nonce(&validator(0).public()).await.unwrap();
    assert_eq!(nonce, 0, "the chain took it back");
    send(&client, &signed).await;
    let block = BlockNumber(chain.best().number.0 + 1);
    chain.seal(6).await;
    let landed = Traced::Succeeded { hash: signed.hash, block };
    assert_eq!(traced(&client, &chain, &signed).await, landed);
}

/// Two nodes of one chain, with pools of their own.
#[tokio::test(flavor = "multi_thread")]
async fn case_08_every_endpoint_gets_the_same_bytes() {
    let first = Chain::start(neurons(&[10], 2)).await;
    let second = Chain::start(neurons(&[10], 2)).await;
    let endpoints = vec![first.localnet.url(), second.localnet.url()];
    let client = ChainClient::connect(ChainConfig { endpoints, ..first.config() }).await.unwrap();
    assert_eq!(first.seal(6).await, second.seal(6).await);
    let one = signed(&client, &first.weights(0, &VECTOR)).await;
    let rival = signed(&client, &first.weights(0, &VECTOR[..1])).await;
    send(&client, &one).await;
    soon("the second pool", async {
        while second.pending() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((first.pending(), second.pending()), (1, 1));
    let usurper = client.send_signed(&rival.bytes, None).await.unwrap_err();
    assert!(matches!(usurper, SendRefused::NonceTaken), "{usurper}");

    // The first node loses what it accepted; the second one has it, and that is enough.
    first.localnet.chain().evict(None, &localnet::chain::TxStatus::Dropped);
    let again = client.send_signed(&one.bytes, Some(one.era_end)).await;
    assert!(again.is_ok(), "{again:?}");
    first.localnet.stop().await;
    second.seal(1).await;
    soon("the second endpoint", async {
        while client.finalized_head().await.ok().flatten() != Some(second.head()) {}
    })
    .await;
    assert_eq!(second.view(&client).await.weights_of(Uid(0)), VECTOR);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_mid_flight_is_signed_for_without_a_new_connection() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let before = signed(&client, &chain.weights(0, &VECTOR)).await;
    let old = before.spec_version;
    let to =
        UpgradeTo { spec_version: Some(old + 1), error_shift: Some(3), ..UpgradeTo::default() };
    let failing = client.sign_weights(&chain.weights(0, &VECTOR), &miner(0)).await.unwrap();
    client.send_signed(&failing.bytes, None).await.unwrap();
    let block = chain.seal(1).await.number;
    upgrade(&chain, to).await;
    let error = "SubtensorModule::NeuronNoValidatorPermit".to_owned();
    let failed = Traced::Failed { hash: failing.hash, block, error: error.clone() };
    assert_eq!(traced(&client, &chain, &failing).await, failed, "by its number at that time");

    let refused = client.send_signed(&before.bytes, Some(before.era_end)).await.unwrap_err();
    assert!(matches!(refused, SendRefused::BadSignature), "{refused}");
    let weights = chain.weights(1, &VECTOR);
    let failing = client.sign_weights(&weights, &miner(0)).await.unwrap();
    assert_eq!(failing.spec_version, old + 1);
    client.send_signed(&failing.bytes, None).await.unwrap();
    land(&client, &chain, &chain.weights(0, &VECTOR)).await;
    let block = chain.head().number;
    let failed = Traced::Failed { hash: failing.hash, block, error };
    assert_eq!(traced(&client, &chain, &failing).await, failed, "by its new number");
    assert_eq!(client.endpoints()[0].failures, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_with_a_certificate_is_published() {
    let chain = Chain::start_sealing(neurons(&[10], 1)).await;
    let client = chain.client().await;
    let address = "10.1.2.3:8091".parse().unwrap();
    let certificate = [[1].as_slice(), &[7; 32]].concat();
    let own = miner(0);
    let served = client.serve_axon_tls(&own, address, &certificate);
    let block = soon("the certificate", served).await.unwrap();
    let view = client.view_at(block.hash).await.unwrap();
    assert_eq!(view.neuron(&miner(0).public()).unwrap().axon, Some(address));
    let long = client.serve_axon_tls(&miner(0), address, &[1; 66]).await.unwrap_err();
    assert!(long.to_string().contains("serve_axon_tls"), "{long}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_a_pool_has_its_name_and_the_next_endpoint_is_asked() {
    let also_listen = vec!["127.0.0.1:0".parse().unwrap()];
    let genesis = neurons(&[10], 2);
    let chain = Chain::start_with(Config { genesis, also_listen, ..Config::default() }).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let signed = signed(&client, &chain.weights(0, &VECTOR)).await;
    let answers = |listener: usize, code: i32| {
        let refuse = json!({ "author_submitExtrinsic": code });
        chain.localnet.fault(json!({ "listener": listener, "refuse": refuse })).unwrap();
    };
    for (code, expected) in [
        (1002, "Undecodable"),
        (1011, "UnknownValidity"),
        (1012, "Banned"),
        (1014, "NonceTaken"),
        (1016, "PoolFull"),
        (-32_000, "Other"),
        (-32_005, "Unreachable(Throttled"),
    ] {
        let client = ChainClient::connect(chain.config()).await.unwrap();
        answers(0, code);
        let refused = client.send_signed(&signed.bytes, None).await.unwrap_err();
        assert!(format!("{refused:?}").starts_with(expected), "{code}: {refused:?}");
        assert!(refused.to_string().contains("the node") || code == 1002, "{refused}");
    }
    answers(0, 1013);
    let known = client.send_signed(&signed.bytes, None).await.unwrap();
    assert_eq!((known, chain.pending()), (SendAccepted::Known, 0));

    // A full pool, and room in the next one.
    answers(0, 1016);
    let endpoints = chain.localnet.urls();
    let both = ChainClient::connect(ChainConfig { endpoints, ..chain.config() }).await.unwrap();
    send(&both, &signed).await;
    assert_eq!(chain.pending(), 1);
    // Both refuse: the first one's word counts, unless it could not be asked.
    answers(1, 1012);
    let refused = both.send_signed(&signed.bytes, None).await.unwrap_err();
    assert!(matches!(refused, SendRefused::PoolFull), "{refused}");
    chain.localnet.fault(json!({ "listener": 0, "down": true })).unwrap();
    let refused = both.send_signed(&signed.bytes, None).await.unwrap_err();
    assert!(matches!(refused, SendRefused::Banned), "{refused}");
}

/// An endpoint that hangs does not cost the block for which the bytes were made.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_reach_the_next_endpoint_while_the_first_one_hangs() {
    let also_listen = vec!["127.0.0.1:0".parse().unwrap()];
    let genesis = neurons(&[10], 2);
    let chain = Chain::start_with(Config { genesis, also_listen, ..Config::default() }).await;
    let endpoints = chain.localnet.urls();
    // The deadline of a call is a minute here, longer than the patience of this test.
    let config = ChainConfig { endpoints, ..chain.config() };
    let client = ChainClient::connect(config).await.unwrap();
    chain.seal(6).await;
    let signed = signed(&client, &chain.weights(0, &VECTOR)).await;
    chain.localnet.fault(json!({ "listener": 0, "deaf": true })).unwrap();
    soon("the other endpoint", send(&client, &signed)).await;
    assert_eq!(chain.pending(), 1);
}

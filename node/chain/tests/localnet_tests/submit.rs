use node_chain::{ChainClient, ChainConfig, SendAccepted, SendRefused, SubmitError};
use node_core::id::Uid;
use node_core::machine::effect::WeightsToSign;
use node_core::machine::event::Traced;
use node_core::rows::SignedExtrinsic;
use node_core::unit::BlockNumber;

use crate::support::{miner, neurons, soon, validator, Chain, ERA_BLOCKS, VECTOR};

async fn prepared(
    client: &ChainClient,
    chain: &Chain,
    nonce: u32,
    vector: &[(Uid, u16)],
) -> SignedExtrinsic {
    client.sign_weights(&chain.weights(nonce, vector), &validator(0)).await.unwrap()
}

/// How an extrinsic sent above went, with the block it went in.
async fn found(client: &ChainClient, chain: &Chain, signed: &SignedExtrinsic) -> Traced {
    client.trace(&[signed.hash], BlockNumber(0), chain.head().number).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_were_prepared_and_sent_are_read_back_byte_for_byte() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let own = validator(0).public();
    let client = chain.client_of(own).await;
    chain.seal(6).await;
    let signed = prepared(&client, &chain, 0, &VECTOR).await;
    assert_eq!((signed.nonce, signed.era_end), (0, BlockNumber(6 + ERA_BLOCKS)));
    chain.seal(1).await;
    assert_eq!(chain.pending(), 0, "preparing sends nothing");
    assert_eq!(chain.view(&client).await.own_nonce, 0);

    let sent = client.send_signed(&signed.bytes, Some(signed.era_end)).await.unwrap();
    assert_eq!(sent, SendAccepted::New);
    assert_eq!(client.next_nonce(&own).await.unwrap(), 1, "the pool counts");
    assert_eq!(found(&client, &chain, &signed).await, Traced::NotFound);
    let head = chain.seal(1).await;
    let view = chain.view(&client).await;
    assert_eq!(view.weights, [(Uid(0), VECTOR.to_vec())]);
    assert_eq!(view.neurons[0].last_update, head.number);
    assert_eq!(view.own_nonce, 1);
    assert_eq!(
        found(&client, &chain, &signed).await,
        Traced::Succeeded { hash: signed.hash, block: head.number }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_the_same_bytes_again_is_harmless() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client_of(validator(0).public()).await;
    chain.seal(6).await;
    let signed = prepared(&client, &chain, 0, &VECTOR).await;
    let send = || client.send_signed(&signed.bytes, Some(signed.era_end));
    assert_eq!(send().await.unwrap(), SendAccepted::New);
    assert_eq!(send().await.unwrap(), SendAccepted::Known);
    chain.seal(1).await;
    let landed = chain.view(&client).await;
    let again = send().await.unwrap_err();
    assert!(matches!(again, SendRefused::Banned | SendRefused::StaleNonce), "{again}");
    chain.seal(2).await;
    let later = chain.view(&client).await;
    assert_eq!((later.own_nonce, &later.weights), (1, &landed.weights));
    assert_eq!(later.neurons[0].last_update, landed.neurons[0].last_update);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_nonce_and_a_pending_nonce_are_named() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let first = prepared(&client, &chain, 0, &VECTOR).await;
    let rival = prepared(&client, &chain, 0, &VECTOR[..1]).await;
    let late = prepared(&client, &chain, 0, &VECTOR[..1]).await;
    client.send_signed(&first.bytes, None).await.unwrap();
    let taken = client.send_signed(&rival.bytes, None).await.unwrap_err();
    assert!(matches!(taken, SendRefused::NonceTaken), "{taken}");
    chain.seal(6).await;
    let stale = client.send_signed(&late.bytes, Some(late.era_end)).await.unwrap_err();
    assert!(matches!(stale, SendRefused::StaleNonce), "{stale}");
}

/// The last block that can take an extrinsic is the one before `era_end`.
#[tokio::test(flavor = "multi_thread")]
async fn an_era_ends_in_exactly_the_block_that_was_computed() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let in_time = prepared(&client, &chain, 0, &VECTOR).await;
    let best_of_last_chance = u32::try_from(in_time.era_end.0).unwrap() - 2;
    chain.seal(best_of_last_chance - 6).await;
    client.send_signed(&in_time.bytes, Some(in_time.era_end)).await.unwrap();
    let head = chain.seal(1).await;
    assert_eq!(head.number.0, in_time.era_end.0 - 1);
    let taken = found(&client, &chain, &in_time).await;
    assert_eq!(taken, Traced::Succeeded { hash: in_time.hash, block: head.number });

    let too_late = prepared(&client, &chain, 1, &VECTOR).await;
    let left = u32::try_from(too_late.era_end.0 - head.number.0).unwrap() - 1;
    chain.seal(left).await;
    let refused = client.send_signed(&too_late.bytes, Some(too_late.era_end)).await.unwrap_err();
    let SendRefused::EraOver { era_end, best } = refused else { panic!("{refused}") };
    assert_eq!((era_end, best.0), (too_late.era_end, too_late.era_end.0 - 1));
    let unnamed = client.send_signed(&too_late.bytes, None).await.unwrap_err();
    assert!(matches!(unnamed, SendRefused::BadSignature | SendRefused::Banned), "{unnamed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_byte_is_a_bad_signature_and_not_an_era() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let mut signed = prepared(&client, &chain, 0, &VECTOR).await;
    *signed.bytes.last_mut().unwrap() ^= 1;
    let refused = client.send_signed(&signed.bytes, Some(signed.era_end)).await.unwrap_err();
    assert!(matches!(refused, SendRefused::BadSignature), "{refused}");
    let garbage = client.send_signed(&[0xff; 8], None).await.unwrap_err();
    assert!(matches!(garbage, SendRefused::Undecodable { .. }), "{garbage}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chains_own_refusals_have_names() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let first = prepared(&client, &chain, 0, &VECTOR).await;
    client.send_signed(&first.bytes, None).await.unwrap();
    chain.seal(1).await;
    let soon_after = prepared(&client, &chain, 1, &VECTOR).await;
    let refused = client.send_signed(&soon_after.bytes, None).await.unwrap_err();
    assert!(
        matches!(refused, SendRefused::Custom { code: 6, name: "RateLimitExceeded" }),
        "{refused}"
    );
    let loopback = "127.0.0.1:80".parse().unwrap();
    let error = client.serve_axon(&miner(0), loopback).await.unwrap_err();
    assert_refused(&error, "InvalidIpAddress");
    let address = "10.0.0.1:80".parse().unwrap();
    let error = client.serve_axon(&miner(77), address).await.unwrap_err();
    assert_refused(&error, "HotKeyNotRegisteredInNetwork");
}

fn assert_refused(error: &SubmitError, expected: &str) {
    let SubmitError::Refused { source: SendRefused::Custom { name, .. }, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(*name, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_in_its_block_says_why() {
    let chain = Chain::start(neurons(&[10], 2)).await;
    let client = chain.client().await;
    chain.seal(6).await;
    let weights = chain.weights(0, &VECTOR);
    let signed = client.sign_weights(&weights, &miner(0)).await.unwrap();
    client.send_signed(&signed.bytes, None).await.unwrap();
    let block = chain.seal(1).await.number;
    let error = "SubtensorModule::NeuronNoValidatorPermit".to_owned();
    let failed = Traced::Failed { hash: signed.hash, block, error };
    assert_eq!(found(&client, &chain, &signed).await, failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commitment_of_a_stranger_or_of_too_many_bytes_is_refused() {
    let chain = Chain::start_sealing(neurons(&[10], 1)).await;
    let client = chain.client().await;
    let long = client.set_commitment(&miner(0), &[b'x'; 129]).await.unwrap_err();
    assert!(matches!(long, SubmitError::TooLong { got: 129 }), "{long}");
    let full = soon("128 bytes", client.set_commitment(&miner(0), &[b'x'; 128])).await.unwrap();
    let view = client.view_at(full.hash).await.unwrap();
    assert_eq!(view.commitments[0].bytes, [b'x'; 128]);
    let stranger = soon("a refusal", client.set_commitment(&miner(77), b"x")).await.unwrap_err();
    match stranger {
        SubmitError::Refused { source: SendRefused::Custom { .. }, .. } => {}
        SubmitError::Failed { error, .. } => {
            assert_eq!(error, "Commitments::AccountNotAllowedCommit");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_of_another_mechanism_lie_under_their_own_index() {
    let genesis = localnet::GenesisSpec { mechanisms: 2, ..neurons(&[10], 2) };
    let chain = Chain::start(genesis).await;
    let second =
        ChainClient::connect(ChainConfig { mechanism: 1, ..chain.config() }).await.unwrap();
    let first = chain.client().await;
    chain.seal(6).await;
    let weights = WeightsToSign { mechanism: 1, ..chain.weights(0, &VECTOR) };
    let signed = first.sign_weights(&weights, &validator(0)).await.unwrap();
    first.send_signed(&signed.bytes, None).await.unwrap();
    chain.seal(1).await;
    assert_eq!(chain.view(&second).await.weights_of(Uid(0)), VECTOR);
    assert_eq!(chain.view(&first).await.weights_of(Uid(0)), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn extrinsics_of_one_key_at_once_get_a_nonce_each() {
    let chain = Chain::start_sealing(neurons(&[10], 1)).await;
    let client = chain.client().await;
    let own = miner(0);
    let address = "10.0.0.1:80".parse().unwrap();
    let both =
        async { tokio::join!(client.set_commitment(&own, b"x"), client.serve_axon(&own, address)) };
    let (committed, served) = soon("both to land", both).await;
    committed.unwrap();
    served.unwrap();
    assert_eq!(client.next_nonce(&own.public()).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reserved_nonce_is_used_by_nothing_else_until_it_is_sent() {
    let chain = Chain::start_sealing(neurons(&[10], 2)).await;
    let client = chain.client_of(validator(0).public()).await;
    let mut heads = client.follow();
    while soon("a few blocks", heads.next_finalized()).await.unwrap().number < BlockNumber(6) {}
    let own = validator(0);
    let held = client.reserve_nonce(&own.public()).await;
    let nonce = client.next_nonce(&own.public()).await.unwrap();
    let signed = prepared(&client, &chain, nonce, &VECTOR).await;
    let address = "10.0.0.1:80".parse().unwrap();
    let served = client.serve_axon(&own, address);
    let sent = async {
        // The other call is polled first, and would have asked for its nonce by now.
        let waited = heads.next_finalized().await.unwrap().number;
        while heads.next_finalized().await.unwrap().number.0 < waited.0 + 3 {}
        let sent = client.send_signed(&signed.bytes, Some(signed.era_end)).await;
        drop(held);
        sent
    };
    let (served, sent) = soon("both to land", async { tokio::join!(biased; served, sent) }).await;
    assert_eq!(sent.unwrap(), SendAccepted::New);
    let served = served.unwrap();
    let Traced::Succeeded { block, .. } = found(&client, &chain, &signed).await else {
        panic!("the weights did not land")
    };
    assert!(block <= served.number, "the weights' nonce comes first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_that_is_held_for_ever_fails_a_call_and_does_not_hang_it() {
    let chain = Chain::start(neurons(&[10], 1)).await;
    let finality_timeout = std::time::Duration::from_millis(50);
    let config = ChainConfig { finality_timeout, ..chain.config() };
    let client = ChainClient::connect(config).await.unwrap();
    let _held = client.reserve_nonce(&miner(0).public()).await;
    let error = soon("the deadline", client.set_commitment(&miner(0), b"x")).await.unwrap_err();
    assert!(matches!(error, SubmitError::NonceHeld { after_ms: 50, .. }), "{error}");
    assert_eq!(chain.pending(), 0);
}

/// Two nodes of one chain: the same genesis and the same blocks.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_go_to_the_next_endpoint_when_the_first_is_gone() {
    let first = Chain::start(neurons(&[10], 2)).await;
    let second = Chain::start(neurons(&[10], 2)).await;
    let endpoints = vec![first.localnet.url(), second.localnet.url()];
    let client = ChainClient::connect(ChainConfig { endpoints, ..first.config() }).await.unwrap();
    assert_eq!(first.seal(6).await, second.seal(6).await);
    let signed = prepared(&client, &first, 0, &VECTOR).await;
    first.localnet.stop().await;
    let sent = client.send_signed(&signed.bytes, Some(signed.era_end)).await.unwrap();
    assert_eq!(sent, SendAccepted::New);
    second.seal(1).await;
    assert_eq!(second.view(&client).await.weights_of(Uid(0)), VECTOR);

    second.localnet.stop().await;
    let refused = client.send_signed(&signed.bytes, None).await.unwrap_err();
    assert!(matches!(refused, SendRefused::Unreachable(_)), "{refused}");
}

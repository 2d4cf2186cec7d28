//! An unmodified subxt client: reads, signs, watches, and hears the chain's reasons.

use localnet::{
    keys::{DevKey, Keyring, Role},
    BlockTime, Config, GenesisSpec, Localnet,
};
use sp_core::Pair;
use std::time::Duration;
use subxt::{
    config::DefaultExtrinsicParamsBuilder,
    dynamic::{self, Value},
    utils::{AccountId32, MultiSignature},
    OnlineClient, SubstrateConfig,
};

/// Long enough for a machine that is busy: blocks come ten a second.
pub(crate) const ERA_BLOCKS: u64 = 1024;

/// All the adapter a sp-core pair needs.
pub(crate) struct Signer(pub(crate) DevKey);

impl<T> subxt::transactions::Signer<T> for Signer
where
    T: subxt::Config<AccountId = AccountId32, Signature = MultiSignature>,
{
    fn account_id(&self) -> T::AccountId {
        AccountId32(self.0.pair.public().0)
    }

    fn sign(&self, payload: &[u8]) -> T::Signature {
        MultiSignature::Sr25519(self.0.pair.sign(payload).0)
    }
}

async fn start() -> (Localnet, OnlineClient<SubstrateConfig>) {
    let block_time = BlockTime::Every(Duration::from_millis(100));
    let genesis = GenesisSpec { weights_set_rate_limit: 1000, ..GenesisSpec::default() };
    let config = Config { block_time, genesis, ..Config::default() };
    let localnet = Localnet::start(config).await.unwrap();
    let client =
        OnlineClient::from_url_with_config(SubstrateConfig::new(), localnet.url()).await.unwrap();
    (localnet, client)
}

fn list(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| Value::u128(u128::from(*value))))
}

pub(crate) fn weights(dests: &[u16], values: &[u16]) -> impl subxt::transactions::Payload {
    let arguments = vec![Value::u128(1), Value::u128(0), list(dests), list(values), Value::u128(0)];
    dynamic::transaction("SubtensorModule", "set_mechanism_weights", arguments)
}

/// An error with all its causes: subxt keeps the reason in the last.
pub(crate) fn full(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" <- {error:?}"));
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn subxt_reads_the_subnet_and_lands_weights() {
    let (localnet, client) = start().await;
    let keys = Keyring::new();
    let at = client.at_current_block().await.unwrap();
    assert_eq!(at.spec_version(), 425);
    let address = dynamic::storage::<(u16, u16), AccountId32>("SubtensorModule", "Keys");
    let first = at.storage().fetch(address, (1, 0)).await.unwrap().decode().unwrap();
    let validator = keys.hotkey(Role::Validator, 0);
    assert_eq!(first.0, validator.pair.public().0);
    let address = dynamic::storage::<(u16, u16), AccountId32>("SubtensorModule", "Keys");
    let mut entries = at.storage().iter(address, (1,)).await.unwrap();
    let mut count = 0;
    while let Some(entry) = entries.next().await {
        entry.unwrap().value().decode().unwrap();
        count += 1;
    }
    assert_eq!(count, 5);

    let signer = Signer(validator);
    let params = DefaultExtrinsicParamsBuilder::new().mortal(ERA_BLOCKS).build();
    let events = client
        .tx()
        .await
        .unwrap()
        .sign_and_submit_then_watch(&weights(&[1, 2], &[7, 14]), &signer, params)
        .await
        .unwrap()
        .wait_for_finalized()
        .await
        .unwrap();
    let block = events.block_hash();
    let events = events.wait_for_success().await.unwrap();
    let names: Vec<String> = events
        .iter()
        .map(|event| event.unwrap())
        .map(|event| format!("{}.{}", event.pallet_name(), event.event_name()))
        .collect();
    assert!(names.contains(&"SubtensorModule.WeightsSet".to_owned()), "{names:?}");

    let at = client.at_block(block).await.unwrap();
    let address = dynamic::storage::<(u16, u16), Vec<(u16, u16)>>("SubtensorModule", "Weights");
    let row = at.storage().fetch(address, (1, 0)).await.unwrap().decode().unwrap();
    assert_eq!(row, [(1, 32_768), (2, 65_535)]);
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subxt_hears_why_a_transaction_was_refused_or_failed() {
    let (localnet, client) = start().await;
    let keys = Keyring::new();
    let submit = async |signer: &Signer, dests: &[u16]| {
        let payload = weights(dests, &vec![1; dests.len()]);
        let params = DefaultExtrinsicParamsBuilder::new().mortal(ERA_BLOCKS).build();
        let mut tx = client.tx().await.unwrap();
        tx.sign_and_submit_then_watch(&payload, signer, params).await
    };
    let validator = Signer(keys.hotkey(Role::Validator, 0));
    let progress = submit(&validator, &[1]).await.unwrap();
    progress.wait_for_finalized_success().await.unwrap();
    let refused = submit(&validator, &[2]).await.err().unwrap();
    let reason = full(&refused);
    assert!(reason.contains("Custom error: 6"), "{reason}");

    let miner = Signer(keys.hotkey(Role::Miner, 0));
    let failed = submit(&miner, &[0, 2]).await.unwrap().wait_for_finalized_success().await;
    let reason = full(&failed.err().unwrap());
    assert!(reason.contains("NeuronNoValidatorPermit"), "{reason}");
    localnet.stop().await;
}

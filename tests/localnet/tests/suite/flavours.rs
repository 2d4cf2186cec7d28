//! Metadata of other versions, and a runtime upgrade while clients are connected.

use crate::{
    client::{full, weights, Signer, ERA_BLOCKS},
    world::{commit, raw, set_weights, World},
};
use jsonrpsee::{
    core::client::{ClientT, Subscription, SubscriptionClientT},
    rpc_params,
    ws_client::WsClientBuilder,
};
use localnet::{
    admin::{upgrade, UpgradeTo},
    chain::{metadata, Fate, SubmitError, TxStatus},
    journal::Journal,
    keys::{Keyring, Role},
    sign::{sign_for, Terms},
    BlockTime, Chain, ChainOptions, Config, Flavour, GenesisSpec, Localnet,
};
use scale_info::{form::PortableForm, PortableRegistry, Type, TypeDef};
use serde_json::{json, Value};
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};
use std::{sync::Arc, time::Duration};
use subxt::{
    config::DefaultExtrinsicParamsBuilder, dynamic, metadata::Metadata, utils::AccountId32,
    OnlineClient, SubstrateConfig,
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

fn spec(flavour: Flavour) -> GenesisSpec {
    GenesisSpec { flavour, ..GenesisSpec::default() }
}

fn bytes(flavour: Flavour, version: u32) -> Vec<u8> {
    metadata(&World::new(spec(flavour)).chain, version).unwrap()
}

fn decoded(flavour: Flavour, version: u32) -> Metadata {
    Metadata::decode_from(&bytes(flavour, version)).unwrap()
}

/// A type in short: primitives and lists as they are, composites by their name.
fn text(types: &PortableRegistry, id: u32) -> String {
    let ty: &Type<PortableForm> = types.resolve(id).unwrap();
    let of = |id: u32| text(types, id);
    match &ty.type_def {
        TypeDef::Primitive(primitive) => format!("{primitive:?}").to_lowercase(),
        TypeDef::Sequence(list) => format!("[{}]", of(list.type_param.id)),
        TypeDef::Compact(compact) => format!("#{}", of(compact.type_param.id)),
        TypeDef::Tuple(tuple) => {
            let fields: Vec<String> = tuple.fields.iter().map(|field| of(field.id)).collect();
            format!("({})", fields.join(", "))
        }
        TypeDef::Variant(variants) if ty.path.segments == ["Option"] => {
            format!("{}?", of(variants.variants[1].fields[0].ty.id))
        }
        _ => ty.path.segments.last().cloned().unwrap_or_default(),
    }
}

fn item(metadata: &Metadata, pallet: &str, name: &str) -> String {
    let pallet = metadata.pallet_by_name(pallet).unwrap();
    let entry = pallet.storage().unwrap().entry_by_name(name).unwrap();
    let keys: Vec<String> = entry.keys().map(|key| text(metadata.types(), key.key_id)).collect();
    format!("{} -> {}", keys.join(", "), text(metadata.types(), entry.value_ty()))
}

#[test]
fn the_newtype_flavour_names_numbers_where_the_real_chain_does() {
    let table = [
        ("SubtensorModule", "Tempo", "NetUid -> u16"),
        ("SubtensorModule", "Keys", "NetUid, u16 -> AccountId32"),
        ("SubtensorModule", "Uids", "NetUid, AccountId32 -> u16"),
        ("SubtensorModule", "IsNetworkMember", "AccountId32, NetUid -> bool"),
        ("SubtensorModule", "Weights", "NetUidStorageIndex, u16 -> [(u16, u16)]"),
        ("SubtensorModule", "LastUpdate", "NetUidStorageIndex -> [u64]"),
        ("SubtensorModule", "Incentive", "NetUidStorageIndex -> [PerU16]"),
        ("SubtensorModule", "Emission", "NetUid -> [AlphaBalance]"),
        ("SubtensorModule", "Burn", "NetUid -> TaoBalance"),
        ("SubtensorModule", "MechanismCountCurrent", "NetUid -> MechId"),
        ("SubtensorModule", "ValidatorTrust", "NetUid -> [PerU16]"),
        ("SubtensorModule", "SubnetEpochConsensus", "NetUid -> EpochConsensus"),
        ("SubtensorModule", "StakeThreshold", " -> u64"),
        ("Commitments", "CommitmentOf", "NetUid, AccountId32 -> Registration"),
        ("Drand", "Pulses", "u64 -> Pulse"),
    ];
    for version in 14..=16 {
        let metadata = decoded(Flavour::Newtype, version);
        for (pallet, name, expected) in table {
            assert_eq!(item(&metadata, pallet, name), expected, "{name}, V{version}");
        }
        let pallet = metadata.pallet_by_name("SubtensorModule").unwrap();
        let argument = |call: &str, field: usize| {
            text(metadata.types(), pallet.call_variant_by_name(call).unwrap().fields[field].ty.id)
        };
        assert_eq!(argument("set_weights", 0), "NetUid");
        assert_eq!(argument("set_weights", 1), "[u16]");
        assert_eq!(argument("set_mechanism_weights", 1), "MechId");
        assert_eq!(argument("batch_set_weights", 0), "[#NetUid]");
        let event = pallet.event_variants().unwrap();
        let event = event.iter().find(|event| event.name == "WeightsSet").unwrap();
        assert_eq!(text(metadata.types(), event.fields[0].ty.id), "NetUidStorageIndex");
    }
}

#[test]
fn the_newtype_flavour_names_numbers_in_runtime_calls() {
    for version in [15, 16] {
        let metadata = decoded(Flavour::Newtype, version);
        let api = metadata.runtime_api_trait_by_name("SubnetInfoRuntimeApi").unwrap();
        let method = api.method_by_name("get_selective_metagraph").unwrap();
        let input = method.inputs().next().unwrap();
        assert_eq!(text(metadata.types(), input.id), "NetUid");
        let answer = metadata.types().resolve(method.output_ty()).unwrap();
        let TypeDef::Variant(option) = &answer.type_def else { panic!("{answer:?}") };
        let answer = metadata.types().resolve(option.variants[1].fields[0].ty.id).unwrap();
        let TypeDef::Composite(answer) = &answer.type_def else { panic!("{answer:?}") };
        let field = |name: &str| {
            let mut fields = answer.fields.iter();
            let found = fields.find(|field| field.name.as_deref() == Some(name)).unwrap();
            text(metadata.types(), found.ty.id)
        };
        assert_eq!(field("netuid"), "#NetUid");
        assert_eq!(field("burn"), "#TaoBalance?");
        assert_eq!(field("emission"), "[#AlphaBalance]?");
        assert_eq!(field("incentives"), "[#PerU16]?");
        assert_eq!(field("tempo"), "#u16?");
    }
}

#[test]
fn the_primitive_flavour_is_the_runtimes_own() {
    let metadata = decoded(Flavour::Primitive, 16);
    assert_eq!(item(&metadata, "SubtensorModule", "Keys"), "u16, u16 -> AccountId32");
    let pallet = metadata.pallet_by_name("SubtensorModule").unwrap();
    assert!(pallet.storage().unwrap().entry_by_name("SubnetEpochConsensus").is_none());
}

async fn connect(localnet: &Localnet) -> OnlineClient<SubstrateConfig> {
    OnlineClient::from_url_with_config(SubstrateConfig::new(), localnet.url()).await.unwrap()
}

async fn start(flavour: Flavour) -> Localnet {
    let genesis = GenesisSpec { weights_set_rate_limit: 0, ..spec(flavour) };
    let block_time = BlockTime::Every(Duration::from_millis(50));
    Localnet::start(Config { genesis, block_time, ..Config::default() }).await.unwrap()
}

fn signer(role: Role) -> Signer {
    Signer(Keyring::new().hotkey(role, 0))
}

/// Reads and sends with a client that knows nothing of flavours; what became of it.
async fn land_weights(
    client: &OnlineClient<SubstrateConfig>,
    role: Role,
    dests: &[u16],
) -> Result<(), String> {
    let at = client.at_current_block().await.unwrap();
    let address = dynamic::storage::<(u16, u16), AccountId32>("SubtensorModule", "Keys");
    at.storage().fetch(address, (1, 0)).await.unwrap().decode().unwrap();
    let params = DefaultExtrinsicParamsBuilder::new().mortal(ERA_BLOCKS).build();
    let payload = weights(dests, &vec![1; dests.len()]);
    let progress = client
        .tx()
        .await
        .unwrap()
        .sign_and_submit_then_watch(&payload, &signer(role), params)
        .await
        .map_err(|error| full(&error))?;
    progress.wait_for_finalized_success().await.map(drop).map_err(|error| full(&error))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unmodified_client_works_with_the_newtype_flavour() {
    let localnet = start(Flavour::Newtype).await;
    land_weights(&connect(&localnet).await, Role::Validator, &[1, 2]).await.unwrap();
    localnet.stop().await;
}

fn upgraded() -> UpgradeTo {
    UpgradeTo {
        spec_version: Some(475),
        flavour: Some(Flavour::Newtype),
        error_shift: Some(3),
        without: Some(vec!["SubtensorModule.ActivityCutoffFactorMilli".to_owned()]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_survives_an_upgrade_and_reads_errors_by_name_on_both_sides_of_it() {
    let localnet = start(Flavour::Primitive).await;
    let client = connect(&localnet).await;
    land_weights(&client, Role::Validator, &[1]).await.unwrap();
    let reason = land_weights(&client, Role::Miner, &[0, 2]).await.unwrap_err();
    assert!(reason.contains("NeuronNoValidatorPermit"), "{reason}");

    let chain = localnet.chain().clone();
    let alice = Keyring::new().derive(&["Alice"]);
    tokio::task::spawn_blocking(move || upgrade(&chain, &alice, upgraded()))
        .await
        .unwrap()
        .unwrap();
    let best = localnet.chain().best().number();
    timeout(PATIENCE, localnet.reached(best + 2)).await.unwrap();
    assert_eq!(client.at_current_block().await.unwrap().spec_version(), 475);
    land_weights(&client, Role::Validator, &[2]).await.unwrap();
    let reason = land_weights(&client, Role::Miner, &[0, 2]).await.unwrap_err();
    assert!(reason.contains("NeuronNoValidatorPermit"), "{reason}");
    localnet.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upgrade_is_seen_by_every_way_of_asking_and_old_blocks_stay_as_they_were() {
    let localnet = Localnet::start(Config::default()).await.unwrap();
    let client = WsClientBuilder::default().build(localnet.url()).await.unwrap();
    let mut versions: Subscription<Value> = client
        .subscribe(
            "state_subscribeRuntimeVersion",
            rpc_params![],
            "state_unsubscribeRuntimeVersion",
        )
        .await
        .unwrap();
    let mut next = async || {
        let version = timeout(PATIENCE, versions.next()).await.unwrap().unwrap().unwrap();
        version["specVersion"].clone()
    };
    assert_eq!(next().await, 425);
    let to = json!({
        "spec_version": 475,
        "flavour": "newtype",
        "without": ["SubnetInfoRuntimeApi.get_metagraph"],
    });
    client.request::<Value, _>("dev_upgrade", rpc_params![to]).await.unwrap();
    client.request::<Value, _>("dev_seal", rpc_params![3]).await.unwrap();
    assert_eq!(next().await, 475);
    for (number, spec, api) in [(0, 425, true), (1, 475, false), (3, 475, false)] {
        let at: Value = client.request("chain_getBlockHash", rpc_params![number]).await.unwrap();
        let version: Value =
            client.request("state_getRuntimeVersion", rpc_params![&at]).await.unwrap();
        assert_eq!(version["specVersion"], spec, "block {number}");
        let metadata: String = client.request("state_getMetadata", rpc_params![&at]).await.unwrap();
        let metadata = hex::decode(metadata.strip_prefix("0x").unwrap()).unwrap();
        let metadata = Metadata::decode_from(&metadata).unwrap();
        let key = if spec == 475 { "NetUid -> u16" } else { "u16 -> u16" };
        assert_eq!(item(&metadata, "SubtensorModule", "Tempo"), key, "block {number}");
        let call = rpc_params!["SubnetInfoRuntimeApi_get_metagraph", "0x0100", &at];
        let answer = client.request::<Value, _>("state_call", call).await;
        assert_eq!(answer.is_ok(), api, "block {number}: {answer:?}");
    }
    localnet.stop().await;
}

#[test]
fn an_upgrade_spoils_pending_signatures_and_survives_reorganisation_and_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let journal = Journal::open(dir.path(), &GenesisSpec::default()).unwrap();
        let options = ChainOptions { finality_lag: 9, ..ChainOptions::default() };
        let chain = Chain::from_journal(journal, options).unwrap();
        World { chain: Arc::new(chain), keys: Keyring::new() }
    };
    let world = open();
    let miner = world.miner(0);
    let alice = world.keys.derive(&["Alice"]);
    // It waits for an earlier nonce while the upgrade happens.
    let early = world.signed_at(&miner, 1, commit(vec![raw(b"early")]));
    let (_, mut watcher) = world.chain.submit_and_watch(early).unwrap();
    upgrade(&world.chain, &alice, upgraded()).unwrap();
    world.seal();
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Future);
    assert_eq!(watcher.try_recv().unwrap(), TxStatus::Invalid);
    let bad = TransactionValidityError::Invalid(InvalidTransaction::BadProof);
    let old = world.signed(&world.validator(0), set_weights(&[1], &[1]));
    assert_eq!(world.chain.submit(old), Err(SubmitError::Invalid(bad)));
    let genesis = world.chain.genesis_hash();
    let sign = |call| sign_for(475, call, &world.validator(0).pair, genesis, Terms::immortal(0));
    world.chain.submit(sign(set_weights(&[1], &[1]))).unwrap();
    assert_eq!(world.seal().body.len(), 2);

    // Given up, the upgrade happens again on the new line.
    world.chain.reorg(2, Fate::Return).unwrap();
    let spec = |world: &World| world.chain.version(None).unwrap().spec_version;
    assert_eq!(spec(&world), 475);
    drop(world);
    assert_eq!(spec(&open()), 475);
}

#[test]
fn a_chain_may_start_with_a_later_version() {
    let genesis = GenesisSpec { spec_version: 500, ..spec(Flavour::Newtype) };
    let world = World::new(genesis);
    assert_eq!(world.chain.version(None).unwrap().spec_version, 500);
    let sent = upgrade(&world.chain, &world.keys.derive(&["Alice"]), UpgradeTo::default());
    assert_eq!(sent.unwrap().len(), 1, "the sudo key signs for the version in force");
}

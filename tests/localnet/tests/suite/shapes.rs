//! Every storage item and call here has the shape it has on the real chain.

use crate::world::World;
use localnet::{chain::metadata, GenesisSpec};
use std::{collections::BTreeMap, path::Path};
use subxt::metadata::Metadata;

fn ours() -> Metadata {
    let world = World::new(GenesisSpec::default());
    Metadata::decode_from(&metadata(&world.chain, 16).unwrap()).unwrap()
}

/// The runtime calls that a node makes.
const RUNTIME_CALLS: &[(&str, &str)] = &[
    ("Core", "version"),
    ("Metadata", "metadata_at_version"),
    ("AccountNonceApi", "account_nonce"),
    ("SubnetInfoRuntimeApi", "get_next_epoch_start_block"),
];

/// subxt's fingerprint of every storage item, call and constant of our pallets (name, hashers,
/// types, defaults), and the number of every event and error.
fn fingerprints(metadata: &Metadata) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for name in ["SubtensorModule", "Commitments", "Drand"] {
        let pallet = metadata.pallet_by_name(name).unwrap();
        for entry in pallet.storage().unwrap().entries() {
            let hash = pallet.storage_hash(entry.name()).unwrap();
            all.insert(format!("{name}.{}", entry.name()), hex::encode(&hash[..4]));
        }
        for call in pallet.call_variants().unwrap() {
            let hash = pallet.call_hash(&call.name).unwrap();
            all.insert(format!("{name}.{}()", call.name), hex::encode(&hash[..4]));
        }
        let events = pallet.event_variants().unwrap().iter().map(|event| ("Event", event));
        let errors = pallet.error_variants().unwrap().iter().map(|error| ("Error", error));
        for (kind, variant) in events.chain(errors) {
            all.insert(format!("{name}.{kind}.{}", variant.name), variant.index.to_string());
        }
    }
    let aura = metadata.pallet_by_name("Aura").unwrap();
    let hash = aura.constant_hash("SlotDuration").unwrap();
    all.insert("Aura.SlotDuration".to_owned(), hex::encode(&hash[..4]));
    for (api, method) in RUNTIME_CALLS {
        let api = metadata.runtime_api_trait_by_name(api).unwrap();
        let hash = api.method_by_name(method).unwrap().hash();
        all.insert(format!("{}_{method}", api.name()), hex::encode(&hash[..4]));
    }
    all
}

fn table(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, hash) = line.split_once(' ').unwrap();
        (name.to_owned(), hash.to_owned())
    };
    lines.map(pair).collect()
}

#[test]
fn storage_and_calls_have_the_fingerprints_of_spec_425() {
    let real = table(include_str!("spec425.txt"));
    for (name, hash) in fingerprints(&ours()) {
        assert_eq!(real.get(&name), Some(&hash), "{name}");
    }
}

#[test]
#[ignore = "needs the real chain's metadata: ASSAY_METADATA_DIR=<directory with the .scale files>"]
fn the_table_is_that_of_the_real_metadata() {
    let dir = std::env::var("ASSAY_METADATA_DIR").expect("ASSAY_METADATA_DIR is not set");
    let file = Path::new(&dir).join("subtensor-spec425-2026-06.scale");
    let real = Metadata::decode_from(&std::fs::read(file).unwrap()).unwrap();
    let real = fingerprints(&real);
    let ours = fingerprints(&ours());
    let shared: String =
        ours.keys().filter_map(|name| Some(format!("{name} {}\n", real.get(name)?))).collect();
    let (_, body) = include_str!("spec425.txt").split_once("\n").unwrap();
    assert_eq!(body, shared, "spec425.txt has to say this");
}

#[test]
fn pallets_have_the_real_chains_indices() {
    let metadata = ours();
    let indices: Vec<(String, u8)> =
        metadata.pallets().map(|p| (p.name().to_owned(), p.call_index())).collect();
    let expected = [
        ("System", 0),
        ("Timestamp", 2),
        ("Aura", 3),
        ("Balances", 5),
        ("TransactionPayment", 6),
        ("SubtensorModule", 7),
        ("Sudo", 12),
        ("Commitments", 18),
        ("Drand", 26),
    ];
    let expected: Vec<(String, u8)> =
        expected.into_iter().map(|(name, index)| (name.to_owned(), index)).collect();
    assert_eq!(indices, expected);
}

#[test]
fn extensions_come_in_the_real_chains_order() {
    let metadata = ours();
    let names: Vec<&str> = metadata
        .extrinsic()
        .transaction_extensions_by_version(0)
        .unwrap()
        .map(|extension| extension.identifier())
        .collect();
    let expected = [
        "CheckNonZeroSender",
        "CheckSpecVersion",
        "CheckTxVersion",
        "CheckGenesis",
        "CheckMortality",
        "CheckNonce",
        "CheckWeight",
        "ChargeTransactionPayment",
        "SudoTransactionExtension",
        "CheckShieldedTxValidity",
        "SubtensorTransactionExtension",
        "DrandPriority",
        "CheckMetadataHash",
    ];
    assert_eq!(names, expected);
}

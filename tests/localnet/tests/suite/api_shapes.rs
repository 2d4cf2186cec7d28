//! Every runtime call of the real chain that is answered here has the shape it has there.

use crate::world::World;
use localnet::{chain::metadata, GenesisSpec};
use std::{collections::BTreeMap, fmt::Write, path::Path};
use subxt::metadata::Metadata;

/// The APIs that are the real chain's own, and those of FRAME that clients read with.
const APIS: &[&str] = &[
    "AccountNonceApi",
    "Core",
    "DelegateInfoRuntimeApi",
    "Metadata",
    "NeuronInfoRuntimeApi",
    "StakeInfoRuntimeApi",
    "SubnetInfoRuntimeApi",
    "SwapRuntimeApi",
];

/// Methods whose types are the framework's, in the version each chain was built with.
const FRAMEWORK: &[&str] = &["Core_execute_block", "Core_initialize_block"];

/// subxt's fingerprint of every method: names, arguments, types.
fn fingerprints(metadata: &Metadata) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for name in APIS {
        let api = metadata.runtime_api_trait_by_name(name).unwrap();
        for method in api.methods() {
            let name = format!("{name}_{}", method.name());
            if !FRAMEWORK.contains(&&*name) {
                all.insert(name, hex::encode(&method.hash()[..4]));
            }
        }
    }
    all
}

fn ours() -> BTreeMap<String, String> {
    let world = World::new(GenesisSpec::default());
    fingerprints(&Metadata::decode_from(&metadata(&world.chain, 16).unwrap()).unwrap())
}

fn lines(fingerprints: &BTreeMap<String, String>) -> String {
    fingerprints.iter().fold(String::new(), |mut text, (name, hash)| {
        writeln!(text, "{name} {hash}").unwrap();
        text
    })
}

fn table() -> &'static str {
    include_str!("spec425_apis.txt").split_once('\n').unwrap().1
}

#[test]
fn runtime_calls_have_the_fingerprints_of_spec_425() {
    assert_eq!(lines(&ours()), table());
}

#[test]
#[ignore = "needs the real chain's metadata: ASSAY_METADATA_DIR=<directory with the .scale files>"]
fn the_table_of_runtime_calls_is_that_of_the_real_metadata() {
    let dir = std::env::var("ASSAY_METADATA_DIR").expect("ASSAY_METADATA_DIR is not set");
    let file = Path::new(&dir).join("subtensor-spec425-2026-06.scale");
    let real = Metadata::decode_from(&std::fs::read(file).unwrap()).unwrap();
    let mut real = fingerprints(&real);
    let ours = ours();
    real.retain(|name, _| ours.contains_key(name));
    assert_eq!(table(), lines(&real), "spec425_apis.txt has to say this");
}

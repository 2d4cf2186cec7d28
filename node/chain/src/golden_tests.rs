//! Vectors of the real chain, computed through the local chain's metadata and the real chain's.
//!
//! The real metadata files are not in the repository. They are looked for in `ASSAY_METADATA_DIR`,
//! else beside the checkout; without them each test says that it ran on the local chain only.

use std::path::PathBuf;

use chain_metadata::storage::{self as items, StorageItem};
use chain_metadata::{call, Absent};
use node_core::id::{BlockHash, Netuid, Uid};
use node_core::rows::Carries;
use node_core::submit_guard::Binding;
use node_core::unit::BlockNumber;
use subxt::ext::codec::{Decode as _, Encode as _};
use subxt::ext::scale_encode::EncodeAsType as _;
use subxt::ext::scale_value::Value;
use subxt::Metadata;

use crate::calls::{serve_axon_call, set_commitment_call, weights_call, WeightsCall};
use crate::decode::{outcome, stored, AxonInfo, DispatchOutcome};
use crate::encode::{call_bytes, sign_bound, storage_key};
use crate::keypair::Keypair;
use crate::runtime::Runtime;

const FILES: &[(&str, u32)] = &[
    ("finney-spec365-2025-12.scale", 365),
    ("finney-spec393-2026-04.scale", 393),
    ("subtensor-spec425-2026-06.scale", 425),
];

/// Whose shape the local chain has.
const LOCAL_SPEC_VERSION: u32 = 425;

fn directory() -> PathBuf {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/metadata");
    std::env::var_os("ASSAY_METADATA_DIR").map_or_else(|| PathBuf::from(beside), PathBuf::from)
}

/// The local chain's runtime, and every metadata file that is there.
pub(crate) fn runtimes() -> Vec<Runtime> {
    let directory = directory();
    let read = |(name, spec): &(&str, u32)| {
        let bytes = std::fs::read(directory.join(name)).ok()?;
        Some(runtime(*spec, &bytes))
    };
    let mut found: Vec<Runtime> = FILES.iter().filter_map(read).collect();
    if found.is_empty() {
        println!("SKIPPED for real chains: no metadata in {}", directory.display());
    } else {
        assert_eq!(found.len(), FILES.len(), "some metadata files are missing");
    }
    found.push(local_runtime());
    found
}

fn runtime(spec_version: u32, metadata: &[u8]) -> Runtime {
    let metadata = Metadata::decode_from(metadata).unwrap();
    Runtime::new(BlockHash([9; 32]), (spec_version, 1), metadata)
}

pub(crate) fn local_runtime() -> Runtime {
    let spec = localnet::GenesisSpec { miners: 0, ..localnet::GenesisSpec::default() };
    let chain = localnet::Chain::in_memory(&spec, localnet::ChainOptions::default()).unwrap();
    let answer = chain.call("Metadata_metadata_at_version", &16u32.encode(), None).unwrap();
    let metadata = Option::<Vec<u8>>::decode(&mut answer.as_slice()).unwrap().unwrap();
    runtime(LOCAL_SPEC_VERSION, &metadata)
}

fn alice() -> Keypair {
    Keypair::from_uri("//Alice").unwrap()
}

#[test]
fn storage_keys_are_those_of_the_real_chain() {
    let subtensor = "658faa385070e074c85bf6b568cf0555";
    let alice_hex = "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d";
    let blake2 = "de1e86a9a8c739864cf3cc5ec2bea59f";
    for runtime in runtimes() {
        let metadata = runtime.metadata();
        let alice = alice().public().0;
        let hex = |key: Result<Option<Vec<u8>>, _>| {
            let key: Result<_, crate::EncodeError> = key;
            hex::encode(key.unwrap().unwrap())
        };
        assert_eq!(
            hex(storage_key(metadata, &items::TEMPO, (1u16,))),
            format!("{subtensor}7641384bb339f3758acddfd7053d33170100")
        );
        assert_eq!(
            hex(storage_key(metadata, &items::UIDS, (1u16, alice))),
            format!("{subtensor}aab1b4e78e1ea8305462ee53b3686dc80100{blake2}{alice_hex}")
        );
        assert_eq!(
            hex(storage_key(metadata, &items::KEYS, (1u16, 0u16))),
            format!("{subtensor}9f99a2ce711f3a31b2fc05604c93f17901000000")
        );
        assert_eq!(
            hex(storage_key(metadata, &items::WEIGHTS, (4097u16, 0u16))),
            format!("{subtensor}a1e7036061f484bc3048a64b64e35ec401100000")
        );
        assert_eq!(
            hex(storage_key(metadata, &items::COMMITMENT_OF, (1u16, alice))),
            format!(
                "ca407206ec1ab726b2636c4b145ac287419a60ae8b01e6dcaebd7317e43c69bf0100\
                 518366b5b1bc7c99{alice_hex}"
            )
        );
        assert_eq!(
            hex(storage_key(metadata, &items::TIMELOCKED_WEIGHT_COMMITS, (1u16, 100u64))),
            format!(
                "{subtensor}119e1c428ff5c7c6dac4c888a10d1443f1577fbf1d628fdd0100\
                 7a3054d45c9cdfa16400000000000000"
            )
        );
        assert_eq!(
            hex(storage_key(metadata, &items::PULSES, (1000u64,))),
            "a285cdb66e8b8524ea70b1693c7b1e050d8e70fd32bfb1639703f9a23d15b15e\
             646b8858c86fefefe34a7c69e60c9917e803000000000000"
        );
    }
}

#[test]
fn calls_are_those_of_the_real_chain() {
    let vector = [(Uid(0), 65535), (Uid(1), 32768), (Uid(2), 1)];
    let weights =
        WeightsCall { netuid: Netuid(1), mechanism: 0, vector: &vector, version_key: 843_000 };
    for runtime in runtimes() {
        let call = weights_call(&runtime, &weights).unwrap();
        assert_eq!(
            hex::encode(call_bytes(&runtime, &call).unwrap()),
            "07770100000c0000010002000cffff00800100f8dc0c0000000000"
        );
        let call = set_commitment_call(Netuid(1), b"hello world").unwrap();
        assert_eq!(
            hex::encode(call_bytes(&runtime, &call).unwrap()),
            "12000100040c68656c6c6f20776f726c64"
        );
        let call = serve_axon_call(Netuid(1), "10.0.0.1:8091".parse().unwrap());
        assert_eq!(
            hex::encode(call_bytes(&runtime, &call).unwrap()),
            concat!("07040100", "01000000", "0100000a000000000000000000000000", "9b1f", "04000000")
        );
    }
}

#[test]
fn commitments_of_every_raw_length_can_be_written() {
    for runtime in runtimes() {
        for len in 0..=items::RAW_BYTES_MAX {
            let call = set_commitment_call(Netuid(1), &vec![0x61; len]).unwrap();
            let bytes = call_bytes(&runtime, &call).unwrap();
            assert_eq!(bytes.len(), 2 + 2 + 1 + 1 + len, "{len}");
            assert_eq!(usize::from(bytes[5]), 1 + len);
        }
    }
    assert!(set_commitment_call(Netuid(1), &[0x61; items::RAW_BYTES_MAX + 1]).is_none());
}

/// What a signed extrinsic of version 4 is made of, byte by byte, and that its signature covers
/// call, era, nonce, versions, genesis and anchor.
#[test]
fn a_signed_extrinsic_is_laid_out_and_signed_as_the_chain_expects() {
    let vector: Vec<(Uid, u16)> = (0..3).map(|uid| (Uid(uid), 65535)).collect();
    let weights = WeightsCall { netuid: Netuid(1), mechanism: 0, vector: &vector, version_key: 0 };
    let binding = Binding {
        nonce: 5,
        head: BlockHash([0xcd; 32]),
        anchor: BlockNumber(1_000_003),
        anchor_hash: BlockHash([0xab; 32]),
        era_blocks: 16,
    };
    for runtime in runtimes() {
        let call = weights_call(&runtime, &weights).unwrap();
        let signed = sign_bound(&runtime, &call, &alice(), &binding, Carries::Plain).unwrap();
        assert_eq!(signed.nonce, 5);
        assert_eq!(signed.era_end, BlockNumber(1_000_019));
        assert_eq!(signed.hash.0, sp_crypto_hashing::blake2_256(&signed.bytes));

        let call = call_bytes(&runtime, &call).unwrap();
        // Period 16 is 4 - 1 in the low bits, phase 3 above it: block 1000003 modulo 16 is 3.
        let era = [0x33, 0x00];
        // Era, nonce 5, tip 0, metadata hash mode 0.
        let extra = [&era[..], &[5 << 2, 0, 0]].concat();
        let body = &signed.bytes[2..];
        assert_eq!(body[0], 0x84);
        assert_eq!(body[1], 0, "the address is an id");
        assert_eq!(body[2..34], alice().public().0);
        assert_eq!(body[34], 1, "the signature is sr25519");
        assert_eq!(body[99..], [&extra[..], &call].concat());

        let spec = runtime.spec_version.encode();
        let implicit = [&spec[..], &1u32.encode(), &[9; 32], &[0xab; 32], &[0]].concat();
        let payload = [&call[..], &extra, &implicit].concat();
        let signature = sp_core::sr25519::Signature::from_raw(body[35..99].try_into().unwrap());
        let public = sp_core::sr25519::Public::from_raw(alice().public().0);
        assert!(<sp_core::sr25519::Pair as sp_core::Pair>::verify(&signature, payload, &public));
    }
}

#[test]
fn a_mechanism_without_its_call_is_refused_by_name() {
    for runtime in runtimes() {
        assert!(runtime.shapes().check_call(&call::SET_MECHANISM_WEIGHTS).is_ok());
        let missing = call::Call { name: "no_such_call", ..call::SET_WEIGHTS };
        assert!(runtime.shapes().check_call(&missing).is_err());
        let missing = StorageItem { name: "NoSuchItem", ..items::TEMPO };
        let error = storage_key(runtime.metadata(), &missing, (1u16,)).unwrap_err();
        assert_eq!(error.to_string(), "this runtime has no `SubtensorModule.NoSuchItem`");
        let fallback = StorageItem { absent: Absent::Fallback("none"), ..missing };
        assert_eq!(storage_key(runtime.metadata(), &fallback, (1u16,)).unwrap(), None);
    }
}

#[test]
fn missing_values_decode_to_the_defaults_of_the_chain() {
    for runtime in runtimes() {
        let key: Option<[u8; 32]> = stored(&runtime, &items::KEYS, None).unwrap();
        assert_eq!(key, Some([0; 32]), "a missing key is the zero account");
        let axon: Option<AxonInfo> = stored(&runtime, &items::AXONS, None).unwrap();
        assert!(axon.is_none());
        let on: Option<bool> =
            stored(&runtime, &items::COMMIT_REVEAL_WEIGHTS_ENABLED, None).unwrap();
        assert_eq!(on, Some(true));
        let tempo: Option<u64> = stored(&runtime, &items::TEMPO, None).unwrap();
        assert!(tempo.is_some());
        let row: Option<Vec<(u16, u16)>> = stored(&runtime, &items::WEIGHTS, None).unwrap();
        assert_eq!(row, Some(Vec::new()));
    }
}

/// Bytes of a value of an item's type, written by the metadata's own description.
pub(crate) fn encoded(runtime: &Runtime, item: &StorageItem, value: &Value) -> Vec<u8> {
    let entry = runtime.metadata().pallet_by_name(item.pallet).unwrap().storage().unwrap();
    let type_id = entry.entry_by_name(item.name).unwrap().value_ty();
    value.encode_as_type(type_id, runtime.metadata().types()).unwrap()
}

#[test]
fn stored_axons_are_read_through_real_metadata() {
    for runtime in runtimes() {
        let axon = Value::named_composite([
            ("block", Value::u128(7)),
            ("version", Value::u128(1)),
            ("ip", Value::u128(0x0a00_0001)),
            ("port", Value::u128(8091)),
            ("ip_type", Value::u128(4)),
            ("protocol", Value::u128(0)),
            ("placeholder1", Value::u128(0)),
            ("placeholder2", Value::u128(0)),
        ]);
        let bytes = encoded(&runtime, &items::AXONS, &axon);
        let axon: AxonInfo = stored(&runtime, &items::AXONS, Some(&bytes)).unwrap().unwrap();
        assert_eq!(axon.address(), Some("10.0.0.1:8091".parse().unwrap()));
    }
}

#[test]
fn a_value_with_bytes_left_over_is_refused() {
    for runtime in runtimes() {
        let error = stored::<u64>(&runtime, &items::TEMPO, Some(&[1, 0, 9])).unwrap_err();
        assert_eq!(error.item, "SubtensorModule.Tempo");
        assert!(stored::<u64>(&runtime, &items::TEMPO, Some(&[1])).is_err());
    }
}

/// `System.Events` with one `ExtrinsicFailed` of the given error for extrinsic 2.
fn failed_event(runtime: &Runtime, error: Value) -> Vec<u8> {
    let info = Value::named_composite([
        (
            "weight",
            Value::named_composite([("ref_time", Value::u128(1)), ("proof_size", Value::u128(0))]),
        ),
        ("class", Value::unnamed_variant("Normal", [])),
        ("pays_fee", Value::unnamed_variant("No", [])),
    ]);
    let failed = Value::named_variant(
        "ExtrinsicFailed",
        [("dispatch_error", error), ("dispatch_info", info)],
    );
    let record = |index: u32, event: Value| {
        Value::named_composite([
            ("phase", Value::unnamed_variant("ApplyExtrinsic", [Value::u128(index.into())])),
            ("event", Value::unnamed_variant("System", [event])),
            ("topics", Value::unnamed_composite([])),
        ])
    };
    encoded(runtime, &items::EVENTS, &Value::unnamed_composite([record(2, failed)]))
}

#[test]
fn a_failed_dispatch_is_named_whatever_number_the_error_has() {
    for runtime in runtimes() {
        let pallet = runtime.metadata().pallet_by_name("SubtensorModule").unwrap();
        let variants = pallet.error_variants().unwrap();
        let too_fast =
            variants.iter().find(|variant| variant.name == "SettingWeightsTooFast").unwrap();
        let error = Value::unnamed_variant(
            "Module",
            [Value::named_composite([
                ("index", Value::u128(pallet.error_index().into())),
                ("error", Value::from_bytes([too_fast.index, 0, 0, 0])),
            ])],
        );
        let events = failed_event(&runtime, error);
        let name = "SubtensorModule::SettingWeightsTooFast".to_owned();
        assert_eq!(
            outcome(&runtime, events.clone(), 2).unwrap(),
            Some(DispatchOutcome::Failed { error: name })
        );
        assert_eq!(outcome(&runtime, events, 1).unwrap(), None);

        let token = Value::unnamed_variant("Token", [Value::unnamed_variant("Frozen", [])]);
        assert_eq!(
            outcome(&runtime, failed_event(&runtime, token), 2).unwrap(),
            Some(DispatchOutcome::Failed { error: "Token::Frozen".to_owned() })
        );
        let origin = Value::unnamed_variant("BadOrigin", []);
        assert_eq!(
            outcome(&runtime, failed_event(&runtime, origin), 2).unwrap(),
            Some(DispatchOutcome::Failed { error: "BadOrigin".to_owned() })
        );
    }
}

use proptest::prelude::*;
use serde_json::{json, Value};

use super::*;
use crate::history::tests::{histories, OWNER};

fn written(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_interchange(history, &mut bytes).unwrap();
    bytes
}

fn read(value: &Value) -> Result<History, InterchangeError> {
    read_interchange(value.to_string().as_bytes())
}

fn hash_of(bytes: &[u8]) -> String {
    hex::encode(Blake2b::<U32>::digest(bytes))
}

/// A file with one commit that waits to be revealed, and one that may still land.
fn example() -> Value {
    json!({
        "format": "assay-weights-history",
        "version": 2,
        "genesis": OWNER.genesis,
        "netuid": 3,
        "hotkey": OWNER.hotkey,
        "mechanisms": [{
            "mechanism": 0,
            "adopted": 100,
            "epochs": [{
                "epoch": 11,
                "state": "committed",
                "intended": {
                    "computed_at": 200, "version_key": 7, "vector": [[0, 65535], [2, 9]]
                },
                "signings": [{
                    "hash": hash_of(&[1, 2]), "nonce": 4, "anchor": 199, "era_end": 215,
                    "spec_version": 301,
                    "carries": { "form": "hashed", "commit": "05".repeat(32), "salt": [1, 65535] },
                    "bytes": "0102"
                }],
                "committed": { "block": 204, "epoch": 11 },
                "found": hash_of(&[1, 2])
            }, {
                "epoch": 12,
                "state": "signed",
                "intended": { "computed_at": 240, "version_key": 7, "vector": [[1, 65535]] },
                "signings": [{
                    "hash": hash_of(&[3]), "nonce": 5, "anchor": 239, "era_end": 255,
                    "spec_version": 301, "carries": { "form": "plain" },
                    "vector": [[1, 65534], [2, 65535]], "bytes": "03"
                }]
            }]
        }]
    })
}

#[test]
fn a_documented_file_is_read_field_by_field_and_written_as_it_was() {
    let history = read(&example()).unwrap();
    assert_eq!(history.owner, OWNER);
    let mechanism = &history.mechanisms[&0];
    assert_eq!(mechanism.adopted, Some(BlockNumber(100)));
    let committed = &mechanism.epochs[&EpochIndex(11).into()];
    assert_eq!(
        committed.state(),
        IntentState::Committed { block: BlockNumber(204), epoch: EpochIndex(11) }
    );
    let signed = committed.ordered_signings()[0];
    assert_eq!((signed.nonce, signed.bytes.as_slice()), (4, &[1, 2][..]));
    assert!(matches!(&signed.carries, Carries::Hashed { salt, .. } if salt == &[1, 65535]));
    assert_eq!(signed.vector, [(Uid(0), 65535), (Uid(2), 9)], "left out: the intended one");
    let newer = mechanism.epochs[&EpochIndex(12).into()].ordered_signings()[0].clone();
    assert_eq!(newer.vector, [(Uid(1), 65534), (Uid(2), 65535)]);
    let again: Value = serde_json::from_slice(&written(&history)).unwrap();
    assert_eq!(again, example());
}

#[test]
fn a_file_of_the_version_before_is_read_and_says_of_which_registration_when_it_knows() {
    let mut file = example();
    file["version"] = json!(1);
    assert_eq!(read(&file).unwrap(), read(&example()).unwrap());
    // Nor did it say which signature was found.
    file["mechanisms"][0]["epochs"][0].as_object_mut().unwrap().remove("found");
    let history = read(&file).unwrap();
    assert_eq!(history.mechanisms[&0].epochs[&EpochIndex(11).into()].found, None);
    let mut landed_nowhere = example();
    landed_nowhere["mechanisms"][0]["epochs"][1]["found"] = json!(hash_of(&[3]));
    assert!(read(&landed_nowhere).is_err());
    let mut file = example();
    file["mechanisms"][0]["epochs"][0]["registered_at"] = json!(90);
    let history = read(&file).unwrap();
    let epochs: Vec<_> = history.mechanisms[&0].epochs.keys().copied().collect();
    let newer = EpochKey { registered_at: Some(BlockNumber(90)), epoch: EpochIndex(11) };
    assert_eq!(epochs, [EpochIndex(12).into(), newer], "an unknown registration is older");
    // The same epoch of two registrations is not the same epoch.
    let mut second = file["mechanisms"][0]["epochs"][0].clone();
    second["registered_at"] = json!(91);
    file["mechanisms"][0]["epochs"].as_array_mut().unwrap().push(second);
    assert_eq!(read(&file).unwrap().mechanisms[&0].epochs.len(), 3);
}

/// Reads the example with one value replaced; gives the complaint.
fn refused(pointer: &str, value: Value) -> InterchangeError {
    let mut file = example();
    *file.pointer_mut(pointer).unwrap() = value;
    read(&file).unwrap_err()
}

fn problem(pointer: &str, value: Value) -> EpochProblem {
    match refused(pointer, value) {
        InterchangeError::Epoch { problem, .. } => problem,
        error => panic!("{error}"),
    }
}

#[test]
fn every_value_that_cannot_be_is_named() {
    const EPOCH: &str = "/mechanisms/0/epochs/0";
    let at = |field: &str| format!("{EPOCH}/{field}");
    let order = problem(&at("intended/vector"), json!([[2, 1], [2, 65535]]));
    assert_eq!(order, EpochProblem::VectorOrder);
    let state = problem(&at("state"), json!("landed"));
    assert!(matches!(state, EpochProblem::State { found: "committed", .. }), "{state}");
    assert!(matches!(
        problem(&at("signings/0/bytes"), json!("0103")),
        EpochProblem::OtherBytes { .. }
    ));
    assert!(matches!(
        problem(&at("signings/0/bytes"), json!("zz")),
        EpochProblem::OtherBytes { .. }
    ));
    assert!(matches!(problem(&at("signings/0/era_end"), json!(198)), EpochProblem::Era { .. }));
    let form = problem(&at("signings/0/carries"), json!({ "form": "reveal" }));
    assert!(matches!(form, EpochProblem::Form { .. }), "{form}");
    let salt = vec![0; SALT_WORDS_MAX + 1];
    let carries = json!({ "form": "hashed", "commit": "05".repeat(32), "salt": salt });
    assert_eq!(
        problem(&at("signings/0/carries"), carries),
        EpochProblem::TooLong { field: "salt" }
    );
    let other = problem(&at("found"), json!(hash_of(&[3])));
    assert!(matches!(other, EpochProblem::Found { .. }), "{other}");
    let none = problem("/mechanisms/0/epochs/1/signings/0/bytes", Value::Null);
    assert!(matches!(none, EpochProblem::NoBytes { .. }), "{none}");
    let signing = example()["mechanisms"][0]["epochs"][0]["signings"][0].clone();
    let twice = problem(&at("signings"), json!([signing, signing]));
    assert!(matches!(twice, EpochProblem::SignatureTwice { .. }), "{twice}");
    let bytes = problem(&at("signings/0/bytes"), json!("00".repeat(EXTRINSIC_BYTES_MAX + 1)));
    assert_eq!(bytes, EpochProblem::TooLong { field: "bytes" });
}

#[test]
fn another_format_version_or_field_is_refused() {
    let error = refused("/version", json!(3));
    assert!(matches!(error, InterchangeError::OtherFormat { version: 3, .. }), "{error}");
    let error = refused("/format", json!("eip-3076"));
    assert!(error.to_string().contains("`eip-3076` version 2"), "{error}");
    let mut file = example();
    file["mechanisms"][0]["epochs"][0]["co_signings"] = json!([]);
    assert!(matches!(read(&file).unwrap_err(), InterchangeError::Malformed { .. }));
    let error = refused("/hotkey", json!("5Grwva"));
    assert!(matches!(error, InterchangeError::Malformed { .. }), "{error}");
    let error = read_interchange(&b"{}"[..]).unwrap_err();
    assert!(matches!(error, InterchangeError::Malformed { .. }), "{error}");
}

#[test]
fn what_comes_twice_is_refused() {
    let mut file = example();
    let mechanism = file["mechanisms"][0].clone();
    let epoch = mechanism["epochs"][0].clone();
    file["mechanisms"][0]["epochs"].as_array_mut().unwrap().push(epoch);
    assert!(matches!(read(&file).unwrap_err(), InterchangeError::EpochTwice { .. }));
    let mut file = example();
    file["mechanisms"].as_array_mut().unwrap().push(mechanism);
    assert!(matches!(read(&file).unwrap_err(), InterchangeError::MechanismTwice { .. }));
}

#[test]
fn an_endless_file_is_refused_by_its_length() {
    let error = read_at_most(std::io::repeat(b' '), 100).unwrap_err();
    assert!(matches!(error, InterchangeError::TooLarge), "{error}");
    assert_eq!(read_at_most(&[b' '; 100][..], 100).unwrap().len(), 100);
}

#[test]
fn another_owner_is_told_with_both_names() {
    let history = read(&example()).unwrap();
    history.check_owner(&OWNER).unwrap();
    for own in [
        Owner { genesis: BlockHash([8; 32]), ..OWNER },
        Owner { netuid: Netuid(8), ..OWNER },
        Owner { hotkey: Hotkey([8; 32]), ..OWNER },
    ] {
        let error = history.check_owner(&own).unwrap_err().to_string();
        assert!(error.contains(&OWNER.hotkey.to_string()), "{error}");
        assert!(error.contains(&format!("on subnet {} of chain {}", own.netuid, own.genesis)));
    }
}

/// What a file leaves out: bytes of what is over, and none of what may land.
fn as_exported(mut history: History) -> History {
    for epoch in history.mechanisms.values_mut().flat_map(|known| known.epochs.values_mut()) {
        let is_over = epoch.state().is_finished();
        let found = epoch.found_signing().map(|signed| signed.hash);
        let hashed = |hash: Digest| Digest(Blake2b::<U32>::digest(hash.0).into());
        epoch.found = found.map(|hash| if is_over { hash } else { hashed(hash) });
        for signed in epoch.signings.values_mut().chain(epoch.reveals.values_mut()) {
            let bytes = if is_over { Vec::new() } else { signed.hash.0.to_vec() };
            signed.bytes = bytes;
            if !is_over {
                signed.hash = Digest(Blake2b::<U32>::digest(&signed.bytes).into());
            }
        }
        // The bytes decide the hash: put them in their new places.
        for signed in [&mut epoch.signings, &mut epoch.reveals] {
            *signed = std::mem::take(signed).into_values().map(|one| (one.hash, one)).collect();
        }
    }
    history
}

proptest! {
    #[test]
    fn a_history_comes_back_from_its_file(history in histories()) {
        let history = as_exported(history);
        let again = read_interchange(written(&history).as_slice()).unwrap();
        prop_assert_eq!(&again, &history);
        prop_assert_eq!(written(&again), written(&history));
    }

    #[test]
    fn a_cut_or_changed_file_is_refused_or_is_another_history(
        at: prop::sample::Index,
        byte: u8,
        cut: bool,
    ) {
        let mut bytes = example().to_string().into_bytes();
        let at = at.index(bytes.len() - 1);
        if cut {
            bytes.truncate(at);
            prop_assert!(read_interchange(bytes.as_slice()).is_err());
        } else {
            bytes[at] = byte;
            // Anything but a panic.
            drop(read_interchange(bytes.as_slice()));
        }
    }
}

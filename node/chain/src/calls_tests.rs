//! Calls of every kind, byte by byte, through the local chain's metadata and the real chains'.

use chain_metadata::call::{self, Call};
use node_core::id::{Digest, Netuid, Uid};
use subxt::ext::codec::Encode as _;

use crate::calls::{
    commitment_call, serve_axon_call, serve_axon_tls_call, weights_call, weights_call_of,
    CallValue, CommitmentField, SubmittedForm, WeightsSubmission, COMMITMENT_RAW_BYTES_MAX,
    COMMITMENT_TIMELOCKED_BYTES_MAX,
};
use crate::encode::{call_bytes, EncodeError};
use crate::golden_tests::runtimes;
use crate::runtime::Runtime;
use crate::timelock::vectors;

const VECTOR: [(Uid, u16); 3] = [(Uid(0), 65535), (Uid(1), 32768), (Uid(2), 1)];
const SALT: [u16; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
/// Of [`VECTOR`]: uids, then values.
const COLUMNS: &str = "0c0000010002000cffff00800100";
const SALT_HEX: &str = "2001000200030004000500060007000800";
const KEY_HEX: &str = "f8dc0c0000000000";
const PLAIN: SubmittedForm<'_> = SubmittedForm::Plain { vector: &VECTOR, version_key: 843_000 };
const COMMIT: SubmittedForm<'_> = SubmittedForm::HashCommit { hash: Digest([0xab; 32]) };
const REVEAL: SubmittedForm<'_> =
    SubmittedForm::HashReveal { vector: &VECTOR, salt: &SALT, version_key: 843_000 };

fn timelocked(commit: &[u8]) -> SubmittedForm<'_> {
    SubmittedForm::Timelocked { commit, reveal_round: 1000, commit_reveal_version: 4 }
}

fn submission(mechanism: u8, form: SubmittedForm<'_>) -> WeightsSubmission<'_> {
    WeightsSubmission { netuid: Netuid(1), mechanism, form }
}

fn hex_of(runtime: &Runtime, call: &CallValue) -> String {
    hex::encode(call_bytes(runtime, call).unwrap())
}

/// Through a runtime's mechanism calls, and as if it had only those without.
fn both(runtime: &Runtime, mechanism: u8, form: SubmittedForm<'_>) -> (String, String) {
    let with = weights_call(runtime, submission(mechanism, form)).unwrap();
    assert!(with.name().contains("mechanism"), "{}", with.name());
    let without_mechanisms = |call: &Call| !call.name.contains("mechanism");
    let without = weights_call_of(without_mechanisms, &submission(0, form)).unwrap();
    (hex_of(runtime, &with), hex_of(runtime, &without))
}

#[test]
fn plain_weights_are_the_real_chains_with_and_without_a_mechanism() {
    for runtime in runtimes() {
        let (with, without) = both(&runtime, 0, PLAIN);
        assert_eq!(with, "07770100000c0000010002000cffff00800100f8dc0c0000000000");
        assert_eq!(without, "070001000c0000010002000cffff00800100f8dc0c0000000000");
        let (with, _) = both(&runtime, 2, PLAIN);
        assert_eq!(with, format!("0777010002{COLUMNS}{KEY_HEX}"));
    }
}

#[test]
fn a_timelocked_commit_carries_the_bare_ciphertext() {
    let ciphertext = hex::decode(vectors::CIPHERTEXT).unwrap();
    // The compact length of 299 bytes, round and version.
    let args = format!("ad04{}e8030000000000000400", vectors::CIPHERTEXT);
    for runtime in runtimes() {
        let (with, without) = both(&runtime, 1, timelocked(&ciphertext));
        assert_eq!(with, format!("0776010001{args}"));
        assert_eq!(without, format!("07710100{args}"));
    }
}

#[test]
fn hash_commits_and_their_reveals_are_laid_out_as_the_chain_reads_them() {
    for runtime in runtimes() {
        let (with, without) = both(&runtime, 1, COMMIT);
        assert_eq!(with, format!("0773010001{}", "ab".repeat(32)));
        assert_eq!(without, format!("07600100{}", "ab".repeat(32)));
        let (with, without) = both(&runtime, 1, REVEAL);
        let args = format!("{COLUMNS}{SALT_HEX}{KEY_HEX}");
        assert_eq!(with, format!("0774010001{args}"));
        assert_eq!(without, format!("07610100{args}"));
    }
}

#[test]
fn without_the_mechanism_call_only_mechanism_zero_is_left() {
    for form in [PLAIN, timelocked(b"c"), COMMIT, REVEAL] {
        let only_first = |call: &Call| !call.name.contains("mechanism");
        let refused = weights_call_of(only_first, &submission(1, form)).unwrap_err();
        assert!(matches!(refused, EncodeError::Missing { name, .. } if name.contains("mechanism")));
        assert!(weights_call_of(|_| false, &submission(0, form)).is_err());
        let chosen = weights_call_of(|_| true, &submission(0, form)).unwrap();
        assert!(chosen.name().contains("mechanism"), "{}", chosen.name());
    }
}

#[test]
fn an_axon_is_served_with_and_without_a_certificate() {
    let v4 = "10.0.0.1:8091".parse().unwrap();
    let v6 = "[2001:db8::1]:8091".parse().unwrap();
    let tail = "9b1f04000000";
    for runtime in runtimes() {
        let plain = hex_of(&runtime, &serve_axon_call(Netuid(1), v4));
        assert_eq!(plain, format!("0704010001000000{}{tail}", "0100000a000000000000000000000000"));
        let six = hex_of(&runtime, &serve_axon_call(Netuid(1), v6));
        let ip = 0x2001_0db8_0000_0000_0000_0000_0000_0001_u128.encode();
        assert_eq!(six, format!("0704010001000000{}9b1f06000000", hex::encode(ip)));
        let tls = serve_axon_tls_call(Netuid(1), v4, &[7; 33]).unwrap();
        let expected = format!("0728{}84{}", &plain[4..], "07".repeat(33));
        assert_eq!(hex_of(&runtime, &tls), expected);
    }
    for len in [0, 66] {
        let refused = serve_axon_tls_call(Netuid(1), v4, &vec![7; len]).unwrap_err();
        let told = "`SubtensorModule.serve_axon_tls` would be refused: a certificate has 1 to 65";
        assert!(refused.to_string().starts_with(told), "{refused}");
    }
}

fn field_hex(runtime: &Runtime, field: CommitmentField) -> String {
    let bytes = hex_of(runtime, &commitment_call(Netuid(1), &[field]).unwrap());
    bytes.strip_prefix("1200010004").unwrap().to_owned()
}

#[test]
fn a_commitment_field_of_each_kind_is_marked_as_the_chain_numbers_it() {
    let filled = "c7".repeat(32);
    let hashes = [
        ("82", CommitmentField::BlakeTwo256([0xc7; 32])),
        ("83", CommitmentField::Sha256([0xc7; 32])),
        ("84", CommitmentField::Keccak256([0xc7; 32])),
        ("85", CommitmentField::ShaThree256([0xc7; 32])),
    ];
    for runtime in runtimes() {
        for (mark, field) in hashes.clone() {
            assert_eq!(field_hex(&runtime, field), format!("{mark}{filled}"));
        }
        for len in [0_u8, 1, 127, 128] {
            let bytes = field_hex(&runtime, CommitmentField::Raw(vec![0x61; usize::from(len)]));
            assert_eq!(bytes, format!("{:02x}{}", len + 1, "61".repeat(len.into())));
        }
        let big = field_hex(&runtime, CommitmentField::Raw(vec![0x61; 129]));
        assert_eq!(big, format!("880502{}", "61".repeat(129)));
        let encrypted = vec![0x61; 3];
        let timelocked = CommitmentField::TimelockEncrypted { encrypted, reveal_round: 1000 };
        assert_eq!(field_hex(&runtime, timelocked), "860c616161e803000000000000");
    }
}

#[test]
fn several_fields_keep_their_order_and_none_clears_the_commitment() {
    let raw = |text: &str| CommitmentField::Raw(text.into());
    for runtime in runtimes() {
        let three = commitment_call(Netuid(1), &[raw("a"), raw("b"), raw("c")]).unwrap();
        assert_eq!(hex_of(&runtime, &three), "120001000c026102620263");
        let none = commitment_call(Netuid(1), &[]).unwrap();
        assert_eq!(hex_of(&runtime, &none), "1200010000");
    }
}

#[test]
fn a_commitment_that_the_chain_would_refuse_is_not_made() {
    let raw = |len| CommitmentField::Raw(vec![0; len]);
    let timelocked =
        |len| CommitmentField::TimelockEncrypted { encrypted: vec![0; len], reveal_round: 1 };
    let told = |fields: &[CommitmentField]| match commitment_call(Netuid(1), fields) {
        Ok(_) => "taken".to_owned(),
        Err(EncodeError::Argument { detail, .. }) => detail,
        Err(other) => other.to_string(),
    };
    let four = [raw(1), raw(1), raw(1), raw(1)];
    assert_eq!(told(&four), "a commitment has at most 3 fields, not 4");
    assert_eq!(told(&[raw(COMMITMENT_RAW_BYTES_MAX)]), "taken");
    assert_eq!(told(&[raw(513)]), "a field holds at most 512 plain bytes, not 513");
    assert_eq!(told(&[timelocked(COMMITMENT_TIMELOCKED_BYTES_MAX)]), "taken");
    assert_eq!(told(&[timelocked(1025)]), "a field holds at most 1024 timelocked bytes, not 1025");
}

#[test]
fn every_call_that_is_declared_can_be_made() {
    let address = "10.0.0.1:1".parse().unwrap();
    let has_mechanism = |call: &Call| call.name.contains("mechanism");
    let has_none = |call: &Call| !call.name.contains("mechanism");
    let mut made: Vec<&str> = Vec::new();
    for form in [PLAIN, timelocked(b"c"), COMMIT, REVEAL] {
        made.push(weights_call_of(has_mechanism, &submission(0, form)).unwrap().name());
        made.push(weights_call_of(has_none, &submission(0, form)).unwrap().name());
    }
    made.push(serve_axon_call(Netuid(1), address).name());
    made.push(serve_axon_tls_call(Netuid(1), address, b"k").unwrap().name());
    made.push(commitment_call(Netuid(1), &[]).unwrap().name());
    made.sort_unstable();
    let mut declared: Vec<&str> = call::ALL.iter().map(|call| call.name).collect();
    declared.sort_unstable();
    assert_eq!(made, declared);
}

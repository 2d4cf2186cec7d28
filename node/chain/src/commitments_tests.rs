use super::*;

use proptest::prelude::*;
use subxt::ext::codec::Encode as _;
use subxt::ext::scale_value::Value;

use crate::golden_tests::{encoded, local_runtime, runtimes};

fn raw(name: &str, bytes: &[u8]) -> Value {
    Value::unnamed_variant(name, [Value::from_bytes(bytes)])
}

fn timelocked() -> Value {
    Value::named_variant(
        "TimelockEncrypted",
        [("encrypted", Value::from_bytes([9; 300])), ("reveal_round", Value::u128(7))],
    )
}

/// The bytes of a registration of block 41, as the runtime stores it.
fn registration(runtime: &Runtime, fields: Vec<Value>) -> Vec<u8> {
    let info = Value::named_composite([("fields", Value::unnamed_composite(fields))]);
    let value = Value::named_composite([
        ("deposit", Value::u128(0)),
        ("block", Value::u128(41)),
        ("info", info),
    ]);
    encoded(runtime, &COMMITMENT_OF, &value)
}

fn read(runtime: &Runtime, fields: Vec<Value>) -> Option<Committed> {
    committed(runtime, &registration(runtime, fields)).unwrap()
}

#[test]
fn raw_fields_of_every_length_are_joined_in_order() {
    for runtime in runtimes() {
        for len in 0..=128usize {
            let bytes = vec![0x61; len];
            let found = read(&runtime, vec![raw(&format!("Raw{len}"), &bytes)]).unwrap();
            assert_eq!(found, Committed { block: BlockNumber(41), bytes });
        }
        let fields = vec![raw("Raw3", b"one"), raw("BigRaw", b"two"), raw("Raw5", b"three")];
        assert_eq!(read(&runtime, fields).unwrap().bytes, b"onetwothree");
    }
}

#[test]
fn fields_that_carry_no_plain_bytes_are_ignored_and_a_closed_timelock_is_no_record() {
    for runtime in runtimes() {
        let mut others: Vec<Value> =
            ["BlakeTwo256", "Sha256", "Keccak256", "ShaThree256"].map(|n| raw(n, &[7; 32])).into();
        others.extend(["None", "ResetBondsFlag"].map(|name| Value::unnamed_variant(name, [])));
        others.push(timelocked());
        for other in others {
            assert_eq!(read(&runtime, vec![other.clone()]), None);
            let mixed = vec![other.clone(), raw("Raw2", b"ok"), other];
            assert_eq!(read(&runtime, mixed).unwrap().bytes, b"ok");
        }
        assert_eq!(read(&runtime, vec![]), None);
    }
    assert!(!is_plain("TimelockRevealFailed") && !is_plain("Raw") && !is_plain("Rawhide"));
}

#[test]
fn no_commitment_grows_beyond_its_limit() {
    let runtime = local_runtime();
    let big = [1u8; 512];
    let found = read(&runtime, vec![raw("BigRaw", &big), raw("BigRaw", &big)]).unwrap();
    assert_eq!(found.bytes.len(), COMMITTED_BYTES_MAX);
}

#[test]
fn a_field_of_an_unknown_kind_is_an_error() {
    let runtime = local_runtime();
    let mut bytes = registration(&runtime, vec![Value::unnamed_variant("ResetBondsFlag", [])]);
    *bytes.last_mut().unwrap() = 250;
    assert!(committed(&runtime, &bytes).is_err());
    assert!(committed(&runtime, &bytes[..9]).is_err());
}

#[test]
fn the_newest_reveal_counts_with_or_without_its_own_length_in_front() {
    let plain = b"nas:1:pc4M4GXpT5oo0QVM9PKvXl8pmxZwPtBaDiqjpaQZmyM:".to_vec();
    let stored = |runtime: &Runtime, reveals: Vec<(Vec<u8>, u64)>| {
        let reveals = reveals.into_iter().map(|(bytes, block)| {
            Value::unnamed_composite([Value::from_bytes(bytes), Value::u128(block.into())])
        });
        encoded(runtime, &REVEALED_COMMITMENTS, &Value::unnamed_composite(reveals))
    };
    for runtime in runtimes() {
        for newest in [plain.clone(), plain.encode()] {
            let reveals = vec![(b"old".to_vec(), 3), (newest, 9), (b"older".to_vec(), 1)];
            let found = revealed(&runtime, &stored(&runtime, reveals)).unwrap().unwrap();
            assert_eq!(found, Committed { block: BlockNumber(9), bytes: plain.clone() });
        }
        assert_eq!(revealed(&runtime, &stored(&runtime, vec![])).unwrap(), None);
        assert!(revealed(&runtime, &[0xff; 7]).is_err());
    }
}

#[test]
fn only_an_exact_length_is_taken_off() {
    assert_eq!(without_length(&b"text".to_vec().encode()), b"text");
    assert_eq!(without_length(&vec![7u8; 100].encode()), [7u8; 100]);
    for kept in [&b""[..], b"text", &[16, b'a', b'b', b'c'], &[8, b'a', b'b', b'c'], &[3]] {
        assert_eq!(without_length(kept), kept);
    }
}

#[test]
fn of_a_written_and_a_revealed_commitment_the_later_one_counts() {
    let at = |block| Some(Committed { block: BlockNumber(block), bytes: block.encode() });
    assert_eq!(newest(at(3), at(4)), at(4));
    assert_eq!(newest(at(4), at(3)), at(4));
    assert_eq!(newest(None, at(3)), at(3));
    assert_eq!(newest(at(3), None), at(3));
    let written = Some(Committed { block: BlockNumber(3), bytes: vec![] });
    assert_eq!(newest(written.clone(), at(3)), written, "the reveal came before any extrinsic");
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_or_read_within_bounds(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in 0..60usize,
    ) {
        thread_local!(static RUNTIME: Runtime = local_runtime());
        RUNTIME.with(|runtime| {
            let mut broken = registration(runtime, vec![timelocked(), raw("Raw2", b"ok")]);
            let to = broken.len().min(at + bytes.len());
            broken.splice(at.min(to)..to, bytes.iter().copied());
            for bytes in [&bytes, &broken] {
                for found in [committed(runtime, bytes), revealed(runtime, bytes)] {
                    if let Ok(Some(found)) = found {
                        assert!(found.bytes.len() <= COMMITTED_BYTES_MAX);
                    }
                }
            }
        });
    }
}

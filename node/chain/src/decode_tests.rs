use super::*;

use chain_metadata::storage::COMMITMENT_OF;

fn raw(name: &str, bytes: &[u8]) -> Value {
    Value::unnamed_variant(name, [Value::from_bytes(bytes)])
}

/// A registration as subxt decodes it: the list of fields inside a one-field wrapper.
fn registration(fields: Vec<Value>) -> Value {
    let list = Value::unnamed_composite([Value::unnamed_composite(fields)]);
    Value::named_composite([
        ("deposit", Value::u128(0)),
        ("block", Value::u128(41)),
        ("info", Value::named_composite([("fields", list)])),
    ])
}

fn read(fields: Vec<Value>) -> Option<Committed> {
    committed(&COMMITMENT_OF, &registration(fields)).unwrap()
}

#[test]
fn raw_fields_of_every_length_are_joined_in_order() {
    for len in 0..=128usize {
        let bytes = vec![0x61; len];
        let found = read(vec![raw(&format!("Raw{len}"), &bytes)]).unwrap();
        assert_eq!(found, Committed { block: BlockNumber(41), bytes });
    }
    let found = read(vec![raw("Raw3", b"one"), raw("BigRaw", b"two"), raw("Raw5", b"three")]);
    assert_eq!(found.unwrap().bytes, b"onetwothree");
}

#[test]
fn a_wrapped_big_raw_is_read_through_its_wrapper() {
    let wrapped = Value::unnamed_composite([Value::from_bytes(b"inner")]);
    let found = read(vec![Value::unnamed_variant("BigRaw", [wrapped])]);
    assert_eq!(found.unwrap().bytes, b"inner");
}

#[test]
fn fields_that_carry_no_plain_bytes_are_ignored() {
    let others =
        ["None", "BlakeTwo256", "Sha256", "TimelockEncrypted", "ResetBondsFlag", "Rawhide"]
            .map(|name| raw(name, &[7; 32]))
            .to_vec();
    assert_eq!(read(others.clone()), None);
    let mixed = [others, vec![raw("Raw2", b"ok")]].concat();
    assert_eq!(read(mixed).unwrap().bytes, b"ok");
}

#[test]
fn no_commitment_grows_beyond_its_limit() {
    let big = [1u8; 512];
    let found = read(vec![raw("BigRaw", &big), raw("BigRaw", &big)]).unwrap();
    assert_eq!(found.bytes.len(), COMMITTED_BYTES_MAX);
}

#[test]
fn a_registration_of_another_shape_is_an_error() {
    let odd = Value::named_composite([("block", Value::u128(1))]);
    assert!(committed(&COMMITMENT_OF, &odd).is_err());
    assert!(committed(&COMMITMENT_OF, &Value::u128(5)).is_err());
}

#[test]
fn axons_without_a_usable_address_are_none() {
    let axon = |ip, port, ip_type| AxonInfo { ip, port, ip_type }.address();
    assert_eq!(axon(0x0a00_0001, 8091, 4), Some("10.0.0.1:8091".parse().unwrap()));
    assert_eq!(axon(1, 8091, 6), Some("[::1]:8091".parse().unwrap()));
    assert_eq!(axon(0, 8091, 4), None);
    assert_eq!(axon(0x0a00_0001, 0, 4), None);
    assert_eq!(axon(0x0a00_0001, 8091, 5), None);
    assert_eq!(axon(u128::MAX, 8091, 4), None);
}

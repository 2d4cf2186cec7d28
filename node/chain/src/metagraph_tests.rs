use super::*;

use proptest::prelude::*;
use scale_info::TypeDef;
use subxt::ext::codec::Compact;
use subxt::ext::scale_encode::EncodeAsType as _;
use subxt::ext::scale_value::Value;

use crate::golden_tests::{local_runtime, runtimes};

const ALL: Wanted = Wanted { stake: true, commitments: true };
const NOW: BlockNumber = BlockNumber(900);

fn axon(ip: u128) -> Value {
    Value::named_composite([
        ("block", Value::u128(7)),
        ("version", Value::u128(1)),
        ("ip", Value::u128(ip)),
        ("port", Value::u128(8091)),
        ("ip_type", Value::u128(4)),
        ("protocol", Value::u128(0)),
        ("placeholder1", Value::u128(0)),
        ("placeholder2", Value::u128(0)),
    ])
}

/// A commitment of block 41 as it is stored: one raw field.
fn blob(text: &[u8]) -> Vec<u8> {
    let tag = u8::try_from(text.len() + 1).unwrap();
    [&0u64.encode()[..], &41u32.encode(), &[4, tag], text].concat()
}

fn list(values: impl IntoIterator<Item = Value>) -> Option<Value> {
    Some(Value::unnamed_composite(values))
}

fn numbers(values: [u64; 3]) -> Option<Value> {
    list(values.map(|value| Value::u128(value.into())))
}

/// Three neurons, the second one without a hotkey, and three commitments: a readable one, a broken
/// one, and one of a hotkey that left.
fn column(name: &str) -> Option<Value> {
    let hotkey = |byte: u8| Value::from_bytes([byte; 32]);
    let commitment =
        |byte, bytes: Vec<u8>| Value::unnamed_composite([hotkey(byte), Value::from_bytes(bytes)]);
    match name {
        "block" => Some(Value::u128(NOW.0.into())),
        "hotkeys" => list([1, 0, 3].map(hotkey)),
        "axons" => list([0x0a00_0001, 0, 0].map(axon)),
        "block_at_registration" => numbers([10, 20, 30]),
        "total_stake" => numbers([100, 200, u64::MAX]),
        "commitments" => list([
            commitment(1, blob(b"hello")),
            commitment(3, vec![200; 5]),
            commitment(9, blob(b"gone")),
        ]),
        _ => None,
    }
}

/// The answer of a runtime, every column as `column` says and the others not asked for.
fn answer(runtime: &Runtime, column: impl Fn(&str) -> Option<Value>) -> Vec<u8> {
    let types = runtime.metadata().types();
    let output = output_type(runtime).unwrap();
    let TypeDef::Variant(option) = &types.resolve(output).unwrap().type_def else { panic!() };
    let some = option.variants.iter().find(|variant| variant.name == "Some").unwrap();
    let inside = types.resolve(some.fields[0].ty.id).unwrap();
    let TypeDef::Composite(answer) = &inside.type_def else { panic!() };
    let fields = answer.fields.iter().map(|field| {
        let name = field.name.clone().unwrap();
        let value = match column(&name) {
            _ if name == "netuid" => Value::u128(1),
            Some(value) => Value::unnamed_variant("Some", [value]),
            None => Value::unnamed_variant("None", []),
        };
        (name, value)
    });
    let value = Value::unnamed_variant("Some", [Value::named_composite(fields)]);
    value.encode_as_type(output, types).unwrap()
}

fn read(runtime: &Runtime, bytes: &[u8], wanted: Wanted) -> Result<Seating, String> {
    seating(runtime, bytes, wanted, NOW, 3).map_err(|error| error.detail)
}

#[test]
fn columns_are_read_through_every_known_runtime() {
    for runtime in runtimes() {
        let found = read(&runtime, &answer(&runtime, column), ALL).unwrap();
        let [first, last] = found.seats.as_slice() else { panic!("{:?}", found.seats) };
        let expected = Seat {
            uid: Uid(0),
            hotkey: Hotkey([1; 32]),
            registered_at: BlockNumber(10),
            axon: Some("10.0.0.1:8091".parse().unwrap()),
            stake_rao: Some(100),
        };
        assert_eq!(*first, expected);
        assert_eq!((last.uid, last.axon, last.stake_rao), (Uid(2), None, Some(u64::MAX)));
        assert_eq!(last.registered_at, BlockNumber(30));
    }
}

#[test]
fn a_broken_commitment_costs_itself_and_those_of_hotkeys_that_left_are_ignored() {
    for runtime in runtimes() {
        let found = read(&runtime, &answer(&runtime, column), ALL).unwrap();
        let expected = Committed { block: BlockNumber(41), bytes: b"hello".to_vec() };
        assert_eq!(found.seats[0].hotkey, Hotkey([1; 32]));
        assert_eq!(found.committed, [Some(expected), None]);
        assert_eq!(found.unreadable, 1);
    }
}

#[test]
fn columns_that_were_not_asked_for_are_not_missed() {
    let runtime = local_runtime();
    let few = Wanted { stake: false, commitments: false };
    let asked = |name: &str| few.has(name).then(|| column(name)).flatten();
    let found = read(&runtime, &answer(&runtime, asked), few).unwrap();
    assert_eq!(found.seats.len(), 2);
    assert!(found.seats.iter().all(|seat| seat.stake_rao.is_none()));
    let (name, arguments) = call(&runtime, Netuid(258), few).unwrap();
    assert_eq!(name, "SubnetInfoRuntimeApi_get_selective_metagraph");
    assert_eq!(arguments, (258u16, vec![7u16, 52, 55, 66]).encode());
    let (_, arguments) = call(&runtime, Netuid(1), ALL).unwrap();
    assert_eq!(arguments, (1u16, vec![7u16, 52, 55, 66, 69, 73]).encode());
}

#[test]
fn an_answer_that_lacks_a_column_or_has_an_uneven_one_is_not_used() {
    let runtime = local_runtime();
    let without = |left_out: &'static str| {
        let bytes = answer(&runtime, |name| column(name).filter(|_| name != left_out));
        read(&runtime, &bytes, ALL).unwrap_err()
    };
    for name in ["block", "hotkeys", "axons", "block_at_registration", "total_stake", "commitments"]
    {
        assert!(without(name).contains(name), "{}", without(name));
    }
    let short = answer(&runtime, |name| match name {
        "total_stake" => list([Value::u128(1)]),
        name => column(name),
    });
    let error = read(&runtime, &short, ALL).unwrap_err();
    assert_eq!(error, "column `total_stake` has 1 values for 3 uids");
    let bytes = answer(&runtime, column);
    let other = seating(&runtime, &bytes, ALL, BlockNumber(901), 3).unwrap_err();
    assert!(other.detail.contains("computed at block 900"), "{other}");
    assert!(seating(&runtime, &bytes, ALL, NOW, 4).is_err());
    assert!(read(&runtime, &[&bytes[..], &[0]].concat(), ALL).is_err(), "a byte left over");
    let nothing = read(&runtime, &[0], ALL).unwrap_err();
    assert!(nothing.contains("no such subnet"), "{nothing}");
}

#[test]
fn lengths_beyond_any_subnet_are_refused_without_keeping_anything() {
    let runtime = local_runtime();
    let bytes = answer(&runtime, |name| match name {
        "hotkeys" => list((0..=UIDS_MAX).map(|_| Value::from_bytes([1; 32]))),
        name => column(name),
    });
    let error = read(&runtime, &bytes, ALL).unwrap_err();
    assert!(error.contains("4097 items"), "{error}");
}

proptest! {
    #[test]
    fn hostile_answers_are_refused_or_read_within_bounds(
        noise in prop::collection::vec(any::<u8>(), 0..40),
        at in 0..500usize,
        cut in 0..700usize,
        length in any::<u32>(),
    ) {
        thread_local! {
            static RUNTIME: Runtime = local_runtime();
            static ANSWER: Vec<u8> = RUNTIME.with(|runtime| answer(runtime, column));
        }
        RUNTIME.with(|runtime| ANSWER.with(|answer| {
            let at = at.min(answer.len());
            let to = answer.len().min(at + noise.len());
            let replaced = [&answer[..at], &noise, &answer[to..]].concat();
            let inserted = [&answer[..at], &Compact(length).encode(), &answer[at..]].concat();
            let cut = &answer[..cut.min(answer.len())];
            for bytes in [&replaced[..], &inserted, cut, &noise] {
                if let Ok(found) = read(runtime, bytes, ALL) {
                    assert!(found.seats.len() <= 3 && found.committed.len() <= 3);
                }
            }
        }));
    }
}

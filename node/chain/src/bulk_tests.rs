use super::*;

use proptest::prelude::*;
use scale_info::{MetaType, PortableRegistry, Registry, TypeInfo};
use subxt::ext::codec::{Decode, Encode};
use subxt::ext::scale_decode::DecodeAsType;

use crate::decode::AxonInfo;

/// A newtype, as runtimes wrap their numbers in.
#[derive(Clone, Debug, Encode, Decode, TypeInfo)]
#[codec(crate = subxt::ext::codec)]
struct Wrapped<T>(T);

#[derive(Clone, Debug, Encode, TypeInfo)]
#[codec(crate = subxt::ext::codec)]
#[allow(dead_code, reason = "encoded only")]
struct Axon {
    block: u64,
    ip: u128,
    port: u16,
    version: [u8; 3],
    ip_type: u8,
    last: bool,
}

const MAX: usize = 6;

fn types<T: TypeInfo + 'static>() -> (u32, PortableRegistry) {
    let mut registry = Registry::new();
    let id = registry.register_type(&MetaType::new::<T>()).id;
    (id, registry.into())
}

/// What is read, and how many bytes are left.
fn read<T: TypeInfo + 'static, D: DecodeAsType>(bytes: &[u8]) -> Result<(D, usize), Error> {
    let (id, types) = types::<T>();
    let mut input = bytes;
    let value = D::decode_as_type(&mut input, id, &types)?;
    Ok((value, input.len()))
}

/// Whatever the bytes, a column says the same as item by item.
fn agrees<T, D>(bytes: &[u8])
where
    T: TypeInfo + 'static,
    D: InBulk + PartialEq + std::fmt::Debug,
{
    let (id, types) = types::<Vec<T>>();
    let Step::Sequence(item) = inside(&types, id) else { panic!("no list") };
    assert!(D::form(&types, item).is_some(), "no form");
    let by_form = read::<Vec<T>, Column<D, MAX>>(bytes).ok();
    let one_by_one = read::<Vec<T>, List<D, MAX>>(bytes).ok();
    assert_eq!(by_form.map(|(list, left)| (list.0, left)), one_by_one.map(|(l, left)| (l.0, left)));
}

fn all_agree(bytes: &[u8]) {
    agrees::<u64, u64>(bytes);
    agrees::<u16, u64>(bytes);
    agrees::<Wrapped<u16>, u16>(bytes);
    agrees::<u32, u16>(bytes);
    agrees::<Compact<u64>, u64>(bytes);
    agrees::<Compact<u16>, u64>(bytes);
    agrees::<Wrapped<Compact<u16>>, u16>(bytes);
    agrees::<bool, bool>(bytes);
    agrees::<[u8; 32], Account>(bytes);
    agrees::<(Compact<u16>, u16), (u16, u16)>(bytes);
}

#[test]
fn lists_are_read_through_wrappers_and_nothing_behind_them() {
    let numbers = [0u64, 63, 64, 16_383, 16_384, u64::MAX].to_vec();
    let behind = |bytes: Vec<u8>| [bytes, vec![9; 3]].concat();
    let expected = (Column::<u64, MAX>(numbers.clone()), 3);
    assert_eq!(read::<Vec<u64>, _>(&behind(numbers.encode())).unwrap(), expected);
    let compact: Vec<Compact<u64>> = numbers.iter().copied().map(Compact).collect();
    assert_eq!(read::<Vec<Compact<u64>>, _>(&behind(compact.encode())).unwrap(), expected);
    let wrapped = Wrapped(numbers.iter().copied().map(Wrapped).collect::<Vec<_>>());
    assert_eq!(read::<Wrapped<Vec<Wrapped<u64>>>, _>(&behind(wrapped.encode())).unwrap(), expected);
}

#[test]
fn what_has_no_form_goes_item_by_item() {
    let wide = [1u128, 7].to_vec();
    let (read, left) = read::<Vec<u128>, Column<u64, MAX>>(&wide.encode()).unwrap();
    assert_eq!((read.0, left), (vec![1, 7], 0));
}

#[test]
fn a_list_that_claims_too_many_items_is_refused_before_any_is_kept() {
    let error = read::<Vec<u64>, Column<u64, 3>>(&vec![1u64; 4].encode()).unwrap_err();
    assert!(error.to_string().contains("4 items, more than 3"), "{error}");
    assert!(read::<Vec<u64>, Column<u64, 3>>(&Compact(u32::MAX).encode()).is_err());
    assert!(read::<Vec<u64>, Column<u64, 3>>(&Compact(u64::MAX).encode()).is_err());
    assert!(read::<Vec<u64>, Column<u64, 3>>(&vec![1u64; 3].encode()[..24]).is_err());
}

#[test]
fn an_address_is_read_wherever_its_parts_stand() {
    let axon = |ip, port| Axon { block: 7, ip, port, version: [1; 3], ip_type: 4, last: true };
    let bytes = vec![axon(0x0a00_0001, 8091), axon(0x0a00_0002, 1)].encode();
    let (axons, left) = read::<Vec<Axon>, Column<AxonInfo, MAX>>(&bytes).unwrap();
    let addresses: Vec<_> = axons.0.iter().filter_map(AxonInfo::address).collect();
    assert_eq!(left, 0);
    let expected = ["10.0.0.1:8091", "10.0.0.2:1"].map(|text| text.parse().unwrap());
    assert_eq!(addresses, expected);
    for cut in 0..bytes.len() {
        assert!(read::<Vec<Axon>, Column<AxonInfo, MAX>>(&bytes[..cut]).is_err(), "{cut}");
    }
}

proptest! {
    #[test]
    fn a_column_says_the_same_as_item_by_item(
        count in 0..8u8,
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        small in prop::collection::vec(0..3u8, 0..80),
    ) {
        for body in [&bytes, &small] {
            all_agree(body);
            all_agree(&[&[count << 2], &body[..]].concat());
        }
    }
}

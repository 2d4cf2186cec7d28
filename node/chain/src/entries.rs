//! Commitments as the metagraph lists them: whose, and the bytes that the chain stores.
//!
//! The chain lists those of hotkeys that left too, and writes each byte as a number of its own. All
//! of them are laid into one buffer, and are looked at where they lie.

use std::marker::PhantomData;
use std::ops::Range;

use node_core::id::Hotkey;
use subxt::ext::codec::{Compact, Decode as _};
use subxt::ext::scale_decode::visitor::types::Tuple;
use subxt::ext::scale_decode::visitor::{
    decode_with_visitor, DecodeAsTypeResult, TypeIdFor, Unexpected,
};
use subxt::ext::scale_decode::{Error, IntoVisitor, TypeResolver, Visitor};

use crate::blob::{inside, Account, Blob, Layout, Step};
use crate::bounded::{check_count, nothing_inside, List};
use crate::bulk::{self, InBulk as _};

/// Commitments in one answer. The chain keeps those of hotkeys that left, so there may be many
/// more than neurons. Lower: an old subnet is read item by item. Higher: memory, fifty bytes each.
const COMMITMENTS_MAX: usize = 1 << 16;

/// Bytes of one commitment: three fields of 1024 bytes, and some.
const COMMITMENT_BYTES_MAX: usize = 8192;

/// Listed commitments, not looked at yet.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Where a commitment lies, if it could be laid down.
    list: Vec<(Hotkey, Result<Range<usize>, Error>)>,
    bytes: Vec<u8>,
}

impl Entries {
    /// Each hotkey, and its commitment as it is stored.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Hotkey, Result<&[u8], &Error>)> {
        self.list.iter().map(|(hotkey, place)| {
            let bytes = place.as_ref().map(|place| self.bytes.get(place.clone()));
            (*hotkey, bytes.map(Option::unwrap_or_default))
        })
    }

    /// Adds a commitment with what `lay` appends.
    fn add(&mut self, hotkey: Hotkey, lay: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) {
        let start = self.bytes.len();
        let laid = lay(&mut self.bytes);
        if laid.is_err() {
            self.bytes.truncate(start);
        }
        self.list.push((hotkey, laid.map(|()| start..self.bytes.len())));
    }
}

/// Decodes [`Entries`].
pub(crate) struct EntriesVisitor<R>(PhantomData<fn() -> R>);

impl IntoVisitor for Entries {
    type AnyVisitor<R: TypeResolver> = EntriesVisitor<R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        EntriesVisitor(PhantomData)
    }
}

impl<R: TypeResolver> Visitor for EntriesVisitor<R> {
    type Value<'scale, 'resolver> = Entries;
    type Error = Error;
    type TypeResolver = R;

    fn unchecked_decode_as_type(
        self,
        input: &mut &[u8],
        type_id: TypeIdFor<Self>,
        types: &R,
    ) -> DecodeAsTypeResult<Self, Result<Entries, Error>> {
        DecodeAsTypeResult::Decoded(match layout(types, type_id.clone()) {
            Some(layout) => laid(layout, input),
            None => {
                let items = List::<Entry, COMMITMENTS_MAX>::into_visitor();
                decode_with_visitor(input, type_id, types, items).map(|list| one_by_one(list.0))
            }
        })
    }
}

/// How the bytes of each item are written; `None` for a type that is not known here.
fn layout<R: TypeResolver>(types: &R, type_id: R::TypeId) -> Option<Layout> {
    let Step::Sequence(item) = inside(types, type_id) else { return None };
    let [hotkey, stored] = <[R::TypeId; 2]>::try_from(bulk::items(types, item)?).ok()?;
    Account::form(types, hotkey)?;
    Layout::of(types, stored)
}

fn laid(layout: Layout, input: &mut &[u8]) -> Result<Entries, Error> {
    let count = usize::try_from(Compact::<u32>::decode(input)?.0).unwrap_or(usize::MAX);
    check_count(count, COMMITMENTS_MAX)?;
    // No item is shorter than its hotkey, and no byte is written in less than one.
    let list = Vec::with_capacity(count.min(input.len() / 32));
    let mut entries = Entries { list, bytes: Vec::with_capacity(input.len()) };
    for _ in 0..count {
        let hotkey = Hotkey(Account::read(&(), input)?.0);
        let (count, body) = layout.take(input)?;
        entries.add(hotkey, |bytes| layout.append(count, body, COMMITMENT_BYTES_MAX, bytes));
    }
    Ok(entries)
}

fn one_by_one(list: Vec<Entry>) -> Entries {
    let mut entries = Entries::default();
    for Entry { hotkey, stored } in list {
        entries.add(hotkey, |bytes| {
            bytes.extend_from_slice(&stored);
            Ok(())
        });
    }
    entries
}

/// An item that is written in another form.
struct Entry {
    hotkey: Hotkey,
    stored: Vec<u8>,
}

struct EntryVisitor<R>(PhantomData<fn() -> R>);

impl IntoVisitor for Entry {
    type AnyVisitor<R: TypeResolver> = EntryVisitor<R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        EntryVisitor(PhantomData)
    }
}

impl<R: TypeResolver> Visitor for EntryVisitor<R> {
    type Value<'scale, 'resolver> = Entry;
    type Error = Error;
    type TypeResolver = R;

    fn visit_tuple<'scale, 'resolver>(
        self,
        value: &mut Tuple<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Entry, Error> {
        if value.remaining() != 2 {
            return self.visit_unexpected(Unexpected::Tuple);
        }
        let hotkey = value.decode_item(Account::into_visitor());
        let hotkey = Hotkey(hotkey.unwrap_or_else(|| Err(nothing_inside()))?.0);
        let stored = value.decode_item(Blob::<COMMITMENT_BYTES_MAX>::into_visitor());
        let Blob(stored) = stored.unwrap_or_else(|| Err(nothing_inside()))?;
        Ok(Entry { hotkey, stored })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use scale_info::{MetaType, PortableRegistry, Registry, TypeInfo};
    use subxt::ext::codec::Encode;
    use subxt::ext::scale_decode::DecodeAsType;

    /// A hotkey by its first byte, and its bytes if they could be read.
    type Found = (u8, Option<Vec<u8>>);

    fn read<T: TypeInfo + 'static>(bytes: &[u8]) -> Result<Vec<Found>, Error> {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<T>()).id;
        let types: PortableRegistry = registry.into();
        let found = Entries::decode_as_type(&mut &*bytes, id, &types)?;
        let entry = |(hotkey, stored): (Hotkey, Result<&[u8], &Error>)| {
            (hotkey.0[0], stored.ok().map(<[u8]>::to_vec))
        };
        Ok(found.iter().map(entry).collect())
    }

    type Plain = Vec<([u8; 32], Vec<u8>)>;
    type Compacted = Vec<([u8; 32], Vec<Compact<u8>>)>;
    /// In a form that is read number by number.
    type Wide = Vec<([u8; 32], Vec<u16>)>;

    #[test]
    fn commitments_are_read_in_every_form() {
        let texts = [(1u8, vec![0u8, 63, 64, 255]), (2, Vec::new()), (3, b"three".to_vec())];
        let plain: Plain = texts.iter().map(|(key, text)| ([*key; 32], text.clone())).collect();
        let compact = |text: &[u8]| text.iter().copied().map(Compact).collect();
        let compacted: Compacted =
            texts.iter().map(|(key, text)| ([*key; 32], compact(text))).collect();
        let wide = |text: &[u8]| text.iter().copied().map(u16::from).collect();
        let wide: Wide = texts.iter().map(|(key, text)| ([*key; 32], wide(text))).collect();
        let expected = texts.map(|(key, text)| (key, Some(text)));
        assert_eq!(read::<Plain>(&plain.encode()).unwrap(), expected);
        assert_eq!(read::<Compacted>(&compacted.encode()).unwrap(), expected);
        assert_eq!(read::<Wide>(&wide.encode()).unwrap(), expected);
    }

    #[test]
    fn one_that_is_too_long_or_holds_no_bytes_costs_none_but_itself() {
        let long = vec![7u8; COMMITMENT_BYTES_MAX + 1];
        let listed: Plain = vec![([1; 32], b"a".to_vec()), ([2; 32], long), ([3; 32], Vec::new())];
        let expected = [(1, Some(b"a".to_vec())), (2, None), (3, Some(Vec::new()))];
        assert_eq!(read::<Plain>(&listed.encode()).unwrap(), expected);
        // The number 1024, in two bytes, stands for no byte.
        let mut broken: Vec<u8> = Compact(2u32).encode();
        broken.extend([&[1; 32][..], &[8, 4 << 2, 1, 16], &[2; 32], &[4, 5 << 2]].concat());
        let found = read::<Compacted>(&broken).unwrap();
        assert_eq!(found, [(1, None), (2, Some(vec![5]))]);
    }

    #[test]
    fn lists_that_end_early_or_claim_too_many_are_refused() {
        let listed: Plain = vec![([1; 32], b"abc".to_vec())];
        let bytes = listed.encode();
        for end in 0..bytes.len() {
            assert!(read::<Plain>(&bytes[..end]).is_err(), "cut at {end}");
        }
        let many = u32::try_from(COMMITMENTS_MAX + 1).unwrap();
        let error = read::<Plain>(&Compact(many).encode()).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    }
}

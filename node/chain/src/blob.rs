//! Bytes from the chain, read in one go.
//!
//! A runtime describes bytes as a list of numbers, each of which may be compact-coded or wrapped.
//! Decoded number by number, the commitments of a subnet would cost more than the rest of a view
//! together. So the type is looked up once per list, and the list is read by it; one of any other
//! type still goes number by number.

use std::marker::PhantomData;

use subxt::ext::codec::{Compact, Decode as _};
use subxt::ext::scale_decode::visitor::{decode_with_visitor, DecodeAsTypeResult, TypeIdFor};
use subxt::ext::scale_decode::{Error, IntoVisitor, TypeResolver, Visitor};
use subxt::ext::scale_type_resolver::{visitor, Primitive};

use crate::bounded::{check_count, List};

/// One-field wrappers taken off in a row at most.
const WRAPPERS_MAX: usize = 16;

/// At most `MAX` bytes; more are an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Blob<const MAX: usize>(pub(crate) Vec<u8>);

/// A public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account(pub(crate) [u8; 32]);

/// Decodes a [`Blob`].
pub(crate) struct BlobVisitor<const MAX: usize, R>(PhantomData<fn() -> R>);

/// Decodes an [`Account`].
pub(crate) struct AccountVisitor<R>(PhantomData<fn() -> R>);

impl<const MAX: usize> IntoVisitor for Blob<MAX> {
    type AnyVisitor<R: TypeResolver> = BlobVisitor<MAX, R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        BlobVisitor(PhantomData)
    }
}

impl IntoVisitor for Account {
    type AnyVisitor<R: TypeResolver> = AccountVisitor<R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        AccountVisitor(PhantomData)
    }
}

impl<const MAX: usize, R: TypeResolver> Visitor for BlobVisitor<MAX, R> {
    type Value<'scale, 'resolver> = Blob<MAX>;
    type Error = Error;
    type TypeResolver = R;

    fn unchecked_decode_as_type(
        self,
        input: &mut &[u8],
        type_id: TypeIdFor<Self>,
        types: &R,
    ) -> DecodeAsTypeResult<Self, Result<Blob<MAX>, Error>> {
        DecodeAsTypeResult::Decoded(match Layout::of(types, type_id.clone()) {
            Some(layout) => layout.read(input, MAX).map(Blob),
            None => {
                let numbers = List::<u8, MAX>::into_visitor();
                decode_with_visitor(input, type_id, types, numbers).map(|list| Blob(list.0))
            }
        })
    }
}

impl<R: TypeResolver> Visitor for AccountVisitor<R> {
    type Value<'scale, 'resolver> = Account;
    type Error = Error;
    type TypeResolver = R;

    fn unchecked_decode_as_type(
        self,
        input: &mut &[u8],
        type_id: TypeIdFor<Self>,
        types: &R,
    ) -> DecodeAsTypeResult<Self, Result<Account, Error>> {
        DecodeAsTypeResult::Decoded(match Layout::of(types, type_id.clone()) {
            Some(Layout::Fixed(32)) => <[u8; 32]>::decode(input).map(Account).map_err(Error::from),
            _ => {
                decode_with_visitor(input, type_id, types, <[u8; 32]>::into_visitor()).map(Account)
            }
        })
    }
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Their number, then the bytes.
    Plain,
    /// Their number, then each compact-coded.
    Compact,
    /// So many, without their number.
    Fixed(usize),
}

/// What one type is made of.
pub(crate) enum Step<Id> {
    Wrapper(Id),
    Sequence(Id),
    Array(Id, usize),
    Compact(Id),
    /// An unsigned number of so many bytes.
    Number(usize),
    Bool,
    Other,
}

impl Layout {
    /// `None` for a type that is not bytes as we know them.
    pub(crate) fn of<R: TypeResolver>(types: &R, type_id: R::TypeId) -> Option<Self> {
        match inside(types, type_id) {
            Step::Sequence(item) => match inside(types, item) {
                Step::Number(1) => Some(Self::Plain),
                Step::Compact(item) if matches!(inside(types, item.clone()), Step::Number(1)) => {
                    Some(Self::Compact)
                }
                _ => None,
            },
            Step::Array(item, length) if matches!(inside(types, item.clone()), Step::Number(1)) => {
                Some(Self::Fixed(length))
            }
            _ => None,
        }
    }

    /// Takes the bytes from the front.
    pub(crate) fn read(self, input: &mut &[u8], max: usize) -> Result<Vec<u8>, Error> {
        let (count, body) = self.take(input)?;
        self.unpack(count, body, max)
    }

    /// The bytes themselves, from what [`Self::take`] found.
    fn unpack(self, count: usize, body: &[u8], max: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.append(count, body, max, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends the bytes themselves, from what [`Self::take`] found; bytes of no meaning if it
    /// fails.
    pub(crate) fn append(
        self,
        count: usize,
        body: &[u8],
        max: usize,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Error> {
        check_count(count, max)?;
        if self != Self::Compact {
            bytes.extend_from_slice(body);
            return Ok(());
        }
        let start = bytes.len();
        bytes.resize(start + count, 0);
        let mut body = body.iter();
        // Through a slice: a vector's length would be written for each of them.
        for byte in bytes.iter_mut().skip(start) {
            *byte = compact_byte(*body.next().ok_or_else(ended)?, &mut body)?;
        }
        Ok(())
    }

    /// Passes over the bytes: how many they are, and where they stand without their number.
    pub(crate) fn take<'a>(self, input: &mut &'a [u8]) -> Result<(usize, &'a [u8]), Error> {
        let count = match self {
            Self::Fixed(count) => count,
            Self::Plain | Self::Compact => {
                usize::try_from(Compact::<u32>::decode(input)?.0).unwrap_or(usize::MAX)
            }
        };
        let length = if self == Self::Compact { compact_length(input, count)? } else { count };
        let (body, rest) = input.split_at_checked(length).ok_or_else(ended)?;
        *input = rest;
        Ok((count, body))
    }
}

/// How long `count` compact-coded bytes are. The lowest two bits of each tell.
fn compact_length(input: &[u8], count: usize) -> Result<usize, Error> {
    let mut length = 0usize;
    for _ in 0..count {
        let first = input.get(length).ok_or_else(ended)?;
        length += match first & 0b11 {
            0b00 => 1,
            0b01 => 2,
            _ => return Err(Error::custom_str("a number that is not a byte")),
        };
    }
    Ok(length)
}

/// A compact-coded byte: itself times four below 64, else two bytes with one added. Every number
/// has one form.
fn compact_byte<'a>(first: u8, rest: &mut impl Iterator<Item = &'a u8>) -> Result<u8, Error> {
    if first & 0b11 == 0 {
        return Ok(first >> 2);
    }
    let number = u16::from_le_bytes([first, *rest.next().ok_or_else(ended)?]) >> 2;
    let byte = u8::try_from(number).ok().filter(|byte| *byte >= 64);
    byte.ok_or_else(|| Error::custom_str("a number that is not a byte"))
}

pub(crate) fn ended() -> Error {
    Error::custom_str("the bytes end too early")
}

/// The type inside all one-field wrappers.
pub(crate) fn inside<R: TypeResolver>(types: &R, mut type_id: R::TypeId) -> Step<R::TypeId> {
    for _ in 0..WRAPPERS_MAX {
        match step(types, type_id) {
            Step::Wrapper(next) => type_id = next,
            other => return other,
        }
    }
    Step::Other
}

fn step<R: TypeResolver>(types: &R, type_id: R::TypeId) -> Step<R::TypeId> {
    let only = |one: Option<R::TypeId>| one.map_or(Step::Other, Step::Wrapper);
    let look = visitor::new((), |(), _| Step::Other)
        .visit_composite(|(), _, fields| {
            only((fields.len() == 1).then(|| fields.next().map(|field| field.id)).flatten())
        })
        .visit_tuple(|(), items| only((items.len() == 1).then(|| items.next()).flatten()))
        .visit_sequence(|(), _, item| Step::Sequence(item))
        .visit_array(|(), item, length| Step::Array(item, length))
        .visit_compact(|(), item| Step::Compact(item))
        .visit_primitive(|(), primitive| match primitive {
            Primitive::U8 => Step::Number(1),
            Primitive::U16 => Step::Number(2),
            Primitive::U32 => Step::Number(4),
            Primitive::U64 => Step::Number(8),
            Primitive::U128 => Step::Number(16),
            Primitive::Bool => Step::Bool,
            _ => Step::Other,
        });
    types.resolve_type(type_id, look).unwrap_or(Step::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    use scale_info::{MetaType, PortableRegistry, Registry, TypeInfo};
    use subxt::ext::codec::Encode;
    use subxt::ext::scale_decode::DecodeAsType;

    fn read<T: TypeInfo + 'static, D: DecodeAsType>(bytes: &[u8]) -> Result<(D, usize), Error> {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<T>()).id;
        let types: PortableRegistry = registry.into();
        let mut input = bytes;
        let value = D::decode_as_type(&mut input, id, &types)?;
        Ok((value, input.len()))
    }

    #[test]
    fn bytes_are_read_in_every_layout_and_nothing_behind_them() {
        let plain: Vec<u8> = (0..=255).collect();
        let compact: Vec<Compact<u8>> = plain.iter().copied().map(Compact).collect();
        let behind = |bytes: Vec<u8>| [bytes, vec![9; 3]].concat();
        let expected = (Blob::<256>(plain.clone()), 3);
        assert_eq!(read::<Vec<u8>, _>(&behind(plain.encode())).unwrap(), expected);
        assert_eq!(read::<Vec<Compact<u8>>, _>(&behind(compact.encode())).unwrap(), expected);
        assert_eq!(read::<[u8; 256], _>(&behind(plain.clone())).unwrap(), expected);
        assert_eq!(read::<((Vec<u8>,),), _>(&behind(plain.encode())).unwrap(), expected);
        // Wider numbers go one by one.
        let wide: Vec<u16> = plain.iter().map(|byte| u16::from(*byte)).collect();
        assert_eq!(read::<Vec<u16>, _>(&behind(wide.encode())).unwrap(), expected);
        let account = read::<([u8; 32],), Account>(&behind(vec![7; 32])).unwrap();
        assert_eq!(account, (Account([7; 32]), 3));
    }

    #[test]
    fn what_ends_too_early_is_too_long_or_is_no_byte_is_refused() {
        let refused = |bytes: &[u8]| {
            assert!(read::<Vec<u8>, Blob<4>>(bytes).is_err(), "{bytes:?}");
            assert!(read::<Vec<Compact<u8>>, Blob<4>>(bytes).is_err(), "{bytes:?}");
        };
        refused(&vec![0u8; 5].encode());
        refused(&[16, 0, 0, 0]);
        refused(&Compact(u32::MAX).encode());
        refused(&Compact(u64::MAX).encode());
        refused(&[]);
        let compact = |bytes: &[u8]| read::<Vec<Compact<u8>>, Blob<4>>(bytes);
        assert!(compact(&[4, 0b10, 0, 0, 0]).is_err(), "four bytes for a number");
        assert!(compact(&[4, 0b01, 8]).is_err(), "512");
        assert!(compact(&[4, 0b01]).is_err(), "half a number");
        assert!(compact(&[4, 0b01, 0]).is_err(), "nothing in two bytes");
        assert!(read::<[u8; 32], Account>(&[7; 31]).is_err());
        assert!(read::<[u8; 31], Account>(&[7; 32]).is_err());
    }
}

//! Long lists from the chain, whose items are all written alike.
//!
//! Decoded item by item through the runtime's types, the columns of a subnet cost more than all
//! else of a view. So how an item is written is looked up once per list ([`InBulk::form`]), and the
//! items are read by that. Lists of types that have no such form still go item by item.

use std::marker::PhantomData;

use subxt::ext::codec::{Compact, Decode as _};
use subxt::ext::scale_decode::visitor::{decode_with_visitor, DecodeAsTypeResult, TypeIdFor};
use subxt::ext::scale_decode::{Error, IntoVisitor, TypeResolver, Visitor};
use subxt::ext::scale_type_resolver::visitor;

use crate::blob::{ended, inside, Account, Layout, Step};
use crate::bounded::{check_count, List};

/// Items reserved for ahead of reading them; a list may claim more than there is.
const RESERVED_MAX: usize = 4096;

/// A value that often stands in a row with others like it.
pub(crate) trait InBulk: IntoVisitor + Sized {
    /// How it is written.
    type Form;

    /// `None` for a type that is not written in a form known here.
    fn form<R: TypeResolver>(types: &R, item: R::TypeId) -> Option<Self::Form>;

    /// Takes one from the front.
    fn read(form: &Self::Form, input: &mut &[u8]) -> Result<Self, Error>;
}

/// At most `MAX` items; more are an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column<T, const MAX: usize>(pub(crate) Vec<T>);

/// Decodes a [`Column`].
pub(crate) struct ColumnVisitor<T, const MAX: usize, R>(PhantomData<fn() -> (T, R)>);

impl<T: InBulk, const MAX: usize> IntoVisitor for Column<T, MAX> {
    type AnyVisitor<R: TypeResolver> = ColumnVisitor<T, MAX, R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        ColumnVisitor(PhantomData)
    }
}

impl<T: InBulk, const MAX: usize, R: TypeResolver> Visitor for ColumnVisitor<T, MAX, R> {
    type Value<'scale, 'resolver> = Column<T, MAX>;
    type Error = Error;
    type TypeResolver = R;

    fn unchecked_decode_as_type(
        self,
        input: &mut &[u8],
        type_id: TypeIdFor<Self>,
        types: &R,
    ) -> DecodeAsTypeResult<Self, Result<Column<T, MAX>, Error>> {
        let form = match inside(types, type_id.clone()) {
            Step::Sequence(item) => T::form(types, item),
            _ => None,
        };
        DecodeAsTypeResult::Decoded(match form {
            Some(form) => column(&form, input),
            None => {
                let items = List::<T, MAX>::into_visitor();
                decode_with_visitor(input, type_id, types, items).map(|list| Column(list.0))
            }
        })
    }
}

fn column<T: InBulk, const MAX: usize>(
    form: &T::Form,
    input: &mut &[u8],
) -> Result<Column<T, MAX>, Error> {
    let count = usize::try_from(Compact::<u32>::decode(input)?.0).unwrap_or(usize::MAX);
    check_count(count, MAX)?;
    let mut items = Vec::with_capacity(count.min(RESERVED_MAX));
    for _ in 0..count {
        items.push(T::read(form, input)?);
    }
    Ok(Column(items))
}

/// How an unsigned number is written. The width of a compact one is that of its largest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Plain(usize),
    Compact(usize),
}

impl Number {
    /// `None` for what is no number, or one of more than 64 bits.
    pub(crate) fn of<R: TypeResolver>(types: &R, type_id: R::TypeId) -> Option<Self> {
        match inside(types, type_id) {
            Step::Number(width @ 1..=8) => Some(Self::Plain(width)),
            Step::Compact(item) => match inside(types, item) {
                Step::Number(width @ 1..=8) => Some(Self::Compact(width)),
                _ => None,
            },
            _ => None,
        }
    }

    pub(crate) fn read(self, input: &mut &[u8]) -> Result<u64, Error> {
        match self {
            Self::Plain(width) => Ok(little_endian(take(input, width)?)),
            Self::Compact(width) => {
                let Compact(number) = Compact::<u64>::decode(input)?;
                let bits = u32::try_from(8 * width).unwrap_or(u32::MAX);
                match number.checked_shr(bits) {
                    None | Some(0) => Ok(number),
                    Some(_) => Err(too_large()),
                }
            }
        }
    }
}

/// Takes so many bytes from the front.
pub(crate) fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], Error> {
    let (taken, rest) = input.split_at_checked(length).ok_or_else(ended)?;
    *input = rest;
    Ok(taken)
}

/// The number in the first eight bytes, or in all of fewer.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

fn too_large() -> Error {
    Error::custom_str("a number that is too large")
}

impl InBulk for u64 {
    type Form = Number;

    fn form<R: TypeResolver>(types: &R, item: R::TypeId) -> Option<Number> {
        Number::of(types, item)
    }

    fn read(form: &Number, input: &mut &[u8]) -> Result<Self, Error> {
        form.read(input)
    }
}

impl InBulk for u16 {
    type Form = Number;

    fn form<R: TypeResolver>(types: &R, item: R::TypeId) -> Option<Number> {
        Number::of(types, item)
    }

    fn read(form: &Number, input: &mut &[u8]) -> Result<Self, Error> {
        Self::try_from(form.read(input)?).map_err(|_| too_large())
    }
}

impl InBulk for bool {
    type Form = ();

    fn form<R: TypeResolver>(types: &R, item: R::TypeId) -> Option<()> {
        matches!(inside(types, item), Step::Bool).then_some(())
    }

    fn read((): &(), input: &mut &[u8]) -> Result<Self, Error> {
        match take(input, 1)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Error::custom_str("neither true nor false")),
        }
    }
}

impl InBulk for Account {
    type Form = ();

    fn form<R: TypeResolver>(types: &R, item: R::TypeId) -> Option<()> {
        (Layout::of(types, item) == Some(Layout::Fixed(32))).then_some(())
    }

    fn read((): &(), input: &mut &[u8]) -> Result<Self, Error> {
        Ok(Self(<[u8; 32]>::decode(input)?))
    }
}

impl<A: InBulk, B: InBulk> InBulk for (A, B)
where
    (A, B): IntoVisitor,
{
    type Form = (A::Form, B::Form);

    fn form<R: TypeResolver>(types: &R, item: R::TypeId) -> Option<Self::Form> {
        let [first, second] = <[R::TypeId; 2]>::try_from(items(types, item)?).ok()?;
        Some((A::form(types, first)?, B::form(types, second)?))
    }

    fn read(form: &Self::Form, input: &mut &[u8]) -> Result<Self, Error> {
        Ok((A::read(&form.0, input)?, B::read(&form.1, input)?))
    }
}

/// The types in a tuple.
pub(crate) fn items<R: TypeResolver>(types: &R, type_id: R::TypeId) -> Option<Vec<R::TypeId>> {
    let look = visitor::new((), |(), _| None).visit_tuple(|(), items| Some(items.collect()));
    types.resolve_type(type_id, look).ok().flatten()
}

/// The names and types of a struct's fields.
pub(crate) fn named<R: TypeResolver>(
    types: &R,
    type_id: R::TypeId,
) -> Option<Vec<(&str, R::TypeId)>> {
    let look = visitor::new((), |(), _| None).visit_composite(|(), _, fields| {
        fields.map(|field| Some((field.name?, field.id))).collect::<Option<Vec<_>>>()
    });
    types.resolve_type(type_id, look).ok().flatten()
}

pub(crate) fn is_number<R: TypeResolver>(types: &R, type_id: R::TypeId) -> bool {
    matches!(inside(types, type_id), Step::Number(_))
}

/// Bytes that a value of this type always takes: a number, a truth, or an array of bytes.
pub(crate) fn fixed_width<R: TypeResolver>(types: &R, type_id: R::TypeId) -> Option<usize> {
    match inside(types, type_id.clone()) {
        Step::Number(width) => Some(width),
        Step::Bool => Some(1),
        _ => match Layout::of(types, type_id)? {
            Layout::Fixed(length) => Some(length),
            Layout::Plain | Layout::Compact => None,
        },
    }
}

#[cfg(test)]
#[path = "bulk_tests.rs"]
mod tests;

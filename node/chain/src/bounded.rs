//! Lists from the chain, with a limit that is checked before anything is kept.
//!
//! Items are decoded by the runtime's own types, through any one-field wrappers around the list
//! and around each item (`BoundedVec`, `Compact`, newtypes).

use std::marker::PhantomData;

use subxt::ext::scale_decode::visitor::types::{Array, Composite, Sequence, Tuple};
use subxt::ext::scale_decode::visitor::{DecodeItemIterator, TypeIdFor, Unexpected};
use subxt::ext::scale_decode::{Error, IntoVisitor, TypeResolver, Visitor};

/// At most `MAX` items; more are an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

/// Decodes a [`List`].
pub(crate) struct ListVisitor<T, const MAX: usize, R>(PhantomData<fn() -> (T, R)>);

impl<T: IntoVisitor, const MAX: usize> IntoVisitor for List<T, MAX> {
    type AnyVisitor<R: TypeResolver> = ListVisitor<T, MAX, R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        ListVisitor(PhantomData)
    }
}

impl<T: IntoVisitor, const MAX: usize, R: TypeResolver> Visitor for ListVisitor<T, MAX, R> {
    type Value<'scale, 'resolver> = List<T, MAX>;
    type Error = Error;
    type TypeResolver = R;

    fn visit_sequence<'scale, 'resolver>(
        self,
        value: &mut Sequence<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Self::Value<'scale, 'resolver>, Error> {
        let count = value.remaining();
        list(value, count)
    }

    fn visit_array<'scale, 'resolver>(
        self,
        value: &mut Array<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Self::Value<'scale, 'resolver>, Error> {
        let count = value.remaining();
        list(value, count)
    }

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Self::Value<'scale, 'resolver>, Error> {
        match value.remaining() {
            1 => value.decode_item(self).unwrap_or_else(|| Err(nothing_inside())),
            _ => self.visit_unexpected(Unexpected::Composite),
        }
    }

    fn visit_tuple<'scale, 'resolver>(
        self,
        value: &mut Tuple<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Self::Value<'scale, 'resolver>, Error> {
        match value.remaining() {
            1 => value.decode_item(self).unwrap_or_else(|| Err(nothing_inside())),
            _ => self.visit_unexpected(Unexpected::Tuple),
        }
    }
}

fn list<'scale, 'resolver, T: IntoVisitor, const MAX: usize, R: TypeResolver>(
    items: &mut impl DecodeItemIterator<'scale, 'resolver, R>,
    count: usize,
) -> Result<List<T, MAX>, Error> {
    check_count(count, MAX)?;
    let mut list = Vec::new();
    while let Some(item) = items.decode_item(T::into_visitor()) {
        list.push(item?);
    }
    Ok(List(list))
}

/// Refuses a list that claims more items than there can be.
pub(crate) fn check_count(count: usize, max: usize) -> Result<(), Error> {
    if count > max {
        return Err(Error::custom_string(format!("{count} items, more than {max}")));
    }
    Ok(())
}

/// A value that ended before it began; the decoder never calls a visitor so.
pub(crate) fn nothing_inside() -> Error {
    Error::custom_str("nothing inside")
}

#[cfg(test)]
mod tests {
    use super::*;

    use scale_info::{MetaType, PortableRegistry, Registry, TypeInfo};
    use subxt::ext::codec::{Compact, Encode};
    use subxt::ext::scale_decode::DecodeAsType;

    fn read<T: TypeInfo + 'static, D: DecodeAsType>(bytes: &[u8]) -> Result<D, Error> {
        let mut registry = Registry::new();
        let id = registry.register_type(&MetaType::new::<T>()).id;
        let types: PortableRegistry = registry.into();
        D::decode_as_type(&mut &*bytes, id, &types)
    }

    #[test]
    fn bytes_are_read_whether_plain_compact_or_fixed() {
        let plain = vec![0u8, 63, 64, 255];
        let compact: Vec<Compact<u8>> = plain.iter().copied().map(Compact).collect();
        let expected = List::<u8, 4>(plain.clone());
        assert_eq!(read::<Vec<u8>, List<u8, 4>>(&plain.encode()).unwrap(), expected);
        assert_eq!(read::<Vec<Compact<u8>>, List<u8, 4>>(&compact.encode()).unwrap(), expected);
        assert_eq!(read::<[u8; 4], List<u8, 4>>(&plain).unwrap(), expected);
        assert_eq!(read::<(Vec<u8>,), List<u8, 4>>(&plain.encode()).unwrap(), expected);
    }

    #[test]
    fn a_list_that_claims_too_many_items_is_refused_before_any_is_kept() {
        let error = read::<Vec<u64>, List<u64, 3>>(&vec![1u64; 4].encode()).unwrap_err();
        assert!(error.to_string().contains("4 items, more than 3"), "{error}");
        let endless = Compact(u64::MAX).encode();
        assert!(read::<Vec<u64>, List<u64, 3>>(&endless).is_err());
        assert!(read::<Vec<u64>, List<u64, 3>>(&vec![1u64; 4].encode()[..9]).is_err());
    }
}

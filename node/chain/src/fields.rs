//! Structs from the chain, field by field as they come.
//!
//! The library's derived decoders pass over a struct once to find its fields and decode each one
//! afterwards. Here every field is decoded where it stands, and unknown ones are passed over.

use subxt::ext::scale_decode::visitor::types::Composite;
use subxt::ext::scale_decode::visitor::IgnoreVisitor;
use subxt::ext::scale_decode::{Error, IntoVisitor, TypeResolver};

use crate::bounded::nothing_inside;

/// Offers every field by name. `take` decodes the field if it wants it, and says whether it did.
pub(crate) fn each_field<'scale, 'resolver, R: TypeResolver>(
    value: &mut Composite<'scale, 'resolver, R>,
    mut take: impl FnMut(&str, &mut Composite<'scale, 'resolver, R>) -> Result<bool, Error>,
) -> Result<(), Error> {
    while value.remaining() > 0 {
        let is_taken = match value.peek_name() {
            Some(name) => take(name, value)?,
            None => false,
        };
        if !is_taken {
            value.decode_item(IgnoreVisitor::new()).unwrap_or(Ok(()))?;
        }
    }
    Ok(())
}

/// Decodes the next field.
pub(crate) fn next_field<T: IntoVisitor, R: TypeResolver>(
    value: &mut Composite<'_, '_, R>,
) -> Result<T, Error> {
    value.decode_item(T::into_visitor()).unwrap_or_else(|| Err(nothing_inside()))
}

/// A field that must be there.
pub(crate) fn required<T>(field: Option<T>, name: &str) -> Result<T, Error> {
    field.ok_or_else(|| Error::custom_string(format!("no field `{name}`")))
}

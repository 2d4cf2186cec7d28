//! What hotkeys committed: plain fields as written, timelocked ones as they opened.
//!
//! A commitment has up to three fields. Plain bytes (`Raw0` to `Raw128`, `BigRaw`) are joined;
//! every other kind carries nothing to read: hashes, flags, and what is still encrypted or failed
//! to open. When a timelocked field opens it leaves the commitment, and what it said is found with
//! the block of its reveal among the hotkey's revealed commitments.

use std::marker::PhantomData;

use chain_metadata::storage::{COMMITMENT_OF, REVEALED_COMMITMENTS};
use node_core::unit::BlockNumber;
use subxt::ext::codec::{Compact, Decode as _};
use subxt::ext::scale_decode::visitor::types::{Composite, Variant};
use subxt::ext::scale_decode::visitor::{TypeIdFor, Unexpected};
use subxt::ext::scale_decode::{Error, IntoVisitor, TypeResolver, Visitor};

use crate::blob::Blob;
use crate::bounded::{nothing_inside, List};
use crate::decode::{stored, DecodeError, COMMITTED_BYTES_MAX};
use crate::fields::{each_field, next_field, required};
use crate::runtime::Runtime;

/// Fields of one commitment; the chain allows three.
const FIELDS_MAX: usize = 16;

/// Bytes of one field; the chain allows 512 in the clear and 1024 encrypted.
const FIELD_BYTES_MAX: usize = 2048;

/// Reveals kept for one hotkey; the chain keeps ten.
const REVEALS_MAX: usize = 64;

/// What a hotkey committed, and when it could first be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    /// Of the commitment, or of the reveal if it was timelocked.
    pub(crate) block: BlockNumber,
    /// At most [`COMMITTED_BYTES_MAX`].
    pub(crate) bytes: Vec<u8>,
}

/// Reads a stored commitment, SCALE-encoded as the runtime stores it. `None` if no field of it
/// carries plain bytes.
pub(crate) fn committed(runtime: &Runtime, bytes: &[u8]) -> Result<Option<Committed>, DecodeError> {
    let found: Option<Registration> = stored(runtime, &COMMITMENT_OF, Some(bytes))?;
    let Some(Registration { block, info }) = found else { return Ok(None) };
    let plain: Vec<Vec<u8>> = info.fields.0.into_iter().filter_map(|Field(bytes)| bytes).collect();
    if plain.is_empty() {
        return Ok(None);
    }
    Ok(Some(Committed { block: BlockNumber(block), bytes: cut(plain.concat()) }))
}

/// Reads a hotkey's revealed commitments, and returns the newest.
pub(crate) fn revealed(runtime: &Runtime, bytes: &[u8]) -> Result<Option<Committed>, DecodeError> {
    type Reveals = List<(Blob<FIELD_BYTES_MAX>, u64), REVEALS_MAX>;
    let found: Option<Reveals> = stored(runtime, &REVEALED_COMMITMENTS, Some(bytes))?;
    let newest = found.and_then(|reveals| reveals.0.into_iter().max_by_key(|(_, block)| *block));
    Ok(newest.map(|(bytes, block)| Committed {
        block: BlockNumber(block),
        bytes: cut(without_length(&bytes.0).to_vec()),
    }))
}

/// Which of the two counts. In one block the reveal comes first, before any extrinsic.
pub(crate) fn newest(written: Option<Committed>, revealed: Option<Committed>) -> Option<Committed> {
    match (written, revealed) {
        (Some(written), Some(revealed)) if revealed.block > written.block => Some(revealed),
        (Some(written), _) => Some(written),
        (None, revealed) => revealed,
    }
}

/// Official clients encrypt text together with its SCALE length, others without: what begins with
/// its own length loses it, all else stays.
fn without_length(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    match Compact::<u32>::decode(&mut rest) {
        Ok(Compact(length)) if usize::try_from(length) == Ok(rest.len()) => rest,
        _ => bytes,
    }
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(COMMITTED_BYTES_MAX);
    bytes
}

/// A stored commitment.
struct Registration {
    block: u64,
    info: Info,
}

struct RegistrationVisitor<R>(PhantomData<fn() -> R>);

impl IntoVisitor for Registration {
    type AnyVisitor<R: TypeResolver> = RegistrationVisitor<R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        RegistrationVisitor(PhantomData)
    }
}

impl<R: TypeResolver> Visitor for RegistrationVisitor<R> {
    type Value<'scale, 'resolver> = Registration;
    type Error = Error;
    type TypeResolver = R;

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Registration, Error> {
        let (mut block, mut info) = (None, None);
        each_field(value, |name, value| {
            match name {
                "block" => block = Some(next_field(value)?),
                "info" => info = Some(next_field(value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(Registration { block: required(block, "block")?, info: required(info, "info")? })
    }
}

/// What a commitment says.
struct Info {
    fields: List<Field, FIELDS_MAX>,
}

struct InfoVisitor<R>(PhantomData<fn() -> R>);

impl IntoVisitor for Info {
    type AnyVisitor<R: TypeResolver> = InfoVisitor<R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        InfoVisitor(PhantomData)
    }
}

impl<R: TypeResolver> Visitor for InfoVisitor<R> {
    type Value<'scale, 'resolver> = Info;
    type Error = Error;
    type TypeResolver = R;

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Info, Error> {
        let mut fields = None;
        each_field(value, |name, value| {
            if name == "fields" {
                fields = Some(next_field(value)?);
            }
            Ok(name == "fields")
        })?;
        Ok(Info { fields: required(fields, "fields")? })
    }
}

/// The plain bytes of a field, if it is of a kind that has some.
struct Field(Option<Vec<u8>>);

struct FieldVisitor<R>(PhantomData<fn() -> R>);

impl IntoVisitor for Field {
    type AnyVisitor<R: TypeResolver> = FieldVisitor<R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        FieldVisitor(PhantomData)
    }
}

impl<R: TypeResolver> Visitor for FieldVisitor<R> {
    type Value<'scale, 'resolver> = Field;
    type Error = Error;
    type TypeResolver = R;

    fn visit_variant<'scale, 'resolver>(
        self,
        value: &mut Variant<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Field, Error> {
        if !is_plain(value.name()) {
            return Ok(Field(None));
        }
        let bytes = value.fields().decode_item(Blob::<FIELD_BYTES_MAX>::into_visitor());
        bytes.unwrap_or(Ok(Blob(Vec::new()))).map(|bytes| Field(Some(bytes.0)))
    }

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut Composite<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<Field, Error> {
        match value.remaining() {
            1 => value.decode_item(self).unwrap_or_else(|| Err(nothing_inside())),
            _ => self.visit_unexpected(Unexpected::Composite),
        }
    }
}

fn is_plain(name: &str) -> bool {
    let digits = name.strip_prefix("Raw").unwrap_or_default();
    name == "BigRaw" || (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
#[path = "commitments_tests.rs"]
mod tests;

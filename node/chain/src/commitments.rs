//! What hotkeys committed: plain fields as written, timelocked ones as they opened.
//!
//! A commitment has up to three fields. Plain bytes (`Raw0` to `Raw128`, `BigRaw`) are joined;
//! every other kind carries nothing to read: hashes, flags, and what is still encrypted or failed
//! to open. When a timelocked field opens it leaves the commitment, and what it said is found with
//! the block of its reveal among the hotkey's revealed commitments.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use chain_metadata::storage::{COMMITMENT_OF, REVEALED_COMMITMENTS};
use node_core::unit::BlockNumber;
use scale_info::form::PortableForm;
use scale_info::{PortableRegistry, TypeDef};
use subxt::ext::codec::{Compact, Decode as _};
use subxt::ext::scale_decode::visitor::types::{Composite, Variant};
use subxt::ext::scale_decode::visitor::{TypeIdFor, Unexpected};
use subxt::ext::scale_decode::{Error, IntoVisitor, TypeResolver, Visitor};
use subxt::Metadata;

use crate::blob::{inside, Blob, Layout, Step};
use crate::bounded::{check_count, nothing_inside, List};
use crate::bulk::{fixed_width, named, Number};
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
    match runtime.commitments() {
        Some(form) => form.read(bytes).map_err(|error| {
            DecodeError::new(format!("{}.{}", COMMITMENT_OF.pallet, COMMITMENT_OF.name), error)
        }),
        None => committed_by_type(runtime, bytes),
    }
}

/// The same for a runtime whose commitments have no form known here.
fn committed_by_type(runtime: &Runtime, bytes: &[u8]) -> Result<Option<Committed>, DecodeError> {
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

/// How a runtime writes commitments: looked up once, since there are as many as neurons.
#[derive(Clone, Debug)]
pub(crate) struct CommitmentForm(Vec<Part>);

/// What stands next in a commitment.
#[derive(Clone, Debug)]
enum Part {
    Block(Number),
    /// Its fields; the kinds of field by their number.
    Fields(BTreeMap<u8, Kind>),
    Other(Layout),
}

/// A kind of field.
#[derive(Clone, Debug)]
struct Kind {
    is_plain: bool,
    parts: Vec<Layout>,
}

impl CommitmentForm {
    /// `None` if there is anything in a commitment that is written in a form not known here.
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        let types = metadata.types();
        let storage = metadata.pallet_by_name(COMMITMENT_OF.pallet)?.storage()?;
        let value = storage.entry_by_name(COMMITMENT_OF.name)?.value_ty();
        let part = |(name, type_id)| {
            Some(match name {
                "block" => Part::Block(Number::of(types, type_id)?),
                "info" => Part::Fields(kinds(types, type_id)?),
                _ => Part::Other(layout(types, type_id)?),
            })
        };
        let parts: Vec<Part> = named(types, value)?.into_iter().map(part).collect::<Option<_>>()?;
        let is_whole = [
            parts.iter().any(|part| matches!(part, Part::Block(_))),
            parts.iter().any(|part| matches!(part, Part::Fields(_))),
        ];
        (is_whole == [true, true]).then_some(Self(parts))
    }

    fn read(&self, mut bytes: &[u8]) -> Result<Option<Committed>, Error> {
        let (mut block, mut plain) = (BlockNumber(0), None);
        for part in &self.0 {
            match part {
                Part::Block(number) => block = BlockNumber(number.read(&mut bytes)?),
                Part::Fields(kinds) => plain = plain_bytes(kinds, &mut bytes)?,
                Part::Other(layout) => layout.take(&mut bytes).map(|_| ())?,
            }
        }
        if !bytes.is_empty() {
            return Err(Error::custom_string(format!("{} bytes are left over", bytes.len())));
        }
        Ok(plain.map(|bytes| Committed { block, bytes: cut(bytes) }))
    }
}

/// The plain bytes of all fields; `None` if no field is of a kind that has some.
fn plain_bytes(kinds: &BTreeMap<u8, Kind>, input: &mut &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let count = usize::try_from(Compact::<u32>::decode(input)?.0).unwrap_or(usize::MAX);
    check_count(count, FIELDS_MAX)?;
    let mut plain: Option<Vec<u8>> = None;
    for _ in 0..count {
        let number = u8::decode(input)?;
        let kind = kinds.get(&number).ok_or_else(|| Error::custom_str("an unknown kind"))?;
        let mut parts = kind.parts.iter();
        if kind.is_plain {
            let bytes = parts.next().map(|part| part.read(input, FIELD_BYTES_MAX)).transpose()?;
            let bytes = bytes.unwrap_or_default();
            match &mut plain {
                Some(plain) => plain.extend(bytes),
                None => plain = Some(bytes),
            }
        }
        for part in parts {
            part.take(input)?;
        }
    }
    Ok(plain)
}

/// The kinds of field of a commitment's `info`, which is nothing but a list of them.
fn kinds(types: &PortableRegistry, info: u32) -> Option<BTreeMap<u8, Kind>> {
    let fields = named(types, info)?;
    let [("fields", list)] = fields.as_slice() else { return None };
    let Step::Sequence(field) = inside(types, *list) else { return None };
    let TypeDef::Variant(kinds) = &types.resolve(field)?.type_def else { return None };
    let kind = |kind: &scale_info::Variant<PortableForm>| {
        let parts = kind.fields.iter().map(|part| layout(types, part.ty.id));
        let parts = parts.collect::<Option<_>>()?;
        Some((kind.index, Kind { is_plain: is_plain(&kind.name), parts }))
    };
    kinds.variants.iter().map(kind).collect()
}

fn layout(types: &PortableRegistry, type_id: u32) -> Option<Layout> {
    match fixed_width(types, type_id) {
        Some(width) => Some(Layout::Fixed(width)),
        None => Layout::of(types, type_id),
    }
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

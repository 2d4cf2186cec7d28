//! From the chain's bytes to our values.
//!
//! Values are decoded by the types in the metadata of their block; integers may grow, wrappers
//! may appear, and structs may gain fields without anything changing here.

use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use chain_metadata::event::{EXTRINSIC_FAILED, EXTRINSIC_SUCCESS};
use chain_metadata::storage::StorageItem;
use subxt::events::{Events, Phase};
use subxt::ext::scale_decode::visitor::{types, TypeIdFor};
use subxt::ext::scale_decode::{DecodeAsType, Error, IntoVisitor, TypeResolver, Visitor};
use subxt::ext::scale_value::{Composite, Primitive, Value, ValueDef};
use subxt::metadata::StorageEntryMetadata;
use subxt::{Metadata, SubstrateConfig};

use crate::bulk::{fixed_width, is_number, named, take, InBulk};
use crate::fields::{each_field, next_field, required};
use crate::runtime::Runtime;

/// Longest commitment kept. What is longer is cut here, and refused by its reader, whose limit is
/// far below.
pub const COMMITTED_BYTES_MAX: usize = 512;
const _: () = assert!(COMMITTED_BYTES_MAX > node_core::limits::COMMITMENT_BYTES_MAX);

/// Bytes that are not what their address promises.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read `{item}`: {detail}")]
pub struct DecodeError {
    /// Whose bytes they are.
    pub item: String,
    /// The decoder's message.
    pub detail: String,
}

impl DecodeError {
    pub(crate) fn new(item: impl Into<String>, detail: impl ToString) -> Self {
        Self { item: item.into(), detail: detail.to_string() }
    }
}

/// How an included extrinsic's call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DispatchOutcome {
    /// It did what it says.
    Succeeded,
    /// It changed nothing but the nonce.
    Failed {
        /// The error's name, with its pallet: `SubtensorModule::SettingWeightsTooFast`.
        error: String,
    },
}

/// Decodes what a storage item holds; a missing value is the item's default, or `None` if it has
/// none.
pub(crate) fn stored<T: DecodeAsType>(
    runtime: &Runtime,
    item: &StorageItem,
    bytes: Option<&[u8]>,
) -> Result<Option<T>, DecodeError> {
    let name = || format!("{}.{}", item.pallet, item.name);
    let entry = entry(runtime, item)?;
    match bytes.or(entry.default_value()) {
        None => Ok(None),
        Some(bytes) => runtime
            .decode(entry.value_ty(), bytes)
            .map(Some)
            .map_err(|detail| DecodeError::new(name(), detail)),
    }
}

/// The type of what a storage item holds, for decoding it otherwise than [`stored`].
pub(crate) fn value_type(runtime: &Runtime, item: &StorageItem) -> Result<u32, DecodeError> {
    entry(runtime, item).map(StorageEntryMetadata::value_ty)
}

fn entry<'a>(
    runtime: &'a Runtime,
    item: &StorageItem,
) -> Result<&'a StorageEntryMetadata, DecodeError> {
    runtime
        .metadata()
        .pallet_by_name(item.pallet)
        .and_then(|pallet| pallet.storage())
        .and_then(|storage| storage.entry_by_name(item.name))
        .ok_or_else(|| {
            DecodeError::new(format!("{}.{}", item.pallet, item.name), "not in this runtime")
        })
}

/// An account's nonce; the rest of its record is not read.
#[derive(DecodeAsType)]
#[decode_as_type(crate_path = "subxt::ext::scale_decode")]
pub(crate) struct AccountInfo {
    pub(crate) nonce: u32,
}

/// Where a neuron serves, as stored.
#[derive(Debug)]
pub(crate) struct AxonInfo {
    ip: u128,
    port: u16,
    ip_type: u8,
}

/// Decodes an [`AxonInfo`].
pub(crate) struct AxonVisitor<R>(PhantomData<fn() -> R>);

impl IntoVisitor for AxonInfo {
    type AnyVisitor<R: TypeResolver> = AxonVisitor<R>;

    fn into_visitor<R: TypeResolver>() -> Self::AnyVisitor<R> {
        AxonVisitor(PhantomData)
    }
}

impl<R: TypeResolver> Visitor for AxonVisitor<R> {
    type Value<'scale, 'resolver> = AxonInfo;
    type Error = Error;
    type TypeResolver = R;

    fn visit_composite<'scale, 'resolver>(
        self,
        value: &mut types::Composite<'scale, 'resolver, R>,
        _type_id: TypeIdFor<Self>,
    ) -> Result<AxonInfo, Error> {
        let (mut ip, mut port, mut ip_type) = (None, None, None);
        each_field(value, |name, value| {
            match name {
                "ip" => ip = Some(next_field(value)?),
                "port" => port = Some(next_field(value)?),
                "ip_type" => ip_type = Some(next_field(value)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(AxonInfo {
            ip: required(ip, "ip")?,
            port: required(port, "port")?,
            ip_type: required(ip_type, "ip_type")?,
        })
    }
}

/// Where in an [`AxonInfo`] its parts stand: their offset and width in bytes.
#[derive(Debug)]
pub(crate) struct AxonForm {
    ip: (usize, usize),
    port: (usize, usize),
    ip_type: (usize, usize),
    length: usize,
}

impl InBulk for AxonInfo {
    type Form = AxonForm;

    fn form<R: TypeResolver>(types: &R, item: R::TypeId) -> Option<AxonForm> {
        let (mut ip, mut port, mut ip_type) = (None, None, None);
        let mut length = 0;
        for (name, field) in named(types, item)? {
            let width = fixed_width(types, field.clone())?;
            let place = is_number(types, field).then_some((length, width));
            match name {
                "ip" => ip = place,
                "port" => port = place,
                "ip_type" => ip_type = place,
                _ => {}
            }
            length += width;
        }
        Some(AxonForm { ip: ip?, port: port?, ip_type: ip_type?, length })
    }

    fn read(form: &AxonForm, input: &mut &[u8]) -> Result<Self, Error> {
        let bytes = take(input, form.length)?;
        let number = |(offset, width): (usize, usize)| {
            let part = bytes.get(offset..offset + width).unwrap_or_default();
            part.iter().rev().fold(0u128, |number, byte| (number << 8) | u128::from(*byte))
        };
        let too_large = |_| Error::custom_str("a part of an address that is too large");
        Ok(Self {
            ip: number(form.ip),
            port: u16::try_from(number(form.port)).map_err(too_large)?,
            ip_type: u8::try_from(number(form.ip_type)).map_err(too_large)?,
        })
    }
}

impl AxonInfo {
    /// The address, unless a part of it is zero or of no known kind.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let ip = match self.ip_type {
            4 => IpAddr::V4(Ipv4Addr::from(u32::try_from(self.ip).ok()?)),
            6 => IpAddr::V6(Ipv6Addr::from(self.ip)),
            _ => return None,
        };
        (self.port != 0 && !ip.is_unspecified()).then_some(SocketAddr::new(ip, self.port))
    }
}

/// The bytes in a list of them, through any wrappers.
fn collect_bytes(value: &Value, into: &mut Vec<u8>) {
    match &value.value {
        ValueDef::Primitive(Primitive::U128(number)) => into.extend(u8::try_from(*number).ok()),
        ValueDef::Composite(parts) => parts.values().for_each(|part| collect_bytes(part, into)),
        ValueDef::Primitive(_) | ValueDef::BitSequence(_) | ValueDef::Variant(_) => {}
    }
}

/// How extrinsic `index` of a block went, from the block's events. `None` if they do not say.
pub(crate) fn outcome(
    runtime: &Runtime,
    events: Vec<u8>,
    index: u32,
) -> Result<Option<DispatchOutcome>, DecodeError> {
    let unreadable = |error: String| DecodeError::new("System.Events", error);
    let client = runtime.client().ok_or_else(|| unreadable("no client".to_owned()))?;
    let events: Events<SubstrateConfig> = client.events().from_bytes(events);
    for event in events.iter() {
        let event = event.map_err(|error| unreadable(error.to_string()))?;
        if event.phase() != Phase::ApplyExtrinsic(index) {
            continue;
        }
        let name = (event.pallet_name(), event.event_name());
        if name == (EXTRINSIC_SUCCESS.pallet, EXTRINSIC_SUCCESS.name) {
            return Ok(Some(DispatchOutcome::Succeeded));
        }
        if name == (EXTRINSIC_FAILED.pallet, EXTRINSIC_FAILED.name) {
            let fields: Composite<()> = event
                .decode_fields_unchecked_as()
                .map_err(|error| unreadable(error.to_string()))?;
            let error = fields.values().next().map_or_else(
                || "unknown".to_owned(),
                |error| dispatch_error_name(runtime.metadata(), error),
            );
            return Ok(Some(DispatchOutcome::Failed { error }));
        }
    }
    Ok(None)
}

/// `Pallet::Error` for a pallet's own error, else the variants' names joined.
fn dispatch_error_name(metadata: &Metadata, error: &Value) -> String {
    let ValueDef::Variant(variant) = &error.value else { return "unknown".to_owned() };
    if variant.name == "Module" {
        if let Some(name) = module_error_name(metadata, &variant.values) {
            return name;
        }
    }
    let inner = variant.values.values().find_map(|value| match &value.value {
        ValueDef::Variant(inner) => Some(inner.name.clone()),
        ValueDef::Primitive(_) | ValueDef::BitSequence(_) | ValueDef::Composite(_) => None,
    });
    match inner {
        Some(inner) => format!("{}::{inner}", variant.name),
        None => variant.name.clone(),
    }
}

/// A module error is a pallet's index and four bytes, of which the first is the error's index.
fn module_error_name(metadata: &Metadata, fields: &Composite<()>) -> Option<String> {
    let mut bytes = Vec::new();
    fields.values().for_each(|field| collect_bytes(field, &mut bytes));
    let (pallet, error) = (*bytes.first()?, *bytes.get(1)?);
    let pallet = metadata.pallet_by_error_index(pallet)?;
    let variant = pallet.error_variant_by_index(error)?;
    Some(format!("{}::{}", pallet.name(), variant.name))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;

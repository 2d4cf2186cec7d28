//! The metadata as other versions of the runtime have it, though the bytes on the chain are the
//! same: numbers under names of their own, items that are gone or new, errors under other numbers.
//!
//! Until mid 2026 the real chain described `NetUid`, `TaoBalance` and their like as the plain
//! numbers they are in SCALE; since then they are one-field composites of their own. Clients that
//! look at types notice, and that is what this is for.
//!
//! Not here: how errors move in events (the runtime's `upgrade`).

mod rules;
mod types;

use codec::{Decode, Encode};
use frame_metadata::{
    v14::{StorageEntryModifier, StorageEntryType, StorageHasher},
    RuntimeMetadata, RuntimeMetadataPrefixed,
};
use frame_support::storage::{storage_prefix, unhashed};
use node_subtensor_runtime::upgrade::Upgrade;
use scale_info::{
    form::PortableForm, interner::UntrackedSymbol, Field, TypeDef, TypeDefVariant, Variant,
};
use serde::{Deserialize, Serialize};
use std::{any::TypeId, str::FromStr};
use thiserror::Error;
use types::{Newtype, Types};

/// How numbers are described.
#[derive(
    Clone, Copy, Debug, Decode, Default, Deserialize, Encode, Eq, Hash, PartialEq, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    /// As plain numbers, as at spec 425.
    #[default]
    Primitive,
    /// Under names of their own, as on the chain of late 2026; and with
    /// `SubtensorModule.SubnetEpochConsensus`, without which newer clients send no weights.
    Newtype,
}

/// A flavour that does not exist.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is no flavour; write `primitive` or `newtype`")]
pub struct FlavourInvalid(String);

impl FromStr for Flavour {
    type Err = FlavourInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "primitive" => Ok(Self::Primitive),
            "newtype" => Ok(Self::Newtype),
            other => Err(FlavourInvalid(other.to_owned())),
        }
    }
}

/// What a block's metadata looks like. Kept in the state, outside any pallet, so that it is the
/// block's own and survives whatever the chain survives.
#[derive(Clone, Debug, Decode, Default, Encode, Eq, Hash, PartialEq)]
pub struct Dress {
    /// How numbers are described.
    pub flavour: Flavour,
    /// Storage items and runtime calls that are not there, as `Pallet.Item` and `Api.method`.
    pub without: Vec<String>,
}

impl Dress {
    /// That of the present state.
    pub fn get() -> Self {
        unhashed::get(&dress_key()).unwrap_or_default()
    }

    fn lacks(&self, group: &str, name: &str) -> bool {
        self.without.iter().any(|item| item.split_once('.') == Some((group, name)))
    }

    /// Whether a runtime call, by its full name, is not there.
    pub(crate) fn lacks_call(&self, method: &str) -> bool {
        method.split_once('_').is_some_and(|(api, method)| self.lacks(api, method))
    }
}

/// The storage key under which the SCALE of a [`Dress`] stands.
pub fn dress_key() -> Vec<u8> {
    storage_prefix(b"LocalnetUpgrade", b"Dress").to_vec()
}

/// Metadata that cannot be rewritten.
#[derive(Debug, Error)]
pub enum DressError {
    /// It does not decode.
    #[error("the metadata does not decode")]
    Decode {
        /// Why not.
        #[source]
        source: codec::Error,
    },
    /// Only versions 14 to 16 are known here.
    #[error("the metadata has version {0}; 14 to 16 can be rewritten")]
    Version(u32),
}

macro_rules! dress_pallets {
    ($metadata:expr, $types:expr, $dress:expr, $upgrade:expr) => {
        for pallet in &mut $metadata.pallets {
            let name = pallet.name.clone();
            if let Some(storage) = &mut pallet.storage {
                storage.entries.retain(|entry| !$dress.lacks(&name, &entry.name));
                if $dress.flavour == Flavour::Newtype {
                    for entry in &mut storage.entries {
                        dress_entry($types, &name, &entry.name, &mut entry.ty);
                    }
                    if name == "SubtensorModule" && !$dress.lacks(&name, EPOCH_CONSENSUS) {
                        if let Some(entry) = storage.entries.first() {
                            let mut entry = entry.clone();
                            entry.name = EPOCH_CONSENSUS.to_owned();
                            entry.modifier = StorageEntryModifier::Default;
                            entry.ty = epoch_consensus($types);
                            entry.default = vec![0];
                            entry.docs = Vec::new();
                            storage.entries.push(entry);
                        }
                    }
                }
            }
            if let Some(error) = pallet.error.as_ref().filter(|_| name == "SubtensorModule") {
                move_errors($types, error.ty.id, $upgrade);
            }
        }
    };
}

macro_rules! dress_apis {
    ($metadata:expr, $types:expr, $dress:expr) => {
        for api in &mut $metadata.apis {
            let name = api.name.clone();
            api.methods.retain(|method| !$dress.lacks(&name, &method.name));
            if $dress.flavour == Flavour::Newtype {
                for method in &mut api.methods {
                    for input in &mut method.inputs {
                        if let Some(newtype) = rules::of_parameter(&input.name) {
                            input.ty = $types.wrapped(input.ty.id, newtype).into();
                        }
                    }
                    if let Some(newtype) = rules::of_answer(&method.name) {
                        method.output = $types.wrapped(method.output.id, newtype).into();
                    }
                }
            }
        }
    };
}

/// An item that the real chain has since spec 475.
const EPOCH_CONSENSUS: &str = "SubnetEpochConsensus";

/// Rewrites metadata, given and returned with its prefix and version.
///
/// # Errors
///
/// [`DressError`].
pub fn dress(metadata: &[u8], dress: &Dress, upgrade: Upgrade) -> Result<Vec<u8>, DressError> {
    let RuntimeMetadataPrefixed(prefix, mut metadata) =
        RuntimeMetadataPrefixed::decode(&mut &metadata[..])
            .map_err(|source| DressError::Decode { source })?;
    match &mut metadata {
        RuntimeMetadata::V14(metadata) => {
            let types = &mut Types::new(&mut metadata.types.types);
            dress_fields(types, dress);
            dress_pallets!(metadata, types, dress, upgrade);
        }
        RuntimeMetadata::V15(metadata) => {
            let types = &mut Types::new(&mut metadata.types.types);
            dress_fields(types, dress);
            dress_pallets!(metadata, types, dress, upgrade);
            dress_apis!(metadata, types, dress);
        }
        RuntimeMetadata::V16(metadata) => {
            let types = &mut Types::new(&mut metadata.types.types);
            dress_fields(types, dress);
            dress_pallets!(metadata, types, dress, upgrade);
            dress_apis!(metadata, types, dress);
        }
        other => return Err(DressError::Version(other.version())),
    }
    Ok(RuntimeMetadataPrefixed(prefix, metadata).encode())
}

/// Fields of structures, calls and events.
fn dress_fields(types: &mut Types<'_>, dress: &Dress) {
    if dress.flavour == Flavour::Primitive {
        return;
    }
    for id in 0..types.count() {
        let path = types.path(id);
        match types.definition(id) {
            TypeDef::Composite(mut composite) => {
                wrap_fields(types, &path, &mut composite.fields);
                types.redefine(id, composite.into());
            }
            TypeDef::Variant(mut variants) => {
                for variant in &mut variants.variants {
                    wrap_fields(types, &path, &mut variant.fields);
                }
                types.redefine(id, variants.into());
            }
            _ => {}
        }
    }
}

fn wrap_fields(types: &mut Types<'_>, path: &str, fields: &mut [Field<PortableForm>]) {
    for field in fields {
        if let Some(newtype) =
            rules::of_field(path, field.name.as_deref(), field.type_name.as_deref())
        {
            field.ty = types.wrapped(field.ty.id, newtype).into();
        }
    }
}

fn dress_entry(
    types: &mut Types<'_>,
    pallet: &str,
    item: &str,
    entry: &mut StorageEntryType<PortableForm>,
) {
    let value = match entry {
        StorageEntryType::Plain(value) => value,
        StorageEntryType::Map { key, value, .. } => {
            if let Some(newtype) = rules::of_key(pallet, item) {
                *key = types.with_first_wrapped(key.id, newtype).into();
            }
            value
        }
    };
    if let Some(newtype) = rules::of_value(pallet, item) {
        *value = types.wrapped(value.id, newtype).into();
    }
}

fn epoch_consensus(types: &mut Types<'_>) -> StorageEntryType<PortableForm> {
    let variant = |name: &str, index| Variant {
        name: name.to_owned(),
        fields: Vec::new(),
        index,
        docs: Vec::new(),
    };
    let variants = vec![variant("Yuma", 0), variant("Null", 1)];
    let value = types.add_named("pallet_subtensor", "EpochConsensus", TypeDefVariant { variants });
    StorageEntryType::Map {
        hashers: vec![StorageHasher::Identity],
        key: symbol(types.newtype(Newtype::NetUid)),
        value: symbol(value),
    }
}

fn symbol(id: u32) -> UntrackedSymbol<TypeId> {
    id.into()
}

fn move_errors(types: &mut Types<'_>, id: u32, upgrade: Upgrade) {
    if upgrade.error_shift == 0 {
        return;
    }
    if let TypeDef::Variant(mut variants) = types.definition(id) {
        for variant in &mut variants.variants {
            variant.index = upgrade.moved_error(variant.index);
        }
        types.redefine(id, variants.into());
    }
}

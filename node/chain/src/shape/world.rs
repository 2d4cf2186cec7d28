//! Metadata made of the descriptors themselves, to be broken on purpose.
#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

use chain_metadata::extrinsic::{self as frame, ADDRESS, EXTENSIONS, SIGNATURE};
use chain_metadata::storage::{Hasher, StorageItem, Unset};
use chain_metadata::{api, call, constant, error, event, storage, Shape};
use scale_info::form::PortableForm;
use scale_info::{
    Field, Path, PortableRegistry, PortableType, Type, TypeDef, TypeDefArray, TypeDefCompact,
    TypeDefComposite, TypeDefPrimitive, TypeDefSequence, TypeDefTuple, TypeDefVariant, Variant,
};
use subxt::ext::codec::{Compact, Encode as _};
use subxt::ext::frame_metadata::v16::{
    CustomMetadata, EnumDeprecationInfo, ExtrinsicMetadata, FunctionParamMetadata,
    ItemDeprecationInfo, OuterEnums, PalletCallMetadata, PalletConstantMetadata,
    PalletErrorMetadata, PalletEventMetadata, PalletMetadata, PalletStorageMetadata,
    RuntimeApiMetadata, RuntimeApiMethodMetadata, RuntimeMetadataV16, StorageEntryMetadata,
    StorageEntryModifier, StorageEntryType, StorageHasher, TransactionExtensionMetadata,
};
use subxt::ext::frame_metadata::{RuntimeMetadata, RuntimeMetadataPrefixed};

use super::{decode_metadata, MetadataError, ShapeReport};

/// How numbers look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// As themselves.
    Primitive,
    /// Each in a one-field struct of its own.
    Newtype,
}

/// A runtime's metadata, open to changes.
pub(super) struct World {
    pub(super) metadata: RuntimeMetadataV16,
    flavour: Flavour,
}

impl World {
    /// A runtime in which every descriptor is met.
    pub(super) fn new(flavour: Flavour) -> Self {
        let metadata = RuntimeMetadataV16 {
            types: PortableRegistry { types: Vec::new() },
            pallets: Vec::new(),
            extrinsic: ExtrinsicMetadata {
                versions: vec![frame::VERSION, 5],
                address_ty: 0.into(),
                call_ty: 0.into(),
                signature_ty: 0.into(),
                transaction_extensions_by_version: [].into(),
                transaction_extensions: Vec::new(),
            },
            apis: Vec::new(),
            outer_enums: OuterEnums {
                call_enum_ty: 0.into(),
                event_enum_ty: 0.into(),
                error_enum_ty: 0.into(),
            },
            custom: CustomMetadata { map: [].into() },
        };
        let mut world = Self { metadata, flavour };
        // Type 0: nothing.
        world.add("", TypeDefTuple::new_portable([]));
        world.frame();
        world.pallets();
        world.apis();
        world
    }

    pub(super) fn report(&self) -> ShapeReport {
        ShapeReport::of(&decode_metadata(&self.bytes()).unwrap())
    }

    pub(super) fn refused(&self) -> MetadataError {
        decode_metadata(&self.bytes()).err().unwrap()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let metadata = RuntimeMetadata::V16(self.metadata.clone());
        RuntimeMetadataPrefixed(u32::from_le_bytes(*b"meta"), metadata).encode()
    }

    pub(super) fn pallet(&mut self, name: &str) -> &mut PalletMetadata<PortableForm> {
        self.metadata.pallets.iter_mut().find(|pallet| pallet.name == name).unwrap()
    }

    pub(super) fn entry(&mut self, item: &StorageItem) -> &mut StorageEntryMetadata<PortableForm> {
        let entries = &mut self.pallet(item.pallet).storage.as_mut().unwrap().entries;
        entries.iter_mut().find(|entry| entry.name == item.name).unwrap()
    }

    /// Gives an item another value.
    pub(super) fn set_value(&mut self, item: &StorageItem, id: u32) {
        match &mut self.entry(item).ty {
            StorageEntryType::Plain(value) | StorageEntryType::Map { value, .. } => {
                *value = id.into();
            }
        }
    }

    /// The arguments of a call.
    pub(super) fn args(&mut self, call: &call::Call) -> &mut Vec<Field<PortableForm>> {
        let calls = self.pallet(call.pallet).calls.as_ref().unwrap().ty.id;
        let variants = self.variants(calls);
        &mut variants.iter_mut().find(|variant| variant.name == call.name).unwrap().fields
    }

    pub(super) fn variants(&mut self, id: u32) -> &mut Vec<Variant<PortableForm>> {
        match &mut self.metadata.types.types[id as usize].ty.type_def {
            TypeDef::Variant(found) => &mut found.variants,
            _ => panic!("type {id} is no enumeration"),
        }
    }

    pub(super) fn add(&mut self, path: &str, def: impl Into<TypeDef<PortableForm>>) -> u32 {
        let id = u32::try_from(self.metadata.types.types.len()).unwrap();
        let path = Path::from_segments_unchecked((!path.is_empty()).then(|| path.to_owned()));
        let ty = Type::new(path, Vec::new(), def, Vec::new());
        self.metadata.types.types.push(PortableType::new(id, ty));
        id
    }

    pub(super) fn number(&mut self, bits: u8) -> u32 {
        let primitive = match bits {
            8 => TypeDefPrimitive::U8,
            16 => TypeDefPrimitive::U16,
            32 => TypeDefPrimitive::U32,
            64 => TypeDefPrimitive::U64,
            _ => TypeDefPrimitive::U128,
        };
        self.add("", primitive)
    }

    pub(super) fn wrap(&mut self, path: &str, inner: u32) -> u32 {
        self.add(path, TypeDefComposite::new([field(None, inner)]))
    }

    /// A type of this shape.
    pub(super) fn shape(&mut self, shape: &Shape) -> u32 {
        match *shape {
            Shape::Unit => 0,
            Shape::Any | Shape::Bool => self.add("", TypeDefPrimitive::Bool),
            Shape::Text => self.add("", TypeDefPrimitive::Str),
            Shape::Unsigned(bits) | Shape::Share(bits) => {
                let number = self.number(bits);
                match self.flavour {
                    Flavour::Primitive => number,
                    Flavour::Newtype => self.wrap("Number", number),
                }
            }
            Shape::Bytes(length) => {
                let byte = self.number(8);
                let bytes = self.add("", TypeDefArray::new(length.into(), byte.into()));
                self.wrap("Bytes", bytes)
            }
            Shape::Sequence(inner) => {
                let inner = self.shape(inner);
                let list = self.add("", TypeDefSequence::new(inner.into()));
                match self.flavour {
                    Flavour::Primitive => list,
                    Flavour::Newtype => self.wrap("BoundedVec", list),
                }
            }
            Shape::Tuple(parts) => {
                let parts: Vec<u32> = parts.iter().map(|part| self.shape(part)).collect();
                self.add("", TypeDefTuple::new_portable(parts.into_iter().map(Into::into)))
            }
            Shape::Fields(fields) => {
                let fields = self.fields(fields);
                self.add("Fields", TypeDefComposite::new(fields))
            }
            Shape::Variants(variants) | Shape::SomeVariants(variants) => {
                self.enumeration("Variants", variants)
            }
            Shape::Optional(inner) => {
                let inner = field(None, self.shape(inner));
                let variants = [variant("None", 0, Vec::new()), variant("Some", 1, vec![inner])];
                self.add("Option", TypeDefVariant::new(variants))
            }
        }
    }

    fn fields(&mut self, fields: &[(&str, Shape)]) -> Vec<Field<PortableForm>> {
        fields.iter().map(|(name, shape)| field(Some(name), self.shape(shape))).collect()
    }

    fn enumeration(&mut self, path: &str, variants: &[(&str, Shape)]) -> u32 {
        let numbered = (0u8..).zip(variants);
        let variants: Vec<_> = numbered
            .map(|(index, (name, carried))| {
                let fields = match carried {
                    Shape::Unit => Vec::new(),
                    Shape::Fields(fields) => self.fields(fields),
                    carried => vec![field(None, self.shape(carried))],
                };
                variant(name, index, fields)
            })
            .collect();
        self.add(path, TypeDefVariant::new(variants))
    }

    fn frame(&mut self) {
        let address = self.enumeration(ADDRESS.0, &[("Id", Shape::Bytes(32))]);
        let signature = self.enumeration(SIGNATURE.0, &[("Sr25519", Shape::Bytes(64))]);
        self.metadata.extrinsic.address_ty = address.into();
        self.metadata.extrinsic.signature_ty = signature.into();
        for extension in EXTENSIONS {
            let extra = match extension.extra {
                Shape::Unsigned(bits) => {
                    let number = self.number(bits);
                    self.add("", TypeDefCompact::new(number.into()))
                }
                shape => self.shape(&shape),
            };
            let extra = self.wrap(extension.name, extra);
            let implicit = self.shape(&extension.implicit);
            self.extend(extension.name, extra, implicit);
        }
        let nothing = self.add("CheckWeight", TypeDefComposite::new([]));
        self.extend("CheckWeight", nothing, 0);
    }

    /// Adds an extension behind the others.
    pub(super) fn extend(&mut self, name: &str, extra: u32, implicit: u32) {
        let frame = &mut self.metadata.extrinsic;
        let at = u32::try_from(frame.transaction_extensions.len()).unwrap();
        frame.transaction_extensions.push(TransactionExtensionMetadata {
            identifier: name.to_owned(),
            ty: extra.into(),
            implicit: implicit.into(),
        });
        let sets = &mut frame.transaction_extensions_by_version;
        sets.entry(frame::EXTENSIONS_VERSION).or_default().push(Compact(at));
    }

    fn pallets(&mut self) {
        let mut names: Vec<&str> = storage::ALL.iter().map(|item| item.pallet).collect();
        names.extend(constant::ALL.iter().map(|constant| constant.pallet));
        names.sort_unstable();
        names.dedup();
        for (index, name) in (0u8..).zip(names) {
            let pallet = self.one_pallet(name, index);
            self.metadata.pallets.push(pallet);
        }
    }

    fn one_pallet(&mut self, name: &str, index: u8) -> PalletMetadata<PortableForm> {
        let calls = call::ALL.iter().filter(|call| call.pallet == name);
        let calls: Vec<_> = (0u8..)
            .zip(calls)
            .map(|(index, call)| variant(call.name, index, self.fields(call.args)))
            .collect();
        let events = event::ALL.iter().filter(|event| event.pallet == name);
        let events: Vec<_> = (0u8..)
            .zip(events)
            .map(|(index, event)| {
                let fields = event.fields.iter().map(|shape| field(None, self.shape(shape)));
                let fields = fields.collect();
                variant(event.name, index, fields)
            })
            .collect();
        let errors = error::ALL.iter().filter(|error| error.pallet == name);
        let errors: Vec<_> = (0u8..)
            .zip(errors)
            .map(|(index, error)| variant(error.name, index, Vec::new()))
            .collect();
        let entries = storage::ALL.iter().filter(|item| item.pallet == name);
        let entries = entries.map(|item| self.one_entry(item)).collect();
        let constants = constant::ALL.iter().filter(|constant| constant.pallet == name);
        let constants = constants
            .map(|constant| PalletConstantMetadata {
                name: constant.name.to_owned(),
                ty: self.shape(&constant.value).into(),
                value: Vec::new(),
                docs: Vec::new(),
                deprecation_info: ItemDeprecationInfo::NotDeprecated,
            })
            .collect();
        PalletMetadata {
            name: name.to_owned(),
            storage: Some(PalletStorageMetadata { prefix: name.to_owned(), entries }),
            calls: Some(PalletCallMetadata {
                ty: self.add("Call", TypeDefVariant::new(calls)).into(),
                deprecation_info: EnumDeprecationInfo::nothing_deprecated(),
            }),
            event: Some(PalletEventMetadata {
                ty: self.add("Event", TypeDefVariant::new(events)).into(),
                deprecation_info: EnumDeprecationInfo::nothing_deprecated(),
            }),
            constants,
            error: Some(PalletErrorMetadata {
                ty: self.add("Error", TypeDefVariant::new(errors)).into(),
                deprecation_info: EnumDeprecationInfo::nothing_deprecated(),
            }),
            associated_types: Vec::new(),
            view_functions: Vec::new(),
            index,
            docs: Vec::new(),
            deprecation_info: ItemDeprecationInfo::NotDeprecated,
        }
    }

    fn one_entry(&mut self, item: &StorageItem) -> StorageEntryMetadata<PortableForm> {
        let value = self.shape(&item.value).into();
        let keys: Vec<u32> = item.keys.iter().map(|key| self.shape(&key.shape)).collect();
        let hashers = item.keys.iter().map(|key| match key.hasher {
            Hasher::Identity => StorageHasher::Identity,
            Hasher::Blake2Concat => StorageHasher::Blake2_128Concat,
            Hasher::TwoxConcat => StorageHasher::Twox64Concat,
        });
        let hashers: Vec<StorageHasher> = hashers.collect();
        let ty = match keys.as_slice() {
            [] => StorageEntryType::Plain(value),
            [only] => StorageEntryType::Map { hashers, key: (*only).into(), value },
            keys => {
                let keys = keys.iter().map(|key| (*key).into());
                let key = self.add("", TypeDefTuple::new_portable(keys)).into();
                StorageEntryType::Map { hashers, key, value }
            }
        };
        StorageEntryMetadata {
            name: item.name.to_owned(),
            modifier: match item.unset {
                Unset::Default => StorageEntryModifier::Default,
                Unset::Nothing => StorageEntryModifier::Optional,
            },
            ty,
            default: Vec::new(),
            docs: Vec::new(),
            deprecation_info: ItemDeprecationInfo::NotDeprecated,
        }
    }

    fn apis(&mut self) {
        let mut names: Vec<&str> = api::ALL.iter().map(|api| api.api).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let methods = api::ALL.iter().filter(|api| api.api == name);
            let methods = methods.map(|api| self.one_method(api)).collect();
            self.metadata.apis.push(RuntimeApiMetadata {
                name: name.to_owned(),
                methods,
                docs: Vec::new(),
                version: Compact(1),
                deprecation_info: ItemDeprecationInfo::NotDeprecated,
            });
        }
    }

    fn one_method(&mut self, api: &api::RuntimeApi) -> RuntimeApiMethodMetadata<PortableForm> {
        let inputs = api.inputs.iter().map(|input| FunctionParamMetadata {
            name: "argument".to_owned(),
            ty: self.shape(input).into(),
        });
        let inputs = inputs.collect();
        let output = match api.output {
            output if output == api::SELECTIVE_METAGRAPH.output => self.metagraph(&output),
            output => self.shape(&output),
        };
        RuntimeApiMethodMetadata {
            name: api.method.to_owned(),
            inputs,
            output: output.into(),
            docs: Vec::new(),
            deprecation_info: ItemDeprecationInfo::NotDeprecated,
        }
    }

    /// The columns at their places, with others between them.
    fn metagraph(&mut self, output: &Shape) -> u32 {
        let Shape::Optional(Shape::Fields(expected)) = output else { panic!("{output:?}") };
        let last = api::METAGRAPH_COLUMNS.last().unwrap().index;
        let columns: Vec<_> = (0..=last)
            .map(|at| {
                let column = api::METAGRAPH_COLUMNS.iter().find(|column| column.index == at);
                let name = match column {
                    Some(column) => column.field.to_owned(),
                    None if at == 0 => "netuid".to_owned(),
                    None => format!("other{at}"),
                };
                let shape = expected.iter().find(|(field, _)| *field == name);
                let id = shape.map_or(0, |(_, shape)| self.shape(shape));
                field(Some(&name), id)
            })
            .collect();
        let columns = field(None, self.add("SelectiveMetagraph", TypeDefComposite::new(columns)));
        let variants = [variant("None", 0, Vec::new()), variant("Some", 1, vec![columns])];
        self.add("Option", TypeDefVariant::new(variants))
    }
}

pub(super) fn field(name: Option<&str>, id: u32) -> Field<PortableForm> {
    Field::new(name.map(str::to_owned), id.into(), None, Vec::new())
}

pub(super) fn variant(
    name: &str,
    index: u8,
    fields: Vec<Field<PortableForm>>,
) -> Variant<PortableForm> {
    Variant::new(name.to_owned(), fields, index, Vec::new())
}

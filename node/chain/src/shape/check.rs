//! Every descriptor against one runtime.

use chain_metadata::api::{self, RuntimeApi};
use chain_metadata::call::{self, Call};
use chain_metadata::constant::{self, Constant};
use chain_metadata::error::{self, ErrorName};
use chain_metadata::event::{self, Event};
use chain_metadata::storage::{self, Hasher, StorageItem, Unset};
use chain_metadata::{Absent, Capability};
use scale_info::{PortableRegistry, TypeDef};
use subxt::ext::codec::Decode as _;
use subxt::ext::frame_decode::storage::StorageHasher;
use subxt::metadata::PalletMetadata;
use subxt::Metadata;

use super::compare::{describe, Difference, Direction, Walk};
use super::extrinsic;
use super::{ItemKind, ShapeReport, ShapeRow, Verdict, Version};

/// How an item was found, before its absence or difference is judged.
pub(super) enum Finding {
    /// As expected, or with a harmless difference.
    Usable(Option<String>),
    /// Not there.
    Absent(String),
    /// There, in another shape.
    Different(String),
}

impl Finding {
    /// The end of a comparison.
    pub(super) fn of(walk: Walk<'_>, compared: Result<(), Difference>) -> Self {
        match compared {
            Ok(()) => Self::Usable(walk.into_note()),
            Err(Difference(why)) => Self::Different(why),
        }
    }

    pub(super) fn judge(self, absent: Absent, needed_for: &[Capability]) -> Verdict {
        let fatal = |why| Verdict::Fatal { why, lost: needed_for.to_vec() };
        match (self, absent) {
            (Self::Usable(None), _) => Verdict::Ok,
            (Self::Usable(Some(why)), _) => Verdict::Compatible { why },
            (Self::Absent(why), Absent::Fallback(instead)) => Verdict::Fallback { why, instead },
            (Self::Different(why), Absent::Fallback(instead)) if needed_for.is_empty() => {
                Verdict::Fallback { why, instead }
            }
            (Self::Absent(why) | Self::Different(why), _) => fatal(why),
        }
    }
}

/// A runtime under examination.
pub(super) struct Examined<'a> {
    metadata: &'a Metadata,
    types: &'a PortableRegistry,
}

/// An item's type in words, and how it compares.
type Examination = (String, Finding);

impl ShapeReport {
    /// Compares a runtime with everything the node uses.
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let examined = Examined { metadata, types: metadata.types() };
        let mut rows = extrinsic::rows(metadata);
        rows.extend(examined.calls());
        rows.extend(storage::ALL.iter().map(|item| {
            let name = format!("{}.{}", item.pallet, item.name);
            let found = examined.storage(item);
            row(ItemKind::Storage, name, found, item.absent, item.needed_for)
        }));
        rows.extend(api::ALL.iter().map(|api| {
            let name = format!("{}.{}", api.api, api.method);
            row(ItemKind::Api, name, examined.api(api), api.absent, api.needed_for)
        }));
        rows.extend(constant::ALL.iter().map(|constant| {
            let name = format!("{}.{}", constant.pallet, constant.name);
            let found = examined.constant(constant);
            row(ItemKind::Constant, name, found, constant.absent, constant.needed_for)
        }));
        rows.extend(event::ALL.iter().map(|event| {
            let name = format!("{}.{}", event.pallet, event.name);
            row(ItemKind::Event, name, examined.event(event), event.absent, event.needed_for)
        }));
        rows.extend(error::ALL.iter().map(|error| {
            let name = format!("{}.{}", error.pallet, error.name);
            let found = (String::new(), examined.error(error));
            row(ItemKind::Error, name, found, Absent::Fallback(error::ABSENT), &[])
        }));
        Self { spec: examined.spec(), rows }
    }
}

fn row(
    kind: ItemKind,
    name: String,
    (found, finding): Examination,
    absent: Absent,
    needed_for: &[Capability],
) -> ShapeRow {
    ShapeRow { kind, name, found, verdict: finding.judge(absent, needed_for) }
}

impl<'a> Examined<'a> {
    fn pallet(&self, name: &str) -> Result<PalletMetadata<'a>, Examination> {
        self.metadata.pallet_by_name(name).ok_or_else(|| absent(format!("no pallet `{name}`")))
    }

    /// The runtime's own statement; the constant's head has had one layout since the beginning.
    fn spec(&self) -> Option<(String, u32)> {
        let pallet = self.metadata.pallet_by_name(constant::VERSION.pallet)?;
        let bytes = pallet.constant_by_name(constant::VERSION.name)?.value();
        let version = Version::decode(&mut &bytes[..]).ok()?;
        Some((super::compare::cut(&version.spec_name), version.spec_version))
    }

    /// A call that cannot be used is no loss while another does the same.
    fn calls(&self) -> Vec<ShapeRow> {
        let found: Vec<(&Call, Examination)> =
            call::ALL.iter().map(|call| (*call, self.call(call))).collect();
        let usable: Vec<&str> = found
            .iter()
            .filter(|(_, (_, finding))| matches!(finding, Finding::Usable(_)))
            .map(|(call, _)| call.name)
            .collect();
        let judged = |(call, (found, finding)): (&Call, Examination)| {
            let replaced = call.alternative.is_some_and(|other| usable.contains(&other));
            let absent =
                if call.alternative.is_none() || replaced { call.absent } else { Absent::Fatal };
            let needed_for = if replaced { &[] } else { call.needed_for };
            let name = format!("{}.{}", call.pallet, call.name);
            ShapeRow {
                kind: ItemKind::Call,
                name,
                found,
                verdict: finding.judge(absent, needed_for),
            }
        };
        found.into_iter().map(judged).collect()
    }

    fn call(&self, call: &Call) -> Examination {
        let pallet = match self.pallet(call.pallet) {
            Ok(pallet) => pallet,
            Err(absent) => return absent,
        };
        let Some(variant) = pallet.call_variant_by_name(call.name) else {
            return absent("absent");
        };
        let names = variant.fields.iter().map(|field| field.name.as_deref().unwrap_or("_"));
        let found = super::compare::cut(&names.collect::<Vec<_>>().join(", "));
        let mut walk = Walk::new(self.types, Direction::Write);
        let compared = walk.named_fields(call.args, &variant.fields, "argument");
        // Never empty: an empty text says that nothing was found.
        (format!("({found})"), Finding::of(walk, compared))
    }

    fn storage(&self, item: &StorageItem) -> Examination {
        let pallet = match self.pallet(item.pallet) {
            Ok(pallet) => pallet,
            Err(absent) => return absent,
        };
        let entry = pallet.storage().and_then(|storage| storage.entry_by_name(item.name));
        let Some(entry) = entry else {
            return absent("absent");
        };
        let found = describe(self.types, entry.value_ty());
        let mut walk = Walk::new(self.types, Direction::Write);
        let keys: Vec<(StorageHasher, u32)> =
            entry.keys().map(|key| (key.hasher, key.key_id)).collect();
        let has_default = entry.default_value().is_some();
        let compared = keys_of(&mut walk, item, &keys)
            .and_then(|()| match item.unset {
                Unset::Default if !has_default => {
                    walk.differ("an unwritten key has no value now, where it had a default")
                }
                Unset::Nothing if has_default => {
                    walk.differ("an unwritten key has a default now, where it had no value")
                }
                Unset::Default | Unset::Nothing => Ok(()),
            })
            .and_then(|()| {
                walk.turn(Direction::Read);
                walk.compare(&item.value, entry.value_ty())
            });
        (found, Finding::of(walk, compared))
    }

    fn api(&self, api: &RuntimeApi) -> Examination {
        let method = self
            .metadata
            .runtime_api_trait_by_name(api.api)
            .and_then(|found| found.method_by_name(api.method));
        let Some(method) = method else {
            let listed = self.metadata.runtime_api_traits().len() > 0;
            return absent(if listed { "absent" } else { "metadata V14 lists no runtime APIs" });
        };
        let inputs: Vec<u32> = method.inputs().map(|input| input.id).collect();
        let found = describe(self.types, method.output_ty());
        let mut walk = Walk::new(self.types, Direction::Exact);
        let compared = inputs_of(&mut walk, api, &inputs)
            .and_then(|()| {
                walk.turn(Direction::Read);
                walk.compare(&api.output, method.output_ty())
            })
            .and_then(|()| {
                let is_metagraph = api.method == api::SELECTIVE_METAGRAPH.method
                    || api.method == api::SELECTIVE_MECHAGRAPH.method;
                if is_metagraph {
                    columns_of(&walk, self.types, method.output_ty())
                } else {
                    Ok(())
                }
            });
        (found, Finding::of(walk, compared))
    }

    fn constant(&self, constant: &Constant) -> Examination {
        let pallet = match self.pallet(constant.pallet) {
            Ok(pallet) => pallet,
            Err(absent) => return absent,
        };
        let Some(found) = pallet.constant_by_name(constant.name) else {
            return absent("absent");
        };
        let mut walk = Walk::new(self.types, Direction::Read);
        let compared = walk.compare(&constant.value, found.ty());
        (describe(self.types, found.ty()), Finding::of(walk, compared))
    }

    fn event(&self, event: &Event) -> Examination {
        let pallet = match self.pallet(event.pallet) {
            Ok(pallet) => pallet,
            Err(absent) => return absent,
        };
        let variants = pallet.event_variants().unwrap_or_default();
        let Some(variant) = variants.iter().find(|variant| variant.name == event.name) else {
            return absent("absent");
        };
        let described: Vec<String> =
            variant.fields.iter().map(|field| describe(self.types, field.ty.id)).collect();
        let found = super::compare::cut(&format!("({})", described.join(", ")));
        let mut walk = Walk::new(self.types, Direction::Read);
        let compared = fields_of(&mut walk, event, variant);
        (found, Finding::of(walk, compared))
    }

    fn error(&self, error: &ErrorName) -> Finding {
        let variants = match self.pallet(error.pallet) {
            Ok(pallet) => pallet.error_variants().unwrap_or_default(),
            Err((_, absent)) => return absent,
        };
        if variants.iter().any(|variant| variant.name == error.name) {
            Finding::Usable(None)
        } else {
            Finding::Absent("absent".to_owned())
        }
    }
}

fn absent(why: impl Into<String>) -> Examination {
    (String::new(), Finding::Absent(why.into()))
}

fn keys_of(
    walk: &mut Walk<'_>,
    item: &StorageItem,
    found: &[(StorageHasher, u32)],
) -> Result<(), Difference> {
    if found.len() != item.keys.len() {
        return walk.differ(format!("{} keys expected, {} found", item.keys.len(), found.len()));
    }
    for (number, (expected, (hasher, id))) in (1..).zip(item.keys.iter().zip(found)) {
        let number: u32 = number;
        if *hasher != hasher_of(expected.hasher) {
            walk.note(&format!("key {number} is hashed by {hasher:?} now"));
        }
        walk.part(format!("key {number}"), &expected.shape, *id)?;
    }
    Ok(())
}

fn hasher_of(hasher: Hasher) -> StorageHasher {
    match hasher {
        Hasher::Identity => StorageHasher::Identity,
        Hasher::Blake2Concat => StorageHasher::Blake2_128Concat,
        Hasher::TwoxConcat => StorageHasher::Twox64Concat,
    }
}

fn inputs_of(walk: &mut Walk<'_>, api: &RuntimeApi, found: &[u32]) -> Result<(), Difference> {
    if found.len() != api.inputs.len() {
        let expected = api.inputs.len();
        return walk.differ(format!("{expected} arguments expected, {} found", found.len()));
    }
    for (number, (expected, id)) in (1..).zip(api.inputs.iter().zip(found)) {
        let number: u32 = number;
        walk.part(format!("argument {number}"), expected, *id)?;
    }
    Ok(())
}

fn fields_of(
    walk: &mut Walk<'_>,
    event: &Event,
    found: &scale_info::Variant<scale_info::form::PortableForm>,
) -> Result<(), Difference> {
    let (expected, fields) = (event.fields.len(), found.fields.len());
    if fields < expected {
        return walk.differ(format!("{expected} fields expected, {fields} found"));
    }
    for (number, (expected, field)) in (1..).zip(event.fields.iter().zip(&found.fields)) {
        let number: u32 = number;
        walk.part(format!("field {number}"), expected, field.ty.id)?;
    }
    Ok(())
}

/// A column is asked for by the position of its field, so the field must still be there.
fn columns_of(walk: &Walk<'_>, types: &PortableRegistry, output: u32) -> Result<(), Difference> {
    let Some(TypeDef::Variant(option)) = types.resolve(output).map(|found| &found.type_def) else {
        return walk.differ("an option expected");
    };
    let inside = option.variants.iter().flat_map(|variant| &variant.fields).next();
    let inside = inside.and_then(|field| types.resolve(field.ty.id));
    let Some(TypeDef::Composite(columns)) = inside.map(|found| &found.type_def) else {
        return walk.differ("a struct expected");
    };
    for column in api::METAGRAPH_COLUMNS {
        let field = columns.fields.get(usize::from(column.index));
        let name = field.and_then(|field| field.name.as_deref());
        if name != Some(column.field) {
            let now = super::compare::cut(name.unwrap_or("nothing"));
            return walk.differ(format!(
                "column {} is `{now}` now, where it was `{}`",
                column.index, column.field
            ));
        }
    }
    Ok(())
}

//! The frame of a signed extrinsic: everything that our signer writes around a call.

use std::collections::BTreeSet;

use chain_metadata::extrinsic::{
    Extension, ADDRESS, EXTENSIONS, EXTENSIONS_VERSION, SIGNATURE, VERSION,
};
use chain_metadata::{Absent, Capability, Shape};
use scale_info::{PortableRegistry, TypeDef};
use subxt::Metadata;

use super::check::Finding;
use super::compare::{cut, describe, is_empty, Difference, Direction, Walk};
use super::{ItemKind, ShapeRow, Verdict};

/// Extensions looked at; a real chain has thirteen.
const EXTENSIONS_MAX: usize = 64;

/// An extension as the runtime describes it.
struct Found {
    name: String,
    extra: u32,
    implicit: u32,
}

/// The frame's rows: version, address, signature, then every extension, known or not.
pub(super) fn rows(metadata: &Metadata) -> Vec<ShapeRow> {
    let types = metadata.types();
    let mut rows = vec![version(metadata), kept(types, "address", ADDRESS)];
    rows.push(kept(types, "signature", SIGNATURE));
    let found: Vec<Found> = metadata
        .extrinsic()
        .transaction_extensions_by_version(EXTENSIONS_VERSION)
        .into_iter()
        .flatten()
        .map(|found| Found {
            name: found.identifier().to_owned(),
            extra: found.extra_ty(),
            implicit: found.additional_ty(),
        })
        .collect();
    rows.extend(EXTENSIONS.iter().map(|extension| known(types, extension, &found)));
    rows.extend(unknown(types, &found));
    rows
}

fn row(kind: ItemKind, name: &str, found: String, verdict: Verdict) -> ShapeRow {
    ShapeRow { kind, name: cut(name), found, verdict }
}

fn fatal(why: String) -> Verdict {
    Verdict::Fatal { why, lost: Capability::SIGNING.to_vec() }
}

fn version(metadata: &Metadata) -> ShapeRow {
    let supported = metadata.extrinsic().supported_versions();
    let verdict = if supported.contains(&VERSION) {
        Verdict::Ok
    } else {
        fatal(format!("version {VERSION} is not accepted any more"))
    };
    let named: Vec<String> = supported.iter().take(8).map(u8::to_string).collect();
    row(ItemKind::Extrinsic, "version", named.join(", "), verdict)
}

/// Address and signature are found by their types' names: metadata before V15 does not say which
/// types an extrinsic has.
fn kept(types: &PortableRegistry, name: &str, (path, shape): (&str, Shape)) -> ShapeRow {
    let named = types.types.iter().filter(|found| {
        found.ty.path.segments.last().is_some_and(|last| last == path)
            && matches!(found.ty.type_def, TypeDef::Variant(_))
    });
    let mut finding = Finding::Absent(format!("no type `{path}`"));
    let mut described = String::new();
    for found in named {
        let mut walk = Walk::new(types, Direction::Write);
        let compared = walk.compare(&shape, found.id);
        described = describe(types, found.id);
        finding = Finding::of(walk, compared);
        if matches!(finding, Finding::Usable(_)) {
            break;
        }
    }
    let verdict = finding.judge(Absent::Fatal, Capability::SIGNING);
    row(ItemKind::Extrinsic, name, described, verdict)
}

fn known(types: &PortableRegistry, expected: &Extension, found: &[Found]) -> ShapeRow {
    let Some(found) = found.iter().find(|found| found.name == expected.name) else {
        let finding = Finding::Absent("absent".to_owned());
        let verdict = finding.judge(expected.absent, Capability::SIGNING);
        return row(ItemKind::Extension, expected.name, String::new(), verdict);
    };
    let mut walk = Walk::new(types, Direction::Exact);
    let compared = extension_parts(&mut walk, types, expected, found);
    let verdict = Finding::of(walk, compared).judge(Absent::Fatal, Capability::SIGNING);
    row(ItemKind::Extension, expected.name, held(types, found), verdict)
}

/// The signer writes tip and nonce compactly, whatever the metadata says; the rest plainly.
fn extension_parts(
    walk: &mut Walk<'_>,
    types: &PortableRegistry,
    expected: &Extension,
    found: &Found,
) -> Result<(), Difference> {
    if matches!(expected.extra, Shape::Unsigned(_)) {
        if !is_compact(types, found.extra) {
            return walk.differ("it is not compact any more");
        }
        walk.turn(Direction::Write);
    }
    walk.part("extrinsic", &expected.extra, found.extra)?;
    walk.turn(Direction::Exact);
    walk.part("signed", &expected.implicit, found.implicit)
}

/// Whether a compact integer is what remains of a type within a few wrappers.
fn is_compact(types: &PortableRegistry, id: u32) -> bool {
    let mut id = id;
    for _ in 0..8 {
        match types.resolve(id).map(|found| &found.type_def) {
            Some(TypeDef::Compact(_)) => return true,
            Some(TypeDef::Composite(composite)) => match composite.fields.as_slice() {
                [only] => id = only.ty.id,
                _ => return false,
            },
            _ => return false,
        }
    }
    false
}

/// Extensions that this node does not know: harmless while they hold nothing.
fn unknown(types: &PortableRegistry, found: &[Found]) -> Vec<ShapeRow> {
    let mut seen: BTreeSet<&str> = EXTENSIONS.iter().map(|extension| extension.name).collect();
    let mut rows = Vec::new();
    for found in found.iter().filter(|found| seen.insert(&found.name)) {
        let verdict = if is_empty(types, found.extra) && is_empty(types, found.implicit) {
            Verdict::Ok
        } else {
            fatal(format!("unknown here, and it holds {}", held(types, found)))
        };
        if rows.len() < EXTENSIONS_MAX || verdict != Verdict::Ok {
            rows.push(row(ItemKind::Extension, &found.name, held(types, found), verdict));
        }
    }
    rows
}

fn held(types: &PortableRegistry, found: &Found) -> String {
    let part = |id| if is_empty(types, id) { "nothing".to_owned() } else { describe(types, id) };
    match (part(found.extra), part(found.implicit)) {
        (extra, implicit) if extra == "nothing" && implicit == "nothing" => extra,
        (extra, implicit) => cut(&format!("{extra}, signed {implicit}")),
    }
}

//! The schema of `assay status --json`, made from the types that are sent and their docs.
//!
//! - `core_types`: how the rules' own types look as JSON; the rules know no schema.
//! - `fields`: every place where a value stands, with what it means.
//! - `page`: the same for people, `docs/status.md`.
//!
//! It says what a node of this version writes: every field is there. A reader takes what it does
//! not know as well, since fields are added.

mod core_types;
mod fields;
mod page;
#[cfg(test)]
mod tests;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::answer::StatusAnswer;

pub(super) use core_types::{
    AddressText, CauseSchema, ExplanationSchema, FailureSchema, FindingSchema, HexText,
    KeyStandingSchema, LevelSchema, OrderSchema, PassageSchema, PlaceSchema, ProbeFigureSchema,
    ProbeFiguresSchema, ProbeResultSchema, ReopenedSchema, SampleSchema, SliceFactsSchema,
    StandingSchema, TierReportSchema, TimeMs, UnitPlanSchema,
};
pub use page::page;

/// The schema as text: what `assay status --schema` prints, and `docs/status.schema.json`.
#[must_use]
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// The schema, JSON Schema of draft 2020-12.
fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<StatusAnswer>().to_value();
    describe_variants(&mut schema);
    sorted(schema)
}

/// A property without a description is the name of a variant, or holds its value: what is said of
/// the variant is said of it.
fn describe_variants(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            describe_variant(object);
            object.values_mut().for_each(describe_variants);
        }
        Value::Array(all) => all.iter_mut().for_each(describe_variants),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn describe_variant(object: &mut Map<String, Value>) {
    let Some(Value::String(said)) = object.get("description").cloned() else { return };
    let Some(Value::Object(properties)) = object.get_mut("properties") else { return };
    let is_only = properties.len() == 1;
    for property in properties.values_mut().filter_map(Value::as_object_mut) {
        if !property.contains_key("description") && (is_only || property.contains_key("const")) {
            property.insert("description".to_owned(), Value::String(said.clone()));
        }
    }
}

/// The same with the keys of every object in order, however the JSON library keeps them: another
/// crate's choice of features must not change what is printed.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut all: Vec<(String, Value)> = object.into_iter().collect();
            all.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(all.into_iter().map(|(key, value)| (key, sorted(value))).collect())
        }
        Value::Array(all) => Value::Array(all.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

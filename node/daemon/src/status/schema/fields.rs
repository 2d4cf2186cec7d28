//! Every place where a value stands, read from the schema.

use serde_json::{Map, Value};

use super::core_types::TIME_FORMAT;

/// References that are followed at most: the types of a report are not nested deeper, and a type
/// that held itself would be followed for ever.
const DEPTH_MAX: usize = 32;

/// A place where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// Where: names with dots between, `[]` for each entry of an array, `.*` for each value of an
    /// object whose names are data.
    pub(super) path: String,
    /// What may stand there, in the order of the schema.
    pub(super) kinds: Vec<&'static str>,
    /// What it means, and what each of its words means; of several variants, each.
    pub(super) meanings: Vec<String>,
}

/// Every field of the values that a schema describes, in its order.
pub(super) fn fields(schema: &Value) -> Vec<Field> {
    let mut walk = Walk { schema, fields: Vec::new() };
    walk.visit(schema, "", 0);
    walk.fields
}

struct Walk<'a> {
    schema: &'a Value,
    fields: Vec<Field>,
}

impl<'a> Walk<'a> {
    /// Notes the fields of what `schema` describes, which stands at `path`.
    fn visit(&mut self, schema: &'a Value, path: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let depth = depth + 1;
        for part in self.parts(schema) {
            self.visit(part, path, depth);
        }
        for (name, property) in properties(schema) {
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
            self.note(&path, property);
            self.visit(property, &path, depth);
        }
        let entries = schema.get("prefixItems").and_then(Value::as_array).into_iter().flatten();
        for entry in entries.chain(schema.get("items")) {
            self.visit(entry, &format!("{path}[]"), depth);
        }
        if let Some(value) = schema.get("additionalProperties").filter(|value| value.is_object()) {
            self.visit(value, &format!("{path}.*"), depth);
        }
    }

    /// What stands for the same value: what a reference leads to, and variants.
    fn parts(&self, schema: &'a Value) -> Vec<&'a Value> {
        let target = schema.get("$ref").and_then(Value::as_str);
        let target = target.and_then(|target| target.strip_prefix('#'));
        let target = target.and_then(|pointer| self.schema.pointer(pointer));
        let variants = ["anyOf", "oneOf", "allOf"].into_iter();
        let variants = variants.filter_map(|key| schema.get(key)?.as_array()).flatten();
        target.into_iter().chain(variants).collect()
    }

    fn note(&mut self, path: &str, property: &'a Value) {
        let mut kinds = Vec::new();
        self.kinds(property, &mut kinds, 0);
        let said = description(property).to_owned();
        let mut meanings = match property.get("const").and_then(Value::as_str) {
            Some(word) => vec![format!("`{word}`: {said}")],
            None => vec![said],
        };
        self.words(property, &mut meanings, 0);
        let place = self.fields.iter().position(|field| field.path == path);
        let Some(known) = place.and_then(|place| self.fields.get_mut(place)) else {
            self.fields.push(Field { path: path.to_owned(), kinds, meanings });
            return;
        };
        add_new(&mut known.kinds, kinds);
        add_new(&mut known.meanings, meanings);
    }

    fn kinds(&self, schema: &'a Value, kinds: &mut Vec<&'static str>, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let is_time = schema.get("format").and_then(Value::as_str) == Some(TIME_FORMAT);
        let named = match schema.get("type") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one.as_str()],
            _ => Vec::new(),
        };
        let named = named.into_iter().filter_map(|name| kind(name, is_time));
        add_new(kinds, named.collect());
        for part in self.parts(schema) {
            self.kinds(part, kinds, depth + 1);
        }
    }

    /// What the words mean that may stand there.
    fn words(&self, schema: &'a Value, meanings: &mut Vec<String>, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        for part in self.parts(schema) {
            if let Some(word) = part.get("const").and_then(Value::as_str) {
                add_new(meanings, vec![format!("`{word}`: {}", description(part))]);
            }
            self.words(part, meanings, depth + 1);
        }
    }
}

fn description(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// The properties of an object, in the order in which they are written.
fn properties(schema: &Value) -> Vec<(&str, &Value)> {
    let Some(all) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let first = required.iter().filter_map(|name| named(all, name));
    let others = all.iter().map(|(name, value)| (name.as_str(), value));
    first.chain(others.filter(|(name, _)| !required.contains(name))).collect()
}

fn named<'a>(all: &'a Map<String, Value>, name: &str) -> Option<(&'a str, &'a Value)> {
    all.get_key_value(name).map(|(name, value)| (name.as_str(), value))
}

fn kind(name: &str, is_time: bool) -> Option<&'static str> {
    Some(match name {
        "integer" if is_time => "time",
        "integer" => "integer",
        "string" => "string",
        "boolean" => "boolean",
        "array" => "array",
        "object" => "object",
        "null" => "null",
        "number" => "number",
        _ => return None,
    })
}

fn add_new<T: PartialEq>(all: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

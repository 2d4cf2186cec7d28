//! The sandbox profile as a table of settings, and the comparison of two such tables.
//!
//! Every setting of a container is written down as name and text. What is not asked for has to be
//! unset: a setting that this code has never heard of and that an engine turns on counts as a
//! difference. Not here: which settings are asked for (`convert`).

use std::collections::BTreeMap;

use node_core::id::sha256;
use serde_json::Value;

/// How a setting without a value is written.
const UNSET: &str = "unset";

/// A value may be as long as this to be told as a whole.
const SHOWN_BYTES_MAX: usize = 400;
/// What is told of a longer one.
const SHOWN_CHARS: usize = 120;

/// All settings of a container: name to canonical text. Unset ones are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings(BTreeMap<String, String>);

/// A setting of the created container that is not as the profile wants it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` is {found}, the profile wants {wanted}")]
pub struct ProfileDifference {
    /// The setting, in the engine's words.
    pub setting: String,
    /// What the profile asks for.
    pub wanted: String,
    /// What the engine made of it.
    pub found: String,
}

impl Settings {
    /// Adds every field of an object under a prefix; fields that mean "unset" leave no trace.
    pub(crate) fn add_fields(&mut self, prefix: &str, object: &Value) {
        for (name, value) in object.as_object().into_iter().flatten() {
            self.add(format!("{prefix}.{name}"), value);
        }
    }

    /// Adds one setting unless its value means "unset".
    pub(crate) fn add(&mut self, name: impl Into<String>, value: &Value) {
        if !is_unset(value) {
            self.0.insert(name.into(), canonical(value));
        }
    }
}

/// The first setting, by name, in which the two differ.
pub(crate) fn difference(wanted: &Settings, found: &Settings) -> Option<ProfileDifference> {
    let names = wanted.0.keys().chain(found.0.keys());
    let different = names.filter(|name| wanted.0.get(*name) != found.0.get(*name));
    let setting = different.min()?;
    let text = |side: &Settings| shown(side.0.get(setting).map_or(UNSET, String::as_str));
    Some(ProfileDifference { setting: setting.clone(), wanted: text(wanted), found: text(found) })
}

/// A value as people are told it: of a long one the beginning, and what tells it from others.
fn shown(text: &str) -> String {
    if text.len() <= SHOWN_BYTES_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(SHOWN_CHARS).collect();
    format!("{start}… ({} bytes, SHA-256 {})", text.len(), sha256(text.as_bytes()))
}

/// Whether a value says nothing: engines differ in how they write an absent one.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(|item| item.as_u64() == Some(0)),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// A text that is equal for equal values, whatever the order of an object's fields.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            // An empty object stays: `Volumes` is a map whose values are all empty.
            let set = fields.iter().filter(|(_, value)| !is_unset(value) || value.is_object());
            let sorted: BTreeMap<_, _> = set.map(|(key, value)| (key, canonical(value))).collect();
            let fields: Vec<_> = sorted.iter().map(|(key, text)| format!("{key}={text}")).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(value: &Value) -> Settings {
        let mut settings = Settings::default();
        settings.add_fields("HostConfig", value);
        settings
    }

    #[test]
    fn absent_false_zero_and_empty_mean_the_same() {
        let bare = settings(&json!({ "NetworkMode": "none" }));
        let wordy = settings(&json!({
            "NetworkMode": "none", "Privileged": false, "CpuShares": 0, "CapAdd": null,
            "Binds": [], "Sysctls": {}, "PidMode": "", "ConsoleSize": [0, 0],
        }));
        assert_eq!(difference(&bare, &wordy), None);
    }

    #[test]
    fn a_map_with_empty_values_is_not_unset() {
        let bare = settings(&json!({}));
        let volumes = settings(&json!({ "Volumes": { "/data": {} } }));
        assert!(difference(&bare, &volumes).is_some());
    }

    #[test]
    fn the_difference_names_the_setting_and_both_values() {
        let wanted = settings(&json!({ "PidsLimit": 256, "CapDrop": ["ALL"] }));
        let found = settings(&json!({ "PidsLimit": 512, "CapDrop": ["ALL"] }));
        let text = difference(&wanted, &found).unwrap().to_string();
        assert_eq!(text, "`HostConfig.PidsLimit` is 512, the profile wants 256");
    }

    #[test]
    fn of_a_long_value_only_the_beginning_and_its_digest_are_told() {
        let long = "seccomp=".to_owned() + &"x".repeat(5_000);
        let wanted = settings(&json!({ "SecurityOpt": [&long] }));
        let found = settings(&json!({ "SecurityOpt": [long.clone() + "y"] }));
        let ProfileDifference { wanted, found, .. } = difference(&wanted, &found).unwrap();
        assert!(wanted != found && wanted.starts_with("[\"seccomp=x"), "{wanted}");
        assert!(wanted.len() < 400, "{wanted}");
    }

    #[test]
    fn the_order_of_a_maps_keys_does_not_matter() {
        let one = settings(&json!({ "Labels": { "a": "1", "b": "2" } }));
        let two = settings(&json!({ "Labels": { "b": "2", "a": "1" } }));
        assert_eq!(difference(&one, &two), None);
    }
}

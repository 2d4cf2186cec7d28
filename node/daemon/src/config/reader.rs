//! How a section takes its values: each judged, each error kept, none stopping the next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;

use super::error::ConfigError;
use super::key::{Default, Key};
use super::origin::Origin;
use super::settings::{missing_key, Settings, Shown};
use super::surroundings::Surroundings;
use super::text;

/// Why a value does not fit, and what would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) problem: String,
    pub(super) hint: String,
}

impl Complaint {
    pub(super) fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }
}

/// Takes values out of [`Settings`] for one section after the other.
#[derive(Debug)]
pub struct Reader<'a> {
    settings: &'a Settings,
    errors: Vec<ConfigError>,
    derived: BTreeMap<&'static str, Shown>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings) -> Self {
        Self { settings, errors: Vec::new(), derived: BTreeMap::new() }
    }

    /// What was found wrong, each once: a value may be read for more than one purpose.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        for error in self.errors {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        errors
    }

    pub(super) fn into_derived(self) -> BTreeMap<&'static str, Shown> {
        self.derived
    }

    pub(super) fn surroundings(&self) -> &Surroundings {
        &self.settings.surroundings
    }

    /// Where `key` was set; [`Origin::Default`] if it was not.
    pub(super) fn origin(&self, key: &Key) -> Origin {
        self.settings.origins.get(key.path).cloned().unwrap_or(Origin::Default)
    }

    /// The value of `key` as `parse` reads it. `None` if it is unset or wrong; the error is kept.
    pub(super) fn take<T>(
        &mut self,
        key: &Key,
        parse: impl FnOnce(&Value) -> Result<T, Complaint>,
    ) -> Option<T> {
        let Ok(value) = self.settings.figment.find_value(key.path) else {
            if matches!(key.default, Default::Required) && !self.settings.is_file_unread {
                self.errors.push(missing_key(key));
            }
            return None;
        };
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(complaint) => {
                self.complain(key.path, Some(&value), complaint);
                None
            }
        }
    }

    /// Like [`Self::take`] for a key that may stay unset: the outer `None` says that it is wrong.
    pub(super) fn take_optional<T>(
        &mut self,
        key: &Key,
        parse: impl FnOnce(&Value) -> Result<T, Complaint>,
    ) -> Option<Option<T>> {
        if self.settings.figment.find_value(key.path).is_err() {
            return Some(None);
        }
        self.take(key, parse).map(Some)
    }

    /// Keeps an error about a value that does not fit beside others.
    pub(super) fn reject(&mut self, key: &Key, complaint: Complaint) {
        let value = self.settings.figment.find_value(key.path).ok();
        self.complain(key.path, value.as_ref(), complaint);
    }

    /// Keeps an error about one entry of a table.
    pub(super) fn complain(&mut self, path: &str, value: Option<&Value>, complaint: Complaint) {
        self.errors.push(ConfigError {
            key: path.to_owned(),
            value: value.map(|value| text::show(path, value)),
            origin: self.settings.origins.get(path).cloned(),
            problem: complaint.problem,
            hint: Some(complaint.hint),
        });
    }

    /// Says what `assay config show` prints for a key whose value follows from something else.
    pub(super) fn derive(&mut self, key: &Key, value: impl Into<Value>, from: &'static str) {
        let shown = Shown {
            key: key.path.to_owned(),
            value: Some(text::show(key.path, &value.into())),
            origin: Origin::Derived(from),
        };
        self.derived.insert(key.path, shown);
    }

    /// A path, made absolute.
    pub(super) fn take_path(&mut self, key: &Key) -> Option<PathBuf> {
        let surroundings = self.surroundings().clone();
        self.take(key, |value| path(value, &surroundings))
    }
}

/// Text that is not empty.
pub(super) fn text(value: &Value) -> Result<String, Complaint> {
    match value.as_str() {
        Some("") => Err(Complaint::new("empty", "leave the key out to get the default")),
        Some(text) => Ok(text.to_owned()),
        None => Err(Complaint::new("not a text", "put the value in quotes")),
    }
}

/// A whole number from `least` to `most`.
pub(super) fn integer(least: u64, most: u64) -> impl Fn(&Value) -> Result<u64, Complaint> {
    move |value| {
        let signed = || value.to_i128().and_then(|number| u64::try_from(number).ok());
        let unsigned = value.to_u128().and_then(|number| u64::try_from(number).ok());
        let number = unsigned.or_else(signed);
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            let hint = if matches!(value, Value::Num(..)) {
                "take one within these limits"
            } else {
                "write the digits alone, without quotes, unit or separators"
            };
            Complaint::new(format!("not a whole number from {least} to {most}"), hint)
        })
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Result<bool, Complaint> {
    value.to_bool().ok_or_else(|| {
        Complaint::new("neither true nor false", "write `true` or `false`, without quotes")
    })
}

/// An IP address with a port.
pub(super) fn address(value: &Value) -> Result<SocketAddr, Complaint> {
    text(value)?.parse().map_err(|_| {
        Complaint::new(
            "not an IP address with a port",
            "write it like `127.0.0.1:8091` or `[::1]:8091`; names are not looked up",
        )
    })
}

/// The URL of a web server, as it is written.
///
/// - `example`: what one looks like, for the complaint.
pub(super) fn url(value: &Value, example: &str) -> Result<String, Complaint> {
    let complaint = || Complaint::new("not a URL", format!("write it like `{example}`"));
    let given = text(value)?;
    let parsed: reqwest::Url = given.parse().map_err(|_| complaint())?;
    let is_known = matches!(parsed.scheme(), "http" | "https") && parsed.has_host();
    is_known.then_some(given).ok_or_else(complaint)
}

/// A time span with its unit: `500ms`, `30s`, `10m`, `2h`.
pub(super) fn duration(value: &Value) -> Result<Duration, Complaint> {
    let complaint = || {
        Complaint::new("not a time span", "write a number and its unit, like `30s`, `10m`, `2h`")
    };
    let text = text(value).map_err(|_| complaint())?;
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(complaint)?;
    let (digits, unit) = text.split_at(unit_at);
    let count: u64 = digits.parse().map_err(|_| complaint())?;
    let unit_ms: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err(complaint()),
    };
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(complaint)
}

/// Texts in a list.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, Complaint> {
    let complaint = || Complaint::new("not a list of texts", "write it like `[\"one\", \"two\"]`");
    let values = value.as_array().ok_or_else(complaint)?;
    values.iter().map(|value| text(value).map_err(|_| complaint())).collect()
}

/// A path, made absolute.
pub(super) fn path(value: &Value, surroundings: &Surroundings) -> Result<PathBuf, Complaint> {
    let given = text(value)?;
    if given.contains('\0') {
        let hint = "write the path without it: `\\u0000` stands for one";
        return Err(Complaint::new("it holds a NUL, which no path can", hint));
    }
    Ok(surroundings.absolute(&given))
}

/// One of some words.
pub(super) fn choice<T: Copy>(words: &[(&str, T)], value: &Value) -> Result<T, Complaint> {
    let given = value.as_str();
    words.iter().find(|(word, _)| Some(*word) == given).map(|(_, choice)| *choice).ok_or_else(
        || {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            Complaint::new("not a known value", format!("one of {}", known.join(", ")))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_span_needs_a_number_and_a_known_unit() {
        for (given, ms) in [("500ms", 500), ("30s", 30_000), ("10m", 600_000), ("2h", 7_200_000)] {
            assert_eq!(duration(&Value::from(given)), Ok(Duration::from_millis(ms)), "{given}");
        }
        for given in ["30", "", "s", "-3s", "1.5s", "3 days", "18446744073709551615h"] {
            assert!(duration(&Value::from(given)).is_err(), "{given}");
        }
        assert!(duration(&Value::from(30)).is_err(), "a number has no unit");
    }

    #[test]
    fn an_integer_outside_its_range_is_refused_with_the_range() {
        let error = integer(1, 9)(&Value::from(10)).unwrap_err();
        assert_eq!(error.problem, "not a whole number from 1 to 9");
        assert_eq!(error.hint, "take one within these limits");
        assert!(integer(1, 9)(&Value::from("ten")).unwrap_err().hint.contains("digits"));
        assert_eq!(integer(1, 9)(&Value::from(9)), Ok(9));
        assert!(integer(0, 9)(&Value::from(-1)).is_err());
    }
}

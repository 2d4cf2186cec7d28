//! All layers merged; the door to a typed [`Config`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::value::Value;
use figment::Figment;
use serde::Serialize;

use super::error::{ConfigError, ConfigErrors};
use super::key::{Default, Key, Kind};
use super::layer::{self, FlagValue, Layer, Setting};
use super::origin::Origin;
use super::reader::Reader;
use super::surroundings::Surroundings;
use super::text;
use super::Config;

/// Values from all sources, not yet judged.
#[derive(Debug)]
pub struct Settings {
    pub(super) figment: Figment,
    /// Where each value came from, by key.
    pub(super) origins: BTreeMap<String, Origin>,
    /// Files that could not be read, and keys that nobody knows.
    pub(super) errors: Vec<ConfigError>,
    /// Whether a file could not be read, so that what is missing may stand in it.
    pub(super) is_file_unread: bool,
    pub(super) surroundings: Surroundings,
    file: Option<PathBuf>,
}

/// One key as `assay config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// The key.
    pub key: String,
    /// Its value as it would stand in a file, without credentials; `None` if it is not set.
    pub value: Option<String>,
    /// Where the value comes from.
    pub origin: Origin,
}

impl Settings {
    /// Reads all sources. Never fails: what is wrong is kept and comes out of [`Self::config`].
    #[must_use]
    pub fn load(file: Option<&Path>, flags: &[FlagValue], surroundings: Surroundings) -> Self {
        let file = layer::find_file(file, &surroundings);
        Self::merge(file, flags, surroundings)
    }

    /// Like [`Self::load`], and no file is read: what holds before one is written.
    #[must_use]
    pub fn without_file(flags: &[FlagValue], surroundings: Surroundings) -> Self {
        Self::merge(None, flags, surroundings)
    }

    fn merge(file: Option<PathBuf>, flags: &[FlagValue], surroundings: Surroundings) -> Self {
        let mut errors = Vec::new();
        let from_file = file.as_deref().map(layer::file).transpose();
        let is_file_unread = from_file.is_err();
        let from_file = from_file.unwrap_or_else(|error| {
            errors.push(*error);
            None
        });
        let layers = [
            layer::defaults(),
            from_file.unwrap_or_default(),
            layer::bittensor_variables(&surroundings),
            layer::own_variables(&surroundings),
            layer::flags(flags),
        ];
        let mut figment = Figment::new();
        let mut origins = BTreeMap::new();
        for settings in layers {
            let (known, unknown): (Vec<Setting>, Vec<Setting>) =
                settings.into_iter().partition(is_known);
            errors.extend(unknown.iter().map(unknown_key));
            figment = figment.merge(Layer(&known));
            origins.extend(known.into_iter().map(|setting| (setting.name(), setting.origin)));
        }
        Self { figment, origins, errors, is_file_unread, surroundings, file }
    }

    /// The complete configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] with everything that is wrong, unknown keys included.
    pub fn config(&self) -> Result<Config, ConfigErrors> {
        let mut reader = Reader::new(self);
        let config = Config::read(&mut reader);
        let mut errors = self.errors.clone();
        errors.extend(reader.into_errors());
        match config {
            Some(config) if errors.is_empty() => Ok(config),
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// One section alone, for a command that needs no other.
    ///
    /// # Errors
    ///
    /// [`ConfigErrors`] with what is wrong in this section or on the command line, and a file that
    /// cannot be read.
    pub fn section<T>(
        &self,
        read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<T, ConfigErrors> {
        let mut reader = Reader::new(self);
        let section = read(&mut reader);
        let mut errors = reader.into_errors();
        for error in self.told_anyway() {
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
        match section {
            Some(section) if errors.is_empty() => Ok(section),
            _ => Err(ConfigErrors(errors)),
        }
    }

    /// What no command may pass over: a file that cannot be read, and what is wrong among the
    /// flags. Whoever typed it meant it, though the command at hand does not need it.
    fn told_anyway(&self) -> Vec<ConfigError> {
        let mut reader = Reader::new(self);
        let _config = Config::read(&mut reader);
        let is_flag = |error: &&ConfigError| matches!(error.origin, Some(Origin::Flag(_)));
        let told = |error: &&ConfigError| self.is_file_unread || is_flag(error);
        let known: Vec<ConfigError> = self.errors.iter().filter(told).cloned().collect();
        let values = reader.into_errors();
        known.into_iter().chain(values.iter().filter(is_flag).cloned()).collect()
    }

    /// The file that was read, if one was.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Every key with its present value and origin, in the order of the reference.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let mut reader = Reader::new(self);
        // Read for the values that follow from others; errors come out of `config`.
        let _config = Config::read(&mut reader);
        let derived = reader.into_derived();
        super::keys().map(|key| self.show_key(key, &derived)).collect()
    }

    fn show_key(&self, key: &Key, derived: &BTreeMap<&'static str, Shown>) -> Shown {
        if let Some(shown) = derived.get(key.path) {
            return shown.clone();
        }
        let value = self.figment.find_value(key.path).ok();
        let origin = match key.kind {
            Kind::Map => self.origin_of_entries(key),
            _ => self.origins.get(key.path).cloned().unwrap_or(Origin::Default),
        };
        let value = value.map(|value| text::show(key.path, &value));
        Shown { key: key.path.to_owned(), value, origin }
    }

    /// What was set for a key, and where; `None` if the default holds.
    pub(super) fn chosen(&self, key: &Key) -> Option<(Value, Origin)> {
        let origin = match key.kind {
            Kind::Map => self.origin_of_entries(key),
            Kind::Text | Kind::Path | Kind::Integer | Kind::Boolean | Kind::List | Kind::Paths => {
                self.origins.get(key.path).cloned().unwrap_or(Origin::Default)
            }
        };
        let value = self.figment.find_value(key.path).ok()?;
        (origin.rank() > 0).then_some((value, origin))
    }

    /// The strongest origin among a table's entries.
    fn origin_of_entries(&self, key: &Key) -> Origin {
        let entries = self.origins.iter().filter(|(path, _)| key.covers(path));
        entries
            .map(|(_, origin)| origin)
            .max_by_key(|origin| origin.rank())
            .cloned()
            .unwrap_or(Origin::Default)
    }
}

/// Whether a section reads the setting. Counts the parts too: a quoted `"chain.netuid"` at the top
/// of a file is one part, and nobody would look for it there.
fn is_known(setting: &Setting) -> bool {
    let name = setting.name();
    super::keys().filter(|key| key.covers(&name)).any(|key| {
        let parts = key.path.split('.').count();
        let is_entry = key.kind == Kind::Map && name != key.path;
        setting.path.len() == parts + usize::from(is_entry)
    })
}

fn unknown_key(setting: &Setting) -> ConfigError {
    let path = setting.name();
    let hint = match layer::nearest_key(&path) {
        Some(key) => format!("did you mean `{}`?", key.path),
        None => {
            elsewhere(&path).unwrap_or_else(|| "`assay config show` lists every key".to_owned())
        }
    };
    ConfigError {
        value: Some(text::show(&path, &setting.value)),
        key: path,
        origin: Some(setting.origin.clone()),
        problem: "no such key".to_owned(),
        hint: Some(hint),
    }
}

/// What a key was probably meant to be that is none, and near none: a section, or the last part of
/// keys in other sections.
fn elsewhere(path: &str) -> Option<String> {
    if let Some(first) = super::keys().find(|key| belongs_to(key, path)) {
        let hint = format!("it is a section: name a key of it, `{}` for example", first.path);
        return Some(hint);
    }
    let last = path.rsplit('.').next().unwrap_or(path);
    let has_name = |key: &&Key| key.path.rsplit('.').next() == Some(last);
    let keys = super::keys().filter(has_name).map(|key| format!("`{}`", key.path));
    let keys: Vec<String> = keys.take(MEANT_MAX).collect();
    (!keys.is_empty()).then(|| format!("did you mean {}?", keys.join(" or ")))
}

/// Keys named at most that one may have been meant to be.
const MEANT_MAX: usize = 3;

fn belongs_to(key: &Key, section: &str) -> bool {
    key.path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.'))
}

/// What is said about a key that has to be set and is not.
pub(super) fn missing_key(key: &Key) -> ConfigError {
    let flag = key.flag.map_or_else(String::new, |flag| format!("`{flag}`, "));
    let hint = format!(
        "set it with {flag}the variable `{}`, or `{} = {}` in a configuration file",
        key.bittensor_variable.map_or_else(|| key.variable(), str::to_owned),
        key.path,
        key.example,
    );
    debug_assert!(matches!(key.default, Default::Required));
    ConfigError {
        key: key.path.to_owned(),
        value: None,
        origin: None,
        problem: "not set, and there is no default".to_owned(),
        hint: Some(hint),
    }
}

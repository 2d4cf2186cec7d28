//! The sources of values, each as a list of settings with their origins.
//!
//! Not here: which keys exist (`key`), how layers are merged (`settings`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Metadata, Profile, Provider};

use super::error::ConfigError;
use super::key::{Default, Key, Kind};
use super::origin::Origin;
use super::surroundings::Surroundings;

/// What the node's own variables begin with; `__` separates section and key.
pub(super) const VARIABLE_PREFIX: &str = "ASSAY_";

/// The variable that names the configuration file; read before all others.
const FILE_VARIABLE: &str = "ASSAY_CONFIG";

/// The file that is read from the working directory if no other one is named.
const FILE_NAME: &str = "assay.toml";

/// A value given on the command line.
#[derive(Clone, Debug)]
pub struct FlagValue {
    /// The flag, as it was written.
    pub flag: String,
    /// The key it sets.
    pub key: String,
    /// The text behind it.
    pub text: String,
}

/// One value and where it was set.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// Its key; an entry of a table has a part more than the table.
    pub(super) path: Vec<String>,
    /// The value.
    pub(super) value: Value,
    /// Where it was set.
    pub(super) origin: Origin,
}

impl Setting {
    pub(super) fn name(&self) -> String {
        self.path.join(".")
    }
}

/// The settings of one source, as figment wants them.
#[derive(Clone, Debug)]
pub(super) struct Layer<'a>(pub(super) &'a [Setting]);

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named("assay settings")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut root = Dict::new();
        for setting in self.0 {
            insert(&mut root, &setting.path, setting.value.clone());
        }
        Ok(Profile::Default.collect(root))
    }
}

/// Puts `value` at `path`, replacing what is no table on the way there.
fn insert(dict: &mut Dict, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            dict.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let entry = dict.entry(name.clone()).or_insert_with(|| Value::from(Dict::new()));
            if !matches!(entry, Value::Dict(..)) {
                *entry = Value::from(Dict::new());
            }
            if let Value::Dict(_, inner) = entry {
                insert(inner, rest, value);
            }
        }
    }
}

/// Settings for keys whose default is a plain value.
pub(super) fn defaults() -> Vec<Setting> {
    super::keys()
        .filter_map(|key| match key.default {
            Default::Value(text) => Some(settings_of(key.path, text, &Origin::Default)),
            Default::Required | Default::Unset | Default::Derived(_) => None,
        })
        .flatten()
        .collect()
}

/// Settings from flags; a later flag for the same key wins.
pub(super) fn flags(values: &[FlagValue]) -> Vec<Setting> {
    values
        .iter()
        .flat_map(|value| settings_of(&value.key, &value.text, &Origin::Flag(value.flag.clone())))
        .collect()
}

/// Settings from Bittensor's variables. Others that begin with `BT_` are not ours to judge.
pub(super) fn bittensor_variables(surroundings: &Surroundings) -> Vec<Setting> {
    super::keys()
        .filter_map(|key| {
            let name = key.bittensor_variable?;
            let text = surroundings.variable(name)?;
            Some(settings_of(key.path, text, &Origin::BittensorVariable(name.to_owned())))
        })
        .flatten()
        .collect()
}

/// Settings from the node's own variables, unknown ones included, so that they are reported.
///
/// A variable without `__` may belong to the project's own tools. It is taken for a setting only
/// if it is one, or looks like one that was misspelt: `ASSAY_DATADIR`, `ASSAY_CHAIN_NETUID`.
pub(super) fn own_variables(surroundings: &Surroundings) -> Vec<Setting> {
    surroundings
        .variables
        .iter()
        .filter(|(name, _)| *name != FILE_VARIABLE)
        .filter_map(|(name, text)| {
            let key = name.strip_prefix(VARIABLE_PREFIX)?.to_lowercase().replace("__", ".");
            let is_meant = key.contains('.') || nearest_key(&key).is_some();
            is_meant.then(|| settings_of(&key, text, &Origin::Variable(name.clone())))
        })
        .flatten()
        .collect()
}

/// Reads `text` as the key's kind wants it. What does not fit stays text, and the section that
/// owns the key says what is wrong with it.
pub(super) fn settings_of(path: &str, text: &str, origin: &Origin) -> Vec<Setting> {
    let kind = super::keys().find(|key| key.path == path).map_or(Kind::Text, |key| key.kind);
    let parts: Vec<String> = path.split('.').map(str::to_owned).collect();
    let one = |value: Value| vec![Setting { path: parts.clone(), value, origin: origin.clone() }];
    match kind {
        Kind::Text | Kind::Path => one(Value::from(text)),
        Kind::Integer => one(text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from)),
        Kind::Boolean => one(text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from)),
        Kind::List | Kind::Paths => one(Value::from(items(text).collect::<Vec<_>>())),
        Kind::Map => {
            let entries: Option<Vec<_>> = items(text).map(|item| item.split_once('=')).collect();
            let Some(entries) = entries else { return one(Value::from(text)) };
            let entry = |(name, value): (&str, &str)| {
                let path = parts.iter().cloned().chain([name.trim().to_owned()]).collect();
                Setting { path, value: Value::from(value.trim()), origin: origin.clone() }
            };
            entries.into_iter().map(entry).collect()
        }
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Which file is read: the one named by flag or variable, else `./assay.toml`, else the user's.
/// A named file has to exist; the others may.
pub(super) fn find_file(named: Option<&Path>, surroundings: &Surroundings) -> Option<PathBuf> {
    let named = named
        .map(Path::to_path_buf)
        .or_else(|| surroundings.variable(FILE_VARIABLE).map(PathBuf::from));
    if let Some(named) = named {
        return Some(surroundings.working_dir.join(named));
    }
    [surroundings.working_dir.join(FILE_NAME), surroundings.config_home().join(FILE_NAME)]
        .into_iter()
        .find(|path| path.is_file())
}

/// Where a new file goes: to the one named by flag or variable, else to the user's.
#[must_use]
pub fn file_to_write(named: Option<&Path>, surroundings: &Surroundings) -> PathBuf {
    let named = named
        .map(Path::to_path_buf)
        .or_else(|| surroundings.variable(FILE_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| surroundings.config_home().join(FILE_NAME));
    surroundings.working_dir.join(named)
}

/// Settings from a file, each with its line.
///
/// # Errors
///
/// One [`ConfigError`] if the file cannot be read or is no TOML.
pub(super) fn file(path: &Path) -> Result<Vec<Setting>, Box<ConfigError>> {
    let failed = |problem: String, hint: &str| {
        Box::new(ConfigError {
            key: path.display().to_string(),
            value: None,
            origin: None,
            problem,
            hint: Some(hint.to_owned()),
        })
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        failed(
            format!("the configuration file cannot be read: {error}"),
            "name another one with `--config`, or leave the flag out to use the defaults",
        )
    })?;
    let document = toml_edit::ImDocument::parse(text.as_str()).map_err(|error| {
        failed(
            format!("the configuration file is no TOML: {}", toml_problem(&error, &text)),
            "texts stand in quotes, sections in brackets: see docs/configuration.md",
        )
    })?;
    let lines = lines_of(&document, &text);
    let root = Toml::string(&text)
        .data()
        .map_err(|error| failed(one_line(&error.to_string()), "see docs/configuration.md"))?
        .remove(&Profile::Default)
        .unwrap_or_default();
    let mut settings = Vec::new();
    flatten(&root, &mut Vec::new(), &mut |parts, value| {
        let line = lines.get(&parts.join(".")).copied();
        let origin = Origin::File { path: path.to_path_buf(), line };
        settings.push(Setting { path: parts.to_vec(), value: value.clone(), origin });
    });
    Ok(settings)
}

fn flatten(dict: &Dict, path: &mut Vec<String>, found: &mut impl FnMut(&[String], &Value)) {
    for (name, value) in dict {
        path.push(name.clone());
        match value {
            Value::Dict(_, inner) if !inner.is_empty() => flatten(inner, path, found),
            Value::Dict(..) => {}
            value => found(path, value),
        }
        path.pop();
    }
}

fn lines_of(document: &toml_edit::ImDocument<&str>, text: &str) -> BTreeMap<String, usize> {
    let mut lines = BTreeMap::new();
    collect_lines(document.as_table(), text, "", &mut lines);
    lines
}

fn collect_lines(
    table: &dyn toml_edit::TableLike,
    text: &str,
    prefix: &str,
    lines: &mut BTreeMap<String, usize>,
) {
    for (name, item) in table.iter() {
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
        let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        if let Some(before) = span.and_then(|span| text.get(..span.start)) {
            lines.insert(path.clone(), before.matches('\n').count() + 1);
        }
        if let Some(inner) = item.as_table_like() {
            collect_lines(inner, text, &path, lines);
        }
    }
}

/// What the parser says, with the line.
pub(super) fn toml_problem(error: &toml_edit::TomlError, text: &str) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", one_line(error.message()))
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The known key that `path` was probably meant to be.
pub(super) fn nearest_key(path: &str) -> Option<&'static Key> {
    super::keys()
        .map(|key| (strsim::damerau_levenshtein(key.path, path), key))
        .filter(|(distance, key)| *distance <= key.path.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

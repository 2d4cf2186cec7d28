//! The table of the fixtures: how each of them ends, under which policy.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

use crate::submissions::fixture;

/// A project among the fixtures.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its folder.
    pub name: String,
    /// What it is.
    pub what: String,
    /// Under `dev`: `completed`, the rule that refuses it, or the public name of its ending.
    pub dev: String,
    /// The same under `dev-open`: like `dev` if it is missing, not run if it is empty.
    pub open: Option<String>,
    /// What the sentence of its last ending says.
    pub detail: Option<String>,
    /// An honest project that it must not be worth more than.
    pub twin: Option<String>,
    /// With the whole budget of `dev-open`.
    pub bits_per_byte: Option<f64>,
    /// Whether it is also run through a whole node.
    #[serde(default)]
    pub node: bool,
    /// Why it ends so.
    pub why: String,
}

impl Row {
    /// How it ends under `dev-open`; `None` if it is not run.
    #[must_use]
    pub fn open(&self) -> Option<&str> {
        match self.open.as_deref() {
            None => Some(&self.dev),
            Some("") => None,
            Some(ending) => Some(ending),
        }
    }

    /// Whether it is refused before anything of it runs, by the rule that `dev` names.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        node_core::admission::Rule::ALL.iter().any(|rule| rule.id() == self.dev)
    }
}

/// All fixtures, in the order of the table.
///
/// # Errors
///
/// If the table cannot be read.
pub fn endings() -> anyhow::Result<Vec<Row>> {
    let path = fixture("endings.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let mut table: BTreeMap<String, Vec<Row>> = toml::from_str(&text)?;
    table.remove("fixture").context("there is no fixture")
}

/// The table as people read it.
#[must_use]
pub fn as_markdown(rows: &[Row]) -> String {
    let said = |ending: &str| match ending {
        "" => "not run".to_owned(),
        rule if rule.contains('-') => format!("`{rule}`"),
        ending => ending.replace('_', " "),
    };
    let head = ["project", "what it is", "`dev`", "`dev-open`", "bits per byte", "why"];
    let mut lines =
        vec![format!("| {} |", head.join(" | ")), "|---|---|---|---|---|---|".to_owned()];
    lines.extend(rows.iter().map(|row| {
        let open = row.open.as_deref().map_or_else(String::new, said);
        let bits = row.bits_per_byte.map_or_else(String::new, |bits| format!("{bits:.2}"));
        let (name, what, dev, why) = (&row.name, &row.what, said(&row.dev), &row.why);
        format!("| `{name}` | {what} | {dev} | {open} | {bits} | {why} |").replace("|  |", "| |")
    }));
    lines.join("\n").replace("|  |", "| |") + "\n"
}

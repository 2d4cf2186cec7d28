//! How pages say times, names and numbers: small templates of their own, escaped inside and
//! therefore put into pages as they are.

use std::fmt::Display;

use askama::filters::HtmlSafe;
use askama::Template;
use node_core::id::Hotkey;
use node_core::unit::UnixMs;

use crate::status::{date_time, span};

/// A moment: for programs, and for people.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(source = "<time datetime=\"{{ iso }}\">{{ said }}</time>", ext = "html")]
pub(super) struct When {
    /// As HTML wants it.
    pub(super) iso: String,
    /// As people read it.
    pub(super) said: String,
}

impl When {
    /// By date and time.
    pub(super) fn at(at: UnixMs) -> Self {
        let said = date_time(at);
        Self { iso: iso(at), said }
    }

    /// By how long before `now` it was.
    pub(super) fn ago(at: UnixMs, now: UnixMs) -> Self {
        let said = format!("{} ago", span(now.0.saturating_sub(at.0)));
        Self { iso: iso(at), said }
    }
}

fn iso(at: UnixMs) -> String {
    date_time(at).replace(' ', "T")
}

/// A name too long for a table: its beginning, and all of it.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(source = "<code title=\"{{ full }}\">{{ short }}</code>", ext = "html")]
pub(super) struct Name {
    /// What is shown.
    pub(super) short: String,
    /// What is meant.
    pub(super) full: String,
}

impl Name {
    /// Of something whose short name its type knows.
    pub(super) fn of(full: &impl Display, short: String) -> Self {
        Self { short, full: full.to_string() }
    }

    /// Of a hotkey.
    pub(super) fn hotkey(hotkey: &Hotkey) -> Self {
        Self::of(hotkey, hotkey.short())
    }
}

/// A line of a list of facts: what, and how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    /// What.
    pub(super) name: &'static str,
    /// How it is.
    pub(super) text: String,
    /// Whether every character counts: an id, a digest, an address.
    pub(super) is_exact: bool,
}

impl Fact {
    /// In words.
    pub(super) fn said(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into(), is_exact: false }
    }

    /// By its characters.
    pub(super) fn exact(name: &'static str, text: &impl Display) -> Self {
        Self { name, text: text.to_string(), is_exact: true }
    }
}

/// A state, with the class that colours it: the word alone says what is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Template)]
#[template(source = "<span class=\"badge {{ class }}\">{{ word }}</span>", ext = "html")]
pub(super) struct Badge {
    /// The state.
    pub(super) word: &'static str,
    /// `good`, `warn`, `bad` or `plain`.
    pub(super) class: &'static str,
}

/// A list of facts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Template)]
#[template(path = "facts.html")]
pub(super) struct Facts {
    rows: Vec<Fact>,
}

impl Facts {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl From<Vec<Fact>> for Facts {
    fn from(rows: Vec<Fact>) -> Self {
        Self { rows }
    }
}

impl HtmlSafe for When {}
impl HtmlSafe for Name {}
impl HtmlSafe for Badge {}
impl HtmlSafe for Facts {}

/// How much of a whole, in percent, rounded down; nothing of nothing.
pub(super) fn percent(part: u64, whole: u64) -> u64 {
    part.min(whole).saturating_mul(100).checked_div(whole).unwrap_or(0)
}

/// A number in 1e-9, with four decimals and its sign.
pub(super) fn nano(value: i64) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let tenth_millis = (value.unsigned_abs() + 50_000) / 100_000;
    format!("{sign}{}.{:04}", tenth_millis / 10_000, tenth_millis % 10_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_read_well() {
        let when = When::at(UnixMs(1_772_625_871_000));
        assert_eq!((&*when.iso, &*when.said), ("2026-03-04T12:04:31Z", "2026-03-04 12:04:31Z"));
        assert_eq!(When::ago(UnixMs(0), UnixMs(90_000)).said, "1 min 30 s ago");
        assert_eq!([percent(1, 3), percent(5, 3), percent(0, 0)], [33, 100, 0]);
        assert_eq!([nano(1_012_345_678), nano(-20_000_000)], ["1.0123", "-0.0200"]);
    }
}

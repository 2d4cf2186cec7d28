//! What a check found, and how it is told.
//!
//! What is not in order cannot be told without what to do about it, and its topic says why it
//! matters.

use std::error::Error;

use serde::Serialize;

use super::topic::Topic;
use crate::config::hide_credentials;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    Ok,
    Warn,
    Fail,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    #[serde(rename = "id")]
    topic: Topic,
    level: Level,
    text: String,
    /// What depends on it.
    why: &'static str,
    /// What to do; there is something wherever something is not in order.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Finding {
    pub(super) fn ok(topic: Topic, text: impl AsRef<str>) -> Self {
        Self::new(topic, Level::Ok, text.as_ref(), None)
    }

    pub(super) fn warn(topic: Topic, text: impl AsRef<str>, next: impl Into<String>) -> Self {
        Self::at(topic, Level::Warn, text, next)
    }

    pub(super) fn fail(topic: Topic, text: impl AsRef<str>, next: impl Into<String>) -> Self {
        Self::at(topic, Level::Fail, text, next)
    }

    /// At a level that somebody else decided. In order, there is nothing to do.
    pub(super) fn at(
        topic: Topic,
        level: Level,
        text: impl AsRef<str>,
        next: impl Into<String>,
    ) -> Self {
        let next = (level != Level::Ok).then(|| next.into());
        Self::new(topic, level, text.as_ref(), next)
    }

    /// An error with its causes fails.
    pub(super) fn of_error(topic: Topic, error: &dyn Error, next: impl Into<String>) -> Self {
        Self::fail(topic, in_a_line(error), next)
    }

    fn new(topic: Topic, level: Level, text: &str, next: Option<String>) -> Self {
        // A foreign message may name an endpoint, and its URL may hold a password.
        Self { topic, level, text: hide_credentials(text), why: topic.why(), next }
    }

    /// The same, and no worse than a warning.
    pub(super) fn into_warning(self) -> Self {
        Self { level: self.level.min(Level::Warn), ..self }
    }

    /// The same in other words.
    pub(super) fn with_text(self, text: String) -> Self {
        Self { text, ..self }
    }

    pub(super) fn topic(&self) -> Topic {
        self.topic
    }

    pub(super) fn level(&self) -> Level {
        self.level
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

/// An error with its causes, in one line.
pub(super) fn in_a_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// A line per finding, in their order; below it why it matters, where it is not in order, and what
/// to do, then how many there are of each level.
pub(super) fn render(found: &[Finding]) -> String {
    let mut out = String::new();
    for finding in found {
        let word = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        let text = finding.text.replace('\n', "\n                    ");
        out.push_str(&format!("{word:<5} {:<13} {text}\n", finding.topic.name()));
        if finding.level != Level::Ok {
            out.push_str(&format!("{:<20}why:  {}\n", "", finding.why));
        }
        if let Some(next) = &finding.next {
            out.push_str(&format!("{:<20}next: {next}\n", ""));
        }
    }
    let count = |level| found.iter().filter(|finding| finding.level == level).count();
    let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
    out.push_str(&format!("\n{ok} ok, {warn} to look at, {fail} failed\n"));
    out
}

/// Findings as their tests have them: level, text, and the next step below.
#[cfg(test)]
pub(super) fn told<'a>(found: impl IntoIterator<Item = &'a Finding>) -> String {
    let told = found.into_iter().map(|found| {
        let next = found.next.as_ref().map_or_else(String::new, |next| format!("\n  next: {next}"));
        format!("{:?}: {}{next}", found.level, found.text)
    });
    told.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
impl Finding {
    pub(super) fn next_step(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The same with `by` in place of what differs from one time and one machine to the next.
    pub(super) fn replaced(self, what: &str, by: &str) -> Self {
        let next = self.next.map(|next| next.replace(what, by));
        Self { text: self.text.replace(what, by), next, ..self }
    }
}

#[cfg(test)]
mod tests {
    use node_core::preflight::CheckId;

    use super::*;

    #[test]
    fn every_finding_has_its_line_and_its_next_step_below() {
        let found = [
            Finding::ok(Topic::Config, "subnet 3"),
            Finding::warn(Topic::Key, "others can read the hotkey", "chmod 600 it"),
            Finding::fail(
                Topic::Endpoint,
                "`wss://me:secret@h/key` is silent\nsecond line",
                "replace it",
            ),
        ];
        insta::assert_snapshot!(render(&found), @r"
        ok    config        subnet 3
        WARN  key           others can read the hotkey
                            why:  whoever reads the hotkey sets weights in your name
                            next: chmod 600 it
        FAIL  endpoint      `wss://***@h/***` is silent
                            second line
                            why:  what the chain says comes from there, and vectors go there
                            next: replace it

        1 ok, 1 to look at, 1 failed
        ");
    }

    #[test]
    fn a_program_reads_the_name_and_the_reason_beside_the_text_and_the_next_step() {
        let found = [
            Finding::ok(Topic::Config, "subnet 3"),
            Finding::fail(Topic::OnChain(CheckId::Permit), "no permit", "add stake"),
        ];
        assert_eq!(
            serde_json::to_value(found).unwrap(),
            serde_json::json!([
                {
                    "id": "config", "level": "ok", "text": "subnet 3",
                    "why": "what is set wrong is wrong in everything that follows",
                },
                {
                    "id": "permit", "level": "fail", "text": "no permit",
                    "why": "without a permit the chain refuses this node's vectors",
                    "next": "add stake",
                },
            ])
        );
    }

    #[test]
    fn what_is_in_order_has_no_next_step_and_a_warning_keeps_its_own() {
        assert_eq!(Finding::at(Topic::Disk, Level::Ok, "room", "clean up").next_step(), None);
        let warned = Finding::fail(Topic::Disk, "full", "clean up").into_warning();
        assert_eq!((warned.level(), warned.next_step()), (Level::Warn, Some("clean up")));
        assert_eq!(Finding::ok(Topic::Disk, "room").into_warning().level(), Level::Ok);
    }
}

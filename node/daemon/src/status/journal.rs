//! How full the journal of what was signed is: a full one ends all signing.

use node_core::preflight::Level;
use node_store::JOURNAL_BYTES_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::watch::CheckStatus;

/// The check's public name.
pub(super) const CHECK: &str = "journal";

/// Hundredths of the limit from which on the operator is warned: some years before it is full.
const WARN_PERCENT: u64 = 50;

/// Hundredths of the limit from which on it is an alarm: some months are left.
const ALARM_PERCENT: u64 = 90;

/// How full the journal of what was signed is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JournalStatus {
    /// Bytes there are.
    pub bytes: u64,
    /// Bytes with which nothing is signed any more.
    pub bytes_max: u64,
}

impl JournalStatus {
    /// A journal of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self { bytes, bytes_max: JOURNAL_BYTES_MAX }
    }

    /// How it stands.
    #[must_use]
    pub fn level(&self) -> Level {
        let percent = self.percent();
        match percent {
            ALARM_PERCENT.. => Level::Alarm,
            WARN_PERCENT.. => Level::Warn,
            _ => Level::Ok,
        }
    }

    /// How full it is, with the next step where there is one.
    #[must_use]
    pub fn text(&self) -> String {
        let mib = self.bytes >> 20;
        let numbers =
            format!("signed.journal has {mib} MiB, {} % of what it may have", self.percent());
        match self.level() {
            Level::Ok => numbers,
            Level::Warn | Level::Alarm => format!(
                "{numbers}, and nothing is signed with a full one; start the node anew when that \
                 is safe, which drops the vectors of old epochs; docs/journal.md says what else"
            ),
        }
    }

    /// As a check among the others.
    pub(super) fn check(&self) -> CheckStatus {
        let level = self.level().name().to_owned();
        CheckStatus { id: CHECK.to_owned(), level, text: self.text() }
    }

    fn percent(&self) -> u64 {
        (self.bytes.saturating_mul(100)).checked_div(self.bytes_max).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_fills_is_told_from_half_on() {
        let of = |percent: u64| JournalStatus::new(JOURNAL_BYTES_MAX / 100 * (percent + 1));
        assert_eq!([of(0), of(48)].map(|one| one.level()), [Level::Ok; 2]);
        assert_eq!([of(50), of(88)].map(|one| one.level()), [Level::Warn; 2]);
        assert_eq!([of(90), of(200)].map(|one| one.level()), [Level::Alarm; 2]);
        assert!(of(50).text().contains("start the node anew"), "{}", of(50).text());
        assert!(!of(1).text().contains("start"));
    }
}

//! From the machine's notes to log lines: one kind, one message, one counter.

use node_core::machine::effect::Note;
use serde_json::Value;
use tracing::Level;

macro_rules! kinds {
    ($($level:ident { $($variant:ident = $kind:literal,)* })*) => {
        /// The name of a kind of note: its key in metrics and status.
        #[must_use]
        pub fn kind(note: &Note) -> &'static str {
            match note { $($(Note::$variant { .. } => $kind,)*)* }
        }

        /// How loud a note is.
        fn level(note: &Note) -> Level {
            match note { $($(Note::$variant { .. } => Level::$level,)*)* }
        }

        /// The names of all kinds.
        pub const KINDS: &[&str] = &[$($($kind,)*)*];
    };
}

kinds! {
    INFO {
        SubmissionSeen = "submission_seen",
        SubmissionAdmitted = "submission_admitted",
        SubmissionRejected = "submission_rejected",
        SubmissionScored = "submission_scored",
        SubmissionFailed = "submission_failed",
        LeaseGranted = "lease_granted",
        LeaseReleased = "lease_released",
        ReceiptAccepted = "receipt_accepted",
        RunStarted = "run_started",
        RunEnded = "run_ended",
        LeftoverFound = "leftover_found",
        WeightsIntended = "weights_intended",
        WeightsSigned = "weights_signed",
        WeightsLanded = "weights_landed",
        CaughtUp = "caught_up",
    }
    DEBUG {
        CommitmentUnreadable = "commitment_unreadable",
        CommitmentTooSoon = "commitment_too_soon",
        CommitmentByValidator = "commitment_by_validator",
        ContentFetched = "content_fetched",
        GrantIgnored = "grant_ignored",
        LeaseRefused = "lease_refused",
        RunUnknown = "run_unknown",
        WeightsNotSafe = "weights_not_safe",
    }
    WARN {
        FetchFailed = "fetch_failed",
        LeaseExpired = "lease_expired",
        LeaseExhausted = "lease_exhausted",
        ReceiptIgnored = "receipt_ignored",
        RunAbandoned = "run_abandoned",
        PeerUnreachable = "peer_unreachable",
        WeightsNotSigned = "weights_not_signed",
        WeightsRefused = "weights_refused",
        WeightsAbandoned = "weights_abandoned",
        UnexpectedAnswer = "unexpected_answer",
    }
}

/// Writes a note's log line: the kind as the message, its fields under their own names.
pub fn log(note: &Note) {
    let fields = serde_json::to_value(note).unwrap_or_default();
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(value) => Some(value.to_string()),
        None => None,
    };
    // Every field that a note can have; those it has not are left out of the line.
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                target: "assay",
                $level,
                submission = text("submission"),
                run = text("run"),
                device = text("device"),
                attempt = text("attempt"),
                hotkey = text("hotkey"),
                worker = text("worker"),
                holder = text("holder"),
                coordinator = text("coordinator"),
                peer = text("peer"),
                call = text("call"),
                block = text("block"),
                allowed_at = text("allowed_at"),
                points = text("points"),
                epoch = text("epoch"),
                entries = text("entries"),
                nonce = text("nonce"),
                era_end = text("era_end"),
                reason = text("reason"),
                "{}",
                kind(note).replace('_', " "),
            )
        };
    }
    match level(note) {
        Level::WARN => line!(Level::WARN),
        Level::DEBUG => line!(Level::DEBUG),
        _ => line!(Level::INFO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_core::id::Hotkey;

    #[test]
    fn a_kind_is_the_tag_under_which_core_serialises_the_note() {
        let note = Note::UnexpectedAnswer { peer: Hotkey([1; 32]) };
        let tag = serde_json::to_value(&note).unwrap()["note"].clone();
        assert_eq!(tag, kind(&note));
    }

    #[test]
    fn no_two_kinds_share_a_name() {
        let mut names = KINDS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
    }
}

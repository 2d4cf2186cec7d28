//! From the machine's notes to log lines: one kind, one message, one counter.

use node_core::machine::effect::Note;
use node_core::unit::UnixMs;
use serde_json::Value;
use tracing::field::{display, DisplayValue};
use tracing::Level;

use crate::status::EventStatus;

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
        SubmissionDisputed = "submission_disputed",
        LeaseGranted = "lease_granted",
        LeaseReleased = "lease_released",
        LeaseReopened = "lease_reopened",
        HoldResolved = "hold_resolved",
        ContentReviewed = "content_reviewed",
        ReceiptAccepted = "receipt_accepted",
        RunStarted = "run_started",
        RunEnded = "run_ended",
        LeftoverFound = "leftover_found",
        WeightsIntended = "weights_intended",
        WeightsSigned = "weights_signed",
        WeightsLanded = "weights_landed",
        WeightsCommitted = "weights_committed",
        WeightsRevealed = "weights_revealed",
        RevealSigned = "reveal_signed",
        WeightsNotSafe = "weights_not_safe",
        CaughtUp = "caught_up",
        DeviceChanged = "device_changed",
    }
    DEBUG {
        CommitmentUnreadable = "commitment_unreadable",
        CommitmentTooSoon = "commitment_too_soon",
        CommitmentByValidator = "commitment_by_validator",
        ContentFetched = "content_fetched",
        GrantIgnored = "grant_ignored",
        LeaseRefused = "lease_refused",
        RunUnknown = "run_unknown",
    }
    WARN {
        FetchFailed = "fetch_failed",
        SubmissionHeld = "submission_held",
        ReviewFailed = "review_failed",
        LeaseExpired = "lease_expired",
        LeaseExhausted = "lease_exhausted",
        ReceiptIgnored = "receipt_ignored",
        ReceiptLate = "receipt_late",
        Strike = "strike",
        GateFailsReference = "gate_fails_reference",
        RunAbandoned = "run_abandoned",
        RunLapsed = "run_lapsed",
        PeerUnreachable = "peer_unreachable",
        WeightsNotSigned = "weights_not_signed",
        WeightsRefused = "weights_refused",
        WeightsAbandoned = "weights_abandoned",
        WeightsFailed = "weights_failed",
        WeightsLost = "weights_lost",
        WeightsUntraced = "weights_untraced",
        WeightsDiffer = "weights_differ",
        NonceUsedElsewhere = "nonce_used_elsewhere",
        HotkeyAdopted = "hotkey_adopted",
        OtherSigner = "other_signer",
        UnexpectedAnswer = "unexpected_answer",
        DeviceDistrusted = "device_distrusted",
        HostLacks = "host_lacks",
    }
}

/// Writes a note's log line: the kind as the message, its fields under their own names.
pub fn log(note: &Note) {
    let fields = serde_json::to_value(note).unwrap_or_default();
    let id = |name| id(&fields, name);
    let number = |name: &str| fields.get(name).and_then(Value::as_u64);
    let sentence = |name: &str| fields.get(name).and_then(Value::as_str);
    // Every field that a note can have; those it has not are left out of the line.
    macro_rules! line {
        ($level:expr) => {
            tracing::event!(
                target: "assay",
                $level,
                submission = id("submission"),
                content = id("content"),
                opinion = id("opinion"),
                run = id("run"),
                device = id("device"),
                standing = id("standing"),
                attempt = number("attempt"),
                hotkey = id("hotkey"),
                worker = id("worker"),
                holder = id("holder"),
                coordinator = id("coordinator"),
                peer = id("peer"),
                validator = id("validator"),
                cause = sentence("cause"),
                call = id("call"),
                block = number("block"),
                allowed_at = number("allowed_at"),
                points = number("points"),
                epoch = number("epoch"),
                entries = number("entries"),
                nonce = number("nonce"),
                era_end = number("era_end"),
                commit_epoch = number("commit_epoch"),
                error = sentence("error"),
                reason = sentence("reason"),
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

/// A note as `status` remembers it; `None` for what only helps to find a bug.
#[must_use]
pub fn event(note: &Note, at: UnixMs) -> Option<EventStatus> {
    let level = level(note);
    let fields = serde_json::to_value(note).unwrap_or_default();
    let fields = fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "note");
    let text: Vec<String> =
        fields.filter_map(|(name, value)| Some(format!("{name} {}", short(value)?))).collect();
    (level != Level::DEBUG).then(|| EventStatus {
        at,
        kind: kind(note).to_owned(),
        is_warning: level == Level::WARN,
        text: text.join(", "),
    })
}

/// A field's value for people: ids shortened, sentences as they are; `None` for nothing.
fn short(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.len() >= ID_CHARS_MIN && !text.contains(' ') => {
            Some(text.chars().take(8).collect())
        }
        Value::String(text) => Some(text.clone()),
        Value::Null => None,
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

/// Characters of the shortest id: an address of a hotkey.
const ID_CHARS_MIN: usize = 46;

/// A field that is one word: no quotes around it.
fn id(fields: &Value, name: &str) -> Option<DisplayValue<String>> {
    fields.get(name).and_then(Value::as_str).map(|text| display(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;
    use node_core::id::Hotkey;
    use node_core::unit::BlockNumber;

    /// What a subscriber wrote.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(note: &Note, is_json: bool) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let builder = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .without_time()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        if is_json {
            let subscriber = builder.json().flatten_event(true).finish();
            tracing::subscriber::with_default(subscriber, || log(note));
        } else {
            tracing::subscriber::with_default(builder.finish(), || log(note));
        }
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn ids_and_numbers_stand_bare_and_sentences_in_quotes() {
        let hotkey = Hotkey([1; 32]);
        let reason = "no \u{1b}commitment".to_owned();
        let note = Note::CommitmentUnreadable { hotkey, block: BlockNumber(40), reason };
        let text = format!(
            "DEBUG assay: commitment unreadable hotkey={hotkey} block=40 reason=\"no \\u{{1b}}commitment\"\n"
        );
        assert_eq!(logged(&note, false), text);
        let json: Value = serde_json::from_str(&logged(&note, true)).unwrap();
        assert_eq!(json["block"], 40);
        assert_eq!(json["hotkey"], hotkey.to_string());
        assert!(json.get("peer").is_none(), "{json}");
    }

    #[test]
    fn a_kind_is_the_tag_under_which_core_serialises_the_note() {
        let note = Note::UnexpectedAnswer { peer: Hotkey([1; 32]) };
        let tag = serde_json::to_value(&note).unwrap()["note"].clone();
        assert_eq!(tag, kind(&note));
    }

    #[test]
    fn an_event_tells_whom_and_what_and_shortens_ids() {
        let (hotkey, reason) = (Hotkey([1; 32]), "no endpoint".to_owned());
        let note = Note::PeerUnreachable { peer: hotkey, reason };
        let told = event(&note, UnixMs(7)).unwrap();
        assert_eq!((told.kind.as_str(), told.is_warning), ("peer_unreachable", true));
        assert_eq!(told.text, format!("peer {}, reason no endpoint", hotkey.short()));
        let block = BlockNumber(40);
        assert_eq!(event(&Note::CommitmentByValidator { hotkey, block }, UnixMs(7)), None);
    }

    #[test]
    fn no_two_kinds_share_a_name() {
        let mut names = KINDS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KINDS.len());
    }
}

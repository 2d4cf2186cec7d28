//! What was said of a vector in trouble: the same trouble comes back with every block, and a log
//! that repeats it hides what is new.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::effect::Note;

/// Reasons of one kind that are said for one epoch. Lower: a new trouble late in an epoch is not
/// told. Higher: reasons with a number that changes with every block fill the log.
const REASONS_MAX: usize = 16;

/// Epochs and kinds whose reasons are remembered; trouble of older ones may be said again.
const EPOCHS_MAX: usize = 16;

/// The kinds of notes that come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    NotSigned,
    Refused,
    Untraced,
}

/// Reasons that were said, by epoch and kind.
#[derive(Debug, Default)]
pub(in crate::machine) struct Said {
    reasons: BTreeMap<(u64, Kind), BTreeSet<String>>,
}

impl Said {
    /// Takes out what was said before: of each kind, each reason is said once for an epoch.
    pub(in crate::machine) fn keep_new(&mut self, notes: &mut Vec<Note>) {
        notes.retain(|note| self.is_new(note));
    }

    fn is_new(&mut self, note: &Note) -> bool {
        let (epoch, kind, reason) = if let Note::WeightsNotSigned { epoch, reason } = note {
            (*epoch, Kind::NotSigned, reason)
        } else if let Note::WeightsRefused { epoch, reason } = note {
            (*epoch, Kind::Refused, reason)
        } else if let Note::WeightsUntraced { epoch, reason } = note {
            (*epoch, Kind::Untraced, reason)
        } else {
            return true;
        };
        let said = self.reasons.entry((epoch, kind)).or_default();
        let is_new = said.len() < REASONS_MAX && said.insert(reason.clone());
        if self.reasons.len() > EPOCHS_MAX {
            self.reasons.pop_first();
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(said: &mut Said, notes: &[Note]) -> usize {
        let mut notes = notes.to_vec();
        said.keep_new(&mut notes);
        notes.len()
    }

    #[test]
    fn each_reason_is_said_once_for_an_epoch_and_a_kind() {
        let refused =
            |epoch, reason: &str| Note::WeightsRefused { epoch, reason: reason.to_owned() };
        let reason = "pool full".to_owned();
        let untraced = Note::WeightsUntraced { epoch: 1, reason: reason.clone() };
        let not_signed = Note::WeightsNotSigned { epoch: 1, reason };
        let all = [refused(1, "pool full"), refused(1, "banned"), untraced, not_signed];
        let mut known = Said::default();
        assert_eq!(said(&mut known, &all), 4);
        assert_eq!(said(&mut known, &all), 0);
        assert_eq!(said(&mut known, &[refused(2, "pool full")]), 1);
        let landed = Note::WeightsLanded { epoch: 1, block: crate::unit::BlockNumber(4) };
        assert_eq!(said(&mut known, &[landed.clone(), landed]), 2, "no trouble");
    }

    #[test]
    fn reasons_that_never_repeat_neither_fill_the_log_nor_the_memory() {
        let mut known = Said::default();
        let mut count = 0;
        for n in 0..1_000 {
            let reason = format!("block {n}");
            count += said(&mut known, &[Note::WeightsRefused { epoch: 7, reason }]);
        }
        assert_eq!(count, REASONS_MAX);
        for epoch in 0..1_000 {
            let reason = "pool full".to_owned();
            said(&mut known, &[Note::WeightsRefused { epoch, reason }]);
        }
        assert!(known.reasons.len() <= EPOCHS_MAX);
    }
}

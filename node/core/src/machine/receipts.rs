//! The receipts that this node has: by trial, to settle it, and by the sequence of the
//! coordinator that accepted them, to pass them on.

use std::collections::BTreeMap;

use super::restart::refill;
use crate::evidence::Receipt;
use crate::id::{Digest, Hotkey, SubmissionId};
use crate::limits::{LATE_RECEIPTS_MAX, RECEIPTS_PER_PAGE_MAX, RECEIPTS_PER_SUBMISSION_MAX};
use crate::reward::Fingerprint;
use crate::rows::{ReceiptRow, ReceiptStanding};
use crate::trial::Trial;

/// Receipts of one worker for one trial that are taken from others: it may have had to show
/// its result to several coordinators.
const PER_WORKER_MAX: usize = 8;

#[derive(Clone, Debug, Default)]
pub(super) struct Receipts {
    /// Most trials have one or two, and a node of a map has room for eleven: hence the boxes.
    by_trial: BTreeMap<Trial, BTreeMap<Digest, Box<ReceiptRow>>>,
    by_sequence: BTreeMap<(Hotkey, u64), (Trial, Digest)>,
}

impl Receipts {
    /// Adds or replaces a row.
    pub(super) fn put(&mut self, row: ReceiptRow) {
        self.put_as(row.receipt.evidence.digest(), row);
    }

    /// The same, where the digest of its evidence is known.
    pub(super) fn put_as(&mut self, digest: Digest, mut row: ReceiptRow) {
        let submission = row.receipt.evidence.submission;
        if let Some(traced) = traced_mut(&mut row) {
            traced.share(self.architectures(submission));
        }
        let evidence = &row.receipt.evidence;
        let place = (evidence.trial(), digest);
        if let Some(sequence) = row.sequence {
            self.by_sequence.insert((evidence.coordinator, sequence), place);
        }
        self.by_trial.entry(place.0).or_default().insert(place.1, Box::new(row));
    }

    /// Leaves no node of its maps half empty, as those are that rows were put into in order.
    pub(super) fn tighten(&mut self) {
        refill(&mut self.by_trial);
        refill(&mut self.by_sequence);
    }

    /// The architectures that containers traced in runs of a submission.
    pub(super) fn architectures(
        &self,
        submission: SubmissionId,
    ) -> impl Iterator<Item = &Fingerprint> {
        let metrics = self.of_submission(submission).map(|row| &row.receipt.evidence.metrics);
        metrics.flatten().filter_map(|metrics| metrics.conduct.architecture.as_ref())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &ReceiptRow> {
        self.by_trial.values().flat_map(BTreeMap::values).map(AsRef::as_ref)
    }

    /// Those of one trial, in the order of their digests.
    pub(super) fn of(&self, trial: &Trial) -> impl Iterator<Item = &ReceiptRow> {
        self.by_trial.get(trial).into_iter().flat_map(BTreeMap::values).map(AsRef::as_ref)
    }

    /// Those of all trials of a submission.
    pub(super) fn of_submission(
        &self,
        submission: SubmissionId,
    ) -> impl Iterator<Item = &ReceiptRow> {
        let trials = self.by_trial.range(Trial::all_of(submission));
        trials.flat_map(|(_, rows)| rows.values()).map(AsRef::as_ref)
    }

    /// Those of one trial that count.
    pub(super) fn counting(&self, trial: &Trial) -> impl Iterator<Item = &Receipt> {
        self.of(trial).filter(|row| row.standing == ReceiptStanding::Counts).map(|row| &row.receipt)
    }

    pub(super) fn contains(&self, receipt: &Receipt) -> bool {
        let rows = self.by_trial.get(&receipt.evidence.trial());
        rows.is_some_and(|rows| rows.contains_key(&receipt.evidence.digest()))
    }

    /// Whether this very receipt counts already.
    pub(super) fn counts(&self, receipt: &Receipt) -> bool {
        let rows = self.by_trial.get(&receipt.evidence.trial());
        let row = rows.and_then(|rows| rows.get(&receipt.evidence.digest()));
        row.is_some_and(|row| row.standing == ReceiptStanding::Counts)
    }

    /// Whether a receipt of another coordinator says anything that is not known already, and there
    /// is room for it. What a worker says a third time proves nothing more.
    pub(super) fn is_news(&self, receipt: &Receipt) -> bool {
        let evidence = &receipt.evidence;
        let known = self.counting(&evidence.trial()).map(|known| &known.evidence);
        let of_worker: Vec<_> = known.filter(|known| known.worker == evidence.worker).collect();
        // Which coordinators saw it, what they had fixed then, and which promise it keeps, is what
        // settling depends on too.
        let is_known = of_worker.iter().any(|known| {
            known.sealed() == evidence.sealed()
                && known.coordinator == evidence.coordinator
                && known.coordinator_sealed == evidence.coordinator_sealed
                && known.shown_before == evidence.shown_before
        });
        let first = of_worker.first();
        let says_two_things =
            first.is_some_and(|first| of_worker.iter().any(|known| !known.says_the_same(first)));
        let count = self.of(&evidence.trial()).count();
        !is_known
            && !says_two_things
            && of_worker.len() < PER_WORKER_MAX
            && count < RECEIPTS_PER_SUBMISSION_MAX
    }

    /// Whether a result of `worker` for the trial is in anybody's sequence.
    pub(super) fn is_public(&self, trial: &Trial, worker: &Hotkey) -> bool {
        let is_theirs = |row: &&ReceiptRow| row.receipt.evidence.worker == *worker;
        self.of(trial).filter(is_theirs).any(|row| row.sequence.is_some())
    }

    /// Whether one more late receipt of the trial is kept.
    pub(super) fn has_room_for_late(&self, trial: &Trial) -> bool {
        let is_late = |row: &&ReceiptRow| row.standing == ReceiptStanding::Late;
        self.of(trial).filter(is_late).count() < LATE_RECEIPTS_MAX
    }

    /// Those that `coordinator` accepted for this trial and that have no place in its
    /// sequence yet, with the digests of their evidence.
    pub(super) fn unpublished(
        &self,
        coordinator: &Hotkey,
        trial: &Trial,
    ) -> Vec<(Digest, ReceiptRow)> {
        let is_waiting = |(_, row): &(&Digest, &ReceiptRow)| {
            row.sequence.is_none()
                && row.standing == ReceiptStanding::Counts
                && row.receipt.evidence.coordinator == *coordinator
        };
        let rows = self.by_trial.get(trial).into_iter().flatten();
        let rows = rows.map(|(digest, row)| (digest, row.as_ref())).filter(is_waiting);
        rows.map(|(digest, row)| (*digest, row.clone())).collect()
    }

    /// The next page of a coordinator's sequence.
    pub(super) fn page(&self, of: Hotkey, after: u64) -> Vec<(u64, Receipt)> {
        let Some(first) = after.checked_add(1) else { return Vec::new() };
        self.by_sequence
            .range((of, first)..=(of, u64::MAX))
            .take(RECEIPTS_PER_PAGE_MAX)
            .filter_map(|((_, sequence), (trial, digest))| {
                let row = self.by_trial.get(trial)?.get(digest)?;
                Some((*sequence, row.receipt.clone()))
            })
            .collect()
    }

    /// Forgets a submission's receipts; returns them.
    pub(super) fn remove(&mut self, submission: SubmissionId) -> Vec<ReceiptRow> {
        let trials: Vec<Trial> =
            self.by_trial.range(Trial::all_of(submission)).map(|(trial, _)| *trial).collect();
        let removed = trials.iter().filter_map(|trial| self.by_trial.remove(trial));
        let rows = removed.flat_map(BTreeMap::into_values);
        let rows: Vec<ReceiptRow> = rows.map(|row| *row).collect();
        for row in &rows {
            if let Some(sequence) = row.sequence {
                self.by_sequence.remove(&(row.receipt.evidence.coordinator, sequence));
            }
        }
        rows
    }
}

fn traced_mut(row: &mut ReceiptRow) -> Option<&mut Fingerprint> {
    row.receipt.evidence.metrics.as_mut()?.conduct.architecture.as_mut()
}

//! Restart is not a special path: load what was stored, look at what is there, and let the
//! difference decide.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use crate::duplicates::Sketch;
use crate::evaluation::Evaluation;
use crate::id::{ContentDigest, Digest, IntentId, Netuid};
use crate::lease_record::LeaseRecord;
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::Restarted;
use crate::machine::weights::INTENTS_KEPT;
use crate::machine::{Machine, Run, WeightsMode};
use crate::restoration::{settled_at, Restoration};
use crate::review::model_digest;
use crate::round::Verdict;
use crate::rows::{
    IntentRow, IntentState, JournalEntry, JournalStep, OutcomeRow, Row, SignedExtrinsic, Table,
    Write,
};
use crate::submission::SubmissionState;
use crate::trial::Trial;
use crate::unit::Now;

impl Machine {
    pub(super) fn on_restarted(&mut self, now: Now, found: Restarted, out: &mut Outcome) {
        let of_device = |row: &Row| {
            let Row::Device(row) = row else { return None };
            Some((row.device.clone(), (**row).clone()))
        };
        let known = found.rows.iter().filter_map(of_device).collect();
        self.meet_devices(now, found.devices, known, out);
        let own = self.config.hotkey;
        // Such a row is written at the end of the wait for what was lost.
        let has_waited =
            found.rows.iter().any(|row| matches!(row, Row::Cursor(row) if row.peer == own));
        for row in found.rows {
            self.load(now, row, out);
        }
        self.drop_samples();
        self.tighten();
        self.remember_decided();
        self.remember_works();
        if found.has_lost_rows {
            self.start_catching_up(out);
        } else if has_waited {
            self.go_on_catching_up();
        }
        let replicas = self.evaluations.values().flat_map(Evaluation::replicas);
        for record in replicas {
            self.queue.place(record, None);
        }
        let admitted = self.submissions.values().filter(|s| s.state.is_admitted());
        self.to_settle = admitted.flat_map(|submission| self.trials_of(submission)).collect();
        if found.has_lost_rows {
            self.forget_who_left();
        } else {
            self.remember_put_away();
        }
        self.reconcile_journal(&found.journal, out);
        for run in found.leftovers {
            out.note(Note::LeftoverFound { run });
            out.perform(Effect::RemoveLeftover { run });
        }
        self.resume_intake(now, out);
        self.resume_reviews(now, out);
    }

    /// Maps that rows were put into one by one, in the order of their keys, are half empty; one
    /// that is made of all of them at once is full.
    fn tighten(&mut self) {
        refill(&mut self.submissions);
        refill(&mut self.verdicts);
        refill(&mut self.sketches);
        refill(&mut self.outcomes);
        self.receipts.tighten();
    }

    /// What was decided before there were rows of it is known by the submission's state.
    fn remember_decided(&mut self) {
        for submission in self.submissions.values() {
            let verdict = match &submission.state {
                SubmissionState::Scored { points } => Verdict::Scored { points: *points },
                SubmissionState::Failed { ending } => Verdict::Failed { ending: ending.clone() },
                SubmissionState::Disputed => Verdict::Disputed,
                SubmissionState::Committed { .. }
                | SubmissionState::Fetched
                | SubmissionState::Admitted
                | SubmissionState::Held { .. }
                | SubmissionState::Rejected { .. } => continue,
            };
            let trial = Trial::first(submission.id);
            let decided_at = submission.committed_at;
            let row = OutcomeRow { trial, verdict, worker: None, architecture: None, decided_at };
            self.outcomes.entry(trial).or_insert(row);
        }
    }

    /// Of several sketches of a content that of this policy is taken, which others are compared by
    /// as well: an earlier policy may have had another way to shingles.
    fn load_sketch(&mut self, content: ContentDigest, policy: &Digest, sketch: Option<Sketch>) {
        let Some(sketch) = sketch else { return };
        if *policy == self.policy_digest {
            self.sketches.insert(content, sketch.into());
        } else {
            self.sketches.entry(content).or_insert_with(|| sketch.into());
        }
    }

    fn load(&mut self, now: Now, row: Row, out: &mut Outcome) {
        match row {
            Row::Submission(row) => {
                self.submissions.insert(row.id, row);
            }
            Row::Verdict(row) => {
                self.load_sketch(row.content, &row.policy, row.sketch);
                self.verdicts.insert((row.content, row.policy), row.verdict);
            }
            Row::Review(row) => {
                let key = (row.content, row.policy, model_digest(&row.model));
                self.reviews.insert(key, row);
            }
            // Under other rules it was another assignment.
            Row::Lease(row) if row.assignment.policy != self.policy_digest => {}
            Row::Lease(row) => {
                let assignment = &row.assignment;
                let trial = assignment.trial();
                let total_ms = self.lease_total_ms(trial.tier);
                self.replica_of.insert(assignment.id, (trial, assignment.replica));
                let evaluation = self.evaluations.entry(trial).or_default();
                evaluation.insert(LeaseRecord::resume(*row, total_ms, now.mono));
            }
            Row::Receipt(row) => {
                let is_own = row.receipt.evidence.coordinator == self.config.hotkey;
                if let Some(sequence) = row.sequence.filter(|_| is_own) {
                    self.next_sequence = self.next_sequence.max(sequence.saturating_add(1));
                }
                self.receipts.put(*row);
            }
            Row::Run(row) => {
                let tier = row.grant.assignment.tier;
                let run = Run::resume((*row).clone(), self.lease_total_ms(tier), now);
                if run.row != *row {
                    out.put(Row::Run(Box::new(run.row.clone())));
                }
                self.runs.insert(run.row.run, run);
            }
            // Those of another mechanism belong to the configuration that made them.
            Row::Intent(row) => {
                if is_of_a_dry_run(&row) && self.config.weights == WeightsMode::Submit {
                    out.writes.push(Write::Delete(Table::Intents, row.id.0.to_vec()));
                } else if self.is_for_us(row.netuid, row.mechanism) {
                    self.intents.insert(row.id, row);
                }
            }
            // Our own sequence: what was given and is not kept any more.
            Row::Cursor(row) if row.peer == self.config.hotkey => self.resume_numbers(row.after),
            Row::Cursor(row) => self.peers.entry(row.peer).or_default().after = row.after,
            Row::Measurement(row) => {
                self.measurements.insert(row.trial(), *row);
            }
            Row::Outcome(mut row) => {
                if let Some(traced) = &mut row.architecture {
                    let decided = self.outcomes.range(Trial::all_of(row.trial.submission));
                    let decided = decided.filter_map(|(_, row)| row.architecture.as_ref());
                    traced.share(self.receipts.architectures(row.trial.submission).chain(decided));
                }
                self.outcomes.insert(row.trial, row);
            }
            // Met with the devices.
            Row::Device(_) => {}
            Row::Strike(row) => {
                self.strikes.insert((row.validator, row.submission, row.cause), row);
            }
            Row::Family(row) => {
                self.horizon.families.insert(row.id, row.family);
            }
            Row::Horizon(row) => self.horizon.row = Some(row),
        }
    }

    fn is_for_us(&self, netuid: Netuid, mechanism: u8) -> bool {
        (netuid, mechanism) == (self.config.netuid, self.config.mechanism)
    }

    /// What was signed exists twice; where journal and rows disagree, the stricter one holds: a
    /// signature that either of them knows was made.
    fn reconcile_journal(&mut self, journal: &[JournalEntry], out: &mut Outcome) {
        let own = journal.iter().filter(|entry| {
            entry.hotkey == self.config.hotkey && self.is_for_us(entry.netuid, entry.mechanism)
        });
        let entries: Vec<&JournalEntry> = own.collect();
        let replayed = replay(entries.iter().copied());
        let newest = newest(replayed.values().map(|(row, _)| row));
        for (id, (mut journalled, is_which_known)) in replayed {
            let known = self.intents.get(&id);
            if known.is_some_and(|row| is_at_least(row, &journalled)) {
                continue;
            }
            if known.is_none() && journalled.state.is_finished() && !newest.contains(&id) {
                // Finished long ago and dropped from the rows.
                continue;
            }
            // Where the journal does not say which of several landed, it is looked for again.
            let is_committed = matches!(journalled.state, IntentState::Committed { .. });
            if is_committed && journalled.signings.len() > 1 && !is_which_known {
                journalled.state = IntentState::Signed;
            }
            out.put(Row::Intent(journalled.clone()));
            self.intents.insert(id, journalled);
        }
        self.signers.resume(entries.into_iter(), self.intents.values());
        // A copy is one of all mechanisms.
        let (hotkey, netuid) = (self.config.hotkey, self.config.netuid);
        self.restoration = Restoration::of_journal(journal, hotkey, netuid);
        self.settled_at = settled_at(journal, hotkey, netuid);
    }
}

/// The newest intents, as many as are kept.
fn newest<'a>(intents: impl Iterator<Item = &'a IntentRow>) -> BTreeSet<IntentId> {
    let mut by_age: Vec<_> = intents.map(|row| (row.computed_at, row.id)).collect();
    by_age.sort_unstable();
    by_age.into_iter().rev().take(INTENTS_KEPT).map(|(_, id)| id).collect()
}

/// Whether nothing was ever signed for it: its epoch still wants a vector.
fn is_of_a_dry_run(row: &IntentRow) -> bool {
    matches!(row.state, IntentState::Abandoned { .. }) && row.signings.is_empty()
}

/// Whether the row knows at least what the journal knows.
fn is_at_least(row: &IntentRow, journalled: &IntentRow) -> bool {
    let has_signatures = row.signings.len() >= journalled.signings.len()
        && row.reveals.len() >= journalled.reveals.len();
    row.state.is_finished()
        || (progress(&row.state) >= progress(&journalled.state) && has_signatures)
}

/// How far along its way a state is.
fn progress(state: &IntentState) -> u8 {
    match state {
        IntentState::Open => 0,
        IntentState::Signed => 1,
        IntentState::Committed { .. } => 2,
        IntentState::Landed { .. }
        | IntentState::Revealed { .. }
        | IntentState::Lost { .. }
        | IntentState::Abandoned { .. } => 3,
    }
}

/// The intents that the journal tells of, and whether it says which of their signatures landed.
fn replay<'a>(
    journal: impl Iterator<Item = &'a JournalEntry>,
) -> BTreeMap<IntentId, (IntentRow, bool)> {
    let mut intents: BTreeMap<IntentId, IntentRow> = BTreeMap::new();
    let mut landed: BTreeMap<IntentId, Digest> = BTreeMap::new();
    for entry in journal {
        if let JournalStep::Landed { hash: Some(hash), .. }
        | JournalStep::Committed { hash: Some(hash), .. } = entry.step
        {
            landed.insert(entry.intent, hash);
        }
        match &entry.step {
            JournalStep::Intended { vector, version_key, computed_at } => {
                let intent = intents.entry(entry.intent).or_insert_with(|| IntentRow {
                    id: entry.intent,
                    netuid: entry.netuid,
                    mechanism: entry.mechanism,
                    registered_at: entry.registered_at,
                    epoch: entry.epoch,
                    vector: Vec::new(),
                    version_key: *version_key,
                    computed_at: *computed_at,
                    signings: Vec::new(),
                    reveals: Vec::new(),
                    updated_at: None,
                    state: IntentState::Open,
                });
                // A later line replaces the vector of an earlier one, before it is signed again.
                intent.vector.clone_from(vector);
                (intent.version_key, intent.computed_at) = (*version_key, *computed_at);
            }
            step @ (JournalStep::Signed { .. }
            | JournalStep::RevealSigned { .. }
            | JournalStep::Landed { .. }
            | JournalStep::Committed { .. }
            | JournalStep::Revealed { .. }
            | JournalStep::Lost { .. }
            | JournalStep::Abandoned { .. }
            | JournalStep::Adopted { .. }
            | JournalStep::Restored { .. }
            | JournalStep::Settled { .. }) => {
                if let Some(intent) = intents.get_mut(&entry.intent) {
                    replay_step(intent, step);
                }
            }
        }
    }
    // At the end: lines of another machine's journal may come behind the landing.
    let known = |(id, mut row): (IntentId, IntentRow)| {
        let is_known = landed.get(&id).is_some_and(|hash| row.put_landed_last(hash));
        (id, (row, is_known))
    };
    intents.into_iter().map(known).collect()
}

fn learn(known: &mut Vec<SignedExtrinsic>, signed: &SignedExtrinsic) {
    if known.iter().all(|other| other.hash != signed.hash) {
        known.push(signed.clone());
    }
}

/// What a later line says of an intent.
fn replay_step(intent: &mut IntentRow, step: &JournalStep) {
    match step {
        JournalStep::Intended { .. }
        | JournalStep::Adopted { .. }
        | JournalStep::Restored { .. }
        | JournalStep::Settled { .. } => {}
        JournalStep::Signed { signed } => {
            learn(&mut intent.signings, signed);
            // Lines of another machine's journal may come after the end of the story.
            if intent.state.is_on_its_way() {
                intent.state = IntentState::Signed;
            }
        }
        JournalStep::RevealSigned { signed } => learn(&mut intent.reveals, signed),
        JournalStep::Landed { block, .. } => {
            intent.updated_at = Some(*block);
            intent.state = IntentState::Landed { block: *block };
        }
        JournalStep::Committed { block, epoch, .. } => {
            intent.updated_at = Some(*block);
            intent.state = IntentState::Committed { block: *block, epoch: *epoch };
        }
        JournalStep::Revealed { block } => intent.state = IntentState::Revealed { block: *block },
        JournalStep::Lost { reason } => {
            intent.state = IntentState::Lost { reason: reason.clone() };
        }
        JournalStep::Abandoned { reason } => {
            intent.state = IntentState::Abandoned { reason: reason.clone() };
        }
    }
}

/// Makes a map anew of what is in it, with full nodes.
pub(super) fn refill<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = mem::take(map).into_iter().collect();
}

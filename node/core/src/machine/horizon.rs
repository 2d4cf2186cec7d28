//! What is settled for good, and what is forgotten: a node must not grow with its age.
//!
//! A window of the funnel *closes for good* when it is over for the policy's memory and a while.
//! Who passed which tier of it is written to its submissions, and what they came to in the
//! standings to the families; from then on neither is computed again. Windows close in their order,
//! since who was first decides. One with work that is still owed is waited for twice as long, and
//! by a node that began late for as long as it follows the chain.
//!
//! A submission is *forgotten* when its window is closed, it left the chain, is older than the
//! memory, and nothing rests on it: it holds no place, its hotkey is not paid for it, and no known
//! recipe trains it. It goes to the freezer, with what was decided.
//!
//! Validators began at different times, and what left the chain is nowhere to be read. So a memory
//! with an end lets those agree about copies and recipes who follow the chain for at least as long.
//! Places that are older than a node are not known there.

use std::collections::{BTreeMap, BTreeSet};

use crate::funnel::{CohortId, Passage, TierPlace};
use crate::id::{ContentDigest, Digest, SubmissionId};
use crate::limits::{
    FORGET_EVERY_BLOCKS, FROZEN_PER_BLOCK_MAX, RETENTION_BLOCKS, WINDOWS_PER_BLOCK_MAX,
};
use crate::machine::effect::{Effect, Outcome};
use crate::machine::funnel::Entrant;
use crate::machine::settle::FORGOTTEN_PART;
use crate::machine::trained::Trained;
use crate::machine::Machine;
use crate::review::ReviewKey;
use crate::reward::{Family, FamilyId};
use crate::rows::{FamilyRow, HorizonRow, Row, VerdictRow};
use crate::submission::Submission;
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber};

/// What is settled for good.
#[derive(Clone, Debug, Default)]
pub(super) struct Horizon {
    /// How far; `None` before the first block.
    pub(super) row: Option<HorizonRow>,
    /// What closed windows came to.
    pub(super) families: BTreeMap<FamilyId, Family>,
    /// When it was last looked for submissions to forget.
    looked_at: Option<BlockNumber>,
}

impl Machine {
    /// Whether the submission's window is closed for good. One that was not seen until then takes
    /// part in nothing but its own evaluation.
    pub(super) fn is_in_closed_window(&self, submission: &Submission) -> bool {
        self.horizon.row.is_some_and(|horizon| submission.committed_at < horizon.until)
    }

    /// Whether a work counts beside one that was committed at `at`: whenever that is asked, since
    /// validators get to know the later one at different times.
    pub(super) fn is_remembered(&self, work: &Submission, at: BlockNumber) -> bool {
        at < work.committed_at.plus(self.memory())
            || work.left_at.is_none_or(|left_at| at < left_at)
            || self.lasting().contains(&work.id)
    }

    fn memory(&self) -> BlockCount {
        BlockCount(self.config.policy.memory_blocks)
    }

    /// When what was committed at a block is older than the memory, for everybody: who reads the
    /// chain late by less than the retention has compared it with all that it counts beside.
    fn forgotten_at(&self, committed_at: BlockNumber) -> BlockNumber {
        committed_at.plus(self.memory()).plus(BlockCount(RETENTION_BLOCKS))
    }

    /// Closes windows for good, the oldest first, as far as it is time.
    pub(super) fn close_windows(&mut self, out: &mut Outcome) {
        if self.config.policy.scoring.funnel.tiers.len() < 2 || self.is_catching_up() {
            return;
        }
        let Some(horizon) = self.move_horizon(out) else { return };
        for _ in 0..WINDOWS_PER_BLOCK_MAX {
            if self.close_oldest_window(horizon, out).is_none() {
                return;
            }
        }
    }

    /// `None` if there is none to close.
    fn close_oldest_window(&mut self, horizon: HorizonRow, out: &mut Outcome) -> Option<()> {
        let until = self.oldest_open_window()?.closes_at(&self.config.policy.scoring.funnel);
        if !self.can_close(until, horizon) {
            return None;
        }
        let families = self.families_until(until)?;
        for (id, family) in &families {
            if self.horizon.families.get(id) != Some(family) {
                let row = FamilyRow { id: *id, family: family.clone() };
                out.put(Row::Family(Box::new(row)));
            }
        }
        for id in self.open_before(until).map(|one| one.id).collect::<Vec<_>>() {
            let tiers = self.places_in_tiers(&id);
            let Some(submission) = self.submissions.get_mut(&id) else { continue };
            submission.tiers = Some(tiers.into());
            out.put(Row::Submission(submission.clone()));
        }
        let horizon = HorizonRow { until, ..horizon };
        out.put(Row::Horizon(horizon));
        self.horizon.families = families;
        self.horizon.row = Some(horizon);
        self.refresh_funnel();
        Some(())
    }

    /// The horizon, as of this block. The first block that is read begins it, and a block after a
    /// long absence begins the memory anew: what was committed meanwhile comes late as well.
    fn move_horizon(&mut self, out: &mut Outcome) -> Option<HorizonRow> {
        let number = self.view.as_ref()?.number;
        let begun = HorizonRow { until: BlockNumber(0), since: number, seen: number };
        let moved = match self.horizon.row {
            None => begun,
            Some(known) if number.since(known.seen) > BlockCount(RETENTION_BLOCKS) => {
                HorizonRow { until: known.until, ..begun }
            }
            Some(known) if number.since(known.seen) < BlockCount(FORGET_EVERY_BLOCKS) => known,
            Some(known) => HorizonRow { seen: number, ..known },
        };
        if self.horizon.row.replace(moved) != Some(moved) {
            out.put(Row::Horizon(moved));
        }
        Some(moved)
    }

    fn oldest_open_window(&self) -> Option<CohortId> {
        let open = self.submissions().filter(|one| !self.is_in_closed_window(one));
        let first = open.map(|one| one.committed_at).min()?;
        Some(CohortId::of(&self.config.policy.scoring.funnel, first))
    }

    fn open_before(&self, until: BlockNumber) -> impl Iterator<Item = &Submission> {
        self.submissions()
            .filter(move |one| one.committed_at < until && !self.is_in_closed_window(one))
    }

    /// - `until`: the first block after the window.
    fn can_close(&self, until: BlockNumber, horizon: HorizonRow) -> bool {
        let (number, over_at) = (self.number(), self.forgotten_at(until));
        let is_owed = |one: &Submission| {
            self.needs_results(&one.id)
                || self.needs_results_of_its_architecture(one)
                || (self.current.contains(&one.id) && one.state.is_open())
        };
        let waits_no_more =
            number >= over_at.plus(self.memory()) && number >= horizon.since.plus(self.memory());
        number >= over_at && (waits_no_more || !self.open_before(until).any(is_owed))
    }

    /// Whether what a recipe is measured by is not decided.
    fn needs_results_of_its_architecture(&self, one: &Submission) -> bool {
        matches!(self.trained_by(one), Trained::Of(other) if self.needs_results(&other))
    }

    /// What all windows before a block come to; `None` while what somebody is measured by is not
    /// known.
    fn families_until(&self, until: BlockNumber) -> Option<BTreeMap<FamilyId, Family>> {
        if let Some(standings) = self.standings() {
            return Some(standings.settled(until, self.number()));
        }
        let paying = self.paying_tier().filter(|_| self.pays_standings());
        let entrants =
            paying.and_then(|(tier, _)| self.tiers.get(usize::from(tier).checked_sub(1)?));
        let is_entrant =
            |one: &Submission| entrants.is_some_and(|entrants| entrants.contains_key(&one.id));
        let has_entrants = self.open_before(until).any(is_entrant);
        (!has_entrants).then(|| self.horizon.families.clone())
    }

    /// The tiers that a submission entered, the first one first; nobody passes one of them later.
    fn places_in_tiers(&self, id: &SubmissionId) -> Vec<TierPlace> {
        let entered = self.tiers.iter().map_while(|entrants| entrants.get(id));
        let place = |entrant: &Entrant| TierPlace {
            state: entrant.member.state,
            passage: match entrant.passage {
                Passage::Open => Passage::Out,
                decided @ (Passage::Passes | Passage::Audit | Passage::Out) => decided,
            },
        };
        entered.map(place).collect()
    }

    /// Knows again whose evaluation was put away in an earlier life: nothing of it is here, it is
    /// decided, and it left. One that turns out to be on the chain is taken up at the first block.
    pub(super) fn remember_put_away(&mut self) {
        let has_evaluation = |id: SubmissionId| {
            let trials = Trial::all_of(id);
            self.receipts.of_submission(id).next().is_some()
                || self.evaluations.range(trials.clone()).next().is_some()
                || self.measurements.range(trials).next().is_some()
        };
        let has_left = |one: &&Submission| one.left_at.is_some() && !one.state.is_open();
        let put_away = self.submissions().filter(has_left);
        let put_away = put_away.map(|one| one.id).filter(|id| !has_evaluation(*id));
        self.retired = put_away.collect();
    }

    /// Begins the time anew for which peers are asked for what was lost, and for which windows wait
    /// for it.
    pub(super) fn forget_who_left(&mut self) {
        for submission in self.submissions.values_mut() {
            submission.left_at = None;
        }
        if let Some(horizon) = &mut self.horizon.row {
            horizon.seen = BlockNumber(0);
        }
    }

    /// Submissions that a list of the present has: those on the chain or not long gone from it, and
    /// those that somebody is paid for.
    pub fn listed(&self) -> impl Iterator<Item = &Submission> {
        // The evaluation of those that are paid for a place is not put away.
        let paid = if self.pays_standings() { BTreeSet::new() } else { self.lasting() };
        self.submissions()
            .filter(move |one| !self.retired.contains(&one.id) || paid.contains(&one.id))
    }

    /// Forgets what nothing rests on any more.
    pub(super) fn forget_past(&mut self, out: &mut Outcome) {
        let number = self.number();
        let every = BlockCount(FORGET_EVERY_BLOCKS);
        let is_early = self.horizon.looked_at.is_some_and(|at| number.since(at) < every);
        if is_early || self.is_catching_up() {
            return;
        }
        let past = self.submissions().filter(|one| self.is_past(one));
        let mut past: Vec<(SubmissionId, ContentDigest)> =
            past.map(|one| (one.id, one.content)).collect();
        if !past.is_empty() {
            let (lasting, named) = (self.lasting(), self.named_contents());
            past.retain(|(id, content)| !lasting.contains(id) && !named.contains(content));
        }
        let writes_before = out.writes.len();
        for (id, _) in &past {
            if out.writes.len().saturating_sub(writes_before) > FROZEN_PER_BLOCK_MAX {
                // The others follow at the next block.
                self.refresh_funnel();
                return;
            }
            self.forget_submission(*id, out);
        }
        self.horizon.looked_at = Some(number);
        if !past.is_empty() {
            self.refresh_funnel();
        }
    }

    /// Whether a submission is of the past: what it has of its evaluation is put away, and nothing
    /// of it is owed.
    fn is_past(&self, submission: &Submission) -> bool {
        let Submission { id, committed_at, .. } = submission;
        let has_windows = self.config.policy.scoring.funnel.tiers.len() > 1;
        let has_run = || self.runs.values().any(|run| run.row.grant.assignment.submission == *id);
        self.number() >= self.forgotten_at(*committed_at)
            && self.retired.contains(id)
            && (!has_windows || self.is_in_closed_window(submission))
            && !self.needs_results(id)
            && !has_run()
    }

    /// The submissions that somebody holds a place with, or is paid for.
    fn lasting(&self) -> BTreeSet<SubmissionId> {
        if self.pays_standings() {
            return self.champions();
        }
        let best = self.view.as_ref().map(|view| self.best_by_hotkey(view)).unwrap_or_default();
        best.into_values().map(|best| best.submission).collect()
    }

    /// Contents that known recipes train.
    fn named_contents(&self) -> BTreeSet<ContentDigest> {
        self.submissions().filter_map(|one| self.brings(one).named_content()).collect()
    }

    fn forget_submission(&mut self, id: SubmissionId, out: &mut Outcome) {
        let Some(submission) = self.submissions.remove(&id) else { return };
        let content = submission.content;
        let mut rows = vec![Row::Submission(submission)];
        let trials: Vec<Trial> =
            self.outcomes.range(Trial::all_of(id)).map(|(trial, _)| *trial).collect();
        let decided = trials.iter().filter_map(|trial| self.outcomes.remove(trial));
        rows.extend(decided.map(Row::Outcome));
        self.works.remove(&id);
        self.fetching.remove(&id);
        self.paid_at.remove(&id);
        self.retired.remove(&id);
        self.duties.forget(&id);
        if !self.submissions.values().any(|other| other.content == content) {
            rows.extend(self.forget_content(content));
            out.perform(Effect::DropContent { content });
        }
        self.put_away(id, FORGOTTEN_PART, rows, out);
    }

    /// What was found of a content, which nobody has submitted any more.
    fn forget_content(&mut self, content: ContentDigest) -> Vec<Row> {
        self.sketches.remove(&content);
        self.judging.remove(&content);
        self.reviewing.remove(&content);
        let (least, most) = (Digest([0; 32]), Digest([u8::MAX; 32]));
        let verdicts = self.verdicts.range((content, least)..=(content, most));
        let verdicts: Vec<(ContentDigest, Digest)> = verdicts.map(|(key, _)| *key).collect();
        let reviews = self.reviews.range((content, least, least)..=(content, most, most));
        let reviews: Vec<ReviewKey> = reviews.map(|(key, _)| *key).collect();
        let verdict = |key: &(ContentDigest, Digest)| {
            let (content, policy) = *key;
            let verdict = self.verdicts.remove(key)?;
            // What it was compared by is of no use to who looks it up.
            Some(Row::Verdict(VerdictRow { content, policy, verdict, sketch: None }))
        };
        let mut rows: Vec<Row> = verdicts.iter().filter_map(verdict).collect();
        let reviews = reviews.iter().filter_map(|key| self.reviews.remove(key));
        rows.extend(reviews.map(Row::Review));
        rows
    }
}

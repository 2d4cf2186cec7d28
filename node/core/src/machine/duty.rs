//! Who coordinates what: the validators in the order of rendezvous hashing, without those that are
//! gone.

use std::collections::{BTreeMap, BTreeSet};

use crate::assignment::coordinators_among;
use crate::id::{Hotkey, SubmissionId};
use crate::limits::{BLOCK_TARGET_MS, FOR_ITSELF_AFTER_BLOCKS, STUCK_BLOCKS, UNABLE_AFTER_BLOCKS};
use crate::machine::settle::Pending;
use crate::machine::Machine;
use crate::submission::Submission;
use crate::trial::Trial;
use crate::unit::{BlockCount, BlockNumber, Now};

/// Who is there, and the ranking of the submissions that somebody asked about.
#[derive(Clone, Debug, Default)]
pub(super) struct Duties {
    /// Validators with an address, this node among them.
    validators: Vec<Hotkey>,
    gone: BTreeSet<Hotkey>,
    /// Since when each was there, there was work, and it brought no result.
    waited_for: BTreeMap<Hotkey, BlockNumber>,
    /// Those for whom nobody waits any more, until they bring one.
    unable: BTreeSet<Hotkey>,
    /// Places in `validators`, the first coordinator first.
    ranks: BTreeMap<SubmissionId, Vec<u16>>,
}

impl Duties {
    /// Takes over who is there; returns whether anything changed.
    fn update(&mut self, validators: Vec<Hotkey>, gone: BTreeSet<Hotkey>) -> bool {
        if self.validators != validators {
            self.ranks.clear();
            self.unable.retain(|hotkey| validators.contains(hotkey));
        } else if self.gone == gone {
            return false;
        }
        self.validators = validators;
        self.gone = gone;
        true
    }

    /// Validators with an address that are not gone.
    pub(super) fn present(&self) -> impl Iterator<Item = &Hotkey> {
        self.validators.iter().filter(|hotkey| !self.gone.contains(hotkey))
    }

    /// Whether others may wait for a result of it.
    pub(super) fn is_able(&self, hotkey: &Hotkey) -> bool {
        !self.unable.contains(hotkey)
    }

    /// Counts the blocks for which each was waited for; returns whether one more is not any longer.
    ///
    /// - `patience`: blocks for which each is.
    fn wait(&mut self, number: BlockNumber, has_work: bool, patience: BlockCount) -> bool {
        if !has_work {
            self.waited_for.clear();
            return false;
        }
        let present: Vec<Hotkey> = self.present().copied().collect();
        let mut waited_for = std::mem::take(&mut self.waited_for);
        let mut has_changed = false;
        for hotkey in present {
            let since = waited_for.remove(&hotkey).unwrap_or(number);
            self.waited_for.insert(hotkey, since);
            let is_over = number.since(since) >= patience;
            has_changed |= is_over && self.unable.insert(hotkey);
        }
        has_changed
    }

    /// It brought a result; returns whether nobody waited for it any more.
    fn took_part(&mut self, hotkey: &Hotkey) -> bool {
        self.waited_for.remove(hotkey);
        self.unable.remove(hotkey)
    }

    pub(super) fn is_gone(&self, hotkey: &Hotkey) -> bool {
        self.gone.contains(hotkey)
    }

    pub(super) fn gone(&self) -> impl Iterator<Item = &Hotkey> {
        self.gone.iter()
    }

    /// The validators in the order in which they coordinate this submission.
    fn ranked(&mut self, submission: &Submission) -> Vec<Hotkey> {
        let validators = &self.validators;
        let places = self.ranks.entry(submission.id).or_insert_with(|| {
            coordinators_among(validators, &submission.hotkey, &submission.content)
        });
        let hotkey = |place: &u16| validators.get(usize::from(*place)).copied();
        places.iter().filter_map(hotkey).collect()
    }

    pub(super) fn forget(&mut self, submission: &SubmissionId) {
        self.ranks.remove(submission);
    }
}

impl Machine {
    /// Notices who came and who is gone. Everything that follows from it is planned anew.
    pub(super) fn update_duties(&mut self, now: Now) -> bool {
        let Some(view) = &self.view else { return false };
        let validators: Vec<Hotkey> = view
            .validators()
            .map(|neuron| neuron.hotkey)
            .filter(|hotkey| self.address_of(hotkey).is_some())
            .collect();
        let is_gone = |hotkey: &&Hotkey| {
            **hotkey != self.config.hotkey
                && self.peers.get(*hotkey).is_some_and(|peer| peer.is_gone(now.mono))
        };
        let gone = validators.iter().filter(is_gone).copied().collect();
        let has_changed = self.duties.update(validators, gone);
        if has_changed {
            self.asked_for_work = None;
        }
        has_changed
    }

    /// Stops to wait for validators that never bring a result, and plans everything anew then.
    pub(super) fn update_abilities(&mut self) {
        let Some(view) = &self.view else { return };
        let (number, has_work) = (view.number, !self.pending.is_empty());
        let tiers = (1_u8..).zip(&self.config.policy.scoring.funnel.tiers);
        let longest = tiers.map(|(tier, _)| self.lease_blocks(tier)).fold(0, u64::max);
        let patience = BlockCount(UNABLE_AFTER_BLOCKS.max(longest));
        if self.duties.wait(number, has_work, patience) {
            self.touch_all();
        }
    }

    /// For how many blocks a lease of this tier lives at most.
    fn lease_blocks(&self, tier: u8) -> u64 {
        self.lease_total_ms(tier).div_ceil(BLOCK_TARGET_MS)
    }

    /// A validator has a result: it can be waited for.
    pub(super) fn took_part(&mut self, hotkey: &Hotkey) {
        if self.duties.took_part(hotkey) {
            self.touch_all();
        }
    }

    /// Who may be asked for a replica of this trial: the first validator that is not gone,
    /// and one more for each [`STUCK_BLOCKS`] that it stands unsettled.
    pub(super) fn coordinators_now(&mut self, trial: &Trial) -> Vec<Hotkey> {
        let how = |pending: &Pending| (pending.helpers, pending.for_itself);
        let (helpers, for_itself) = self.pending.get(trial).map_or((0, false), how);
        self.coordinators_with_helpers(&trial.submission, helpers, for_itself)
    }

    /// The first validators in the ranking that are not gone: one, and so many `helpers`; and this
    /// node, if all of them grant it nothing because of its strikes, or need no result of it.
    pub(super) fn coordinators_with_helpers(
        &mut self,
        id: &SubmissionId,
        helpers: u64,
        for_itself: bool,
    ) -> Vec<Hotkey> {
        let Some(submission) = self.submissions.get(id) else { return Vec::new() };
        let count = usize::try_from(helpers).unwrap_or(usize::MAX).saturating_add(1);
        let ranked = self.duties.ranked(submission);
        let present = ranked.into_iter().filter(|hotkey| !self.duties.is_gone(hotkey));
        let mut coordinators: Vec<Hotkey> = present.take(count).collect();
        // Who is granted nothing there evaluates for itself.
        let own = self.config.hotkey;
        let is_refused = |hotkey: &Hotkey| self.peers.get(hotkey).is_some_and(|p| p.refuses_us);
        let is_alone = for_itself || coordinators.iter().all(is_refused);
        if is_alone && !coordinators.contains(&own) {
            coordinators.push(own);
        }
        coordinators
    }

    /// Who coordinates a submission now: the first in the ranking that is not gone.
    #[must_use]
    pub fn coordinator_of(&self, id: &SubmissionId) -> Option<Hotkey> {
        let submission = self.submissions.get(id)?;
        let validators = &self.duties.validators;
        let places = coordinators_among(validators, &submission.hotkey, &submission.content);
        let mut ranked = places.iter().filter_map(|place| validators.get(usize::from(*place)));
        ranked.find(|hotkey| !self.duties.is_gone(hotkey)).copied()
    }

    /// Whether this node gives out replicas of this trial.
    pub(super) fn is_on_duty(&mut self, trial: &Trial) -> bool {
        self.coordinators_now(trial).contains(&self.config.hotkey)
    }

    /// Plans those evaluations again that stand unsettled for so long that one more validator
    /// coordinates them, or this node for itself.
    pub(super) fn take_over_stuck(&mut self) {
        let Some(number) = self.view.as_ref().map(|view| view.number) else { return };
        let stuck: BTreeMap<u8, u64> = (1_u8..)
            .zip(&self.config.policy.scoring.funnel.tiers)
            .map(|(tier, _)| (tier, self.lease_blocks(tier).saturating_mul(2).max(STUCK_BLOCKS)))
            .collect();
        for (id, pending) in &mut self.pending {
            let stuck = stuck.get(&id.tier).copied().unwrap_or(STUCK_BLOCKS);
            let helpers = number.since(pending.since).0.checked_div(stuck).unwrap_or(0);
            let missing_since = pending.ours_missing_since.unwrap_or(number);
            let for_itself = number.since(missing_since) >= BlockCount(FOR_ITSELF_AFTER_BLOCKS);
            if (helpers, for_itself) != (pending.helpers, pending.for_itself) {
                (pending.helpers, pending.for_itself) = (helpers, for_itself);
                self.to_settle.insert(*id);
            }
        }
    }
}

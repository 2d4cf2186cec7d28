//! What became of a signed vector, as the finalized chain tells it.

use std::collections::BTreeSet;

use super::{stored_at, Seen};
use crate::id::{Digest, Hotkey, IntentId};
use crate::limits::clip_detail;
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::Traced;
use crate::machine::Machine;
use crate::rows::{Carries, IntentRow, IntentState, JournalStep, Row, SignedExtrinsic};
use crate::submit_guard::{can_land, is_of_another_clock};
use crate::unit::{BlockCount, BlockNumber, EpochIndex};
use crate::view::ChainView;

impl Machine {
    /// Looks at an unfinished intent in the light of a new finalized block.
    pub(super) fn follow_landing(&mut self, seen: &Seen, id: IntentId, out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        if let IntentState::Committed { block, epoch } = intent.state {
            self.follow_reveal(seen, id, (block, epoch), out);
            return;
        }
        if self.tracing.contains_key(&id) {
            return;
        }
        let suspects = self.suspects(&seen.finalized, &intent.signings);
        if !suspects.is_empty() {
            self.trace(seen, id, suspects, out);
            return;
        }
        let is_dead = !intent.signings.iter().any(|signed| can_land(signed, seen.sight()));
        let is_over = intent.epoch < seen.finalized.epoch.index
            || is_of_another_clock(intent, &seen.finalized);
        if is_dead && is_over && !self.signing.contains(&id) {
            let reason = "the epoch ended before the vector landed".to_owned();
            self.close(id, IntentState::Abandoned { reason }, out);
        }
    }

    /// Signed extrinsics whose nonce was used, by them or by something else.
    pub(super) fn suspects(&self, view: &ChainView, signed: &[SignedExtrinsic]) -> Vec<Digest> {
        let is_suspect = |signed: &&SignedExtrinsic| {
            view.own_nonce > signed.nonce && !self.spent.contains(&signed.hash)
        };
        signed.iter().filter(is_suspect).map(|signed| signed.hash).collect()
    }

    pub(super) fn trace(
        &mut self,
        seen: &Seen,
        id: IntentId,
        hashes: Vec<Digest>,
        out: &mut Outcome,
    ) {
        let Some(intent) = self.intents.get(&id) else { return };
        let signed = intent.signings.iter().chain(&intent.reveals);
        let first =
            signed.filter(|signed| hashes.contains(&signed.hash)).map(|signed| signed.anchor).min();
        let after = first.unwrap_or(intent.computed_at);
        self.tracing.insert(id, hashes.clone());
        let until = seen.finalized.number;
        out.perform(Effect::TraceWeights { intent: id, hashes, after, until });
    }

    pub(in crate::machine) fn on_weights_traced(
        &mut self,
        id: IntentId,
        result: Result<Traced, String>,
        out: &mut Outcome,
    ) {
        let Some(asked) = self.tracing.remove(&id) else { return };
        let Some(seen) = self.seen() else { return };
        match result {
            Ok(Traced::Succeeded { hash, block }) => self.on_included(&seen, id, hash, block, out),
            Ok(Traced::Failed { hash, block, error }) => {
                let error = clip_detail(&error);
                self.spend_nonce_of(id, hash);
                let Some(intent) = self.intents.get(&id) else { return };
                let (epoch, error_said) = (intent.epoch.0, error.clone());
                out.note(Note::WeightsFailed { epoch, block, error: error_said });
                self.on_reveal_failed(id, hash, &error, out);
            }
            Ok(Traced::NotFound) => self.on_not_found(id, &asked, out),
            Err(reason) => self.on_untraced(&seen, id, &clip_detail(&reason), out),
        }
        self.check_signers(&seen, out);
        self.send_weights(&seen, out);
    }

    fn on_included(
        &mut self,
        seen: &Seen,
        id: IntentId,
        hash: Digest,
        block: BlockNumber,
        out: &mut Outcome,
    ) {
        let Some(intent) = self.intents.get_mut(&id) else { return };
        if intent.reveals.iter().any(|signed| signed.hash == hash) {
            self.close(id, IntentState::Revealed { block }, out);
            return;
        }
        if intent.signings.iter().any(|signed| signed.hash == hash) {
            self.land(&seen.finalized, id, Some(hash), block, out);
        }
    }

    /// - `hash`: of the signature that was found; `None` where only the row told of it.
    fn land(
        &mut self,
        view: &ChainView,
        id: IntentId,
        hash: Option<Digest>,
        block: BlockNumber,
        out: &mut Outcome,
    ) {
        let Some(intent) = self.intents.get_mut(&id) else { return };
        if let Some(hash) = hash {
            intent.put_landed_last(&hash);
        }
        let Some(signed) = intent.signings.last().cloned() else { return };
        intent.updated_at = Some(block);
        self.signers.vouch(block);
        let epoch = intent.epoch.0;
        match &signed.carries {
            Carries::Plain | Carries::Reveal => {
                let own = view.neuron(&self.config.hotkey);
                let differs = own.is_some_and(|own| {
                    own.last_update == block && view.weights_of(own.uid) != intent.vector
                });
                if differs {
                    out.note(Note::WeightsDiffer { epoch, block });
                }
                self.close_as(id, IntentState::Landed { block }, hash, out);
            }
            Carries::Timelocked { commit, .. } | Carries::Hashed { commit, .. } => {
                let commit_epoch = self.commit_epoch(view, id, commit, &signed);
                let state = IntentState::Committed { block, epoch: commit_epoch };
                self.close_as(id, state, hash, out);
            }
        }
    }

    /// The epoch that the chain counts a commit to: as it says while it keeps the commit, else as
    /// the commit was computed.
    fn commit_epoch(
        &self,
        view: &ChainView,
        id: IntentId,
        commit: &Digest,
        signed: &SignedExtrinsic,
    ) -> EpochIndex {
        let kept = view.own_commits.iter().find(|kept| kept.hash == *commit);
        if let Some(kept) = kept {
            return kept.epoch;
        }
        if let Carries::Timelocked { reveal_epoch, .. } = signed.carries {
            let period = view.params.reveal_period.max(1);
            return EpochIndex(reveal_epoch.0.saturating_sub(period));
        }
        self.intents.get(&id).map_or(view.epoch.index, |intent| intent.epoch)
    }

    /// A nonce is used once: whatever else was signed with it is dead.
    fn spend_nonce_of(&mut self, id: IntentId, hash: Digest) {
        let Some(intent) = self.intents.get(&id) else { return };
        let all = || intent.signings.iter().chain(&intent.reveals);
        let Some(nonce) = all().find(|signed| signed.hash == hash).map(|signed| signed.nonce)
        else {
            return;
        };
        let spent: BTreeSet<Digest> =
            all().filter(|signed| signed.nonce == nonce).map(|signed| signed.hash).collect();
        self.spent.extend(spent);
    }

    /// Only of those that were looked for: the nonce of another may have been used since.
    fn on_not_found(&mut self, id: IntentId, asked: &[Digest], out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        let all = intent.signings.iter().chain(&intent.reveals);
        let used: Vec<(Digest, u32)> = all
            .filter(|signed| asked.contains(&signed.hash))
            .map(|signed| (signed.hash, signed.nonce))
            .collect();
        for (hash, nonce) in used {
            if self.spent.insert(hash) && !self.may_be_another_of_ours(nonce, &hash) {
                out.note(Note::NonceUsedElsewhere { nonce });
            }
        }
    }

    /// Whether another signature of ours with this nonce may have used it.
    fn may_be_another_of_ours(&self, nonce: u32, hash: &Digest) -> bool {
        let all = self.intents.values().flat_map(|row| row.signings.iter().chain(&row.reveals));
        let mut others = all.filter(|signed| signed.nonce == nonce && signed.hash != *hash);
        others.any(|signed| !self.spent.contains(&signed.hash))
    }

    /// The chain's blocks could not be searched: the row decides, if it says anything.
    fn on_untraced(&mut self, seen: &Seen, id: IntentId, reason: &str, out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        let epoch = intent.epoch.0;
        out.note(Note::WeightsUntraced { epoch, reason: reason.to_owned() });
        let view = &seen.finalized;
        let found = told_by_state(view, &self.config.hotkey, intent);
        if let Some((hash, block)) = found.filter(|_| intent.state.is_on_its_way()) {
            self.land(view, id, hash, block, out);
        } else if view.number.since(last_era_end(intent)) > BlockCount(UNTRACED_BLOCKS_MAX) {
            // Nobody has these blocks any more; never signed again, so nothing lands twice.
            let reason = format!("what became of it cannot be found out: {reason}");
            let state = if intent.state.is_on_its_way() {
                self.explain_update(view, id);
                IntentState::Abandoned { reason }
            } else {
                // The commit landed: only its reveal is in doubt.
                self.unsearched_reveal(view, intent, reason)
            };
            self.close(id, state, out);
        }
    }

    /// An update within the life of a signature whose nonce is used was most likely its own: when
    /// that cannot be found out any more, nobody else is suspected.
    fn explain_update(&mut self, view: &ChainView, id: IntentId) {
        let Some(own) = view.neuron(&self.config.hotkey) else { return };
        let Some(intent) = self.intents.get_mut(&id) else { return };
        let block = own.last_update;
        let may_be_its = |signed: &SignedExtrinsic| {
            view.own_nonce > signed.nonce && signed.anchor < block && block < signed.era_end
        };
        if intent.signings.iter().any(may_be_its) {
            intent.updated_at = Some(block);
            self.signers.vouch(block);
        }
    }

    /// Moves an intent on, in the journal too.
    pub(super) fn close(&mut self, id: IntentId, state: IntentState, out: &mut Outcome) {
        self.close_as(id, state, None, out);
    }

    /// - `hash`: of the signature that landed, if that is what happened, and it is known.
    fn close_as(
        &mut self,
        id: IntentId,
        state: IntentState,
        hash: Option<Digest>,
        out: &mut Outcome,
    ) {
        self.sent_at.remove(&id);
        self.signing.remove(&id);
        let Some(intent) = self.intents.get_mut(&id) else { return };
        let Some((step, note)) = told(intent, &state, hash) else { return };
        out.note(note);
        intent.state = state;
        let intent = intent.clone();
        for signed in intent.signings.iter().chain(&intent.reveals) {
            self.spent.remove(&signed.hash);
        }
        self.journal(&intent, step, out);
        out.put(Row::Intent(intent));
    }
}

/// Blocks after the end of an era for which a search that fails is repeated.
const UNTRACED_BLOCKS_MAX: u64 = 300;

/// When the last of an intent's signatures ended.
fn last_era_end(intent: &IntentRow) -> BlockNumber {
    let all = intent.signings.iter().chain(&intent.reveals);
    all.map(|signed| signed.era_end).max().unwrap_or(intent.computed_at)
}

/// What the chain's row or queue says of a vector that cannot be searched for: its block, and which
/// of the signatures it is, where that follows.
fn told_by_state(
    view: &ChainView,
    hotkey: &Hotkey,
    intent: &IntentRow,
) -> Option<(Option<Digest>, BlockNumber)> {
    let kept = |commit: &Digest| view.own_commits.iter().find(|kept| kept.hash == *commit);
    let of_commit = |signed: &SignedExtrinsic| match &signed.carries {
        Carries::Plain | Carries::Reveal => None,
        Carries::Timelocked { commit, .. } | Carries::Hashed { commit, .. } => {
            kept(commit).map(|kept| (Some(signed.hash), kept.block))
        }
    };
    if let Some(found) = intent.signings.iter().rev().find_map(of_commit) {
        return Some(found);
    }
    let last = intent.signings.last()?;
    let is_only = intent.signings.len() == 1;
    let block = stored_at(view, hotkey, intent).filter(|_| last.carries == Carries::Plain)?;
    Some((is_only.then_some(last.hash), block))
}

fn told(
    intent: &IntentRow,
    state: &IntentState,
    hash: Option<Digest>,
) -> Option<(JournalStep, Note)> {
    let epoch = intent.epoch.0;
    Some(match state.clone() {
        IntentState::Open | IntentState::Signed => return None,
        IntentState::Landed { block } => {
            (JournalStep::Landed { block, hash }, Note::WeightsLanded { epoch, block })
        }
        IntentState::Committed { block, epoch: commit_epoch } => (
            JournalStep::Committed { block, epoch: commit_epoch, hash },
            Note::WeightsCommitted { epoch, block, commit_epoch: commit_epoch.0 },
        ),
        IntentState::Revealed { block } => {
            (JournalStep::Revealed { block }, Note::WeightsRevealed { epoch, block })
        }
        IntentState::Lost { reason } => {
            (JournalStep::Lost { reason: reason.clone() }, Note::WeightsLost { epoch, reason })
        }
        IntentState::Abandoned { reason } => {
            let step = JournalStep::Abandoned { reason: reason.clone() };
            (step, Note::WeightsAbandoned { epoch, reason })
        }
    })
}

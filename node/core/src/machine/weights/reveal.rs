//! Commits after they landed: the chain opens a timelocked one by itself and says nothing when it
//! fails; a hash commit we open ourselves, in exactly one epoch.

use std::collections::BTreeSet;

use super::Seen;
use crate::id::{Digest, IntentId};
use crate::machine::effect::Outcome;
use crate::machine::{Machine, WeightsMode};
use crate::rows::{Carries, IntentRow, IntentState, SignedExtrinsic};
use crate::submit_guard::{
    can_land, includes_for, is_included, may_reveal, reveal_epoch, WeightsForm,
};
use crate::unit::{BlockCount, BlockNumber, EpochIndex};
use crate::view::ChainView;

impl Machine {
    /// Whether a commit was opened, in the light of a new finalized block.
    pub(super) fn follow_reveal(
        &mut self,
        seen: &Seen,
        id: IntentId,
        (block, epoch): (BlockNumber, EpochIndex),
        out: &mut Outcome,
    ) {
        let view = &seen.finalized;
        let Some(intent) = self.intents.get(&id) else { return };
        if self.tracing.contains_key(&id) || view.number <= block {
            return;
        }
        let suspects = self.suspects(view, &intent.reveals);
        let is_kept = is_kept(view, intent);
        if !suspects.is_empty() {
            self.trace(seen, id, suspects, out);
        } else if !is_kept && self.was_opened(view, intent, epoch) {
            self.explain_reveal(view, id);
            self.close(id, IntentState::Revealed { block: view.number }, out);
        } else if view.epoch.index > reveal_epoch(view, epoch) || is_counted_anew(view, epoch) {
            let can_come = intent.reveals.iter().any(|signed| can_land(signed, seen.sight()));
            if !can_come {
                let reason = self.why_lost(view, intent);
                self.close(id, IntentState::Lost { reason }, out);
            }
        }
    }

    /// Whether the chain opened a commit that it does not keep any more. It says nothing of it: the
    /// row tells, unless it was the same before.
    fn was_opened(&self, view: &ChainView, intent: &IntentRow, commit_epoch: EpochIndex) -> bool {
        let carries = intent.signings.last().map(|signed| &signed.carries);
        // Only a reveal of ours opens a hash commit, and that is searched for.
        if !matches!(carries, Some(Carries::Timelocked { .. })) || !self.own_row_is(view, intent) {
            return false;
        }
        // The chain takes a commit out of its queue to open it, or when its epoch is over.
        let was_taken_out = view.epoch.index <= reveal_epoch(view, commit_epoch)
            && !is_counted_anew(view, commit_epoch);
        was_taken_out || !self.row_may_be_anothers(intent)
    }

    /// Whether the chain's row may be the vector of another intent, the same as this one's.
    fn row_may_be_anothers(&self, intent: &IntentRow) -> bool {
        self.intents.values().any(|other| {
            other.id != intent.id && other.updated_at.is_some() && other.vector == intent.vector
        })
    }

    /// What to say of a reveal that no endpoint can search for any more.
    pub(super) fn unsearched_reveal(
        &self,
        view: &ChainView,
        intent: &IntentRow,
        reason: String,
    ) -> IntentState {
        let is_seen = !is_kept(view, intent)
            && self.own_row_is(view, intent)
            && !self.row_may_be_anothers(intent);
        if is_seen {
            IntentState::Revealed { block: view.number }
        } else {
            IntentState::Lost { reason }
        }
    }

    /// A reveal that the chain refused is signed again only if that may help: not for ever, and
    /// not where the same bytes would fail again.
    pub(super) fn on_reveal_failed(
        &mut self,
        id: IntentId,
        hash: Digest,
        error: &str,
        out: &mut Outcome,
    ) {
        let Some(intent) = self.intents.get(&id) else { return };
        let is_reveal = intent.reveals.iter().any(|signed| signed.hash == hash);
        if !is_reveal || !matches!(intent.state, IntentState::Committed { .. }) {
            return;
        }
        let spent = intent.reveals.iter().filter(|signed| self.spent.contains(&signed.hash));
        let nonces: BTreeSet<u32> = spent.map(|signed| signed.nonce).collect();
        if !may_pass(error) || nonces.len() >= REVEAL_ATTEMPTS_MAX {
            let reason = format!("the chain refused its reveal: {error}");
            self.close(id, IntentState::Lost { reason }, out);
        }
    }

    /// Where the subnet conceals nothing any more, the chain opens an old commit as if it were a
    /// plain vector, and then that is an update.
    fn explain_reveal(&mut self, view: &ChainView, id: IntentId) {
        let own = view.neuron(&self.config.hotkey).filter(|_| !view.params.commit_reveal_enabled);
        let (Some(own), Some(intent)) = (own, self.intents.get_mut(&id)) else { return };
        let last = intent.signings.last();
        if !last.is_some_and(|signed| matches!(signed.carries, Carries::Timelocked { .. })) {
            return;
        }
        intent.updated_at = Some(own.last_update);
        self.signers.vouch(own.last_update);
    }

    fn own_row_is(&self, view: &ChainView, intent: &IntentRow) -> bool {
        view.neuron(&self.config.hotkey)
            .is_some_and(|own| view.weights_of(own.uid) == intent.vector)
    }

    fn why_lost(&self, view: &ChainView, intent: &IntentRow) -> String {
        let is_overtaken = self.intents.values().any(|other| {
            other.epoch > intent.epoch
                && matches!(other.state, IntentState::Revealed { .. })
                && self.own_row_is(view, other)
        });
        if is_overtaken {
            return "not seen opened before the next vector took its place".to_owned();
        }
        if self.own_row_is(view, intent) && self.row_may_be_anothers(intent) {
            return "not seen opened, and the chain's row was the same before".to_owned();
        }
        match intent.signings.last().map(|signed| &signed.carries) {
            Some(Carries::Timelocked { reveal_round, .. }) => {
                let newest = view.beacon.as_ref().map_or(0, |beacon| beacon.last_stored_round);
                format!(
                    "the chain did not open it: round {reveal_round}, newest round there {newest}"
                )
            }
            _ => "its epoch passed without a reveal".to_owned(),
        }
    }

    /// Opens a hash commit when its epoch has come, and hands the same bytes over again.
    pub(super) fn reveal(&mut self, seen: &Seen, id: IntentId, out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        let IntentState::Committed { epoch, .. } = intent.state else { return };
        let Some(salt) = intent.signings.last().and_then(|signed| match &signed.carries {
            Carries::Hashed { salt, .. } => Some(salt.clone()),
            Carries::Plain | Carries::Timelocked { .. } | Carries::Reveal => None,
        }) else {
            return;
        };
        let is_its_epoch = includes_for(&seen.head, reveal_epoch(&seen.head, epoch));
        let is_submitting = self.config.weights == WeightsMode::Submit;
        let is_busy = !self.signing.is_empty()
            || self.tracing.contains_key(&id)
            || !self.suspects(&seen.finalized, &intent.reveals).is_empty();
        // The chain takes reveals only where it conceals.
        let is_open = seen.head.params.commit_reveal_enabled;
        if !is_its_epoch || !is_submitting || is_busy || !is_open {
            return;
        }
        let version_key = intent.version_key;
        let is_included = |signed: &SignedExtrinsic| {
            can_land(signed, seen.sight()) && is_included(signed, &seen.head)
        };
        if intent.reveals.iter().any(is_included) {
            return;
        }
        let lives = |signed: &&SignedExtrinsic| {
            can_land(signed, seen.sight())
                && signed.spec_version == seen.head.spec_version
                && seen.head.number.plus(BlockCount(1)) < signed.era_end
        };
        if let Some(signed) = intent.reveals.iter().rev().find(lives).cloned() {
            self.send_when_due(&seen.head, id, signed, out);
            return;
        }
        let binding = may_reveal(seen.sight(), &self.terms(), intent, self.intents.values());
        // What forbids it for longer forbids a new intent too, and is said there.
        if let Ok(binding) = binding {
            let form = WeightsForm::Reveal { salt };
            self.ask_for_signature(id, version_key, form, binding, out);
        }
    }
}

/// Nonces that a reveal may use up. Lower: a moment without a permit loses the vector. Higher: one
/// that never succeeds keeps the next vector waiting, a search and a signature at a time.
const REVEAL_ATTEMPTS_MAX: usize = 4;

/// Whether an error of a reveal may be gone some blocks later. What is not known is final: a reveal
/// that fails again uses the nonces that the next vector needs.
fn may_pass(error: &str) -> bool {
    let name = error.rsplit("::").next().unwrap_or(error);
    matches!(
        name,
        // A deferred epoch counts as the next one for some blocks.
        "RevealTooEarly"
            // Settings and standing, which come back.
            | "CommitRevealDisabled"
            | "NeuronNoValidatorPermit"
            | "NotEnoughStakeToSetWeights"
            // The chain's safe mode.
            | "CallFiltered"
    )
}

/// Whether the chain still keeps the intent's commit closed.
fn is_kept(view: &ChainView, intent: &IntentRow) -> bool {
    let commit = intent.signings.last().and_then(|signed| match signed.carries {
        Carries::Timelocked { commit, .. } | Carries::Hashed { commit, .. } => Some(commit),
        Carries::Plain | Carries::Reveal => None,
    });
    view.own_commits.iter().any(|kept| Some(kept.hash) == commit)
}

/// Whether the chain has begun to count its epochs anew since a commit of `commit_epoch`. A commit
/// may belong to the epoch after the one it was included in.
fn is_counted_anew(view: &ChainView, commit_epoch: EpochIndex) -> bool {
    view.epoch.index.0.saturating_add(1) < commit_epoch.0
}

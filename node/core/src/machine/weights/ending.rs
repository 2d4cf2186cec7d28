//! What can become nothing any more, though no later epoch says so.

use super::Seen;
use crate::id::IntentId;
use crate::limits::SETTLING_BLOCKS;
use crate::machine::effect::Outcome;
use crate::machine::{Machine, WeightsMode};
use crate::preflight::DueReveal;
use crate::rows::{IntentRow, IntentState};
use crate::submit_guard::{can_land, is_of_an_earlier_subnet};
use crate::unit::BlockCount;
use crate::view::ChainView;

impl Machine {
    /// Ends an intent whose subnet is no more, or whose subnet runs no epochs any more. Whether it
    /// did.
    pub(super) fn end_stranded(&mut self, seen: &Seen, id: IntentId, out: &mut Outcome) -> bool {
        let Some(intent) = self.intents.get(&id) else { return false };
        let is_asked_for = self.tracing.contains_key(&id) || self.signing.contains(&id);
        let is_committed = matches!(intent.state, IntentState::Committed { .. });
        let signed = if is_committed { &intent.reveals } else { &intent.signings };
        // What used its nonce, or still may, is looked for as ever.
        let may_land = !self.suspects(&seen.finalized, signed).is_empty()
            || signed.iter().any(|signed| can_land(signed, seen.sight()));
        if is_asked_for || may_land {
            return false;
        }
        let Some(state) = stranded(intent, &seen.finalized) else { return false };
        self.close(id, state, out);
        true
    }

    /// Whether a vector is on its way to the chain.
    pub(in crate::machine) fn has_live_intent(&self) -> bool {
        self.intents.values().any(|intent| intent.state.is_on_its_way())
    }

    /// The reveal that comes next, if this node has one to make.
    #[must_use]
    pub fn due_reveal(&self) -> Option<DueReveal> {
        if self.config.weights != WeightsMode::Submit {
            return None;
        }
        let head = self.head()?;
        self.intents.values().filter_map(|intent| DueReveal::of(intent, head)).min()
    }
}

/// What became of an intent that nothing more can land for.
fn stranded(intent: &IntentRow, view: &ChainView) -> Option<IntentState> {
    let is_committed = matches!(intent.state, IntentState::Committed { .. });
    if is_of_an_earlier_subnet(intent, view) {
        let block = view.params.registered_at;
        let reason = format!("the subnet was registered anew in block {block}: it was for another");
        return Some(if is_committed {
            IntentState::Lost { reason }
        } else {
            IntentState::Abandoned { reason }
        });
    }
    // A tempo that comes back soon finds it where it was; a commit waits for that as long as the
    // chain does.
    let has_waited = view.number > intent.computed_at.plus(BlockCount(SETTLING_BLOCKS));
    let is_over = view.epoch.next_epoch_block.is_none() && has_waited && !is_committed;
    is_over.then(|| {
        let reason = "the subnet runs no epochs any more (tempo 0)".to_owned();
        IntentState::Abandoned { reason }
    })
}

//! After the journal was put back from a copy: nothing is signed until nothing is left of what it
//! does not know. The rule is `restoration`'s; here it is followed and written down.

use super::Seen;
use crate::machine::effect::Outcome;
use crate::machine::{Machine, WeightsMode};
use crate::restoration::Restoration;
use crate::rows::{JournalEntry, JournalStep, Write};
use crate::submit_guard::{intent_id, NotSafe};
use crate::view::ChainView;

impl Machine {
    /// Looks at a finalized block: when the wait began, what landed of the lost time, whether it is
    /// over. Each is a line of the journal, so that a restart goes on where it was.
    pub(super) fn follow_restored(&mut self, seen: &Seen, out: &mut Outcome) {
        let Some(known) = self.restoration else { return };
        // A node that signs nothing may run beside the one that does: nothing dies meanwhile.
        if self.config.weights != WeightsMode::Submit {
            return;
        }
        let view = &seen.finalized;
        let restoration = known.seen(seen.head.number, view);
        if restoration != known {
            self.restoration = Some(restoration);
            let Restoration { since, spent } = restoration;
            self.journal_of_copy(view, JournalStep::Restored { since, spent }, out);
        }
        self.adopt_what_was_lost(restoration, view, out);
        if restoration.is_over(view) {
            (self.restoration, self.settled_at) = (None, Some(view.number));
            self.journal_of_copy(view, JournalStep::Settled { block: view.number }, out);
        }
    }

    /// An update that a signature of the lost time can have made is taken for its; a later one is
    /// left to be explained like any other.
    fn adopt_what_was_lost(
        &mut self,
        restoration: Restoration,
        view: &ChainView,
        out: &mut Outcome,
    ) {
        let Some(own) = view.neuron(&self.config.hotkey) else { return };
        let block = own.last_update;
        let is_known = block <= own.registered_at || self.signers.knows(block);
        if !is_known && block <= restoration.lost_until(view) {
            self.signers.vouch(block);
            self.journal_of_copy(view, JournalStep::Adopted { block }, out);
        }
    }

    pub(super) fn check_restored(&self, seen: &Seen) -> Result<(), NotSafe> {
        if self.config.weights != WeightsMode::Submit {
            return Ok(());
        }
        if let Some(restoration) = self.restoration {
            return Err(NotSafe::Restored { until: restoration.until(&seen.finalized) });
        }
        // An endpoint may be behind the block that settled it.
        match self.settled_at.filter(|block| seen.finalized.number < *block) {
            Some(block) => Err(NotSafe::Restored { until: Some(block) }),
            None => Ok(()),
        }
    }

    fn journal_of_copy(&self, view: &ChainView, step: JournalStep, out: &mut Outcome) {
        let (hotkey, netuid, mechanism) =
            (self.config.hotkey, self.config.netuid, self.config.mechanism);
        let (registered_at, epoch) = (view.registration(), view.epoch.index);
        let intent = intent_id(&hotkey, netuid, mechanism, registered_at, epoch);
        out.writes.push(Write::Journal(JournalEntry {
            hotkey,
            intent,
            netuid,
            mechanism,
            registered_at,
            epoch,
            step,
        }));
    }
}

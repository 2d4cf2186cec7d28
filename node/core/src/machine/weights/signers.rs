//! Is anybody else using our hotkey?
//!
//! The chain keeps the block of the hotkey's last update. Every update of ours is in the journal;
//! one that is not was made by something else, and then nothing is signed any more.

use super::Seen;
use crate::limits::SETTLING_BLOCKS;
use crate::machine::effect::{Effect, Halt, Note, Outcome};
use crate::machine::{Machine, WeightsMode};
use crate::rows::{Carries, IntentRow, IntentState, JournalEntry, JournalStep, SignedExtrinsic};
use crate::submit_guard::{is_included, NotSafe};
use crate::unit::{BlockCount, BlockNumber};

/// What is known of the hotkey's updates.
#[derive(Debug, Default)]
pub(in crate::machine) struct Signers {
    /// Updates up to here are ours, or were vouched for; `None` until one is known.
    vouched_until: Option<BlockNumber>,
    /// Signatures made before this node knew the hotkey may live until here.
    settling_until: Option<BlockNumber>,
    halt: Option<Halt>,
}

impl Signers {
    /// Updates up to `block` are ours.
    pub(super) fn vouch(&mut self, block: BlockNumber) {
        self.vouched_until = self.vouched_until.max(Some(block));
    }

    /// Whether an update in `block` is known to be ours, or was vouched for.
    pub(super) fn knows(&self, block: BlockNumber) -> bool {
        Some(block) <= self.vouched_until
    }

    /// Takes in what the journal and the rows tell.
    pub(in crate::machine) fn resume<'a>(
        &mut self,
        journal: impl Iterator<Item = &'a JournalEntry>,
        intents: impl Iterator<Item = &'a IntentRow>,
    ) {
        for entry in journal {
            if let JournalStep::Landed { block, .. }
            | JournalStep::Committed { block, .. }
            | JournalStep::Adopted { block } = entry.step
            {
                self.vouch(block);
            }
        }
        for block in intents.filter_map(|intent| intent.updated_at) {
            self.vouch(block);
        }
    }

    pub(super) fn check(&self, head: BlockNumber) -> Result<(), NotSafe> {
        if let Some(Halt::OtherSigner { block }) = self.halt {
            return Err(NotSafe::OtherSigner { block });
        }
        let left = self.settling_until.map_or(BlockCount(0), |until| until.since(head));
        if left.0 > 0 {
            return Err(NotSafe::Settling { blocks: left });
        }
        Ok(())
    }
}

impl Machine {
    /// Compares the hotkey's last update on the finalized chain with what we know we did.
    pub(super) fn check_signers(&mut self, seen: &Seen, out: &mut Outcome) {
        // A node that signs nothing may run beside the one that does.
        if self.config.weights != WeightsMode::Submit {
            return;
        }
        let view = &seen.finalized;
        let Some(own) = view.neuron(&self.config.hotkey) else { return };
        let block = own.last_update;
        if block <= own.registered_at || self.signers.halt.is_some() {
            return;
        }
        let Some(known) = self.signers.vouched_until else {
            match self.first_anchor() {
                None => self.adopt_history(seen, block, out),
                // It was there when we first signed, and was adopted before that.
                Some(anchor) if block <= anchor => self.signers.vouch(block),
                Some(_) if self.has_unexplained_signing(seen) => {}
                Some(_) => self.halt(block, out),
            }
            return;
        };
        if block > known && !self.has_unexplained_signing(seen) {
            self.halt(block, out);
        }
    }

    /// Whether the hotkey's last update in the best block is one that we know of. What comes behind
    /// a rival's would hide it: once both are final, the chain shows the later one.
    pub(super) fn check_head(&self, seen: &Seen) -> Result<(), NotSafe> {
        let Some(own) = seen.head.neuron(&self.config.hotkey) else { return Ok(()) };
        let block = own.last_update;
        let is_known = block <= own.registered_at || self.signers.knows(block);
        if is_known || self.config.weights != WeightsMode::Submit || self.may_be_ours(seen, block) {
            return Ok(());
        }
        Err(NotSafe::UnexplainedUpdate { block })
    }

    /// Whether something that we signed may have made this update of the best block.
    fn may_be_ours(&self, seen: &Seen, block: BlockNumber) -> bool {
        let is_its = |signed: &SignedExtrinsic| {
            is_included(signed, &seen.head)
                && !self.spent.contains(&signed.hash)
                && signed.anchor < block
                && block < signed.era_end
        };
        // Where nothing is concealed any more, the chain opens an old commit with an update.
        let opens_with_update = |intent: &IntentRow| {
            let last = intent.signings.last().map(|signed| &signed.carries);
            !seen.head.params.commit_reveal_enabled
                && matches!(last, Some(Carries::Timelocked { .. }))
        };
        self.intents.values().any(|intent| match intent.state {
            IntentState::Open | IntentState::Signed => intent.signings.iter().any(is_its),
            IntentState::Committed { .. } => opens_with_update(intent),
            IntentState::Landed { .. }
            | IntentState::Revealed { .. }
            | IntentState::Lost { .. }
            | IntentState::Abandoned { .. } => false,
        }) || self.signers.vouched_until.is_none() && self.first_anchor() >= Some(block)
    }

    /// A hotkey that was used before, by something that kept no journal here.
    fn adopt_history(&mut self, seen: &Seen, block: BlockNumber, out: &mut Outcome) {
        self.signers.vouch(block);
        let until = seen.head.number.plus(BlockCount(SETTLING_BLOCKS));
        self.signers.settling_until = Some(until);
        out.note(Note::HotkeyAdopted { block });
    }

    /// The finalized block that our first known signature was made after.
    fn first_anchor(&self) -> Option<BlockNumber> {
        let signings = self.intents.values().flat_map(|intent| &intent.signings);
        signings.map(|signed| signed.anchor).min()
    }

    /// Whether a signature of ours may explain an update: its nonce is used, and the search for it
    /// has not ended yet. That of a commit has: it landed, and its reveal updates nothing.
    fn has_unexplained_signing(&self, seen: &Seen) -> bool {
        self.intents.values().filter(|intent| intent.state.is_on_its_way()).any(|intent| {
            !self.suspects(&seen.finalized, &intent.signings).is_empty()
                || self.tracing.contains_key(&intent.id)
        })
    }

    fn halt(&mut self, block: BlockNumber, out: &mut Outcome) {
        let halt = Halt::OtherSigner { block };
        self.signers.halt = Some(halt);
        out.note(Note::OtherSigner { block });
        out.perform(Effect::Halt(halt));
    }
}

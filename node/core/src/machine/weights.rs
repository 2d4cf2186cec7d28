//! From points to the chain, effectively once per epoch.
//!
//! ```text
//! (points) --may_sign--> open --signed--> signed --found on the finalized chain--> landed
//!                          |                |  ^
//!                          |                +--+ era over, same epoch: signed anew
//!                          +----------------+--> abandoned: the epoch is over
//! ```
//!
//! The intent is durable before anything is signed, the bytes before anything is sent. "Landed"
//! means read back from a finalized block, never "submitted".

use std::collections::BTreeMap;

use crate::id::{Hotkey, IntentId, Uid};
use crate::limits::clip_detail;
use crate::machine::effect::{Effect, Note, Outcome, WeightsToSign};
use crate::machine::{Machine, WeightsMode};
use crate::rows::{
    IntentRow, IntentState, JournalEntry, JournalStep, Row, SignedExtrinsic, Table, Write,
};
use crate::submission::SubmissionState;
use crate::submit_guard::{intent_id, is_live, may_sign, may_sign_again, NotSafe, Safe};
use crate::unit::BlockNumber;
use crate::vector;
use crate::view::ChainView;

/// Blocks after which the same bytes are handed to the chain again.
const RESEND_AFTER_BLOCKS: u64 = 3;

/// Intents kept for `status`; older finished ones are dropped (the journal keeps them).
const INTENTS_KEPT: usize = 64;

impl Machine {
    /// Looks at every open intent in the light of a new finalized block, then for a new one.
    pub(super) fn follow_weights(&mut self, out: &mut Outcome) {
        let Some(view) = self.view.clone() else { return };
        let open: Vec<IntentId> = self
            .intents
            .values()
            .filter(|intent| matches!(intent.state, IntentState::Open | IntentState::Signed))
            .map(|intent| intent.id)
            .collect();
        for id in open {
            self.follow_intent(&view, id, out);
        }
        if self.config.weights != WeightsMode::Off {
            self.intend(&view, out);
        }
        self.drop_old_intents(out);
    }

    fn follow_intent(&mut self, view: &ChainView, id: IntentId, out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        if let Some(block) = landed_at(view, &self.config.hotkey, intent) {
            out.note(Note::WeightsLanded { epoch: intent.epoch.0, block });
            self.close(id, IntentState::Landed { block }, out);
            return;
        }
        if is_live(intent, view) {
            self.resend(view, id, out);
            return;
        }
        if intent.epoch < view.epoch.index {
            let reason = "the epoch ended before the vector landed".to_owned();
            out.note(Note::WeightsAbandoned { epoch: intent.epoch.0, reason: reason.clone() });
            self.close(id, IntentState::Abandoned { reason }, out);
            return;
        }
        let may_not = self.config.weights != WeightsMode::Submit || self.is_catching_up();
        if self.signing.contains(&id) || may_not {
            return;
        }
        match may_sign_again(view, &self.config.hotkey, intent) {
            Ok(safe) => match self.vector(view) {
                Ok(vector) => {
                    self.intend_anew(view, id, vector, safe, out);
                    self.sign(view, id, safe, out);
                }
                Err(error) => self.say_no_vector(view, &error, out),
            },
            Err(not_safe) => self.not_safe = Some(not_safe),
        }
    }

    /// Brings an intent up to date before it is signed again: since it was computed, a uid may
    /// have changed hands. Every earlier signature is dead by now.
    fn intend_anew(
        &mut self,
        view: &ChainView,
        id: IntentId,
        vector: Vec<(Uid, u16)>,
        safe: Safe,
        out: &mut Outcome,
    ) {
        let Some(intent) = self.intents.get_mut(&id).filter(|known| known.vector != vector) else {
            return;
        };
        let (version_key, computed_at) = (safe.version_key, view.number);
        (intent.version_key, intent.computed_at) = (version_key, computed_at);
        intent.vector.clone_from(&vector);
        let intent = intent.clone();
        self.journal(&intent, JournalStep::Intended { vector, version_key, computed_at }, out);
        out.put(Row::Intent(intent));
    }

    /// The vector that is right as of `view`.
    fn vector(&self, view: &ChainView) -> Result<Vec<(Uid, u16)>, vector::VectorError> {
        let vector = vector::vector(view, &self.points_by_hotkey(view))?;
        vector::check(view, &vector)?;
        Ok(vector)
    }

    fn resend(&mut self, view: &ChainView, id: IntentId, out: &mut Outcome) {
        let Some(signed) = self.intents.get(&id).and_then(|intent| intent.signings.last()) else {
            return;
        };
        let is_due = self
            .sent_at
            .get(&id)
            .is_none_or(|sent| view.number.since(*sent).0 >= RESEND_AFTER_BLOCKS);
        if is_due {
            out.perform(Effect::SendWeights {
                intent: id,
                bytes: signed.bytes.clone(),
                era_end: signed.era_end,
            });
            self.sent_at.insert(id, view.number);
        }
    }

    fn intend(&mut self, view: &ChainView, out: &mut Outcome) {
        if self.is_catching_up() {
            self.say_not_safe(view, NotSafe::CatchingUp, out);
            return;
        }
        let hotkey = self.config.hotkey;
        let safe = match may_sign(view, &hotkey, self.intents.values(), self.config.weights_lead) {
            Ok(safe) => safe,
            Err(not_safe) => {
                self.say_not_safe(view, not_safe, out);
                return;
            }
        };
        let vector = match self.vector(view) {
            Ok(vector) => vector,
            Err(error) => {
                self.say_no_vector(view, &error, out);
                return;
            }
        };
        self.not_safe = None;
        let id = intent_id(&hotkey, self.config.netuid, self.config.mechanism, safe.epoch);
        let entries = u64::try_from(vector.len()).unwrap_or(u64::MAX);
        out.note(Note::WeightsIntended { epoch: safe.epoch.0, entries });
        let mut intent = IntentRow {
            id,
            netuid: self.config.netuid,
            mechanism: self.config.mechanism,
            epoch: safe.epoch,
            vector: vector.clone(),
            version_key: safe.version_key,
            computed_at: view.number,
            signings: Vec::new(),
            state: IntentState::Open,
        };
        if self.config.weights == WeightsMode::DryRun {
            let reason = "dry run: nothing is signed".to_owned();
            intent.state = IntentState::Abandoned { reason };
            out.put(Row::Intent(intent.clone()));
            self.intents.insert(id, intent);
            return;
        }
        let (version_key, computed_at) = (safe.version_key, view.number);
        self.journal(&intent, JournalStep::Intended { vector, version_key, computed_at }, out);
        out.put(Row::Intent(intent.clone()));
        self.intents.insert(id, intent);
        self.sign(view, id, safe, out);
    }

    /// Best points per hotkey that held its uid when it committed.
    fn points_by_hotkey(&self, view: &ChainView) -> BTreeMap<Hotkey, u64> {
        let mut best: BTreeMap<Hotkey, u64> = BTreeMap::new();
        for submission in self.submissions.values() {
            let SubmissionState::Scored { points } = submission.state else { continue };
            let held_uid = view
                .neuron(&submission.hotkey)
                .is_some_and(|neuron| neuron.registered_at <= submission.committed_at);
            if held_uid {
                let entry = best.entry(submission.hotkey).or_default();
                *entry = points.max(*entry);
            }
        }
        best
    }

    fn sign(&mut self, view: &ChainView, id: IntentId, safe: Safe, out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        self.signing.insert(id);
        out.perform(Effect::SignWeights(WeightsToSign {
            intent: id,
            netuid: intent.netuid,
            mechanism: intent.mechanism,
            vector: intent.vector.clone(),
            version_key: safe.version_key,
            anchor: view.number,
        }));
    }

    pub(super) fn on_weights_signed(
        &mut self,
        id: IntentId,
        result: Result<SignedExtrinsic, String>,
        out: &mut Outcome,
    ) {
        if !self.signing.remove(&id) {
            return;
        }
        let Some(intent) = self.intents.get_mut(&id) else { return };
        let epoch = intent.epoch.0;
        let signed = match result {
            Ok(signed) => signed,
            Err(reason) => {
                let reason = clip_detail(&reason);
                out.note(Note::WeightsNotSigned { epoch, reason });
                return;
            }
        };
        let (nonce, era_end) = (signed.nonce, signed.era_end);
        out.note(Note::WeightsSigned { epoch, nonce, era_end });
        intent.signings.push(signed.clone());
        intent.state = IntentState::Signed;
        let intent = intent.clone();
        self.journal(&intent, JournalStep::Signed { signed: signed.clone() }, out);
        out.put(Row::Intent(intent));
        out.perform(Effect::SendWeights { intent: id, bytes: signed.bytes, era_end });
        if let Some(view) = &self.view {
            self.sent_at.insert(id, view.number);
        }
    }

    pub(super) fn on_weights_sent(
        &mut self,
        id: IntentId,
        result: Result<(), String>,
        out: &mut Outcome,
    ) {
        let Some(intent) = self.intents.get(&id) else { return };
        if let Err(reason) = result {
            // Whatever was said, only the finalized chain decides: the same bytes go out again
            // until they land or their era is over.
            let reason = clip_detail(&reason);
            out.note(Note::WeightsRefused { epoch: intent.epoch.0, reason });
        }
    }

    fn close(&mut self, id: IntentId, state: IntentState, out: &mut Outcome) {
        self.sent_at.remove(&id);
        self.signing.remove(&id);
        let Some(intent) = self.intents.get_mut(&id) else { return };
        let step = match &state {
            IntentState::Landed { block } => JournalStep::Landed { block: *block },
            IntentState::Abandoned { reason } => JournalStep::Abandoned { reason: reason.clone() },
            IntentState::Open | IntentState::Signed => return,
        };
        intent.state = state;
        let intent = intent.clone();
        self.journal(&intent, step, out);
        out.put(Row::Intent(intent));
    }

    fn journal(&self, intent: &IntentRow, step: JournalStep, out: &mut Outcome) {
        out.writes.push(Write::Journal(JournalEntry {
            hotkey: self.config.hotkey,
            intent: intent.id,
            netuid: intent.netuid,
            mechanism: intent.mechanism,
            epoch: intent.epoch,
            step,
        }));
    }

    fn say_not_safe(&mut self, view: &ChainView, not_safe: NotSafe, out: &mut Outcome) {
        let is_usual = matches!(
            not_safe,
            NotSafe::Early { .. } | NotSafe::Late { .. } | NotSafe::AlreadyIntended { .. }
        );
        let is_new = self
            .not_safe
            .as_ref()
            .is_none_or(|known| std::mem::discriminant(known) != std::mem::discriminant(&not_safe));
        if is_new && !is_usual {
            let reason = not_safe.to_string();
            out.note(Note::WeightsNotSafe { epoch: view.epoch.index.0, reason });
        }
        self.not_safe = Some(not_safe);
    }

    fn say_no_vector(&mut self, view: &ChainView, error: &vector::VectorError, out: &mut Outcome) {
        let epoch = view.epoch.index;
        if self.no_vector_epoch.replace(epoch) != Some(epoch) {
            out.note(Note::WeightsNotSafe { epoch: epoch.0, reason: error.to_string() });
        }
    }

    pub(super) fn has_live_intent(&self) -> bool {
        self.intents
            .values()
            .any(|intent| matches!(intent.state, IntentState::Open | IntentState::Signed))
    }

    fn drop_old_intents(&mut self, out: &mut Outcome) {
        let mut finished: Vec<_> = self
            .intents
            .values()
            .filter(|intent| !matches!(intent.state, IntentState::Open | IntentState::Signed))
            .map(|intent| (intent.epoch, intent.id))
            .collect();
        finished.sort_unstable();
        let surplus = finished.len().saturating_sub(INTENTS_KEPT);
        for (_, id) in finished.into_iter().take(surplus) {
            self.intents.remove(&id);
            out.writes.push(Write::Delete(Table::Intents, id.0.to_vec()));
        }
    }
}

/// The block in which the intent's vector was stored, if the chain's row equals it and was
/// written after it was computed.
fn landed_at(view: &ChainView, hotkey: &Hotkey, intent: &IntentRow) -> Option<BlockNumber> {
    if intent.signings.is_empty() {
        return None;
    }
    let own = view.neuron(hotkey)?;
    let is_ours = own.last_update > intent.computed_at && view.weights_of(own.uid) == intent.vector;
    is_ours.then_some(own.last_update)
}

//! From points to the chain, effectively once per epoch.
//!
//! ```text
//! (points) --may_sign--> open --signed--> signed --in a finalized block--> landed
//!                          |                |  ^                    \
//!                          |                |  +-- cannot land        +--> committed --> revealed
//!                          |                |      any more: anew                   \
//!                          +----------------+--> abandoned: the epoch is over        +--> lost
//! ```
//!
//! The intent is durable before anything is signed, the bytes before anything is sent. "Landed"
//! means found in a finalized block, never "submitted". A used nonce says that something landed,
//! the search for our extrinsic says whether it was ours, and the row read back confirms it.
//!
//! Files: here what is intended and sent; `landing` (what became of it), `ending` (what can become
//! nothing any more), `reveal` (commits after they landed), `signers` (is anybody else using our
//! hotkey?), `restored` (after the journal came from a copy), `said` (what was said already).

mod ending;
mod landing;
mod restored;
mod reveal;
mod said;
mod signers;

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::id::{Hotkey, IntentId, SubmissionId, Uid};
use crate::limits::clip_detail;
use crate::machine::effect::{Effect, Note, Outcome, WeightsToSign};
use crate::machine::{Machine, WeightsMode};
use crate::priority::Priority;
use crate::rows::{
    Carries, IntentRow, IntentState, JournalEntry, JournalStep, Row, SignedExtrinsic, Table, Write,
};
use crate::submission::SubmissionState;
use crate::submit_guard::{
    can_land, includes_for, intent_id, is_included, is_of_an_earlier_subnet, may_sign,
    may_sign_again, Binding, NotSafe, Safe, Sight, Terms, WeightsForm,
};
use crate::unit::BlockNumber;
use crate::vector;
use crate::view::ChainView;

pub(super) use said::Said;
pub(super) use signers::Signers;

/// Blocks after which the same bytes are handed to the chain again: an endpoint may have said yes
/// and forgotten, and one that has them already just says so.
const RESEND_AFTER_BLOCKS: u64 = 1;

/// Intents kept for `status`; older finished ones are dropped (the journal keeps them).
pub(super) const INTENTS_KEPT: usize = 64;

/// What a hotkey is paid for where points are paid; the larger one is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::machine) struct Best {
    points: u64,
    since: Reverse<Priority>,
    pub(in crate::machine) submission: SubmissionId,
}

/// The chain as the node sees it, owned, so that the machine can change while it is looked at.
#[derive(Clone, Debug)]
struct Seen {
    head: ChainView,
    finalized: ChainView,
}

impl Seen {
    fn sight(&self) -> Sight<'_> {
        Sight { head: &self.head, finalized: &self.finalized }
    }
}

impl Machine {
    /// A new finalized block: what became of what was sent, then what is to be sent.
    pub(super) fn on_finalized_weights(&mut self, out: &mut Outcome) {
        let Some(seen) = self.seen() else { return };
        self.follow_restored(&seen, out);
        for id in self.intents_where(|intent| !intent.state.is_finished()) {
            if !self.end_stranded(&seen, id, out) {
                self.follow_landing(&seen, id, out);
            }
        }
        self.check_signers(&seen, out);
        self.send_weights(&seen, out);
        self.drop_old_intents(out);
    }

    /// A new best block: what is to be sent.
    pub(super) fn on_best_weights(&mut self, out: &mut Outcome) {
        if let Some(seen) = self.seen() {
            self.send_weights(&seen, out);
        }
    }

    fn seen(&self) -> Option<Seen> {
        let finalized = self.view.clone()?;
        let head = self.head.clone().filter(|head| head.number > finalized.number);
        Some(Seen { head: head.unwrap_or_else(|| finalized.clone()), finalized })
    }

    /// By whose rules vectors are signed.
    pub(super) fn terms(&self) -> Terms {
        Terms {
            hotkey: self.config.hotkey,
            mechanism: self.config.mechanism,
            lead: self.config.weights_lead,
            commit: self.config.commit_form,
        }
    }

    fn intents_where(&self, is_meant: impl Fn(&IntentRow) -> bool) -> Vec<IntentId> {
        let meant = self.intents.values().filter(|intent| is_meant(intent));
        meant.map(|intent| intent.id).collect()
    }

    fn send_weights(&mut self, seen: &Seen, out: &mut Outcome) {
        // What was meant for a subnet that is no more is not sent to the one that has its number.
        let is_of_this = |intent: &IntentRow| !is_of_an_earlier_subnet(intent, &seen.head);
        let is_under_way = |intent: &IntentRow| intent.state.is_on_its_way() && is_of_this(intent);
        for id in self.intents_where(is_under_way) {
            self.resend(seen, id, out);
        }
        if self.config.weights == WeightsMode::Off {
            return;
        }
        if let Err(not_safe) = self.check_self(seen) {
            self.say_not_safe(&seen.head, not_safe, out);
            return;
        }
        for id in self.intents_where(is_under_way) {
            self.sign_again(seen, id, out);
        }
        let is_committed = |intent: &IntentRow| {
            matches!(intent.state, IntentState::Committed { .. }) && is_of_this(intent)
        };
        for id in self.intents_where(is_committed) {
            self.reveal(seen, id, out);
        }
        if self.signing.is_empty() {
            self.intend(seen, out);
        }
    }

    /// What the node knows of itself that forbids any signature.
    fn check_self(&self, seen: &Seen) -> Result<(), NotSafe> {
        self.signers.check(seen.head.number)?;
        self.check_restored(seen)?;
        self.check_head(seen)?;
        if self.is_catching_up() {
            return Err(NotSafe::CatchingUp);
        }
        Ok(())
    }

    /// Signs an intent of the present epoch again, if nothing signed for it can land any more.
    fn sign_again(&mut self, seen: &Seen, id: IntentId, out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        let is_submitting = self.config.weights == WeightsMode::Submit;
        // One signature at a time: the next one's nonce follows from it.
        if !self.signing.is_empty() || self.tracing.contains_key(&id) || !is_submitting {
            return;
        }
        // Its epoch is over in the best block; whether it landed is decided by finality.
        if intent.epoch != seen.head.epoch.index {
            return;
        }
        // Its nonce is used, and what used it is not known yet.
        if !self.suspects(&seen.finalized, &intent.signings).is_empty() {
            return;
        }
        let others = self.intents.values().filter(|other| other.id != id);
        // What forbids it for longer forbids a new intent too, and is said there.
        let Ok(safe) = may_sign_again(seen.sight(), &self.terms(), intent, others) else { return };
        match self.vector(&seen.head) {
            Ok(vector) => {
                self.intend_anew(&seen.head, id, vector, &safe, out);
                self.sign(id, safe, out);
            }
            Err(error) => self.say_no_vector(&seen.head, &error, out),
        }
    }

    /// Brings an intent up to date before it is signed again: since it was computed, a uid may
    /// have changed hands.
    fn intend_anew(
        &mut self,
        head: &ChainView,
        id: IntentId,
        vector: Vec<(Uid, u16)>,
        safe: &Safe,
        out: &mut Outcome,
    ) {
        let is_old =
            |known: &IntentRow| known.vector != vector || known.version_key != safe.version_key;
        let Some(intent) = self.intents.get_mut(&id).filter(|known| is_old(known)) else {
            return;
        };
        let (version_key, computed_at) = (safe.version_key, head.number);
        (intent.version_key, intent.computed_at) = (version_key, computed_at);
        intent.vector.clone_from(&vector);
        let intent = intent.clone();
        self.journal(&intent, JournalStep::Intended { vector, version_key, computed_at }, out);
        out.put(Row::Intent(intent));
    }

    /// The vector that is right as of `view`.
    ///
    /// # Errors
    ///
    /// [`vector::VectorError`]: there are no points, or the chain would refuse it.
    pub fn vector(&self, view: &ChainView) -> Result<Vec<(Uid, u16)>, vector::VectorError> {
        let vector = vector::vector(view, &self.parts_by_hotkey(view)?)?;
        vector::check(view, &vector)?;
        Ok(vector)
    }

    fn resend(&mut self, seen: &Seen, id: IntentId, out: &mut Outcome) {
        let Some(intent) = self.intents.get(&id) else { return };
        // An upgrade that a reorganisation took back makes an earlier one good again.
        let fits = |signed: &&SignedExtrinsic| signed.spec_version == seen.head.spec_version;
        let Some(signed) = intent.signings.iter().rev().find(fits) else { return };
        if is_included(signed, &seen.head) || !can_land(signed, seen.sight()) {
            return;
        }
        // A commit that slips into the next epoch would open early, and a plain vector would keep
        // that epoch's own one waiting for the rate limit: better none than that.
        if !includes_for(&seen.head, intent.epoch) {
            return;
        }
        // One of the two lands: the newer is wanted.
        let is_replaced = self.intents.values().any(|other| {
            other.place() > intent.place()
                && other.signings.iter().any(|newer| newer.nonce == signed.nonce)
        });
        if is_replaced {
            return;
        }
        self.send_when_due(&seen.head, id, signed.clone(), out);
    }

    /// Hands signed bytes to the chain, unless they were a moment ago.
    fn send_when_due(
        &mut self,
        head: &ChainView,
        id: IntentId,
        signed: SignedExtrinsic,
        out: &mut Outcome,
    ) {
        let is_due = self
            .sent_at
            .get(&id)
            .is_none_or(|sent| head.number.since(*sent).0 >= RESEND_AFTER_BLOCKS);
        if is_due {
            let (bytes, era_end) = (signed.bytes, signed.era_end);
            out.perform(Effect::SendWeights { intent: id, bytes, era_end });
            self.sent_at.insert(id, head.number);
        }
    }

    fn intend(&mut self, seen: &Seen, out: &mut Outcome) {
        let head = &seen.head;
        let safe = match may_sign(seen.sight(), &self.terms(), self.intents.values()) {
            Ok(safe) => safe,
            Err(not_safe) => {
                self.say_not_safe(head, not_safe, out);
                return;
            }
        };
        let vector = match self.vector(head) {
            Ok(vector) => vector,
            Err(error) => {
                self.say_no_vector(head, &error, out);
                return;
            }
        };
        self.not_safe = None;
        let (hotkey, netuid) = (self.config.hotkey, self.config.netuid);
        let registered_at = head.registration();
        let id = intent_id(&hotkey, netuid, self.config.mechanism, registered_at, safe.epoch);
        let entries = u64::try_from(vector.len()).unwrap_or(u64::MAX);
        out.note(Note::WeightsIntended { epoch: safe.epoch.0, entries });
        let mut intent = IntentRow {
            id,
            netuid,
            mechanism: self.config.mechanism,
            registered_at,
            epoch: safe.epoch,
            vector: vector.clone(),
            version_key: safe.version_key,
            computed_at: head.number,
            signings: Vec::new(),
            reveals: Vec::new(),
            updated_at: None,
            state: IntentState::Open,
        };
        if self.config.weights == WeightsMode::DryRun {
            let reason = "dry run: nothing is signed".to_owned();
            intent.state = IntentState::Abandoned { reason };
            out.put(Row::Intent(intent.clone()));
            self.intents.insert(id, intent);
            return;
        }
        let (version_key, computed_at) = (safe.version_key, head.number);
        self.journal(&intent, JournalStep::Intended { vector, version_key, computed_at }, out);
        out.put(Row::Intent(intent.clone()));
        self.intents.insert(id, intent);
        self.sign(id, safe, out);
    }

    /// Best points per hotkey that held its uid when it committed.
    pub(in crate::machine) fn points_by_hotkey(&self, view: &ChainView) -> BTreeMap<Hotkey, u64> {
        let best = self.best_by_hotkey(view).into_iter();
        best.map(|(hotkey, best)| (hotkey, best.points)).collect()
    }

    /// The best submission of each hotkey since it was registered; of equal ones the first.
    pub(in crate::machine) fn best_by_hotkey(&self, view: &ChainView) -> BTreeMap<Hotkey, Best> {
        let mut best: BTreeMap<Hotkey, Best> = BTreeMap::new();
        for submission in self.submissions.values() {
            let SubmissionState::Scored { points } = submission.state else { continue };
            let held_uid = view
                .neuron(&submission.hotkey)
                .is_some_and(|neuron| neuron.registered_at <= submission.committed_at);
            let since = Reverse(Priority::of(submission));
            let one = Best { points, since, submission: submission.id };
            if held_uid && best.get(&submission.hotkey).is_none_or(|known| *known < one) {
                best.insert(submission.hotkey, one);
            }
        }
        best
    }

    fn sign(&mut self, id: IntentId, safe: Safe, out: &mut Outcome) {
        self.ask_for_signature(id, safe.version_key, safe.form, safe.binding, out);
    }

    fn ask_for_signature(
        &mut self,
        id: IntentId,
        version_key: u64,
        form: WeightsForm,
        binding: Binding,
        out: &mut Outcome,
    ) {
        let Some(intent) = self.intents.get(&id) else { return };
        self.signing.insert(id);
        out.perform(Effect::SignWeights(WeightsToSign {
            intent: id,
            netuid: intent.netuid,
            mechanism: intent.mechanism,
            vector: intent.vector.clone(),
            version_key,
            form,
            binding,
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
        let signed = SignedExtrinsic { vector: intent.vector.clone(), ..signed };
        let (nonce, era_end) = (signed.nonce, signed.era_end);
        let is_reveal = signed.carries == Carries::Reveal;
        let step = if is_reveal {
            out.note(Note::RevealSigned { epoch, nonce, era_end });
            intent.reveals.push(signed.clone());
            JournalStep::RevealSigned { signed }
        } else {
            out.note(Note::WeightsSigned { epoch, nonce, era_end });
            intent.signings.push(signed.clone());
            intent.state = IntentState::Signed;
            JournalStep::Signed { signed }
        };
        let intent = intent.clone();
        self.journal(&intent, step, out);
        out.put(Row::Intent(intent));
        let Some(seen) = self.seen() else { return };
        // What was asked for before the number went to another subnet.
        if self.intents.get(&id).is_some_and(|intent| is_of_an_earlier_subnet(intent, &seen.head)) {
            return;
        }
        // While it was signed, the chain went on: it may have come too late to be sent at all.
        self.sent_at.remove(&id);
        if is_reveal {
            self.reveal(&seen, id, out);
        } else {
            self.resend(&seen, id, out);
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
            // until they land or cannot.
            let reason = clip_detail(&reason);
            out.note(Note::WeightsRefused { epoch: intent.epoch.0, reason });
        }
    }

    fn journal(&self, intent: &IntentRow, step: JournalStep, out: &mut Outcome) {
        out.writes.push(Write::Journal(JournalEntry {
            hotkey: self.config.hotkey,
            intent: intent.id,
            netuid: intent.netuid,
            mechanism: intent.mechanism,
            registered_at: intent.registered_at,
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

    fn drop_old_intents(&mut self, out: &mut Outcome) {
        let mut finished: Vec<_> = self
            .intents
            .values()
            .filter(|intent| intent.state.is_finished())
            .map(|intent| (intent.computed_at, intent.id))
            .collect();
        finished.sort_unstable();
        let surplus = finished.len().saturating_sub(INTENTS_KEPT);
        for (_, id) in finished.into_iter().take(surplus) {
            self.intents.remove(&id);
            out.writes.push(Write::Delete(Table::Intents, id.0.to_vec()));
        }
    }
}

/// The block in which the intent's row was stored, if the chain's row equals it and was written
/// after it was computed: for when the extrinsic itself cannot be searched for.
fn stored_at(view: &ChainView, hotkey: &Hotkey, intent: &IntentRow) -> Option<BlockNumber> {
    let own = view.neuron(hotkey)?;
    let is_ours = own.last_update > intent.computed_at && view.weights_of(own.uid) == intent.vector;
    is_ours.then_some(own.last_update)
}

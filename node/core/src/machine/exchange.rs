//! Receipts: fetched from the coordinators that accepted them, or from somebody else where a
//! coordinator is gone, and kept if they are for what we derived ourselves.

use std::collections::BTreeMap;

use crate::evidence::Receipt;
use crate::id::{Digest, Hotkey, RunId};
use crate::lease::{HoldAnswer, LeaseRefusal, PeerAnswer, PeerRequest};
use crate::limits::{
    clip_detail, GONE_AFTER_MS, GONE_FAILURES_MIN, RECEIPTS_EVERY_MS, RECEIPTS_PER_PAGE_MAX,
};
use crate::machine::effect::{Effect, Note, Outcome, PeerAddress};
use crate::machine::event::Question;
use crate::machine::Machine;
use crate::round::check_worker;
use crate::rows::{CursorRow, ReceiptRow, ReceiptStanding, Row};
use crate::unit::{MonoMs, Now, UnixMs};

/// Receipts of one peer whose submissions we have not seen yet; beyond it the oldest are dropped.
/// Lower: a node that lags loses receipts until its next start. Higher: a hostile peer makes us
/// hold that many.
const ORPHANS_PER_PEER_MAX: usize = 256;

/// How often others are asked for the receipts of a coordinator that is gone.
const MIRROR_EVERY_MS: u64 = 5 * RECEIPTS_EVERY_MS;

/// What this node knows of another validator, or of its own service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    pub(super) after: u64,
    pub(super) acquire_asked_at: Option<MonoMs>,
    pub(super) acquire_again_at: MonoMs,
    pub(super) receipts_in_flight: bool,
    pub(super) receipts_again_at: MonoMs,
    /// How far each of the others was asked for its receipts in this life: numbers are not signed,
    /// so what one says about them moves nobody else's.
    mirrored: BTreeMap<Hotkey, u64>,
    mirror_again_at: MonoMs,
    /// Whether it granted nothing the last time, because of our strikes in its book.
    pub(super) refuses_us: bool,
    /// Since when every question failed, and how many did.
    silent_since: Option<MonoMs>,
    failures: u32,
    last_answer: Option<UnixMs>,
    last_failure: Option<String>,
    /// When it last asked this node something.
    last_call: Option<UnixMs>,
}

impl PeerState {
    /// Whether nothing of it was heard for so long that others take its place.
    #[must_use]
    pub fn is_gone(&self, now: MonoMs) -> bool {
        let is_silent = |since: MonoMs| now.since_ms(since) >= GONE_AFTER_MS;
        self.failures >= GONE_FAILURES_MIN && self.silent_since.is_some_and(is_silent)
    }

    fn answered(&mut self, now: Now) {
        self.last_answer = Some(now.unix);
        self.last_failure = None;
        self.silent_since = None;
        self.failures = 0;
    }

    /// Returns whether it had answered the question before this one.
    fn failed(&mut self, now: Now, reason: String) -> bool {
        self.silent_since.get_or_insert(now.mono);
        self.failures = self.failures.saturating_add(1);
        self.last_failure.replace(reason).is_none()
    }

    /// Takes down that it asked this node something.
    pub(super) fn called(&mut self, now: Now) {
        self.last_call = Some(now.unix);
    }

    /// When it last asked this node something, by our wall clock: what others can reach.
    #[must_use]
    pub fn last_call(&self) -> Option<UnixMs> {
        self.last_call
    }

    /// When it last answered, by our wall clock.
    #[must_use]
    pub fn last_answer(&self) -> Option<UnixMs> {
        self.last_answer
    }

    /// Why it did not answer the last time, if it did not.
    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    /// Sequence number of its last receipt that we know.
    #[must_use]
    pub fn receipts_until(&self) -> u64 {
        self.after
    }
}

impl Machine {
    /// Makes sure that every validator has a state; those that left keep their cursor.
    pub(super) fn refresh_peers(&mut self) {
        let Some(view) = &self.view else { return };
        for neuron in view.validators() {
            self.peers.entry(neuron.hotkey).or_default();
        }
    }

    pub(super) fn ask_for_receipts(&mut self, now: Now, out: &mut Outcome) {
        for peer in self.other_validators() {
            let Some(state) = self.peers.get_mut(&peer.hotkey) else { continue };
            if state.receipts_in_flight || now.mono < state.receipts_again_at {
                continue;
            }
            state.receipts_in_flight = true;
            let (of, after) = (peer.hotkey, state.after);
            let request = PeerRequest::Receipts { of, after };
            out.perform(Effect::AskPeer { peer, question: Question::Receipts { of }, request });
        }
        self.ask_mirrors(now, out);
        self.ask_for_own_receipts(now, out);
    }

    /// Asks the others, one after the other, for the receipts of coordinators that are gone.
    fn ask_mirrors(&mut self, now: Now, out: &mut Outcome) {
        let gone: Vec<Hotkey> = self.duties.gone().copied().collect();
        for of in gone {
            let Some(state) = self.peers.get_mut(&of) else { continue };
            if now.mono < state.mirror_again_at {
                continue;
            }
            // Whom to ask moves on with time, so that one that says nothing hides nothing.
            state.mirror_again_at = now.mono.plus_ms(MIRROR_EVERY_MS);
            let turn = now.mono.0 / MIRROR_EVERY_MS;
            let present: Vec<Hotkey> = self.duties.present().copied().collect();
            let others = present.iter().filter(|hotkey| **hotkey != self.config.hotkey);
            let others: Vec<_> = others.filter_map(|hotkey| self.address_of(hotkey)).collect();
            let count = u64::try_from(others.len()).unwrap_or(u64::MAX);
            let Some(turn) = turn.checked_rem(count) else { continue };
            let Some(peer) = others.get(usize::try_from(turn).unwrap_or(0)) else { continue };
            self.ask_mirror(of, *peer, out);
        }
    }

    /// Asks everybody for what this node had accepted and lost.
    fn ask_for_own_receipts(&mut self, now: Now, out: &mut Outcome) {
        let own = self.config.hotkey;
        let peers = self.other_validators();
        let peers: Vec<_> =
            peers.into_iter().filter(|peer| self.has_own_receipts(&peer.hotkey)).collect();
        let state = self.peers.entry(own).or_default();
        if peers.is_empty() || now.mono < state.mirror_again_at {
            return;
        }
        state.mirror_again_at = now.mono.plus_ms(MIRROR_EVERY_MS);
        for peer in peers {
            self.ask_mirror(own, peer, out);
        }
    }

    fn ask_mirror(&mut self, of: Hotkey, peer: PeerAddress, out: &mut Outcome) {
        let Some(state) = self.peers.get(&of) else { return };
        let mirrored = state.mirrored.get(&peer.hotkey).copied().unwrap_or_default();
        let request = PeerRequest::Receipts { of, after: state.after.max(mirrored) };
        out.perform(Effect::AskPeer { peer, question: Question::Receipts { of }, request });
    }

    pub(super) fn on_answered(
        &mut self,
        now: Now,
        peer: Hotkey,
        question: Question,
        result: Result<PeerAnswer, String>,
        out: &mut Outcome,
    ) {
        let answer = self.heard(now, peer, result, out);
        match (question, answer) {
            (Question::Acquire, Some(PeerAnswer::Acquired(grants))) => {
                let refuses_us = grants == Err(LeaseRefusal::TooManyStrikes);
                self.note_refused_by(now, peer, refuses_us, out);
                self.on_acquired(now, peer, grants.unwrap_or_default(), out);
            }
            (Question::Acquire, None) => self.on_acquired(now, peer, Vec::new(), out),
            (Question::Seal(run), Some(PeerAnswer::Sealed(answer))) => {
                self.on_sealed(now, run, Some(&answer), out);
            }
            (Question::Seal(run), None) => self.on_sealed(now, run, None, out),
            (Question::Complete(run), Some(PeerAnswer::Completed(answer)))
            | (Question::Release(run), Some(PeerAnswer::Released(answer))) => {
                self.on_reported(now, run, Some(answer), out);
            }
            (Question::Complete(run) | Question::Release(run), None) => {
                self.on_reported(now, run, None, out);
            }
            (Question::Receipts { of }, Some(PeerAnswer::Receipts(page))) if of == peer => {
                if page.len() < RECEIPTS_PER_PAGE_MAX {
                    self.heard_all_receipts(peer);
                }
                self.on_receipts(now, peer, page, out);
            }
            (Question::Receipts { of }, Some(PeerAnswer::Receipts(page))) => {
                self.on_mirrored(now, peer, of, page, out);
            }
            (Question::Receipts { of }, None) if of == peer => {
                self.on_receipts(now, peer, Vec::new(), out);
            }
            (Question::Receipts { .. }, None) => {}
            (question, Some(_)) => {
                out.note(Note::UnexpectedAnswer { peer });
                // It ends the question all the same, or nothing would ever be asked there again.
                let reason = "it answered something else than what was asked".to_owned();
                self.on_answered(now, peer, question, Err(reason), out);
            }
        }
    }

    /// Notes that a peer answered, or that it did not. Returns the answer.
    fn heard<T>(
        &mut self,
        now: Now,
        peer: Hotkey,
        result: Result<T, String>,
        out: &mut Outcome,
    ) -> Option<T> {
        let state = self.peers.entry(peer).or_default();
        match result {
            Ok(answer) => {
                state.answered(now);
                Some(answer)
            }
            Err(reason) => {
                let reason = clip_detail(&reason);
                if state.failed(now, reason.clone()) {
                    out.note(Note::PeerUnreachable { peer, reason });
                }
                None
            }
        }
    }

    pub(super) fn on_renewal_ended(
        &mut self,
        now: Now,
        peer: Hotkey,
        result: Result<Vec<(RunId, HoldAnswer)>, String>,
        out: &mut Outcome,
    ) {
        for (run, answer) in self.heard(now, peer, result, out).unwrap_or_default() {
            self.on_held(now, run, &answer, out);
        }
    }

    /// Whether `peer` grants us nothing because of our strikes there: who is refused by others
    /// evaluates for itself.
    fn note_refused_by(&mut self, now: Now, peer: Hotkey, refuses_us: bool, out: &mut Outcome) {
        let state = self.peers.entry(peer).or_default();
        if std::mem::replace(&mut state.refuses_us, refuses_us) != refuses_us {
            self.touch_all();
            self.settle_touched(now, out);
        }
    }

    /// What somebody says that a coordinator which is gone had accepted. The stored cursor stays:
    /// what was left out comes when the coordinator is back.
    fn on_mirrored(
        &mut self,
        now: Now,
        mirror: Hotkey,
        of: Hotkey,
        page: Vec<(u64, Receipt)>,
        out: &mut Outcome,
    ) {
        let is_full = page.len() >= RECEIPTS_PER_PAGE_MAX;
        if of == self.config.hotkey && !is_full {
            self.heard_own_receipts(mirror);
        }
        if let Some(state) = self.peers.get_mut(&of) {
            let until = state.mirrored.entry(mirror).or_default();
            *until = page.iter().map(|(sequence, _)| *sequence).fold(*until, u64::max);
            if is_full {
                state.mirror_again_at = now.mono;
            }
        }
        for (sequence, receipt) in page {
            self.file(of, sequence, receipt, out);
        }
        if of == self.config.hotkey {
            self.put_cursor(mirror, out);
        }
        self.settle_touched(now, out);
    }

    fn on_receipts(
        &mut self,
        now: Now,
        peer: Hotkey,
        page: Vec<(u64, Receipt)>,
        out: &mut Outcome,
    ) {
        let is_full = page.len() >= RECEIPTS_PER_PAGE_MAX;
        let is_empty = page.is_empty();
        for (sequence, receipt) in page {
            self.take_receipt(peer, sequence, receipt, out);
        }
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.receipts_in_flight = false;
        let pause = if is_full { 0 } else { RECEIPTS_EVERY_MS };
        state.receipts_again_at = now.mono.plus_ms(pause);
        if !is_empty {
            self.put_cursor(peer, out);
            self.settle_touched(now, out);
        }
    }

    fn take_receipt(&mut self, peer: Hotkey, sequence: u64, receipt: Receipt, out: &mut Outcome) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if sequence <= state.after {
            return;
        }
        state.after = sequence;
        self.file(peer, sequence, receipt, out);
    }

    /// The next page of a coordinator's sequence, as far as it is known here. What waits for its
    /// submission here may be known where it is asked for: a coordinator that lost its rows asks
    /// for what it had accepted only once.
    pub(super) fn page_of(&self, of: Hotkey, after: u64) -> Vec<(u64, Receipt)> {
        let mut page: BTreeMap<u64, Receipt> = self.receipts.page(of, after).into_iter().collect();
        let is_asked_for = |(from, n, _): &&(Hotkey, u64, Receipt)| {
            *from == of && *n > after && of != self.config.hotkey
        };
        for (_, number, receipt) in self.orphans.iter().filter(is_asked_for) {
            page.entry(*number).or_insert_with(|| receipt.clone());
        }
        page.into_iter().take(RECEIPTS_PER_PAGE_MAX).collect()
    }

    /// Keeps a receipt of `coordinator`'s sequence, or puts it aside until it can be judged.
    fn file(&mut self, coordinator: Hotkey, sequence: u64, receipt: Receipt, out: &mut Outcome) {
        let evidence = &receipt.evidence;
        if evidence.coordinator != coordinator {
            let reason = "granted by someone else".to_owned();
            out.note(Note::ReceiptIgnored { coordinator, reason });
            return;
        }
        // One that was kept as late may be of a lease that was lost with the rows: others know that
        // it had been accepted.
        if self.receipts.counts(&receipt) {
            return;
        }
        if self.can_be_judged(&receipt) {
            self.adopt(sequence, receipt, out);
        } else {
            self.drop_oldest_orphan(coordinator, out);
            self.orphans.push((coordinator, sequence, receipt));
        }
    }

    /// Whether its submission is known and its worker a validator: either may be news of a block
    /// that this node has not read yet.
    fn can_be_judged(&self, receipt: &Receipt) -> bool {
        let evidence = &receipt.evidence;
        let known = self.submissions.get(&evidence.submission);
        let is_judged = known.is_some_and(|submission| submission.state.is_judged());
        let view = self.view.as_ref();
        is_judged && view.is_some_and(|view| check_worker(view, evidence).is_ok())
    }

    /// Makes room for one more orphan of `peer`. Submissions that are not seen for long are most
    /// likely gone from the chain.
    fn drop_oldest_orphan(&mut self, peer: Hotkey, out: &mut Outcome) {
        let is_theirs = |(from, _, _): &(Hotkey, u64, Receipt)| *from == peer;
        if self.orphans.iter().filter(|orphan| is_theirs(orphan)).count() < ORPHANS_PER_PEER_MAX {
            return;
        }
        if let Some(oldest) = self.orphans.iter().position(is_theirs) {
            self.orphans.remove(oldest);
            let reason = "its submission or its worker is unknown here".to_owned();
            out.note(Note::ReceiptIgnored { coordinator: peer, reason });
        }
    }

    /// Tries receipts again whose submissions have become known.
    pub(super) fn adopt_orphans(&mut self, out: &mut Outcome) {
        let (known, unknown) = std::mem::take(&mut self.orphans)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, _, receipt)| self.can_be_judged(receipt));
        self.orphans = unknown;
        for (coordinator, sequence, receipt) in known {
            self.adopt(sequence, receipt, out);
            self.put_cursor(coordinator, out);
        }
    }

    fn adopt(&mut self, sequence: u64, receipt: Receipt, out: &mut Outcome) {
        let evidence = &receipt.evidence;
        let coordinator = evidence.coordinator;
        if self.retired.contains(&evidence.submission) {
            return;
        }
        if let Err(rejected) = self.check_receipt(&receipt) {
            let reason = rejected.to_string();
            out.note(Note::ReceiptIgnored { coordinator, reason });
            return;
        }
        if !self.receipts.is_news(&receipt) {
            return;
        }
        // What this node had accepted and lost gets a new number: nobody else is believed on them.
        // It is public already, so all may count on it at once.
        let is_own = coordinator == self.config.hotkey;
        let sequence = match is_own {
            true => (!self.is_catching_up()).then(|| self.take_number()),
            false => Some(sequence),
        };
        let standing = ReceiptStanding::Counts;
        let digest = receipt.evidence.digest();
        self.keep_receipt(digest, ReceiptRow { sequence, standing, receipt }, out);
    }

    /// - `digest`: of the receipt's evidence.
    pub(super) fn keep_receipt(&mut self, digest: Digest, row: ReceiptRow, out: &mut Outcome) {
        let evidence = &row.receipt.evidence;
        let (trial, worker) = (evidence.trial(), evidence.worker);
        let submission = trial.submission;
        out.note(Note::ReceiptAccepted { submission, worker });
        out.put(Row::Receipt(Box::new(row.clone())));
        self.receipts.put_as(digest, row);
        self.took_part(&worker);
        self.to_settle.insert(trial);
    }

    /// The stored cursor stays before the first orphan, so that a restart fetches it again. While
    /// this node has still to be told what it had accepted itself, or cannot judge it yet, there is
    /// none: a restart asks for that again.
    fn put_cursor(&mut self, peer: Hotkey, out: &mut Outcome) {
        let own = self.config.hotkey;
        let is_told = !self.has_own_receipts(&peer)
            && self.orphans.iter().all(|(coordinator, _, _)| *coordinator != own);
        // Our own row says how far our own sequence went.
        if peer == own || !is_told {
            return;
        }
        let Some(state) = self.peers.get(&peer) else { return };
        let first_orphan =
            self.orphans.iter().filter(|(from, _, _)| *from == peer).map(|(_, n, _)| *n).min();
        // One that came from somebody else may lie beyond it.
        let after = first_orphan.map_or(state.after, |first| first.saturating_sub(1));
        let after = after.min(state.after);
        out.put(Row::Cursor(CursorRow { peer, after }));
    }
}

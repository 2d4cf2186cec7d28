//! Receipts: fetched from the peers that accepted them, kept if they are for what we derived
//! ourselves, and turned into results.

use crate::evidence::Receipt;
use crate::id::{Hotkey, SubmissionId};
use crate::lease::{PeerAnswer, PeerRequest};
use crate::limits::{clip_detail, RECEIPTS_EVERY_MS, RECEIPTS_PER_PAGE_MAX};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::event::Question;
use crate::machine::Machine;
use crate::round::{check_evidence, check_parties, settle, EvidenceRejected, Expected, Verdict};
use crate::rows::{CursorRow, ReceiptRow, Row};
use crate::submission::{Submission, SubmissionState};
use crate::unit::{MonoMs, Now, UnixMs};

/// Receipts of one peer whose submissions we have not seen yet; beyond it the oldest are dropped.
/// Lower: a node that lags loses receipts until its next start. Higher: a hostile peer makes us
/// hold that many.
const ORPHANS_PER_PEER_MAX: usize = 256;

/// What this node knows of another validator, or of its own service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerState {
    pub(super) after: u64,
    pub(super) acquire_asked_at: Option<MonoMs>,
    pub(super) acquire_again_at: MonoMs,
    pub(super) receipts_in_flight: bool,
    pub(super) receipts_again_at: MonoMs,
    pub(super) renewing: Option<(MonoMs, Vec<crate::id::RunId>)>,
    last_answer: Option<UnixMs>,
    last_failure: Option<String>,
}

impl PeerState {
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
            let request = PeerRequest::Receipts { after: state.after };
            out.perform(Effect::AskPeer { peer, question: Question::Receipts, request });
        }
    }

    pub(super) fn on_answered(
        &mut self,
        now: Now,
        peer: Hotkey,
        question: Question,
        result: Result<PeerAnswer, String>,
        out: &mut Outcome,
    ) {
        let state = self.peers.entry(peer).or_default();
        let answer = match result {
            Ok(answer) => {
                state.last_answer = Some(now.unix);
                state.last_failure = None;
                Some(answer)
            }
            Err(reason) => {
                let reason = clip_detail(&reason);
                if state.last_failure.replace(reason.clone()).is_none() {
                    out.note(Note::PeerUnreachable { peer, reason });
                }
                None
            }
        };
        match (question, answer) {
            (Question::Acquire, Some(PeerAnswer::Acquired(grants))) => {
                self.on_acquired(now, peer, grants.unwrap_or_default(), out);
            }
            (Question::Acquire, None) => self.on_acquired(now, peer, Vec::new(), out),
            (Question::Renew, Some(PeerAnswer::Renewed(answers))) => {
                self.on_renewed(peer, &answers, out);
            }
            (Question::Renew, None) => self.on_renewed(peer, &[], out),
            (Question::Complete(run), Some(PeerAnswer::Completed(answer)))
            | (Question::Release(run), Some(PeerAnswer::Released(answer))) => {
                self.on_reported(now, run, Some(answer), out);
            }
            (Question::Complete(run) | Question::Release(run), None) => {
                self.on_reported(now, run, None, out);
            }
            (Question::Receipts, Some(PeerAnswer::Receipts(page))) => {
                if page.len() < RECEIPTS_PER_PAGE_MAX {
                    self.heard_all_receipts(peer);
                }
                self.on_receipts(now, peer, page, out);
            }
            (Question::Receipts, None) => self.on_receipts(now, peer, Vec::new(), out),
            (question, Some(_)) => {
                out.note(Note::UnexpectedAnswer { peer });
                // It ends the question all the same, or nothing would ever be asked there again.
                let reason = "it answered something else than what was asked".to_owned();
                self.on_answered(now, peer, question, Err(reason), out);
            }
        }
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
            self.settle_all(out);
        }
    }

    fn take_receipt(&mut self, peer: Hotkey, sequence: u64, receipt: Receipt, out: &mut Outcome) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if sequence <= state.after {
            return;
        }
        state.after = sequence;
        if receipt.evidence.coordinator != peer {
            let reason = "granted by someone else".to_owned();
            out.note(Note::ReceiptIgnored { coordinator: peer, reason });
            return;
        }
        if !self.submissions.contains_key(&receipt.evidence.submission) {
            self.drop_oldest_orphan(peer, out);
            self.orphans.push((peer, sequence, receipt));
            return;
        }
        self.adopt(receipt, out);
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
            let reason = "its submission is unknown here".to_owned();
            out.note(Note::ReceiptIgnored { coordinator: peer, reason });
        }
    }

    /// Tries receipts again whose submissions have become known.
    pub(super) fn adopt_orphans(&mut self, out: &mut Outcome) {
        let (known, unknown) =
            std::mem::take(&mut self.orphans).into_iter().partition::<Vec<_>, _>(
                |(_, _, receipt)| self.submissions.contains_key(&receipt.evidence.submission),
            );
        self.orphans = unknown;
        for (peer, _, receipt) in known {
            self.adopt(receipt, out);
            self.put_cursor(peer, out);
        }
    }

    fn adopt(&mut self, receipt: Receipt, out: &mut Outcome) {
        let evidence = &receipt.evidence;
        let key = (evidence.assignment, evidence.worker);
        if self.receipts.contains_key(&key) {
            return;
        }
        let Some(submission) = self.submissions.get(&evidence.submission) else { return };
        if let Err(rejected) = self.check_receipt(submission, &receipt) {
            let (coordinator, reason) = (evidence.coordinator, rejected.to_string());
            out.note(Note::ReceiptIgnored { coordinator, reason });
            return;
        }
        self.keep_receipt(ReceiptRow { sequence: None, receipt }, out);
    }

    /// Whether a receipt is for what this node derived for the submission.
    fn check_receipt(
        &self,
        submission: &Submission,
        receipt: &Receipt,
    ) -> Result<(), EvidenceRejected> {
        let genesis =
            self.view.as_ref().map(|view| view.genesis).ok_or(EvidenceRejected::OtherChain)?;
        let assignment = self.assignment_of(submission);
        let expected = Expected {
            genesis,
            netuid: self.config.netuid,
            assignment: &assignment,
            dataset: self.config.dataset,
        };
        check_evidence(&expected, &receipt.evidence)
    }

    pub(super) fn keep_receipt(&mut self, row: ReceiptRow, out: &mut Outcome) {
        let evidence = &row.receipt.evidence;
        let (submission, worker) = (evidence.submission, evidence.worker);
        out.note(Note::ReceiptAccepted { submission, worker });
        out.put(Row::Receipt(Box::new(row.clone())));
        self.receipts.insert((evidence.assignment, worker), row);
    }

    /// The stored cursor stays before the first orphan, so that a restart fetches it again.
    fn put_cursor(&mut self, peer: Hotkey, out: &mut Outcome) {
        let Some(state) = self.peers.get(&peer) else { return };
        let first_orphan =
            self.orphans.iter().filter(|(from, _, _)| *from == peer).map(|(_, n, _)| *n).min();
        let after = first_orphan.map_or(state.after, |first| first.saturating_sub(1));
        out.put(Row::Cursor(CursorRow { peer, after }));
    }

    /// Settles every admitted submission whose receipts allow it.
    pub(super) fn settle_all(&mut self, out: &mut Outcome) {
        let settled: Vec<(SubmissionId, Hotkey, Verdict)> = self
            .submissions
            .values()
            .filter(|submission| submission.state == SubmissionState::Admitted)
            .filter_map(|submission| {
                let (receipt, verdict) = self.settle_one(submission)?;
                Some((submission.id, receipt.evidence.worker, verdict))
            })
            .collect();
        for (id, worker, verdict) in settled {
            let Some(submission) = self.submissions.get_mut(&id) else { continue };
            submission.state = match verdict {
                Verdict::Scored { points } => {
                    out.note(Note::SubmissionScored { submission: id, points, worker });
                    SubmissionState::Scored { points }
                }
                Verdict::Failed { ending } => {
                    let reason = ending.to_string();
                    out.note(Note::SubmissionFailed { submission: id, reason, worker });
                    SubmissionState::Failed { ending }
                }
            };
            out.put(Row::Submission(submission.clone()));
        }
    }

    fn settle_one(&self, submission: &Submission) -> Option<(&Receipt, Verdict)> {
        let view = self.view.as_ref()?;
        let assignment = self.assignment_of(submission).id;
        let counting = self
            .receipts
            .values()
            .map(|row| &row.receipt)
            .filter(|receipt| receipt.evidence.assignment == assignment)
            .filter(|receipt| check_parties(view, &receipt.evidence).is_ok())
            .filter(|receipt| self.check_receipt(submission, receipt).is_ok());
        settle(&self.coordinators_of(submission), counting)
    }
}

//! Keeping the leases that this node holds: when each is renewed, and when its run has to stop.
//!
//! The machine says which leases it holds ([`crate::machine::Machine::leases_held`]). Whoever keeps
//! them, in the daemon a thread that waits for nothing else, asks this table what is due, tells it
//! the answers, and stops what has lapsed; the machine hears of both as events. So leases are
//! renewed, and runs stopped, while the machine waits for its disk.
//!
//! Not here: what a lease is (`lease`), what the machine does about one that is lost
//! (`machine/work`), and whoever asks and stops.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use crate::id::{Hotkey, RunId};
use crate::lease::{HeldStage, HoldAnswer, LeaseRefusal, Renewal};
use crate::limits::{
    LEASE_RENEW_EVERY_MS, LEASE_START_STOP_MS, LEASE_STOP_AFTER_MS, LEASE_TTL_MS,
    RENEWALS_PER_CALL_MAX, RENEW_AGAIN_MS, SEALED_POLL_MS,
};
use crate::machine::effect::PeerAddress;
use crate::machine::event::Event;
use crate::unit::MonoMs;

/// What a run gives up of its lease's total time: the coordinator's last renewals end with that,
/// and so may be shorter than a TTL.
const LEASE_END_MS: u64 = LEASE_TTL_MS - LEASE_STOP_AFTER_MS;

/// A lease to keep, as the machine knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The run that holds it.
    pub run: RunId,
    /// Who granted it.
    pub coordinator: Hotkey,
    /// Where that one is reached, if anybody knows.
    pub endpoint: Option<SocketAddr>,
    /// What is asked for, and how far the run is.
    pub renewal: Renewal,
    /// When the lease was asked for: it is held from then on.
    pub leased_at: MonoMs,
    /// How long it lasts, renewed or not.
    pub total_ms: u64,
    /// Whether its container may still use the device.
    pub holds_device: bool,
    /// Whether its result is sealed at the coordinator and waits to be shown: then renewals ask
    /// for that, more often.
    pub is_waiting: bool,
}

/// Why a run has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lapse {
    /// Its lease was not renewed for so long that it may be given away soon.
    Unrenewed,
    /// It did not start for so long that its lease may be given away soon, renewed or not.
    NotStarted,
}

impl fmt::Display for Lapse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unrenewed => "its lease could not be renewed in time",
            Self::NotStarted => "it did not start in time",
        })
    }
}

/// Renewals for one coordinator, to be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whom, where.
    pub peer: PeerAddress,
    /// What, at most [`RENEWALS_PER_CALL_MAX`].
    pub renewals: Vec<Renewal>,
}

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Renewals that were sent.
    pub sent: u64,
    /// Those of them that were granted.
    pub kept: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those that nobody answered.
    pub lost: u64,
    /// Runs that had to stop, because they lapsed.
    pub lapsed: u64,
    /// The longest that a run on a device was without a newer confirmation of its lease, up to the
    /// answer that brought one, or to its stop, milliseconds. [`LEASE_RENEW_EVERY_MS`] is the
    /// rhythm; what is above it is how late a renewal was, sending and answering together.
    pub unconfirmed_ms_max: u64,
}

#[derive(Clone, Debug)]
struct Lease {
    kept: Kept,
    /// When the newest renewal was sent that its coordinator granted.
    confirmed_at: MonoMs,
    renew_at: MonoMs,
    /// Lapsed, or refused: whatever comes now, its container has to end.
    is_over: bool,
}

impl Lease {
    fn new(kept: Kept) -> Self {
        let renew_at = kept.leased_at.plus_ms(LEASE_RENEW_EVERY_MS);
        Self { kept, confirmed_at: kept.leased_at, renew_at, is_over: false }
    }

    fn update(&mut self, now: MonoMs, kept: Kept) {
        if kept.is_waiting && !self.kept.is_waiting {
            self.renew_at = self.renew_at.min(now.plus_ms(SEALED_POLL_MS));
        }
        // The run ended with a result all the same: its coordinator decides what that is worth.
        if !kept.holds_device {
            self.is_over = false;
        }
        self.kept = kept;
    }

    fn lapse(&self, now: MonoMs) -> Option<Lapse> {
        if self.is_over || !self.kept.holds_device {
            return None;
        }
        let Kept { leased_at, total_ms, renewal, .. } = self.kept;
        let renewed_until = self.confirmed_at.plus_ms(LEASE_STOP_AFTER_MS);
        let ends_at = leased_at.plus_ms(total_ms.saturating_sub(LEASE_END_MS));
        if now >= renewed_until.min(ends_at) {
            return Some(Lapse::Unrenewed);
        }
        let is_preparing = renewal.stage == HeldStage::Preparing;
        let is_late = is_preparing && now >= leased_at.plus_ms(LEASE_START_STOP_MS);
        is_late.then_some(Lapse::NotStarted)
    }

    fn is_due(&self, now: MonoMs) -> bool {
        !self.is_over && now >= self.renew_at
    }
}

impl Figures {
    /// A lease had to wait until now for what comes next.
    fn waited(&mut self, now: MonoMs, lease: &Lease) {
        if lease.kept.holds_device {
            let waited_ms = now.since_ms(lease.confirmed_at);
            self.unconfirmed_ms_max = self.unconfirmed_ms_max.max(waited_ms);
        }
    }
}

#[derive(Clone, Debug)]
struct Asking {
    asked_at: MonoMs,
    runs: Vec<RunId>,
}

/// What a coordinator said that the machine does not know yet; of several answers for one run,
/// the last.
#[derive(Clone, Debug, Default)]
struct Heard {
    answers: BTreeMap<RunId, HoldAnswer>,
    /// Why the last question was not answered, if it was not.
    failure: Option<String>,
    has_answered: bool,
}

/// The table of leases held. Bounded by what the machine holds; what it has to tell is bounded by
/// the same, however long nobody listens.
#[derive(Clone, Debug, Default)]
pub struct Keeper {
    leases: BTreeMap<RunId, Lease>,
    asking: BTreeMap<Hotkey, Asking>,
    heard: BTreeMap<Hotkey, Heard>,
    lapsed: BTreeMap<RunId, Lapse>,
    figures: Figures,
}

impl Keeper {
    /// Takes the leases that the machine holds now, in place of those it held before.
    pub fn hold(&mut self, now: MonoMs, held: impl IntoIterator<Item = Kept>) {
        let mut before = std::mem::take(&mut self.leases);
        for kept in held {
            let lease = match before.remove(&kept.run) {
                Some(mut lease) => {
                    lease.update(now, kept);
                    lease
                }
                None => Lease::new(kept),
            };
            self.leases.insert(kept.run, lease);
        }
    }

    /// The dead man's switch: what has lapsed is over, and stays so. To be looked at before
    /// anything else is done, above all after the process stood still.
    pub fn trip(&mut self, now: MonoMs) {
        for (run, lease) in &mut self.leases {
            if let Some(lapse) = lease.lapse(now) {
                lease.is_over = true;
                self.lapsed.insert(*run, lapse);
                raise(&mut self.figures.lapsed, 1);
                self.figures.waited(now, lease);
            }
        }
    }

    /// Runs whose lease is over and whose container may still use the device: to be stopped, until
    /// the machine does not hold them any more.
    pub fn to_stop(&self) -> impl Iterator<Item = RunId> + '_ {
        self.leases.values().filter(|lease| lease.is_over).map(|lease| lease.kept.run)
    }

    /// Whether the lease of a run is over: nothing may start under it, and what ends now ends
    /// because of that.
    #[must_use]
    pub fn is_over(&self, run: RunId) -> bool {
        self.leases.get(&run).is_some_and(|lease| lease.is_over)
    }

    /// What has to be sent now. One question per coordinator at a time; it carries everything that
    /// is held there, most urgent first. Each has to be answered by [`Self::answered`].
    pub fn due(&mut self, now: MonoMs) -> Vec<Ask> {
        let due = self.leases.values().filter(|lease| lease.is_due(now));
        let coordinators: BTreeSet<Hotkey> = due
            .map(|lease| lease.kept.coordinator)
            .filter(|coordinator| !self.asking.contains_key(coordinator))
            .collect();
        coordinators.into_iter().filter_map(|coordinator| self.ask(now, coordinator)).collect()
    }

    fn ask(&mut self, now: MonoMs, coordinator: Hotkey) -> Option<Ask> {
        let is_of = |lease: &&Lease| lease.kept.coordinator == coordinator && !lease.is_over;
        let mut leases: Vec<&Lease> = self.leases.values().filter(is_of).collect();
        leases.sort_by_key(|lease| lease.renew_at);
        leases.truncate(RENEWALS_PER_CALL_MAX);
        // The machine knows one address per coordinator.
        let endpoint = leases.iter().find_map(|lease| lease.kept.endpoint)?;
        let runs: Vec<RunId> = leases.iter().map(|lease| lease.kept.run).collect();
        let renewals: Vec<Renewal> = leases.iter().map(|lease| lease.kept.renewal).collect();
        raise(&mut self.figures.sent, count(&renewals));
        self.asking.insert(coordinator, Asking { asked_at: now, runs });
        Some(Ask { peer: PeerAddress { hotkey: coordinator, endpoint }, renewals })
    }

    /// The question to a coordinator ended.
    ///
    /// - `result`: one answer per renewal, in order; or why there is none.
    pub fn answered(
        &mut self,
        now: MonoMs,
        coordinator: Hotkey,
        result: Result<Vec<HoldAnswer>, String>,
    ) {
        let Some(Asking { asked_at, runs }) = self.asking.remove(&coordinator) else { return };
        let heard = self.heard.entry(coordinator).or_default();
        let answers = match result {
            Ok(answers) => {
                heard.has_answered = true;
                heard.failure = None;
                answers
            }
            Err(reason) => {
                heard.failure = Some(reason);
                Vec::new()
            }
        };
        raise(&mut self.figures.lost, count(&runs).saturating_sub(count(&answers)));
        for run in runs.iter().skip(answers.len()) {
            if let Some(lease) = self.leases.get_mut(run) {
                lease.renew_at = now.plus_ms(RENEW_AGAIN_MS);
            }
        }
        for (run, answer) in runs.into_iter().zip(answers) {
            self.held(now, asked_at, run, &answer);
            if let Some(heard) = self.heard.get_mut(&coordinator) {
                heard.answers.insert(run, answer);
            }
        }
    }

    /// An answer counts from when its question was sent, however late it comes.
    fn held(&mut self, now: MonoMs, asked_at: MonoMs, run: RunId, answer: &HoldAnswer) {
        let is_kept = !matches!(answer, HoldAnswer::Refused(_));
        raise(&mut self.figures.kept, u64::from(is_kept));
        raise(&mut self.figures.refused, u64::from(!is_kept));
        let Some(lease) = self.leases.get_mut(&run) else { return };
        match answer {
            HoldAnswer::Kept | HoldAnswer::Reveal(_) => {
                self.figures.waited(now, lease);
                lease.confirmed_at = lease.confirmed_at.max(asked_at);
                lease.renew_at = if lease.kept.is_waiting {
                    now.plus_ms(SEALED_POLL_MS)
                } else {
                    asked_at.plus_ms(LEASE_RENEW_EVERY_MS)
                };
            }
            HoldAnswer::Refused(LeaseRefusal::NotReady) => {
                lease.renew_at = now.plus_ms(RENEW_AGAIN_MS);
            }
            HoldAnswer::Refused(_) => {
                lease.renew_at = asked_at.plus_ms(LEASE_RENEW_EVERY_MS);
                lease.is_over = lease.kept.holds_device;
            }
        }
    }

    /// What the machine has to be told, once: first what lapsed, then what coordinators said.
    pub fn take_news(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (run, lapse) in std::mem::take(&mut self.lapsed) {
            events.push(Event::LeaseLapsed { run, lapse });
        }
        for (peer, heard) in std::mem::take(&mut self.heard) {
            if heard.has_answered {
                let result = Ok(heard.answers.into_iter().collect());
                events.push(Event::RenewalEnded { peer, result });
            }
            if let Some(reason) = heard.failure {
                events.push(Event::RenewalEnded { peer, result: Err(reason) });
            }
        }
        events
    }

    /// Whether there is something to tell.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.lapsed.is_empty() || !self.heard.is_empty()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// How long ago the renewal was sent by which the most endangered run still has its device;
    /// zero if there is none.
    #[must_use]
    pub fn oldest_confirmed_ms(&self, now: MonoMs) -> u64 {
        let running = self.leases.values().filter(|lease| lease.kept.holds_device);
        running.map(|lease| now.since_ms(lease.confirmed_at)).max().unwrap_or(0)
    }
}

fn raise(figure: &mut u64, by: u64) {
    *figure = figure.saturating_add(by);
}

fn count<T>(items: &[T]) -> u64 {
    u64::try_from(items.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{AssignmentId, Attempt, LeaseId};
    use crate::lease::HeldLease;

    const COORDINATOR: Hotkey = Hotkey([1; 32]);
    const OTHER: Hotkey = Hotkey([2; 32]);

    fn run(number: u8) -> RunId {
        RunId([number; 32])
    }

    fn kept(number: u8, coordinator: Hotkey) -> Kept {
        let held = HeldLease {
            assignment: AssignmentId([number; 32]),
            lease: LeaseId([number; 32]),
            attempt: Attempt(1),
        };
        Kept {
            run: run(number),
            coordinator,
            endpoint: Some(([127, 0, 0, 1], 9_000).into()),
            renewal: Renewal { held, stage: HeldStage::Running },
            leased_at: MonoMs(0),
            total_ms: 60 * 60 * 1000,
            holds_device: true,
            is_waiting: false,
        }
    }

    fn keeping(held: &[Kept]) -> Keeper {
        let mut keeper = Keeper::default();
        keeper.hold(MonoMs(0), held.iter().copied());
        keeper
    }

    fn stopped(keeper: &mut Keeper, at_ms: u64) -> Vec<RunId> {
        keeper.trip(MonoMs(at_ms));
        keeper.to_stop().collect()
    }

    #[test]
    fn leases_of_one_coordinator_are_renewed_together_every_third_of_a_ttl() {
        let mut keeper = keeping(&[kept(1, COORDINATOR), kept(2, COORDINATOR), kept(3, OTHER)]);
        assert_eq!(keeper.due(MonoMs(LEASE_RENEW_EVERY_MS - 1)), []);
        let mut at_ms = LEASE_RENEW_EVERY_MS;
        for _ in 0..5 {
            let asks = keeper.due(MonoMs(at_ms));
            let batches: Vec<_> = asks.iter().map(|a| (a.peer.hotkey, a.renewals.len())).collect();
            assert_eq!(batches, [(COORDINATOR, 2), (OTHER, 1)]);
            assert_eq!(keeper.due(MonoMs(at_ms)), [], "one question at a time");
            for ask in asks {
                let kept = vec![HoldAnswer::Kept; ask.renewals.len()];
                keeper.answered(MonoMs(at_ms + 5), ask.peer.hotkey, Ok(kept));
            }
            at_ms += LEASE_RENEW_EVERY_MS;
        }
        assert_eq!(stopped(&mut keeper, at_ms), []);
        // The rhythm, and what the answers took.
        let unconfirmed_ms_max = LEASE_RENEW_EVERY_MS + 5;
        let figures = Figures { sent: 15, kept: 15, unconfirmed_ms_max, ..Figures::default() };
        assert_eq!(keeper.figures(), figures);
    }

    #[test]
    fn a_lease_that_nobody_renews_lapses_at_four_fifths_of_its_ttl_and_not_before() {
        let mut keeper = keeping(&[kept(1, COORDINATOR)]);
        assert_eq!(stopped(&mut keeper, LEASE_STOP_AFTER_MS - 1), []);
        assert_eq!(stopped(&mut keeper, LEASE_STOP_AFTER_MS), [run(1)]);
        assert_eq!(stopped(&mut keeper, LEASE_STOP_AFTER_MS + 1), [run(1)], "until it is gone");
        let lapsed = Event::LeaseLapsed { run: run(1), lapse: Lapse::Unrenewed };
        assert_eq!(keeper.take_news(), [lapsed], "told once");
        assert_eq!(keeper.figures().lapsed, 1);
        assert_eq!(keeper.figures().unconfirmed_ms_max, LEASE_STOP_AFTER_MS);
    }

    #[test]
    fn a_renewal_that_is_answered_late_counts_from_when_it_was_sent() {
        let mut keeper = keeping(&[kept(1, COORDINATOR)]);
        let sent_ms = LEASE_RENEW_EVERY_MS;
        assert_eq!(keeper.due(MonoMs(sent_ms)).len(), 1);
        keeper.answered(MonoMs(sent_ms + 9_000), COORDINATOR, Ok(vec![HoldAnswer::Kept]));
        assert_eq!(keeper.oldest_confirmed_ms(MonoMs(sent_ms + 9_000)), 9_000);
        assert_eq!(keeper.figures().unconfirmed_ms_max, sent_ms + 9_000);
        assert_eq!(stopped(&mut keeper, sent_ms + LEASE_STOP_AFTER_MS - 1), []);
        assert_eq!(stopped(&mut keeper, sent_ms + LEASE_STOP_AFTER_MS), [run(1)]);
    }

    #[test]
    fn an_answer_after_the_switch_revives_nothing() {
        let mut keeper = keeping(&[kept(1, COORDINATOR)]);
        assert_eq!(keeper.due(MonoMs(LEASE_STOP_AFTER_MS - 1)).len(), 1);
        assert_eq!(stopped(&mut keeper, LEASE_STOP_AFTER_MS), [run(1)]);
        let answer = Ok(vec![HoldAnswer::Kept]);
        keeper.answered(MonoMs(LEASE_STOP_AFTER_MS + 1), COORDINATOR, answer);
        assert!(keeper.is_over(run(1)));
        assert_eq!(keeper.due(MonoMs(u64::MAX)), []);
    }

    #[test]
    fn what_was_not_answered_is_asked_again_before_the_switch() {
        let mut keeper = keeping(&[kept(1, COORDINATOR)]);
        let mut at_ms = LEASE_RENEW_EVERY_MS;
        let mut tries = 0;
        while at_ms < LEASE_STOP_AFTER_MS {
            assert_eq!(keeper.due(MonoMs(at_ms)).len(), 1, "at {at_ms}");
            at_ms += crate::limits::PEER_CALL_MS_MAX;
            keeper.answered(MonoMs(at_ms), COORDINATOR, Err("silence".to_owned()));
            assert_eq!(keeper.due(MonoMs(at_ms)), [], "not at once");
            at_ms += RENEW_AGAIN_MS;
            tries += 1;
        }
        assert_eq!(tries, 3);
        assert_eq!(keeper.figures().lost, 3);
    }

    #[test]
    fn a_refused_lease_is_over_at_once_unless_its_coordinator_is_only_not_ready() {
        for (refusal, is_over) in [(LeaseRefusal::NotReady, false), (LeaseRefusal::NotHolder, true)]
        {
            let mut keeper = keeping(&[kept(1, COORDINATOR)]);
            let now = MonoMs(LEASE_RENEW_EVERY_MS);
            assert_eq!(keeper.due(now).len(), 1);
            keeper.answered(now, COORDINATOR, Ok(vec![HoldAnswer::Refused(refusal)]));
            assert_eq!(keeper.is_over(run(1)), is_over, "{refusal}");
            assert_eq!(keeper.to_stop().count(), usize::from(is_over), "{refusal}");
        }
    }

    #[test]
    fn a_run_that_does_not_start_lapses_though_its_lease_is_renewed() {
        let mut lease = kept(1, COORDINATOR);
        lease.renewal.stage = HeldStage::Preparing;
        let mut keeper = keeping(&[lease]);
        let mut at_ms = 0;
        while at_ms + LEASE_RENEW_EVERY_MS < LEASE_START_STOP_MS {
            at_ms += LEASE_RENEW_EVERY_MS;
            assert_eq!(keeper.due(MonoMs(at_ms)).len(), 1);
            keeper.answered(MonoMs(at_ms), COORDINATOR, Ok(vec![HoldAnswer::Kept]));
        }
        assert_eq!(stopped(&mut keeper, LEASE_START_STOP_MS - 1), []);
        assert_eq!(stopped(&mut keeper, LEASE_START_STOP_MS), [run(1)]);
    }

    #[test]
    fn a_result_that_waits_is_asked_for_more_often_and_never_lapses() {
        let mut lease = kept(1, COORDINATOR);
        let mut keeper = keeping(&[lease]);
        (lease.holds_device, lease.is_waiting) = (false, true);
        keeper.hold(MonoMs(1_000), [lease]);
        assert_eq!(keeper.due(MonoMs(1_000 + SEALED_POLL_MS)).len(), 1);
        let now = MonoMs(5_000);
        keeper.answered(now, COORDINATOR, Ok(vec![HoldAnswer::Reveal(Vec::new())]));
        assert_eq!(keeper.due(now.plus_ms(SEALED_POLL_MS)).len(), 1);
        assert_eq!(stopped(&mut keeper, LEASE_TTL_MS * 10), []);
    }

    #[test]
    fn a_result_that_came_in_spite_of_the_switch_is_renewed_again() {
        let mut lease = kept(1, COORDINATOR);
        let mut keeper = keeping(&[lease]);
        assert_eq!(stopped(&mut keeper, LEASE_STOP_AFTER_MS), [run(1)]);
        lease.holds_device = false;
        keeper.hold(MonoMs(LEASE_STOP_AFTER_MS), [lease]);
        assert_eq!(keeper.due(MonoMs(LEASE_STOP_AFTER_MS)).len(), 1);
    }

    #[test]
    fn nobody_listening_for_long_leaves_one_answer_per_run_and_the_last_failure() {
        let mut keeper = keeping(&[kept(1, COORDINATOR), kept(2, COORDINATOR)]);
        for round in 1..=100 {
            let now = MonoMs(round * LEASE_RENEW_EVERY_MS);
            assert_eq!(keeper.due(now).len(), 1);
            let kept = vec![HoldAnswer::Kept, HoldAnswer::Refused(LeaseRefusal::NotReady)];
            keeper.answered(now, COORDINATOR, Ok(kept));
        }
        keeper.due(MonoMs(101 * LEASE_RENEW_EVERY_MS));
        let silence = "silence".to_owned();
        keeper.answered(MonoMs(u64::MAX), COORDINATOR, Err(silence.clone()));
        let news = keeper.take_news();
        let [Event::RenewalEnded { result: Ok(answers), .. }, last] = &news[..] else {
            panic!("{news:?}")
        };
        assert_eq!(answers.len(), 2);
        assert_eq!(*last, Event::RenewalEnded { peer: COORDINATOR, result: Err(silence) });
        assert!(!keeper.has_news());
    }

    #[test]
    fn more_leases_than_fit_one_call_go_out_in_turn() {
        let lease = |number: usize| {
            let mut lease = kept(1, COORDINATOR);
            lease.run.0[..8].copy_from_slice(&(number as u64).to_be_bytes());
            lease
        };
        let held: Vec<Kept> = (0..RENEWALS_PER_CALL_MAX + 1).map(lease).collect();
        let mut keeper = keeping(&held);
        let now = MonoMs(LEASE_RENEW_EVERY_MS);
        for wanted in [RENEWALS_PER_CALL_MAX, RENEWALS_PER_CALL_MAX] {
            let asks = keeper.due(now);
            assert_eq!(asks[0].renewals.len(), wanted);
            keeper.answered(now, COORDINATOR, Ok(vec![HoldAnswer::Kept; wanted]));
        }
        assert_eq!(keeper.due(now), [], "all are renewed");
    }

    #[test]
    fn a_coordinator_without_an_address_is_not_asked() {
        let mut lease = kept(1, COORDINATOR);
        lease.endpoint = None;
        let mut keeper = keeping(&[lease]);
        assert_eq!(keeper.due(MonoMs(LEASE_RENEW_EVERY_MS)), []);
        assert_eq!(stopped(&mut keeper, LEASE_STOP_AFTER_MS), [run(1)]);
    }
}

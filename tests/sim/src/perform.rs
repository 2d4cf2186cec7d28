//! What effects do in this world: what the daemon's adapters would do, with delays and faults.

use std::rc::Rc;

use node_core::assignment::coordinators;
use node_core::evidence::Metrics;
use node_core::id::{Hotkey, LeaseId, RunId, Salt, SubmissionId};
use node_core::lease::{HoldAnswer, LeaseAnswer, LeaseRefusal, PeerAnswer, PeerRequest, Seal};
use node_core::machine::effect::{Effect, RunSpec};
use node_core::machine::event::{CallId, Event, Question};
use node_core::machine::Machine;
use node_core::outcome::Ending;
use node_history::Violation;

use crate::fault::Fault;
use crate::happening::{Asked, Happening};
use crate::host::Container;
use crate::invariants::{Breach, Sight, NOTHING_HALTS};
use crate::plan::{Broken, Character};
use crate::world::{miner, validator, World};

const FETCH_MS: u64 = 200;
const ADMIT_MS: u64 = 500;
const SIGN_MS: u64 = 50;
const START_MS: u64 = 400;
const STOP_MS: u64 = 300;
const REFUSED_MS: u64 = 10;

/// Copiers have one, so that [`Broken::CopiesUnmarked`] can tell what they will have fixed.
pub(crate) const SALT_OF_COPIERS: Salt = Salt([0xc0; 32]);

/// How long it takes to invent a result.
const COPY_MS: u64 = 500;

/// How long a coordinator waits for somebody to show it a result, beyond two runs.
const PEEK_MS: u64 = 30_000;

impl World {
    pub(crate) fn perform(&mut self, node: usize, effect: Effect) -> Result<(), Box<Violation>> {
        match effect {
            Effect::FetchContent { submission, .. } => {
                let fails = self.rng.happens(self.faults.rate(Fault::FetchFails), 1_000);
                let result = if fails { Err("nobody has it".to_owned()) } else { Ok(()) };
                self.report_back(node, FETCH_MS, Event::ContentFetched { submission, result });
            }
            Effect::Admit { submission, .. } => self.admit(node, submission),
            // No node here has a model to ask.
            Effect::Review { .. } => {}
            Effect::Answer { call, answer } => self.answer(node, call, answer)?,
            // Nobody opens anything again here: what is exhausted is not demanded.
            Effect::AnswerOperator { .. } => {}
            Effect::ReadDevice { device, run } => self.read_gpu(node, device, run),
            Effect::ProbeDevice { device } => self.probe_gpu(node, &device),
            Effect::AskPeer { peer, question, request } => {
                self.ask(node, &peer.hotkey, Some(question), request);
            }
            Effect::StartRun(spec) => {
                let (run, life) = (spec.run, self.hosts[node].life);
                let submission = spec.assignment.submission;
                let is_own = self.is_own_lease(node, spec.lease);
                let container = Container { spec: *spec, life, has_ended: false, is_killed: false };
                self.hosts[node].containers.insert(run, container);
                if !self.rng.happens(self.faults.rate(Fault::RunHangs), 1_000) {
                    let (ending, run_ms) = self.course_of_run(node, submission, is_own);
                    self.report_back(node, START_MS, Event::RunStarted { run });
                    let exited = Happening::ContainerExited { node, run, ending };
                    self.after(START_MS + run_ms, exited);
                }
            }
            Effect::StopRun { run, ending } => {
                let ending = Some(ending);
                self.after(STOP_MS, Happening::ContainerExited { node, run, ending });
            }
            // Never asked for: `admit` gives no sketches, so nothing is near anything. With some,
            // each seed would have another history; the tests of core have crashes during it.
            Effect::RecallSketches { content, .. } => {
                let recalled = Event::SketchesRecalled { content, found: Vec::new() };
                self.report_back(node, ADMIT_MS, recalled);
            }
            // Miners offer theirs for ever here.
            Effect::DropContent { .. } => {}
            Effect::RemoveLeftover { run } => {
                self.hosts[node].containers.remove(&run);
            }
            Effect::SignSeal { run, evidence } => {
                let signature = self.keys.sign(&evidence.worker, &Seal::message_for(&evidence));
                self.report_back(node, SIGN_MS, Event::SealSigned { run, evidence, signature });
            }
            Effect::SignReceipt { run, mut evidence } => {
                if self.plan.broken == Some(Broken::CopiesUnmarked) {
                    let by = self.node_of(&evidence.coordinator).map(|node| &self.hosts[node]);
                    if by.is_some_and(|host| host.character == Character::Copier) {
                        crate::broken::unmark(&mut evidence);
                    }
                }
                let receipt = Box::new(self.keys.sign_receipt(*evidence));
                self.report_back(node, SIGN_MS, Event::ReceiptSigned { run, receipt });
            }
            // Weights are off: vectors have a simulator of their own.
            Effect::SignWeights(_) | Effect::TraceWeights { .. } | Effect::SendWeights { .. } => {}
            Effect::Halt(halt) => {
                let breach = Breach { detail: format!("{halt:?}"), nodes: vec![node] };
                return Err(self.violation(NOTHING_HALTS, breach));
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        node: usize,
        peer: &Hotkey,
        question: Option<Question>,
        request: PeerRequest,
    ) {
        let Some(to) = self.node_of(peer) else { return };
        let (id, life) = (self.network.next_question(), self.hosts[node].life);
        self.send(Asked { id, from: node, life, to, question, request });
    }

    /// Sends the renewals that are due, as the daemon's thread for them does.
    pub(crate) fn renew_leases(&mut self, node: usize, life: u32) {
        let host = &mut self.hosts[node];
        if host.life != life || !host.is_up() {
            return;
        }
        let now = host.now(self.now_ms).mono;
        for ask in host.keeper.due(now) {
            self.ask(node, &ask.peer.hotkey, None, PeerRequest::Renew(ask.renewals));
        }
    }

    /// The dead man's switch of a node whose loop hangs, as the daemon's thread has it.
    pub(crate) fn kill_lapsed(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let now = host.now(self.now_ms).mono;
        host.keeper.trip(now);
        if self.plan.broken == Some(Broken::SwitchOff) {
            return;
        }
        for run in host.keeper.to_stop().collect::<Vec<RunId>>() {
            let host = &mut self.hosts[node];
            let Some(container) = host.containers.get_mut(&run) else { continue };
            if !container.has_ended && !std::mem::replace(&mut container.is_killed, true) {
                self.ledger.counts.killed += 1;
                let ending = Some(Ending::LeaseLost);
                self.after(STOP_MS, Happening::ContainerExited { node, run, ending });
            }
        }
    }

    pub(crate) fn report_back(&mut self, node: usize, after_ms: u64, event: Event) {
        let life = self.hosts[node].life;
        self.after(after_ms, Happening::Reported { node, life, event: Box::new(event) });
    }

    fn admit(&mut self, node: usize, submission: SubmissionId) {
        let Some(index) = self.submissions.get(&submission) else { return };
        let verdict = self.works[*index].verdict();
        self.report_back(
            node,
            ADMIT_MS,
            Event::AdmissionEnded { submission, verdict, sketch: None },
        );
    }

    /// How a run will end if nobody stops it, and after how long.
    ///
    /// - `is_own`: whether the node granted itself the lease.
    fn course_of_run(
        &mut self,
        node: usize,
        submission: SubmissionId,
        is_own: bool,
    ) -> (Option<Ending>, u64) {
        let run_ms = self.submissions.get(&submission).map_or(0, |index| self.works[*index].run_ms);
        if self.rng.happens(self.faults.rate(Fault::RunFails), 1_000) {
            let detail = "no space left on device".to_owned();
            return (Some(Ending::EngineFailed { detail }), self.rng.below(run_ms));
        }
        match self.hosts[node].character {
            Character::Honest | Character::Liar => (None, run_ms + self.rng.below(run_ms / 10 + 1)),
            // Who coordinates lets others run first: their results are shown to it.
            Character::Copier if is_own => (None, 2 * run_ms + PEEK_MS),
            Character::Copier => (None, COPY_MS),
        }
    }

    /// A container ends. One that an earlier life started stays there until it is removed.
    pub(crate) fn exit(
        &mut self,
        node: usize,
        run: RunId,
        ending: Option<Ending>,
    ) -> Result<(), Box<Violation>> {
        let host = &mut self.hosts[node];
        let life = host.life;
        let is_minded = host.is_up() && host.containers.get(&run).is_some_and(|c| c.life == life);
        if !is_minded {
            return Ok(());
        }
        let Some(container) = host.containers.remove(&run) else { return Ok(()) };
        for device in &container.spec.devices {
            self.hold_memory(node, &device.id);
        }
        let host = &self.hosts[node];
        let ended_at = host.now(self.now_ms).unix;
        let (ending, metrics) = match ending {
            Some(ending) => (ending, None),
            None => self.result_of(node, &container.spec),
        };
        // Nobody in this world guesses; who copies need not hide it.
        let salt = match self.hosts[node].character {
            Character::Copier => SALT_OF_COPIERS,
            Character::Honest | Character::Liar => Salt(run.0),
        };
        self.deliver(node, life, Event::RunEnded { run, ending, metrics, ended_at, salt }, None)
    }

    /// What the host of `node` says that it measured.
    fn result_of(&mut self, node: usize, spec: &RunSpec) -> (Ending, Option<Metrics>) {
        let submission = spec.assignment.submission;
        let Some(index) = self.submissions.get(&submission) else {
            return (Ending::DatasetMissing, None);
        };
        let work = &self.works[*index];
        match self.hosts[node].character {
            Character::Honest => work.honest(node),
            Character::Liar => work.lie(node),
            Character::Copier => {
                let copied = self.copied(node, submission);
                // What somebody has decided from others' results is for everybody to see.
                let Some((of, ending, metrics)) = copied else { return work.lie(node) };
                if !self.ledger.decided.contains(&submission) {
                    let is_own = self.is_own_lease(node, spec.lease);
                    self.ledger.counts.copies += 1;
                    self.ledger.counts.copies_for_others += u64::from(!is_own);
                    self.ledger.copied.entry((submission, validator(node))).or_insert(of);
                }
                (ending, metrics)
            }
        }
    }

    fn is_own_lease(&self, node: usize, lease: LeaseId) -> bool {
        self.ledger.grants.get(&lease).is_some_and(|granted| granted.coordinator == node)
    }

    /// The result of somebody else, if this node has it by now, and whose it is.
    fn copied(
        &self,
        node: usize,
        submission: SubmissionId,
    ) -> Option<(Hotkey, Ending, Option<Metrics>)> {
        let own = validator(node);
        let machine = self.hosts[node].machine.as_ref()?;
        let mut known = machine.receipts().map(|row| &row.receipt.evidence);
        let other = known.find(|e| e.submission == submission && e.worker != own)?;
        Some((other.worker, other.ending.clone(), other.metrics.clone()))
    }

    /// A request reaches a host: past the door, then to the machine.
    pub(crate) fn receive(&mut self, asked: &Rc<Asked>) -> Result<(), Box<Violation>> {
        let to = asked.to;
        let Some(machine) = &self.hosts[to].machine else {
            let (asked, result) = (Rc::clone(asked), Err("connection refused"));
            self.after(REFUSED_MS, Happening::QuestionEnded { asked, result });
            return Ok(());
        };
        let (mut peer, mut request) = (validator(asked.from), asked.request.clone());
        if let Some(answer) = self.refused_at_the_door(machine, &request) {
            self.send_back(asked, answer);
            return Ok(());
        }
        if self.plan.broken == Some(Broken::FencingOff) {
            let worker = self.hosts[asked.from].machine.as_ref();
            crate::broken::unfence(machine, worker, &mut peer, &mut request);
        }
        let life = self.hosts[to].life;
        let call = CallId(self.network.open_call(Rc::clone(asked)));
        self.deliver(to, life, Event::PeerAsked { call, peer, request }, Some(asked))
    }

    fn answer(
        &mut self,
        node: usize,
        call: CallId,
        answer: PeerAnswer,
    ) -> Result<(), Box<Violation>> {
        let Some(asked) = self.network.close_call(call.0) else { return Ok(()) };
        let answer = match self.hosts[node].character {
            Character::Copier => self.peek(node, &asked, answer),
            Character::Honest | Character::Liar => answer,
        };
        self.look(&Sight::Answering { node, asked: &asked, answer: &answer })?;
        if let PeerAnswer::Acquired(Ok(grants)) = &answer {
            for grant in grants {
                self.count_takeover(node, grant.assignment.submission);
            }
        }
        self.send_back(&asked, answer);
        Ok(())
    }

    /// What a coordinator that copies makes of an answer: it has every sealed result shown to it at
    /// once, and proves that by the seals that it has.
    fn peek(&mut self, node: usize, asked: &Asked, answer: PeerAnswer) -> PeerAnswer {
        let Some(machine) = &self.hosts[node].machine else { return answer };
        let sealed = || machine.leases().filter_map(|record| Some((record.row(), record.seal()?)));
        let mut peeks = 0;
        let mut peek = |lease: LeaseId, answer: HoldAnswer| {
            let of = sealed().find(|(_, seal)| seal.held.lease == lease);
            match (of.map(|(row, _)| row.assignment.submission), answer) {
                (Some(of), HoldAnswer::Kept) => {
                    peeks += 1;
                    let all = sealed().filter(|(row, _)| row.assignment.submission == of);
                    HoldAnswer::Reveal(all.map(|(_, seal)| *seal).collect())
                }
                (_, answer) => answer,
            }
        };
        let answer = match (&asked.request, answer) {
            (PeerRequest::Seal(seal), PeerAnswer::Sealed(answer)) => {
                PeerAnswer::Sealed(peek(seal.held.lease, answer))
            }
            (PeerRequest::Renew(items), PeerAnswer::Renewed(answers)) => {
                let each = items.iter().zip(answers);
                let each = each.map(|(item, answer)| peek(item.held.lease, answer));
                PeerAnswer::Renewed(each.collect())
            }
            (_, answer) => answer,
        };
        self.ledger.counts.peeks += peeks;
        answer
    }

    /// Whether somebody ranks before the node that just granted a lease.
    fn count_takeover(&mut self, node: usize, submission: SubmissionId) {
        let view = self.hosts[node].machine.as_ref().and_then(Machine::view);
        let index = self.submissions.get(&submission);
        let (Some(view), Some(index)) = (view, index) else { return };
        let ranked = coordinators(view, &miner(*index), &self.works[*index].content);
        let is_first = ranked.first() == Some(&validator(node));
        self.ledger.counts.takeovers += u64::from(!is_first);
    }

    fn send_back(&mut self, asked: &Rc<Asked>, answer: PeerAnswer) {
        let [first, _] = self.network.arrivals(&mut self.rng, &self.faults, (asked.to, asked.from));
        if let Some(delay) = first {
            let (asked, result) = (Rc::clone(asked), Ok(Box::new(answer)));
            self.after(delay, Happening::QuestionEnded { asked, result });
        }
    }

    /// A question ends for whoever asked it: once, and only if its process still lives.
    pub(crate) fn hear(
        &mut self,
        asked: &Rc<Asked>,
        result: Result<Box<PeerAnswer>, &'static str>,
    ) -> Result<(), Box<Violation>> {
        let host = &self.hosts[asked.from];
        let is_there = host.is_up() && host.life == asked.life;
        if !self.network.end(asked.id) || !is_there {
            return Ok(());
        }
        // An answer to the keeper itself is for it to judge. Any other one is given to the machine
        // after what the keeper had to tell by then, and only then has it reached its worker.
        if asked.question.is_some() {
            self.tell_news(asked.from, asked.life)?;
            let host = &self.hosts[asked.from];
            if !host.is_up() || host.life != asked.life {
                return Ok(());
            }
        }
        let result = match result {
            Ok(answer) => {
                self.look(&Sight::Delivered { asked, answer: &answer })?;
                Ok(self.past_the_door(asked.from, *answer))
            }
            Err(reason) => Err(reason.to_owned()),
        };
        let peer = validator(asked.to);
        let Some(question) = asked.question else {
            let result = result.and_then(|answer| match answer {
                PeerAnswer::Renewed(answers) => Ok(answers),
                other => Err(format!("{other:?} is no answer to renewals")),
            });
            let host = &mut self.hosts[asked.from];
            let now = host.now(self.now_ms).mono;
            host.keeper.answered(now, peer, result);
            return self.tell_news(asked.from, asked.life);
        };
        let event = Event::PeerAnswered { peer, question, result };
        self.deliver(asked.from, asked.life, event, None)
    }

    /// What a node's server says to what is not signed by whom it names; its machine never sees it.
    fn refused_at_the_door(&self, machine: &Machine, request: &PeerRequest) -> Option<PeerAnswer> {
        let refusal = LeaseRefusal::BadSignature;
        match request {
            PeerRequest::Complete(receipt) if !self.keys.is_signed_by_worker(receipt) => {
                Some(PeerAnswer::Completed(LeaseAnswer::Refused(refusal)))
            }
            PeerRequest::Seal(seal) => {
                let is_signed = machine.view().is_none_or(|v| self.keys.is_seal_signed(v, seal));
                (!is_signed).then_some(PeerAnswer::Sealed(HoldAnswer::Refused(refusal)))
            }
            _ => None,
        }
    }

    /// What a node's client leaves of an answer: nothing that is not signed by whom it names.
    fn past_the_door(&self, node: usize, answer: PeerAnswer) -> PeerAnswer {
        let view = self.hosts[node].machine.as_ref().and_then(|machine| machine.view());
        let sift = |answer: HoldAnswer| match (answer, view) {
            (HoldAnswer::Reveal(mut seals), Some(view)) => {
                seals.retain(|seal| self.keys.is_seal_signed(view, seal));
                HoldAnswer::Reveal(seals)
            }
            (other, _) => other,
        };
        match answer {
            PeerAnswer::Receipts(mut page) => {
                page.retain(|(_, receipt)| self.keys.is_signed_by_worker(receipt));
                PeerAnswer::Receipts(page)
            }
            PeerAnswer::Renewed(answers) => {
                PeerAnswer::Renewed(answers.into_iter().map(sift).collect())
            }
            PeerAnswer::Sealed(answer) => PeerAnswer::Sealed(sift(answer)),
            other => other,
        }
    }
}

//! How this world performs effects: what the daemon's adapters would do, with delays and faults.

use super::chain::{SetWeights, SPEC_VERSION};
use super::host::{gpu_id, Gpu};
use super::world::{validator, Asked, Fate, Happening, World};
use crate::admission::Verdict;
use crate::evidence::Receipt;
use crate::health::observation::Observation;
use crate::id::{sha256, ContentDigest, Hotkey, Signature, SubmissionId};
use crate::inventory::DeviceId;
use crate::lease::{PeerAnswer, PeerRequest};
use crate::limits::PEER_CALL_MS_MAX;
use crate::machine::effect::{Effect, WeightsToSign};
use crate::machine::event::{CallId, Event, Question};
use crate::rows::{Carries, SignedExtrinsic};
use crate::unit::BlockCount;

const FETCH_MS: u64 = 200;
const ADMIT_MS: u64 = 500;
const REVIEW_MS: u64 = 500;
const RECALL_MS: u64 = 30;
pub(super) const SIGN_MS: u64 = 50;
const START_MS: u64 = 400;
const STOP_MS: u64 = 300;
const LATENCY_MS: u64 = 20;
const PROBE_MS: u64 = 900;

/// Every how many milliseconds the sensors of GPUs are read.
const READ_EVERY_MS: u64 = 5_000;

impl World {
    pub(super) fn perform(&mut self, node: usize, effect: Effect) {
        match effect {
            Effect::FetchContent { submission, content, .. } => {
                self.fetch(node, submission, content);
            }
            Effect::DropContent { content } => self.dropped.push((node, content)),
            Effect::Admit { submission, content } => self.admit(node, submission, content),
            Effect::RecallSketches { submission, content, of } => {
                self.recall_sketches(node, submission, content, &of);
            }
            Effect::Review { content } => self.review(node, content),
            Effect::Answer { call, answer } => self.send_answer(node, call, answer),
            Effect::AskPeer { peer, question, request } => {
                self.send_question(node, peer.hotkey, Some(question), request);
            }
            Effect::StartRun(spec) => {
                let (run, life) = (spec.run, self.hosts[node].life);
                let wanted = self.hosts[node].config.policy.run.device_count;
                assert_eq!(spec.devices.len(), usize::from(wanted), "all devices or none");
                for device in &spec.devices {
                    self.check_usable(node, &device.id);
                }
                self.started.push((node, (*spec).clone()));
                self.hosts[node].containers.insert(run, *spec);
                self.report(node, START_MS, Event::RunStarted { run });
                let exited = Happening::ContainerExited { node, life, run, ending: None };
                self.after(self.run_ms, exited);
            }
            Effect::StopRun { run, ending } => {
                let (life, ending) = (self.hosts[node].life, Some(ending));
                self.after(STOP_MS, Happening::ContainerExited { node, life, run, ending });
            }
            Effect::RemoveLeftover { run } => {
                self.hosts[node].containers.remove(&run);
            }
            Effect::SignSeal { run, evidence } => {
                let signature = Signature([2; 64]);
                self.report(node, SIGN_MS, Event::SealSigned { run, evidence, signature });
            }
            Effect::SignReceipt { run, evidence } => {
                let receipt = Receipt { evidence: *evidence, signature: Signature([1; 64]) };
                let receipt = Box::new(receipt);
                self.report(node, SIGN_MS, Event::ReceiptSigned { run, receipt });
            }
            Effect::SignWeights(to_sign) => self.sign(node, to_sign),
            Effect::SendWeights { intent, bytes, .. } => {
                let is_lost = self.rng.happens(self.faults.lost_extrinsics);
                let sent = self.chain.send(&bytes);
                let result = if is_lost { Err("connection reset".to_owned()) } else { sent };
                self.report(node, LATENCY_MS, Event::WeightsSent { intent, result });
            }
            Effect::TraceWeights { intent, hashes, after, until } => {
                let result = Ok(self.chain.trace(&hashes, after, until));
                self.report(node, LATENCY_MS, Event::WeightsTraced { intent, result });
            }
            Effect::AnswerOperator { answer, .. } => self.operator_answers.push(answer),
            Effect::ReadDevice { device, run } => {
                let sample = self.gpu(node, &device).sample.clone();
                let observation = Box::new(Observation::Sampled(sample));
                self.report(node, LATENCY_MS, Event::DeviceRead { device, run, observation });
            }
            Effect::ProbeDevice { device } => {
                let gpu = self.gpu(node, &device);
                gpu.probes += 1;
                let observation = Box::new(Observation::Probed(gpu.probe.clone()));
                self.report(node, PROBE_MS, Event::DeviceSeen { device, observation });
            }
            Effect::Halt(halt) => panic!("node {node} halts: {halt:?}"),
        }
    }

    fn gpu(&mut self, node: usize, device: &DeviceId) -> &mut Gpu {
        let index = (0..).position(|index| gpu_id(index) == *device).unwrap();
        &mut self.hosts[node].gpus[index]
    }

    /// Nothing runs on a device that is not trusted.
    fn check_usable(&self, node: usize, device: &DeviceId) {
        let mut health = self.hosts[node].machine().health();
        let (_, health) = health.find(|(id, _)| *id == device).unwrap();
        assert_eq!(health.check_usable(), Ok(()), "a run begins on {device} of node {node}");
    }

    /// Reads the sensors of every GPU of a node, now and then.
    pub(super) fn read_gpus(&mut self, node: usize) {
        if self.now_ms % READ_EVERY_MS >= self.tick_ms {
            return;
        }
        for index in 0..self.hosts[node].gpus.len() {
            let sample = self.hosts[node].gpus[index].sample.clone();
            let observation = Box::new(Observation::Sampled(sample));
            let event = Event::DeviceSeen { device: gpu_id(index), observation };
            self.report(node, LATENCY_MS, event);
        }
    }

    fn report(&mut self, node: usize, after_ms: u64, event: Event) {
        let life = self.hosts[node].life;
        self.after(after_ms, Happening::Reported { node, life, event });
    }

    fn fetch(&mut self, node: usize, submission: SubmissionId, content: ContentDigest) {
        let fails = self.unreachable_contents.contains(&content)
            || self.rng.happens(self.faults.failed_fetches);
        let result = if fails { Err("nobody has it".to_owned()) } else { Ok(()) };
        self.report(node, FETCH_MS, Event::ContentFetched { submission, result });
    }

    fn admit(&mut self, node: usize, submission: SubmissionId, content: ContentDigest) {
        *self.judged.entry((node, content)).or_default() += 1;
        if self.crashing_contents.contains(&content) {
            let reason = "a panic".to_owned();
            self.report(node, ADMIT_MS, Event::AdmissionFailed { submission, reason });
            return;
        }
        let verdict = if self.fates[&content] == Fate::IsRejected {
            Self::rejection()
        } else {
            let brings = self.brings.get(&content).cloned().unwrap_or_default();
            Verdict::Admitted { files: 1, unpacked_bytes: 100, flags: Vec::new(), brings }
        };
        let sketch = self.sketches.get(&content).cloned().map(Box::new);
        self.report(node, ADMIT_MS, Event::AdmissionEnded { submission, verdict, sketch });
    }

    fn review(&mut self, node: usize, content: ContentDigest) {
        self.reviews_asked.push((self.now_ms, node, content));
        if let Some(result) = self.reviews.pop_front() {
            self.report(node, REVIEW_MS, Event::Reviewed { content, result });
        }
    }

    /// What the node has stored; what is damaged cannot be read.
    fn recall_sketches(
        &mut self,
        node: usize,
        submission: SubmissionId,
        content: ContentDigest,
        of: &[ContentDigest],
    ) {
        self.recalled.push((node, of.to_vec()));
        let stored = self.hosts[node].disk.sketches();
        let found = stored.filter(|(content, _)| of.contains(content)).collect();
        let event = if self.has_damaged_sketches {
            Event::AdmissionFailed { submission, reason: "a damaged record".to_owned() }
        } else {
            Event::SketchesRecalled { content, found }
        };
        self.report(node, RECALL_MS, event);
    }

    fn sign(&mut self, node: usize, to_sign: WeightsToSign) {
        let hotkey = validator(node);
        let binding = to_sign.binding;
        let era_end = binding.anchor.plus(BlockCount(binding.era_blocks));
        let nonce = binding.nonce;
        let call = SetWeights {
            hotkey,
            intent: to_sign.intent,
            nonce,
            era_end,
            version_key: to_sign.version_key,
            vector: to_sign.vector,
        };
        let bytes = serde_json::to_vec(&call).unwrap();
        let hash = sha256(&bytes);
        let result = Ok(SignedExtrinsic {
            bytes,
            hash,
            nonce,
            anchor: binding.anchor,
            era_end,
            spec_version: SPEC_VERSION,
            carries: Carries::Plain,
            vector: Vec::new(),
        });
        self.report(node, SIGN_MS, Event::WeightsSigned { intent: to_sign.intent, result });
    }

    /// A question ends once: with the first answer that comes back, or when its time is over.
    pub(super) fn send_question(
        &mut self,
        node: usize,
        peer: Hotkey,
        question: Option<Question>,
        request: PeerRequest,
    ) {
        let life = self.hosts[node].life;
        let asked = Asked { node, life, peer, question, request };
        self.questions_asked += 1;
        let id = self.questions_asked;
        self.questions.insert(id, asked.clone());
        let result = Err("no answer in time".to_owned());
        self.after(PEER_CALL_MS_MAX, Happening::QuestionEnded { id, result });
        let Some(to) = self.hosts.iter().position(|host| host.hotkey() == peer) else { return };
        let copies = if self.rng.happens(self.faults.duplicated_messages) { 2 } else { 1 };
        for _ in 0..copies {
            if node != to && self.rng.happens(self.faults.lost_messages) {
                continue;
            }
            let call = CallId(u64::try_from(self.calls.len()).unwrap());
            self.calls.push((id, asked.clone()));
            let delay = LATENCY_MS + self.rng.below(self.faults.delay_ms_max.max(1));
            self.after(delay, Happening::RequestArrived { to, call });
        }
    }

    fn send_answer(&mut self, node: usize, call: CallId, answer: PeerAnswer) {
        let (id, asked) = self.calls[usize::try_from(call.0).unwrap()].clone();
        self.promise(node, &asked, &answer);
        let is_lost = node != asked.node && self.rng.happens(self.faults.lost_messages);
        let is_heard = !is_lost && self.is_connected(node, asked.node);
        self.answers.push((asked, answer.clone()));
        if !is_heard {
            return;
        }
        let delay = LATENCY_MS + self.rng.below(self.faults.delay_ms_max.max(1));
        self.after(delay, Happening::QuestionEnded { id, result: Ok(answer) });
    }
}

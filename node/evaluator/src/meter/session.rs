//! One measurement from the first frame to the last.

mod untrained;

use std::collections::{BTreeMap, BTreeSet};

use node_core::limits::clip_detail;
use node_core::outcome::Ending;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::audit::Audit;
use super::loss::{positions_loss, scaled, BatchLoss};
use super::operators;
use super::plan::{Batch, BatchError, MeterPlan, Part};
use super::project::Entries;
use super::tally::Tally;
use super::wire::{ask_payload, id_bytes, push_ids, FromPeer, ToPeer, Wire, WireError};
use super::wire::{LOG_FRAMES_MAX, PROTOCOL_VERSION};
use super::{LogLine, MeterOutcome, Phase, Progress, LOG_LINES_MAX};
use crate::archive::Archive;

/// Frames read to find the reason of a peer that no longer listens.
const LAST_FRAMES_MAX: u32 = 16;

/// Why a measurement stops before its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// The channel was closed.
    Left,
    /// It stops for a reason that has a name.
    Ended(Ending),
}

impl Halt {
    pub(super) fn violated(detail: &str) -> Self {
        Self::Ended(Ending::ContractViolated { detail: clip_detail(detail) })
    }
}

/// The first frame to the container: what its `ctx` is made of.
#[derive(Serialize)]
struct Start<'a> {
    protocol: u32,
    seed: u32,
    vocab_size: u32,
    id_bytes: usize,
    world_size: u32,
    max_seq_len: u32,
    sequence_tokens: u32,
    max_parameters: u64,
    token_budget: u64,
    batches: u32,
    batch_sequences: u32,
    /// Whether the probe tasks are run instead of a text.
    probes: bool,
    project: &'a Entries,
    files: BTreeMap<&'a str, &'a str>,
}

/// A measurement in progress.
pub(super) struct Session<'a, S> {
    pub(super) wire: Wire<S>,
    plan: MeterPlan<'a>,
    progress: &'a watch::Sender<Progress>,
    pub(super) tally: Tally,
    phase: Phase,
    logs: Vec<LogLine>,
    log_frames: u32,
    pub(super) requests: u32,
    /// Training batches that the budget comes to, or about so many.
    batches_total: u32,
    /// When training began.
    pub(super) since: Option<Instant>,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin + Send> Session<'a, S> {
    pub(super) fn new(io: S, plan: MeterPlan<'a>, progress: &'a watch::Sender<Progress>) -> Self {
        let shape = plan.shape;
        let wire = Wire::new(io, shape.positions.saturating_mul(shape.row_len()));
        Self {
            wire,
            plan,
            progress,
            tally: Tally::new(shape.vocabulary),
            phase: Phase::Starting,
            logs: Vec::new(),
            log_frames: 0,
            requests: 0,
            batches_total: 0,
            since: None,
        }
    }

    pub(super) async fn run(mut self, archive: &Archive) -> MeterOutcome {
        let result = self.measure(archive).await;
        self.enter(Phase::Finished);
        let (ending, metrics, peer_left) = match result {
            Ok(()) => (Ending::Completed, Some(self.tally.metrics()), false),
            Err(Halt::Ended(ending)) => (ending, None, false),
            Err(Halt::Left) => {
                let detail = "it left before the end, without a word".to_owned();
                (Ending::SubmissionFailed { detail }, None, true)
            }
        };
        MeterOutcome { ending, metrics, logs: self.logs, peer_left }
    }

    async fn measure(&mut self, archive: &Archive) -> Result<(), Halt> {
        self.batches_total = self.plan.expected_batches().map_err(no_batch)?;
        self.begin(archive).await?;
        self.gate_untrained().await?;
        if let Some(probes) = self.plan.probes {
            return self.run_probes(probes).await;
        }
        self.enter(Phase::HeldOutBefore);
        while let Some(batch) = self.next(Part::HeldOutBefore)? {
            let loss = self.score(&batch).await?;
            self.tally.heldout_before.push(loss);
        }
        self.send(ToPeer::Train, &[]).await?;
        self.since = Some(Instant::now());
        self.enter(Phase::Training);
        self.train().await?;
        self.enter(Phase::HeldOutAfter);
        while let Some(batch) = self.next(Part::HeldOutAfter)? {
            let loss = self.score(&batch).await?;
            self.tally.heldout_after.push(loss);
        }
        // Everything is measured: a peer that left already changes nothing.
        self.send(ToPeer::Finish, &[]).await.or(Ok(()))
    }

    async fn begin(&mut self, archive: &Archive) -> Result<(), Halt> {
        match self.receive().await? {
            FromPeer::Hello { version: PROTOCOL_VERSION, devices } => self.check(&devices)?,
            FromPeer::Hello { version, .. } => {
                let detail = format!("the container speaks version {version} of the protocol");
                return Err(Halt::violated(&detail));
            }
            other => return Err(unexpected(&other, "hello")),
        }
        let start = self.start(archive)?;
        self.send(ToPeer::Start, &start).await?;
        self.ready().await
    }

    /// Waits for the untrained model. Its graph comes before, where it could be traced.
    async fn ready(&mut self) -> Result<(), Halt> {
        let mut frame = self.receive().await?;
        if let FromPeer::Operators { json } = frame {
            self.tally.conduct.architecture = operators::fingerprint(json).await;
            frame = self.receive().await?;
        }
        match frame {
            FromPeer::Ready { parameters } => self.claim_parameters(parameters),
            other => Err(unexpected(&other, "ready")),
        }
    }

    /// Whether the container sees the devices that it was given. This is asked before anything of
    /// the submission is sent: only our own program in our own image has run there.
    fn check(&self, seen: &[String]) -> Result<(), Halt> {
        let names = |uuids: &[String]| uuids.iter().map(|uuid| bare(uuid)).collect::<BTreeSet<_>>();
        let (given, seen) = (names(&self.plan.devices), names(seen));
        if given == seen {
            return Ok(());
        }
        let list = |names: BTreeSet<String>| match names.len() {
            0 => "none".to_owned(),
            _ => names.into_iter().collect::<Vec<_>>().join(", "),
        };
        let detail = format!("the container sees {}, it was given {}", list(seen), list(given));
        Err(Halt::Ended(Ending::DeviceFailed { detail: clip_detail(&detail) }))
    }

    fn start(&self, archive: &Archive) -> Result<Vec<u8>, Halt> {
        let rules = &self.plan.rules;
        let files: Option<BTreeMap<&str, &str>> = archive
            .files
            .iter()
            .chain(&self.plan.entries.provided)
            .map(|(path, content)| Some((path.as_str(), std::str::from_utf8(content).ok()?)))
            .collect();
        let start = Start {
            protocol: PROTOCOL_VERSION,
            seed: self.plan.model_seed,
            vocab_size: self.plan.shape.vocabulary,
            id_bytes: id_bytes(self.plan.shape.vocabulary),
            world_size: self.plan.world_size,
            max_seq_len: self.plan.tokens_max.max(rules.sequence_tokens),
            sequence_tokens: rules.sequence_tokens,
            max_parameters: rules.parameters_max,
            token_budget: u64::from(self.batches_total)
                .saturating_mul(self.plan.shape.batch_tokens() as u64),
            batches: self.batches_total,
            batch_sequences: rules.batch_sequences,
            probes: self.plan.probes.is_some(),
            project: &self.plan.entries,
            files: files.ok_or_else(|| Halt::violated("a file of the archive is not UTF-8"))?,
        };
        serde_json::to_vec(&start)
            .map_err(|error| Halt::violated(&format!("the archive cannot be sent: {error}")))
    }

    /// Hands out batches while the submission asks, then has the rest predicted without targets.
    async fn train(&mut self) -> Result<(), Halt> {
        loop {
            match self.receive().await? {
                FromPeer::Next { parameters } => {
                    self.claim_parameters(parameters)?;
                    match self.next(Part::Training)? {
                        Some(batch) => self.teach(&batch).await?,
                        None => self.send(ToPeer::End, &[]).await?,
                    }
                }
                FromPeer::Trained { parameters, peak_device_bytes, embeddings, hooks_used } => {
                    self.claim_parameters(parameters)?;
                    self.tally.conduct.embedding_parameters = Some(embeddings.min(parameters));
                    self.tally.conduct.peak_device_bytes = peak_device_bytes;
                    self.tally.conduct.hooks_used = hooks_used;
                    break;
                }
                other => return Err(unexpected(&other, "next or trained")),
            }
        }
        while let Some(batch) = self.next(Part::Training)? {
            let loss = self.score(&batch).await?;
            self.count(loss);
        }
        Ok(())
    }

    /// Has a batch predicted, then reveals its targets. What the predictions cost is summed while
    /// the container learns from them, so that it does not wait for that.
    async fn teach(&mut self, batch: &Batch) -> Result<(), Halt> {
        let predictions = self.predictions(batch).await?;
        self.reveal(batch).await?;
        let loss = self.loss(batch, predictions);
        self.count(loss);
        Ok(())
    }

    fn next(&mut self, part: Part) -> Result<Option<Batch>, Halt> {
        self.plan.next(part).map_err(no_batch)
    }

    async fn reveal(&mut self, batch: &Batch) -> Result<(), Halt> {
        let mut targets = Vec::new();
        push_ids(&mut targets, &batch.targets, id_bytes(self.plan.shape.vocabulary));
        self.tally.conduct.trained_batches = self.tally.conduct.trained_batches.saturating_add(1);
        self.send(ToPeer::Targets, &targets).await
    }

    fn count(&mut self, training: BatchLoss) {
        self.tally.push_training(training);
        self.report();
    }

    async fn score(&mut self, batch: &Batch) -> Result<BatchLoss, Halt> {
        let predictions = self.predictions(batch).await?;
        Ok(self.loss(batch, predictions))
    }

    /// Asks for one batch, twice if it is audited. Its targets are for the caller to reveal.
    async fn predictions(&mut self, batch: &Batch) -> Result<Vec<f32>, Halt> {
        let positions = &batch.positions;
        let altered = match &batch.altered {
            Some(altered) => Some((self.ask(&altered.inputs, positions).await?, altered)),
            None => None,
        };
        let log_probs = self.ask(&batch.inputs, positions).await?;
        if let Some((first, altered)) = altered {
            let answers = [first.as_slice(), &log_probs];
            let audit =
                Audit { answers, altered, positions, vocabulary: self.plan.shape.row_len() };
            if !audit.is_causal(&self.plan.rules) {
                return Err(Halt::Ended(Ending::NotCausal { batch: batch.number }));
            }
            self.tally.audits = self.tally.audits.saturating_add(1);
        }
        Ok(log_probs)
    }

    /// What the predictions for a batch cost. Their memory serves the next ones.
    fn loss(&mut self, batch: &Batch, log_probs: Vec<f32>) -> BatchLoss {
        let targets = batch.positions.iter().map(|at| batch.targets.get(*at).copied());
        let targets = targets.map(Option::unwrap_or_default);
        let asked = positions_loss(&log_probs, targets, self.plan.shape.row_len());
        self.wire.take_back(log_probs);
        scaled(asked, batch.targets.len() as u64, batch.bytes)
    }

    async fn ask(&mut self, inputs: &[u32], positions: &[usize]) -> Result<Vec<f32>, Halt> {
        let request = self.requests;
        self.requests = self.requests.wrapping_add(1);
        let shape = &self.plan.shape;
        let positions = if shape.is_sampled() { positions } else { &[] };
        let sizes = [shape.sequences, shape.tokens];
        let id_bytes = id_bytes(shape.vocabulary);
        let payload = ask_payload(request, sizes, (inputs, positions), id_bytes);
        self.send(ToPeer::Ask, &payload).await?;
        match self.receive().await? {
            FromPeer::Predictions { request: answered, log_probs } if answered == request => {
                Ok(log_probs)
            }
            FromPeer::Predictions { request: answered, .. } => {
                let detail = format!("predictions for request {answered}, expected {request}");
                Err(Halt::violated(&detail))
            }
            other => Err(unexpected(&other, "predictions")),
        }
    }

    /// Takes a claim about the model's size. It can be a lie; a larger one is refused.
    pub(super) fn claim_parameters(&mut self, parameters: u64) -> Result<(), Halt> {
        self.tally.parameters = self.tally.parameters.max(parameters);
        if parameters > self.plan.rules.parameters_max {
            return Err(Halt::Ended(Ending::TooManyParameters { parameters }));
        }
        Ok(())
    }

    pub(super) async fn send(&mut self, kind: ToPeer, payload: &[u8]) -> Result<(), Halt> {
        match self.wire.send(kind, payload).await {
            Ok(()) => Ok(()),
            Err(WireError::Malformed(detail)) => Err(Halt::violated(&detail)),
            Err(WireError::Closed) => Err(self.last_words().await),
        }
    }

    /// What a peer that no longer listens said before it left.
    async fn last_words(&mut self) -> Halt {
        for _ in 0..LAST_FRAMES_MAX {
            match self.wire.receive().await {
                Ok(FromPeer::Error { text }) => return failed(&text),
                Ok(FromPeer::OutOfDeviceMemory) => return Halt::Ended(Ending::OutOfDeviceMemory),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Halt::Left
    }

    /// The next frame that moves the measurement on: logs are kept, an exception ends it.
    pub(super) async fn receive(&mut self) -> Result<FromPeer, Halt> {
        loop {
            match self.wire.receive().await {
                Ok(FromPeer::Log { json }) => self.log(&json)?,
                Ok(FromPeer::Error { text }) => return Err(failed(&text)),
                Ok(FromPeer::OutOfDeviceMemory) => {
                    return Err(Halt::Ended(Ending::OutOfDeviceMemory));
                }
                Ok(frame) => return Ok(frame),
                Err(WireError::Closed) => return Err(Halt::Left),
                Err(WireError::Malformed(detail)) => return Err(Halt::violated(&detail)),
            }
        }
    }

    fn log(&mut self, json: &[u8]) -> Result<(), Halt> {
        self.log_frames = self.log_frames.saturating_add(1);
        if self.log_frames > LOG_FRAMES_MAX {
            return Err(Halt::violated("it logged too many lines"));
        }
        if self.logs.len() < LOG_LINES_MAX {
            let values = serde_json::from_slice(json)
                .map_err(|_| Halt::violated("a log line is not an object of numbers"))?;
            self.logs.push(LogLine { batches_done: self.batches_done(), values });
        }
        Ok(())
    }

    fn batches_done(&self) -> u32 {
        self.tally.batches()
    }

    pub(super) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.report();
    }

    pub(super) fn report(&self) {
        let (bytes_done, nanobpb) = self.tally.so_far();
        let trained_ms = self.since.map_or(0, |since| since.elapsed().as_millis());
        let trained_ms = u64::try_from(trained_ms).unwrap_or(u64::MAX);
        self.progress.send_replace(Progress {
            phase: self.phase,
            batches_done: self.batches_done(),
            batches_total: self.batches_total,
            bytes_done,
            bytes_total: self.plan.training_bytes(self.batches_total),
            trained_ms,
            nanobpb,
        });
    }
}

/// A device's UUID without what says what it is: a slice answers with its own UUID and the name of
/// a GPU on some drivers.
fn bare(uuid: &str) -> String {
    let bare = uuid.strip_prefix("GPU-").or_else(|| uuid.strip_prefix("MIG-")).unwrap_or(uuid);
    bare.to_ascii_lowercase()
}

fn failed(text: &str) -> Halt {
    Halt::Ended(Ending::SubmissionFailed { detail: clip_detail(text) })
}

pub(super) fn unexpected(got: &FromPeer, expected: &str) -> Halt {
    Halt::violated(&format!("a frame `{}` where `{expected}` was due", got.name()))
}

fn no_batch(error: BatchError) -> Halt {
    Halt::Ended(match error {
        BatchError::Text => Ending::DatasetMissing,
        BatchError::Lossy { batch } => Ending::TokenizerLossy { batch },
        BatchError::Tokenizer(detail) => Ending::TokenizerRefused { detail: clip_detail(&detail) },
    })
}

//! The probe tasks in a run: what a model comes to that is built and trained for one of them alone.
//!
//! ```text
//! probe ->  <- ready   [lesson ->]+  train ->   [ask ->  <- predictions]+  end ->      each task
//! ```
//!
//! Lessons show their answers, for they are there to learn from. The answers of what is asked
//! afterwards never leave. A task has a model of its own, from the same forced start, and as many
//! lessons as its share of the budget pays for.

use node_core::evidence::ProbeFigure;
use node_core::id::Digest;
use node_core::limits::clip_detail;
use node_core::outcome::Ending;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::loss::{positions_loss, BatchLoss};
use super::session::{unexpected, Halt, Session};
use super::wire::{push_ids, FromPeer, ToPeer};
use super::Phase;
use crate::probes::{score_ppm, Example, Examples, Part, Probe};

/// Sequences of a lesson, and of what is asked at once.
const SEQUENCES: usize = 16;

/// Examples that a task asks. Lower: scores move by chance. Higher: asking costs as much as
/// learning with small budgets.
const ASKED: usize = 128;

/// Of the tier's budget of text, what a task has in tokens.
const BUDGET_SHARE: u64 = 8;

/// Most tokens of a task's lessons: they are made before the first is sent. Higher: hundreds of
/// megabytes.
const LESSON_TOKENS_MAX: u64 = 4_000_000;

/// Bytes of a token: the tasks' vocabularies have at most 256 entries.
const ID_BYTES: usize = 1;

/// Probe tasks to be run instead of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    seed: Digest,
    tokens: u64,
}

impl ProbePlan {
    /// - `seed`: of the assignment; examples follow from it.
    /// - `budget`: bytes of text of a run of the same tier.
    #[must_use]
    pub fn new(seed: &Digest, budget: u64) -> Self {
        Self { seed: *seed, tokens: (budget / BUDGET_SHARE).min(LESSON_TOKENS_MAX) }
    }

    /// A task's lessons, in whole batches and one at least, and what it asks.
    fn examples(self, probe: Probe) -> (Examples, Examples) {
        let one = probe.examples(&self.seed, Part::Train, 1);
        let length = one.all.first().map_or(1, |example| example.inputs.len()).max(1);
        let batch = length.saturating_mul(SEQUENCES) as u64;
        let batches = usize::try_from((self.tokens / batch).max(1)).unwrap_or(1);
        let lessons = probe.examples(&self.seed, Part::Train, batches.saturating_mul(SEQUENCES));
        (lessons, probe.examples(&self.seed, Part::Test, ASKED))
    }
}

/// What the container's program makes a task's model from.
#[derive(Serialize)]
struct Task {
    vocab_size: u16,
    max_seq_len: usize,
    batches: usize,
    batch_sequences: usize,
    token_budget: usize,
}

impl Task {
    fn of(lessons: &Examples, asked: &Examples) -> Self {
        let length = |examples: &Examples| {
            examples.all.first().map_or(0, |example: &Example| example.inputs.len())
        };
        let batches = lessons.all.len() / SEQUENCES;
        Self {
            vocab_size: lessons.vocabulary.max(asked.vocabulary),
            max_seq_len: length(lessons).max(length(asked)),
            batches,
            batch_sequences: SEQUENCES,
            token_budget: lessons.all.len().saturating_mul(length(lessons)),
        }
    }
}

/// Examples as they are sent: one behind the other.
#[derive(Default)]
struct Sheet {
    inputs: Vec<u32>,
    positions: Vec<u32>,
    answers: Vec<u32>,
}

impl Sheet {
    fn of(examples: &[Example]) -> Self {
        let mut sheet = Self::default();
        for example in examples {
            let first = sheet.inputs.len();
            sheet.inputs.extend(example.inputs.iter().map(|token| u32::from(*token)));
            for (at, answer) in &example.answers {
                sheet.positions.push(number(first.saturating_add(*at)));
                sheet.answers.push(u32::from(*answer));
            }
        }
        sheet
    }

    /// Numbers of the head, inputs, and where the answers belong.
    fn payload(&self, head: &[u32], sequences: usize) -> Vec<u8> {
        let tokens = self.inputs.len() / sequences.max(1);
        let shape = [sequences, tokens, self.positions.len()].map(number);
        let numbers = head.iter().copied().chain(shape);
        let mut payload: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
        push_ids(&mut payload, &self.inputs, ID_BYTES);
        payload.extend(self.positions.iter().flat_map(|at| at.to_le_bytes()));
        payload
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    /// Runs all tasks of the challenge, one after the other.
    pub(super) async fn run_probes(&mut self, plan: ProbePlan) -> Result<(), Halt> {
        self.since = Some(Instant::now());
        self.enter(Phase::Training);
        for (task, probe) in (0_u8..).zip(Probe::suite()) {
            let figure = self.probe_one(plan, task, probe).await?;
            self.tally.conduct.probes.push(figure);
            self.report();
        }
        // Everything is measured: a peer that left already changes nothing.
        self.send(ToPeer::Finish, &[]).await.or(Ok(()))
    }

    async fn probe_one(
        &mut self,
        plan: ProbePlan,
        task: u8,
        probe: Probe,
    ) -> Result<ProbeFigure, Halt> {
        let made = tokio::task::spawn_blocking(move || plan.examples(probe)).await;
        let (lessons, asked) = made.map_err(|error| {
            let detail = format!("the examples of a probe task were not made: {error}");
            Halt::Ended(Ending::EngineFailed { detail: clip_detail(&detail) })
        })?;
        let shape = Task::of(&lessons, &asked);
        let start = serde_json::to_vec(&shape).unwrap_or_default();
        self.send(ToPeer::ProbeTask, &start).await?;
        match self.receive().await? {
            FromPeer::Ready { parameters } => self.claim_parameters(parameters)?,
            other => return Err(unexpected(&other, "ready")),
        }
        for lesson in lessons.all.chunks(SEQUENCES) {
            let sheet = Sheet::of(lesson);
            let mut payload = sheet.payload(&[], lesson.len());
            push_ids(&mut payload, &sheet.answers, ID_BYTES);
            self.send(ToPeer::Lesson, &payload).await?;
            let conduct = &mut self.tally.conduct;
            conduct.trained_batches = conduct.trained_batches.saturating_add(1);
        }
        self.send(ToPeer::Train, &[]).await?;
        let mut total = BatchLoss::default();
        for batch in asked.all.chunks(SEQUENCES) {
            let loss = self.ask_probe(batch, usize::from(shape.vocab_size)).await?;
            total = total.plus(&loss);
            self.tally.push_training(loss);
        }
        self.send(ToPeer::End, &[]).await?;
        Ok(figure(task, &asked, &total))
    }

    /// What the answers of a batch cost. They stay here.
    async fn ask_probe(&mut self, batch: &[Example], vocabulary: usize) -> Result<BatchLoss, Halt> {
        let request = self.requests;
        self.requests = self.requests.wrapping_add(1);
        let sheet = Sheet::of(batch);
        self.wire.expect(sheet.positions.len().saturating_mul(vocabulary));
        let payload = sheet.payload(&[request], batch.len());
        self.send(ToPeer::Ask, &payload).await?;
        match self.receive().await? {
            FromPeer::Predictions { request: answered, log_probs } if answered == request => {
                let loss = positions_loss(&log_probs, sheet.answers.iter().copied(), vocabulary);
                self.wire.take_back(log_probs);
                // An answer counts as a byte, so that what is covered says how many there were.
                Ok(BatchLoss { bytes: loss.tokens, ..loss })
            }
            other => Err(unexpected(&other, "predictions of this request")),
        }
    }
}

#[allow(clippy::cast_precision_loss, reason = "some thousand answers")]
fn figure(task: u8, asked: &Examples, total: &BatchLoss) -> ProbeFigure {
    let loss = total.nats / total.tokens.max(1) as f64;
    ProbeFigure {
        task,
        score_ppm: score_ppm(asked.floor_nats, asked.ceiling_nats, loss),
        loss_micronats: micro(loss),
        floor_micronats: micro(asked.floor_nats),
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates; losses are finite and not negative"
)]
fn micro(nats: f64) -> u32 {
    (nats * 1e6).round() as u32
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

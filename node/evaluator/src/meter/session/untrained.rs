//! The gate of the untrained model: the first phase of a submission's first trial.

use node_core::evidence::Flag;
use node_core::limits::clip_detail;
use node_core::outcome::Ending;
use node_core::policy::GateMode;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{unexpected, Halt, Session};
use crate::meter::untrained::{Check, Probe, Question, Untrained};
use crate::meter::wire::{ask_payload, id_bytes, FromPeer, ToPeer};

/// What one question came to.
enum Answer {
    LogProbs(Vec<f32>),
    /// The model raised an exception, with these last words.
    Raised(String),
}

/// What a gate found: its flag, and the ending where it rejects.
type Found = (Flag, Ending);

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Session<'_, S> {
    /// Asks the untrained model what the plan says, if anything. In shadow a model that fails goes
    /// on, and the result says so.
    pub(super) async fn gate_untrained(&mut self) -> Result<(), Halt> {
        let Some(mut untrained) = self.plan.untrained.take() else { return Ok(()) };
        for check in untrained.checks() {
            let Some((flag, ending)) = self.find(&mut untrained, check).await? else { continue };
            match untrained.rules.mode {
                GateMode::Reject => return Err(Halt::Ended(ending)),
                GateMode::Flag | GateMode::Off => drop(self.tally.conduct.flags.insert(flag)),
            }
        }
        self.expect_batches();
        self.count_idle().await
    }

    async fn find(&mut self, gate: &mut Untrained, check: Check) -> Result<Option<Found>, Halt> {
        let vocabulary = self.plan.shape.row_len();
        let probe = gate.probe(check);
        let first = match self.probe(&probe.first).await? {
            Answer::LogProbs(first) => first,
            Answer::Raised(text) => return Ok(Some(raised(&text))),
        };
        let failed = |probe: Probe| Ok(Some((probe.flag, probe.ending)));
        if !probe.is_finite(&first, vocabulary) {
            return failed(probe);
        }
        for other in &probe.others {
            match self.probe(&other.question).await? {
                Answer::Raised(text) => return Ok(Some(raised(&text))),
                Answer::LogProbs(answer) => {
                    if !probe.agrees(other, [&first, &answer], vocabulary) {
                        return failed(probe);
                    }
                }
            }
        }
        Ok(None)
    }

    async fn probe(&mut self, question: &Question) -> Result<Answer, Halt> {
        let request = self.requests;
        self.requests = self.requests.wrapping_add(1);
        let shape = &self.plan.shape;
        self.wire.expect(question.positions.len().saturating_mul(shape.row_len()));
        let positions = if question.is_sampled() { question.positions.as_slice() } else { &[] };
        let sizes = [question.sequences, question.tokens];
        let id_bytes = id_bytes(shape.vocabulary);
        let payload = ask_payload(request, sizes, (&question.inputs, positions), id_bytes);
        self.send(ToPeer::Probe, &payload).await?;
        match self.receive().await? {
            FromPeer::Predictions { request: answered, log_probs } if answered == request => {
                Ok(Answer::LogProbs(log_probs))
            }
            FromPeer::Raised { text } => Ok(Answer::Raised(text)),
            other => Err(unexpected(&other, "predictions for a probe")),
        }
    }

    /// Answers from here on are those for batches again.
    fn expect_batches(&mut self) {
        let shape = &self.plan.shape;
        self.wire.expect(shape.positions.saturating_mul(shape.row_len()));
    }

    /// Has the container count its parameters again, and those of them that get no gradient: a
    /// claim, for people.
    async fn count_idle(&mut self) -> Result<(), Halt> {
        self.send(ToPeer::Count, &[]).await?;
        match self.receive().await? {
            FromPeer::Counted { parameters, idle } => {
                self.tally.conduct.idle_parameters = idle;
                self.claim_parameters(parameters)
            }
            other => Err(unexpected(&other, "counted")),
        }
    }
}

fn raised(text: &str) -> Found {
    let detail = clip_detail(&format!("untrained: {text}"));
    (Flag::Raised, Ending::SubmissionFailed { detail })
}

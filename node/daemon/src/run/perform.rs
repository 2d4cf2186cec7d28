//! Turns effects into calls of adapters. Every piece of work runs in a task of its own and comes
//! back as an event; nothing here decides.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use node_core::evidence::{Evidence, Receipt};
use node_core::id::{ContentDigest, HotkeySigner, RunId, Salt, SubmissionId};
use node_core::lease::{PeerRequest, Seal};
use node_core::machine::effect::{Effect, PeerAddress, RunSpec};
use node_core::machine::event::{Event, Question};
use node_core::outcome::Ending;
use node_core::review::ReviewFailure;
use node_peer::PeerClient;
use node_store::Store;
use tokio::sync::{mpsc, oneshot};

use super::chain_task::{ChainCommand, ChainCommands};
use super::clock::unix_now;
use super::evaluate::{Archives, Evaluator, Progress};
use super::failpoint::failpoint;
use super::fetch::{Fetched, Fetcher};
use super::gpus::Gpus;
use super::keep::Leases;
use crate::review::Reviewer;

/// What is said about work whose task died.
pub(crate) const LOST: &str = "the node's task for it died; this is a bug";

/// How long the containers of stopped runs may take to be gone.
const STOP_ALL_MAX: Duration = Duration::from_secs(20);

/// The adapters, behind one door.
#[derive(Debug)]
pub(crate) struct Performer {
    pub(crate) events: mpsc::Sender<Event>,
    /// What was judged before is read there.
    pub(crate) store: Arc<Store>,
    pub(crate) signer: Arc<dyn HotkeySigner>,
    pub(crate) peers: Arc<PeerClient>,
    pub(crate) chain: ChainCommands,
    pub(crate) fetcher: Fetcher,
    pub(crate) evaluator: Arc<Evaluator>,
    /// Asks a language model, if the operator wants one asked.
    pub(crate) reviewer: Option<Arc<Reviewer>>,
    pub(crate) gpus: Gpus,
    pub(crate) leases: Arc<Leases>,
    pub(crate) runs: BTreeMap<RunId, LiveRun>,
}

/// A run whose container may be alive.
#[derive(Debug)]
pub(crate) struct LiveRun {
    stop: Option<oneshot::Sender<Ending>>,
    /// How far the meter got.
    progress: tokio::sync::watch::Receiver<Progress>,
    task: tokio::task::JoinHandle<()>,
}

impl Performer {
    /// Starts what an effect asks for. [`Effect::Answer`], [`Effect::AnswerOperator`] and
    /// [`Effect::Halt`] belong to the loop and are not for here.
    pub(crate) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::FetchContent { submission, content, location, peers } => {
                let fetcher = self.fetcher.clone();
                let lost = Event::ContentFetched { submission, result: Err(LOST.to_owned()) };
                answer(&self.events, lost, async move {
                    match fetcher.fetch(&content, &location, &peers).await {
                        Ok(Fetched::Stored) => Event::ContentFetched { submission, result: Ok(()) },
                        Ok(Fetched::Unreadable(rejection)) => {
                            Event::ContentUnreadable { submission, rejection }
                        }
                        Err(error) => {
                            let result = Err(error.to_string());
                            Event::ContentFetched { submission, result }
                        }
                    }
                });
            }
            Effect::DropContent { content } => {
                let contents = self.fetcher.contents.clone();
                tokio::spawn(async move {
                    if let Err(error) = contents.drop_stored(&content).await {
                        tracing::warn!(%content, %error, "an archive is left behind");
                    }
                });
            }
            Effect::Admit { submission, content } => self.admit(submission, content),
            Effect::RecallSketches { submission, content, of } => {
                self.recall_sketches(submission, content, of);
            }
            Effect::Review { content } => self.review(content),
            Effect::AskPeer { peer, question, request } => self.ask(peer, question, request),
            Effect::StartRun(spec) => self.start(*spec),
            Effect::StopRun { run, ending } => self.stop(run, ending),
            Effect::RemoveLeftover { run } => {
                let evaluator = Arc::clone(&self.evaluator);
                tokio::spawn(async move { evaluator.remove_leftover(run).await });
            }
            Effect::ReadDevice { device, run } => self.gpus.read(device, run),
            Effect::ProbeDevice { device } => self.gpus.probe(device),
            Effect::SignSeal { run, evidence } => self.sign_seal(run, evidence),
            Effect::SignReceipt { run, evidence } => self.sign_receipt(run, *evidence),
            Effect::SignWeights(to_sign) => self.chain.send(ChainCommand::Sign(to_sign)),
            Effect::SendWeights { intent, bytes, era_end } => {
                self.chain.send(ChainCommand::Send { intent, bytes, era_end });
            }
            Effect::TraceWeights { intent, hashes, after, until } => {
                self.chain.send(ChainCommand::Trace { intent, hashes, after, until });
            }
            Effect::Answer { .. } | Effect::AnswerOperator { .. } | Effect::Halt(_) => {}
        }
    }

    /// How far the meter of each run is.
    pub(crate) fn progress(&self) -> BTreeMap<RunId, Progress> {
        self.runs.iter().map(|(run, live)| (*run, *live.progress.borrow())).collect()
    }

    fn admit(&self, submission: SubmissionId, content: ContentDigest) {
        let evaluator = Arc::clone(&self.evaluator);
        let contents = self.fetcher.contents.clone();
        answer(&self.events, Event::ContentMissing { submission }, async move {
            match contents.read(&content).await {
                Some(bytes) => match evaluator.admit(bytes, content).await {
                    Some((verdict, sketch)) => {
                        let sketch = sketch.map(Box::new);
                        Event::AdmissionEnded { submission, verdict, sketch }
                    }
                    None => {
                        let reason = "this node failed over its admission; its log says more";
                        Event::AdmissionFailed { submission, reason: reason.to_owned() }
                    }
                },
                // Somebody emptied the store: fetch again, judge then.
                None => Event::ContentMissing { submission },
            }
        });
    }

    fn recall_sketches(
        &self,
        submission: SubmissionId,
        content: ContentDigest,
        of: Vec<ContentDigest>,
    ) {
        let failed = move |reason: String| Event::AdmissionFailed { submission, reason };
        let store = Arc::clone(&self.store);
        answer(&self.events, failed(LOST.to_owned()), async move {
            match tokio::task::spawn_blocking(move || store.sketches(&of)).await {
                Ok(Ok(found)) => Event::SketchesRecalled { content, found },
                Ok(Err(error)) => {
                    let error = describe(&error);
                    tracing::error!(%content, error, "an earlier work cannot be read");
                    failed(format!("this node cannot read what it is compared with: {error}"))
                }
                Err(_) => failed(LOST.to_owned()),
            }
        });
    }

    fn review(&self, content: ContentDigest) {
        let said_nothing = |detail: &str| {
            let failure = ReviewFailure { detail: detail.to_owned(), retry_after_ms: None };
            Event::Reviewed { content, result: Err(failure) }
        };
        let lost = said_nothing(LOST);
        let no_model = said_nothing("no model is configured");
        let gone = said_nothing("the submission's archive is not in the store any more");
        let reviewer = self.reviewer.clone();
        let (evaluator, contents) = (Arc::clone(&self.evaluator), self.fetcher.contents.clone());
        answer(&self.events, lost, async move {
            let Some(reviewer) = reviewer else { return no_model };
            match evaluator.archive(&content, contents.read(&content)).await {
                Some(archive) => {
                    Event::Reviewed { content, result: reviewer.review(&archive).await }
                }
                None => gone,
            }
        });
    }

    fn ask(&self, peer: PeerAddress, question: Question, request: PeerRequest) {
        let client = Arc::clone(&self.peers);
        let result = Err(LOST.to_owned());
        let lost = Event::PeerAnswered { peer: peer.hotkey, question, result };
        answer(&self.events, lost, async move {
            let result = client.ask(peer.hotkey, peer.endpoint, request).await;
            let result = result.map_err(|error| describe(&error));
            Event::PeerAnswered { peer: peer.hotkey, question, result }
        });
    }

    fn start(&mut self, spec: RunSpec) {
        self.runs.retain(|_, run| !run.task.is_finished());
        let run = spec.run;
        let (stop, mut stopped) = oneshot::channel();
        let (progress, watched) = tokio::sync::watch::channel(Progress::default());
        let evaluator = Arc::clone(&self.evaluator);
        let (fetcher, contents) = (self.fetcher.clone(), self.fetcher.contents.clone());
        let ending = Ending::EngineFailed { detail: LOST.to_owned() };
        let salt = Salt(rand::random());
        let lost = Event::RunEnded { run, ending, metrics: None, ended_at: unix_now(), salt };
        let (started, asked) = (self.events.clone(), self.events.clone());
        let leases = Arc::clone(&self.leases);
        let task = answer(&self.events, lost, async move {
            let ended = if leases.is_over(run) {
                (Ending::LeaseLost, None)
            } else {
                let archives = async {
                    let content = spec.assignment.content;
                    let own = evaluator.archive(&content, contents.read(&content)).await;
                    let architecture = match &spec.architecture {
                        Some(other) => evaluator.archive(&other.content, fetcher.get(other)).await,
                        None => None,
                    };
                    Archives { own, architecture }
                };
                tokio::select! {
                    // Another's architecture may have to be fetched, which takes its time.
                    asked = &mut stopped => (asked.unwrap_or(Ending::Stopped), None),
                    archives = archives => {
                        evaluator.run(spec, archives, stopped, progress, started).await
                    }
                }
            };
            let (ending, metrics) = leases.judge(run, ended);
            if matches!(ending, Ending::EngineFailed { .. }) {
                // Before the machine hears of the run: it would ask for the next one at once.
                let fault = evaluator.engine_fault().await;
                drop(asked.send(Event::EngineAsked { fault }).await);
            }
            Event::RunEnded { run, ending, metrics, ended_at: unix_now(), salt }
        });
        self.runs.insert(run, LiveRun { stop: Some(stop), progress: watched, task });
    }

    /// Stops every run and waits until its container is gone, at most [`STOP_ALL_MAX`]: for when
    /// the loop cannot go on.
    pub(crate) async fn stop_all(&mut self) {
        let ids: Vec<RunId> = self.runs.keys().copied().collect();
        for run in ids {
            self.stop(run, Ending::Stopped);
        }
        let runs = std::mem::take(&mut self.runs);
        let ended = futures_util::future::join_all(runs.into_values().map(|run| run.task));
        if tokio::time::timeout(STOP_ALL_MAX, ended).await.is_err() {
            tracing::error!("containers are left running; the next start removes them");
        }
    }

    fn stop(&mut self, run: RunId, ending: Ending) {
        let Some(stop) = self.runs.get_mut(&run).and_then(|run| run.stop.take()) else { return };
        // A run that has just ended needs no stopping.
        drop(stop.send(ending));
    }

    fn sign_seal(&self, run: RunId, evidence: Box<Evidence>) {
        failpoint("run-ended-before-receipt");
        let signer = Arc::clone(&self.signer);
        answer(&self.events, Event::Ticked, async move {
            let signature = signer.sign(&Seal::message_for(&evidence));
            Event::SealSigned { run, evidence, signature }
        });
    }

    fn sign_receipt(&self, run: RunId, evidence: Evidence) {
        let signer = Arc::clone(&self.signer);
        answer(&self.events, Event::Ticked, async move {
            let signature = signer.sign(&evidence.signing_message());
            let receipt = Box::new(Receipt { evidence, signature });
            Event::ReceiptSigned { run, receipt }
        });
    }
}

/// Does `work` on a task of its own and sends the event it gives, or `lost` if it panics: the
/// machine waits for an answer to everything it asks for.
pub(crate) fn answer(
    events: &mpsc::Sender<Event>,
    lost: Event,
    work: impl Future<Output = Event> + Send + 'static,
) -> tokio::task::JoinHandle<()> {
    let events = events.clone();
    tokio::spawn(async move {
        let event = tokio::spawn(work).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a task of the node died; this is a bug");
            lost
        });
        // The loop is gone only when the process is about to end.
        drop(events.send(event).await);
    })
}

/// An error and its causes in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

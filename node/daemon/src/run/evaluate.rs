//! One run: a container for the submission, the meter outside of it, and what came of both.
//!
//! ```text
//! run directory (shim, socket) -> container created, checked, started -> shim connects
//!   meter speaks to it until it has measured everything, or something ends one of the two
//! -> container removed, run directory removed -> ending and metrics
//! ```

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use node_core::admission::Verdict;
use node_core::evidence::Metrics;
use node_core::id::{ContentDigest, Digest, RunId};
use node_core::inventory::DeviceKind;
use node_core::limits::clip_detail;
use node_core::machine::effect::RunSpec;
use node_core::machine::event::Event;
use node_core::outcome::Ending;
use node_core::policy::{MeterRules, Policy};
use node_evaluator::admit::admit;
use node_evaluator::archive::{read_archive, Archive};
use node_evaluator::dataset::Dataset;
use node_evaluator::meter::{run_meter, MeterOutcome, MeterPlan};
use node_evaluator::SHIM;
use node_runner::{Engine, Leftover, ReadOnlyBind, Run, RunReport, SandboxSpec};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::perform::describe;

pub(crate) use node_evaluator::meter::Progress;

/// Pause before a container that could not be removed is tried again.
const REMOVE_AGAIN: Duration = Duration::from_secs(5);

/// How long the meter may read what an ended container said last.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// Where the run directory appears in the container.
const CHANNEL: &str = "/assay";
const SHIM_NAME: &str = "shim.py";
const SOCKET_NAME: &str = "meter.sock";

/// Runs assignments on this host.
#[derive(Debug)]
pub(crate) struct Evaluator {
    pub(crate) engine: Engine,
    pub(crate) image: Digest,
    pub(crate) policy: Policy,
    pub(crate) dataset: Arc<Dataset>,
    /// Holds one directory per live run.
    pub(crate) runs_dir: PathBuf,
    /// Containers of an earlier life, by run.
    pub(crate) leftovers: tokio::sync::Mutex<BTreeMap<RunId, Leftover>>,
}

/// Why a run has no container.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the run directory `{path}`")]
struct DirectoryError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// The directory that a container shares with the meter; removed when dropped.
#[derive(Debug)]
struct RunDirectory {
    path: PathBuf,
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "run directory not removed");
        }
    }
}

impl RunDirectory {
    /// Makes the directory with the shim and a socket that only this process listens on.
    fn make(path: PathBuf) -> Result<(Self, UnixListener), DirectoryError> {
        let failed = |source| DirectoryError { path: path.clone(), source };
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(failed)?;
        }
        std::fs::create_dir_all(&path).map_err(failed)?;
        let directory = Self { path: path.clone() };
        let readable = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, readable(0o755)).map_err(failed)?;
        let shim = path.join(SHIM_NAME);
        std::fs::write(&shim, SHIM).map_err(failed)?;
        std::fs::set_permissions(&shim, readable(0o444)).map_err(failed)?;
        let socket = path.join(SOCKET_NAME);
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        // The container's user is nobody; connecting needs the right to write.
        std::fs::set_permissions(&socket, readable(0o666)).map_err(failed)?;
        Ok((directory, listener))
    }

    fn binds(&self) -> Vec<ReadOnlyBind> {
        [SHIM_NAME, SOCKET_NAME]
            .map(|name| ReadOnlyBind {
                source: self.path.join(name),
                target: format!("{CHANNEL}/{name}"),
            })
            .to_vec()
    }
}

impl Evaluator {
    /// Judges an archive before anything of it runs.
    pub(crate) async fn admit(&self, bytes: Vec<u8>, content: ContentDigest) -> Verdict {
        let policy = self.policy.clone();
        let judged = tokio::task::spawn_blocking(move || admit(&bytes, &content, &policy).0).await;
        judged.unwrap_or_else(|error| {
            tracing::error!(%error, "admission panicked");
            Verdict::Rejected { rejection: crashed() }
        })
    }

    /// Removes the container of a run that an earlier life started, however long that takes.
    pub(crate) async fn remove_leftover(&self, run: RunId) {
        let mut leftovers = self.leftovers.lock().await;
        if let Some(leftover) = leftovers.get(&run) {
            self.remove_for_sure(leftover).await;
            leftovers.remove(&run);
        }
    }

    /// Tries until the container is gone: its device must not be given to anybody else before.
    async fn remove_for_sure(&self, leftover: &Leftover) {
        while let Err(error) = self.engine.remove_leftover(leftover).await {
            tracing::error!(error = %describe(&error), "a container stays; its device is not used");
            tokio::time::sleep(REMOVE_AGAIN).await;
        }
    }

    /// Waits until the container of a run is gone that the supervisor could not remove.
    async fn remove_stubborn(&self, run: RunId) {
        loop {
            match self.engine.leftovers().await {
                Ok(left) => match left.iter().find(|leftover| leftover.run == Some(run)) {
                    Some(leftover) => return self.remove_for_sure(leftover).await,
                    None => return,
                },
                Err(error) => {
                    tracing::error!(error = %describe(&error), "cannot look for a container");
                    tokio::time::sleep(REMOVE_AGAIN).await;
                }
            }
        }
    }

    /// Runs an assignment to its end. Never panics, never hangs beyond the policy's wall clock.
    ///
    /// - `content`: the submission's archive, `None` if it is not here.
    /// - `stopped`: asks for an early end, with its name.
    /// - `started`: is told when the container runs.
    pub(crate) async fn run(
        &self,
        spec: RunSpec,
        content: Option<Vec<u8>>,
        stopped: oneshot::Receiver<Ending>,
        progress: watch::Sender<Progress>,
        started: mpsc::Sender<Event>,
    ) -> (Ending, Option<Metrics>) {
        // What an earlier life left behind may still use the device.
        let leftovers: Vec<RunId> = self.leftovers.lock().await.keys().copied().collect();
        for leftover in leftovers {
            self.remove_leftover(leftover).await;
        }
        let limits = self.policy.archive.clone();
        let read = tokio::task::spawn_blocking(move || {
            content.and_then(|bytes| read_archive(&bytes, &limits).ok())
        });
        let Ok(Some(archive)) = read.await else {
            let detail = "the submission's archive is not in the store any more".to_owned();
            return (Ending::EngineFailed { detail }, None);
        };
        match self.try_run(spec, archive, stopped, progress, started).await {
            Ok(outcome) => outcome,
            Err(ending) => (ending, None),
        }
    }

    async fn try_run(
        &self,
        spec: RunSpec,
        archive: Archive,
        stopped: oneshot::Receiver<Ending>,
        progress: watch::Sender<Progress>,
        started: mpsc::Sender<Event>,
    ) -> Result<(Ending, Option<Metrics>), Ending> {
        // Short, because a socket's path has at most 108 bytes.
        let path = self.runs_dir.join(spec.run.short());
        let (directory, listener) = RunDirectory::make(path)
            .map_err(|error| Ending::EngineFailed { detail: clip_detail(&describe(&error)) })?;
        let sandbox = self.sandbox(&spec, directory.binds());
        let container = self.engine.create(sandbox).await.map_err(|error| error.ending())?;
        let mut run = container.start().await.map_err(|error| error.ending())?;
        // The loop is gone only when the process is about to end.
        drop(started.send(Event::RunStarted { run: spec.run }).await);
        let subject = Subject {
            archive,
            dataset: Arc::clone(&self.dataset),
            rules: self.policy.meter.clone(),
            seed: spec.assignment.seed,
        };
        let (measured, report) = measure(&mut run, listener, subject, stopped, progress).await;
        if !report.removed {
            self.remove_stubborn(spec.run).await;
        }
        Ok(combine(measured, &report))
    }

    fn sandbox(&self, spec: &RunSpec, binds: Vec<ReadOnlyBind>) -> SandboxSpec {
        let gpus = match spec.device.kind {
            DeviceKind::CpuSlot => Vec::new(),
            DeviceKind::Gpu | DeviceKind::MigSlice => vec![spec.device.id.to_string()],
        };
        SandboxSpec {
            run: spec.run,
            assignment: spec.assignment.id,
            lease: spec.lease,
            attempt: spec.attempt,
            image: self.image,
            command: ["python3", "-I", "-u", "/assay/shim.py", "/assay/meter.sock"]
                .map(str::to_owned)
                .to_vec(),
            binds,
            limits: self.policy.run.clone(),
            gpus,
        }
    }
}

/// What is measured, on what, by which rules.
struct Subject {
    archive: Archive,
    dataset: Arc<Dataset>,
    rules: MeterRules,
    seed: Digest,
}

impl Subject {
    /// Waits for the container to connect, then measures. One connection only: whoever connects
    /// second finds nobody.
    async fn meter(
        self,
        listener: UnixListener,
        progress: watch::Sender<Progress>,
    ) -> MeterOutcome {
        let plan = match MeterPlan::new(&self.dataset, &self.rules, &self.seed) {
            Ok(plan) => plan,
            Err(error) => return no_measurement(&error.to_string()),
        };
        let stream: UnixStream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return no_measurement(&format!("the meter's socket failed: {error}")),
        };
        drop(listener);
        run_meter(stream, &self.archive, plan, &progress).await
    }
}

fn no_measurement(detail: &str) -> MeterOutcome {
    MeterOutcome {
        ending: Ending::EngineFailed { detail: clip_detail(detail) },
        metrics: None,
        logs: Vec::new(),
        peer_left: false,
    }
}

/// Lets the meter speak to the container until one of them ends, then ends the other.
async fn measure(
    run: &mut Run,
    listener: UnixListener,
    subject: Subject,
    stopped: oneshot::Receiver<Ending>,
    progress: watch::Sender<Progress>,
) -> (Option<MeterOutcome>, RunReport) {
    let mut metering = tokio::spawn(subject.meter(listener, progress));
    let mut stopped = stopped;
    let measured = tokio::select! {
        measured = &mut metering => measured.ok(),
        report = run.finished() => {
            // What the container said last may still be on its way to the meter.
            let rest = tokio::time::timeout(LAST_WORDS_MAX, &mut metering).await;
            metering.abort();
            return (rest.ok().and_then(Result::ok), report);
        }
        asked = &mut stopped => {
            metering.abort();
            run.stop(Some(asked.unwrap_or(Ending::Stopped)));
            let report = run.finished().await;
            return (None, report);
        }
    };
    run.stop(None);
    let report = run.finished().await;
    (measured, report)
}

/// One ending from two witnesses. What the meter measured or proved stands, whatever happened
/// afterwards; where the container only fell silent or failed, a limit seen from outside explains
/// why.
fn combine(measured: Option<MeterOutcome>, report: &RunReport) -> (Ending, Option<Metrics>) {
    let from_outside = report.ending.clone();
    match measured {
        Some(MeterOutcome { ending: Ending::Completed, metrics: Some(mut metrics), .. }) => {
            metrics.peak_memory_bytes = report.usage.peak_memory_bytes;
            (Ending::Completed, Some(metrics))
        }
        Some(MeterOutcome { ending, peer_left, .. }) => {
            let is_vague =
                matches!(ending, Ending::SubmissionFailed { .. } | Ending::ContractViolated { .. });
            let is_limit = from_outside.as_ref().is_some_and(is_limit);
            match from_outside {
                Some(outside) if peer_left || (is_vague && is_limit) => {
                    (with_last_words(outside, report), None)
                }
                _ if peer_left => (with_last_words(ending, report), None),
                _ => (ending, None),
            }
        }
        None => {
            let detail = "the container ended before the meter".to_owned();
            let ending = from_outside.unwrap_or(Ending::SubmissionFailed { detail });
            (with_last_words(ending, report), None)
        }
    }
}

/// Whether the ending names a limit that was hit: more than an exception inside can tell.
fn is_limit(ending: &Ending) -> bool {
    matches!(
        ending,
        Ending::OutOfMemory | Ending::OutOfPids | Ending::TooMuchOutput | Ending::TooSlow { .. }
    )
}

/// Adds what the container printed last, if that is what explains the ending.
fn with_last_words(ending: Ending, report: &RunReport) -> Ending {
    let words = report.output_tail.trim();
    match ending {
        Ending::SubmissionFailed { detail } if !words.is_empty() => {
            let last_line = words.lines().last().unwrap_or_default();
            let detail = if detail.contains(last_line) {
                detail
            } else {
                clip_detail(&format!("{detail} (last line of output: {last_line})"))
            };
            Ending::SubmissionFailed { detail }
        }
        other => other,
    }
}

fn crashed() -> node_core::admission::Rejection {
    node_core::admission::Rejection {
        rule: node_core::admission::Rule::ArchiveFormat,
        file: None,
        line: None,
        detail: "the archive cannot be read".to_owned(),
    }
}

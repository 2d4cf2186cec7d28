//! One run: a container for the submission, the meter outside of it, and what came of both.
//!
//! ```text
//! run directory (gate, shim, socket) -> container created, checked, started, ahead or now
//!   -> its run comes: the gate is opened -> shim connects -> meter speaks to it until it has
//!   measured everything, or something ends one of the two
//! -> container removed, run directory removed -> ending and metrics
//! ```
//!
//! Archives are in memory since their admission, and the next container of a device is made while
//! its run goes on: between two runs of a device little is left to do.

mod ahead;
mod directory;
mod idle;
mod shelf;
#[cfg(test)]
mod tests;
mod verdict;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node_core::admission::Verdict;
use node_core::assignment::Assignment;
use node_core::duplicates::Sketch;
use node_core::evidence::Metrics;
use node_core::funnel::{Task, Trainer, UnitPlan};
use node_core::id::{ContentDigest, Digest, RunId};
use node_core::inventory::{Device, DeviceKind};
use node_core::limits::clip_detail;
use node_core::machine::effect::RunSpec;
use node_core::machine::event::Event;
use node_core::outcome::Ending;
use node_core::policy::{GateMode, MeterRules, Policy, UntrainedRules};
use node_evaluator::admit::{admit, read_project, Admitted};
use node_evaluator::archive::{read_archive, Archive};
use node_evaluator::dataset::Dataset;
use node_evaluator::gates::Gates;
use node_evaluator::meter::{
    run_meter, Entries, MeterOutcome, MeterPlan, OtherProject, ProbePlan, TokenizerSource,
};
use node_evaluator::project::Project;
use node_evaluator::reference::references;
use node_evaluator::tokenizer::Tokenizer;
use node_runner::{Engine, Leftover, Owner, Run, RunLabels, RunReport};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};

use self::ahead::{Ahead, Berth, Channel, Template};
use self::directory::RunDirectory;
use self::shelf::Shelf;
use self::verdict::{combine, unheard};
use super::engine_watch::fault_of;
use super::perform::describe;

pub use self::idle::{IdleGap, IdleGaps};
pub use node_evaluator::meter::Progress;

/// Pause before a container that could not be removed is tried again.
const REMOVE_AGAIN: Duration = Duration::from_secs(5);

/// How long the removal of what was made ahead may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// How long the meter may read what an ended container said last.
const LAST_WORDS_MAX: Duration = Duration::from_secs(5);

/// Runs assignments on this host.
#[derive(Debug)]
pub struct Evaluator {
    engine: Engine,
    image: Digest,
    policy: Policy,
    gates: Arc<Gates>,
    dataset: Arc<Dataset>,
    /// Holds one directory per container.
    runs_dir: PathBuf,
    /// Containers of an earlier life, by run.
    leftovers: tokio::sync::Mutex<BTreeMap<RunId, Leftover>>,
    ahead: Ahead,
    shelf: Shelf,
    idle: Arc<IdleGaps>,
}

/// The files that a run takes, as far as they are here.
#[derive(Clone, Debug, Default)]
pub struct Archives {
    /// The submission's.
    pub own: Option<Arc<Archive>>,
    /// Those of the submission whose architecture it trains, if it names one by its content.
    pub architecture: Option<Arc<Archive>>,
}

/// What an evaluator needs.
#[derive(Debug)]
pub struct EvaluatorParts {
    /// Makes and starts containers.
    pub engine: Engine,
    /// The evaluator image.
    pub image: Digest,
    /// What is measured, within which limits, and the gates before it.
    pub gates: Arc<Gates>,
    /// On which text.
    pub dataset: Arc<Dataset>,
    /// Holds one directory per container.
    pub runs_dir: PathBuf,
    /// Containers of an earlier life, by run.
    pub leftovers: BTreeMap<RunId, Leftover>,
}

impl Evaluator {
    /// One that has no container yet: see [`Evaluator::prepare`].
    #[must_use]
    pub fn new(parts: EvaluatorParts) -> Self {
        let EvaluatorParts { engine, image, gates, dataset, runs_dir, leftovers } = parts;
        let policy = gates.policy().clone();
        let ahead = Ahead::new(engine.clone(), runs_dir.clone(), policy.run.warm_start);
        Self {
            engine,
            image,
            policy,
            gates,
            dataset,
            runs_dir,
            leftovers: tokio::sync::Mutex::new(leftovers),
            ahead,
            shelf: Shelf::default(),
            idle: Arc::default(),
        }
    }

    /// How long each device stood idle between its runs.
    #[must_use]
    pub fn idle_gaps(&self) -> Arc<IdleGaps> {
        Arc::clone(&self.idle)
    }

    /// Why the container engine does not answer; `None` if it does.
    pub(crate) async fn engine_fault(&self) -> Option<String> {
        fault_of(&self.engine).await
    }

    /// Has a container made for the first run of each device that the policy's runs fit on, once
    /// nothing of an earlier life is left on any of them.
    pub async fn prepare(&self, devices: &[Device]) {
        self.remove_leftovers().await;
        let limits = &self.policy.run;
        let fit: Vec<Device> =
            devices.iter().filter(|device| device.kind == limits.device).cloned().collect();
        // Which of them a gang gets is known later; a container for others is replaced then.
        for gang in fit.chunks_exact(usize::from(limits.device_count.max(1))) {
            self.prepare_next(gang, &self.template(1, gang));
        }
    }

    /// Has the container made that runs next on these devices; it is kept for the first of them.
    fn prepare_next(&self, devices: &[Device], template: &Template) {
        if let Some(first) = devices.first() {
            self.ahead.prepare(&first.id, template);
        }
    }

    /// Removes what was made ahead, and makes no more.
    pub async fn close(&self) {
        if tokio::time::timeout(CLOSE_MAX, self.ahead.close()).await.is_err() {
            tracing::warn!("containers made ahead are left; the next start removes them");
        }
    }

    /// Judges an archive before anything of it runs. One that is admitted stays in memory. `None`
    /// if this node failed over it.
    pub async fn admit(
        &self,
        bytes: Vec<u8>,
        content: ContentDigest,
    ) -> Option<(Verdict, Option<Sketch>)> {
        let gates = Arc::clone(&self.gates);
        let judged = tokio::task::spawn_blocking(move || admit(&bytes, &content, &gates)).await;
        let (verdict, admitted) = judged
            .inspect_err(|error| tracing::error!(%content, %error, "admission panicked"))
            .ok()?;
        let sketch = admitted.map(|Admitted { archive, sketch }| {
            self.shelf.put(content, Arc::new(archive));
            sketch
        });
        Some((verdict, sketch))
    }

    /// A submission's files from memory, or from the archive that `read` brings; `None` if that is
    /// not there or cannot be read.
    pub async fn archive(
        &self,
        content: &ContentDigest,
        read: impl Future<Output = Option<Vec<u8>>>,
    ) -> Option<Arc<Archive>> {
        if let Some(archive) = self.shelf.get(content) {
            return Some(archive);
        }
        let limits = self.policy.archive.clone();
        // A reference ships with the node.
        let shipped = references().iter().find(|reference| reference.digest() == *content);
        let bytes = match shipped {
            Some(reference) => reference.packed(&limits).ok()?.bytes,
            None => read.await?,
        };
        let read = tokio::task::spawn_blocking(move || read_archive(&bytes, &limits).ok()).await;
        let archive = Arc::new(read.ok().flatten()?);
        self.shelf.put(*content, Arc::clone(&archive));
        Some(archive)
    }

    /// Removes the container of a run that an earlier life started, however long that takes.
    pub(crate) async fn remove_leftover(&self, run: RunId) {
        let mut leftovers = self.leftovers.lock().await;
        if let Some(leftover) = leftovers.get(&run) {
            self.remove_for_sure(leftover).await;
            leftovers.remove(&run);
        }
    }

    async fn remove_leftovers(&self) {
        let leftovers: Vec<RunId> = self.leftovers.lock().await.keys().copied().collect();
        for leftover in leftovers {
            self.remove_leftover(leftover).await;
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
    /// - `archives`: the submission's files, and those of another one that it needs.
    /// - `stopped`: asks for an early end, with its name.
    /// - `started`: is told when the container runs.
    pub async fn run(
        &self,
        spec: RunSpec,
        archives: Archives,
        stopped: oneshot::Receiver<Ending>,
        progress: watch::Sender<Progress>,
        started: mpsc::Sender<Event>,
    ) -> (Ending, Option<Metrics>) {
        let granted = Instant::now();
        spec.devices.iter().for_each(|device| self.idle.granted(&device.id, granted));
        // What an earlier life left behind may still use the device.
        self.remove_leftovers().await;
        let Archives { own: Some(archive), architecture } = archives else {
            let detail = "the submission's archive is not in the store any more".to_owned();
            return (Ending::EngineFailed { detail }, None);
        };
        let (run, devices) = (spec.run, spec.devices.clone());
        let metered = self.subject(&spec, archive, architecture, progress);
        let outcome = match self.try_run(spec, metered, stopped, started).await {
            Ok(outcome) => outcome,
            Err(ending) => (ending, None),
        };
        let ended = Instant::now();
        devices.iter().for_each(|device| self.idle.ended(&device.id, ended));
        let (ending, next) = (&outcome.0, outcome.0.consequence());
        let names: Vec<&str> = devices.iter().map(|device| device.id.0.as_str()).collect();
        let device = names.join(", ");
        tracing::info!(target: "assay", %run, %device, %ending, next, "run over");
        let flags = outcome.1.iter().flat_map(|metrics| &metrics.conduct.flags);
        let flags: Vec<&str> = flags.map(|flag| flag.name()).collect();
        if !flags.is_empty() {
            let found = flags.join(", ");
            tracing::warn!(%run, found, "the gate of the untrained model is in shadow, and found");
        }
        outcome
    }

    /// The container of a run in a tier.
    fn template(&self, tier: u8, devices: &[Device]) -> Template {
        Template { image: self.image, limits: self.policy.limits_in(tier), gpus: gpus_of(devices) }
    }

    /// Starts the meter of a run: it plans while the container starts, and waits for it.
    fn subject(
        &self,
        spec: &RunSpec,
        archive: Arc<Archive>,
        architecture: Option<Arc<Archive>>,
        progress: watch::Sender<Progress>,
    ) -> Metered {
        let (channel, expected) = oneshot::channel();
        let named = spec.architecture.as_ref().map(|source| source.content);
        let subject = Subject {
            archive,
            other: named.zip(architecture),
            dataset: Arc::clone(&self.dataset),
            policy: self.policy.clone(),
            assignment: spec.assignment.clone(),
            devices: spec.devices.clone(),
            untrained: spec.untrained,
        };
        Metered { channel, task: tokio::spawn(subject.meter(expected, progress)) }
    }

    async fn try_run(
        &self,
        spec: RunSpec,
        metered: Metered,
        mut stopped: oneshot::Receiver<Ending>,
        started: mpsc::Sender<Event>,
    ) -> Result<(Ending, Option<Metrics>), Ending> {
        let Metered { channel: to_meter, task } = metered;
        // Given up together with this future.
        let task = AbortOnDrop(task);
        let template = self.template(spec.assignment.tier, &spec.devices);
        let devices = spec.devices.clone();
        let Berth { mut run, channel, directory } = self.berth(&spec, &template).await?;
        let clock = Stopping::after(Duration::from_millis(template.limits.graceful_stop_ms()));
        // The loop is gone only when the process is about to end.
        drop(started.send(Event::RunStarted { run: spec.run }).await);
        let connected = connected(&mut run, channel, &mut stopped).await;
        if connected.is_ok() {
            let begun = Instant::now();
            devices.iter().for_each(|device| self.idle.begun(&device.id, begun));
        }
        // Not earlier: one start at a time is faster than two.
        self.prepare_next(&devices, &template);
        let (measured, report) = match connected {
            Ok(stream) => {
                // The meter is gone only if it cannot measure, and tells why.
                drop(to_meter.send(stream));
                measure(&mut run, task, stopped, clock).await
            }
            Err(report) => (None, report),
        };
        if !report.removed {
            self.remove_stubborn(spec.run).await;
        }
        drop(directory);
        Ok(combine(measured, &report))
    }

    /// A running container for a run: the one that was made ahead, or one that is made now.
    async fn berth(&self, spec: &RunSpec, template: &Template) -> Result<Berth, Ending> {
        let spare = match spec.devices.first() {
            Some(first) => self.ahead.take(&first.id, template).await,
            None => None,
        };
        if let Some(spare) = spare {
            match spare.assign(&spec.run).await {
                Ok(berth) => return Ok(berth),
                // Somebody pruned containers, or the engine was restarted: make another one.
                Err(error) => tracing::warn!(error, "a container made ahead was of no use"),
            }
        }
        let failed = |error| Ending::EngineFailed { detail: clip_detail(&describe(&error)) };
        // Short, because a socket's path has at most 108 bytes.
        let path = self.runs_dir.join(spec.run.short());
        let (directory, listener) = RunDirectory::make(path).map_err(failed)?;
        // The same way as ahead of a run, with nothing to wait for.
        directory.open_gate().map_err(failed)?;
        let owner = Owner::Run(RunLabels {
            run: spec.run,
            assignment: spec.assignment.id,
            lease: spec.lease,
            attempt: spec.attempt,
        });
        let sandbox = template.sandbox(owner, &directory);
        let container = self.engine.create(sandbox).await.map_err(|error| error.ending())?;
        let run = container.start().await.map_err(|error| error.ending())?;
        Ok(Berth { run, channel: Channel::Expected(listener), directory })
    }
}

/// A meter on a task of its own, which waits for a container's connection.
struct Metered {
    channel: oneshot::Sender<UnixStream>,
    task: tokio::task::JoinHandle<MeterOutcome>,
}

/// A task that does not outlive whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<MeterOutcome>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// UUIDs of the GPUs or slices that a container gets with these devices.
fn gpus_of(devices: &[Device]) -> Vec<String> {
    let gpus = devices.iter().filter(|device| device.kind != DeviceKind::CpuSlot);
    gpus.map(|device| device.id.to_string()).collect()
}

/// What is measured, on what, by which rules.
struct Subject {
    archive: Arc<Archive>,
    /// The submission whose architecture is trained, and its files.
    other: Option<(ContentDigest, Arc<Archive>)>,
    dataset: Arc<Dataset>,
    policy: Policy,
    assignment: Assignment,
    devices: Vec<Device>,
    /// What the gate of the untrained model does; `Off` where it does not ask.
    untrained: GateMode,
}

impl Subject {
    async fn plan(&self) -> Result<MeterPlan<'_>, Ending> {
        self.check_dataset().await?;
        let project = self.project()?;
        let (unit, rules) = self.unit(&project)?;
        let seed = &self.assignment.seed;
        let (trainer, rules, probes) = match unit.task {
            Task::Text { trainer, scale: _ } => (trainer, rules, None),
            Task::Probes => {
                let probes = ProbePlan::new(seed, rules.train_bytes);
                // They have a budget instead of a text.
                (Trainer::Reference, MeterRules { train_bytes: 0, ..rules }, Some(probes))
            }
        };
        let entries = self.entries(&project, trainer)?;
        let planned = match entries.tokenizer.as_ref().filter(|_| probes.is_none()) {
            None => MeterPlan::new(&self.dataset, &rules, seed),
            Some(source) => {
                let tokenizer = self.tokenizer(source, &entries).await?;
                MeterPlan::with_tokenizer(&self.dataset, &rules, seed, tokenizer)
            }
        };
        let planned = planned.map_err(|error| no_plan(&error.to_string()))?;
        let ranks = u32::try_from(self.devices.len()).unwrap_or(u32::MAX);
        // It has to see the devices that it was given, and no others.
        let plan = planned.on_devices(gpus_of(&self.devices));
        let plan = plan.with_entries(entries).with_world_size(ranks);
        let gate = &self.policy.admission.untrained;
        let plan = match self.untrained {
            mode @ (GateMode::Reject | GateMode::Flag) => {
                plan.through_gate(&UntrainedRules { mode, ..gate.clone() }, seed)
            }
            GateMode::Off => plan.under_gate(gate),
        };
        Ok(match probes {
            Some(probes) => plan.for_probes(probes),
            None => plan,
        })
    }

    /// Refuses to measure with a text that is not what the manifest says.
    async fn check_dataset(&self) -> Result<(), Ending> {
        let dataset = Arc::clone(&self.dataset);
        let checked = tokio::task::spawn_blocking(move || {
            dataset.verify().map_err(|error| error.to_string())
        });
        let checked = checked.await.unwrap_or_else(|_| Err("it cannot be checked".to_owned()));
        checked.map_err(|error| {
            tracing::error!(error, "the data set is not what it was when the node started");
            Ending::DatasetMissing
        })
    }

    /// What the archive holds. It was read at admission, by the same rules.
    fn project(&self) -> Result<Project, Ending> {
        read_project(&self.archive, &self.policy)
            .map_err(|rejection| violated(&rejection.to_string()))
    }

    /// What is called to run the project. That what it names is not here is this node's lack, and
    /// not the project's.
    fn entries(&self, project: &Project, trainer: Trainer) -> Result<Entries, Ending> {
        let runnable = |other| {
            let entries = Entries::of(project, trainer, other);
            entries.map_err(|error| violated(&error.to_string()))
        };
        let Some(named) = project.named_content() else { return runnable(None) };
        let Some((content, archive)) = self.other.as_ref().filter(|(of, _)| *of == named) else {
            return Err(no_plan(&format!("the architecture of `{named}` is not here")));
        };
        let other = read_project(archive, &self.policy)
            .map_err(|rejection| no_plan(&format!("`{named}` is no project: {rejection}")))?;
        runnable(Some(OtherProject { content: *content, archive, project: &other }))
    }

    /// What this assignment measures, and by which rules. A unit that the policy does not have is
    /// the mistake of whoever assigned it.
    fn unit(&self, project: &Project) -> Result<(UnitPlan, MeterRules), Ending> {
        let (tier, unit) = (self.assignment.tier, self.assignment.unit);
        let planned = self.policy.scoring.funnel.tier(tier).and_then(|rules| {
            let plan = rules.unit(project.kind, unit)?;
            Some((plan, plan.meter_rules(&self.policy.meter, rules)))
        });
        let kind = project.kind;
        planned.ok_or_else(|| {
            no_plan(&format!("tier {tier} has no unit {unit} for a project of kind {kind:?}"))
        })
    }

    /// Reads the run's tokenizer where neither its size nor a panic holds up others.
    async fn tokenizer(
        &self,
        source: &TokenizerSource,
        entries: &Entries,
    ) -> Result<Tokenizer, Ending> {
        let rules = self.policy.meter.tokens.clone();
        let refused = |error: &str| Ending::TokenizerRefused { detail: clip_detail(error) };
        let json = match source {
            TokenizerSource::Reference(tokenizer) => tokenizer.json().as_bytes().to_vec(),
            TokenizerSource::File(path) => {
                let found = self.archive.files.get(path).or_else(|| entries.provided.get(path));
                found.cloned().ok_or_else(|| refused(&format!("there is no `{path}`")))?
            }
        };
        let read = tokio::task::spawn_blocking(move || {
            Tokenizer::read(&json, &rules).map_err(|error| error.to_string())
        });
        let read = read.await.unwrap_or_else(|_| Err("it cannot be read".to_owned()));
        read.map_err(|error| refused(&error))
    }

    /// Plans, waits for the container's connection, then measures.
    async fn meter(
        self,
        channel: oneshot::Receiver<UnixStream>,
        progress: watch::Sender<Progress>,
    ) -> MeterOutcome {
        let plan = match self.plan().await {
            Ok(plan) => plan,
            Err(ending) => return no_measurement(ending),
        };
        match channel.await {
            Ok(stream) => run_meter(stream, &self.archive, plan, &progress).await,
            Err(_no_container) => {
                let detail = "there is no container".to_owned();
                no_measurement(Ending::EngineFailed { detail })
            }
        }
    }
}

fn violated(detail: &str) -> Ending {
    Ending::ContractViolated { detail: clip_detail(detail) }
}

fn no_plan(detail: &str) -> Ending {
    Ending::EngineFailed { detail: clip_detail(&format!("no plan: {detail}")) }
}

fn no_measurement(ending: Ending) -> MeterOutcome {
    MeterOutcome { ending, metrics: None, logs: Vec::new(), peer_left: false }
}

/// When the meter gives up by itself: before the supervisor's wall clock, which kills.
struct Stopping {
    started: Instant,
    after: Duration,
}

impl Stopping {
    fn after(after: Duration) -> Self {
        Self { started: Instant::now(), after }
    }

    /// Returns how the run ends, when its time is over.
    async fn over(&self) -> Ending {
        tokio::time::sleep(self.after.saturating_sub(self.started.elapsed())).await;
        let ran_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ending::TooSlow { ran_ms }
    }
}

/// Waits until the container's program has connected, which is its first act. One connection only:
/// whoever connects second finds nobody. Otherwise how the run went, which is over then.
async fn connected(
    run: &mut Run,
    channel: Channel,
    stopped: &mut oneshot::Receiver<Ending>,
) -> Result<UnixStream, RunReport> {
    let listener = match channel {
        Channel::Open(stream) => return Ok(stream),
        Channel::Expected(listener) => listener,
    };
    let ending = tokio::select! {
        accepted = listener.accept() => match accepted {
            Ok((stream, _)) => return Ok(stream),
            Err(error) => {
                let detail = clip_detail(&format!("the meter's socket failed: {error}"));
                Ending::EngineFailed { detail }
            }
        },
        report = run.finished() => return Err(unheard(report)),
        asked = stopped => asked.unwrap_or(Ending::Stopped),
    };
    run.stop(Some(ending));
    Err(run.finished().await)
}

/// Lets the meter speak to the container until one of them ends, then ends the other.
async fn measure(
    run: &mut Run,
    mut metering: AbortOnDrop,
    mut stopped: oneshot::Receiver<Ending>,
    clock: Stopping,
) -> (Option<MeterOutcome>, RunReport) {
    let measured = tokio::select! {
        measured = &mut metering.0 => measured.ok(),
        report = run.finished() => {
            // What the container said last may still be on its way to the meter.
            let rest = tokio::time::timeout(LAST_WORDS_MAX, &mut metering.0).await;
            return (rest.ok().and_then(Result::ok), report);
        }
        asked = &mut stopped => {
            metering.0.abort();
            run.stop(Some(asked.unwrap_or(Ending::Stopped)));
            let report = run.finished().await;
            return (None, report);
        }
        too_slow = clock.over() => {
            metering.0.abort();
            run.stop(Some(too_slow));
            let report = run.finished().await;
            return (None, report);
        }
    };
    run.stop(None);
    let report = run.finished().await;
    (measured, report)
}

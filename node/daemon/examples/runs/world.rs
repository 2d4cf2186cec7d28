//! An evaluator with a submission, as the daemon has it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node_core::admission::Verdict;
use node_core::assignment::Assignment;
use node_core::id::{
    sha256, AssignmentId, Attempt, ContentDigest, Digest, LeaseId, RunId, SubmissionId,
};
use node_core::inventory::{Device, DeviceId, DeviceKind};
use node_core::machine::effect::RunSpec;
use node_core::outcome::Ending;
use node_core::policy::{GateMode, Policy};
use node_daemon::run::{Archives, Evaluator, EvaluatorParts, Progress};
use node_evaluator::archive::pack;
use node_evaluator::dataset::{prepare, Dataset};
use node_evaluator::gates::Gates;
use node_runner::{Engine, EngineConfig, Leftover};
use tokio::sync::{mpsc, oneshot, watch};

use crate::Failed;

/// The image with torch.
pub(crate) const IMAGE: &str = "assay-evaluator:cpu";

/// A submission that learns how often a byte follows another.
const SUBMISSION: &str = "../../tests/fixtures/submissions/bigram";

/// How long a container made ahead may take to be there.
const READY_MAX: Duration = Duration::from_secs(60);

pub(crate) fn device() -> Device {
    Device::new(DeviceId("cpu-0".to_owned()), DeviceKind::CpuSlot, "one CPU", 8192)
}

/// Connects as a node of this name and removes what it left the last time.
pub(crate) async fn connect(name: &str) -> Result<(Engine, Digest), Failed> {
    let node = sha256(name.as_bytes()).to_string();
    let engine = Engine::connect(EngineConfig { host: None, runtime: None, node }).await?;
    let image = engine.image(IMAGE).await?.ok_or("run scripts/images evaluator first")?;
    for leftover in engine.leftovers().await? {
        engine.remove_leftover(&leftover).await?;
    }
    Ok((engine, image))
}

/// An evaluator to which one submission was admitted.
pub(crate) struct World {
    pub(crate) evaluator: Arc<Evaluator>,
    engine: Engine,
    content: ContentDigest,
    policy: Digest,
    next: u64,
    name: &'static str,
    _dir: tempfile::TempDir,
}

impl World {
    /// - `batches`: of the training budget.
    pub(crate) async fn new(
        name: &'static str,
        warm_start: bool,
        batches: u64,
    ) -> Result<Self, Failed> {
        let (engine, image) = connect(name).await?;
        let mut policy = Policy::dev();
        policy.run.warm_start = warm_start;
        for tier in &mut policy.scoring.funnel.tiers {
            tier.train_bytes = batches * 16 * 64;
        }
        policy.meter.heldout_bytes = 1024;
        let dir = tempfile::tempdir()?;
        let evaluator = Arc::new(Evaluator::new(EvaluatorParts {
            engine: engine.clone(),
            image,
            gates: Arc::new(Gates::check(&policy)),
            dataset: Arc::new(dataset(dir.path())?),
            runs_dir: dir.path().join("runs"),
            leftovers: std::collections::BTreeMap::new(),
        }));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(SUBMISSION);
        let packed = pack(&source, &policy.archive)?;
        let (content, policy) = (packed.digest, policy.digest());
        match evaluator.admit(packed.bytes, content).await.ok_or("admission panicked")?.0 {
            Verdict::Admitted { .. } => {}
            Verdict::Rejected { rejection } => return Err(rejection.to_string().into()),
        }
        Ok(Self { evaluator, engine, content, policy, next: 0, name, _dir: dir })
    }

    fn spec(&mut self) -> RunSpec {
        self.next += 1;
        let unique = format!("{} {} {}", self.name, self.next, std::process::id());
        RunSpec {
            run: RunId(sha256(unique.as_bytes()).0),
            assignment: Assignment {
                id: AssignmentId([1; 32]),
                submission: SubmissionId([2; 32]),
                content: self.content,
                tier: 0,
                unit: 0,
                replica: 0,
                seed: Digest([3; 32]),
                policy: self.policy,
            },
            lease: LeaseId([4; 32]),
            attempt: Attempt(1),
            devices: vec![device()],
            untrained: GateMode::Off,
            architecture: None,
        }
    }

    /// Runs the submission to its end.
    pub(crate) async fn run(&mut self) -> Result<(), Failed> {
        let (_stop, stopped) = oneshot::channel();
        let (started, _events) = mpsc::channel(1);
        let progress = watch::Sender::new(Progress::default());
        let spec = self.spec();
        let own = self.evaluator.archive(&self.content, async { None }).await;
        let archives = Archives { own, ..Archives::default() };
        match self.evaluator.run(spec, archives, stopped, progress, started).await.0 {
            Ending::Completed => Ok(()),
            other => Err(other.to_string().into()),
        }
    }

    /// From "granted" until the model has answered for the second training batch: the first
    /// optimizer step is over. Ends the run then.
    pub(crate) async fn first_step(&mut self) -> Result<Duration, Failed> {
        let (stop, stopped) = oneshot::channel();
        let (started, _events) = mpsc::channel(1);
        let (progress, mut watched) = watch::channel(Progress::default());
        let (evaluator, spec) = (Arc::clone(&self.evaluator), self.spec());
        let granted = Instant::now();
        let run = tokio::spawn(async move {
            let own = evaluator.archive(&spec.assignment.content, async { None }).await;
            let archives = Archives { own, ..Archives::default() };
            evaluator.run(spec, archives, stopped, progress, started).await
        });
        watched.wait_for(|progress| progress.batches_done >= 2).await?;
        let elapsed = granted.elapsed();
        drop(stop.send(Ending::Stopped));
        run.await?;
        Ok(elapsed)
    }

    /// Has a container made ahead, and waits until it is as ready as it gets.
    pub(crate) async fn prepare(&self) -> Result<(), Failed> {
        self.evaluator.prepare(&[device()]).await;
        let is_ahead = |left: &Leftover| left.run.is_none() && left.running;
        self.wait_for(|left| left.len() == 1 && left.iter().all(is_ahead)).await?;
        // A warm one imports torch, which nobody outside is told about. Nothing else runs.
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok(())
    }

    async fn wait_for(&self, is_so: impl Fn(&[Leftover]) -> bool) -> Result<(), Failed> {
        let give_up = Instant::now() + READY_MAX;
        while !is_so(&self.engine.leftovers().await?) {
            if Instant::now() > give_up {
                return Err("a container made ahead is not there in time".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}

fn dataset(dir: &Path) -> Result<Dataset, Failed> {
    let line = |n: usize| format!("{n} and the {} begat {} in the land\n", n * 7919, n * 104_729);
    let chapter = |c: usize| (0..60).map(|n| line(c * 60 + n)).collect::<String>() + "\n";
    let input = dir.join("text");
    std::fs::write(&input, (0..300).map(chapter).collect::<String>())?;
    Ok(prepare(&[input], &dir.join("data"))?)
}

//! Runs of a small submission in the real evaluator image.
//!
//! Needs an engine and that image; without them every test fails and says so.

use node_core::id::{sha256, AssignmentId, Attempt, LeaseId, SubmissionId};
use node_core::inventory::DeviceId;
use node_evaluator::archive::pack;
use node_evaluator::dataset::prepare;
use node_runner::{EngineConfig, Gate, SandboxSpec};

use super::*;

const IMAGE: &str = "assay-evaluator:cpu";

/// One without Python.
const IMAGE_BARE: &str = "assay-test:busybox";

/// A submission that learns how often a byte follows another.
const SUBMISSION: &str = "../../tests/fixtures/submissions/bigram";

/// An evaluator of its own, with a submission that was admitted to it.
struct World {
    evaluator: Arc<Evaluator>,
    engine: Engine,
    content: ContentDigest,
    name: &'static str,
    _dir: tempfile::TempDir,
}

impl World {
    /// - `name`: of the node; its containers are told apart by it.
    /// - `batches`: of the training budget.
    async fn new(name: &'static str, warm_start: bool, batches: u64) -> Self {
        Self::in_image(IMAGE, name, warm_start, batches).await
    }

    async fn in_image(image: &str, name: &'static str, warm_start: bool, batches: u64) -> Self {
        let node = sha256(name.as_bytes()).to_string();
        let config = EngineConfig { host: None, runtime: None, node };
        let engine = Engine::connect(config).await.expect("run scripts/engine ensure --install");
        let image = engine.image(image).await.expect("the engine answers");
        let image = image.expect("run scripts/images evaluator && scripts/images busybox");
        for leftover in engine.leftovers().await.unwrap() {
            engine.remove_leftover(&leftover).await.unwrap();
        }
        let mut policy = Policy::dev();
        policy.run.warm_start = warm_start;
        policy.meter.train_bytes = batches * 16 * 64;
        policy.meter.heldout_bytes = 1024;
        let dir = tempfile::tempdir().unwrap();
        let evaluator = Arc::new(Evaluator::new(EvaluatorParts {
            engine: engine.clone(),
            image,
            policy: policy.clone(),
            dataset: Arc::new(dataset(dir.path())),
            runs_dir: dir.path().join("runs"),
            leftovers: BTreeMap::new(),
        }));
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SUBMISSION);
        let packed = pack(&source, &policy.archive).unwrap();
        let verdict = evaluator.admit(packed.bytes, packed.digest).await;
        assert!(matches!(verdict, Verdict::Admitted { .. }), "{verdict:?}");
        Self { evaluator, engine, content: packed.digest, name, _dir: dir }
    }

    fn device() -> Device {
        Device::new(DeviceId("cpu-0".to_owned()), DeviceKind::CpuSlot, "one CPU", 8192)
    }

    fn spec(&self, number: u64) -> RunSpec {
        let unique = format!("{} {number} {}", self.name, std::process::id());
        let assignment = node_core::assignment::Assignment {
            id: AssignmentId([1; 32]),
            submission: SubmissionId([2; 32]),
            content: self.content,
            tier: 0,
            replica: 0,
            seed: Digest([3; 32]),
            policy: self.evaluator.policy.digest(),
        };
        RunSpec {
            run: RunId(sha256(unique.as_bytes()).0),
            assignment,
            lease: LeaseId([4; 32]),
            attempt: Attempt(1),
            devices: vec![Self::device()],
        }
    }

    /// Runs the submission to its end.
    async fn run(&self, number: u64) -> (Ending, Option<Metrics>) {
        let (_stop, stopped) = oneshot::channel();
        let (started, _events) = mpsc::channel(1);
        let progress = watch::Sender::new(Progress::default());
        let archive = self.evaluator.archive(&self.content, async { None }).await;
        self.evaluator.run(self.spec(number), archive, stopped, progress, started).await
    }

    /// Makes a container ahead and waits until it is there.
    async fn prepare(&self) {
        self.evaluator.prepare(&[Self::device()]).await;
        self.wait_for(|left| left.len() == 1 && left[0].running).await;
    }

    async fn wait_for(&self, is_so: impl Fn(&[Leftover]) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(30);
        loop {
            let left = self.engine.leftovers().await.unwrap();
            if is_so(&left) {
                return;
            }
            assert!(Instant::now() < give_up, "still {left:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn dataset(dir: &std::path::Path) -> Dataset {
    let line = |n: usize| format!("{n} and the {} begat {} in the land\n", n * 7919, n * 104_729);
    let chapter = |c: usize| (0..60).map(|n| line(c * 60 + n)).collect::<String>() + "\n";
    let input = dir.join("text");
    std::fs::write(&input, (0..300).map(chapter).collect::<String>()).unwrap();
    prepare(&[input], &dir.join("data")).unwrap()
}

/// All that is computed from predictions, without what the host measured.
fn computed((ending, metrics): (Ending, Option<Metrics>)) -> Metrics {
    assert_eq!(ending, Ending::Completed);
    Metrics { peak_memory_bytes: 0, ..metrics.unwrap() }
}

#[tokio::test]
async fn a_run_has_the_same_bits_in_its_own_container_in_one_made_ahead_and_in_a_warm_one() {
    let cold = World::new("bits-cold", false, 6).await;
    let own = computed(cold.run(0).await);
    // While that ran, the next one was made.
    cold.wait_for(|left| left.len() == 1 && left[0].is_ahead && left[0].running).await;
    let ahead = computed(cold.run(1).await);
    cold.evaluator.close().await;

    let warm = World::new("bits-warm", true, 6).await;
    warm.prepare().await;
    let waited = computed(warm.run(0).await);
    assert_eq!(own, ahead);
    assert_eq!(own, waited);
    assert!(own.heldout_nanobpb < own.heldout_init_nanobpb, "it learns: {own:?}");

    // One container, one submission: the next run gets another one.
    warm.wait_for(|left| left.len() == 1 && left[0].run.is_none()).await;
    warm.evaluator.close().await;
    for world in [&cold, &warm] {
        assert_eq!(world.engine.leftovers().await.unwrap(), []);
    }
    let gaps = cold.evaluator.idle_gaps().figures();
    assert_eq!(gaps[&World::device().id].count, 1);
}

#[tokio::test]
async fn a_container_made_ahead_that_somebody_removed_costs_only_its_time() {
    let world = World::new("ahead-gone", false, 1).await;
    world.prepare().await;
    let left = world.engine.leftovers().await.unwrap();
    world.engine.remove_leftover(&left[0]).await.unwrap();
    assert_eq!(world.run(0).await.0, Ending::Completed);
    world.evaluator.close().await;
    // Nothing is made ahead any more.
    assert_eq!(world.run(1).await.0, Ending::Completed);
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn a_container_made_ahead_that_ends_while_it_waits_is_replaced() {
    let world = World::new("ahead-replaced", false, 1).await;
    world.prepare().await;
    let first = world.engine.leftovers().await.unwrap().remove(0);
    world.engine.remove_leftover(&first).await.unwrap();
    let is_another = |left: &[Leftover]| {
        left.len() == 1 && left[0].running && left[0].container_id != first.container_id
    };
    world.wait_for(is_another).await;
    assert_eq!(world.run(0).await.0, Ending::Completed);
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn a_container_whose_program_never_connects_fails_nobodys_submission() {
    let world = World::in_image(IMAGE_BARE, "ahead-no-python", false, 1).await;
    world.prepare().await;
    // Neither the one made ahead nor, after it, the run's own has Python.
    let Ending::EngineFailed { detail } = world.run(0).await.0 else { panic!("it cannot run") };
    assert!(detail.contains("before it connected"), "{detail}");
    assert!(detail.contains("python3: not found"), "{detail}");
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn python_behind_a_gate_is_what_it_would_be_without_one() {
    let world = World::new("gate-python", false, 1).await;
    let facts = "import os, sys; print(sorted(os.environ.items()), sys.argv, sys.executable, \
                 os.getpid(), os.getcwd(), os.listdir('/proc/self/fd'), \
                 [line for line in open('/proc/self/status') if line.startswith('Sig')])";
    let mut said = Vec::new();
    for is_gated in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let gate = Gate::make(dir.path().join("gate")).unwrap();
        gate.open().unwrap();
        let mut command = ["python3", "-I", "-c", facts, "word"].map(str::to_owned).to_vec();
        if is_gated {
            command = Gate::before(command);
        }
        let spec = SandboxSpec {
            owner: Owner::Ahead { device: World::device().id },
            image: world.evaluator.image,
            command,
            binds: vec![gate.bind()],
            limits: world.evaluator.policy.run.clone(),
            gpus: Vec::new(),
        };
        let run = world.engine.create(spec).await.unwrap().start().await;
        said.push(run.unwrap().finished().await.output_tail);
    }
    assert!(said[0].contains("('HOME', '/tmp')") && said[0].contains("'word'"), "{said:?}");
    assert_eq!(said[0], said[1]);
}

//! Runs of a small submission in the real evaluator image.
//!
//! Needs an engine and that image; without them every test fails and says so.

use node_core::commitment::Location;
use node_core::id::{sha256, AssignmentId, Attempt, LeaseId, SubmissionId};
use node_core::inventory::DeviceId;
use node_core::machine::effect::ContentSource;
use node_evaluator::archive::{content_digest, pack};
use node_evaluator::dataset::prepare;
use node_evaluator::gates::Gates;
use node_evaluator::reference::reference;
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
        let mut policy = Policy::dev();
        policy.run.warm_start = warm_start;
        set_batches(&mut policy, batches);
        Self::under(policy, image, name).await
    }

    async fn under(policy: Policy, image: &str, name: &'static str) -> Self {
        let node = sha256(name.as_bytes()).to_string();
        let config = EngineConfig { host: None, runtime: None, node };
        let engine = Engine::connect(config).await.expect("run scripts/engine ensure --install");
        let image = engine.image(image).await.expect("the engine answers");
        let image = image.expect("run scripts/images evaluator && scripts/images busybox");
        for leftover in engine.leftovers().await.unwrap() {
            engine.remove_leftover(&leftover).await.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let evaluator = Arc::new(Evaluator::new(EvaluatorParts {
            engine: engine.clone(),
            image,
            gates: Arc::new(Gates::check(&policy)),
            dataset: Arc::new(dataset(dir.path())),
            runs_dir: dir.path().join("runs"),
            leftovers: BTreeMap::new(),
        }));
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(SUBMISSION);
        let packed = pack(&source, &policy.archive).unwrap();
        let (verdict, _) = evaluator.admit(packed.bytes, packed.digest).await.unwrap();
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
            tier: 1,
            unit: 0,
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
            untrained: self.evaluator.policy.admission.untrained.mode,
            architecture: None,
        }
    }

    /// Runs the submission to its end.
    async fn run(&self, number: u64) -> (Ending, Option<Metrics>) {
        let (_stop, stopped) = oneshot::channel();
        let (started, _events) = mpsc::channel(1);
        let progress = watch::Sender::new(Progress::default());
        let own = self.evaluator.archive(&self.content, async { None }).await;
        let archives = Archives { own, architecture: None };
        self.evaluator.run(self.spec(number), archives, stopped, progress, started).await
    }

    /// Runs other files than those that were admitted, on so many devices.
    async fn run_files(&self, files: Archive, devices: usize) -> (Ending, Option<Metrics>) {
        let slot = |number| Device { id: DeviceId(format!("cpu-{number}")), ..Self::device() };
        let spec = RunSpec { devices: (0..devices).map(slot).collect(), ..self.spec(7) };
        let ran = self.run_spec(spec, files).await;
        self.evaluator.close().await;
        assert_eq!(self.engine.leftovers().await.unwrap(), []);
        ran
    }

    /// Runs other files as a unit of a tier.
    async fn run_unit(&self, files: Archive, tier: u8, unit: u8) -> (Ending, Option<Metrics>) {
        let number = 1_000 + u64::from(tier) * 100 + u64::from(unit);
        let mut spec = self.spec(number);
        (spec.assignment.tier, spec.assignment.unit) = (tier, unit);
        // The gate asks in a submission's first trial.
        if (tier, unit) != (1, 0) {
            spec.untrained = GateMode::Off;
        }
        self.run_spec(spec, files).await
    }

    async fn run_spec(&self, spec: RunSpec, files: Archive) -> (Ending, Option<Metrics>) {
        self.run_with(spec, files, None).await
    }

    /// Runs a training with the files of the submission that it names, if they are here.
    async fn run_recipe(
        &self,
        (tier, unit): (u8, u8),
        files: Archive,
        named: (ContentDigest, Option<Archive>),
    ) -> (Ending, Option<Metrics>) {
        let (content, architecture) = named;
        let mut spec = self.spec(2_000 + u64::from(tier) * 100 + u64::from(unit));
        (spec.assignment.tier, spec.assignment.unit) = (tier, unit);
        let (location, peers) = (Location::Peers, Vec::new());
        spec.architecture = Some(ContentSource { content, location, peers });
        self.run_with(spec, files, architecture).await
    }

    async fn run_with(
        &self,
        spec: RunSpec,
        files: Archive,
        architecture: Option<Archive>,
    ) -> (Ending, Option<Metrics>) {
        let (_stop, stopped) = oneshot::channel();
        let (started, _events) = mpsc::channel(1);
        let progress = watch::Sender::new(Progress::default());
        let (own, architecture) = (Some(Arc::new(files)), architecture.map(Arc::new));
        let archives = Archives { own, architecture };
        self.evaluator.run(spec, archives, stopped, progress, started).await
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
    let metrics = metrics.unwrap();
    assert!(metrics.conduct.wall_ms > 0);
    let conduct = node_core::evidence::Conduct { wall_ms: 0, ..metrics.conduct };
    Metrics { peak_memory_bytes: 0, conduct, ..metrics }
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

/// The files of a fixture or of a reference.
fn files(name: &str) -> Archive {
    if let Some(reference) = reference(name) {
        return Archive { files: reference.files() };
    }
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let fixture = fixtures.join("../../tests/fixtures/submissions").join(name);
    let limits = Policy::dev().archive;
    read_archive(&pack(&fixture, &limits).unwrap().bytes, &limits).unwrap()
}

fn short_policy() -> Policy {
    let mut policy = Policy::dev();
    set_batches(&mut policy, 6);
    policy
}

/// A training budget of so many batches in every tier, and two of held-out text.
fn set_batches(policy: &mut Policy, batches: u64) {
    for tier in &mut policy.scoring.funnel.tiers {
        tier.train_bytes = batches * 16 * 64;
    }
    policy.meter.heldout_bytes = 1024;
}

#[tokio::test]
async fn every_hook_is_counted_and_the_one_that_loses_is_never_called() {
    use node_core::evidence::Hook;
    let world = World::under(short_policy(), IMAGE, "hooks").await;
    let (ending, metrics) = world.run_files(files("hooks"), 1).await;
    assert_eq!(ending, Ending::Completed);
    let metrics = metrics.unwrap();
    assert!(metrics.heldout_nanobpb < metrics.heldout_init_nanobpb, "it learns: {metrics:?}");
    let tables = metrics.conduct.embedding_parameters.unwrap();
    assert!(0 < tables && tables < metrics.parameters, "{tables}");
    let uses = &metrics.conduct.hooks_used;
    assert_eq!(uses.len(), Hook::ALL.len());
    assert_eq!((uses[&Hook::GetRecipe], uses[&Hook::ConfigureOptimizer]), (1, 1));
    assert_eq!((uses[&Hook::TrainStep], uses[&Hook::ComputeLoss]), (6, 6));
    // Once for the model's shape, and for held-out text, audits and batches.
    assert!(uses[&Hook::InferenceLogits] >= 9, "{uses:?}");
    assert_eq!(uses[&Hook::Infer], 0);
}

/// Runs hooks of which only the recipe is there, with this training, on so many devices.
async fn ranks(name: &'static str, devices: u8, training: &str) -> (Ending, Option<Metrics>) {
    let mut policy = short_policy();
    policy.run.device_count = devices;
    let world = World::under(policy, IMAGE, name).await;
    let mut archive = files("hooks");
    archive.files.insert("training.py".to_owned(), training.as_bytes().to_vec());
    world.run_files(archive, usize::from(devices)).await
}

const RANKED: &str = "def get_recipe(ctx):
    assert (ctx.world_size, ctx.local_rank) == (WORLD, ctx.rank), 'wrong place'
    return {'lr': 4e-3}
";

#[tokio::test]
async fn several_devices_train_together_and_keep_their_parameters_identical() {
    for (devices, name) in [(2, "ranks-two"), (4, "ranks-four")] {
        let training = RANKED.replace("WORLD", &devices.to_string());
        let (ending, metrics) = ranks(name, devices, &training).await;
        assert_eq!(ending, Ending::Completed);
        let metrics = metrics.unwrap();
        assert_eq!((metrics.batches, metrics.conduct.trained_batches), (6, 6));
        assert!(metrics.heldout_nanobpb < metrics.heldout_init_nanobpb, "{metrics:?}");
    }
}

#[tokio::test]
async fn ranks_that_drift_apart_are_the_submissions_failure_and_named() {
    let own_step = "def train_step(model, batch, optimizer, ctx):
    model(batch.inputs).sum().backward()
    optimizer.step()
";
    let training = RANKED.replace("WORLD", "2") + own_step;
    let (ending, metrics) = ranks("ranks-apart", 2, &training).await;
    let Ending::SubmissionFailed { detail } = ending else { panic!("{ending:?}") };
    assert!(detail.contains("parameters of ranks [1] differ from those of rank 0"), "{detail}");
    assert_eq!(metrics, None);
}

#[tokio::test]
async fn the_meter_gives_up_a_slow_run_before_the_wall_clock_kills_it() {
    let mut policy = short_policy();
    (policy.run.wall_ms, policy.run.cpu_ms) = (10_000, 10_000);
    assert_eq!(policy.run.graceful_stop_ms(), 9_500);
    let world = World::under(policy, IMAGE, "too-slow").await;
    let (ending, _) = world.run_files(files("sleeper"), 1).await;
    let Ending::TooSlow { ran_ms } = ending else { panic!("{ending:?}") };
    assert!((9_500..10_000).contains(&ran_ms), "{ran_ms}");
}

/// A project of the reference's files and of others, which replace them; empty ones are left out.
fn project(name: &str, other: &[(&str, &str)]) -> Archive {
    let mut archive = files(name);
    for (path, text) in other {
        archive.files.insert((*path).to_owned(), text.as_bytes().to_vec());
    }
    archive.files.retain(|_, text| !text.is_empty());
    archive
}

#[tokio::test]
async fn each_kind_of_project_runs_with_what_the_node_adds_to_it() {
    use node_core::evidence::Hook;
    let world = World::under(short_policy(), IMAGE, "kinds").await;
    let alone = project("ssm", &[("prism.yaml", "kind: architecture_only\n")]);
    let own_file = "kind: training_for_arch\narchitecture_id: ssm\n";
    let training = project("ssm", &[("prism.yaml", own_file), ("architecture.py", "")]);
    let unknown = own_file.replace("ssm", "mamba");
    let unknown = project("ssm", &[("prism.yaml", &unknown), ("architecture.py", "")]);

    // In tier 2 the first two units are of the own trainer, the others of the reference.
    let full_own = computed(world.run_unit(files("ssm"), 2, 0).await);
    let full_reference = computed(world.run_unit(files("ssm"), 2, 2).await);
    let alone_reference = computed(world.run_unit(alone.clone(), 2, 2).await);
    let training_own = computed(world.run_unit(training.clone(), 2, 0).await);
    // The same seed, so the bits tell who trained what.
    assert_eq!(full_own.sum_nll_nanonats, training_own.sum_nll_nanonats);
    assert_eq!(full_reference.sum_nll_nanonats, alone_reference.sum_nll_nanonats);
    assert_ne!(full_own.sum_nll_nanonats, full_reference.sum_nll_nanonats);
    assert_eq!(full_own.conduct.architecture, alone_reference.conduct.architecture);
    // The reference trainer keeps the contract of hooks, the project that of the loop.
    let hooks = |metrics: &Metrics| metrics.conduct.hooks_used.keys().copied().collect::<Vec<_>>();
    assert_eq!(hooks(&full_own), []);
    assert_eq!(hooks(&alone_reference), [Hook::GetRecipe, Hook::ConfigureOptimizer]);

    let (ending, _) = world.run_unit(unknown, 2, 0).await;
    let Ending::ContractViolated { detail } = ending else { panic!("{ending:?}") };
    assert!(detail.contains("`architecture_id` names no architecture"), "{detail}");
    for (files, tier, unit) in [(alone, 2, 0), (training, 2, 2), (files("ssm"), 4, 0)] {
        let (ending, metrics) = world.run_unit(files, tier, unit).await;
        let Ending::EngineFailed { detail } = ending else { panic!("{ending:?}") };
        assert!(detail.contains(&format!("tier {tier} has no unit {unit}")), "{detail}");
        assert_eq!(metrics, None);
    }
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

/// The SSM in several files that import one another, some of them by the names of the recipe's.
fn divided() -> Archive {
    let ssm = reference("ssm").unwrap().architecture();
    let entry = "from training import parts\nimport src.inner as inner\n\n\ndef make(ctx):\n    \
                 from src.inner.build import made\n\n    assert inner.NAME == \"found\"\n    \
                 return made(ctx, parts)\n";
    let build = "from .. import inner\n\n\ndef made(ctx, parts):\n    import whole\n\n    \
                 assert inner.NAME == parts()\n    return whole.build_model(ctx)\n";
    let file = |path: &str, text: &str| (path.to_owned(), text.as_bytes().to_vec());
    let files = [
        file("prism.yaml", "architecture:\n  entrypoint: src/model.py::make\n"),
        file("src/model.py", entry),
        file("src/inner/__init__.py", "NAME = \"found\"\n"),
        file("src/inner/build.py", build),
        file("whole.py", ssm),
        file("training.py", "def parts():\n    return \"found\"\n\n\ndef train(ctx):\n    1 / 0\n"),
    ];
    Archive { files: files.into() }
}

/// A training of the SSM's for the architecture of a content.
fn recipe_for(content: ContentDigest) -> Archive {
    let manifest = format!("kind: training_for_arch\narchitecture_id: {content}\n");
    let other = "raise RuntimeError(\"nobody asks for it\")\n\n\ndef build_model(ctx):\n    pass\n";
    project("ssm", &[("prism.yaml", &manifest), ("architecture.py", other), ("whole.py", other)])
}

#[tokio::test]
async fn a_training_runs_with_the_architecture_of_another_submission_in_several_files() {
    let world = World::under(short_policy(), IMAGE, "recipes").await;
    let found = divided();
    let content = content_digest(&found.files);
    let full = computed(world.run_unit(files("ssm"), 2, 0).await);
    let named = (content, Some(found.clone()));
    let trained = computed(world.run_recipe((2, 0), recipe_for(content), named).await);
    // The same model, the same training and the same seed: only the files lie elsewhere.
    assert_eq!(full.sum_nll_nanonats, trained.sum_nll_nanonats);
    assert_eq!(full.conduct.architecture, trained.conduct.architecture);

    // Not here, or not the one that is named: the node's lack, and no verdict on the recipe.
    let missing = world.run_recipe((2, 0), recipe_for(content), (content, None)).await;
    let forged = (ContentDigest([9; 32]), Some(found));
    let forged = world.run_recipe((2, 0), recipe_for(content), forged).await;
    for (ending, metrics) in [missing, forged] {
        let Ending::EngineFailed { detail } = ending else { panic!("{ending:?}") };
        assert!(detail.contains(&format!("the architecture of `{content}` is not here")));
        assert_eq!(metrics, None);
    }
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn a_training_has_the_tokens_of_the_named_architecture_and_a_training_is_none() {
    let world = World::under(short_policy(), IMAGE, "recipes-tokens").await;
    let with = |path: &str, text: &str| {
        let mut found = divided();
        found.files.insert(path.to_owned(), text.as_bytes().to_vec());
        found
    };
    let mut lossy = with(
        "prism.yaml",
        "architecture:\n  entrypoint: src/model.py::make\ntokenizer: tokenizer.json\n",
    );
    lossy.files.extend(files("lossy-tokenizer").files.remove_entry("tokenizer.json"));
    let half = with("prism.yaml", "kind: training_for_arch\narchitecture_id: ssm\n");
    let run = async |named: Archive| {
        let content = content_digest(&named.files);
        world.run_recipe((2, 0), recipe_for(content), (content, Some(named))).await.0
    };
    let ending = run(lossy).await;
    assert!(matches!(ending, Ending::TokenizerRefused { .. }), "{ending:?}");
    let ending = run(half).await;
    let Ending::ContractViolated { detail } = ending else { panic!("{ending:?}") };
    assert!(detail.contains("is no architecture that is known here"), "{detail}");
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn whatever_may_be_imported_is_in_the_image() {
    let policy = short_policy();
    let roots = policy.admission.import_roots.iter().filter(|root| *root != "__future__");
    let imports: String = roots.map(|root| format!("import {root}\n")).collect();
    assert!(imports.contains("import einops\n"), "{imports}");
    let text = imports + reference("ssm").unwrap().architecture();
    let world = World::under(policy, IMAGE, "imports").await;
    computed(world.run_files(project("ssm", &[("architecture.py", &text)]), 1).await);
    world.evaluator.close().await;
}

#[tokio::test]
async fn a_project_may_name_the_tokenizer_that_ships_with_the_node() {
    let mut policy = short_policy();
    // A batch has four times the text that it has with bytes as tokens.
    set_batches(&mut policy, 24);
    policy.meter.heldout_bytes = 8 << 10;
    let world = World::under(policy, IMAGE, "shipped-tokens").await;
    let manifest = ("prism.yaml".to_owned(), b"tokenizer: kjv-bpe-4096\n".to_vec());
    let mut named = files("ssm");
    named.files.extend([manifest]);
    let metrics = computed(world.run_unit(named, 1, 0).await);
    // Half of this text are digits of made-up numbers.
    assert!(metrics.covered_bytes * 2 > metrics.tokens * 3, "{metrics:?}");
    assert_eq!((metrics.vocabulary, metrics.bad_batches), (4_096, 0), "{metrics:?}");
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn a_unit_has_the_budget_and_the_scale_of_its_plan() {
    let mut policy = short_policy();
    for (tier, batches) in policy.scoring.funnel.tiers.iter_mut().zip([6, 8, 10]) {
        tier.train_bytes = batches * 16 * 64;
    }
    // A quarter of it is less than a table of byte pairs has.
    policy.meter.parameters_max = 200_000;
    let world = World::under(policy, IMAGE, "scales").await;
    let unit = |tier, unit| world.run_unit(files("ssm"), tier, unit);
    let batches = |ran| {
        let metrics = computed(ran);
        (metrics.covered_bytes / 1024, metrics.batches)
    };
    assert_eq!(batches(unit(1, 0).await), (6, 6));
    assert_eq!(batches(unit(2, 1).await), (8, 8));
    assert_eq!(batches(unit(3, 0).await), (10, 10));
    // Longer sequences, half as many of them; twice as many sequences.
    assert_eq!(batches(unit(3, 3).await), (10, 10));
    assert_eq!(batches(unit(3, 4).await), (10, 5));
    let parameters = |ran| computed(ran).parameters;
    assert_eq!(parameters(unit(3, 0).await), 115_968);
    assert_eq!(parameters(unit(3, 1).await), 45_824);
    let (quartered, _) = world.run_unit(files("bigram"), 3, 1).await;
    assert_eq!(quartered, Ending::TooManyParameters { parameters: 65_536 });
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

#[tokio::test]
async fn a_traced_architecture_is_known_again_at_other_sizes_and_under_other_names() {
    let world = World::under(short_policy(), IMAGE, "traced").await;
    let changed = |name: &str, changes: &[(&str, &str)]| {
        let mut text = reference(name).unwrap().architecture().to_owned();
        for (old, new) in changes {
            assert!(text.contains(old), "{old}");
            text = text.replace(old, new);
        }
        project(name, &[("architecture.py", &text)])
    };
    let sizes = [("max(4, width", "max(2, width"), ("5 * width // 2", "2 * width")];
    // The shape that is chosen.
    let deeper = [("(96, 2)", "(64, 5)")];
    let names = [("Attention", "Mixer"), ("qkv", "three"), ("embedding", "table")];
    let other = changed("transformer-rope", &[&sizes[..], &deeper[..], &names[..]].concat());
    let mut traced = Vec::new();
    for (unit, files) in (0..).zip([files("transformer-rope"), other, files("ssm")]) {
        // In any tier: a number of its own for each.
        let mut spec = world.spec(unit);
        spec.assignment.seed = Digest([3; 32]);
        let metrics = computed(world.run_spec(spec, files).await);
        traced.push(metrics.conduct.architecture.expect("the model is traced"));
    }
    let [reference, again, ssm] = &traced[..] else { panic!("three were run") };
    let (same, apart) = (reference.similarity_ppm(again), reference.similarity_ppm(ssm));
    println!("alike by {same} and {apart} of 1,000,000");
    assert!(same >= 820_000, "{same}");
    assert!(apart < 550_000, "{apart}");
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

/// Averages the embeddings of all tokens so far: it knows which there were, and not where.
const BAG: &str = "import torch
from torch import nn


class Bag(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, 64)
        self.head = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, vocabulary))

    def forward(self, tokens):
        steps = torch.arange(1, tokens.shape[1] + 1, device=tokens.device)
        return self.head(self.embedding(tokens).cumsum(1) / steps[:, None])


def build_model(ctx):
    return Bag(ctx.vocab_size)
";

#[tokio::test]
async fn probe_tasks_tell_a_mechanism_that_sees_order_from_one_that_does_not() {
    let policy = short_policy();
    let world = World::under(policy, IMAGE, "probes").await;
    let bag = project("transformer-rope", &[("architecture.py", BAG)]);
    let mut of = Vec::new();
    for files in [files("transformer-rope"), bag] {
        let metrics = computed(world.run_unit(files, 3, 5).await);
        println!("{:?}", metrics.conduct.probes);
        of.push(metrics.conduct.probes);
    }
    let [transformer, bag] = &of[..] else { panic!("two were run") };
    assert_eq!((transformer.len(), bag.len()), (9, 9));
    // Copying eight tokens, and the values of three keys.
    for task in [0, 4] {
        let (sees, blind) = (transformer[task], bag[task]);
        assert_eq!(sees.floor_micronats, blind.floor_micronats);
        assert!(sees.floor_micronats > 1_000_000, "{sees:?}");
        assert!(sees.score_ppm > 500_000, "{sees:?}");
        assert!(blind.score_ppm < 150_000, "{blind:?}");
    }
    world.evaluator.close().await;
    assert_eq!(world.engine.leftovers().await.unwrap(), []);
}

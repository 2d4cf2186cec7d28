//! How each fixture ends, in real containers, by the table in
//! `tests/fixtures/submissions/endings.toml`.
//!
//! Every project meets the rules before the container under `dev`. Those that are admitted run
//! under `dev`; those that end otherwise where the gates are in shadow run under `dev-open`, too.
//! Budgets are a quarter of the policy's. No completed run of a cheat has more points than its
//! honest twin.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use assay_tests::endings::{as_markdown, endings, Row};
use assay_tests::submissions::{fixture, packed_fixture};
use node_core::admission::Verdict;
use node_core::assignment::Assignment;
use node_core::evidence::{Conduct, Metrics};
use node_core::id::{sha256, AssignmentId, Attempt, Digest, LeaseId, RunId, SubmissionId};
use node_core::inventory::{Device, DeviceId, DeviceKind};
use node_core::machine::effect::RunSpec;
use node_core::outcome::Ending;
use node_core::points::points;
use node_core::policy::Policy;
use node_daemon::run::{Archives, Evaluator, EvaluatorParts, Progress};
use node_evaluator::admit::admit;
use node_evaluator::archive::read_archive;
use node_evaluator::dataset::{prepare, Dataset};
use node_evaluator::gates::Gates;
use node_evaluator::reference::references;
use node_runner::{Engine, EngineConfig};
use tokio::sync::{mpsc, oneshot, watch};

const IMAGE: &str = "assay-evaluator:cpu";

/// Of the training budget.
const BATCHES: u64 = 48;

/// Runs that are compared bit by bit.
const RUN_TWICE: &str = "transformer-rope";

/// What became of a run.
type Ran = (Ending, Option<Metrics>);

#[test]
fn every_fixture_has_a_row_and_every_row_a_fixture_and_a_twin() {
    let rows = endings().unwrap();
    let named: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(named.len(), rows.len(), "a row twice");
    let folders = std::fs::read_dir(fixture(".")).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    // The references are elsewhere: they ship with the node.
    let shipped = references().iter().map(|reference| reference.name().to_owned());
    let found: BTreeSet<String> =
        folders.map(|folder| folder.file_name().into_string().unwrap()).chain(shipped).collect();
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), named);
    let completed = |name: &str| rows.iter().any(|row| row.name == name && row.dev == "completed");
    for row in &rows {
        assert!(row.why.ends_with('.') && !row.what.is_empty(), "{}", row.name);
        assert!(row.twin.as_deref().is_none_or(completed), "{}: no such twin", row.name);
    }
    let cheats = rows.iter().filter(|row| row.dev != "completed" || row.twin.is_some());
    assert!(cheats.count() >= 25);
}

/// `ASSAY_TEST_WRITE_DOCS=1` writes it.
#[test]
fn the_readme_shows_the_table() {
    let path = fixture("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find("| project |").unwrap();
    let length = text[begin..].find("\n\n").unwrap() + 1;
    let table = as_markdown(&endings().unwrap());
    if std::env::var_os("ASSAY_TEST_WRITE_DOCS").is_some() {
        let whole = [&text[..begin], &table, &text[begin + length..]].concat();
        std::fs::write(&path, whole).unwrap();
        return;
    }
    assert!(text[begin..begin + length] == table, "run it with ASSAY_TEST_WRITE_DOCS=1");
}

#[test]
fn the_rules_before_the_container_refuse_what_the_table_says_and_nothing_else() {
    let [strict, open] = [Policy::dev(), Policy::dev_open()].map(|policy| Gates::check(&policy));
    for row in endings().unwrap() {
        let packed = packed_fixture(&row.name).unwrap();
        let (verdict, _) = admit(&packed.bytes, &packed.digest, &strict);
        match verdict {
            Verdict::Rejected { rejection } => assert_eq!(rejection.rule.id(), row.dev, "{row:?}"),
            Verdict::Admitted { flags, .. } => {
                assert!(!row.is_refused() && flags.is_empty(), "{row:?}: {flags:?}");
            }
        }
        let (verdict, _) = admit(&packed.bytes, &packed.digest, &open);
        // The contract is no gate that could be in shadow.
        let breaks_contract = row.dev.starts_with("contract-");
        let is_admitted = matches!(verdict, Verdict::Admitted { .. });
        assert_eq!(is_admitted, !breaks_contract, "{row:?}: {verdict:?}");
    }
}

/// A policy with a small budget of text. Half of the batches are audited.
fn short(mut policy: Policy) -> Policy {
    policy.meter.train_bytes = BATCHES * 16 * 64;
    for tier in &mut policy.scoring.funnel.tiers {
        tier.train_bytes = policy.meter.train_bytes;
    }
    policy.meter.heldout_bytes = 1024;
    policy.meter.audits_per_mille = 500;
    policy.run.memory_mib = 1024;
    policy.run.cpu_ms = 90_000;
    policy.run.wall_ms = 180_000;
    policy
}

/// The limits of time in which an ending shows soon.
fn hurried(mut policy: Policy, ending: &str) -> Policy {
    match ending {
        "too_slow" => (policy.run.wall_ms, policy.run.cpu_ms) = (10_000, 10_000),
        "too_much_cpu_time" => policy.run.cpu_ms = 8_000,
        _ => {}
    }
    policy
}

fn dataset(dir: &Path) -> Dataset {
    let line = |n: usize| format!("{n} and the {} begat {} in the land\n", n * 7919, n * 104_729);
    let chapter = |c: usize| (0..60).map(|n| line(c * 60 + n)).collect::<String>() + "\n";
    let input = dir.join("text");
    std::fs::write(&input, (0..300).map(chapter).collect::<String>()).unwrap();
    prepare(&[input], &dir.join("data")).unwrap()
}

/// An evaluator of its own under one policy, and the runs it made.
struct Lane {
    evaluator: Evaluator,
    engine: Engine,
    policy: Policy,
    name: String,
    runs: u32,
}

impl Lane {
    async fn new(name: String, policy: Policy, dataset: &Arc<Dataset>, dir: &Path) -> Self {
        let node = sha256(name.as_bytes()).to_string();
        let config = EngineConfig { host: None, runtime: None, node };
        let engine = Engine::connect(config).await.expect("run scripts/engine ensure --install");
        let image = engine.image(IMAGE).await.unwrap().expect("run scripts/images evaluator");
        for leftover in engine.leftovers().await.unwrap() {
            engine.remove_leftover(&leftover).await.unwrap();
        }
        let evaluator = Evaluator::new(EvaluatorParts {
            engine: engine.clone(),
            image,
            gates: Arc::new(Gates::check(&policy)),
            dataset: Arc::clone(dataset),
            runs_dir: dir.join(&name),
            leftovers: BTreeMap::new(),
        });
        Self { evaluator, engine, policy, name, runs: 0 }
    }

    async fn run(&mut self, project: &str) -> Ran {
        let packed = packed_fixture(project).unwrap();
        let archive = read_archive(&packed.bytes, &self.policy.archive).unwrap();
        self.runs += 1;
        let unique = format!("{} {} {}", self.name, self.runs, std::process::id());
        let assignment = Assignment {
            id: AssignmentId([1; 32]),
            submission: SubmissionId([2; 32]),
            content: packed.digest,
            tier: 1,
            unit: 0,
            replica: 0,
            seed: Digest([3; 32]),
            policy: self.policy.digest(),
        };
        let kind = DeviceKind::CpuSlot;
        let spec = RunSpec {
            run: RunId(sha256(unique.as_bytes()).0),
            assignment,
            lease: LeaseId([4; 32]),
            attempt: Attempt(1),
            devices: vec![Device::new(DeviceId("cpu-0".to_owned()), kind, "one CPU", 8192)],
            untrained: self.policy.admission.untrained.mode,
            architecture: None,
        };
        let (_stop, stopped) = oneshot::channel();
        let (started, _events) = mpsc::channel(1);
        let progress = watch::Sender::new(Progress::default());
        let archives = Archives { own: Some(Arc::new(archive)), architecture: None };
        self.evaluator.run(spec, archives, stopped, progress, started).await
    }

    async fn close(self) {
        self.evaluator.close().await;
        assert_eq!(self.engine.leftovers().await.unwrap(), []);
    }
}

/// Runs these projects under a policy, each with the limits in which its ending shows soon.
async fn run_all(name: &str, policy: Policy, rows: Vec<(String, String)>) -> BTreeMap<String, Ran> {
    let dir = tempfile::tempdir().unwrap();
    let dataset = Arc::new(dataset(dir.path()));
    let mut lanes: BTreeMap<Digest, Lane> = BTreeMap::new();
    let mut ran = BTreeMap::new();
    for (project, ending) in rows {
        let policy = hurried(short(policy.clone()), &ending);
        let digest = policy.digest();
        if !lanes.contains_key(&digest) {
            let name = format!("{name}{}", lanes.len());
            lanes.insert(digest, Lane::new(name, policy, &dataset, dir.path()).await);
        }
        let lane = lanes.get_mut(&digest).unwrap();
        let result = lane.run(&project).await;
        if project == RUN_TWICE {
            assert_eq!(computed(&lane.run(&project).await), computed(&result), "other bits");
        }
        ran.insert(project, result);
    }
    for lane in lanes.into_values() {
        lane.close().await;
    }
    ran
}

/// Points that are rounding: a part of so many. Two models that are the same function up to the
/// order of its sums, as `prism-faithful-decay` is its twin on short sequences, are one point of
/// 256 million apart, either way.
const ROUNDING: u64 = 10_000_000;

/// All that is computed from predictions, without what the host measured.
fn computed((ending, metrics): &Ran) -> Metrics {
    assert_eq!(*ending, Ending::Completed);
    let metrics = metrics.clone().unwrap();
    let conduct = Conduct { wall_ms: 0, ..metrics.conduct };
    Metrics { peak_memory_bytes: 0, conduct, ..metrics }
}

/// What differs from the table, in words.
fn differences(row: &Row, expected: &str, is_last: bool, (ending, metrics): &Ran) -> Vec<String> {
    let mut differences = Vec::new();
    let told = ending.to_string();
    if ending.name() != expected {
        differences.push(format!("{}: {told}, expected {expected}", row.name));
    }
    let detail = row.detail.as_deref().filter(|_| is_last).unwrap_or_default();
    if !told.contains(detail) {
        differences.push(format!("{}: `{told}` says nothing of `{detail}`", row.name));
    }
    let is_flagged = metrics.as_ref().is_some_and(|metrics| !metrics.conduct.flags.is_empty());
    if metrics.is_some() && is_flagged != row.dev.starts_with("untrained_") {
        let fails_only_trained = is_flagged && row.is_refused();
        if !fails_only_trained {
            differences.push(format!("{}: the gate in shadow: {is_flagged}", row.name));
        }
    }
    differences
}

#[tokio::test(flavor = "multi_thread")]
async fn case_27_each_fixture_ends_as_the_table_says_and_no_cheat_has_more_points_than_its_twin() {
    let rows = endings().unwrap();
    let expected = |row: &Row, ending: &str| (row.name.clone(), ending.to_owned());
    let dev = rows.iter().filter(|row| !row.is_refused()).map(|row| expected(row, &row.dev));
    let open = rows.iter().filter(|row| row.open.is_some());
    let open = open.filter_map(|row| Some(expected(row, row.open()?)));
    let (dev, open): (Vec<_>, Vec<_>) = (dev.collect(), open.collect());
    // One lane per core of a small machine.
    let (dev, open) =
        tokio::join!(run_all("dev", Policy::dev(), dev), run_all("open", Policy::dev_open(), open));
    let scored = |ran: &Ran| ran.1.as_ref().map(|metrics| points(metrics).unwrap());
    let mut wrong = Vec::new();
    for row in &rows {
        let runs = [(dev.get(&row.name), row.dev.as_str()), (open.get(&row.name), "")];
        for (run, ending) in runs {
            let Some(run) = run else { continue };
            let ending = if ending.is_empty() { row.open().unwrap() } else { ending };
            let is_last = row.open.is_none() || row.open() == Some(ending);
            wrong.extend(differences(row, ending, is_last, run));
            let Some(points) = scored(run) else { continue };
            eprintln!("{}: {points} points", row.name);
            let Some(twin) = &row.twin else { continue };
            let honest = scored(&dev[twin]).unwrap();
            if points > honest + honest / ROUNDING {
                wrong.push(format!("{} gains: {points} points, {twin} {honest}", row.name));
            }
        }
    }
    for honest in ["prism-fixed", "transformer-rope", "ssm", "hooks", "remembers-batches"] {
        // Better than knowing nothing, which is a ninth of all points.
        if scored(&dev[honest]).is_none_or(|points| points <= 112_000_000) {
            wrong.push(format!("{honest} has learned nothing"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

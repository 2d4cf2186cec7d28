//! Runs on GPUs: the real node, containers of a real engine, and a driver that is scripted. What
//! each container sees is what came through the engine's own way of giving GPUs.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use assay_tests::binaries::repository;
use assay_tests::chain::ChainOptions;
use assay_tests::gpu_engine::{GpuContainer, GpuEngine, GPU_IMAGE};
use assay_tests::lab::Lab;
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::{packed_with_note, Packed};
use fake_driver::{FakeDriver, Script};
use node_core::id::RunId;
use node_core::outcome::Ending;
use node_core::rows::Row;
use node_daemon::status::StatusReport;
use node_store::Store;
use tokio::time::Instant;

/// How long the GPUs of a node may take to be read and probed.
const PROVEN_MAX: Duration = Duration::from_secs(120);
/// How long submissions may take from their commitment until they run, or are scored.
const STEP_MAX: Duration = Duration::from_secs(120);
/// How often containers are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Where the submission writes down what it sees, and what it waits for.
const SEEN: &str = "/tmp/seen";
const GO: &str = "/tmp/go";

/// Two GPUs that receipts can tell apart: those have a device's kind and name.
fn two_gpus() -> Script {
    let mut script = Script::with_gpus(2);
    script.devices[1].name = "NVIDIA H200".to_owned();
    script
}

/// A submission that says which GPUs it sees and then waits to be let go.
fn waiting(note: &str) -> Packed {
    packed_with_note(&repository().join("tests/fixtures/sees-gpus"), note).unwrap()
}

/// A validator that evaluates on the GPUs of the driver, in containers of the engine.
async fn validator(lab: &Lab, engine: &GpuEngine, driver: &FakeDriver) -> Node {
    let options = NodeOptions {
        // The fixture asks the driver, which the static rules forbid.
        policy: "dev-gpu-open".to_owned(),
        image: GPU_IMAGE.to_owned(),
        extra: format!("[engine]\nhost = \"{}\"", engine.host()),
        ..lab.node_options(0)
    };
    let mut node = Node::new(options).unwrap();
    node.set_variable("LD_LIBRARY_PATH", driver.folder().to_str().unwrap());
    node.start(None).unwrap();
    let are_proven = |report: &StatusReport| {
        let healths = report.devices.iter().filter_map(|device| device.health.as_ref());
        let proven = healths.filter(|health| health.probes > 0 && health.unusable.is_none());
        report.ready.ready && proven.count() == 2
    };
    node.wait_for("both GPUs proven", PROVEN_MAX, are_proven).await.unwrap();
    node
}

async fn submit(lab: &Lab, miner: u16) {
    let packed = waiting(&format!("miner {miner}"));
    lab.submit_unchecked(miner, &lab.shared_contents(), &packed).await.unwrap();
}

/// The running containers, once they are as they should be.
async fn containers_when(
    engine: &GpuEngine,
    node: &mut Node,
    is_so: impl Fn(&[GpuContainer]) -> bool,
) -> Vec<GpuContainer> {
    let deadline = Instant::now() + STEP_MAX;
    loop {
        let containers = engine.containers().await.unwrap();
        if is_so(&containers) {
            return containers;
        }
        if Instant::now() > deadline {
            let log = node.process().unwrap().log_tail();
            panic!("{containers:#?}\n{log}");
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Two runs at once: each container was created with one GPU, and its submission sees that one
/// alone. Returns the runs with their GPUs.
async fn each_sees_its_own(engine: &GpuEngine, node: &mut Node) -> BTreeMap<RunId, String> {
    let have_said = |all: &[GpuContainer]| {
        all.iter().filter(|container| container.read(SEEN).is_some()).count() == 2
    };
    let mut containers = containers_when(engine, node, have_said).await;
    // Others were made ahead, for the next runs.
    containers.retain(GpuContainer::is_of_a_run);
    assert_eq!(containers.len(), 2, "{containers:#?}");
    // Both wait for us, so both run now, and the node's next report says so.
    let running = |report: &StatusReport| -> BTreeMap<RunId, String> {
        let running = report.runs.iter().filter(|run| run.state == "running");
        running.map(|run| (run.run, run.device.to_string())).collect()
    };
    let are_two = |report: &StatusReport| running(report).len() == 2;
    let report = node.wait_for("two runs at once", STEP_MAX, are_two).await.unwrap();
    let runs = running(&report);
    for (run, gpu) in &runs {
        let name = format!("assay-{run}");
        let container = containers.iter().find(|container| container.name == name).unwrap();
        assert_eq!(container.asked, std::slice::from_ref(gpu), "the request that created it");
        assert_eq!(container.read(SEEN).as_ref(), Some(gpu), "what its submission sees");
    }
    for container in &containers {
        container.touch(GO).unwrap();
    }
    runs
}

/// The receipts in the node's store: each has the name of the GPU on which its run was.
fn receipts_name_the_gpus(node: &Node, runs: &BTreeMap<RunId, String>, script: &Script) {
    let (_store, loaded) = Store::open(&node.data_dir()).unwrap();
    let receipts = loaded.rows.iter().filter_map(|row| match row {
        Row::Receipt(row) => Some(&row.receipt.evidence),
        _ => None,
    });
    let told: BTreeMap<RunId, String> =
        receipts.map(|evidence| (evidence.run, evidence.device.clone())).collect();
    let name = |uuid: &String| {
        let gpu = script.devices.iter().find(|gpu| gpu.uuid == *uuid).unwrap();
        format!("gpu ({})", gpu.name)
    };
    let expected = runs.iter().map(|(run, uuid)| (*run, name(uuid))).collect();
    assert_eq!(told, expected);
}

/// A hook that goes wrong: one GPU's containers get both, the other's get the first. Whatever the
/// submission's code does, it would wait for us; it ends on both GPUs without.
async fn another_gpu_costs_the_run(
    lab: &Lab,
    engine: &GpuEngine,
    node: &mut Node,
    script: &Script,
) {
    let [first, second] = [0, 1].map(|index| script.devices[index].uuid.clone());
    let both = vec![first.clone(), second.clone()];
    let instead = [(first.clone(), both), (second.clone(), vec![first.clone()])];
    // Those that were made ahead, one per GPU, have theirs already: they are made anew.
    let wait = |all: &[GpuContainer]| all.len() == 2 && !all.iter().any(GpuContainer::is_of_a_run);
    let waiting = containers_when(engine, node, wait).await;
    engine.give_instead(&BTreeMap::from(instead)).unwrap();
    for container in &waiting {
        engine.kill(container).await.unwrap();
    }
    submit(lab, 2).await;
    let are_away = |report: &StatusReport| {
        let healths = report.devices.iter().filter_map(|device| device.health.as_ref());
        healths.filter(|health| health.unusable.is_some()).count() == 2
    };
    let report = node.wait_for("both GPUs taken away", STEP_MAX, are_away).await.unwrap();
    let [first, second] = [&first, &second].map(|uuid| uuid.trim_start_matches("GPU-"));
    let says = [
        format!("the container sees {first}, {second}, it was given {first}"),
        format!("the container sees {first}, it was given {second}"),
    ];
    let log = node.process().unwrap().log();
    let ended: Vec<&str> = log.lines().filter(|line| line.contains("run over")).collect();
    for (device, says) in report.devices.iter().filter(|device| device.kind == "gpu").zip(says) {
        let why = device.health.as_ref().unwrap().unusable.clone().unwrap();
        assert!(why.contains(&says), "{}: {why}", device.id);
        let ending = Ending::DeviceFailed { detail: says };
        let ending = format!("device={} ending={ending} ", device.id);
        let so_ended = ended.iter().filter(|line| line.contains(&ending));
        assert_eq!(so_ended.count(), 1, "{ending}: {ended:#?}");
    }
    // Nobody's result, nobody's fault: it waits for a device.
    assert_eq!((report.receipts.len(), report.submission_counts.scored), (2, 2), "{report:#?}");
    assert_eq!(report.submission_counts.failed, 0, "{report:#?}");
    let left = engine.containers().await.unwrap();
    assert!(!left.iter().any(GpuContainer::is_of_a_run), "{left:#?}");
}

/// A run would compute on the CPU until its time is over, at the expense of its miner.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_image_computes_on_cpus_no_gpu_is_used_and_the_node_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let driver = FakeDriver::install(&two_gpus()).unwrap();
    let options = ChainOptions { validators: 1, miners: 1, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let options = NodeOptions { policy: "dev-gpu-open".to_owned(), ..lab.node_options(0) };
    let mut node = Node::new(options).unwrap();
    node.set_variable("LD_LIBRARY_PATH", driver.folder().to_str().unwrap());
    node.start(None).unwrap();
    let is_ready = |report: &StatusReport| report.ready.ready;
    let report = node.wait_for("a node that is ready", PROVEN_MAX, is_ready).await.unwrap();
    assert!(report.devices.iter().all(|device| device.kind == "cpu_slot"), "{report:#?}");
    let why = "computes on CPUs and the rules are for GPUs: no GPU is used";
    assert!(report.ready.reasons.iter().any(|reason| reason.contains(why)), "{report:#?}");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_32_two_runs_at_once_see_one_gpu_each_and_a_container_that_sees_another_gets_nothing()
{
    let dir = tempfile::tempdir().unwrap();
    let script = two_gpus();
    let driver = FakeDriver::install(&script).unwrap();
    let options = ChainOptions { validators: 1, miners: 3, tempo: 20, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options);
    let (lab, engine) = tokio::join!(lab, GpuEngine::start(dir.path(), &driver));
    let (lab, engine) = (lab.unwrap(), engine.unwrap());
    let mut node = validator(&lab, &engine, &driver).await;

    for miner in [0, 1] {
        submit(&lab, miner).await;
    }
    let runs = each_sees_its_own(&engine, &mut node).await;
    let gpus: BTreeSet<&String> = runs.values().collect();
    assert_eq!(gpus.len(), 2, "each has its own: {runs:?}");
    let are_scored = |report: &StatusReport| report.submission_counts.scored == 2;
    let report = node.wait_for("two scores", STEP_MAX, are_scored).await.unwrap();
    assert!(report.receipts.iter().all(|receipt| receipt.ending == "completed"), "{report:#?}");

    another_gpu_costs_the_run(&lab, &engine, &mut node, &script).await;
    node.end().await;
    receipts_name_the_gpus(&node, &runs, &script);
}

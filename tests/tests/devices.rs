//! A node with GPUs of a driver that is scripted: what befalls them shows, costs what it has to,
//! and no more. The node, its sensors, its probes and its commands are the real ones.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::node::Node;
use fake_driver::{Answer, EventKind, FakeDriver, Script};
use node_core::health::{Level, Standing};
use node_daemon::status::{HealthStatus, StatusReport};
use serde_json::Value;

/// How long all GPUs of a node may take to be read and probed.
const PROVEN_MAX: Duration = Duration::from_secs(120);
/// How long a fault may take until the status shows it: a reading, a deadline, another reading.
const SHOWN_MAX: Duration = Duration::from_secs(60);

/// A validator that runs with these GPUs, each of them proven.
async fn node_with(dir: &Path, script: &Script) -> (Lab, Node, FakeDriver) {
    let options = ChainOptions { validators: 1, miners: 1, tempo: 20, ..ChainOptions::default() };
    let lab = Lab::start(dir, &options).await.unwrap();
    let mut node = lab.node(0, "").unwrap();
    let driver = FakeDriver::install(script).unwrap();
    node.set_variable("LD_LIBRARY_PATH", driver.folder().to_str().unwrap());
    node.start(None).unwrap();
    let count = script.devices.len();
    let proven = |report: &StatusReport| gpus(report).len() == count && are_usable(report);
    node.wait_for("every GPU proven", PROVEN_MAX, proven).await.unwrap();
    (lab, node, driver)
}

fn gpus(report: &StatusReport) -> Vec<(&str, &HealthStatus)> {
    let gpus = report.devices.iter().filter(|device| device.kind == "gpu");
    gpus.map(|gpu| (gpu.id.0.as_str(), gpu.health.as_ref().unwrap())).collect()
}

fn are_usable(report: &StatusReport) -> bool {
    gpus(report).iter().all(|(_, health)| health.unusable.is_none())
}

fn health(report: &StatusReport, index: usize) -> &HealthStatus {
    gpus(report)[index].1
}

fn id(script: &Script, index: usize) -> String {
    script.devices[index].uuid.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn case_28_what_befalls_some_gpus_takes_those_away_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::with_gpus(8);
    let (_lab, mut node, driver) = node_with(dir.path(), &script).await;
    driver
        .change(|script| {
            script.happen(1, EventKind::Xid(79));
            script.happen(2, EventKind::DoubleBit);
            script.devices[3].answer("nvmlDeviceGetTemperature", Answer::Hang);
            script.devices[4].answer("nvmlDeviceGetTemperature", Answer::Error(999));
            script.devices[5].is_lost = true;
            // Slowed down by the board because of heat.
            script.devices[6].throttle_bits = 0x48;
        })
        .unwrap();
    let is_away =
        |report: &StatusReport| (1..7).all(|index| health(report, index).unusable.is_some());
    let report = node.wait_for("six GPUs taken away", SHOWN_MAX, is_away).await.unwrap();
    let says = [
        "Xid 79, the GPU has fallen off the bus",
        "a memory error that cannot be corrected",
        "no answer within",
        "temperature: cannot be read",
        "the driver does not find it",
        "the board slows it down because of heat",
    ];
    for (index, says) in (1..).zip(says) {
        let health = health(&report, index);
        assert_eq!(health.standing, Standing::Cordoned, "GPU {index}: {health:?}");
        assert_eq!(health.level, Level::Critical, "GPU {index}: {health:?}");
        let why = health.unusable.as_ref().unwrap();
        assert!(why.contains(says), "GPU {index}: {why}");
    }
    for index in [0, 7] {
        assert_eq!(health(&report, index).unusable, None, "GPU {index} is sound");
    }

    let (text, code) = node.command("devices", &[]).await.unwrap();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("-> start the host again"), "{text}");
    let (page, metrics) = (node.page("/status").await.unwrap(), node.page("/metrics").await);
    assert!(page.contains("cordoned"), "{page}");
    let metrics = metrics.unwrap();
    assert!(metrics.contains("assay_devices_standing{standing=\"cordoned\"} 6\n"), "{metrics}");

    // A person mends one and says so: it is probed, and given runs again.
    driver.change(|script| script.devices[5].is_lost = false).unwrap();
    let (text, code) = node.command("device", &["uncordon", &id(&script, 5)]).await.unwrap();
    assert_eq!(code, 0, "{text}");
    let is_back = |report: &StatusReport| health(report, 5).unusable.is_none();
    let report = node.wait_for("one GPU back", SHOWN_MAX, is_back).await.unwrap();
    assert_eq!(health(&report, 5).probes, 2);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_a_gpu_whose_memory_is_held_is_given_no_run_and_status_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::with_gpus(2);
    let (_lab, mut node, driver) = node_with(dir.path(), &script).await;
    driver.change(|script| script.devices[0].held_mib += 30_000).unwrap();
    let is_held = |report: &StatusReport| health(report, 0).unusable.is_some();
    let report = node.wait_for("held memory noticed", SHOWN_MAX, is_held).await.unwrap();
    let why = "cordoned: 30000 MiB of its memory are held and no run is on it";
    assert_eq!(health(&report, 0).unusable.as_deref(), Some(why));
    assert_eq!(health(&report, 1).unusable, None);
    let (text, _) = node.status_command(&[]).await.unwrap();
    assert!(text.contains(why), "{text}");
    // It outlives a restart: what is held then is not taken for what the device needs.
    node.end().await;
    node.start(None).unwrap();
    let is_known = |report: &StatusReport| {
        gpus(report).len() == 2 && health(report, 0).sample.is_some() && is_held(report)
    };
    let other = |report: &StatusReport| is_known(report) && health(report, 1).unusable.is_none();
    let report = node.wait_for("the other GPU proven", PROVEN_MAX, other).await.unwrap();
    assert!(health(&report, 0).unusable.as_ref().unwrap().contains("30000 MiB"), "{report:#?}");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_by_hand_prints_what_it_reaches_and_an_order_outlives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::with_gpus(1);
    let gpu = id(&script, 0);
    let (_lab, mut node, driver) = node_with(dir.path(), &script).await;
    let (text, code) = node.command("device", &["probe", &gpu]).await.unwrap();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("MB/s") && text.contains("GFLOP/s"), "{text}");

    driver.change(|script| script.devices[0].bandwidth_mb_s /= 2).unwrap();
    let (text, code) = node.command("device", &["probe", &gpu, "--json"]).await.unwrap();
    let slow: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &slow["health"]["standing"]), (1, &"cordoned".into()), "{text}");
    assert!(slow["health"]["unusable"].as_str().unwrap().contains("bandwidth"), "{text}");
    driver.change(|script| script.devices[0].bandwidth_mb_s *= 2).unwrap();

    let reason = ["--reason", "new fan"];
    let (text, code) =
        node.command("device", &[&["cordon", &gpu], &reason[..]].concat()).await.unwrap();
    assert_eq!(code, 0, "{text}");
    node.end().await;
    node.start(None).unwrap();
    let is_ordered = |report: &StatusReport| {
        let gpus = gpus(report);
        gpus.first().is_some_and(|(_, health)| health.order.is_some())
    };
    let report = node.wait_for("the order again", SHOWN_MAX, is_ordered).await.unwrap();
    let why = health(&report, 0).unusable.clone().unwrap();
    assert_eq!(why, "cordoned by the operator: new fan");
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_is_not_there_after_a_restart_is_gone_until_somebody_has_it_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::with_gpus(2);
    let gone = id(&script, 1);
    let (_lab, mut node, driver) = node_with(dir.path(), &script).await;
    node.end().await;
    driver.change(|script| script.devices.truncate(1)).unwrap();
    node.start(None).unwrap();
    let is_proven =
        |report: &StatusReport| gpus(report).len() == 2 && health(report, 0).unusable.is_none();
    let report = node.wait_for("the other GPU proven", PROVEN_MAX, is_proven).await.unwrap();
    let status = report.devices.iter().find(|device| device.id.0 == gone).unwrap();
    assert_eq!(status.label, script.devices[1].name);
    assert!(status.gone_since.is_some_and(|since| since <= report.as_of), "{status:?}");
    let why = health(&report, 1).unusable.clone().unwrap();
    assert!(why.starts_with("gone since 20") && why.ends_with("; it was healthy"), "{why}");
    let (text, code) = node.command("devices", &[]).await.unwrap();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(&format!("{gone}: {why}")), "{text}");
    let metrics = node.page("/metrics").await.unwrap();
    let line = format!("assay_device_standing{{device=\"{gone}\",standing=\"gone\"}} 1.0\n");
    assert!(metrics.contains(&line) && metrics.contains("assay_devices{state=\"gone\"} 1\n"));

    let (text, code) = node.command("device", &["probe", &gone, "--json"]).await.unwrap();
    assert_eq!(code, 1, "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["refused"], "gone", "{text}");
    let (text, code) = node.command("device", &["uncordon", &gone]).await.unwrap();
    assert_eq!((code, text.starts_with("forgotten")), (0, true), "{text}");
    let is_forgotten = |report: &StatusReport| gpus(report).len() == 1;
    node.wait_for("it is forgotten", SHOWN_MAX, is_forgotten).await.unwrap();
    let (text, code) = node.command("devices", &[]).await.unwrap();
    assert_eq!(code, 0, "{text}");
    node.end().await;
}

//! The door to the GPU driver on a machine that has an NVIDIA GPU. Elsewhere each of these says
//! `skipped: no GPU` and passes.
//!
//! The figures of a probe are printed by `node/daemon/tests/device_probe.rs`, which has the
//! program.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]
#![allow(clippy::print_stdout, reason = "figures of a real GPU are to be seen")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use node_core::health::observation::Observation;
use node_core::inventory::{Device, DeviceId, DeviceKind};
use node_gpu::{Pace, Watcher};

const LIMIT: Duration = Duration::from_secs(60);
const HELD_MIB: u64 = 1024;
/// What the context of a process takes beside what it asks for, and more.
const SLACK_MIB: u64 = 64;

/// The driver's own tool, one line per GPU with these facts; `None` where there is no GPU.
fn nvidia_smi(facts: &str) -> Option<Vec<Vec<String>>> {
    let query = format!("--query-gpu={facts}");
    let output =
        Command::new("nvidia-smi").args([&query, "--format=csv,noheader,nounits"]).output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        println!("skipped: no GPU");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let fields = |line: &str| line.split(',').map(|field| field.trim().to_owned()).collect();
    Some(text.lines().map(fields).collect())
}

#[test]
fn the_inventory_of_this_machine_equals_what_nvidia_smi_says() {
    let facts = "uuid,name,memory.total,compute_cap,pci.bus_id,driver_version";
    let Some(expected) = nvidia_smi(facts) else { return };
    let found = node_gpu::inventory_within(LIMIT).unwrap();
    println!("{found:#?}");
    let line = |gpu: &Device| {
        let facts = gpu.gpu.clone().unwrap();
        let (major, minor) = facts.compute_capability;
        vec![
            gpu.id.0.clone(),
            gpu.label.clone(),
            gpu.memory_mib.to_string(),
            format!("{major}.{minor}"),
            gpu.place.pci_address.clone().unwrap(),
            facts.driver_version.unwrap(),
        ]
    };
    let whole = found.devices.iter().filter(|device| device.kind == DeviceKind::Gpu);
    let by_uuid = |lines: Vec<Vec<String>>| -> BTreeMap<String, Vec<String>> {
        lines.into_iter().map(|line| (line[0].clone(), line)).collect()
    };
    assert_eq!(by_uuid(whole.chain(&found.cut).map(line).collect()), by_uuid(expected));
    assert_eq!(found.faults, []);
}

/// Takes memory on the GPU that CUDA lists first, and keeps it until it is killed.
#[test]
#[ignore = "the child of the test of memory that is held"]
#[allow(unsafe_code, reason = "cudarc marks the calls that the driver cannot check as unsafe")]
fn child_holds_memory() {
    use cudarc::driver::result;
    result::init().unwrap();
    let device = result::device::get(0).unwrap();
    let bytes = usize::try_from(HELD_MIB << 20).unwrap();
    // SAFETY: the device is from `get`, its context is kept, and the memory is never touched.
    unsafe {
        let context = result::primary_ctx::retain(device).unwrap();
        result::ctx::set_current(context).unwrap();
        result::malloc_sync(bytes).unwrap();
    }
    println!("\nholding");
    std::thread::sleep(LIMIT);
}

#[test]
fn memory_that_a_process_holds_shows_and_is_gone_with_it() {
    if nvidia_smi("uuid").is_none() {
        return;
    }
    let devices = node_gpu::inventory_within(LIMIT).unwrap().devices;
    let id = devices[0].id.clone();
    let pace = Pace { every: Duration::from_secs(1), answer_max: Duration::from_secs(10) };
    let watcher = Watcher::start(&devices, pace, |_, _| {}).unwrap();
    let before = held_mib(&watcher, &id);

    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_holds_memory", "--exact", "--ignored", "--nocapture"])
        .env("CUDA_VISIBLE_DEVICES", &id.0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "holding"));
    let during = held_mib(&watcher, &id);
    child.kill().unwrap();
    child.wait().unwrap();
    println!("{id}: {before} MiB before, {during} MiB while {HELD_MIB} MiB are held");
    assert!(during >= before + HELD_MIB, "{before} MiB before, {during} MiB during");

    // The driver gives it back soon after the process is gone; the test runner waits long enough.
    while held_mib(&watcher, &id) > before + SLACK_MIB {
        std::thread::yield_now();
    }
}

fn held_mib(watcher: &Watcher, device: &DeviceId) -> u64 {
    match watcher.read_now(device, LIMIT) {
        Some(Observation::Sampled(sample)) => *sample.memory_used_mib.value().unwrap(),
        other => panic!("{other:?}"),
    }
}

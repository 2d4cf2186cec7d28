//! How GPUs fare: what the sensors show, what is reported, and who does not answer.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use fake_driver::{Answer, EventKind, FakeDriver, Gpu, Script};
use node_core::inventory::DeviceId;
use node_gpu::{Pace, Watcher};
use serde_json::{json, Value};

use crate::{all_said, child, say, spoken, LIMIT};

const NVML_NOT_SUPPORTED: u32 = 3;
const NVML_UNKNOWN: u32 = 999;

/// Often enough for a test; patient enough for a machine that is busy.
const PACE: Pace = Pace { every: Duration::from_millis(20), answer_max: Duration::from_secs(2) };

/// Says what is seen, until its input ends. A line `now DEVICE MS` reads that device now; `deaf`
/// asks whose events are not heard.
#[test]
#[ignore = "the child of the tests of the watcher"]
fn child_watches() {
    let devices = node_gpu::inventory_within(LIMIT).unwrap().devices;
    let report = |device: DeviceId, seen| say(&json!({ "device": device, "seen": seen }));
    let watcher = Watcher::start(&devices, PACE, report).unwrap();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["now", device, ms] => {
                let limit = Duration::from_millis(ms.parse().unwrap());
                let answer = watcher.read_now(&DeviceId(device.to_owned()), limit);
                say(&json!({ "now": answer }));
            }
            _ => say(&json!({ "deaf": watcher.deaf(LIMIT) })),
        }
    }
}

/// Says how many threads of the watcher there are, with it and after it.
#[test]
#[ignore = "the child of the test of a watcher that is dropped"]
fn child_drops_its_watcher() {
    let devices = node_gpu::inventory_within(LIMIT).unwrap().devices;
    let (sender, seen) = std::sync::mpsc::channel();
    let report = move |device, _| drop(sender.send(device));
    let watcher = Watcher::start(&devices, PACE, report).unwrap();
    for _ in 0..8 {
        seen.recv_timeout(LIMIT).unwrap();
    }
    say(&json!(threads()));
    drop(watcher);
    while threads() > 0 {
        std::thread::yield_now();
    }
    // With the threads what they report to is gone.
    while seen.try_recv().is_ok() {}
    assert_eq!(seen.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    say(&json!(threads()));
}

/// Threads of this process that the door to the GPU has started.
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map_while(Result::ok);
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("gpu ")).count()
}

/// A child that watches.
struct Watching {
    driver: FakeDriver,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Watching {
    fn start(script: &Script) -> Self {
        Self::on(FakeDriver::install(script).unwrap())
    }

    fn on(driver: FakeDriver) -> Self {
        let mut command = child("watch::child_watches", &driver);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { driver, child, input, lines }
    }

    fn next(&mut self) -> Value {
        let mut said = self.lines.by_ref().map_while(Result::ok);
        said.find_map(|line| spoken(&line)).expect("the child ended")
    }

    /// The first thing seen that is as wanted. Whoever waits in vain is ended by the test runner.
    fn until(&mut self, is_wanted: impl Fn(&str, &Value) -> bool) -> (String, Value) {
        loop {
            let said = self.next();
            if let Some(device) = said["device"].as_str() {
                if is_wanted(device, &said["seen"]) {
                    return (device.to_owned(), said["seen"].clone());
                }
            }
        }
    }

    /// The first sample of a device that is as wanted.
    fn sample(&mut self, of: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(|device, seen| {
            device == of && seen["observation"] == "sampled" && is_wanted(seen)
        })
        .1
    }

    fn ask(&mut self, line: &str, key: &str) -> Value {
        writeln!(self.input, "{line}").unwrap();
        loop {
            let said = self.next();
            if let Some(answer) = said.get(key) {
                return answer.clone();
            }
        }
    }

    fn read_now(&mut self, device: &str, ms: u64) -> Value {
        self.ask(&format!("now {device} {ms}"), "now")
    }
}

fn uuid(index: u32) -> String {
    Gpu::new(index).uuid
}

fn value(reading: &Value) -> &Value {
    &reading["value"]
}

#[test]
fn a_sample_shows_every_sensor() {
    let mut script = Script::with_gpus(1);
    let gpu = &mut script.devices[0];
    (gpu.held_mib, gpu.ecc_uncorrected, gpu.ecc_corrected) = (431, 2, 17);
    (gpu.utilisation, gpu.is_remap_pending, gpu.recovery_action) = (88, true, 1);
    gpu.throttle_bits = 0x8 | 0x40;
    let seen = Watching::start(&script).sample(&uuid(0), |_| true);
    let expected = json!({
        "observation": "sampled",
        "temperature_c": { "value": 34 },
        "slowdown_c": { "value": 92 },
        "memory_used_mib": { "value": 431 },
        "throttle": { "value": {
            "hardware": true, "hardware_thermal": true, "power_brake": false,
            "software_thermal": false, "power_cap": false,
        } },
        "recovery": { "value": "reset" },
        "ecc_uncorrected": { "value": 2 },
        "ecc_corrected": { "value": 17 },
        "is_remap_pending": { "value": true },
        "utilisation": { "value": 88 },
        "power_mw": { "value": 71_250 },
    });
    assert_eq!(seen, expected);
}

#[test]
fn each_throttle_reason_and_each_recovery_action_is_told_from_the_others() {
    let mut watching = Watching::start(&Script::with_gpus(1));
    for (bits, name) in [
        (0x4, "power_cap"),
        (0x8, "hardware"),
        (0x20, "software_thermal"),
        (0x40, "hardware_thermal"),
        (0x80, "power_brake"),
    ] {
        watching.driver.change(|script| script.devices[0].throttle_bits = bits | 1).unwrap();
        let seen = watching.sample(&uuid(0), |seen| value(&seen["throttle"])[name] == true);
        let flags = value(&seen["throttle"]).as_object().unwrap();
        assert_eq!(flags.values().filter(|flag| **flag == true).count(), 1, "{seen}");
    }
    for (number, name) in
        [(1, "reset"), (2, "reboot"), (3, "drain_peers"), (4, "drain_and_reset"), (0, "nothing")]
    {
        watching.driver.change(|script| script.devices[0].recovery_action = number).unwrap();
        watching.sample(&uuid(0), |seen| value(&seen["recovery"]) == name);
    }
    watching.driver.change(|script| script.devices[0].recovery_action = 77).unwrap();
    let seen = watching.sample(&uuid(0), |seen| value(&seen["recovery"]).is_null());
    let detail = seen["recovery"]["unreadable"]["detail"].as_str().unwrap();
    assert_eq!(detail, "the recovery action 77 is not known here");
}

#[test]
fn a_sensor_that_is_not_there_is_no_fault_and_one_that_fails_is() {
    let mut script = Script::with_gpus(1);
    let gpu = &mut script.devices[0];
    gpu.answer("nvmlDeviceGetPowerUsage", Answer::Error(NVML_NOT_SUPPORTED));
    gpu.answer("nvmlDeviceGetRemappedRows", Answer::Error(NVML_NOT_SUPPORTED));
    gpu.answer("nvmlDeviceGetRetiredPagesPendingStatus", Answer::Error(NVML_NOT_SUPPORTED));
    gpu.answer("field 230", Answer::Error(2));
    gpu.answer("nvmlDeviceGetTemperature", Answer::Error(NVML_UNKNOWN));
    let seen = Watching::start(&script).sample(&uuid(0), |_| true);
    for sensor in ["power_mw", "is_remap_pending", "recovery"] {
        assert_eq!(seen[sensor], "unsupported", "{sensor}");
    }
    let detail = "nvmlDeviceGetTemperature: an internal driver error occurred";
    assert_eq!(seen["temperature_c"], json!({ "unreadable": { "detail": detail } }));
    assert_eq!(value(&seen["slowdown_c"]), 92);
}

#[test]
fn gpus_older_than_row_remapping_tell_of_pages_that_wait_to_be_retired() {
    let mut script = Script::with_gpus(1);
    script.devices[0].is_remap_pending = true;
    script.devices[0].answer("nvmlDeviceGetRemappedRows", Answer::Error(NVML_NOT_SUPPORTED));
    let seen = Watching::start(&script).sample(&uuid(0), |_| true);
    assert_eq!(value(&seen["is_remap_pending"]), true);
}

#[test]
fn xid_79_on_one_of_eight_gpus_is_told_of_that_one_once_and_the_others_go_on() {
    let mut watching = Watching::start(&Script::with_gpus(8));
    watching.driver.change(|script| script.happen(5, EventKind::Xid(79))).unwrap();
    let (device, seen) = watching.until(|_, seen| seen["observation"] == "xid");
    assert_eq!((device, seen), (uuid(5), json!({ "observation": "xid", "code": 79 })));

    watching.driver.change(|script| script.devices[5].is_lost = true).unwrap();
    let (device, seen) = watching.until(|_, seen| seen["observation"] == "lost");
    assert_eq!(device, uuid(5));
    assert!(seen["detail"].as_str().unwrap().contains("fell off the bus"), "{seen}");

    // Each of the others is sampled after that, and the same event is not told again.
    for index in [0, 1, 2, 3, 4, 6, 7] {
        let (device, _) = watching.until(|device, seen| {
            assert_ne!(seen["observation"], "xid");
            device == uuid(index) && seen["observation"] == "sampled"
        });
        assert_eq!(device, uuid(index));
    }
}

#[test]
fn a_memory_error_that_was_not_corrected_is_told_and_a_corrected_one_shows_in_the_counters() {
    let mut watching = Watching::start(&Script::with_gpus(2));
    watching.driver.change(|script| script.happen(1, EventKind::DoubleBit)).unwrap();
    let (device, _) = watching.until(|_, seen| seen["observation"] == "ecc_uncorrected");
    assert_eq!(device, uuid(1));
    let corrected = |script: &mut Script| {
        script.devices[0].ecc_corrected = 3;
        script.happen(0, EventKind::SingleBit);
    };
    watching.driver.change(corrected).unwrap();
    watching.sample(&uuid(0), |seen| value(&seen["ecc_corrected"]) == 3);
}

#[test]
fn a_gpu_that_hangs_is_silent_alone_is_asked_once_and_is_read_again_when_it_is_back() {
    let mut watching = Watching::start(&Script::with_gpus(8));
    watching.sample(&uuid(3), |_| true);
    let hang = |script: &mut Script| {
        script.is_logged = true;
        script.devices[3].answer("nvmlDeviceGetPowerUsage", Answer::Hang);
    };
    watching.driver.change(hang).unwrap();
    for _ in 0..3 {
        let (device, seen) = watching.until(|_, seen| seen["observation"] == "silent");
        assert_eq!(device, uuid(3));
        assert!(seen["waited_ms"].as_u64().unwrap() >= 2000, "{seen}");
        watching.sample(&uuid(7), |_| true);
    }
    assert_eq!(watching.read_now(&uuid(3), 50)["observation"], "silent");
    let hung = format!("nvmlDeviceGetPowerUsage {}", uuid(3));
    let calls = watching.driver.calls().unwrap();
    assert_eq!(calls.iter().filter(|call| **call == hung).count(), 1);

    let back = |script: &mut Script| {
        script.devices[3].temperature_c = 41;
        script.devices[3].calls.clear();
    };
    watching.driver.change(back).unwrap();
    // What was read across the hang, with the old temperature, is dropped.
    let seen = watching.sample(&uuid(3), |_| true);
    assert_eq!(value(&seen["temperature_c"]), 41);
}

#[test]
fn a_device_that_is_read_now_shows_what_is_so_now() {
    let mut watching = Watching::start(&Script::with_gpus(2));
    for held in [0, 700, 0] {
        watching.driver.change(|script| script.devices[1].held_mib = held).unwrap();
        let seen = watching.read_now(&uuid(1), 10_000);
        assert_eq!(value(&seen["memory_used_mib"]), held);
    }
    assert_eq!(watching.read_now("cpu-0", 10_000), Value::Null);
}

#[test]
fn slices_share_their_gpus_sensors_and_have_memory_and_errors_of_their_own() {
    let mut script = Script::with_gpus(2);
    script.devices[1].cut(3, 9_856);
    let cut = |script: &Script| -> Vec<String> {
        script.devices[1].slices.iter().flatten().map(|slice| slice.uuid.clone()).collect()
    };
    let slices = cut(&script);
    let mut watching = Watching::start(&script);
    let hold = |script: &mut Script| {
        script.devices[1].temperature_c = 55;
        script.devices[1].slices.as_mut().unwrap()[2].held_mib = 64;
        let mut event =
            fake_driver::Event { device: uuid(1), kind: EventKind::Xid(31), gpu_instance: Some(8) };
        script.events.push(event.clone());
        event.kind = EventKind::Xid(48);
        event.gpu_instance = None;
        script.events.push(event);
    };
    watching.driver.change(hold).unwrap();
    let is_warm = |seen: &Value| value(&seen["temperature_c"]) == 55;
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while second.len() < 3 {
        let (device, seen) = watching.until(|_, seen| seen["observation"] == "xid");
        if seen["code"] == 31 { &mut first } else { &mut second }.push(device);
    }
    assert_eq!(first, [slices[1].clone()]);
    assert_eq!(second, slices);
    let seen = watching.sample(&slices[2], is_warm);
    assert_eq!(value(&seen["memory_used_mib"]), 64);
    let seen = watching.sample(&slices[0], is_warm);
    assert_eq!(value(&seen["memory_used_mib"]), 0);
}

#[test]
fn a_gpu_whose_events_cannot_be_heard_is_named_and_sampled_all_the_same() {
    let mut script = Script::with_gpus(2);
    script.devices[1].answer("nvmlDeviceRegisterEvents", Answer::Error(NVML_UNKNOWN));
    let mut watching = Watching::start(&script);
    watching.sample(&uuid(1), |_| true);
    let deaf = loop {
        let deaf = watching.ask("deaf", "deaf");
        if deaf.get(uuid(0)).is_none() && deaf[uuid(1)].as_str().unwrap().contains("cannot") {
            break deaf;
        }
    };
    let reason = "events cannot be waited for: an internal driver error occurred";
    assert_eq!(deaf, json!({ uuid(1): reason }));
}

#[test]
fn one_gpu_that_hangs_when_its_events_are_asked_for_keeps_no_other_from_being_heard() {
    let mut script = Script::with_gpus(2);
    script.devices[0].answer("nvmlDeviceRegisterEvents", Answer::Hang);
    script.happen(1, EventKind::Xid(94));
    let mut watching = Watching::start(&script);
    let (device, seen) = watching.until(|_, seen| seen["observation"] == "xid");
    assert_eq!((device, &seen["code"]), (uuid(1), &json!(94)));
}

#[test]
fn without_the_management_library_every_sensor_is_unreadable_and_says_why() {
    let driver = FakeDriver::install_without_nvml(&Script::with_gpus(1)).unwrap();
    let seen = Watching::on(driver).sample(&uuid(0), |_| true);
    let sensors = seen.as_object().unwrap().iter().filter(|(key, _)| *key != "observation");
    for (sensor, reading) in sensors {
        let detail = reading["unreadable"]["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("libnvidia-ml"), "{sensor}: {reading}");
    }
}

#[test]
fn a_watcher_that_is_dropped_ends_its_threads() {
    let driver = FakeDriver::install(&Script::with_gpus(4)).unwrap();
    let said = all_said(&mut child("watch::child_drops_its_watcher", &driver));
    // Two for each GPU, and one to which they report.
    assert_eq!(said, [json!(9), json!(0)]);
}

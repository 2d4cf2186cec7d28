//! `assay device-probe` as a node starts it, on the fake driver: one device in one process.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::process::Command;
use std::time::Duration;

use fake_driver::{Answer, FakeDriver, Gpu, Script};
use node_core::health::observation::{ProbeFigures, ProbeResult, ProbeStep};
use node_core::inventory::DeviceId;
use node_gpu::Prober;

const ASSAY: &str = env!("CARGO_BIN_EXE_assay");
/// Far above what a probe of the fake driver takes.
const LIMIT: Duration = Duration::from_secs(60);

const LAUNCH_FAILED: u32 = 719;
const ECC_UNCORRECTABLE: u32 = 214;
const DRIVER_MISMATCH: u32 = 803;
const NO_COMPILER: u32 = 221;

fn id(index: u32) -> DeviceId {
    DeviceId(Gpu::new(index).uuid)
}

fn probe_within(script: &Script, device: &DeviceId, limit: Duration) -> ProbeResult {
    let driver = FakeDriver::install(script).unwrap();
    Prober::new(ASSAY).with_library_path(driver.folder()).probe(device, limit)
}

fn probe(script: &Script, device: &DeviceId) -> ProbeResult {
    probe_within(script, device, LIMIT)
}

#[track_caller]
fn figures(result: ProbeResult) -> ProbeFigures {
    match result {
        ProbeResult::Right(figures) => figures,
        other => panic!("{other:?}"),
    }
}

/// Two GPUs of which the second answers so.
fn second(change: impl FnOnce(&mut Gpu)) -> Script {
    let mut script = Script::with_gpus(2);
    change(&mut script.devices[1]);
    script
}

#[track_caller]
fn assert_wrong(result: ProbeResult, at: ProbeStep, words: &str) {
    match result {
        ProbeResult::Wrong { step, detail } => {
            assert_eq!(step, at, "{detail}");
            assert!(detail.contains(words), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_gpu_is_right_and_its_figures_are_the_gpus() {
    let script = second(|gpu| (gpu.bandwidth_mb_s, gpu.matrix_gflop_s) = (3_000_000, 40_000));
    let figures = figures(probe(&script, &id(1)));
    // Three quarters of the free memory, in whole pieces.
    assert_eq!(figures.memory_mib, 59 * 1024);
    assert!((2_999_000..=3_001_000).contains(&figures.bandwidth_mb_s), "{figures:?}");
    assert!((39_900..=40_100).contains(&figures.matrix_gflop_s), "{figures:?}");
    assert!(figures.took_ms > 0);
}

#[test]
fn a_slow_gpu_is_right_and_its_figures_are_low() {
    let script = second(|gpu| (gpu.bandwidth_mb_s, gpu.matrix_gflop_s) = (90_000, 700));
    let figures = figures(probe(&script, &id(1)));
    assert!((89_900..=90_100).contains(&figures.bandwidth_mb_s), "{figures:?}");
    assert!((699..=701).contains(&figures.matrix_gflop_s), "{figures:?}");
}

#[test]
fn a_slice_is_probed_by_its_own_name_and_memory() {
    let script = second(|gpu| gpu.cut(2, 9_856));
    let slice = script.devices[1].slices.as_ref().unwrap()[1].uuid.clone();
    let figures = figures(probe(&script, &DeviceId(slice)));
    assert_eq!(figures.memory_mib, 7 * 1024);
}

#[test]
fn what_a_gpu_computes_remembers_or_moves_wrongly_is_found_in_its_step() {
    for (kernel, step, words) in [
        ("probe_known", ProbeStep::Kernel, "1 of 1048576 results are wrong: number 524288 is"),
        (
            "probe_fill",
            ProbeStep::Memory,
            "1 words of memory are wrong; the first is number 134217728 of piece 0",
        ),
        ("copy", ProbeStep::Bandwidth, "1 words of memory are wrong"),
        (
            "probe_matmul",
            ProbeStep::Matrix,
            "1 entries of a product are wrong: that in row 512, column 0",
        ),
    ] {
        let script = second(|gpu| gpu.wrong_kernels = vec![kernel.to_owned()]);
        assert_wrong(probe(&script, &id(1)), step, words);
        // Its neighbour is another device.
        assert!(matches!(probe(&script, &id(0)), ProbeResult::Right(_)), "{kernel}");
    }
}

#[test]
fn a_call_that_fails_is_named_with_the_drivers_answer() {
    let failed = |call: &str, number: u32| {
        probe(&second(|gpu| gpu.answer(call, Answer::Error(number))), &id(1))
    };
    let launch = failed("probe_known", LAUNCH_FAILED);
    assert_wrong(launch, ProbeStep::Kernel, "cuLaunchKernel answered CUDA_ERROR_LAUNCH_FAILED");
    let ecc = failed("probe_check", ECC_UNCORRECTABLE);
    assert_wrong(ecc, ProbeStep::Memory, "CUDA_ERROR_ECC_UNCORRECTABLE");
    let context = failed("cuDevicePrimaryCtxRetain", 46);
    assert_wrong(context, ProbeStep::Context, "CUDA_ERROR_DEVICE_UNAVAILABLE");
    let lost = probe(&second(|gpu| gpu.is_lost = true), &id(1));
    assert_wrong(lost, ProbeStep::Context, "CUDA_ERROR_UNKNOWN");
}

#[test]
fn a_gpu_that_cuda_does_not_list_is_wrong_and_no_other_is_probed_in_its_place() {
    let result = probe(&second(|gpu| gpu.is_in_cuda = false), &id(1));
    assert_wrong(result, ProbeStep::Context, "CUDA does not list GPU-00000001");
}

#[test]
fn memory_that_something_holds_is_found() {
    let result = probe(&second(|gpu| gpu.held_mib = gpu.memory_mib - 10), &id(1));
    assert_wrong(result, ProbeStep::Memory, "only 10 MiB are free");
    let half = second(|gpu| gpu.held_mib = 40_000);
    assert_eq!(figures(probe(&half, &id(1))).memory_mib, 30 * 1024);
}

#[test]
fn a_probe_that_hangs_is_ended_at_its_limit_and_costs_no_other_device() {
    let script = second(|gpu| gpu.answer("probe_matmul", Answer::Hang));
    let result = probe_within(&script, &id(1), Duration::from_millis(1500));
    assert_eq!(result, ProbeResult::TimedOut { limit_ms: 1500 });
    assert!(matches!(probe(&script, &id(0)), ProbeResult::Right(_)));
}

#[test]
fn a_crash_in_the_driver_ends_the_child_only_and_says_how() {
    let result = probe(&second(|gpu| gpu.answer("cuModuleLoadData", Answer::Crash)), &id(1));
    let ProbeResult::Died { detail } = result else { panic!("{result:?}") };
    assert!(detail.starts_with("signal: 6 (SIGABRT)"), "{detail}");
}

#[test]
fn a_host_that_cannot_probe_says_nothing_about_the_device() {
    let mut mismatch = Script::with_gpus(1);
    mismatch.calls.insert("cuInit".to_owned(), Answer::Error(DRIVER_MISMATCH));
    let result = probe(&mismatch, &id(0));
    let detail = "cuInit answered CUDA_ERROR_SYSTEM_DRIVER_MISMATCH".to_owned();
    assert_eq!(result, ProbeResult::NotStarted { detail });

    let no_compiler = second(|gpu| gpu.answer("cuModuleLoadData", Answer::Error(NO_COMPILER)));
    let result = probe(&no_compiler, &id(1));
    assert!(matches!(result, ProbeResult::NotStarted { .. }), "{result:?}");

    let result = Prober::new("no/such/program").probe(&id(0), LIMIT);
    let ProbeResult::NotStarted { detail } = result else { panic!("{result:?}") };
    assert!(detail.starts_with("cannot start `no/such/program`"), "{detail}");

    let result = Prober::new(ASSAY).probe(&DeviceId("cpu-0".to_owned()), LIMIT);
    assert_eq!(result, ProbeResult::NotStarted { detail: "`cpu-0` is no GPU".to_owned() });
}

#[test]
fn by_hand_it_prints_one_line_and_is_not_in_the_help() {
    let driver = FakeDriver::install(&Script::with_gpus(2)).unwrap();
    let mut command = Command::new(ASSAY);
    driver.equip(&mut command).args(["device-probe", "--device", &id(1).0]);
    let output = command.env_remove("CUDA_VISIBLE_DEVICES").output().unwrap();
    assert!(output.status.success());
    let line = String::from_utf8(output.stdout).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    figures(serde_json::from_str(&line).unwrap());

    let help = Command::new(ASSAY).arg("--help").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("device-probe"));
}

#[test]
fn the_gpus_of_this_machine_are_right_and_their_figures_are_printed() {
    let smi = Command::new("nvidia-smi").arg("-L").output();
    if !smi.is_ok_and(|output| output.status.success()) {
        println!("skipped: no GPU");
        return;
    }
    let devices = node_gpu::inventory_within(LIMIT).unwrap().devices;
    for device in devices {
        let figures = figures(Prober::new(ASSAY).probe(&device.id, LIMIT));
        println!("{} ({}): {figures:?}", device.id, device.label);
        assert!(figures.memory_mib > device.memory_mib / 2, "{figures:?}");
        // A GPU of 2017 does more than this.
        assert!(figures.bandwidth_mb_s > 50_000, "{figures:?}");
        assert!(figures.matrix_gflop_s > 100, "{figures:?}");
    }
}

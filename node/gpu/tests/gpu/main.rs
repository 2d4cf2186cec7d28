//! The probe against a machine without a driver and against drivers built for the test.
//!
//! A library is loaded once per process, so each case runs in a child: this test binary again,
//! with one of the ignored tests, which prints what the probe said.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Far above what a working driver takes, far below what a test may.
const LIMIT: Duration = Duration::from_secs(10);
const HANG_LIMIT: Duration = Duration::from_millis(200);

fn build(dir: &Path, source: &str, library: &str, flags: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu").join(source);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"])
        .arg(dir.join(library))
        .args(flags)
        .arg(source)
        .status()
        .unwrap();
    assert!(status.success());
}

/// What the child's probe said on a machine where `dir` holds the driver's libraries.
fn probe(child: &str, dir: &Path, role: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([child, "--exact", "--ignored", "--nocapture"])
        .env("LD_LIBRARY_PATH", dir)
        .env("ASSAY_FAKE_GPU", role)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter_map(|line| line.strip_prefix("said: ")).collect()
}

fn driver(library: &str, flags: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), "driver.c", library, flags);
    dir
}

#[test]
#[ignore = "the child of the other tests"]
fn child_probes() {
    println!("\nsaid: {:?}", node_gpu::inventory_within(LIMIT));
}

#[test]
#[ignore = "the child of the hanging driver"]
fn child_probes_twice_with_little_patience() {
    println!("\nsaid: {:?}", node_gpu::probe_gpus_within(HANG_LIMIT));
    println!("\nsaid: {:?}", node_gpu::probe_gpus_within(HANG_LIMIT));
}

#[test]
fn both_gpus_are_listed_with_uuid_name_and_memory_under_either_name_of_the_library() {
    for library in ["libcuda.so", "libcuda.so.1"] {
        let dir = driver(library, &[]);
        build(dir.path(), "nvml.c", "libnvidia-ml.so.1", &[]);
        let said = probe("child_probes", dir.path(), "");
        for part in [
            "GPU-f0f0f0f0-f0f0-f0f0-f0f0-f0f0f0f0f0f0",
            "GPU-f1f1f1f1-f1f1-f1f1-f1f1-f1f1f1f1f1f1",
            r#"label: "Test GPU 80GB", memory_mib: 81920"#,
            "faults: []",
            r#"driver_version: Some("570.86.15")"#,
        ] {
            assert!(said.contains(part), "{library}: {said} lacks {part}");
        }
    }
}

#[test]
fn a_missing_management_library_costs_the_version_only() {
    let dir = driver("libcuda.so.1", &[]);
    build(dir.path(), "driver.c", "libnvidia-ml.so.1", &[]);
    let said = probe("child_probes", dir.path(), "");
    assert!(said.contains("GPU-f1f1") && said.contains("driver_version: None"), "{said}");
}

#[test]
fn a_dead_gpu_is_named_and_hides_no_other() {
    let dir = driver("libcuda.so.1", &[]);
    let said = probe("child_probes", dir.path(), "one_dead");
    assert!(said.contains("GPU-f1f1") && !said.contains("GPU-f0f0"), "{said}");
    assert!(said.contains("ordinal: 0"), "{said}");
    assert!(said.contains("cuDeviceGetName answered CUDA_ERROR_LAUNCH_FAILED"), "{said}");
}

#[test]
fn a_driver_that_does_not_start_is_a_value_that_says_why() {
    let dir = driver("libcuda.so.1", &[]);
    for (role, detail) in [
        ("init_fails", "cuInit answered CUDA_ERROR_UNKNOWN"),
        ("mismatch", "cuInit answered CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        ("all_dead", "GPU 0: cuDeviceGetName answered CUDA_ERROR_LAUNCH_FAILED"),
    ] {
        let said = probe("child_probes", dir.path(), role);
        assert_eq!(said, format!("Err(DriverFailed {{ detail: \"{detail}\" }})"));
    }
}

#[test]
fn a_driver_without_devices_is_no_failure() {
    let dir = driver("libcuda.so.1", &[]);
    for role in ["none", "no_device"] {
        assert_eq!(probe("child_probes", dir.path(), role), "Err(NoDevice)");
    }
}

#[test]
fn a_driver_that_hangs_is_given_up_and_asked_no_second_time() {
    let dir = driver("libcuda.so.1", &[]);
    let said = probe("child_probes_twice_with_little_patience", dir.path(), "hangs");
    assert!(said.contains("no answer within 200 ms"), "{said}");
    assert!(said.contains("an earlier question is still unanswered"), "{said}");
}

#[test]
fn a_driver_that_lacks_a_function_is_a_value_and_not_a_panic() {
    let dir = driver("libcuda.so.1", &["-DWITHOUT_UUID"]);
    let said = probe("child_probes", dir.path(), "");
    assert!(said.contains("DriverFailed") && said.contains("the library panicked"), "{said}");
}

#[test]
fn a_missing_driver_is_named_as_such_and_a_present_one_is_not() {
    let known = Command::new("sh").args(["-c", "PATH=$PATH:/sbin ldconfig -p"]).output().unwrap();
    let has_driver = String::from_utf8_lossy(&known.stdout).contains("libcuda.so");
    let dir = tempfile::tempdir().unwrap();
    let said = probe("child_probes", dir.path(), "");
    let is_named = said.starts_with("Err(NoDriver { detail: \"the loader finds");
    assert_eq!(is_named, !has_driver, "{said}");
}

//! The parent of a probe against children that are not as they should be.
//!
//! What a good one finds on a GPU is in `node/daemon/tests/device_probe.rs`.

use std::ffi::OsString;
use std::time::Duration;

use node_core::health::observation::ProbeResult;
use node_core::inventory::DeviceId;
use node_gpu::Prober;

/// Longer than a busy machine takes for a shell.
const LIMIT: Duration = Duration::from_secs(60);

/// A child that does as the script says. It gets the probe's arguments too.
fn run(script: &str, limit: Duration) -> ProbeResult {
    let arguments = ["-c", script, "sh"].map(OsString::from);
    let prober = Prober::new("/bin/sh").with_arguments(arguments).with_library_path("some/path");
    prober.probe(&DeviceId("GPU-00000007-0000-4000-8000-000000000007".to_owned()), limit)
}

#[test]
fn an_answer_counts_when_it_is_there_even_if_the_child_never_ends() {
    let script =
        r#"echo noise; echo '{"probe":"wrong","step":"memory","detail":"x"}'; exec sleep 900"#;
    assert!(matches!(run(script, LIMIT), ProbeResult::Wrong { .. }));
}

#[test]
fn a_child_that_says_nothing_is_killed_at_the_limit() {
    let limit = Duration::from_millis(200);
    let timed_out = ProbeResult::TimedOut { limit_ms: 200 };
    assert_eq!(run("exec sleep 900", limit), timed_out);
    assert_eq!(run("exec sleep 900 >&- 2>&-", limit), timed_out);
}

#[test]
fn a_child_that_ends_without_an_answer_died_and_its_last_words_are_kept() {
    let died = |detail: &str| ProbeResult::Died { detail: detail.to_owned() };
    let script = "echo first >&2; echo boom >&2; echo; exit 3";
    assert_eq!(run(script, LIMIT), died("exit status: 3, and last it wrote: boom"));
    assert_eq!(run("kill -9 $$", LIMIT), died("signal: 9 (SIGKILL), without a word"));
    assert_eq!(run("exit 0", LIMIT), died("exit status: 0, without a word"));
}

#[test]
fn output_without_end_is_read_in_part_and_is_no_answer() {
    // It ends when it can write no more.
    let result = run("while echo 0123456789; do :; done 2>/dev/null; exit 4", LIMIT);
    assert!(matches!(result, ProbeResult::Died { .. }), "{result:?}");
}

#[test]
fn a_child_sees_its_device_and_the_path_to_libraries_and_nothing_else_of_ours() {
    let script = r#"printf '{"probe":"died","detail":"%s|%s"}\n' "$*" "$(env | tr '\n' ' ')""#;
    let ProbeResult::Died { detail } = run(script, LIMIT) else { panic!("no answer") };
    let (arguments, environment) = detail.split_once('|').unwrap_or_default();
    let device = "GPU-00000007-0000-4000-8000-000000000007";
    assert_eq!(arguments, format!("--device {device} --within-ms 60000"));
    let visible = format!("CUDA_VISIBLE_DEVICES={device}");
    for wanted in [visible.as_str(), "CUDA_CACHE_DISABLE=1", "LD_LIBRARY_PATH=some/path"] {
        assert!(environment.contains(wanted), "{environment} lacks {wanted}");
    }
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    assert!(!environment.contains("CARGO"), "{environment}");
}

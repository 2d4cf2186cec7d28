//! Every way a container can end, brought about for real.

mod support;

use std::time::Duration;

use node_core::outcome::Ending;
use support::{limits, run_of, Sandbox};

/// What a loaded machine may need between a limit and the report about it.
const REACTION_MS_MAX: u64 = 2_000;

/// Doubles a string until memory runs out; as the first process.
const HOG: &str = "x=aaaaaaaa; while :; do x=$x$x; done";

#[tokio::test]
async fn a_program_that_ends_well_has_no_ending_of_its_own() {
    let sandbox = Sandbox::new("well").await;
    let report = sandbox.shell("echo out; echo err >&2").await;
    assert_eq!((report.ending.clone(), report.exit_code), (None, Some(0)), "{report:?}");
    assert_eq!(report.output_bytes, 8);
    assert!(report.output_tail.contains("out\n") && report.output_tail.contains("err\n"));
    assert!(report.removed);
    assert!(report.started_at <= report.ended_at);
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn a_failing_exit_code_is_a_kill_with_that_code() {
    let sandbox = Sandbox::new("exit-code").await;
    let report = sandbox.shell("exit 3").await;
    assert_eq!(report.ending, Some(Ending::Killed { exit_code: 3 }));
}

#[tokio::test]
async fn a_kill_from_inside_is_told_from_a_limit() {
    let sandbox = Sandbox::new("kill").await;
    // A first process ignores signals from its own container unless it asked for them.
    let report = sandbox.shell("trap 'exit 143' TERM; sh -c 'kill -TERM 1'; sleep 5").await;
    assert_eq!(report.ending, Some(Ending::Killed { exit_code: 143 }));
}

#[tokio::test]
async fn a_memory_hog_as_the_first_process_is_out_of_memory() {
    let sandbox = Sandbox::new("oom-first").await;
    let report = sandbox.shell(HOG).await;
    assert_eq!(report.ending, Some(Ending::OutOfMemory), "{report:?}");
    let peak_mib = report.usage.peak_memory_bytes >> 20;
    assert!((1..=limits().memory_mib).contains(&peak_mib), "{peak_mib} MiB");
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn a_memory_hog_as_a_child_is_out_of_memory_even_if_its_parent_ends_well() {
    let sandbox = Sandbox::new("oom-child").await;
    let report = sandbox.shell(&format!("sh -c '{HOG}'; echo went on; exit 0")).await;
    assert_eq!(report.ending, Some(Ending::OutOfMemory), "{report:?}");
}

#[tokio::test]
async fn filling_the_shared_memory_counts_as_memory() {
    let sandbox = Sandbox::new("oom-shm").await;
    let script = "dd if=/dev/zero of=/dev/shm/x bs=1M count=500; dd if=/dev/zero of=/tmp/x bs=1M";
    let report = sandbox.shell(script).await;
    assert_eq!(report.ending, Some(Ending::OutOfMemory), "{report:?}");
}

#[tokio::test]
async fn busy_loops_get_one_cpu_and_end_as_too_slow_at_the_wall_clock() {
    let sandbox = Sandbox::new("busy").await;
    let script = "for i in 1 2 3; do while :; do :; done & done; while :; do :; done";
    let wall_ms = 2_000;
    let report = sandbox.shell_with(script, |spec| spec.limits.wall_ms = wall_ms).await;
    let Some(Ending::TooSlow { ran_ms }) = report.ending else { panic!("{report:?}") };
    assert!((wall_ms..wall_ms + REACTION_MS_MAX).contains(&ran_ms), "{ran_ms} ms");
    let cpu_ms = report.usage.cpu_ms;
    // The quota is refilled every 100 ms, so two periods can be spent in advance.
    assert!(cpu_ms <= ran_ms + 200, "{cpu_ms} ms of CPU in {ran_ms} ms");
    assert!(cpu_ms > 0);
}

#[tokio::test]
async fn endless_output_is_cut_before_it_reaches_the_disk() {
    let sandbox = Sandbox::new("output").await;
    let report = sandbox.shell("yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert_eq!(report.ending, Some(Ending::TooMuchOutput), "{report:?}");
    assert!(report.output_bytes > limits().output_bytes);
    assert!(report.output_bytes < limits().output_bytes + (1 << 20), "{}", report.output_bytes);
    assert_eq!(report.output_tail.len(), node_runner::OUTPUT_TAIL_BYTES_MAX);
    assert!(report.ran_ms < REACTION_MS_MAX, "{} ms", report.ran_ms);
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn a_burst_above_the_limit_counts_even_if_the_program_ends_at_once() {
    let sandbox = Sandbox::new("burst").await;
    let report = sandbox.shell("dd if=/dev/zero bs=70000 count=1 2>/dev/null").await;
    assert_eq!(report.ending, Some(Ending::TooMuchOutput), "{report:?}");
}

#[tokio::test]
async fn the_caller_can_end_a_run_and_name_its_ending() {
    let sandbox = Sandbox::new("stop").await;
    for ending in [None, Some(Ending::Stopped), Some(Ending::LeaseLost)] {
        let mut run = sandbox.start("trap '' TERM INT; sleep 1000").await;
        run.stop(ending.clone());
        // The first reason stands: a stop that comes later does not rename the end.
        run.stop(Some(Ending::WorkerRestarted));
        let report = run.finished().await;
        assert_eq!((report.ending.clone(), report.exit_code), (ending, None), "{report:?}");
        assert_eq!(run.finished().await, report);
    }
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn a_run_whose_handle_is_dropped_is_ended_and_removed() {
    let sandbox = Sandbox::new("dropped-run").await;
    let run = sandbox.start("sleep 1000").await;
    assert_eq!(sandbox.engine.leftovers().await.unwrap().len(), 1);
    drop(run);
    sandbox.wait_until_nothing_is_left(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_container_that_is_never_started_is_removed_when_dropped() {
    let sandbox = Sandbox::new("dropped-container").await;
    let container = sandbox.engine.create(sandbox.spec("true")).await.unwrap();
    let left = sandbox.engine.leftovers().await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(!left[0].running);
    drop(container);
    sandbox.wait_until_nothing_is_left(Duration::from_secs(10)).await;
}

#[test]
fn a_run_is_killed_by_its_name_while_the_runtime_that_started_it_hangs() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Nobody drives a runtime of one thread between two calls of `block_on`.
    let (hanging, other) = (runtime(), runtime());
    let (sandbox, mut run, id) = hanging.block_on(async {
        let sandbox = Sandbox::new("hang").await;
        let mut id = None;
        let run = sandbox.start_with("sleep 1000", |spec| id = Some(run_of(spec))).await;
        // The engine's answers come over connections of this runtime; none may be used again.
        sandbox.engine.ping().await.unwrap();
        (sandbox, run, id.unwrap())
    });
    other.block_on(async {
        let kill = || tokio::time::timeout(Duration::from_secs(10), sandbox.engine.kill(&id));
        assert_eq!(kill().await.unwrap(), Ok(true));
        // It may take a moment to be gone; then there is nothing to kill.
        while kill().await.unwrap() == Ok(true) {}
    });
    let report = hanging.block_on(run.finished());
    assert_eq!(report.ending, Some(Ending::Killed { exit_code: 137 }), "{report:?}");
    assert!(report.removed);
    hanging.block_on(async {
        assert_eq!(sandbox.engine.kill(&id).await, Ok(false), "there is no container any more");
        sandbox.assert_nothing_left().await;
    });
}

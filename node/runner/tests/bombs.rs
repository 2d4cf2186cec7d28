//! Programs that try to use up the host, against the real engine.
//!
//! Not here: that leases are renewed in time meanwhile (`node/daemon`, `run/keep_bombs_tests`).

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

use node_core::outcome::{Ending, Fault};
use node_runner::RunReport;
use support::{limits, Sandbox};

/// What a loaded machine may need between a limit and the end.
const REACTION_MS_MAX: u64 = 2_000;

const FORKS: &str = "bomb() { bomb | bomb & }; bomb; sleep 30";
const MEMORY: &str = "x=aaaaaaaa; while :; do x=$x$x; done";
/// Every file that it prints to stays open. It starts over for ever.
const DESCRIPTORS: &str = "while :; do awk \
    'BEGIN { for (i = 0; ; i++) print i > (\"/tmp/f\" i) }'; done";
const BUSY: &str = "for i in 1 2 3; do while :; do :; done & done; while :; do :; done";
const SLEEP: &str = "trap '' TERM INT HUP; sleep 1000000";

/// The report, after a check that the end came in time and left nothing.
async fn ended(sandbox: &Sandbox, script: &str, limit_ms: u64) -> RunReport {
    let (wall_ms, cpu_ms) = (limits().wall_ms.min(limit_ms), limits().cpu_ms.min(limit_ms));
    let report = sandbox
        .shell_with(script, |spec| (spec.limits.wall_ms, spec.limits.cpu_ms) = (wall_ms, cpu_ms))
        .await;
    assert!(report.ran_ms < limit_ms + REACTION_MS_MAX, "{report:?}");
    assert!(report.removed);
    sandbox.assert_nothing_left().await;
    let fault = report.ending.as_ref().map(Ending::fault);
    assert_eq!(fault, Some(Fault::Submission), "{report:?}");
    report
}

#[tokio::test]
async fn case_21_a_fork_bomb_is_held_and_ends_as_out_of_pids() {
    let sandbox = Sandbox::new("fork-bomb").await;
    let report = ended(&sandbox, FORKS, limits().wall_ms).await;
    assert_eq!(report.ending, Some(Ending::OutOfPids), "{report:?}");
    // Its limit is a number of processes: it is met at once.
    assert!(report.ran_ms < REACTION_MS_MAX, "{report:?}");
}

#[tokio::test]
async fn case_21_a_memory_bomb_is_killed_and_ends_as_out_of_memory() {
    let sandbox = Sandbox::new("memory-bomb").await;
    let report = sandbox.shell(MEMORY).await;
    assert_eq!(report.ending, Some(Ending::OutOfMemory), "{report:?}");
    assert!(report.usage.peak_memory_bytes <= limits().memory_mib << 20, "{report:?}");
    assert!(report.ran_ms < limits().cpu_ms, "{report:?}");
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn case_21_a_descriptor_bomb_is_refused_and_ends_at_its_time() {
    let sandbox = Sandbox::new("descriptor-bomb").await;
    let report = ended(&sandbox, DESCRIPTORS, 2_000).await;
    let by_time = matches!(
        report.ending,
        Some(Ending::TooSlow { .. } | Ending::TooMuchCpuTime { .. } | Ending::TooMuchOutput)
    );
    assert!(by_time, "{report:?}");
    assert!(report.output_tail.contains("Too many open files"), "{report:?}");
}

#[tokio::test]
async fn case_21_a_busy_loop_ends_at_its_cpu_time_and_gets_one_cpu_until_then() {
    let sandbox = Sandbox::new("busy-cpu").await;
    let cpu_ms = 1_500;
    let report = sandbox.shell_with(BUSY, |spec| spec.limits.cpu_ms = cpu_ms).await;
    let Some(Ending::TooMuchCpuTime { used_ms }) = report.ending else { panic!("{report:?}") };
    assert!((cpu_ms..cpu_ms + REACTION_MS_MAX).contains(&used_ms), "{used_ms} ms");
    // The quota is refilled every 100 ms, so two periods can be spent in advance.
    assert!(report.usage.cpu_ms <= report.ran_ms + 200, "{report:?}");
}

#[tokio::test]
async fn case_21_a_sleep_for_ever_ends_at_the_wall_clock() {
    let sandbox = Sandbox::new("sleeper").await;
    let wall_ms = 1_000;
    let report = ended(&sandbox, SLEEP, wall_ms).await;
    let Some(Ending::TooSlow { ran_ms }) = report.ending else { panic!("{report:?}") };
    assert!((wall_ms..wall_ms + REACTION_MS_MAX).contains(&ran_ms), "{ran_ms} ms");
}

#[tokio::test]
async fn case_21_every_bomb_at_once_ends_by_its_own_fault_and_nothing_is_left() {
    let sandbox = Sandbox::new("all-bombs").await;
    let bombs = [FORKS, MEMORY, DESCRIPTORS, BUSY, SLEEP];
    let runs = bombs.map(|script| {
        sandbox.shell_with(script, |spec| {
            (spec.limits.wall_ms, spec.limits.cpu_ms) = (5_000, 4_000);
        })
    });
    for report in futures_util::future::join_all(runs).await {
        assert_eq!(report.ending.map(|e| e.fault()), Some(Fault::Submission));
    }
    sandbox.assert_nothing_left().await;
}

/// Where the engine keeps what a container prints, if that is on this host and can be read.
fn engine_files(id: &str) -> Option<PathBuf> {
    let path = Path::new("/var/lib/docker/containers").join(id);
    path.is_dir().then_some(path)
}

fn size_of(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).sum()
}

#[tokio::test]
async fn case_22_ten_gigabytes_on_stdout_are_cut_and_never_reach_the_disk() {
    let sandbox = Sandbox::new("ten-gigabytes").await;
    let mut spec = sandbox.spec("dd if=/dev/zero bs=1M count=10240");
    spec.limits.output_bytes = 64 << 20;
    let output_bytes = spec.limits.output_bytes;
    let container = sandbox.engine.create(spec).await.unwrap();
    let files = engine_files(container.id());
    let before = files.as_deref().map(size_of).unwrap_or_default();
    let most = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&most);
    let watching = tokio::spawn(async move {
        while let Some(dir) = files.as_deref().filter(|dir| dir.is_dir()) {
            seen.fetch_max(size_of(dir), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let report = container.start().await.unwrap().finished().await;
    assert_eq!(report.ending, Some(Ending::TooMuchOutput), "{report:?}");
    assert!(report.output_bytes < output_bytes + (1 << 20), "{}", report.output_bytes);
    watching.await.unwrap();
    let grown = most.load(Ordering::Relaxed).saturating_sub(before);
    assert!(grown < 1 << 20, "the engine wrote {grown} bytes");
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn case_22_a_million_files_are_refused_after_the_first_thousands() {
    let sandbox = Sandbox::new("million-files").await;
    let script = "i=0; while [ $i -lt 1000000 ] && : 2>/dev/null >/tmp/$i; do i=$((i+1)); done; \
        echo $i";
    let report = sandbox.shell(&format!("sh -c '{script}'; df -i /tmp | tail -n 1")).await;
    let made: u64 = report.output_tail.lines().filter_map(|l| l.trim().parse::<u64>().ok()).sum();
    // As the first process refuses to go on, the shell in it may say nothing: then df counts.
    assert!(made < 20_000, "{report:?}");
    assert!(report.output_tail.contains("100%"), "{report:?}");
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn case_22_a_million_files_in_shared_memory_are_out_of_memory() {
    let sandbox = Sandbox::new("million-shm").await;
    let script = "i=0; while :; do : >/dev/shm/$i; i=$((i+1)); done";
    let report = sandbox.shell_with(script, |spec| spec.limits.memory_mib = 24).await;
    assert_eq!(report.ending, Some(Ending::OutOfMemory), "{report:?}");
    sandbox.assert_nothing_left().await;
}

#[tokio::test]
async fn case_22_a_sparse_terabyte_takes_no_room_and_cannot_be_filled() {
    let sandbox = Sandbox::new("sparse").await;
    let script =
        "truncate -s 1099511627776 /tmp/sparse; stat -c %s /tmp/sparse; du -k /tmp/sparse; \
        dd if=/dev/zero of=/tmp/sparse bs=1M count=100 conv=notrunc 2>&1 | grep -c 'No space'; \
        truncate -s 1099511627776 /assay/sparse; truncate -s 1099511627776 /sparse; true";
    let seen = sandbox.transcript(script).await;
    assert!(seen.starts_with("1099511627776\n0\t/tmp/sparse\n1\n"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
}

#[tokio::test]
async fn case_22_a_link_leads_nowhere_and_nothing_of_it_comes_out() {
    let sandbox = Sandbox::new("links").await;
    let dir = support::shared_directory();
    std::fs::write(dir.path().join("shard"), "data\n").unwrap();
    support::open_to_all(&dir.path().join("shard"));
    let host_name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let script = "ln -s /etc/shadow /assay/data/shadow; ln -sf /etc/shadow /assay/data/shard; \
        ln /assay/data/shard /tmp/hard; ln -s /proc/1/root/etc/hostname /tmp/name; \
        ln -s ../../../../etc/hostname /tmp/up; cat /tmp/name /tmp/up; echo tried";
    let bind = support::bind(&dir);
    let seen = sandbox.transcript_with(script, |spec| spec.binds.push(bind)).await;
    assert!(seen.contains("/assay/data/shadow: Read-only file system"), "{seen}");
    assert!(seen.contains("ln: /assay/data/shard"), "{seen}");
    assert!(seen.contains("ln: /tmp/hard"), "{seen}");
    assert!(seen.ends_with("tried\n"), "{seen}");
    assert!(host_name.trim().is_empty() || !seen.contains(host_name.trim()), "{seen}");
    let entries: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
    assert_eq!(entries.len(), 1);
    assert!(entries[0].metadata().unwrap().is_file());
    assert_eq!(std::fs::read(dir.path().join("shard")).unwrap(), b"data\n");
}

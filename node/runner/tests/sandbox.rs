//! What a submission's process can and cannot do, tried against the real engine.
//!
//! Each test runs a small program in the sandbox and looks at what it printed or how it ended.
//! Needs an engine, the busybox image and the evaluator image; without them tests fail and say so.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use node_core::outcome::Ending;
use support::{limits, Sandbox};

#[tokio::test]
async fn the_network_is_only_the_loopback() {
    let sandbox = Sandbox::new("network").await;
    let seen = sandbox.transcript("ip -o link | wc -l; ip -o link; ip route; echo end").await;
    assert!(seen.starts_with("1\n1: lo:"), "{seen}");
    // Between the one link and the end stands no route.
    assert_eq!(seen.lines().count(), 3, "{seen}");
}

#[tokio::test]
async fn nothing_outside_can_be_connected_to() {
    let sandbox = Sandbox::new("connect").await;
    let script = "for host in 1.1.1.1 169.254.169.254 172.17.0.1 8.8.8.8; do \
        nc -w 2 $host 80 </dev/null && echo reached $host; done; \
        nslookup debian.org 1.1.1.1 >/dev/null && echo resolved; \
        for path in /var/run/docker.sock /run/docker.sock /run/containerd; do \
        test -e $path && echo sees $path; done; echo tried";
    let seen = sandbox.transcript(script).await;
    assert_eq!(seen.matches("): Network is unreachable").count(), 5, "{seen}");
    assert!(seen.ends_with("tried\n"), "{seen}");
    for bad in ["reached", "resolved", "sees"] {
        assert!(!seen.contains(bad), "{seen}");
    }
}

#[tokio::test]
async fn only_its_own_tmp_can_be_written_and_not_beyond_its_size() {
    let sandbox = Sandbox::new("write").await;
    let script = "for dir in / /bin /etc /assay /dev /proc /sys /var /root; do \
        touch $dir/x 2>/dev/null && echo wrote $dir; done; \
        touch /tmp/x && echo tmp ok; \
        dd if=/dev/zero of=/tmp/big bs=1M count=100 2>&1 | grep -c 'No space'; \
        wc -c < /tmp/big";
    let seen = sandbox.transcript(script).await;
    let bytes = limits().tmpfs_mib << 20;
    assert_eq!(seen, format!("tmp ok\n1\n{bytes}\n"));
}

#[tokio::test]
async fn what_is_written_to_tmp_cannot_be_executed() {
    let sandbox = Sandbox::new("noexec").await;
    let seen = sandbox.transcript("cp /bin/busybox /tmp/sh; /tmp/sh true; echo $?").await;
    assert!(seen.contains("Permission denied"), "{seen}");
    assert!(seen.ends_with("126\n"), "{seen}");
}

#[tokio::test]
async fn a_bind_can_be_read_and_not_written() {
    let sandbox = Sandbox::new("bind").await;
    let dir = support::shared_directory();
    std::fs::write(dir.path().join("shard"), "data\n").unwrap();
    support::open_to_all(&dir.path().join("shard"));
    let script = "cat /assay/data/shard; echo x >/assay/data/shard; touch /assay/data/new; \
        mount -o remount,rw /assay/data; id -u";
    let bind = support::bind(&dir);
    let seen = sandbox.transcript_with(script, |spec| spec.binds.push(bind)).await;
    assert!(seen.starts_with("data\n"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 2, "{seen}");
    assert!(seen.ends_with("65534\n"), "{seen}");
    assert_eq!(std::fs::read(dir.path().join("shard")).unwrap(), b"data\n");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn two_runs_see_nothing_of_each_other() {
    let sandbox = Sandbox::new("neighbours").await;
    let dir = support::shared_directory();
    let bind = support::bind(&dir);
    let script = "echo secret >/tmp/secret; cat /assay/data/*; sleep 1000";
    std::fs::write(dir.path().join("up"), "up\n").unwrap();
    support::open_to_all(&dir.path().join("up"));
    let mut neighbour = sandbox.start_with(script, |spec| spec.binds.push(bind)).await;

    let script = "ps -o args; ls /tmp /dev/shm; cat /tmp/secret; kill -9 -1; ls /assay";
    let seen = sandbox.transcript(script).await;
    assert!(!seen.contains("sleep 1000") && !seen.contains("data"), "{seen}");
    assert!(seen.contains("cat: can't open '/tmp/secret': No such file"), "{seen}");
    let ended = tokio::time::timeout(Duration::from_millis(200), neighbour.finished()).await;
    assert!(ended.is_err(), "the neighbour ended: {ended:?}");
    neighbour.stop(Some(Ending::Stopped));
    let report = neighbour.finished().await;
    assert_eq!((report.ending, report.output_tail.as_str()), (Some(Ending::Stopped), "up\n"));
}

#[tokio::test]
async fn the_process_has_no_privileges_and_small_limits() {
    let sandbox = Sandbox::new("identity").await;
    let script = "grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' \
        /proc/self/status; ulimit -c; ulimit -n; id -u; id -g; cat /proc/1/oom_score_adj";
    let seen = sandbox.transcript(script).await;
    let none = "0000000000000000";
    let wanted = format!(
        "CapInh:\t{none}\nCapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t{none}\nCapAmb:\t{none}\n\
         NoNewPrivs:\t1\nSeccomp:\t2\n0\n1024\n65534\n65534\n500\n"
    );
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn the_kernel_can_neither_be_changed_nor_looked_into() {
    let sandbox = Sandbox::new("kernel").await;
    let tries = [
        "mount -t tmpfs x /tmp",
        "mount -o remount,rw /",
        "umount /proc",
        "unshare -U true",
        "unshare -n true",
        "nsenter -t 1 -n true",
        "chroot / true",
        "mknod /tmp/disk b 8 0",
        "dmesg",
        "hostname other",
        "swapoff -a",
        "nice -n -5 true",
        "su root -c true",
        "sysctl -w kernel.core_pattern=x",
        // A masked file may be there and be empty: what counts is that nothing comes out.
        "head -c 1 /proc/kcore | grep .",
        "grep . /proc/keys",
        "grep . /proc/sched_debug",
        "ls /sys/firmware | grep .",
        "sh -c 'echo c >/proc/sysrq-trigger'",
        "sh -c 'echo 1 >/proc/sys/vm/drop_caches'",
    ];
    let script: Vec<_> = tries
        .iter()
        .enumerate()
        .map(|(index, one)| format!("{{ {one}; }} >/dev/null 2>&1 && echo allowed {index}"))
        .collect();
    let seen = sandbox.transcript(&format!("{}; echo tried", script.join("; "))).await;
    assert_eq!(seen, "tried\n", "numbers are places in {tries:?}");
}

/// Tries system calls and more, one line each.
const TRIES: &str = include_str!("sandbox/syscalls.py");

/// What acceptance names, by the names in [`TRIES`].
const NAMED: [&str; 13] = [
    "mount",
    "ptrace_attach",
    "ptrace_seize",
    "ptrace_traceme",
    "process_vm_readv",
    "keyctl",
    "add_key",
    "request_key",
    "bpf",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "socket_vsock",
];

/// What came of each try: by kind, the names with what was printed.
fn told(printed: &str) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut told: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for line in printed.lines() {
        let mut words = line.split(' ');
        let (Some(kind), Some(name), Some(came), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            panic!("`{line}` in {printed}")
        };
        assert_eq!(told.entry(kind).or_default().insert(name, came), None, "{line}");
    }
    told
}

/// The errors with which something was refused, whatever it was asked with.
fn assert_refused(told: &BTreeMap<&str, &str>, errors: &[&str]) {
    let open: Vec<_> = told.iter().filter(|(_, came)| !errors.contains(came)).collect();
    assert!(open.is_empty(), "not refused: {open:?}");
}

#[tokio::test]
async fn case_26_no_system_call_network_file_or_socket_leads_out_of_the_container() {
    let sandbox = Sandbox::new("case 26").await;
    let evaluator = sandbox.engine.image("assay-evaluator:cpu").await.unwrap();
    let evaluator = evaluator.expect("run scripts/images evaluator");
    let started = sandbox.start_with("", |spec| {
        spec.image = evaluator;
        spec.command = ["python3", "-c", TRIES].map(str::to_owned).to_vec();
        spec.limits.memory_mib = 256;
    });
    let report = started.await.finished().await;
    assert_eq!(report.ending, None, "{report:?}");
    let told = told(&report.output_tail);
    assert_eq!(told.get("unknown"), None, "no numbers of system calls for this architecture");

    // An error about the arguments would mean that somebody looked at them.
    assert_refused(&told["syscall"], &["EPERM", "EACCES", "ENOSYS"]);
    let tried: BTreeSet<_> = told["syscall"].keys().copied().collect();
    assert!(NAMED.iter().all(|name| tried.contains(name)), "{tried:?}");
    assert!(tried.len() >= 60, "{tried:?}");
    if cfg!(target_arch = "x86_64") {
        assert_refused(&told["entry"], &["killed", "EPERM", "ENOSYS"]);
    }
    assert_refused(&told["network"], &["ENETUNREACH", "EADDRNOTAVAIL", "unresolved"]);
    assert_eq!(told["network"].len(), 6);
    assert_refused(&told["engine"], &["ENOENT"]);
    assert_eq!(told["engine"].len(), 3);
    // A masked file may be there and be empty: what counts is that nothing comes out.
    assert_refused(&told["read"], &["ENOENT", "EACCES", "EPERM", "ENODATA"]);
    assert!(told["read"].contains_key("/proc/kcore"));
    assert_refused(&told["write"], &["ENOENT", "EACCES", "EPERM", "EROFS"]);
    // Without these a try that fails would say nothing.
    assert!(told["needed"].values().all(|came| *came == "done"), "{:?}", told["needed"]);
    assert_eq!(told["needed"].len(), 6);
}

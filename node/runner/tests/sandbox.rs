//! What a submission's process can and cannot do, tried against the real engine.
//!
//! Each test runs a small shell program in the sandbox and looks at what it printed or how it
//! ended. Needs an engine and the busybox image; without them every test fails and says so.

mod support;

use node_core::outcome::Ending;
use support::{limits, Sandbox};

#[tokio::test]
async fn the_network_is_only_the_loopback() {
    let sandbox = Sandbox::new("network").await;
    let report = sandbox.shell("ip -o link | wc -l; ip -o link; ip route; echo routes end").await;
    assert_eq!(report.ending, None, "{report:?}");
    assert!(report.output_tail.starts_with("1\n1: lo:"), "{}", report.output_tail);
    assert!(report.output_tail.contains("\nroutes end"), "{}", report.output_tail);
}

#[tokio::test]
async fn nothing_outside_can_be_connected_to() {
    let sandbox = Sandbox::new("connect").await;
    let script = "for host in 1.1.1.1 169.254.169.254 172.17.0.1 8.8.8.8; do \
        nc -w 2 $host 80 </dev/null && echo reached $host; done; \
        nslookup debian.org 1.1.1.1 >/dev/null 2>&1 && echo resolved; \
        ls /var/run/docker.sock /run/docker.sock /run/containerd 2>/dev/null; echo tried";
    let report = sandbox.shell(script).await;
    assert_eq!(report.exit_code, Some(0), "{report:?}");
    assert!(report.output_tail.contains("Network is unreachable"), "{}", report.output_tail);
    assert!(report.output_tail.ends_with("tried\n"), "{}", report.output_tail);
    for reached in ["reached", "resolved", "sock", "containerd"] {
        assert!(!report.output_tail.contains(reached), "{reached}: {}", report.output_tail);
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
    let report = sandbox.shell(script).await;
    let megabytes = limits().tmpfs_mib << 20;
    assert_eq!(report.output_tail, format!("tmp ok\n1\n{megabytes}\n"));
}

#[tokio::test]
async fn what_is_written_to_tmp_cannot_be_executed() {
    let sandbox = Sandbox::new("noexec").await;
    let script = "cp /bin/busybox /tmp/sh; /tmp/sh true; echo $?";
    let report = sandbox.shell(script).await;
    assert!(report.output_tail.contains("Permission denied"), "{}", report.output_tail);
    assert!(report.output_tail.ends_with("126\n"), "{}", report.output_tail);
}

#[tokio::test]
async fn a_bind_can_be_read_and_not_written() {
    let sandbox = Sandbox::new("bind").await;
    let dir = support::shared_directory();
    std::fs::write(dir.path().join("shard"), "data").unwrap();
    let script = "cat /assay/data/shard; echo; echo x >/assay/data/shard; touch /assay/data/new; \
        mount -o remount,rw /assay/data; id -u";
    let report = sandbox.shell_with(script, |spec| spec.binds.push(support::bind(&dir))).await;
    assert!(report.output_tail.starts_with("data\n"), "{}", report.output_tail);
    assert!(report.output_tail.contains("Read-only file system"), "{}", report.output_tail);
    assert!(report.output_tail.ends_with("65534\n"), "{}", report.output_tail);
    assert_eq!(std::fs::read(dir.path().join("shard")).unwrap(), b"data");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_socket_in_a_read_only_bind_can_be_talked_to() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let sandbox = Sandbox::new("socket").await;
    let dir = support::shared_directory();
    let path = dir.path().join("meter.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    support::open_to_all(&path);
    let script = "echo hello | nc local:/assay/data/meter.sock";
    let mut run = sandbox.start_with(script, |spec| spec.binds.push(support::bind(&dir))).await;
    // The client cannot be heard unless it really crossed the sandbox's wall.
    let heard = tokio::select! {
        accepted = listener.accept() => {
            let (mut stream, _) = accepted.unwrap();
            let mut heard = [0; 6];
            stream.read_exact(&mut heard).await.unwrap();
            stream.write_all(b"bye\n").await.unwrap();
            heard
        }
        report = run.finished() => panic!("ended without connecting: {report:?}"),
    };
    assert_eq!(&heard, b"hello\n");
    run.stop(None);
    let report = run.finished().await;
    assert_eq!(report.ending, None, "{report:?}");
}

#[tokio::test]
async fn two_runs_see_nothing_of_each_other() {
    let sandbox = Sandbox::new("neighbours").await;
    let mut neighbour = sandbox.start("echo secret >/tmp/secret; echo up; sleep 1000").await;
    let script = "ps -o args; ls /tmp /dev/shm; cat /tmp/secret; kill -9 -1; ipcs -a | wc -l";
    let report = sandbox.shell(script).await;
    assert!(!report.output_tail.contains("sleep 1000"), "{}", report.output_tail);
    assert!(report.output_tail.contains("No such file"), "{}", report.output_tail);
    let alive = neighbour.finished();
    let ended = tokio::time::timeout(std::time::Duration::from_millis(200), alive).await;
    assert!(ended.is_err(), "the neighbour ended: {ended:?}");
    neighbour.stop(Some(Ending::Stopped));
    let report = neighbour.finished().await;
    assert_eq!(report.ending, Some(Ending::Stopped));
    assert_eq!(report.output_tail, "up\n");
}

#[tokio::test]
async fn privileges_cannot_be_had_nor_the_kernel_be_looked_into() {
    let sandbox = Sandbox::new("privileges").await;
    let script = "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; \
        ulimit -c; ulimit -n; wc -c </proc/kcore; wc -c </proc/keys; \
        for try in 'mount -t tmpfs x /tmp' 'unshare -U true' 'unshare -n true' 'dmesg' \
            'chroot / true' 'mknod /tmp/d b 8 0' 'su root -c true' 'nice -n -5 true' \
            'hostname other' 'swapoff -a' 'insmod /tmp/x' 'pivot_root /tmp /tmp' \
            'nsenter -t 1 -n true' 'sysctl -w kernel.core_pattern=x'; do \
            $try >/dev/null 2>&1 && echo \"allowed: $try\"; done; \
        cat /proc/1/environ >/dev/null && echo own environment";
    let report = sandbox.shell(script).await;
    let tail = &report.output_tail;
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(tail.contains(line), "{line} in {tail}");
    }
    assert!(tail.contains("Seccomp:\t2\n0\n1024\n0\n0\n"), "{tail}");
    assert!(!tail.contains("allowed"), "{tail}");
    assert!(tail.ends_with("own environment\n"), "{tail}");
}

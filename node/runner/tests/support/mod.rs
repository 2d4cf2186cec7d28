//! A node of its own per test, so that tests running side by side never see each other's
//! containers.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use node_core::id::{sha256, AssignmentId, Attempt, Digest, Hotkey, LeaseId, RunId};
use node_core::inventory::DeviceKind;
use node_core::policy::RunLimits;
use node_runner::{Engine, EngineConfig, ReadOnlyBind, Run, RunReport, SandboxSpec};

const IMAGE: &str = "assay-test:busybox";

/// Small enough that every limit is reached within moments.
pub fn limits() -> RunLimits {
    RunLimits {
        device: DeviceKind::CpuSlot,
        memory_mib: 48,
        pids: 32,
        tmpfs_mib: 16,
        output_bytes: 65_536,
        wall_ms: 20_000,
    }
}

/// One test's node with its connection to the engine.
pub struct Sandbox {
    pub engine: Engine,
    pub image: Digest,
    name: &'static str,
    node: Hotkey,
}

impl Sandbox {
    /// Connects as a node of this name and removes what an aborted earlier run of the test left.
    pub async fn new(name: &'static str) -> Self {
        let sandbox = Self::reconnect(name).await;
        for leftover in sandbox.engine.leftovers().await.unwrap() {
            sandbox.engine.remove_leftover(&leftover).await.unwrap();
        }
        sandbox
    }

    /// Connects as a node of this name, as it would after a restart.
    pub async fn reconnect(name: &'static str) -> Self {
        let node = Hotkey(sha256(name.as_bytes()).0);
        let config = EngineConfig { host: None, runtime: None, node };
        let engine = match Engine::connect(config).await {
            Ok(engine) => engine,
            Err(error) => panic!(
                "this test needs a container engine: {error}\n\
                 run `scripts/engine ensure --install && scripts/images busybox`"
            ),
        };
        let image = engine.image(IMAGE).await.unwrap();
        let image = image.unwrap_or_else(|| panic!("no {IMAGE}: run `scripts/images busybox`"));
        Self { engine, image, name, node }
    }

    /// A run of a shell script, with an identity of its own.
    pub fn spec(&self, script: &str) -> SandboxSpec {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{} {number} {}", self.name, std::process::id());
        SandboxSpec {
            run: RunId(sha256(unique.as_bytes()).0),
            assignment: AssignmentId([1; 32]),
            lease: LeaseId([2; 32]),
            attempt: Attempt(1),
            image: self.image,
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            binds: Vec::new(),
            limits: limits(),
            gpus: Vec::new(),
        }
    }

    pub async fn start_with(&self, script: &str, change: impl FnOnce(&mut SandboxSpec)) -> Run {
        let mut spec = self.spec(script);
        change(&mut spec);
        self.engine.create(spec).await.unwrap().start().await.unwrap()
    }

    pub async fn start(&self, script: &str) -> Run {
        self.start_with(script, |_| ()).await
    }

    pub async fn shell_with(
        &self,
        script: &str,
        change: impl FnOnce(&mut SandboxSpec),
    ) -> RunReport {
        self.start_with(script, change).await.finished().await
    }

    pub async fn shell(&self, script: &str) -> RunReport {
        self.shell_with(script, |_| ()).await
    }

    pub async fn assert_nothing_left(&self) {
        assert_eq!(self.engine.leftovers().await.unwrap(), []);
    }

    pub async fn wait_until_nothing_is_left(&self, at_most: Duration) {
        let give_up = Instant::now() + at_most;
        while !self.engine.leftovers().await.unwrap().is_empty() {
            assert!(Instant::now() < give_up, "still there after {at_most:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A directory that a container's user can read.
pub fn shared_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    dir
}

pub fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

pub fn bind(dir: &tempfile::TempDir) -> ReadOnlyBind {
    ReadOnlyBind { source: dir.path().to_path_buf(), target: "/assay/data".to_owned() }
}

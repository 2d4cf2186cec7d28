//! A node of its own per test, so that tests running side by side never see each other's
//! containers.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test binary uses its own part; a broken fact should stop a test at once"
)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use node_core::id::{sha256, AssignmentId, Attempt, Digest, LeaseId, RunId};
use node_core::inventory::{DeviceId, DeviceKind};
use node_core::policy::RunLimits;
use node_runner::{
    Engine, EngineConfig, Owner, ReadOnlyBind, Run, RunLabels, RunReport, SandboxSpec,
};

const IMAGE: &str = "assay-test:busybox";

/// Small enough that every limit is reached within moments.
pub(crate) fn limits() -> RunLimits {
    RunLimits {
        device_count: 1,
        device_memory_mib: 0,
        device: DeviceKind::CpuSlot,
        memory_mib: 48,
        pids: 32,
        tmpfs_mib: 16,
        output_bytes: 65_536,
        cpu_ms: 15_000,
        wall_ms: 20_000,
        warm_start: false,
    }
}

/// One test's node with its connection to the engine.
pub(crate) struct Sandbox {
    pub(crate) engine: Engine,
    pub(crate) image: Digest,
    name: &'static str,
}

impl Sandbox {
    /// Connects as a node of this name and removes what an aborted earlier run of the test left.
    pub(crate) async fn new(name: &'static str) -> Self {
        let sandbox = Self::reconnect(name).await;
        for leftover in sandbox.engine.leftovers().await.unwrap() {
            sandbox.engine.remove_leftover(&leftover).await.unwrap();
        }
        sandbox
    }

    /// Connects as a node of this name, as it would after a restart.
    pub(crate) async fn reconnect(name: &'static str) -> Self {
        Self::connect(name, None).await
    }

    /// The same node over another way to the same engine.
    pub(crate) async fn behind(&self, host: &str) -> Self {
        Self::connect(self.name, Some(host.to_owned())).await
    }

    async fn connect(name: &'static str, host: Option<String>) -> Self {
        let node = sha256(name.as_bytes()).to_string();
        let engine = match Engine::connect(EngineConfig { host, runtime: None, node }).await {
            Ok(engine) => engine,
            Err(error) => panic!(
                "this test needs a container engine: {error}\n\
                 run `scripts/engine ensure --install && scripts/images busybox`"
            ),
        };
        let image = engine.image(IMAGE).await.unwrap();
        let image = image.unwrap_or_else(|| panic!("no {IMAGE}: run `scripts/images busybox`"));
        Self { engine, image, name }
    }

    /// A run of a shell script, with an identity of its own.
    pub(crate) fn spec(&self, script: &str) -> SandboxSpec {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{} {number} {}", self.name, std::process::id());
        SandboxSpec {
            owner: Owner::Run(RunLabels {
                run: RunId(sha256(unique.as_bytes()).0),
                assignment: AssignmentId([1; 32]),
                lease: LeaseId([2; 32]),
                attempt: Attempt(1),
            }),
            image: self.image,
            command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            binds: Vec::new(),
            limits: limits(),
            gpus: Vec::new(),
        }
    }

    /// A container of a shell script that belongs to no run yet.
    pub(crate) fn ahead(&self, script: &str) -> SandboxSpec {
        let owner = Owner::Ahead { device: DeviceId("cpu-0".to_owned()) };
        SandboxSpec { owner, ..self.spec(script) }
    }

    pub(crate) async fn start_with(
        &self,
        script: &str,
        change: impl FnOnce(&mut SandboxSpec),
    ) -> Run {
        let mut spec = self.spec(script);
        change(&mut spec);
        self.engine.create(spec).await.unwrap().start().await.unwrap()
    }

    pub(crate) async fn start(&self, script: &str) -> Run {
        self.start_with(script, |_| ()).await
    }

    pub(crate) async fn shell_with(
        &self,
        script: &str,
        change: impl FnOnce(&mut SandboxSpec),
    ) -> RunReport {
        self.start_with(script, change).await.finished().await
    }

    pub(crate) async fn shell(&self, script: &str) -> RunReport {
        self.shell_with(script, |_| ()).await
    }

    /// What a script printed, stdout and stderr in the order of printing.
    pub(crate) async fn transcript(&self, script: &str) -> String {
        self.transcript_with(script, |_| ()).await
    }

    pub(crate) async fn transcript_with(
        &self,
        script: &str,
        change: impl FnOnce(&mut SandboxSpec),
    ) -> String {
        let report = self.shell_with(&format!("exec 2>&1; {script}"), change).await;
        assert_eq!(report.ending, None, "{report:?}");
        report.output_tail
    }

    pub(crate) async fn assert_nothing_left(&self) {
        assert_eq!(self.engine.leftovers().await.unwrap(), []);
    }

    pub(crate) async fn wait_until_nothing_is_left(&self, at_most: Duration) {
        let give_up = Instant::now() + at_most;
        while !self.engine.leftovers().await.unwrap().is_empty() {
            assert!(Instant::now() < give_up, "still there after {at_most:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Whose container a spec asks for.
pub(crate) fn run_of(spec: &SandboxSpec) -> RunId {
    match &spec.owner {
        Owner::Run(labels) => labels.run,
        Owner::Ahead { .. } => panic!("it belongs to no run"),
    }
}

/// A directory that a container's user can read.
pub(crate) fn shared_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    open_to_all(dir.path());
    dir
}

pub(crate) fn open_to_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
}

pub(crate) fn bind(dir: &tempfile::TempDir) -> ReadOnlyBind {
    ReadOnlyBind { source: dir.path().to_path_buf(), target: "/assay/data".to_owned() }
}

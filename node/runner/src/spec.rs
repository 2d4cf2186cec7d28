//! What one container is asked to be. Everything else about it is fixed by the profile.

use std::path::{Component, Path, PathBuf};

use node_core::id::{AssignmentId, Attempt, Digest, LeaseId, RunId};
use node_core::inventory::DeviceId;
use node_core::limits::GANG_DEVICES_MAX;
use node_core::policy::RunLimits;

/// Where binds may appear in a container. Nothing else of the image can be covered by one.
const BIND_ROOT: &str = "/assay";

/// Binds of one container. Higher: nothing needs more than a gate, the shim, a channel and a data file.
const BINDS_MAX: usize = 8;

/// One container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// Whose it is.
    pub owner: Owner,
    /// The image, by ID. It must be on the host; nothing is ever pulled.
    pub image: Digest,
    /// Program and arguments; the image's own entry point is not used.
    pub command: Vec<String>,
    /// What of the host it may read.
    pub binds: Vec<ReadOnlyBind>,
    /// What it may use.
    pub limits: RunLimits,
    /// UUIDs of the GPUs or MIG slices it gets; empty for the CPU.
    pub gpus: Vec<String>,
}

/// Whose container it is: its name and its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A run's; one container exists per run.
    Run(RunLabels),
    /// Nobody's yet: made ahead for whatever runs next on a device. It belongs to a run once
    /// [`crate::Waiting::assign`] gave it the run's name.
    Ahead {
        /// The device, a label.
        device: DeviceId,
    },
}

/// What a run's container is labelled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLabels {
    /// The execution.
    pub run: RunId,
    /// The assignment it serves.
    pub assignment: AssignmentId,
    /// The lease it runs under.
    pub lease: LeaseId,
    /// The lease's fencing token.
    pub attempt: Attempt,
}

/// A file or directory of the host, readable in the container. A socket in it can be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnlyBind {
    /// Absolute path on the host; must exist.
    pub source: PathBuf,
    /// Path in the container, below `/assay`.
    pub target: String,
}

/// Why a spec is refused before the engine hears of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecRefused {
    /// No program.
    #[error("the command is empty")]
    CommandEmpty,
    /// A limit is zero, which engines read as "unlimited", or too large to express.
    #[error("the limit `{name}` is {value}")]
    Limit {
        /// Which.
        name: &'static str,
        /// Its value.
        value: u64,
    },
    /// More binds than any run needs.
    #[error("{count} binds are more than a container may have")]
    TooManyBinds {
        /// How many.
        count: usize,
    },
    /// The source is relative, missing or unreadable.
    #[error("cannot bind `{}`: {detail}", source_path.display())]
    BindSource {
        /// The path.
        source_path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The source is or contains the engine's socket: whoever reaches it owns the host.
    #[error("cannot bind `{}`: the engine's socket is in it", source_path.display())]
    BindExposesEngine {
        /// The path.
        source_path: PathBuf,
    },
    /// The target is not a plain path below `/assay`, or is used twice.
    #[error("cannot bind to `{target}`: targets are distinct paths below /assay")]
    BindTarget {
        /// The path.
        target: String,
    },
}

impl SandboxSpec {
    /// Checks what the engine would accept and must not.
    ///
    /// - `engine_socket`: where the engine listens, if on this host.
    ///
    /// # Errors
    ///
    /// [`SpecRefused`], the first thing that is wrong.
    pub(crate) fn check(&self, engine_socket: Option<&Path>) -> Result<(), SpecRefused> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(SpecRefused::CommandEmpty);
        }
        self.check_limits()?;
        if self.binds.len() > BINDS_MAX {
            return Err(SpecRefused::TooManyBinds { count: self.binds.len() });
        }
        let mut targets = std::collections::BTreeSet::new();
        for bind in &self.binds {
            if !is_bind_target(&bind.target) || !targets.insert(&bind.target) {
                return Err(SpecRefused::BindTarget { target: bind.target.clone() });
            }
            check_source(&bind.source, engine_socket)?;
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), SpecRefused> {
        let RunLimits {
            device: _,
            device_count,
            device_memory_mib: _,
            memory_mib,
            pids,
            tmpfs_mib,
            output_bytes,
            cpu_ms,
            wall_ms,
            warm_start: _,
        } = &self.limits;
        // In bytes they must fit the engine's signed numbers.
        let mib_max = (i64::MAX.unsigned_abs()) >> 20;
        let bounded = [
            ("device_count", u64::from(*device_count), u64::from(GANG_DEVICES_MAX)),
            ("memory_mib", *memory_mib, mib_max),
            ("pids", u64::from(*pids), u64::MAX),
            ("tmpfs_mib", *tmpfs_mib, mib_max),
            ("output_bytes", *output_bytes, u64::MAX),
            ("cpu_ms", *cpu_ms, u64::MAX),
            ("wall_ms", *wall_ms, u64::MAX),
        ];
        match bounded.into_iter().find(|(_, value, max)| *value == 0 || value > max) {
            Some((name, value, _)) => Err(SpecRefused::Limit { name, value }),
            None => Ok(()),
        }
    }
}

fn is_bind_target(target: &str) -> bool {
    let Ok(below) = Path::new(target).strip_prefix(BIND_ROOT) else { return false };
    // Rebuilding the path drops `.` and doubled slashes: only the plain spelling is accepted.
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    let rebuilt: PathBuf = Path::new(BIND_ROOT).join(below).components().collect();
    plain && below.components().next().is_some() && rebuilt.as_os_str() == target
}

fn check_source(source: &Path, engine_socket: Option<&Path>) -> Result<(), SpecRefused> {
    let refused =
        |detail: String| SpecRefused::BindSource { source_path: source.to_path_buf(), detail };
    if !source.is_absolute() || source.to_str().is_none() {
        return Err(refused("it is not an absolute UTF-8 path".to_owned()));
    }
    let real = std::fs::canonicalize(source).map_err(|error| refused(error.to_string()))?;
    let socket = engine_socket.and_then(|path| std::fs::canonicalize(path).ok());
    if socket.is_some_and(|socket| socket.starts_with(&real)) {
        return Err(SpecRefused::BindExposesEngine { source_path: source.to_path_buf() });
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use node_core::policy::Policy;

    pub(crate) fn owner(run: u8) -> Owner {
        Owner::Run(RunLabels {
            run: RunId([run; 32]),
            assignment: AssignmentId([2; 32]),
            lease: LeaseId([3; 32]),
            attempt: Attempt(4),
        })
    }

    pub(crate) fn sample() -> SandboxSpec {
        SandboxSpec {
            owner: owner(1),
            image: Digest([5; 32]),
            command: ["sh", "-c", "true"].map(str::to_owned).to_vec(),
            binds: Vec::new(),
            limits: Policy::dev().run,
            gpus: Vec::new(),
        }
    }

    fn bound(source: &Path, target: &str) -> SandboxSpec {
        let bind = ReadOnlyBind { source: source.to_path_buf(), target: target.to_owned() };
        SandboxSpec { binds: vec![bind], ..sample() }
    }

    #[test]
    fn a_limit_of_zero_is_refused_because_engines_read_it_as_unlimited() {
        let mut spec = sample();
        spec.limits.pids = 0;
        let refused = SpecRefused::Limit { name: "pids", value: 0 };
        assert_eq!(spec.check(None), Err(refused));
        assert_eq!(sample().check(None), Ok(()));
    }

    #[test]
    fn binds_stay_below_their_own_root() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(bound(dir.path(), "/assay/channel").check(None), Ok(()));
        for target in ["/etc", "/assay", "/assay/", "/assay/../etc", "/assay/./a", "/assay//a"] {
            let refused = bound(dir.path(), target).check(None);
            assert!(matches!(refused, Err(SpecRefused::BindTarget { .. })), "{target}");
        }
    }

    #[test]
    fn no_bind_leads_to_the_engines_socket_even_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        std::fs::create_dir(&run).unwrap();
        let socket = run.join("engine.sock");
        std::fs::write(&socket, "").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&run, &link).unwrap();
        for source in [dir.path(), &run, &socket, &link] {
            let refused = bound(source, "/assay/x").check(Some(&socket));
            assert!(matches!(refused, Err(SpecRefused::BindExposesEngine { .. })), "{source:?}");
        }
    }
}

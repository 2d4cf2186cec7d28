//! Whether the devices that a node would use do what a run asks of them: tried, not read.
//!
//! - A GPU is probed as a node does it, by a process of its own. No engine is needed for that.
//! - CPU slots are all the same, a container with one core, so that one is tried for all of them: a
//!   container of the evaluator image, under the profile and the limits of a run, has to compute a
//!   known number with the library that evaluates.
//!
//! Nothing is tried beside a node that runs, because a probe and a run disturb each other: its own
//! last probes are told. Files: `verdict` says what a result means.

mod verdict;

use std::time::Duration;

use node_core::id::{AssignmentId, Attempt, Digest, LeaseId, RunId};
use node_core::inventory::{DeviceId, DeviceKind};
use node_core::outcome::Ending;
use node_core::policy::{Policy, RunLimits};
use node_gpu::Prober;
use node_runner::{Engine, Owner, RunLabels, RunReport, SandboxSpec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::process;
use super::{in_a_line, Finding, Topic, UNFINISHED};
use crate::config::Devices;
use crate::run::gpus::{PROBE_MAX, THIS_PROGRAM};
use crate::status::StatusReport;

const TOPIC: Topic = Topic::Probe;

/// How long all of trying a CPU slot may take: the container's own time, and what the engine takes
/// to make and to remove it. Lower: a busy engine fails. Higher: one that hangs is waited for.
const SLOT_MAX: Duration = PROBE_MAX.saturating_add(Duration::from_secs(15));

/// How long an interrupted command waits until its container is gone.
const END_MAX: Duration = Duration::from_secs(10);

/// What a container computes, with the library that evaluates.
const PROGRAM: &str = "import torch; n = torch.arange(512, dtype=torch.float64).reshape(16, 32); \
                       print(int((n @ n.T).sum()))";

/// What a container of the evaluator image needs, or which part of it is missing.
#[derive(Debug)]
pub(super) enum Bench {
    Ready { engine: Engine, image: Digest },
    NoEngine,
    NoImage,
}

/// Who has the devices.
#[derive(Debug)]
pub(super) enum Holder {
    /// No node runs with this data directory.
    Nobody,
    /// One that runs, with what it says.
    Node(Box<StatusReport>),
    /// One seems to run; what it does cannot be told.
    Unknown,
}

/// What there is to try, as other checks found it; `None` where one of them did not end.
#[derive(Debug)]
pub(super) struct Tried<'a> {
    pub(super) config: &'a Devices,
    pub(super) policy: Option<&'a Policy>,
    /// GPUs and slices that a node would use.
    pub(super) gpus: Option<Vec<DeviceId>>,
    pub(super) bench: Option<Bench>,
    pub(super) holder: Option<Holder>,
}

/// Probes that are under way.
#[derive(Debug, Default)]
pub(super) struct Probes {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The only finding of a doctor that was told not to try anything.
pub(super) fn left_out() -> Finding {
    Finding::ok(TOPIC, "no device was tried (`--no-probe`)")
}

impl Probes {
    /// Tries the devices, or tells what the running node found of them.
    pub(super) async fn of(&self, tried: Tried<'_>) -> Vec<Finding> {
        match tried.holder {
            Some(Holder::Nobody) => {}
            Some(Holder::Node(report)) => return verdict::of_node(&report),
            Some(Holder::Unknown) | None => return vec![verdict::perhaps_in_use()],
        }
        let slots = tried.config.cpu_slots;
        let bench = tried.bench.unwrap_or(Bench::NoEngine);
        let memory_mib = tried.config.cpu_memory_mib;
        let (mut found, gpus) = tokio::join!(
            self.cpu(slots, memory_mib, tried.policy, bench),
            gpus(tried.gpus.unwrap_or_default()),
        );
        found.extend(gpus);
        found
    }

    /// Ends what is under way, and waits until no container of it is left. A GPU's process is not
    /// waited for: it holds nothing, and ends at its own limit.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        // What is left after that is removed by the next doctor.
        drop(tokio::time::timeout(END_MAX, self.tasks.wait()).await);
    }

    async fn cpu(
        &self,
        slots: u32,
        memory_mib: u64,
        policy: Option<&Policy>,
        bench: Bench,
    ) -> Vec<Finding> {
        if slots == 0 {
            return Vec::new();
        }
        let name = verdict::slots(slots);
        let (engine, image) = match bench {
            Bench::Ready { engine, image } => (engine, image),
            Bench::NoEngine => return vec![verdict::no_engine(&name)],
            Bench::NoImage => return vec![verdict::no_image(&name)],
        };
        let Some(policy) = policy else { return vec![verdict::no_policy(&name)] };
        let limits = limits(&policy.run, memory_mib);
        // In a task: whoever gives up waiting leaves no container behind.
        let stop = self.stop.clone();
        let task = self.tasks.spawn(try_slot(engine, image, limits, stop));
        vec![match tokio::time::timeout(SLOT_MAX, task).await {
            Ok(Ok(Ok(report))) => verdict::of_slot(&name, &report),
            Ok(Ok(Err(why))) => verdict::not_contained(&name, &why),
            Ok(Err(error)) => Finding::of_error(TOPIC, &error, UNFINISHED),
            Err(_) => {
                self.end().await;
                verdict::late(&name, SLOT_MAX)
            }
        }]
    }
}

/// Every GPU beside the others, as a node probes them.
async fn gpus(ids: Vec<DeviceId>) -> Vec<Finding> {
    let tasks: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let probed = tokio::task::spawn_blocking({
                let id = id.clone();
                move || Prober::new(THIS_PROGRAM).probe(&id, PROBE_MAX)
            });
            (id, probed)
        })
        .collect();
    let mut found = Vec::new();
    for (id, probed) in tasks {
        found.push(match probed.await {
            Ok(result) => verdict::of_gpu(&id, &result),
            Err(error) => Finding::of_error(TOPIC, &error, UNFINISHED),
        });
    }
    found
}

/// What a run may use, on a CPU slot of this size, for as long as a probe may take.
fn limits(run: &RunLimits, memory_mib: u64) -> RunLimits {
    let wall_ms = u64::try_from(PROBE_MAX.as_millis()).unwrap_or(u64::MAX);
    RunLimits {
        device: DeviceKind::CpuSlot,
        device_count: 1,
        memory_mib,
        cpu_ms: wall_ms,
        wall_ms,
        warm_start: false,
        ..run.clone()
    }
}

/// Starts a container and waits until it has ended and is removed; or why there is none.
async fn try_slot(
    engine: Engine,
    image: Digest,
    limits: RunLimits,
    stop: CancellationToken,
) -> Result<RunReport, String> {
    remove_leftovers(&engine).await;
    let spec = SandboxSpec {
        owner: Owner::Run(RunLabels {
            run: run_of(std::process::id()),
            assignment: AssignmentId([0; 32]),
            lease: LeaseId([0; 32]),
            attempt: Attempt(0),
        }),
        image,
        command: ["python3", "-I", "-c", PROGRAM].map(str::to_owned).to_vec(),
        binds: Vec::new(),
        limits,
        gpus: Vec::new(),
    };
    let container = engine.create(spec).await.map_err(|error| in_a_line(&error))?;
    let mut run = container.start().await.map_err(|error| in_a_line(&error))?;
    let ended = tokio::select! {
        report = run.finished() => Some(report),
        () = stop.cancelled() => None,
    };
    Ok(match ended {
        Some(report) => report,
        None => {
            run.stop(Some(Ending::Stopped));
            run.finished().await
        }
    })
}

/// Removes containers of doctors that were killed.
async fn remove_leftovers(engine: &Engine) {
    // An engine that does not answer fails at the container, with its reason.
    let Ok(leftovers) = engine.leftovers().await else { return };
    let own = std::process::id();
    for leftover in leftovers {
        let pid = leftover.run.as_ref().map(pid_of);
        let is_dead = pid.is_some_and(|pid| pid == own || !process::is_there(pid));
        if is_dead {
            // One that stays is there at the next doctor.
            drop(engine.remove_leftover(&leftover).await);
        }
    }
}

/// A run's name that tells whose it is: two doctors at a time do not meet.
fn run_of(pid: u32) -> RunId {
    let mut id = [0; 32];
    for (byte, of_pid) in id.iter_mut().zip(pid.to_be_bytes()) {
        *byte = of_pid;
    }
    RunId(id)
}

fn pid_of(run: &RunId) -> u32 {
    run.0.iter().take(4).fold(0, |pid, byte| (pid << 8) | u32::from(*byte))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::told;
    use super::*;
    use crate::config::GpuUse;
    use crate::status::sample;

    /// Everything that these checks can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        let mut found = vec![left_out()];
        found.extend(verdict::tests::findings());
        found
    }

    fn tried(config: &Devices, bench: Option<Bench>, holder: Option<Holder>) -> Tried<'_> {
        Tried { config, policy: None, gpus: Some(Vec::new()), bench, holder }
    }

    async fn said(cpu_slots: u32, bench: Option<Bench>, holder: Option<Holder>) -> String {
        let config = Devices { cpu_slots, cpu_memory_mib: 4096, gpus: GpuUse::Off };
        told(&Probes::default().of(tried(&config, bench, holder)).await)
    }

    #[tokio::test]
    async fn what_cannot_be_tried_says_why_and_is_never_called_good() {
        let nobody = || Some(Holder::Nobody);
        let found = [
            said(2, Some(Bench::NoEngine), nobody()).await,
            said(1, Some(Bench::NoImage), nobody()).await,
            said(1, None, nobody()).await,
            said(1, Some(Bench::NoImage), Some(Holder::Unknown)).await,
            said(1, Some(Bench::NoImage), None).await,
        ];
        assert!(found.iter().all(|said| said.starts_with("Warn: ")), "{found:#?}");
        assert!(found.iter().all(|said| said.contains("not tried")), "{found:#?}");
        assert!(found.iter().all(|said| said.contains("\n  next: ")), "{found:#?}");
        assert!(found[0].contains("cpu-0 to cpu-1"), "{found:#?}");
        assert!(found[1].contains("image"), "{found:#?}");
        assert_eq!(found[3], found[4]);
        assert_eq!(said(0, Some(Bench::NoEngine), nobody()).await, "", "there is none");
    }

    #[tokio::test]
    async fn nothing_is_tried_beside_a_node_that_runs() {
        let node = Holder::Node(Box::new(sample::healthy()));
        // An engine that is not there would be told, were it asked for.
        let said = said(1, Some(Bench::NoEngine), Some(node)).await;
        assert!(said.starts_with("Ok: not tried beside the node that runs"), "{said}");
        assert!(!said.contains("engine"), "{said}");
    }

    #[test]
    fn a_container_tells_which_process_made_it() {
        for pid in [1, 4_194_304, u32::MAX] {
            assert_eq!(pid_of(&run_of(pid)), pid);
        }
        assert_ne!(run_of(1), run_of(256));
    }

    #[test]
    fn a_container_has_a_runs_limits_but_for_its_slot_and_its_time() {
        let run = Policy::dev().run;
        let own = limits(&run, 512);
        assert_eq!((own.memory_mib, own.wall_ms), (512, 60_000));
        let same = RunLimits {
            device: run.device,
            device_count: run.device_count,
            memory_mib: run.memory_mib,
            cpu_ms: run.cpu_ms,
            wall_ms: run.wall_ms,
            warm_start: run.warm_start,
            ..own
        };
        assert_eq!(same, run);
    }
}

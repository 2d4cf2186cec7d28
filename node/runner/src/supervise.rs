//! Watching a running container until it ends or has to end, and then ending it.
//!
//! The supervisor is a task of its own. It holds the limits that the engine does not: the wall
//! clock, CPU time, the amount of output, and that a container which hit its process or memory
//! limit stops there. Whatever it sees first, the rest is the same: last counters, kill, exit, rest
//! of the output, inspect, remove, report.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bollard::container::LogOutput;
use bollard::errors::Error as ClientError;
use bollard::models::{ContainerStatsResponse, ContainerWaitResponse};
use bollard::query_parameters::{StatsOptions, WaitContainerOptions};
use bollard::Docker;
use futures_util::{Stream, StreamExt as _};
use node_core::outcome::Ending;
use node_core::policy::RunLimits;
use node_core::unit::UnixMs;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::cgroup::{Cgroup, Sample};
use crate::output::OutputMeter;
use crate::verdict::{self, Aftermath, Cause};
use crate::{convert, teardown};

/// How often the kernel is asked whether a process was refused. Lower: wakeups for nothing.
/// Higher: a container that hits its process limit and ends at once takes the only trace of it
/// along; removing its cgroup takes the engine some 20 ms.
const PIDS_EVERY: Duration = Duration::from_millis(10);

/// Every how many of those looks all counters are read, which costs the kernel more.
const SAMPLE_EVERY_LOOKS: u32 = 10;

/// The same for all counters of a container that waits for its run. What it executes is ours.
const WAITING_EVERY: Duration = Duration::from_secs(1);

/// How long a killed container may take to be gone. Higher: a process stuck in the kernel holds
/// the report, and with it the lease, for longer.
const EXIT_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long the rest of the output may take after the end.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// How long the engine may take to tell that a SIGKILL was the kernel's, for memory.
const OOM_FLAG_WAIT_MAX: Duration = Duration::from_millis(500);
const OOM_FLAG_POLL: Duration = Duration::from_millis(50);

/// Exit code of a process that a SIGKILL ended.
const EXIT_SIGKILL: i64 = 137;

type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, ClientError>> + Send>>;

/// What a run used, as far as it could be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Most memory at any time, with what was in its tmpfs.
    pub peak_memory_bytes: u64,
    /// CPU time of all its processes.
    pub cpu_ms: u64,
}

/// How a container's run went, from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunReport {
    /// What the supervisor saw: a limit, a failure, or the ending that [`Run::stop`] was given.
    /// `None` if nothing is wrong on the container's side; then the meter knows the ending. If
    /// both have one, a limit named here explains a contract violation or early end there.
    pub ending: Option<Ending>,
    /// Exit code, if it ended by itself.
    pub exit_code: Option<i64>,
    /// The last [`crate::OUTPUT_TAIL_BYTES_MAX`] bytes of stdout and stderr.
    pub output_tail: String,
    /// Bytes of stdout and stderr seen.
    pub output_bytes: u64,
    /// What it used.
    pub usage: Usage,
    /// When it was started, by the wall clock.
    pub started_at: UnixMs,
    /// When it had ended, by the wall clock.
    pub ended_at: UnixMs,
    /// How long it ran, by a clock that never jumps.
    pub ran_ms: u64,
    /// Whether the container is gone. If not, [`crate::Engine::leftovers`] will list it.
    pub removed: bool,
}

/// A running container. Dropping it ends and removes the container in the background.
#[derive(Debug)]
pub struct Run {
    stop: watch::Sender<Option<Option<Ending>>>,
    report: watch::Receiver<Option<RunReport>>,
}

impl Run {
    /// Asks for the container to be killed and removed now. Does not wait; the first call counts.
    ///
    /// - `ending`: the caller's name for the end ([`Ending::Stopped`], [`Ending::LeaseLost`]), or
    ///   `None` if the meter is done and only the container is no longer needed.
    pub fn stop(&self, ending: Option<Ending>) {
        self.stop.send_if_modified(|asked| {
            let is_first = asked.is_none();
            if is_first {
                *asked = Some(ending);
            }
            is_first
        });
    }

    /// Whether the container has ended and is removed.
    pub(crate) fn has_ended(&self) -> bool {
        // Without a supervisor nobody watches it any more.
        self.report.borrow().is_some() || self.report.has_changed().is_err()
    }

    /// Waits until the container has ended and is removed. Can be cancelled and asked again.
    pub async fn finished(&mut self) -> RunReport {
        let report = match self.report.wait_for(Option::is_some).await {
            Ok(report) => report.clone(),
            Err(_gone) => None,
        };
        report.unwrap_or_else(supervisor_lost)
    }
}

/// The runtime is shutting down or the supervisor had a bug: nobody knows how the run went.
fn supervisor_lost() -> RunReport {
    let now = unix_now();
    RunReport {
        ending: Some(Ending::EngineFailed { detail: "the run's supervisor is gone".to_owned() }),
        exit_code: None,
        output_tail: String::new(),
        output_bytes: 0,
        usage: Usage::default(),
        started_at: now,
        ended_at: now,
        ran_ms: 0,
        removed: false,
    }
}

/// Starts the supervisor of a container that was just started.
pub(crate) fn spawn(watched: Watched) -> Run {
    let (stop, asked) = watch::channel(None);
    let (report, reported) = watch::channel(None);
    tokio::spawn(async move {
        let outcome = watched.run_to_end(asked).await;
        report.send_replace(Some(outcome));
    });
    Run { stop, report: reported }
}

/// Where counters come from.
enum Counters {
    /// The kernel, on this host.
    Kernel { cgroup: Cgroup, ticks: tokio::time::Interval, looks: u32 },
    /// The engine, about once a second.
    Engine(Streamed<ContainerStatsResponse>),
    /// Nobody any more: the container has ended.
    Absent,
}

impl Counters {
    fn of_kernel(cgroup: Cgroup) -> Self {
        let mut ticks = tokio::time::interval(PIDS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Kernel { cgroup, ticks, looks: 0 }
    }

    fn of_engine(docker: &Docker, id: &str) -> Self {
        let options = StatsOptions { stream: true, one_shot: false };
        Self::Engine(docker.stats(id, Some(options)).boxed())
    }
}

/// What is seen and heard while the engine is still busy starting a container.
///
/// A program can hit its limits and end before the engine has even answered. And its output has to
/// be read all the time: an engine whose copy of it finds no reader answers nothing more about the
/// container, not even its removal.
pub(crate) struct EarlyLook {
    cgroup: Option<Cgroup>,
    sample: Sample,
    output: Option<Streamed<LogOutput>>,
    meter: OutputMeter,
}

impl EarlyLook {
    /// Nothing yet; `output` was attached before the start.
    pub(crate) fn new(output: Streamed<LogOutput>, limits: &RunLimits) -> Self {
        Self {
            cgroup: None,
            sample: Sample::default(),
            output: Some(output),
            meter: OutputMeter::new(limits.output_bytes),
        }
    }

    /// Looks and listens until the engine has answered.
    pub(crate) async fn during<T>(&mut self, id: &str, answer: impl Future<Output = T>) -> T {
        tokio::pin!(answer);
        let mut ticks = tokio::time::interval(PIDS_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if self.meter.is_over() {
                self.output = None;
            }
            tokio::select! {
                biased;
                answered = &mut answer => return answered,
                _ = ticks.tick() => self.look(id),
                chunk = next_chunk(&mut self.output) => match chunk {
                    Some(chunk) => self.meter.push(&chunk),
                    None => self.output = None,
                },
            }
        }
    }

    fn look(&mut self, id: &str) {
        if self.cgroup.is_none() {
            self.cgroup = Cgroup::expected(id);
        }
        let sample = self.cgroup.as_ref().and_then(Cgroup::read);
        self.sample = self.sample.max(sample.unwrap_or_default());
    }
}

/// A started container and everything heard from it.
pub(crate) struct Watched {
    docker: Docker,
    id: String,
    limits: RunLimits,
    exit: Streamed<ContainerWaitResponse>,
    output: Option<Streamed<LogOutput>>,
    meter: OutputMeter,
    counters: Counters,
    sample: Sample,
    started: Instant,
    started_at: UnixMs,
    /// Of a container that waits for its run: whether it got it.
    begun: Option<watch::Receiver<bool>>,
}

impl Watched {
    /// Takes over a container right after its start, with what was seen and heard during it.
    pub(crate) async fn new(
        docker: Docker,
        id: String,
        limits: RunLimits,
        mut early: EarlyLook,
    ) -> Self {
        let (started, started_at) = (Instant::now(), unix_now());
        let until = WaitContainerOptions { condition: "not-running".to_owned() };
        let exit = docker.wait_container(&id, Some(until)).boxed();
        let counters = match early.cgroup.take() {
            Some(cgroup) => Counters::of_kernel(cgroup),
            None => early.during(&id, find_counters(&docker, &id)).await,
        };
        let EarlyLook { sample, output, meter, .. } = early;
        Self {
            docker,
            id,
            limits,
            exit,
            output,
            meter,
            counters,
            sample,
            started,
            started_at,
            begun: None,
        }
    }

    /// Lets the wall clock run only once the container got its run.
    pub(crate) fn waits_for(self, begun: watch::Receiver<bool>) -> Self {
        Self { begun: Some(begun), ..self }
    }

    #[cfg(test)]
    pub(crate) fn use_engine_counters(&mut self) {
        self.counters = Counters::of_engine(&self.docker, &self.id);
    }

    async fn run_to_end(mut self, asked: watch::Receiver<Option<Option<Ending>>>) -> RunReport {
        let mut exit_code = None;
        let cause = self.watch(asked, &mut exit_code).await;
        let own_exit = self.end(exit_code).await;
        let (ran_ms, ended_at) = (millis(self.started.elapsed()), unix_now());
        self.drain().await;
        let oom_killed =
            self.sample.oom_kills > 0 || oom_flag(&self.docker, &self.id, own_exit).await;
        let after = Aftermath {
            oom_killed,
            pids_refused: self.sample.pids_refused > 0,
            output_over: self.meter.is_over(),
            cpu_over_ms: self.cpu_over_ms(),
            own_exit,
            ran_ms,
        };
        let removed = teardown::remove(&self.docker, &self.id).await;
        if let Err(fault) = &removed {
            tracing::warn!(container = self.id, %fault, "container not removed");
        }
        RunReport {
            ending: verdict::ending(cause, &after),
            exit_code: own_exit,
            output_tail: self.meter.tail_text(),
            output_bytes: self.meter.seen_bytes(),
            usage: Usage {
                peak_memory_bytes: self.sample.memory_bytes,
                cpu_ms: self.sample.cpu_ns / 1_000_000,
            },
            started_at: self.started_at,
            ended_at,
            ran_ms,
            removed: removed.is_ok(),
        }
    }

    /// Kills the container and waits until it has ended. The exit code, unless it is our kill's.
    ///
    /// The engine holds a container's lock for as long as its output finds no reader: it would
    /// neither tell of the exit nor remove it. So the output is read on meanwhile, or hung up on.
    async fn end(&mut self, exit_code: Option<i64>) -> Option<i64> {
        // The counters vanish with the container.
        if let Counters::Kernel { cgroup, .. } = &self.counters {
            self.sample = self.sample.max(cgroup.read().unwrap_or_default());
        }
        let Self { docker, id, exit, output, meter, .. } = self;
        let ended = kill_and_wait(docker, id, exit, exit_code);
        tokio::pin!(ended);
        loop {
            if meter.is_over() {
                *output = None;
            }
            tokio::select! {
                biased;
                own_exit = &mut ended => return own_exit,
                chunk = next_chunk(output) => match chunk {
                    Some(chunk) => meter.push(&chunk),
                    None => *output = None,
                },
            }
        }
    }

    /// Waits for the first thing that ends the run.
    async fn watch(
        &mut self,
        mut asked: watch::Receiver<Option<Option<Ending>>>,
        exit_code: &mut Option<i64>,
    ) -> Cause {
        if self.meter.is_over() {
            return Cause::OverLimit;
        }
        let wall = Duration::from_millis(self.limits.wall_ms);
        let deadline = tokio::time::sleep_until(self.started + wall);
        tokio::pin!(deadline);
        loop {
            let is_waiting = self.begun.is_some();
            tokio::select! {
                biased;
                // An error means that the handle was dropped: nobody wants the run any more.
                asked = asked.wait_for(Option::is_some) => {
                    return Cause::Asked(asked.ok().and_then(|ending| ending.clone().flatten()));
                }
                () = given(&mut self.begun), if is_waiting => {
                    self.begun = None;
                    (self.started, self.started_at) = (Instant::now(), unix_now());
                    deadline.as_mut().reset(self.started + wall);
                }
                () = &mut deadline, if !is_waiting => return Cause::Deadline,
                answer = self.exit.next() => {
                    return match answer.ok_or(None).and_then(|a| exit_of(a).map_err(Some)) {
                        Ok(code) => {
                            *exit_code = Some(code);
                            Cause::Exited
                        }
                        Err(why) => Cause::EngineLost(
                            why.unwrap_or_else(|| "the engine stopped waiting".to_owned()),
                        ),
                    };
                }
                seen = next_sample(&mut self.counters, is_waiting) => {
                    self.sample = self.sample.max(seen);
                }
                chunk = next_chunk(&mut self.output) => match chunk {
                    Some(chunk) => self.meter.push(&chunk),
                    None => self.output = None,
                },
            }
            let over = self.sample.oom_kills > 0 || self.sample.pids_refused > 0;
            if over || self.meter.is_over() || self.cpu_over_ms().is_some() {
                return Cause::OverLimit;
            }
        }
    }

    /// The CPU time used, if it is more than allowed.
    fn cpu_over_ms(&self) -> Option<u64> {
        let used_ms = self.sample.cpu_ns / 1_000_000;
        let RunLimits { cpu_ms, device_count, .. } = self.limits;
        (used_ms > cpu_ms.saturating_mul(u64::from(device_count))).then_some(used_ms)
    }

    /// Takes what is still on its way, until the end of the output or its limit.
    async fn drain(&mut self) {
        if self.output.is_none() {
            return;
        }
        let rest = async {
            while !self.meter.is_over() {
                match next_chunk(&mut self.output).await {
                    Some(chunk) => self.meter.push(&chunk),
                    None => break,
                }
            }
        };
        if tokio::time::timeout(DRAIN_MAX, rest).await.is_err() {
            tracing::debug!(container = self.id, "the rest of the output did not come in time");
        }
        self.output = None;
    }
}

/// Kills the container and waits for its exit code, if that is not known. `None` if it is that of
/// our kill, or did not come in time.
async fn kill_and_wait(
    docker: &Docker,
    id: &str,
    exit: &mut Streamed<ContainerWaitResponse>,
    mut exit_code: Option<i64>,
) -> Option<i64> {
    let killed = match teardown::kill(docker, id).await {
        Ok(was_running) => was_running,
        Err(fault) => {
            tracing::warn!(container = id, %fault, "container not killed");
            false
        }
    };
    if exit_code.is_none() {
        let waited = tokio::time::timeout(EXIT_WAIT_MAX, exit.next()).await;
        exit_code = waited.ok().flatten().and_then(|answer| exit_of(answer).ok());
    }
    exit_code.filter(|code| !(killed && *code == EXIT_SIGKILL))
}

/// Whether the engine says that a process was killed for memory. After a SIGKILL that was not
/// ours it is asked again for a while, because it may learn the reason after the exit.
async fn oom_flag(docker: &Docker, id: &str, own_exit: Option<i64>) -> bool {
    let give_up = Instant::now() + OOM_FLAG_WAIT_MAX;
    loop {
        let inspected = docker.inspect_container(id, None).await;
        let state = inspected.ok().and_then(|container| container.state);
        if state.and_then(|state| state.oom_killed) == Some(true) {
            return true;
        }
        if own_exit != Some(EXIT_SIGKILL) || Instant::now() >= give_up {
            return false;
        }
        tokio::time::sleep(OOM_FLAG_POLL).await;
    }
}

/// Where the counters of a running container that is not in the usual cgroup can be read.
async fn find_counters(docker: &Docker, id: &str) -> Counters {
    let inspected = docker.inspect_container(id, None).await;
    let state = inspected.ok().and_then(|container| container.state);
    let pid = state.and_then(|state| state.pid).filter(|pid| *pid > 0);
    match pid.and_then(|pid| Cgroup::of(id, pid)) {
        Some(cgroup) => Counters::of_kernel(cgroup),
        None => Counters::of_engine(docker, id),
    }
}

/// The next counters; pending for ever once there are none.
async fn next_sample(counters: &mut Counters, is_waiting: bool) -> Sample {
    let sample = match counters {
        Counters::Kernel { cgroup, .. } if is_waiting => {
            tokio::time::sleep(WAITING_EVERY).await;
            cgroup.read()
        }
        Counters::Kernel { cgroup, ticks, looks } => {
            ticks.tick().await;
            let is_full = *looks % SAMPLE_EVERY_LOOKS == 0;
            *looks = looks.wrapping_add(1);
            if is_full {
                cgroup.read()
            } else {
                let refused = cgroup.read_pids_refused();
                refused.map(|pids_refused| Sample { pids_refused, ..Sample::default() })
            }
        }
        Counters::Engine(stats) => {
            stats.next().await.and_then(Result::ok).map(|stats| convert::sample(&stats))
        }
        Counters::Absent => return std::future::pending().await,
    };
    if sample.is_none() {
        *counters = Counters::Absent;
    }
    sample.unwrap_or_default()
}

/// Returns once a waiting container got its run; pending for ever if nobody can give it any more,
/// because then the run's handle is dropped too.
async fn given(begun: &mut Option<watch::Receiver<bool>>) {
    if let Some(begun) = begun {
        if begun.wait_for(|begun| *begun).await.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

/// The next piece of output; `None` at its end, pending for ever after that.
async fn next_chunk(output: &mut Option<Streamed<LogOutput>>) -> Option<Vec<u8>> {
    match output {
        Some(stream) => Some(stream.next().await?.ok()?.into_bytes().to_vec()),
        None => std::future::pending().await,
    }
}

/// The exit code in an answer; the client library makes an error of every code but zero.
fn exit_of(answer: Result<ContainerWaitResponse, ClientError>) -> Result<i64, String> {
    match answer {
        Ok(response) => Ok(response.status_code),
        Err(ClientError::DockerContainerWaitError { code, .. }) => Ok(code),
        Err(error) => Err(convert::fault(error).to_string()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    UnixMs(since.map(millis).unwrap_or_default())
}

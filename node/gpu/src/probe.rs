//! Whether a GPU computes rightly, and how fast: measured by a child process, because an error on
//! a GPU poisons the process that meets it, and because only a process that hangs can be ended.
//!
//! Steps: a context; a kernel whose result is known; patterns over three quarters of the free
//! memory, written and read back; how fast memory is copied on the device; how fast matrices of
//! 32-bit floats are multiplied, with the product checked. The kernels are a text (`kernels.ptx`)
//! that the driver assembles, so nothing else is needed on the host.
//!
//! Not here: whether the figures are good enough for this device; that is a rule of core.

mod gpu;
mod here;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use node_core::health::observation::{ProbeFigures, ProbeResult};
use node_core::inventory::DeviceId;
use node_core::limits::clip_detail;

use crate::deadline::{self, Missed};

pub use here::probe_here;

/// What is read of a child's output, bytes. Lower: its answer is cut. Higher: one that runs wild
/// costs that much memory.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// How long a killed child may take to be gone. One that the driver holds does not go; it is left
/// behind, and the device is not probed again before it is gone.
const REAP_MAX: Duration = Duration::from_secs(2);

/// How often it is looked whether a child is gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The program that probes: what it is started with before `--device UUID --within-ms MS`. It
/// prints a [`ProbeResult`] as one line of JSON, see [`probe_here`].
#[derive(Clone, Debug)]
pub struct Prober {
    program: PathBuf,
    arguments: Vec<OsString>,
    library_path: Option<OsString>,
}

impl Prober {
    /// `program` with `device-probe`, and with this process's path to shared libraries.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            arguments: vec!["device-probe".into()],
            library_path: std::env::var_os("LD_LIBRARY_PATH"),
        }
    }

    /// The same, with other arguments in place of `device-probe`.
    #[must_use]
    pub fn with_arguments(mut self, arguments: impl IntoIterator<Item = OsString>) -> Self {
        self.arguments = arguments.into_iter().collect();
        self
    }

    /// The same, with another path to shared libraries.
    #[must_use]
    pub fn with_library_path(mut self, path: impl Into<OsString>) -> Self {
        self.library_path = Some(path.into());
        self
    }

    /// Probes `device` in a child process and waits for it, but for hardly longer than `limit`:
    /// then it is killed.
    ///
    /// The device should be idle: what runs there slows the probe and is slowed by it. While an
    /// earlier child of the same device is not gone no second one is started: that counts as a
    /// probe that timed out.
    #[must_use]
    pub fn probe(&self, device: &DeviceId, limit: Duration) -> ProbeResult {
        if !device.0.starts_with("GPU-") && !device.0.starts_with("MIG-") {
            return ProbeResult::NotStarted { detail: format!("`{device}` is no GPU") };
        }
        let (prober, id) = (self.clone(), device.clone());
        let question = format!("gpu probe of {device}");
        let begun = deadline::begin(&question, limit + REAP_MAX, move || prober.run(&id, limit));
        match begun.and_then(deadline::Begun::wait) {
            Ok(result) => result,
            Err(Missed::Deadline { .. } | Missed::StillWaiting) => {
                ProbeResult::TimedOut { limit_ms: millis(limit) }
            }
            Err(missed @ (Missed::Panicked { .. } | Missed::NoThread { .. })) => {
                ProbeResult::NotStarted { detail: missed.to_string() }
            }
        }
    }

    fn command(&self, device: &DeviceId, limit: Duration) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).arg("--device").arg(&device.0);
        command.arg("--within-ms").arg(millis(limit).to_string());
        command.env_clear();
        // It sees this device and no other, and leaves no assembled kernels behind.
        command.env("CUDA_VISIBLE_DEVICES", &device.0).env("CUDA_CACHE_DISABLE", "1");
        if let Some(path) = &self.library_path {
            command.env("LD_LIBRARY_PATH", path);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, device: &DeviceId, limit: Duration) -> ProbeResult {
        let started = Instant::now();
        let mut child = match self.command(device, limit).spawn() {
            Ok(child) => child,
            Err(error) => {
                let detail = format!("cannot start `{}`: {error}", self.program.display());
                return ProbeResult::NotStarted { detail: clip_detail(&detail) };
            }
        };
        let answer = answers(&mut child);
        let words = complaints(&mut child);
        let answer = answer.recv_timeout(limit);
        let took_ms = millis(started.elapsed());
        match answer {
            Ok(Some(ProbeResult::Right(figures))) => {
                end(&mut child);
                ProbeResult::Right(ProbeFigures { took_ms, ..figures })
            }
            Ok(Some(result)) => {
                end(&mut child);
                result
            }
            // Its output has ended, and so should it.
            Ok(None) => match gone(&mut child, limit.saturating_sub(started.elapsed())) {
                Some(status) => {
                    let words = words.recv_timeout(REAP_MAX).unwrap_or_default();
                    ProbeResult::Died { detail: clip_detail(&obituary(status, &words)) }
                }
                None => timed_out(&mut child, limit),
            },
            Err(_) => timed_out(&mut child, limit),
        }
    }
}

fn timed_out(child: &mut Child, limit: Duration) -> ProbeResult {
    end(child);
    ProbeResult::TimedOut { limit_ms: millis(limit) }
}

/// Kills the child and waits until it is gone.
fn end(child: &mut Child) {
    // One that has ended already cannot be killed, and needs not.
    drop(child.kill());
    drop(child.wait());
}

/// How the child ended, if it does within `limit`.
fn gone(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => thread::sleep(LOOK_EVERY),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn obituary(status: ExitStatus, words: &str) -> String {
    match words.lines().rev().find(|line| !line.trim().is_empty()) {
        Some(last) => format!("{status}, and last it wrote: {last}"),
        None => format!("{status}, without a word"),
    }
}

/// The child's answer as soon as it is there; `None` if its output ends without one.
fn answers(child: &mut Child) -> Receiver<Option<ProbeResult>> {
    let (sender, answer) = mpsc::sync_channel(1);
    if let Some(output) = child.stdout.take() {
        thread::spawn(move || {
            let lines = BufReader::new(output.take(OUTPUT_BYTES_MAX)).lines();
            let found = lines
                .map_while(Result::ok)
                .find_map(|line| serde_json::from_str::<ProbeResult>(&line).ok());
            // Who gave up waiting needs no answer.
            drop(sender.send(found));
        });
    }
    answer
}

/// What the child writes beside its answer.
fn complaints(child: &mut Child) -> Receiver<String> {
    let (sender, words) = mpsc::sync_channel(1);
    if let Some(output) = child.stderr.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // What was read before a failure is all there is.
            drop(output.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes));
            drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
        });
    }
    words
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

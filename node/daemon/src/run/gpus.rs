//! The host's GPUs: their sensors, their events, their probes, as events of the loop.

use std::sync::Arc;
use std::time::Duration;

use node_core::health::observation::{Observation, ProbeResult};
use node_core::id::RunId;
use node_core::inventory::{Device, DeviceId, DeviceKind};
use node_core::limits::{PROBE_AGAIN_MS, SAMPLE_LATE_MS};
use node_core::machine::event::Event;
use node_gpu::{Pace, Prober, WatchError, Watcher};
use tokio::sync::mpsc;

use super::perform::{answer, LOST};

/// How often sensors are read, and how long that may take.
const PACE: Pace = Pace { every: Duration::from_secs(5), answer_max: Duration::from_secs(5) };
const _: () = assert!(
    (PACE.every.as_millis() + PACE.answer_max.as_millis()) * 2 < SAMPLE_LATE_MS as u128,
    "a reading that is missed once is no silence yet"
);

/// How long a probe may take. A healthy device needs seconds, the first time after boot included.
pub(crate) const PROBE_MAX: Duration = Duration::from_secs(60);
const _: () = assert!(PROBE_MAX.as_millis() + 10_000 < PROBE_AGAIN_MS as u128);

/// What this process runs, also after the file was replaced by another version of it.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

/// Reads and probes GPUs, and tells the loop what was seen.
#[derive(Debug)]
pub(crate) struct Gpus {
    events: mpsc::Sender<Event>,
    watcher: Option<Arc<Watcher>>,
    prober: Prober,
}

impl Gpus {
    /// Begins to watch the GPUs among `devices`; what is seen goes to `events`.
    ///
    /// # Errors
    ///
    /// [`WatchError`]: nothing is watched, and so no GPU could ever be given a run.
    pub(crate) fn start(
        devices: &[Device],
        events: mpsc::Sender<Event>,
    ) -> Result<Self, WatchError> {
        let has_gpus = devices.iter().any(|device| device.kind != DeviceKind::CpuSlot);
        let seen = events.clone();
        let report = move |device, observation: Observation| {
            let is_sample = matches!(observation, Observation::Sampled(_));
            let event = Event::DeviceSeen { device, observation: Box::new(observation) };
            if is_sample {
                // A loop that does not keep up needs the next reading, not this one.
                drop(seen.try_send(event));
            } else {
                // The loop is gone only when the process is about to end.
                drop(seen.blocking_send(event));
            }
        };
        let watcher = if has_gpus { Some(Watcher::start(devices, PACE, report)?) } else { None };
        Ok(Self { events, watcher: watcher.map(Arc::new), prober: Prober::new(THIS_PROGRAM) })
    }

    /// Reads a device now, for a run that ended on it.
    pub(crate) fn read(&self, device: DeviceId, run: RunId) {
        // A machine without GPUs asks for no reading.
        let Some(watcher) = self.watcher.clone() else { return };
        let silent = || {
            let waited_ms = u64::try_from(PACE.answer_max.as_millis()).unwrap_or(u64::MAX);
            Observation::Silent { waited_ms }
        };
        let told = move |device, observation| Event::DeviceRead {
            device,
            run,
            observation: Box::new(observation),
        };
        answer(&self.events, told(device.clone(), silent()), async move {
            let of = device.clone();
            let read = move || watcher.read_now(&of, PACE.answer_max);
            let read = tokio::task::spawn_blocking(read).await.ok().flatten();
            told(device, read.unwrap_or_else(silent))
        });
    }

    /// Probes a device in a process of its own.
    pub(crate) fn probe(&self, device: DeviceId) {
        let prober = self.prober.clone();
        let told = |device, result| {
            let observation = Box::new(Observation::Probed(result));
            Event::DeviceSeen { device, observation }
        };
        let lost = || ProbeResult::NotStarted { detail: LOST.to_owned() };
        answer(&self.events, told(device.clone(), lost()), async move {
            let of = device.clone();
            let probed = tokio::task::spawn_blocking(move || prober.probe(&of, PROBE_MAX)).await;
            told(device, probed.unwrap_or_else(|_| lost()))
        });
    }
}

//! The host's GPUs: their sensors, their events, their probes.

use node_core::health::observation::{Observation, ProbeResult};
use node_core::id::RunId;
use node_core::inventory::DeviceId;
use node_core::machine::event::Event;
use tokio::sync::mpsc;

/// Reads and probes GPUs, and tells the loop what was seen.
#[derive(Debug)]
pub(crate) struct Gpus {
    pub(crate) events: mpsc::Sender<Event>,
}

impl Gpus {
    pub(crate) fn read(&self, _device: &DeviceId, _run: RunId) {}

    pub(crate) fn probe(&self, device: &DeviceId) {
        let detail = "not yet".to_owned();
        let observation = Box::new(Observation::Probed(ProbeResult::NotStarted { detail }));
        drop(self.events.try_send(Event::DeviceSeen { device: device.clone(), observation }));
    }
}

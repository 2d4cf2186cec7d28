//! The hosts' GPUs: what their drivers show, and what is true of them.

use node_core::health::observation::{
    Observation, ProbeFigures, ProbeResult, ProbeStep, Reading, Recovery, Sample, Throttle,
};
use node_core::id::RunId;
use node_core::inventory::{Device, DeviceId, DeviceKind};
use node_core::machine::event::{CallId, Event};
use node_core::machine::operator::{DeviceOrder, OperatorRequest};
use node_history::Violation;

use crate::fault::Fault;
use crate::happening::Happening;
use crate::host::Host;
use crate::plan::Broken;
use crate::world::World;

/// How often sensors are read.
const READ_EVERY_MS: u64 = 10_000;

const PROBE_MS: u64 = 2_000;
const ANSWER_MS: u64 = 20;

const IDLE_MIB: u64 = 500;
const MEMORY_MIB: u64 = 80_000;

/// What is true of a GPU, whatever the node on it believes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gpu {
    /// Until when something holds its memory though its last run is gone.
    pub(crate) held_until_ms: u64,
    /// Until when it computes wrongly.
    pub(crate) wrong_until_ms: u64,
    /// Whether its node was told of a fault since its last probe that was right.
    pub(crate) is_in_doubt: bool,
}

fn name(index: usize) -> DeviceId {
    DeviceId(format!("GPU-{index}"))
}

fn index_of(device: &DeviceId) -> Option<usize> {
    device.0.strip_prefix("GPU-")?.parse().ok()
}

impl Host {
    pub(crate) fn gpu_inventory(&self) -> Vec<Device> {
        let gpu = |index| Device::new(name(index), DeviceKind::Gpu, "one GPU", MEMORY_MIB);
        (0..self.gpus.len()).map(gpu).collect()
    }

    /// What is true of a device, if it is a GPU.
    pub(crate) fn gpu(&self, device: &DeviceId) -> Option<&Gpu> {
        self.gpus.get(index_of(device)?)
    }

    fn gpu_mut(&mut self, device: &DeviceId) -> Option<&mut Gpu> {
        self.gpus.get_mut(index_of(device)?)
    }

    fn sample(&self, index: usize, now_ms: u64) -> Sample {
        let device = name(index);
        let mut used = self.containers.values().flat_map(|container| &container.spec.devices);
        let is_used = used.any(|used| used.id == device);
        let is_held = self.gpus[index].held_until_ms > now_ms;
        let used = IDLE_MIB + u64::from(is_used) * 20_000 + u64::from(is_held) * 7_000;
        Sample {
            temperature_c: Reading::Value(60),
            slowdown_c: Reading::Value(90),
            memory_used_mib: Reading::Value(used),
            throttle: Reading::Value(Throttle::default()),
            recovery: Reading::Value(Recovery::Nothing),
            ecc_uncorrected: Reading::Unsupported,
            ecc_corrected: Reading::Unsupported,
            is_remap_pending: Reading::Unsupported,
            utilisation: Reading::Value(50),
            power_mw: Reading::Value(300_000),
        }
    }
}

impl World {
    /// Reads every GPU of every host whose process lives, for ever.
    pub(crate) fn read_gpus(&mut self) {
        self.after(READ_EVERY_MS, Happening::SensorsDue);
        for node in 0..self.hosts.len() {
            for index in 0..self.hosts[node].gpus.len() {
                let sample = self.hosts[node].sample(index, self.now_ms);
                self.tell_of_gpu(node, index, Observation::Sampled(sample));
            }
        }
    }

    fn tell_of_gpu(&mut self, node: usize, index: usize, observation: Observation) {
        let observation = Box::new(observation);
        let event = Event::DeviceSeen { device: name(index), observation };
        self.report_back(node, ANSWER_MS, event);
    }

    pub(crate) fn read_gpu(&mut self, node: usize, device: DeviceId, run: RunId) {
        let Some(index) = index_of(&device) else { return };
        let mut sample = self.hosts[node].sample(index, self.now_ms);
        if self.plan.broken == Some(Broken::MemoryTrusted) {
            sample.memory_used_mib = Reading::Value(IDLE_MIB);
        }
        let observation = Box::new(Observation::Sampled(sample));
        self.report_back(node, ANSWER_MS, Event::DeviceRead { device, run, observation });
    }

    pub(crate) fn probe_gpu(&mut self, node: usize, device: &DeviceId) {
        let now_ms = self.now_ms;
        let Some(index) = index_of(device) else { return };
        let Some(gpu) = self.hosts[node].gpu_mut(device) else { return };
        let result = if gpu.wrong_until_ms > now_ms {
            ProbeResult::Wrong { step: ProbeStep::Kernel, detail: "7 is 8".to_owned() }
        } else {
            gpu.is_in_doubt = false;
            ProbeResult::Right(ProbeFigures {
                took_ms: PROBE_MS,
                memory_mib: 1_024,
                bandwidth_mb_s: 2_000_000,
                matrix_gflop_s: 50_000,
            })
        };
        let observation = Box::new(Observation::Probed(result));
        let event = Event::DeviceSeen { device: name(index), observation };
        self.report_back(node, PROBE_MS, event);
    }

    /// The container of a run is gone: sometimes its memory is not.
    pub(crate) fn hold_memory(&mut self, node: usize, device: &DeviceId) {
        if self.hosts[node].gpu(device).is_none() {
            return;
        }
        if self.rng.happens(self.faults.rate(Fault::MemoryHeld), 1_000) {
            let lasts_ms = self.rng.spread(1_000, 1_200_000);
            let until_ms = self.now_ms + lasts_ms;
            if let Some(gpu) = self.hosts[node].gpu_mut(device) {
                gpu.held_until_ms = until_ms;
            }
            self.remark(Some(node), || format!("{device}: memory is held for {lasts_ms} ms"));
        }
    }

    pub(crate) fn trouble_gpus(&mut self) {
        let node = self.any_node();
        let gpus = self.hosts[node].gpus.len();
        if gpus == 0 || !self.begins(Fault::DeviceFails) {
            return;
        }
        let index = self.rng.index(gpus);
        let faults = [
            Observation::Xid { code: 79 },
            Observation::EccUncorrected,
            Observation::Lost { detail: "GPU is lost".to_owned() },
            Observation::Silent { waited_ms: 5_000 },
        ];
        let kind = self.rng.index(faults.len());
        let Some(fault) = faults.into_iter().nth(kind) else { return };
        let wrong_ms = self.rng.spread(1_000, 1_800_000);
        self.hosts[node].gpus[index].wrong_until_ms = self.now_ms + wrong_ms;
        self.remark(Some(node), || {
            format!("{}: {fault:?}; it computes wrongly for {wrong_ms} ms", name(index))
        });
        self.tell_of_gpu(node, index, fault);
    }

    /// What a node is about to be told leaves a doubt about its device.
    pub(crate) fn note_doubt(&mut self, node: usize, event: &Event) {
        let Event::DeviceSeen { device, observation } = event else { return };
        if !matches!(**observation, Observation::Sampled(_) | Observation::Probed(_)) {
            if let Some(gpu) = self.hosts[node].gpu_mut(device) {
                gpu.is_in_doubt = true;
            }
        }
    }

    /// Whatever was wrong is over, and somebody gives every device back.
    pub(crate) fn heal_gpus(&mut self) -> Result<(), Box<Violation>> {
        for node in 0..self.hosts.len() {
            for index in 0..self.hosts[node].gpus.len() {
                let gpu = &mut self.hosts[node].gpus[index];
                (gpu.held_until_ms, gpu.wrong_until_ms) = (0, 0);
                let (life, device) = (self.hosts[node].life, name(index));
                let request = OperatorRequest::Order { device, order: DeviceOrder::Uncordon };
                let call = CallId(u64::MAX);
                self.deliver(node, life, Event::OperatorAsked { call, request }, None)?;
            }
        }
        Ok(())
    }
}

//! The host's devices: what is seen of them, what an operator orders, and which may be given runs.

use std::collections::BTreeMap;

use crate::health::observation::Observation;
use crate::health::{xid, Cause, Consequence, DeviceHealth, DeviceRow, Order, Running, Standing};
use crate::id::RunId;
use crate::inventory::{Device, DeviceId};
use crate::limits::{clip_detail, ORDER_REASON_CHARS_MAX};
use crate::machine::effect::{Effect, Note, Outcome};
use crate::machine::operator::{DeviceOrder, OrderRefused};
use crate::machine::{work, Machine};
use crate::outcome::Ending;
use crate::placement::{Condition, HostPlacement};
use crate::rows::{Row, RunRow};
use crate::unit::Now;

impl Machine {
    /// Takes in the devices that this life of the node found, and what earlier ones knew of them.
    /// What was known of a device that is not there now stays stored.
    pub(super) fn meet_devices(
        &mut self,
        now: Now,
        devices: Vec<Device>,
        mut known: BTreeMap<DeviceId, DeviceRow>,
        out: &mut Outcome,
    ) {
        for device in &devices {
            let known = known.remove(&device.id);
            let was_gone = known.as_ref().is_some_and(|row| row.gone_since.is_some());
            self.health.insert(device.id.clone(), DeviceHealth::new(now, device, known));
            if was_gone {
                self.store_device(&device.id, out);
            }
        }
        self.placement = HostPlacement::new(&devices);
        for device in &devices {
            self.tell_placement(now, &device.id);
        }
        self.devices = devices;
        self.miss_devices(now, known, out);
    }

    /// Says to placement whether the device may be given runs.
    fn tell_placement(&mut self, now: Now, device: &DeviceId) {
        let Some(health) = self.health.get(device) else { return };
        let condition = match health.check_usable() {
            Ok(()) => Condition::Usable,
            Err(unusable) => Condition::Unusable(unusable.to_string()),
        };
        self.placement.set_condition(now.mono, device, &condition);
    }

    pub(super) fn on_device_seen(
        &mut self,
        now: Now,
        device: &DeviceId,
        observation: Observation,
        out: &mut Outcome,
    ) {
        let running = self.running_on(device);
        let Some(health) = self.health.get_mut(device) else { return };
        let found = health.observe(now, observation, running);
        self.follow(now, device, found, out);
    }

    pub(super) fn on_device_read(
        &mut self,
        now: Now,
        device: &DeviceId,
        run: RunId,
        observation: Observation,
        out: &mut Outcome,
    ) {
        let Observation::Sampled(sample) = observation else {
            return self.on_device_seen(now, device, observation, out);
        };
        let Some(health) = self.health.get_mut(device) else { return };
        let found = health.on_read(now, run, sample);
        self.follow(now, device, found, out);
    }

    /// A container is gone from its devices; its run ended so. A failure is that of the device
    /// that is distrusted already; if none is, of each of them.
    pub(super) fn release_devices(
        &mut self,
        now: Now,
        row: &RunRow,
        ending: &Ending,
        out: &mut Outcome,
    ) {
        self.placement.release(now.mono, row.run);
        let is_known = row.devices.iter().any(|device| self.is_distrusted(device));
        for device in &row.devices {
            let is_blamed = !is_known || self.is_distrusted(device);
            let Some(health) = self.health.get_mut(device) else { continue };
            let mut found = health.on_run_ended(now, row.run);
            if let Ending::DeviceFailed { detail } = ending {
                if is_blamed {
                    found.extend(health.on_run_failed(now, detail.clone()));
                }
            }
            self.follow(now, device, found, out);
        }
    }

    fn is_distrusted(&self, device: &DeviceId) -> bool {
        let health = self.health.get(device);
        health.is_some_and(|health| health.row().standing != Standing::Healthy)
    }

    pub(super) fn watch_devices(&mut self, now: Now, out: &mut Outcome) {
        let devices: Vec<DeviceId> = self.health.keys().cloned().collect();
        for device in devices {
            let running = self.running_on(&device);
            let Some(health) = self.health.get_mut(&device) else { continue };
            let found = health.on_tick(now, running);
            self.follow(now, &device, found, out);
        }
    }

    /// Does what an operator orders; it is stored before anybody is told.
    pub(super) fn order(
        &mut self,
        now: Now,
        device: &DeviceId,
        order: DeviceOrder,
        out: &mut Outcome,
    ) -> Result<Box<DeviceRow>, OrderRefused> {
        let running = self.running_on(device);
        let Some(health) = self.health.get_mut(device) else {
            return self.order_gone(device, &order, out);
        };
        let found = match order {
            DeviceOrder::Cordon { reason } => {
                health.cordon(placed(false, &reason, now));
                vec![Consequence::Changed]
            }
            DeviceOrder::Drain { reason } => {
                health.cordon(placed(true, &reason, now));
                self.stop_run_on(device, Ending::Stopped, out);
                vec![Consequence::Changed]
            }
            DeviceOrder::Uncordon => {
                let found = health.uncordon(now, running.is_some());
                found.into_iter().chain([Consequence::Changed]).collect()
            }
            DeviceOrder::Probe if !health.can_be_probed() => {
                return Err(OrderRefused::NothingToProbe);
            }
            DeviceOrder::Probe if running.is_some() => return Err(OrderRefused::Busy),
            DeviceOrder::Probe => health.probe_now(now),
        };
        self.follow(now, device, found, out);
        let health = self.health.get(device).ok_or(OrderRefused::Unknown)?;
        Ok(Box::new(health.row().clone()))
    }

    fn running_on(&self, device: &DeviceId) -> Option<Running> {
        let mut holders = self.runs.values().filter(|run| run.holds_device());
        let run = holders.find(|run| run.row.devices.contains(device))?;
        Some(Running { run: run.row.run, submission: run.row.grant.assignment.submission })
    }

    fn stop_run_on(&mut self, device: &DeviceId, ending: Ending, out: &mut Outcome) {
        let mut runs = self.runs.values_mut().filter(|run| run.holds_device());
        if let Some(run) = runs.find(|run| run.row.devices.contains(device)) {
            work::stop(run, ending, out);
        }
    }

    fn follow(&mut self, now: Now, device: &DeviceId, found: Vec<Consequence>, out: &mut Outcome) {
        self.tell_placement(now, device);
        for consequence in found {
            match consequence {
                Consequence::BlameSubmission { code } => {
                    let detail = format!("the driver reported Xid {code}, {}", xid::meaning(code));
                    self.stop_run_on(device, Ending::SubmissionFailed { detail }, out);
                    self.store_device(device, out);
                }
                Consequence::EndRun { cause } => {
                    let detail = clip_detail(&format!("device {device}: {cause}"));
                    self.stop_run_on(device, Ending::DeviceFailed { detail }, out);
                }
                Consequence::Read { run } => {
                    out.perform(Effect::ReadDevice { device: device.clone(), run });
                }
                Consequence::Probe => {
                    out.perform(Effect::ProbeDevice { device: device.clone() });
                }
                Consequence::Changed => {
                    self.store_device(device, out);
                    self.say_device(device, out);
                }
            }
        }
    }

    fn store_device(&self, device: &DeviceId, out: &mut Outcome) {
        if let Some(health) = self.health.get(device) {
            out.put(Row::Device(Box::new(health.row().clone())));
        }
    }

    fn say_device(&self, device: &DeviceId, out: &mut Outcome) {
        let Some(health) = self.health.get(device) else { return };
        let row = health.row();
        let order = row.order.as_ref().map(|order| format!("ordered: {}", order.reason));
        let cause = row.cause.as_ref().map(ToString::to_string);
        let reason = order.or(cause).unwrap_or_default();
        let (device, standing) = (device.to_string(), row.standing.name());
        let is_failure = row.cause.as_ref().is_some_and(Cause::is_failure);
        out.note(if is_failure && row.standing != Standing::Probing {
            Note::DeviceDistrusted { device, standing, reason }
        } else {
            Note::DeviceChanged { device, standing, reason }
        });
    }
}

fn placed(is_drain: bool, reason: &str, now: Now) -> Order {
    let printable = reason.chars().filter(|c| !c.is_control());
    let reason = printable.take(ORDER_REASON_CHARS_MAX).collect();
    Order { is_drain, reason, at: now.unix }
}

/// Read-only access, for `status` and for tests.
impl Machine {
    /// What is known of each device's health, by device.
    pub fn health(&self) -> impl Iterator<Item = (&DeviceId, &DeviceHealth)> {
        self.health.iter()
    }

    /// Which run has which devices, and why the others are given none.
    #[must_use]
    pub fn placement(&self) -> &HostPlacement {
        &self.placement
    }
}

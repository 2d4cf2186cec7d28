//! The planner of a node: one host, and runs that start at once or not at all.
//!
//! A lease is taken only for what can start at once, so nothing waits here; what waits does so at
//! its coordinator. Each decision is a plan, which is checked before anybody acts on it.
//!
//! Not here: which device is healthy (`health`), and what a run does (`outcome`).

use std::collections::BTreeMap;

use crate::id::RunId;
use crate::inventory::{Device, DeviceId, DeviceKind};
use crate::limits::RUN_LIMIT_MS_MAX;
use crate::policy::RunLimits;
use crate::unit::MonoMs;

use super::check::{check, Facts, PlanRefused};
use super::explain::Verdict;
use super::fleet::{FleetError, Host, HostId};
use super::plan::{diff, Plan};
use super::planner::Planner;
use super::pool::Condition;
use super::request::{Needs, Request, RequestRefused, ShareId, Ticket};

/// Why a run was not placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlaced {
    /// The host's devices contradict themselves; nothing is ever placed on them.
    #[error("nothing is placed on this host: {0}")]
    Fleet(FleetError),
    /// The host never has what the run needs.
    #[error(transparent)]
    Never(RequestRefused),
    /// Not so many devices are free now.
    #[error("{wanted} free devices are needed; `assay devices` says what each of them does")]
    NotNow {
        /// How many devices the run needs.
        wanted: u8,
    },
    /// The plan was wrong, and nobody acted on it.
    #[error("the plan was refused: {0}")]
    Plan(PlanRefused),
}

/// Why a device is not given a run now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The device.
    pub device: DeviceId,
    /// What is in the way.
    pub verdict: Verdict,
    /// The run that has it, if that is what is in the way.
    pub run: Option<RunId>,
}

/// This host's devices, and which run has which of them.
#[derive(Clone, Debug)]
pub struct HostPlacement {
    planner: Result<Planner, FleetError>,
    /// This host, alone.
    hosts: [Host; 1],
    unusable: BTreeMap<(HostId, DeviceId), String>,
    requests: BTreeMap<Ticket, Request>,
    tickets: BTreeMap<RunId, Ticket>,
}

impl HostPlacement {
    /// All devices free and usable. Devices that contradict themselves are given nothing, and
    /// [`Self::check`] says why.
    #[must_use]
    pub fn new(devices: &[Device]) -> Self {
        let slots = devices.iter().filter(|device| device.kind == DeviceKind::CpuSlot);
        let memory_mib = slots.fold(0u64, |sum, slot| sum.saturating_add(slot.memory_mib));
        let id = HostId("this host".to_owned());
        let hosts = [Host { id, memory_mib, devices: devices.to_vec() }];
        Self {
            planner: Planner::new(&hosts),
            hosts,
            unusable: BTreeMap::new(),
            requests: BTreeMap::new(),
            tickets: BTreeMap::new(),
        }
    }

    /// Whether the host could ever run something with these limits.
    ///
    /// # Errors
    ///
    /// [`NotPlaced::Fleet`] or [`NotPlaced::Never`].
    pub fn check(&self, limits: &RunLimits) -> Result<(), NotPlaced> {
        let planner = self.planner.as_ref().map_err(|error| NotPlaced::Fleet(error.clone()))?;
        request(limits, MonoMs(0)).check().map_err(NotPlaced::Never)?;
        planner.fleet.check(&Needs::of(limits)).map_err(NotPlaced::Never)
    }

    /// How many runs with these limits could start now.
    #[must_use]
    pub fn room(&self, limits: &RunLimits) -> usize {
        self.planner.as_ref().map_or(0, |planner| planner.fleet.room(&Needs::of(limits)))
    }

    /// Says whether a device may be given runs. What runs on it goes on.
    pub fn set_condition(&mut self, now: MonoMs, device: &DeviceId, condition: &Condition) {
        let Ok(planner) = &mut self.planner else { return };
        let key = (self.hosts[0].id.clone(), device.clone());
        let known = self.unusable.get(&key);
        let is_known = match condition {
            Condition::Usable => known.is_none(),
            Condition::Unusable(why) => known == Some(why),
        };
        if is_known {
            return;
        }
        planner.set_condition(now, &key.0, device, condition);
        match condition {
            Condition::Usable => self.unusable.remove(&key),
            Condition::Unusable(why) => self.unusable.insert(key, why.clone()),
        };
    }

    /// Gives a run its devices, all of them or none.
    ///
    /// # Errors
    ///
    /// [`NotPlaced`]; then nothing has changed.
    pub fn place(
        &mut self,
        now: MonoMs,
        run: RunId,
        limits: &RunLimits,
    ) -> Result<Vec<DeviceId>, NotPlaced> {
        let planner = self.planner.as_mut().map_err(|error| NotPlaced::Fleet(error.clone()))?;
        let present = planner.plan();
        let request = request(limits, now);
        let ticket = planner.submit(request).map_err(NotPlaced::Never)?;
        if planner.decide(now).is_none() {
            planner.cancel(ticket);
            return Err(NotPlaced::NotNow { wanted: limits.device_count });
        }
        let plan = planner.plan();
        self.requests.insert(ticket, request);
        if let Err(refused) = self.check_plan(&plan, &present) {
            self.end(now, ticket);
            return Err(NotPlaced::Plan(refused));
        }
        let starts = diff(&present, &plan).starts;
        let seat = starts.into_iter().find(|(started, _)| *started == ticket);
        self.tickets.insert(run, ticket);
        Ok(seat.map(|(_, seat)| seat.devices).unwrap_or_default())
    }

    fn check_plan(&self, plan: &Plan, present: &Plan) -> Result<(), PlanRefused> {
        let facts = Facts {
            hosts: &self.hosts,
            unusable: &self.unusable,
            images: &BTreeMap::new(),
            requests: &self.requests,
            present,
        };
        check(plan, &facts)
    }

    /// A run is over: its devices are free. Nothing happens if it has none.
    pub fn release(&mut self, now: MonoMs, run: RunId) {
        if let Some(ticket) = self.tickets.remove(&run) {
            self.end(now, ticket);
        }
    }

    fn end(&mut self, now: MonoMs, ticket: Ticket) {
        self.requests.remove(&ticket);
        if let Ok(planner) = &mut self.planner {
            planner.finish(now, ticket);
        }
    }

    /// What keeps a run with these limits from each device now; none for devices that are free for
    /// it.
    ///
    /// # Errors
    ///
    /// [`NotPlaced::Fleet`] or [`NotPlaced::Never`].
    pub fn obstacles(&self, limits: &RunLimits) -> Result<Vec<Obstacle>, NotPlaced> {
        self.check(limits)?;
        // The time would matter only beside reservations, and here nothing waits.
        let now = MonoMs(0);
        // This one waits in a copy.
        let mut planner = self.planner.clone().map_err(NotPlaced::Fleet)?;
        let ticket = planner.submit(request(limits, now)).map_err(NotPlaced::Never)?;
        let explanation = planner.explain(now, ticket);
        let hosts = explanation.into_iter().flat_map(|explanation| explanation.hosts);
        let devices = hosts.flat_map(|host| host.devices);
        let obstacle = devices.filter(|device| device.verdict != Verdict::Free).map(|device| {
            let run =
                if let Verdict::Busy { by, .. } = device.verdict { self.run_of(by) } else { None };
            Obstacle { device: device.device, verdict: device.verdict, run }
        });
        Ok(obstacle.collect())
    }

    fn run_of(&self, ticket: Ticket) -> Option<RunId> {
        self.tickets.iter().find(|(_, known)| **known == ticket).map(|(run, _)| *run)
    }
}

impl Default for HostPlacement {
    fn default() -> Self {
        Self::new(&[])
    }
}

/// One challenge has the whole node so far, so that neither shares nor priorities differ.
fn request(limits: &RunLimits, now: MonoMs) -> Request {
    Request {
        share: ShareId(0),
        priority: 0,
        submitted_at: now,
        needs: Needs::of(limits),
        limit_ms: limits.wall_ms.min(RUN_LIMIT_MS_MAX),
        content: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::policy::Policy;

    const NOW: MonoMs = MonoMs(5);

    fn slot(name: &str, memory_mib: u64) -> Device {
        Device::new(DeviceId(name.to_owned()), DeviceKind::CpuSlot, "one CPU", memory_mib)
    }

    fn gpus(count: usize) -> Vec<Device> {
        let id = |at| DeviceId(format!("GPU-{at}"));
        (0..count).map(|at| Device::new(id(at), DeviceKind::Gpu, "a GPU", 80_000)).collect()
    }

    fn on_gpus(device_count: u8) -> RunLimits {
        RunLimits { device: DeviceKind::Gpu, device_count, ..Policy::dev().run }
    }

    fn run(number: u8) -> RunId {
        RunId([number; 32])
    }

    #[test]
    fn two_runs_never_share_a_device() {
        let limits = Policy::dev().run;
        let mut host = HostPlacement::new(&[
            slot("cpu-0", limits.memory_mib),
            slot("cpu-1", limits.memory_mib),
        ]);
        assert_eq!(host.room(&limits), 2);
        let first = host.place(NOW, run(1), &limits).unwrap();
        let second = host.place(NOW, run(2), &limits).unwrap();
        assert_ne!(first, second);
        assert_eq!(host.place(NOW, run(3), &limits), Err(NotPlaced::NotNow { wanted: 1 }));
        host.release(NOW, run(1));
        assert_eq!(host.place(NOW, run(3), &limits), Ok(first));
        assert_eq!(host.room(&limits), 0);
    }

    #[test]
    fn the_smallest_device_that_suffices_is_chosen() {
        let limits = Policy::dev().run;
        let wanted = limits.memory_mib;
        let slots = [slot("cpu-0", 4 * wanted), slot("cpu-1", wanted), slot("cpu-2", wanted)];
        let chosen = HostPlacement::new(&slots).place(NOW, run(1), &limits).unwrap();
        assert_eq!(chosen, [DeviceId("cpu-1".to_owned())]);
    }

    #[test]
    fn a_slot_with_less_memory_than_the_policy_allows_runs_nothing() {
        let limits = Policy::dev().run;
        let host = HostPlacement::new(&[slot("cpu-0", limits.memory_mib - 1)]);
        assert!(matches!(
            host.check(&limits),
            Err(NotPlaced::Never(RequestRefused::TooSmall { .. }))
        ));
        assert_eq!(host.room(&limits), 0);
        let none = host.check(&on_gpus(1));
        assert!(matches!(none, Err(NotPlaced::Never(RequestRefused::NoneOfKind { .. }))));
    }

    #[test]
    fn a_gang_gets_all_its_devices_or_none() {
        let mut host = HostPlacement::new(&gpus(5));
        let limits = on_gpus(2);
        assert_eq!(host.room(&limits), 2);
        let mut taken = host.place(NOW, run(1), &limits).unwrap();
        host.set_condition(NOW, &DeviceId("GPU-4".to_owned()), &unusable());
        taken.extend(host.place(NOW, run(2), &limits).unwrap());
        assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 4);
        assert_eq!(host.room(&limits), 0);
        assert_eq!(host.place(NOW, run(3), &limits), Err(NotPlaced::NotNow { wanted: 2 }));
        host.release(NOW, run(1));
        assert_eq!(host.room(&limits), 1, "nothing of what was refused is kept");
        let most = host.check(&on_gpus(6));
        assert!(matches!(most, Err(NotPlaced::Never(RequestRefused::TooFew { .. }))));
    }

    #[test]
    fn every_device_says_what_keeps_a_run_from_it() {
        let mut host = HostPlacement::new(&gpus(3));
        host.place(NOW, run(1), &on_gpus(1)).unwrap();
        host.set_condition(NOW, &DeviceId("GPU-2".to_owned()), &unusable());
        assert_eq!(host.obstacles(&on_gpus(1)).unwrap().len(), 2, "one is free");
        let obstacles = host.obstacles(&on_gpus(2)).unwrap();
        let verdicts: Vec<String> = obstacles.iter().map(|o| o.verdict.to_string()).collect();
        assert_eq!(obstacles[0].run, Some(run(1)));
        assert!(verdicts[1].contains("1 of 2"), "{verdicts:?}");
        assert!(verdicts[2].contains("it is hot"), "{verdicts:?}");
    }

    #[test]
    fn devices_that_contradict_themselves_are_given_nothing_and_say_why() {
        let limits = Policy::dev().run;
        let mut host = HostPlacement::new(&[
            slot("cpu-0", limits.memory_mib),
            slot("cpu-0", limits.memory_mib),
        ]);
        assert!(matches!(host.check(&limits), Err(NotPlaced::Fleet(_))));
        assert_eq!(host.room(&limits), 0);
        assert!(matches!(host.place(NOW, run(1), &limits), Err(NotPlaced::Fleet(_))));
    }

    fn unusable() -> Condition {
        Condition::Unusable("it is hot".to_owned())
    }
}

//! The memory of a device after a run, and while nothing runs: whether somebody still holds it.

use crate::health::observation::Sample;
use crate::health::{Cause, Consequence, DeviceHealth, Standing};
use crate::id::RunId;
use crate::inventory::DeviceKind;
use crate::limits::{IDLE_MEMORY_MIB_MAX, MEMORY_FREE_WAIT_MS, MEMORY_SLACK_MIB};
use crate::unit::{MonoMs, Now};

/// What is known of the memory after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Nobody ran since it was seen free.
    Free,
    /// A run ended; it has to be read.
    Unread { run: RunId, ended_at: MonoMs, asked_at: MonoMs },
}

impl DeviceHealth {
    /// A run on the device is over and its container is gone: before the next one its memory has
    /// to be seen free.
    pub fn on_run_ended(&mut self, now: Now, run: RunId) -> Vec<Consequence> {
        if self.kind == DeviceKind::CpuSlot {
            return Vec::new();
        }
        self.memory = Memory::Unread { run, ended_at: now.mono, asked_at: now.mono };
        vec![Consequence::Read { run }]
    }

    /// Readings that were asked for after a run. An answer about an earlier run says nothing.
    pub fn on_read(&mut self, now: Now, run: RunId, sample: Sample) -> Vec<Consequence> {
        let Memory::Unread { run: last, ended_at, .. } = self.memory else { return Vec::new() };
        if last != run {
            return Vec::new();
        }
        let held_mib = self.held_mib(&sample);
        let mut found = self.on_sample(now, sample, None);
        match held_mib {
            Some(0) => self.memory = Memory::Free,
            None => {
                self.memory = Memory::Free;
                // Where memory cannot be read, taking a good part of it tells as much.
                if self.row.standing == Standing::Healthy {
                    self.begin_probe(now, Cause::ProbeDue, &mut found);
                }
            }
            // A driver takes a moment to give back what a killed process held.
            Some(_) if now.mono.since_ms(ended_at) < MEMORY_FREE_WAIT_MS => {}
            Some(held_mib) => {
                self.memory = Memory::Free;
                found.extend(self.on_fault(now, Cause::MemoryHeld { held_mib }, None));
            }
        }
        found
    }

    /// Learns how much memory an idle device uses, and notices when somebody else uses it. One
    /// reading may be older than what is known; two in a row are not.
    pub(super) fn foreign_memory(&mut self, sample: &Sample, is_idle: bool) -> Option<Cause> {
        let is_ours = self.memory != Memory::Free || self.row.standing == Standing::Probing;
        let used = sample.memory_used_mib.value().copied().filter(|_| is_idle && !is_ours);
        let Some(used) = used else {
            self.held_samples = 0;
            return None;
        };
        self.row.idle_memory_mib = Some(self.idle_mib().min(used));
        let held_mib = self.held_mib(sample).filter(|held| *held > 0);
        self.held_samples = held_mib.map_or(0, |_| self.held_samples.saturating_add(1));
        held_mib.filter(|_| self.held_samples > 1).map(|held_mib| Cause::MemoryHeld { held_mib })
    }

    /// What the device uses when nothing runs, as far as known. Who lost what was known, and the
    /// device's memory is held, would else learn that this is how it is.
    fn idle_mib(&self) -> u64 {
        self.row.idle_memory_mib.unwrap_or(IDLE_MEMORY_MIB_MAX)
    }

    /// How much more memory is in use than when nothing ran, beyond what drivers vary by; `None`
    /// if that cannot be told.
    pub(super) fn held_mib(&self, sample: &Sample) -> Option<u64> {
        let used = sample.memory_used_mib.value().copied()?;
        let held = used.saturating_sub(self.idle_mib());
        Some(if held > MEMORY_SLACK_MIB { held } else { 0 })
    }
}

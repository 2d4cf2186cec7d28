//! One node's host: its machine while the process lives, and what outlives the process.

use std::collections::{BTreeMap, VecDeque};

use node_core::id::{AssignmentId, RunId};
use node_core::inventory::{Device, DeviceId, DeviceKind};
use node_core::keeper::Keeper;
use node_core::machine::effect::RunSpec;
use node_core::machine::{Machine, MachineConfig};
use node_core::rows::{JournalEntry, Row, Table, Write};
use node_core::unit::{MonoMs, Now, UnixMs};

use crate::gpu::Gpu;
use crate::happening::Happening;
use crate::plan::Character;

/// Wall clocks start here, in November 2023.
pub(crate) const UNIX_START_MS: u64 = 1_700_000_000_000;

/// What the disk holds: whole commits, in order. A commit that was torn by a crash is found and
/// left out when the store opens (`docs/decisions/0003-state-in-sled.md`), so here it is not there.
#[derive(Debug, Default)]
pub struct Disk {
    rows: BTreeMap<(Table, Vec<u8>), Row>,
    journal: Vec<JournalEntry>,
    /// Whether rows were lost and not told again yet.
    pub(crate) is_incomplete: bool,
}

impl Disk {
    /// The store is damaged and moved aside; the journal is a file of its own.
    pub(crate) fn lose_rows(&mut self) {
        self.rows.clear();
        self.is_incomplete = true;
    }

    /// The journal's part of a commit: it is synced before the rows.
    pub(crate) fn commit_journal(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Journal(entry) = write {
                self.journal.push(entry.clone());
            }
        }
    }

    /// The rows of a commit, all of them.
    pub(crate) fn commit_rows(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Put(row) => {
                    self.rows.insert((row.table(), row.key()), row);
                }
                Write::Delete(table, key) => {
                    self.rows.remove(&(table, key));
                }
                Write::CaughtUp => self.is_incomplete = false,
                // Nothing reads it back into the machine.
                Write::Journal(_) | Write::Freeze(_) => {}
            }
        }
    }

    /// Every row.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.rows.values().cloned().collect()
    }

    /// Every line of the journal.
    #[must_use]
    pub fn journal(&self) -> &[JournalEntry] {
        &self.journal
    }

    /// The stored row with this key.
    #[must_use]
    pub fn row(&self, table: Table, key: &[u8]) -> Option<&Row> {
        self.rows.get(&(table, key.to_vec()))
    }

    /// The attempt stored for an assignment; zero if none is.
    #[must_use]
    pub fn attempt(&self, assignment: &AssignmentId) -> u32 {
        match self.row(Table::Leases, &assignment.0) {
            Some(Row::Lease(row)) => row.attempt.0,
            _ => 0,
        }
    }
}

/// A container, with or without a process that minds it.
#[derive(Debug)]
pub struct Container {
    /// What it was started for.
    pub spec: RunSpec,
    /// In which life of the process.
    pub life: u32,
    /// Whether it has ended, and a loop that hangs was not told yet.
    pub has_ended: bool,
    /// Whether who keeps the leases has killed it.
    pub(crate) is_killed: bool,
}

/// A host.
#[derive(Debug)]
pub struct Host {
    /// The node's configuration.
    pub config: MachineConfig,
    /// What is stored.
    pub disk: Disk,
    /// Containers that exist.
    pub containers: BTreeMap<RunId, Container>,
    /// Keeps its leases, as long as the process lives.
    pub keeper: Keeper,
    /// The process, while it lives.
    pub machine: Option<Machine>,
    /// Counts the lives of the process; what an earlier one waited for never arrives.
    pub life: u32,
    /// What kind of worker it is.
    pub character: Character,
    /// How many devices it has.
    pub devices: usize,
    /// In place of CPU slots, if there are any.
    pub gpus: Vec<Gpu>,
    /// Whether it died for good.
    pub is_gone: bool,
    /// Whether its process is stopped: everything that happens to it waits.
    pub is_stalled: bool,
    /// Whether its loop hangs: everything waits for it but the keeping of its leases.
    pub is_hung: bool,
    /// What waits for it, oldest first.
    pub(crate) backlog: VecDeque<Happening>,
    /// Since when its process has been running without a stop.
    pub(crate) awake_since_ms: u64,
    /// Whether it reads no blocks.
    pub(crate) is_blind: bool,
    /// How many blocks behind the finalized one its endpoint is.
    pub(crate) lag_blocks: u64,
    /// How fast its clocks run, parts per million too fast.
    pub(crate) drift_ppm: i64,
    /// How far its wall clock is off.
    pub(crate) wall_offset_ms: i64,
    born_ms: u64,
}

impl Host {
    pub(crate) fn new(config: MachineConfig, character: Character, devices: usize) -> Self {
        Self {
            config,
            disk: Disk::default(),
            containers: BTreeMap::new(),
            keeper: Keeper::default(),
            machine: None,
            life: 0,
            character,
            devices,
            gpus: Vec::new(),
            is_gone: false,
            is_stalled: false,
            is_hung: false,
            backlog: VecDeque::new(),
            awake_since_ms: 0,
            is_blind: false,
            lag_blocks: 0,
            drift_ppm: 0,
            wall_offset_ms: 0,
            born_ms: 0,
        }
    }

    /// Whether its process lives, stopped or not.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    /// A new life with nothing in memory and a stopwatch of its own.
    pub(crate) fn start(&mut self, now_ms: u64) {
        self.life += 1;
        self.machine = Some(Machine::new(self.config.clone()));
        self.keeper = Keeper::default();
        self.born_ms = now_ms;
        self.awake_since_ms = now_ms;
    }

    pub(crate) fn kill(&mut self) {
        self.machine = None;
        self.backlog.clear();
        self.is_stalled = false;
        self.is_hung = false;
    }

    /// What its clocks show.
    #[must_use]
    pub fn now(&self, now_ms: u64) -> Now {
        let lived = i64::try_from(now_ms.saturating_sub(self.born_ms)).unwrap_or(i64::MAX);
        let drifted = lived.saturating_add(lived.saturating_mul(self.drift_ppm) / 1_000_000);
        let unix = (UNIX_START_MS + now_ms).saturating_add_signed(self.wall_offset_ms);
        Now { mono: MonoMs(u64::try_from(drifted).unwrap_or(0)), unix: UnixMs(unix) }
    }

    /// How long `ms` of its own clock take in the world's time, rounded down.
    #[must_use]
    pub fn in_world_ms(&self, ms: u64) -> u64 {
        let rate = u64::try_from(1_000_000 + self.drift_ppm).unwrap_or(1_000_000);
        ms.saturating_mul(1_000_000) / rate.max(1)
    }

    pub(crate) fn inventory(&self) -> Vec<Device> {
        if !self.gpus.is_empty() {
            return self.gpu_inventory();
        }
        let slot = |index| {
            let id = DeviceId(format!("cpu-{index}"));
            Device::new(id, DeviceKind::CpuSlot, "one CPU", 4096)
        };
        (0..self.devices).map(slot).collect()
    }
}

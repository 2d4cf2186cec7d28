//! One node's host: its machine while the process lives, and what outlives the process.

use std::collections::BTreeMap;

use crate::duplicates::Sketch;
use crate::health::observation::{ProbeFigures, ProbeResult, Sample};
use crate::health::tests::sound_sample;
use crate::id::{AssignmentId, ContentDigest, Digest, Hotkey, RunId};
use crate::inventory::{Device, DeviceId, DeviceKind};
use crate::keeper::Keeper;
use crate::machine::effect::{Note, Outcome, RunSpec};
use crate::machine::event::Event;
use crate::machine::{Machine, MachineConfig};
use crate::outcome::Ending;
use crate::rows::{Frozen, JournalEntry, JournalStep, ReceiptRow, Row, Table, Write};
use crate::unit::{MonoMs, Now, UnixMs};

/// What the disk holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    rows: BTreeMap<(Table, Vec<u8>), Row>,
    journal: Vec<JournalEntry>,
    /// Rows were lost, and nobody said yet that they were told again.
    lacks_rows: bool,
    /// In the order in which they came, one of each submission, block and part.
    freezer: Vec<Frozen>,
}

impl Disk {
    /// What was put away, oldest first.
    pub(super) fn freezer(&self) -> &[Frozen] {
        &self.freezer
    }

    /// Journal lines are synced before the rows of the same outcome.
    pub(super) fn commit_journal(&mut self, writes: &[Write]) {
        for write in writes {
            if let Write::Journal(entry) = write {
                self.journal.push(entry.clone());
            }
        }
    }

    pub(super) fn commit_rows(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Put(row) => {
                    self.rows.insert((row.table(), row.key()), row.clone());
                }
                Write::Delete(table, key) => {
                    self.rows.remove(&(*table, key.clone()));
                }
                Write::Freeze(frozen) => {
                    let key = |one: &Frozen| (one.submission, one.at, one.part);
                    self.freezer.retain(|one| key(one) != key(frozen));
                    self.freezer.push((**frozen).clone());
                }
                Write::Journal(_) => {}
                Write::CaughtUp => self.lacks_rows = false,
            }
        }
    }

    /// The store was damaged and moved aside; the journal is a file of its own.
    pub(super) fn lose_rows(&mut self) {
        self.rows.clear();
        self.lacks_rows = true;
    }

    /// As `assay restore` puts a copy back: it lacks what came after it, and says so.
    pub(super) fn put_back(&mut self, copy: &Self) {
        self.clone_from(copy);
        self.lacks_rows = true;
        let Some(last) = self.journal.last().cloned() else { return };
        let step = JournalStep::Restored { since: None, spent: None };
        self.journal.push(JournalEntry { step, ..last });
    }

    pub(super) fn lacks_rows(&self) -> bool {
        self.lacks_rows
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.rows.values().cloned().collect()
    }

    pub(super) fn journal(&self) -> &[JournalEntry] {
        &self.journal
    }

    pub(super) fn lease_attempt(&self, assignment: &AssignmentId) -> u32 {
        match self.rows.get(&(Table::Leases, assignment.0.to_vec())) {
            Some(Row::Lease(row)) => row.attempt.0,
            _ => 0,
        }
    }

    pub(super) fn receipts(&self) -> impl Iterator<Item = &ReceiptRow> {
        self.rows.values().filter_map(|row| {
            let Row::Receipt(row) = row else { return None };
            Some(&**row)
        })
    }

    /// Of what was judged.
    pub(super) fn sketches(&self) -> impl Iterator<Item = (ContentDigest, Sketch)> + '_ {
        self.rows.values().filter_map(|row| {
            let Row::Verdict(row) = row else { return None };
            Some((row.content, row.sketch.clone()?))
        })
    }

    pub(super) fn has_receipt(&self, evidence: &Digest) -> bool {
        self.rows.contains_key(&(Table::Receipts, evidence.0.to_vec()))
    }

    pub(super) fn count(&self, table: Table) -> usize {
        self.rows.keys().filter(|(of, _)| *of == table).count()
    }

    pub(super) fn cursor(&self, peer: &Hotkey) -> Option<u64> {
        match self.rows.get(&(Table::Cursors, peer.0.to_vec())) {
            Some(Row::Cursor(row)) => Some(row.after),
            _ => None,
        }
    }
}

/// Where in the handling of one event the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrashPoint {
    BeforeWrites,
    AfterJournal,
    AfterWrites,
    AfterHalfTheEffects,
    AfterEffects,
}

impl CrashPoint {
    pub(super) const ALL: [Self; 5] = [
        Self::BeforeWrites,
        Self::AfterJournal,
        Self::AfterWrites,
        Self::AfterHalfTheEffects,
        Self::AfterEffects,
    ];
}

#[derive(Debug)]
pub(super) struct Host {
    pub(super) config: MachineConfig,
    pub(super) disk: Disk,
    /// Containers that exist, with or without a process that minds them.
    pub(super) containers: BTreeMap<RunId, RunSpec>,
    /// Everything noted by outcomes that were committed, over all lives.
    pub(super) notes: Vec<Note>,
    /// Every run of this host ends this way, whatever it runs.
    pub(super) run_fault: Option<Ending>,
    /// Every run of this host measures this loss, whatever it runs.
    pub(super) lie_nanonats: Option<u64>,
    /// How far its wall clock is off.
    pub(super) wall_skew_ms: i64,
    /// Whether its process can be reached and reaches others.
    pub(super) is_cut_off: bool,
    /// Stopped and not dead: everything that happens to it waits. Its containers go on.
    pub(super) is_paused: bool,
    /// Its loop hangs: events wait, and only the keeper of its leases goes on.
    pub(super) is_hung: bool,
    /// It sees no new blocks.
    pub(super) is_blind: bool,
    /// Counts the lives of the process; what an earlier one waited for never arrives.
    pub(super) life: u32,
    pub(super) devices: usize,
    /// In place of CPU slots, if there are any.
    pub(super) gpus: Vec<Gpu>,
    /// Keeps its leases, as long as the process lives.
    pub(super) keeper: Keeper,
    machine: Option<Machine>,
    mono_start: u64,
}

/// A GPU as its driver shows it.
#[derive(Clone, Debug)]
pub(super) struct Gpu {
    pub(super) sample: Sample,
    pub(super) probe: ProbeResult,
    pub(super) probes: usize,
}

impl Gpu {
    pub(super) fn sound() -> Self {
        let figures = ProbeFigures {
            took_ms: 900,
            memory_mib: 1_024,
            bandwidth_mb_s: 2_000_000,
            matrix_gflop_s: 50_000,
        };
        Self { sample: sound_sample(), probe: ProbeResult::Right(figures), probes: 0 }
    }
}

pub(super) fn gpu_id(index: usize) -> DeviceId {
    DeviceId(format!("GPU-{index}"))
}

impl Host {
    pub(super) fn new(config: MachineConfig) -> Self {
        Self {
            config,
            disk: Disk::default(),
            containers: BTreeMap::new(),
            notes: Vec::new(),
            run_fault: None,
            lie_nanonats: None,
            wall_skew_ms: 0,
            is_cut_off: false,
            is_paused: false,
            is_hung: false,
            is_blind: false,
            life: 0,
            devices: 1,
            gpus: Vec::new(),
            keeper: Keeper::default(),
            machine: None,
            mono_start: 0,
        }
    }

    pub(super) fn hotkey(&self) -> Hotkey {
        self.config.hotkey
    }

    pub(super) fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    pub(super) fn machine(&self) -> &Machine {
        self.machine.as_ref().expect("the node is up")
    }

    pub(super) fn machine_mut(&mut self) -> &mut Machine {
        self.machine.as_mut().expect("the node is up")
    }

    /// A new life with a stopwatch of its own and nothing in memory.
    pub(super) fn start(&mut self, now_ms: u64) {
        self.life += 1;
        self.machine = Some(Machine::new(self.config.clone()));
        self.keeper = Keeper::default();
        self.mono_start = now_ms - 500;
    }

    pub(super) fn kill(&mut self) {
        self.machine = None;
    }

    pub(super) fn now(&self, now_ms: u64) -> Now {
        let unix = (1_700_000_000_000 + now_ms).saturating_add_signed(self.wall_skew_ms);
        Now { mono: MonoMs(now_ms - self.mono_start), unix: UnixMs(unix) }
    }

    pub(super) fn apply(&mut self, now_ms: u64, event: Event) -> Outcome {
        let now = self.now(now_ms);
        let machine = self.machine.as_mut().expect("the node is up");
        let outcome = machine.apply(now, event);
        assert!(machine.tells_the_truth());
        self.keeper.hold(now.mono, machine.leases_held());
        outcome
    }

    pub(super) fn inventory(&self) -> Vec<Device> {
        if !self.gpus.is_empty() {
            let gpu = |index| Device::new(gpu_id(index), DeviceKind::Gpu, "one GPU", 80_000);
            return (0..self.gpus.len()).map(gpu).collect();
        }
        let slot = |index| {
            let id = DeviceId(format!("cpu-{index}"));
            Device::new(id, DeviceKind::CpuSlot, "one CPU", 4096)
        };
        (0..self.devices).map(slot).collect()
    }

    /// No two containers on one device, and none that the machine has forgotten.
    pub(super) fn check_containers(&self) {
        let Some(machine) = &self.machine else { return };
        let specs = self.containers.values();
        let mut devices: Vec<_> =
            specs.flat_map(|spec| &spec.devices).map(|device| &device.id).collect();
        let taken = devices.len();
        devices.sort_unstable();
        devices.dedup();
        assert_eq!(devices.len(), taken, "two runs share a device");
        for run in self.containers.keys() {
            let is_known =
                machine.runs().any(|known| known.row.run == *run && known.holds_device());
            assert!(is_known, "a container runs that nobody minds: {run}");
        }
    }
}

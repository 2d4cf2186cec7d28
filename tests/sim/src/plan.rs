//! Everything that a seed decides before the first event: sizes, speeds, characters, faults.

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Faults};
use crate::prng::Prng;

/// Nodes in a history, at most. Masks of nodes are 64 bits wide.
pub const NODES_MAX: usize = 16;

/// Submissions in a history, at most.
pub const SUBMISSIONS_MAX: usize = 200;

/// Simulated time that all runs of a history take together on all devices, at most: what keeps
/// large histories short.
const WORK_MS_MAX: u64 = 15 * 60 * 1000;

/// A rule of the product that is switched off on purpose, to see that the simulator notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Coordinators do not see that a request is of an old attempt.
    FencingOff,
    /// Effects are performed before the writes are committed.
    EffectsBeforeCommit,
    /// Workers sign that a coordinator that copies had fixed its result before it was shown theirs.
    CopiesUnmarked,
    /// Who keeps the leases of a loop that hangs stops no run.
    SwitchOff,
    /// A device's memory is taken for free after a run whatever the reading says.
    MemoryTrusted,
}

/// What kind of worker a node is. Its machine is honest in any case: the host around it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Character {
    /// Reports what it measured.
    Honest,
    /// Reports better numbers.
    Liar,
    /// Runs nothing, and reports what it knows of another one's result, or invents one. Tells the
    /// workers of its leases to show their results before enough others are fixed.
    Copier,
}

/// One history, before it happens. The same plan on the same build gives the same history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Source of all chance.
    pub seed: u64,
    /// Validators, each with a node.
    pub nodes: usize,
    /// Submissions, each by a miner of its own.
    pub submissions: usize,
    /// Validators that the policy wants to evaluate each submission.
    pub replicas: u8,
    /// Runs that each node has devices for at once; see [`Self::gang`].
    pub devices: Vec<usize>,
    /// Character of each node's host.
    pub characters: Vec<Character>,
    /// What goes wrong.
    pub faults: Faults,
    /// Milliseconds between blocks.
    pub block_ms: u64,
    /// Milliseconds between a machine's ticks.
    pub tick_ms: u64,
    /// Longest run, milliseconds.
    pub run_ms_max: u64,
    /// For how long things go wrong before everything heals, milliseconds.
    pub storm_ms: u64,
    /// Whether submissions go on to further tiers.
    #[serde(default)]
    pub has_tiers: bool,
    /// What is broken on purpose, if anything is.
    pub broken: Option<Broken>,
    /// Invariants that are not checked.
    pub ignored: Vec<String>,
}

impl Plan {
    /// The plan of this seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let rng = &mut rng;
        let nodes = size(rng, NODES_MAX);
        let submissions = size(rng, SUBMISSIONS_MAX);
        Self::draw_sized(rng, seed, nodes, submissions)
    }

    /// A plan for this seed with exactly this many nodes and submissions.
    #[must_use]
    pub fn of_size(seed: u64, nodes: usize, submissions: usize) -> Self {
        let mut rng = Prng::new(seed);
        Self::draw_sized(&mut rng, seed, nodes, submissions)
    }

    fn draw_sized(rng: &mut Prng, seed: u64, nodes: usize, submissions: usize) -> Self {
        let faults = Faults::draw(rng);
        let replicas = [2, 2, 2, 1, 3][rng.index(5)];
        let devices = devices(rng, nodes, &faults);
        let characters = characters(rng, nodes, &faults);
        let are_honest = characters.iter().all(|own| *own == Character::Honest);
        let all_devices: usize = devices.iter().sum();
        let runs = submissions.max(1) as u64 * u64::from(replicas);
        let work_each = WORK_MS_MAX.saturating_mul(all_devices as u64) / runs;
        // Large histories see fewer, slower blocks and ticks: their cost is in the number of both.
        let is_large = nodes * submissions > 500;
        Self {
            seed,
            nodes,
            submissions,
            replicas,
            devices,
            has_tiers: seed % 8 == 7 && are_honest,
            characters,
            block_ms: if is_large {
                rng.between(24_000, 60_000)
            } else {
                rng.spread(3_000, 24_000)
            },
            tick_ms: if is_large { 2_000 } else { rng.spread(250, 2_000) },
            run_ms_max: rng.spread(4_000, 300_000).min(work_each).max(2_000),
            storm_ms: rng.between(3, if is_large { 12 } else { 20 }) * 60_000,
            faults,
            broken: None,
            ignored: Vec::new(),
        }
    }

    /// The same with this rule of the product switched off.
    #[must_use]
    pub fn breaking(self, broken: Broken) -> Self {
        Self { broken: Some(broken), ..self }
    }

    /// The same without checking the invariant of this name.
    #[must_use]
    pub fn ignoring(mut self, invariant: &str) -> Self {
        self.ignored.push(invariant.to_owned());
        self
    }

    /// The same with this fault at this rate; at zero, without it.
    #[must_use]
    pub fn with(mut self, fault: Fault, rate: u32) -> Self {
        if rate == 0 {
            self.faults.0.remove(&fault);
        } else {
            self.faults.0.insert(fault, rate);
        }
        match fault {
            Fault::Lie => self.forgive(Character::Liar, rate),
            Fault::Copy => self.forgive(Character::Copier, rate),
            _ => {}
        }
        self
    }

    fn forgive(&mut self, character: Character, rate: u32) {
        for own in self.characters.iter_mut().filter(|own| **own == character && rate == 0) {
            *own = Character::Honest;
        }
    }

    /// The same with nothing that goes wrong, and honest hosts.
    #[must_use]
    pub fn calm(self) -> Self {
        let devices = self.devices.iter().map(|devices| (*devices).max(1)).collect();
        let calm = Fault::ALL.iter().fold(self, |plan, fault| plan.with(*fault, 0));
        Self { devices, ..calm }
    }

    /// The same with the best of each window in further tiers, and honest hosts: who goes on is
    /// compared in the end, and a lie that nobody could outvote would decide it.
    #[must_use]
    pub fn with_tiers(self) -> Self {
        let honest = self.with(Fault::Lie, 0).with(Fault::Copy, 0);
        Self { has_tiers: true, ..honest }
    }

    /// The same with a liar on this node.
    #[must_use]
    pub fn with_liar(self, node: usize) -> Self {
        self.with_character(node, Character::Liar)
    }

    /// The same with a copier on this node.
    #[must_use]
    pub fn with_copier(self, node: usize) -> Self {
        self.with_character(node, Character::Copier)
    }

    fn with_character(mut self, node: usize, character: Character) -> Self {
        if let Some(own) = self.characters.get_mut(node) {
            *own = character;
        }
        self
    }

    /// The same with as many replicas of each evaluation.
    #[must_use]
    pub fn with_replicas(self, replicas: u8) -> Self {
        Self { replicas, ..self }
    }

    /// The same without the last node, and without faults that need more.
    #[must_use]
    pub fn without_last_node(mut self) -> Self {
        self.nodes = self.nodes.saturating_sub(1).max(1);
        self.devices.truncate(self.nodes);
        self.characters.truncate(self.nodes);
        let is_useless =
            |(devices, own): (&usize, &Character)| *devices == 0 || *own != Character::Honest;
        // Somebody honest has to be there to measure anything.
        if self.devices.iter().zip(&self.characters).all(is_useless) {
            if let (Some(devices), Some(own)) =
                (self.devices.first_mut(), self.characters.first_mut())
            {
                (*devices, *own) = (1, Character::Honest);
            }
        }
        self
    }

    /// Devices that each run has: several only of GPUs.
    #[must_use]
    pub fn gang(&self) -> u8 {
        if self.has_gpus() && self.seed.is_multiple_of(3) {
            2
        } else {
            1
        }
    }

    /// Whether everything runs on GPUs, in place of CPU slots.
    #[must_use]
    pub fn has_gpus(&self) -> bool {
        self.faults.has(Fault::DeviceFails) || self.faults.has(Fault::MemoryHeld)
    }

    /// Whether every host reports what it measured.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.characters.iter().all(|own| *own == Character::Honest)
    }
}

/// Small is as likely as large, counted in powers.
fn size(rng: &mut Prng, most: usize) -> usize {
    usize::try_from(rng.spread(1, most as u64)).unwrap_or(1)
}

/// The first node always has a device, so that everything can end.
fn devices(rng: &mut Prng, nodes: usize, faults: &Faults) -> Vec<usize> {
    (0..nodes)
        .map(|node| {
            let has_none = node > 0 && rng.happens(faults.rate(Fault::NoDevice), 100);
            if has_none {
                0
            } else {
                rng.index(3) + 1
            }
        })
        .collect()
}

/// At most two are liars, and fewer than half: more could outvote the others. Beside a copier
/// nobody lies: who copies a lie makes two of it, and two that agree are believed. The first two
/// are honest.
fn characters(rng: &mut Prng, nodes: usize, faults: &Faults) -> Vec<Character> {
    let mut left = (nodes.saturating_sub(1) / 2).min(2);
    let mut characters = vec![Character::Honest; nodes];
    for own in characters.iter_mut().skip(2) {
        if left == 0 {
            break;
        }
        if rng.happens(faults.rate(Fault::Lie), 100) {
            *own = Character::Liar;
            left -= 1;
        } else if left == 2 && rng.happens(faults.rate(Fault::Copy), 100) {
            *own = Character::Copier;
            left = 0;
        }
    }
    characters
}

//! Long after a history: every other miner has left the subnet, and processes die while they put
//! the past away. What nothing rests on is forgotten everywhere; what is paid stays as it was.
//!
//! The invariants of the history are over by then: they are about rows that are to go now.

use std::collections::{BTreeMap, BTreeSet};

use node_core::id::{Hotkey, SubmissionId};
use node_core::limits::{FORGET_EVERY_BLOCKS, RETENTION_BLOCKS};
use node_core::machine::Machine;
use node_core::points::points;
use node_core::trial::Trial;
use node_history::Violation;

use crate::invariants::{Breach, PAY_STAYS, THE_PAST_IS_FORGOTTEN};
use crate::world::{miner, World};

/// Leaps of the chain, of almost a day each: after a longer absence nodes wait as ones that are
/// new. Together they are longer than what waits longest, which is two memories and a day.
const LEAPS: usize = 6;
const LEAP_BLOCKS: u64 = RETENTION_BLOCKS - 2 * FORGET_EVERY_BLOCKS;

/// Leaps after which no process dies any more.
const QUIET_LEAPS: usize = 2;

/// Blocks that are read after each leap.
const BLOCKS_AFTER_LEAP: u64 = 6;

/// Times that it is waited for the next look for what may be forgotten, in the end: what had a run
/// at one look is left for the next one.
const LOOKS: usize = 6;

/// Whether the miner of a submission leaves.
fn leaves(submission: usize) -> bool {
    submission.is_multiple_of(2)
}

impl World {
    /// Lets so much time pass that nothing is remembered for its age.
    pub(crate) fn grow_old(&mut self) -> Result<(), Box<Violation>> {
        self.leave_invariants();
        let (paid, mut contested) = (self.pay_of_staying(), self.contested());
        let leaving = (0..self.plan.submissions).filter(|one| leaves(*one)).map(miner).collect();
        self.chain.remove_miners(&leaving);
        let memory = self.hosts[0].config.policy.memory_blocks;
        let longest = 2 * memory + RETENTION_BLOCKS;
        assert!(LEAPS as u64 * LEAP_BLOCKS > longest + RETENTION_BLOCKS, "it waits for too little");
        for leap in 0..LEAPS {
            self.remark(None, || "a day goes by".to_owned());
            self.chain.leap(LEAP_BLOCKS);
            self.read_blocks(BLOCKS_AFTER_LEAP)?;
            if leap + QUIET_LEAPS < LEAPS {
                let node = self.any_node();
                self.kill(node);
                self.start(node)?;
            }
        }
        for _ in 0..LOOKS {
            if self.kept().is_none() {
                break;
            }
            self.read_blocks(FORGET_EVERY_BLOCKS + 2)?;
        }
        contested.append(&mut self.contested());
        self.look_back(&paid, &contested)
    }

    fn read_blocks(&mut self, blocks: u64) -> Result<(), Box<Violation>> {
        let until_ms = self.now_ms + blocks * self.plan.block_ms;
        while self.now_ms < until_ms {
            self.go_on()?;
        }
        Ok(())
    }

    /// A submission whose miner left, and a node that remembers it.
    fn kept(&self) -> Option<(usize, SubmissionId)> {
        self.living_machines().find_map(|(node, machine)| {
            // Stopwatches did not run while years went by: what has to be told to somebody who is
            // gone is not given up yet.
            let is_told = |id: &SubmissionId| {
                !machine.runs().any(|run| run.row.grant.assignment.submission == *id)
            };
            let id = machine.submissions().map(|one| one.id).filter(is_told);
            let mut known = id.filter_map(|id| Some((id, *self.submissions.get(&id)?)));
            known.find(|(_, index)| leaves(*index)).map(|(id, _)| (node, id))
        })
    }

    fn look_back(
        &self,
        paid: &[BTreeMap<Hotkey, u64>],
        contested: &BTreeSet<Hotkey>,
    ) -> Result<(), Box<Violation>> {
        if let Some((node, id)) = self.kept() {
            let detail = format!("node {node} still has {id}, whose miner left long ago");
            let breach = Breach { detail, nodes: vec![node] };
            return Err(self.violation(THE_PAST_IS_FORGOTTEN, breach));
        }
        let now = self.pay_of_staying();
        // More of them may have been decided meanwhile.
        let is_paid = |node: usize, (hotkey, points)| {
            contested.contains(hotkey) || now[node].get(hotkey) == Some(points)
        };
        let differs =
            (0..paid.len()).find(|node| !paid[*node].iter().all(|one| is_paid(*node, one)));
        if let Some(node) = differs {
            let (had, has) = (&paid[node], &now[node]);
            let detail = format!("node {node} would pay {had:?} before, and {has:?} long after");
            return Err(self.violation(PAY_STAYS, Breach { detail, nodes: vec![node] }));
        }
        Ok(())
    }

    fn living_machines(&self) -> impl Iterator<Item = (usize, &Machine)> {
        let hosts = self.hosts.iter().enumerate();
        hosts.filter_map(|(node, host)| Some((node, host.machine.as_ref()?)))
    }

    /// What each node would pay the miners that stay; nothing at a node that is gone.
    fn pay_of_staying(&self) -> Vec<BTreeMap<Hotkey, u64>> {
        let mut paid = vec![BTreeMap::new(); self.hosts.len()];
        for (node, machine) in self.living_machines() {
            let points = machine.points_now().into_iter();
            let stays = (0..self.plan.submissions).filter(|one| !leaves(*one)).map(miner);
            let stays: BTreeSet<Hotkey> = stays.collect();
            paid[node] = points.filter(|(hotkey, _)| stays.contains(hotkey)).collect();
        }
        paid
    }

    /// Miners of whose work results were handed in that do not say the same. Until a majority says
    /// so what they are worth may change at any time.
    fn contested(&self) -> BTreeSet<Hotkey> {
        let mut results: BTreeMap<Trial, Option<u64>> = BTreeMap::new();
        let mut contested = BTreeSet::new();
        for row in self.living_machines().flat_map(|(_, machine)| machine.receipts()) {
            let evidence = &row.receipt.evidence;
            let worth = evidence.metrics.as_ref().and_then(|metrics| points(metrics).ok());
            if *results.entry(evidence.trial()).or_insert(worth) != worth {
                let index = self.submissions.get(&evidence.submission);
                contested.extend(index.map(|index| miner(*index)));
            }
        }
        contested
    }
}

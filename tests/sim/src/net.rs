//! Messages between nodes: lost, late, twice, out of order, or cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::fault::{Fault, Faults};
use crate::happening::Asked;
use crate::prng::Prng;

const LATENCY_MS_MIN: u64 = 5;
const LATENCY_MS_MAX: u64 = 60;

/// Nodes whose messages do not reach others.
#[derive(Debug)]
struct Cut {
    id: u64,
    from: u64,
    to: u64,
}

/// The network.
#[derive(Debug, Default)]
pub(crate) struct Network {
    cuts: Vec<Cut>,
    cuts_made: u64,
    questions_asked: u64,
    /// Questions that have not ended.
    open: BTreeSet<u64>,
    /// Calls that a machine has to answer.
    calls: BTreeMap<u64, Rc<Asked>>,
    calls_made: u64,
}

impl Network {
    pub(crate) fn next_question(&mut self) -> u64 {
        self.questions_asked += 1;
        self.open.insert(self.questions_asked);
        self.questions_asked
    }

    /// Whether the question had not ended before.
    pub(crate) fn end(&mut self, question: u64) -> bool {
        self.open.remove(&question)
    }

    pub(crate) fn open_call(&mut self, asked: Rc<Asked>) -> u64 {
        self.calls_made += 1;
        self.calls.insert(self.calls_made, asked);
        self.calls_made
    }

    pub(crate) fn close_call(&mut self, call: u64) -> Option<Rc<Asked>> {
        self.calls.remove(&call)
    }

    /// What a process that died had to answer is never answered.
    pub(crate) fn drop_calls_to(&mut self, node: usize) {
        self.calls.retain(|_, asked| asked.to != node);
    }

    /// From now on nothing gets from one group to the other. Groups are masks of nodes.
    pub(crate) fn cut(&mut self, from: u64, to: u64) -> u64 {
        self.cuts_made += 1;
        self.cuts.push(Cut { id: self.cuts_made, from, to });
        self.cuts_made
    }

    pub(crate) fn heal(&mut self, id: u64) {
        self.cuts.retain(|cut| cut.id != id);
    }

    pub(crate) fn heal_all(&mut self) {
        self.cuts.clear();
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        let has = |mask: u64, node: usize| mask & (1 << node) != 0;
        self.cuts.iter().any(|cut| has(cut.from, from) && has(cut.to, to))
    }

    /// After how long each copy of a message arrives.
    pub(crate) fn arrivals(
        &self,
        rng: &mut Prng,
        faults: &Faults,
        (from, to): (usize, usize),
    ) -> [Option<u64>; 2] {
        if from == to {
            return [Some(1), None];
        }
        if self.is_cut(from, to) || rng.happens(faults.rate(Fault::Lost), 1_000) {
            return [None, None];
        }
        let first = delay(rng, faults);
        let is_twice = rng.happens(faults.rate(Fault::Duplicated), 1_000);
        let again = is_twice.then(|| first + rng.spread(1, 120_000));
        [Some(first), again]
    }
}

fn delay(rng: &mut Prng, faults: &Faults) -> u64 {
    let latency = rng.between(LATENCY_MS_MIN, LATENCY_MS_MAX);
    if rng.happens(faults.rate(Fault::Late), 1_000) {
        return latency + rng.spread(100, 300_000);
    }
    latency
}

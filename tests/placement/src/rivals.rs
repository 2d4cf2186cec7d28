//! Two simple schedulers, to compare with. They know neither shares nor priorities nor time limits,
//! take jobs in the order of their arrival (a repeated one where it was before), and put them on
//! the host with the fewest free devices that suffice, as ours does.

use std::collections::BTreeMap;

use crate::scheduler::Scheduler;
use crate::trace::{Job, Shape};

/// What a rival does when the first job in the queue does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// All others wait behind it.
    Fifo,
    /// The next one that fits starts, whatever that does to the first.
    Backfill,
}

/// A queue in the order of arrival.
#[derive(Debug)]
pub struct Rival {
    rule: Rule,
    hosts: Vec<Vec<Slot>>,
    waiting: BTreeMap<usize, u8>,
    running: BTreeMap<usize, u8>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: usize,
    job: Option<usize>,
    is_usable: bool,
}

impl Slot {
    fn is_free(&self) -> bool {
        self.is_usable && self.job.is_none()
    }
}

impl Rival {
    /// For the devices of a trace.
    #[must_use]
    pub fn new(rule: Rule, shape: &Shape) -> Self {
        let slot = |number| Slot { number, job: None, is_usable: true };
        let each = shape.devices_per_host;
        let host = |host: usize| (host * each..(host + 1) * each).map(slot).collect();
        let hosts = (0..shape.hosts).map(host).collect();
        Self { rule, hosts, waiting: BTreeMap::new(), running: BTreeMap::new() }
    }

    fn place(&mut self, job: usize, count: u8) -> Option<Vec<usize>> {
        let free = |host: &Vec<Slot>| host.iter().filter(|slot| slot.is_free()).count();
        let hosts = self.hosts.iter_mut().filter(|host| free(host) >= usize::from(count));
        let host = hosts.min_by_key(|host| free(host))?;
        let taken = host.iter_mut().filter(|slot| slot.is_free()).take(count.into());
        let take = |slot: &mut Slot| {
            slot.job = Some(job);
            slot.number
        };
        Some(taken.map(take).collect())
    }

    fn give_back(&mut self, job: usize) {
        for slot in self.hosts.iter_mut().flatten().filter(|slot| slot.job == Some(job)) {
            slot.job = None;
        }
    }
}

impl Scheduler for Rival {
    fn name(&self) -> &'static str {
        match self.rule {
            Rule::Fifo => "FIFO",
            Rule::Backfill => "plain backfill",
        }
    }

    fn submit(&mut self, _now_ms: u64, job: usize, facts: &Job) {
        self.waiting.insert(job, facts.count);
    }

    fn finish(&mut self, _now_ms: u64, job: usize) {
        self.give_back(job);
        self.running.remove(&job).unwrap();
    }

    fn repeat(&mut self, _now_ms: u64, job: usize) {
        self.give_back(job);
        let count = self.running.remove(&job).unwrap();
        self.waiting.insert(job, count);
    }

    fn set_usable(&mut self, _now_ms: u64, device: usize, is_usable: bool) {
        for slot in self.hosts.iter_mut().flatten().filter(|slot| slot.number == device) {
            slot.is_usable = is_usable;
        }
    }

    fn next(&mut self, _now_ms: u64) -> Option<(usize, Vec<usize>)> {
        let free = |host: &Vec<Slot>| host.iter().filter(|slot| slot.is_free()).count();
        let most = self.hosts.iter().map(free).max().unwrap_or(0);
        let fits = |count: &u8| usize::from(*count) <= most;
        let (job, count) = match self.rule {
            Rule::Fifo => self.waiting.first_key_value().filter(|(_, count)| fits(count)),
            Rule::Backfill if most == 0 => None,
            Rule::Backfill => self.waiting.iter().find(|(_, count)| fits(count)),
        }?;
        let (job, count) = (*job, *count);
        self.waiting.remove(&job);
        self.running.insert(job, count);
        Some((job, self.place(job, count)?))
    }
}

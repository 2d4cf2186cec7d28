//! Random histories: requests of all sizes, runs that end early or at their limit, are repeated or
//! cancelled, devices that fail and come back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::build::{gpu_hosts, gpus, unusable, Bench};
use crate::placement::{Condition, Request, ShareId, Ticket};
use crate::unit::MonoMs;

#[derive(Clone, Debug)]
enum Step {
    Submit { share: u16, priority: u8, count: u8, limit_ms: u64 },
    Wait { ms: u64 },
    End { which: usize },
    Repeat { which: usize },
    Cancel { which: usize },
    Fail { host: usize, device: usize },
    Return,
}

fn step() -> impl Strategy<Value = Step> {
    let count = prop_oneof![Just(1u8), Just(1), Just(2), Just(3), Just(4)];
    let submit =
        (0..3u16, 0..=10u8, count, 1..400u64).prop_map(|(share, priority, count, limit_ms)| {
            Step::Submit { share, priority, count, limit_ms }
        });
    prop_oneof![
        6 => submit,
        3 => (1..200u64).prop_map(|ms| Step::Wait { ms }),
        3 => any::<usize>().prop_map(|which| Step::End { which }),
        1 => any::<usize>().prop_map(|which| Step::Repeat { which }),
        1 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        1 => (0..3usize, 0..4usize).prop_map(|(host, device)| Step::Fail { host, device }),
        1 => Just(Step::Return),
    ]
}

/// What is known of each request beside the planner's own account.
struct World {
    bench: Bench,
    /// Runs, and by when they have ended.
    running: BTreeMap<Ticket, MonoMs>,
    waiting: Vec<Ticket>,
    /// By when each reserved request must start.
    promised: BTreeMap<Ticket, MonoMs>,
}

impl World {
    fn new() -> Self {
        let mut bench = Bench::new(gpu_hosts(3, 4));
        bench.planner.set_share(ShareId(1), 5).unwrap();
        let (running, promised) = (BTreeMap::new(), BTreeMap::new());
        Self { bench, running, waiting: Vec::new(), promised }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Submit { share, priority, count, limit_ms } => {
                let share = ShareId(share);
                let request = Request { share, priority, ..gpus(count, limit_ms) };
                let ticket = self.bench.submit_now(request);
                self.waiting.push(ticket);
            }
            Step::Wait { ms } => self.wait(MonoMs(self.bench.now.0 + ms)),
            Step::End { which } => {
                if let Some(ticket) = nth(self.running.keys(), which) {
                    self.end(ticket);
                }
            }
            Step::Repeat { which } => {
                if let Some(ticket) = nth(self.running.keys(), which) {
                    assert!(self.bench.planner.requeue(self.bench.now, ticket));
                    self.running.remove(&ticket);
                    self.waiting.push(ticket);
                }
            }
            Step::Cancel { which } => {
                if let Some(ticket) = nth(self.waiting.iter(), which) {
                    assert!(self.bench.planner.cancel(ticket));
                    self.waiting.retain(|other| *other != ticket);
                    self.promised.remove(&ticket);
                }
            }
            Step::Fail { host, device } => {
                let (host, device) = (format!("h{host}"), format!("h{host}-{device}"));
                self.bench.set_condition(&host, &device, &unusable("failed"));
                // Only here may a promise be put off.
                self.promised.clear();
            }
            Step::Return => {
                let failed: Vec<_> = self.bench.unusable.keys().cloned().collect();
                for (host, device) in failed {
                    self.bench.set_condition(&host.0, &device.0, &Condition::Usable);
                }
            }
        }
        self.decide();
    }

    /// Time passes; every run ends by its limit.
    fn wait(&mut self, until: MonoMs) {
        while let Some(end) = self.running.values().min().copied().filter(|end| *end <= until) {
            self.bench.now = self.bench.now.max(end);
            let ended = self.running.iter().filter(|(_, by)| **by <= end);
            for ticket in ended.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
                self.end(ticket);
            }
            self.decide();
        }
        self.bench.now = until;
    }

    fn end(&mut self, ticket: Ticket) {
        self.bench.finish(ticket);
        self.running.remove(&ticket);
    }

    /// Decides (the plan is checked there), and compares with what was promised.
    fn decide(&mut self) {
        let now = self.bench.now;
        for (ticket, seat) in self.bench.decide() {
            let request = self.bench.requests[&ticket];
            assert_eq!(seat.devices.len(), usize::from(request.needs.count), "a part of a gang");
            self.waiting.retain(|other| *other != ticket);
            self.promised.remove(&ticket);
            self.running.insert(ticket, now.plus_ms(request.limit_ms));
        }
        for kept in self.bench.planner.reservations() {
            let promised = self.promised.entry(kept.ticket).or_insert(kept.start_by);
            assert!(kept.start_by <= *promised, "{} was put off", kept.ticket);
            *promised = kept.start_by;
        }
        for (ticket, start_by) in &self.promised {
            assert!(now < *start_by, "{ticket} should run since {start_by}, it is {now}");
        }
        // Nothing is lost, nothing is there twice.
        let plan = self.bench.planner.plan();
        assert!(plan.runs.keys().eq(self.running.keys()));
        assert_eq!(self.bench.planner.waiting_len(), self.waiting.len());
        self.waiting.sort();
        assert!(self.bench.planner.tickets_waiting().eq(self.waiting.iter().copied()));
        for ticket in self.waiting.iter().take(8) {
            let explained = self.bench.planner.explain(now, *ticket).unwrap();
            let next = crate::placement::WaitsFor::NextDecision;
            assert_ne!(explained.waits_for, next, "{ticket} could run and waits: {explained:?}");
        }
    }
}

fn nth<'a>(tickets: impl Iterator<Item = &'a Ticket>, which: usize) -> Option<Ticket> {
    let all: Vec<_> = tickets.copied().collect();
    all.get(which.checked_rem(all.len())?).copied()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn plans_pass_the_check_nothing_is_lost_and_no_reserved_start_is_put_off(
        steps in prop::collection::vec(step(), 1..150)
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        // And in the end everything runs.
        world.take(Step::Return);
        let mut rounds = 0;
        while !world.waiting.is_empty() {
            let until = MonoMs(world.bench.now.0 + 400);
            world.wait(until);
            rounds += 1;
            prop_assert!(rounds < 200, "{:?} wait for ever", world.waiting);
        }
    }
}

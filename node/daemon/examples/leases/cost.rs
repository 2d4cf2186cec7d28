//! What a lease costs beside many that are open: in the machine alone, and with the store.

use std::path::Path;
use std::time::{Duration, Instant};

use node_core::lease::{LeaseAnswer, PeerAnswer, PeerRequest};
use node_core::machine::effect::{Effect, Outcome};
use node_core::machine::event::{CallId, Event};
use node_core::machine::Machine;
use node_core::rows::Write;
use node_core::unit::{MonoMs, Now, UnixMs};
use node_store::Store;

use crate::world::{acquire_request, receipt, result, worker, World};
use crate::{Failed, Options};

/// Leases measured at each size.
const LEASES: usize = 2_000;

/// Workers that take them.
const WORKERS: usize = 64;

/// Leases that share a commit.
const GROUP: usize = 64;

/// How often each size is measured, with a node of its own each time.
const ROUNDS: usize = 3;

/// The machine with its store, or without.
struct Node {
    machine: Machine,
    store: Option<Store>,
}

pub(crate) fn cost(options: &Options) -> Result<(), Failed> {
    let dir = options.path("--dir")?;
    println!(
        "open | machine, us of CPU time per lease | with the store, us of CPU time | and of time | \
         tick, us | start, ms"
    );
    for open in [1_000, 10_000, 100_000] {
        let world = World::new(open + LEASES, WORKERS)?;
        let (mut in_machine, mut with_store) = (Vec::new(), Vec::new());
        let (mut tick, mut start) = (Duration::ZERO, Duration::ZERO);
        for round in 0..ROUNDS {
            let mut alone = Node::start(&world, None)?;
            let started = Instant::now();
            alone.apply(Event::Ticked)?;
            tick = started.elapsed();
            in_machine.push(alone.measure()?);
            drop(alone);
            let store = world.store(&dir.join(format!("{open}-{round}")))?;
            let started = Instant::now();
            let mut stored = Node::start(&world, Some(store))?;
            start = started.elapsed();
            with_store.push(stored.measure()?);
        }
        let (in_machine, with_store) = (median(in_machine), median(with_store));
        println!(
            "{open} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1}",
            in_machine.cpu,
            with_store.cpu,
            with_store.time,
            tick.as_secs_f64() * 1e6,
            start.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

/// By CPU time; pages that the system clears for the first time double a single one.
fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_unstable_by(|one, other| one.cpu.total_cmp(&other.cpu));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

impl World {
    /// A store with everything that an earlier life stored.
    fn store(&self, dir: &Path) -> Result<Store, Failed> {
        let (store, _) = Store::open(dir)?;
        for rows in self.rows().chunks(GROUP * 32) {
            let writes: Vec<Write> = rows.iter().cloned().map(Write::Put).collect();
            store.commit(&writes)?;
        }
        Ok(store)
    }
}

/// Microseconds per lease.
#[derive(Clone, Copy, Default)]
struct Cost {
    time: f64,
    /// Of this thread: other work on the machine is not in it, and neither are the store's threads.
    cpu: f64,
}

/// A point in time, and what this thread had used of a CPU then.
struct Point(Instant, f64);

impl Point {
    fn now() -> Result<Self, Failed> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
        let nanos = text.split_whitespace().next().ok_or("schedstat is empty")?;
        Ok(Self(Instant::now(), nanos.parse::<f64>()? / 1e3))
    }
}

impl Cost {
    fn add_since(&mut self, Point(started, before): &Point) -> Result<(), Failed> {
        let Point(_, after) = Point::now()?;
        self.time += started.elapsed().as_secs_f64() * 1e6;
        self.cpu += after - before;
        Ok(())
    }
}

impl Node {
    fn start(world: &World, store: Option<Store>) -> Result<Self, Failed> {
        let mut node = Self { machine: world.machine()?, store };
        node.apply(World::restarted(world.rows()))?;
        node.apply(Event::BlockFinalized(Box::new(world.view())))?;
        Ok(node)
    }

    fn decide(&mut self, event: Event) -> Outcome {
        self.machine.apply(Now { mono: MonoMs(1), unix: UnixMs(1_700_000_000_000) }, event)
    }

    fn apply(&mut self, event: Event) -> Result<Outcome, Failed> {
        let outcome = self.decide(event);
        if let Some(store) = &self.store {
            store.commit(&outcome.writes)?;
        }
        Ok(outcome)
    }

    /// What a lease costs that is granted, sealed and completed. Signing is not counted.
    fn measure(&mut self) -> Result<Cost, Failed> {
        let keys = (0..WORKERS).map(worker).collect::<Result<Vec<_>, _>>()?;
        let mut cost = Cost::default();
        for group in 0..LEASES / GROUP {
            let started = Point::now()?;
            let asked = keys.iter().map(|key| {
                let request = PeerRequest::Acquire(acquire_request(1));
                (key.public(), request)
            });
            let granted = self.ask_all(asked.collect())?;
            cost.add_since(&started)?;
            let mut seals = Vec::new();
            let mut receipts = Vec::new();
            for (key, answer) in keys.iter().zip(granted) {
                let PeerAnswer::Acquired(Ok(grants)) = answer else {
                    return Err(format!("no grant in group {group}: {answer:?}").into());
                };
                let grant = grants.first().ok_or("nothing is open")?;
                let (measured, seal) = result(key, grant);
                let receipt = receipt(key, measured);
                seals.push((key.public(), PeerRequest::Seal(Box::new(seal))));
                receipts.push((key.public(), PeerRequest::Complete(Box::new(receipt))));
            }
            let started = Point::now()?;
            self.ask_all(seals)?;
            let completed = self.ask_all(receipts)?;
            cost.add_since(&started)?;
            let accepted = PeerAnswer::Completed(LeaseAnswer::Accepted);
            if completed.iter().any(|answer| *answer != accepted) {
                return Err(format!("a receipt was refused: {completed:?}").into());
            }
        }
        let leases = (LEASES / GROUP * GROUP) as f64;
        Ok(Cost { time: cost.time / leases, cpu: cost.cpu / leases })
    }

    /// Asks everything in one group and commits once.
    fn ask_all(
        &mut self,
        requests: Vec<(node_core::id::Hotkey, PeerRequest)>,
    ) -> Result<Vec<PeerAnswer>, Failed> {
        let mut writes = Vec::new();
        let mut answers = Vec::new();
        for (peer, request) in requests {
            let outcome = self.decide(Event::PeerAsked { call: CallId(0), peer, request });
            writes.extend(outcome.writes);
            answers.extend(outcome.effects.into_iter().filter_map(|effect| match effect {
                Effect::Answer { answer, .. } => Some(answer),
                _ => None,
            }));
        }
        if let Some(store) = &self.store {
            store.commit(&writes)?;
        }
        Ok(answers)
    }
}

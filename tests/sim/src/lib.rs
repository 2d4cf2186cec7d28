//! The simulator: real machines of many nodes in one process, and a world in which everything that
//! can go wrong does. One seed decides everything. See `docs/simulator.md`.
//!
//! [`run`] lives one history and returns what it was like or which invariant it broke;
//! [`record`] does the same and writes a journal, which [`history::Replay`] steps through;
//! [`shrink::shrink`] looks for a smaller history that breaks the same invariant.

mod age;
mod broken;
mod chain;
pub mod fault;
mod gpu;
mod happening;
pub mod host;
pub mod invariants;
mod keys;
pub mod ledger;
mod names;
mod net;
mod perform;
pub mod plan;
mod prng;
pub mod record;
pub mod shrink;
mod snapshot;
mod truth;
mod weather;
mod world;

use std::fmt;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};

use invariants::{Breach, NOTHING_PANICS};
use node_history::{Entry, Header, Line, Violation};
use plan::Plan;
use record::Recorder;
use world::World;

pub use happening::Asked;
pub use node_history as history;
pub use truth::{Fate, Work};
pub use world::{miner, validator, Report};

/// Entries that a failure prints.
const PRINTED_MAX: usize = 40;

/// A history in which an invariant was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The build.
    pub commit: String,
    /// The plan that leads there.
    pub plan: Plan,
    /// What was broken.
    pub violation: Violation,
    /// What happened last on the nodes that it is about; empty unless it was recorded.
    pub last: Vec<Entry>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { invariant, detail, nodes, step, at_ms } = &self.violation;
        let Plan { seed, nodes: all, submissions, faults, broken, .. } = &self.plan;
        writeln!(f, "BROKEN {invariant}: {detail}")?;
        writeln!(f, "commit {}, seed {seed}, step {step}, at {at_ms} ms", self.commit)?;
        writeln!(f, "{all} nodes, {submissions} submissions, broken on purpose: {broken:?}")?;
        writeln!(f, "faults {faults}")?;
        writeln!(f, "about nodes {nodes:?}; what happened last there:")?;
        for entry in &self.last {
            writeln!(f, "{entry}")?;
        }
        Ok(())
    }
}

/// Lives one history.
///
/// # Errors
///
/// The invariant that was broken. The same plan on the same build gives the same result.
pub fn run(plan: &Plan) -> Result<Report, Box<Violation>> {
    live(&mut World::new(plan, None))
}

/// Lives one history, and no further than to this step.
pub(crate) fn run_up_to(plan: &Plan, steps_max: u64) -> Result<Report, Box<Violation>> {
    let mut world = World::new(plan, None);
    world.steps_max = steps_max;
    live(&mut world)
}

/// Lives one history and writes its journal to `sink`, if there is one.
///
/// # Errors
///
/// What [`run`] gives, with what happened last.
pub fn record(
    plan: &Plan,
    commit: &str,
    sink: Option<Box<dyn io::Write>>,
) -> Result<Report, Box<Failure>> {
    let mut recorder = Recorder::new(sink);
    recorder.write(&Line::Began(Header { commit: commit.to_owned(), plan: plan.clone() }));
    let mut world = World::new(plan, Some(recorder));
    let lived = live(&mut world);
    let Some(mut recorder) = world.recorder.take() else {
        return lived.map_err(|violation| failure(plan, commit, *violation, Vec::new()));
    };
    let result = lived.map_err(|violation| {
        recorder.write(&Line::Failed((*violation).clone()));
        let last = recorder.last_of(&violation.nodes, PRINTED_MAX);
        failure(plan, commit, *violation, last)
    });
    // A journal that could not be written is no reason to hide what was found.
    if let (Err(error), Err(failure)) = (recorder.finish(), &result) {
        let mut failure = failure.clone();
        failure.violation.detail.push_str(&format!(" (the journal was not written: {error})"));
        return Err(failure);
    }
    result
}

fn failure(plan: &Plan, commit: &str, violation: Violation, last: Vec<Entry>) -> Box<Failure> {
    Box::new(Failure { commit: commit.to_owned(), plan: plan.clone(), violation, last })
}

/// Lives, and takes a panic for what it is: a broken invariant.
fn live(world: &mut World) -> Result<Report, Box<Violation>> {
    catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().cloned();
        let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let detail = said.unwrap_or_else(|| "without a word".to_owned());
        let nodes = (0..world.plan.nodes).collect();
        Err(world.violation(NOTHING_PANICS, Breach { detail, nodes }))
    })
}

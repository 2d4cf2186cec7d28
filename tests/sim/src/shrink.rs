//! Looks for a smaller history that breaks the same invariant.

use std::time::{Duration, Instant};

use node_history::Violation;

use crate::fault::Fault;
use crate::plan::Plan;
use crate::run_up_to;

/// What became of shrinking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The smallest plan that was found.
    pub plan: Plan,
    /// What it breaks.
    pub violation: Violation,
    /// Histories that were tried.
    pub tries: u64,
}

/// Events that a smaller history may take beyond twice as many as the one to be made smaller.
const STEPS_MORE: u64 = 10_000;

/// How much is spent on looking. A history that is being lived is lived to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Histories to try.
    pub tries_max: u64,
    /// Time to take; none is begun after it.
    pub time_max: Duration,
}

/// Takes away faults, nodes, submissions and time, one by one, as long as the same invariant is
/// broken. Greedy: what is found is small, not smallest. What takes much longer than the history
/// that is to be made smaller is left off.
#[must_use]
pub fn shrink(plan: &Plan, violation: &Violation, effort: Effort) -> Shrunk {
    let begun = Instant::now();
    let mut best = Shrunk { plan: plan.clone(), violation: violation.clone(), tries: 0 };
    let steps_max = violation.step.saturating_mul(2).saturating_add(STEPS_MORE);
    let mut is_smaller = true;
    while is_smaller {
        is_smaller = false;
        for candidate in candidates(&best.plan) {
            if best.tries >= effort.tries_max || begun.elapsed() >= effort.time_max {
                return best;
            }
            best.tries += 1;
            if let Err(found) = run_up_to(&candidate, steps_max) {
                if found.invariant == violation.invariant {
                    (best.plan, best.violation) = (candidate, *found);
                    is_smaller = true;
                    break;
                }
            }
        }
    }
    best
}

/// Smaller plans, those that take most away first.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut smaller = Vec::new();
    let resized = |submissions: usize| Plan { submissions, ..plan.clone() };
    if plan.submissions > 1 {
        smaller.push(resized(plan.submissions / 2));
    }
    if plan.nodes > 1 {
        smaller.push(plan.clone().without_last_node());
    }
    let drawn: Vec<Fault> = plan.faults.0.keys().copied().collect();
    smaller.extend(drawn.into_iter().map(|fault| plan.clone().with(fault, 0)));
    if plan.submissions > 2 {
        smaller.push(resized(plan.submissions - 1));
    }
    if plan.storm_ms > 60_000 {
        smaller.push(Plan { storm_ms: plan.storm_ms / 2, ..plan.clone() });
    }
    smaller
}

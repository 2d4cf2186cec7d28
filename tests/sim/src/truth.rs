//! What each content is worth, and what workers say of it.

use node_core::admission::{Rejection, Rule, Verdict};
use node_core::evidence::{Conduct, Metrics};
use node_core::id::{ContentDigest, DigestBuilder};
use node_core::outcome::Ending;

use crate::plan::Plan;
use crate::prng::Prng;

/// What becomes of a content wherever it is judged and run honestly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It scores; the less, the more.
    Scores {
        /// Its loss.
        nll_nanonats: u64,
    },
    /// Its run ends like this, by its own fault.
    Ends(Ending),
    /// It is not admitted.
    IsRejected,
}

/// A content and what there is to know about it.
#[derive(Clone, Debug)]
pub struct Work {
    /// The content.
    pub content: ContentDigest,
    /// What becomes of it.
    pub fate: Fate,
    /// How long its run takes.
    pub run_ms: u64,
    /// When its miner commits to it.
    pub committed_at_ms: u64,
}

impl Work {
    /// The contents of a history, by submission.
    pub(crate) fn draw_all(plan: &Plan, rng: &mut Prng) -> Vec<Self> {
        let draw = |index: usize| {
            let digest = DigestBuilder::new("sim/content").number(plan.seed).number(index as u64);
            Self {
                content: ContentDigest(digest.finish()),
                fate: fate(rng),
                run_ms: rng.spread(plan.run_ms_max / 20, plan.run_ms_max).max(1_000),
                committed_at_ms: rng.below(plan.storm_ms / 2),
            }
        };
        (0..plan.submissions).map(draw).collect()
    }

    /// What admission says.
    pub(crate) fn verdict(&self) -> Verdict {
        match self.fate {
            Fate::Scores { .. } | Fate::Ends(_) => Verdict::admitted(1, 100),
            Fate::IsRejected => Verdict::Rejected {
                rejection: Rejection::new(Rule::ContractFile, "there is no model.py"),
            },
        }
    }

    /// What an honest run on the host `node` reports.
    pub(crate) fn honest(&self, node: usize) -> (Ending, Option<Metrics>) {
        match &self.fate {
            Fate::Scores { nll_nanonats } => {
                (Ending::Completed, Some(metrics(*nll_nanonats, node)))
            }
            Fate::Ends(ending) => (ending.clone(), None),
            Fate::IsRejected => (Ending::Completed, Some(metrics(1, node))),
        }
    }

    /// What a liar on the host `node` reports: half the loss, or a success that never was.
    pub(crate) fn lie(&self, node: usize) -> (Ending, Option<Metrics>) {
        let nll_nanonats = match &self.fate {
            Fate::Scores { nll_nanonats } => nll_nanonats / 2,
            Fate::Ends(_) | Fate::IsRejected => 150_000_000_000_000,
        };
        (Ending::Completed, Some(metrics(nll_nanonats + node as u64 * 1_000_000_000_000, node)))
    }
}

fn fate(rng: &mut Prng) -> Fate {
    match rng.below(10) {
        0 => Fate::IsRejected,
        1 => Fate::Ends(Ending::NotCausal { batch: 1 }),
        2 => Fate::Ends(Ending::OutOfMemory),
        _ => Fate::Scores { nll_nanonats: 200_000_000_000_000 + rng.below(1 << 48) },
    }
}

/// Numbers with this loss; what depends on the host differs between hosts.
fn metrics(nll_nanonats: u64, node: usize) -> Metrics {
    Metrics {
        sum_nll_nanonats: nll_nanonats,
        covered_bytes: 200_000,
        tokens: 200_000,
        batches: 195,
        bad_batches: 0,
        audits: 5,
        step0_loss_nanonats: 5_545_177_444,
        vocabulary: 256,
        heldout_init_nanobpb: 8_000_000_000,
        heldout_nanobpb: 2_000_000_000,
        last_tenth_nanobpb: 2_000_000_000,
        parameters: 1_000,
        peak_memory_bytes: 1_000_000 + node as u64,
        loss_curve_microbpb: Vec::new(),
        conduct: Conduct::default(),
    }
}

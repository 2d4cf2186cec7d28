//! What must hold after every event, each with a name that a failure prints.
//!
//! An invariant looks at one [`Sight`]: something that was just seen of one node. What a node's
//! rows and runs are changes only by what is seen, so looking at that is looking at everything.
//!
//! Files: `leases` (grants, attempts, runs), `seals`, `results` (receipts, scores), `order` (what
//! comes before what), `agreement` (when all is over).

mod agreement;
mod leases;
mod order;
mod results;
mod seals;

use std::collections::BTreeMap;

use node_core::id::SubmissionId;
use node_core::lease::PeerAnswer;
use node_core::machine::effect::Effect;
use node_core::rows::Write;

use crate::happening::Asked;
use crate::host::Host;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::truth::Work;

pub(crate) use agreement::unfinished;

/// Something that was just seen.
#[derive(Debug)]
pub enum Sight<'a> {
    /// These writes of a node are about to be durable.
    Committed {
        /// Whose.
        node: usize,
        /// What.
        writes: &'a [Write],
        /// The request that led to them, if one did.
        cause: Option<&'a Asked>,
    },
    /// An effect of a node is about to be performed.
    Performing {
        /// Whose.
        node: usize,
        /// What.
        effect: &'a Effect,
        /// Whether the writes of the same outcome are durable.
        is_committed: bool,
    },
    /// An answer leaves a node.
    Answering {
        /// Which node.
        node: usize,
        /// To which question.
        asked: &'a Asked,
        /// What it says.
        answer: &'a PeerAnswer,
    },
    /// An answer reaches whoever asked.
    Delivered {
        /// What was asked.
        asked: &'a Asked,
        /// What the answer is.
        answer: &'a PeerAnswer,
    },
    /// A node has handled an event.
    Handled {
        /// Which node.
        node: usize,
    },
    /// A process starts from what its disk holds.
    Started {
        /// Which node.
        node: usize,
    },
    /// Everything has healed, and has had its time.
    Ended,
}

/// What invariants look at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The plan of this history.
    pub plan: &'a Plan,
    /// Every node's host.
    pub hosts: &'a [Host],
    /// What was seen before.
    pub ledger: &'a Ledger,
    /// What each submission is worth.
    pub works: &'a [Work],
    /// Which submission an id is.
    pub submissions: &'a BTreeMap<SubmissionId, usize>,
    /// The world's time.
    pub now_ms: u64,
}

/// How an invariant is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// In a sentence.
    pub detail: String,
    /// The nodes that it is about.
    pub nodes: Vec<usize>,
}

/// Something that must always hold.
#[derive(Clone, Copy)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub says: &'static str,
    check: fn(&Scene<'_>, &Sight<'_>) -> Result<(), Breach>,
}

impl std::fmt::Debug for Invariant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Invariant {
    pub(crate) fn check(&self, scene: &Scene<'_>, sight: &Sight<'_>) -> Result<(), Breach> {
        (self.check)(scene, sight)
    }
}

/// Broken unless `holds`.
fn ensure(holds: bool, nodes: &[usize], detail: impl FnOnce() -> String) -> Result<(), Breach> {
    if holds {
        Ok(())
    } else {
        Err(Breach { detail: detail(), nodes: nodes.to_vec() })
    }
}

macro_rules! invariants {
    ($($module:ident::$name:ident: $says:literal;)*) => {
        /// Every invariant, cheap ones first.
        pub const INVARIANTS: &[Invariant] = &[$(
            Invariant { name: stringify!($name), says: $says, check: $module::$name },
        )*];
    };
}

invariants! {
    order::effects_follow_their_commit:
        "No effect is performed before the writes of the same outcome are durable.";
    leases::acknowledged_leases_are_kept:
        "A grant that reached its worker is in its coordinator's rows, with at least its attempt.";
    leases::attempts_only_grow:
        "Attempts of an assignment grow at a coordinator, and none is granted twice.";
    leases::one_live_attempt_per_replica:
        "A lease is given to nobody else while its coordinator has promised to keep it.";
    leases::holders_stop_before_others_start:
        "Who cannot renew has stopped its run before the coordinator gives the lease away.";
    leases::one_run_per_device:
        "No two runs share a device.";
    leases::every_run_is_minded:
        "No container runs of which its node does not know.";
    leases::grants_are_run_or_given_back:
        "A grant that reaches its worker is run, or given back at once.";
    order::devices_are_sound:
        "A run begins on a GPU whose memory is free, and which was probed since its last fault.";
    leases::one_replica_per_worker:
        "A coordinator has one validator run one replica of an evaluation at most.";
    leases::leases_are_exhausted_by_losses_only:
        "An assignment is given up exactly when a budget for losses is used up.";
    seals::seals_are_of_their_holders:
        "A seal is stored only for who holds the lease, as it was sent.";
    seals::results_are_shown_after_enough_seals:
        "A result leaves its worker only when as many others are fixed as have to agree with it.";
    results::acknowledged_receipts_are_kept:
        "A receipt whose acknowledgement reached its worker stays in its coordinator's rows.";
    results::results_are_of_live_attempts:
        "A receipt counts only for the grant under which its run was started, while that is held.";
    results::a_replica_counts_once:
        "A coordinator accepts one result for an assignment, and no other afterwards.";
    results::submissions_are_scored_once:
        "A submission that has a result on a node keeps it, unless others agree on another one.";
    results::lies_are_not_scored:
        "No honest node that can evaluate scores what was not measured.";
    results::copies_confirm_nothing:
        "A score rests on enough results that are no copies, unless nobody else can be asked.";
    agreement::receipts_agree:
        "In the end every node has the same measurements of the same workers.";
    agreement::scores_agree:
        "In the end every node has the same results.";
    agreement::scores_are_true:
        "In the end every node has scored what was measured.";
    agreement::vectors_agree:
        "In the end every node would sign the same weights.";
    agreement::tiers_agree:
        "In the end every node has the same submissions in the same tiers.";
}

/// Everything is settled, a bounded time after everything healed.
pub const EVERYTHING_SETTLES: &str = "everything_settles";

/// Long after the end no node remembers what nothing rests on.
pub const THE_PAST_IS_FORGOTTEN: &str = "the_past_is_forgotten";

/// Long after the end every node pays what it paid, where no results contradict each other.
pub const PAY_STAYS: &str = "pay_stays";

/// No event makes a machine panic.
pub const NOTHING_PANICS: &str = "nothing_panics";

/// No machine ends its process by itself.
pub const NOTHING_HALTS: &str = "nothing_halts";

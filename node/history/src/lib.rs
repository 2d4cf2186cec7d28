//! Histories that the simulator recorded: the format of their files, and stepping through them.
//!
//! A file is JSON lines: first what the history is of, then everything that happened, then what was
//! broken, if anything was. The simulator (`tests/sim`) writes it, `assay replay` reads it; this
//! crate is all that both know of it. Everything that happened is told in words, so reading needs
//! nothing of the build that wrote it.

mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

pub use replay::{Filter, Replay, ReplayError, Step, LINE_BYTES_MAX};

/// One line of a file; `P` is the plan, as its writer or its reader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line<P> {
    /// The first one.
    Began(Header<P>),
    /// Something happened.
    Happened(Entry),
    /// The last one, if an invariant was broken.
    Failed(Violation),
}

/// What a history is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<P> {
    /// The build, as its repository names it.
    pub commit: String,
    /// The plan: with the same build it gives the same history.
    pub plan: P,
}

/// What a reader wants to know of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outline {
    /// Source of all chance.
    pub seed: u64,
    /// Validators, each with a node.
    pub nodes: usize,
    /// Submissions.
    pub submissions: usize,
    /// What goes wrong, and how often.
    #[serde(default)]
    pub faults: BTreeMap<String, u32>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// How many events machines had handled then, this one counted.
    pub step: u64,
    /// The world's time.
    pub at_ms: u64,
    /// To which node; to none, if it happened to the world.
    pub node: Option<usize>,
    /// In which life of its process.
    #[serde(default)]
    pub life: u32,
    /// What.
    pub event: String,
    /// Whether a machine handled it.
    #[serde(default)]
    pub is_event: bool,
    /// What was to be stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
    /// What was to be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effects: Vec<String>,
    /// What was to be said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What changed in the node's state, by name; nothing in place of what is gone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub changed: BTreeMap<String, Option<String>>,
    /// The submissions that it is about.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub about: BTreeSet<usize>,
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// Its name.
    pub invariant: String,
    /// How it is broken.
    pub detail: String,
    /// The nodes that it is about.
    pub nodes: Vec<usize>,
    /// The event after which it was noticed, counted from one.
    pub step: u64,
    /// The world's time.
    pub at_ms: u64,
}

impl fmt::Display for Header<Outline> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outline { seed, nodes, submissions, faults } = &self.plan;
        write!(f, "commit {}, seed {seed}, {nodes} nodes, {submissions} submissions", self.commit)?;
        let faults: Vec<String> =
            faults.iter().map(|(fault, rate)| format!("{fault}={rate}")).collect();
        if faults.is_empty() {
            f.write_str(", no faults")
        } else {
            write!(f, ", faults {}", faults.join(" "))
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, at_ms, node, event, writes, effects, notes, changed, .. } = self;
        let (seconds, ms) = (at_ms / 1_000, at_ms % 1_000);
        let whose = node.map_or_else(|| "world".to_owned(), |node| format!("v{node}"));
        write!(f, "#{step} {seconds}.{ms:03}s {whose}: {event}")?;
        for (kind, lines) in [("writes", writes), ("does", effects), ("says", notes)] {
            for line in lines {
                write!(f, "\n    {kind} {line}")?;
            }
        }
        for (name, value) in changed {
            match value {
                Some(value) => write!(f, "\n    {name}: {value}")?,
                None => write!(f, "\n    {name}: gone")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, detail, step, at_ms, .. } = self;
        write!(f, "BROKEN {invariant} at step {step}, {at_ms} ms: {detail}")
    }
}

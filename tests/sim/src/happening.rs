//! What the world has in store, in the order of its time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::rc::Rc;

use node_core::id::RunId;
use node_core::lease::{PeerAnswer, PeerRequest};
use node_core::machine::event::{Event, Question};
use node_core::outcome::Ending;

/// A question on its way; it ends once, with an answer or without.
#[derive(Debug)]
pub struct Asked {
    /// Never used again.
    pub(crate) id: u64,
    /// Who asks.
    pub from: usize,
    /// In which life of its process.
    pub(crate) life: u32,
    /// Who is asked.
    pub to: usize,
    /// What kind of question it is; `None` if who keeps the leases asks, and not the machine.
    pub question: Option<Question>,
    /// What is asked.
    pub request: PeerRequest,
}

/// What happens next.
#[derive(Debug)]
pub(crate) enum Happening {
    /// An adapter of a node reports.
    Reported { node: usize, life: u32, event: Box<Event> },
    /// A node's tick is due.
    Ticked { node: usize, life: u32 },
    /// A block is due.
    BlockDue,
    /// A node reads the finalized block.
    ViewRead { node: usize, life: u32 },
    /// A container ends: by itself, or because it was stopped.
    ContainerExited { node: usize, run: RunId, ending: Option<Ending> },
    /// A request reaches its receiver.
    RequestArrived { asked: Rc<Asked> },
    /// A question ends.
    QuestionEnded { asked: Rc<Asked>, result: Result<Box<PeerAnswer>, &'static str> },
    /// A process is started.
    NodeStarted { node: usize },
    /// A miner commits.
    Committed { submission: usize },
    /// The weather may change.
    WeatherDue,
    /// Sensors are read.
    SensorsDue,
    /// Something that lasts is over.
    Over(Spell),
}

/// Something that lasts for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spell {
    /// Messages between these nodes are cut.
    Cut { id: u64 },
    /// A process is stopped.
    Stall { node: usize, life: u32 },
    /// A loop hangs.
    LoopHang { node: usize, life: u32 },
    /// The chain stands.
    ChainStall,
    /// Finality is behind.
    FinalityLag,
    /// A node reads no blocks, or old ones.
    Blindness { node: usize },
    /// A validator has no permit.
    PermitLost { node: usize },
}

impl Happening {
    /// Whether a loop that hangs would have to do something about it; time and the answers to
    /// renewals are for who keeps its leases.
    pub(crate) fn is_for_the_loop(&self) -> bool {
        match self {
            Self::Ticked { .. } => false,
            Self::QuestionEnded { asked, .. } => asked.question.is_some(),
            _ => true,
        }
    }

    /// To whose process it happens.
    pub(crate) fn node(&self) -> Option<usize> {
        match self {
            Self::Reported { node, .. }
            | Self::Ticked { node, .. }
            | Self::ViewRead { node, .. }
            | Self::ContainerExited { node, .. } => Some(*node),
            Self::RequestArrived { asked } => Some(asked.to),
            Self::QuestionEnded { asked, .. } => Some(asked.from),
            Self::BlockDue
            | Self::NodeStarted { .. }
            | Self::Committed { .. }
            | Self::WeatherDue
            | Self::SensorsDue
            | Self::Over(_) => None,
        }
    }
}

#[derive(Debug)]
struct Due {
    at_ms: u64,
    sequence: u64,
    happening: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    /// The earliest is the greatest: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_ms, other.sequence).cmp(&(self.at_ms, self.sequence))
    }
}

/// Everything that is going to happen; of what is due at the same time, the first that was put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Due>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.heap.push(Due { at_ms, sequence: self.sequence, happening });
    }

    pub(crate) fn next(&mut self) -> Option<(u64, Happening)> {
        self.heap.pop().map(|due| (due.at_ms, due.happening))
    }
}

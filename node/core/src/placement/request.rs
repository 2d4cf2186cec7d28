//! What asks for devices.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::Digest;
use crate::inventory::DeviceKind;
use crate::limits::{GANG_DEVICES_MAX, PRIORITY_MAX, PRIORITY_STEP_MS, RUN_LIMIT_MS_MAX};
use crate::policy::RunLimits;
use crate::unit::MonoMs;

/// A request's name from its submission to its end. The planner counts them up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// A challenge, as far as placement knows it: something that a share of the devices belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShareId(pub u16);

/// What a run must have. Requests with equal needs wait for the same devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Needs {
    /// Kind of its devices.
    pub kind: DeviceKind,
    /// Memory of each of them, MiB, at least.
    pub memory_mib: u64,
    /// How many, 1 to [`GANG_DEVICES_MAX`]. More than one is a gang: all of them on one host and
    /// of one size, at once or not at all.
    pub count: u8,
    /// Image that the host must have; `None` where it does not matter.
    pub image: Option<Digest>,
}

impl Needs {
    /// What runs with these limits must have. A CPU slot must have its part of what the container
    /// may use: with less, an honest submission would run out of it, and that would count against
    /// the submission. A GPU's memory is its own; the container's is the host's.
    #[must_use]
    pub fn of(limits: &RunLimits) -> Self {
        let count = limits.device_count;
        let memory_mib = match limits.device {
            DeviceKind::CpuSlot => limits.memory_mib.div_ceil(u64::from(count.max(1))),
            DeviceKind::Gpu | DeviceKind::MigSlice => limits.device_memory_mib,
        };
        Self { kind: limits.device, memory_mib, count, image: None }
    }
}

/// A run that waits for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The challenge it belongs to.
    pub share: ShareId,
    /// 0 (lowest) to [`PRIORITY_MAX`].
    pub priority: u8,
    /// Since when it waits. Who repeats a run gives the first time, and so it keeps its place.
    pub submitted_at: MonoMs,
    /// What it must have.
    pub needs: Needs,
    /// By when, after its start, it has ended or is ended, ms. Back-fill relies on it.
    pub limit_ms: u64,
    /// Data or model files that it would rather find on the host than fetch.
    pub content: Option<Digest>,
}

/// Why a request cannot even wait.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestRefused {
    /// No device at all, or more than a run may have.
    #[error("a run has 1 to {GANG_DEVICES_MAX} devices, not {count}")]
    Count {
        /// What was asked for.
        count: u8,
    },
    /// There is no such priority.
    #[error("priorities are 0 to {PRIORITY_MAX}, not {priority}")]
    Priority {
        /// What was asked for.
        priority: u8,
    },
    /// It ends never, or too late.
    #[error("a run's time limit is 1 to {RUN_LIMIT_MS_MAX} ms, not {limit_ms}")]
    Limit {
        /// What was asked for, ms.
        limit_ms: u64,
    },
    /// No host has a device of the kind.
    #[error("no host has a device of kind {kind} that runs are placed on")]
    NoneOfKind {
        /// The kind.
        kind: DeviceKind,
    },
    /// All devices of the kind are too small.
    #[error("{wanted_mib} MiB are needed and the largest {kind} has {largest_mib} MiB")]
    TooSmall {
        /// The kind.
        kind: DeviceKind,
        /// Memory that is needed, MiB.
        wanted_mib: u64,
        /// Memory of the largest one, MiB.
        largest_mib: u64,
    },
    /// No host has so many devices of one size that suffices.
    #[error("{wanted} devices are needed and no host has more than {most} that suffice")]
    TooFew {
        /// Devices that are needed.
        wanted: u8,
        /// The most that any host has.
        most: usize,
    },
    /// Too much waits already.
    #[error("{waiting} requests wait already; try again when some have started")]
    QueueFull {
        /// How many.
        waiting: usize,
    },
    /// Too many different needs wait already.
    #[error("{shapes} different needs wait already; try again when some have started")]
    TooManyShapes {
        /// How many.
        shapes: usize,
    },
    /// Too many challenges share the devices.
    #[error("{shares} challenges share the devices already; drop one")]
    TooManyShares {
        /// How many.
        shares: usize,
    },
}

impl Request {
    /// Whether the request makes sense, whatever the fleet is.
    ///
    /// # Errors
    ///
    /// [`RequestRefused::Count`], [`RequestRefused::Priority`] or [`RequestRefused::Limit`].
    pub fn check(&self) -> Result<(), RequestRefused> {
        let count = self.needs.count;
        if count == 0 || count > GANG_DEVICES_MAX {
            return Err(RequestRefused::Count { count });
        }
        if self.priority > PRIORITY_MAX {
            return Err(RequestRefused::Priority { priority: self.priority });
        }
        if self.limit_ms == 0 || self.limit_ms > RUN_LIMIT_MS_MAX {
            return Err(RequestRefused::Limit { limit_ms: self.limit_ms });
        }
        Ok(())
    }

    /// Its place in the queue of its share; the smallest is the first.
    pub(super) fn rank(&self, ticket: Ticket) -> Rank {
        let behind = u64::from(PRIORITY_MAX.saturating_sub(self.priority));
        let head_start_ms = behind.saturating_mul(PRIORITY_STEP_MS);
        Rank { virtual_ms: self.submitted_at.0.saturating_add(head_start_ms), ticket }
    }

    /// When it has ended if it starts now.
    pub(super) fn end_by(&self, now: MonoMs) -> MonoMs {
        now.plus_ms(self.limit_ms)
    }
}

/// A place in the queue: when the request came, later by a step for each priority that it lacks.
///
/// That is ageing without a clock: the order of two requests never changes while they wait, and
/// what comes more than `PRIORITY_MAX` steps later is behind, whatever its priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    virtual_ms: u64,
    pub(super) ticket: Ticket,
}

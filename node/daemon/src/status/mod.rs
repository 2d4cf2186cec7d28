//! What a node says about itself: one value, four faces.
//!
//! ```text
//! machine --describe--> StatusReport --watch--> GET /status, /readyz, /metrics   (`admin`)
//!                                       |
//!                                       +-----> <data_dir>/status.json           (`snapshot`)
//!                                                    |
//! assay status <-- render <-- find <-- the node if it answers, else the snapshot
//! ```
//!
//! Status never lies: it says whose view it is, as of when, and what is wrong first.

mod age;
mod answer;
mod certificate;
mod describe;
mod device;
mod find;
mod funnel;
mod gates;
mod health;
mod journal;
mod lack;
mod past;
mod published;
mod render;
mod report;
#[cfg(test)]
pub(crate) mod sample;
mod schema;
mod snapshot;
mod waits;
mod watch;

pub use age::{clock_time, date_time, grouped, span, unix_now};
pub use answer::{ReportSource, StatusAnswer};
pub use certificate::own_key;
pub(crate) use describe::vectors;
pub use describe::{describe, HostFacts};
pub use device::{DeviceState, DeviceStatus, GpuStatus, HealthStatus, IdleGapStatus};
pub use find::{find, frozen, Found, FoundStatus, NotFound, NotTold};
pub use funnel::{
    ChampionStatus, FamilyStatus, FunnelStatus, HeldStatus, PlaceStatus, ReferenceStatus,
    UnitStatus,
};
pub(crate) use gates::GATE_NEXT_STEP;
pub use health::NodeHealth;
pub use journal::JournalStatus;
pub(crate) use past::decided;
pub use past::{FrozenStatus, OutcomeStatus};
pub use published::PublishedReport;
pub use render::render;
pub(crate) use render::{
    blocks, facts, micro, peers_line, progress, reveal_text, said_of, standing, table, way,
};
pub use report::{
    Answering, AttemptPhase, AttemptStatus, ChainStatus, EvaluationStatus, EventStatus,
    LeaseCounts, MetricsStatus, NodeStatus, PeerStatus, Readiness, ReceiptStatus, RefusalStatus,
    ReopenedStatus, RevealStatus, RunStatus, StatusReport, SubmissionCounts, SubmissionStage,
    SubmissionStatus, WeightsIntent, WeightsStatus, ROWS_MAX, SCHEMA, STALE_MS,
};
pub use schema::{page as schema_page, text as schema_text};
pub use snapshot::{keep_snapshot, SnapshotError};
pub use waits::WaitsFor;
pub use watch::{CheckStatus, EndpointStatus, PendingCommitStatus, WatchStatus};

//! The one door to the container engine: the life of one container and its sandbox profile.
//!
//! ```text
//! Engine::connect -> Engine::create -> Container::start -> Run::finished -> RunReport
//!                       |                  |                  ^
//!                       | profile checked  | supervised by    | Run::stop, or Run dropped
//!                       | on the container | a task of its own|
//! ```
//!
//! A container can be made ahead, for a device and for nobody's run yet: it is started to wait
//! (`Container::start_waiting`), at a [`Gate`] or inside its program. `Waiting::assign` gives it to
//! a run, and only then its wall clock runs.
//!
//! A container whose settings differ from the profile in any way is removed and never started. A
//! started one is killed and removed whatever happens to its [`Run`]; only the death of the whole
//! process leaves one behind, and [`Engine::leftovers`] finds it by its labels.
//!
//! Nothing of the engine's client library appears in a public signature; `convert` is the one
//! place that knows both sides. Not here: what the container computes (`node/evaluator`), which
//! run gets which device and what an ending means for a lease (`node/core`).

mod cgroup;
mod convert;
mod create;
mod endpoint;
mod engine;
mod gate;
mod leftover;
mod output;
mod profile;
mod spec;
mod supervise;
mod teardown;
mod verdict;
mod waiting;

pub use create::{Container, CreateError, StartError};
pub use engine::{Engine, EngineConfig, EngineError, EngineInfo, ImageError};
pub use gate::Gate;
pub use leftover::{Leftover, LeftoverError};
pub use profile::ProfileDifference;
pub use spec::{Owner, ReadOnlyBind, RunLabels, SandboxSpec, SpecRefused};
pub use supervise::{Run, RunReport, Usage};
pub use waiting::Waiting;

use std::time::Duration;

/// How long one request to the engine may take to be answered. Lower: a busy disk fails a create.
/// Higher: a hung engine holds a device for that long before the run is given up.
pub const ENGINE_CALL_MAX: Duration = Duration::from_secs(30);

/// How long the engine may take to answer when the node looks for it.
pub const ENGINE_PING_MAX: Duration = Duration::from_secs(5);
const _: () = assert!(ENGINE_PING_MAX.as_secs() < ENGINE_CALL_MAX.as_secs());

/// Bytes of output kept for the report. Lower: a traceback does not fit. Higher: every run's
/// evidence carries text that nobody reads.
pub const OUTPUT_TAIL_BYTES_MAX: usize = 16 * 1024;

/// What the engine said, or why nothing was heard from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineFault {
    /// It answered with an error.
    #[error("the engine answered {status}: {message}")]
    Answered {
        /// HTTP status.
        status: u16,
        /// Its words.
        message: String,
    },
    /// It did not answer within [`ENGINE_CALL_MAX`].
    #[error("the engine did not answer in time")]
    Silent,
    /// The connection failed or broke, or what came over it was no answer.
    #[error("the connection to the engine failed: {message}")]
    Lost {
        /// What the connection's library said.
        message: String,
    },
}

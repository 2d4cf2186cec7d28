//! The report that several commands show parts of.

use super::runtime::block_on;
use super::ConfigFlags;
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::status::{date_time, find, Found, NotFound, StatusReport};

/// A node's report, and how current it is.
pub(super) struct Asked {
    pub(super) report: StatusReport,
    /// Empty for a node that answers; else a line that says whose word it is.
    pub(super) headline: String,
    pub(super) exit: ExitReason,
}

/// Asks the node that runs with these settings; when none does, reads its last snapshot.
///
/// # Errors
///
/// A [`Failure`] if no node ever ran there.
pub(super) fn ask(flags: &ConfigFlags) -> Result<Asked, Failure> {
    let data_dir = flags.settings().section(DataDir::read).map_err(Failure::bad_configuration)?;
    block_on(look(&data_dir)).map_err(Failure::unexpected)?
}

/// As [`ask`], inside a runtime.
pub(super) async fn look(data_dir: &DataDir) -> Result<Asked, Failure> {
    let found = find(data_dir).await.map_err(no_node)?;
    let as_of = date_time(found.report.as_of);
    let (headline, exit) = match found.found {
        Found::Running => (String::new(), ExitReason::Done),
        Found::NotRunning => {
            (format!("NOT RUNNING  snapshot of {as_of}\n"), ExitReason::NotRunning)
        }
        Found::NotAnswering { address, reason } => (
            format!("NOT ANSWERING  at {address}: {reason}; snapshot of {as_of}\n"),
            ExitReason::NotRunning,
        ),
    };
    Ok(Asked { report: found.report, headline, exit })
}

/// What is said where no node ever ran.
pub(in crate::cli) fn no_node(error: NotFound) -> Failure {
    Failure::new(ExitReason::NotRunning, error)
        .hint("start it with `assay run`, or name its data directory with `--data-dir`")
}

//! The latest report on disk, for when the node does not run.
//!
//! Written to a file beside it and renamed, so that a reader never sees half of one. Not synced:
//! after a power cut an older snapshot is as good, and it says as of when it is.
//!
//! A report that knows a block is only replaced by another one that does: a node that could not
//! start, or waits for its chain, knows less about this directory than the one before it did.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::published::PublishedReport;
use super::report::StatusReport;

/// Time between two writes. Lower: a busy node writes all the time. Higher: what the snapshot
/// says after a crash is older.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Why a snapshot is not on disk.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The report does not serialise.
    #[error("cannot encode the status")]
    Encode(#[source] serde_json::Error),
    /// The file cannot be written.
    #[error("cannot write the status snapshot `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Writes each new report to `path`, at most one per second, until the sender is gone; then the
/// last one, and returns (within a second). Reports without a block do not replace one with a
/// block.
///
/// A failed write is logged once per reason and tried again with the next report: a full disk
/// must not stop a validator.
pub async fn keep_snapshot(mut reports: watch::Receiver<Arc<PublishedReport>>, path: PathBuf) {
    let mut ticks = tokio::time::interval_at(Instant::now(), WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_failure = None;
    let known = path.clone();
    // A task that panicked read nothing.
    let mut knows_block =
        tokio::task::spawn_blocking(move || knows_block(&known)).await.unwrap_or(false);
    reports.mark_changed();
    while reports.changed().await.is_ok() {
        ticks.tick().await;
        let report = reports.borrow_and_update().clone();
        knows_block |= report.chain.is_some();
        if knows_block && report.chain.is_none() {
            continue;
        }
        write_latest(report, &path, &mut last_failure).await;
    }
}

/// Whether the snapshot at `path` is a report that knows a block.
fn knows_block(path: &Path) -> bool {
    let report = std::fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<StatusReport>(&bytes).ok());
    report.is_some_and(|report| report.chain.is_some())
}

async fn write_latest(
    report: Arc<PublishedReport>,
    path: &Path,
    last_failure: &mut Option<String>,
) {
    let target = path.to_path_buf();
    let written = tokio::task::spawn_blocking(move || write(&report, &target)).await;
    let failure = match written {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(crate::failure::Failure::unexpected(error).to_string()),
        Err(error) => Some(error.to_string()),
    };
    if failure != *last_failure {
        if let Some(failure) = &failure {
            tracing::warn!(failure, "status snapshot not written");
        }
        *last_failure = failure;
    }
}

fn write(report: &PublishedReport, path: &Path) -> Result<(), SnapshotError> {
    let failed = |source| SnapshotError::Write { path: path.to_path_buf(), source };
    let json = report.json().map_err(SnapshotError::Encode)?;
    let beside = path.with_extension("json.new");
    std::fs::write(&beside, json).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[tokio::test(start_paused = true)]
    async fn the_last_report_is_on_disk_when_the_sender_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        let mut report = sample::healthy();
        let (sender, receiver) = watch::channel(Arc::new(report.clone().into()));
        let task = tokio::spawn(keep_snapshot(receiver, path.clone()));
        for second in 0..5 {
            report.as_of.0 += second;
            sender.send_replace(Arc::new(report.clone().into()));
            tokio::task::yield_now().await;
        }
        drop(sender);
        task.await.unwrap();
        let written: StatusReport = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(written, report);
    }

    async fn written_after(path: &Path, report: StatusReport) -> StatusReport {
        let (sender, receiver) = watch::channel(Arc::new(report.into()));
        let task = tokio::spawn(keep_snapshot(receiver, path.to_path_buf()));
        drop(sender);
        task.await.unwrap();
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_without_a_block_does_not_replace_one_with_a_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.json");
        let mut starting = sample::starting();
        assert_eq!(written_after(&path, starting.clone()).await, starting);
        starting.as_of.0 += 1;
        assert_eq!(written_after(&path, starting.clone()).await, starting);
        assert_eq!(written_after(&path, sample::healthy()).await, sample::healthy());
        assert_eq!(written_after(&path, starting).await, sample::healthy());
        assert_eq!(written_after(&path, sample::degraded()).await, sample::degraded());
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_cannot_be_written_stops_nothing() {
        let (sender, receiver) = watch::channel(Arc::new(sample::healthy().into()));
        let task = tokio::spawn(keep_snapshot(receiver, PathBuf::from("/proc/none/status.json")));
        tokio::task::yield_now().await;
        drop(sender);
        task.await.unwrap();
    }
}

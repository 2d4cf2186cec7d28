//! What a node does once its start is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::memory;
use crate::status::PublishedReport;

/// How long after it is ready a node has done what only a start does: peers are met, the first
/// blocks read and the first reports written.
const START_ENDS_AFTER: Duration = Duration::from_secs(5);

/// Gives back what only a start needed of the program, once that is over.
pub(crate) async fn give_back_after_start(mut reports: watch::Receiver<Arc<PublishedReport>>) {
    // A node that ends before it is ready has nothing to give back.
    if reports.wait_for(|report| report.ready.ready).await.is_err() {
        return;
    }
    tokio::time::sleep(START_ENDS_AFTER).await;
    match memory::give_back_program() {
        Ok(bytes) => tracing::debug!(bytes, "pages of the program were given back"),
        Err(error) => tracing::debug!(%error, "pages of the program stay in memory"),
    }
}

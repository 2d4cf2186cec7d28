//! `/events`: tells a page that is open in a browser that there is something new.
//!
//! An event `changed` has the time of the newest report as its data, in milliseconds since 1970;
//! the page then reads itself again. The first one comes at once, so nothing is missed between
//! reading a page and listening.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{header, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::{watch, OwnedSemaphorePermit};
use tokio::time::Instant;

use super::PageState;
use crate::status::PublishedReport;

/// Browsers that are told at a time. Lower: an operator with several windows is refused. Higher:
/// whoever reaches the listener holds more of its connections.
pub(super) const LISTENERS_MAX: usize = 32;

/// Least time between two events; a page has to show a change within twice that.
const EVENT_EVERY: Duration = Duration::from_secs(1);

/// Time after which a silent connection gets a comment, so that nobody on the way ends it.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

/// Seconds after which who was refused may ask again.
const AGAIN_AFTER_S: &str = "10";

pub(super) async fn events(State(state): State<PageState>) -> Response {
    let Ok(permit) = Arc::clone(&state.listeners).try_acquire_owned() else {
        let message = "too many pages listen; this one shows what was when it was read\n";
        let again = [(header::RETRY_AFTER, AGAIN_AFTER_S)];
        return (StatusCode::SERVICE_UNAVAILABLE, again, message).into_response();
    };
    let heartbeat = KeepAlive::new().interval(HEARTBEAT_EVERY);
    Sse::new(changes(state.reports, permit)).keep_alive(heartbeat).into_response()
}

/// One who listens.
struct Listener {
    reports: watch::Receiver<Arc<PublishedReport>>,
    told_at: Option<Instant>,
    /// Given back when the connection ends.
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// Waits for the next report to tell of; `None` once nobody writes any more.
    async fn next(&mut self) -> Option<Event> {
        if let Some(told_at) = self.told_at {
            tokio::time::sleep_until(told_at + EVENT_EVERY).await;
            self.reports.changed().await.ok()?;
        }
        self.told_at = Some(Instant::now());
        let as_of = self.reports.borrow_and_update().as_of;
        Some(Event::default().event("changed").data(as_of.to_string()))
    }
}

fn changes(
    reports: watch::Receiver<Arc<PublishedReport>>,
    permit: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let listener = Listener { reports, told_at: None, _permit: permit };
    stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok(event), listener))
    })
}

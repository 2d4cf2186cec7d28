//! Tells the service manager how the node is: that it is ready, that its loop lives, that it stops,
//! and one line for `systemctl status`. systemd's protocol; nothing where nobody listens.
//!
//! A start and a stop take as long as they take: the chain may be away for hours, and a run may need
//! its grace. So the manager is asked for more time as long as the node is on its way, and may have
//! short limits for one that hangs.

use std::time::Duration;

use node_core::unit::UnixMs;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::clock::unix_now;
use crate::status::{StatusReport, STALE_MS};

/// Time between two messages. Lower: messages without news. Higher: a watchdog of a few seconds
/// takes a living node for a dead one.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How much more time is asked for with each message. Higher: a node that hangs on its way is
/// ended later.
const MORE_TIME: Duration = Duration::from_secs(30);

/// What the manager was told.
#[derive(Debug, Default)]
struct Told {
    ready: bool,
    stopping: bool,
    line: String,
}

/// What there is to tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// It does its work for the first time.
    ready: bool,
    /// It was asked to stop.
    stopping: bool,
    /// Its loop lives.
    alive: bool,
    /// It needs more time to start or to stop.
    more_time: bool,
    /// Another line than before.
    line: Option<String>,
}

/// Tells the service manager until the reports end, if this process was started by one.
pub(super) async fn tell_manager(mut reports: watch::Receiver<StatusReport>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Told::default();
    while reports.has_changed().is_ok() {
        ticks.tick().await;
        let news = told.news(&reports.borrow_and_update(), unix_now());
        if let Err(error) = send(&news) {
            tracing::warn!(%error, "the service manager cannot be told how the node is");
            return;
        }
    }
}

impl Told {
    fn news(&mut self, report: &StatusReport, now: UnixMs) -> News {
        let is_alive = report.age_ms(now) <= STALE_MS;
        let is_ready = report.readiness_at(now).ready;
        let is_stopping = report.node.is_stopping;
        let line = line(report, now);
        let news = News {
            ready: is_ready && !self.ready,
            stopping: is_stopping && !self.stopping,
            // Before it is ready nobody watches; what hangs on its way out is not alive either.
            alive: is_alive && (self.ready || is_ready),
            more_time: is_stopping && is_alive || !(self.ready || is_ready),
            line: (line != self.line).then(|| line.clone()),
        };
        *self =
            Self { ready: self.ready || is_ready, stopping: self.stopping || is_stopping, line };
        news
    }
}

/// How it stands, for people.
fn line(report: &StatusReport, now: UnixMs) -> String {
    let health = report.health_at(now).name();
    let word = if report.node.is_stopping { "stopping" } else { health };
    let reasons = report.readiness_at(now).reasons;
    match (reasons.first(), report.weights.last_landed.as_ref()) {
        (Some(reason), _) => format!("{word}: {reason}"),
        (None, Some(landed)) => format!("{word}, epoch {} landed", landed.epoch.0),
        (None, None) => word.to_owned(),
    }
}

fn send(news: &News) -> std::io::Result<()> {
    let more_us = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
    let states: Vec<NotifyState<'_>> = [
        news.ready.then_some(NotifyState::Ready),
        news.stopping.then_some(NotifyState::Stopping),
        news.alive.then_some(NotifyState::Watchdog),
        news.more_time.then_some(NotifyState::ExtendTimeoutUsec(more_us)),
        news.line.as_deref().map(NotifyState::Status),
    ]
    .into_iter()
    .flatten()
    .collect();
    if states.is_empty() {
        return Ok(());
    }
    sd_notify::notify(&states)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn a_manager_is_told_once_that_a_node_is_ready_and_with_every_look_that_it_lives() {
        let mut told = Told::default();
        let starting = sample::starting();
        let news = told.news(&starting, starting.as_of);
        assert!(news.more_time && !news.ready && !news.alive, "{news:?}");
        assert!(news.line.is_some_and(|line| line.starts_with("degraded: ")));
        assert_eq!(told.news(&starting, starting.as_of).line, None, "said once");

        let mut report = sample::healthy();
        let news = told.news(&report, report.as_of);
        assert!(news.ready && news.alive && !news.more_time, "{news:?}");
        assert_eq!(news.line.as_deref(), Some("healthy, epoch 13367 landed"));
        let again = told.news(&report, report.as_of);
        assert_eq!(again, News { alive: true, ..News::default() });
        let hangs = UnixMs(report.as_of.0 + STALE_MS + 1);
        assert!(!told.news(&report, hangs).alive, "the watchdog bites");

        report.node.is_stopping = true;
        let news = told.news(&report, report.as_of);
        assert!(news.stopping && news.more_time && news.alive, "{news:?}");
        assert!(!told.news(&report, report.as_of).stopping);
        let hangs = told.news(&report, hangs);
        assert!(!hangs.more_time && !hangs.alive, "{hangs:?}");
    }

    #[test]
    fn a_node_that_was_ready_and_is_not_now_stays_watched() {
        let mut told = Told::default();
        let report = sample::healthy();
        told.news(&report, report.as_of);
        let degraded = sample::degraded();
        let news = told.news(&degraded, degraded.as_of);
        assert!(news.alive && !news.more_time && !news.ready, "{news:?}");
        assert!(news.line.is_some_and(|line| line.starts_with("degraded: ")));
    }
}

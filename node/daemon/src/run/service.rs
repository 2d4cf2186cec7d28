//! Tells the service manager how the node is: that it is ready, that its loop lives, that it stops,
//! and one line for `systemctl status`. systemd's protocol; nothing where nobody listens.
//!
//! A start and a stop take as long as they take: the chain may be away for hours, and a run may
//! need its grace. So the manager is asked for more time as long as the node is on its way, and may
//! have short limits for one that hangs. It has started once its loop lives and knows a block: what
//! else keeps it from its work is in the line, and no reason for a start to be waited for.

use std::sync::Arc;
use std::time::Duration;

use node_core::unit::UnixMs;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::clock::unix_now;
use crate::status::{PublishedReport, StatusReport};

/// Time between two messages. Lower: messages without news. Higher: a watchdog of a few seconds
/// takes a living node for a dead one.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Age of a report at which the loop does not count as alive. It reports every second. Lower: a
/// slow disk looks like a hanging node. Higher: one that hangs is ended later.
const ALIVE_MS: u64 = 30_000;

/// How much more time is asked for with each message. Higher: a node that hangs while it stops is
/// ended later.
const MORE_TIME: Duration = Duration::from_secs(30);

/// What the manager was told.
#[derive(Debug, Default)]
struct Told {
    started: bool,
    stopping: bool,
    line: String,
}

/// What there is to tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    /// It has started.
    started: bool,
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
pub(super) async fn tell_manager(mut reports: watch::Receiver<Arc<PublishedReport>>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Told::default();
    let mut has_failed = false;
    while reports.has_changed().is_ok() {
        ticks.tick().await;
        let news = told.news(&reports.borrow_and_update(), unix_now());
        let sent = send(&news);
        if let (Err(error), false) = (&sent, has_failed) {
            tracing::warn!(%error, "the service manager cannot be told how the node is");
        }
        has_failed = sent.is_err();
    }
}

impl Told {
    fn news(&mut self, report: &StatusReport, now: UnixMs) -> News {
        let is_alive = report.age_ms(now) <= ALIVE_MS;
        let has_started = self.started || (is_alive && report.chain.is_some());
        let is_stopping = report.node.is_stopping;
        let line = line(report, now);
        let news = News {
            started: has_started && !self.started,
            stopping: is_stopping && !self.stopping,
            // Before it has started nobody watches; what hangs on its way out is not alive either.
            alive: is_alive && has_started,
            more_time: is_stopping && is_alive || !has_started,
            line: (line != self.line).then(|| line.clone()),
        };
        *self = Self { started: has_started, stopping: self.stopping || is_stopping, line };
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
        news.started.then_some(NotifyState::Ready),
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
    fn a_manager_is_told_once_that_a_node_has_started_and_with_every_look_that_it_lives() {
        let mut told = Told::default();
        let starting = sample::starting();
        let news = told.news(&starting, starting.as_of);
        assert!(news.more_time && !news.started && !news.alive, "{news:?}");
        assert!(news.line.is_some_and(|line| line.starts_with("degraded: ")));
        assert_eq!(told.news(&starting, starting.as_of).line, None, "said once");

        let mut report = sample::healthy();
        let news = told.news(&report, report.as_of);
        assert!(news.started && news.alive && !news.more_time, "{news:?}");
        assert_eq!(news.line.as_deref(), Some("healthy, epoch 13367 landed"));
        let again = told.news(&report, report.as_of);
        assert_eq!(again, News { alive: true, ..News::default() });
        let hangs = UnixMs(report.as_of.0 + ALIVE_MS + 1);
        assert!(!told.news(&report, hangs).alive, "the watchdog bites");

        report.node.is_stopping = true;
        let news = told.news(&report, report.as_of);
        assert!(news.stopping && news.more_time && news.alive, "{news:?}");
        assert!(!told.news(&report, report.as_of).stopping);
        let hangs = told.news(&report, hangs);
        assert!(!hangs.more_time && !hangs.alive, "{hangs:?}");
    }

    #[test]
    fn a_node_that_follows_the_chain_has_started_though_something_keeps_it_from_its_work() {
        let mut told = Told::default();
        let degraded = sample::degraded();
        let news = told.news(&degraded, degraded.as_of);
        assert!(news.started && news.alive && !news.more_time, "{news:?}");
        assert!(news.line.is_some_and(|line| line.starts_with("degraded: ")));
    }
}

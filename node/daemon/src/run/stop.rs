//! Signals and the way out: first, take nothing new; second, stop what runs; third, leave.
//! SIGINT and SIGTERM behave the same.

use std::time::{Duration, Instant};

use node_core::machine::event::Event;
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::mpsc;

use crate::exit::ExitReason;

/// How long stopped runs may take to be removed and given back.
const HAND_BACK: Duration = Duration::from_secs(15);

/// A signal arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopStep;

/// Where the node is on its way out.
#[derive(Debug)]
pub(crate) struct Stopping {
    grace: Duration,
    signals: u32,
    grace_ends: Option<Instant>,
    hand_back_ends: Option<Instant>,
}

impl Stopping {
    pub(crate) fn new(grace: Duration) -> Self {
        Self { grace, signals: 0, grace_ends: None, hand_back_ends: None }
    }

    /// What a signal means now; `None`: leave at once.
    pub(crate) fn on_signal(&mut self, StopStep: StopStep) -> Option<Event> {
        self.signals = self.signals.saturating_add(1);
        match self.signals {
            1 => {
                tracing::info!(grace_s = self.grace.as_secs(), "stopping: nothing new is taken");
                self.grace_ends = Some(Instant::now() + self.grace);
                Some(Event::StopRequested)
            }
            2 => Some(self.force("second signal")),
            _ => None,
        }
    }

    /// What passing time means.
    pub(crate) fn on_tick(&mut self) -> Option<Event> {
        let is_over = self.grace_ends.is_some_and(|end| Instant::now() >= end);
        (is_over && self.hand_back_ends.is_none()).then(|| self.force("the grace is over"))
    }

    fn force(&mut self, why: &str) -> Event {
        tracing::warn!(why, "stopping what runs");
        self.hand_back_ends = Some(Instant::now() + HAND_BACK);
        Event::StopForced
    }

    /// With what the process ends now, if it does.
    pub(crate) fn exit(&self, is_idle: bool) -> Option<ExitReason> {
        self.grace_ends?;
        match self.hand_back_ends {
            None => is_idle.then_some(ExitReason::Done),
            Some(end) => (is_idle || Instant::now() >= end).then_some(ExitReason::GraceRanOut),
        }
    }
}

/// Forwards SIGINT and SIGTERM.
///
/// # Errors
///
/// If the handlers cannot be installed.
pub(crate) fn listen() -> std::io::Result<mpsc::Receiver<StopStep>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if sender.send(StopStep).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_node_leaves_at_the_first_signal_and_a_busy_one_does_not() {
        let mut stopping = Stopping::new(Duration::from_secs(60));
        assert_eq!(stopping.exit(true), None, "nobody asked");
        assert_eq!(stopping.on_signal(StopStep), Some(Event::StopRequested));
        assert_eq!(stopping.exit(false), None);
        assert_eq!(stopping.exit(true), Some(ExitReason::Done));
    }

    #[test]
    fn the_second_signal_stops_runs_and_the_third_leaves() {
        let mut stopping = Stopping::new(Duration::from_secs(60));
        stopping.on_signal(StopStep);
        assert_eq!(stopping.on_signal(StopStep), Some(Event::StopForced));
        assert_eq!(stopping.exit(true), Some(ExitReason::GraceRanOut));
        assert_eq!(stopping.on_signal(StopStep), None);
    }

    #[test]
    fn a_grace_of_zero_stops_runs_at_the_next_tick_once() {
        let mut stopping = Stopping::new(Duration::ZERO);
        stopping.on_signal(StopStep);
        assert_eq!(stopping.on_tick(), Some(Event::StopForced));
        assert_eq!(stopping.on_tick(), None);
    }
}

//! `assay status --watch` in a terminal: the same report as a live picture.
//!
//! - `app`: what is shown and what keys do. Pure.
//! - `view`: how it is drawn. Pure: a report and a size give a picture.
//!
//! Here: the terminal, the keys and the second hand. The terminal is put back whatever happens.

mod app;
mod view;

use std::io::IsTerminal as _;
use std::time::Duration;

use crossterm::event::{self, Event, KeyEventKind};
use ratatui::layout::{Position, Rect};
use tokio::signal::unix::{signal, SignalKind};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use self::app::{App, Next};
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::status::{find, unix_now, FoundStatus, NotFound};

/// Time between two looks at the node.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Longest wait for a key before it is seen whether the dashboard is over.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Keys that wait to be read; more are not typed faster than they are handled.
const KEYS_QUEUED_MAX: usize = 16;

/// Whether there is a terminal to draw on and to type in.
pub(super) fn is_possible() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Shows the node of this data directory until it is left.
///
/// # Errors
///
/// A [`Failure`] if the terminal cannot be used.
pub(super) async fn show(data_dir: &DataDir) -> Result<ExitReason, Failure> {
    // Each ends a process without asking, which would leave the terminal as it is then.
    let mut terminated = signal(SignalKind::terminate()).map_err(Failure::unexpected)?;
    let mut hung_up = signal(SignalKind::hangup()).map_err(Failure::unexpected)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Failure::unexpected)?;
    let mut terminal = ratatui::try_init().map_err(Failure::unexpected)?;
    let shown = tokio::select! {
        shown = follow(&mut terminal, data_dir) => shown,
        _ = terminated.recv() => Ok(ExitReason::LeftAtOnce),
        _ = hung_up.recv() => Ok(ExitReason::LeftAtOnce),
        _ = interrupted.recv() => Ok(ExitReason::LeftAtOnce),
    };
    ratatui::restore();
    shown
}

async fn follow(
    terminal: &mut ratatui::DefaultTerminal,
    data_dir: &DataDir,
) -> Result<ExitReason, Failure> {
    let mut keys = read_keys();
    let mut seen = look(data_dir.clone());
    let mut app = App::default();
    loop {
        let next = tokio::select! {
            Some(found) = seen.recv() => {
                app.seen(found);
                Next::Stay
            }
            Some(event) = keys.recv() => match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => app.pressed(key),
                Event::Resize(..) => {
                    forget_the_screen(terminal)?;
                    Next::Stay
                }
                _ => Next::Stay,
            },
        };
        if next == Next::Leave {
            return Ok(ExitReason::Done);
        }
        terminal
            .draw(|frame| view::draw(frame, &mut app, unix_now()))
            .map_err(Failure::unexpected)?;
    }
}

/// Has the next picture drawn from nothing. A window that was small for a moment has lost what
/// stood outside, though it is as large as before by the time that its size is asked for.
fn forget_the_screen(terminal: &mut ratatui::DefaultTerminal) -> Result<(), Failure> {
    let size = terminal.size().map_err(Failure::unexpected)?;
    terminal.resize(Rect::from((Position::ORIGIN, size))).map_err(Failure::unexpected)
}

/// What the node says, every so often, until the receiver is gone. A task of its own: a node that
/// hangs keeps nobody from leaving.
fn look(data_dir: DataDir) -> mpsc::Receiver<Result<FoundStatus, NotFound>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let found = find(&data_dir).await;
            if sender.send(found).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// What is typed, until the receiver is gone. A thread of its own: reading a terminal blocks.
fn read_keys() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(KEYS_QUEUED_MAX);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(KEY_WAIT).and_then(|is_there| is_there.then(event::read).transpose())
            {
                Ok(Some(event)) => drop(sender.blocking_send(event)),
                Ok(None) => {}
                // The terminal is gone; who shows it ends by itself.
                Err(_) => return,
            }
        }
    });
    receiver
}

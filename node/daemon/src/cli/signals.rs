//! SIGINT and SIGTERM, which are the same to a command that has something to put away first.

use std::io;

use tokio::signal::unix::{signal, Signal, SignalKind};

/// Both signals. From here on neither ends the process by itself.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens for both. On a runtime only.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(super) fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one. Can be cancelled: one that came since is not lost.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

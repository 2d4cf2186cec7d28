//! A container that was started ahead of its run and waits for it.
//!
//! Nothing of a submission is in it: what waits is the node's own program in the node's own image,
//! or not even that, at a [`crate::Gate`]. It serves one run and is removed with it, as every
//! container.

use bollard::Docker;
use node_core::id::RunId;
use tokio::sync::watch;

use crate::create::{rename, CreateError};
use crate::supervise::{self, Run, RunReport, Watched};

/// A running container that belongs to nobody yet. Dropping it ends and removes it in the
/// background.
#[derive(Debug)]
pub struct Waiting {
    docker: Docker,
    id: String,
    begin: watch::Sender<bool>,
    run: Run,
}

impl Waiting {
    pub(crate) fn new(docker: Docker, id: String, watched: Watched) -> Self {
        let (begin, begun) = watch::channel(false);
        Self { docker, id, begin, run: supervise::spawn(watched.waits_for(begun)) }
    }

    /// The engine's name for it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it has ended already, for whatever reason: it is of no use then.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.run.has_ended()
    }

    /// Waits until it has ended and is removed, for whatever reason. Can be cancelled and asked
    /// again.
    pub async fn finished(&mut self) -> RunReport {
        self.run.finished().await
    }

    /// Gives it to a run: it is found by the run's name, and the wall clock runs, from here on.
    ///
    /// # Errors
    ///
    /// [`CreateError::AlreadyExists`] or [`CreateError::Engine`]; the container is ended and
    /// removed in the background.
    pub async fn assign(self, run: &RunId) -> Result<Run, CreateError> {
        rename(&self.docker, &self.id, run).await?;
        self.begin.send_replace(true);
        Ok(self.run)
    }

    /// Ends and removes it, and waits until it is gone.
    pub async fn remove(mut self) {
        self.run.stop(None);
        self.run.finished().await;
    }
}

//! Containers of this node that outlived the process that started them.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptions;
use node_core::id::{Attempt, RunId};

use crate::engine::Engine;
use crate::{convert, teardown, EngineFault};

/// A container with this node's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Whose run it was; `None` if neither its label nor its name tells, as of one that was made
    /// ahead and given to no run.
    pub run: Option<RunId>,
    /// Whether it was made ahead of its run.
    pub is_ahead: bool,
    /// Under which attempt; `None` if its label cannot be read.
    pub attempt: Option<Attempt>,
    /// The engine's name for it.
    pub container_id: String,
    /// Whether it still runs.
    pub running: bool,
}

/// Why leftovers could not be listed or removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeftoverError {
    /// The list could not be had.
    #[error("cannot list containers")]
    List {
        /// Why.
        #[source]
        source: EngineFault,
    },
    /// One could not be removed; it may still run.
    #[error("cannot remove container {container_id}")]
    Remove {
        /// Which.
        container_id: String,
        /// Why.
        #[source]
        source: EngineFault,
    },
}

impl Engine {
    /// Every container with this node's label, whatever its state, and so also those of runs that
    /// this process supervises: ask before the first start.
    ///
    /// # Errors
    ///
    /// [`LeftoverError::List`] if the engine does not answer.
    pub async fn leftovers(&self) -> Result<Vec<Leftover>, LeftoverError> {
        let label = format!("{}={}", convert::LABEL_NODE, self.node());
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        let listed = self.docker().list_containers(Some(options)).await;
        let listed =
            listed.map_err(|error| LeftoverError::List { source: convert::fault(error) })?;
        Ok(listed.into_iter().filter_map(convert::leftover).collect())
    }

    /// Kills the container of a run, whoever supervises it, and does not wait for its end; its
    /// supervisor removes it. Harmless if there is none. `true` if it was running until then.
    ///
    /// The call has a connection of its own, on the caller's runtime: it works while the runtime
    /// that started the run hangs.
    ///
    /// # Errors
    ///
    /// [`EngineFault`] if the engine refused or does not answer.
    pub async fn kill(&self, run: &RunId) -> Result<bool, EngineFault> {
        teardown::kill(self.docker(), &convert::container_name(run)).await
    }

    /// Kills and removes a leftover. Repeating it changes nothing.
    ///
    /// # Errors
    ///
    /// [`LeftoverError::Remove`] if the engine refused or does not answer.
    pub async fn remove_leftover(&self, leftover: &Leftover) -> Result<(), LeftoverError> {
        let container_id = &leftover.container_id;
        teardown::remove(self.docker(), container_id)
            .await
            .map_err(|source| LeftoverError::Remove { container_id: container_id.clone(), source })
    }
}

//! Ending a container for good: kill, then remove with everything it made.
//!
//! Both are harmless when repeated and when the container is already gone.

use std::time::Duration;

use bollard::query_parameters::{KillContainerOptions, RemoveContainerOptions};
use bollard::Docker;

use crate::{convert, EngineFault};

/// Tries to remove a container before it is left for the next start of the node.
const REMOVE_TRIES_MAX: u32 = 3;

/// Pause before the second try; doubled before each further one.
const REMOVE_PAUSE: Duration = Duration::from_millis(200);

/// Sends SIGKILL. `true` if the container was running until then.
pub(crate) async fn kill(docker: &Docker, id: &str) -> Result<bool, EngineFault> {
    let options = KillContainerOptions { signal: "SIGKILL".to_owned() };
    match docker.kill_container(id, Some(options)).await.map_err(convert::fault) {
        Ok(()) => Ok(true),
        // 404: gone; 409: not running. Engines before 20.10 said 500 for the latter.
        Err(EngineFault::Answered { status: 404 | 409, .. }) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Kills if need be, and removes the container with its anonymous volumes.
pub(crate) async fn remove(docker: &Docker, id: &str) -> Result<(), EngineFault> {
    let mut pause = REMOVE_PAUSE;
    let mut tries = 1;
    loop {
        match remove_once(docker, id).await {
            Err(fault) if tries < REMOVE_TRIES_MAX => {
                tracing::debug!(container = id, %fault, tries, "removal failed, trying again");
                tokio::time::sleep(pause).await;
                pause *= 2;
                tries += 1;
            }
            result => return result,
        }
    }
}

async fn remove_once(docker: &Docker, id: &str) -> Result<(), EngineFault> {
    let options = RemoveContainerOptions { v: true, force: true, link: false };
    match docker.remove_container(id, Some(options)).await.map_err(convert::fault) {
        // 404: gone. 409: someone else is removing it right now.
        Ok(()) | Err(EngineFault::Answered { status: 404 | 409, .. }) => Ok(()),
        Err(fault) => Err(fault),
    }
}

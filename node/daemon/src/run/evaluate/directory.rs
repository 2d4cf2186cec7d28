//! The directory that a container shares with the node: a gate, the shim and a socket.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use node_evaluator::SHIM;
use node_runner::{Gate, ReadOnlyBind};
use tokio::net::UnixListener;

/// Where the directory appears in the container.
const CHANNEL: &str = "/assay";
const GATE_NAME: &str = "gate";
const SHIM_NAME: &str = "shim.py";
const SOCKET_NAME: &str = "meter.sock";

/// Why a container has no directory.
#[derive(Debug, thiserror::Error)]
#[error("cannot prepare the run directory `{path}`")]
pub(super) struct DirectoryError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// The directory of one container; removed when dropped.
#[derive(Debug)]
pub(super) struct RunDirectory {
    path: PathBuf,
    gate: Gate,
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "run directory not removed");
        }
    }
}

impl RunDirectory {
    /// Makes the directory with a gate, the shim, and a socket that only this process listens on.
    pub(super) fn make(path: PathBuf) -> Result<(Self, UnixListener), DirectoryError> {
        let failed = |source| DirectoryError { path: path.clone(), source };
        if path.exists() {
            std::fs::remove_dir_all(&path).map_err(failed)?;
        }
        std::fs::create_dir_all(&path).map_err(failed)?;
        let readable = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, readable(0o755)).map_err(failed)?;
        let gate = Gate::make(path.join(GATE_NAME)).map_err(failed)?;
        let directory = Self { path: path.clone(), gate };
        let shim = path.join(SHIM_NAME);
        std::fs::write(&shim, SHIM).map_err(failed)?;
        std::fs::set_permissions(&shim, readable(0o444)).map_err(failed)?;
        let socket = path.join(SOCKET_NAME);
        let listener = UnixListener::bind(&socket).map_err(failed)?;
        // The container's user is nobody; connecting needs the right to write.
        std::fs::set_permissions(&socket, readable(0o666)).map_err(failed)?;
        Ok((directory, listener))
    }

    /// Lets the shim start, now or as soon as the container does.
    pub(super) fn open_gate(&self) -> Result<(), DirectoryError> {
        let opened = self.gate.open();
        opened.map_err(|source| DirectoryError { path: self.path.clone(), source })
    }

    /// What the container sees of it.
    pub(super) fn binds(&self) -> Vec<ReadOnlyBind> {
        let files = [SHIM_NAME, SOCKET_NAME].map(|name| ReadOnlyBind {
            source: self.path.join(name),
            target: format!("{CHANNEL}/{name}"),
        });
        std::iter::once(self.gate.bind()).chain(files).collect()
    }

    /// The program that answers the meter, behind its gate, as the container calls it.
    pub(super) fn command() -> Vec<String> {
        let (shim, socket) = (format!("{CHANNEL}/{SHIM_NAME}"), format!("{CHANNEL}/{SOCKET_NAME}"));
        Gate::before(["python3", "-I", "-u", &shim, &socket].map(str::to_owned).to_vec())
    }
}

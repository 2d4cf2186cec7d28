//! How `assay status` finds the node: by the files it leaves in its data directory.
//!
//! The address file names the listener and the instance that wrote it. Another program on the
//! same port, or another node, does not answer with that instance, and is not taken for this one.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use node_core::id::SubmissionId;
use serde::de::DeserializeOwned;

use super::past::FrozenStatus;
use super::report::StatusReport;
use crate::admin::{AddressFile, OperatorRefusal, INSTANCE_HEADER};
use crate::config::DataDir;

/// How long a node may take to answer. It only copies memory; longer means that it hangs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Bytes of a report read at most: [`super::ROWS_MAX`] rows of each kind with long details.
const REPORT_BYTES_MAX: usize = 16 << 20;

/// A report and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundStatus {
    /// What it says.
    pub report: StatusReport,
    /// Where it comes from.
    pub found: Found,
}

/// Where a report comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The running node.
    Running,
    /// The snapshot: no node runs with this data directory.
    NotRunning,
    /// The snapshot: a node seems to run and does not answer.
    NotAnswering {
        /// Where it was asked.
        address: SocketAddr,
        /// What went wrong.
        reason: String,
    },
}

/// Why there is no report at all.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// No node ever wrote one.
    #[error("no node is running, and none has run, with the data directory `{data_dir}`")]
    NeverRan {
        /// Where it was looked for.
        data_dir: PathBuf,
    },
    /// The snapshot cannot be read.
    #[error("no node is running, and its status snapshot `{path}` cannot be read")]
    Snapshot {
        /// The snapshot.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The snapshot is no report.
    #[error("no node is running, and its status snapshot `{path}` is no report of this version")]
    Malformed {
        /// The snapshot.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

/// Why nobody says what was put away.
#[derive(Debug, thiserror::Error)]
pub enum NotTold {
    /// What was put away is told by a running node alone.
    #[error("no node is running with this data directory")]
    NotRunning,
    /// It did not answer, or it cannot read its records.
    #[error("the node at {address} does not say what it put away: {reason}")]
    NotSaid {
        /// Where it was asked.
        address: SocketAddr,
        /// Why.
        reason: String,
    },
}

/// Why the running node gave no report.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("nothing listens there")]
    Refused,
    #[error("another program listens there")]
    OtherInstance,
    #[error("{0}")]
    Transport(String),
    #[error("it answered with {0}")]
    Refusal(String),
    #[error("its answer is longer than {REPORT_BYTES_MAX} bytes")]
    TooLong,
    #[error("its answer is no report of this version: {0}")]
    Malformed(serde_json::Error),
}

/// Asks the node of this data directory; takes its snapshot if it does not answer.
///
/// # Errors
///
/// [`NotFound`] if there is neither.
pub async fn find(data_dir: &DataDir) -> Result<FoundStatus, NotFound> {
    let found = match AddressFile::read(&data_dir.admin_address_file()) {
        Ok(file) => match ask(&file, "/status").await {
            Ok(report) => return Ok(FoundStatus { report, found: Found::Running }),
            Err(AskError::Refused | AskError::OtherInstance) => Found::NotRunning,
            Err(error) => Found::NotAnswering { address: file.address, reason: error.to_string() },
        },
        // No file, or one of another program: no node told us where it listens.
        Err(_) => Found::NotRunning,
    };
    let report = read_snapshot(&data_dir.status_file(), data_dir.path())?;
    Ok(FoundStatus { report, found })
}

/// Asks the node of this data directory what it put away of a submission.
///
/// # Errors
///
/// [`NotTold`] if none runs there, or it cannot say.
pub async fn frozen(
    data_dir: &DataDir,
    submission: &SubmissionId,
) -> Result<FrozenStatus, NotTold> {
    let file = AddressFile::read(&data_dir.admin_address_file());
    let file = file.map_err(|_| NotTold::NotRunning)?;
    let asked = ask(&file, &format!("/frozen/{submission}")).await;
    asked.map_err(|error| match error {
        AskError::Refused | AskError::OtherInstance => NotTold::NotRunning,
        AskError::Transport(_)
        | AskError::Refusal(_)
        | AskError::TooLong
        | AskError::Malformed(_) => {
            NotTold::NotSaid { address: file.address, reason: error.to_string() }
        }
    })
}

async fn ask<T: DeserializeOwned>(file: &AddressFile, route: &str) -> Result<T, AskError> {
    let transport = |error: reqwest::Error| {
        if error.is_connect() {
            AskError::Refused
        } else if error.is_timeout() {
            AskError::Transport(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs()))
        } else {
            AskError::Transport(error.without_url().to_string())
        }
    };
    let client = reqwest::Client::builder()
        .timeout(ANSWER_TIME_MAX)
        .no_proxy()
        // The node is on this machine and speaks without TLS; reading the system's certificates
        // would take a tenth of a command's time.
        .tls_built_in_root_certs(false)
        .build()
        .map_err(|error| AskError::Transport(error.to_string()))?;
    let url = format!("http://{}{route}", file.address);
    let mut response = client.get(url).send().await.map_err(transport)?;
    let instance = response.headers().get(INSTANCE_HEADER);
    if instance.is_none_or(|instance| instance.as_bytes() != file.instance.as_bytes()) {
        return Err(AskError::OtherInstance);
    }
    let status = response.status();
    let announced = response.content_length().and_then(|bytes| usize::try_from(bytes).ok());
    let mut bytes = Vec::with_capacity(announced.unwrap_or_default().min(REPORT_BYTES_MAX));
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if bytes.len() + chunk.len() > REPORT_BYTES_MAX {
            return Err(AskError::TooLong);
        }
        bytes.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let said = serde_json::from_slice::<OperatorRefusal>(&bytes);
        let text =
            said.map_or_else(|_| status.to_string(), |said| format!("{status}: {}", said.message));
        return Err(AskError::Refusal(text));
    }
    serde_json::from_slice(&bytes).map_err(AskError::Malformed)
}

fn read_snapshot(path: &Path, data_dir: &Path) -> Result<StatusReport, NotFound> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(NotFound::NeverRan { data_dir: data_dir.to_path_buf() });
        }
        Err(source) => return Err(NotFound::Snapshot { path: path.to_path_buf(), source }),
    };
    serde_json::from_slice(&bytes)
        .map_err(|source| NotFound::Malformed { path: path.to_path_buf(), source })
}

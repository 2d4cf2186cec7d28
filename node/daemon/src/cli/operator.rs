//! How a command asks the running node for what only its operator may ask.

use std::io::{self, Write};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::Serialize;

use super::report::{ask, Asked};
use super::runtime::block_on;
use super::ConfigFlags;
use crate::admin::{AddressFile, OperatorRefusal, TOKEN_HEADER};
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::status::StatusReport;

/// Longer than the node waits for its loop.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// How long a node may be silent that is sending what takes long: longer than it waits for a disk
/// of ours.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Bytes of a refusal that are read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// Why it is not known what the node did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("the node did not say whether it did it: {0}")]
    NoAnswer(String),
    #[error("the running node is of a version that does not do this")]
    TooOld,
}

/// Why something that was fetched is not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFetched {
    #[error(transparent)]
    Unanswered(Unanswered),
    #[error("the node refuses: {}", .0.message)]
    Refused(OperatorRefusal),
    #[error("what the node sent cannot be written")]
    Write(#[source] io::Error),
}

/// A node that runs here and knows its operator.
#[derive(Debug)]
pub(super) struct Operator {
    file: AddressFile,
}

impl Operator {
    /// Finds the running node, with what it reports now.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if none runs or answers.
    pub(super) fn of_running_node(flags: &ConfigFlags) -> Result<(Self, StatusReport), Failure> {
        let Asked { report, exit, .. } = ask(flags)?;
        if exit != ExitReason::Done {
            return Err(Failure::new(exit, "no node runs or answers here; nothing was done")
                .hint("`assay status` says what there is; start the node with `assay run`"));
        }
        let data_dir =
            flags.settings().section(DataDir::read).map_err(Failure::bad_configuration)?;
        Ok((Self::of_directory(&data_dir)?, report))
    }

    /// The node that left its address in a data directory; whether it runs shows when it is asked.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is no address.
    pub(super) fn of_directory(data_dir: &DataDir) -> Result<Self, Failure> {
        let file = AddressFile::read(&data_dir.admin_address_file()).map_err(|error| {
            Failure::new(ExitReason::NotRunning, error)
                .hint("while the node runs, as its user: `runuser -u assay -- assay ...`")
        })?;
        Ok(Self { file })
    }

    /// Sends a request to `path` and reads the answer, or the refusal.
    ///
    /// # Errors
    ///
    /// [`Unanswered`]: it may have been done or not.
    pub(super) fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Result<A, OperatorRefusal>, Unanswered> {
        self.post_within(ANSWER_TIME_MAX, path, body)
    }

    /// As [`Operator::post`], for what may take as long as `limit`.
    ///
    /// # Errors
    ///
    /// As [`Operator::post`].
    pub(super) fn post_within<A: DeserializeOwned>(
        &self,
        limit: Duration,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Result<A, OperatorRefusal>, Unanswered> {
        let client = reqwest::Client::builder().timeout(limit);
        block_on(self.read_answer(client, path, body))
            .unwrap_or_else(|error| Err(Unanswered::NoAnswer(error.to_string())))
    }

    /// Sends a request to `path`, and writes the answer to `out` as it comes.
    ///
    /// # Errors
    ///
    /// [`NotFetched`]; `out` may have been given a part of it.
    pub(super) fn fetch(&self, path: &str, out: &mut dyn Write) -> Result<(), NotFetched> {
        let unanswered =
            |error: io::Error| NotFetched::Unanswered(Unanswered::NoAnswer(error.to_string()));
        block_on(self.write_answer(path, out)).map_err(unanswered)?
    }

    async fn read_answer<A: DeserializeOwned>(
        &self,
        client: reqwest::ClientBuilder,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Result<A, OperatorRefusal>, Unanswered> {
        let unreadable = |error: serde_json::Error| Unanswered::NoAnswer(error.to_string());
        let body = serde_json::to_vec(body).map_err(unreadable)?;
        let response = self.send(client, path, body).await?;
        let is_done = response.status().is_success();
        let body = response.bytes().await.map_err(lost)?;
        if is_done {
            serde_json::from_slice(&body).map(Ok).map_err(unreadable)
        } else {
            serde_json::from_slice(&body).map(Err).map_err(unreadable)
        }
    }

    async fn write_answer(&self, path: &str, out: &mut dyn Write) -> Result<(), NotFetched> {
        let client = reqwest::Client::builder().read_timeout(SILENCE_MAX);
        let sent = self.send(client, path, Vec::new()).await;
        let mut response = sent.map_err(NotFetched::Unanswered)?;
        let is_sent = response.status().is_success();
        let mut refusal = Vec::new();
        let lost = |error| NotFetched::Unanswered(lost(error));
        while let Some(piece) = response.chunk().await.map_err(lost)? {
            if is_sent {
                out.write_all(&piece).map_err(NotFetched::Write)?;
            } else if refusal.len() < REFUSAL_BYTES_MAX {
                refusal.extend_from_slice(&piece);
            }
        }
        if is_sent {
            return Ok(());
        }
        Err(match serde_json::from_slice(&refusal) {
            Ok(refusal) => NotFetched::Refused(refusal),
            Err(error) => NotFetched::Unanswered(Unanswered::NoAnswer(error.to_string())),
        })
    }

    /// Sends a request with the operator's token, and waits for the beginning of the answer.
    async fn send(
        &self,
        client: reqwest::ClientBuilder,
        path: &str,
        body: Vec<u8>,
    ) -> Result<reqwest::Response, Unanswered> {
        let token = self.file.token.as_ref().ok_or(Unanswered::TooOld)?;
        let response = client
            .no_proxy()
            .build()
            .map_err(lost)?
            .post(format!("http://{}{path}", self.file.address))
            .header(TOKEN_HEADER, token.text())
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await
            .map_err(lost)?;
        // Who knows a path and not what it names says why; who does not know it says nothing.
        let is_unknown_path = response.status() == reqwest::StatusCode::NOT_FOUND
            && response.content_length() == Some(0);
        if is_unknown_path {
            return Err(Unanswered::TooOld);
        }
        Ok(response)
    }
}

fn lost(error: reqwest::Error) -> Unanswered {
    Unanswered::NoAnswer(error.without_url().to_string())
}

impl Unanswered {
    /// The failure, with where to look what became of the request.
    pub(super) fn failure(self, look: &'static str) -> Failure {
        let hint = match &self {
            Self::TooOld => "restart it with this version first",
            Self::NoAnswer(_) => look,
        };
        Failure::new(ExitReason::NotRunning, self).hint(hint)
    }
}

//! How a command asks the running node for what only its operator may ask.

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

/// Why it is not known what the node did.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    #[error("the node did not say whether it did it: {0}")]
    NoAnswer(String),
    #[error("the running node is of a version that does not do this")]
    TooOld,
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
        let file = AddressFile::read(&data_dir.admin_address_file())
            .map_err(|error| Failure::new(ExitReason::NotRunning, error))?;
        Ok((Self { file }, report))
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
        block_on(self.send(path, body))
            .unwrap_or_else(|error| Err(Unanswered::NoAnswer(error.to_string())))
    }

    async fn send<A: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Result<A, OperatorRefusal>, Unanswered> {
        let token = self.file.token.as_ref().ok_or(Unanswered::TooOld)?;
        let lost = |error: reqwest::Error| Unanswered::NoAnswer(error.without_url().to_string());
        let unreadable = |error: serde_json::Error| Unanswered::NoAnswer(error.to_string());
        let client = reqwest::Client::builder().timeout(ANSWER_TIME_MAX).no_proxy().build();
        let response = client
            .map_err(lost)?
            .post(format!("http://{}{path}", self.file.address))
            .header(TOKEN_HEADER, token.text())
            .header("content-type", "application/json")
            .body(serde_json::to_vec(body).map_err(unreadable)?)
            .send()
            .await
            .map_err(lost)?;
        let is_done = response.status().is_success();
        let body = response.bytes().await.map_err(lost)?;
        if is_done {
            serde_json::from_slice(&body).map(Ok).map_err(unreadable)
        } else {
            serde_json::from_slice(&body).map(Err).map_err(unreadable)
        }
    }
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

//! The door to language models: asks the one that the operator chose for its opinion of a
//! submission, over an OpenAI-compatible `/v1/chat/completions`.
//!
//! The submission is hostile, and so may be what the model makes of it. The source goes out as
//! data: JSON between two lines with a number that is drawn anew for each request. An opinion comes
//! back only as one JSON object of a fixed shape that repeats this number; whatever else the model
//! writes is no opinion, and is thrown away. So text in a submission is never read as an answer.
//! What a model believes of such text is its own affair: an approval lifts no other rule. Its words
//! are bounded, shown as what they are, and never acted upon.
//!
//! Not here: what an opinion does (`node_core::review`), and when it is asked for again.

mod answer;
mod question;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use node_core::review::{Review, ReviewFailure};
use node_evaluator::archive::Archive;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::Semaphore;

use crate::config;

/// Bytes of an answer. A verdict has some hundred; models that think aloud say more.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Reviews that are asked for at the same time. Higher: a burst of submissions runs into the limits
/// of the endpoint.
const AT_ONCE: usize = 2;

/// Bytes of the file with the key.
const KEY_BYTES_MAX: usize = 4 << 10;

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReviewerError {
    /// The key cannot be read.
    #[error("cannot read `{path}` (`review.api_key_file`)")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What is in it is no key.
    #[error("`{path}` (`review.api_key_file`) does not hold a key in one line")]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The client cannot be made.
    #[error("the client for `review.endpoint` cannot be made")]
    Client(#[source] reqwest::Error),
}

/// Why a question has no opinion for an answer.
#[derive(Debug, thiserror::Error)]
enum NoOpinion {
    #[error("the endpoint does not answer: {}", crate::run::describe(.0))]
    Request(reqwest::Error),
    #[error("the endpoint answers {0}")]
    Status(StatusCode),
    #[error("the endpoint has too much to do ({status})")]
    TooMany { status: StatusCode, retry_after: Option<Duration> },
    #[error("the endpoint answers with more than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the model's answer is no verdict: {0}")]
    Malformed(#[from] answer::NoVerdict),
}

/// Asks a language model.
#[derive(Debug)]
pub(crate) struct Reviewer {
    client: Client,
    endpoint: String,
    model: String,
    max_tokens: u32,
    key: Option<String>,
    at_once: Semaphore,
}

impl Reviewer {
    /// The reviewer of the settings, if there is to be one.
    ///
    /// # Errors
    ///
    /// [`ReviewerError`].
    pub(crate) fn open(settings: &config::Review) -> Result<Option<Self>, ReviewerError> {
        let (Some(endpoint), Some(model)) = (&settings.endpoint, &settings.model) else {
            return Ok(None);
        };
        let client = Client::builder()
            .timeout(settings.timeout)
            // A key is for who was named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ReviewerError::Client)?;
        Ok(Some(Self {
            client,
            endpoint: endpoint.clone(),
            model: model.clone(),
            max_tokens: settings.max_tokens,
            key: settings.api_key_file.as_ref().map(read_key).transpose()?,
            at_once: Semaphore::new(AT_ONCE),
        }))
    }

    /// What the model says of a submission.
    ///
    /// # Errors
    ///
    /// [`ReviewFailure`] if it says nothing, or nothing that is an opinion.
    pub(crate) async fn review(&self, archive: &Archive) -> Result<Review, ReviewFailure> {
        // Never closed.
        let _permit = self.at_once.acquire().await;
        self.ask(archive).await.map_err(|error| {
            let retry_after_ms = match &error {
                NoOpinion::TooMany { retry_after, .. } => {
                    retry_after.map(|pause| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX))
                }
                NoOpinion::Request(_)
                | NoOpinion::Status(_)
                | NoOpinion::TooLong
                | NoOpinion::Malformed(_) => None,
            };
            // The endpoint may have a password in it.
            let detail = config::hide_credentials(&error.to_string());
            ReviewFailure { detail, retry_after_ms }
        })
    }

    async fn ask(&self, archive: &Archive) -> Result<Review, NoOpinion> {
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let question = question::question(&self.model, self.max_tokens, &nonce, archive);
        let mut request = self
            .client
            .post(&self.endpoint)
            .header(CONTENT_TYPE, "application/json")
            .body(question.to_string());
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        let response = request.send().await.map_err(NoOpinion::Request)?;
        match response.status() {
            status @ (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) => {
                return Err(NoOpinion::TooMany { status, retry_after: retry_after(&response) });
            }
            status if !status.is_success() => return Err(NoOpinion::Status(status)),
            _ => {}
        }
        let body = bounded(response).await?;
        Ok(answer::read(&body, &nonce, archive)?)
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, NoOpinion> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(NoOpinion::Request)? {
        if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
            return Err(NoOpinion::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Seconds; the other form, a date, is not read.
fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn read_key(path: &PathBuf) -> Result<String, ReviewerError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ReviewerError::Key { path: path.clone(), source })?;
    let key = text.trim();
    let is_key = !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.is_ascii();
    if is_key && !key.contains(|c: char| c.is_ascii_control() || c == ' ') {
        Ok(key.to_owned())
    } else {
        Err(ReviewerError::NoKey { path: path.clone() })
    }
}

//! A validator's public interface, as a miner asks it over HTTP. What it answers is not trusted: it
//! is bounded, and nothing of it reaches the terminal with control characters.

use std::time::Duration;

use node_chain::Keypair;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::config::hide_credentials;
use crate::status::unix_now;

/// How long one answer may take, an upload included. Longer: a validator that hangs keeps the
/// others' answers back.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Bytes of one answer. Sixteen submissions with their curves stay far below.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Characters of one text from a validator that are shown.
const TEXT_CHARS_MAX: usize = 512;

/// Why a validator did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The address is none.
    #[error("`{url}` is not the address of a validator")]
    BadUrl { url: String },
    /// It was not reached, or hung up.
    #[error("`{url}` does not answer")]
    Request {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// It says more than anybody could mean.
    #[error("`{url}` answers with more than {ANSWER_BYTES_MAX} bytes")]
    TooLong { url: String },
    /// It is no validator's interface.
    #[error("`{url}` answers with status {status} and not with JSON")]
    NotJson { url: String, status: u16 },
    /// It said no.
    #[error("`{url}` refuses it ({status} {error}): {message}")]
    Refused { url: String, status: u16, error: String, message: String, retry_after: Option<u64> },
}

impl AskError {
    /// What to do next.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::BadUrl { .. } => "write it like `https://validator.example:8000`".to_owned(),
            Self::Request { .. } => {
                "is it the address of its `api.listen`, with `http://` or `https://`?".to_owned()
            }
            Self::TooLong { .. } | Self::NotJson { .. } => {
                "something else than a validator answers there; look at its `/version`".to_owned()
            }
            Self::Refused { retry_after: Some(seconds), .. } => {
                format!("the same `assay miner` command again in {seconds} s")
            }
            Self::Refused { status, error, .. } => match (*status, error.as_str()) {
                (401, _) => "is this machine's clock right (`timedatectl`)? and is nothing in \
                             between that changes the body?"
                    .to_owned(),
                (403, _) => {
                    "register the hotkey on the subnet (`btcli subnet register`)".to_owned()
                }
                (404, _) => "a commitment is seen once its block is final: `assay miner status` \
                             again"
                    .to_owned(),
                (413 | 422, _) => "`assay miner check` says what is wrong with it".to_owned(),
                (500.., _) => "the same `assay miner` command again in a while, or with another \
                               validator"
                    .to_owned(),
                _ => "`/openapi.json` there describes its routes".to_owned(),
            },
        }
    }

    /// What and why in one line.
    pub(super) fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        one_line(&hide_credentials(&text))
    }

    /// Whether asking again later may help.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
            Self::BadUrl { .. } | Self::TooLong { .. } | Self::NotJson { .. } => false,
        }
    }

    /// Whether the validator answered, and what was asked about is not known there.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Self::Refused { status: 404, error, .. } if error == "unknown")
    }
}

/// A validator.
#[derive(Clone, Debug)]
pub(super) struct Validator {
    base: String,
    /// As it may be printed.
    shown: String,
    client: Client,
}

/// The error of PRISM's interface.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    error: String,
    message: String,
}

impl Validator {
    /// The validator whose interface is at `url`.
    ///
    /// # Errors
    ///
    /// [`AskError::BadUrl`].
    pub(super) fn at(url: &str) -> Result<Self, AskError> {
        let bad = || AskError::BadUrl { url: shown(url) };
        let parsed: Url = url.parse().map_err(|_| bad())?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.query().is_some() {
            return Err(bad());
        }
        let client = Client::builder()
            .timeout(ANSWER_MAX)
            // A signed request is for who was named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|source| AskError::Request { url: shown(url), source })?;
        Ok(Self { base: url.trim_end_matches('/').to_owned(), shown: shown(url), client })
    }

    /// Its address, without credentials.
    pub(super) fn url(&self) -> &str {
        &self.shown
    }

    /// What it answers to `GET path`.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub(super) async fn get(&self, path: &str) -> Result<Value, AskError> {
        self.answer(self.client.get(format!("{}{path}", self.base))).await
    }

    /// Leaves an archive, signed by `keypair` as PRISM wants it.
    ///
    /// # Errors
    ///
    /// [`AskError`].
    pub(super) async fn upload(&self, keypair: &Keypair, zip: &[u8]) -> Result<Value, AskError> {
        let hotkey = keypair.public().to_string();
        let nonce = hex::encode(rand::random::<[u8; 16]>());
        let timestamp = (unix_now().0 / 1_000).to_string();
        let digest = hex::encode(Sha256::digest(zip));
        let message = format!("prism:{hotkey}:{nonce}:{timestamp}:{digest}");
        let signature = hex::encode(keypair.sign_raw(message.as_bytes()));
        let request = self
            .client
            .post(format!("{}/v1/submissions", self.base))
            .header("content-type", "application/zip")
            .header("x-hotkey", hotkey)
            .header("x-nonce", nonce)
            .header("x-timestamp", timestamp)
            .header("x-signature", signature)
            .body(zip.to_vec());
        self.answer(request).await
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, AskError> {
        let failed = |source| AskError::Request { url: self.shown.clone(), source };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let retry_after = retry_after_s(&response);
        let body = self.bounded(response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| self.not_json(status));
        }
        let problem: Problem = serde_json::from_slice(&body).map_err(|_| self.not_json(status))?;
        Err(AskError::Refused {
            url: self.shown.clone(),
            status: status.as_u16(),
            error: one_line(&problem.error),
            message: one_line(&problem.message),
            retry_after,
        })
    }

    async fn bounded(&self, mut response: Response) -> Result<Vec<u8>, AskError> {
        let mut body = Vec::new();
        let failed = |source| AskError::Request { url: self.shown.clone(), source };
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len().saturating_add(chunk.len()) > ANSWER_BYTES_MAX {
                return Err(AskError::TooLong { url: self.shown.clone() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn not_json(&self, status: StatusCode) -> AskError {
        AskError::NotJson { url: self.shown.clone(), status: status.as_u16() }
    }
}

fn retry_after_s(response: &Response) -> Option<u64> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

fn shown(url: &str) -> String {
    one_line(&hide_credentials(url.trim_end_matches('/')))
}

/// A text from elsewhere as it may stand on a terminal: one line, bounded.
pub(super) fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::ExitReason;
    use crate::failure::{told, Failure};

    /// Every way in which a validator does not do what it was asked. A new one does not compile
    /// until it stands here.
    fn unanswered() -> Vec<AskError> {
        let url = || "https://validator.example".to_owned();
        let source = Client::builder().user_agent("\n").build().unwrap_err();
        let refused = |(status, error): (u16, &str)| {
            let (error, message) = (error.to_owned(), "it says no".to_owned());
            AskError::Refused { url: url(), status, error, message, retry_after: None }
        };
        let (error, message) = ("busy".to_owned(), "too many requests".to_owned());
        let words = [
            (401, "bad_signature"),
            (403, "not_registered"),
            (404, "unknown"),
            (409, "conflict"),
            (422, "rejected"),
            (503, "not_ready"),
        ];
        let others = [
            AskError::BadUrl { url: "validator".to_owned() },
            AskError::Request { url: url(), source },
            AskError::TooLong { url: url() },
            AskError::NotJson { url: url(), status: 200 },
            AskError::Refused { url: url(), status: 429, error, message, retry_after: Some(7) },
        ];
        let all: Vec<AskError> = others.into_iter().chain(words.map(refused)).collect();
        for error in &all {
            match error {
                AskError::BadUrl { .. }
                | AskError::Request { .. }
                | AskError::TooLong { .. }
                | AskError::NotJson { .. }
                | AskError::Refused { .. } => {}
            }
        }
        all
    }

    #[test]
    fn each_validator_that_does_not_do_it_says_what_next() {
        let failures = unanswered().into_iter().map(|error| {
            let hint = error.hint();
            Failure::new(ExitReason::Failed, error).hint(hint)
        });
        insta::assert_snapshot!(told(failures));
    }
}

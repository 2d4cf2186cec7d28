//! Review by a language model: an opinion that a node's operator asked for, and what follows from
//! it.
//!
//! A node asks the model that its operator chose, so validators may hear different things. What is
//! heard is stored by content, rules and model, and is not asked for again. Only an explicit
//! opinion rejects, and only where the operator wants it to: a model that is away, or makes no
//! sense, says nothing. Not here: how a model is asked (`node/daemon`).

use serde::{Deserialize, Serialize};

use crate::admission::{Rejection, Rule};
use crate::id::{ContentDigest, Digest, DigestBuilder};
use crate::limits::clip_detail;

/// What an opinion does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReviewMode {
    /// It is shown. Nothing waits for it.
    Advise,
    /// Submissions wait for it, and are rejected if it is against them.
    Gate,
}

/// How this node has submissions reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewRules {
    /// What an opinion does.
    pub mode: ReviewMode,
    /// The model, as its endpoint calls it.
    pub model: String,
}

/// What a model thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opinion {
    /// Nothing speaks against it.
    Approve,
    /// It should not be evaluated.
    Reject,
}

impl Opinion {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// What a model said. Its words are not trusted: they are shown, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// What it thinks.
    pub opinion: Opinion,
    /// Why, in its words; shortened, without control characters.
    pub reason: String,
    /// The file of the submission that it means.
    #[serde(default)]
    pub file: Option<String>,
    /// The line there, counted from one.
    #[serde(default)]
    pub line: Option<u32>,
    /// SHA-256 of that line, without the blanks at its ends.
    #[serde(default)]
    pub snippet: Option<Digest>,
}

impl Review {
    /// The evidence of a rejection by it.
    #[must_use]
    pub fn rejection(&self, model: &str) -> Rejection {
        let reason = self.reason.replace('\n', " ");
        Rejection {
            rule: Rule::ReviewRejected,
            file: self.file.clone(),
            line: self.line,
            snippet: self.snippet,
            detail: clip_detail(&format!("the model `{model}` says: {reason}")),
        }
    }
}

/// Why there is no opinion yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReviewFailure {
    /// In one sentence.
    pub detail: String,
    /// When to ask again at the earliest, if the endpoint said so.
    pub retry_after_ms: Option<u64>,
}

/// Whose opinion about what: content, rules, and the model.
pub type ReviewKey = (ContentDigest, Digest, Digest);

/// A model's name in keys.
#[must_use]
pub fn model_digest(model: &str) -> Digest {
    Digest(DigestBuilder::new("assay/review-model/v1").bytes(model.as_bytes()).finish())
}

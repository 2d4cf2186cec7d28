//! What comes back: one JSON object of a fixed shape, or no opinion.

use node_core::id::Digest;
use node_core::limits::clip_detail;
use node_core::review::{Opinion, Review};
use node_evaluator::archive::Archive;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Bytes of what the model itself wrote.
const CONTENT_BYTES_MAX: usize = 16 << 10;

/// Why an answer is no opinion. Nothing of the answer is in it: a submission may have put it there.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoVerdict {
    #[error("it is not a chat completion with one choice")]
    Envelope,
    #[error("the model did not finish it")]
    Unfinished,
    #[error("the model wrote more than {CONTENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("it is not the JSON object that was asked for, and nothing else")]
    Shape,
    #[error("it does not repeat the number of the request")]
    Nonce,
    #[error("it gives no reason")]
    NoReason,
}

/// Endpoints add fields of their own; these are all that is looked at.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verdict {
    nonce: String,
    verdict: Opinion,
    reason: String,
    #[serde(default)]
    file: Option<String>,
    #[serde(default)]
    line: Option<u32>,
}

/// Reads the body of an answer.
///
/// - `nonce`: the number of the request.
/// - `archive`: what was asked about; a place that is not in it is left out.
pub(super) fn read(body: &[u8], nonce: &str, archive: &Archive) -> Result<Review, NoVerdict> {
    let completion: Completion = serde_json::from_slice(body).map_err(|_| NoVerdict::Envelope)?;
    let [choice] = completion.choices.as_slice() else { return Err(NoVerdict::Envelope) };
    if choice.finish_reason.as_deref().is_some_and(|reason| reason != "stop") {
        return Err(NoVerdict::Unfinished);
    }
    let content = choice.message.content.as_deref().ok_or(NoVerdict::Envelope)?;
    if content.len() > CONTENT_BYTES_MAX {
        return Err(NoVerdict::TooLong);
    }
    let verdict: Verdict = serde_json::from_str(content.trim()).map_err(|_| NoVerdict::Shape)?;
    if verdict.nonce != nonce {
        return Err(NoVerdict::Nonce);
    }
    let reason = clip_detail(verdict.reason.trim());
    if reason.is_empty() {
        return Err(NoVerdict::NoReason);
    }
    let (file, line, snippet) = place(verdict.file, verdict.line, archive);
    Ok(Review { opinion: verdict.verdict, reason, file, line, snippet })
}

type Place = (Option<String>, Option<u32>, Option<Digest>);

/// The file and the line that are meant, as far as they exist.
fn place(file: Option<String>, line: Option<u32>, archive: &Archive) -> Place {
    let Some((path, bytes)) = file.and_then(|file| archive.files.get_key_value(&file)) else {
        return (None, None, None);
    };
    let text = String::from_utf8_lossy(bytes);
    let index = line.and_then(|line| usize::try_from(line.checked_sub(1)?).ok());
    let snippet = index.and_then(|index| text.lines().nth(index)).map(|line| {
        let hash: [u8; 32] = Sha256::digest(line.trim().as_bytes()).into();
        Digest(hash)
    });
    (Some(path.clone()), line.filter(|_| snippet.is_some()), snippet)
}

//! Review of submissions by a language model.

use std::path::PathBuf;
use std::time::Duration;

use node_core::review::{ReviewMode, ReviewRules};

use super::key::{Default, Key, Kind};
use super::reader::{choice, duration, integer, text, url, Complaint, Reader};
use super::Section;

const ENDPOINT: Key = Key::new("review.endpoint", Kind::Text, Default::Unset)
    .about(
        "Where a language model is asked for its opinion of admitted submissions: the URL of an \
         OpenAI-compatible `/v1/chat/completions`. Their source is sent there. Nobody is asked \
         unless it is set.",
    )
    .example("\"https://llm.example/v1/chat/completions\"");

const MODEL: Key = Key::new("review.model", Kind::Text, Default::Unset)
    .about("The model, as the endpoint calls it. Needed with `review.endpoint`.")
    .example("\"reviewer-32b\"");

const MODE: Key = Key::new("review.mode", Kind::Text, Default::Value("advise"))
    .about(
        "What its opinion does: `advise` shows it, and nothing waits for it; `gate` has \
         submissions wait for it, and rejects those that it is against.",
    )
    .example("\"gate\"");

const API_KEY_FILE: Key = Key::new("review.api_key_file", Kind::Path, Default::Unset)
    .about("File with the key that is sent as `Authorization: Bearer`.")
    .example("\"/etc/assay/review.key\"");

const TIMEOUT: Key = Key::new("review.timeout", Kind::Text, Default::Value("120s"))
    .about("How long one answer may take; then it is asked for again, later.")
    .example("\"5m\"");

const MAX_TOKENS: Key = Key::new("review.max_tokens", Kind::Integer, Default::Value("1024"))
    .about("Tokens that the model may answer with; the verdict is one short JSON object.")
    .example("4096");

pub(super) const SECTION: Section = Section {
    name: "review",
    about: "Review of submissions by a language model; off unless an endpoint is set.",
    keys: &[ENDPOINT, MODEL, MODE, API_KEY_FILE, TIMEOUT, MAX_TOKENS],
};

const MODES: [(&str, ReviewMode); 2] = [("advise", ReviewMode::Advise), ("gate", ReviewMode::Gate)];

/// How submissions are reviewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// The model's endpoint; `None` if nobody is asked.
    pub endpoint: Option<String>,
    /// The model; set whenever `endpoint` is.
    pub model: Option<String>,
    /// What its opinion does.
    pub mode: ReviewMode,
    /// File with the endpoint's key, absolute.
    pub api_key_file: Option<PathBuf>,
    /// How long one answer may take.
    pub timeout: Duration,
    /// Tokens of an answer.
    pub max_tokens: u32,
}

impl Review {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let surroundings = reader.surroundings().clone();
        let endpoint = reader.take_optional(&ENDPOINT, |value| {
            url(value, "https://llm.example/v1/chat/completions")
        });
        let model = reader.take_optional(&MODEL, text);
        let mode = reader.take(&MODE, |value| choice(&MODES, value));
        let api_key_file =
            reader.take_optional(&API_KEY_FILE, |value| super::reader::path(value, &surroundings));
        let timeout = reader.take(&TIMEOUT, duration);
        let max_tokens = reader.take(&MAX_TOKENS, integer(64, 65_536));
        let (endpoint, model, api_key_file) = (endpoint?, model?, api_key_file?);
        if endpoint.is_some() && model.is_none() {
            let complaint = Complaint::new("no model is named", "set `review.model`");
            reader.reject(&ENDPOINT, complaint);
            return None;
        }
        if api_key_file.is_some() && endpoint.as_deref().is_some_and(is_open) {
            let complaint = Complaint::new(
                "the key would be sent without encryption",
                "use `https://`, or leave `review.api_key_file` out",
            );
            reader.reject(&ENDPOINT, complaint);
            return None;
        }
        Some(Self {
            endpoint,
            model,
            mode: mode?,
            api_key_file,
            timeout: timeout?,
            max_tokens: u32::try_from(max_tokens?).unwrap_or(u32::MAX),
        })
    }

    /// What the machine has to know of it; `None` if nobody is asked.
    #[must_use]
    pub fn rules(&self) -> Option<ReviewRules> {
        self.endpoint.as_ref()?;
        Some(ReviewRules { mode: self.mode, model: self.model.clone()? })
    }
}

/// Whether others on the way could read what is sent.
fn is_open(endpoint: &str) -> bool {
    let Ok(url) = endpoint.parse::<reqwest::Url>() else { return true };
    let is_own = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    url.scheme() != "https" && !is_own
}

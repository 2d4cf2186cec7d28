//! What a `tokenizer.json` says, as far as it is taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{json, Value};

use super::{byte_alphabet, TokenizerError};

/// Patterns that text may be split by before pairs are merged, beside that of the library: those of
/// widely used tokenizers. Another one could take for ever on some text.
const PATTERNS: [&str; 2] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// The file, with what is not looked at left out: how text is padded, cut, framed or decoded.
#[derive(Debug, Deserialize)]
struct File {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    model: Model,
}

#[derive(Debug, Deserialize)]
struct Added {
    id: u64,
    content: String,
}

/// The model. What is not named here is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    dropout: Option<f64>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: BTreeMap<String, u64>,
    merges: Vec<Merge>,
}

/// A pair, in the older or the newer form.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Merge {
    Line(String),
    Pair(String, String),
}

/// A step before pairs are merged.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "type", deny_unknown_fields)]
enum Step {
    ByteLevel {
        add_prefix_space: bool,
        #[serde(default = "yes")]
        trim_offsets: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Split {
        pattern: Pattern,
        behavior: String,
        #[serde(default)]
        invert: bool,
    },
    Digits {
        individual_digits: bool,
    },
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Pattern {
    #[serde(rename = "Regex")]
    regex: String,
}

fn yes() -> bool {
    true
}

/// A file that was understood.
#[derive(Debug)]
pub(super) struct Parts {
    added: Vec<Added>,
    steps: Vec<Step>,
    ignore_merges: bool,
    vocab: BTreeMap<String, u64>,
    merges: Vec<(String, String)>,
}

impl Parts {
    pub(super) fn read(json: &[u8]) -> Result<Self, TokenizerError> {
        let malformed = |error: serde_json::Error| TokenizerError::Malformed(error.to_string());
        let file: File = serde_json::from_slice(json).map_err(malformed)?;
        if file.normalizer.is_some_and(|normalizer| !normalizer.is_null()) {
            return Err(not_taken("a normalizer"));
        }
        let steps = steps(file.pre_tokenizer)?;
        let model = file.model;
        check(&model)?;
        let pair = |merge: Merge| match merge {
            Merge::Pair(left, right) => Ok((left, right)),
            Merge::Line(line) => {
                let two = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
                let malformed = || TokenizerError::Malformed(format!("the merge `{line}`"));
                let (left, right) = two.ok_or_else(malformed)?;
                Ok((left.to_owned(), right.to_owned()))
            }
        };
        let merges = model.merges.into_iter().map(pair).collect::<Result<_, _>>()?;
        let (ignore_merges, vocab) = (model.ignore_merges, model.vocab);
        Ok(Self { added: file.added_tokens, steps, ignore_merges, vocab, merges })
    }

    /// The bytes of each entry, by id, without the start mark.
    pub(super) fn entries(&self, vocabulary_max: u32) -> Result<Vec<Vec<u8>>, TokenizerError> {
        let is_new = |added: &&Added| !self.vocab.contains_key(&added.content);
        let added: Vec<&Added> = self.added.iter().filter(is_new).collect();
        let count = self.vocab.len().saturating_add(added.len());
        let entries = count.saturating_add(1);
        if entries > usize::try_from(vocabulary_max).unwrap_or(usize::MAX) {
            return Err(TokenizerError::TooLarge { entries, max: vocabulary_max });
        }
        let alphabet = byte_alphabet();
        let mut bytes: Vec<Option<Vec<u8>>> = vec![None; count];
        let mut put = |id: u64, entry: Vec<u8>| {
            let place = usize::try_from(id).ok().and_then(|id| bytes.get_mut(id));
            match place {
                Some(place @ None) => {
                    *place = Some(entry);
                    Ok(())
                }
                _ => Err(TokenizerError::Ids { id }),
            }
        };
        for (token, id) in &self.vocab {
            // A token outside of the alphabet is one that no text is split into.
            let entry: Option<Vec<u8>> = token.chars().map(|c| alphabet.get(&c).copied()).collect();
            put(*id, entry.unwrap_or_default())?;
        }
        added.iter().try_for_each(|added| put(added.id, Vec::new()))?;
        for (symbol, byte) in &alphabet {
            if !self.vocab.contains_key(&String::from(*symbol)) {
                return Err(TokenizerError::MissingByte { byte: *byte });
            }
        }
        Ok(bytes.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// The file anew, with nothing in it that was not understood.
    pub(super) fn written(&self) -> Result<Vec<u8>, TokenizerError> {
        let steps = json!({ "type": "Sequence", "pretokenizers": self.steps });
        let merges: Vec<[&str; 2]> =
            self.merges.iter().map(|(left, right)| [left.as_str(), right]).collect();
        let file = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": [],
            "normalizer": null,
            "pre_tokenizer": steps,
            "post_processor": null,
            "decoder": null,
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": self.ignore_merges,
                "vocab": self.vocab,
                "merges": merges,
            },
        });
        serde_json::to_vec(&file).map_err(|error| TokenizerError::Malformed(error.to_string()))
    }
}

fn not_taken(what: &str) -> TokenizerError {
    TokenizerError::NotTaken { what: what.to_owned() }
}

/// What comes before the merging: ends in the step that makes characters of bytes.
fn steps(value: Option<Value>) -> Result<Vec<Step>, TokenizerError> {
    let none = || not_taken("a tokenizer without the pre-tokenizer `ByteLevel`");
    let mut value = value.ok_or_else(none)?;
    let is_sequence = value.get("type").and_then(Value::as_str) == Some("Sequence");
    let list = if is_sequence {
        value.get_mut("pretokenizers").map(Value::take).unwrap_or_default()
    } else {
        Value::Array(vec![value])
    };
    let steps: Vec<Step> = serde_json::from_value(list)
        .map_err(|error| not_taken(&format!("the pre-tokenizer ({error})")))?;
    let (last, before) = steps.split_last().ok_or_else(none)?;
    if !matches!(last, Step::ByteLevel { .. }) {
        return Err(none());
    }
    for step in before.iter().chain([last]) {
        match step {
            Step::ByteLevel { add_prefix_space: true, .. } => {
                return Err(not_taken("a space before the text (`add_prefix_space`)"));
            }
            Step::ByteLevel { .. } if !std::ptr::eq(step, last) => {
                return Err(not_taken("`ByteLevel` before the last step"));
            }
            Step::Split { pattern, .. } if !PATTERNS.contains(&pattern.regex.as_str()) => {
                return Err(not_taken("a pattern to split by that is not one of the known ones"));
            }
            Step::Split { behavior, invert, .. } if behavior != "Isolated" || *invert => {
                return Err(not_taken("a split that is not `Isolated`"));
            }
            Step::ByteLevel { .. } | Step::Split { .. } | Step::Digits { .. } => {}
        }
    }
    Ok(steps)
}

fn check(model: &Model) -> Result<(), TokenizerError> {
    let is_empty = |text: &Option<String>| text.as_ref().is_none_or(String::is_empty);
    let kind = model.kind.as_deref().unwrap_or("BPE");
    if kind != "BPE" {
        return Err(not_taken(&format!(
            "the model `{}`",
            kind.chars().take(40).collect::<String>()
        )));
    }
    for (is_taken, what) in [
        (model.dropout.is_none_or(|dropout| dropout == 0.0), "dropout"),
        (is_empty(&model.unk_token), "a token for what is unknown"),
        (is_empty(&model.continuing_subword_prefix), "a prefix of what continues a word"),
        (is_empty(&model.end_of_word_suffix), "a suffix of words"),
        (!model.fuse_unk && !model.byte_fallback, "`fuse_unk` or `byte_fallback`"),
    ] {
        if !is_taken {
            return Err(not_taken(what));
        }
    }
    Ok(())
}

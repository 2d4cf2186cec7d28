//! Tokenizers that submissions bring, as `tokenizer.json`: read and used by the meter only.
//!
//! Such a file is hostile input. Most of what the format can describe is refused before the library
//! sees it: what may change text (normalizers, prefixes, unknown tokens), what may blow it up or
//! draw at random, and patterns that somebody else wrote. What is left is byte-pair encoding over
//! bytes: it can represent every text, splits into no more tokens than there are bytes, and takes
//! `n log n` time for `n` of them. The library gets a file that is written anew from what was
//! understood, so nothing else slips through, and a panic of it is an error like any other.
//!
//! What a token stands for is decided here, not by the library's decoder: [`Tokenizer::encode`]
//! compares the bytes of the tokens with those of the text, every time.
//!
//! A vocabulary has one entry more than the file names: the start mark, its last one, which no text
//! has. Added tokens ("<|endoftext|>" and the like) are entries that text is never split into.

mod file;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::panic::{catch_unwind, AssertUnwindSafe};

use node_core::policy::TokenRules;
use tokenizers::Tokenizer as Library;

use file::Parts;

/// Why a tokenizer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// It is no such file, or a damaged one.
    #[error("it is no tokenizer file: {0}")]
    Malformed(String),
    /// It asks for something that is not taken.
    #[error("{what} is not taken; what is: byte-level BPE without a normalizer")]
    NotTaken {
        /// What.
        what: String,
    },
    /// Its vocabulary is too large.
    #[error("it has {entries} entries with the start mark, the policy allows {max}")]
    TooLarge {
        /// Entries, the start mark included.
        entries: usize,
        /// How many there may be.
        max: u32,
    },
    /// Its ids are not those from zero on, each once.
    #[error("the id {id} is missing, given twice, or not below the number of entries")]
    Ids {
        /// The first such id.
        id: u64,
    },
    /// A byte has no token of its own, so there is text that it cannot represent.
    #[error("the byte {byte} has no token")]
    MissingByte {
        /// Which.
        byte: u8,
    },
    /// The library refused it, or panicked over it.
    #[error("it cannot be loaded: {0}")]
    Library(String),
}

/// Why a text was not encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The tokens do not stand for the text.
    #[error("the tokens do not stand for the text")]
    Lossy,
    /// The library refused the text, or panicked over it.
    #[error("it cannot encode: {0}")]
    Library(String),
}

/// A tokenizer that was understood.
pub struct Tokenizer {
    library: Library,
    /// What each entry stands for; empty for those that text is never split into.
    bytes: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("vocabulary", &self.vocabulary()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Takes time and memory in proportion to the file, whose size the
    /// archive's limits bound.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`], each the submission's own doing.
    pub fn read(json: &[u8], rules: &TokenRules) -> Result<Self, TokenizerError> {
        let parts = Parts::read(json)?;
        let bytes = parts.entries(rules.vocabulary_max)?;
        let written = parts.written()?;
        let loaded = contained(|| Library::from_bytes(&written));
        let library = match loaded {
            Some(Ok(library)) => library,
            Some(Err(error)) => return Err(TokenizerError::Library(error.to_string())),
            None => return Err(TokenizerError::Library("it panicked".to_owned())),
        };
        Ok(Self { library, bytes })
    }

    /// Entries, the start mark included.
    #[must_use]
    pub fn vocabulary(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// The entry before a sequence's first token.
    #[must_use]
    pub fn start_mark(&self) -> u32 {
        self.vocabulary().saturating_sub(1)
    }

    /// Bytes of text that a token stands for; zero if there is no such token.
    #[must_use]
    pub fn bytes_of(&self, id: u32) -> u64 {
        self.entry(id).map_or(0, |bytes| bytes.len() as u64)
    }

    /// The tokens of a text, which stand for exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Lossy`] if they do not, [`EncodeError::Library`] if there are none.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, EncodeError> {
        let encoded = match contained(|| self.library.encode_fast(text, false)) {
            Some(Ok(encoded)) => encoded,
            Some(Err(error)) => return Err(EncodeError::Library(error.to_string())),
            None => return Err(EncodeError::Library("it panicked".to_owned())),
        };
        let mut rest = text.as_bytes();
        for id in encoded.get_ids() {
            let entry = self.entry(*id).filter(|entry| !entry.is_empty());
            rest = entry.and_then(|entry| rest.strip_prefix(entry)).ok_or(EncodeError::Lossy)?;
        }
        if rest.is_empty() {
            Ok(encoded.get_ids().to_vec())
        } else {
            Err(EncodeError::Lossy)
        }
    }

    fn entry(&self, id: u32) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(id).ok()?).map(Vec::as_slice)
    }
}

/// What `work` returns, or nothing if it panicked. All that it touches is thrown away then.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// The characters that stand for bytes in such files: those that can be seen stand for themselves,
/// the others, in their order, for the characters from U+0100 on.
fn byte_alphabet() -> HashMap<char, u8> {
    let is_seen = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    let seen = (0..=u8::MAX).filter(is_seen).map(|byte| (char::from(byte), byte));
    let unseen = (0..=u8::MAX).filter(|byte| !is_seen(byte));
    let unseen =
        (0x100..).zip(unseen).filter_map(|(code, byte)| Some((char::from_u32(code)?, byte)));
    seen.chain(unseen).collect()
}

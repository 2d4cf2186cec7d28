//! Fetching an archive: in bounded chunks, going on where a stream broke.

use std::time::Duration;

use node_core::id::{sha256, ContentDigest, Digest};
use proto::v1;

use super::{AnswerError, AskError, FetchError};
use crate::convert;
use crate::limits::CONTENT_TRIES_MAX;

/// What has come of an archive so far.
#[derive(Debug)]
pub(crate) struct Download {
    content: ContentDigest,
    bytes_max: u64,
    /// What the whole is, once a peer said.
    archive: Option<(u64, Digest)>,
    bytes: Vec<u8>,
}

impl Download {
    /// Nothing yet of `content`, of which at most `bytes_max` bytes are taken.
    pub(crate) fn new(content: ContentDigest, bytes_max: u64) -> Self {
        Self { content, bytes_max, archive: None, bytes: Vec::new() }
    }

    pub(super) fn content(&self) -> ContentDigest {
        self.content
    }

    /// What to ask for next.
    pub(crate) fn request(&self) -> v1::GetRequest {
        v1::GetRequest { content: self.content.0.to_vec(), offset: self.bytes.len() as u64 }
    }

    /// Takes the first chunk of a stream, which says what the whole is.
    ///
    /// # Errors
    ///
    /// [`AnswerError::OtherArchive`] if that is not what it was before: nothing is kept then, and
    /// the next request asks from the beginning.
    pub(crate) fn begin(&mut self, chunk: v1::Chunk) -> Result<(), FetchError> {
        let archive = chunk.archive.as_ref().ok_or(AnswerError::NoArchive);
        let archive = archive.map_err(|error| self.malformed(error))?;
        let archive = convert::archive_from_wire(archive)
            .map_err(|error| self.malformed(AnswerError::Message(error)))?;
        if archive.0 > self.bytes_max {
            return Err(FetchError::TooLarge { content: self.content, bytes_max: self.bytes_max });
        }
        if self.archive.is_some_and(|known| known != archive) {
            self.archive = None;
            self.bytes.clear();
            return Err(self.malformed(AnswerError::OtherArchive));
        }
        self.archive = Some(archive);
        self.push(chunk.data)
    }

    /// Takes a further chunk.
    pub(crate) fn next(&mut self, chunk: v1::Chunk) -> Result<(), FetchError> {
        if chunk.data.is_empty() || chunk.archive.is_some() {
            return Err(self.malformed(AnswerError::ChunkShape));
        }
        self.push(chunk.data)
    }

    fn push(&mut self, data: Vec<u8>) -> Result<(), FetchError> {
        let total = self.total();
        if (self.bytes.len() + data.len()) as u64 > total {
            return Err(self.malformed(AnswerError::TooManyBytes { total }));
        }
        self.bytes.extend_from_slice(&data);
        Ok(())
    }

    fn total(&self) -> u64 {
        self.archive.map_or(0, |(total, _)| total)
    }

    /// Whether nothing is missing.
    pub(crate) fn is_whole(&self) -> bool {
        self.archive.is_some_and(|(total, _)| self.bytes.len() as u64 == total)
    }

    /// The archive, if it is the one that the peer announced.
    pub(crate) fn finish(self) -> Result<Vec<u8>, FetchError> {
        let announced = self.archive.map(|(_, digest)| digest);
        if announced == Some(sha256(&self.bytes)) {
            Ok(self.bytes)
        } else {
            Err(self.malformed(AnswerError::OtherBytes))
        }
    }

    /// The stream ended and bytes are missing.
    pub(super) fn cut_short(&self) -> FetchError {
        let (got, total) = (self.bytes.len() as u64, self.total());
        self.malformed(AnswerError::CutShort { got, total })
    }

    fn malformed(&self, error: AnswerError) -> FetchError {
        FetchError::Ask { content: self.content, source: AskError::MalformedAnswer(error) }
    }
}

/// Whether asking the same peer again may bring the rest.
pub(super) fn may_go_on(error: &FetchError) -> bool {
    let FetchError::Ask { source, .. } = error else { return false };
    match source {
        AskError::Unreachable { .. } | AskError::TimedOut { .. } | AskError::Failed { .. } => true,
        AskError::Refused(refusal) => refusal.is_temporary(),
        AskError::MalformedAnswer(error) => {
            matches!(error, AnswerError::CutShort { .. } | AnswerError::OtherArchive)
        }
        AskError::Auth(_)
        | AskError::Certificate(_)
        | AskError::CertificateRefused(_)
        | AskError::RequestTooLarge { .. } => false,
    }
}

/// How long to wait before the try after the `failed`th; `None` if there is none.
pub(super) fn pause_after(failed: u32) -> Option<Duration> {
    let pause_ms = crate::limits::CONTENT_RETRY_PAUSE_MS * u64::from(failed);
    (failed < CONTENT_TRIES_MAX).then(|| Duration::from_millis(pause_ms))
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;

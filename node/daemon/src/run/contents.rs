//! Submissions' bytes on disk, by content digest: our own store, and directories that the operator
//! fills.
//!
//! Not here: getting bytes from elsewhere (`fetch`).

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use node_core::id::ContentDigest;
use tokio::io::AsyncReadExt as _;

/// Tells partial files of this process apart.
static STORED: AtomicU64 = AtomicU64::new(0);

/// Archives by content digest.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    own: PathBuf,
    provided: Vec<PathBuf>,
    bytes_max: u64,
}

impl Contents {
    /// Keeps archives below `own`, and looks into the `provided` directories too.
    ///
    /// # Errors
    ///
    /// If `own` cannot be created.
    pub(crate) fn open(own: PathBuf, provided: Vec<PathBuf>, bytes_max: u64) -> io::Result<Self> {
        std::fs::create_dir_all(&own)?;
        Ok(Self { own, provided, bytes_max })
    }

    /// The bytes that were stored for `content`, however they got here.
    pub(crate) async fn read(&self, content: &ContentDigest) -> Option<Vec<u8>> {
        self.read_from(&self.own, content).await
    }

    /// The bytes that the operator provides for `content`.
    pub(crate) async fn read_provided(&self, content: &ContentDigest) -> Option<Vec<u8>> {
        for directory in &self.provided {
            if let Some(bytes) = self.read_from(directory, content).await {
                return Some(bytes);
            }
        }
        None
    }

    /// Removes what was stored for `content`, if anything was.
    ///
    /// # Errors
    ///
    /// If the directory cannot be written.
    pub(crate) async fn drop_stored(&self, content: &ContentDigest) -> io::Result<()> {
        match tokio::fs::remove_file(self.own.join(file_name(content))).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes what was stored for contents that are not `known`: of a process that died between
    /// forgetting one and removing its bytes. Returns how many there were.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read or written.
    pub(crate) fn drop_unknown(&self, known: &BTreeSet<ContentDigest>) -> io::Result<usize> {
        let mut dropped = 0;
        for entry in std::fs::read_dir(&self.own)? {
            let entry = entry?;
            let name = entry.file_name();
            let content = name.to_str().and_then(|name| name.strip_suffix(".zip")?.parse().ok());
            if content.is_some_and(|content: ContentDigest| !known.contains(&content)) {
                std::fs::remove_file(entry.path())?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    async fn read_from(&self, directory: &Path, content: &ContentDigest) -> Option<Vec<u8>> {
        let file = tokio::fs::File::open(directory.join(file_name(content))).await.ok()?;
        let mut bytes = Vec::new();
        // One byte more than allowed, so that too long is noticed and not silently cut.
        let read = file.take(self.bytes_max.saturating_add(1)).read_to_end(&mut bytes).await;
        (read.is_ok() && bytes.len() as u64 <= self.bytes_max).then_some(bytes)
    }

    /// Stores bytes for `content`, replacing what was there. Durable when it returns.
    ///
    /// # Errors
    ///
    /// If the directory cannot be written.
    pub(crate) async fn store(&self, content: &ContentDigest, bytes: Vec<u8>) -> io::Result<()> {
        let target = self.own.join(file_name(content));
        let directory = self.own.clone();
        let write = move || {
            // Two submissions of one content may be stored at the same time.
            let number = STORED.fetch_add(1, Ordering::Relaxed);
            let partial = target.with_extension(format!("{number}.partial"));
            std::fs::write(&partial, bytes)?;
            std::fs::File::open(&partial)?.sync_all()?;
            std::fs::rename(&partial, &target)?;
            std::fs::File::open(directory)?.sync_all()
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// The name under which an archive lies in any of the directories.
pub(crate) fn file_name(content: &ContentDigest) -> String {
    format!("{content}.zip")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: ContentDigest = ContentDigest([1; 32]);
    const UNKNOWN: ContentDigest = ContentDigest([2; 32]);

    async fn with_two(dir: &Path) -> Contents {
        let contents = Contents::open(dir.to_owned(), Vec::new(), 1_024).unwrap();
        for content in [KNOWN, UNKNOWN] {
            contents.store(&content, b"an archive".to_vec()).await.unwrap();
        }
        contents
    }

    #[tokio::test]
    async fn an_archive_that_is_dropped_is_gone_and_may_be_stored_again() {
        let dir = tempfile::tempdir().unwrap();
        let contents = with_two(dir.path()).await;
        contents.drop_stored(&UNKNOWN).await.unwrap();
        assert_eq!(contents.read(&UNKNOWN).await, None);
        assert!(contents.read(&KNOWN).await.is_some());
        contents.drop_stored(&UNKNOWN).await.unwrap();
        contents.store(&UNKNOWN, b"again".to_vec()).await.unwrap();
        assert_eq!(contents.read(&UNKNOWN).await.as_deref(), Some(b"again".as_slice()));
    }

    #[tokio::test]
    async fn archives_that_no_submission_has_go_at_the_start_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let contents = with_two(dir.path()).await;
        let other = dir.path().join("notes.zip");
        std::fs::write(&other, "an operator's").unwrap();
        assert_eq!(contents.drop_unknown(&[KNOWN].into()).unwrap(), 1);
        assert_eq!(contents.read(&UNKNOWN).await, None);
        assert!(contents.read(&KNOWN).await.is_some() && other.exists());
    }
}

//! Submissions' bytes on disk, by content digest: our own store, and directories that the operator
//! fills.
//!
//! Not here: getting bytes from elsewhere (`fetch`).

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

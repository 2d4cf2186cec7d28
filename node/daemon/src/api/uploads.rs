//! Archives that miners left here: a folder beside the store, bounded, from which they are taken
//! over when their digest is committed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use node_core::id::ContentDigest;
use tokio::sync::Mutex;

use crate::run::contents::Contents;

/// Archives that nobody may have committed to yet. Lower: a burst of miners pushes each other's
/// archives out before they commit. Higher: strangers fill the disk; with the largest archive of
/// the built-in policies it is a gibibyte.
const KEPT_MAX: usize = 256;

/// The folder.
#[derive(Clone, Debug)]
pub(crate) struct Uploads {
    directory: PathBuf,
    contents: Contents,
    /// One writer at a time, so that the bound holds.
    writing: Arc<Mutex<()>>,
}

impl Uploads {
    /// Keeps archives of at most `bytes_max` below `directory`.
    ///
    /// # Errors
    ///
    /// If it cannot be created.
    pub(crate) fn open(directory: PathBuf, bytes_max: u64) -> io::Result<Self> {
        let contents = Contents::open(directory.clone(), Vec::new(), bytes_max)?;
        Ok(Self { directory, contents, writing: Arc::default() })
    }

    /// Keeps an archive; the one that came first goes if there are too many. Durable when it
    /// returns.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub(crate) async fn keep(&self, content: &ContentDigest, bytes: Vec<u8>) -> io::Result<()> {
        let _writing = self.writing.lock().await;
        if self.contents.read(content).await.is_some() {
            return Ok(());
        }
        let directory = self.directory.clone();
        let made = tokio::task::spawn_blocking(move || make_room(&directory)).await;
        made.map_err(io::Error::other)??;
        self.contents.store(content, bytes).await
    }
}

fn make_room(directory: &Path) -> io::Result<()> {
    let mut kept: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        kept.push((entry.metadata()?.modified()?, entry.path()));
    }
    kept.sort_unstable();
    let surplus = (kept.len() + 1).saturating_sub(KEPT_MAX);
    kept.iter().take(surplus).try_for_each(|(_, path)| std::fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::contents::file_name;

    fn content(number: u16) -> ContentDigest {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        ContentDigest(bytes)
    }

    #[tokio::test]
    async fn the_first_one_goes_when_there_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let uploads = Uploads::open(directory.path().to_owned(), 10).unwrap();
        for number in 0..=KEPT_MAX {
            let number = u16::try_from(number).unwrap();
            uploads.keep(&content(number), vec![1, 2, 3]).await.unwrap();
            let path = directory.path().join(file_name(&content(number)));
            let seconds = std::time::Duration::from_secs(number.into());
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + seconds).unwrap();
        }
        let exists = |number| directory.path().join(file_name(&content(number))).exists();
        assert!(!exists(0) && exists(1) && exists(256));
        uploads.keep(&content(1), vec![9]).await.unwrap();
        let kept = std::fs::read(directory.path().join(file_name(&content(1)))).unwrap();
        assert_eq!(kept, [1, 2, 3], "what is there already is not written again");
    }
}

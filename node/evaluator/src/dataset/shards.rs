//! Writes the shards of a split, one after the other, with their digests.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use node_core::id::Digest;
use sha2::Digest as _;

use super::prepare::PrepareError;
use super::{ShardEntry, Split};

/// Shards of a split. Higher: a node that keeps all of them open meets the usual limit of 1,024
/// open files.
pub(super) const SHARDS_MAX: usize = 900;

/// The shards of a split that is being written.
#[derive(Debug)]
pub(super) struct ShardWriter<'a> {
    split: Split,
    dir: &'a Path,
    shard_bytes: u64,
    entries: Vec<ShardEntry>,
    open: Option<OpenShard>,
}

#[derive(Debug)]
struct OpenShard {
    path: PathBuf,
    name: String,
    file: BufWriter<File>,
    hash: sha2::Sha256,
    documents: u64,
    bytes: u64,
}

impl<'a> ShardWriter<'a> {
    /// No shards yet. One is full with `shard_bytes`, passed by at most one document.
    pub(super) fn new(split: Split, dir: &'a Path, shard_bytes: u64) -> Self {
        Self { split, dir, shard_bytes, entries: Vec::new(), open: None }
    }

    /// Appends a document.
    pub(super) fn push(&mut self, document: &[u8]) -> Result<(), PrepareError> {
        let mut shard = match self.open.take() {
            Some(shard) => shard,
            None => self.next()?,
        };
        shard.file.write_all(document).map_err(|source| shard.failed(source))?;
        shard.hash.update(document);
        shard.documents = shard.documents.saturating_add(1);
        shard.bytes = shard.bytes.saturating_add(document.len() as u64);
        if shard.bytes >= self.shard_bytes {
            self.entries.push(shard.close()?);
        } else {
            self.open = Some(shard);
        }
        Ok(())
    }

    /// What was written.
    pub(super) fn finish(mut self) -> Result<Vec<ShardEntry>, PrepareError> {
        if let Some(shard) = self.open.take() {
            self.entries.push(shard.close()?);
        }
        Ok(self.entries)
    }

    fn next(&self) -> Result<OpenShard, PrepareError> {
        if self.entries.len() >= SHARDS_MAX {
            return Err(PrepareError::TooManyShards { split: self.split });
        }
        let name = format!("{}-{:04}.txt", self.split, self.entries.len());
        let path = self.dir.join(&name);
        let file = File::create_new(&path)
            .map_err(|source| PrepareError::Write { path: path.clone(), source })?;
        let (file, hash) = (BufWriter::with_capacity(1 << 20, file), sha2::Sha256::new());
        Ok(OpenShard { path, name, file, hash, documents: 0, bytes: 0 })
    }
}

impl OpenShard {
    fn failed(&self, source: std::io::Error) -> PrepareError {
        PrepareError::Write { path: self.path.clone(), source }
    }

    fn close(mut self) -> Result<ShardEntry, PrepareError> {
        self.file.flush().map_err(|source| self.failed(source))?;
        self.file.get_ref().sync_all().map_err(|source| self.failed(source))?;
        let sha256 = Digest(self.hash.finalize().into());
        Ok(ShardEntry { file: self.name, documents: self.documents, bytes: self.bytes, sha256 })
    }
}

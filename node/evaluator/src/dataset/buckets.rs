//! Sorts documents by their hash on disk: 256 files by the hash's first byte, each sorted by
//! itself. Memory is a buffer per file and forty-eight bytes per document of one file.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use node_core::id::sha256;

use super::prepare::PrepareError;

/// Files that documents are spread over, one for each first byte of a hash.
pub(super) const BUCKETS: usize = 256;

/// Bytes held for each of them until they are written.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes of a record before its document: the hash, then the length.
const HEAD_BYTES: u64 = 32 + 4;

/// Documents on their way from the sources to the shards.
#[derive(Debug)]
pub(super) struct Buckets {
    files: Vec<(PathBuf, BufWriter<File>)>,
}

impl Buckets {
    /// Makes empty ones in `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self, PrepareError> {
        let make = |number| {
            let path = dir.join(format!("bucket-{number:02x}"));
            let file = File::create_new(&path)
                .map_err(|source| PrepareError::Write { path: path.clone(), source })?;
            Ok((path, BufWriter::with_capacity(BUFFER_BYTES, file)))
        };
        Ok(Self { files: (0..BUCKETS).map(make).collect::<Result<_, _>>()? })
    }

    /// Takes a document in.
    pub(super) fn add(&mut self, document: &str) -> Result<(), PrepareError> {
        let hash = sha256(document.as_bytes()).0;
        let [first, ..] = hash;
        let Some((path, file)) = self.files.get_mut(usize::from(first)) else { return Ok(()) };
        let len = u32::try_from(document.len()).unwrap_or(u32::MAX).to_le_bytes();
        file.write_all(&hash)
            .and_then(|()| file.write_all(&len))
            .and_then(|()| file.write_all(document.as_bytes()))
            .map_err(|source| PrepareError::Write { path: path.clone(), source })
    }

    /// Hands over every document once, by rising hash, and removes the files on the way.
    ///
    /// - `each`: takes a hash and its document.
    /// - `done`: is told the number of files that are finished.
    pub(super) fn sorted(
        self,
        mut each: impl FnMut(&[u8; 32], &[u8]) -> Result<(), PrepareError>,
        mut done: impl FnMut(u16) -> Result<(), PrepareError>,
    ) -> Result<(), PrepareError> {
        // What is buffered goes to disk first: a full one is noticed before anything is sorted.
        let mut files = Vec::with_capacity(self.files.len());
        for (path, file) in self.files {
            let file = file.into_inner().map_err(|error| PrepareError::Write {
                path: path.clone(),
                source: error.into_error(),
            })?;
            files.push((path, file));
        }
        for (number, (path, _)) in (1..).zip(files) {
            let read = |source| PrepareError::Read { path: path.clone(), source };
            let file = File::open(&path).map_err(read)?;
            let mut documents = places(&file).map_err(read)?;
            documents.sort_unstable();
            documents.dedup_by_key(|(hash, ..)| *hash);
            let mut document = Vec::new();
            for (hash, at, len) in documents {
                document.resize(len as usize, 0);
                file.read_exact_at(&mut document, at).map_err(read)?;
                each(&hash, &document)?;
            }
            fs::remove_file(&path)
                .map_err(|source| PrepareError::Write { path: path.clone(), source })?;
            done(number)?;
        }
        Ok(())
    }
}

/// Hash, place and length of each document in a file.
fn places(file: &File) -> io::Result<Vec<([u8; 32], u64, u32)>> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let (mut places, mut at) = (Vec::new(), 0_u64);
    let end = file.metadata()?.len();
    while at < end {
        let (mut hash, mut len) = ([0; 32], [0; 4]);
        reader.read_exact(&mut hash)?;
        reader.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len);
        at = at.saturating_add(HEAD_BYTES);
        places.push((hash, at, len));
        reader.seek_relative(i64::from(len))?;
        at = at.saturating_add(u64::from(len));
    }
    Ok(places)
}

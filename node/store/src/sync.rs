//! Making directories and files durable.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Bytes read and written at once by [`rewrite_in_place`].
const REWRITE_CHUNK_BYTES: usize = 1 << 20;

/// Creates a directory that only the owner can enter, with its parents. An existing one is left
/// as it is.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Options for a file that only the owner can read and write.
pub(crate) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Writes a file's own bytes over themselves and syncs it.
///
/// After a failed sync, Linux marks the pages that it could not write as clean: the next sync
/// succeeds without writing them. Writing them again is the only way to have them on the disk.
pub(crate) fn rewrite_in_place(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut chunk = vec![0; REWRITE_CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let len = file.read(&mut chunk)?;
        let Some(read) = chunk.get(..len).filter(|read| !read.is_empty()) else { break };
        file.write_all_at(read, offset)?;
        offset += len as u64;
    }
    file.sync_all()
}

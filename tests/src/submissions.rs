//! Submissions for tests and the quickstart: honest ones, and ones that must be refused.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use node_core::id::ContentDigest;
use node_core::policy::Policy;
use node_evaluator::archive::content_digest;
use node_evaluator::reference::reference;
use zip::write::SimpleFileOptions;

use crate::binaries::repository;

/// An archive and its digest.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The ZIP.
    pub bytes: Vec<u8>,
    /// What a commitment to it names.
    pub digest: ContentDigest,
}

/// The directory of a submission that is kept as a fixture, or ships with the node as a reference.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    let folder = match reference(name) {
        Some(_) => "node/evaluator/reference",
        None => "tests/fixtures/submissions",
    };
    repository().join(folder).join(name)
}

/// Packs a fixture as `assay miner pack` does.
///
/// # Errors
///
/// If it cannot be read.
pub fn packed_fixture(name: &str) -> anyhow::Result<Packed> {
    let dir = fixture(name);
    let packed = node_evaluator::archive::pack(&dir, &Policy::dev().archive)
        .with_context(|| format!("packing `{}`", dir.display()))?;
    Ok(Packed { bytes: packed.bytes, digest: packed.digest })
}

/// As [`packed_fixture`], with a note that makes it another submission.
///
/// # Errors
///
/// If it cannot be read or copied.
pub fn packed_variant(name: &str, note: &str) -> anyhow::Result<Packed> {
    packed_with_note(&fixture(name), note)
}

/// Packs the project in `from` together with a note that makes it another submission.
///
/// # Errors
///
/// If it cannot be read or copied.
pub fn packed_with_note(from: &Path, note: &str) -> anyhow::Result<Packed> {
    let dir = tempfile::tempdir()?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), dir.path().join(entry.file_name()))?;
        }
    }
    std::fs::write(dir.path().join("note.txt"), note)?;
    let packed = node_evaluator::archive::pack(dir.path(), &Policy::dev().archive)?;
    Ok(Packed { bytes: packed.bytes, digest: packed.digest })
}

/// An archive with a path that leads out of it, which `assay miner pack` refuses to make.
///
/// # Errors
///
/// If the fixture that it is made of cannot be read.
pub fn packed_traversal() -> anyhow::Result<Packed> {
    let mut files = std::collections::BTreeMap::new();
    for name in ["architecture.py", "training.py"] {
        files.insert(name.to_owned(), std::fs::read(fixture("bigram").join(name))?);
    }
    files.insert("../../escaped.py".to_owned(), b"print('outside')\n".to_vec());
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in &files {
        zip.start_file(name.as_str(), SimpleFileOptions::default())?;
        zip.write_all(content)?;
    }
    Ok(Packed { bytes: zip.finish()?.into_inner(), digest: content_digest(&files) })
}

/// Puts an archive where nodes look for it.
///
/// # Errors
///
/// If the directory cannot be written.
pub fn provide(dir: &Path, packed: &Packed) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(dir)?;
    let path = dir.join(format!("{}.zip", packed.digest));
    std::fs::write(&path, &packed.bytes)?;
    Ok(path)
}

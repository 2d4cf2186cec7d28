//! A submission's identity: a digest over its paths and bytes, however they were zipped.

use std::collections::BTreeMap;

use node_core::id::{ContentDigest, DigestBuilder};

/// Digest of a set of files.
///
/// SHA-256 over the domain `assay/content/v1`, the number of files, and then, in ascending byte
/// order of the paths, each path and each content; every field is preceded by its length as eight
/// little-endian bytes. Compression, order, times and permissions in the archive do not enter, so
/// zipping the same files again gives the same digest.
#[must_use]
pub fn content_digest(files: &BTreeMap<String, Vec<u8>>) -> ContentDigest {
    let head = DigestBuilder::new("assay/content/v1").number(files.len() as u64);
    let digest = files
        .iter()
        .fold(head, |digest, (path, content)| digest.bytes(path.as_bytes()).bytes(content));
    ContentDigest(digest.finish())
}

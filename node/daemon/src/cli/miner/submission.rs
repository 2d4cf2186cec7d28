//! A submission on the miner's disk: a project's folder or a packed archive, and its verdict.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use node_core::admission::Verdict;
use node_core::id::ContentDigest;
use node_core::policy::Policy;
use node_evaluator::admit::admit;
use node_evaluator::archive::{content_digest, pack, read_archive, PackError};
use node_evaluator::gates::Gates;

use super::pack::pack_failure;
use crate::exit::ExitReason;
use crate::failure::Failure;

/// An archive and what a validator would say to it.
#[derive(Debug)]
pub(super) struct Submission {
    /// The archive.
    pub(super) bytes: Vec<u8>,
    /// Its content's digest; `None` if the archive is refused before that is known.
    pub(super) digest: Option<ContentDigest>,
    /// The verdict of admission.
    pub(super) verdict: Verdict,
    /// Gates that refuse what ships with the node, and so refuse nobody.
    pub(super) faults: Vec<String>,
}

/// The file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the submission `{path}`")]
struct ReadError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Reads an archive, or packs a folder, and judges it exactly as a validator does.
///
/// # Errors
///
/// A [`Failure`] if there is nothing to judge.
pub(super) fn judge(path: &Path, policy: &Policy) -> Result<Submission, Failure> {
    let bytes = if path.is_dir() {
        match pack(path, &policy.archive) {
            Ok(packed) => packed.bytes,
            Err(PackError::Refused { rejection }) => {
                let verdict = Verdict::Rejected { rejection };
                let (bytes, faults) = (Vec::new(), Vec::new());
                return Ok(Submission { bytes, digest: None, verdict, faults });
            }
            Err(error) => return Err(pack_failure(error)),
        }
    } else {
        read_bounded(path, policy.archive.packed_bytes_max).map_err(|source| {
            Failure::new(ExitReason::Failed, ReadError { path: path.to_path_buf(), source })
                .hint("name a project's folder, or the archive that `assay miner pack` wrote")
        })?
    };
    Ok(judge_archive(bytes, policy))
}

/// Judges an archive exactly as a validator does.
pub(super) fn judge_archive(bytes: Vec<u8>, policy: &Policy) -> Submission {
    let archive = read_archive(&bytes, &policy.archive).ok();
    let digest = archive.map(|archive| content_digest(&archive.files));
    // Without a digest the archive is refused before digests are compared.
    let gates = Gates::check(policy);
    let (verdict, _) = admit(&bytes, &digest.unwrap_or(ContentDigest([0; 32])), &gates);
    let faults = gates.faults().iter().map(ToString::to_string).collect();
    Submission { bytes, digest, verdict, faults }
}

/// A validator would refuse it.
#[derive(Debug, thiserror::Error)]
#[error("validators would refuse the submission: {verdict}")]
struct NotAdmitted {
    verdict: String,
}

impl Submission {
    /// Its content's digest, if a validator would admit it.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the verdict otherwise.
    pub(super) fn admitted(&self) -> Result<ContentDigest, Failure> {
        match (&self.verdict, self.digest) {
            (Verdict::Admitted { .. }, Some(digest)) => Ok(digest),
            (verdict, _) => {
                let verdict = verdict_text(verdict);
                Err(Failure::new(ExitReason::Failed, NotAdmitted { verdict })
                    .hint("`assay miner check` says the same, as often as you like"))
            }
        }
    }
}

/// One byte more than allowed is enough to be refused for its size.
fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The verdict as a miner reads it, in one line.
pub(super) fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Admitted { files, unpacked_bytes, flags, .. } if flags.is_empty() => {
            format!("admitted: {files} files, {unpacked_bytes} bytes")
        }
        Verdict::Admitted { files, unpacked_bytes, flags, .. } => {
            let flags = flags.len();
            format!("admitted: {files} files, {unpacked_bytes} bytes, {flags} flags")
        }
        Verdict::Rejected { rejection } => format!("rejected: {rejection}"),
    }
}

/// The evidence of a verdict: what was found where, and what to do; a line each.
pub(super) fn evidence_lines(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Admitted { flags, .. } => {
            flags.iter().map(|flag| format!("flag      {flag}")).collect()
        }
        Verdict::Rejected { rejection } => {
            let snippet = rejection.snippet.map(|snippet| format!("snippet   {snippet}"));
            snippet.into_iter().collect()
        }
    }
}

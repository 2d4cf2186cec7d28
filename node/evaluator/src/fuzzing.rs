//! What submissions and texts consist of, as functions of bytes: for the fuzz targets in
//! `tests/fuzz`, and for the test that replays their corpus (`tests/corpus.rs`). No node uses it.

mod container;

use std::collections::BTreeMap;

use node_core::admission::Rejection;
use node_core::limits::DETAIL_CHARS_MAX;
use node_core::policy::Policy;

use crate::archive::{content_digest, read_archive, Archive};
use crate::dataset::read_records;
use crate::dataset::SourceKind;
use crate::fingerprint::shingles;
use crate::manifest::read_manifest;
use crate::source::read_sources;
use crate::{distributed, static_rules};

/// Findings that are asked for.
const FINDINGS_MAX: usize = 64;

/// One kind of bytes from outside.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of the fuzz target, and of its folder in the corpus.
    pub name: &'static str,
    /// Reads bytes.
    ///
    /// # Errors
    ///
    /// [`Broken`] if this crate has a fault.
    pub read: fn(&[u8]) -> Result<Reading, Broken>,
}

/// What came of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// They were refused.
    Refused,
    /// They were read.
    Taken,
}

/// What must never come of any bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Reading them again gives something else.
    #[error("reading it again gives something else")]
    NotTheSame,
    /// More comes of them than can be in them.
    #[error("more comes of them than can be in them")]
    TooMuch,
    /// A document is not what a shard may contain.
    #[error("a document is no clean text")]
    NotClean,
    /// A rejection that a miner could not use, or that says what is not there.
    #[error("the evidence is wrong")]
    Evidence,
    /// Something was taken that breaks a limit.
    #[error("`{0}` was taken beyond its limit")]
    BeyondLimit(&'static str),
    /// A measurement ended otherwise than by the container's doing, or could not begin.
    #[error("the measurement does not end as the container's own doing")]
    AnotherEnd,
}

/// Every kind.
pub const TARGETS: &[Target] = &[
    Target { name: "fingerprint", read: fingerprint },
    Target { name: "json_lines", read: json_lines },
    Target { name: "meter_channel", read: container::meter_channel },
    Target { name: "table", read: table },
    Target { name: "submission_archive", read: archive },
    Target { name: "submission_manifest", read: manifest },
    Target { name: "submission_source", read: source },
    Target { name: "tokenizer", read: container::tokenizer },
];

/// The kind with this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The code of a submission with one file.
fn fingerprint(bytes: &[u8]) -> Result<Reading, Broken> {
    let files = BTreeMap::from([("architecture.py".to_owned(), bytes.to_vec())]);
    let first = shingles(&files);
    if first != shingles(&files) {
        return Err(Broken::NotTheSame);
    }
    match first {
        Ok(shingles) if shingles.len() > bytes.len().saturating_mul(4) => Err(Broken::TooMuch),
        Ok(_) => Ok(Reading::Taken),
        Err(_) => Ok(Reading::Refused),
    }
}

fn json_lines(bytes: &[u8]) -> Result<Reading, Broken> {
    records(bytes, SourceKind::JsonLines)
}

fn table(bytes: &[u8]) -> Result<Reading, Broken> {
    records(bytes, SourceKind::Parquet)
}

fn records(bytes: &[u8], kind: SourceKind) -> Result<Reading, Broken> {
    let is_clean = |document: &str| {
        let is_allowed = |c: char| !c.is_control() || c == '\n' || c == '\t';
        document.ends_with("\n\n") && document.chars().all(is_allowed)
    };
    match read_records(bytes.to_vec(), kind, "text") {
        Ok(documents) if documents.iter().all(|document| is_clean(document)) => Ok(Reading::Taken),
        Ok(_) => Err(Broken::NotClean),
        Err(_) => Ok(Reading::Refused),
    }
}

fn check(rejection: &Rejection, lines: Option<usize>) -> Result<(), Broken> {
    let is_clipped = rejection.detail.chars().count() <= DETAIL_CHARS_MAX;
    let is_said = !rejection.detail.is_empty() && rejection.file.as_deref() != Some("");
    let is_there = match (rejection.line, lines) {
        (Some(line), Some(lines)) => line >= 1 && line as usize <= lines + 1,
        _ => true,
    };
    if is_clipped && is_said && is_there {
        Ok(())
    } else {
        Err(Broken::Evidence)
    }
}

/// A submission's ZIP.
fn archive(bytes: &[u8]) -> Result<Reading, Broken> {
    let limits = Policy::dev().archive;
    let archive = match read_archive(bytes, &limits) {
        Ok(archive) => archive,
        Err(rejection) => return check(&rejection, None).map(|()| Reading::Refused),
    };
    if archive.unpacked_bytes() > limits.unpacked_bytes_max {
        return Err(Broken::BeyondLimit("unpacked_bytes_max"));
    }
    if archive.files.len() > limits.files_max as usize {
        return Err(Broken::BeyondLimit("files_max"));
    }
    let again = read_archive(bytes, &limits).map(|archive| content_digest(&archive.files));
    if again.ok() != Some(content_digest(&archive.files)) {
        return Err(Broken::NotTheSame);
    }
    Ok(Reading::Taken)
}

fn with_file(path: &str, bytes: &[u8]) -> Archive {
    Archive { files: BTreeMap::from([(path.to_owned(), bytes.to_vec())]) }
}

/// A project's manifest, in an archive with nothing else.
fn manifest(bytes: &[u8]) -> Result<Reading, Broken> {
    let archive = with_file("prism.yaml", bytes);
    let lines = String::from_utf8_lossy(bytes).lines().count();
    match (read_manifest(&archive), read_manifest(&archive)) {
        (Ok(first), Ok(second)) if first == second => Ok(Reading::Taken),
        (Err(first), Err(second)) if first == second => {
            check(&first, Some(lines)).map(|()| Reading::Refused)
        }
        _ => Err(Broken::NotTheSame),
    }
}

/// A Python file, with all gates that read it. Whether it breaks a rule does not matter here.
fn source(bytes: &[u8]) -> Result<Reading, Broken> {
    let rules = Policy::dev().admission;
    let archive = with_file("a.py", bytes);
    let lines = String::from_utf8_lossy(bytes).split(['\n', '\r']).count();
    let sources = match read_sources(&archive, &rules) {
        Ok(sources) => sources,
        Err(rejection) => return check(&rejection, Some(lines)).map(|()| Reading::Refused),
    };
    let found = static_rules::check(&sources, &rules, FINDINGS_MAX);
    let first = static_rules::check(&sources, &rules, 1);
    if first.first() != found.first() || found.len() > FINDINGS_MAX {
        return Err(Broken::NotTheSame);
    }
    for rejection in found.iter().chain(&distributed::check(&sources, FINDINGS_MAX)) {
        check(rejection, Some(lines))?;
    }
    Ok(Reading::Taken)
}

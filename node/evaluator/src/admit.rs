//! Everything decided before training, as one verdict with its evidence.
//!
//! In this order, the first failure ends it: the archive; the committed digest; the contract, that
//! is the manifest, the files, whether they are Python, the symbols, and a tokenizer; the static
//! rules; the contract of several devices. The two last can be in shadow, by the policy: then what
//! they find is kept in the verdict, and does not end admission. A gate that refuses what ships
//! with the node is put in shadow by [`Gates`].
//! Pure: the same bytes under the same policy give the same verdict on every machine, so a
//! miner's `check` and a validator's admission are one function.

use node_core::admission::{Brings, Rejection, Rule, Verdict, FLAGS_MAX};
use node_core::duplicates::Sketch;
use node_core::id::ContentDigest;
use node_core::policy::{GateMode, Policy};

use crate::archive::{content_digest, read_archive, rejection, Archive};
use crate::contract::{check_symbols, entry_files};
use crate::fingerprint::Parsed;
use crate::gates::Gates;
use crate::manifest::read_manifest;
use crate::project::{Project, ProjectKind, TokenizerChoice, TOKENIZER_FILE};
use crate::source::{read_each, Source};
use crate::tokenizer::Tokenizer;
use crate::{distributed, static_rules};

/// What a run and a comparison need of an archive that was admitted.
#[derive(Debug)]
pub struct Admitted {
    /// Its files.
    pub archive: Archive,
    /// By what its code is compared with others'.
    pub sketch: Sketch,
}

/// Decides whether `bytes` are the content that was committed, and follow the rules.
///
/// - `expected`: the digest on chain.
/// - `gates`: the rules, tried.
/// - Result: the verdict, and what of it is needed if it was admitted.
#[must_use]
pub fn admit(bytes: &[u8], expected: &ContentDigest, gates: &Gates) -> (Verdict, Option<Admitted>) {
    match checked(bytes, expected, gates) {
        Ok((admitted, flags, brings)) => {
            let files = u32::try_from(admitted.archive.files.len()).unwrap_or(u32::MAX);
            let unpacked_bytes = admitted.archive.unpacked_bytes();
            (Verdict::Admitted { files, unpacked_bytes, flags, brings }, Some(admitted))
        }
        Err(rejection) => (Verdict::Rejected { rejection }, None),
    }
}

/// What an admitted archive holds, as the start of a run needs it.
///
/// # Errors
///
/// The broken rule, if the archive does not keep the contract.
pub fn read_project(archive: &Archive, policy: &Policy) -> Result<Project, Rejection> {
    project_and_sources(archive, policy, &mut |_, _| {}).map(|(project, _)| project)
}

fn checked(
    bytes: &[u8],
    expected: &ContentDigest,
    gates: &Gates,
) -> Result<(Admitted, Vec<Rejection>, Brings), Rejection> {
    let policy = gates.policy();
    let archive = read_archive(bytes, &policy.archive)?;
    let got = content_digest(&archive.files);
    if got != *expected {
        let detail = format!("the content has the digest {got}, the commitment names {expected}");
        return Err(rejection(Rule::ContentDigest, None, detail));
    }
    let mut parsed = Parsed::of(&archive);
    let (project, sources) =
        project_and_sources(&archive, policy, &mut |tree, text| parsed.add(tree, text))?;
    check_tokenizer(&archive, &project, policy)?;
    let rules = gates.applied();
    let mut flags = Vec::new();
    gate(rules.source, &mut flags, |max| static_rules::check(&sources, rules, max))?;
    gate(rules.distributed, &mut flags, |max| distributed::check(&sources, max))?;
    let Project { kind, architecture_id, .. } = project;
    // What cannot be compared with others' code is not admitted, here as in the check.
    let sketch = parsed.sketch()?;
    Ok((Admitted { archive, sketch }, flags, Brings { kind, architecture_id }))
}

/// Whether a tokenizer that the project brings could be used. A training alone has that of the
/// architecture that it is for.
fn check_tokenizer(archive: &Archive, project: &Project, policy: &Policy) -> Result<(), Rejection> {
    let is_used = match project.kind {
        ProjectKind::Full | ProjectKind::ArchitectureOnly => true,
        ProjectKind::TrainingForArch => false,
    };
    let brought = archive.files.get(TOKENIZER_FILE);
    let Some(json) = brought.filter(|_| is_used && project.tokenizer == TokenizerChoice::Custom)
    else {
        return Ok(());
    };
    Tokenizer::read(json, &policy.meter.tokens).map(|_| ()).map_err(|error| {
        rejection(Rule::ContractTokenizer, Some(TOKENIZER_FILE), error.to_string())
    })
}

/// Runs a gate as its mode says: its first finding ends admission, or all are kept.
///
/// - `check`: the gate; its parameter is how many findings are wanted at most.
fn gate(
    mode: GateMode,
    flags: &mut Vec<Rejection>,
    check: impl FnOnce(usize) -> Vec<Rejection>,
) -> Result<(), Rejection> {
    match mode {
        GateMode::Reject => check(1).into_iter().next().map_or(Ok(()), Err),
        GateMode::Flag => {
            flags.extend(check(FLAGS_MAX.saturating_sub(flags.len())));
            flags.truncate(FLAGS_MAX);
            Ok(())
        }
        GateMode::Off => Ok(()),
    }
}

/// What the archive brings, and its Python as it was read.
///
/// - `each`: is shown what the parser made of each file.
pub(crate) fn project_and_sources(
    archive: &Archive,
    policy: &Policy,
    each: &mut dyn FnMut(&tree_sitter::Tree, &str),
) -> Result<(Project, Vec<Source>), Rejection> {
    let manifest = read_manifest(archive)?;
    let files = entry_files(archive, &manifest)?;
    let sources = read_each(archive, &policy.admission, each)?;
    let project = check_symbols(&sources, &manifest, files)?;
    Ok((project, sources))
}

//! `prism.yaml`, with which a project may say what it is. Hostile text like everything else of it.
//!
//! ```yaml
//! kind: full                    # or architecture_only, training_for_arch
//! architecture_id: ssm          # what a training_for_arch trains: a reference, or a digest
//! architecture:
//!   entrypoint: src/model.py    # or src/model.py::build_model
//!   files: [src/layers.py]      # optional: they have to be in the archive
//! training:
//!   entrypoint: src/train.py::train
//! tokenizer: bytes              # a reference tokenizer's name, or tokenizer.json
//! ```
//!
//! Everything is optional, unknown keys are refused, and aliases of YAML are, too. Not here:
//! whether the entry points define what they name (`contract`).

use std::collections::BTreeMap;

use node_core::admission::{Rejection, Rule};
use node_core::id::{sha256, ContentDigest};
use serde::Deserialize;

use crate::archive::{rejection, Archive};
use crate::project::{ProjectKind, TokenizerChoice, TOKENIZER_FILE};
use crate::reference::{
    reference, reference_tokenizer, reference_tokenizers, references, Reference, ReferenceTokenizer,
};

/// The names that a manifest may have.
pub const MANIFEST_FILES: [&str; 2] = ["prism.yaml", "prism.yml"];

/// Bytes of a manifest.
const BYTES_MAX: usize = 16 << 10;

/// Characters of a family's or a tokenizer's name.
const NAME_CHARS_MAX: usize = 64;

/// A manifest that was read and is consistent in itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What the project competes with.
    pub kind: ProjectKind,
    /// The architecture it names; of a training alone a reference's name or a content digest.
    pub architecture_id: Option<String>,
    /// Where the model is made, if it says so.
    pub architecture: Option<NamedEntry>,
    /// Where it is trained, if it says so.
    pub training: Option<NamedEntry>,
    /// How text becomes tokens.
    pub tokenizer: TokenizerChoice,
    /// The manifest's own path; `None` if the project has none.
    pub path: Option<&'static str>,
}

/// An entry point as a manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedEntry {
    /// A Python file of the archive.
    pub file: String,
    /// A function's name, if it is given.
    pub symbol: Option<String>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self {
            kind: ProjectKind::Full,
            architecture_id: None,
            architecture: None,
            training: None,
            tokenizer: TokenizerChoice::Bytes,
            path: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    kind: Option<WrittenKind>,
    #[serde(default)]
    architecture_id: Option<String>,
    #[serde(default)]
    architecture: Option<WrittenPart>,
    #[serde(default)]
    training: Option<WrittenPart>,
    #[serde(default)]
    tokenizer: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenKind {
    Full,
    ArchitectureOnly,
    TrainingForArch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPart {
    #[serde(default)]
    entrypoint: Option<String>,
    #[serde(default)]
    files: Vec<String>,
}

/// Reads the manifest of an archive; without one the project is what its default files say.
///
/// # Errors
///
/// [`Rule::ContractManifest`] if it cannot be read or contradicts itself, [`Rule::ContractFile`]
/// if a file that it names is missing.
pub fn read_manifest(archive: &Archive) -> Result<Manifest, Rejection> {
    let found = |path: &&'static str| archive.files.contains_key(*path);
    let mut paths = MANIFEST_FILES.into_iter().filter(found);
    let Some(path) = paths.next() else { return Ok(Manifest::default()) };
    let content = archive.files.get(path).map(Vec::as_slice).unwrap_or_default();
    let reader = Reader { path, text: std::str::from_utf8(content).unwrap_or_default() };
    if let Some(other) = paths.next() {
        let detail = format!("`{other}` stands beside `{path}`: keep one of them");
        return Err(reader.refused(None, detail));
    }
    reader.read(&archive.files)
}

struct Reader<'a> {
    path: &'static str,
    text: &'a str,
}

impl Reader<'_> {
    fn read(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<Manifest, Rejection> {
        let written = self.parse()?;
        let kind = match written.kind {
            None | Some(WrittenKind::Full) => ProjectKind::Full,
            Some(WrittenKind::ArchitectureOnly) => ProjectKind::ArchitectureOnly,
            Some(WrittenKind::TrainingForArch) => ProjectKind::TrainingForArch,
        };
        let architecture_id = match written.architecture_id {
            Some(id) if kind == ProjectKind::TrainingForArch => Some(self.architecture(id)?),
            Some(id) => Some(self.name("architecture_id", id)?),
            None if kind == ProjectKind::TrainingForArch => {
                let detail =
                    "`kind: training_for_arch` needs the `architecture_id` of what it trains";
                return Err(self.refused(self.line_of("kind"), detail.to_owned()));
            }
            None => None,
        };
        let architecture = self.part("architecture", written.architecture, files)?;
        let training = self.part("training", written.training, files)?;
        if kind == ProjectKind::ArchitectureOnly && training.is_some() {
            let detail = "`kind: architecture_only` has no `training`: leave it out, or use `full`";
            return Err(self.refused(self.line_of("training"), detail.to_owned()));
        }
        let tokenizer = self.tokenizer(written.tokenizer, files)?;
        let path = Some(self.path);
        Ok(Manifest { kind, architecture_id, architecture, training, tokenizer, path })
    }

    fn parse(&self) -> Result<Written, Rejection> {
        if self.text.len() > BYTES_MAX {
            let detail = format!("the manifest has more than {BYTES_MAX} bytes");
            return Err(self.refused(None, detail));
        }
        if self.text.trim().is_empty() {
            return Err(self.refused(None, "the manifest is empty: leave it out".to_owned()));
        }
        let budget = serde_saphyr::budget! {
            max_events: 2_000,
            max_aliases: 0,
            max_anchors: 0,
            max_depth: 8,
            max_documents: 1,
            max_nodes: 1_000,
            max_total_scalar_bytes: BYTES_MAX,
            max_merge_keys: 0,
        };
        let options = serde_saphyr::options! { budget: budget, with_snippet: false };
        serde_saphyr::from_str_with_options(self.text, options).map_err(|error| {
            let line = error.location().and_then(|at| u32::try_from(at.line()).ok());
            self.refused(line, format!("the manifest cannot be read: {error}"))
        })
    }

    fn part(
        &self,
        key: &str,
        written: Option<WrittenPart>,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Option<NamedEntry>, Rejection> {
        let Some(written) = written else { return Ok(None) };
        for file in &written.files {
            self.present(key, file, files)?;
        }
        let Some(entry) = written.entrypoint else { return Ok(None) };
        let (file, symbol) = match entry.split_once("::") {
            Some((file, symbol)) => (file, Some(symbol)),
            None => (entry.as_str(), None),
        };
        self.present(key, file, files)?;
        let line = self.line_of(file);
        if !file.ends_with(".py") {
            let detail = format!("the entry point of `{key}` is not a Python file");
            return Err(self.refused(line, detail));
        }
        let is_name = |name: &str| {
            let first = |c: char| c.is_ascii_alphabetic() || c == '_';
            let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
            name.starts_with(first) && name.chars().all(rest) && name.len() <= NAME_CHARS_MAX
        };
        if symbol.is_some_and(|symbol| !is_name(symbol)) {
            let detail = format!("the entry point of `{key}` is not `file` or `file::function`");
            return Err(self.refused(line, detail));
        }
        Ok(Some(NamedEntry { file: file.to_owned(), symbol: symbol.map(str::to_owned) }))
    }

    fn present(
        &self,
        key: &str,
        file: &str,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(), Rejection> {
        if files.contains_key(file) {
            return Ok(());
        }
        let detail = format!("`{key}` names `{file}`, which is not in the archive");
        let refused = self.refused(self.line_of(file), detail);
        Err(Rejection { rule: Rule::ContractFile, ..refused })
    }

    fn tokenizer(
        &self,
        written: Option<String>,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<TokenizerChoice, Rejection> {
        match written.as_deref() {
            None | Some("bytes") => Ok(TokenizerChoice::Bytes),
            Some(TOKENIZER_FILE) => {
                self.present("tokenizer", TOKENIZER_FILE, files)?;
                Ok(TokenizerChoice::Custom)
            }
            Some(name) => self.reference_tokenizer(name),
        }
    }

    fn reference_tokenizer(&self, name: &str) -> Result<TokenizerChoice, Rejection> {
        let name = self.name("tokenizer", name.to_owned())?;
        if reference_tokenizer(&name).is_some() {
            return Ok(TokenizerChoice::Reference(name));
        }
        let names: Vec<&str> =
            reference_tokenizers().iter().map(ReferenceTokenizer::name).collect();
        let detail = format!(
            "`tokenizer` names no tokenizer: give bytes, {}, or {TOKENIZER_FILE}",
            names.join(", ")
        );
        Err(self.refused(self.line_of("tokenizer"), detail))
    }

    /// What a training is for. Whether somebody submitted it is not known here.
    fn architecture(&self, id: String) -> Result<String, Rejection> {
        let id = self.name("architecture_id", id)?;
        if reference(&id).is_some() || id.parse::<ContentDigest>().is_ok() {
            return Ok(id);
        }
        let names: Vec<&str> = references().iter().map(Reference::name).collect();
        let detail = format!(
            "`architecture_id` names no architecture: give {}, or the content digest of an \
             accepted submission",
            names.join(", ")
        );
        Err(self.refused(self.line_of("architecture_id"), detail))
    }

    fn name(&self, key: &str, name: String) -> Result<String, Rejection> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_allowed) {
            let detail = format!(
                "`{key}` has to be 1 to {NAME_CHARS_MAX} letters, digits, `-`, `_` and `.`"
            );
            return Err(self.refused(self.line_of(key), detail));
        }
        Ok(name)
    }

    /// The first line that mentions something.
    fn line_of(&self, what: &str) -> Option<u32> {
        let lines = (1..).zip(self.text.lines());
        lines.into_iter().find(|(_, line)| line.contains(what)).map(|(number, _)| number)
    }

    fn refused(&self, line: Option<u32>, detail: String) -> Rejection {
        let mut refused = rejection(Rule::ContractManifest, Some(self.path), detail);
        refused.line = line;
        refused.snippet = line.map(|line| {
            let skipped = line.saturating_sub(1) as usize;
            let found = self.text.lines().nth(skipped).unwrap_or_default();
            sha256(found.trim().as_bytes())
        });
        refused
    }
}

#[cfg(test)]
mod tests;

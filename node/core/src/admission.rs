//! Verdicts before training: each rejection carries a rule id and its evidence.
//!
//! Not here: reading archives (`node/evaluator`), which reports what it found as a [`Verdict`].

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::funnel::ProjectKind;
use crate::id::{ContentDigest, Digest};

/// The outcome of admission for one content under one policy; never computed twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// Every rule holds.
    Admitted {
        /// Files in the archive.
        files: u32,
        /// Their bytes together.
        unpacked_bytes: u64,
        /// What gates in shadow found, in their order; at most [`FLAGS_MAX`].
        #[serde(default)]
        flags: Vec<Rejection>,
        /// What the project competes with.
        #[serde(default)]
        brings: Brings,
    },
    /// A rule is broken.
    Rejected {
        /// Which, and where.
        rejection: Rejection,
    },
}

/// What a project competes with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brings {
    /// Which parts.
    pub kind: ProjectKind,
    /// The architecture that a `training_for_arch` trains, by the name that its manifest gives:
    /// that of a reference, or the content digest of another submission.
    pub architecture_id: Option<String>,
}

impl Brings {
    /// The content whose architecture it trains, if it names one by its digest.
    #[must_use]
    pub fn named_content(&self) -> Option<ContentDigest> {
        match self.kind {
            ProjectKind::TrainingForArch => self.architecture_id.as_deref()?.parse().ok(),
            ProjectKind::Full | ProjectKind::ArchitectureOnly => None,
        }
    }
}

/// Findings kept of an admitted submission. More would make verdicts long, and say nothing new.
pub const FLAGS_MAX: usize = 32;

impl Verdict {
    /// The verdict for a submission that keeps every rule.
    #[must_use]
    pub fn admitted(files: u32, unpacked_bytes: u64) -> Self {
        let brings = Brings::default();
        Self::Admitted { files, unpacked_bytes, flags: Vec::new(), brings }
    }
}

/// A broken rule, where, and one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The rule.
    pub rule: Rule,
    /// The file or archive entry, as found (shortened, without control characters).
    pub file: Option<String>,
    /// Line in the file, counted from one.
    pub line: Option<u32>,
    /// SHA-256 of what stands there: the lines that break the rule, each without the blanks at its
    /// ends, joined by newlines. Says whether two findings mean the same code.
    #[serde(default)]
    pub snippet: Option<Digest>,
    /// One sentence for the miner.
    pub detail: String,
}

impl Rejection {
    /// A broken rule of the whole submission.
    #[must_use]
    pub fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self { rule, file: None, line: None, snippet: None, detail: detail.into() }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $id:literal,)*) => {
        /// Rules of admission, each with a public id that never changes its meaning.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum Rule {
            $($(#[$doc])* #[serde(rename = $id)] $name,)*
        }

        impl Rule {
            /// Every rule, in the order in which they are checked.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The public id.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// The rule with this public id.
            #[must_use]
            pub fn from_id(id: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|rule| rule.id() == id)
            }
        }
    };
}

rules! {
    /// The packed archive is larger than the policy allows.
    ArchivePackedSize = "archive-packed-size",
    /// The bytes are not a readable ZIP archive.
    ArchiveFormat = "archive-format",
    /// More entries than the policy allows.
    ArchiveFileCount = "archive-file-count",
    /// A path leads out of the archive: `..`, an absolute path, a drive letter, a backslash.
    ArchiveTraversal = "archive-traversal",
    /// A path is not plain text, too long, or empty in a part.
    ArchivePathName = "archive-path-name",
    /// An entry is a link, a device, or encrypted.
    ArchiveEntryKind = "archive-entry-kind",
    /// Two entries have the same name, or names that differ only in case.
    ArchiveDuplicateName = "archive-duplicate-name",
    /// A file's suffix is not allowed.
    ArchiveSuffix = "archive-suffix",
    /// The files together are larger than the policy allows, or larger than the archive claims.
    ArchiveUnpackedSize = "archive-unpacked-size",
    /// A file is not UTF-8 text.
    ArchiveNotText = "archive-not-text",
    /// The content is not what the commitment named.
    ContentDigest = "content-digest",
    /// Another hotkey committed to the same content earlier.
    ContentDuplicate = "content-duplicate",
    /// The manifest cannot be read, or asks for what does not exist.
    ContractManifest = "contract-manifest",
    /// A file that the contract needs is missing.
    ContractFile = "contract-file",
    /// More Python than the policy allows.
    SourceSize = "source-size",
    /// A file declares another encoding than UTF-8.
    SourceEncoding = "source-encoding",
    /// A file is nested too deeply.
    SourceNesting = "source-nesting",
    /// A file is not Python.
    SourceSyntax = "source-syntax",
    /// A symbol that the contract needs is missing.
    ContractSymbol = "contract-symbol",
    /// The project's own tokenizer is none, or one that is not taken.
    ContractTokenizer = "contract-tokenizer",
    /// A module has the name of one that Python or the image brings.
    SourceShadow = "source-shadow",
    /// An import of a module that is not allowed.
    SourceImport = "source-import",
    /// Something that reaches the network.
    SourceNetwork = "source-network",
    /// Something that reads or writes files.
    SourceFiles = "source-files",
    /// Something that starts processes or threads, or reaches the operating system.
    SourceProcess = "source-process",
    /// Something that loads or calls native code.
    SourceNative = "source-native",
    /// An import by a name that is computed.
    SourceDynamicImport = "source-dynamic-import",
    /// Code made from text.
    SourceDynamicCode = "source-dynamic-code",
    /// Objects made from bytes.
    SourceDeserialisation = "source-deserialisation",
    /// An attribute that leads out of what the code was given.
    SourceEscape = "source-escape",
    /// Something that reads the code itself, or the interpreter's state.
    SourceIntrospection = "source-introspection",
    /// One literal is too long.
    SourceLiteral = "source-literal",
    /// A stretch of comments or blanks is too long, or all of them are.
    SourceFiller = "source-filler",
    /// All literals together are too long.
    SourceLiterals = "source-literals",
    /// More devices than a host has are asked for.
    DistributedCount = "distributed-count",
    /// More than one host is asked for.
    DistributedNode = "distributed-node",
    /// Several processes work together without a process group.
    DistributedGroup = "distributed-group",
    /// A process does not take the device of its local rank.
    DistributedDevice = "distributed-device",
    /// Every process would train on the same data.
    DistributedSharding = "distributed-sharding",
    /// Every process would write the same file.
    DistributedWrites = "distributed-writes",
    /// The code has the structure of another hotkey's earlier work.
    DuplicateStructure = "duplicate-structure",
    /// The code takes too long to parse to be compared with others.
    DuplicateUnreadable = "duplicate-unreadable",
    /// No accepted submission brings the architecture that it trains.
    ArchitectureUnknown = "architecture-unknown",
    /// A reviewer is against it: the language model that a validator asks, or a person in place
    /// of it.
    ReviewRejected = "review-rejected",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_alone_may_name_a_content_and_nothing_else_does() {
        let named =
            |kind, id: &str| Brings { kind, architecture_id: Some(id.to_owned()) }.named_content();
        let id = "0e".repeat(32);
        let content = Some(ContentDigest([0x0e; 32]));
        assert_eq!(named(ProjectKind::TrainingForArch, &id), content);
        for kind in [ProjectKind::Full, ProjectKind::ArchitectureOnly] {
            assert_eq!(named(kind, &id), None, "{kind:?}");
        }
        for forged in ["ssm", "", &id[1..], &format!("{id}0e"), &id.replace('e', "g")] {
            assert_eq!(named(ProjectKind::TrainingForArch, forged), None, "{forged}");
        }
    }

    #[test]
    fn every_rule_has_its_own_id_and_is_found_by_it() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_id(rule.id()), Some(*rule));
        }
    }
}

//! Verdicts before training: each rejection carries a rule id and its evidence.
//!
//! Not here: reading archives (`node/evaluator`), which reports what it found as a [`Verdict`].

use std::fmt;

use serde::{Deserialize, Serialize};

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
    },
    /// A rule is broken.
    Rejected {
        /// Which, and where.
        rejection: Rejection,
    },
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
    /// One sentence for the miner.
    pub detail: String,
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
    /// A file that the contract needs is missing.
    ContractFile = "contract-file",
    /// A symbol that the contract needs is missing.
    ContractSymbol = "contract-symbol",
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
    fn every_rule_has_its_own_id_and_is_found_by_it() {
        for rule in Rule::ALL {
            assert_eq!(Rule::from_id(rule.id()), Some(*rule));
        }
    }
}

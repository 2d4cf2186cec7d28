//! Whether a runtime is one that this node can work with: the shape check.
//!
//! Every item that the node uses is described by hand (`chain-metadata`). The check looks each one
//! up in a runtime's metadata, takes one-field wrappers off, and compares. It runs whenever a spec
//! version is met for the first time, and on demand against a file or an endpoint.
//!
//! ```text
//! item found? --no--> fallback, or fatal for what needs it
//!     | yes
//! same shape? --yes-> ok
//!     | no
//! still read and written rightly? --yes-> compatible, with the reason
//!     | no
//! fatal for what needs it; a fallback if nothing does, or another call does the same
//! ```
//!
//! A fatal item takes away only what needs it: reading goes on while a call cannot be signed.
//! Metadata is foreign input. It is checked before use (`metadata`), and the comparison walks our
//! descriptors, never the metadata's own graph, so that its cost has a bound.
//!
//! Not here: what the items mean, and what is done about a verdict.

mod check;
mod compare;
mod extrinsic;
#[cfg(test)]
mod fuzz_tests;
mod metadata;
#[cfg(test)]
mod real_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use std::fmt;
use std::sync::Arc;

use chain_metadata::call::Call;
pub use chain_metadata::Capability;
use node_core::id::BlockHash;

use crate::client::ChainClient;
use crate::encode::EncodeError;
use crate::runtime::RuntimeError;

pub(crate) use metadata::{decode_metadata, metadata_in_file, Version};
pub use metadata::{shapes_in_file, MetadataError, METADATA_BYTES_MAX};

/// What an item is to a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKind {
    /// The frame of a signed extrinsic: version, address, signature.
    Extrinsic,
    /// A transaction extension.
    Extension,
    /// A call.
    Call,
    /// A storage item.
    Storage,
    /// A method of a runtime API.
    Api,
    /// A constant.
    Constant,
    /// An event.
    Event,
    /// An error of a pallet.
    Error,
}

impl ItemKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Extrinsic => "extrinsic",
            Self::Extension => "extension",
            Self::Call => "call",
            Self::Storage => "storage",
            Self::Api => "runtime API",
            Self::Constant => "constant",
            Self::Event => "event",
            Self::Error => "error",
        }
    }
}

/// How one item of a runtime compares with what the node expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Ok,
    /// Different, and still read and written rightly.
    Compatible {
        /// What is different.
        why: String,
    },
    /// It cannot be used, and nothing is lost that the node depends on.
    Fallback {
        /// What is wrong with it.
        why: String,
        /// What the node does instead.
        instead: &'static str,
    },
    /// It cannot be used, and something is lost.
    Fatal {
        /// What is wrong with it.
        why: String,
        /// What is lost.
        lost: Vec<Capability>,
    },
}

impl Verdict {
    /// How bad it is, the worst highest: 0 for [`Verdict::Ok`] to 3 for [`Verdict::Fatal`].
    #[must_use]
    pub const fn severity(&self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Compatible { .. } => 1,
            Self::Fallback { .. } => 2,
            Self::Fatal { .. } => 3,
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Compatible { .. } => "compatible",
            Self::Fallback { .. } => "fallback",
            Self::Fatal { .. } => "FATAL",
        }
    }

    /// Whether the item can be read or written.
    #[must_use]
    pub const fn is_usable(&self) -> bool {
        matches!(self, Self::Ok | Self::Compatible { .. })
    }

    /// What is taken away; empty unless fatal.
    #[must_use]
    pub fn lost(&self) -> &[Capability] {
        match self {
            Self::Fatal { lost, .. } => lost,
            Self::Ok | Self::Compatible { .. } | Self::Fallback { .. } => &[],
        }
    }
}

impl fmt::Display for Verdict {
    /// The reason, without the verdict's name; nothing for [`Verdict::Ok`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok => Ok(()),
            Self::Compatible { why } => f.write_str(why),
            Self::Fallback { why, instead } => write!(f, "{why}; instead: {instead}"),
            Self::Fatal { why, lost } => {
                let lost: Vec<&str> = lost.iter().map(|lost| lost.name()).collect();
                write!(f, "{why}; no {}", lost.join(", no "))
            }
        }
    }
}

/// One item and its verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeRow {
    /// What it is.
    pub kind: ItemKind,
    /// Its name: `SubtensorModule.Tempo`.
    pub name: String,
    /// Its type as the runtime describes it, shortened; empty where it was not found.
    pub found: String,
    /// How it compares.
    pub verdict: Verdict,
}

/// How a runtime compares with everything the node uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeReport {
    /// The runtime's name and spec version, where its metadata says them.
    pub spec: Option<(String, u32)>,
    /// One row per item, grouped by kind, in the order of the descriptors.
    pub rows: Vec<ShapeRow>,
}

impl ShapeReport {
    /// The worst verdict, of several the first; [`Verdict::Ok`] if there is none worse.
    #[must_use]
    pub fn worst(&self) -> &Verdict {
        self.rows
            .iter()
            .map(|row| &row.verdict)
            .rev()
            .max_by_key(|verdict| verdict.severity())
            .unwrap_or(&Verdict::Ok)
    }

    /// Whether no item that this needs is fatal.
    #[must_use]
    pub fn can(&self, capability: Capability) -> bool {
        self.fatal_for(capability).next().is_none()
    }

    /// Whether views can be read, and the fate of own extrinsics.
    #[must_use]
    pub fn can_read(&self) -> bool {
        self.can(Capability::Reading)
    }

    /// Whether weights can be set in the clear.
    #[must_use]
    pub fn can_set_plain(&self) -> bool {
        self.can(Capability::PlainWeights)
    }

    /// Whether weights can be committed under a timelock.
    #[must_use]
    pub fn can_commit_timelocked(&self) -> bool {
        self.can(Capability::TimelockedWeights)
    }

    /// Whether weights can be committed as a hash, and revealed.
    #[must_use]
    pub fn can_commit_hash(&self) -> bool {
        self.can(Capability::HashCommits)
    }

    /// Whether the own address and commitment can be published.
    #[must_use]
    pub fn can_serve(&self) -> bool {
        self.can(Capability::Serving)
    }

    /// The rows that take this away.
    pub fn fatal_for(&self, capability: Capability) -> impl Iterator<Item = &ShapeRow> {
        self.rows.iter().filter(move |row| row.verdict.lost().contains(&capability))
    }

    /// The rows that are worse than [`Verdict::Ok`], the worst first, else in their order.
    #[must_use]
    pub fn problems(&self) -> Vec<&ShapeRow> {
        let mut problems: Vec<&ShapeRow> =
            self.rows.iter().filter(|row| row.verdict != Verdict::Ok).collect();
        problems.sort_by_key(|row| std::cmp::Reverse(row.verdict.severity()));
        problems
    }

    /// Whether an item can be read or written; false for one that is not in the report. For those
    /// that decide between an item and its fallback.
    ///
    /// - `name`: as in [`ShapeRow::name`]: `SubtensorModule.Tempo`,
    ///   `SubnetInfoRuntimeApi.get_selective_metagraph`.
    #[must_use]
    pub fn is_usable(&self, kind: ItemKind, name: &str) -> bool {
        self.rows.iter().any(|row| row.kind == kind && row.name == name && row.verdict.is_usable())
    }

    /// Refuses a call that this runtime would not understand, or whose signature would not be one.
    ///
    /// A call stays usable while only *other* items are fatal: what is signed here is right by
    /// itself, and reading is the caller's business.
    ///
    /// # Errors
    ///
    /// [`EncodeError`], with the reason of the call or of the extrinsic's frame.
    pub(crate) fn check_call(&self, call: &Call) -> Result<(), EncodeError> {
        let Call { pallet, name, .. } = *call;
        let frame = self.rows.iter().filter(|row| {
            let is_frame = matches!(row.kind, ItemKind::Extrinsic | ItemKind::Extension);
            is_frame && !row.verdict.lost().is_empty()
        });
        if let Some(row) = frame.min_by_key(|row| row.kind) {
            let detail = format!("`{}`: {}", row.name, row.verdict);
            return Err(EncodeError::Shape { pallet, name, detail });
        }
        let full_name = format!("{pallet}.{name}");
        let row = self.rows.iter().find(|row| row.kind == ItemKind::Call && row.name == full_name);
        match row {
            Some(row) if row.verdict.is_usable() => Ok(()),
            Some(row) if !row.found.is_empty() => {
                Err(EncodeError::Shape { pallet, name, detail: row.verdict.to_string() })
            }
            Some(_) | None => Err(EncodeError::Missing { pallet, name }),
        }
    }
}

impl ChainClient {
    /// How the runtime of a block compares with everything the node uses. Computed once per spec
    /// version; asking again costs the call that learns the block's version.
    ///
    /// # Errors
    ///
    /// [`RuntimeError`] if the chain cannot be asked, or its metadata is none.
    pub async fn shape_report(&self, block: BlockHash) -> Result<Arc<ShapeReport>, RuntimeError> {
        let runtime = self.runtimes().at(self.links(), block).await?;
        Ok(runtime.shapes())
    }
}

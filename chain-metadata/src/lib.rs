//! Where things lie on a subtensor chain, and of which shape: names written by hand, as data.
//!
//! The chain's runtime changes about weekly, and bindings generated from one runtime's metadata
//! stop working with the next. So nothing here is generated: an address is a pallet's and an
//! item's name, and a [`Shape`] is what our decoder expects after one-field wrappers were taken
//! off. Pallet, call, event and error *numbers* drift between runtimes and appear nowhere; they
//! are looked up by name in the metadata of the block at hand.
//!
//! Three things are said about each item: its shape; what the node does without it ([`Absent`]),
//! because items appear and disappear in almost every release; and what it cannot do while the
//! item has another shape (`needed_for`, a list of [`Capability`]). An item that nothing needs is
//! treated as absent then.
//!
//! Not here: reading metadata, encoding and decoding, and the check that compares these shapes
//! with a runtime's (all in `node/chain`). Metadata files of real chains are not kept in the
//! repository.

#![deny(missing_docs)]

pub mod api;
pub mod call;
pub mod constant;
pub mod error;
pub mod event;
pub mod extrinsic;
pub mod refusal;
pub mod storage;

/// What a value looks like once one-field wrappers (`NetUid`, `BoundedVec`, `Compact`) are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A boolean.
    Bool,
    /// An unsigned integer that means the same at any width. The width in bits is the one seen; a
    /// wider one decodes as well.
    Unsigned(u8),
    /// An unsigned integer that is a share of its type's largest value (65535 is "all"), so that
    /// another width would be another meaning.
    Share(u8),
    /// Text.
    Text,
    /// Exactly this many bytes.
    Bytes(u16),
    /// Any number of one thing.
    Sequence(&'static Shape),
    /// Some things in this order.
    Tuple(&'static [Shape]),
    /// Fields by name; others may stand between them where the node only reads.
    Fields(&'static [(&'static str, Shape)]),
    /// One of these variants, with what each carries; the list was complete when it was written.
    Variants(&'static [(&'static str, Shape)]),
    /// One of many variants, of which the node knows these.
    SomeVariants(&'static [(&'static str, Shape)]),
    /// A value or nothing.
    Optional(&'static Shape),
    /// Nothing at all: what a variant without fields carries.
    Unit,
    /// Not looked at.
    Any,
}

/// A public key.
pub const ACCOUNT: Shape = Shape::Bytes(32);

/// A blake2-256 hash.
pub const HASH: Shape = Shape::Bytes(32);

/// Any number of bytes.
pub const BYTES: Shape = Shape::Sequence(&Shape::Unsigned(8));

/// What a validator does with a chain, and loses while an item it needs has another shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Views of the subnet, and what became of own extrinsics.
    Reading,
    /// Weights in the clear.
    PlainWeights,
    /// Weights encrypted to a beacon round.
    TimelockedWeights,
    /// Weights hidden behind a hash and revealed by the validator itself.
    HashCommits,
    /// Publishing the own address, certificate and commitment.
    Serving,
}

impl Capability {
    /// All of them, in the order in which reports list them.
    pub const ALL: &'static [Self] = &[
        Self::Reading,
        Self::PlainWeights,
        Self::TimelockedWeights,
        Self::HashCommits,
        Self::Serving,
    ];

    /// Those that need a signature.
    pub const SIGNING: &'static [Self] =
        &[Self::PlainWeights, Self::TimelockedWeights, Self::HashCommits, Self::Serving];

    /// Those that submit weights in one way or another.
    pub const WEIGHTS: &'static [Self] =
        &[Self::PlainWeights, Self::TimelockedWeights, Self::HashCommits];

    /// Its name in reports: `timelocked weights`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::PlainWeights => "plain weights",
            Self::TimelockedWeights => "timelocked weights",
            Self::HashCommits => "hash commits",
            Self::Serving => "serving",
        }
    }
}

/// What it means that a runtime does not have an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The node cannot do what the item is needed for.
    Fatal,
    /// The node goes on, and this is how.
    Fallback(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every descriptor as (name, what needs it, what its absence means).
    fn descriptors() -> Vec<(String, &'static [Capability], Absent)> {
        let mut all = Vec::new();
        for item in storage::ALL {
            all.push((format!("{}.{}", item.pallet, item.name), item.needed_for, item.absent));
        }
        for call in call::ALL {
            all.push((format!("{}.{}()", call.pallet, call.name), call.needed_for, call.absent));
        }
        for api in api::ALL {
            all.push((format!("{}_{}", api.api, api.method), api.needed_for, api.absent));
        }
        for event in event::ALL {
            let name = format!("{}!{}", event.pallet, event.name);
            all.push((name, event.needed_for, event.absent));
        }
        for constant in constant::ALL {
            let name = format!("{}#{}", constant.pallet, constant.name);
            all.push((name, constant.needed_for, constant.absent));
        }
        for extension in extrinsic::EXTENSIONS {
            all.push((extension.name.to_owned(), Capability::SIGNING, extension.absent));
        }
        all
    }

    #[test]
    fn no_address_is_listed_twice() {
        let mut names: Vec<String> = descriptors().into_iter().map(|(name, ..)| name).collect();
        names.extend(error::ALL.iter().map(|error| format!("{}?{}", error.pallet, error.name)));
        let total = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), total);
    }

    #[test]
    fn what_must_not_be_absent_is_needed_for_something() {
        for (name, needed_for, absent) in descriptors() {
            match absent {
                Absent::Fatal => assert!(!needed_for.is_empty(), "{name}"),
                Absent::Fallback(how) => assert!(how.len() > 8, "{name}: {how}"),
            }
        }
    }

    #[test]
    fn every_alternative_is_a_call_that_names_this_one_too() {
        for call in call::ALL {
            let Some(alternative) = call.alternative else { continue };
            let other = call::ALL.iter().find(|other| other.name == alternative).unwrap();
            assert_eq!(other.pallet, call.pallet);
            assert_eq!(other.alternative, Some(call.name));
            assert_eq!(other.needed_for, call.needed_for);
        }
    }

    #[test]
    fn every_refusal_code_has_one_name() {
        let mut codes: Vec<u8> = refusal::CUSTOM.iter().map(|(code, _)| *code).collect();
        codes.dedup();
        assert_eq!(codes.len(), refusal::CUSTOM.len());
        assert!(codes.is_sorted());
        assert_eq!(refusal::custom_name(6), Some("RateLimitExceeded"));
        assert_eq!(refusal::custom_name(200), None);
    }

    #[test]
    fn metagraph_columns_are_in_order_and_each_has_a_shape() {
        let columns = api::METAGRAPH_COLUMNS;
        assert!(columns.is_sorted_by(|a, b| a.index < b.index));
        let Shape::Optional(Shape::Fields(fields)) = api::SELECTIVE_METAGRAPH.output else {
            panic!("the answer is a struct or nothing");
        };
        let shaped: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
        let mut asked: Vec<&str> = columns.iter().map(|column| column.field).collect();
        // Comes with every answer.
        asked.insert(0, "netuid");
        assert_eq!(shaped, asked);
    }
}

//! Where things lie on a subtensor chain, and of which shape: names written by hand, as data.
//!
//! The chain's runtime changes about weekly, and bindings generated from one runtime's metadata
//! stop working with the next. So nothing here is generated: an address is a pallet's and an
//! item's name, and a [`Shape`] is what our decoder expects after one-field wrappers were taken
//! off. Pallet, call, event and error *numbers* drift between runtimes and appear nowhere; they
//! are looked up by name in the metadata of the block at hand.
//!
//! [`Absent`] says what it means when a runtime does not have an item, because that is a normal
//! state: items appear and disappear in almost every release.
//!
//! Not here: reading metadata, encoding and decoding (`node/chain`), and the check that compares
//! these shapes with a runtime's. Metadata files of real chains are not kept in the repository.

#![deny(missing_docs)]

pub mod api;
pub mod call;
pub mod event;
pub mod refusal;
pub mod storage;

/// What a value looks like once one-field wrappers (`NetUid`, `BoundedVec`, `Compact`) are off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A boolean.
    Bool,
    /// An unsigned integer; the width in bits is the one seen, a wider one decodes as well.
    Unsigned(u8),
    /// Exactly this many bytes.
    Bytes(u16),
    /// Any number of one thing.
    Sequence(&'static Shape),
    /// Some things in this order.
    Tuple(&'static [Shape]),
    /// Fields by name; others may stand between them.
    Fields(&'static [(&'static str, Shape)]),
    /// One of these variants; unknown ones are tolerated.
    Variants(&'static [&'static str]),
    /// A value or nothing.
    Optional(&'static Shape),
}

/// A public key.
pub const ACCOUNT: Shape = Shape::Bytes(32);

/// What it means that a runtime does not have an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// The node cannot work with such a runtime.
    Fatal,
    /// The node goes on, and this is how.
    Fallback(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_listed_twice() {
        let mut names: Vec<String> = Vec::new();
        names.extend(storage::ALL.iter().map(|item| format!("{}.{}", item.pallet, item.name)));
        names.extend(call::ALL.iter().map(|call| format!("{}.{}()", call.pallet, call.name)));
        names.extend(api::ALL.iter().map(|api| format!("{}_{}", api.api, api.method)));
        names.extend(event::ALL.iter().map(|event| format!("{}!{}", event.pallet, event.name)));
        let total = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), total);
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
}

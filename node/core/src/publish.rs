//! When a node says on chain where it serves: only if the chain says something else, and not
//! before the chain's own limit.
//!
//! Not here: reading what the chain says, and sending.

use std::net::SocketAddr;

use crate::unit::{BlockCount, BlockNumber};

/// Where a node serves, as the chain should say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// The address.
    pub address: SocketAddr,
    /// A number for the algorithm, and the public key. `None`: whatever the chain has may stay;
    /// there is no call that takes it away.
    pub certificate: Option<Vec<u8>>,
}

/// What the chain says about where a hotkey serves, in one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The block.
    pub at: BlockNumber,
    /// Whether the hotkey has a neuron; without one it cannot publish.
    pub is_registered: bool,
    /// The address, if it can be one.
    pub address: Option<SocketAddr>,
    /// When anything was published the last time.
    pub block: Option<BlockNumber>,
    /// A number for the algorithm, and the public key. Also `None` where the runtime keeps none
    /// that can be read.
    pub certificate: Option<Vec<u8>>,
    /// Blocks between two publications.
    pub rate_limit: BlockCount,
}

/// When something may be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Not at all: the chain says it already.
    Current,
    /// Not before the hotkey has a neuron.
    Unregistered,
    /// In this block or a later one.
    From(BlockNumber),
}

impl Published {
    /// When `wanted` may be published.
    ///
    /// - `own`: the block in which this very thing was published before, if it was. A chain that
    ///   took it and shows no certificate, or another one, shows none for a second time either.
    #[must_use]
    pub fn due(&self, wanted: &Serving, own: Option<BlockNumber>) -> Due {
        // An endpoint that has not come so far yet.
        if own.is_some_and(|own| self.at < own) {
            return Due::Current;
        }
        if !self.is_registered {
            return Due::Unregistered;
        }
        let is_own = own.is_some() && self.block == own;
        let has_certificate =
            wanted.certificate.is_none() || wanted.certificate == self.certificate;
        if self.address == Some(wanted.address) && (has_certificate || is_own) {
            return Due::Current;
        }
        let next = self.at.plus(BlockCount(1));
        // A publication in block 0 does not count for the limit.
        let published = self.block.filter(|block| block.0 > 0);
        Due::From(published.map_or(next, |block| next.max(block.plus(self.rate_limit))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Serving {
        Serving { address: "10.1.2.3:8091".parse().unwrap(), certificate: Some(vec![1, 7]) }
    }

    /// What was wanted, published in block 100 and looked at in block 110, with a limit of 50.
    fn published() -> Published {
        let Serving { address, certificate } = wanted();
        Published {
            at: BlockNumber(110),
            is_registered: true,
            address: Some(address),
            block: Some(BlockNumber(100)),
            certificate,
            rate_limit: BlockCount(50),
        }
    }

    #[test]
    fn what_the_chain_says_already_is_not_published_again() {
        assert_eq!(published().due(&wanted(), None), Due::Current);
        let without = Serving { certificate: None, ..wanted() };
        assert_eq!(published().due(&without, None), Due::Current, "it cannot be taken away");
    }

    #[test]
    fn another_address_or_certificate_waits_for_the_limit() {
        let from = Due::From(BlockNumber(150));
        let other = Published { address: Some("10.1.2.4:8091".parse().unwrap()), ..published() };
        assert_eq!(other.due(&wanted(), None), from);
        for certificate in [None, Some(vec![2, 7]), Some(vec![1])] {
            let other = Published { certificate, ..published() };
            assert_eq!(other.due(&wanted(), None), from);
        }
    }

    #[test]
    fn without_a_limit_or_an_earlier_publication_the_next_block_takes_it() {
        let next = Due::From(BlockNumber(111));
        let other = Published { certificate: None, ..published() };
        let unlimited = Published { rate_limit: BlockCount(0), ..other.clone() };
        assert_eq!(unlimited.due(&wanted(), None), next);
        let of_genesis = Published { block: Some(BlockNumber(0)), ..other.clone() };
        assert_eq!(
            Published { rate_limit: BlockCount(999), ..of_genesis }.due(&wanted(), None),
            next
        );
        let never = Published { address: None, block: None, ..other.clone() };
        assert_eq!(never.due(&wanted(), None), next);
        let endless = Published { rate_limit: BlockCount(u64::MAX), ..other };
        assert_eq!(endless.due(&wanted(), None), Due::From(BlockNumber(u64::MAX)));
    }

    #[test]
    fn a_certificate_that_the_chain_does_not_show_is_published_once_and_not_for_ever() {
        let hidden = Published { certificate: None, ..published() };
        assert_eq!(hidden.due(&wanted(), Some(BlockNumber(100))), Due::Current);
        let since = hidden.due(&wanted(), Some(BlockNumber(40)));
        assert_eq!(since, Due::From(BlockNumber(150)), "somebody else published since");
        let elsewhere = Published { address: None, ..published() };
        assert_ne!(elsewhere.due(&wanted(), Some(BlockNumber(100))), Due::Current);
    }

    #[test]
    fn a_block_before_the_own_publication_says_nothing() {
        let before = Published { address: None, block: None, ..published() };
        assert_eq!(before.due(&wanted(), Some(BlockNumber(111))), Due::Current);
    }

    #[test]
    fn an_unregistered_hotkey_publishes_nothing() {
        let gone = Published { is_registered: false, address: None, ..published() };
        assert_eq!(gone.due(&wanted(), None), Due::Unregistered);
    }
}

//! When a node says on chain where it serves and with which key: only if the chain says something
//! else, and not before the chain's own limit. And what a key is worth that the chain does not say.
//!
//! Not here: reading what the chain says, sending, and what a certificate is (`node/peer`).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::unit::{BlockCount, BlockNumber, UnixMs};

/// How long after its endorsement a key is taken although the chain says another one. Lower: a node
/// that lost its key is refused when it cannot publish the new one for a while. Higher: so long may
/// a stolen key be used after its owner published another one, if the thief came soon after the
/// endorsement.
pub const NEW_KEY_MS_MAX: u64 = 6 * 60 * 60 * 1000;

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

/// How the key of a certificate stands to what its hotkey published. The names are public: the
/// status uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStanding {
    /// The chain says this key.
    Published,
    /// The chain says none: the hotkey's endorsement alone decides.
    Endorsed,
    /// The chain says another one, and the hotkey endorsed this one so lately that it may not have
    /// been able to publish it yet.
    New,
    /// The chain says another one.
    Contradicts,
}

impl KeyStanding {
    /// How `shown` stands to `published`, both as the chain keeps them.
    ///
    /// - `endorsed_at`: when the hotkey endorsed it, by the clock of whoever did; one that is ahead
    ///   of `now` is new.
    #[must_use]
    pub fn of(published: Option<&[u8]>, shown: &[u8], endorsed_at: UnixMs, now: UnixMs) -> Self {
        match published {
            None => Self::Endorsed,
            Some(published) if published == shown => Self::Published,
            Some(_) if age_ms(endorsed_at, now) < NEW_KEY_MS_MAX => Self::New,
            Some(_) => Self::Contradicts,
        }
    }

    /// Whether a peer with such a key is let in, if all else is right.
    #[must_use]
    pub fn is_taken(self) -> bool {
        self != Self::Contradicts
    }

    /// Whether the key's owner should endorse it anew, so that it does not cease to be new before
    /// the chain says it.
    #[must_use]
    pub fn wants_endorsement(self, endorsed_at: UnixMs, now: UnixMs) -> bool {
        let is_denied = matches!(self, Self::New | Self::Contradicts);
        is_denied && age_ms(endorsed_at, now) >= NEW_KEY_MS_MAX / 2
    }
}

fn age_ms(since: UnixMs, now: UnixMs) -> u64 {
    now.0.saturating_sub(since.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDORSED: UnixMs = UnixMs(1_700_000_000_000);

    fn after(ms: u64) -> UnixMs {
        UnixMs(ENDORSED.0 + ms)
    }

    #[test]
    fn the_published_key_is_taken_however_old_and_any_key_where_none_is_published() {
        for now in [UnixMs(0), ENDORSED, after(NEW_KEY_MS_MAX), UnixMs(u64::MAX)] {
            let of = |published| KeyStanding::of(published, &[1, 7], ENDORSED, now);
            assert_eq!(of(Some(&[1, 7])), KeyStanding::Published);
            assert_eq!(of(None), KeyStanding::Endorsed);
            for standing in [of(Some(&[1, 7])), of(None)] {
                assert!(standing.is_taken());
                assert!(!standing.wants_endorsement(ENDORSED, now));
            }
        }
    }

    #[test]
    fn another_key_than_the_published_one_is_taken_while_its_endorsement_is_new() {
        let at = |now| KeyStanding::of(Some(&[1, 8]), &[1, 7], ENDORSED, now);
        for now in [UnixMs(0), ENDORSED, after(NEW_KEY_MS_MAX - 1)] {
            assert_eq!(at(now), KeyStanding::New);
        }
        assert_eq!(at(after(NEW_KEY_MS_MAX)), KeyStanding::Contradicts);
        assert!(at(ENDORSED).is_taken() && !at(after(NEW_KEY_MS_MAX)).is_taken());
        // The algorithm counts as well, and a part of a key is another key.
        for published in [&[2, 7][..], &[1], &[1, 7, 0], &[]] {
            let standing = KeyStanding::of(Some(published), &[1, 7], UnixMs(0), ENDORSED);
            assert_eq!(standing, KeyStanding::Contradicts, "{published:?}");
        }
    }

    #[test]
    fn whoever_cannot_publish_stays_new_by_endorsing_its_key_again_in_time() {
        // As a node does that looks once an hour and is never able to publish.
        let mut endorsed_at = ENDORSED;
        for hour in 0..200 {
            let now = after(hour * 60 * 60 * 1000);
            let standing = KeyStanding::of(Some(&[1, 8]), &[1, 7], endorsed_at, now);
            assert_eq!(standing, KeyStanding::New, "after {hour} hours");
            if standing.wants_endorsement(endorsed_at, now) {
                endorsed_at = now;
            }
        }
        assert!(!KeyStanding::New.wants_endorsement(ENDORSED, after(NEW_KEY_MS_MAX / 2 - 1)));
        let late = after(NEW_KEY_MS_MAX);
        assert!(KeyStanding::Contradicts.wants_endorsement(ENDORSED, late), "it may have slept");
    }

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

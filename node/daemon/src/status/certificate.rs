//! Whether the chain says the key that this node's connections show.

use node_core::preflight::Level;
use node_core::publish::KeyStanding;

use super::watch::CheckStatus;

/// As a check among the others.
///
/// - `publishes`: whether the node publishes its key by itself.
pub(super) fn own_key_check(standing: KeyStanding, publishes: bool) -> CheckStatus {
    let (level, text) = own_key(standing, publishes);
    CheckStatus { id: "certificate".to_owned(), level: level.name().to_owned(), text }
}

/// How our own key stands, with the next step where there is one.
#[must_use]
pub fn own_key(standing: KeyStanding, publishes: bool) -> (Level, String) {
    let other = "the chain says another key than the one of this node's connections; peers take \
                 ours as a new one, for as long as the node runs and endorses it again and again";
    match (standing, publishes) {
        (KeyStanding::Published, _) => {
            (Level::Ok, "the chain says the key of this node's connections".to_owned())
        }
        (KeyStanding::Endorsed, true) => (
            Level::Ok,
            "no key of this node's connections is published yet; it is with the next block that \
             takes it, and the hotkey's endorsement counts until then"
                .to_owned(),
        ),
        (KeyStanding::Endorsed, false) => (
            Level::Ok,
            "no key of this node's connections is published: the hotkey's endorsement alone counts"
                .to_owned(),
        ),
        (KeyStanding::New, true) => {
            (Level::Warn, format!("{other}; it is published with the next block that takes it"))
        }
        (KeyStanding::New, false) => (
            Level::Warn,
            format!("{other}; set `peer.publish_axon = true`, so that it is published"),
        ),
        (KeyStanding::Contradicts, _) => (
            Level::Warn,
            "the chain says another key than the one of this node's connections, and ours was \
             endorsed too long ago to be taken for a new one: peers refuse it until the node \
             endorses it anew, which it does with the next block; compare this host's clock with \
             another one's if this stays"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_another_key_on_chain_is_a_warning_and_it_says_what_to_do() {
        for publishes in [true, false] {
            for standing in [KeyStanding::Published, KeyStanding::Endorsed] {
                assert_eq!(own_key(standing, publishes).0, Level::Ok);
            }
            for standing in [KeyStanding::New, KeyStanding::Contradicts] {
                assert_eq!(own_key(standing, publishes).0, Level::Warn);
            }
        }
        assert!(own_key(KeyStanding::New, false).1.contains("peer.publish_axon"));
        assert!(!own_key(KeyStanding::New, true).1.contains("peer.publish_axon"));
    }
}

//! Whose the data directory is, whether its journal explains what the chain shows, and whether the
//! chain says its key: what a start would refuse, what would end it soon after, and what peers
//! would refuse.

use std::path::Path;

use node_core::preflight;
use node_core::restoration::Restoration;
use node_core::submit_guard::NotSafe;
use node_core::unit::UnixMs;
use node_core::view::ChainView;
use node_store::{read_journal, History, Owner};

use super::{Finding, Level};
use crate::cli::weights::compare::last_update;
use crate::run::certificate;
use crate::run::identity::{self, Identity, IdentityError};
use crate::status::own_key;

/// Compares the state in `directory`, if there is any, with whom the configuration names and with
/// the chain.
pub(super) fn state(
    directory: &Path,
    mechanism: u8,
    owner: Owner,
    view: &ChainView,
) -> Vec<Finding> {
    let Owner { genesis, netuid, hotkey } = owner;
    let own = Identity { hotkey, netuid, genesis };
    let refused = match identity::read(directory) {
        Ok(None) => return Vec::new(),
        Ok(Some(known)) if known == own => return signer(directory, mechanism, owner, view),
        Ok(Some(known)) => {
            let (known, own) = (Box::new(known), Box::new(own));
            IdentityError::Other { directory: directory.to_owned(), known, own }
        }
        Err(error) => error,
    };
    vec![Finding::of_error("data_dir", &refused).next(
        "set another `data_dir`, one per hotkey, subnet and chain, or the wallet, subnet or chain \
         that is meant",
    )]
}

/// Whether the journal explains the hotkey's last update. Where the journal or the hotkey is the
/// problem, another check says so; an empty journal explains nothing and need not: the node waits.
fn signer(directory: &Path, mechanism: u8, owner: Owner, view: &ChainView) -> Vec<Finding> {
    let (Ok(read), Some(own)) = (read_journal(directory), view.neuron(&owner.hotkey)) else {
        return Vec::new();
    };
    if let Some(copy) = Restoration::of_journal(&read.entries, owner.hotkey, owner.netuid) {
        let waits = NotSafe::Restored { until: copy.seen(view.number, view).until(view) };
        return vec![Finding::warn("signer", waits.to_string()).next(
            "stop what it was copied from for good; the node waits by itself, and vouches for what \
             landed of the time that the copy does not know",
        )];
    }
    let history = History::of_journal(owner, &read.entries);
    let known = history.mechanisms.get(&mechanism).filter(|known| {
        let is_empty = known.epochs.is_empty() && known.adopted.is_none();
        !is_empty
    });
    let Some(known) = known else { return Vec::new() };
    let check = last_update(view, own, known);
    vec![if check.agrees {
        Finding::ok("signer", check.detail)
    } else {
        Finding::fail("signer", check.detail).next(
            "a node would sign nothing and leave with code 70: `assay weights verify` says more, \
             docs/operating.md, under exit code 70, what to do",
        )
    }]
}

/// Compares the key of connections that lies in `directory` with the one that the chain says.
///
/// - `publishes`: whether a node with this configuration publishes its key.
pub(super) fn certificate(
    directory: &Path,
    published: Option<&[u8]>,
    publishes: bool,
    now: UnixMs,
) -> Vec<Finding> {
    const ID: &str = "certificate";
    let next = "start the node with `peer.publish_axon = true`, so that its key is published";
    match certificate::read(directory) {
        Ok(Some(Ok(kept))) => {
            let (level, text) = own_key(kept.standing(published, now), publishes);
            vec![match level {
                preflight::Level::Ok => Finding::ok(ID, text),
                preflight::Level::Warn | preflight::Level::Alarm => {
                    Finding::warn(ID, text).next(next)
                }
            }]
        }
        Ok(None) if published.is_none() => Vec::new(),
        Ok(None) => {
            let text = "the chain says a key of this node's connections that does not lie here; a \
                        node makes a new one at its start, which peers take as such";
            vec![Finding::warn(ID, text).next(next)]
        }
        Ok(Some(Err(error))) => vec![Finding::of_error(ID, &error).at(Level::Warn).next(next)],
        Err(error) => vec![Finding::of_error(ID, &error)
            .at(Level::Warn)
            .next("let this user read it, or ask as the user whose node it is")],
    }
}

#[cfg(test)]
mod tests {
    use node_core::id::{BlockHash, Digest, Hotkey, Netuid};
    use node_core::rows::{Carries, JournalStep, SignedExtrinsic, Write};
    use node_core::unit::{BlockNumber, EpochIndex};
    use node_core::view::Neuron;
    use node_store::Store;

    use super::*;

    const OWNER: Owner =
        Owner { genesis: BlockHash([1; 32]), netuid: Netuid(3), hotkey: Hotkey([2; 32]) };

    /// A directory of `OWNER` whose journal knows of a vector that landed in `landed`, if any.
    fn directory(landed: Option<u64>) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let Owner { genesis, netuid, hotkey } = OWNER;
        let (store, _) = Store::open(directory.path()).unwrap();
        identity::claim(directory.path(), Identity { hotkey, netuid, genesis }).unwrap();
        let Some(landed) = landed.map(BlockNumber) else { return directory };
        let signed = SignedExtrinsic {
            bytes: vec![7],
            hash: Digest([9; 32]),
            nonce: 4,
            anchor: BlockNumber(landed.0 - 2),
            era_end: BlockNumber(landed.0 + 14),
            spec_version: 301,
            carries: Carries::Plain,
            vector: Vec::new(),
        };
        let computed_at = signed.anchor;
        let steps = [
            JournalStep::Intended { vector: Vec::new(), version_key: 0, computed_at },
            JournalStep::Signed { signed },
            JournalStep::Landed { block: landed, hash: None },
        ];
        let history = History::new(OWNER);
        let entry = |step| Write::Journal(history.entry(0, EpochIndex(7), step));
        store.commit(&steps.map(entry)).unwrap();
        directory
    }

    fn updated_at(block: u64) -> ChainView {
        let (hotkey, last_update) = (OWNER.hotkey, BlockNumber(block));
        let own = Neuron { hotkey, last_update, ..Neuron::default() };
        ChainView { neurons: vec![own], own_nonce: 5, ..ChainView::default() }
    }

    fn found(directory: &tempfile::TempDir, owner: Owner, block: u64) -> Vec<(String, Level)> {
        let found = state(directory.path(), 0, owner, &updated_at(block));
        for finding in &found {
            assert!(finding.level == Level::Ok || finding.next.is_some(), "{finding:?}");
        }
        found.into_iter().map(|finding| (finding.id.to_owned(), finding.level)).collect()
    }

    #[test]
    fn a_directory_of_another_hotkey_subnet_or_chain_fails_as_the_start_would() {
        let directory = directory(Some(100));
        for other in [
            Owner { hotkey: Hotkey([3; 32]), ..OWNER },
            Owner { netuid: Netuid(4), ..OWNER },
            Owner { genesis: BlockHash([4; 32]), ..OWNER },
        ] {
            assert_eq!(found(&directory, other, 100), [("data_dir".to_owned(), Level::Fail)]);
        }
    }

    #[test]
    fn an_update_that_the_journal_does_not_explain_fails() {
        let directory = directory(Some(100));
        assert_eq!(found(&directory, OWNER, 100), [("signer".to_owned(), Level::Ok)]);
        assert_eq!(found(&directory, OWNER, 130), [("signer".to_owned(), Level::Fail)]);
    }

    #[test]
    fn a_journal_that_was_put_back_from_a_copy_is_told_with_what_it_waits_for() {
        let directory = directory(Some(100));
        let (store, _) = Store::open(directory.path()).unwrap();
        let line = |step| Write::Journal(History::new(OWNER).entry(0, EpochIndex(0), step));
        let restored = JournalStep::Restored { since: None, spent: None };
        store.commit(&[line(restored)]).unwrap();
        assert_eq!(found(&directory, OWNER, 130), [("signer".to_owned(), Level::Warn)]);
        store.commit(&[line(JournalStep::Settled { block: BlockNumber(200) })]).unwrap();
        assert_eq!(found(&directory, OWNER, 130), [("signer".to_owned(), Level::Fail)]);
    }

    #[test]
    fn of_a_directory_that_nothing_was_signed_from_nothing_is_said() {
        assert!(found(&directory(None), OWNER, 130).is_empty());
        assert!(found(&tempfile::tempdir().unwrap(), OWNER, 130).is_empty());
    }

    #[test]
    fn a_key_that_the_chain_does_not_say_is_told_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let now = crate::status::unix_now();
        let check = |published: Option<&[u8]>| {
            certificate(directory.path(), published, false, now)
                .into_iter()
                .map(|finding| (finding.id, finding.level, finding.next.is_some()))
                .collect::<Vec<_>>()
        };
        let (fine, look) = (("certificate", Level::Ok, false), ("certificate", Level::Warn, true));
        assert!(check(None).is_empty(), "a node that never ran");
        assert_eq!(check(Some(&[1; 33])), [look]);
        let keypair = node_chain::Keypair::from_uri("//Alice").unwrap();
        let node = node_peer::NodeIdentity {
            hotkey: keypair.public(),
            genesis: OWNER.genesis,
            netuid: OWNER.netuid,
            software_version: "test".to_owned(),
        };
        let kept = certificate::open(directory.path(), &node, &keypair).unwrap();
        assert_eq!(check(None), [fine]);
        assert_eq!(check(Some(&kept.published_form())), [fine]);
        assert_eq!(check(Some(&[1; 33])), [look]);
        std::fs::write(directory.path().join("peer.key"), b"nonsense").unwrap();
        assert_eq!(check(Some(&[1; 33])), [look]);
    }
}

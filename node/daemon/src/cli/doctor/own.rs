//! Whose the data directory is, whether its journal explains what the chain shows, and whether the
//! chain says its key: what a start would refuse, what would end it soon after, and what peers
//! would refuse.

use std::path::Path;

use node_core::preflight::{self, CheckId};
use node_core::restoration::Restoration;
use node_core::submit_guard::NotSafe;
use node_core::unit::UnixMs;
use node_core::view::ChainView;
use node_store::{read_journal, History, Owner};

use super::{Finding, Topic};
use crate::cli::weights::compare::last_update;
use crate::run::certificate;
use crate::run::identity::{self, Identity, IdentityError};
use crate::status::own_key;

/// What to do about an update that the journal does not explain.
pub(super) const UNEXPLAINED: &str =
    "`assay weights verify` says more, docs/operating.md, under exit code 70, what to do; until \
     then a node would sign nothing and leave with code 70";

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
    let next = "set another `data_dir`, one per hotkey, subnet and chain, or the wallet, the \
                subnet or the chain that is meant";
    vec![Finding::of_error(Topic::DataDir, &refused, next)]
}

/// Whether the journal explains the hotkey's last update. Where the journal or the hotkey is the
/// problem, another check says so; an empty journal explains nothing and need not: the node waits.
fn signer(directory: &Path, mechanism: u8, owner: Owner, view: &ChainView) -> Vec<Finding> {
    const TOPIC: Topic = Topic::OnChain(CheckId::Signer);
    let (Ok(read), Some(own)) = (read_journal(directory), view.neuron(&owner.hotkey)) else {
        return Vec::new();
    };
    if let Some(copy) = Restoration::of_journal(&read.entries, owner.hotkey, owner.netuid) {
        let waits = NotSafe::Restored { until: copy.seen(view.number, view).until(view) };
        let next = "stop what it was copied from for good; the node waits by itself, and vouches \
                    for what landed of the time that the copy does not know";
        return vec![Finding::warn(TOPIC, waits.to_string(), next)];
    }
    let history = History::of_journal(owner, &read.entries);
    let known = history.mechanisms.get(&mechanism).filter(|known| {
        let is_empty = known.epochs.is_empty() && known.adopted.is_none();
        !is_empty
    });
    let Some(known) = known else { return Vec::new() };
    let check = last_update(view, own, known);
    vec![if check.agrees {
        Finding::ok(TOPIC, check.detail)
    } else {
        Finding::fail(TOPIC, check.detail, UNEXPLAINED)
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
    const TOPIC: Topic = Topic::Certificate;
    let next = "start the node with `peer.publish_axon = true`, so that its key is published";
    match certificate::read(directory) {
        Ok(Some(Ok(kept))) => {
            let (level, text) = own_key(kept.standing(published, now), publishes);
            vec![match level {
                preflight::Level::Ok => Finding::ok(TOPIC, text),
                preflight::Level::Warn | preflight::Level::Alarm => {
                    Finding::warn(TOPIC, text, next)
                }
            }]
        }
        Ok(None) if published.is_none() => Vec::new(),
        Ok(None) => {
            let text = "the chain says a key of this node's connections that does not lie here; a \
                        node makes a new one at its start, which peers take as such";
            vec![Finding::warn(TOPIC, text, next)]
        }
        Ok(Some(Err(error))) => vec![Finding::of_error(TOPIC, &error, next).into_warning()],
        Err(error) => {
            let next = "let this user read it, or ask as the user whose node it is: `runuser -u \
                        assay -- assay doctor`";
            vec![Finding::of_error(TOPIC, &error, next).into_warning()]
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use node_core::id::{BlockHash, Digest, Hotkey, Netuid};
    use node_core::rows::{Carries, JournalStep, SignedExtrinsic, Write};
    use node_core::unit::{BlockNumber, EpochIndex};
    use node_core::view::Neuron;
    use node_store::Store;

    use super::super::{told, Level};
    use super::*;

    const SIGNER: Topic = Topic::OnChain(CheckId::Signer);
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

    fn found(directory: &tempfile::TempDir, owner: Owner, block: u64) -> Vec<(Topic, Level)> {
        let found = state(directory.path(), 0, owner, &updated_at(block));
        found.iter().map(|finding| (finding.topic(), finding.level())).collect()
    }

    fn here(directory: &tempfile::TempDir, found: Vec<Finding>) -> Vec<Finding> {
        let path = directory.path().display().to_string();
        found.into_iter().map(|finding| finding.replaced(&path, "$DIR")).collect()
    }

    /// Everything that these checks can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        [states(), certificates()].concat()
    }

    fn states() -> Vec<Finding> {
        let judged = |directory: &tempfile::TempDir, owner: Owner, block: u64| {
            here(directory, state(directory.path(), 0, owner, &updated_at(block)))
        };
        let used = directory(Some(100));
        let other = Owner { hotkey: Hotkey([3; 32]), ..OWNER };
        let mut found: Vec<Finding> =
            [judged(&used, other, 100), judged(&used, OWNER, 100), judged(&used, OWNER, 130)]
                .concat();
        let (store, _) = Store::open(used.path()).unwrap();
        store.commit(&[line(JournalStep::Restored { since: None, spent: None })]).unwrap();
        found.extend(judged(&used, OWNER, 130));
        let damaged = tempfile::tempdir().unwrap();
        std::fs::write(damaged.path().join("identity.json"), "x").unwrap();
        found.extend(judged(&damaged, OWNER, 100));
        found
    }

    fn line(step: JournalStep) -> Write {
        Write::Journal(History::new(OWNER).entry(0, EpochIndex(0), step))
    }

    /// The standing of a key that lies there, of one that does not and of one that is no key.
    fn certificates() -> Vec<Finding> {
        let directory = tempfile::tempdir().unwrap();
        let now = crate::status::unix_now();
        let late = UnixMs(now.0 + 400 * 86_400_000);
        let judged = |published: Option<&[u8]>, publishes: bool, now: UnixMs| {
            here(&directory, certificate(directory.path(), published, publishes, now))
        };
        let mut found = judged(Some(&[1; 33]), false, now);
        let kept = own_certificate(&directory);
        found.extend(judged(Some(&kept.published_form()), false, now));
        for publishes in [false, true] {
            found.extend(judged(None, publishes, now));
            found.extend(judged(Some(&[1; 33]), publishes, now));
        }
        found.extend(judged(Some(&[1; 33]), true, late));
        std::fs::write(directory.path().join("peer.key"), b"nonsense").unwrap();
        found.extend(judged(Some(&[1; 33]), false, now));
        std::fs::remove_file(directory.path().join("peer.key")).unwrap();
        std::fs::create_dir(directory.path().join("peer.key")).unwrap();
        found.extend(judged(Some(&[1; 33]), false, now));
        found
    }

    fn own_certificate(directory: &tempfile::TempDir) -> node_peer::NodeCertificate {
        let keypair = node_chain::Keypair::from_uri("//Alice").unwrap();
        let node = node_peer::NodeIdentity {
            hotkey: keypair.public(),
            genesis: OWNER.genesis,
            netuid: OWNER.netuid,
            software_version: "test".to_owned(),
        };
        certificate::open(directory.path(), &node, &keypair).unwrap()
    }

    #[test]
    fn a_directory_of_another_hotkey_subnet_or_chain_fails_as_the_start_would() {
        let directory = directory(Some(100));
        for other in [
            Owner { hotkey: Hotkey([3; 32]), ..OWNER },
            Owner { netuid: Netuid(4), ..OWNER },
            Owner { genesis: BlockHash([4; 32]), ..OWNER },
        ] {
            assert_eq!(found(&directory, other, 100), [(Topic::DataDir, Level::Fail)]);
        }
    }

    #[test]
    fn an_update_that_the_journal_does_not_explain_fails() {
        let directory = directory(Some(100));
        assert_eq!(found(&directory, OWNER, 100), [(SIGNER, Level::Ok)]);
        assert_eq!(found(&directory, OWNER, 130), [(SIGNER, Level::Fail)]);
    }

    #[test]
    fn a_journal_that_was_put_back_from_a_copy_is_told_with_what_it_waits_for() {
        let directory = directory(Some(100));
        let (store, _) = Store::open(directory.path()).unwrap();
        store.commit(&[line(JournalStep::Restored { since: None, spent: None })]).unwrap();
        assert_eq!(found(&directory, OWNER, 130), [(SIGNER, Level::Warn)]);
        store.commit(&[line(JournalStep::Settled { block: BlockNumber(200) })]).unwrap();
        assert_eq!(found(&directory, OWNER, 130), [(SIGNER, Level::Fail)]);
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
        assert!(certificate(directory.path(), None, false, now).is_empty(), "it never ran");
        let levels: Vec<Level> = certificates().iter().map(Finding::level).collect();
        let (fine, look) = (Level::Ok, Level::Warn);
        assert_eq!(levels, [look, fine, fine, look, fine, look, look, look, look]);
        let told = told(&certificates());
        assert_eq!(told.matches("peers refuse it until the node endorses").count(), 1, "{told}");
    }
}

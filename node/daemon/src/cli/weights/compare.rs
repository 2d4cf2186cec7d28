//! Do the chain and the journal agree? Pure: a view and a history in, one answer per question out.

use std::collections::BTreeSet;

use node_core::id::{Digest, Uid};
use node_core::rows::{Carries, IntentState, SignedExtrinsic};
use node_core::submit_guard::{can_land, Sight};
use node_core::unit::BlockNumber;
use node_core::view::{ChainView, Neuron};
use node_store::{EpochHistory, EpochKey, MechanismHistory};
use serde::Serialize;

use crate::status::grouped;

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Check {
    /// What was asked: a public name.
    pub(in crate::cli) check: &'static str,
    /// Whether chain and journal agree.
    pub(in crate::cli) agrees: bool,
    /// What was found.
    pub(in crate::cli) detail: String,
}

impl Check {
    fn new(check: &'static str, agrees: bool, detail: impl Into<String>) -> Self {
        Self { check, agrees, detail: detail.into() }
    }
}

/// Every question.
pub(super) fn compare(view: &ChainView, own: &Neuron, known: &MechanismHistory) -> Vec<Check> {
    vec![
        last_update(view, own, known),
        row(view, own, known),
        commits(view, known),
        live_signatures(view, known),
    ]
}

/// Whether something of ours explains the hotkey's last update.
pub(in crate::cli) fn last_update(
    view: &ChainView,
    own: &Neuron,
    known: &MechanismHistory,
) -> Check {
    let answer = |agrees, detail| Check::new("last_update", agrees, detail);
    let block = own.last_update;
    let shown = grouped(block.0);
    let landed = known.epochs.values().filter_map(EpochHistory::updated_at).max();
    if block <= own.registered_at {
        // What landed before the hotkey, or the whole subnet, was registered anew is over.
        return match landed.filter(|landed| *landed > block) {
            None => answer(
                true,
                "the hotkey has not updated its weights since it was registered".to_owned(),
            ),
            Some(landed) => answer(false, journal_is_ahead(landed, &shown)),
        };
    }
    let of_epoch = known.epochs.iter().find(|(_, epoch)| epoch.updated_at() == Some(block));
    if let Some((epoch, _)) = of_epoch {
        return answer(true, format!("block {shown}: the vector of epoch {epoch}"));
    }
    if known.adopted >= Some(block) {
        return answer(true, format!("block {shown}: adopted by the operator"));
    }
    if let Some(landed) = landed.filter(|landed| *landed > block) {
        return answer(false, journal_is_ahead(landed, &shown));
    }
    if may_be_ours(view, known) {
        let detail = format!("block {shown}: a signature of ours is being looked for there");
        return answer(true, detail);
    }
    let detail = format!("block {shown}: nothing in the journal explains it: another signer");
    answer(false, detail)
}

fn journal_is_ahead(landed: BlockNumber, shown: &str) -> String {
    let landed = grouped(landed.0);
    format!("the chain says block {shown}, the journal block {landed}: another chain, or a fork")
}

/// Whether a signature of an unfinished vector has a used nonce: the node looks for it in the
/// finalized blocks.
fn may_be_ours(view: &ChainView, known: &MechanismHistory) -> bool {
    let unfinished = known.epochs.values().filter(|epoch| !epoch.state().is_finished());
    unfinished.flat_map(|epoch| epoch.signings.values()).any(|signed| signed.nonce < view.own_nonce)
}

/// Whether the chain's row is the newest vector that should stand there.
fn row(view: &ChainView, own: &Neuron, known: &MechanismHistory) -> Check {
    let answer = |agrees, detail| Check::new("row", agrees, detail);
    let row = view.weights_of(own.uid);
    let newest = known.epochs.iter().rev().find(|(_, epoch)| epoch.shown_at().is_some());
    let is_adopted = |(_, epoch): &(&EpochKey, &EpochHistory)| {
        known.adopted > epoch.updated_at() && known.adopted >= Some(own.last_update)
    };
    match newest {
        Some((epoch, history)) if history.has_vector(row) => {
            answer(true, format!("{} entries: the vector of epoch {epoch}", row.len()))
        }
        Some(newest) if is_adopted(&newest) => {
            answer(true, "written by an update that the operator adopted".to_owned())
        }
        _ if is_on_its_way(known, row) => {
            let detail = "a vector that the journal has not seen land or open yet";
            answer(true, detail.to_owned())
        }
        Some((epoch, _)) => {
            answer(false, format!("{} entries, not the vector of epoch {epoch}", row.len()))
        }
        None if row.is_empty() => answer(true, "empty, and none of ours was shown yet".to_owned()),
        None if known.adopted.is_some() => {
            answer(true, "written before the journal began".to_owned())
        }
        None => answer(false, format!("{} entries, and none of them is ours", row.len())),
    }
}

fn is_on_its_way(known: &MechanismHistory, row: &[(Uid, u16)]) -> bool {
    let unfinished = known.epochs.values().filter(|epoch| !epoch.state().is_finished());
    !row.is_empty() && unfinished.into_iter().any(|epoch| epoch.has_vector(row))
}

/// What an epoch says of the chain's row.
trait Shown {
    /// Since when its vector stands in the row.
    fn shown_at(&self) -> Option<BlockNumber>;
    /// Whether one of its vectors is this one.
    fn has_vector(&self, row: &[(Uid, u16)]) -> bool;
}

impl Shown for EpochHistory {
    fn shown_at(&self) -> Option<BlockNumber> {
        self.landed.max(self.revealed)
    }

    fn has_vector(&self, row: &[(Uid, u16)]) -> bool {
        self.vector() == row || self.signings.values().any(|signed| signed.vector == row)
    }
}

/// Whether every commit that the chain keeps is ours, and every open one of ours is kept.
fn commits(view: &ChainView, known: &MechanismHistory) -> Check {
    let answer = |agrees, detail| Check::new("commits", agrees, detail);
    let ours: BTreeSet<Digest> = known
        .epochs
        .values()
        .flat_map(|epoch| epoch.signings.values())
        .filter_map(commit_of)
        .collect();
    if let Some(other) = view.own_commits.iter().find(|kept| !ours.contains(&kept.hash)) {
        let (hash, block) = (other.hash.short(), grouped(other.block.0));
        let detail = format!("the chain keeps commit {hash} of block {block}, which is not ours");
        return answer(false, detail);
    }
    let is_kept = |epoch: &EpochHistory| {
        let mut commits = epoch.signings.values().filter_map(commit_of);
        commits.any(|commit| view.own_commits.iter().any(|kept| kept.hash == commit))
    };
    let period = view.params.reveal_period.max(1);
    let is_missing = |epoch: &EpochHistory| match epoch.state() {
        IntentState::Committed { epoch: counted, .. } => {
            !is_kept(epoch)
                && view.epoch.index.0 <= counted.0.saturating_add(period)
                && !view.weights.iter().any(|(_, row)| epoch.has_vector(row))
        }
        _ => false,
    };
    if let Some((epoch, _)) = known.epochs.iter().find(|(_, epoch)| is_missing(epoch)) {
        return answer(false, format!("the chain does not keep the commit of epoch {epoch}"));
    }
    match view.own_commits.len() {
        0 => answer(true, "none is pending".to_owned()),
        count => answer(true, format!("{count} pending, all ours")),
    }
}

fn commit_of(signed: &SignedExtrinsic) -> Option<Digest> {
    match signed.carries {
        Carries::Timelocked { commit, .. } | Carries::Hashed { commit, .. } => Some(commit),
        Carries::Plain | Carries::Reveal => None,
    }
}

/// Whether two signatures of one epoch could both still land. Two with one nonce cannot.
fn live_signatures(view: &ChainView, known: &MechanismHistory) -> Check {
    let answer = |agrees, detail| Check::new("live_signatures", agrees, detail);
    let sight = Sight { head: view, finalized: view };
    let mut live = 0_usize;
    for (epoch, history) in &known.epochs {
        for (what, signed) in [("vectors", &history.signings), ("reveals", &history.reveals)] {
            let signed = signed.values().filter(|signed| can_land(signed, sight));
            let nonces: BTreeSet<u32> = signed.map(|signed| signed.nonce).collect();
            if nonces.len() > 1 {
                let detail = format!("{} {what} of epoch {epoch} can still land", nonces.len());
                return answer(false, detail);
            }
            live = live.saturating_add(nonces.len());
        }
    }
    match live {
        0 => answer(true, "none can still land".to_owned()),
        1 => answer(true, "one can still land".to_owned()),
        more => answer(true, format!("{more} can still land, one per epoch and kind")),
    }
}

#[cfg(test)]
pub(in crate::cli::weights) mod tests {
    use node_core::id::{BlockHash, Hotkey, Netuid};
    use node_core::unit::{BlockCount, EpochIndex};
    use node_core::view::OwnCommit;
    use node_store::Intended;

    use super::*;

    const OWN: Hotkey = Hotkey([2; 32]);

    /// A signature that was anchored in `block`, for nonce `block / 10`.
    fn signed(block: u64, carries: Carries) -> SignedExtrinsic {
        SignedExtrinsic {
            bytes: vec![1],
            hash: Digest([u8::try_from(block).unwrap(); 32]),
            nonce: u32::try_from(block / 10).unwrap(),
            anchor: BlockNumber(block),
            era_end: BlockNumber(block + 16),
            spec_version: 301,
            carries,
            vector: vector(block),
        }
    }

    fn vector(block: u64) -> Vec<(Uid, u16)> {
        vec![(Uid(0), u16::MAX), (Uid(1), u16::try_from(block).unwrap())]
    }

    fn epoch(block: u64, carries: Carries) -> EpochHistory {
        let signed = signed(block, carries);
        EpochHistory {
            intended: Some(Intended {
                computed_at: BlockNumber(block),
                version_key: 7,
                vector: vector(block),
            }),
            signings: [(signed.hash, signed)].into(),
            ..EpochHistory::default()
        }
    }

    fn on_its_way(block: u64) -> EpochHistory {
        epoch(block, Carries::Plain)
    }

    /// Landed four blocks after it was signed.
    pub(in crate::cli::weights) fn landed(block: u64) -> EpochHistory {
        EpochHistory { landed: Some(BlockNumber(block + 4)), ..on_its_way(block) }
    }

    fn committed(block: u64) -> EpochHistory {
        let carries = Carries::Timelocked {
            commit: Digest([99; 32]),
            reveal_round: 5_000,
            reveal_epoch: EpochIndex(9),
        };
        let committed = Some((BlockNumber(block + 4), EpochIndex(8)));
        EpochHistory { committed, ..epoch(block, carries) }
    }

    pub(in crate::cli::weights) fn lost_commit(block: u64) -> EpochHistory {
        let lost =
            Some("the chain did not open it: round 5000, newest round there 4999".to_owned());
        EpochHistory { lost, ..committed(block) }
    }

    pub(in crate::cli::weights) fn mechanism<const N: usize>(
        epochs: [(u64, EpochHistory); N],
    ) -> MechanismHistory {
        let epochs = epochs.into_iter().map(|(epoch, known)| (EpochIndex(epoch).into(), known));
        MechanismHistory { adopted: None, epochs: epochs.collect() }
    }

    /// The chain after an update of ours in `block` that wrote the vector of `written`.
    fn view(number: u64, last_update: u64, written: Option<u64>) -> ChainView {
        let own = Neuron {
            uid: Uid(3),
            hotkey: OWN,
            registered_at: BlockNumber(10),
            last_update: BlockNumber(last_update),
            ..Neuron::default()
        };
        let mut view = ChainView {
            genesis: BlockHash([1; 32]),
            netuid: Netuid(3),
            number: BlockNumber(number),
            spec_version: 301,
            own_nonce: u32::try_from(number / 10).unwrap(),
            neurons: vec![own],
            weights: written.map(|block| (Uid(3), vector(block))).into_iter().collect(),
            ..ChainView::default()
        };
        view.params.tempo = BlockCount(20);
        view.epoch.index = EpochIndex(9);
        view
    }

    fn wrong(view: &ChainView, known: &MechanismHistory) -> Vec<&'static str> {
        let checks = compare(view, view.neuron(&OWN).unwrap(), known);
        assert_eq!(checks.len(), 4);
        checks.iter().filter(|check| !check.agrees).map(|check| check.check).collect()
    }

    #[test]
    fn a_vector_that_landed_and_stands_in_the_row_agrees() {
        let known = mechanism([(7, landed(120)), (8, landed(140))]);
        assert_eq!(wrong(&view(160, 144, Some(140)), &known), [""; 0]);
    }

    #[test]
    fn a_fresh_hotkey_agrees_with_an_empty_journal() {
        assert_eq!(wrong(&view(160, 10, None), &mechanism([])), [""; 0]);
    }

    #[test]
    fn an_update_that_nothing_explains_is_another_signer_until_it_is_adopted() {
        let mut known = mechanism([(8, landed(140))]);
        let other = view(160, 150, Some(99));
        assert_eq!(wrong(&other, &known), ["last_update", "row"]);
        known.adopted = Some(BlockNumber(150));
        assert_eq!(wrong(&other, &known), [""; 0]);
        assert_eq!(wrong(&view(170, 160, Some(99)), &known), ["last_update", "row"]);
    }

    #[test]
    fn a_row_that_was_written_over_is_noticed() {
        let known = mechanism([(8, landed(140))]);
        assert_eq!(wrong(&view(160, 144, Some(99)), &known), ["row"]);
    }

    #[test]
    fn a_journal_of_another_chain_is_ahead_of_this_one() {
        let known = mechanism([(8, landed(140))]);
        assert_eq!(wrong(&view(130, 124, Some(140)), &known), ["last_update"]);
        assert_eq!(wrong(&view(130, 10, None), &known), ["last_update", "row"]);
    }

    #[test]
    fn what_landed_a_moment_ago_is_not_another_signer() {
        let known = mechanism([(7, landed(120)), (8, on_its_way(140))]);
        assert_eq!(wrong(&view(160, 144, Some(140)), &known), [""; 0]);
    }

    #[test]
    fn a_kept_commit_must_be_ours_and_ours_must_be_kept() {
        let known = mechanism([(7, landed(120)), (8, committed(140))]);
        let mut chain = view(160, 144, Some(120));
        assert_eq!(wrong(&chain, &known), ["commits"], "gone before it could be opened");
        let kept = |hash| OwnCommit {
            hash: Digest([hash; 32]),
            block: BlockNumber(144),
            epoch: EpochIndex(8),
            reveal_round: Some(5_000),
        };
        chain.own_commits = vec![kept(99)];
        assert_eq!(wrong(&chain, &known), [""; 0]);
        chain.own_commits = vec![kept(99), kept(98)];
        assert_eq!(wrong(&chain, &known), ["commits"]);
        // It was opened and the node has not looked yet.
        assert_eq!(wrong(&view(160, 144, Some(140)), &known), [""; 0]);
    }

    #[test]
    fn two_live_signatures_of_one_epoch_are_told_unless_one_excludes_the_other() {
        let mut epoch = on_its_way(150);
        let mut again = signed(151, Carries::Plain);
        epoch.signings.insert(again.hash, again.clone());
        let mut chain = view(152, 10, None);
        assert_eq!(wrong(&chain, &mechanism([(8, epoch.clone())])), [""; 0], "the same nonce");
        again.nonce = 16;
        epoch.signings.insert(again.hash, again);
        let known = mechanism([(8, epoch)]);
        assert_eq!(wrong(&chain, &known), ["live_signatures"]);
        chain.number = BlockNumber(166);
        chain.own_nonce = 15;
        assert_eq!(wrong(&chain, &known), [""; 0], "the older one's era is over");
    }
}

//! What of a view is kept per uid, hotkey or epoch, and so has to be named to be asked for.
//!
//! Before the first answer, the names are those of the last view (`memory`); whatever is missing
//! is asked for once more. Rows are asked for of those who may set weights, and reveals of those
//! who have some.

use std::collections::{BTreeMap, BTreeSet};

use chain_metadata::storage as items;
use node_core::id::{BlockHash, Hotkey, Netuid, Uid};
use node_core::limits::UIDS_MAX;
use node_core::unit::EpochIndex;
use node_core::view::OwnCommit;
use subxt::config::substrate::H256;

use crate::bulk::Column;
use crate::commitments::{revealed, Committed};
use crate::decode::DecodeError;
use crate::encode::{storage_key, EncodeError};
use crate::link::{CallError, Links};
use crate::own_commits::timelocked;
use crate::read::Subject;
use crate::runtime::Runtime;
use crate::storage::{Answers, Batch, Slot};

/// The longest period looked back for commits; the chain allows 100 epochs. Bounds the keys that a
/// nonsensical period would take.
const REVEAL_PERIOD_MAX: u64 = 128;

/// A stored row of weights.
type Row = Vec<(Uid, u16)>;

/// How much of a view is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// What changes with epochs: stakes, permits, results, the rows of others.
    pub(crate) full: bool,
    /// What hotkeys committed.
    pub(crate) commitments: bool,
}

/// Reveals listed in one call. Lower: subnets that use them, and have for long, are asked about
/// every hotkey. Higher: nodes refuse.
const REVEALING_MAX: u32 = 1000;

/// Who and what a view is about: all that keys are made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) seats: Vec<(Uid, Hotkey)>,
    /// Uids that may set weights: the rows of others count nothing.
    pub(crate) permitted: BTreeSet<Uid>,
    /// Hotkeys that have revealed commitments; `None` if anybody may.
    pub(crate) revealing: Option<BTreeSet<Hotkey>>,
    pub(crate) epoch: EpochIndex,
    pub(crate) reveal_period: u64,
}

/// Names of what is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Uids whose rows.
    rows: BTreeSet<Uid>,
    /// Hotkeys whose revealed commitments.
    revealed: BTreeSet<Hotkey>,
    /// Epochs whose timelocked commits.
    epochs: BTreeSet<EpochIndex>,
}

impl Keys {
    /// What a view of these neurons needs in this epoch.
    ///
    /// A commit stays in the queue of its epoch until `reveal_period` epochs later; one epoch more
    /// on either side covers a deferred epoch.
    pub(crate) fn of(extent: Extent, subject: Subject, names: &Names) -> Self {
        let is_own = |hotkey: &Hotkey| Some(*hotkey) == subject.own_hotkey;
        let wants_row = |(uid, hotkey): &&(Uid, Hotkey)| {
            is_own(hotkey) || (extent.full && names.permitted.contains(uid))
        };
        let mut keys = Self {
            rows: names.seats.iter().filter(wants_row).map(|(uid, _)| *uid).collect(),
            ..Self::default()
        };
        if extent.commitments {
            let reveals = |hotkey: &Hotkey| {
                names.revealing.as_ref().is_none_or(|revealing| revealing.contains(hotkey))
            };
            let hotkeys = names.seats.iter().map(|(_, hotkey)| *hotkey);
            keys.revealed = hotkeys.filter(reveals).collect();
        }
        if subject.own_hotkey.is_some() {
            let back = names.reveal_period.min(REVEAL_PERIOD_MAX).saturating_add(1);
            let epoch = names.epoch.0;
            let epochs = epoch.saturating_sub(back)..=epoch.saturating_add(1);
            keys.epochs = epochs.map(EpochIndex).collect();
        }
        keys
    }

    /// With the epoch after the last one: the one that a view needs when the epoch has turned.
    pub(crate) fn ahead(mut self) -> Self {
        if let Some(last) = self.epochs.last().copied() {
            self.epochs.insert(EpochIndex(last.0.saturating_add(1)));
        }
        self
    }

    pub(crate) fn without(&self, other: &Self) -> Self {
        Self {
            rows: self.rows.difference(&other.rows).copied().collect(),
            revealed: self.revealed.difference(&other.revealed).copied().collect(),
            epochs: self.epochs.difference(&other.epochs).copied().collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.revealed.is_empty() && self.epochs.is_empty()
    }
}

/// Lists the hotkeys that have revealed commitments; `None` if there are too many to list, or the
/// node does not list them. Few subnets have any, so that listing is cheaper than asking for each.
pub(crate) async fn revealing(
    links: &Links,
    runtime: &Runtime,
    netuid: Netuid,
    block: BlockHash,
) -> Result<Option<BTreeSet<Hotkey>>, CallError> {
    let prefix = storage_key(runtime.metadata(), &items::REVEALED_COMMITMENTS, (netuid.0,));
    let Ok(Some(prefix)) = prefix else { return Ok(Some(BTreeSet::new())) };
    let listed = links
        .call("state_getKeysPaged", |methods| async move {
            let at = Some(H256(block.0));
            methods.state_get_keys_paged(&prefix, REVEALING_MAX, None, at).await
        })
        .await;
    match listed {
        Ok(keys) if keys.len() < REVEALING_MAX as usize => {
            Ok(keys.iter().map(|key| key.last_chunk().copied().map(Hotkey)).collect())
        }
        Ok(_) | Err(CallError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Places of the values of [`Keys`].
#[derive(Debug)]
pub(crate) struct KeySlots {
    rows: Vec<(Uid, Slot)>,
    revealed: Vec<(Hotkey, Slot)>,
    epochs: Vec<(EpochIndex, Slot)>,
}

impl KeySlots {
    pub(crate) fn add(
        batch: &mut Batch<'_>,
        subject: Subject,
        keys: &Keys,
    ) -> Result<Self, EncodeError> {
        let (netuid, index) = (subject.netuid.0, subject.index());
        let mut slots = Self { rows: Vec::new(), revealed: Vec::new(), epochs: Vec::new() };
        for uid in &keys.rows {
            slots.rows.push((*uid, batch.add(&items::WEIGHTS, (index, uid.0))?));
        }
        for hotkey in &keys.revealed {
            let slot = batch.add(&items::REVEALED_COMMITMENTS, (netuid, hotkey.0))?;
            slots.revealed.push((*hotkey, slot));
        }
        // Where the queues have another shape we cannot commit, and so have nothing in them.
        let can_commit = batch.runtime().shapes().can_commit_timelocked();
        for epoch in keys.epochs.iter().filter(|_| can_commit) {
            let slot = batch.add(&items::TIMELOCKED_WEIGHT_COMMITS, (index, epoch.0))?;
            slots.epochs.push((*epoch, slot));
        }
        Ok(slots)
    }

    pub(crate) fn decode(
        &self,
        answers: &Answers<'_>,
        subject: Subject,
    ) -> Result<Found, DecodeError> {
        let mut found = Found::default();
        for (uid, slot) in &self.rows {
            let row: Column<(u16, u16), UIDS_MAX> = answers.required(&items::WEIGHTS, *slot)?;
            let row = row.0.into_iter().map(|(uid, weight)| (Uid(uid), weight)).collect();
            found.rows.insert(*uid, row);
        }
        for (hotkey, slot) in &self.revealed {
            match answers.raw(*slot).map(|bytes| revealed(answers.runtime(), bytes)) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(newest))) => {
                    found.revealed.insert(*hotkey, newest);
                }
                Some(Err(error)) => {
                    tracing::warn!(%hotkey, %error, "revealed commitments cannot be read");
                    found.unreadable = found.unreadable.saturating_add(1);
                }
            }
        }
        for (epoch, slot) in &self.epochs {
            let (Some(own), Some(bytes)) = (subject.own_hotkey, answers.raw(*slot)) else {
                continue;
            };
            found.commits.extend(timelocked(answers.runtime(), bytes, &own, *epoch)?);
        }
        Ok(found)
    }
}

/// Values of [`Keys`].
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) rows: BTreeMap<Uid, Row>,
    /// The newest reveal of each hotkey that has any.
    pub(crate) revealed: BTreeMap<Hotkey, Committed>,
    pub(crate) commits: Vec<OwnCommit>,
    /// Reveals that could not be read.
    pub(crate) unreadable: u64,
}

impl Found {
    pub(crate) fn extend(&mut self, more: Self) {
        self.rows.extend(more.rows);
        self.revealed.extend(more.revealed);
        self.commits.extend(more.commits);
        self.unreadable = self.unreadable.saturating_add(more.unreadable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: Extent = Extent { full: true, commitments: true };
    const INCREMENT: Extent = Extent { full: false, commitments: true };

    fn subject(own: Option<u8>) -> Subject {
        let own_hotkey = own.map(|byte| Hotkey([byte; 32]));
        Subject { netuid: Netuid(1), mechanism: 0, own_hotkey }
    }

    /// Four neurons, of which the first may set weights and the second has a reveal.
    fn names(epoch: u64, reveal_period: u64) -> Names {
        Names {
            seats: (0..4u8).map(|at| (Uid(at.into()), Hotkey([at; 32]))).collect(),
            permitted: BTreeSet::from([Uid(0)]),
            revealing: Some(BTreeSet::from([Hotkey([1; 32]), Hotkey([9; 32])])),
            epoch: EpochIndex(epoch),
            reveal_period,
        }
    }

    fn keys(extent: Extent, own: Option<u8>, epoch: u64, period: u64) -> Keys {
        Keys::of(extent, subject(own), &names(epoch, period))
    }

    #[test]
    fn a_full_view_names_who_may_set_weights_and_an_increment_its_own_row_only() {
        let full = keys(FULL, Some(2), 9, 1);
        assert_eq!(full.rows, BTreeSet::from([Uid(0), Uid(2)]));
        let increment = keys(INCREMENT, Some(2), 9, 1);
        assert_eq!(increment.rows, BTreeSet::from([Uid(2)]));
        assert_eq!((increment.epochs, increment.revealed), (full.epochs, full.revealed));
        assert!(keys(INCREMENT, None, 9, 1).rows.is_empty());
    }

    #[test]
    fn reveals_are_asked_for_where_there_are_some_and_of_everybody_where_nobody_knows() {
        let one = BTreeSet::from([Hotkey([1; 32])]);
        assert_eq!(keys(FULL, None, 9, 1).revealed, one, "the other one is not seated");
        let unknown = Names { revealing: None, ..names(9, 1) };
        assert_eq!(Keys::of(FULL, subject(None), &unknown).revealed.len(), 4);
        let kept = Extent { full: true, commitments: false };
        assert!(Keys::of(kept, subject(None), &unknown).revealed.is_empty());
    }

    #[test]
    fn commits_are_looked_for_in_every_epoch_that_may_still_hold_one() {
        let epochs = |keys: Keys| keys.epochs.into_iter().map(|epoch| epoch.0).collect::<Vec<_>>();
        assert_eq!(epochs(keys(FULL, Some(2), 9, 2)), [6, 7, 8, 9, 10]);
        assert_eq!(epochs(keys(FULL, Some(2), 9, 2).ahead()), [6, 7, 8, 9, 10, 11]);
        assert_eq!(epochs(keys(FULL, Some(2), 0, 1)), [0, 1]);
        assert!(epochs(keys(FULL, None, 9, 2)).is_empty());
        assert!(keys(FULL, Some(2), 1 << 40, u64::MAX).epochs.len() < 200);
    }

    #[test]
    fn what_was_named_ahead_covers_the_next_epoch() {
        let asked = keys(FULL, Some(2), 9, 1).ahead();
        assert!(keys(FULL, Some(2), 10, 1).without(&asked).is_empty());
        let missing = keys(FULL, Some(2), 11, 1).without(&asked);
        assert_eq!(missing.epochs, BTreeSet::from([EpochIndex(12)]));
    }
}

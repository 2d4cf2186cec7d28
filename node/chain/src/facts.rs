//! A view from its parts.
//!
//! By uid, what the chain keeps in vectors may be shorter than there are uids: what is missing is
//! the value of a neuron about which nothing is known.

use std::collections::{BTreeMap, BTreeSet};

use chain_metadata::constant::SLOT_DURATION;
use node_core::id::{Hotkey, Uid};
use node_core::unit::{BlockCount, BlockNumber};
use node_core::view::{Abilities, ChainView, CommitmentRecord, Neuron, OwnCommit};

use crate::commitments::{newest, Committed};
use crate::keys::{Extent, Found, Names};
use crate::metagraph::{Seat, Seating};
use crate::read::Subject;
use crate::runtime::Runtime;
use crate::subnet::{Results, Subnet};

/// Time between blocks where neither the runtime nor two blocks tell it.
const BLOCK_MS_DEFAULT: u64 = 12_000;

/// Everything that a view is made of.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) extent: Extent,
    pub(crate) number: BlockNumber,
    pub(crate) subnet: Subnet,
    pub(crate) seating: Seating,
    pub(crate) found: Found,
    /// Hotkeys that have revealed commitments; `None` if anybody may.
    pub(crate) revealing: Option<BTreeSet<Hotkey>>,
}

impl Facts {
    /// Who and what this turns out to be about. An increment does not know who may set weights.
    pub(crate) fn names(&self) -> Names {
        let seats = self.seating.seats.iter().map(|seat| (seat.uid, seat.hotkey));
        let permits = self.subnet.results.as_ref().map(|results| results.permits.as_slice());
        let permitted = (0..=u16::MAX).zip(permits.unwrap_or_default());
        Names {
            seats: seats.collect(),
            permitted: permitted.filter(|(_, has)| **has).map(|(uid, _)| Uid(uid)).collect(),
            revealing: self.revealing.clone(),
            epoch: self.subnet.clock.index,
            reveal_period: self.subnet.params.reveal_period,
        }
    }

    /// Commitments that were left out.
    pub(crate) fn unreadable(&self) -> u64 {
        self.seating.unreadable.saturating_add(self.found.unreadable)
    }

    /// Whether what `view` says about stakes, results and the rows of others still holds: no epoch
    /// ran, no uid changed hands, and the runtime is the same.
    pub(crate) fn continues(&self, view: &ChainView, runtime: &Runtime) -> bool {
        let is_same = |(seat, neuron): (&Seat, &Neuron)| {
            let held = (neuron.uid, neuron.hotkey, neuron.registered_at);
            (seat.uid, seat.hotkey, seat.registered_at) == held
        };
        let seats = &self.seating.seats;
        view.spec_version == runtime.spec_version
            && view.params.registered_at == self.subnet.params.registered_at
            && view.epoch.index == self.subnet.clock.index
            && view.number <= self.number
            && seats.len() == view.neurons.len()
            && seats.iter().zip(&view.neurons).all(is_same)
    }

    /// Takes out what every seated hotkey committed, the newest of what it wrote and what was
    /// revealed, in order of hotkey.
    pub(crate) fn take_committed(&mut self) -> Vec<(Hotkey, Committed)> {
        let mut written = std::mem::take(&mut self.seating.committed).into_iter();
        let mut revealed = std::mem::take(&mut self.found.revealed);
        let newest_of = |seat: &Seat| {
            let written = written.next().flatten();
            Some((seat.hotkey, newest(written, revealed.remove(&seat.hotkey))?))
        };
        let mut all: Vec<_> = self.seating.seats.iter().filter_map(newest_of).collect();
        all.sort_unstable_by_key(|(hotkey, _)| *hotkey);
        all
    }

    /// The commitments of an earlier view whose hotkeys are still seated.
    pub(crate) fn kept_commitments(&self, view: &ChainView) -> Vec<CommitmentRecord> {
        let is_seated = |record: &&CommitmentRecord| {
            self.seating.seats.iter().any(|seat| seat.hotkey == record.hotkey)
        };
        view.commitments.iter().filter(is_seated).cloned().collect()
    }

    /// The view, without genesis, hash and commitments.
    ///
    /// - `previous`: gives what an increment did not ask for, and the time between blocks where
    ///   the runtime does not say it.
    pub(crate) fn view(
        self,
        subject: Subject,
        runtime: &Runtime,
        previous: Option<&ChainView>,
    ) -> ChainView {
        let shapes = runtime.shapes();
        let timestamp = self.subnet.timestamp;
        let seen = previous.and_then(|view| {
            let blocks = self.number.since(view.number).0;
            timestamp.0.checked_sub(view.timestamp.0)?.checked_div(blocks)
        });
        let block_ms = slot_ms(runtime).or(seen).filter(|ms| *ms > 0);
        let weights = self.weights(previous);
        let neurons = self.neurons(previous);
        let mut own_commits = self.found.commits;
        own_commits.extend(self.subnet.own_hashed);
        own_commits.sort_by_key(|commit: &OwnCommit| (commit.epoch, commit.block));
        ChainView {
            netuid: subject.netuid,
            number: self.number,
            timestamp,
            spec_version: runtime.spec_version,
            neurons,
            params: self.subnet.params,
            epoch: self.subnet.clock,
            block_ms: block_ms.unwrap_or(BLOCK_MS_DEFAULT),
            beacon: self.subnet.beacon,
            abilities: Abilities {
                plain: shapes.can_set_plain(),
                timelocked: shapes.can_commit_timelocked(),
                hashed: shapes.can_commit_hash(),
            },
            safe_mode_until: self.subnet.safe_mode_until,
            own_commits,
            weights,
            own_nonce: self.subnet.own_nonce,
            ..ChainView::default()
        }
    }

    /// Rows that hold something, by uid.
    fn weights(&self, previous: Option<&ChainView>) -> Vec<(Uid, Vec<(Uid, u16)>)> {
        let mut rows = BTreeMap::new();
        if !self.extent.full {
            rows.extend(previous.into_iter().flat_map(|view| view.weights.iter().cloned()));
        }
        rows.extend(self.found.rows.clone());
        rows.into_iter().filter(|(_, row)| !row.is_empty()).collect()
    }

    fn neurons(&self, previous: Option<&ChainView>) -> Vec<Neuron> {
        let before = previous.map(|view| view.neurons.as_slice()).unwrap_or_default();
        let neuron = |(place, seat): (usize, &Seat)| {
            let last_update = by_uid(&self.subnet.updates, seat.uid);
            let known = match &self.subnet.results {
                Some(results) => self.results(results, seat.uid, BlockNumber(last_update)),
                // An increment whose uids are those of the view before.
                None => before.get(place).cloned().unwrap_or_default(),
            };
            Neuron {
                uid: seat.uid,
                hotkey: seat.hotkey,
                stake_rao: seat.stake_rao.unwrap_or(known.stake_rao),
                axon: seat.axon,
                registered_at: seat.registered_at,
                last_update: BlockNumber(last_update),
                ..known
            }
        };
        self.seating.seats.iter().enumerate().map(neuron).collect()
    }

    /// What the last epoch made of a uid.
    fn results(&self, results: &Results, uid: Uid, last_update: BlockNumber) -> Neuron {
        let is_active = match &results.active {
            Some(active) => by_uid(active, uid),
            None => {
                let BlockCount(silent) = self.number.since(last_update);
                silent <= self.subnet.params.activity_cutoff.0
            }
        };
        Neuron {
            validator_permit: by_uid(&results.permits, uid),
            is_active,
            emission_rao: by_uid(&results.emission, uid),
            validator_trust: by_uid(&results.trust, uid),
            dividends: by_uid(&results.dividends, uid),
            ..Neuron::default()
        }
    }
}

fn by_uid<T: Copy + Default>(values: &[T], uid: Uid) -> T {
    values.get(usize::from(uid.0)).copied().unwrap_or_default()
}

/// Milliseconds between blocks by the runtime's own constant.
fn slot_ms(runtime: &Runtime) -> Option<u64> {
    let pallet = runtime.metadata().pallet_by_name(SLOT_DURATION.pallet)?;
    let constant = pallet.constant_by_name(SLOT_DURATION.name)?;
    runtime.decode(constant.ty(), constant.value()).ok()
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;

//! Who holds which uid, read item by item: for runtimes without the selective metagraph, and
//! whenever its answer cannot be used.
//!
//! Two batches: what is keyed by uid, then what is keyed by the hotkeys found. Stake is
//! `TotalHotkeyAlpha` on the subnet plus the same on root times `TaoWeight`, in rao. Not in it:
//! what a hotkey inherits through parent and child keys, which the metagraph counts.

use chain_metadata::storage as items;
use node_core::id::{Hotkey, Uid};
use node_core::unit::BlockNumber;

use crate::commitments::committed;
use crate::decode::{AxonInfo, DecodeError};
use crate::encode::EncodeError;
use crate::metagraph::{Seat, Seating, Wanted};
use crate::read::ReadError;
use crate::reader::Reader;
use crate::runtime::Runtime;
use crate::storage::{Answers, Batch, Slot};

/// Where root stake lies.
const ROOT_NETUID: u16 = 0;

impl Reader<'_> {
    /// Reads the seats of the uids `0..count`.
    pub(crate) async fn seats(
        &self,
        runtime: &Runtime,
        wanted: Wanted,
        count: usize,
    ) -> Result<Seating, ReadError> {
        let mut batch = Batch::new(runtime);
        let uids = UidSlots::add(&mut batch, self.subject.netuid.0, count);
        let uids = uids.map_err(self.encode())?;
        let answers = batch.fetch(self.links, self.block).await.map_err(self.call("the uids"))?;
        let found = uids.into_iter().map(|slots| slots.seat(&answers));
        let found: Vec<Seat> = found.collect::<Result<_, _>>().map_err(self.decode())?;

        let mut batch = Batch::new(runtime);
        let tao_weight = batch.add(&items::TAO_WEIGHT, ()).map_err(self.encode())?;
        let mut slots = Vec::with_capacity(found.len());
        for seat in found.into_iter().filter(|seat| seat.hotkey != Hotkey::default()) {
            let of = HotkeySlots::add(&mut batch, self.subject.netuid.0, &seat.hotkey, wanted);
            slots.push((seat, of.map_err(self.encode())?));
        }
        let answers = batch.fetch(self.links, self.block).await;
        let answers = answers.map_err(self.call("the hotkeys"))?;
        let mut seating = Seating::default();
        let tao_weight = answers.optional(&items::TAO_WEIGHT, tao_weight);
        let tao_weight: u64 = tao_weight.map_err(self.decode())?.unwrap_or_default();
        for (seat, slots) in slots {
            let seat = slots.seat(&answers, seat, tao_weight).map_err(self.decode())?;
            seating.seats.push(seat);
            if let Some(bytes) = slots.commitment.and_then(|slot| answers.raw(slot)) {
                seating.note(seating.seats.len() - 1, committed(runtime, bytes));
            }
        }
        Ok(seating)
    }
}

/// Places of a uid's values.
struct UidSlots {
    uid: Uid,
    hotkey: Slot,
    registered_at: Slot,
}

impl UidSlots {
    fn add(batch: &mut Batch<'_>, netuid: u16, count: usize) -> Result<Vec<Self>, EncodeError> {
        let mut slots = Vec::with_capacity(count);
        for uid in (0..=u16::MAX).take(count) {
            slots.push(Self {
                uid: Uid(uid),
                hotkey: batch.add(&items::KEYS, (netuid, uid))?,
                registered_at: batch.add(&items::BLOCK_AT_REGISTRATION, (netuid, uid))?,
            });
        }
        Ok(slots)
    }

    fn seat(&self, answers: &Answers<'_>) -> Result<Seat, DecodeError> {
        let registered_at = answers.required(&items::BLOCK_AT_REGISTRATION, self.registered_at)?;
        Ok(Seat {
            uid: self.uid,
            hotkey: Hotkey(answers.required(&items::KEYS, self.hotkey)?),
            registered_at: BlockNumber(registered_at),
            axon: None,
            stake_rao: None,
        })
    }
}

/// Places of a hotkey's values.
pub(crate) struct HotkeySlots {
    axon: Slot,
    /// On the subnet and on root.
    stake: Option<(Slot, Slot)>,
    commitment: Option<Slot>,
}

impl HotkeySlots {
    pub(crate) fn add(
        batch: &mut Batch<'_>,
        netuid: u16,
        hotkey: &Hotkey,
        wanted: Wanted,
    ) -> Result<Self, EncodeError> {
        let key = hotkey.0;
        let (mut stake, mut commitment) = (None, None);
        if wanted.stake {
            let alpha = batch.add(&items::TOTAL_HOTKEY_ALPHA, (key, netuid))?;
            stake = Some((alpha, batch.add(&items::TOTAL_HOTKEY_ALPHA, (key, ROOT_NETUID))?));
        }
        if wanted.commitments {
            commitment = Some(batch.add(&items::COMMITMENT_OF, (netuid, key))?);
        }
        Ok(Self { axon: batch.add(&items::AXONS, (netuid, key))?, stake, commitment })
    }

    fn seat(
        &self,
        answers: &Answers<'_>,
        seat: Seat,
        tao_weight: u64,
    ) -> Result<Seat, DecodeError> {
        let axon: Option<AxonInfo> = answers.optional(&items::AXONS, self.axon)?;
        let stake = |(alpha, root)| {
            let alpha = answers.required(&items::TOTAL_HOTKEY_ALPHA, alpha)?;
            let root = answers.required(&items::TOTAL_HOTKEY_ALPHA, root)?;
            Ok(stake_weight(alpha, root, tao_weight))
        };
        Ok(Seat {
            axon: axon.and_then(|axon| axon.address()),
            stake_rao: self.stake.map(stake).transpose()?,
            ..seat
        })
    }
}

/// Alpha plus root stake at `tao_weight / 2^64`.
fn stake_weight(alpha: u64, root: u64, tao_weight: u64) -> u64 {
    let share = (u128::from(root) * u128::from(tao_weight)) >> 64;
    alpha.saturating_add(u64::try_from(share).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::golden_tests::runtimes;

    #[test]
    fn a_hotkeys_stake_is_looked_up_on_its_subnet_and_on_root() {
        let (hotkey, all) = (Hotkey([7; 32]), Wanted { stake: true, commitments: true });
        for runtime in runtimes() {
            let mut batch = Batch::new(&runtime);
            let slots = HotkeySlots::add(&mut batch, 3, &hotkey, all).unwrap();
            let (alpha, root) = slots.stake.unwrap();
            for (slot, netuid) in [(alpha, 3u16), (root, 0)] {
                let tail = [&hotkey.0[..], &netuid.to_le_bytes()].concat();
                assert!(batch.key(slot).unwrap().ends_with(&tail), "netuid {netuid}");
            }
            assert_ne!(batch.key(slots.axon), batch.key(slots.commitment.unwrap()));
        }
    }

    #[test]
    fn root_stake_counts_by_its_weight() {
        assert_eq!(stake_weight(10, 0, u64::MAX), 10);
        assert_eq!(stake_weight(10, 100, 1 << 63), 60);
        assert_eq!(stake_weight(u64::MAX, u64::MAX, u64::MAX), u64::MAX);
    }
}

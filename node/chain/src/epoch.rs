//! When epochs run, for runtimes that cannot be asked.
//!
//! Two schedules exist. Since spec 425 the clock is stateful: an epoch is due `tempo` blocks after
//! the last one, or earlier when the owner triggered it. Before that it followed from block number
//! and netuid, with a period of `tempo + 1`.
//!
//! Source: `pallets/subtensor/src/coinbase/{run_coinbase,tempo_control}.rs`.

use node_core::id::Netuid;
use node_core::unit::{BlockNumber, EpochIndex};
use node_core::view::EpochClock;

/// Blocks after which an epoch runs whatever the clock says.
const SAFETY_VALVE_BLOCKS: u64 = 50_400;

/// The clock's storage items, of a runtime that has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatefulClock {
    pub(crate) index: u64,
    pub(crate) last_epoch_block: u64,
    /// Zero for none.
    pub(crate) pending_at: u64,
    pub(crate) blocks_since_last_step: u64,
}

impl StatefulClock {
    /// The clock as seen in `now`, which is a block whose epoch has already run if it was due.
    pub(crate) fn at(self, now: BlockNumber, tempo: u64) -> EpochClock {
        EpochClock {
            index: EpochIndex(self.index),
            last_epoch_block: BlockNumber(self.last_epoch_block),
            next_epoch_block: self.next(now, tempo),
        }
    }

    fn next(self, now: BlockNumber, tempo: u64) -> Option<BlockNumber> {
        if tempo == 0 {
            return None;
        }
        // Each block without an epoch adds one, and the chain looks before it adds.
        let valve = now
            .0
            .saturating_add((SAFETY_VALVE_BLOCKS + 2).saturating_sub(self.blocks_since_last_step));
        let mut next = self.last_epoch_block.saturating_add(tempo).min(valve);
        if self.pending_at > 0 {
            next = next.min(self.pending_at);
        }
        Some(BlockNumber(next.max(now.0.saturating_add(1))))
    }
}

/// The clock of runtimes before spec 425.
pub(crate) fn legacy_clock(now: BlockNumber, netuid: Netuid, tempo: u64) -> EpochClock {
    let period = tempo.saturating_add(1);
    let shifted = now.0.saturating_add(u64::from(netuid.0)).saturating_add(1);
    let since = shifted % period;
    let next = (tempo > 0).then(|| BlockNumber(now.0.saturating_add(period - since)));
    EpochClock {
        index: EpochIndex(shifted / period),
        last_epoch_block: BlockNumber(now.0.saturating_sub(since)),
        next_epoch_block: next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: StatefulClock =
        StatefulClock { index: 7, last_epoch_block: 100, pending_at: 0, blocks_since_last_step: 5 };

    fn next(clock: StatefulClock, now: u64, tempo: u64) -> Option<u64> {
        clock.at(BlockNumber(now), tempo).next_epoch_block.map(|block| block.0)
    }

    #[test]
    fn the_stateful_period_is_the_tempo() {
        assert_eq!(next(CLOCK, 105, 360), Some(460));
        assert_eq!(CLOCK.at(BlockNumber(105), 360).index, EpochIndex(7));
    }

    #[test]
    fn a_triggered_epoch_comes_first_and_an_overdue_one_comes_next() {
        assert_eq!(next(StatefulClock { pending_at: 120, ..CLOCK }, 105, 360), Some(120));
        assert_eq!(next(StatefulClock { pending_at: 90, ..CLOCK }, 105, 360), Some(106));
        assert_eq!(next(CLOCK, 500, 360), Some(501));
    }

    #[test]
    fn without_tempo_no_epoch_runs() {
        assert_eq!(next(CLOCK, 105, 0), None);
        assert_eq!(legacy_clock(BlockNumber(5), Netuid(1), 0).next_epoch_block, None);
    }

    #[test]
    fn the_safety_valve_opens_after_its_blocks() {
        let stuck = StatefulClock { blocks_since_last_step: 50_400, ..CLOCK };
        assert_eq!(next(stuck, 105, 60_000), Some(107));
        let opened = StatefulClock { blocks_since_last_step: 50_401, ..CLOCK };
        assert_eq!(next(opened, 105, 60_000), Some(106));
    }

    #[test]
    fn legacy_epochs_fall_where_block_and_netuid_say() {
        for now in 0..200u64 {
            let clock = legacy_clock(BlockNumber(now), Netuid(3), 9);
            let next = clock.next_epoch_block.unwrap().0;
            assert!((next + 3 + 1).is_multiple_of(10), "{now} {next}");
            assert!(next > now && next <= now + 10, "{now} {next}");
            let last = clock.last_epoch_block.0;
            assert!(last == 0 || (last + 3 + 1).is_multiple_of(10), "{now} {last}");
            assert_eq!(clock.index.0, (now + 4) / 10);
        }
    }
}

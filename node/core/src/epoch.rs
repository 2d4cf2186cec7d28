//! When a subnet's epochs run, and in which round of the beacon a commit opens.
//!
//! Two schedules exist. Since spec 425 the clock is stateful: an epoch is due `tempo` blocks after
//! the last one, or earlier when the owner triggered it or a full block deferred it. Before that,
//! it followed from block number and netuid, with a period of `tempo + 1`.
//!
//! A prediction holds for one block: the owner may change the tempo or trigger an epoch in the
//! next. Whoever plans by it plans anew at every head.
//!
//! Source: `pallets/subtensor/src/coinbase/{run_coinbase,tempo_control,reveal_commits}.rs` of
//! subtensor.

use serde::{Deserialize, Serialize};

use crate::id::Netuid;
use crate::unit::{BlockCount, BlockNumber, EpochIndex, UnixMs};

/// Blocks after which an epoch runs whatever the clock says.
pub const SAFETY_VALVE_BLOCKS: u64 = 50_400;

/// Blocks after the first one of the reveal epoch at which the beacon's round is published: time
/// for the pulse to reach the chain.
pub const REVEAL_SLACK_BLOCKS: u64 = 3;

/// Most epochs that a prediction looks ahead; the chain allows reveal periods up to 100.
const EPOCHS_AHEAD_MAX: u64 = 128;

/// A subnet's clock as of one block, after that block was executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochClock {
    /// How many epochs have run.
    pub index: EpochIndex,
    /// When the present one began.
    pub last_epoch_block: BlockNumber,
    /// When the next one will run, by the runtime's own answer where it gives one; `None` if it
    /// never will.
    pub next_epoch_block: Option<BlockNumber>,
    /// By which rule.
    pub schedule: Schedule,
}

/// The rule by which epochs fall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    /// Since spec 425.
    Stateful {
        /// The block of a triggered or deferred epoch.
        pending_at: Option<BlockNumber>,
        /// Input of the safety valve.
        blocks_since_last_step: u64,
    },
    /// Before spec 425.
    Legacy {
        /// It shifts the phase.
        netuid: Netuid,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Stateful { pending_at: None, blocks_since_last_step: 0 }
    }
}

impl EpochClock {
    /// A stateful clock as read in block `now`, with its own prediction of the next epoch.
    ///
    /// - `pending_at`: as stored; 0 for none.
    #[must_use]
    pub fn stateful(
        now: BlockNumber,
        tempo: BlockCount,
        index: EpochIndex,
        last_epoch_block: BlockNumber,
        pending_at: BlockNumber,
        blocks_since_last_step: u64,
    ) -> Self {
        let pending_at = (pending_at.0 > 0).then_some(pending_at);
        let schedule = Schedule::Stateful { pending_at, blocks_since_last_step };
        let mut clock = Self { index, last_epoch_block, next_epoch_block: None, schedule };
        clock.next_epoch_block = clock.next_epoch(now, tempo);
        clock
    }

    /// The clock of a runtime before spec 425.
    #[must_use]
    pub fn legacy(now: BlockNumber, tempo: BlockCount, netuid: Netuid) -> Self {
        let period = tempo.0.saturating_add(1);
        let shifted = legacy_shifted(now, netuid);
        let since = shifted.checked_rem(period).unwrap_or_default();
        let mut clock = Self {
            index: EpochIndex(shifted.checked_div(period).unwrap_or_default()),
            last_epoch_block: now.minus(BlockCount(since)),
            next_epoch_block: None,
            schedule: Schedule::Legacy { netuid },
        };
        clock.next_epoch_block = clock.next_epoch(now, tempo);
        clock
    }

    /// The block of the next epoch by our own rule, later than `now`; `None` with tempo 0.
    ///
    /// A deferral (too many epochs due in one block) cannot be foreseen.
    #[must_use]
    pub fn next_epoch(&self, now: BlockNumber, tempo: BlockCount) -> Option<BlockNumber> {
        if tempo.0 == 0 {
            return None;
        }
        match self.schedule {
            Schedule::Stateful { pending_at, blocks_since_last_step } => {
                // Each block without an epoch adds one, and the chain looks before it adds.
                let valve = SAFETY_VALVE_BLOCKS.saturating_add(2);
                let valve = now.plus(BlockCount(valve.saturating_sub(blocks_since_last_step)));
                let regular = self.last_epoch_block.plus(tempo);
                let next = pending_at.map_or(regular, |pending| pending.min(regular)).min(valve);
                Some(next.max(now.plus(BlockCount(1))))
            }
            Schedule::Legacy { netuid } => {
                let period = tempo.0.saturating_add(1);
                let since = legacy_shifted(now, netuid).checked_rem(period).unwrap_or_default();
                Some(now.plus(BlockCount(period.saturating_sub(since))))
            }
        }
    }

    /// The first block of the epoch that follows the one beginning in `start`.
    fn epoch_after(&self, start: BlockNumber, tempo: BlockCount) -> BlockNumber {
        let period = match self.schedule {
            Schedule::Stateful { .. } => tempo.0.min(SAFETY_VALVE_BLOCKS.saturating_add(2)),
            Schedule::Legacy { .. } => tempo.0.saturating_add(1),
        };
        start.plus(BlockCount(period))
    }

    /// The first block, `from` or a later one, in which an epoch will begin as seen from `now`;
    /// `None` if none does, or none within as many epochs as a prediction reaches.
    #[must_use]
    pub fn first_epoch_from(
        &self,
        now: BlockNumber,
        tempo: BlockCount,
        from: BlockNumber,
    ) -> Option<BlockNumber> {
        let mut start = self.next_epoch_block.or_else(|| self.next_epoch(now, tempo))?;
        for _ in 0..EPOCHS_AHEAD_MAX {
            if start >= from {
                return Some(start);
            }
            start = self.epoch_after(start, tempo);
        }
        None
    }

    /// When a commit that is included in `included`, a later block than `now`, becomes readable.
    ///
    /// The chain opens it in the first blocks of the epoch `period` after the one it belongs to.
    /// `None` if no epochs run, or if `included` or `period` lies further ahead than a prediction
    /// reaches.
    #[must_use]
    pub fn reveal(
        &self,
        now: BlockNumber,
        tempo: BlockCount,
        included: BlockNumber,
        period: u64,
    ) -> Option<Reveal> {
        let mut index = self.index;
        let mut start = self.next_epoch_block.or_else(|| self.next_epoch(now, tempo))?;
        // The chain allows no longer period; a loop must not be as long as a hostile one says.
        if tempo.0 == 0 || period > EPOCHS_AHEAD_MAX {
            return None;
        }
        let mut commit_epoch = None;
        for _ in 0..EPOCHS_AHEAD_MAX.saturating_add(period) {
            if commit_epoch.is_none() && start > included {
                commit_epoch = Some(index);
            }
            index = EpochIndex(index.0.saturating_add(1));
            if let Some(commit_epoch) = commit_epoch {
                if index.0 == commit_epoch.0.saturating_add(period) {
                    return Some(Reveal { commit_epoch, epoch: index, block: start });
                }
            }
            start = self.epoch_after(start, tempo);
        }
        None
    }
}

/// When a commit is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reveal {
    /// The epoch that the commit belongs to.
    pub commit_epoch: EpochIndex,
    /// The epoch in which the chain opens it.
    pub epoch: EpochIndex,
    /// The first block of that epoch.
    pub block: BlockNumber,
}

/// A randomness beacon's schedule: round `r` is published at `genesis + (r - 1) * period`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeaconSchedule {
    /// When round 1 was published.
    pub genesis: UnixMs,
    /// Milliseconds between two rounds, above zero.
    pub period_ms: u64,
}

impl BeaconSchedule {
    /// The round with which to close a commit that may be read from `target` on.
    ///
    /// By the chain's own time, never the wall clock: `head_time` is the timestamp of block
    /// `head`. `None` if the beacon had not begun by then.
    #[must_use]
    pub fn round_for(
        &self,
        head: BlockNumber,
        head_time: UnixMs,
        block_ms: u64,
        target: BlockNumber,
    ) -> Option<u64> {
        let ahead = target.since(head).0.saturating_mul(block_ms);
        let elapsed = head_time.0.saturating_add(ahead).checked_sub(self.genesis.0)?;
        elapsed.checked_div(self.period_ms).filter(|round| *round > 0)
    }

    /// When `round` is published.
    #[must_use]
    pub fn published_at(&self, round: u64) -> UnixMs {
        let after = round.saturating_sub(1).saturating_mul(self.period_ms);
        UnixMs(self.genesis.0.saturating_add(after))
    }

    /// The newest round that is published at `time`; 0 before the first.
    #[must_use]
    pub fn newest_at(&self, time: UnixMs) -> u64 {
        time.0.checked_sub(self.genesis.0).map_or(0, |elapsed| {
            elapsed.checked_div(self.period_ms).unwrap_or_default().saturating_add(1)
        })
    }
}

fn legacy_shifted(now: BlockNumber, netuid: Netuid) -> u64 {
    now.0.saturating_add(u64::from(netuid.0)).saturating_add(1)
}

#[cfg(test)]
mod tests;

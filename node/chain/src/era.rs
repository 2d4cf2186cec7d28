//! How long a mortal extrinsic lives: the chain's own arithmetic, repeated.
//!
//! An era is a period (a power of two) and a phase. The extrinsic signs the hash of the block in
//! which the era was born, and is valid from there for `period` blocks.
//!
//! Source: `generic::Era` in sp-runtime.

use node_core::unit::BlockNumber;

const PERIOD_MIN: u64 = 4;
const PERIOD_MAX: u64 = 1 << 16;
/// Above this period the phase is stored in steps of more than one block.
const QUANTIZE_FROM_BITS: u32 = 12;

/// The life of a mortal extrinsic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Era {
    period: u64,
    phase: u64,
}

impl Era {
    /// The era of at least `blocks` blocks (rounded to a power of two, 4 to 65536) around
    /// `anchor`.
    pub(crate) fn mortal(blocks: u64, anchor: BlockNumber) -> Self {
        let period =
            blocks.checked_next_power_of_two().unwrap_or(PERIOD_MAX).clamp(PERIOD_MIN, PERIOD_MAX);
        let quantum = (period >> QUANTIZE_FROM_BITS).max(1);
        let phase = anchor.0 % period / quantum * quantum;
        Self { period, phase }
    }

    /// The block whose hash is signed, seen from `current`.
    pub(crate) fn birth(self, current: BlockNumber) -> BlockNumber {
        let periods = (current.0.max(self.phase) - self.phase) / self.period;
        BlockNumber(periods * self.period + self.phase)
    }

    /// The first block in which the extrinsic is no longer valid, seen from `current`.
    pub(crate) fn death(self, current: BlockNumber) -> BlockNumber {
        BlockNumber(self.birth(current).0.saturating_add(self.period))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn era(period: u64, phase: u64) -> Era {
        Era { period, phase }
    }

    /// The vectors of `generic::Era`'s own tests.
    #[test]
    fn birth_and_death_are_those_of_the_chain() {
        let e = era(4, 6 % 4);
        for current in 6..10 {
            assert_eq!(e.birth(BlockNumber(current)), BlockNumber(6), "{current}");
            assert_eq!(e.death(BlockNumber(current)), BlockNumber(10), "{current}");
        }
        assert_ne!(e.birth(BlockNumber(10)), BlockNumber(6));
        assert_ne!(e.birth(BlockNumber(5)), BlockNumber(6));
        // Before the first phase the era is taken to have begun with it.
        let early = era(4, 1);
        assert_eq!(early.birth(BlockNumber(0)), BlockNumber(1));
    }

    #[test]
    fn a_short_era_is_born_in_its_anchor_and_dies_one_period_later() {
        for anchor in [0, 1, 15, 16, 17, 4_812_330] {
            let e = Era::mortal(16, BlockNumber(anchor));
            assert_eq!(e.birth(BlockNumber(anchor)), BlockNumber(anchor));
            assert_eq!(e.death(BlockNumber(anchor)), BlockNumber(anchor + 16));
            // Still the same era in its last block, another one after.
            assert_eq!(e.birth(BlockNumber(anchor + 15)), BlockNumber(anchor));
            assert_ne!(e.birth(BlockNumber(anchor + 16)), BlockNumber(anchor));
        }
    }

    #[test]
    fn a_long_era_is_quantized_as_the_chain_does() {
        assert_eq!(Era::mortal(1 << 16, BlockNumber(20_001)), era(1 << 16, 20_000));
        assert_eq!(Era::mortal(200, BlockNumber(1_400)), era(256, 120));
        assert_eq!(Era::mortal(1, BlockNumber(7)), era(4, 3));
        assert_eq!(Era::mortal(1_000_000, BlockNumber(0)), era(1 << 16, 0));
    }
}

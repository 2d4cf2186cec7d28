//! A journal that was put back from a copy: from when on may its node sign again?
//!
//! The copy is older than the last signature may be. So three things are not known: which epochs
//! were signed for after it, which of those signatures can still land, and which updates of the
//! hotkey they explain. All three pass with time, if whatever signed then was stopped:
//!
//! ```text
//! copy -- lost --> restored -- SETTLING_BLOCKS --> nothing can land -- an epoch begins --> over
//!                  since                           its epoch is spent
//! ```
//!
//! Nothing is signed until then. An update of the hotkey in the first [`SETTLING_BLOCKS`] blocks is
//! taken for one of the lost signatures; a later one is somebody else's, as ever.
//!
//! That a journal is a copy's stands in the journal, and beside the rows for as long as it has not
//! settled: one that is begun anew because it was lost meanwhile is a copy's still (`node-store`).
//!
//! Epochs are told apart by their number and not by the block in which they began: a new tempo
//! moves that within an epoch.
//!
//! Not here: what is written down meanwhile (`machine/weights/restored`).

use crate::id::{Hotkey, Netuid};
use crate::limits::{ENDPOINT_LAG_BLOCKS_MAX, ERA_BLOCKS_MIN, SETTLING_BLOCKS};
use crate::rows::{JournalEntry, JournalStep};
use crate::unit::{BlockCount, BlockNumber, EpochIndex};
use crate::view::ChainView;

// The first block that is read may be older than the last one that was signed after.
const _: () = assert!(ENDPOINT_LAG_BLOCKS_MAX + ERA_BLOCKS_MIN < SETTLING_BLOCKS);

/// The finalized block in which the last copy that a journal came from had settled, for this hotkey
/// and subnet. What was signed before it is not known: a node that is shown an older block after a
/// restart signs nothing there.
#[must_use]
pub fn settled_at(journal: &[JournalEntry], hotkey: Hotkey, netuid: Netuid) -> Option<BlockNumber> {
    let own = journal.iter().filter(|line| line.hotkey == hotkey && line.netuid == netuid);
    let mut newest_first = own.rev();
    newest_first.find_map(|line| {
        let JournalStep::Settled { block } = line.step else { return None };
        Some(block)
    })
}

/// A copy whose lost time is not over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    /// The first best block that was read after the journal had been put back, and as many blocks
    /// more as finality was behind: by so many a lost signature can live longer.
    pub since: Option<BlockNumber>,
    /// The epoch in which the last lost signature died: the last one that can have been signed for.
    pub spent: Option<EpochIndex>,
}

impl Restoration {
    /// What a journal, oldest line first, says of this hotkey and subnet; `None` if it is no copy,
    /// or one that has settled.
    #[must_use]
    pub fn of_journal(journal: &[JournalEntry], hotkey: Hotkey, netuid: Netuid) -> Option<Self> {
        let own = journal.iter().filter(|line| line.hotkey == hotkey && line.netuid == netuid);
        own.fold(None, |known, line| {
            if let JournalStep::Restored { since, spent } = line.step {
                Some(Self { since, spent })
            } else if let JournalStep::Settled { .. } = line.step {
                None
            } else {
                known
            }
        })
    }

    /// The last block in which a signature of the lost time can have landed, as seen in `view`.
    #[must_use]
    pub fn lost_until(self, view: &ChainView) -> BlockNumber {
        self.since.unwrap_or(view.number).plus(BlockCount(SETTLING_BLOCKS))
    }

    /// What a finalized block adds, with `head`, the best block then. It may be older than one
    /// before: another endpoint lags.
    #[must_use]
    pub fn seen(self, head: BlockNumber, finalized: &ChainView) -> Self {
        let lag = head.since(finalized.number);
        let since = self.since.or(Some(head.max(finalized.number).plus(lag)));
        let known = Self { since, ..self };
        if finalized.number < known.lost_until(finalized) {
            return known;
        }
        let index = finalized.epoch.index;
        // A lesser number is another clock's: lost signatures are dead, so its epoch is as spent.
        let spent = self.spent.map_or(index, |spent| spent.min(index));
        Self { spent: Some(spent), ..known }
    }

    /// Whether a finalized block is of an epoch for which nothing lost was signed.
    #[must_use]
    pub fn is_over(self, finalized: &ChainView) -> bool {
        let is_dead = finalized.number >= self.lost_until(finalized);
        is_dead && self.spent.is_some_and(|spent| spent < finalized.epoch.index)
    }

    /// In which block it will be over, as the chain plans it; `None` if no epoch is planned.
    #[must_use]
    pub fn until(self, finalized: &ChainView) -> Option<BlockNumber> {
        let (now, tempo) = (finalized.number, finalized.params.tempo);
        let last = if self.spent.is_some() { now } else { self.lost_until(finalized) };
        finalized.epoch.first_epoch_from(now, tempo, last.plus(BlockCount(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epoch::EpochClock;
    use crate::id::IntentId;
    use crate::view::SubnetParams;

    const OWN: Hotkey = Hotkey([1; 32]);

    fn line(step: JournalStep) -> JournalEntry {
        JournalEntry {
            hotkey: OWN,
            intent: IntentId([2; 32]),
            netuid: Netuid(3),
            mechanism: 0,
            registered_at: None,
            epoch: EpochIndex(4),
            step,
        }
    }

    fn restored(since: Option<u64>) -> JournalEntry {
        line(JournalStep::Restored { since: since.map(BlockNumber), spent: None })
    }

    /// Block `number` of a chain whose epochs begin in blocks 100, 200, 300 and so on.
    fn view(number: u64) -> ChainView {
        let index = number / 100;
        let epoch = EpochClock {
            index: EpochIndex(index),
            last_epoch_block: BlockNumber(index * 100),
            next_epoch_block: Some(BlockNumber(index * 100 + 100)),
            ..EpochClock::default()
        };
        let params = SubnetParams { tempo: BlockCount(100), ..SubnetParams::default() };
        ChainView { number: BlockNumber(number), epoch, params, ..ChainView::default() }
    }

    /// Where it stands after these blocks, and the first of them in which it is over.
    fn follow(blocks: impl IntoIterator<Item = u64>) -> (Restoration, Option<u64>) {
        let mut restoration = Restoration::default();
        for block in blocks {
            restoration = restoration.seen(BlockNumber(block), &view(block));
            if restoration.is_over(&view(block)) {
                return (restoration, Some(block));
            }
        }
        (restoration, None)
    }

    #[test]
    fn the_last_line_about_a_copy_counts_and_lines_of_others_do_not() {
        let settled = || line(JournalStep::Settled { block: BlockNumber(9) });
        let of = |journal: &[JournalEntry]| Restoration::of_journal(journal, OWN, Netuid(3));
        let since =
            |block: Option<u64>| Some(Restoration { since: block.map(BlockNumber), spent: None });
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[restored(None)]), since(None));
        let adopted = line(JournalStep::Adopted { block: BlockNumber(8) });
        assert_eq!(of(&[restored(None), restored(Some(7)), adopted]), since(Some(7)));
        assert_eq!(of(&[restored(None), restored(Some(7)), settled()]), None);
        // A copy of a node that was restored itself.
        assert_eq!(of(&[restored(Some(7)), restored(None)]), since(None));
        assert_eq!(of(&[restored(Some(7)), settled(), restored(None)]), since(None));
        let elsewhere = JournalEntry { netuid: Netuid(4), ..restored(None) };
        let foreign = JournalEntry { hotkey: Hotkey([9; 32]), ..restored(None) };
        assert_eq!(of(&[elsewhere, foreign]), None);
    }

    #[test]
    fn it_is_over_in_the_first_epoch_that_begins_when_lost_signatures_are_dead() {
        assert_eq!(follow(110..500).1, Some(200), "dead in block 174, of the epoch from 100 on");
        assert_eq!(follow(150..500).1, Some(300), "dead in block 214, of the epoch from 200 on");
        assert_eq!(follow(136..500).1, Some(300), "dead in block 200, the first of its epoch");
        let (waiting, over) = follow(150..220);
        assert_eq!((waiting.spent, over), (Some(EpochIndex(2)), None));
        assert_eq!(follow([150, 390, 395, 400]).1, Some(400), "what nobody looked at is not over");
    }

    #[test]
    fn a_new_tempo_within_an_epoch_does_not_end_it_and_another_clock_does() {
        let (waiting, _) = follow(150..220);
        let mut moved = view(230);
        moved.epoch.last_epoch_block = BlockNumber(230);
        let seen = |view: &ChainView| waiting.seen(view.number, view);
        assert!(!seen(&moved).is_over(&moved), "the same epoch");
        let mut counted_anew = view(240);
        counted_anew.epoch.index = EpochIndex(0);
        let restoration = seen(&counted_anew);
        assert!(!restoration.is_over(&counted_anew), "its epoch may have been signed for");
        counted_anew.number = BlockNumber(250);
        counted_anew.epoch.index = EpochIndex(1);
        assert!(restoration.is_over(&counted_anew));
    }

    #[test]
    fn an_endpoint_that_lags_ends_nothing() {
        let (waiting, over) = follow(150..220);
        assert_eq!((waiting.spent, over), (Some(EpochIndex(2)), None));
        let behind = waiting.seen(BlockNumber(199), &view(199));
        assert_eq!(behind.spent, Some(EpochIndex(2)), "block 199 is before the last one lost");
        assert!(!behind.is_over(&view(199)) && !behind.is_over(&view(205)));
        assert!(behind.is_over(&view(300)));
    }

    #[test]
    fn finality_that_is_behind_makes_the_wait_longer() {
        let stuck = Restoration::default().seen(BlockNumber(180), &view(110));
        assert_eq!(stuck.since, Some(BlockNumber(250)));
        assert!(stuck.lost_until(&view(110)) >= BlockNumber(250 + 64));
        assert_eq!(stuck.seen(BlockNumber(320), &view(310)).spent, None);
        assert_eq!(stuck.seen(BlockNumber(320), &view(314)).spent, Some(EpochIndex(3)));
    }

    #[test]
    fn when_it_settled_is_the_last_line_that_says_so() {
        let settled = |block| line(JournalStep::Settled { block: BlockNumber(block) });
        assert_eq!(settled_at(&[restored(None)], OWN, Netuid(3)), None);
        let lines = [restored(None), settled(9), restored(Some(7)), settled(40)];
        assert_eq!(settled_at(&lines, OWN, Netuid(3)), Some(BlockNumber(40)));
        assert_eq!(settled_at(&lines, Hotkey([9; 32]), Netuid(3)), None);
    }

    #[test]
    fn when_it_will_be_over_is_told_where_the_chain_plans_an_epoch() {
        let unread = Restoration::default();
        assert_eq!(unread.until(&view(110)), Some(BlockNumber(200)));
        assert_eq!(unread.until(&view(136)), Some(BlockNumber(300)));
        assert_eq!(follow(150..160).0.until(&view(160)), Some(BlockNumber(300)));
        assert_eq!(follow(150..220).0.until(&view(219)), Some(BlockNumber(300)));
        let mut ended = view(150);
        (ended.epoch.next_epoch_block, ended.params.tempo) = (None, BlockCount(0));
        assert_eq!(unread.until(&ended), None);
    }
}

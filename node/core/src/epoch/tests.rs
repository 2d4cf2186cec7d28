use proptest::prelude::*;

use super::*;

/// The chain's own rule, block by block.
#[derive(Clone, Copy, Debug)]
struct Chain {
    now: u64,
    tempo: u64,
    index: u64,
    last: u64,
    pending: u64,
    since_step: u64,
}

impl Chain {
    fn is_due(&self, block: u64) -> bool {
        self.tempo > 0
            && ((self.pending > 0 && block >= self.pending)
                || self.since_step > SAFETY_VALVE_BLOCKS
                || block - self.last >= self.tempo)
    }

    fn produce(&mut self) {
        let block = self.now + 1;
        if self.is_due(block) {
            (self.last, self.pending, self.since_step) = (block, 0, 0);
            self.index += 1;
        } else {
            self.since_step += 1;
        }
        self.now = block;
    }

    /// The epoch that the chain counts a commit in the present block to.
    fn lookahead(&self) -> u64 {
        self.index + u64::from(self.is_due(self.now))
    }

    fn clock(&self) -> EpochClock {
        EpochClock::stateful(
            BlockNumber(self.now),
            BlockCount(self.tempo),
            EpochIndex(self.index),
            BlockNumber(self.last),
            BlockNumber(self.pending),
            self.since_step,
        )
    }
}

fn chains() -> impl Strategy<Value = Chain> {
    (1..2_000_000u64, 1..120u64, 0..1_000u64, 0..120u64, 0..40u64).prop_map(
        |(now, tempo, index, since, ahead)| Chain {
            now,
            tempo,
            index,
            last: now.saturating_sub(since % tempo),
            pending: if ahead == 0 { 0 } else { now + ahead },
            since_step: since % tempo,
        },
    )
}

proptest! {
    #[test]
    fn the_next_epoch_is_where_the_chain_runs_it(chain in chains()) {
        let predicted = chain.clock().next_epoch_block.unwrap().0;
        let mut run = chain;
        while run.index == chain.index {
            run.produce();
        }
        prop_assert_eq!(run.now, predicted);
    }

    #[test]
    fn a_commit_opens_in_the_epoch_that_the_chain_takes_it_from(
        chain in chains(),
        delay in 1..30u64,
        period in 1..6u64,
    ) {
        let included = chain.now + delay;
        let reveal = chain
            .clock()
            .reveal(BlockNumber(chain.now), BlockCount(chain.tempo), BlockNumber(included), period)
            .unwrap();
        let mut run = chain;
        while run.now < included {
            run.produce();
        }
        let commit_epoch = run.lookahead();
        while run.lookahead() < commit_epoch + period {
            run.produce();
        }
        prop_assert_eq!(reveal.commit_epoch.0, commit_epoch);
        prop_assert_eq!(reveal.epoch.0, commit_epoch + period);
        prop_assert_eq!(reveal.block.0, run.now);
    }

    #[test]
    fn legacy_epochs_fall_where_block_and_netuid_say(
        now in 0..5_000_000u64,
        tempo in 1..400u64,
        netuid in 0..4096u16,
    ) {
        let clock = EpochClock::legacy(BlockNumber(now), BlockCount(tempo), Netuid(netuid));
        let is_epoch = |block: u64| (block + u64::from(netuid) + 1).is_multiple_of(tempo + 1);
        let next = (now + 1..).find(|block| is_epoch(*block)).unwrap();
        prop_assert_eq!(clock.next_epoch_block, Some(BlockNumber(next)));
        prop_assert_eq!(clock.index.0, (now + u64::from(netuid) + 1) / (tempo + 1));
    }

    #[test]
    fn a_legacy_commit_opens_by_the_old_formula(
        now in 5_000..5_000_000u64,
        tempo in 1..400u64,
        netuid in 0..4096u16,
        period in 1..6u64,
    ) {
        let clock = EpochClock::legacy(BlockNumber(now), BlockCount(tempo), Netuid(netuid));
        let included = now + 1;
        let reveal = clock
            .reveal(BlockNumber(now), BlockCount(tempo), BlockNumber(included), period)
            .unwrap();
        let netuid = u64::from(netuid);
        let epoch = (included + netuid + 1) / (tempo + 1);
        prop_assert_eq!(reveal.commit_epoch.0, epoch);
        prop_assert_eq!(reveal.block.0, (epoch + period) * (tempo + 1) - (netuid + 1));
    }

    #[test]
    fn a_round_is_published_before_its_target_and_less_than_two_periods_before(
        head in 0..1_000_000u64,
        ahead in 0..10_000u64,
        since_genesis in 10..10_000_000u64,
    ) {
        let schedule = BeaconSchedule { genesis: UnixMs(1_692_803_367_000), period_ms: 3_000 };
        let time = UnixMs(schedule.genesis.0 + since_genesis * 1_000);
        let target = BlockNumber(head + ahead);
        let round = schedule.round_for(BlockNumber(head), time, 12_000, target).unwrap();
        let target_time = time.0 + ahead * 12_000;
        let published = schedule.published_at(round).0;
        prop_assert!(published < target_time);
        prop_assert!(target_time - published < 2 * 3_000);
        prop_assert!(schedule.newest_at(UnixMs(target_time)) > round);
    }
}

#[test]
fn the_safety_valve_opens_after_its_blocks() {
    for (since_step, expected) in [(50_400, 107), (50_401, 106)] {
        let clock = EpochClock::stateful(
            BlockNumber(105),
            BlockCount(60_000),
            EpochIndex(7),
            BlockNumber(100),
            BlockNumber(0),
            since_step,
        );
        assert_eq!(clock.next_epoch_block, Some(BlockNumber(expected)));
    }
}

#[test]
fn without_tempo_no_epoch_runs_and_nothing_opens() {
    let clock = EpochClock::legacy(BlockNumber(5), BlockCount(0), Netuid(1));
    assert_eq!(clock.next_epoch_block, None);
    assert_eq!(clock.reveal(BlockNumber(5), BlockCount(0), BlockNumber(6), 1), None);
}

#[test]
fn a_beacon_that_has_not_begun_has_no_round() {
    let schedule = BeaconSchedule { genesis: UnixMs(10_000), period_ms: 3_000 };
    assert_eq!(schedule.round_for(BlockNumber(1), UnixMs(0), 100, BlockNumber(2)), None);
    assert_eq!(schedule.newest_at(UnixMs(9_999)), 0);
    assert_eq!(schedule.newest_at(UnixMs(10_000)), 1);
    assert_eq!(schedule.published_at(1), UnixMs(10_000));
}

#[test]
fn a_period_longer_than_the_chain_allows_is_not_counted_to() {
    let now = BlockNumber(100);
    let clock = EpochClock::legacy(now, BlockCount(10), Netuid(1));
    assert_eq!(clock.reveal(now, BlockCount(10), BlockNumber(101), u64::MAX), None);
    assert!(clock.reveal(now, BlockCount(10), BlockNumber(101), 100).is_some());
}

use super::*;

use crate::encode::has_item;
use crate::golden_tests::{encoded, local_runtime, runtimes};
use crate::runtime::Runtime;
use node_core::epoch::Schedule;

const NOW: BlockNumber = BlockNumber(1_000);
const OWN: Hotkey = Hotkey([5; 32]);

fn subject() -> Subject {
    Subject { netuid: Netuid(3), mechanism: 0, own_hotkey: Some(OWN) }
}

/// What a chain says that has the subnet and stored nothing else but what `stored` picks.
fn read(runtime: &Runtime, stored: impl Fn(&SubnetSlots) -> Vec<(Slot, Vec<u8>)>) -> Subnet {
    let mut batch = Batch::new(runtime);
    let slots = SubnetSlots::add(&mut batch, subject(), true).unwrap();
    let mut values = vec![(slots.exists, vec![1])];
    values.extend(stored(&slots));
    slots.decode(&batch.answered(&values), NOW).unwrap().unwrap()
}

#[test]
fn a_subnet_that_does_not_exist_is_none() {
    for runtime in runtimes() {
        let mut batch = Batch::new(&runtime);
        let slots = SubnetSlots::add(&mut batch, subject(), false).unwrap();
        assert!(slots.decode(&batch.answered(&[]), NOW).unwrap().is_none());
    }
}

#[test]
fn a_runtime_without_the_stateful_clock_is_read_by_the_old_formula() {
    for runtime in runtimes() {
        let subnet = read(&runtime, |_| vec![]);
        let tempo = subnet.params.tempo.0;
        let next = subnet.clock.next_epoch_block.unwrap().0;
        if runtime.spec_version >= 425 {
            assert_eq!((subnet.clock.index.0, next), (0, 1_001), "overdue since block {tempo}");
        } else {
            assert_eq!(subnet.clock.schedule, Schedule::Legacy { netuid: Netuid(3) });
            assert_eq!((next + 3 + 1) % (tempo + 1), 0);
            assert_eq!(subnet.clock.index.0, 1_004 / (tempo + 1));
        }
    }
}

/// The defaults of the real chain (spec 365 to 425), in which nothing was set.
#[test]
fn what_was_never_set_reads_as_the_chains_defaults() {
    for runtime in runtimes() {
        let subnet = read(&runtime, |_| vec![]);
        let params = &subnet.params;
        assert!(params.commit_reveal_enabled);
        assert_eq!(params.commit_reveal_version, Some(4));
        assert_eq!((params.reveal_period, params.mechanism_count), (1, 1));
        assert_eq!(params.consensus, ConsensusMode::Yuma);
        assert_eq!((params.immunity_period.0, params.serving_rate_limit.0), (4096, 50));
        assert_eq!((params.registered_at, params.owner_hotkey), (BlockNumber(0), None));
        assert_eq!((subnet.own_nonce, subnet.safe_mode_until), (0, None));
        let results = subnet.results.unwrap();
        assert_eq!((results.permits, results.trust), (vec![], vec![]));
    }
}

#[test]
fn the_activity_cutoff_is_a_factor_of_the_tempo_where_there_is_one() {
    for runtime in runtimes() {
        let has_factor = has_item(runtime.metadata(), &items::ACTIVITY_CUTOFF_FACTOR_MILLI);
        assert_eq!(has_factor, runtime.spec_version >= 425);
        let subnet = read(&runtime, |slots| {
            let mut stored = vec![(slots.params.tempo, vec![104, 1])];
            stored.push((slots.params.cutoff, vec![7, 0]));
            stored.push((slots.params.cutoff_factor, vec![0xe8, 3, 0, 0]));
            stored
        });
        assert_eq!(subnet.params.tempo, BlockCount(360));
        let expected = if has_factor { 360 } else { 7 };
        assert_eq!(subnet.params.activity_cutoff, BlockCount(expected));
    }
}

#[test]
fn the_beacon_is_the_runtimes_own_and_quicknet_by_default() {
    for runtime in runtimes() {
        let subnet = read(&runtime, |slots| vec![(slots.last_round, vec![9, 0, 0, 0, 0, 0, 0, 0])]);
        let beacon = subnet.beacon.unwrap();
        assert_eq!(beacon.last_stored_round, 9);
        if runtime.spec_version != 425 || beacon.schedule == QUICKNET_SCHEDULE {
            assert_eq!(beacon, quicknet(9));
        }
    }
    let config =
        |period, genesis_time| BeaconConfig { public_key: Blob(vec![1, 2]), period, genesis_time };
    let beacon = config(3, 100).beacon(5).unwrap();
    assert_eq!((beacon.schedule.period_ms, beacon.schedule.genesis), (3_000, UnixMs(100_000)));
    assert_eq!(config(0, 100).beacon(5), None);
    assert_eq!(config(3, u64::MAX).beacon(5), None);
}

#[test]
fn what_cannot_be_read_is_neither_yuma_nor_a_known_commit_format() {
    let runtime = local_runtime();
    let subnet = read(&runtime, |slots| {
        vec![
            (slots.params.commit_version, vec![1]),
            (slots.beacon, vec![1]),
            (slots.now, vec![0; 8]),
        ]
    });
    assert_eq!(subnet.params.commit_reveal_version, Some(UNREADABLE_VERSION));
    assert_eq!(subnet.beacon, None);
}

#[test]
fn a_vector_longer_than_any_subnet_is_refused() {
    let runtime = local_runtime();
    let mut batch = Batch::new(&runtime);
    let slots = SubnetSlots::add(&mut batch, subject(), true).unwrap();
    let many = Value::unnamed_composite((0..=UIDS_MAX).map(|_| Value::u128(1)));
    let updates = encoded(&runtime, &items::LAST_UPDATE, &many);
    let answers = batch.answered(&[(slots.exists, vec![1]), (slots.updates, updates)]);
    assert!(slots.decode(&answers, NOW).unwrap_err().detail.contains("4097 items"));
}

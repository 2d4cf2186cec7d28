use super::*;

use node_core::id::Netuid;
use node_core::unit::UnixMs;
use node_core::view::SubnetParams;

use crate::golden_tests::local_runtime;

const SUBJECT: Subject = Subject { netuid: Netuid(1), mechanism: 0, own_hotkey: None };

fn seat(uid: u16, stake_rao: Option<u64>) -> Seat {
    Seat {
        uid: Uid(uid),
        hotkey: Hotkey([u8::try_from(uid).unwrap() + 1; 32]),
        registered_at: BlockNumber(5),
        axon: None,
        stake_rao,
    }
}

/// Three neurons at block 100; the vectors by uid are one short.
fn facts(full: bool) -> Facts {
    let results = Results {
        permits: vec![true, false],
        active: None,
        trust: vec![7, 8],
        dividends: vec![9, 10],
        emission: vec![11, 12],
    };
    let params = SubnetParams { activity_cutoff: BlockCount(10), ..SubnetParams::default() };
    let subnet = Subnet {
        timestamp: UnixMs(50_000),
        count: 3,
        params,
        clock: node_core::epoch::EpochClock::default(),
        updates: vec![90, 89],
        results: full.then_some(results),
        beacon: None,
        safe_mode_until: None,
        own_nonce: 0,
        own_hashed: Vec::new(),
    };
    let seats = (0..3).map(|uid| seat(uid, full.then_some(100 + u64::from(uid)))).collect();
    Facts {
        extent: Extent { full, commitments: true },
        number: BlockNumber(100),
        subnet,
        seating: Seating { seats, ..Seating::default() },
        found: Found::default(),
        revealing: None,
    }
}

fn view(facts: Facts, previous: Option<&ChainView>) -> ChainView {
    facts.view(SUBJECT, &local_runtime(), previous)
}

#[test]
fn vectors_shorter_than_the_uids_never_shift_anybody() {
    let view = view(facts(true), None);
    let trust: Vec<_> = view.neurons.iter().map(|neuron| neuron.validator_trust).collect();
    assert_eq!(trust, [7, 8, 0]);
    let permits: Vec<_> = view.neurons.iter().map(|neuron| neuron.validator_permit).collect();
    assert_eq!(permits, [true, false, false]);
    let updates: Vec<_> = view.neurons.iter().map(|neuron| neuron.last_update.0).collect();
    assert_eq!(updates, [90, 89, 0]);
    let stakes: Vec<_> = view.neurons.iter().map(|neuron| neuron.stake_rao).collect();
    assert_eq!(stakes, [100, 101, 102]);
}

#[test]
fn without_the_chains_own_word_activity_follows_from_the_last_update() {
    let active = |facts| view(facts, None).neurons.iter().map(|n| n.is_active).collect::<Vec<_>>();
    assert_eq!(active(facts(true)), [true, false, false], "ten blocks ago, eleven, never");
    let mut told = facts(true);
    told.subnet.results.as_mut().unwrap().active = Some(vec![false, true]);
    assert_eq!(active(told), [false, true, false]);
}

#[test]
fn an_increment_keeps_what_epochs_change_and_takes_what_blocks_change() {
    let before = view(facts(true), None);
    let mut later = facts(false);
    later.number = BlockNumber(101);
    later.subnet.updates = vec![101, 89, 0];
    later.seating.seats[2].axon = Some("10.0.0.1:1".parse().unwrap());
    later.found.rows.insert(Uid(1), vec![(Uid(0), 3)]);
    let runtime = local_runtime();
    assert!(!later.continues(&before, &runtime) || before.spec_version == runtime.spec_version);
    let previous = ChainView { weights: vec![(Uid(0), vec![(Uid(2), 9)])], ..before.clone() };
    let after = view(later, Some(&previous));
    let (old, new) = (&before.neurons, &after.neurons);
    assert_eq!(new[0], Neuron { last_update: BlockNumber(101), ..old[0].clone() });
    assert_eq!(new[1], old[1]);
    assert_eq!(new[2].stake_rao, old[2].stake_rao);
    assert!(new[2].axon.is_some());
    assert_eq!(after.weights, [(Uid(0), vec![(Uid(2), 9)]), (Uid(1), vec![(Uid(0), 3)])]);
}

#[test]
fn an_emptied_own_row_does_not_live_on_in_increments() {
    let previous = ChainView { weights: vec![(Uid(1), vec![(Uid(0), 3)])], ..ChainView::default() };
    let mut later = facts(false);
    later.found.rows.insert(Uid(1), Vec::new());
    assert_eq!(view(later, Some(&previous)).weights, []);
}

#[test]
fn another_epoch_neuron_subnet_or_runtime_ends_a_line_of_increments() {
    let runtime = local_runtime();
    let before = view(facts(true), None);
    let continues = |change: &dyn Fn(&mut Facts, &mut ChainView)| {
        let (mut facts, mut view) = (facts(false), before.clone());
        change(&mut facts, &mut view);
        facts.continues(&view, &runtime)
    };
    assert!(continues(&|_, _| {}));
    assert!(continues(&|facts, _| facts.subnet.updates = vec![]));
    assert!(!continues(&|facts, _| facts.subnet.clock.index.0 += 1));
    assert!(!continues(&|facts, _| facts.seating.seats[1].hotkey = Hotkey([9; 32])));
    assert!(!continues(&|facts, _| facts.seating.seats[1].registered_at = BlockNumber(99)));
    assert!(!continues(&|facts, _| facts.seating.seats.truncate(2)));
    assert!(!continues(&|facts, _| facts.subnet.params.registered_at = BlockNumber(99)));
    assert!(!continues(&|_, view| view.spec_version += 1));
    assert!(!continues(&|_, view| view.number = BlockNumber(101)), "not an earlier block");
}

#[test]
fn kept_commitments_are_those_of_hotkeys_still_seated() {
    let record = |byte| CommitmentRecord {
        hotkey: Hotkey([byte; 32]),
        block: BlockNumber(3),
        bytes: vec![1],
        seed_block_hash: None,
        window_block_hash: None,
    };
    let view = ChainView { commitments: vec![record(1), record(9)], ..ChainView::default() };
    assert_eq!(facts(false).kept_commitments(&view), [record(1)]);
}

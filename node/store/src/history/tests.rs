use std::collections::BTreeMap;

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::rows::IntentState;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

pub(crate) const OWNER: Owner =
    Owner { genesis: BlockHash([1; 32]), netuid: Netuid(3), hotkey: Hotkey([2; 32]) };

/// Few values, so that two histories often know of the same things.
fn signed(carries: Carries, at: u8) -> impl Strategy<Value = SignedExtrinsic> {
    (0..3u8, 0..2u32, 0..3u64, any::<bool>(), 0..3u16).prop_map(
        move |(hash, nonce, anchor, has_bytes, uid)| SignedExtrinsic {
            bytes: if has_bytes { vec![at, hash] } else { Vec::new() },
            hash: Digest([16 * at + hash; 32]),
            nonce,
            anchor: BlockNumber(anchor),
            era_end: BlockNumber(anchor + 16),
            spec_version: 300,
            carries: carries.clone(),
            vector: vec![(Uid(uid), u16::MAX)],
        },
    )
}

fn reason() -> impl Strategy<Value = String> {
    prop_oneof![Just("one".to_owned()), Just("another".to_owned())]
}

/// Often one of the signatures that `step` makes.
fn found() -> impl Strategy<Value = Option<Digest>> {
    let hash = (1..3u8, 0..3u8).prop_map(|(at, hash)| Some(Digest([16 * at + hash; 32])));
    prop_oneof![Just(None), hash]
}

fn step() -> impl Strategy<Value = JournalStep> {
    let block = || (1..4u64).prop_map(BlockNumber);
    let hashed = Carries::Hashed { commit: Digest([9; 32]), salt: vec![1, 2] };
    prop_oneof![
        (0..3u64, 0..2u64, 0..3u16).prop_map(|(at, version_key, uid)| JournalStep::Intended {
            vector: vec![(Uid(uid), u16::MAX)],
            version_key,
            computed_at: BlockNumber(at),
        }),
        signed(Carries::Plain, 1).prop_map(|signed| JournalStep::Signed { signed }),
        signed(hashed, 2).prop_map(|signed| JournalStep::Signed { signed }),
        signed(Carries::Reveal, 3).prop_map(|signed| JournalStep::RevealSigned { signed }),
        (block(), found()).prop_map(|(block, hash)| JournalStep::Landed { block, hash }),
        (block(), 0..3u64, found()).prop_map(|(block, epoch, hash)| {
            JournalStep::Committed { block, epoch: EpochIndex(epoch), hash }
        }),
        block().prop_map(|block| JournalStep::Revealed { block }),
        reason().prop_map(|reason| JournalStep::Lost { reason }),
        reason().prop_map(|reason| JournalStep::Abandoned { reason }),
        block().prop_map(|block| JournalStep::Adopted { block }),
    ]
}

pub(crate) fn lines() -> impl Strategy<Value = Vec<JournalEntry>> {
    let registered_at =
        prop_oneof![Just(None), (1..3u64).prop_map(|block| Some(BlockNumber(block)))];
    let line = (0..2u8, registered_at, 0..2u64, step());
    let line = line.prop_map(|(mechanism, registered_at, epoch, step)| {
        let epoch = EpochKey { registered_at, epoch: EpochIndex(epoch) };
        History::new(OWNER).entry(mechanism, epoch, step)
    });
    vec(line, 0..24)
}

pub(crate) fn histories() -> impl Strategy<Value = History> {
    lines().prop_map(|lines| History::of_journal(OWNER, &lines))
}

type Signatures = BTreeMap<Digest, SignedExtrinsic>;

fn merged(one: &History, other: &History) -> History {
    let mut merged = one.clone();
    merged.merge(other);
    merged
}

/// What a node takes for the state of each epoch that it reads line by line.
fn replayed(lines: &[JournalEntry]) -> BTreeMap<(u8, EpochKey), &'static str> {
    let mut states = BTreeMap::new();
    for line in lines {
        let state = match line.step {
            JournalStep::Signed { .. } => "signed",
            JournalStep::Landed { .. } => "landed",
            JournalStep::Committed { .. } => "committed",
            JournalStep::Revealed { .. } => "revealed",
            JournalStep::Lost { .. } => "lost",
            JournalStep::Abandoned { .. } => "abandoned",
            JournalStep::Intended { .. }
            | JournalStep::RevealSigned { .. }
            | JournalStep::Adopted { .. }
            | JournalStep::Restored { .. }
            | JournalStep::Settled { .. } => continue,
        };
        states.insert((line.mechanism, EpochKey::of_entry(line)), state);
    }
    states
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        a in histories(), b in histories(), c in histories(),
    ) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a);
    }

    #[test]
    fn merging_lowers_nothing_that_either_side_knew(a in histories(), b in histories()) {
        let both = merged(&a, &b);
        for side in [&a, &b] {
            // What is added again changes nothing: it was all in there.
            prop_assert_eq!(&merged(&both, side), &both);
            for (number, mechanism) in &side.mechanisms {
                let there = &both.mechanisms[number];
                prop_assert!(there.adopted >= mechanism.adopted);
                for (epoch, known) in &mechanism.epochs {
                    let there = &there.epochs[epoch];
                    prop_assert!(rank_of(&there.state()) >= rank_of(&known.state()));
                    prop_assert!(there.updated_at() >= known.updated_at());
                    let has_all = |there: &Signatures, known: &Signatures| {
                        known.keys().all(|hash| there.contains_key(hash))
                    };
                    prop_assert!(has_all(&there.signings, &known.signings));
                    prop_assert!(has_all(&there.reveals, &known.reveals));
                }
            }
        }
    }

    #[test]
    fn the_lines_beyond_lead_a_journal_to_what_both_know(ours in lines(), theirs in histories()) {
        let known = History::of_journal(OWNER, &ours);
        let both = merged(&known, &theirs);
        let beyond: Vec<_> =
            both.entries_beyond(&known).into_iter().flat_map(|(_, lines)| lines).collect();
        let all = [ours, beyond.clone()].concat();
        prop_assert_eq!(&History::of_journal(OWNER, &all), &both);
        prop_assert!(both.entries_beyond(&both).is_empty());
        let replayed = replayed(&all);
        for line in beyond.iter().filter(|line| !matches!(line.step, JournalStep::Adopted { .. })) {
            let epoch = EpochKey::of_entry(line);
            let furthest = both.mechanisms[&line.mechanism].epochs[&epoch].state();
            let state = replayed.get(&(line.mechanism, epoch)).copied();
            prop_assert_eq!(state.unwrap_or("open"), crate::state_name(&furthest));
        }
    }

    #[test]
    fn a_row_tells_as_much_as_the_history_that_it_was_made_of(history in histories()) {
        for (number, mechanism) in &history.mechanisms {
            for (epoch, known) in &mechanism.epochs {
                let row = known.row(&OWNER, *number, *epoch);
                let again = EpochHistory::of_row(&row);
                prop_assert_eq!(again.state(), known.state());
                // A row has room for one kind of landing; an epoch has one form.
                if known.landed.is_none() || known.committed.is_none() {
                    prop_assert_eq!(again.updated_at(), known.updated_at());
                }
                prop_assert_eq!(&again.signings, &known.signings);
                prop_assert_eq!(&again.reveals, &known.reveals);
            }
        }
    }
}

#[test]
fn the_signature_that_was_found_decides_the_vector_and_comes_last_in_a_row() {
    let entry = |step| History::new(OWNER).entry(0, EpochIndex(1), step);
    let signing = |number: u8| SignedExtrinsic {
        bytes: vec![number],
        hash: Digest([number; 32]),
        nonce: 4,
        anchor: BlockNumber(u64::from(number)),
        era_end: BlockNumber(40),
        spec_version: 1,
        carries: Carries::Hashed { commit: Digest([number; 32]), salt: vec![number.into()] },
        vector: vec![(Uid(number.into()), u16::MAX)],
    };
    let committed =
        |hash| JournalStep::Committed { block: BlockNumber(30), epoch: EpochIndex(1), hash };
    let signed = [1, 2, 3].map(|number| entry(JournalStep::Signed { signed: signing(number) }));
    let mut history = History::of_journal(OWNER, &signed);
    history.merge(&History::of_journal(OWNER, &[entry(committed(None))]));
    let known = |history: &History| history.mechanisms[&0].epochs[&EpochIndex(1).into()].clone();
    assert_eq!(known(&history).found_signing(), None);
    // A line that says which one it was outweighs one that does not, in either order.
    let which = History::of_journal(OWNER, &[entry(committed(Some(Digest([2; 32]))))]);
    let mut other_way = which.clone();
    other_way.merge(&history);
    history.merge(&which);
    assert_eq!(history, other_way);
    let row = known(&history).row(&OWNER, 0, EpochIndex(1));
    assert_eq!(row.signings.last().unwrap().hash, Digest([2; 32]));
    assert_eq!(row.vector, vec![(Uid(2), u16::MAX)]);
    assert_eq!(known(&history).vector(), row.vector);
    assert_eq!(EpochHistory::of_row(&row).found, Some(Digest([2; 32])));
}

fn rank_of(state: &IntentState) -> u8 {
    match state {
        IntentState::Open => 0,
        IntentState::Signed => 1,
        IntentState::Abandoned { .. } => 2,
        IntentState::Committed { .. } => 3,
        IntentState::Lost { .. } => 4,
        IntentState::Landed { .. } => 5,
        IntentState::Revealed { .. } => 6,
    }
}

#[test]
fn lines_of_another_hotkey_or_subnet_are_not_taken_for_ours() {
    let step = || JournalStep::Landed { block: BlockNumber(4), hash: None };
    let own = History::new(OWNER).entry(0, EpochIndex(1), step());
    let other = JournalEntry { hotkey: Hotkey([7; 32]), ..own.clone() };
    let elsewhere = JournalEntry { netuid: Netuid(9), ..own.clone() };
    let history = History::of_journal(OWNER, &[own, other, elsewhere]);
    assert_eq!(history.epochs(), 1);
}

#[test]
fn a_dry_run_is_no_history() {
    let mut history = History::new(OWNER);
    let mut row = EpochHistory::default().row(&OWNER, 0, EpochIndex(1));
    row.state = IntentState::Abandoned { reason: "dry run: nothing is signed".to_owned() };
    history.learn_row(&row);
    assert_eq!(history, History::new(OWNER));
}

#[test]
fn a_commit_on_chain_outweighs_giving_up() {
    let entry = |step| History::new(OWNER).entry(0, EpochIndex(1), step);
    let committed =
        JournalStep::Committed { block: BlockNumber(9), epoch: EpochIndex(1), hash: None };
    let gave_up = JournalStep::Abandoned { reason: "nothing was found".to_owned() };
    let history = History::of_journal(OWNER, &[entry(committed), entry(gave_up)]);
    let state = history.mechanisms[&0].epochs[&EpochIndex(1).into()].state();
    assert_eq!(state, IntentState::Committed { block: BlockNumber(9), epoch: EpochIndex(1) });
}

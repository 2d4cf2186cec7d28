use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::epoch::{BeaconSchedule, EpochClock, Schedule};
use crate::id::{Digest, Hotkey, IntentId, Netuid};
use crate::rows::Carries;
use crate::submit_guard::{self, CommitForm};
use crate::unit::UnixMs;
use crate::view::{Abilities, Beacon, ConsensusMode, OwnCommit, SubnetParams};

const OWN: Hotkey = Hotkey([1; 32]);
const TERMS: Terms =
    Terms { hotkey: OWN, mechanism: 0, lead: BlockCount(10), commit: CommitForm::Timelocked };
const PERIOD_MS: u64 = 3_000;

fn neuron(uid: u16, emission_rao: u64) -> Neuron {
    Neuron {
        uid: Uid(uid),
        hotkey: Hotkey([u8::try_from(uid).unwrap() + 1; 32]),
        registered_at: BlockNumber(100),
        last_update: BlockNumber(100),
        emission_rao,
        ..Neuron::default()
    }
}

/// Block 1100 of epoch 3 on a timelocked subnet, 100 blocks after our last update; all is well.
fn view() -> ChainView {
    ChainView {
        netuid: Netuid(7),
        number: BlockNumber(1_100),
        timestamp: UnixMs(1_000_000),
        spec_version: 475,
        block_ms: 12_000,
        neurons: vec![
            Neuron {
                stake_rao: 10,
                validator_permit: true,
                last_update: BlockNumber(1_000),
                ..neuron(0, 50)
            },
            neuron(1, 10),
            neuron(2, 90),
        ],
        params: SubnetParams {
            tempo: BlockCount(360),
            min_allowed_weights: 8,
            weights_rate_limit: BlockCount(100),
            weights_version_key: 77,
            commit_reveal_enabled: true,
            commit_reveal_version: Some(4),
            reveal_period: 1,
            mechanism_count: 1,
            stake_threshold_rao: 10,
            immunity_period: BlockCount(200),
            max_uids: 256,
            ..SubnetParams::default()
        },
        epoch: EpochClock {
            index: EpochIndex(3),
            last_epoch_block: BlockNumber(1_080),
            next_epoch_block: Some(BlockNumber(1_440)),
            ..EpochClock::default()
        },
        beacon: Some(Beacon {
            schedule: BeaconSchedule { genesis: UnixMs(0), period_ms: PERIOD_MS },
            public_key: vec![7],
            last_stored_round: 330,
        }),
        ..ChainView::default()
    }
}

fn with(change: impl Fn(&mut ChainView)) -> ChainView {
    let mut view = view();
    change(&mut view);
    view
}

fn intent(epoch: u64, state: IntentState) -> IntentRow {
    IntentRow {
        id: IntentId([u8::try_from(epoch).unwrap(); 32]),
        netuid: Netuid(7),
        mechanism: 0,
        registered_at: None,
        epoch: EpochIndex(epoch),
        vector: vec![(Uid(0), u16::MAX)],
        version_key: 77,
        computed_at: BlockNumber(900),
        signings: vec![SignedExtrinsic {
            bytes: vec![1],
            hash: Digest([0; 32]),
            nonce: 5,
            anchor: BlockNumber(900),
            era_end: BlockNumber(916),
            spec_version: 475,
            carries: Carries::Plain,
            vector: Vec::new(),
        }],
        reveals: Vec::new(),
        updated_at: None,
        state,
    }
}

fn look(head: &ChainView, intents: &[IntentRow], not_safe: Option<&NotSafe>) -> Preflight {
    let intents: Vec<&IntentRow> = intents.iter().collect();
    preflight(&Subject {
        sight: Sight { head, finalized: head },
        terms: TERMS,
        is_submitting: true,
        intents: &intents,
        not_safe,
        has_nothing_to_send: false,
    })
}

/// How one check stands after a change to the view, and what it says.
fn says(id: CheckId, change: impl Fn(&mut ChainView)) -> (Level, String) {
    let answer = look(&with(change), &[], None);
    let check = answer.check(id).unwrap();
    (check.level, check.text.clone())
}

#[track_caller]
fn assert_says(id: CheckId, change: impl Fn(&mut ChainView), level: Level, part: &str) {
    let (got, text) = says(id, change);
    assert_eq!(got, level, "{text}");
    assert!(text.contains(part), "`{part}` not in: {text}");
}

#[test]
fn nothing_is_wrong_with_a_validator_in_good_order_and_every_check_is_made_in_order() {
    let answer = look(&view(), &[], None);
    let wrong: Vec<&Check> = answer.checks.iter().filter(|c| c.level != Level::Ok).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let ids: Vec<CheckId> = answer.checks.iter().map(|check| check.id).collect();
    assert_eq!(ids, CheckId::ALL);
    let facts = answer.facts;
    assert_eq!((facts.uid, facts.has_permit), (Some(Uid(0)), Some(true)));
    assert_eq!(facts.millitempos_since_update, Some(277));
    assert_eq!(facts.form, Some(Form::Timelocked));
    assert_eq!((facts.prune_rank, facts.beacon_lag_rounds), (Some(1), Some(4)));
}

#[test]
fn what_keeps_our_hotkey_from_setting_weights_is_an_alarm_with_its_numbers() {
    use CheckId::{Permit, Registered, Stake};
    let own = |view: &mut ChainView| view.neurons[0] = neuron(9, 1);
    assert_says(Registered, own, Level::Alarm, "--netuid 7");
    assert_says(
        Permit,
        |view| view.neurons[0].validator_permit = false,
        Level::Alarm,
        "the next is in 340 blocks",
    );
    let poor = |view: &mut ChainView| view.neurons[0].stake_rao = 4;
    assert_says(Stake, poor, Level::Alarm, "stake 4 rao, threshold 10 rao: 6 rao are missing");
    let answer = look(&with(own), &[], None);
    assert!(answer.check(Permit).is_none() && answer.check(CheckId::Prune).is_none());
    assert_eq!(answer.facts.prune_rank, None);
}

#[test]
fn the_subnets_owner_needs_neither_permit_nor_stake_and_is_never_pruned() {
    let owner = |view: &mut ChainView| {
        view.params.owner_hotkey = Some(OWN);
        view.params.max_uids = 3;
        view.neurons[0] = Neuron { emission_rao: 0, ..neuron(0, 0) };
    };
    assert_says(CheckId::Permit, owner, Level::Ok, "owner needs none");
    assert_says(CheckId::Stake, owner, Level::Ok, "owner needs none");
    assert_says(CheckId::Prune, owner, Level::Ok, "never pruned");
}

#[test]
fn a_node_that_does_not_submit_is_warned_where_a_submitting_one_is_alarmed() {
    let head = with(|view| {
        view.neurons[0].validator_permit = false;
        view.neurons[0].last_update = BlockNumber(101);
    });
    let subject = |is_submitting| Subject {
        sight: Sight { head: &head, finalized: &head },
        terms: TERMS,
        is_submitting,
        intents: &[],
        not_safe: None,
        has_nothing_to_send: false,
    };
    let level =
        |is_submitting, id| preflight(&subject(is_submitting)).check(id).map(|check| check.level);
    assert_eq!(level(true, CheckId::Permit), Some(Level::Alarm));
    assert_eq!(level(false, CheckId::Permit), Some(Level::Warn));
    assert_eq!(level(true, CheckId::LastUpdate), Some(Level::Alarm));
    assert_eq!(level(false, CheckId::LastUpdate), Some(Level::Ok));
}

#[test]
fn silence_warns_at_one_and_a_half_tempos_and_is_an_alarm_at_two_and_a_half() {
    let updated = |blocks_ago: u64| {
        with(move |view| view.neurons[0].last_update = BlockNumber(1_100 - blocks_ago))
    };
    for (blocks_ago, level) in [
        (539, Level::Ok),
        (540, Level::Warn),
        (899, Level::Warn),
        (900, Level::Alarm),
        (990, Level::Alarm),
    ] {
        let answer = look(&updated(blocks_ago), &[], Some(&NotSafe::CatchingUp));
        let check = answer.check(CheckId::LastUpdate).unwrap();
        assert_eq!(check.level, level, "{blocks_ago}: {}", check.text);
        assert_eq!(check.text.contains("nothing is signed now"), level != Level::Ok);
        let unready: Vec<&Check> = answer.unready().collect();
        assert_eq!(unready.len(), usize::from(level == Level::Alarm), "{unready:?}");
    }
}

#[test]
fn silence_of_a_node_that_has_nothing_to_send_is_an_alarm_and_leaves_it_ready() {
    let head = with(|view| view.neurons[0].last_update = BlockNumber(101));
    let answer = preflight(&Subject {
        sight: Sight { head: &head, finalized: &head },
        terms: TERMS,
        is_submitting: true,
        intents: &[],
        not_safe: None,
        has_nothing_to_send: true,
    });
    let check = answer.check(CheckId::LastUpdate).unwrap();
    assert_eq!(check.level, Level::Alarm);
    assert!(check.text.contains("nobody who is registered was scored"), "{}", check.text);
    assert_eq!(answer.unready().count(), 0);
}

#[test]
fn a_hotkey_that_never_updated_is_counted_from_its_registration() {
    let fresh = |view: &mut ChainView| {
        view.neurons[0].registered_at = BlockNumber(1_090);
        view.neurons[0].last_update = BlockNumber(0);
    };
    let part = "no update since the registration in block 1090, 0.02 tempos ago (10 blocks)";
    assert_says(CheckId::LastUpdate, fresh, Level::Ok, part);
}

#[test]
fn a_subnet_without_epochs_is_not_watched() {
    let still = |view: &mut ChainView| {
        view.params.tempo = BlockCount(0);
        view.epoch.next_epoch_block = None;
        view.neurons[0].last_update = BlockNumber(101);
    };
    assert_says(CheckId::LastUpdate, still, Level::Ok, "not watched");
    assert_eq!(look(&with(still), &[], None).facts.millitempos_since_update, None);
}

#[test]
fn what_this_build_cannot_do_is_an_alarm_and_what_it_need_not_do_is_none() {
    use CheckId::{CommitMode, Consensus, Mechanism, Runtime, SafeMode};
    let version = |view: &mut ChainView| view.params.commit_reveal_version = Some(5);
    assert_says(CommitMode, version, Level::Alarm, "commit format 5, this build writes 4");
    assert_says(CommitMode, |view| view.beacon = None, Level::Alarm, "no usable randomness beacon");
    assert_says(
        Consensus,
        |view| view.params.consensus = ConsensusMode::Other("Null".to_owned()),
        Level::Alarm,
        "`Null` is not supported",
    );
    let last = |view: &mut ChainView| view.abilities.timelocked = false;
    assert_says(Runtime, last, Level::Alarm, "cannot be signed: timelocked commits, which");
    assert_says(Runtime, |view| view.abilities.hashed = false, Level::Ok, "does not want");
    let safe_mode = |view: &mut ChainView| view.safe_mode_until = Some(BlockNumber(1_200));
    assert_says(SafeMode, safe_mode, Level::Alarm, "100 blocks from now");
    assert_says(SafeMode, |view| view.safe_mode_until = Some(view.number), Level::Ok, "not in");
    assert_says(Mechanism, |view| view.params.mechanism_count = 0, Level::Ok, "mechanism 0 of 1");
}

#[test]
fn each_form_is_named() {
    let form = |change: fn(&mut ChainView)| look(&with(change), &[], None).facts.form;
    assert_eq!(form(|view| view.params.commit_reveal_enabled = false), Some(Form::Plain));
    assert_eq!(form(|view| view.params.commit_reveal_version = None), Some(Form::Hash));
    assert_eq!(form(|view| view.params.commit_reveal_version = Some(5)), None);
}

#[test]
fn a_rate_limit_longer_than_an_epoch_says_how_many_epochs_a_vector_takes() {
    let slow = |view: &mut ChainView| view.params.weights_rate_limit = BlockCount(721);
    assert_says(CheckId::RateLimit, slow, Level::Warn, "only every 3 epochs");
    let even = |view: &mut ChainView| view.params.weights_rate_limit = BlockCount(360);
    assert_says(CheckId::RateLimit, even, Level::Ok, "one vector per 360 blocks");
}

#[test]
fn the_least_length_is_that_of_the_subnet_or_the_number_of_its_neurons() {
    assert_says(CheckId::Length, |_| {}, Level::Ok, "at least 3 entries (the subnet wants 8,");
}

#[test]
fn who_is_pruned_first_follows_immunity_emission_age_and_uid() {
    let full = |view: &mut ChainView| view.params.max_uids = 3;
    assert_says(CheckId::Prune, full, Level::Warn, "1 of 3 neurons go before us, not immune");
    let least = |view: &mut ChainView| {
        full(view);
        view.neurons[0].emission_rao = 9;
    };
    assert_says(CheckId::Prune, least, Level::Alarm, "0 of 3 neurons go before us");
    let equal = |view: &mut ChainView| {
        full(view);
        view.neurons.iter_mut().for_each(|neuron| neuron.emission_rao = 0);
        view.neurons[2].registered_at = BlockNumber(99);
    };
    // The older one goes first, then the lower uid.
    assert_says(CheckId::Prune, equal, Level::Warn, "1 of 3");
    let immune = |view: &mut ChainView| {
        least(view);
        view.neurons[0].registered_at = BlockNumber(1_000);
    };
    assert_says(CheckId::Prune, immune, Level::Ok, "2 of 3 neurons go before us, immune for 100");
    let owned = |view: &mut ChainView| {
        full(view);
        view.params.owner_hotkey = Some(view.neurons[1].hotkey);
    };
    assert_says(CheckId::Prune, owned, Level::Alarm, "0 of 3");
}

/// A commit of epoch 2 that opens in epoch 3, which began 20 blocks ago.
fn committed(view: &mut ChainView, reveal_round: Option<u64>) {
    view.own_commits.push(OwnCommit {
        hash: Digest([1; 32]),
        block: BlockNumber(1_050),
        epoch: EpochIndex(2),
        reveal_round,
    });
}

#[test]
fn a_commit_whose_round_does_not_come_is_a_warning_once_its_epoch_has_begun() {
    use CheckId::Commits;
    // By the head's time, round 334 is the newest that is published, and the chain has 330.
    assert_says(Commits, |view| committed(view, Some(330)), Level::Warn, "probably skipped");
    assert_says(Commits, |view| committed(view, Some(332)), Level::Warn, "beacon stalls");
    assert_says(Commits, |view| committed(view, Some(400)), Level::Warn, "the epoch came early");
    let early = |view: &mut ChainView| {
        committed(view, Some(332));
        view.number = BlockNumber(1_083);
    };
    assert_says(Commits, early, Level::Ok, "published 0.1 min ago, not in the chain yet");
    let before = |view: &mut ChainView| {
        committed(view, Some(400));
        view.epoch.index = EpochIndex(2);
    };
    assert_says(Commits, before, Level::Ok, "opens in epoch 3 at round 400, published in 3.2 min");
    let after = |view: &mut ChainView| {
        committed(view, Some(330));
        view.epoch.index = EpochIndex(4);
    };
    assert_says(Commits, after, Level::Warn, "that epoch is over");
    assert_says(Commits, |view| committed(view, None), Level::Ok, "is to be revealed in epoch 3");
    let open = |view: &mut ChainView| {
        committed(view, Some(330));
        view.params.commit_reveal_enabled = false;
    };
    assert_says(Commits, open, Level::Warn, "take the place of a newer vector");
    let two = |view: &mut ChainView| {
        before(view);
        view.own_commits[0].epoch = EpochIndex(1);
        committed(view, Some(401));
    };
    assert_says(Commits, two, Level::Warn, "the epoch came early");
    assert_says(Commits, two, Level::Warn, "and 1 more");
}

#[test]
fn a_beacon_that_stalls_is_a_warning_with_minutes_where_commits_need_it() {
    let stalled = |view: &mut ChainView| {
        if let Some(beacon) = &mut view.beacon {
            beacon.last_stored_round = 234;
        }
    };
    assert_says(CheckId::Beacon, stalled, Level::Warn, "100 rounds (5.0 min) behind");
    let unneeded = |view: &mut ChainView| {
        stalled(view);
        view.params.commit_reveal_enabled = false;
    };
    assert_says(CheckId::Beacon, unneeded, Level::Ok, "does not need it");
}

#[test]
fn one_lost_commit_is_a_warning_and_two_in_a_row_are_an_alarm() {
    let lost = |epoch| intent(epoch, IntentState::Lost { reason: "round 9".to_owned() });
    let revealed = |epoch| intent(epoch, IntentState::Revealed { block: BlockNumber(1_000) });
    let level = |intents: &[IntentRow]| {
        let answer = look(&view(), intents, None);
        answer.check(CheckId::Reveals).unwrap().level
    };
    assert_eq!(level(&[revealed(2), lost(1)]), Level::Ok);
    assert_eq!(level(&[lost(2), revealed(1)]), Level::Warn);
    assert_eq!(level(&[lost(1), lost(2)]), Level::Alarm);
}

#[test]
fn another_signer_is_an_alarm_that_makes_the_node_unready() {
    let other = NotSafe::OtherSigner { block: BlockNumber(1_099) };
    let answer = look(&view(), &[], Some(&other));
    let unready: Vec<CheckId> = answer.unready().map(|check| check.id).collect();
    assert_eq!(unready, [CheckId::Signer]);
    let settling = NotSafe::Settling { blocks: BlockCount(60) };
    let answer = look(&view(), &[], Some(&settling));
    assert_eq!(answer.check(CheckId::Signer).unwrap().level, Level::Warn);
    assert_eq!(answer.unready().count(), 0);
    let restored = NotSafe::Restored { until: Some(BlockNumber(1_440)) };
    let answer = look(&view(), &[], Some(&restored));
    let signer = answer.check(CheckId::Signer).unwrap();
    assert_eq!(signer.level, Level::Warn);
    assert!(signer.text.contains("the epoch that begins in block 1440"), "{}", signer.text);
    assert_eq!(answer.unready().count(), 0);
}

#[test]
fn a_number_that_was_given_to_another_subnet_is_an_alarm() {
    let anew = with(|view| view.params.registered_at = BlockNumber(950));
    let level =
        |intents: &[IntentRow]| look(&anew, intents, None).check(CheckId::Subnet).unwrap().level;
    let old = intent(1, IntentState::Landed { block: BlockNumber(901) });
    assert_eq!(level(&[]), Level::Ok);
    assert_eq!(level(std::slice::from_ref(&old)), Level::Alarm);
    let new = IntentRow { updated_at: Some(BlockNumber(1_000)), ..old.clone() };
    assert_eq!(level(&[old, new]), Level::Warn);
    let head = view();
    let subject = Subject {
        sight: Sight { head: &anew, finalized: &head },
        terms: TERMS,
        is_submitting: true,
        intents: &[],
        not_safe: None,
        has_nothing_to_send: false,
    };
    assert_eq!(preflight(&subject).check(CheckId::Subnet).unwrap().level, Level::Alarm);
}

#[test]
fn a_raised_version_key_is_a_warning() {
    let old = IntentRow { version_key: 76, ..intent(1, IntentState::Open) };
    let answer = look(&view(), &[old], None);
    let check = answer.check(CheckId::VersionKey).unwrap();
    assert_eq!(check.level, Level::Warn);
    assert!(check.text.contains("from 76 to 77"), "{}", check.text);
}

#[test]
fn finality_far_behind_is_a_warning_and_beyond_every_era_an_alarm() {
    let level = |lag: u64| {
        let head = with(|view| view.number = BlockNumber(5_000));
        let finalized = with(|view| view.number = BlockNumber(5_000 - lag));
        let subject = Subject {
            sight: Sight { head: &head, finalized: &finalized },
            terms: TERMS,
            is_submitting: true,
            intents: &[],
            not_safe: None,
            has_nothing_to_send: false,
        };
        preflight(&subject).check(CheckId::Finality).unwrap().level
    };
    assert_eq!(level(3), Level::Ok);
    assert_eq!(level(20), Level::Warn);
    assert_eq!(level(2_036), Level::Warn);
    assert_eq!(level(2_037), Level::Alarm);
}

#[test]
fn a_vector_is_where_the_chain_shows_it() {
    let signed = intent(3, IntentState::Signed);
    let (fresh, used) = (with(|view| view.own_nonce = 5), with(|view| view.own_nonce = 6));
    let stage_in =
        |head, finalized, is_sent| stage(&signed, Some(Sight { head, finalized }), is_sent);
    assert_eq!(stage(&intent(3, IntentState::Open), None, false), Stage::Intended);
    assert_eq!(stage_in(&fresh, &fresh, false), Stage::Signed);
    assert_eq!(stage_in(&fresh, &fresh, true), Stage::Sent);
    assert_eq!(stage_in(&used, &fresh, true), Stage::InBlock);
    assert_eq!(stage_in(&used, &used, true), Stage::Finalized);
}

#[test]
fn names_are_unique() {
    let names: std::collections::BTreeSet<&str> = CheckId::ALL.iter().map(|id| id.name()).collect();
    assert_eq!(names.len(), CheckId::ALL.len());
}

/// A number of any size, small ones as often as large ones.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..8, 0u64..100_000, any::<u64>(), Just(u64::MAX)]
}

fn block() -> impl Strategy<Value = BlockNumber> {
    number().prop_map(BlockNumber)
}

fn any_neuron() -> impl Strategy<Value = Neuron> {
    let whose = (0u8..4, any::<u16>(), number(), any::<bool>());
    (whose, block(), block(), number(), any::<(u16, u16)>()).prop_map(
        |((key, uid, stake_rao, validator_permit), registered_at, last_update, emission, share)| {
            Neuron {
                uid: Uid(uid),
                hotkey: Hotkey([key; 32]),
                stake_rao,
                validator_permit,
                registered_at,
                last_update,
                emission_rao: emission,
                validator_trust: share.0,
                dividends: share.1,
                ..Neuron::default()
            }
        },
    )
}

fn any_params() -> impl Strategy<Value = SubnetParams> {
    let commits = (any::<bool>(), option::of(0u16..6), number(), any::<bool>());
    let limits = (number(), number(), number(), number(), number());
    let sizes = (any::<u16>(), any::<u16>(), any::<u8>(), option::of(0u8..4));
    (commits, limits, sizes).prop_map(|(commits, limits, sizes)| SubnetParams {
        commit_reveal_enabled: commits.0,
        commit_reveal_version: commits.1,
        reveal_period: commits.2,
        consensus: if commits.3 {
            ConsensusMode::Yuma
        } else {
            ConsensusMode::Other("Null".to_owned())
        },
        tempo: BlockCount(limits.0),
        weights_rate_limit: BlockCount(limits.1),
        stake_threshold_rao: limits.2,
        immunity_period: BlockCount(limits.3),
        registered_at: BlockNumber(limits.4),
        min_allowed_weights: sizes.0,
        max_uids: sizes.1,
        mechanism_count: sizes.2,
        owner_hotkey: sizes.3.map(|key| Hotkey([key; 32])),
        ..SubnetParams::default()
    })
}

fn any_view() -> impl Strategy<Value = ChainView> {
    let clock = (number(), block(), option::of(block()), number(), option::of(block()));
    let beacon = option::of((number(), number(), number()));
    let commits = vec((block(), number(), option::of(number())), 0..4);
    let rest = (block(), number(), number(), any::<(bool, bool, bool)>(), option::of(block()));
    (vec(any_neuron(), 0..6), any_params(), clock, beacon, commits, rest).prop_map(
        |(neurons, params, clock, beacon, commits, rest)| ChainView {
            number: rest.0,
            timestamp: UnixMs(rest.1),
            block_ms: rest.2,
            abilities: Abilities { plain: rest.3 .0, timelocked: rest.3 .1, hashed: rest.3 .2 },
            safe_mode_until: rest.4,
            neurons,
            params,
            epoch: EpochClock {
                index: EpochIndex(clock.0),
                last_epoch_block: clock.1,
                next_epoch_block: clock.2,
                schedule: Schedule::Stateful {
                    blocks_since_last_step: clock.3,
                    pending_at: clock.4,
                },
            },
            beacon: beacon.map(|(genesis, period_ms, last_stored_round)| Beacon {
                schedule: BeaconSchedule { genesis: UnixMs(genesis), period_ms },
                public_key: vec![7],
                last_stored_round,
            }),
            own_commits: commits
                .into_iter()
                .map(|(block, epoch, reveal_round)| OwnCommit {
                    hash: Digest([1; 32]),
                    block,
                    epoch: EpochIndex(epoch),
                    reveal_round,
                })
                .collect(),
            ..ChainView::default()
        },
    )
}

proptest! {
    #[test]
    fn there_is_no_view_that_it_does_not_answer(
        head in any_view(),
        finalized in any_view(),
        is_submitting in any::<bool>(),
        mechanism in any::<u8>(),
    ) {
        let terms = Terms { mechanism, ..TERMS };
        let subject = Subject {
            sight: Sight { head: &head, finalized: &finalized },
            terms,
            is_submitting,
            intents: &[],
            not_safe: None,
            has_nothing_to_send: false,
        };
        let answer = preflight(&subject);
        let order: Vec<CheckId> = answer.checks.iter().map(|check| check.id).collect();
        prop_assert!(order.is_sorted() && answer.checks.iter().all(|check| !check.text.is_empty()));
        prop_assert_eq!(answer.facts.uid.is_some(), order.contains(&CheckId::Permit));
    }

    #[test]
    fn it_finds_the_form_impossible_where_the_guard_does(head in any_view(), mechanism in 0u8..3) {
        let mut head = head;
        // The guard walks these epochs one by one; the chain allows 100.
        head.params.reveal_period = head.params.reveal_period.min(100);
        let terms = Terms { mechanism, ..TERMS };
        let subject = Subject {
            sight: Sight { head: &head, finalized: &head },
            terms,
            is_submitting: true,
            intents: &[],
            not_safe: None,
            has_nothing_to_send: false,
        };
        let asked = [
            CheckId::CommitMode,
            CheckId::Consensus,
            CheckId::Mechanism,
            CheckId::SafeMode,
            CheckId::Runtime,
        ];
        let answer = preflight(&subject);
        let alarmed: Vec<&Check> = answer
            .checks
            .iter()
            .filter(|check| asked.contains(&check.id) && check.level == Level::Alarm)
            .collect();
        match submit_guard::form(&head, &terms) {
            Ok(_) => prop_assert!(alarmed.is_empty(), "{:?}", alarmed),
            // These depend on the moment: they are the schedule's, not the form's.
            Err(NotSafe::RoundPassed { .. } | NotSafe::NoEpochs) => {}
            Err(NotSafe::NoBeacon) if head.beacon.is_some() => {}
            Err(reason) => prop_assert!(!alarmed.is_empty(), "{reason}"),
        }
    }
}

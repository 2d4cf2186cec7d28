use super::*;
use crate::epoch::{BeaconSchedule, EpochClock};
use crate::id::{Digest, Uid};
use crate::rows::{Carries, IntentState};
use crate::unit::UnixMs;
use crate::view::{Beacon, Neuron, SubnetParams};

const OWN: Hotkey = Hotkey([1; 32]);
const TERMS: Terms =
    Terms { hotkey: OWN, mechanism: 0, lead: BlockCount(10), commit: CommitForm::Timelocked };

/// Block 95 of epoch 3, which ends at 100; last updated long ago, everything in order.
fn view() -> ChainView {
    ChainView {
        netuid: Netuid(1),
        number: BlockNumber(95),
        hash: BlockHash([1; 32]),
        timestamp: UnixMs(95 * 12_000),
        spec_version: 1,
        block_ms: 12_000,
        neurons: vec![Neuron {
            hotkey: OWN,
            stake_rao: 10,
            validator_permit: true,
            registered_at: BlockNumber(1),
            last_update: BlockNumber(1),
            ..Neuron::default()
        }],
        params: SubnetParams {
            tempo: BlockCount(50),
            min_allowed_weights: 1,
            weights_rate_limit: BlockCount(20),
            weights_version_key: 77,
            commit_reveal_version: Some(4),
            reveal_period: 1,
            mechanism_count: 1,
            stake_threshold_rao: 10,
            ..SubnetParams::default()
        },
        epoch: EpochClock {
            index: EpochIndex(3),
            last_epoch_block: BlockNumber(50),
            next_epoch_block: Some(BlockNumber(100)),
            ..EpochClock::default()
        },
        beacon: Some(Beacon {
            schedule: BeaconSchedule { genesis: UnixMs(0), period_ms: 3_000 },
            public_key: vec![7],
            last_stored_round: 380,
        }),
        ..ChainView::default()
    }
}

fn signing(nonce: u32, era_end: u64) -> SignedExtrinsic {
    SignedExtrinsic {
        bytes: vec![1],
        hash: Digest([0; 32]),
        nonce,
        anchor: BlockNumber(0),
        era_end: BlockNumber(era_end),
        spec_version: 1,
        carries: Carries::Plain,
        vector: Vec::new(),
    }
}

fn intent(epoch: u64, era_end: Option<u64>, state: IntentState) -> IntentRow {
    IntentRow {
        id: intent_id(&OWN, Netuid(1), 0, None, EpochIndex(epoch)),
        netuid: Netuid(1),
        mechanism: 0,
        registered_at: None,
        epoch: EpochIndex(epoch),
        vector: vec![(Uid(0), u16::MAX)],
        version_key: 0,
        computed_at: BlockNumber(90),
        signings: era_end.map(|end| signing(0, end)).into_iter().collect(),
        reveals: Vec::new(),
        updated_at: None,
        state,
    }
}

fn with(change: impl Fn(&mut ChainView)) -> ChainView {
    let mut view = view();
    change(&mut view);
    view
}

/// The best block is final, too.
fn ask(view: &ChainView, intents: &[IntentRow]) -> Result<Safe, NotSafe> {
    may_sign(Sight { head: view, finalized: view }, &TERMS, intents.iter())
}

/// The best block is `lag` blocks ahead of the finalized one.
fn ask_ahead(lag: u64, head: &ChainView, intents: &[IntentRow]) -> Result<Safe, NotSafe> {
    let mut finalized = head.clone();
    finalized.number = head.number.minus(BlockCount(lag));
    finalized.own_nonce = 0;
    may_sign(Sight { head, finalized: &finalized }, &TERMS, intents.iter())
}

fn again(view: &ChainView, intent: &IntentRow) -> Result<Safe, NotSafe> {
    may_sign_again(Sight { head: view, finalized: view }, &TERMS, intent, [].into_iter())
}

#[test]
fn a_vector_that_is_due_is_safe_with_the_chains_version_key_and_the_heads_nonce() {
    let safe = ask(&with(|v| v.own_nonce = 6), &[]).unwrap();
    assert_eq!((safe.epoch, safe.version_key), (EpochIndex(3), 77));
    assert_eq!(safe.form, WeightsForm::Plain);
    let binding = safe.binding;
    assert_eq!((binding.nonce, binding.anchor, binding.era_blocks), (6, BlockNumber(95), 16));
}

#[test]
fn each_reason_not_to_sign_is_given() {
    let refused = |change: &dyn Fn(&mut ChainView)| ask(&with(change), &[]).unwrap_err();
    assert_eq!(refused(&|v| v.neurons.clear()), NotSafe::NotRegistered { hotkey: OWN });
    assert_eq!(refused(&|v| v.neurons[0].validator_permit = false), NotSafe::NoPermit);
    let stake = NotSafe::StakeTooLow { stake_rao: 9, threshold_rao: 10 };
    assert_eq!(refused(&|v| v.neurons[0].stake_rao = 9), stake);
    assert_eq!(refused(&|v| v.epoch.next_epoch_block = None), NotSafe::NoEpochs);
    let early = NotSafe::Early { blocks: BlockCount(1) };
    assert_eq!(refused(&|v| v.number = BlockNumber(89)), early);
    let late = |blocks| NotSafe::Late { blocks: BlockCount(blocks) };
    assert_eq!(refused(&|v| v.number = BlockNumber(99)), late(1));
    assert_eq!(refused(&|v| v.number = BlockNumber(104)), late(0));
    let until = BlockNumber(200);
    assert_eq!(refused(&|v| v.safe_mode_until = Some(until)), NotSafe::SafeMode { until });
    let null = NotSafe::UnknownConsensus { mode: "Null".to_owned() };
    assert_eq!(refused(&|v| v.params.consensus = ConsensusMode::Other("Null".to_owned())), null);
    let call = NotSafe::UnknownCall { form: "plain weights" };
    assert_eq!(refused(&|v| v.abilities.plain = false), call);
}

/// Every reason not to sign. A new one does not compile until it stands here.
fn every_reason() -> Vec<NotSafe> {
    let (block, blocks, epoch) = (BlockNumber(7), BlockCount(5), EpochIndex(3));
    let all = vec![
        NotSafe::OtherSigner { block },
        NotSafe::UnexplainedUpdate { block },
        NotSafe::NotRegistered { hotkey: OWN },
        NotSafe::NoPermit,
        NotSafe::StakeTooLow { stake_rao: 9, threshold_rao: 10 },
        NotSafe::UnknownConsensus { mode: "Null".to_owned() },
        NotSafe::NoSuchMechanism { mechanism: 2, count: 2 },
        NotSafe::SafeMode { until: block },
        NotSafe::UnknownCommitVersion { version: 5 },
        NotSafe::UnknownCall { form: "plain weights" },
        NotSafe::NoBeacon,
        NotSafe::RoundPassed { round: 11 },
        NotSafe::CatchingUp,
        NotSafe::Restored { until: None },
        NotSafe::Restored { until: Some(block) },
        NotSafe::Settling { blocks },
        NotSafe::FinalityTooFar { blocks },
        NotSafe::NoEpochs,
        NotSafe::RegisteredAnew { block },
        NotSafe::AlreadyIntended { epoch },
        NotSafe::OlderSignatureLive { epoch },
        NotSafe::RateLimited { blocks },
        NotSafe::Early { blocks },
        NotSafe::Late { blocks },
    ];
    for reason in &all {
        match reason {
            NotSafe::OtherSigner { .. }
            | NotSafe::UnexplainedUpdate { .. }
            | NotSafe::NotRegistered { .. }
            | NotSafe::NoPermit
            | NotSafe::StakeTooLow { .. }
            | NotSafe::UnknownConsensus { .. }
            | NotSafe::NoSuchMechanism { .. }
            | NotSafe::SafeMode { .. }
            | NotSafe::UnknownCommitVersion { .. }
            | NotSafe::UnknownCall { .. }
            | NotSafe::NoBeacon
            | NotSafe::RoundPassed { .. }
            | NotSafe::CatchingUp
            | NotSafe::Restored { .. }
            | NotSafe::Settling { .. }
            | NotSafe::FinalityTooFar { .. }
            | NotSafe::NoEpochs
            | NotSafe::RegisteredAnew { .. }
            | NotSafe::AlreadyIntended { .. }
            | NotSafe::OlderSignatureLive { .. }
            | NotSafe::RateLimited { .. }
            | NotSafe::Early { .. }
            | NotSafe::Late { .. } => {}
        }
    }
    all
}

#[test]
fn every_reason_not_to_sign_has_its_text() {
    let unregistered = format!("hotkey {OWN} is not registered on this subnet");
    let texts = [
        "something else updated this hotkey's weights in block 7; stop it first",
        "nothing that this node signed explains an update of the hotkey in block 7; waiting until \
         it is final",
        unregistered.as_str(),
        "the hotkey has no validator permit; it comes with stake, at the next epoch",
        "stake 9 rao is below the threshold of 10 rao",
        "the subnet's consensus mode `Null` is not supported",
        "the subnet has 2 mechanisms, there is no mechanism 2",
        "the chain is in safe mode until block 7",
        "the chain demands commit format 5, this build writes 4",
        "the runtime's call for plain weights has an unknown shape; see `assay chain check`",
        "the subnet conceals weights, but the chain has no usable randomness beacon",
        "round 11 of the beacon is published already; the chain's head looks stale",
        "the store lost rows; waiting for peers' receipts",
        "this node was restored from a copy, and what it signed after that is not known; nothing \
         is signed before the epoch that begins next",
        "this node was restored from a copy, and what it signed after that is not known; nothing \
         is signed before the epoch that begins in block 7",
        "this hotkey was used elsewhere before; waiting 5 blocks for its signatures to die",
        "finality is 5 blocks behind, too far for an extrinsic's era",
        "the subnet runs no epochs (tempo 0)",
        "the subnet was registered anew in block 7; waiting until that is final",
        "epoch 3 already has a vector",
        "a signature for epoch 3 is still valid",
        "the chain's rate limit leaves 5 blocks to wait",
        "the next vector is due in 5 blocks",
        "the epoch ends in 5 blocks, too soon to land",
    ];
    let told: Vec<String> = every_reason().iter().map(ToString::to_string).collect();
    assert_eq!(told, texts);
}

#[test]
fn a_mechanism_that_the_subnet_does_not_have_is_not_safe() {
    let terms = Terms { mechanism: 1, ..TERMS };
    let view = view();
    let sight = Sight { head: &view, finalized: &view };
    let refused = Err(NotSafe::NoSuchMechanism { mechanism: 1, count: 1 });
    assert_eq!(may_sign(sight, &terms, [].into_iter()), refused);
}

#[test]
fn the_owners_hotkey_needs_neither_permit_nor_stake() {
    let view = with(|v| {
        v.params.owner_hotkey = Some(OWN);
        v.neurons[0].validator_permit = false;
        v.neurons[0].stake_rao = 0;
    });
    assert!(ask(&view, &[]).is_ok());
}

#[test]
fn the_window_opens_and_closes_where_it_says() {
    for (number, is_safe) in [(89, false), (90, true), (98, true), (99, false)] {
        let view = with(|v| v.number = BlockNumber(number));
        assert_eq!(ask(&view, &[]).is_ok(), is_safe, "block {number}");
    }
}

#[test]
fn the_rate_limit_counts_to_the_block_that_would_include_it() {
    let since = |last_update| with(|v| v.neurons[0].last_update = BlockNumber(last_update));
    assert!(ask(&since(76), &[]).is_ok(), "block 96 is 20 after 76");
    let one_more = NotSafe::RateLimited { blocks: BlockCount(1) };
    assert_eq!(ask(&since(77), &[]), Err(one_more));
    assert!(ask(&since(0), &[]).is_ok(), "never updated");
}

#[test]
fn an_epoch_has_one_intent_whatever_became_of_it() {
    let block = BlockNumber(92);
    let states = [
        IntentState::Open,
        IntentState::Signed,
        IntentState::Landed { block },
        IntentState::Committed { block, epoch: EpochIndex(3) },
        IntentState::Revealed { block },
        IntentState::Lost { reason: String::new() },
        IntentState::Abandoned { reason: String::new() },
    ];
    for state in states {
        let intents = [intent(3, Some(94), state)];
        let refused = Err(NotSafe::AlreadyIntended { epoch: EpochIndex(3) });
        assert_eq!(ask(&view(), &intents), refused);
    }
}

#[test]
fn a_view_of_an_epoch_before_the_last_intent_is_not_safe() {
    let mut of_the_next = intent(4, Some(120), IntentState::Landed { block: BlockNumber(112) });
    of_the_next.computed_at = BlockNumber(111);
    let refused = Err(NotSafe::AlreadyIntended { epoch: EpochIndex(4) });
    assert_eq!(ask(&view(), std::slice::from_ref(&of_the_next)), refused);
    // Not final yet, the block after which it was computed may still be known to nobody else.
    assert_eq!(ask_ahead(5, &with(|v| v.number = BlockNumber(98)), &[of_the_next]), refused);
}

#[test]
fn an_intent_of_a_clock_that_was_set_back_binds_no_epoch_of_the_new_one() {
    let landed = IntentState::Landed { block: BlockNumber(22) };
    let mut of_before = intent(22_000, Some(24), landed);
    of_before.computed_at = BlockNumber(20);
    assert!(ask(&view(), std::slice::from_ref(&of_before)).is_ok());
    let refused = Err(NotSafe::AlreadyIntended { epoch: EpochIndex(22_000) });
    let unknown_to_finality = with(|v| v.number = BlockNumber(94));
    let ahead = ask_ahead(40, &unknown_to_finality, std::slice::from_ref(&of_before));
    assert_eq!(ahead, refused);
    // Of a moment ago: an epoch that a reorganisation put off, not another clock.
    of_before.computed_at = BlockNumber(90);
    assert_eq!(ask(&view(), &[of_before]), refused);
}

#[test]
fn an_upgrade_that_is_final_kills_signatures_with_whatever_nonce() {
    let upgraded = with(|v| v.spec_version = 2);
    let mut of_before = intent(3, Some(200), IntentState::Signed);
    of_before.signings[0].nonce = 3;
    assert!(again(&upgraded, &of_before).is_ok());
    assert!(!can_land(&of_before.signings[0], Sight { head: &upgraded, finalized: &upgraded }));
}

#[test]
fn a_signature_for_a_runtime_that_only_the_best_block_has_is_replaced_with_its_nonce_only() {
    let mut head = with(|v| v.spec_version = 2);
    let finalized = with(|v| v.number = BlockNumber(90));
    let old = intent(3, Some(200), IntentState::Signed);
    let ask = |head: &ChainView| {
        may_sign_again(Sight { head, finalized: &finalized }, &TERMS, &old, [].into_iter())
    };
    assert!(ask(&head).is_ok());
    head.own_nonce = 1;
    assert_eq!(ask(&head), Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(3) }));
}

#[test]
fn a_reveal_waits_for_its_own_signature_and_for_a_vector_on_its_way() {
    let block = BlockNumber(40);
    let mut commit = intent(2, Some(50), IntentState::Committed { block, epoch: EpochIndex(2) });
    let view = view();
    let sight = Sight { head: &view, finalized: &view };
    let vector = intent(3, Some(110), IntentState::Signed);
    let ask = |commit: &IntentRow, others: &[IntentRow]| {
        may_reveal(sight, &TERMS, commit, others.iter()).map(|binding| binding.nonce)
    };
    assert_eq!(ask(&commit, &[]), Ok(0));
    let waits_for = |epoch| Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(epoch) });
    assert_eq!(ask(&commit, &[vector]), waits_for(3));
    commit.reveals = vec![SignedExtrinsic { carries: Carries::Reveal, ..signing(0, 110) }];
    assert_eq!(ask(&commit, &[]), waits_for(2));
}

#[test]
fn a_reveal_may_use_the_nonce_that_the_epochs_own_vector_waits_for() {
    let commit =
        intent(2, None, IntentState::Committed { block: BlockNumber(40), epoch: EpochIndex(2) });
    let view = with(|v| v.params.commit_reveal_enabled = true);
    let sight = Sight { head: &view, finalized: &view };
    let ask = |other: IntentRow| {
        may_reveal(sight, &TERMS, &commit, [other].iter()).map(|binding| binding.nonce)
    };
    let waiting = |epoch| {
        let mut other = intent(epoch, Some(110), IntentState::Signed);
        other.signings[0].nonce = 1;
        other
    };
    assert_eq!(ask(waiting(3)), Ok(0));
    // One of an epoch that is over would land in this one, behind the reveal.
    assert_eq!(ask(waiting(1)), Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(1) }));
}

#[test]
fn a_reveal_whose_epoch_is_over_keeps_no_vector_from_its_nonce() {
    let mut commit =
        intent(2, None, IntentState::Committed { block: BlockNumber(40), epoch: EpochIndex(2) });
    commit.reveals = vec![SignedExtrinsic { carries: Carries::Reveal, ..signing(0, 110) }];
    let others = [commit];
    let waits = Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(2) });
    assert_eq!(ask(&view(), &others).map(|safe| safe.binding.nonce), waits);
    let next = with(|v| v.epoch.index = EpochIndex(4));
    assert_eq!(ask(&next, &others).map(|safe| safe.binding.nonce), Ok(0));
    let of_the_next =
        intent(3, None, IntentState::Committed { block: BlockNumber(80), epoch: EpochIndex(3) });
    let sight = Sight { head: &next, finalized: &next };
    let binding = may_reveal(sight, &TERMS, &of_the_next, others.iter());
    assert_eq!(binding.map(|binding| binding.nonce), Ok(0));
}

#[test]
fn a_commits_round_is_that_of_the_block_after_the_best_one() {
    // The next block begins epoch 4, and what it includes belongs there.
    let mut view = with(|v| v.params.commit_reveal_enabled = true);
    view.number = BlockNumber(99);
    let Ok(WeightsForm::Timelocked { reveal_epoch, .. }) = form(&view, &TERMS) else {
        panic!("not timelocked");
    };
    assert_eq!(reveal_epoch, EpochIndex(5));
}

#[test]
fn an_older_signature_binds_unless_the_new_one_takes_its_nonce_or_follows_it() {
    let stuck = intent(2, Some(97), IntentState::Signed);
    assert!(ask(&view(), std::slice::from_ref(&stuck)).is_ok(), "the same nonce");
    let landed = IntentState::Landed { block: BlockNumber(93) };
    assert!(ask(&view(), &[intent(2, Some(97), landed)]).is_ok());
    // Included in the best block, not final yet: the new one follows it.
    assert!(ask_ahead(5, &with(|v| v.own_nonce = 1), &[stuck]).is_ok());
    let mut later = intent(2, Some(97), IntentState::Signed);
    later.signings[0].nonce = 3;
    let refused = Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(2) });
    assert_eq!(ask_ahead(5, &view(), std::slice::from_ref(&later)), refused);
    assert!(ask_ahead(0, &with(|v| v.number = BlockNumber(97)), &[later]).is_ok());
}

#[test]
fn an_upgrade_kills_signatures_made_for_the_old_runtime() {
    let old = intent(3, Some(200), IntentState::Signed);
    assert!(again(&view(), &old).is_err());
    assert!(again(&with(|v| v.spec_version = 2), &old).is_ok());
}

#[test]
fn signing_again_needs_the_same_epoch_a_dead_signature_and_good_standing() {
    let dead = intent(3, Some(95), IntentState::Signed);
    assert!(again(&view(), &dead).is_ok());
    assert!(again(&view(), &intent(3, None, IntentState::Open)).is_ok());
    let live = intent(3, Some(97), IntentState::Signed);
    let refused = Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(3) });
    assert_eq!(again(&view(), &live), refused);
    let over = intent(2, Some(95), IntentState::Signed);
    assert_eq!(again(&view(), &over), Err(NotSafe::Late { blocks: BlockCount(0) }));
    let no_permit = with(|v| v.neurons[0].validator_permit = false);
    assert_eq!(again(&no_permit, &dead), Err(NotSafe::NoPermit));
    let too_late = with(|v| v.number = BlockNumber(99));
    assert_eq!(again(&too_late, &dead), Err(NotSafe::Late { blocks: BlockCount(1) }));
}

#[test]
fn an_included_signature_of_the_same_epoch_is_waited_for_until_it_is_final() {
    let included = intent(3, Some(97), IntentState::Signed);
    let head = with(|v| v.own_nonce = 1);
    let mut finalized = view();
    finalized.number = BlockNumber(93);
    let sight = Sight { head: &head, finalized: &finalized };
    let refused = Err(NotSafe::OlderSignatureLive { epoch: EpochIndex(3) });
    assert_eq!(may_sign_again(sight, &TERMS, &included, [].into_iter()), refused);
    finalized.own_nonce = 1;
    let sight = Sight { head: &head, finalized: &finalized };
    assert!(may_sign_again(sight, &TERMS, &included, [].into_iter()).is_ok(), "it failed");
}

#[test]
fn the_era_reaches_over_a_finality_lag() {
    for (lag, era_blocks) in [(0, 16), (4, 16), (5, 32), (20, 32), (21, 64), (2036, 2048)] {
        let head = with(|v| {
            v.number = BlockNumber(9095);
            v.epoch.next_epoch_block = Some(BlockNumber(9100));
            v.timestamp = UnixMs(9095 * 12_000);
        });
        assert_eq!(ask_ahead(lag, &head, &[]).unwrap().binding.era_blocks, era_blocks, "{lag}");
    }
    let head = with(|v| {
        v.number = BlockNumber(9095);
        v.epoch.next_epoch_block = Some(BlockNumber(9100));
    });
    let refused = Err(NotSafe::FinalityTooFar { blocks: BlockCount(2037) });
    assert_eq!(ask_ahead(2037, &head, &[]), refused);
}

#[test]
fn a_commit_dies_with_its_epoch_where_its_era_can_be_cut_so() {
    let head = with(|v| v.params.commit_reveal_enabled = true);
    for (lag, era_blocks) in [(0, 8), (1, 16), (6, 16), (8, 16), (9, 32)] {
        let safe = ask_ahead(lag, &head, &[]).unwrap();
        assert_eq!(safe.binding.era_blocks, era_blocks, "finality {lag} behind, 5 blocks left");
    }
}

#[test]
fn commit_reveal_is_timelocked_to_a_round_after_the_reveal_epoch_begins() {
    let view = with(|v| v.params.commit_reveal_enabled = true);
    // Epoch 4 begins at 100; blocks 100 + 3 at 12 s, rounds every 3 s from zero.
    let form = WeightsForm::Timelocked {
        commit_version: 4,
        beacon_key: vec![7],
        reveal_round: 103 * 4,
        reveal_epoch: EpochIndex(4),
    };
    assert_eq!(ask(&view, &[]).map(|safe| safe.form), Ok(form));
}

#[test]
fn what_commit_reveal_needs_is_asked_for() {
    let refused = |change: &dyn Fn(&mut ChainView)| {
        let mut view = with(|v| v.params.commit_reveal_enabled = true);
        change(&mut view);
        ask(&view, &[]).unwrap_err()
    };
    let version = NotSafe::UnknownCommitVersion { version: 5 };
    assert_eq!(refused(&|v| v.params.commit_reveal_version = Some(5)), version);
    assert_eq!(refused(&|v| v.beacon = None), NotSafe::NoBeacon);
    let call = NotSafe::UnknownCall { form: "timelocked commits" };
    assert_eq!(refused(&|v| v.abilities.timelocked = false), call);
    let passed = NotSafe::RoundPassed { round: 412 };
    assert_eq!(refused(&|v| v.beacon.as_mut().unwrap().last_stored_round = 412), passed);
}

#[test]
fn hashes_are_committed_where_asked_for_or_where_nothing_else_is_known() {
    let view = with(|v| {
        v.params.commit_reveal_enabled = true;
        v.params.commit_reveal_version = None;
    });
    assert_eq!(ask(&view, &[]).map(|safe| safe.form), Ok(WeightsForm::Hashed));
    let view = with(|v| v.params.commit_reveal_enabled = true);
    let terms = Terms { commit: CommitForm::Hashed, ..TERMS };
    let sight = Sight { head: &view, finalized: &view };
    let safe = may_sign(sight, &terms, [].into_iter()).unwrap();
    assert_eq!(safe.form, WeightsForm::Hashed);
    let unable = with(|v| {
        v.params.commit_reveal_enabled = true;
        v.abilities.hashed = false;
    });
    let sight = Sight { head: &unable, finalized: &unable };
    let refused = Err(NotSafe::UnknownCall { form: "hash commits" });
    assert_eq!(may_sign(sight, &terms, [].into_iter()), refused);
}

#[test]
fn intents_of_other_epochs_mechanisms_subnets_and_hotkeys_have_other_ids() {
    let of = |hotkey: u8, netuid, mechanism, registered_at: Option<u64>, epoch| {
        let registered_at = registered_at.map(BlockNumber);
        let hotkey = Hotkey([hotkey; 32]);
        intent_id(&hotkey, Netuid(netuid), mechanism, registered_at, EpochIndex(epoch))
    };
    let ids = [
        of(1, 1, 0, None, 3),
        of(2, 1, 0, None, 3),
        of(1, 2, 0, None, 3),
        of(1, 1, 1, None, 3),
        of(1, 1, 0, None, 4),
        of(1, 1, 0, Some(3), 3),
        of(1, 1, 0, Some(4), 3),
    ];
    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    // As the build before had it: old journals name their intents by it.
    let known = "56690b0351ed9018651f5afcc2eae1a27f6c8458a98869d9e4848f5e6266f68c";
    assert_eq!(of(1, 1, 0, None, 3).to_string(), known);
}

#[test]
fn an_intent_of_an_earlier_subnet_binds_no_epoch_of_the_new_one() {
    let anew = with(|v| v.params.registered_at = BlockNumber(91));
    // Computed in block 90, by a build that did not write down which subnet it was.
    let unknown = intent(3, None, IntentState::Landed { block: BlockNumber(92) });
    assert!(ask(&anew, std::slice::from_ref(&unknown)).is_ok());
    let known = |block| IntentRow {
        registered_at: Some(BlockNumber(block)),
        computed_at: BlockNumber(92),
        ..unknown.clone()
    };
    assert!(ask(&anew, &[known(1)]).is_ok());
    let taken = Err(NotSafe::AlreadyIntended { epoch: EpochIndex(3) });
    assert_eq!(ask(&anew, &[known(91)]), taken);
    let since = IntentRow { computed_at: BlockNumber(91), ..unknown.clone() };
    assert_eq!(ask(&anew, &[since]), taken, "signed for this one before the upgrade");
    assert_eq!(ask(&with(|_| {}), std::slice::from_ref(&unknown)), taken, "the chain does not say");
    let open = IntentRow { state: IntentState::Open, ..known(1) };
    let refused = Err(NotSafe::RegisteredAnew { block: BlockNumber(91) });
    assert_eq!(again(&anew, &open), refused);
}

#[test]
fn nothing_is_signed_until_a_new_registration_is_final() {
    let anew = with(|v| v.params.registered_at = BlockNumber(91));
    let before = view();
    let sight = Sight { head: &anew, finalized: &before };
    let refused = Err(NotSafe::RegisteredAnew { block: BlockNumber(91) });
    assert_eq!(may_sign(sight, &TERMS, [].into_iter()), refused);
}

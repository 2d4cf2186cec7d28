use node_chain::{EndpointError, EndpointFailure};
use node_core::epoch::{BeaconSchedule, EpochClock};
use node_core::id::Digest;
use node_core::unit::{BlockCount, EpochIndex};
use node_core::view::{Beacon, ConsensusMode, Neuron, OwnCommit, SubnetParams};

use super::super::texts::Operator;
use super::super::told;
use super::*;

const OWN: Hotkey = Hotkey([1; 32]);

/// Everything that these checks can say.
pub(in super::super) fn findings() -> Vec<Finding> {
    [all_endpoints(), clocks(), standings(), unlooked()].concat()
}

fn answer(place: usize, number: u64, genesis: u8) -> Answered {
    Answered {
        place,
        shown: "wss://node".to_owned(),
        url: "wss://node".to_owned(),
        number: BlockNumber(number),
        hash: BlockHash([1; 32]),
        genesis: BlockHash([genesis; 32]),
        spec: "node-subtensor 425".to_owned(),
        latency: Duration::from_millis(12),
    }
}

fn answered() -> [Finding; 4] {
    let known = Some(BlockHash([7; 32]));
    [answer(0, 100, 7), answer(1, 95, 7), answer(2, 94, 7), answer(3, 100, 8)]
        .map(|answer| judged(&answer, BlockNumber(100), known))
}

fn silent(place: usize) -> Result<Answered, String> {
    Err(format!("{place} `wss://node`: no answer in 20 s"))
}

fn all_endpoints() -> Vec<Finding> {
    let mut found = answered().to_vec();
    found.extend(judge_endpoints(&[silent(1), Ok(answer(1, 100, 7))], None).0);
    found.extend(judge_endpoints(&[silent(1)], None).0);
    found
}

#[test]
fn an_endpoint_is_judged_by_its_chain_and_by_how_far_it_is() {
    insta::assert_snapshot!(told(&answered()));
}

#[test]
fn an_endpoint_that_is_silent_fails_only_where_no_other_one_answers() {
    let good = || Ok(answer(1, 100, 7));
    let levels = |answers: &[Result<Answered, String>]| {
        let (found, best) = judge_endpoints(answers, None);
        (found.iter().map(Finding::level).collect::<Vec<_>>(), best.is_some())
    };
    assert_eq!(levels(&[silent(1), good()]), (vec![Level::Warn, Level::Ok], true));
    assert_eq!(levels(&[silent(1), silent(2)]), (vec![Level::Fail, Level::Fail], false));
    assert_eq!(levels(&[good()]), (vec![Level::Ok, Level::Warn], true), "there is one only");
}

fn clocks() -> Vec<Finding> {
    let at = |then: u64| {
        let view = ChainView { timestamp: UnixMs(then), ..ChainView::default() };
        clock(&view, UnixMs(1_000_000))
    };
    vec![at(990_000), at(1_014_000), at(800_000), at(1_020_000)]
}

#[test]
fn the_clock_is_judged_by_the_newest_block() {
    insta::assert_snapshot!(told(&clocks()));
}

/// What is said where something could not be looked at, and of the runtime.
fn unlooked() -> Vec<Finding> {
    let block = BlockHash([1; 32]);
    let failure = EndpointFailure { endpoint: "ws://h".to_owned(), error: EndpointError::Insecure };
    let lost = ConnectError::AllFailed(vec![failure]);
    let no_block = ReadError::NoSuchBlock { block };
    vec![
        judge_shapes(151, 12, &[]),
        judge_shapes(151, 12, &["plain weights", "commitments"]),
        unconnected(Topic::Shapes, &lost),
        unasked(Topic::Shapes, &no_block),
        unconnected(SUBNET, &lost),
        unread(&ReadError::NoSuchSubnet { netuid: Netuid(9), block }),
        unread(&no_block),
        of_nobody(),
        unpublished(&no_block),
    ]
}

fn neuron(uid: u16, emission_rao: u64) -> Neuron {
    Neuron {
        uid: node_core::id::Uid(uid),
        hotkey: Hotkey([u8::try_from(uid).unwrap() + 1; 32]),
        registered_at: BlockNumber(100),
        last_update: BlockNumber(100),
        emission_rao,
        ..Neuron::default()
    }
}

/// Block 1100 of epoch 3 on a timelocked subnet, 100 blocks after our last update; all is well.
fn view() -> ChainView {
    let own = Neuron {
        stake_rao: 10,
        validator_permit: true,
        last_update: BlockNumber(1_000),
        ..neuron(0, 50)
    };
    ChainView {
        netuid: Netuid(7),
        number: BlockNumber(1_100),
        timestamp: UnixMs(1_000_000),
        spec_version: 475,
        block_ms: 12_000,
        neurons: vec![own, neuron(1, 10), neuron(2, 90)],
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
            schedule: BeaconSchedule { genesis: UnixMs(0), period_ms: 3_000 },
            public_key: vec![7],
            last_stored_round: 330,
        }),
        ..ChainView::default()
    }
}

/// A commit of epoch 2 that opens in epoch 3 with a round that the chain has.
fn commit() -> OwnCommit {
    OwnCommit {
        hash: Digest([1; 32]),
        block: BlockNumber(1_050),
        epoch: EpochIndex(2),
        reveal_round: Some(330),
    }
}

/// A check, and what makes it worse than ok.
type Change = (CheckId, fn(&mut ChainView));

const CHANGES: &[Change] = &[
    (CheckId::Registered, |view| view.neurons[0].hotkey = Hotkey([9; 32])),
    (CheckId::Permit, |view| view.neurons[0].validator_permit = false),
    (CheckId::Stake, |view| view.neurons[0].stake_rao = 4),
    (CheckId::LastUpdate, |view| view.neurons[0].last_update = BlockNumber(560)),
    (CheckId::LastUpdate, |view| view.neurons[0].last_update = BlockNumber(200)),
    (CheckId::CommitMode, |view| view.params.commit_reveal_version = Some(5)),
    (CheckId::CommitMode, |view| view.beacon = None),
    (CheckId::Consensus, |view| {
        view.params.consensus = ConsensusMode::Other("Null".to_owned());
    }),
    (CheckId::RateLimit, |view| view.params.weights_rate_limit = BlockCount(721)),
    (CheckId::Commits, |view| view.own_commits.push(commit())),
    (CheckId::Beacon, |view| {
        if let Some(beacon) = &mut view.beacon {
            beacon.last_stored_round = 234;
        }
    }),
    (CheckId::Prune, |view| view.params.max_uids = 3),
    (CheckId::Prune, |view| {
        view.params.max_uids = 3;
        view.neurons[0].emission_rao = 9;
    }),
    (CheckId::SafeMode, |view| view.safe_mode_until = Some(BlockNumber(1_200))),
    (CheckId::Runtime, |view| view.abilities.timelocked = false),
];

/// What a finding about this check says under a configuration.
fn of_check(config: &Config, (id, change): &Change) -> Vec<Finding> {
    let mut view = view();
    change(&mut view);
    let found = standing(config, OWN, &view);
    found.into_iter().filter(|one| one.topic() == Topic::OnChain(*id)).collect()
}

/// All that is well, then each way in which one is not, then what is only warned of where nothing
/// is submitted.
fn standings() -> Vec<Finding> {
    let operator = Operator::new();
    let config = operator.config();
    let mut found = standing(&config, OWN, &view());
    found.extend(CHANGES.iter().flat_map(|change| of_check(&config, change)));
    operator.append("[weights]\nmode = \"dry_run\"\nmechanism = 1\n");
    let dry = operator.config();
    let without_permit: Change = (CheckId::Permit, |view| view.neurons[0].validator_permit = false);
    let as_it_is: Change = (CheckId::Mechanism, |_| {});
    found.extend(of_check(&dry, &without_permit));
    found.extend(of_check(&dry, &as_it_is));
    found
}

#[test]
fn what_is_wrong_on_chain_has_its_next_step_apart_from_its_text() {
    let config = Operator::new().config();
    let well = standing(&config, OWN, &view());
    assert!(well.iter().all(|finding| finding.level() == Level::Ok), "{}", told(&well));
    for change in CHANGES {
        let found = of_check(&config, change);
        assert_eq!(found.len(), 1, "{:?}: {}", change.0, told(&found));
        assert!(found[0].level() != Level::Ok, "{}", told(&found));
        assert!(found[0].next_step().is_some_and(|next| next.len() > 10), "{}", told(&found));
    }
}

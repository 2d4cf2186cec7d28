//! Honest submissions on their way through every tier of the funnel, on one node with real
//! containers: under the policy `dev`, whose budgets are small and whose tiers are those of the
//! challenge.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::{Lab, NETUID};
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::packed_fixture;
use node_core::evidence::ProbeFigure;
use node_core::funnel::{Passage, Scale, Task, Trainer};
use node_core::id::{ContentDigest, Hotkey};
use node_core::policy::ScoringRules;
use node_daemon::status::{StatusReport, SubmissionStatus, UnitStatus};
use node_evaluator::probes::Probe;

/// How long all tiers of all of them may take, on two slow cores.
const ALL_TIERS_MAX: Duration = Duration::from_secs(2_700);
/// How long a vector takes that pays for what is decided: an epoch, and the next.
const LAND_MAX: Duration = Duration::from_secs(120);
/// How often the chain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A repaired design from elsewhere with a loop of its own, one of hooks, and what the references
/// are, as anybody may submit it.
const PROJECTS: [&str; 4] = ["prism-fixed", "hooks", "transformer-rope", "ssm"];

/// Uid of the first miner: the validator has the one before.
const FIRST_MINER: u16 = 1;

/// Parameters of the three sizes are at most these: the policy's cap, a quarter, a sixteenth.
const SIZES_MAX: [u64; 3] = [300_000, 75_000, 18_750];

/// Waits until the window after `last` is open; says which one is.
async fn next_window(lab: &Lab, last: Option<u64>) -> u64 {
    let blocks = ScoringRules::dev().funnel.window_blocks;
    loop {
        let window = lab.chain.finalized().await.unwrap() / blocks;
        if last.is_none_or(|last| window > last) {
            return window;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Whether every unit of every tier was decided.
fn is_through(row: &SubmissionStatus) -> bool {
    let of = |tier| row.units.iter().filter(|unit| unit.tier == tier).count();
    (of(1), of(2), of(3)) == (1, 4, 8)
}

fn is_over(report: &StatusReport) -> bool {
    let probes = |units: &[UnitStatus]| units.iter().filter(|u| !u.probes.is_empty()).count();
    report.submissions.len() == PROJECTS.len()
        && report.submissions.iter().all(is_through)
        && report.funnel.references.iter().all(|reference| probes(&reference.units) == 3)
        && report.funnel.families.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_of_a_window_passes_every_tier_and_is_paid_for_its_architecture() {
    let dir = tempfile::tempdir().unwrap();
    let miners = u16::try_from(PROJECTS.len()).unwrap();
    // The pool of recipes stays empty, and is burned to the subnet's owner.
    let extra = vec!["--owner-neuron".to_owned()];
    let options = ChainOptions { validators: 1, miners, extra, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let policy = "dev".to_owned();
    let mut node = Node::new(NodeOptions { cpu_slots: 2, policy, ..lab.node_options(0) }).unwrap();
    node.start(None).unwrap();
    let mut names: BTreeMap<ContentDigest, &str> = BTreeMap::new();
    let mut window = None;
    for (miner, name) in (0..).zip(PROJECTS) {
        // One to a window: each is the best of its own.
        window = Some(next_window(&lab, window).await);
        let packed = packed_fixture(name).unwrap();
        names.insert(lab.submit(miner, &lab.shared_contents(), &packed).await.unwrap(), name);
    }
    let report = node.wait_for("all tiers", ALL_TIERS_MAX, is_over).await.unwrap();
    for row in &report.submissions {
        check(names[&row.content], row);
    }
    check_funnel(&report);
    let submitted = |wanted: &str| {
        let mut rows = report.submissions.iter();
        rows.find(|row| names[&row.content] == wanted).unwrap().units.as_slice()
    };
    check_probes(submitted("transformer-rope"), submitted("ssm"));
    check_pay(&lab, &mut node, &report, &names).await;
    let (card, exit) = node.command("report", &["--flops", "1e20"]).await.unwrap();
    println!("{card}");
    assert_eq!(exit, 0, "{card}");
    for said in [
        "# Model card: the winner",
        "## Scaling",
        "level      slope",
        "## Probe tasks",
        "| floor, nats | transformer-rope | ssm |",
        "induction over 3 pairs",
    ] {
        assert!(card.contains(said), "`{said}` is missing in\n{card}");
    }
    node.end().await;
}

fn check(name: &str, row: &SubmissionStatus) {
    let place = row.place.unwrap();
    assert_eq!((place.tier, place.passage), (3, Passage::Passes), "{name}: {row:#?}");
    for unit in &row.units {
        assert_eq!(unit.ending, None, "{name}: {unit:?}");
        let is_text = matches!(unit.plan.task, Task::Text { .. });
        assert_eq!(unit.nanobpb.is_some(), is_text, "{name}: {unit:?}");
        assert_eq!(unit.probes.is_empty(), is_text, "{name}: {unit:?}");
    }
    let of = |wanted: Task| {
        let mut units = row.units.iter().filter(|unit| unit.tier > 1 && unit.plan.task == wanted);
        units.next().unwrap()
    };
    let own = |scale| of(Task::Text { trainer: Trainer::Own, scale });
    let reference = of(Task::Text { trainer: Trainer::Reference, scale: Scale::Quartered(0) });
    // Anything that learned at all is below five bits per byte.
    for unit in [own(Scale::Quartered(0)), reference] {
        assert!(unit.nanobpb.unwrap() < 5_000_000_000, "{name}: {unit:?}");
    }
    let sizes = [0, 1, 2].map(|times| own(Scale::Quartered(times)).parameters.unwrap());
    assert!(sizes.iter().zip(SIZES_MAX).all(|(size, most)| *size <= most), "{name}: {sizes:?}");
    assert!(sizes.is_sorted_by(|one, next| one > next), "{name}: {sizes:?}");
}

/// Mean score of a probe task over its seeds, of 1,000,000.
fn score(units: &[UnitStatus], wanted: Probe) -> u64 {
    let task = Probe::suite().into_iter().position(|probe| probe == wanted).unwrap();
    let figures = units.iter().flat_map(|unit| &unit.probes);
    let scores: Vec<u64> = figures
        .filter(|figure: &&ProbeFigure| usize::from(figure.task) == task)
        .map(|figure| u64::from(figure.score_ppm))
        .collect();
    scores.iter().sum::<u64>() / scores.len() as u64
}

fn check_funnel(report: &StatusReport) {
    let count = PROJECTS.len() as u64;
    let tiers: Vec<u64> = report.funnel.tiers.iter().map(|tier| tier.entered).collect();
    assert_eq!(tiers, [count; 3]);
    let families = report.funnel.families.as_ref().unwrap();
    assert!(families.iter().filter(|family| family.owner.is_none()).count() >= 2, "{families:#?}");
    let references: Vec<&str> =
        report.funnel.references.iter().map(|reference| reference.name.as_str()).collect();
    assert_eq!(references, ["transformer-rope", "ssm"]);
    let [attention, recurrence] = report.funnel.references.as_slice() else { panic!() };
    check_probes(&attention.units, &recurrence.units);
}

/// Who found a family is paid on chain.
async fn check_pay(
    lab: &Lab,
    node: &mut Node,
    report: &StatusReport,
    names: &BTreeMap<ContentDigest, &str>,
) {
    let families = report.funnel.families.iter().flatten();
    let owners: BTreeSet<Hotkey> = families.filter_map(|family| family.owner).collect();
    let paid = report.submissions.iter().filter(|row| owners.contains(&row.hotkey));
    let paid: BTreeSet<u16> = paid
        .map(|row| PROJECTS.iter().position(|name| *name == names[&row.content]).unwrap())
        .map(|miner| FIRST_MINER + u16::try_from(miner).unwrap())
        .collect();
    assert!(!paid.is_empty(), "{:#?}", report.funnel.families);
    let pays = |vector: &[(u16, u16)]| {
        let heavy = |uid: &u16| vector.iter().any(|(to, weight)| to == uid && *weight > 0);
        paid.iter().all(heavy)
    };
    let has_landed = |report: &StatusReport| {
        let landed = report.weights.last_landed.iter().flat_map(|landed| &landed.vector);
        let vector: Vec<(u16, u16)> = landed.map(|(uid, weight)| (uid.0, *weight)).collect();
        pays(&vector)
    };
    let report = node.wait_for("who found a family is paid", LAND_MAX, has_landed).await.unwrap();
    let stored = lab.chain.stored_weights(NETUID, report.node.uid.unwrap().0).await.unwrap();
    assert!(pays(&stored), "{paid:?} of {stored:?}");
}

/// The probes tell mechanisms apart: attention copies and finds what was shown, a recurrence of
/// fixed half-lives does not within this budget; both read sentences better than a table of bytes.
fn check_probes(attention: &[UnitStatus], recurrence: &[UnitStatus]) {
    for probe in [Probe::Induction { pairs: 3 }, Probe::Copy { train: 8, test: 8 }, Probe::MiniLm] {
        let (one, other) = (score(attention, probe), score(recurrence, probe));
        assert!(one > other, "{probe}: {one} and {other}");
    }
}

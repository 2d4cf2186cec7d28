//! A submission's way through every tier of the funnel, on one node with real containers: under the
//! policy `dev`, whose budgets are small and whose tiers are those of the challenge.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::packed_fixture;
use node_core::funnel::{Passage, Scale, Task, Trainer};
use node_daemon::status::{StatusReport, SubmissionStatus};

/// How long all tiers of one submission may take, on two slow cores.
const ALL_TIERS_MAX: Duration = Duration::from_secs(900);

/// Its only submission.
const PROJECT: &str = "prism-fixed";

fn only(report: &StatusReport) -> Option<&SubmissionStatus> {
    report.submissions.first()
}

/// Units of a tier that were decided.
fn decided(report: &StatusReport, tier: u8) -> usize {
    let units = only(report).into_iter().flat_map(|row| &row.units);
    units.filter(|unit| unit.tier == tier).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_best_of_a_window_passes_every_tier_and_is_paid_for_its_architecture() {
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions { validators: 1, miners: 1, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let policy = "dev".to_owned();
    let mut node = Node::new(NodeOptions { cpu_slots: 2, policy, ..lab.node_options(0) }).unwrap();
    node.start(None).unwrap();
    let packed = packed_fixture(PROJECT).unwrap();
    lab.submit(0, &lab.shared_contents(), &packed).await.unwrap();
    let is_over = |report: &StatusReport| {
        (decided(report, 1), decided(report, 2), decided(report, 3)) == (1, 4, 8)
            && report.funnel.families.is_some()
    };
    let report = node.wait_for("all tiers", ALL_TIERS_MAX, is_over).await.unwrap();
    check(only(&report).unwrap(), &report);
    let (card, exit) = node.command("report", &["--flops", "1e20"]).await.unwrap();
    assert_eq!(exit, 0, "{card}");
    for said in
        ["# Model card: the winner", "## Scaling", "## Probe tasks", "induction over 3 pairs"]
    {
        assert!(card.contains(said), "`{said}` is missing in\n{card}");
    }
    node.end().await;
}

fn check(row: &SubmissionStatus, report: &StatusReport) {
    let place = row.place.unwrap();
    assert_eq!((place.tier, place.passage), (3, Passage::Passes), "{row:#?}");
    for unit in &row.units {
        assert_eq!(unit.ending, None, "{unit:?}");
        let is_text = matches!(unit.plan.task, Task::Text { .. });
        assert_eq!(unit.nanobpb.is_some(), is_text, "{unit:?}");
        assert_eq!(unit.probes.is_empty(), is_text, "{unit:?}");
    }
    let bits = |wanted: Task| {
        let mut units = row.units.iter().filter(|unit| unit.tier > 1 && unit.plan.task == wanted);
        units.next().and_then(|unit| unit.nanobpb).unwrap()
    };
    let own = |scale| bits(Task::Text { trainer: Trainer::Own, scale });
    let reference = bits(Task::Text { trainer: Trainer::Reference, scale: Scale::Quartered(0) });
    // Anything that learned at all is below five bits per byte.
    assert!(own(Scale::Quartered(0)) < 5_000_000_000 && reference < 5_000_000_000, "{row:#?}");
    let families = report.funnel.families.as_ref().unwrap();
    assert!(families.iter().filter(|family| family.owner.is_none()).count() >= 2, "{families:#?}");
    let tiers: Vec<u64> = report.funnel.tiers.iter().map(|tier| tier.entered).collect();
    assert_eq!(tiers, [1, 1, 1]);
}

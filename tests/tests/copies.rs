//! Copies of another miner's work, judged by a whole node: what they are compared with is read from
//! its store, and known again after a `kill -9`.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::time::Duration;

use assay_tests::binaries::repository;
use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::submissions::packed_with_note;
use node_daemon::status::{StatusReport, SubmissionStatus};

const JUDGED_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_work_are_refused_by_the_node_that_judged_it_and_after_its_restart() {
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions { validators: 1, miners: 3, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let mut node = lab.node(0, "").unwrap();
    node.start(None).unwrap();
    let work = repository().join("tests/fixtures/duplicates/alibi");
    let packed = |note: &str| packed_with_note(&work, note).unwrap();

    lab.submit(0, &lab.shared_contents(), &packed("by its author")).await.unwrap();
    let is_admitted = |report: &StatusReport| {
        let counts = report.submission_counts;
        counts.admitted + counts.scored == 1
    };
    node.wait_for("the work", JUDGED_MAX, is_admitted).await.unwrap();

    for (copies, miner) in [(1, 1), (2, 2)] {
        let note = format!("by miner {miner}");
        lab.submit(miner, &lab.shared_contents(), &packed(&note)).await.unwrap();
        let are_refused = |report: &StatusReport| report.submission_counts.rejected == copies;
        let report = node.wait_for("a refusal", JUDGED_MAX, are_refused).await.unwrap();
        let is_refused =
            |one: &&SubmissionStatus| one.rule.as_deref() == Some("duplicate-structure");
        let refused: Vec<&SubmissionStatus> =
            report.submissions.iter().filter(is_refused).collect();
        let author = report.submissions.iter().find(|one| !is_refused(one)).unwrap();
        assert_eq!(refused.len() as u64, copies, "{report:#?}");
        for detail in refused.iter().map(|one| one.detail.as_deref().unwrap_or_default()) {
            assert!(detail.contains(&author.id.to_string()), "{detail}");
        }
        node.kill().await.unwrap();
        node.start(None).unwrap();
    }
    node.end().await;
}

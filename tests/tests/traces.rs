//! One trace per submission over all validators, as a collector gets it that this project did not
//! write; and a collector that is not there.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use assay_tests::chain::ChainOptions;
use assay_tests::collector::{Collector, Span};
use assay_tests::lab::Lab;
use assay_tests::submissions::packed_fixture;
use node_core::publish::KeyStanding;
use node_daemon::exit::ExitReason;
use node_daemon::status::StatusReport;

/// How long nodes may take until they follow the chain and know each other.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a small submission may take from commitment to score.
const SCORE_MAX: Duration = Duration::from_secs(240);
/// How long the last spans may take once everything is decided: an answer of a peer, and a message.
const SENT_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to end that has nothing to do.
const LEAVE_MAX: Duration = Duration::from_secs(60);

/// Nothing that would keep a node from ending, and where traces go.
fn extra(endpoint: &str) -> String {
    format!("[weights]\nmode = \"off\"\n[traces]\nendpoint = \"{endpoint}\"\n")
}

fn has_scored(report: &StatusReport) -> bool {
    report.submission_counts.scored == 1
}

/// Who sent spans with this name.
fn senders<'a>(spans: &'a [Span], name: &str) -> BTreeSet<&'a str> {
    spans.iter().filter(|span| span.name == name).map(Span::validator).collect()
}

/// The one above, if there is one and it was received.
fn above<'a>(spans: &'a [Span], span: &Span) -> Option<&'a Span> {
    spans.iter().find(|other| other.span == span.parent)
}

/// Whether two validators have told all of a submission that both evaluated.
fn is_whole(spans: &[Span]) -> bool {
    let names = ["submission", "fetch", "admission", "lease", "run", "seal", "show"];
    names.iter().all(|name| senders(spans, name).len() == 2)
        && spans.iter().all(|span| span.parent.is_empty() || above(spans, span).is_some())
}

/// What a trace of two validators has to be.
fn check(spans: &[Span], report: &StatusReport) {
    let submission = report.submissions.first().unwrap();
    let traces: BTreeSet<&str> = spans.iter().map(|span| span.trace.as_str()).collect();
    assert_eq!(traces, BTreeSet::from([&submission.id.to_string()[..32]]));
    let ids: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.span.as_str(), span)).collect();
    assert_eq!(ids.len(), spans.len(), "two spans with one id: {spans:#?}");
    for span in spans {
        assert!(span.start_ns <= span.end_ns, "{span:#?}");
        let above = above(spans, span).map(|above| above.name.as_str());
        let expected = match span.name.as_str() {
            "submission" => None,
            "fetch" | "admission" | "recall" | "lease" => Some("submission"),
            _ => Some("lease"),
        };
        assert_eq!(above, expected, "{span:#?}");
    }
    let scored = spans.iter().filter(|span| span.name == "submission");
    for whole in scored {
        assert_eq!(whole.attributes["assay.outcome"], "scored", "{whole:#?}");
        assert_eq!(whole.attributes["assay.points"].as_u64(), submission.points, "{whole:#?}");
        assert_eq!(whole.resource["service.name"], "assay");
    }
    for run in spans.iter().filter(|span| span.name == "run") {
        assert_eq!(run.attributes["assay.ending"], "completed", "{run:#?}");
        assert!(run.attributes.contains_key("assay.points"), "{run:#?}");
    }
    // One of them coordinates: the other's lease stands below what the coordinator sent.
    let leases = spans.iter().filter(|span| span.name == "lease");
    let is_foreign = |lease: &&Span| {
        above(spans, lease).is_some_and(|above| above.validator() != lease.validator())
    };
    assert_eq!(leases.filter(is_foreign).count(), 1, "{spans:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_spans_of_two_validators_about_one_submission_are_one_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(dir.path()).await.unwrap();
    let options = ChainOptions { validators: 2, miners: 1, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let extra = extra(&collector.endpoint());
    let mut nodes = [lab.node(0, &extra).unwrap(), lab.node(1, &extra).unwrap()];
    for node in &mut nodes {
        node.start(None).unwrap();
    }
    for node in &mut nodes {
        let is_ready = |report: &StatusReport| {
            let answering = report.peers.iter().filter(|peer| peer.last_answer_at.is_some());
            let published = Some(KeyStanding::Published);
            let known = report.peers.iter().filter(|peer| peer.certificate == published);
            report.ready.ready && answering.count() >= 1 && known.count() == 2
        };
        node.wait_for("ready, with a peer that answers", READY_MAX, is_ready).await.unwrap();
    }
    let packed = packed_fixture("bigram").unwrap();
    lab.submit(0, &lab.shared_contents(), &packed).await.unwrap();
    let mut reports = Vec::new();
    for node in &mut nodes {
        reports.push(node.wait_for("a score", SCORE_MAX, has_scored).await.unwrap());
    }
    let spans = collector.wait_for("a whole trace", SENT_MAX, is_whole).await.unwrap();
    check(&spans, &reports[0]);
    let validators: BTreeSet<String> =
        reports.iter().map(|report| report.node.hotkey.to_string()).collect();
    let validators: BTreeSet<&str> = validators.iter().map(String::as_str).collect();
    assert_eq!(senders(&spans, "submission"), validators);
    for node in &mut nodes {
        let text = node.page("/metrics").await.unwrap();
        assert!(text.contains("assay_spans_total{fate=\"given_up\"} 0\n"), "{text}");
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_collector_is_not_there_evaluates_says_so_once_and_ends_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions { validators: 1, miners: 1, ..ChainOptions::default() };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    // Nobody listens on the first port: it takes root to.
    let mut node = lab.node(0, &extra("http://127.0.0.1:1")).unwrap();
    node.start(None).unwrap();
    let packed = packed_fixture("bigram").unwrap();
    lab.submit(0, &lab.shared_contents(), &packed).await.unwrap();
    node.wait_for("a score", SCORE_MAX, has_scored).await.unwrap();
    let text = node.page("/metrics").await.unwrap();
    assert!(text.contains("assay_spans_total{fate=\"sent\"} 0\n"), "{text}");
    let process = node.process().unwrap();
    process.signal("TERM").await.unwrap();
    let ended = process.wait(LEAVE_MAX).await.unwrap();
    let log = process.log();
    assert_eq!(ended.code(), Some(i32::from(ExitReason::Done.code())), "{log}");
    let told = log.matches("the collector of traces does not take them; trying again").count();
    assert_eq!(told, 1, "{log}");
}

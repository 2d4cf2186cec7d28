//! A submission on its way through a funnel of several tiers, as who has the pages open sees it:
//! the overview's chart counts it in each place, and its own page says where it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::node::Node;
use assay_tests::submissions::packed_fixture;
use node_core::funnel::{Passage, TierReport};
use node_core::id::SubmissionId;
use node_daemon::admin::AddressFile;
use node_daemon::status::{StatusReport, SubmissionStatus};
use serde_json::json;
use tokio::sync::oneshot;

use super::driver::{Browser, Look};
use super::lag::{self, note, Seen};
use super::{Visitor, LOOK_EVERY, READY_MAX, SCORED_MAX};

/// Two tiers of one small run each, and windows of some seconds: what is alone in its window is
/// the best of it, and passes.
const POLICY: &str = r#"
name = "two-tiers"

[meter]
train_bytes = 60000

[scoring.funnel]
window_blocks = 10
late_blocks = 20

[[scoring.funnel.tiers]]
train_bytes = 60000

[[scoring.funnel.tiers]]
train_bytes = 60000
"#;

/// Places of the funnel, the first one first, by what the chart then shows; see [`chart`].
const PLACES: [(&str, &str); 5] = [
    ("admission", "Admission, 1"),
    ("tier-1", "Tier 1, 1"),
    ("tier-1-scored", "Tier 1, 1, 1 scored"),
    ("tier-2", "Tier 2, 1"),
    ("tier-2-scored", "Tier 2, 1, 1 scored"),
];

/// A validator with a CPU slot, under a policy of two tiers.
async fn laboratory(dir: &Path) -> (Lab, Node) {
    let options = ChainOptions {
        validators: 1,
        miners: 1,
        tempo: 24,
        block_ms: 500,
        ..ChainOptions::default()
    };
    let lab = Lab::start(dir, &options).await.unwrap();
    let policy = dir.join("policy.toml");
    std::fs::write(&policy, POLICY).unwrap();
    let mut node = lab.node(0, &format!("policy_file = {policy:?}")).unwrap();
    node.start(None).unwrap();
    node.wait_for("the chain", READY_MAX, |report| report.ready.ready).await.unwrap();
    (lab, node)
}

/// What the overview's chart shows of a report, and how many runs stand below it.
fn chart(report: &StatusReport) -> String {
    let counts = report.submission_counts;
    let admitted = counts.admitted + counts.scored + counts.failed + counts.disputed;
    let judged = [
        (counts.committed, "without content"),
        (counts.fetched, "being judged"),
        (counts.held, "held"),
        (counts.rejected, "rejected"),
    ];
    let came = admitted + judged.iter().map(|(count, _)| count).sum::<u64>();
    let tiers = report.funnel.tiers.iter().map(|tier| {
        let TierReport { tier, entered, scored, passed, audits, .. } = tier;
        let notes = [
            (entered - scored, "without a score"),
            (*scored, "scored"),
            (*passed, "passed"),
            (*audits, "passed as audits"),
        ];
        stage(&format!("Tier {tier}"), *entered, &notes)
    });
    let stages: Vec<String> =
        [stage("Admission", came, &judged)].into_iter().chain(tiers).collect();
    format!("{}; {} runs", stages.join(" > "), report.runs.len())
}

fn stage(name: &str, came: u64, notes: &[(u64, &str)]) -> String {
    let some = notes.iter().filter(|(count, _)| *count > 0);
    let notes = some.map(|(count, what)| format!(", {count} {what}"));
    notes.fold(format!("{name}, {came}"), |said, note| said + &note)
}

/// What the page of the one submission shows of a report.
fn place(report: &StatusReport) -> Option<String> {
    let row = report.submissions.first()?;
    let tier = row.place.map(|place| format!("tier {}: {}", place.tier, place.passage.name()));
    let waits = row.waits_for.as_ref().map(ToString::to_string);
    let runs = report.runs.iter().filter(|run| run.submission == row.id).count();
    let cells = [
        row.stage.name().to_owned(),
        tier.unwrap_or_default(),
        waits.unwrap_or_default(),
        format!("{runs} runs"),
        format!("{} units", row.units.len()),
    ];
    Some(cells.map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" ")).join("|"))
}

fn is_through(report: &StatusReport) -> bool {
    let is_through = |row: &SubmissionStatus| {
        let place = row.place.filter(|place| place.tier == 2 && place.points.is_some());
        place.is_some_and(|place| place.passage == Passage::Passes) && row.waits_for.is_none()
    };
    report.submissions.first().is_some_and(is_through) && report.runs.is_empty()
}

/// Follows the node until its submission is through; what the overview and the submission's page
/// have to show. Tells which submission that is as soon as the node knows it.
async fn follow(node: &mut Node, tell: oneshot::Sender<SubmissionId>) -> (Vec<Seen>, Vec<Seen>) {
    let (mut charts, mut places) = (Vec::new(), Vec::new());
    let mut tell = Some(tell);
    let look = |report: &StatusReport| {
        note(&mut charts, chart(report));
        if let Some(place) = place(report) {
            note(&mut places, place);
        }
        let newest = report.submissions.first();
        if let Some((row, tell)) = newest.and_then(|row| Some((row, tell.take()?))) {
            tell.send(row.id).unwrap();
        }
    };
    lag::follow(node, SCORED_MAX, look, is_through).await;
    (charts, places)
}

/// Opens the submission's own page once there is one, and has it write down what it shows.
async fn watch_own_page(visitor: &Visitor<'_>, hears: oneshot::Receiver<SubmissionId>) {
    let id = hears.await.unwrap();
    visitor.open(&format!("/submissions/{id}")).await;
    visitor.wait_until_live().await;
    visitor.ask::<()>("watch", &[json!("submission")]).await;
}

/// Keeps a picture of the page at each place that its chart shows, until the last of them.
async fn keep_pictures(visitor: &Visitor<'_>) -> Vec<PathBuf> {
    let mut left: BTreeSet<usize> = (0..PLACES.len()).collect();
    let mut kept = Vec::new();
    let deadline = tokio::time::Instant::now() + SCORED_MAX;
    while left.contains(&(PLACES.len() - 1)) {
        assert!(tokio::time::Instant::now() < deadline, "pictures so far: {kept:?}");
        let shown: Option<Vec<Seen>> = visitor.ask("seen", &[]).await;
        let shown = shown.expect("the page was loaded anew");
        let last = &shown.last().unwrap().state;
        // The furthest of the places: a chart that shows one shows those before it too.
        let at = PLACES.iter().rposition(|(_, begin)| last.contains(begin));
        if let Some(at) = at.filter(|at| left.remove(at)) {
            let name = format!("funnel-{}-{}", at + 1, PLACES[at].0);
            kept.push(visitor.session.screenshot(&name).await.unwrap());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_seen_in_each_place_of_the_funnel_within_two_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node) = laboratory(dir.path()).await;
    let address = AddressFile::read(&node.data_dir().join("admin.addr")).unwrap().address;
    let url = format!("http://{address}");
    let mut browser = Browser::start(&dir.path().join("browser")).await.unwrap();
    // Two windows: a page that is behind another one is not kept up to date.
    let sessions =
        [browser.open(Look::ALL[0]).await.unwrap(), browser.open(Look::ALL[0]).await.unwrap()];
    let [overview, own] = [0, 1].map(|at| Visitor { session: &sessions[at], url: &url });
    overview.open("/").await;
    overview.wait_until_live().await;
    overview.ask::<()>("watch", &[json!("funnel")]).await;

    let (contents, packed) = (lab.shared_contents(), packed_fixture("bigram").unwrap());
    let (tell, hears) = oneshot::channel();
    let (submitted, (charts, places), (), pictures) = tokio::join!(
        lab.submit(0, &contents, &packed),
        follow(&mut node, tell),
        watch_own_page(&own, hears),
        keep_pictures(&overview),
    );
    submitted.unwrap();

    let shown = lag::shown_until(&overview, &charts).await;
    lag::check(&charts, &shown);
    for (name, begin) in PLACES {
        for way in [&charts, &shown] {
            assert!(way.iter().any(|one| one.state.contains(begin)), "no {name}: {way:#?}");
        }
    }
    for runs in ["; 0 runs", "; 1 runs"] {
        assert!(shown.iter().any(|one| one.state.ends_with(runs)), "no `{runs}`: {shown:#?}");
    }
    let shown = lag::shown_until(&own, &places).await;
    lag::check(&places, &shown);
    for part in ["|tier 1: open|", "|tier 2: open|", "|tier 2: passes|", "|1 runs|", "|1 units"] {
        for way in [&places, &shown] {
            assert!(way.iter().any(|one| one.state.contains(part)), "no `{part}`: {way:#?}");
        }
    }
    assert!(pictures.iter().all(|path| path.is_file()) && pictures.len() > 1, "{pictures:?}");
    for visitor in [&overview, &own] {
        visitor.check_console().await;
    }
    for session in sessions {
        session.close().await.unwrap();
    }
    browser.end().await;
    node.end().await;
}

//! What `deploy/` tells an operator: alert rules and a dashboard, asked of a node that runs, by the
//! Prometheus that Debian ships.
//!
//! Not here: unit, package and compose file (`deployment.rs`), and what a metric means (its own
//! tests in `node/daemon/src/metrics.rs`).

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use assay_tests::binaries::repository;
use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::node::Node;
use assay_tests::prometheus::{deployed, metrics_in, now, promtool, Prometheus};
use assay_tests::submissions::packed_fixture;
use fake_driver::{FakeDriver, Script};
use node_daemon::admin::AddressFile;
use node_daemon::metrics::reference;
use node_daemon::status::StatusReport;
use serde_json::Value;

/// How long the node may take to answer `status`.
const START_MAX: Duration = Duration::from_secs(60);
/// How long a submission may take from its commitment to weights on chain.
const LAND_MAX: Duration = Duration::from_secs(270);
/// How long a value may take from the node's page to an answer of Prometheus.
const SCRAPE_MAX: Duration = Duration::from_secs(60);

/// Metrics without a value on this machine, at least at times, and why.
const MAY_BE_MISSING: &[(&str, &str)] = &[
    ("assay_beacon_lag_rounds", "the local chain may run without a beacon"),
    ("assay_device_cause", "every GPU stands healthy"),
    ("assay_device_idle_gap_seconds", "one run has no next one"),
    ("assay_endpoint_lag_blocks", "one endpoint has none to be compared with"),
    ("assay_funnel_entered", "the rules have one tier"),
    ("assay_funnel_passed", "the rules have one tier"),
    ("assay_funnel_scored", "the rules have one tier"),
    ("assay_prune_rank", "the subnet's owner is never pruned"),
    ("assay_reveal_left_blocks", "no hash commit is due"),
    ("assay_run_bits_per_byte", "a small run may begin and end between two scrapes"),
    ("assay_run_budget_bytes", "a small run may begin and end between two scrapes"),
    ("assay_run_covered_bytes", "a small run may begin and end between two scrapes"),
    ("assay_run_rate_bytes_per_second", "a small run may begin and end between two scrapes"),
    ("assay_run_remaining_seconds", "a small run may begin and end between two scrapes"),
];

/// An expression of the dashboard, its variables filled in.
#[derive(Clone, Debug)]
struct Shown {
    place: String,
    expression: String,
}

impl Shown {
    fn new(place: String, expression: &str) -> Self {
        // What Grafana puts there for all nodes, and for a rate over scrapes of two seconds.
        let filled = expression.replace("$instance", ".*").replace("$__rate_interval", "1m");
        assert!(!filled.contains('$'), "{place}: an unknown variable in `{filled}`");
        Self { place, expression: filled }
    }

    /// Whether it chooses among values, or names a metric that may be missing.
    fn may_be_empty(&self) -> bool {
        let chooses = [" > ", " < ", " == ", "ALERTS{"];
        let names = metrics_in(&self.expression);
        chooses.iter().any(|word| self.expression.contains(word))
            || names.iter().any(|name| may_miss(name))
    }
}

fn may_miss(name: &str) -> bool {
    MAY_BE_MISSING.iter().any(|(known, _)| *known == name)
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(repository().join("deploy/grafana/assay.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The panels of the dashboard, without the rows that they stand in.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let all = dashboard["panels"].as_array().unwrap();
    all.iter().filter(|panel| panel["type"] != "row").collect()
}

fn list<'a>(value: &'a Value, what: &str) -> &'a [Value] {
    value.as_array().unwrap_or_else(|| panic!("{what} is no list")).as_slice()
}

/// Every expression of the dashboard: of panels and of annotations.
fn shown(dashboard: &Value) -> Vec<Shown> {
    let mut found = Vec::new();
    for panel in panels(dashboard) {
        let title = panel["title"].as_str().unwrap();
        for target in list(&panel["targets"], title) {
            let expression = target["expr"].as_str().unwrap();
            found.push(Shown::new(format!("panel `{title}`"), expression));
        }
    }
    for annotation in list(&dashboard["annotations"]["list"], "annotations") {
        let place = format!("annotation `{}`", annotation["name"].as_str().unwrap());
        found.extend(annotation["expr"].as_str().map(|expression| Shown::new(place, expression)));
    }
    found
}

/// The names of all metrics that a node may show.
fn declared() -> BTreeSet<String> {
    let text = reference();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// A validator's node that starts, with two GPUs of a scripted driver.
fn node_with_gpus(lab: &Lab) -> (Node, FakeDriver) {
    let driver = FakeDriver::install(&Script::with_gpus(2)).unwrap();
    let mut node = lab.node(0, "").unwrap();
    node.set_variable("LD_LIBRARY_PATH", driver.folder().to_str().unwrap());
    node.start(None).unwrap();
    (node, driver)
}

/// Starts a Prometheus that scrapes the node, which answers already.
async fn prometheus_for(node: &Node, dir: &Path) -> Prometheus {
    let address = AddressFile::read(&node.data_dir().join("admin.addr")).unwrap().address;
    Prometheus::start(&dir.join("prometheus"), address).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_sound_and_each_alert_fires_and_keeps_silent_where_it_should() {
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "prometheus.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let said = promtool(&arguments).await.unwrap();
        assert!(said.contains("SUCCESS"), "{said}");
    }
    let read = |name| std::fs::read_to_string(deployed().join(name)).unwrap();
    let (rules, cases) = (read("alerts.yml"), read("alerts_test.yml"));
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<&str> = names.collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        for case in [format!("- name: {name} fires\n"), format!("- name: {name} is silent ")] {
            assert!(cases.contains(&case), "alerts_test.yml has no case `{case}`");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_alert_says_how_urgent_it_is_what_to_do_and_where_to_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = "127.0.0.1:9".parse().unwrap();
    let prometheus = Prometheus::start(dir.path(), nobody).await.unwrap();
    let rules = prometheus.rules().await.unwrap();
    prometheus.end().await;
    assert!(rules.len() > 20, "{rules:?}");
    for rule in rules {
        let name = &rule.name;
        assert!(["page", "ticket"].contains(&rule.severity.as_str()), "{rule:?}");
        let note = |key: &str| rule.annotations[key].as_str().unwrap_or_default().to_owned();
        assert!(!note("summary").is_empty() && note("description").contains('`'), "{rule:?}");
        let docs = note("docs");
        let (page, part) = docs.split_once('#').unwrap_or((&docs, ""));
        let text = std::fs::read_to_string(repository().join(page));
        let text = text.unwrap_or_else(|error| panic!("{name}: `{page}`: {error}"));
        let is_there = part.is_empty() || anchors(&text).contains(part);
        assert!(is_there, "{name}: `{page}` has no part `{part}`");
    }
}

/// The names under which the headings of a document can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with("##"));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    let anchor = |heading: &str| {
        let words = heading.trim_start_matches('#').trim().to_lowercase();
        words.chars().filter(kept).collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn each_panel_says_what_it_shows_and_has_a_place_of_its_own() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{title}");
        assert!(!list(&panel["targets"], title).is_empty(), "{title}");
        assert!(panel["fieldConfig"]["defaults"]["thresholds"].is_object(), "{title}");
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{title} is too far right");
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(cells.insert((x, y)), "{title} covers another panel");
            }
        }
    }
    assert!(ids.len() > 50, "{} panels", ids.len());
}

#[test]
fn dashboard_and_its_variables_name_only_metrics_that_the_node_declares() {
    let dashboard = dashboard();
    let declared = declared();
    assert!(declared.len() > 50, "{declared:?}");
    let mut queries: Vec<String> =
        shown(&dashboard).into_iter().map(|shown| shown.expression).collect();
    for variable in list(&dashboard["templating"]["list"], "variables") {
        let query = variable["query"]["query"].as_str();
        queries.extend(query.map(str::to_owned));
    }
    let named: BTreeSet<String> = queries.iter().flat_map(|query| metrics_in(query)).collect();
    let unknown: Vec<&String> = named.difference(&declared).collect();
    assert!(unknown.is_empty(), "not declared: {unknown:?}");
    let listed = MAY_BE_MISSING.iter().map(|(name, _)| *name);
    let stale: Vec<&str> = listed.filter(|name| !declared.contains(*name)).collect();
    assert!(stale.is_empty(), "this test lists what is gone: {stale:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_of_alerts_and_dashboard_is_answered_from_a_running_node() {
    let began = now();
    let dir = tempfile::tempdir().unwrap();
    let options = ChainOptions {
        validators: 1,
        miners: 1,
        tempo: 24,
        block_ms: 500,
        ..ChainOptions::default()
    };
    let lab = Lab::start(dir.path(), &options).await.unwrap();
    let (mut node, _driver) = node_with_gpus(&lab);
    node.wait_for("an answer", START_MAX, |_| true).await.unwrap();
    let mut prometheus = prometheus_for(&node, dir.path()).await;
    let packed = packed_fixture("bigram").unwrap();
    lab.submit(0, &lab.shared_contents(), &packed).await.unwrap();
    let has_landed = |report: &StatusReport| report.weights.last_landed.is_some();
    node.wait_for("weights on chain", LAND_MAX, has_landed).await.unwrap();
    // What comes last from the node, and from each GPU, was scraped: twice what is counted, since
    // an increase is that between two samples.
    for last in [
        "assay_weights_landed_epoch",
        "count_over_time(assay_notes_total{kind=\"weights_landed\"}[1m]) > 1",
        "assay_device_temperature_celsius",
    ] {
        prometheus.wait_for(last, SCRAPE_MAX).await.unwrap();
    }

    let seen = prometheus.names().await.unwrap();
    let declared = declared();
    let is_scraped = |place: &str, expression: &str| {
        for name in metrics_in(expression) {
            assert!(declared.contains(&name), "{place}: the node declares no `{name}`");
            let is_seen = seen.contains(&name) || may_miss(&name);
            assert!(is_seen, "{place}: `{name}` was never scraped");
        }
    };
    let rules = prometheus.rules().await.unwrap();
    assert!(rules.len() > 20, "{rules:?}");
    for rule in &rules {
        is_scraped(&rule.name, &rule.expression);
        assert_ne!(rule.health, "err", "{rule:?}");
        prometheus.query_since(&rule.expression, began).await.unwrap();
    }
    let shown = shown(&dashboard());
    assert!(shown.len() > 60, "{} expressions", shown.len());
    for Shown { place, expression } in &shown {
        is_scraped(place, expression);
    }
    for shown in shown {
        let series = prometheus.query_since(&shown.expression, began).await.unwrap();
        assert!(!series.is_empty() || shown.may_be_empty(), "no data: {shown:?}");
    }
    // A sound node wakes nobody.
    let paged = "ALERTS{alertstate=\"firing\", severity=\"page\"}";
    let paged = prometheus.query_since(paged, began).await.unwrap();
    assert!(paged.is_empty(), "{paged:#?}");
    prometheus.end().await;
    node.end().await;
}

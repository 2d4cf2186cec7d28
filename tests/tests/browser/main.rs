//! The web page as people meet it: a real browser opens what a real node serves, on a phone and on
//! a desk, in light and in dark, with keys alone and without scripts.
//!
//! What is asked inside of a page is `in_page.js`. Screenshots of every page in every look
//! stay in `driver::screenshots`.
//!
//! Not here: what each page says of which report (`node/daemon/src/page/tests`).

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod driver;
mod funnel;
mod lag;

use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

use assay_tests::binaries::repository;
use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::node::Node;
use assay_tests::submissions::{packed_fixture, packed_traversal};
use fake_driver::{FakeDriver, Script};
use node_daemon::admin::AddressFile;
use node_daemon::status::{StatusReport, SubmissionStage};
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::{json, Value};
use tokio::time::Instant;

use self::driver::{Browser, Key, Look, Scripts, Session};
use self::lag::{note, Seen};

const IN_PAGE: &str = include_str!("in_page.js");

/// How long the node may take until it has read the chain.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long the way of a submission may take, from its commitment to a score.
const SCORED_MAX: Duration = Duration::from_secs(240);
/// How long it may take until weights are on chain.
const LAND_MAX: Duration = Duration::from_secs(270);
/// How long a page may take to what is bound to come.
const PAGE_MAX: Duration = Duration::from_secs(30);
/// How long who was refused may wait until it asks again, and the answer may take.
const AGAIN_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The pages, in the order in which they name each other, and how their screenshots are called.
const PAGES: [(&str, &str); 6] = [
    ("/", "overview"),
    ("/submissions", "submissions"),
    ("/leaderboard", "leaderboard"),
    ("/devices", "devices"),
    ("/epochs", "epochs"),
    ("/peers", "peers"),
];
const NAVIGATION: &str = "nav[aria-label=Pages] a";
/// More than a page has of what takes the focus.
const FOCUSED_MAX: usize = 100;
/// The way from the list of submissions to the newest one.
const NEWEST: &str = "#main tbody th a";
/// Where no submission is.
const NOWHERE: &str = "/submissions/nothing";
/// Pages that the node tells of changes at a time, see `docs/operating.md`.
const LISTENERS_MAX: usize = 32;
/// What a page says that nobody tells of changes.
const NOT_LIVE: &str = "Not live; this is as of 20";

/// What is nothing to who does not see it, if it has no name.
const NAMED_ROLES: [&str; 18] = [
    "button",
    "checkbox",
    "columnheader",
    "combobox",
    "dialog",
    "DisclosureTriangle",
    "heading",
    "image",
    "link",
    "listbox",
    "navigation",
    "progressbar",
    "radio",
    "region",
    "slider",
    "SvgRoot",
    "table",
    "textbox",
];

/// A page as far as it stays the same from one moment to the next.
#[derive(Clone, Debug, Deserialize)]
struct Reading {
    status: u16,
    path: String,
    headings: Vec<String>,
    captions: Vec<String>,
    notices: Vec<String>,
}

/// What has the focus.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Focus {
    href: Option<String>,
    id: String,
    /// Of what opens and closes.
    is_open: Option<bool>,
    is_seen: bool,
}

/// A session at a node's pages.
struct Visitor<'a> {
    session: &'a Session,
    url: &'a str,
}

impl Visitor<'_> {
    async fn open(&self, path: &str) {
        self.session.goto(&format!("{}{path}", self.url)).await.unwrap();
    }

    /// The answer to a question of `in_page.js`.
    async fn ask<T: DeserializeOwned>(&self, question: &str, arguments: &[Value]) -> T {
        let all = [[json!(question)].as_slice(), arguments].concat();
        let answer = self.session.ask(IN_PAGE, all).await;
        let answer = answer.unwrap_or_else(|error| panic!("{question}: {error:#}"));
        serde_json::from_value(answer).unwrap_or_else(|error| panic!("{question}: {error}"))
    }

    /// Asks until the answer is as wanted, at most `limit`.
    async fn wait_for<T: DeserializeOwned + Debug>(
        &self,
        question: &str,
        limit: Duration,
        is_so: impl Fn(&T) -> bool,
    ) -> T {
        let deadline = Instant::now() + limit;
        loop {
            let answer: T = self.ask(question, &[]).await;
            if is_so(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{question}: {answer:?} after {limit:?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn wait_until_live(&self) {
        self.wait_for("live", AGAIN_MAX, |said: &String| said == "Live").await;
    }

    async fn wait_until_not_live(&self) {
        self.wait_for("live", PAGE_MAX, |said: &String| said.starts_with(NOT_LIVE)).await;
    }

    /// Nothing was written to the console, but that [`NOWHERE`] is nowhere: browsers tell of each
    /// 404.
    async fn check_console(&self) {
        let console = self.session.console().await.unwrap();
        let is_known = |line: &str| line.contains(NOWHERE) && line.contains("404");
        let others: Vec<String> = console.into_iter().filter(|line| !is_known(line)).collect();
        assert!(others.is_empty(), "written to the console: {others:#?}");
    }

    /// What is wrong with the page that is open, a sentence each.
    async fn faults(&self, look: Look) -> Vec<String> {
        let width = look.screen.size().0;
        let mut faults: Vec<String> = self.ask("faults", &[json!(width)]).await;
        let is_nameless = |role: &str, name: &str| NAMED_ROLES.contains(&role) && name.is_empty();
        let spoken = self.session.spoken().await.unwrap();
        let nameless = spoken.iter().filter(|one| is_nameless(&one.role, one.name.trim()));
        faults.extend(nameless.map(|one| format!("a {} without a name", one.role)));
        faults
    }
}

/// A validator with a CPU slot and two GPUs of a scripted driver.
async fn laboratory(dir: &Path) -> (Lab, Node, FakeDriver) {
    let options = ChainOptions {
        validators: 1,
        miners: 2,
        tempo: 24,
        block_ms: 500,
        ..ChainOptions::default()
    };
    let lab = Lab::start(dir, &options).await.unwrap();
    let driver = FakeDriver::install(&Script::with_gpus(2)).unwrap();
    let mut node = lab.node(0, "").unwrap();
    node.set_variable("LD_LIBRARY_PATH", driver.folder().to_str().unwrap());
    node.start(None).unwrap();
    node.wait_for("the chain", READY_MAX, |report| report.ready.ready).await.unwrap();
    (lab, node, driver)
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_follow_the_node_and_serve_every_reader_on_every_screen() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node, _driver) = laboratory(dir.path()).await;
    let address = AddressFile::read(&node.data_dir().join("admin.addr")).unwrap().address;
    let url = format!("http://{address}");
    let mut browser = Browser::start(&dir.path().join("browser")).await.unwrap();
    let session = browser.open(Look::ALL[0]).await.unwrap();
    let visitor = Visitor { session: &session, url: &url };

    lab.submit_unchecked(1, &lab.shared_contents(), &packed_traversal().unwrap()).await.unwrap();
    let is_rejected = |report: &StatusReport| report.submission_counts.rejected == 1;
    node.wait_for("a rejection", SCORED_MAX, is_rejected).await.unwrap();
    each_state_is_shown_in_time_without_a_reload(&lab, &mut node, &visitor).await;
    a_page_that_the_node_refuses_says_so_and_is_live_again_later(&visitor).await;

    let has_landed = |report: &StatusReport| report.weights.last_landed.is_some();
    node.wait_for("weights on chain", LAND_MAX, has_landed).await.unwrap();
    let mut faults = Vec::new();
    for look in Look::ALL {
        walk(&visitor, look, &mut faults).await;
        keys_alone_lead_to_every_page(&visitor).await;
        keys_alone_open_a_submission_and_its_evidence(&visitor).await;
    }
    assert!(faults.is_empty(), "what is wrong with the pages:\n  {}\n", faults.join("\n  "));
    every_page_reads_the_same_without_scripts(&visitor).await;
    session.close().await.unwrap();
    browser.end().await;
    node.end().await;
}

/// The newest submission, as its row in the list of submissions has it.
fn state_of(report: &StatusReport) -> String {
    let Some(row) = report.submissions.first() else { return String::new() };
    let tier = row.place.map(|place| format!("{}, {}", place.tier, place.passage.name()));
    let tier = tier.or_else(|| row.points.map(|_| "1".to_owned()));
    let waits = row.waits_for.as_ref().map(|reason| format!("waits for {reason}"));
    let said = waits.or_else(|| row.detail.clone()).unwrap_or_default();
    let stage = row.stage.name().to_owned();
    let cells = [row.id.short(), stage, tier.unwrap_or_default(), said];
    cells.map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" ")).join("|")
}

/// Follows the newest submission in the node's status until it has a score.
async fn follow(node: &mut Node) -> Vec<Seen> {
    let is_scored = |report: &StatusReport| {
        let newest = report.submissions.first();
        newest.is_some_and(|row| row.stage == SubmissionStage::Scored)
    };
    let mut states = Vec::new();
    let note = |report: &StatusReport| note(&mut states, state_of(report));
    lag::follow(node, SCORED_MAX, note, is_scored).await;
    states
}

/// A page that is open shows each state that the status shows within [`lag::LAG_MS_MAX`], or a
/// later one.
async fn each_state_is_shown_in_time_without_a_reload(
    lab: &Lab,
    node: &mut Node,
    visitor: &Visitor<'_>,
) {
    visitor.open("/submissions").await;
    visitor.wait_until_live().await;
    visitor.ask::<()>("watch", &[json!("list")]).await;
    let contents = lab.shared_contents();
    let packed = packed_fixture("bigram").unwrap();
    let (submitted, known) = tokio::join!(lab.submit(0, &contents, &packed), follow(node));
    submitted.unwrap();
    let shown = lag::shown_until(visitor, &known).await;
    lag::check(&known, &shown);
    for stage in [SubmissionStage::Admitted, SubmissionStage::Scored] {
        let part = format!("|{}|", stage.name());
        for way in [&known, &shown] {
            assert!(way.iter().any(|one| one.state.contains(&part)), "no {part}: {way:#?}");
        }
    }
    visitor.check_console().await;
}

/// Neither a refusal to read the page nor one to tell of changes is passed over in silence, and
/// none is final.
async fn a_page_that_the_node_refuses_says_so_and_is_live_again_later(visitor: &Visitor<'_>) {
    visitor.open("/peers").await;
    visitor.wait_until_live().await;
    for status in [421, 503] {
        visitor.ask::<()>("refuse", &[json!(status)]).await;
        visitor.wait_until_not_live().await;
        let before: u64 = visitor.ask("asOf", &[]).await;
        visitor.ask::<()>("refuse", &[Value::Null]).await;
        visitor.wait_until_live().await;
        visitor.wait_for("asOf", PAGE_MAX, |as_of: &u64| *as_of > before).await;
    }
    visitor.check_console().await;

    // Somewhere else, so that this page takes no place among those who are told of changes.
    visitor.session.goto("about:blank").await.unwrap();
    let others = all_listeners(visitor.url).await;
    visitor.open("/peers").await;
    visitor.wait_until_not_live().await;
    drop(others);
    visitor.wait_until_live().await;
    let console = visitor.session.console().await.unwrap();
    assert!(console.iter().any(|line| line.contains("503")), "it was refused: {console:?}");
}

/// Takes all places among those who are told of changes.
async fn all_listeners(url: &str) -> Vec<reqwest::Response> {
    let client = reqwest::Client::new();
    let deadline = Instant::now() + PAGE_MAX;
    let mut held = Vec::new();
    while held.len() < LISTENERS_MAX {
        let answer = client.get(format!("{url}/events")).send().await.unwrap();
        if answer.status().is_success() {
            held.push(answer);
        } else {
            assert!(Instant::now() < deadline, "{} listeners and no more", held.len());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    held
}

/// Visits every page by the links of the others, and writes down what is wrong with each.
async fn walk(visitor: &Visitor<'_>, look: Look, faults: &mut Vec<String>) {
    let Visitor { session, .. } = visitor;
    session.show(look).await.unwrap();
    visitor.open("/").await;
    let links: Vec<String> = visitor.ask("links", &[json!(NAVIGATION)]).await;
    assert_eq!(links, PAGES.map(|(path, _)| path));
    for (path, name) in PAGES {
        session.click(&format!("{NAVIGATION}[href=\"{path}\"]")).await.unwrap();
        let is_there = |read: &Reading| read.path == path && read.status == 200;
        visitor.wait_for("reading", PAGE_MAX, is_there).await;
        inspect(visitor, look, name, faults).await;
        if path == "/submissions" {
            session.click(NEWEST).await.unwrap();
            let is_there =
                |read: &Reading| read.path.starts_with("/submissions/") && read.status == 200;
            visitor.wait_for("reading", PAGE_MAX, is_there).await;
            inspect(visitor, look, "submission", faults).await;
        }
    }
    visitor.open(NOWHERE).await;
    let read: Reading = visitor.ask("reading", &[]).await;
    assert_eq!(read.status, 404, "{read:?}");
    inspect(visitor, look, "missing", faults).await;
    visitor.check_console().await;
}

async fn inspect(visitor: &Visitor<'_>, look: Look, name: &str, faults: &mut Vec<String>) {
    let found = visitor.faults(look).await;
    faults.extend(found.into_iter().map(|fault| format!("{name}, {look}: {fault}")));
    let texts: usize = visitor.ask("texts", &[]).await;
    assert!(texts > 10, "{name}, {look}: {texts} texts were looked at");
    visitor.session.screenshot(&format!("{name}-{look}")).await.unwrap();
}

/// From the top of a page, the tabulator goes past the content's own link to each page in order,
/// and says where it is.
async fn keys_alone_lead_to_every_page(visitor: &Visitor<'_>) {
    visitor.open("/").await;
    for wanted in ["#main"].into_iter().chain(PAGES.map(|(path, _)| path)) {
        visitor.session.press(Key::Tab).await.unwrap();
        let focus: Focus = visitor.ask("focus", &[]).await;
        assert_eq!(focus.href.as_deref(), Some(wanted), "{focus:?}");
        assert!(focus.is_seen, "{focus:?}");
    }
    visitor.session.press(Key::Enter).await.unwrap();
    let (last, _) = PAGES[PAGES.len() - 1];
    visitor.wait_for("reading", PAGE_MAX, |read: &Reading| read.path == last).await;
    visitor.session.press(Key::Tab).await.unwrap();
    visitor.session.press(Key::Enter).await.unwrap();
    visitor.wait_for("focus", PAGE_MAX, |focus: &Focus| focus.id == "main").await;
}

async fn keys_alone_open_a_submission_and_its_evidence(visitor: &Visitor<'_>) {
    visitor.open("/submissions").await;
    let leads_to_one = |href: &str| href.starts_with("/submissions/");
    tab_to(visitor, |focus| focus.href.as_deref().is_some_and(leads_to_one)).await;
    visitor.session.press(Key::Enter).await.unwrap();
    visitor.wait_for("reading", PAGE_MAX, |read: &Reading| leads_to_one(&read.path)).await;
    tab_to(visitor, |focus| focus.is_open == Some(false)).await;
    visitor.session.press(Key::Enter).await.unwrap();
    visitor.wait_for("focus", PAGE_MAX, |focus: &Focus| focus.is_open == Some(true)).await;
}

/// Goes on with the tab key until what is wanted has the focus, and is seen to have it.
async fn tab_to(visitor: &Visitor<'_>, is_wanted: impl Fn(&Focus) -> bool) {
    let mut passed = Vec::new();
    while passed.len() < FOCUSED_MAX {
        visitor.session.press(Key::Tab).await.unwrap();
        let focus: Focus = visitor.ask("focus", &[]).await;
        if is_wanted(&focus) {
            // The page may scroll there first.
            visitor.wait_for("focus", PAGE_MAX, |focus: &Focus| focus.is_seen).await;
            return;
        }
        passed.push(focus);
    }
    panic!("the tab key does not lead there: {passed:#?}");
}

async fn every_page_reads_the_same_without_scripts(visitor: &Visitor<'_>) {
    visitor.open("/submissions").await;
    let newest: Vec<String> = visitor.ask("links", &[json!(NEWEST)]).await;
    let newest = newest.into_iter().next().unwrap();
    let paths = PAGES.map(|(path, _)| path).into_iter().chain([newest.as_str(), NOWHERE]);
    for path in paths {
        let deadline = Instant::now() + PAGE_MAX;
        loop {
            visitor.session.set_scripts(Scripts::Off).await.unwrap();
            visitor.open(path).await;
            let plain: Reading = visitor.ask("reading", &[]).await;
            visitor.session.set_scripts(Scripts::Run).await.unwrap();
            visitor.open(path).await;
            let live: Reading = visitor.ask("reading", &[]).await;
            assert_eq!(plain.notices, ["Reload the page to see what is new."], "{path}");
            assert!(live.notices.is_empty() && !live.headings.is_empty(), "{live:?}");
            if plain.headings == live.headings && plain.captions == live.captions {
                break;
            }
            // An epoch may have begun between the two.
            assert!(Instant::now() < deadline, "{path}: {plain:#?}\n{live:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checks_find_each_fault_of_a_page_that_has_them_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(dir.path()).await.unwrap();
    let look = Look::ALL[2];
    let session = browser.open(look).await.unwrap();
    let page = repository().join("tests/tests/browser/broken.html").canonicalize().unwrap();
    let visitor = Visitor { session: &session, url: "file://" };
    visitor.open(page.to_str().unwrap()).await;
    let faults = visitor.faults(look).await;
    for part in [
        "0 of html[lang]",
        "2 of h1",
        "0 of main",
        "0 of a.skip",
        "no title",
        "\"Too deep\" after a heading of level 1",
        "the id twice is there twice",
        " px in 390, for <p.wide> \"too wide\"",
        "\"out of reach of the keyboard\" scrolls and takes no focus",
        "\"small\" is less than 24 px high",
        "\"too pale\" has a contrast of 3.54, not 4.5",
        "\"too faint\" has a contrast of 2.41, not 4.5",
        "\"too small\" is drawn with 6.5 px",
        "\"too dim\" has a contrast of 2.32, not 4.5",
        "a navigation without a name",
        "a link without a name",
        "a image without a name",
        "a SvgRoot without a name",
        "a progressbar without a name",
        "a textbox without a name",
    ] {
        assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:#?}");
    }
    assert!(!faults.iter().any(|fault| fault.contains("large enough")), "{faults:#?}");
    session.close().await.unwrap();
    browser.end().await;
}

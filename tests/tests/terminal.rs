//! `assay status --watch` as a person has it: in a real terminal, of a real node, with keys.
//!
//! Not here: how each page is drawn of which report (`node/daemon/src/cli/dashboard`).

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use assay_tests::binaries::binary;
use assay_tests::chain::ChainOptions;
use assay_tests::lab::Lab;
use assay_tests::node::{Node, NodeOptions};
use assay_tests::submissions::{fixture, packed_traversal, packed_with_note, Packed};
use assay_tests::terminal::{Picture, Size, Terminal};
use fake_driver::{FakeDriver, Script};
use node_daemon::exit::ExitReason;
use node_daemon::status::StatusReport;
use serde_json::Value;
use tokio::time::Instant;
use vt100::Color;

const DESK: Size = Size { columns: 120, rows: 40 };
const NARROW: Size = Size { columns: 40, rows: 12 };
/// So low that the list of submissions does not fit: [`LOW_ROWS`] of them are seen.
const LOW: Size = Size { columns: 120, rows: 9 };
/// What is left of such a window for rows: two lines are the headline, whatever is wrong, and one
/// each the pages, the keys and the header of the table.
const LOW_ROWS: usize = 4;

/// Submissions: one that is measured, and what nodes refuse.
const SUBMISSIONS: u16 = 10;

/// How long the node may take until it has read the chain and proven its devices.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a submission may take from its commitment until it runs, and until it is scored.
const RUN_MAX: Duration = Duration::from_secs(240);
/// How long the screen may take to what the node says: a look at it, and an answer.
const SHOWN_MAX: Duration = Duration::from_secs(20);
/// How long a key may take.
const KEY_MAX: Duration = Duration::from_secs(10);

/// What the words for how a node stands are.
const WORDS: [&str; 4] = ["HEALTHY", "DEGRADED", "UNSAFE", "UNREACHABLE"];
const GONE: &str = " UNREACHABLE ";
const KEYS: &str = " q leave   tab, 1-5 another page";

/// The pages: how each is called, and with what it begins.
const PAGES: [(&str, &str); 5] = [
    ("1 overview", "node "),
    ("2 submissions", "submission  miner "),
    ("3 leases", "assignment  submission "),
    ("4 peers", "nothing"),
    ("5 events", "at  "),
];

const LEASES: usize = 2;

/// How often a key is typed as the window changes: a program that loses such keys loses one of a
/// few.
const SIZES_AND_KEYS: usize = 40;

const RIGHT: &str = "\u{1b}[C";
const LEFT: &str = "\u{1b}[D";
const UP: &str = "\u{1b}[A";
const DOWN: &str = "\u{1b}[B";
const BACK_TAB: &str = "\u{1b}[Z";
const PAGE_UP: &str = "\u{1b}[5~";
const PAGE_DOWN: &str = "\u{1b}[6~";
const HOME: &str = "\u{1b}[H";
const ESCAPE: &str = "\u{1b}";
const CTRL_C: &str = "\u{3}";

/// A submission that takes its time between batches, so that a person sees how far it is.
fn slow() -> Packed {
    let dir = tempfile::tempdir().unwrap();
    let from = fixture("bigram");
    std::fs::copy(from.join("architecture.py"), dir.path().join("architecture.py")).unwrap();
    let training = std::fs::read_to_string(from.join("training.py")).unwrap();
    let step = "        optimizer.step()\n";
    let slow = training.replace(step, &format!("{step}        time.sleep(0.1)\n"));
    let slow = slow.replace("import torch\n", "import time\n\nimport torch\n");
    assert_eq!(slow.matches("time").count(), 2, "{slow}");
    std::fs::write(dir.path().join("training.py"), slow).unwrap();
    packed_with_note(dir.path(), "takes its time").unwrap()
}

/// A validator with a CPU slot and two GPUs of a scripted driver.
async fn laboratory(dir: &Path) -> (Lab, Node, FakeDriver) {
    let options = ChainOptions {
        validators: 1,
        miners: SUBMISSIONS,
        tempo: 24,
        block_ms: 500,
        ..ChainOptions::default()
    };
    let lab = Lab::start(dir, &options).await.unwrap();
    let driver = FakeDriver::install(&Script::with_gpus(2)).unwrap();
    let policy = "dev-open".to_owned();
    let mut node = Node::new(NodeOptions { policy, ..lab.node_options(0) }).unwrap();
    node.set_variable("LD_LIBRARY_PATH", driver.folder().to_str().unwrap());
    node.start(None).unwrap();
    let is_ready = |report: &StatusReport| {
        let gpus = report.devices.iter().filter(|device| device.kind == "gpu");
        let health = gpus.filter_map(|gpu| gpu.health.as_ref());
        report.ready.ready && health.filter(|health| health.unusable.is_none()).count() == 2
    };
    node.wait_for("the chain, and two GPUs proven", READY_MAX, is_ready).await.unwrap();
    (lab, node, driver)
}

fn watch(node: &Node, size: Size) -> Terminal {
    let config = node.config_file();
    let arguments = ["status", "--watch", "--config", config.to_str().unwrap()];
    Terminal::start(&binary("assay").unwrap(), &arguments, size).unwrap()
}

/// A terminal in which the node is seen.
async fn watching(node: &Node, size: Size) -> Terminal {
    let mut terminal = watch(node, size);
    terminal.wait_for("the node", SHOWN_MAX, has_word).await.unwrap();
    terminal
}

fn has_word(picture: &Picture) -> bool {
    WORDS.iter().any(|word| picture.line(0).starts_with(&format!(" {word} ")))
}

/// Types a key, and waits until the screen is as wanted.
async fn press(terminal: &mut Terminal, key: &str, what: &str, is_so: impl Fn(&Picture) -> bool) {
    terminal.types(key).unwrap();
    terminal.wait_for(&format!("{key:?}: {what}"), KEY_MAX, is_so).await.unwrap();
}

/// The line with the pages, which stands lower the more is wrong; below the screen if there is
/// none.
fn pages_row(picture: &Picture) -> usize {
    let begin = format!(" {}", PAGES[0].0);
    let lines = picture.lines();
    lines.iter().position(|line| line.starts_with(&begin)).unwrap_or(lines.len())
}

/// What is highlighted among the pages.
fn open_page(picture: &Picture) -> String {
    u16::try_from(pages_row(picture)).map(|row| picture.highlighted(row)).unwrap()
}

/// The line under the pages.
fn body_line(picture: &Picture) -> String {
    picture.line(pages_row(picture) + 1)
}

fn is_open(picture: &Picture, place: usize) -> bool {
    open_page(picture) == PAGES[place].0
}

fn shows_page(picture: &Picture, place: usize) -> bool {
    let body = body_line(picture);
    // Leases of what is decided may be forgotten.
    let has_none = place == LEASES && body == "nothing";
    is_open(picture, place) && (has_none || body.starts_with(PAGES[place].1))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sees_what_the_node_does_and_every_key_does_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut node, _driver) = laboratory(dir.path()).await;
    let contents = lab.shared_contents();
    lab.submit_unchecked(0, &contents, &slow()).await.unwrap();
    let mut terminal = watching(&node, DESK).await;
    the_screen_says_how_the_node_stands(&node, &mut terminal).await;
    a_run_is_shown_with_how_far_it_is(&mut terminal).await;

    let refused = packed_traversal().unwrap();
    for miner in 1..SUBMISSIONS {
        lab.submit_unchecked(miner, &contents, &refused).await.unwrap();
    }
    let is_over = |report: &StatusReport| {
        let rows = &report.submissions;
        rows.len() == usize::from(SUBMISSIONS) && rows.iter().all(|row| row.waits_for.is_none())
    };
    let report = node.wait_for("everything is decided", RUN_MAX, is_over).await.unwrap();
    let ids: Vec<String> = report.submissions.iter().map(|row| row.id.short()).collect();

    every_key_opens_the_page_that_it_says(&mut terminal).await;
    another_size_leaves_nothing_of_the_one_before(&node, &mut terminal).await;
    a_list_is_scrolled_by_lines_and_pages(&node, &ids).await;
    a_narrow_window_shows_the_beginning_of_everything(&node).await;
    keys_and_sizes_that_come_together_are_both_handled(&node).await;
    a_node_that_goes_away_is_told_of_and_comes_back_by_itself(&mut node, &mut terminal).await;
    drop(terminal);
    every_way_out_puts_the_terminal_back(&node).await;
    node.end().await;
}

async fn the_screen_says_how_the_node_stands(node: &Node, terminal: &mut Terminal) {
    // It may change between the two answers.
    let deadline = Instant::now() + SHOWN_MAX;
    loop {
        let (text, _) = node.status_command(&["--json"]).await.unwrap();
        let answer: Value = serde_json::from_str(&text).unwrap();
        let word = answer["health"].as_str().unwrap().to_uppercase();
        let picture = terminal.picture();
        if picture.line(0).starts_with(&format!(" {word}   as of ")) {
            break;
        }
        assert!(Instant::now() < deadline, "{word} is not said\n{picture}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let report = node.status().await.unwrap();
    let gpus: Vec<String> = report
        .devices
        .iter()
        .filter(|device| device.kind == "gpu")
        .map(|device| format!("{}  {}  not used: is a gpu,", device.id, device.label))
        .collect();
    assert_eq!(gpus.len(), 2);
    let is_whole = |picture: &Picture| {
        let lines = picture.lines();
        let begins = |begin: &str| lines.iter().any(|line| line.starts_with(begin));
        let hotkey = report.node.hotkey.to_string();
        let keys = lines.last().unwrap();
        ["safety ", "chain ", "weights ", "runs ", "devices", "latest"].into_iter().all(begins)
            && gpus.iter().all(|gpu| begins(gpu))
            && body_line(picture).contains(&hotkey)
            && keys.starts_with(KEYS)
    };
    let picture = terminal.wait_for("facts and devices", SHOWN_MAX, is_whole).await.unwrap();
    assert!(picture.is_taken() && picture.is_cursor_hidden(), "{picture}");
    assert!(!terminal.has_modes_of_start(), "what is typed is not shown");
    assert_eq!(open_page(&picture), "1 overview", "{picture}");
}

/// The line of the CPU slot while its run is under way, and which one that is.
fn run_line(picture: &Picture) -> Option<(u16, String)> {
    let lines = picture.lines();
    let row = lines.iter().position(|line| line.starts_with("cpu-0 ") && line.contains(" %, "))?;
    Some((u16::try_from(row).ok()?, lines[row].clone()))
}

/// What it has covered in percent, and its bar: how much of it is filled, and how long it is.
fn bar(picture: &Picture) -> Option<(usize, usize, usize)> {
    let (row, line) = run_line(picture)?;
    let (before, _) = line.split_once(" %, ")?;
    let percent = before.rsplit(' ').next()?.parse().ok()?;
    let filled = picture.colours_of(row, "━");
    assert!(filled.iter().all(|colour| *colour == Color::Idx(6)), "in cyan: {filled:?}");
    Some((percent, filled.len(), filled.len() + picture.colours_of(row, "─").len()))
}

/// Whether the bar says the same as the percent before it, whose fraction is left out.
fn is_under_way(picture: &Picture) -> bool {
    bar(picture).is_some_and(|(percent, filled, length)| {
        let (least, most) = (percent * length / 100, (percent + 1) * length / 100);
        percent > 0 && filled > 0 && (least..=most).contains(&filled)
    })
}

async fn a_run_is_shown_with_how_far_it_is(terminal: &mut Terminal) {
    let picture = terminal.wait_for("a run under way", RUN_MAX, is_under_way).await.unwrap();
    let (percent, _, _) = bar(&picture).unwrap();
    let (_, line) = run_line(&picture).unwrap();
    assert!(line.contains(" bpb, ") && line.contains(" left "), "{line}");
    let is_further = |picture: &Picture| bar(picture).is_some_and(|(later, _, _)| later > percent);
    terminal.wait_for("the run goes on", SHOWN_MAX, is_further).await.unwrap();
}

async fn every_key_opens_the_page_that_it_says(terminal: &mut Terminal) {
    let digits = ["5", "4", "3", "2", "1"].into_iter().zip((0..PAGES.len()).rev());
    // Round once in either direction, with either key.
    let forth = [1, 2, 3, 4, 0];
    let back = [4, 3, 2, 1, 0];
    let steps = digits
        .chain(forth.map(|place| ("\t", place)))
        .chain(back.map(|place| (BACK_TAB, place)))
        .chain(forth.map(|place| (RIGHT, place)))
        .chain(back.map(|place| (LEFT, place)));
    for (key, place) in steps {
        press(terminal, key, PAGES[place].0, |picture| shows_page(picture, place)).await;
    }
    // Nothing else is a key.
    for key in ["x", "9", "\r"] {
        terminal.types(key).unwrap();
    }
    press(terminal, "2", "submissions", |picture| shows_page(picture, 1)).await;
}

/// What stands below the headline, which is another one every second.
fn below_headline(picture: &Picture) -> Vec<String> {
    picture.lines().split_off(pages_row(picture))
}

/// The list of submissions in a window that was large and is small is that of one that never was
/// anything else; and the other way round.
async fn another_size_leaves_nothing_of_the_one_before(node: &Node, terminal: &mut Terminal) {
    for size in [Size { columns: 72, rows: 20 }, NARROW, DESK] {
        let mut fresh = watching(node, size).await;
        press(&mut fresh, "2", "submissions", |picture| is_open(picture, 1)).await;
        terminal.resize(size).unwrap();
        let is_same =
            |picture: &Picture| below_headline(picture) == below_headline(&fresh.picture());
        let same = terminal.wait_for(&format!("as in {size:?}"), KEY_MAX, is_same).await;
        same.unwrap_or_else(|error| panic!("{error:#}\nwanted:\n{}", fresh.picture()));
        assert!(has_word(&terminal.picture()), "{}", terminal.picture());
        press(&mut fresh, "q", "left", |picture| !picture.is_taken()).await;
    }
}

/// - `ids`: the submissions, in the order of the list.
async fn a_list_is_scrolled_by_lines_and_pages(node: &Node, ids: &[String]) {
    let mut terminal = watching(node, LOW).await;
    press(&mut terminal, "2", "submissions", |picture| shows_page(picture, 1)).await;
    let end = ids.len() - LOW_ROWS;
    let steps = [
        (DOWN, 1),
        ("j", 2),
        (UP, 1),
        ("k", 0),
        ("k", 0),
        (PAGE_DOWN, LOW_ROWS),
        (PAGE_DOWN, end),
        (DOWN, end),
        (PAGE_UP, end - LOW_ROWS),
        (HOME, 0),
    ];
    for (key, from) in steps {
        let wanted = &ids[from..from + LOW_ROWS];
        let is_there = |picture: &Picture| {
            let rows: Vec<String> = picture.lines();
            let rows = rows.iter().skip(pages_row(picture) + 2).take(LOW_ROWS);
            let shown = rows.map(|row| row.split(' ').next().unwrap_or_default());
            shown.eq(wanted.iter().map(String::as_str))
        };
        press(&mut terminal, key, &format!("from row {from} on"), is_there).await;
    }
}

async fn a_narrow_window_shows_the_beginning_of_everything(node: &Node) {
    let mut terminal = watching(node, NARROW).await;
    for (place, (title, begin)) in PAGES.into_iter().enumerate() {
        let digit = (place + 1).to_string();
        let is_there = |picture: &Picture| {
            let body = body_line(picture);
            // The titles of the last pages are cut off.
            let is_open =
                is_open(picture, place) || (place > LEASES && body.starts_with(begin.trim_end()));
            is_open && !body.is_empty() && has_word(picture)
        };
        press(&mut terminal, &digit, title, is_there).await;
        let picture = terminal.picture();
        let keys = picture.lines().pop().unwrap();
        assert!(keys.starts_with(" q leave"), "{picture}");
    }
    press(&mut terminal, "q", "left", |picture| !picture.is_taken()).await;
    assert_eq!(terminal.wait_for_end(KEY_MAX).await.unwrap(), u32::from(ExitReason::Done.code()));
}

/// Smaller than anything can be shown in, and back before the program has looked: what stood
/// outside is drawn again, and the key that came with it is handled.
async fn keys_and_sizes_that_come_together_are_both_handled(node: &Node) {
    let mut terminal = watching(node, NARROW).await;
    let pages = [1, 0].into_iter().cycle().take(SIZES_AND_KEYS);
    for place in pages {
        for size in [Size { columns: 20, rows: 4 }, NARROW] {
            terminal.resize(size).unwrap();
        }
        let is_whole = |picture: &Picture| {
            let keys = picture.lines().pop().unwrap();
            let has_body = !body_line(picture).is_empty();
            is_open(picture, place) && has_word(picture) && has_body && keys.starts_with(" q leave")
        };
        let digit = (place + 1).to_string();
        press(&mut terminal, &digit, "a page, in a window that was small", is_whole).await;
    }
}

/// The moment of which the snapshot is, and its age as it is said.
fn snapshot(picture: &Picture) -> Option<(String, String)> {
    let line = picture.line(0);
    let (at, age) = line.split_once("  snapshot of ")?.1.rsplit_once(", ")?;
    Some((at.to_owned(), age.strip_suffix(" ago")?.to_owned()))
}

async fn a_node_that_goes_away_is_told_of_and_comes_back_by_itself(
    node: &mut Node,
    terminal: &mut Terminal,
) {
    press(terminal, "1", "overview", |picture| shows_page(picture, 0)).await;
    node.kill().await.unwrap();
    let is_gone =
        |picture: &Picture| picture.line(0).starts_with(GONE) && snapshot(picture).is_some();
    let picture = terminal.wait_for("that it is gone", SHOWN_MAX, is_gone).await.unwrap();
    let (since, age) = snapshot(&picture).unwrap();
    // What was known last is still there, and how long ago that was goes on.
    assert!(picture.lines().iter().any(|line| line.starts_with("cpu-0 ")), "{picture}");
    let is_older = |picture: &Picture| {
        snapshot(picture).is_some_and(|(at, later)| at == since && later != age)
    };
    terminal.wait_for("its age goes on", SHOWN_MAX, is_older).await.unwrap();

    node.start(None).unwrap();
    let is_back = |picture: &Picture| {
        has_word(picture) && !picture.line(0).starts_with(GONE) && snapshot(picture).is_none()
    };
    terminal.wait_for("that it is back", READY_MAX, is_back).await.unwrap();
}

async fn every_way_out_puts_the_terminal_back(node: &Node) {
    for key in ["q", ESCAPE, CTRL_C] {
        let mut terminal = watching(node, DESK).await;
        terminal.types(key).unwrap();
        has_left(&mut terminal, key, ExitReason::Done).await;
    }
    let mut terminal = watching(node, DESK).await;
    let pid = terminal.process_id().unwrap().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    has_left(&mut terminal, "a signal", ExitReason::LeftAtOnce).await;
}

async fn has_left(terminal: &mut Terminal, way: &str, exit: ExitReason) {
    let code = terminal.wait_for_end(KEY_MAX).await.unwrap();
    assert_eq!(code, u32::from(exit.code()), "{way:?}");
    let is_back = |picture: &Picture| !picture.is_taken() && !picture.is_cursor_hidden();
    let picture = terminal.wait_for("the screen as it was", KEY_MAX, is_back).await.unwrap();
    assert!(picture.lines().iter().all(String::is_empty), "{way:?} leaves\n{picture}");
    assert!(terminal.has_modes_of_start(), "{way:?}: what is typed is not shown any more");
}

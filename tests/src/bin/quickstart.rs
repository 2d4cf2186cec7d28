//! What a newcomer runs first: a local chain, two validators, six miners, one epoch of weights.
//!
//! Started by `scripts/quickstart`, which installs and builds what this needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use assay_tests::chain::ChainOptions;
use assay_tests::lab::{Lab, NETUID};
use assay_tests::node::{node_dir, Node};
use assay_tests::submissions::{packed_fixture, packed_traversal, Packed};
use clap::Parser;
use comfy_table::{presets, Table};
use node_core::id::{ContentDigest, Hotkey};
use node_daemon::status::{grouped, StatusReport, SubmissionStage, SubmissionStatus};
use tokio::time::Instant;

/// How long the whole way may take.
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Run a subnet on this machine: a chain, two validators, six miners.
#[derive(Debug, Parser)]
#[command(name = "quickstart")]
struct Arguments {
    /// Leave everything running until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Where configurations, logs and data go; a temporary directory if not given.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A miner's part in the story.
struct Miner {
    name: &'static str,
    about: &'static str,
    expected: Expected,
    packed: Packed,
    /// The only validator that is given the archive; the other one fetches it by digest.
    only_at: Option<u16>,
}

enum Expected {
    Scored,
    Ending(&'static str),
    Rule(&'static str),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(until_interrupted(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("\nerror: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the story; whatever ends it, everything that was started is ended too.
async fn until_interrupted(arguments: &Arguments) -> anyhow::Result<()> {
    let temporary = tempfile::Builder::new().prefix("assay-quickstart-").tempdir()?;
    let dir = arguments.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir)?;
    let dir = dir.canonicalize()?;
    let mut nodes = Vec::new();
    let mut interrupted = std::pin::pin!(interrupted());
    let result = tokio::select! {
        result = story(&dir, &mut nodes, arguments.keep) => result,
        () = &mut interrupted => Err(anyhow::anyhow!("interrupted")),
    };
    if !nodes.is_empty() {
        say("\nstopping what was started ...");
    }
    for node in &mut nodes {
        node.end().await;
    }
    if result.is_err() && arguments.dir.is_none() {
        let kept = temporary.keep();
        say(&format!("logs are kept in {}", kept.display()));
    }
    result
}

async fn interrupted() {
    let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn story(dir: &Path, nodes: &mut Vec<Node>, keep: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    step(&started, "starting the local chain: 2 validators, 6 miners, an epoch each 30 blocks");
    for validator in 0..2 {
        forget(&node_dir(dir, &format!("validator{validator}")).join("data"))?;
    }
    let lab = Lab::start(dir, &ChainOptions::default()).await?;
    let miners = miners()?;
    step(&started, &format!("chain at {}; files in {}", lab.chain.url(), dir.display()));
    for validator in 0..2 {
        let mut node = lab.node(validator, "")?;
        node.start(None)?;
        nodes.push(node);
    }
    for node in nodes.iter_mut() {
        let report = node.wait_for("ready", Duration::from_secs(90), |r| r.ready.ready).await?;
        let name = node.name().to_owned();
        step(&started, &format!("{name} is ready: hotkey {}", report.node.hotkey));
    }
    for (index, miner) in (0u16..).zip(&miners) {
        let contents = miner.only_at.map_or_else(|| lab.shared_contents(), |v| lab.own_contents(v));
        match miner.expected {
            Expected::Rule(_) => lab.submit_unchecked(index, &contents, &miner.packed).await?,
            Expected::Scored | Expected::Ending(_) => {
                lab.submit(index, &contents, &miner.packed).await?
            }
        };
        step(&started, &format!("miner{index} committed `{}`: {}", miner.name, miner.about));
    }
    follow(&started, nodes, miners.len()).await?;
    let reports = land(&started, nodes, miners.len()).await?;
    show(&lab, nodes, &reports, &miners).await?;
    check(&lab, &reports, &miners).await?;
    say("\nEverything is as expected.");
    if keep {
        keep_running(nodes).await?;
    }
    Ok(())
}

/// Deletes what a node of an earlier quickstart in this directory stored: its chain is gone, and
/// the new one has the same first block. Its name stays, by which it finds containers it left.
fn forget(data_dir: &Path) -> anyhow::Result<()> {
    if !data_dir.join("identity.json").exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(data_dir)? {
        let path = entry?.path();
        if path.is_dir() {
            std::fs::remove_dir_all(&path)?;
        } else if path.file_name().is_some_and(|name| name != "instance") {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn miners() -> anyhow::Result<Vec<Miner>> {
    let scored = |name, about, only_at| -> anyhow::Result<Miner> {
        let packed = packed_fixture(name)?;
        Ok(Miner { name, about, expected: Expected::Scored, packed, only_at })
    };
    let bidirectional = packed_fixture("bidirectional")?;
    let raises = packed_fixture("raises")?;
    let traversal = packed_traversal()?;
    Ok(vec![
        scored("transformer-rope", "a small transformer", None)?,
        scored("ssm", "a state-space model", Some(0))?,
        scored("bigram", "counts of byte pairs", Some(1))?,
        Miner {
            name: "bidirectional",
            about: "a model that looks ahead",
            expected: Expected::Ending("untrained_not_causal"),
            packed: bidirectional,
            only_at: None,
        },
        Miner {
            name: "traversal",
            about: "an archive with a path out of it",
            expected: Expected::Rule("archive-traversal"),
            packed: traversal,
            only_at: None,
        },
        Miner {
            name: "raises",
            about: "a program that fails",
            expected: Expected::Ending("submission_failed"),
            packed: raises,
            only_at: None,
        },
    ])
}

/// Says what happens until both nodes know the result of every submission.
async fn follow(started: &Instant, nodes: &mut [Node], count: usize) -> anyhow::Result<()> {
    let mut said = BTreeSet::new();
    loop {
        let mut settled = 0;
        for node in nodes.iter_mut() {
            node.process()?.check_alive()?;
            let Ok(report) = node.status().await else { continue };
            for line in news(node.name(), &report) {
                if said.insert(line.clone()) {
                    step(started, &line);
                }
            }
            settled += usize::from(is_settled(&report, count));
        }
        if settled == nodes.len() {
            return Ok(());
        }
        anyhow::ensure!(started.elapsed() < LIMIT, "not settled within {LIMIT:?}");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn is_settled(report: &StatusReport, count: usize) -> bool {
    let is_over = |submission: &SubmissionStatus| {
        matches!(
            submission.stage,
            SubmissionStage::Rejected | SubmissionStage::Scored | SubmissionStage::Failed
        )
    };
    report.submissions.len() == count && report.submissions.iter().all(is_over)
}

fn news(name: &str, report: &StatusReport) -> Vec<String> {
    let mut lines = Vec::new();
    for run in &report.runs {
        let submission = run.submission.short();
        let percent = run
            .progress
            .filter(|progress| progress.total_bytes > 0)
            .map_or(0, |progress| progress.covered_bytes * 4 / progress.total_bytes * 25);
        lines.push(format!("{name} runs {submission} on {}: {percent} %", run.device));
    }
    for submission in &report.submissions {
        let id = submission.id.short();
        let detail = match (&submission.rule, &submission.ending, submission.points) {
            (Some(rule), _, _) => format!(" by rule {rule}"),
            (_, Some(ending), _) => format!(": {ending}"),
            (_, _, Some(points)) => format!(" with {} points", grouped(points)),
            _ => String::new(),
        };
        lines.push(format!("{name} has {id} as {}{detail}", submission.stage.name()));
    }
    lines
}

/// Waits until both nodes landed a vector that was computed with every result known.
async fn land(
    started: &Instant,
    nodes: &mut [Node],
    count: usize,
) -> anyhow::Result<Vec<StatusReport>> {
    let mut reports = Vec::new();
    for node in nodes.iter_mut() {
        let name = node.name().to_owned();
        let settled = node.status().await?;
        let wanted = settled.submission_counts.scored;
        step(started, &format!("{name} waits for the end of the epoch to land its weights"));
        let has_landed = |report: &StatusReport| {
            let landed = report.weights.last_landed.as_ref();
            let positive =
                landed.map_or(0, |row| row.vector.iter().filter(|(_, w)| *w > 0).count() as u64);
            is_settled(report, count) && positive == wanted
        };
        let report = node.wait_for("landed weights", Duration::from_secs(180), has_landed).await?;
        let landed = report.weights.last_landed.as_ref().context("landed weights")?;
        let block = landed.block.map_or_else(String::new, |block| format!(" in block {block}"));
        step(started, &format!("{name} landed epoch {}{block}", landed.epoch));
        reports.push(report);
    }
    Ok(reports)
}

async fn show(
    lab: &Lab,
    nodes: &[Node],
    reports: &[StatusReport],
    miners: &[Miner],
) -> anyhow::Result<()> {
    let names: Vec<(Hotkey, &str)> =
        reports.iter().zip(nodes).map(|(r, node)| (r.node.hotkey, node.name())).collect();
    let name = |hotkey: Option<Hotkey>| {
        let known = names.iter().find(|(known, _)| Some(*known) == hotkey);
        known.map_or_else(|| "-".to_owned(), |(_, name)| (*name).to_owned())
    };
    let mut way = table(&[
        "miner",
        "submission",
        "result",
        "bits per byte",
        "points",
        "coordinator",
        "evaluated by",
    ]);
    let first = reports.first().context("a report")?;
    for (index, miner) in miners.iter().enumerate() {
        let Some(status) = find(first, &miner.packed.digest) else { continue };
        let ending = status.ending.clone().filter(|_| status.points.is_none());
        let result = status.rule.clone().or(ending);
        let bpb = status.metrics.as_ref().and_then(|metrics| metrics.train_microbpb);
        way.add_row(vec![
            format!("miner{index}"),
            miner.name.to_owned(),
            result.map_or_else(
                || status.stage.name().to_owned(),
                |why| format!("{}: {why}", status.stage.name()),
            ),
            bpb.map_or_else(|| "-".to_owned(), |micro| format!("{:.4}", to_units(micro))),
            status.points.map_or_else(|| "-".to_owned(), grouped),
            name(status.coordinator),
            name(status.worker),
        ]);
    }
    say(&format!("\nThe way of each submission, as {} sees it:\n{way}", nodes[0].name()));
    let mut weights =
        table(&["validator", "epoch", "weights read back from the chain (uid: weight)"]);
    for (node, report) in nodes.iter().zip(reports) {
        let uid = report.node.uid.context("a uid")?;
        let row = lab.chain.stored_weights(NETUID, uid.0).await?;
        let row: Vec<String> = row.iter().map(|(uid, w)| format!("{uid}: {w}")).collect();
        let epoch = report.weights.last_landed.as_ref().map(|landed| landed.epoch.to_string());
        weights.add_row(vec![node.name().to_owned(), epoch.unwrap_or_default(), row.join("  ")]);
    }
    say(&format!("\n{weights}"));
    for node in nodes {
        let (text, _) = node.status_command(&[]).await?;
        say(&format!("\n$ assay status   ({})\n{text}", node.name()));
    }
    Ok(())
}

/// The same claims that the end-to-end test makes.
async fn check(lab: &Lab, reports: &[StatusReport], miners: &[Miner]) -> anyhow::Result<()> {
    for report in reports {
        for miner in miners {
            let status = find(report, &miner.packed.digest).context("a submission is missing")?;
            let is_so = match miner.expected {
                Expected::Scored => status.stage == SubmissionStage::Scored,
                Expected::Ending(ending) => status.ending.as_deref() == Some(ending),
                Expected::Rule(rule) => status.rule.as_deref() == Some(rule),
            };
            anyhow::ensure!(is_so, "`{}` ended otherwise: {status:#?}", miner.name);
        }
        let landed = report.weights.last_landed.as_ref().context("no landed weights")?;
        let computed: Vec<(u16, u16)> = landed.vector.iter().map(|(uid, w)| (uid.0, *w)).collect();
        let uid = report.node.uid.context("a uid")?;
        let stored = lab.chain.stored_weights(NETUID, uid.0).await?;
        anyhow::ensure!(stored == computed, "stored {stored:?}, computed {computed:?}");
        let helped = report.receipts.iter().any(|receipt| {
            receipt.worker == report.node.hotkey && receipt.coordinator != report.node.hotkey
        });
        anyhow::ensure!(helped, "{} did none of the other's work", report.node.hotkey);
        for miner in miners.iter().filter(|miner| matches!(miner.expected, Expected::Scored)) {
            check_replicas(report, miner)?;
        }
    }
    Ok(())
}

/// Both validators ran it, and measured the same to the last digit.
fn check_replicas(report: &StatusReport, miner: &Miner) -> anyhow::Result<()> {
    let status = find(report, &miner.packed.digest).context("a submission is missing")?;
    let receipts = report.receipts.iter().filter(|receipt| receipt.submission == status.id);
    let measured: BTreeMap<Hotkey, Option<u64>> =
        receipts.map(|receipt| (receipt.worker, receipt.points)).collect();
    anyhow::ensure!(measured.len() == 2, "`{}` ran once: {measured:?}", miner.name);
    let is_same = measured.values().all(|points| *points == status.points);
    anyhow::ensure!(is_same, "`{}` got different points: {measured:?}", miner.name);
    Ok(())
}

async fn keep_running(nodes: &mut [Node]) -> anyhow::Result<()> {
    say("\nEverything keeps running; Ctrl-C ends it. To look around:");
    for node in nodes.iter() {
        say(&format!("  assay status --config {}", node.config_file().display()));
    }
    loop {
        for node in nodes.iter_mut() {
            node.process()?.check_alive()?;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn find<'a>(report: &'a StatusReport, content: &ContentDigest) -> Option<&'a SubmissionStatus> {
    report.submissions.iter().find(|submission| submission.content == *content)
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_header(header.to_vec());
    table
}

#[allow(clippy::cast_precision_loss, reason = "shown with four digits")]
fn to_units(micro: u64) -> f64 {
    micro as f64 / 1e6
}

fn step(started: &Instant, what: &str) {
    say(&format!("[{:>4} s] {what}", started.elapsed().as_secs()));
}

#[allow(clippy::print_stdout, reason = "this program talks to a person")]
fn say(what: &str) {
    println!("{what}");
}

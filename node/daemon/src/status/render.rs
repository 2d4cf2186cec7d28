//! A report as an operator reads it: how the node stands and what is wrong, then whether its key is
//! safe, whether it is in time, what runs, what waits and why, devices, peers, and what needs a
//! person.

use std::iter::{once, repeat};

use comfy_table::{CellAlignment, ContentArrangement, Table};
use node_core::funnel::TierReport;
use node_core::id::Hotkey;
use node_core::preflight::{CheckId, Level};
use node_core::unit::UnixMs;

use super::age::{clock_time, date_time, grouped, span};
use super::device::DeviceStatus;
use super::find::{Found, FoundStatus};
use super::health::NodeHealth;
use super::report::{
    Answering, ChainStatus, PeerStatus, RevealStatus, RunStatus, StatusReport, SubmissionStatus,
    WeightsIntent,
};
use super::watch::{CheckStatus, EndpointStatus, WatchStatus};

/// Rows of one table. Lower: a small subnet is cut off. Higher: what is wrong scrolls away.
const TABLE_ROWS_MAX: usize = 20;

/// Receipts shown; the rest is in `--json`.
const RECEIPT_ROWS_MAX: usize = 5;

/// Entries of a vector shown.
const VECTOR_ENTRIES_MAX: usize = 8;

/// Lines of why devices are given no run; the table below has each device. Lower: one of several
/// reasons is looked up there. Higher: what needs a person scrolls away.
const DEVICE_LINES_MAX: usize = 4;

/// Characters of a sentence in a table.
const DETAIL_CHARS_MAX: usize = 60;

/// The whole status, lines of text.
#[must_use]
pub fn render(status: &FoundStatus, now: UnixMs) -> String {
    let report = &status.report;
    let mut out = headline(status, now);
    for (name, text) in facts(report) {
        line(&mut out, name, &text);
    }
    out.push_str(&warnings(report));
    out.push_str(&devices_table(report));
    out.push_str(&submissions_table(report));
    out.push_str(&peers_table(report));
    out.push_str(&receipts_table(report));
    out
}

/// What stands under the headline: a name, or none where the last one goes on, and a line of text.
pub(crate) fn facts(report: &StatusReport) -> Vec<(&'static str, String)> {
    let mut facts = vec![("node", node_line(report))];
    facts.extend(named("safety", safety_lines(report).into_iter()));
    let chain = report.chain.as_ref().map(|chain| chain_line(chain, report.as_of));
    facts.push(("chain", chain.unwrap_or_else(|| "no block seen yet".to_owned())));
    let several = report.endpoints.iter().filter(|_| report.endpoints.len() > 1);
    facts.extend(several.map(|endpoint| ("", endpoint_line(endpoint))));
    facts.extend(weights_lines(report));
    facts.push(("runs", runs_line(report)));
    facts.push(("leases", leases_line(report)));
    facts.push(("submissions", submissions_line(report)));
    facts.push(("waiting", waiting_line(report)));
    facts.extend(named("funnel", report.funnel.tiers.iter().map(tier_line)));
    facts.extend(named("devices", devices_lines(report).into_iter()));
    facts.push(("peers", peers_line(report)));
    facts.extend(needs_lines(report));
    facts
}

/// The first of the lines gets the name.
fn named(
    name: &'static str,
    lines: impl Iterator<Item = String>,
) -> impl Iterator<Item = (&'static str, String)> {
    once(name).chain(repeat("")).zip(lines)
}

/// How key and journal stand; before the first block, what is known of them.
fn safety_lines(report: &StatusReport) -> Vec<String> {
    let mut lines: Vec<String> = report.safety_checks().map(CheckStatus::said).collect();
    if report.checks.is_empty() {
        let [signer, subnet] = [CheckId::Signer, CheckId::Subnet].map(CheckId::name);
        lines.push(format!("{signer}, {subnet}: not known before the first block"));
        lines.extend(report.journal.iter().map(|journal| journal.check().said()));
    }
    let not_safe = report.weights.not_safe.iter();
    lines.extend(not_safe.map(|reason| format!("nothing is signed now: {reason}")));
    lines
}

/// What needs a person; alarms stand at the top and are not said twice.
fn needs_lines(report: &StatusReport) -> Vec<(&'static str, String)> {
    let alarms: Vec<String> = alarmed(report).map(CheckStatus::said).collect();
    let needs = report.needs_person().into_iter().filter(|need| !alarms.contains(need));
    let lines: Vec<(&str, String)> = named("NEEDS YOU", needs).collect();
    match (lines.is_empty(), alarms.is_empty()) {
        (false, _) => lines,
        (true, true) => vec![("needs you", "nothing".to_owned())],
        (true, false) => vec![("needs you", "what stands at the top".to_owned())],
    }
}

/// Twelve characters of name, then the text.
fn line(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("{name:<12}{text}\n"));
}

fn headline(status: &FoundStatus, now: UnixMs) -> String {
    let report = &status.report;
    let mut out = String::new();
    let snapshot = || {
        let age = span(report.age_ms(now));
        format!("snapshot of {}, {age} ago", date_time(report.as_of))
    };
    // Whether it was ready says nothing about now; what was wrong then may matter.
    let at = if status.found == Found::Running { now } else { report.as_of };
    let wrong = report.wrong_at(at);
    match &status.found {
        Found::NotRunning => {
            out.push_str(&format!("NOT RUNNING  {}\n", snapshot()));
        }
        Found::NotAnswering { address, reason } => {
            out.push_str(&format!("NOT ANSWERING  at {address}: {reason}; {}\n", snapshot()));
        }
        Found::Running => {
            let up = span(report.as_of.0.saturating_sub(report.node.started_at.0));
            let health = report.health_at(now);
            let word = match report.node.is_stopping {
                true if health < NodeHealth::Unsafe => "STOPPING".to_owned(),
                true | false => health.name().to_uppercase(),
            };
            let as_of = format!("as of {}, up {up}", clock_time(report.as_of));
            match wrong.split_first() {
                Some((first, _)) => line(&mut out, &word, &format!("{first}   {as_of}")),
                None => line(&mut out, &word, &as_of),
            }
        }
    }
    let more = match status.found {
        Found::Running => wrong.get(1..).unwrap_or_default(),
        Found::NotRunning | Found::NotAnswering { .. } => &wrong,
    };
    for reason in more {
        line(&mut out, "", reason);
    }
    out
}

fn alarmed(report: &StatusReport) -> impl Iterator<Item = &CheckStatus> {
    report.checks.iter().filter(|check| check.is(Level::Alarm))
}

/// What may go wrong soon, a line each.
fn warnings(report: &StatusReport) -> String {
    let mut out = String::new();
    for check in report.warnings() {
        line(&mut out, "warning", &check.said());
    }
    out
}

fn node_line(report: &StatusReport) -> String {
    let node = &report.node;
    let uid = node.uid.map_or_else(|| "not registered".to_owned(), |uid| format!("uid {uid}"));
    format!("{}, {uid} on subnet {}, version {}", node.hotkey, node.netuid, node.version)
}

fn chain_line(chain: &ChainStatus, as_of: UnixMs) -> String {
    format!(
        "best {}, finalized {} ({})   last finalized {} ago   runtime {}   {}",
        grouped(chain.best_number.0.max(chain.finalized_number.0)),
        grouped(chain.finalized_number.0),
        chain.finalized_hash.short(),
        span(as_of.0.saturating_sub(chain.finalized_seen_at.0)),
        chain.spec_version,
        endpoint(chain),
    )
}

fn endpoint(chain: &ChainStatus) -> String {
    match (chain.endpoint_index, chain.endpoint.as_str()) {
        (_, "") => "endpoint: connecting".to_owned(),
        (0, url) => format!("endpoint {url}"),
        (index, url) => format!("endpoint {index} of {}: {url}", chain.endpoints),
    }
}

/// How one of several endpoints stands.
fn endpoint_line(endpoint: &EndpointStatus) -> String {
    let block = |number: Option<node_core::unit::BlockNumber>| {
        number.map_or_else(|| "?".to_owned(), |number| grouped(number.0))
    };
    let state = match (endpoint.is_active, endpoint.is_connected, endpoint.genesis.as_str()) {
        (_, _, "wrong") => "WRONG CHAIN",
        (true, _, _) => "active",
        (false, true, _) => "standby",
        (false, false, _) => "not connected",
    };
    let mut parts = vec![
        format!("{} {}: {state}", endpoint.place, endpoint.endpoint),
        format!(
            "best {}, finalized {}",
            block(endpoint.best_number),
            block(endpoint.finalized_number)
        ),
    ];
    // A demotion says why, and for lag it says how much.
    let lag = endpoint.lag.filter(|lag| lag.0 > 0 && endpoint.demotion.is_none());
    parts.extend(lag.map(|lag| format!("{} behind", blocks(lag.0))));
    parts.extend(endpoint.latency_ms.map(|ms| format!("{ms} ms")));
    parts.extend(endpoint.demotion.clone());
    parts.extend(endpoint.backed_off_for_ms.map(|ms| format!("left alone for {}", span(ms))));
    if endpoint.failures > 0 {
        let why = endpoint.last_error.as_deref().unwrap_or("unknown");
        parts.push(format!("{} failures, the last: {}", endpoint.failures, clip(why)));
    }
    parts.join("   ")
}

fn weights_lines(report: &StatusReport) -> Vec<(&'static str, String)> {
    let weights = &report.weights;
    let landed = match &weights.last_landed {
        Some(landed) => format!(
            "epoch {} landed at {}{}: {}",
            grouped(landed.epoch.0),
            landed.block.map_or_else(|| "?".to_owned(), |block| grouped(block.0)),
            landed
                .vector_hash
                .map_or_else(String::new, |hash| format!(", vector {}", hash.short())),
            vector(landed),
        ),
        None => "none has landed".to_owned(),
    };
    let mut lines = vec![("weights", landed)];
    if let Some(latest) = weights.latest.as_ref().filter(|latest| latest.state != "landed") {
        let mut text = format!("epoch {} {}", grouped(latest.epoch.0), way(latest));
        // Of a dry run that is all there is to see.
        if latest.state == "abandoned" && latest.extrinsic_hash.is_none() {
            text.push_str(&format!("; it was {}", vector(latest)));
        }
        lines.push(("", text));
    }
    if let Some(text) = report.watch.as_ref().and_then(since_update) {
        lines.push(("", text));
    }
    let due = match (weights.epoch, weights.next_epoch_block, weights.blocks_left) {
        (Some(epoch), Some(block), Some(left)) => format!(
            "epoch {} ends at {}, in {}",
            grouped(epoch.0),
            grouped(block.0),
            blocks(left.0),
        ),
        _ => "no epoch is due".to_owned(),
    };
    let restart = if weights.safe_to_restart { "safe" } else { "not safe" };
    let form = weights.form.as_ref().map_or_else(String::new, |form| format!(", {form}"));
    lines.push(("", format!("{due}; mode {}{form}; {restart} to restart", weights.mode)));
    lines.extend(weights.reveal_due.as_ref().map(|reveal| ("", reveal_text(reveal))));
    lines
}

/// Which hash commit has to be revealed, and until when.
pub(crate) fn reveal_text(reveal: &RevealStatus) -> String {
    let when = match (reveal.is_now, reveal.from, reveal.until) {
        (true, _, Some(until)) => format!("now, before block {}", grouped(until.0)),
        (true, _, None) => "now".to_owned(),
        (false, Some(from), _) => format!("from block {} on", grouped(from.0)),
        (false, None, _) => "later".to_owned(),
    };
    let (epoch, opens_in) = (grouped(reveal.epoch.0), grouped(reveal.opens_in.0));
    format!(
        "epoch {epoch} has to be revealed in epoch {opens_in}, {when}; the node has to run then"
    )
}

/// How far a vector got, and what comes next.
pub(crate) fn way(intent: &WeightsIntent) -> String {
    let stage = if intent.stage.is_empty() { &intent.state } else { &intent.stage };
    let mut text = stage.replace('_', " ");
    if let Some(block) = intent.block {
        text.push_str(&format!(" at {}", grouped(block.0)));
    }
    if matches!(stage.as_str(), "signed" | "sent") {
        if let (Some(nonce), Some(end)) = (intent.nonce, intent.era_end) {
            text.push_str(&format!(", nonce {nonce}, valid until block {}", grouped(end.0)));
        }
    }
    let is_closed = matches!(stage.as_str(), "sent" | "in_block" | "finalized" | "committed");
    if let Some(epoch) = intent.opens_in.filter(|_| is_closed) {
        text.push_str(&format!(", opens in epoch {}", grouped(epoch.0)));
        if let Some(round) = intent.round {
            text.push_str(&format!(" at round {}", grouped(round)));
        }
    }
    if let Some(block) = intent.revealed_at {
        text.push_str(&format!(", open in {}", grouped(block.0)));
    }
    if let Some(reason) = &intent.reason {
        text.push_str(&format!(": {reason}"));
    }
    text
}

/// By the chain's own record, whatever this node believes.
fn since_update(watch: &WatchStatus) -> Option<String> {
    let milli = watch.millitempos_since_update?;
    let ago = blocks(watch.blocks_since_update?.0);
    let tempos = format!("{}.{:02}", milli / 1000, milli % 1000 / 10);
    Some(format!("last update on chain {tempos} tempos ago ({ago})"))
}

/// A number of blocks, in words.
pub(crate) fn blocks(count: u64) -> String {
    let word = if count == 1 { "block" } else { "blocks" };
    format!("{} {word}", grouped(count))
}

fn vector(intent: &WeightsIntent) -> String {
    let shown = intent.vector.iter().take(VECTOR_ENTRIES_MAX);
    let entries: Vec<String> = shown.map(|(uid, weight)| format!("{uid}={weight}")).collect();
    match intent.vector.len().checked_sub(VECTOR_ENTRIES_MAX) {
        Some(more) if more > 0 => format!("{} and {more} more", entries.join(" ")),
        _ => entries.join(" "),
    }
}

/// Runs of this node and how many of its devices could begin another.
fn runs_line(report: &StatusReport) -> String {
    let count = |state: &str| report.runs.iter().filter(|run| run.state == state).count();
    let (running, all) = (count("running"), report.devices.len());
    let free = report.devices.iter().filter(|device| device.is_free()).count();
    let handed_in = report.runs.len().saturating_sub(running);
    let devices = if all == 1 { "1 device".to_owned() } else { format!("{all} devices") };
    let mut text = format!("{running} running; {free} of {devices} free");
    if handed_in > 0 {
        text.push_str(&format!("; {handed_in} being handed in"));
    }
    text
}

/// What submissions wait for, most of them first.
fn waiting_line(report: &StatusReport) -> String {
    let reason = |(reason, count): (&str, u64)| format!("{count} for {reason}");
    let reasons: Vec<String> = report.waiting().into_iter().map(reason).collect();
    if reasons.is_empty() {
        return "nothing".to_owned();
    }
    format!("{}; `assay explain` says more of each", reasons.join(", "))
}

/// How many devices runs may be given, and why not the others: those of one reason in a line.
fn devices_lines(report: &StatusReport) -> Vec<String> {
    let all = report.devices.len();
    if all == 0 {
        return vec!["there are none".to_owned()];
    }
    let mut others: Vec<(String, Vec<String>)> = Vec::new();
    for device in &report.devices {
        let Some(why) = device.why_not() else { continue };
        match others.iter_mut().find(|(known, _)| *known == why) {
            Some((_, devices)) => devices.push(device.short()),
            None => others.push((why, vec![device.short()])),
        }
    }
    let unusable: usize = others.iter().map(|(_, devices)| devices.len()).sum();
    let mut lines = vec![format!("{} of {all} usable", all.saturating_sub(unusable))];
    let shown = others.iter().take(DEVICE_LINES_MAX);
    lines.extend(shown.map(|(why, devices)| format!("{}: {why}", devices.join(", "))));
    let left_out = others.iter().skip(DEVICE_LINES_MAX).map(|(_, devices)| devices.len());
    let left_out: usize = left_out.sum();
    if left_out > 0 {
        lines.push(format!("and {left_out} more, as shown below"));
    }
    lines
}

/// How many of the other validators answer.
pub(crate) fn peers_line(report: &StatusReport) -> String {
    let [answer, fail, not_called] =
        [Answering::Answers, Answering::Fails, Answering::NotCalledYet]
            .map(|answering| report.peers_that(answering));
    match answer + fail + not_called {
        0 => "there are none".to_owned(),
        all if not_called > 0 => format!("{answer} of {all} answer; {not_called} not called yet"),
        all => format!("{answer} of {all} answer"),
    }
}

fn leases_line(report: &StatusReport) -> String {
    let leases = report.leases;
    let mut text =
        format!("{} open, {} granted, {} complete", leases.open, leases.granted, leases.complete);
    if leases.sealed > 0 {
        text.push_str(&format!(", {} sealed", leases.sealed));
    }
    if leases.exhausted > 0 {
        text.push_str(&format!(", {} exhausted: every attempt was lost", leases.exhausted));
    }
    text
}

fn submissions_line(report: &StatusReport) -> String {
    let counts = report.submission_counts;
    let mut text = format!(
        "{} committed, {} fetched, {} admitted, {} scored, {} rejected, {} failed",
        counts.committed,
        counts.fetched,
        counts.admitted,
        counts.scored,
        counts.rejected,
        counts.failed,
    );
    if counts.held > 0 {
        text.push_str(&format!(", {} held: `assay submissions` shows why", counts.held));
    }
    if counts.disputed > 0 {
        text.push_str(&format!(", {} disputed", counts.disputed));
    }
    text
}

/// How many got how far in a tier of the funnel.
fn tier_line(tier: &TierReport) -> String {
    let mut text = format!(
        "tier {}: {} entered, {} scored, {} passed",
        tier.tier, tier.entered, tier.scored, tier.passed
    );
    if tier.audits > 0 {
        text.push_str(&format!(" and {} as audits", tier.audits));
    }
    text
}

fn devices_table(report: &StatusReport) -> String {
    let mut table = table(&["device", "what", "memory", "run", "progress"]);
    for device in &report.devices {
        let run = report.runs.iter().find(|run| Some(run.run) == device.run);
        let (name, progress) = match run {
            Some(run) => (
                format!("{} attempt {}", run.run.short(), run.attempt),
                progress(run, report.as_of),
            ),
            None => (standing(device), String::new()),
        };
        let memory = format!("{} MiB", grouped(device.memory_mib));
        table.add_row([device.id.to_string(), device.label.clone(), memory, name, progress]);
    }
    titled("devices", report.devices.len(), report.devices.len(), table)
}

/// Why no run begins on a device; `free` if one may.
pub(crate) fn standing(device: &DeviceStatus) -> String {
    device.why_not().unwrap_or_else(|| device.state().name().to_owned())
}

/// How far a run is.
pub(crate) fn progress(run: &RunStatus, as_of: UnixMs) -> String {
    let elapsed = span(as_of.0.saturating_sub(run.started_at.0));
    let Some(progress) = run.progress else {
        return format!("{} for {elapsed}", run.state);
    };
    let percent = (progress.covered_bytes * 100).checked_div(progress.total_bytes).unwrap_or(0);
    let bpb = progress.microbpb.map_or_else(String::new, |bpb| format!(", {} bpb", micro(bpb)));
    let left = |seconds: u64| format!(", {} left", span(seconds.saturating_mul(1000)));
    let left = progress.remaining_s.map_or_else(String::new, left);
    format!("{percent} %{bpb}, {elapsed}{left}")
}

fn submissions_table(report: &StatusReport) -> String {
    let mut table =
        table(&["submission", "miner", "uid", "block", "stage", "points", "bpb", "worker", ""]);
    align_right(&mut table, &[2, 3, 5, 6]);
    for row in report.submissions.iter().take(TABLE_ROWS_MAX) {
        table.add_row(submission_row(row, worker(row, report)));
    }
    let counts = report.submission_counts;
    let all = counts.committed
        + counts.fetched
        + counts.admitted
        + counts.rejected
        + counts.scored
        + counts.failed
        + counts.disputed
        + counts.held;
    let all = usize::try_from(all).unwrap_or(usize::MAX);
    titled("submissions", all, report.submissions.len().min(TABLE_ROWS_MAX), table)
}

/// Who evaluates or evaluated it; a run of this node is what its operator looks for.
fn worker(row: &SubmissionStatus, report: &StatusReport) -> String {
    if report.runs.iter().any(|run| run.submission == row.id) {
        return "runs here".to_owned();
    }
    row.worker.as_ref().map(Hotkey::short).unwrap_or_default()
}

fn submission_row(row: &SubmissionStatus, worker: String) -> [String; 9] {
    let bpb = row.metrics.and_then(|metrics| metrics.train_microbpb);
    [
        row.id.short(),
        row.hotkey.short(),
        row.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
        grouped(row.committed_at.0),
        row.stage.name().to_owned(),
        row.points.map(grouped).unwrap_or_default(),
        bpb.map(micro).unwrap_or_default(),
        worker,
        said_of(row),
    ]
}

/// What it waits for, or what became of it.
pub(crate) fn said_of(row: &SubmissionStatus) -> String {
    let waits = row.waits_for.as_ref().map(|reason| clip(&format!("waits for {reason}")));
    waits.or_else(|| row.detail.as_deref().map(clip)).unwrap_or_default()
}

fn peers_table(report: &StatusReport) -> String {
    let mut table = table(&["peer", "uid", "endpoint", "last answer", "receipts", ""]);
    align_right(&mut table, &[1, 4]);
    let others: Vec<&PeerStatus> = report.peers.iter().filter(|peer| !peer.is_self).collect();
    for peer in others.iter().take(TABLE_ROWS_MAX) {
        let age = |at: UnixMs| format!("{} ago", span(report.as_of.0.saturating_sub(at.0)));
        let endpoint = peer.endpoint.map(|endpoint| endpoint.to_string());
        table.add_row([
            peer.hotkey.short(),
            peer.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
            endpoint.unwrap_or_else(|| "not published".to_owned()),
            peer.last_answer_at.map_or_else(|| "never".to_owned(), age),
            peer.receipts_until.to_string(),
            clip(peer.why_silent()),
        ]);
    }
    titled("peers", others.len(), others.len().min(TABLE_ROWS_MAX), table)
}

fn receipts_table(report: &StatusReport) -> String {
    let mut table = table(&["receipt", "submission", "worker", "coordinator", "ending", "points"]);
    align_right(&mut table, &[5]);
    for receipt in report.receipts.iter().take(RECEIPT_ROWS_MAX) {
        table.add_row([
            receipt.assignment.short(),
            receipt.submission.short(),
            receipt.worker.short(),
            receipt.coordinator.short(),
            receipt.ending.clone(),
            receipt.points.map(grouped).unwrap_or_default(),
        ]);
    }
    titled("receipts", report.receipts.len(), report.receipts.len().min(RECEIPT_ROWS_MAX), table)
}

/// An empty table without lines, its columns two spaces apart.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// An empty line, the table, and what it leaves out. Nothing for a table without rows.
fn titled(name: &str, all: usize, shown: usize, table: Table) -> String {
    if shown == 0 {
        return String::new();
    }
    let mut out = String::from("\n");
    for line in table.lines() {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    if all > shown {
        out.push_str(&format!("... and {} more {name} (`--json` has more)\n", all - shown));
    }
    out
}

/// Bits per byte with four decimals.
pub(crate) fn micro(value: u64) -> String {
    let tenths_of_milli = (value + 50) / 100;
    format!("{}.{:04}", tenths_of_milli / 10_000, tenths_of_milli % 10_000)
}

fn clip(text: &str) -> String {
    let text = text.replace(char::is_control, " ");
    if text.chars().count() <= DETAIL_CHARS_MAX {
        return text;
    }
    text.chars().take(DETAIL_CHARS_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use node_core::inventory::DeviceId;

    use super::*;
    use crate::status::sample;

    fn now() -> UnixMs {
        UnixMs(sample::healthy().as_of.0 + 2_000)
    }

    #[test]
    fn a_healthy_node_says_so_and_shows_what_it_does() {
        let status = FoundStatus { report: sample::healthy(), found: Found::Running };
        insta::assert_snapshot!(render(&status, now()));
    }

    #[test]
    fn what_is_wrong_stands_first() {
        let status = FoundStatus { report: sample::degraded(), found: Found::Running };
        insta::assert_snapshot!(render(&status, now()));
    }

    #[test]
    fn a_snapshot_says_that_it_is_one_and_as_of_when() {
        let status = FoundStatus { report: sample::healthy(), found: Found::NotRunning };
        let later = UnixMs(sample::healthy().as_of.0 + 845_000);
        let text = render(&status, later);
        assert_eq!(
            text.lines().next(),
            Some("NOT RUNNING  snapshot of 2026-03-04 12:04:31Z, 14 min 05 s ago"),
        );
        assert!(!text.contains("HEALTHY"), "{text}");
    }

    #[test]
    fn a_node_that_hangs_is_not_called_healthy() {
        let status = FoundStatus { report: sample::healthy(), found: Found::Running };
        let later = UnixMs(sample::healthy().as_of.0 + 120_000);
        let text = render(&status, later);
        assert!(text.starts_with("DEGRADED "), "{text}");
        assert!(text.contains("has not reported for 120 s"), "{text}");
    }

    #[test]
    fn one_block_is_one_block_and_a_lost_endpoint_is_being_connected() {
        let mut report = sample::healthy();
        report.weights.blocks_left = Some(node_core::unit::BlockCount(1));
        if let Some(chain) = &mut report.chain {
            (chain.endpoint, chain.endpoint_index) = (String::new(), 0);
        }
        let text = render(&FoundStatus { report, found: Found::Running }, now());
        assert!(text.contains(", in 1 block;"), "{text}");
        assert!(text.contains("   endpoint: connecting\n"), "{text}");
    }

    #[test]
    fn a_node_before_its_first_block_has_no_tables() {
        let status = FoundStatus { report: sample::starting(), found: Found::Running };
        insta::assert_snapshot!(render(&status, now()));
    }

    fn said(report: StatusReport) -> String {
        render(&FoundStatus { report, found: Found::Running }, now())
    }

    #[test]
    fn before_the_first_block_safety_is_what_is_known_of_it() {
        let mut report = sample::starting();
        report.journal = Some(crate::status::JournalStatus::new(100 << 20));
        let text = said(report);
        let lines = "safety      signer, subnet: not known before the first block\n            \
                     journal: signed.journal has 100 MiB, 9 % of what it may have\n";
        assert!(text.contains(lines), "{text}");
    }

    #[test]
    fn devices_that_take_no_run_are_no_free_ones_and_say_why_above_the_peers() {
        let other = DeviceId("GPU-aaaabbbbcccc".to_owned());
        let other = DeviceStatus { id: other, ..sample::unused_gpu() };
        let mut report = sample::healthy();
        report.devices.extend([sample::unused_gpu(), sample::gone_gpu(), other]);
        let text = said(report.clone());
        assert!(text.contains("runs        1 running; 1 of 5 devices free\n"), "{text}");
        let lines = "devices     2 of 5 usable\n            \
                     GPU-2c6d0f3b, GPU-aaaabbbb: not used: is a gpu, a cpu_slot is \
                     needed\n            \
                     GPU-09e1d3aa: gone since 2026-03-04 10:01:31Z; it was cordoned: Xid 79, the \
                     GPU has fallen off the bus\npeers       1 of 2 answer\n";
        assert!(text.contains(lines), "{text}");
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("GPU-")).collect();
        assert!(rows.len() == 3 && rows.iter().all(|row| !row.ends_with("free")), "{text}");
        let each_its_own = (0..6).map(|number| DeviceStatus {
            obstacle: Some(format!("reason {number}")),
            ..sample::unused_gpu()
        });
        report.devices = each_its_own.collect();
        let text = said(report);
        assert!(text.contains("devices     0 of 6 usable\n"), "{text}");
        assert!(text.contains("not used: reason 3\n            and 2 more, as shown"), "{text}");
    }

    #[test]
    fn a_peer_that_was_not_called_yet_is_not_said_to_answer() {
        let mut report = sample::healthy();
        report.peers[1].last_answer_at = None;
        let text = said(report);
        assert!(text.contains("peers       0 of 2 answer; 1 not called yet\n"), "{text}");
        let row = text.lines().find(|line| line.starts_with("5C7LYpP2 ")).unwrap();
        assert!(row.contains("never") && row.ends_with("  not called yet"), "{text}");
    }

    #[test]
    fn a_dry_run_shows_the_vector_that_was_not_signed() {
        let mut report = sample::healthy();
        let mut latest = report.weights.last_landed.take().unwrap();
        latest.state = "abandoned".to_owned();
        latest.stage = "abandoned".to_owned();
        latest.reason = Some("dry run: nothing is signed".to_owned());
        (latest.block, latest.extrinsic_hash) = (None, None);
        report.weights.latest = Some(latest);
        let text = render(&FoundStatus { report, found: Found::Running }, now());
        let told = "abandoned: dry run: nothing is signed; it was 0=6553 1=13106";
        assert!(text.contains(told), "{text}");
    }

    #[test]
    fn a_reveal_that_is_due_is_told_with_its_last_block() {
        let mut report = sample::healthy();
        let mut reveal = crate::status::RevealStatus {
            epoch: node_core::unit::EpochIndex(13_367),
            opens_in: node_core::unit::EpochIndex(13_368),
            is_now: true,
            from: Some(node_core::unit::BlockNumber(4_812_258)),
            until: Some(node_core::unit::BlockNumber(4_812_618)),
        };
        report.weights.reveal_due = Some(reveal.clone());
        let text = render(&FoundStatus { report: report.clone(), found: Found::Running }, now());
        assert!(text.contains("in epoch 13 368, now, before block 4 812 618;"), "{text}");
        (reveal.is_now, reveal.until) = (false, None);
        report.weights.reveal_due = Some(reveal);
        let text = render(&FoundStatus { report, found: Found::Running }, now());
        assert!(text.contains("from block 4 812 258 on; the node has to run then"), "{text}");
    }

    #[test]
    fn foreign_text_cannot_break_the_table() {
        assert_eq!(clip("two\nlines\u{1b}[2J"), "two lines [2J");
        assert_eq!(clip(&"x".repeat(200)).chars().count(), DETAIL_CHARS_MAX);
    }
}

//! `assay devices`.

use clap::Args;
use node_core::health::{Finding, Level, Standing};
use node_core::limits::FAILURES_IN_A_DAY_MAX;

use super::report::{look, Asked};
use super::runtime::block_on;
use super::watch::watch;
use super::ConfigFlags;
use crate::config::DataDir;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{grouped, span, table, DeviceStatus, HealthStatus, StatusReport};

/// Characters of a device's name in a table: enough to tell one from the other.
const SHORT_CHARS: usize = 12;

const EXAMPLES: &str = "\
Examples:
  assay devices                  what this host runs on, and how it stands
  assay devices --watch          the same, every second
  assay devices --json | jq '.[] | select(.health.level == \"CRITICAL\") | .id'

A device stands `healthy`; `suspect`: a fault was seen, the run on it may end; `cordoned`: it rests;
`probing`; or `failed`: three failures in a day, and `assay device uncordon` gives it back. An
operator's order keeps a healthy one from runs too. One that an earlier life of the node knew, and
that was not found when this one began, is `gone`; `assay device uncordon` forgets it. What is known
against a device stands below the table with what to do about it.

Exit codes: 0 shown, and every device may be given runs; 1 one of them may not; 3 not running or not
answering (what is shown is the last snapshot).";

/// Show this host's devices: what runs on them and whether they are trusted.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DevicesCommand {
    /// Print JSON: a list, one entry per device
    #[arg(long)]
    json: bool,

    /// Print again every second, until interrupted
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl DevicesCommand {
    /// Prints them.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to show.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let settings = self.flags.settings();
        let data_dir = settings.section(DataDir::read).map_err(Failure::bad_configuration)?;
        block_on(async {
            if self.watch {
                let show = async || self.show(&data_dir).await.map(|(text, _)| text);
                return watch(self.json, show).await;
            }
            let (text, exit) = self.show(&data_dir).await?;
            output::print(&text)?;
            Ok(exit)
        })
        .map_err(Failure::unexpected)?
    }

    async fn show(&self, data_dir: &DataDir) -> Result<(String, ExitReason), Failure> {
        let Asked { report, headline, exit } = look(data_dir).await?;
        let is_usable =
            |device: &DeviceStatus| health(device).is_none_or(|health| health.unusable.is_none());
        let exit = match exit {
            ExitReason::Done if !report.devices.iter().all(is_usable) => ExitReason::Failed,
            other => other,
        };
        let text = if self.json {
            serde_json::to_string_pretty(&report.devices).map_err(Failure::unexpected)?
        } else {
            format!("{headline}{}", render(&report))
        };
        Ok((text, exit))
    }
}

fn health(device: &DeviceStatus) -> Option<&HealthStatus> {
    device.health.as_ref()
}

/// A device's name, cut to what tells it from others.
pub(super) fn short(device: &DeviceStatus) -> String {
    device.id.0.chars().take(SHORT_CHARS).collect()
}

/// Every device with its run, and what is known against each.
pub(super) fn render(report: &StatusReport) -> String {
    if report.devices.is_empty() {
        return "this host has no device: see `devices.cpu_slots` and `devices.gpus`\n".to_owned();
    }
    let mut table =
        table(&["device", "what", "state", "health", "heat", "memory", "idle gap", "run"]);
    for device in &report.devices {
        table.add_row([
            short(device),
            device.label.clone(),
            state(device),
            health(device).map_or_else(String::new, |health| health.level.to_string()),
            heat(device),
            memory(device),
            idle_gap(device),
            run(device, report),
        ]);
    }
    let mut out = format!("{}\n", table.trim_fmt());
    for device in &report.devices {
        out.push_str(&against(device));
    }
    out
}

fn state(device: &DeviceStatus) -> String {
    let Some(health) = health(device) else { return String::new() };
    if device.gone_since.is_some() {
        return "gone".to_owned();
    }
    match (&health.order, health.standing) {
        (Some(order), Standing::Healthy) if order.is_drain => "drained".to_owned(),
        (Some(_), Standing::Healthy) => "cordoned".to_owned(),
        (None, Standing::Healthy) if health.unusable.is_some() => "checking".to_owned(),
        (_, standing) => standing.name().to_owned(),
    }
}

fn heat(device: &DeviceStatus) -> String {
    let sample = health(device).and_then(|health| health.sample.as_ref());
    let degrees = sample.and_then(|sample| sample.temperature_c.value());
    degrees.map_or_else(String::new, |degrees| format!("{degrees} °C"))
}

fn memory(device: &DeviceStatus) -> String {
    if device.memory_mib == 0 {
        // Gone, and nobody kept how much it had.
        return String::new();
    }
    let all = format!("{} MiB", grouped(device.memory_mib));
    let sample = health(device).and_then(|health| health.sample.as_ref());
    match sample.and_then(|sample| sample.memory_used_mib.value()) {
        Some(used) => format!("{} of {all}", grouped(*used)),
        None => all,
    }
}

/// Half of the times between two of its runs were no longer.
fn idle_gap(device: &DeviceStatus) -> String {
    device.idle_gap.map_or_else(String::new, |gap| format!("{} ms", grouped(gap.p50_ms)))
}

fn run(device: &DeviceStatus, report: &StatusReport) -> String {
    if device.gone_since.is_some() {
        return String::new();
    }
    let Some(id) = device.run else {
        return device.state().name().to_owned();
    };
    let run = report.runs.iter().find(|run| run.run == id);
    run.map_or_else(
        || id.short(),
        |run| {
            let elapsed = span(report.as_of.0.saturating_sub(run.started_at.0));
            format!("{} of {} for {elapsed}", id.short(), run.submission.short())
        },
    )
}

/// What keeps a device from runs, and every finding that somebody should know.
fn against(device: &DeviceStatus) -> String {
    let Some(health) = health(device) else { return String::new() };
    let is_told = |finding: &&Finding| finding.level > Level::Info;
    let told: Vec<&Finding> = health.findings.iter().filter(is_told).collect();
    let mut out = match &health.unusable {
        None if told.is_empty() => return String::new(),
        None => format!("\n{}\n", device.id),
        Some(reason) if device.gone_since.is_some() => format!("\n{}: {reason}\n", device.id),
        // The findings say why.
        Some(_) if health.order.is_none() && !told.is_empty() => {
            format!("\n{}: no run begins on it\n", device.id)
        }
        Some(reason) => format!("\n{}: no run begins on it: {reason}\n", device.id),
    };
    for finding in told {
        out.push_str(&format!("  {:<9}{finding}\n", finding.level));
        if !finding.action.advice().is_empty() {
            out.push_str(&format!("  {:<9}-> {}\n", "", finding.action.advice()));
        }
    }
    let failures = health.failures.len();
    if let (Some(order), Some(_)) = (&health.order, device.gone_since) {
        out.push_str(&format!("  ordered: {}\n", order.reason));
    }
    if failures > 0 && device.gone_since.is_none() {
        let kind = if failures == 1 { "failure" } else { "failures" };
        let line = format!("{failures} {kind} in a day; {FAILURES_IN_A_DAY_MAX} leave it to you");
        out.push_str(&format!("  {line}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn a_device_that_is_given_no_run_says_why_and_what_to_do() {
        let mut report = sample::healthy();
        report.devices = vec![sample::gpu_with_held_memory()];
        let text = render(&report);
        assert!(text.contains("cordoned"), "{text}");
        assert!(text.contains("40000 MiB of its memory are held and no run is on it"), "{text}");
        assert!(text.contains("-> end the process that holds its memory"), "{text}");
        assert!(text.contains("1 250 ms"), "{text}");
        assert!(text.contains("41 °C") && text.contains("40 500 of 81 559 MiB"), "{text}");
    }

    #[test]
    fn a_device_that_is_gone_says_since_when_and_what_was_known_of_it() {
        let mut report = sample::healthy();
        report.devices.push(sample::gone_gpu());
        let text = render(&report);
        let line = text.lines().find(|line| line.starts_with("GPU-09e1d3aa ")).unwrap();
        assert!(line.contains("gone") && line.contains("81 559 MiB"), "{text}");
        assert!(!line.contains("free"), "{text}");
        assert!(text.contains(": gone since 20"), "{text}");
        assert!(text.contains("; it was cordoned: Xid 79, the GPU has fallen off"), "{text}");
        assert!(text.contains("`assay device uncordon` forgets it"), "{text}");
    }

    #[test]
    fn a_host_without_devices_says_which_settings_make_some() {
        let mut report = sample::healthy();
        report.devices.clear();
        assert!(render(&report).contains("devices.cpu_slots"));
    }
}

//! `assay device`: what an operator orders for one device.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use node_core::health::observation::{ProbeFigures, ProbeResult};
use node_core::health::{DeviceRow, Standing};
use node_core::inventory::DeviceId;
use node_core::limits::{ORDER_REASON_CHARS_MAX, PROBE_AGAIN_MS};
use node_core::machine::operator::DeviceOrder;
use node_core::unit::UnixMs;
use serde::Serialize;

use super::operator::Operator;
use super::report::{ask, Asked};
use super::ConfigFlags;
use crate::admin::{OperatorRefusal, OrderRequest};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{grouped, unix_now, DeviceStatus, HealthStatus, StatusReport};

/// Pause between two looks at a probe that goes on.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The node reports four times a second. Lower: who looks after an order does not see it yet.
/// Higher: an order to a busy node takes that long.
const REPORT_MAX: Duration = Duration::from_secs(2);

/// Pause between two looks for a report.
const REPORT_LOOK_EVERY: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
Examples:
  assay device cordon GPU-1a2b --reason \"new fan\"   no run begins; one that is on it goes on
  assay device drain GPU-1a2b --reason \"driver\"     the run on it is given back now as well
  assay device uncordon GPU-1a2b                    probed, then given runs again
  assay device probe GPU-1a2b                       probed now; prints what it reaches

A device is named by the beginning of its id, as `assay devices` prints it. Orders are stored before
this command ends, and outlive restarts.

Exit codes: 0 done (for `probe`: everything computed was right, about as fast as ever); 1 refused,
or the probe failed; 3 not running or not answering.";

/// Keep a device from runs, give it back, or probe it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DeviceCommand {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Begin no run on it; one that is on it goes on
    Cordon(Reasoned),
    /// Begin no run on it, and give back the one that is on it
    Drain(Reasoned),
    /// Give it runs again, once it passed a probe; forgets its failures, and one that is gone
    Uncordon(Named),
    /// Probe it now; nothing may run on it
    Probe(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The beginning of a device's id, or all of it
    #[arg(value_name = "DEVICE")]
    device: String,

    /// Print JSON: what is stored of the device; for `probe` its entry of `assay devices --json`;
    /// or `refused` and `message`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

#[derive(Debug, Args)]
struct Reasoned {
    // First: the heading of what is flattened would be its heading too.
    /// Why; `assay devices` shows it
    #[arg(long, value_parser = reason)]
    reason: String,

    #[command(flatten)]
    named: Named,
}

fn reason(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        Err("say why in a few words".to_owned())
    } else if length > ORDER_REASON_CHARS_MAX {
        Err(format!("{length} characters; at most {ORDER_REASON_CHARS_MAX}"))
    } else {
        Ok(text.trim().to_owned())
    }
}

/// Why nothing was ordered.
#[derive(Debug, thiserror::Error)]
enum NotOrdered {
    #[error("this host has no device whose id begins with `{0}`")]
    Nothing(String),
    #[error("`{0}` is the beginning of {n} devices: {list}", n = .1.len(), list = few(.1))]
    Several(String, Vec<DeviceId>),
    #[error("not done: {0}")]
    Refused(String),
    #[error("the probe did not end in time")]
    StillProbing,
    #[error("the probe of {0} failed: {1}")]
    ProbeFailed(DeviceId, String),
}

impl DeviceCommand {
    /// Orders it at the running node.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if none runs, or if it refuses.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let (named, order) = match self.command {
            Subcommands::Cordon(Reasoned { named, reason }) => {
                (named, DeviceOrder::Cordon { reason })
            }
            Subcommands::Drain(Reasoned { named, reason }) => {
                (named, DeviceOrder::Drain { reason })
            }
            Subcommands::Uncordon(named) => (named, DeviceOrder::Uncordon),
            Subcommands::Probe(named) => (named, DeviceOrder::Probe),
        };
        let (operator, report) = Operator::of_running_node(&named.flags)?;
        let device = match find(&report, &named.device) {
            Ok(device) => device,
            Err(error) => return Err(not_found(error, named.json)?),
        };
        let request = OrderRequest { device: device.id.clone(), order: order.clone() };
        let said = operator
            .post::<DeviceRow>("/devices/order", &request)
            .map_err(|lost| lost.failure("`assay devices` shows whether it was done"))?;
        let row = match said {
            Ok(row) => row,
            Err(refusal) => return Err(refused(refusal, named.json)?),
        };
        if order == DeviceOrder::Probe {
            return await_probe(&named, device);
        }
        await_report(&named, unix_now());
        if named.json {
            print_json(&row)?;
        } else {
            output::print(&render(device, &row))?;
        }
        Ok(ExitReason::Done)
    }
}

/// The device of that name, or the one whose name begins so.
fn find<'a>(report: &'a StatusReport, name: &str) -> Result<&'a DeviceStatus, NotOrdered> {
    if let Some(exact) = report.devices.iter().find(|device| device.id.0 == name) {
        return Ok(exact);
    }
    let is_named = |device: &&DeviceStatus| !name.is_empty() && device.id.0.starts_with(name);
    let found: Vec<&DeviceStatus> = report.devices.iter().filter(is_named).collect();
    match found[..] {
        [] => Err(NotOrdered::Nothing(name.to_owned())),
        [one] => Ok(one),
        _ => {
            let ids = found.into_iter().map(|device| device.id.clone()).collect();
            Err(NotOrdered::Several(name.to_owned(), ids))
        }
    }
}

/// So many devices are named where a beginning fits several.
const FEW: usize = 4;

fn few(ids: &[DeviceId]) -> String {
    let mut named: Vec<&str> = ids.iter().take(FEW).map(|id| id.0.as_str()).collect();
    if ids.len() > FEW {
        named.push("...");
    }
    named.join(", ")
}

fn not_found(error: NotOrdered, is_json: bool) -> Result<Failure, Failure> {
    let (refused, hint) = match error {
        NotOrdered::Several(..) => ("ambiguous", "give more of its id"),
        _ => ("unknown", "`assay devices` lists them"),
    };
    if is_json {
        let (refused, message) = (refused.to_owned(), error.to_string());
        print_json(&OperatorRefusal { refused, message })?;
    }
    Ok(Failure::unexpected(error).hint(hint))
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    output::print(&serde_json::to_string_pretty(value).map_err(Failure::unexpected)?)
}

fn refused(refusal: OperatorRefusal, is_json: bool) -> Result<Failure, Failure> {
    if is_json {
        print_json(&refusal)?;
    }
    let (exit, hint) = match refusal.refused.as_str() {
        "unknown" => (ExitReason::Failed, "`assay devices` lists them"),
        "busy" => (ExitReason::Failed, "`assay devices --watch` shows when it is free"),
        "gone" => (ExitReason::Failed, "`assay device uncordon` forgets it"),
        "nothing_to_probe" => (ExitReason::Failed, "GPUs and MIG slices can be probed"),
        "not_ready" | "no_answer" => {
            (ExitReason::NotRunning, "`assay status` says what it waits for")
        }
        _ => (ExitReason::Failed, "run it as the node's user: `runuser -u assay -- assay ...`"),
    };
    Ok(Failure::new(exit, NotOrdered::Refused(refusal.message)).hint(hint))
}

fn render(device: &DeviceStatus, row: &DeviceRow) -> String {
    let id = &device.id;
    let run = device.run.map(|run| run.short());
    if row.gone_since.is_some() {
        return format!("forgotten  {id}; if it comes back, it is probed as a new one\n");
    }
    match (&row.order, run) {
        (Some(order), Some(run)) if order.is_drain => {
            format!("drained    {id}: {}\nrun {run} is stopped and given back\n", order.reason)
        }
        (Some(order), None) if order.is_drain => format!("drained    {id}: {}\n", order.reason),
        (Some(order), Some(run)) => {
            format!("cordoned   {id}: {}\nrun {run} goes on to its end\n", order.reason)
        }
        (Some(order), None) => format!("cordoned   {id}: {}\n", order.reason),
        (None, _) if row.standing == Standing::Healthy => {
            format!("returned   {id} may be given runs\n")
        }
        (None, _) => {
            format!("returned   {id} is {}; runs come after its probe\n", row.standing.name())
        }
    }
}

/// Waits until the node reports what it did, or for a moment: who looks next sees it. It is done
/// and stored in either case.
fn await_report(named: &Named, done_at: UnixMs) {
    let deadline = Instant::now() + REPORT_MAX;
    while Instant::now() < deadline {
        let is_reported = ask(&named.flags).is_ok_and(|asked| asked.report.as_of >= done_at);
        if is_reported {
            return;
        }
        std::thread::sleep(REPORT_LOOK_EVERY);
    }
}

/// Waits for the probe that was asked for, and prints what it found.
fn await_probe(named: &Named, before: &DeviceStatus) -> Result<ExitReason, Failure> {
    let probes = |device: &DeviceStatus| device.health.as_ref().map_or(0, |h| h.probes);
    let deadline = Instant::now() + Duration::from_millis(PROBE_AGAIN_MS);
    while Instant::now() < deadline {
        std::thread::sleep(LOOK_EVERY);
        let Asked { report, .. } = ask(&named.flags)?;
        let Ok(device) = find(&report, &before.id.0) else { continue };
        if probes(device) > probes(before) {
            return tell_probe(named, device);
        }
    }
    Err(Failure::unexpected(NotOrdered::StillProbing).hint("`assay devices` goes on showing it"))
}

fn tell_probe(named: &Named, device: &DeviceStatus) -> Result<ExitReason, Failure> {
    if named.json {
        print_json(device)?;
    }
    let Some(health) = &device.health else { return Ok(ExitReason::Failed) };
    let HealthStatus { probe: Some(probe), baseline, standing, unusable, .. } = health else {
        return Ok(ExitReason::Failed);
    };
    if let (ProbeResult::Right(figures), false) = (probe, named.json) {
        output::print(&figures_text(device, figures, baseline.as_ref()))?;
    }
    let is_away = !matches!(standing, Standing::Healthy | Standing::Probing);
    let why = unusable.clone().filter(|_| is_away);
    match (probe, why) {
        (ProbeResult::Right(_), None) => Ok(ExitReason::Done),
        (failed, why) => {
            let why = why.unwrap_or_else(|| format!("{failed:?}"));
            Err(Failure::unexpected(NotOrdered::ProbeFailed(device.id.clone(), why))
                .hint("`assay devices` says what happens next"))
        }
    }
}

fn figures_text(
    device: &DeviceStatus,
    figures: &ProbeFigures,
    best: Option<&ProbeFigures>,
) -> String {
    let of_best = |now: u64, best: Option<u64>| {
        let percent = best.and_then(|best| now.saturating_mul(100).checked_div(best));
        percent.map_or_else(String::new, |percent| format!(", {percent} % of its best"))
    };
    format!(
        "probed     {}: right, in {} ms\nmemory     {} MiB written and read back\n\
         bandwidth  {} MB/s{}\nmatrix     {} GFLOP/s{}\n",
        device.id,
        grouped(figures.took_ms),
        grouped(figures.memory_mib),
        grouped(figures.bandwidth_mb_s),
        of_best(figures.bandwidth_mb_s, best.map(|best| best.bandwidth_mb_s)),
        grouped(figures.matrix_gflop_s),
        of_best(figures.matrix_gflop_s, best.map(|best| best.matrix_gflop_s)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn a_device_is_named_by_the_beginning_of_its_id_and_a_whole_name_wins() {
        let mut report = sample::healthy();
        let named = |id: &str| DeviceStatus {
            id: DeviceId(id.to_owned()),
            ..sample::healthy().devices[0].clone()
        };
        report.devices = vec![named("cpu-1"), named("cpu-10"), named("GPU-1a2b")];
        assert_eq!(find(&report, "cpu-1").unwrap().id.0, "cpu-1");
        assert_eq!(find(&report, "GPU-").unwrap().id.0, "GPU-1a2b");
        let several = find(&report, "cpu").unwrap_err();
        assert_eq!(several.to_string(), "`cpu` is the beginning of 2 devices: cpu-1, cpu-10");
        assert!(matches!(find(&report, "mig"), Err(NotOrdered::Nothing(_))));
        assert!(matches!(find(&report, ""), Err(NotOrdered::Nothing(_))));
    }

    #[test]
    fn a_reason_is_a_few_words() {
        assert!(reason("  ").is_err());
        assert!(reason(&"x".repeat(ORDER_REASON_CHARS_MAX + 1)).is_err());
        assert_eq!(reason(" new fan ").unwrap(), "new fan");
    }

    #[test]
    fn a_gpu_that_stands_badly_says_that_runs_come_after_its_probe() {
        let device = sample::gpu_with_held_memory();
        let row = sample::device_row(Standing::Probing);
        assert!(render(&device, &row).contains("runs come after its probe"));
    }
}

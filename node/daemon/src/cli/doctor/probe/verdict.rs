//! What a probe says of a device, and what to do about it.

use std::time::Duration;

use node_core::health::observation::ProbeResult;
use node_core::health::Standing;
use node_core::inventory::DeviceId;
use node_runner::RunReport;

use super::super::{Finding, Level, ID_OF_PROBES as ID};
use crate::status::{grouped, DeviceStatus, HealthStatus, StatusReport};

/// What the container prints: the sum of all products of the rows of a matrix of 16 by 32 with the
/// numbers from 0 on. Whole, and exact in 64-bit floats.
const RIGHT: &str = "535474176";

/// Bytes of a wrong answer that are told.
const ANSWER_CHARS_MAX: usize = 120;

const RESET: &str =
    "`nvidia-smi -q` shows its errors; `nvidia-smi --gpu-reset -i UUID` resets one \
                     that nothing runs on; then `assay doctor` again";

const ENGINE: &str = "`scripts/engine status` says what is wrong with the engine; then `assay \
                      doctor`";

/// The names of all CPU slots.
pub(super) fn slots(count: u32) -> String {
    match count {
        0 | 1 => "cpu-0".to_owned(),
        count => format!("cpu-0 to cpu-{}", count.saturating_sub(1)),
    }
}

/// What was found of a GPU.
pub(super) fn of_gpu(id: &DeviceId, result: &ProbeResult) -> Finding {
    match result {
        ProbeResult::Right(figures) => Finding::ok(
            ID,
            format!(
                "{id}: right in {} ms; {} MiB, {} MB/s, {} GFLOP/s",
                grouped(figures.took_ms),
                grouped(figures.memory_mib),
                grouped(figures.bandwidth_mb_s),
                grouped(figures.matrix_gflop_s),
            ),
        ),
        ProbeResult::Wrong { step, detail } => {
            Finding::fail(ID, format!("{id}: wrong in step `{}`: {detail}", step.name()))
                .next(RESET)
        }
        ProbeResult::TimedOut { limit_ms } => {
            let text = format!("{id}: no answer within {} s", limit_ms / 1000);
            Finding::fail(ID, text).next(RESET)
        }
        ProbeResult::Died { detail } => {
            Finding::fail(ID, format!("{id}: the probe's process died: {detail}")).next(RESET)
        }
        ProbeResult::NotStarted { detail } => {
            let text = format!("{id}: not tried, which says nothing about it: {detail}");
            Finding::warn(ID, text)
                .next("`nvidia-smi` shows whether the driver works; `assay doctor` tries again")
        }
    }
}

/// What the running node knows of its devices. Gone ones are told by the node's own checks.
pub(super) fn of_node(report: &StatusReport) -> Vec<Finding> {
    let there = report.devices.iter().filter(|device| device.gone_since.is_none());
    let found: Vec<Finding> = there.filter_map(of_its_device).collect();
    if found.is_empty() {
        let text = "not tried beside the node that runs; it has no GPU, and its runs are the \
                    proof of its CPU slots";
        return vec![Finding::ok(ID, text)];
    }
    found
}

/// `None` for a CPU slot: the node knows it by its runs.
fn of_its_device(device: &DeviceStatus) -> Option<Finding> {
    let HealthStatus { probe, standing, unusable, .. } = device.health.as_ref()?;
    let id = &device.id;
    let again = format!("`assay device probe {id}` lets the node probe it now");
    let is_trusted = *standing == Standing::Healthy;
    Some(match (probe, unusable) {
        (None, Some(why)) if !is_trusted => {
            Finding::warn(ID, format!("{id}: not tried; the node has it {why}")).next(again)
        }
        (None, _) => Finding::warn(ID, format!("{id}: not tried; the node has not probed it yet"))
            .next(again),
        (Some(result), why) => {
            let finding = of_gpu(id, result);
            let text = format!("{} (the node's last probe)", finding.text);
            match why {
                Some(why) if finding.level == Level::Ok && !is_trusted => {
                    Finding::warn(ID, format!("{text}; now {why}"))
                        .next("`assay devices` says what is known against it")
                }
                _ => Finding { text, ..finding },
            }
        }
    })
}

/// Perhaps a run is on them.
pub(super) fn perhaps_in_use() -> Finding {
    let text = "not tried: a node seems to run, and it is not known what it does with its devices";
    Finding::warn(ID, text).next("`assay status` says what is wrong with it; then `assay doctor`")
}

pub(super) fn no_engine(slots: &str) -> Finding {
    Finding::warn(ID, format!("{slots}: not tried: there is no engine to start a container in"))
        .next("see `engine`, then `assay doctor`")
}

pub(super) fn no_image(slots: &str) -> Finding {
    Finding::warn(ID, format!("{slots}: not tried: the evaluator's image is not there"))
        .next("`scripts/images evaluator`, then `assay doctor`")
}

pub(super) fn no_policy(slots: &str) -> Finding {
    let text = format!("{slots}: not tried: the policy, and with it a run's limits, is not known");
    Finding::warn(ID, text).next("see `policy`, then `assay doctor`")
}

/// There was no container, for the reason in `finding`.
pub(super) fn not_contained(slots: &str, finding: &Finding) -> Finding {
    Finding::fail(ID, format!("{slots}: no container came up: {}", finding.text)).next(ENGINE)
}

/// The engine did not bring it to an end.
pub(super) fn late(slots: &str, limit: Duration) -> Finding {
    let seconds = limit.as_secs();
    Finding::fail(ID, format!("{slots}: no container came up and ended within {seconds} s"))
        .next(ENGINE)
}

/// How the container of a CPU slot did.
pub(super) fn of_slot(slots: &str, report: &RunReport) -> Finding {
    let answer = report.output_tail.lines().rev().find(|line| !line.trim().is_empty());
    let answer = answer.map_or("", str::trim);
    let seconds = |ms: u64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    let wrong = match (&report.ending, report.exit_code) {
        (Some(ending), _) => Some(ending.to_string()),
        (None, Some(0)) if answer == RIGHT => None,
        (None, Some(0)) => Some(format!("it computed `{}` and not {RIGHT}", shortened(answer))),
        (None, Some(code)) => Some(format!("it ended with {code}: {}", shortened(answer))),
        (None, None) => Some("nobody knows how it ended".to_owned()),
    };
    match wrong {
        None if report.removed => Finding::ok(
            ID,
            format!(
                "{slots}: a container as a run's computed what it should, in {}",
                seconds(report.ran_ms)
            ),
        ),
        None => {
            Finding::warn(ID, format!("{slots}: right, but its container could not be removed"))
                .next("`assay doctor` again removes it; `scripts/engine status` if it does not")
        }
        Some(what) => Finding::fail(ID, format!("{slots}: a container as a run's failed: {what}"))
            .next(
                "`scripts/images evaluator` builds the image anew; see `devices.cpu_memory_mib`, \
                 and `dmesg` for what the kernel killed",
            ),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(ANSWER_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use node_core::health::observation::{ProbeFigures, ProbeStep};
    use node_core::outcome::Ending;
    use node_core::unit::UnixMs;
    use node_runner::Usage;

    use super::super::super::told;
    use super::*;
    use crate::status::sample;

    fn right() -> ProbeResult {
        ProbeResult::Right(ProbeFigures {
            took_ms: 1_812,
            memory_mib: 60_416,
            bandwidth_mb_s: 2_600_000,
            matrix_gflop_s: 41_000,
        })
    }

    #[test]
    fn each_result_of_a_gpu_has_its_verdict_and_its_next_step() {
        let id = DeviceId("GPU-a".to_owned());
        let detail = || "as it said".to_owned();
        let results = [
            right(),
            ProbeResult::Wrong { step: ProbeStep::Memory, detail: detail() },
            ProbeResult::TimedOut { limit_ms: 60_000 },
            ProbeResult::Died { detail: detail() },
            ProbeResult::NotStarted { detail: detail() },
        ];
        let found: Vec<Finding> = results.iter().map(|result| of_gpu(&id, result)).collect();
        insta::assert_snapshot!(told(&found));
    }

    fn report(ending: Option<Ending>, exit_code: Option<i64>, output: &str) -> RunReport {
        RunReport {
            ending,
            exit_code,
            output_tail: output.to_owned(),
            output_bytes: 0,
            usage: Usage::default(),
            started_at: UnixMs(0),
            ended_at: UnixMs(0),
            ran_ms: 3_250,
            removed: true,
        }
    }

    #[test]
    fn each_end_of_a_slots_container_has_its_verdict_and_its_next_step() {
        let left = RunReport { removed: false, ..report(None, Some(0), "535474176\n") };
        let reports = [
            report(None, Some(0), "a warning\n535474176\n"),
            left,
            report(None, Some(0), "535474177\n"),
            report(None, Some(1), "Traceback\nModuleNotFoundError: No module named 'torch'\n"),
            report(Some(Ending::OutOfMemory), None, ""),
            report(None, None, "535474176\n"),
        ];
        let mut found: Vec<Finding> =
            reports.iter().map(|report| of_slot("cpu-0", report)).collect();
        found.push(not_contained("cpu-0", &Finding::fail(ID, "cannot create the container: no")));
        found.push(late("cpu-0", Duration::from_secs(75)));
        insta::assert_snapshot!(told(&found));
    }

    #[test]
    fn a_running_nodes_last_probes_are_told_with_how_it_has_each_device_now() {
        let gpu = |standing: Standing, probe: Option<ProbeResult>, unusable: Option<&str>| {
            let mut device = sample::gpu_with_held_memory();
            device.id = DeviceId("GPU-a".to_owned());
            let health = device.health.as_mut().unwrap();
            health.standing = standing;
            health.probe = probe;
            health.unusable = unusable.map(str::to_owned);
            device
        };
        let died = ProbeResult::Died { detail: "signal 11".to_owned() };
        let mut report = sample::healthy();
        report.devices = vec![
            gpu(Standing::Healthy, Some(right()), None),
            gpu(Standing::Cordoned, Some(right()), Some("cordoned: memory is held")),
            gpu(Standing::Cordoned, Some(died), Some("cordoned: the probe failed")),
            gpu(Standing::Cordoned, None, Some("cordoned: memory is held")),
            gpu(Standing::Healthy, None, None),
            sample::gone_gpu(),
        ];
        insta::assert_snapshot!(told(&of_node(&report)));
    }

    #[test]
    fn a_node_that_has_cpu_slots_alone_is_known_by_its_runs() {
        let mut report = sample::healthy();
        report.devices.iter_mut().for_each(|device| device.health = None);
        let found = of_node(&report);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].level, Level::Ok);
        assert!(found[0].text.contains("not tried"), "{found:?}");
    }
}

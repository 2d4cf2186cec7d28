//! What a probe says of a device, and what to do about it.

use std::time::Duration;

use node_core::health::observation::ProbeResult;
use node_core::health::Standing;
use node_core::inventory::DeviceId;
use node_runner::{Engine, RunReport};

use super::super::{Finding, Level};
use super::TOPIC;
use crate::status::{grouped, DeviceStatus, HealthStatus, StatusReport};

/// What the container prints: the sum of all products of the rows of a matrix of 16 by 32 with the
/// numbers from 0 on. Whole, and exact in 64-bit floats.
const RIGHT: &str = "535474176";

/// Bytes of a wrong answer that are told.
const ANSWER_CHARS_MAX: usize = 120;

const RESET: &str =
    "`nvidia-smi -q` shows its errors; `nvidia-smi --gpu-reset -i UUID` resets one \
                     that nothing runs on; then `assay doctor` again";

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
            TOPIC,
            format!(
                "{id}: right in {} ms; {} MiB, {} MB/s, {} GFLOP/s",
                grouped(figures.took_ms),
                grouped(figures.memory_mib),
                grouped(figures.bandwidth_mb_s),
                grouped(figures.matrix_gflop_s),
            ),
        ),
        ProbeResult::Wrong { step, detail } => {
            let text = format!("{id}: wrong in step `{}`: {detail}", step.name());
            Finding::fail(TOPIC, text, RESET)
        }
        ProbeResult::TimedOut { limit_ms } => {
            let text = format!("{id}: no answer within {} s", limit_ms / 1000);
            Finding::fail(TOPIC, text, RESET)
        }
        ProbeResult::Died { detail } => {
            Finding::fail(TOPIC, format!("{id}: the probe's process died: {detail}"), RESET)
        }
        ProbeResult::NotStarted { detail } => {
            let text = format!("{id}: not tried, which says nothing about it: {detail}");
            let next = "`nvidia-smi` shows whether the driver works; `assay doctor` tries again";
            Finding::warn(TOPIC, text, next)
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
        return vec![Finding::ok(TOPIC, text)];
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
            Finding::warn(TOPIC, format!("{id}: not tried; the node has it {why}"), again)
        }
        (None, _) => {
            let text = format!("{id}: not tried; the node has not probed it yet");
            Finding::warn(TOPIC, text, again)
        }
        (Some(result), why) => {
            let finding = of_gpu(id, result);
            let text = format!("{} (the node's last probe)", finding.text());
            match why {
                Some(why) if finding.level() == Level::Ok && !is_trusted => {
                    let next = "`assay devices` says what is known against it";
                    Finding::warn(TOPIC, format!("{text}; now {why}"), next)
                }
                _ => finding.with_text(text),
            }
        }
    })
}

/// Perhaps a run is on them.
pub(super) fn perhaps_in_use() -> Finding {
    let text = "not tried: a node seems to run, and it is not known what it does with its devices";
    let next = "`assay status` says what is wrong with it; then `assay doctor`";
    Finding::warn(TOPIC, text, next)
}

pub(super) fn no_engine(slots: &str) -> Finding {
    let text = format!("{slots}: not tried: there is no engine to start a container in");
    Finding::warn(TOPIC, text, "`assay doctor` again, once `engine` is in order")
}

pub(super) fn no_image(slots: &str) -> Finding {
    let text = format!("{slots}: not tried: the evaluator's image is not there");
    Finding::warn(TOPIC, text, "`assay doctor` again, once `image` is in order")
}

pub(super) fn no_policy(slots: &str) -> Finding {
    let text = format!("{slots}: not tried: the policy, and with it a run's limits, is not known");
    Finding::warn(TOPIC, text, "`assay doctor` again, once `policy` is in order")
}

/// There was no container.
pub(super) fn not_contained(slots: &str, why: &str) -> Finding {
    Finding::fail(TOPIC, format!("{slots}: no container came up: {why}"), Engine::HINT)
}

/// The engine did not bring it to an end.
pub(super) fn late(slots: &str, limit: Duration) -> Finding {
    let seconds = limit.as_secs();
    let text = format!("{slots}: no container came up and ended within {seconds} s");
    Finding::fail(TOPIC, text, Engine::HINT)
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
            TOPIC,
            format!(
                "{slots}: a container as a run's computed what it should, in {}",
                seconds(report.ran_ms)
            ),
        ),
        None => {
            let text = format!("{slots}: right, but its container could not be removed");
            let next = format!("`assay doctor` again removes it; if it does not: {}", Engine::HINT);
            Finding::warn(TOPIC, text, next)
        }
        Some(what) => {
            let text = format!("{slots}: a container as a run's failed: {what}");
            let next = format!(
                "`dmesg | tail` says what the kernel killed, for which `devices.cpu_memory_mib` is \
                 too little; an image that is damaged has to be loaded anew: {}",
                Engine::IMAGE_HINT
            );
            Finding::fail(TOPIC, text, next)
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(ANSWER_CHARS_MAX).collect()
}

#[cfg(test)]
pub(super) mod tests {
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

    /// Everything that these checks can say, but for the unfinished.
    pub(in super::super::super) fn findings() -> Vec<Finding> {
        [of_gpus(), of_slots(), of_a_node(), not_tried()].concat()
    }

    fn not_tried() -> Vec<Finding> {
        let mut without_gpus = sample::healthy();
        without_gpus.devices.iter_mut().for_each(|device| device.health = None);
        let mut found = of_node(&without_gpus);
        found.push(no_engine(&slots(2)));
        found.push(no_image(&slots(1)));
        found.push(no_policy(&slots(1)));
        found.push(perhaps_in_use());
        found
    }

    fn of_gpus() -> Vec<Finding> {
        let id = DeviceId("GPU-a".to_owned());
        let detail = || "as it said".to_owned();
        let results = [
            right(),
            ProbeResult::Wrong { step: ProbeStep::Memory, detail: detail() },
            ProbeResult::TimedOut { limit_ms: 60_000 },
            ProbeResult::Died { detail: detail() },
            ProbeResult::NotStarted { detail: detail() },
        ];
        results.iter().map(|result| of_gpu(&id, result)).collect()
    }

    #[test]
    fn each_result_of_a_gpu_has_its_verdict_and_its_next_step() {
        insta::assert_snapshot!(told(&of_gpus()));
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

    fn of_slots() -> Vec<Finding> {
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
        found.push(not_contained("cpu-0", "cannot create the container: no"));
        found.push(late("cpu-0", Duration::from_secs(75)));
        found
    }

    #[test]
    fn each_end_of_a_slots_container_has_its_verdict_and_its_next_step() {
        insta::assert_snapshot!(told(&of_slots()));
    }

    fn of_a_node() -> Vec<Finding> {
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
        of_node(&report)
    }

    #[test]
    fn a_running_nodes_last_probes_are_told_with_how_it_has_each_device_now() {
        insta::assert_snapshot!(told(&of_a_node()));
    }

    #[test]
    fn a_node_that_has_cpu_slots_alone_is_known_by_its_runs() {
        let mut report = sample::healthy();
        report.devices.iter_mut().for_each(|device| device.health = None);
        let found = of_node(&report);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].level(), Level::Ok);
        assert!(found[0].text().contains("not tried"), "{found:?}");
    }
}

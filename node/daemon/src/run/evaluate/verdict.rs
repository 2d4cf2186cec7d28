//! One ending from two witnesses: the meter, and the supervisor of the container.

use node_core::evidence::Metrics;
use node_core::limits::clip_detail;
use node_core::outcome::{Ending, Fault};
use node_evaluator::meter::MeterOutcome;
use node_runner::RunReport;

/// One ending from two witnesses. What the meter measured or proved stands, whatever happened
/// afterwards; where the container only fell silent or failed, a limit seen from outside explains
/// why.
pub(super) fn combine(
    measured: Option<MeterOutcome>,
    report: &RunReport,
) -> (Ending, Option<Metrics>) {
    let from_outside = report.ending.clone();
    match measured {
        Some(MeterOutcome { ending: Ending::Completed, metrics: Some(mut metrics), .. }) => {
            metrics.peak_memory_bytes = report.usage.peak_memory_bytes;
            metrics.conduct.wall_ms = report.ran_ms;
            (Ending::Completed, Some(metrics))
        }
        Some(MeterOutcome { ending, peer_left, .. }) => {
            // What the container's side says itself: a limit seen from outside tells more.
            let is_vague = matches!(
                ending,
                Ending::SubmissionFailed { .. }
                    | Ending::ContractViolated { .. }
                    | Ending::OutOfDeviceMemory
            );
            let is_limit = from_outside.as_ref().is_some_and(is_limit);
            match from_outside {
                Some(outside) if peer_left || (is_vague && is_limit) => {
                    (with_last_words(outside, report), None)
                }
                _ if peer_left => (with_last_words(ending, report), None),
                _ => (ending, None),
            }
        }
        None => {
            let detail = "the container ended before the meter".to_owned();
            let ending = from_outside.unwrap_or(Ending::SubmissionFailed { detail });
            (with_last_words(ending, report), None)
        }
    }
}

/// How a run went whose container ended before it connected: nothing of the submission was in it,
/// so whatever limit or exit code is seen from outside is not the submission's doing.
pub(super) fn unheard(report: RunReport) -> RunReport {
    let is_known = |ending: &Ending| ending.fault() != Fault::Submission;
    if report.ending.as_ref().is_some_and(is_known) {
        return report;
    }
    let how = report.ending.as_ref().map_or_else(|| "it left".to_owned(), Ending::to_string);
    let words = report.output_tail.trim().lines().last().unwrap_or_default();
    let detail = clip_detail(&format!("the container ended before it connected: {how} {words}"));
    RunReport { ending: Some(Ending::EngineFailed { detail }), ..report }
}

/// Whether the ending names a limit that was hit: more than an exception inside can tell.
fn is_limit(ending: &Ending) -> bool {
    matches!(
        ending,
        Ending::OutOfMemory
            | Ending::OutOfPids
            | Ending::TooMuchOutput
            | Ending::TooMuchCpuTime { .. }
            | Ending::TooSlow { .. }
    )
}

/// Adds what the container printed last, if that is what explains the ending.
fn with_last_words(ending: Ending, report: &RunReport) -> Ending {
    let words = report.output_tail.trim();
    match ending {
        Ending::SubmissionFailed { detail } if !words.is_empty() => {
            let last_line = words.lines().last().unwrap_or_default();
            let detail = if detail.contains(last_line) {
                detail
            } else {
                clip_detail(&format!("{detail} (last line of output: {last_line})"))
            };
            Ending::SubmissionFailed { detail }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use node_core::unit::UnixMs;
    use node_runner::Usage;

    use super::*;

    fn report(ending: Option<Ending>) -> RunReport {
        RunReport {
            ending,
            exit_code: None,
            output_tail: "last\n".to_owned(),
            output_bytes: 5,
            usage: Usage::default(),
            started_at: UnixMs(0),
            ended_at: UnixMs(1),
            ran_ms: 1,
            removed: true,
        }
    }

    fn said(ending: Ending) -> Option<MeterOutcome> {
        Some(MeterOutcome { ending, metrics: None, logs: Vec::new(), peer_left: false })
    }

    #[test]
    fn a_limit_seen_from_outside_explains_what_the_container_says_of_itself() {
        let vague = [
            Ending::SubmissionFailed { detail: "MemoryError".to_owned() },
            Ending::ContractViolated { detail: "half a frame".to_owned() },
            Ending::OutOfDeviceMemory,
        ];
        let limits = [
            Ending::OutOfMemory,
            Ending::OutOfPids,
            Ending::TooMuchOutput,
            Ending::TooMuchCpuTime { used_ms: 1 },
            Ending::TooSlow { ran_ms: 1 },
        ];
        for ending in vague {
            for limit in &limits {
                let combined = combine(said(ending.clone()), &report(Some(limit.clone())));
                assert_eq!(combined, (limit.clone(), None));
            }
            // An exit code tells no more than the words that came before it.
            let killed = report(Some(Ending::Killed { exit_code: 1 }));
            assert_eq!(combine(said(ending.clone()), &killed).0, ending);
        }
    }

    #[test]
    fn a_container_that_never_connected_is_not_the_submissions_fault() {
        for outside in [None, Some(Ending::OutOfMemory), Some(Ending::Killed { exit_code: 127 })] {
            let (ending, _) = combine(None, &unheard(report(outside)));
            assert_eq!(ending.fault(), Fault::Infrastructure, "{ending:?}");
            assert!(ending.to_string().ends_with(" last"), "{ending}");
        }
        for known in [Ending::LeaseLost, Ending::EngineFailed { detail: "gone".to_owned() }] {
            assert_eq!(combine(None, &unheard(report(Some(known.clone())))).0, known);
        }
    }

    #[test]
    fn what_was_proved_before_the_end_stands_whatever_limit_was_hit_then() {
        for proved in [
            Ending::NotCausal { batch: 0 },
            Ending::DeviceFailed { detail: "another GPU".to_owned() },
            Ending::TooManyParameters { parameters: 1 },
        ] {
            let outside = report(Some(Ending::OutOfMemory));
            assert_eq!(combine(said(proved.clone()), &outside).0, proved);
        }
    }

    #[test]
    fn a_container_that_fell_silent_is_explained_by_what_was_seen_of_it() {
        let left = Ending::SubmissionFailed { detail: "it left".to_owned() };
        let silent =
            || said(left.clone()).map(|outcome| MeterOutcome { peer_left: true, ..outcome });
        let lost = Ending::EngineFailed { detail: "gone".to_owned() };
        for outside in [Ending::OutOfPids, Ending::Killed { exit_code: 137 }, lost] {
            assert_eq!(combine(silent(), &report(Some(outside.clone()))).0, outside);
            assert_eq!(combine(None, &report(Some(outside.clone()))).0, outside);
        }
        let words = "it left (last line of output: last)".to_owned();
        let told = Ending::SubmissionFailed { detail: words };
        assert_eq!(combine(silent(), &report(None)).0, told);
    }
}

//! Which name a run's end gets, from what stopped it and what was found afterwards.
//!
//! Limits outrank exit codes: a process that is refused memory or threads usually fails in some
//! other way a moment later, and that later failure is not the cause.

use node_core::limits::clip_detail;
use node_core::outcome::Ending;

/// What made the supervisor stop watching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The caller asked, with an ending of its own or with none.
    Asked(Option<Ending>),
    /// The container ended.
    Exited,
    /// The wall clock ran out.
    Deadline,
    /// A counter or the output was over its limit; which one is in the [`Aftermath`].
    OverLimit,
    /// The engine no longer says what the container does.
    EngineLost(String),
}

/// What was known when everything had stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Aftermath {
    /// A process was killed for memory.
    pub(crate) oom_killed: bool,
    /// A process or thread was refused.
    pub(crate) pids_refused: bool,
    /// More was printed than allowed.
    pub(crate) output_over: bool,
    /// CPU time used, if it is more than allowed.
    pub(crate) cpu_over_ms: Option<u64>,
    /// Exit code, if the container ended by itself.
    pub(crate) own_exit: Option<i64>,
    /// How long it ran.
    pub(crate) ran_ms: u64,
}

/// The run's ending; `None` where nothing went wrong on the container's side, so that the meter
/// alone knows how it ended.
pub(crate) fn ending(cause: Cause, after: &Aftermath) -> Option<Ending> {
    match cause {
        Cause::Asked(Some(ending)) => Some(ending),
        Cause::Deadline => Some(Ending::TooSlow { ran_ms: after.ran_ms }),
        Cause::EngineLost(detail) => Some(Ending::EngineFailed { detail: clip_detail(&detail) }),
        Cause::Asked(None) | Cause::Exited | Cause::OverLimit => over_limit(after).or_else(|| {
            let failed = after.own_exit.filter(|code| *code != 0);
            failed.map(|exit_code| Ending::Killed { exit_code })
        }),
    }
}

fn over_limit(after: &Aftermath) -> Option<Ending> {
    if after.oom_killed {
        Some(Ending::OutOfMemory)
    } else if after.pids_refused {
        Some(Ending::OutOfPids)
    } else if after.output_over {
        Some(Ending::TooMuchOutput)
    } else {
        after.cpu_over_ms.map(|used_ms| Ending::TooMuchCpuTime { used_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(own_exit: i64) -> Aftermath {
        Aftermath { own_exit: Some(own_exit), ran_ms: 7, ..Aftermath::default() }
    }

    #[test]
    fn a_limit_outranks_the_exit_code_that_follows_from_it() {
        let oom = Aftermath { oom_killed: true, ..exited(1) };
        let pids = Aftermath { pids_refused: true, ..exited(1) };
        let output = Aftermath { output_over: true, ..exited(1) };
        let cpu = Aftermath { cpu_over_ms: Some(9), ..exited(1) };
        for cause in [Cause::Exited, Cause::Asked(None), Cause::OverLimit] {
            let too_much = Some(Ending::TooMuchCpuTime { used_ms: 9 });
            assert_eq!(ending(cause.clone(), &cpu), too_much);
            assert_eq!(ending(cause.clone(), &oom), Some(Ending::OutOfMemory));
            assert_eq!(ending(cause.clone(), &pids), Some(Ending::OutOfPids));
            assert_eq!(ending(cause, &output), Some(Ending::TooMuchOutput));
        }
    }

    #[test]
    fn an_exit_code_of_zero_says_nothing_and_another_one_is_a_kill() {
        assert_eq!(ending(Cause::Exited, &exited(0)), None);
        assert_eq!(ending(Cause::Exited, &exited(137)), Some(Ending::Killed { exit_code: 137 }));
        assert_eq!(ending(Cause::Asked(None), &exited(3)), Some(Ending::Killed { exit_code: 3 }));
        assert_eq!(ending(Cause::Asked(None), &Aftermath::default()), None);
    }

    #[test]
    fn an_ending_that_the_caller_chose_stands() {
        let oom = Aftermath { oom_killed: true, ..exited(137) };
        let lost = Cause::Asked(Some(Ending::LeaseLost));
        assert_eq!(ending(lost, &oom), Some(Ending::LeaseLost));
    }

    #[test]
    fn the_deadline_and_a_lost_engine_keep_their_names() {
        assert_eq!(ending(Cause::Deadline, &exited(0)), Some(Ending::TooSlow { ran_ms: 7 }));
        let lost = ending(Cause::EngineLost("gone".to_owned()), &Aftermath::default());
        assert_eq!(lost, Some(Ending::EngineFailed { detail: "gone".to_owned() }));
    }
}

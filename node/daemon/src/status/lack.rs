//! What is missing on this host, as a check: while it stands, nothing is evaluated here.

use node_core::limits::LACK_RETRY_MS;
use node_core::machine::HostLack;
use node_core::preflight::Level;

use super::age::{date_time, span};
use super::watch::CheckStatus;

/// How the host stands, as far as its runs tell.
pub(super) fn host_check(lack: Option<&HostLack>) -> CheckStatus {
    let (level, text) = match lack {
        None => (Level::Ok, "no run found anything missing here".to_owned()),
        Some(lack) if lack.is_engine() => {
            let (since, ending) = (date_time(lack.since), &lack.ending);
            let text = format!(
                "{ending} (since {since}): no work is asked for until it answers; `assay doctor` \
                 looks at it"
            );
            (Level::Alarm, text)
        }
        Some(lack) => {
            let (since, every) = (date_time(lack.since), span(LACK_RETRY_MS));
            let (ending, next) = (&lack.ending, lack.ending.consequence());
            let text = format!(
                "runs here end because {ending} (since {since}): {next}; no work is asked for, \
                 but for one run every {every}"
            );
            (Level::Alarm, text)
        }
    };
    CheckStatus { id: "host".to_owned(), level: level.name().to_owned(), text }
}

#[cfg(test)]
mod tests {
    use node_core::outcome::Ending;
    use node_core::unit::{MonoMs, UnixMs};

    use super::*;

    #[test]
    fn an_engine_that_does_not_answer_is_an_alarm_that_needs_no_run() {
        let ending = Ending::EngineFailed { detail: "connection refused".to_owned() };
        let (since, learnt_at, again_at) = (UnixMs(1_772_625_871_000), MonoMs(0), MonoMs(0));
        let said = host_check(Some(&HostLack { ending, since, learnt_at, again_at }));
        assert!(said.is(Level::Alarm), "{said:?}");
        assert_eq!(
            said.text,
            "the container engine failed: connection refused (since 2026-03-04 12:04:31Z): no work \
             is asked for until it answers; `assay doctor` looks at it"
        );
    }

    #[test]
    fn what_a_host_lacks_is_an_alarm_with_its_time_and_what_to_do() {
        assert!(host_check(None).is(Level::Ok));
        let ending = Ending::DatasetMissing;
        let (since, learnt_at, again_at) = (UnixMs(1_772_625_871_000), MonoMs(0), MonoMs(0));
        let said = host_check(Some(&HostLack { ending, since, learnt_at, again_at }));
        assert!(said.is(Level::Alarm), "{said:?}");
        assert_eq!(
            said.text,
            "runs here end because the data set is not on this host, or was altered (since \
             2026-03-04 12:04:31Z): given back and tried elsewhere; this node needs \
             `challenge.nas.dataset`; no work is asked for, but for one run every 5 min 00 s"
        );
    }
}

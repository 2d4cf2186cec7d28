//! What the node that runs here says of itself, and whether others get through to it.

use node_core::id::Hotkey;
use node_core::preflight;
use node_core::unit::UnixMs;

use super::probe::Holder;
use super::{Finding, Level, Topic};
use crate::config::Config;
use crate::status::{
    find, grouped, span, unix_now, CheckStatus, Found, FoundStatus, NotFound, StatusReport,
};

/// How long validators may take to call a node that they know: they ask for receipts every few
/// seconds, and learn its address from a finalized block.
const REACHED_WITHIN_MS: u64 = 600_000;

/// What to do about what a running node says of itself.
const ASK_IT: &str = "`assay status` says more; docs/operating.md, under \"When something is \
                      wrong\", what to do";

/// The node that runs with this data directory, if one does; then who has the devices.
pub(super) async fn node(config: &Config) -> (Vec<Finding>, Holder) {
    match find(&config.data_dir).await {
        Ok(status) => {
            let found = judge(&status, unix_now());
            let holder = match status.found {
                Found::Running => Holder::Node(Box::new(status.report)),
                Found::NotRunning => Holder::Nobody,
                Found::NotAnswering { .. } => Holder::Unknown,
            };
            (found, holder)
        }
        Err(error) => {
            let (finding, holder) = not_found(&error);
            (vec![finding], holder)
        }
    }
}

fn not_found(error: &NotFound) -> (Finding, Holder) {
    match error {
        NotFound::NeverRan { .. } => {
            let text = "none runs with this data directory, and none has run";
            (Finding::ok(Topic::Node, text), Holder::Nobody)
        }
        // One may run all the same: what it left cannot be read.
        NotFound::Snapshot { .. } | NotFound::Malformed { .. } => {
            let next = "run this as the user that runs the node, with its version: \
                        `runuser -u assay -- assay doctor`";
            (Finding::of_error(Topic::Node, error, next).into_warning(), Holder::Unknown)
        }
    }
}

fn judge(status: &FoundStatus, now: UnixMs) -> Vec<Finding> {
    let report = &status.report;
    match &status.found {
        Found::NotRunning => {
            let mut found = vec![Finding::ok(Topic::Node, "none runs with this data directory")];
            found.extend(reveal(report, "start it before that: `systemctl start assay`"));
            found
        }
        Found::NotAnswering { address, reason } => {
            let text = format!("one seems to run and does not answer at {address}: {reason}");
            let next = "`journalctl -u assay` shows its log; restart it if it hangs";
            vec![Finding::fail(Topic::Node, text, next)]
        }
        Found::Running => {
            let readiness = report.readiness_at(now);
            let mut found: Vec<Finding> = if readiness.ready {
                vec![Finding::ok(Topic::Node, "it runs and is ready")]
            } else {
                let reasons = readiness.reasons.iter();
                reasons.map(|reason| Finding::fail(Topic::Node, reason, ASK_IT)).collect()
            };
            found.extend(reveal(report, "do not stop it before"));
            found.extend(reach(report));
            let is_news = |check: &&CheckStatus| !readiness.reasons.contains(&check.text);
            for check in report.checks.iter().filter(is_news) {
                let level = if check.is(preflight::Level::Alarm) {
                    Level::Fail
                } else if check.is(preflight::Level::Warn) {
                    Level::Warn
                } else {
                    continue;
                };
                let text = format!("it says of {}: {}", check.id, check.text);
                found.push(Finding::at(Topic::Node, level, text, ASK_IT));
            }
            found
        }
    }
}

/// Whether other validators get through to the node. Its own calls say nothing of that, and nobody
/// outside is asked: who has called it is proof.
fn reach(report: &StatusReport) -> Option<Finding> {
    let others = || report.peers.iter().filter(|peer| !peer.is_self);
    let last = others().filter_map(|peer| Some((peer.last_call_at?, peer.hotkey))).max();
    let ago = |at: UnixMs| report.as_of.0.saturating_sub(at.0);
    let called = last.map(|(at, hotkey)| {
        (ago(at), format!("{} called this node {} ago", Hotkey::short(&hotkey), span(ago(at))))
    });
    let up = ago(report.node.started_at);
    let answering = others().filter(|peer| peer.last_answer_at.is_some()).count();
    let text = match called {
        Some((ago, said)) if ago < REACHED_WITHIN_MS || answering == 0 => {
            return Some(Finding::ok(Topic::Reach, said));
        }
        Some((_, said)) => format!("{said}, and none since, though {answering} answer it"),
        None if answering == 0 || up < REACHED_WITHIN_MS => return None,
        None => format!("of {answering} that answer this node none has called it in {}", span(up)),
    };
    let next = "let the port of `peer.listen` through the firewall, and see whether \
                `peer.advertise` is the address from outside";
    Some(Finding::warn(Topic::Reach, text, next))
}

/// A hash commit that waits to be revealed: without a node it is lost.
fn reveal(report: &StatusReport, next: &str) -> Option<Finding> {
    let due = report.weights.reveal_due.as_ref()?;
    let when = match (due.from, due.until) {
        (_, Some(until)) => format!(", before block {}", grouped(until.0)),
        (Some(from), None) => format!(", from block {} on", grouped(from.0)),
        (None, None) => String::new(),
    };
    let (epoch, opens_in) = (due.epoch, due.opens_in);
    let text =
        format!("it says that the commit of epoch {epoch} is revealed in epoch {opens_in}{when}");
    Some(Finding::warn(Topic::Node, text, next))
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use node_core::unit::{BlockNumber, EpochIndex};

    use super::super::told;
    use super::*;
    use crate::status::{sample, RevealStatus};

    /// Everything that these checks can say.
    pub(in super::super) fn findings() -> Vec<Finding> {
        let path = || PathBuf::from("/var/lib/assay/status.json");
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let unread = [
            NotFound::NeverRan { data_dir: PathBuf::from("/var/lib/assay") },
            NotFound::Snapshot { path: path(), source: denied },
            NotFound::Malformed {
                path: path(),
                source: serde_json::from_str::<u8>("x").unwrap_err(),
            },
        ];
        let mut found: Vec<Finding> = nodes().concat();
        found.extend(unread.iter().map(|error| not_found(error).0));
        found
    }

    /// What is said of one node after the other.
    fn nodes() -> Vec<Vec<Finding>> {
        let address = "127.0.0.1:9464".parse().unwrap();
        let reason = "no answer within 3 s".to_owned();
        let mut silent = sample::healthy();
        silent.peers.iter_mut().for_each(|peer| peer.last_call_at = None);
        silent.node.started_at = UnixMs(silent.as_of.0 - 2 * REACHED_WITHIN_MS);
        let mut forgotten = silent.clone();
        forgotten.peers[1].last_call_at = Some(UnixMs(forgotten.as_of.0 - REACHED_WITHIN_MS));
        let mut alone = sample::healthy();
        alone.peers.clear();
        let due = |from: Option<u64>, until: Option<u64>| {
            let mut waiting = sample::healthy();
            waiting.weights.reveal_due = Some(RevealStatus {
                epoch: EpochIndex(11),
                opens_in: EpochIndex(12),
                is_now: until.is_some(),
                from: from.map(BlockNumber),
                until: until.map(BlockNumber),
            });
            waiting
        };
        let nodes = [
            (sample::healthy(), Found::NotRunning),
            (sample::healthy(), Found::NotAnswering { address, reason }),
            (sample::healthy(), Found::Running),
            (silent, Found::Running),
            (forgotten, Found::Running),
            (alone, Found::Running),
            (sample::starting(), Found::Running),
            (sample::degraded(), Found::Running),
            (due(None, None), Found::NotRunning),
            (due(Some(4_811_000), None), Found::Running),
            (due(Some(4_811_000), Some(4_811_360)), Found::NotRunning),
        ];
        let judged = nodes.map(|(report, found)| {
            let now = report.as_of;
            judge(&FoundStatus { report, found }, now)
        });
        judged.to_vec()
    }

    #[test]
    fn a_node_is_told_as_it_is_found() {
        let said: Vec<String> = nodes().iter().map(told).collect();
        insta::assert_snapshot!(said.join("\n\n"));
    }
}

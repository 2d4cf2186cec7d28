//! What the node that runs here says of itself, and whether others get through to it.

use node_core::id::Hotkey;
use node_core::preflight;
use node_core::unit::UnixMs;

use super::probe::Holder;
use super::{Finding, Level};
use crate::config::Config;
use crate::status::{
    find, grouped, span, unix_now, CheckStatus, Found, FoundStatus, NotFound, StatusReport,
};

/// How long validators may take to call a node that they know: they ask for receipts every few
/// seconds, and learn its address from a finalized block.
const REACHED_WITHIN_MS: u64 = 600_000;

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
        Err(NotFound::NeverRan { .. }) => {
            let text = "none runs with this data directory, and none has run";
            (vec![Finding::ok("node", text)], Holder::Nobody)
        }
        // One may run all the same: what it left cannot be read.
        Err(error) => {
            let next = "run this as the user that runs the node, with its version";
            let finding = Finding::of_error("node", &error).at(Level::Warn).next(next);
            (vec![finding], Holder::Unknown)
        }
    }
}

fn judge(status: &FoundStatus, now: UnixMs) -> Vec<Finding> {
    let report = &status.report;
    match &status.found {
        Found::NotRunning => {
            let mut found = vec![Finding::ok("node", "none runs with this data directory")];
            found.extend(reveal(report).map(|finding| finding.next("start it before that")));
            found
        }
        Found::NotAnswering { address, reason } => {
            let text = format!("one seems to run and does not answer at {address}: {reason}");
            vec![Finding::fail("node", text).next("see its log; restart it if it hangs")]
        }
        Found::Running => {
            let readiness = report.readiness_at(now);
            let mut found: Vec<Finding> = if readiness.ready {
                vec![Finding::ok("node", "it runs and is ready")]
            } else {
                let next =
                    "`assay status` says more; docs/operating.md, under \"When something is \
                            wrong\", what to do";
                let reasons = readiness.reasons.iter();
                reasons.map(|reason| Finding::fail("node", reason).next(next)).collect()
            };
            found.extend(reveal(report).map(|finding| finding.next("do not stop it before")));
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
                found.push(Finding::new("node", level, text));
            }
            found
        }
    }
}

/// Whether other validators get through to the node. Its own calls say nothing of that, and nobody
/// outside is asked: who has called it is proof.
fn reach(report: &StatusReport) -> Option<Finding> {
    const ID: &str = "reach";
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
            return Some(Finding::ok(ID, said));
        }
        Some((_, said)) => format!("{said}, and none since, though {answering} answer it"),
        None if answering == 0 || up < REACHED_WITHIN_MS => return None,
        None => format!("of {answering} that answer this node none has called it in {}", span(up)),
    };
    Some(Finding::warn(ID, text).next(
        "let the port of `peer.listen` through the firewall, and see whether `peer.advertise` is \
         the address from outside",
    ))
}

/// A hash commit that waits to be revealed: without a node it is lost.
fn reveal(report: &StatusReport) -> Option<Finding> {
    let due = report.weights.reveal_due.as_ref()?;
    let when = match (due.from, due.until) {
        (_, Some(until)) => format!(", before block {}", grouped(until.0)),
        (Some(from), None) => format!(", from block {} on", grouped(from.0)),
        (None, None) => String::new(),
    };
    let (epoch, opens_in) = (due.epoch, due.opens_in);
    let text =
        format!("it says that the commit of epoch {epoch} is revealed in epoch {opens_in}{when}");
    Some(Finding::warn("node", text))
}

#[cfg(test)]
mod tests {
    use super::super::told;
    use super::*;
    use crate::status::sample;

    #[test]
    fn a_node_is_told_as_it_is_found() {
        let address = "127.0.0.1:9464".parse().unwrap();
        let reason = "no answer within 3 s".to_owned();
        let mut silent = sample::healthy();
        silent.peers.iter_mut().for_each(|peer| peer.last_call_at = None);
        silent.node.started_at = UnixMs(silent.as_of.0 - 2 * REACHED_WITHIN_MS);
        let mut forgotten = silent.clone();
        forgotten.peers[1].last_call_at = Some(UnixMs(forgotten.as_of.0 - REACHED_WITHIN_MS));
        let mut alone = sample::healthy();
        alone.peers.clear();
        let nodes = [
            (sample::healthy(), Found::NotRunning),
            (sample::healthy(), Found::NotAnswering { address, reason }),
            (sample::healthy(), Found::Running),
            (silent, Found::Running),
            (forgotten, Found::Running),
            (alone, Found::Running),
            (sample::starting(), Found::Running),
            (sample::degraded(), Found::Running),
        ];
        let said = nodes.map(|(report, found)| {
            let now = report.as_of;
            told(&judge(&FoundStatus { report, found }, now))
        });
        insta::assert_snapshot!(said.join("\n\n"));
    }
}

//! `assay peers`.

use clap::Args;
use node_core::id::Hotkey;
use node_core::publish::KeyStanding;
use node_core::unit::UnixMs;

use super::report::{ask, Asked};
use super::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{span, table, PeerStatus, StatusReport};

const EXAMPLES: &str = "\
Examples:
  assay peers
  assay peers --json | jq '.[] | select(.is_gone)'

The certificate is `published` if it has the key that the chain says; `endorsed` if the chain says
none, so that the hotkey's endorsement alone counts; `new` if the chain says another key and this
one was endorsed less than six hours ago; and if it `contradicts` the chain, the peer is refused.
`gone`: nothing was heard for so long that others take its place as a coordinator. Strikes: results
that stood alone, two different results, a broken seal; a validator with three gets no leases here.

Exit codes: 0 shown; 3 not running or not answering (what is shown is the last snapshot).";

/// Show the other validators as this node sees them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PeersCommand {
    /// Print JSON: a list, one entry per validator
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl PeersCommand {
    /// Prints them.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to show.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let Asked { report, headline, exit } = ask(&self.flags)?;
        if self.json {
            let json = serde_json::to_string_pretty(&report.peers).map_err(Failure::unexpected)?;
            output::print(&json)?;
            return Ok(exit);
        }
        output::print(&format!("{headline}{}", render(&report)))?;
        Ok(exit)
    }
}

fn render(report: &StatusReport) -> String {
    let mut table = table(&[
        "validator",
        "uid",
        "endpoint",
        "state",
        "certificate",
        "last answer",
        "last call",
        "receipts",
        "strikes",
        "failure",
    ]);
    for peer in report.peers.iter().filter(|peer| !peer.is_self) {
        let ago = |at: Option<UnixMs>| {
            let ago = at.map(|at| report.as_of.0.saturating_sub(at.0));
            ago.map_or_else(|| "never".to_owned(), |ago| format!("{} ago", span(ago)))
        };
        table.add_row([
            Hotkey::short(&peer.hotkey),
            peer.uid.map_or_else(|| "-".to_owned(), |uid| uid.to_string()),
            peer.endpoint.map_or_else(|| "not published".to_owned(), |at| at.to_string()),
            state(peer).to_owned(),
            certificate(peer).to_owned(),
            ago(peer.last_answer_at),
            ago(peer.last_call_at),
            peer.receipts_until.to_string(),
            peer.strikes.to_string(),
            peer.last_failure.clone().unwrap_or_default(),
        ]);
    }
    if report.peers.iter().all(|peer| peer.is_self) {
        return "no other validator is known; this node evaluates alone\n".to_owned();
    }
    format!("{}\n", table.trim_fmt())
}

fn state(peer: &PeerStatus) -> &'static str {
    match (peer.endpoint, peer.is_gone, &peer.last_failure) {
        (None, _, _) => "no address",
        (Some(_), true, _) => "gone",
        (Some(_), false, Some(_)) => "failing",
        (Some(_), false, None) if peer.last_answer_at.is_some() => "answering",
        (Some(_), false, None) => "not asked yet",
    }
}

fn certificate(peer: &PeerStatus) -> &'static str {
    match peer.certificate {
        Some(KeyStanding::Published) => "published",
        Some(KeyStanding::Endorsed) => "endorsed",
        Some(KeyStanding::New) => "new",
        Some(KeyStanding::Contradicts) => "contradicts",
        None => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::sample;

    #[test]
    fn every_other_validator_has_a_line_that_says_how_it_stands() {
        let mut report = sample::healthy();
        report.peers.retain(|peer| !peer.is_self);
        let others = report.peers.len();
        report.peers[0].is_gone = true;
        report.peers[0].strikes = 2;
        let text = render(&report);
        assert_eq!(text.lines().count(), others + 1, "{text}");
        let gone = text.lines().nth(1).unwrap();
        assert!(gone.contains(" gone ") && gone.contains(" 2 "), "{text}");
    }

    #[test]
    fn how_each_certificate_stands_is_shown_and_the_same_in_json() {
        let mut report = sample::healthy();
        report.peers.retain(|peer| !peer.is_self);
        for (standing, name) in [
            (Some(KeyStanding::Published), "published"),
            (Some(KeyStanding::Endorsed), "endorsed"),
            (Some(KeyStanding::New), "new"),
            (Some(KeyStanding::Contradicts), "contradicts"),
            (None, "-"),
        ] {
            report.peers[0].certificate = standing;
            let text = render(&report);
            let words: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
            assert_eq!(words[4], name, "{text}");
            let json = serde_json::to_value(&report.peers[0]).unwrap();
            assert_eq!(json["certificate"].as_str().unwrap_or("-"), name);
        }
    }

    #[test]
    fn alone_it_says_so() {
        let mut report = sample::healthy();
        report.peers.retain(|peer| peer.is_self);
        assert_eq!(render(&report), "no other validator is known; this node evaluates alone\n");
    }
}

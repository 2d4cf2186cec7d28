//! `assay weights verify`.

use clap::Args;
use node_core::unit::BlockNumber;
use node_core::view::ChainView;
use node_store::{MechanismHistory, Owner};
use serde::Serialize;

use super::compare::{compare, Check};
use super::place::{chain_and_wallet, read_own_chain, Place};
use super::table::{line, table};
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::grouped;

const EXAMPLES: &str = "\
Examples:
  assay weights verify
  assay weights verify --data-dir /var/lib/assay --json | jq '.checks[] | select(.agrees | not)'

What is compared, in the newest finalized block:
  registered       the hotkey has a uid on the subnet
  last_update      the hotkey's last update is a vector of ours, or was adopted
  row              the chain's row is the newest vector that landed or was revealed
  commits          every commit that waits to be opened is ours, and ours are there
  live_signatures  no two signatures of one epoch can both still land

Exit codes: 0 everything agrees; 1 something does not; 69 no journal, or no chain answers.";

/// Compare the journal with the chain.
///
/// Works on a stopped node's data directory and beside a running one; nothing is changed.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct VerifyCommand {
    /// Print JSON: `as_of_block`, `hotkey`, `netuid`, `mechanism`, `agrees`, `checks` and, if
    /// something does not agree, `next`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

#[derive(Serialize)]
struct Answer {
    as_of_block: BlockNumber,
    hotkey: String,
    netuid: u16,
    mechanism: u8,
    agrees: bool,
    checks: Vec<Check>,
    /// What to do, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'static str>,
}

impl VerifyCommand {
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let place = Place::of(&self.flags)?;
        let owner = place.owner()?;
        let (chain, _) = chain_and_wallet(&self.flags)?;
        let mechanism = place.weights.mechanism;
        // The chain first: what lands between the two readings is then only in the journal.
        let view = read_own_chain(&chain, mechanism, &owner)?;
        let known = place.mechanism(&place.history(owner)?);
        let checks = checks(&view, &owner, &known);
        let answer = Answer {
            as_of_block: view.number,
            hotkey: owner.hotkey.to_string(),
            netuid: owner.netuid.0,
            mechanism,
            agrees: checks.iter().all(|check| check.agrees),
            next: next(&checks, place.is_restored(&owner)?),
            checks,
        };
        let text = if self.json {
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            render(&answer)
        };
        output::print(&text)?;
        Ok(if answer.agrees { ExitReason::Done } else { ExitReason::Failed })
    }
}

fn checks(view: &ChainView, owner: &Owner, known: &MechanismHistory) -> Vec<Check> {
    let Some(own) = view.neuron(&owner.hotkey) else {
        let detail = format!("hotkey {} has no uid on subnet {}", owner.hotkey, owner.netuid);
        return vec![Check { check: "registered", agrees: false, detail }];
    };
    let detail = format!("uid {} since block {}", own.uid, grouped(own.registered_at.0));
    let registered = Check { check: "registered", agrees: true, detail };
    std::iter::once(registered).chain(compare(view, own, known)).collect()
}

/// What to do about the first thing that is wrong.
///
/// - `is_restored`: the journal is a copy, and its node has not waited long enough yet.
fn next(checks: &[Check], is_restored: bool) -> Option<&'static str> {
    let wrong = checks.iter().find(|check| !check.agrees)?;
    Some(match wrong.check {
        "last_update" | "row" | "commits" if is_restored => {
            "the journal was put back from a copy, which may lack what was signed since: start the \
             node, which signs nothing until that is dead, and vouches for what landed of it"
        }
        "registered" => "register the hotkey, or set the wallet and subnet that are meant",
        "live_signatures" => "let no node start with this hotkey until the next epoch has begun",
        _ => {
            "find out what else signs with this hotkey (another machine, another program, `btcli`) \
             and stop it; merge its history with `assay weights import FILE`, or vouch for it with \
             `assay weights adopt`. docs/operating.md says how, under exit code 70"
        }
    })
}

fn render(answer: &Answer) -> String {
    let verdict = if answer.agrees { "AGREES" } else { "DISAGREES" };
    let mut text =
        format!("{verdict}  journal and chain as of block {}\n", grouped(answer.as_of_block.0));
    line(&mut text, "hotkey", &answer.hotkey);
    line(&mut text, "subnet", &format!("{}, mechanism {}", answer.netuid, answer.mechanism));
    let mut checks: Vec<&Check> = answer.checks.iter().collect();
    // What is wrong stands first.
    checks.sort_by_key(|check| check.agrees);
    let rows = checks.iter().map(|check| {
        let verdict = if check.agrees { "ok" } else { "WRONG" };
        [check.check.to_owned(), verdict.to_owned(), check.detail.clone()]
    });
    text.push_str(&format!("\n{}", table(["check", "verdict", "found"], rows.collect())));
    if let Some(next) = answer.next {
        text.push_str(&format!("\nnext: {next}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_first_and_what_to_do_last() {
        let check =
            |check, agrees, detail: &str| Check { check, agrees, detail: detail.to_owned() };
        let checks = vec![
            check("registered", true, "uid 3 since block 10"),
            check("last_update", false, "block 4 812 300: another signer"),
        ];
        let answer = Answer {
            as_of_block: BlockNumber(4_812_330),
            hotkey: "5Grw".to_owned(),
            netuid: 3,
            mechanism: 0,
            agrees: false,
            next: next(&checks, false),
            checks,
        };
        let text = render(&answer);
        let (found, told) = text.split_once("\nnext: ").unwrap();
        insta::assert_snapshot!(found, @r"
        DISAGREES  journal and chain as of block 4 812 330
        hotkey      5Grw
        subnet      3, mechanism 0

        check        verdict  found
        last_update  WRONG    block 4 812 300: another signer
        registered   ok       uid 3 since block 10
        ");
        assert!(told.starts_with("find out what else signs with this hotkey"), "{told}");
    }

    #[test]
    fn what_a_copy_does_not_explain_is_no_reason_to_look_for_another_signer() {
        let check = |check| Check { check, agrees: false, detail: String::new() };
        assert!(next(&[check("row")], true).unwrap().contains("put back from a copy"));
        assert!(next(&[check("row")], false).unwrap().contains("what else signs"));
        assert!(next(&[check("registered")], true).unwrap().starts_with("register"));
    }

    #[test]
    fn where_all_agree_nothing_is_to_be_done() {
        let check = Check { check: "row", agrees: true, detail: String::new() };
        assert_eq!(next(&[check], false), None);
    }
}

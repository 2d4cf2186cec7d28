//! `assay policy show`.

use clap::{Args, Subcommand};
use node_core::policy::Policy;
use serde::Serialize;

use super::flags::ConfigFlags;
use crate::config::Nas;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay policy show                                       the rules of this node
  assay policy show --set challenge.nas.policy=standard   those of the challenge
  assay policy show > policy.toml                         a file to change numbers in
  assay policy show --set challenge.nas.policy_file=policy.toml
                                                          is that file right, and what comes out?

A policy file needs only what it changes, and a `name` of its own. All validators of a subnet have
to have the same digest: leases and receipts carry it, and a node leaves out who has another.

Exit codes: 0 shown; 64 the settings or the file are wrong.";

/// Show the rules of the challenge: every number, and the digest by which validators compare them.
#[derive(Debug, Args)]
pub struct PolicyCommand {
    #[command(subcommand)]
    command: PolicySubcommand,
}

#[derive(Debug, Subcommand)]
enum PolicySubcommand {
    Show(ShowCommand),
}

/// Print the rules that hold with these settings, as a policy file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct ShowCommand {
    /// Print JSON: an object with name, digest and policy
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    name: &'a str,
    digest: String,
    policy: &'a Policy,
}

impl PolicyCommand {
    /// Prints the policy.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the settings or the file are wrong.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let PolicySubcommand::Show(show) = self.command;
        let nas = show.flags.settings().section(Nas::read).map_err(Failure::bad_configuration)?;
        let policy = nas.rules()?;
        let text = if show.json {
            let (name, digest) = (policy.name.as_str(), policy.digest().to_string());
            let answer = Answer { name, digest, policy: &policy };
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            as_file(&policy)?
        };
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

fn as_file(policy: &Policy) -> Result<String, Failure> {
    let rules = toml::to_string(policy).map_err(Failure::unexpected)?;
    Ok(format!("# digest {}\n{}", policy.digest(), rules.trim_end()))
}

//! `assay submissions`.

mod list;
mod resolve;
mod show;

use clap::{Args, Subcommand};

use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::status::{StatusReport, SubmissionStatus};

const EXAMPLES: &str = "\
Examples:
  assay submissions list --stage held                        what waits for you
  assay submissions show 7866e9f2                            why, and what is known of it
  assay submissions resolve 7866e9f2 --admit                 let it be evaluated
  assay submissions resolve 7866e9f2 --reject \"a renamed copy\"

A submission is held where no rule is broken, for one of three reasons; nobody else decides for this
node. If nobody does:
  its code is much like somebody else's earlier work    evaluated after the policy's `hold_blocks`
  its review by a language model has not come           held until it comes; time does not end it
  the architecture that it trains is not accepted here  rejected at the block that `show` names,
                                                        unless it comes; `--admit` is refused";

/// List submissions, show one, or decide about one that is held.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SubmissionsCommand {
    #[command(subcommand)]
    command: SubmissionsSubcommand,
}

#[derive(Debug, Subcommand)]
enum SubmissionsSubcommand {
    List(Box<list::ListCommand>),
    Show(Box<show::ShowCommand>),
    Resolve(Box<resolve::ResolveCommand>),
}

impl SubmissionsCommand {
    /// Does what the subcommand says.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if no node answers, or if it refuses.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        match self.command {
            SubmissionsSubcommand::List(command) => command.execute(),
            SubmissionsSubcommand::Show(command) => command.execute(),
            SubmissionsSubcommand::Resolve(command) => command.execute(),
        }
    }
}

/// Why no submission is meant.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error("no submission that this node reports begins with `{0}`")]
    Nothing(String),
    #[error("`{0}` is the beginning of {1} submissions")]
    Several(String, usize),
}

/// The submission whose id begins so.
pub(in crate::cli) fn find<'a>(
    report: &'a StatusReport,
    id: &str,
) -> Result<&'a SubmissionStatus, Failure> {
    let begins = |row: &&SubmissionStatus| row.id.to_string().starts_with(id);
    let mut found = report.submissions.iter().filter(begins);
    let not_found = match (found.next(), found.count()) {
        (Some(one), 0) => return Ok(one),
        (None, _) => NotFound::Nothing(id.to_owned()),
        (Some(_), others) => NotFound::Several(id.to_owned(), others + 1),
    };
    Err(Failure::unexpected(not_found)
        .hint("`assay submissions list` lists them; give more digits, or all"))
}

//! `assay backup`, `assay verify`, `assay restore`: a copy of everything that a node knows.
//!
//! ```text
//! running node --POST /store/backup--+
//!                                    +--> FILE.partial --checked--> FILE --> empty data directory
//! stopped node's directory ----------+
//! ```
//!
//! Not here: how a copy is of one moment and what stands in it (`node-store`), and what a node does
//! that comes from one (`node-core`).

mod file;
mod leftovers;
mod making;
mod restore;
mod source;
mod verify;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use node_store::{BackupReport, Copied};

use super::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::{date_time, grouped};
use making::Made;
use source::Source;

pub(super) use restore::RestoreCommand;
pub(super) use verify::VerifyCommand;

const EXAMPLES: &str = "\
Examples:
  assay backup assay.jsonl
  assay backup /srv/backups/assay-$(date +%F).jsonl --config /etc/assay/assay.toml
  runuser -u assay -- assay backup /var/lib/assay/backups/now.jsonl --data-dir /var/lib/assay

The node goes on meanwhile; the copy is of the moment at which it was begun. What it does not hold:
keys, passwords, and miners' archives, which are fetched again. What it holds: the salts of hash
commits and vectors that are not revealed yet, so keep it to yourself.

What is signed after the copy is not in it: see `assay restore --help`. `assay weights export`
writes what was signed alone, which is quick and worth doing more often.

Until it is whole the copy is FILE.partial-PID. Ctrl-C and SIGTERM remove that; what a killed copy
left is removed by the next one of the same name, and told by one of another name.

Exit codes: 0 written; 1 the store is damaged, or changed too much meanwhile; 3 the node stopped
answering; 64 the file is there already; 69 no node has run here, or the file cannot be written; 130
interrupted, and nothing is left of the copy.";

/// Copy everything the node knows into a file, also while it runs.
///
/// A running node is asked for the copy; of a stopped one its data directory is read. The file can
/// be read by its owner only, and has its name once it is complete and was read back.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BackupCommand {
    /// Where to
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Replace the file if it is there
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

impl BackupCommand {
    /// Writes the copy.
    ///
    /// # Errors
    ///
    /// A [`Failure`] with the next step; the file does not exist then, or is what it was.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let started = Instant::now();
        let source = Source::find(&self.flags)?;
        let from = source.name();
        for told in leftovers::clear(&self.file).text() {
            output::print_error(&told);
        }
        let report = match making::make(source, &self.file, self.force)? {
            Made::Whole(report) => report,
            Made::Interrupted(step) => {
                let (step, path) = (step.name(), self.file.display());
                output::print_error(&format!(
                    "interrupted while {step}; `{path}` was not written, and nothing is left of it"
                ));
                return Ok(ExitReason::LeftAtOnce);
            }
        };
        let mut text = String::new();
        line(&mut text, "backup", &self.file.display().to_string());
        line(&mut text, "from", from);
        text.push_str(&described(&report));
        line(&mut text, "took", &format!("{:.1} s", started.elapsed().as_secs_f64()));
        line(&mut text, "holds", "no key, no password; vectors before they are revealed");
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

/// Twelve characters of name, then the text.
fn line(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("{name:<12}{text}\n"));
}

/// Whose copy it is, of when, and how much.
fn described(report: &BackupReport) -> String {
    let BackupReport { head, copied, .. } = report;
    let Copied { rows, frozen, journal, bytes } = copied;
    let mut text = String::new();
    line(&mut text, "hotkey", &head.owner.hotkey.to_string());
    line(&mut text, "subnet", &format!("{} of chain {}", head.owner.netuid, head.owner.genesis));
    line(&mut text, "made", &date_time(head.made_at));
    line(&mut text, "rows", &grouped(*rows));
    line(&mut text, "put away", &format!("{} records", grouped(*frozen)));
    line(&mut text, "journal", &format!("{} lines", grouped(*journal)));
    line(&mut text, "bytes", &grouped(*bytes));
    text
}

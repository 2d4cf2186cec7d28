//! `assay replay`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use node_history::{Entry, Filter, Header, Outline, Replay, Step, Violation};
use serde::Serialize;

use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

/// Entries that are shown where no number is given.
const COUNT: usize = 100;

const EXAMPLES: &str = "\
Examples:
  assay replay seed-88.jsonl                            its first steps, and what was broken
  assay replay seed-88.jsonl --from 6700 --count 40     what happened from step 6700 on
  assay replay seed-88.jsonl --step 6702                one step, and all that its node knew then
  assay replay seed-88.jsonl --node 2 --submission 21   what node 2 did about submission 21
  assay replay seed-88.jsonl --json | jq .happened      the same as JSON, a line each

The simulator (`scripts/simulate`) writes such a file for every seed that breaks an invariant, and
says where. It is read alone: no node has to run, and nothing is executed again. Names are short:
`v2` is validator 2, `s3` submission 3, `s3/0` its replica 0, and `lease s3/0@v1#2` the second grant
of that replica by v1.

Exit codes: 0 shown; 1 nothing fits; 64 the file cannot be read or is none of the simulator.";

/// Step through a history that the simulator recorded.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayCommand {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Show only this step, with all that its node knew after it
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "count"])]
    step: Option<u64>,

    /// Begin at this step
    #[arg(long, value_name = "N")]
    from: Option<u64>,

    /// Show so many entries [default: 100]
    #[arg(long, value_name = "M")]
    count: Option<usize>,

    /// Show what happened to this node, and to the world
    #[arg(long, value_name = "I")]
    node: Option<usize>,

    /// Show what is about this submission
    #[arg(long, value_name = "S")]
    submission: Option<usize>,

    /// Print JSON, a line for each: `began`, `happened` (with `state` for --step) and `failed`
    #[arg(long)]
    json: bool,
}

/// Why nothing is shown.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("cannot open `{path}`")]
    Open {
        path: String,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` cannot be stepped through")]
    Read {
        path: String,
        #[source]
        source: node_history::ReplayError,
    },
    #[error("nothing in `{path}` fits")]
    NothingFits { path: String },
}

impl ReplayCommand {
    /// Prints the steps that are asked for, and what was broken.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the file is none of the simulator, or nothing in it fits.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let path = self.file.display().to_string();
        let unreadable = |source| {
            let path = path.clone();
            Failure::bad_configuration(Trouble::Read { path, source })
                .hint("give it a file that `scripts/simulate` wrote, such as `seed-88.jsonl`")
        };
        let file = open(&self.file)?;
        let replay = Replay::open(BufReader::new(file)).map_err(unreadable)?;
        let mut shown = Shown::new(&self);
        shown.say(&replay.header().to_string(), &Said::Began(replay.header()));
        let filter = Filter {
            node: self.node,
            submission: self.submission,
            from: self.step.or(self.from),
            until: self.step,
        };
        replay.step_through(&filter, |step| shown.take(&step)).map_err(unreadable)?;
        shown.end(&path)
    }
}

fn open(path: &Path) -> Result<File, Failure> {
    File::open(path).map_err(|source| {
        let path = path.display().to_string();
        Failure::bad_configuration(Trouble::Open { path, source })
            .hint("`scripts/simulate` prints the path of each file that it writes")
    })
}

/// A line of the JSON.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Said<'a> {
    Began(&'a Header<Outline>),
    Happened {
        #[serde(flatten)]
        entry: &'a Entry,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'a BTreeMap<String, String>>,
    },
    Failed(&'a Violation),
}

/// What was shown so far.
struct Shown<'a> {
    command: &'a ReplayCommand,
    left: usize,
    has_any: bool,
    /// The first step that was left out.
    next: Option<u64>,
    /// Whether stdout takes more, or why not.
    reader: Result<bool, Failure>,
}

impl<'a> Shown<'a> {
    fn new(command: &'a ReplayCommand) -> Self {
        let all_of_a_step = command.step.map(|_| usize::MAX);
        let left = all_of_a_step.or(command.count).unwrap_or(COUNT);
        Self { command, left, has_any: false, next: None, reader: Ok(true) }
    }

    /// Shows a step; returns whether more are wanted.
    fn take(&mut self, step: &Step<'_>) -> bool {
        match step {
            Step::Failed(violation) => {
                self.say(&violation.to_string(), &Said::Failed(violation));
            }
            Step::Happened(entry, _) if self.left == 0 => {
                self.next.get_or_insert(entry.step);
            }
            Step::Happened(entry, state) => {
                self.left = self.left.saturating_sub(1);
                self.has_any = true;
                let state = self.command.step.filter(|_| entry.is_event).map(|_| *state);
                let mut text = entry.to_string();
                for (name, value) in state.into_iter().flatten() {
                    text.push_str(&format!("\n        {name}: {value}"));
                }
                self.say(&text, &Said::Happened { entry, state });
            }
        }
        matches!(self.reader, Ok(true))
    }

    fn say(&mut self, text: &str, said: &Said<'_>) {
        if !matches!(self.reader, Ok(true)) {
            return;
        }
        self.reader = if self.command.json {
            serde_json::to_string(said)
                .map_err(Failure::unexpected)
                .and_then(|line| output::print_more(&line))
        } else {
            output::print_more(&printable(text))
        };
    }

    fn end(self, path: &str) -> Result<ExitReason, Failure> {
        let is_there = self.reader?;
        if !self.has_any && is_there {
            let path = path.to_owned();
            return Err(Failure::unexpected(Trouble::NothingFits { path })
                .hint("leave out a flag; steps, nodes and submissions are in the first lines"));
        }
        if let Some(next) = self.next.filter(|_| is_there && !self.command.json) {
            output::print(&format!("more: --from {next}"))?;
        }
        Ok(ExitReason::Done)
    }
}

/// The text without what a terminal would obey.
fn printable(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_not_printed() {
        assert_eq!(printable("s3:\n \u{1b}[2Jgone"), "s3:\n \u{fffd}[2Jgone");
    }
}

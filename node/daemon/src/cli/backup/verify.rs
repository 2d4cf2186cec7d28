//! `assay verify`.

use std::path::{Path, PathBuf};

use clap::Args;
use node_core::unit::UnixMs;
use node_store::{check_backup, BackupError, BackupReport};
use serde::Serialize;

use super::source::Source;
use super::{described, line};
use crate::admin::StoreSummary;
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::run::describe;
use crate::status::grouped;

const EXAMPLES: &str = "\
Examples:
  assay verify                     every row and journal line of this node, running or not
  assay verify assay.jsonl         is this backup whole, and whose is it?
  assay verify --json | jq .damaged

Nothing is changed. `assay weights verify` compares what was signed with the chain, `assay dataset
verify` looks at a data set.

A running node is read through for one who asks at a time; a second one is refused and told so.

Exit codes: 0 sound; 1 something is damaged, the file is no whole backup, or the node is being read
through already; 3 the node stopped answering; 69 no node has run here, or the file cannot be
read.";

/// Damaged records that are printed; `--json` has more.
const DAMAGED_SHOWN: usize = 10;

/// Read everything that the node keeps, or a backup, and say whether it is sound.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct VerifyCommand {
    /// What `assay backup` wrote; without it the node's own store is read
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Print JSON: `source` (running, stopped, file), `sound`, `rows` by table, `journal`; of a
    /// store `lacks_rows`, `damaged_count` and `damaged`, of a file `hotkey`, `netuid`, `genesis`,
    /// `made_at`, or `problem`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// What `--json` prints of a store.
#[derive(Serialize)]
struct StoreAnswer<'a> {
    source: &'static str,
    sound: bool,
    #[serde(flatten)]
    summary: &'a StoreSummary,
}

/// What `--json` prints of a file.
#[derive(Serialize)]
struct FileAnswer {
    source: &'static str,
    sound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hotkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    netuid: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    genesis: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    made_at: Option<UnixMs>,
    rows: std::collections::BTreeMap<&'static str, u64>,
    frozen: u64,
    journal: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl VerifyCommand {
    /// Prints how store or file look.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing that could be read, or the file is no whole backup.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        match &self.file {
            Some(path) => self.verify_file(path),
            None => self.verify_store(),
        }
    }

    fn verify_store(&self) -> Result<ExitReason, Failure> {
        let source = Source::find(&self.flags)?;
        let summary = source.look_through()?;
        let sound = summary.damaged_count == 0;
        let text = if self.json {
            let answer = StoreAnswer { source: source.word(), sound, summary: &summary };
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            render(source.name(), &summary)
        };
        output::print(&text)?;
        Ok(if sound { ExitReason::Done } else { ExitReason::Failed })
    }

    fn verify_file(&self, path: &Path) -> Result<ExitReason, Failure> {
        let checked = check_backup(path);
        if self.json {
            let text = serde_json::to_string_pretty(&file_answer(&checked));
            output::print(&text.map_err(Failure::unexpected)?)?;
        }
        let report = checked.map_err(|error| {
            let hint = error.next_step();
            let exit = match &error {
                BackupError::Io { .. } => ExitReason::Unavailable,
                _ => ExitReason::Failed,
            };
            Failure::new(exit, error).hint(hint)
        })?;
        if !self.json {
            output::print(&format!("SOUND       {}\n{}", path.display(), described(&report)))?;
        }
        Ok(ExitReason::Done)
    }
}

fn file_answer(checked: &Result<BackupReport, BackupError>) -> FileAnswer {
    let report = checked.as_ref().ok();
    let owner = report.map(|report| report.head.owner);
    let records = report.into_iter().flat_map(|report| &report.records);
    FileAnswer {
        source: "file",
        sound: report.is_some(),
        hotkey: owner.map(|owner| owner.hotkey.to_string()),
        netuid: owner.map(|owner| owner.netuid.0),
        genesis: owner.map(|owner| owner.genesis.to_string()),
        made_at: report.map(|report| report.head.made_at),
        rows: records.map(|(table, count)| (table.name(), *count)).collect(),
        frozen: report.map_or(0, |report| report.copied.frozen),
        journal: report.map_or(0, |report| report.copied.journal),
        problem: checked.as_ref().err().map(|error| describe(error)),
    }
}

fn render(source: &str, summary: &StoreSummary) -> String {
    let StoreSummary { rows, frozen, journal, lacks_rows, damaged_count, damaged } = summary;
    let mut text = String::new();
    if *damaged_count == 0 {
        line(&mut text, "SOUND", source);
    } else {
        let count = grouped(*damaged_count);
        line(&mut text, "DAMAGED", &format!("{source}: {count} rows or records cannot be read"));
    }
    let filled = rows.iter().filter(|(_, count)| **count > 0);
    let filled: Vec<String> =
        filled.map(|(table, count)| format!("{table} {}", grouped(*count))).collect();
    let all = grouped(rows.values().sum());
    let by_table =
        if filled.is_empty() { String::new() } else { format!(": {}", filled.join(", ")) };
    line(&mut text, "rows", &format!("{all}{by_table}"));
    line(&mut text, "put away", &format!("{} records", grouped(*frozen)));
    line(&mut text, "journal", &format!("{} lines", grouped(*journal)));
    if *lacks_rows {
        line(&mut text, "missing", "rows that peers have not told again yet; the node catches up");
    }
    for record in damaged.iter().take(DAMAGED_SHOWN) {
        line(&mut text, "damaged", record);
    }
    if *damaged_count > 0 {
        let next = "restart the node: it leaves rows out, catches up with its peers, and neither \
                    grants nor signs until it has; what was put away is found again in its files \
                    where they are whole, and missing from explanations where not";
        line(&mut text, "next", next);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> StoreSummary {
        let rows = [("cursors", 2), ("leases", 1_200), ("runs", 0)];
        StoreSummary {
            rows: rows.map(|(table, count)| (table.to_owned(), count)).into(),
            frozen: 3,
            journal: 41,
            lacks_rows: false,
            damaged_count: 0,
            damaged: Vec::new(),
        }
    }

    #[test]
    fn a_sound_store_is_told_in_four_lines() {
        insta::assert_snapshot!(render("the running node", &summary()), @r"
        SOUND       the running node
        rows        1 202: cursors 2, leases 1 200
        put away    3 records
        journal     41 lines
        ");
    }

    #[test]
    fn what_is_damaged_is_named_with_what_to_do() {
        let damaged = vec!["record 0202 of `cursors` cannot be read: bytes are damaged".to_owned()];
        let summary = StoreSummary { lacks_rows: true, damaged_count: 1, damaged, ..summary() };
        let text = render("the data directory of a stopped node", &summary);
        let (found, next) = text.split_once("next        ").unwrap();
        insta::assert_snapshot!(found, @r"
        DAMAGED     the data directory of a stopped node: 1 rows or records cannot be read
        rows        1 202: cursors 2, leases 1 200
        put away    3 records
        journal     41 lines
        missing     rows that peers have not told again yet; the node catches up
        damaged     record 0202 of `cursors` cannot be read: bytes are damaged
        ");
        assert!(next.starts_with("restart the node"), "{next}");
    }
}

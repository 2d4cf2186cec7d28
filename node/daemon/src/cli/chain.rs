//! `assay chain`: what the chain's runtime is to this node.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use node_chain::{
    shapes_in_file, Capability, ChainClient, ChainConfig, MetadataError, ShapeReport, ShapeRow,
    Verdict, METADATA_BYTES_MAX,
};
use serde::Serialize;

use super::flags::ConfigFlags;
use super::runtime::block_on;
use crate::config::Chain;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay chain check                                   the configured chain, as it is now
  assay chain check --subtensor.network test          the test network, which upgrades first
  assay chain check --endpoint ws://127.0.0.1:9944    another endpoint
  assay chain check --metadata finney.scale           a file, without any chain
  assay chain check --problems                        only what is not as expected
  assay chain check --json | jq '.items[] | select(.verdict == \"fatal\")'

A metadata file comes from any node:
  curl -s -H 'Content-Type: application/json' http://127.0.0.1:9944 \\
    -d '{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"state_getMetadata\"}' > now.json

Verdicts:
  ok          as expected
  compatible  different, and still read and written rightly
  fallback    missing or different, and the node knows what to do instead
  FATAL       missing or different, and the node cannot do what needs it; it never signs such a
              call, and goes on with everything else

Exit codes: 0 nothing is fatal; 64 bad arguments, or the file is no metadata; 69 something is
fatal, or no endpoint answers.";

/// Ask whether this node understands a chain.
#[derive(Debug, Args)]
pub struct ChainCommand {
    #[command(subcommand)]
    command: ChainSubcommand,
}

#[derive(Debug, Subcommand)]
enum ChainSubcommand {
    Check(CheckCommand),
}

/// Compare a chain's runtime with everything this node uses of it.
///
/// The chain changes about weekly: calls, storage items and runtime calls appear, disappear and
/// change their types. This looks up each one that the node reads, calls or signs, takes wrappers
/// off, compares, and says what is lost. A running node does the same at start and whenever the
/// runtime changes; this tells it beforehand.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct CheckCommand {
    /// Metadata to check instead of a chain: SCALE, hexadecimal, or a node's JSON answer
    #[arg(long, value_name = "FILE", conflicts_with = "endpoint")]
    metadata: Option<PathBuf>,

    /// Endpoint to check instead of the configured ones
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,

    /// Show only what is not as expected
    #[arg(long)]
    problems: bool,

    /// Print JSON: `source`, `spec_name`, `spec_version`, `worst`, `can` and `items`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// The narrowest terminal on which names are kept whole and only details are folded.
const WHOLE_NAMES_COLUMNS_MIN: u16 = 100;

/// Why a file cannot be checked.
#[derive(Debug, thiserror::Error)]
enum FileRefused {
    #[error("cannot read `{path}`")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("`{path}` cannot be checked")]
    Metadata {
        path: PathBuf,
        #[source]
        source: MetadataError,
    },
}

/// An endpoint that contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint names a finalized block that it does not have")]
struct NoHead;

impl ChainCommand {
    /// Prints the comparison.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if there is nothing to compare with.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let ChainSubcommand::Check(check) = self.command;
        let (source, report) = match &check.metadata {
            Some(path) => {
                let settings = check.flags.settings_without_subnet(None);
                settings.section(|_| Some(())).map_err(Failure::bad_configuration)?;
                (format!("`{}`", path.display()), Arc::new(from_file(path)?))
            }
            None => check.ask_chain()?,
        };
        let text = if check.json {
            serde_json::to_string_pretty(&Answer::new(&source, &report, check.problems))
                .map_err(Failure::unexpected)?
        } else {
            let width = terminal_size::terminal_size().map(|(width, _)| width.0);
            render(&source, &report, check.problems, width)
        };
        output::print(&text)?;
        Ok(if report.worst().lost().is_empty() {
            ExitReason::Done
        } else {
            ExitReason::Unavailable
        })
    }
}

fn from_file(path: &Path) -> Result<ShapeReport, Failure> {
    // Hexadecimal takes two characters per byte; what is longer is refused by its length.
    let limit = 2 * METADATA_BYTES_MAX as u64 + 8192;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|source| FileRefused::Read { path: path.to_owned(), source })
        .map_err(|error| Failure::bad_configuration(error).hint("name a file that can be read"))?;
    shapes_in_file(&bytes)
        .map_err(|source| FileRefused::Metadata { path: path.to_owned(), source })
        .map_err(|error| {
            Failure::bad_configuration(error).hint(
                "save the whole answer of `state_getMetadata`; see `assay chain check --help`",
            )
        })
}

impl CheckCommand {
    fn ask_chain(&self) -> Result<(String, Arc<ShapeReport>), Failure> {
        let settings = self.flags.settings_without_subnet(self.endpoint.as_deref());
        let chain = settings.section(Chain::read).map_err(Failure::bad_configuration)?;
        let shown: Vec<String> = chain.endpoints.iter().map(ToString::to_string).collect();
        let report = block_on(ask(&chain)).map_err(Failure::unexpected)??;
        Ok((format!("`{}`", shown.join("`, `")), report))
    }
}

async fn ask(chain: &Chain) -> Result<Arc<ShapeReport>, Failure> {
    let urls = chain.endpoints.iter().map(|endpoint| endpoint.url().to_owned()).collect();
    let settings = ChainConfig {
        expected_genesis: chain.genesis,
        allow_insecure: chain.allow_insecure,
        ..ChainConfig::new(urls, chain.netuid)
    };
    let hint = "name an endpoint that answers with `--endpoint`, or a file with `--metadata`";
    let client = ChainClient::connect(settings)
        .await
        .map_err(|error| Failure::unavailable(error).hint(hint))?;
    let head = client
        .finalized_head()
        .await
        .map_err(|error| Failure::unavailable(error).hint(hint))?
        .ok_or_else(|| Failure::unavailable(NoHead).hint(hint))?;
    client.shape_report(head.hash).await.map_err(|error| Failure::unavailable(error).hint(hint))
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    source: &'a str,
    spec_name: Option<&'a str>,
    spec_version: Option<u32>,
    worst: String,
    can: Vec<Can>,
    items: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Can {
    what: &'static str,
    possible: bool,
}

#[derive(Serialize)]
struct Item<'a> {
    kind: &'static str,
    name: &'a str,
    verdict: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    found: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lost: Vec<&'static str>,
}

impl<'a> Answer<'a> {
    fn new(source: &'a str, report: &'a ShapeReport, problems_only: bool) -> Self {
        let spec = report.spec.as_ref();
        let can = Capability::ALL
            .iter()
            .map(|capability| Can { what: capability.name(), possible: report.can(*capability) });
        Self {
            source,
            spec_name: spec.map(|(name, _)| name.as_str()),
            spec_version: spec.map(|(_, version)| *version),
            worst: report.worst().name().to_lowercase(),
            can: can.collect(),
            items: shown_rows(report, problems_only).into_iter().map(Item::new).collect(),
        }
    }
}

impl<'a> Item<'a> {
    fn new(row: &'a ShapeRow) -> Self {
        let (why, instead) = match &row.verdict {
            Verdict::Ok => (None, None),
            Verdict::Compatible { why } | Verdict::Fatal { why, .. } => (Some(why.as_str()), None),
            Verdict::Fallback { why, instead } => (Some(why.as_str()), Some(*instead)),
        };
        Self {
            kind: row.kind.name(),
            name: &row.name,
            verdict: row.verdict.name().to_lowercase(),
            found: &row.found,
            why,
            instead,
            lost: row.verdict.lost().iter().map(|lost| lost.name()).collect(),
        }
    }
}

/// Problems first, the worst of them on top; the rest in its order.
fn shown_rows(report: &ShapeReport, problems_only: bool) -> Vec<&ShapeRow> {
    let mut rows = report.problems();
    if !problems_only {
        rows.extend(report.rows.iter().filter(|row| row.verdict == Verdict::Ok));
    }
    rows
}

fn render(source: &str, report: &ShapeReport, problems_only: bool, width: Option<u16>) -> String {
    let spec = match &report.spec {
        Some((name, version)) => format!("{name}, spec {version}"),
        None => "a runtime of unknown version".to_owned(),
    };
    let rows = shown_rows(report, problems_only);
    let mut text = format!("{spec}   {source}\n\n{}\n\n{}\n", summary(report), counts(report));
    if !rows.is_empty() {
        text.push_str(&format!("\n{}\n", items_table(&rows, width)));
    }
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.join("\n")
}

/// One line per capability.
fn summary(report: &ShapeReport) -> Table {
    let mut table = plain_table(None);
    for capability in Capability::ALL {
        let mut fatal = report.fatal_for(*capability);
        let because = match (fatal.next(), fatal.count()) {
            (None, _) => String::new(),
            (Some(first), 0) => format!("because of `{}`", first.name),
            (Some(first), more) => format!("because of `{}` and {more} more", first.name),
        };
        let can = if report.can(*capability) { "yes" } else { "NO" };
        table.add_row([capability.name(), can, because.as_str()]);
    }
    trimmed(table)
}

fn counts(report: &ShapeReport) -> String {
    let count =
        |severity: u8| report.rows.iter().filter(|row| row.verdict.severity() == severity).count();
    format!(
        "{} items: {} ok, {} compatible, {} fallback, {} fatal",
        report.rows.len(),
        count(0),
        count(1),
        count(2),
        count(3)
    )
}

fn items_table(rows: &[&ShapeRow], width: Option<u16>) -> Table {
    let mut table = plain_table(width);
    table.set_header(["verdict", "kind", "item", "detail"]);
    for row in rows {
        let detail = match row.verdict {
            Verdict::Ok => row.found.clone(),
            _ => row.verdict.to_string(),
        };
        table.add_row([row.verdict.name(), row.kind.name(), row.name.as_str(), detail.as_str()]);
    }
    if width.is_some_and(|width| width >= WHOLE_NAMES_COLUMNS_MIN) {
        for column in table.column_iter_mut().take(3) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    trimmed(table)
}

/// Two spaces between columns. On a terminal, long details are folded inside their column.
fn plain_table(width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table
}

fn trimmed(mut table: Table) -> Table {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;

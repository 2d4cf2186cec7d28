//! `assay weights history`.

use clap::Args;
use node_core::unit::{BlockNumber, EpochIndex};
use node_store::{state_name, EpochHistory, EpochKey, MechanismHistory};
use serde::Serialize;

use super::place::Place;
use super::table::{block, entries, form_name, state_detail, table};
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay weights history                    the last 20 epochs
  assay weights history --limit 0          all of them
  assay weights history --json | jq '.epochs[] | select(.state == \"abandoned\")'

States: open (about to be signed), signed (on its way), landed (a plain vector, final), committed
(final, not opened yet), revealed (opened), lost (never opened), abandoned (never landed).

Exit codes: 0 shown; 69 no node has run here, or its journal is missing or damaged.";

/// List what was signed, epoch by epoch, the newest first.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HistoryCommand {
    /// Epochs shown; 0 shows all
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,

    /// Print JSON: `hotkey`, `netuid`, `mechanism`, `adopted`, `known` and `epochs`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

#[derive(Serialize)]
struct Answer {
    hotkey: String,
    netuid: u16,
    mechanism: u8,
    adopted: Option<BlockNumber>,
    known: usize,
    epochs: Vec<Line>,
}

/// One epoch.
#[derive(Serialize)]
struct Line {
    epoch: EpochIndex,
    registered_at: Option<BlockNumber>,
    state: &'static str,
    form: Option<&'static str>,
    intended_at: Option<BlockNumber>,
    signatures: usize,
    reveals: usize,
    landed_at: Option<BlockNumber>,
    revealed_at: Option<BlockNumber>,
    entries: usize,
    detail: String,
}

impl HistoryCommand {
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let place = Place::of(&self.flags)?;
        let owner = place.owner()?;
        let known = place.mechanism(&place.history(owner)?);
        let epochs = lines(&known, self.limit);
        let text = if self.json {
            let answer = Answer {
                hotkey: owner.hotkey.to_string(),
                netuid: owner.netuid.0,
                mechanism: place.weights.mechanism,
                adopted: known.adopted,
                known: known.epochs.len(),
                epochs,
            };
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            render(&known, &epochs)
        };
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

fn lines(known: &MechanismHistory, limit: usize) -> Vec<Line> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    known.epochs.iter().rev().take(limit).map(|(epoch, known)| Line::new(*epoch, known)).collect()
}

impl Line {
    fn new(key: EpochKey, known: &EpochHistory) -> Self {
        let state = known.state();
        Self {
            epoch: key.epoch,
            registered_at: key.registered_at,
            state: state_name(&state),
            form: known.ordered_signings().last().map(|signed| form_name(&signed.carries)),
            intended_at: known.intended.as_ref().map(|intended| intended.computed_at),
            signatures: known.signings.len(),
            reveals: known.reveals.len(),
            landed_at: known.updated_at(),
            revealed_at: known.revealed,
            entries: entries(known.vector()),
            detail: state_detail(&state),
        }
    }
}

fn render(known: &MechanismHistory, epochs: &[Line]) -> String {
    if known.epochs.is_empty() && known.adopted.is_none() {
        return "nothing was signed for this mechanism".to_owned();
    }
    let rows = epochs.iter().map(|line| {
        [
            line.epoch.to_string(),
            line.state.to_owned(),
            line.form.unwrap_or("-").to_owned(),
            block(line.intended_at),
            line.signatures.to_string(),
            block(line.landed_at),
            block(line.revealed_at),
            line.entries.to_string(),
            line.detail.clone(),
        ]
    });
    let header =
        ["epoch", "state", "form", "intended", "signed", "landed", "revealed", "entries", "detail"];
    let mut text = table(header, rows.collect());
    let hidden = known.epochs.len().saturating_sub(epochs.len());
    if hidden > 0 {
        text.push_str(&format!("... and {hidden} older epochs (`--limit 0`)\n"));
    }
    if let Some(adopted) = known.adopted {
        text.push_str(&format!("updates up to block {} were adopted\n", block(Some(adopted))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::weights::compare::tests::{landed, lost_commit, mechanism};

    #[test]
    fn the_newest_epoch_stands_first_and_what_is_hidden_is_counted() {
        let known = mechanism([(7, landed(120)), (8, lost_commit(140)), (9, landed(160))]);
        insta::assert_snapshot!("table", render(&known, &lines(&known, 2)));
        assert_eq!(lines(&known, 0).len(), 3);
        let nothing = MechanismHistory::default();
        assert_eq!(render(&nothing, &[]), "nothing was signed for this mechanism");
    }
}

//! `assay weights show`.

use clap::Args;
use node_core::id::{Digest, Uid};
use node_core::rows::{Carries, SignedExtrinsic};
use node_core::unit::{BlockNumber, EpochIndex};
use node_store::{state_name, EpochHistory, EpochKey, MechanismHistory};
use serde::Serialize;

use super::place::Place;
use super::table::{block, form_name, line, state_detail, table};
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::grouped;

const EXAMPLES: &str = "\
Examples:
  assay weights show                       the newest epoch
  assay weights show --epoch 13367
  assay weights show --json | jq .vector

A signature can land from the block after `anchor` until the one before `era end`, with its nonce,
and once. Salts are not shown; `assay weights export` writes them.

Exit codes: 0 shown; 1 nothing was signed for that epoch; 69 no node has run here, or its journal is
missing or damaged.";

/// Show everything that is known of one epoch's vector.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ShowCommand {
    /// The epoch [default: the newest one]
    #[arg(long, value_name = "NUMBER")]
    epoch: Option<u64>,

    /// Print JSON: `epoch`, `registered_at`, `state`, `detail`, `intended_at`, `version_key`,
    /// `landed_at`, `commit_epoch`, `revealed_at`, `signatures` and `vector`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// The journal has no such epoch.
#[derive(Debug, thiserror::Error)]
enum NotThere {
    #[error("nothing was signed for epoch {0}")]
    Epoch(EpochIndex),
    #[error("nothing was signed yet")]
    Any,
}

/// One vector.
#[derive(Serialize)]
struct Answer {
    epoch: EpochIndex,
    registered_at: Option<BlockNumber>,
    state: &'static str,
    detail: String,
    intended_at: Option<BlockNumber>,
    version_key: Option<u64>,
    landed_at: Option<BlockNumber>,
    commit_epoch: Option<EpochIndex>,
    revealed_at: Option<BlockNumber>,
    signatures: Vec<Signature>,
    vector: Vec<(Uid, u16)>,
}

/// One signature of it.
#[derive(Serialize)]
struct Signature {
    hash: Digest,
    form: &'static str,
    nonce: u32,
    anchor: BlockNumber,
    era_end: BlockNumber,
    spec_version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reveal_round: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reveal_epoch: Option<EpochIndex>,
}

impl ShowCommand {
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let place = Place::of(&self.flags)?;
        let known = place.mechanism(&place.history(place.owner()?)?);
        let (epoch, known) = find(&known, self.epoch.map(EpochIndex)).map_err(|error| {
            Failure::unexpected(error).hint("`assay weights history` lists what there is")
        })?;
        let answer = Answer::new(epoch, known);
        let text = if self.json {
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else {
            render(&answer)
        };
        output::print(&text)?;
        Ok(ExitReason::Done)
    }
}

/// An epoch of the newest subnet that had one with this number; else the newest of all.
fn find(
    known: &MechanismHistory,
    epoch: Option<EpochIndex>,
) -> Result<(EpochKey, &EpochHistory), NotThere> {
    let is_meant = |key: &EpochKey| epoch.is_none_or(|epoch| key.epoch == epoch);
    let newest = known.epochs.iter().rev().find(|(key, _)| is_meant(key));
    let newest = newest.map(|(key, known)| (*key, known));
    newest.ok_or_else(|| epoch.map_or(NotThere::Any, NotThere::Epoch))
}

impl Answer {
    fn new(key: EpochKey, known: &EpochHistory) -> Self {
        let state = known.state();
        let signed = known.ordered_signings().into_iter().chain(known.ordered_reveals());
        Self {
            epoch: key.epoch,
            registered_at: key.registered_at,
            state: state_name(&state),
            detail: state_detail(&state),
            intended_at: known.intended.as_ref().map(|intended| intended.computed_at),
            version_key: known.intended.as_ref().map(|intended| intended.version_key),
            landed_at: known.updated_at(),
            commit_epoch: known.committed.map(|(_, epoch)| epoch),
            revealed_at: known.revealed,
            signatures: signed.map(Signature::new).collect(),
            vector: known.vector().to_vec(),
        }
    }
}

impl Signature {
    fn new(signed: &SignedExtrinsic) -> Self {
        let (commit, reveal_round, reveal_epoch) = match &signed.carries {
            Carries::Plain | Carries::Reveal => (None, None, None),
            Carries::Hashed { commit, .. } => (Some(*commit), None, None),
            Carries::Timelocked { commit, reveal_round, reveal_epoch } => {
                (Some(*commit), Some(*reveal_round), Some(*reveal_epoch))
            }
        };
        Self {
            hash: signed.hash,
            form: form_name(&signed.carries),
            nonce: signed.nonce,
            anchor: signed.anchor,
            era_end: signed.era_end,
            spec_version: signed.spec_version,
            commit,
            reveal_round,
            reveal_epoch,
        }
    }

    fn reveals(&self) -> String {
        match (self.reveal_round, self.reveal_epoch) {
            (Some(round), Some(epoch)) => format!("round {round}, epoch {epoch}"),
            _ => "-".to_owned(),
        }
    }
}

fn render(answer: &Answer) -> String {
    let mut text = String::new();
    line(&mut text, "epoch", &answer.epoch.to_string());
    if let Some(registered_at) = answer.registered_at {
        let text_of = format!("registered in block {}", grouped(registered_at.0));
        line(&mut text, "subnet", &text_of);
    }
    line(&mut text, "state", answer.state);
    if !answer.detail.is_empty() {
        line(&mut text, "", &answer.detail);
    }
    line(&mut text, "intended", &format!("block {}", block(answer.intended_at)));
    if let Some(version_key) = answer.version_key {
        line(&mut text, "version key", &version_key.to_string());
    }
    line(&mut text, "landed", &block(answer.landed_at));
    if let Some(epoch) = answer.commit_epoch {
        line(&mut text, "counted to", &format!("epoch {epoch}"));
        line(&mut text, "revealed", &block(answer.revealed_at));
    }
    let rows = answer.signatures.iter().map(|signed| {
        [
            signed.form.to_owned(),
            signed.nonce.to_string(),
            grouped(signed.anchor.0),
            grouped(signed.era_end.0),
            signed.spec_version.to_string(),
            signed.reveals(),
            signed.hash.to_string(),
        ]
    });
    let header = ["signed", "nonce", "anchor", "era end", "spec", "opens", "hash"];
    text.push_str(&format!("\n{}", table(header, rows.collect())));
    if answer.vector.is_empty() {
        text.push_str("\nthe vector was left out when the journal was made smaller\n");
        return text;
    }
    let rows = answer.vector.iter().map(|(uid, weight)| [uid.to_string(), weight.to_string()]);
    text.push_str(&format!("\n{}", table(["uid", "weight"], rows.collect())));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::weights::compare::tests::{landed, lost_commit, mechanism};

    #[test]
    fn of_epochs_with_one_number_that_of_the_newest_subnet_is_meant() {
        let mut known = mechanism([(7, landed(120)), (8, landed(140))]);
        let newer = EpochKey { registered_at: Some(BlockNumber(200)), epoch: EpochIndex(7) };
        known.epochs.insert(newer, landed(220));
        let found = |epoch: Option<u64>| find(&known, epoch.map(EpochIndex)).map(|(key, _)| key);
        assert_eq!(found(None).unwrap(), newer);
        assert_eq!(found(Some(7)).unwrap(), newer);
        assert_eq!(found(Some(8)).unwrap(), EpochIndex(8).into());
        assert!(matches!(found(Some(9)), Err(NotThere::Epoch(EpochIndex(9)))));
    }

    #[test]
    fn one_epoch_is_shown_in_full_and_its_salt_is_not() {
        let answer = Answer::new(EpochIndex(8).into(), &lost_commit(140));
        insta::assert_snapshot!("one_epoch", render(&answer));
        let json = serde_json::to_string(&answer).unwrap();
        assert!(!json.contains("salt"), "{json}");
    }
}

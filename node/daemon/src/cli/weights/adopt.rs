//! `assay weights adopt`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::Args;
use node_core::limits::SETTLING_BLOCKS;
use node_core::unit::{BlockCount, BlockNumber};
use node_core::view::ChainView;
use node_store::{known_history, Loaded, Owner};
use serde::Serialize;

use super::import::{warn, StoreFound};
use super::place::{
    chain_and_wallet, import_failure, named_hotkey, read_chain, read_own_chain, Place,
};
use super::table::line;
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
use crate::status::grouped;

const EXAMPLES: &str = "\
Examples:
  assay weights adopt                      ask, at a terminal
  assay weights adopt --yes
  assay weights adopt --block 4812330 --yes    only if that is the last update

When this is needed: the node left with code 70, because the chain shows an update of the hotkey
that its journal does not explain; or the journal is lost for good. Find out first what signed.

What you vouch for: whatever made that update, and everything else that used this hotkey, was
stopped at least 64 blocks (13 minutes) ago and will not start again. If it was not, two vectors
of one epoch can land, and the node cannot know.

Exit codes: 0 adopted, or nothing to adopt; 1 not confirmed; 64 the last update is in another block
than `--block`; 69 it is too fresh, a node runs, or the chain does not answer.";

/// Vouch for updates of the hotkey that the journal does not explain.
///
/// Writes into the journal that every update up to the chain's last one was meant. The node then
/// goes on; updates after that one are watched as before.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AdoptCommand {
    /// The block of the update; refused if the chain's last one is in another block
    #[arg(long, value_name = "NUMBER")]
    block: Option<u64>,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Print JSON: whether it was `adopted` or there was nothing to adopt, the last update's
    /// `block`, `hotkey`, `netuid`, `genesis`, and what was found: `begun_anew` if the journal was
    /// lost, `waits` if the node signs nothing at first, `lacks_rows`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Why nothing was adopted.
#[derive(Debug, thiserror::Error)]
enum NotAdopted {
    #[error("hotkey {} is not registered on subnet {}", .0.hotkey, .0.netuid)]
    NotRegistered(Box<Owner>),
    #[error("the last update is in block {found}, not in block {given}")]
    OtherBlock { found: BlockNumber, given: u64 },
    #[error("the last update, in block {block}, is only {age} blocks old")]
    TooFresh { block: BlockNumber, age: BlockCount },
    #[error("not confirmed; nothing was written")]
    NotConfirmed,
    #[error("the hotkey of `{0}` cannot be told without its password")]
    NoName(std::path::PathBuf),
}

/// What `--json` prints.
#[derive(Serialize)]
struct AdoptAnswer {
    adopted: bool,
    block: u64,
    hotkey: String,
    netuid: u16,
    genesis: String,
    #[serde(flatten)]
    found: StoreFound,
}

/// What is to be vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Update {
    block: BlockNumber,
    /// Finalized blocks since.
    age: BlockCount,
}

impl AdoptCommand {
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let place = Place::of(&self.flags)?;
        // The lock first: a running node would not notice what is written here.
        let (store, loaded) = place.open_to_repair()?;
        let (owner, view) = self.look(&place)?;
        let mechanism = place.weights.mechanism;
        let update = last_update(&view, &owner)?;
        let known = known_history(owner, &loaded);
        let known = place.mechanism(&known);
        let landed = known.epochs.values().filter_map(|epoch| epoch.updated_at()).max();
        let explained = known.adopted.max(landed);
        let is_lost = loaded.journal_loss.is_some();
        if explained >= Some(update.block) && !is_lost {
            self.tell(false, update, &owner, &loaded)?;
            return Ok(ExitReason::Done);
        }
        self.check(update)?;
        output::print_error(&explanation(&owner, update, is_lost));
        if !self.yes && !is_confirmed().map_err(Failure::unexpected)? {
            return Err(Failure::unexpected(NotAdopted::NotConfirmed)
                .hint("`--yes` confirms where there is no terminal"));
        }
        place.claim(&owner)?;
        let adopted = store.adopt(&loaded, owner, mechanism, update.block);
        adopted.map_err(import_failure)?;
        warn(&loaded);
        self.tell(true, update, &owner, &loaded)?;
        Ok(ExitReason::Done)
    }

    fn tell(
        &self,
        adopted: bool,
        update: Update,
        owner: &Owner,
        loaded: &Loaded,
    ) -> Result<(), Failure> {
        let block = grouped(update.block.0);
        let text = if self.json {
            let answer = AdoptAnswer {
                adopted,
                block: update.block.0,
                hotkey: owner.hotkey.to_string(),
                netuid: owner.netuid.0,
                genesis: owner.genesis.to_string(),
                found: StoreFound::of(loaded),
            };
            serde_json::to_string_pretty(&answer).map_err(Failure::unexpected)?
        } else if adopted {
            format!("adopted     every update up to block {block}")
        } else {
            format!("nothing to adopt: the journal explains the last update, in block {block}")
        };
        output::print(&text)
    }

    /// Whose directory it is, and the chain.
    fn look(&self, place: &Place) -> Result<(Owner, ChainView), Failure> {
        let (chain, wallet) = chain_and_wallet(&self.flags)?;
        let mechanism = place.weights.mechanism;
        if let Some(owner) = place.owner_if_claimed()? {
            let view = read_own_chain(&chain, mechanism, &owner)?;
            return Ok((owner, view));
        }
        let hotkey = named_hotkey(&wallet)?.ok_or_else(|| {
            Failure::unavailable(NotAdopted::NoName(wallet.hotkey_file()))
                .hint("put the public file beside it, whose name ends in `pub.txt`")
        })?;
        let found = read_chain(&chain, mechanism, Some(hotkey))?;
        let owner = Owner { genesis: found.genesis, netuid: chain.netuid, hotkey };
        Ok((owner, found.view))
    }

    fn check(&self, update: Update) -> Result<(), Failure> {
        let found = update.block;
        if let Some(given) = self.block.filter(|given| *given != found.0) {
            return Err(Failure::bad_configuration(NotAdopted::OtherBlock { found, given })
                .hint("find out what made the last one before you vouch for it"));
        }
        let left = SETTLING_BLOCKS.saturating_sub(update.age.0);
        if left > 0 {
            let (block, age) = (update.block, update.age);
            return Err(Failure::unavailable(NotAdopted::TooFresh { block, age }).hint(format!(
                "stop what made it and wait {left} more blocks: what it signed may still land"
            )));
        }
        Ok(())
    }
}

fn last_update(view: &ChainView, owner: &Owner) -> Result<Update, Failure> {
    let own = view.neuron(&owner.hotkey).ok_or_else(|| {
        Failure::unavailable(NotAdopted::NotRegistered(Box::new(*owner)))
            .hint("there is no update to vouch for: start the node, it says what is missing")
    })?;
    let block = own.last_update;
    Ok(Update { block, age: view.number.since(block) })
}

fn explanation(owner: &Owner, update: Update, is_lost: bool) -> String {
    let mut text = String::new();
    line(&mut text, "hotkey", &owner.hotkey.to_string());
    line(&mut text, "subnet", &owner.netuid.to_string());
    let (block, age) = (grouped(update.block.0), update.age);
    line(&mut text, "last update", &format!("block {block}, {age} blocks ago"));
    let journal = if is_lost { "lost; a new one is begun" } else { "does not explain it" };
    line(&mut text, "journal", journal);
    text.push_str(
        "You vouch for this: whatever made that update, and everything else that used this hotkey, \
         was\nstopped at least 64 blocks ago and will not start again.",
    );
    text
}

fn is_confirmed() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "Adopt it? Type yes: ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}

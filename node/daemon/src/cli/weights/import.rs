//! `assay weights import`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use node_core::limits::SETTLING_BLOCKS;
use node_store::{
    read_interchange, History, Imported, InterchangeError, Loaded, Owner, JOURNAL_FILE,
};
use serde::Serialize;

use super::place::{chain_and_wallet, import_failure, named_hotkey, Place};
use crate::cli::ConfigFlags;
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay weights import history.json
  assay weights import - < history.json             from stdin
  assay weights import history.json --json | jq .epochs

Exit codes: 0 merged; 64 the file is no history, or somebody else's; 69 a node runs with this data
directory. The format is described in docs/journal.md.";

/// Merge what another machine signed with this hotkey into the journal.
///
/// Of everything the most that either side knows is kept: signatures are united, of each epoch the
/// furthest state holds. Nothing known is lowered, an older file changes nothing, and a second
/// import adds nothing. A journal that is missing is written anew from the file and the rows.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportCommand {
    /// What `assay weights export` wrote; `-` is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Print JSON: `epochs` and `signatures` that were new, `epochs_known`, `hotkey`, `netuid`,
    /// `genesis`, `journal`, and what was found: `begun_anew` if the journal was lost, `waits` if
    /// the node signs nothing at first, `lacks_rows`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// What `--json` prints.
#[derive(Serialize)]
struct ImportAnswer {
    epochs: usize,
    signatures: usize,
    epochs_known: usize,
    hotkey: String,
    netuid: u16,
    genesis: String,
    journal: PathBuf,
    #[serde(flatten)]
    found: StoreFound,
}

/// What the operator should know of the store that was found, as data.
#[derive(Serialize)]
pub(super) struct StoreFound {
    begun_anew: bool,
    waits: bool,
    lacks_rows: bool,
}

impl StoreFound {
    pub(super) fn of(loaded: &Loaded) -> Self {
        Self {
            begun_anew: loaded.journal_loss.is_some(),
            waits: loaded.may_lack_signatures(),
            lacks_rows: !loaded.is_complete(),
        }
    }
}

/// Why nothing was merged.
#[derive(Debug, thiserror::Error)]
enum ImportRefused {
    #[error("cannot open `{path}`")]
    Open {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{path}` cannot be merged; nothing was changed")]
    File {
        path: PathBuf,
        #[source]
        source: InterchangeError,
    },
}

impl ImportCommand {
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let place = Place::of(&self.flags)?;
        let history = read(&self.file)?;
        history.check_owner(&self.own(&place, &history.owner)?).map_err(|source| {
            let refused = ImportRefused::File { path: self.file.clone(), source };
            Failure::bad_configuration(refused).hint(
                "name the wallet, subnet and `data_dir` that the file is about; what was signed \
                 for one says nothing about another",
            )
        })?;
        let (store, loaded) = place.open_to_repair()?;
        place.claim(&history.owner)?;
        let imported = store.import(&loaded, &history).map_err(import_failure)?;
        warn(&loaded);
        let text = self.answer(&place, &history.owner, &loaded, imported)?;
        output::print(&text)?;
        Ok(ExitReason::Done)
    }

    fn answer(
        &self,
        place: &Place,
        owner: &Owner,
        loaded: &Loaded,
        imported: Imported,
    ) -> Result<String, Failure> {
        let Owner { genesis, netuid, hotkey } = owner;
        let journal = place.dir().join(JOURNAL_FILE);
        if self.json {
            let Imported { epochs, signatures, epochs_known, .. } = imported;
            let answer = ImportAnswer {
                epochs,
                signatures,
                epochs_known,
                hotkey: hotkey.to_string(),
                netuid: netuid.0,
                genesis: genesis.to_string(),
                journal,
                found: StoreFound::of(loaded),
            };
            return serde_json::to_string_pretty(&answer).map_err(Failure::unexpected);
        }
        let mut text = format!(
            "merged      {} epochs with {} signatures were new, {} epochs are known\n",
            imported.epochs, imported.signatures, imported.epochs_known
        );
        text.push_str(&format!(
            "hotkey      {hotkey}\nsubnet      {netuid}\nchain       {genesis}\n"
        ));
        text.push_str(&format!("journal     {}\n", journal.display()));
        Ok(text)
    }

    /// Whose history may be merged here: the directory's owner; of a new directory, whom the
    /// configuration names, as far as it does.
    fn own(&self, place: &Place, theirs: &Owner) -> Result<Owner, Failure> {
        if let Some(owner) = place.owner_if_claimed()? {
            return Ok(owner);
        }
        let (chain, wallet) = chain_and_wallet(&self.flags)?;
        // A wallet that is not here yet, or does not tell its key without a password, says
        // nothing; the node compares it when it starts.
        let hotkey = named_hotkey(&wallet).ok().flatten().unwrap_or(theirs.hotkey);
        let genesis = chain.genesis.unwrap_or(theirs.genesis);
        Ok(Owner { genesis, netuid: chain.netuid, hotkey })
    }
}

fn read(path: &Path) -> Result<History, Failure> {
    let read = if path.as_os_str() == "-" {
        read_interchange(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(|source| {
            Failure::bad_configuration(ImportRefused::Open { path: path.to_owned(), source })
                .hint("name the file that `assay weights export` wrote; `-` is stdin")
        })?;
        read_interchange(file)
    };
    read.map_err(|source| {
        let refused = ImportRefused::File { path: path.to_owned(), source };
        Failure::bad_configuration(refused)
            .hint("write the file anew with `assay weights export`; docs/journal.md describes it")
    })
}

/// What the operator should know of the store that was found.
pub(super) fn warn(loaded: &Loaded) {
    if let Some(loss) = &loaded.journal_loss {
        output::print_error(&format!("warning: {loss}; it was written anew"));
    }
    if loaded.may_lack_signatures() {
        output::print_error(&format!(
            "warning: what was signed last may be known neither here nor in what was given; the \
             node signs nothing before the first epoch that begins when {SETTLING_BLOCKS} blocks \
             have passed, see `assay status`"
        ));
    }
    if !loaded.is_complete() {
        output::print_error(
            "warning: the store lost rows; the node catches up with its peers before it signs",
        );
    }
}

//! Where the commands look: the data directory and whose it is, its journal, and the chain.

use std::path::Path;

use node_chain::{ChainClient, ChainConfig};
use node_core::id::{BlockHash, Hotkey};
use node_core::restoration::Restoration;
use node_core::view::ChainView;
use node_store::{
    read_journal, History, ImportError, JournalFault, Loaded, MechanismHistory, OpenError, Owner,
    Store,
};

use crate::cli::ConfigFlags;
use crate::config::{Chain, DataDir, Wallet, Weights};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::hotkey;
use crate::run::identity::{self, Identity};
use crate::run::refused;

/// No node has claimed the data directory.
#[derive(Debug, thiserror::Error)]
#[error("no node has run with the data directory `{0}`: nothing was signed from there")]
struct Unclaimed(std::path::PathBuf);

/// The directory's state belongs to another chain than the endpoints serve.
#[derive(Debug, thiserror::Error)]
#[error("the data directory is for chain {own}, the endpoint serves chain {found}")]
struct OtherChain {
    own: BlockHash,
    found: BlockHash,
}

/// An endpoint that contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint names a finalized block that it does not have")]
struct NoHead;

/// A data directory, and the mechanism that is asked about.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) data_dir: DataDir,
    pub(super) weights: Weights,
}

impl Place {
    /// What the flags name; neither chain nor wallet has to be given.
    pub(super) fn of(flags: &ConfigFlags) -> Result<Self, Failure> {
        let section = flags.settings().section(|reader| {
            let data_dir = DataDir::read(reader);
            let weights = Weights::read(reader);
            Some(Self { data_dir: data_dir?, weights: weights? })
        });
        section.map_err(Failure::bad_configuration)
    }

    pub(super) fn dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// Whose state lies there, if anybody's.
    pub(super) fn owner_if_claimed(&self) -> Result<Option<Owner>, Failure> {
        let known = identity::read(self.dir()).map_err(refused::identity)?;
        Ok(known.map(|Identity { hotkey, netuid, genesis }| Owner { genesis, netuid, hotkey }))
    }

    /// Whose state lies there.
    pub(super) fn owner(&self) -> Result<Owner, Failure> {
        self.owner_if_claimed()?.ok_or_else(|| {
            Failure::unavailable(Unclaimed(self.dir().to_owned()))
                .hint("name the node's data directory with `--data-dir`, or its `--config`")
        })
    }

    /// Everything that the journal tells, read beside a running node too.
    pub(super) fn history(&self, owner: Owner) -> Result<History, Failure> {
        let read = read_journal(self.dir()).map_err(journal_failure)?;
        Ok(History::of_journal(owner, &read.entries))
    }

    /// Whether the journal was put back from a copy, and what that lacks is still waited for.
    pub(super) fn is_restored(&self, owner: &Owner) -> Result<bool, Failure> {
        let read = read_journal(self.dir()).map_err(journal_failure)?;
        Ok(Restoration::of_journal(&read.entries, owner.hotkey, owner.netuid).is_some())
    }

    /// The part of a history that is about the configured mechanism.
    pub(super) fn mechanism(&self, history: &History) -> MechanismHistory {
        history.mechanisms.get(&self.weights.mechanism).cloned().unwrap_or_default()
    }

    /// Opens the store to write down what was signed; refused while a node runs.
    pub(super) fn open_to_repair(&self) -> Result<(Store, Loaded), Failure> {
        Store::open_to_repair(self.dir()).map_err(|error| {
            let hint = match &error {
                OpenError::Locked { .. } => {
                    "a node uses this `data_dir` and would not notice the change; stop it first"
                }
                other => refused::store_hint(other),
            };
            Failure::unavailable(error).hint(hint)
        })
    }

    /// Makes the directory `owner`'s, or finds that it is.
    pub(super) fn claim(&self, owner: &Owner) -> Result<(), Failure> {
        let Owner { genesis, netuid, hotkey } = *owner;
        let own = Identity { hotkey, netuid, genesis };
        identity::claim(self.dir(), own).map_err(refused::identity)
    }
}

/// A journal that cannot be used, with the safe procedure.
pub(super) fn journal_failure(fault: JournalFault) -> Failure {
    let hint = fault.next_step();
    Failure::unavailable(fault).hint(hint)
}

/// What was to be written down and was not, or not all of it.
pub(super) fn import_failure(error: ImportError) -> Failure {
    Failure::new(ExitReason::Failed, error)
        .hint("nothing known was lowered; the same command again goes on where it stopped")
}

/// The chain's and the wallet's settings.
pub(super) fn chain_and_wallet(flags: &ConfigFlags) -> Result<(Chain, Wallet), Failure> {
    let section = flags.settings().section(|reader| {
        let chain = Chain::read(reader);
        let wallet = Wallet::read(reader);
        Some((chain?, wallet?))
    });
    section.map_err(Failure::bad_configuration)
}

/// The wallet's hotkey, if it can be told without a password.
pub(super) fn named_hotkey(wallet: &Wallet) -> Result<Option<Hotkey>, Failure> {
    let file = hotkey::read(wallet)?;
    if file.facts().encryption.is_some() {
        return Ok(file.facts().named);
    }
    let opened = hotkey::open_file(&file, wallet, &|_, _| {})?;
    Ok(Some(opened.facts().hotkey))
}

/// The chain as one finalized block shows it.
#[derive(Debug)]
pub(super) struct Chained {
    pub(super) genesis: BlockHash,
    pub(super) view: ChainView,
}

/// Reads the subnet in the newest finalized block.
pub(super) fn read_chain(
    chain: &Chain,
    mechanism: u8,
    own: Option<Hotkey>,
) -> Result<Chained, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::unexpected)?;
    runtime.block_on(async {
        let urls = chain.endpoints.iter().map(|endpoint| endpoint.url().to_owned()).collect();
        let config = ChainConfig {
            expected_genesis: chain.genesis,
            own_hotkey: own,
            mechanism,
            allow_insecure: chain.allow_insecure,
            ..ChainConfig::new(urls, chain.netuid)
        };
        let client = ChainClient::connect(config).await.map_err(|error| {
            Failure::unavailable(error).hint(
                "look whether it runs and may be reached from here, or name another one with \
                 `--subtensor.chain_endpoint`",
            )
        })?;
        let no_answer = "try again, or name another endpoint with `--subtensor.chain_endpoint`";
        let head = client
            .finalized_head()
            .await
            .map_err(|error| Failure::unavailable(error).hint(no_answer))?
            .ok_or_else(|| Failure::unavailable(NoHead).hint(no_answer))?;
        let view = client.view_at(head.hash).await.map_err(|error| {
            Failure::unavailable(error)
                .hint("`chain.netuid` names the subnet; `assay chain check` tests the endpoint")
        })?;
        Ok(Chained { genesis: client.genesis(), view })
    })
}

/// Reads the chain that `owner`'s state is about.
pub(super) fn read_own_chain(
    chain: &Chain,
    mechanism: u8,
    owner: &Owner,
) -> Result<ChainView, Failure> {
    let mut chain = chain.clone();
    chain.netuid = owner.netuid;
    let found = read_chain(&chain, mechanism, Some(owner.hotkey))?;
    if found.genesis == owner.genesis {
        return Ok(found.view);
    }
    let (own, found) = (owner.genesis, found.genesis);
    Err(Failure::unavailable(OtherChain { own, found })
        .hint("set the chain whose weights these are, or another `data_dir`"))
}

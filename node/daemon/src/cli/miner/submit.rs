//! `assay miner submit`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use node_chain::{ChainClient, ChainConfig, HotkeyFile, SubmitError};
use node_core::commitment::{Commitment, CommitmentError, Location};
use node_core::id::ContentDigest;
use node_core::limits::COMMITMENT_BYTES_MAX;

use super::submission::judge;
use crate::cli::flags::ConfigFlags;
use crate::cli::keys::read_hotkey;
use crate::config::{Chain, Nas, Wallet};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay miner submit my-model.zip --location https://example.org/my-model.zip \\
      --netuid 3 --wallet.name miner
  assay miner submit my-model/ --copy-to /srv/submissions --netuid 3 --wallet.name miner

The commitment names the content by its digest; the location only says where to fetch it. It can be
anywhere from which every validator can fetch the archive within its limits.";

/// What a refused location could be instead.
const LOCATION_HINT: &str =
    "write `--location https://...`, or none where validators share a folder (`--copy-to`)";

/// Check an archive and commit to it on chain.
///
/// Waits until the commitment is final, and prints its block. A commitment replaces the one
/// before it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SubmitCommand {
    /// An archive, or a project's folder
    path: PathBuf,

    /// Where validators fetch it: `https://...`; without it they look in their own folders and ask
    /// each other
    #[arg(long, value_name = "LOCATION", default_value = "", hide_default_value = true)]
    location: String,

    /// Also write the archive to this folder, under the name a validator on this machine looks for
    #[arg(long, value_name = "DIR")]
    copy_to: Option<PathBuf>,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
enum SubmitRefused {
    #[error("no validator could fetch `{location}`: `hf:` is reserved for a later version")]
    NotFetched { location: Location },
    #[error("the location cannot be committed")]
    Location(#[source] CommitmentError),
    #[error("the commitment `{commitment}` has {bytes} bytes, more than {COMMITMENT_BYTES_MAX}")]
    TooLong { commitment: String, bytes: usize },
    #[error("cannot copy the archive to `{path}`")]
    Copy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl SubmitCommand {
    /// Commits to the archive.
    ///
    /// # Errors
    ///
    /// A [`Failure`]; nothing was committed unless it says so.
    pub(super) fn execute(self) -> Result<ExitReason, Failure> {
        let settings = self.flags.settings();
        let (chain, wallet, nas) = settings
            .section(|reader| {
                let chain = Chain::read(reader);
                let wallet = Wallet::read(reader);
                let nas = Nas::read(reader);
                Some((chain?, wallet?, nas?))
            })
            .map_err(Failure::bad_configuration)?;
        let submission = judge(&self.path, &nas.policy.policy())?;
        let digest = submission.admitted()?;
        let commitment = self.commitment(digest)?;
        let hotkey = read_hotkey(&wallet)?;
        if let Some(dir) = &self.copy_to {
            copy(&submission.bytes, digest, dir)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::unexpected)?;
        runtime.block_on(commit(&chain, &hotkey, &commitment))
    }

    fn commitment(&self, content: ContentDigest) -> Result<Commitment, Failure> {
        let location = Location::parse(&self.location).map_err(|error| {
            Failure::bad_configuration(SubmitRefused::Location(error)).hint(LOCATION_HINT)
        })?;
        // The protocol knows it; the node does not fetch from there yet.
        if matches!(location, Location::HuggingFace(_)) {
            let refused = SubmitRefused::NotFetched { location };
            return Err(Failure::bad_configuration(refused).hint(LOCATION_HINT));
        }
        let commitment = Commitment { content, location };
        let text = commitment.to_string();
        if text.len() > COMMITMENT_BYTES_MAX {
            let bytes = text.len();
            return Err(Failure::bad_configuration(SubmitRefused::TooLong {
                commitment: text,
                bytes,
            })
            .hint("use a shorter URL"));
        }
        // What validators read must be what was meant: the same parser decides.
        Commitment::parse(text.as_bytes())
            .map_err(|error| Failure::bad_configuration(SubmitRefused::Location(error)))
    }
}

fn copy(bytes: &[u8], digest: ContentDigest, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(format!("{digest}.zip"));
    let beside = dir.join(format!("{digest}.zip.new"));
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&beside, bytes))
        .and_then(|()| std::fs::rename(&beside, &path))
        .map_err(|source| Failure::new(ExitReason::Failed, SubmitRefused::Copy { path, source }))
}

async fn commit(
    chain: &Chain,
    hotkey: &HotkeyFile,
    commitment: &Commitment,
) -> Result<ExitReason, Failure> {
    let urls = chain.endpoints.iter().map(|endpoint| endpoint.url().to_owned()).collect();
    let mut settings = ChainConfig::new(urls, chain.netuid);
    settings.expected_genesis = chain.genesis;
    settings.allow_insecure = chain.allow_insecure;
    let client = ChainClient::connect(settings).await.map_err(|error| {
        Failure::unavailable(error)
            .hint("set `--subtensor.network` or `--subtensor.chain_endpoint`")
    })?;
    let text = commitment.to_string();
    let block =
        client.set_commitment(hotkey.keypair(), text.as_bytes()).await.map_err(submit_failure)?;
    output::print(&format!(
        "committed   {text}\nby          {}\nsubnet      {}\nblock       {} ({})",
        hotkey.facts().hotkey,
        chain.netuid,
        block.number,
        block.hash,
    ))?;
    Ok(ExitReason::Done)
}

fn submit_failure(error: SubmitError) -> Failure {
    let hint = match &error {
        SubmitError::Deadline { .. } | SubmitError::Unsearched { .. } => {
            "look at the chain before trying again: the commitment may have landed"
        }
        SubmitError::Failed { .. } | SubmitError::Refused { .. } => {
            "the hotkey has to be registered on the subnet (`btcli subnet register`), and \
             commitments are limited per epoch"
        }
        _ => "nothing was committed; try again, or use another endpoint",
    };
    Failure::unavailable(error).hint(hint)
}

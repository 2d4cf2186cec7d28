//! `assay miner submit`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use node_chain::{BlockRef, ChainClient, ChainConfig, HotkeyFile, Keypair, SubmitError};
use node_core::commitment::{Commitment, CommitmentError, Location};
use node_core::id::{ContentDigest, Hotkey, Netuid, SubmissionId};
use node_core::limits::COMMITMENT_BYTES_MAX;
use node_core::submission::Submission;
use serde_json::json;

use super::submission::judge;
use super::validator::{one_line, AskError, Validator};
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
  assay miner submit my-model/ --upload https://validator.example --netuid 3 --wallet.name miner

The commitment names the content by its digest; the location only says where to fetch it. It can be
anywhere from which every validator can fetch the archive within its limits. An archive that was
uploaded to one validator reaches the others from there.";

/// What a refused location could be instead.
const LOCATION_HINT: &str =
    "write `--location https://...` or `hf:org/repo@rev`, or none where validators share a folder \
     (`--copy-to`)";

/// Check an archive and commit to it on chain.
///
/// Leaves the archive with the validators that `--upload` names, then commits; waits until the
/// commitment is final, and prints its block. A commitment replaces the one before it. Nothing is
/// committed if a validator does not take the archive.
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

    /// Leave the archive with this validator, signed with the hotkey; may be repeated
    #[arg(long, value_name = "URL")]
    upload: Vec<String>,

    /// Do not commit: print what the commitment would be
    #[arg(long)]
    no_commit: bool,

    /// Print JSON: the commitment, where the archive was left, the block and the submission's id
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Why nothing was committed.
#[derive(Debug, thiserror::Error)]
enum SubmitRefused {
    #[error("the location cannot be committed")]
    Location(#[source] CommitmentError),
    #[error("the commitment `{commitment}` has {bytes} bytes, more than {COMMITMENT_BYTES_MAX}")]
    TooLong { commitment: String, bytes: usize },
    #[error("`{url}` has other rules and would refuse it: {problem}")]
    OtherRules { url: String, problem: String },
    #[error("`{url}` read another content than was sent: {content}")]
    OtherContent { url: String, content: String },
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
                let chain = if self.no_commit { Some(None) } else { Chain::read(reader).map(Some) };
                let wallet = Wallet::read(reader);
                let nas = Nas::read(reader);
                Some((chain?, wallet?, nas?))
            })
            .map_err(Failure::bad_configuration)?;
        let submission = judge(&self.path, &nas.rules()?)?;
        let digest = submission.admitted()?;
        let commitment = self.commitment(digest)?;
        let validators = self.validators()?;
        let hotkey = read_hotkey(&wallet)?;
        if let Some(dir) = &self.copy_to {
            copy(&submission.bytes, digest, dir)?;
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::unexpected)?;
        let submitted = runtime.block_on(async {
            for validator in &validators {
                upload(validator, hotkey.keypair(), &submission.bytes, digest).await?;
            }
            let landed = match &chain {
                Some(chain) => Some(commit(chain, &hotkey, &commitment).await?),
                None => None,
            };
            let uploaded = validators.iter().map(|one| one.url().to_owned()).collect();
            Ok::<_, Failure>(Submitted {
                content: digest,
                commitment,
                hotkey: hotkey.facts().hotkey,
                uploaded,
                landed,
            })
        })?;
        output::print(&if self.json { submitted.json() } else { submitted.text() })?;
        Ok(ExitReason::Done)
    }

    fn validators(&self) -> Result<Vec<Validator>, Failure> {
        let at = |url: &String| {
            Validator::at(url).map_err(|error| {
                let hint = error.hint();
                Failure::bad_configuration(error).hint(hint)
            })
        };
        self.upload.iter().map(at).collect()
    }

    fn commitment(&self, content: ContentDigest) -> Result<Commitment, Failure> {
        let location = Location::parse(&self.location).map_err(|error| {
            Failure::bad_configuration(SubmitRefused::Location(error)).hint(LOCATION_HINT)
        })?;
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

/// What was done.
struct Submitted {
    content: ContentDigest,
    commitment: Commitment,
    hotkey: Hotkey,
    /// Validators that have the archive.
    uploaded: Vec<String>,
    /// The subnet and the block, if it was committed.
    landed: Option<(Netuid, BlockRef)>,
}

impl Submitted {
    fn submission(&self) -> Option<SubmissionId> {
        let (_, block) = self.landed.as_ref()?;
        Some(Submission::identity(&self.hotkey, block.number, &self.content))
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> =
            self.uploaded.iter().map(|url| format!("uploaded    {url}")).collect();
        let (commitment, hotkey) = (&self.commitment, &self.hotkey);
        match &self.landed {
            Some((netuid, block)) => lines.push(format!(
                "committed   {commitment}\nby          {hotkey}\nsubnet      {netuid}\n\
                 block       {} ({})",
                block.number, block.hash,
            )),
            None => lines.push(format!("commitment  {commitment}\nof          {hotkey}")),
        }
        lines.extend(self.submission().map(|id| format!("submission  {id}")));
        lines.join("\n")
    }

    fn json(&self) -> String {
        let landed = self.landed.as_ref().map(|(netuid, block)| {
            json!({ "netuid": netuid, "block": block.number, "hash": block.hash })
        });
        json!({
            "content": self.content,
            "commitment": self.commitment.to_string(),
            "hotkey": self.hotkey,
            "uploaded": self.uploaded,
            "committed": landed,
            "submission": self.submission(),
        })
        .to_string()
    }
}

/// Leaves the archive with a validator, and sees to it that what it took is what was meant.
async fn upload(
    validator: &Validator,
    keypair: &Keypair,
    zip: &[u8],
    content: ContentDigest,
) -> Result<(), Failure> {
    let taken = validator.upload(keypair, zip).await.map_err(refused)?;
    let url = validator.url().to_owned();
    let told = one_line(taken["code_hash"].as_str().unwrap_or_default());
    if told != content.to_string() {
        let other = SubmitRefused::OtherContent { url, content: told };
        return Err(Failure::new(ExitReason::Failed, other)
            .hint("nothing was committed; ask the validator's operator what is in between"));
    }
    if taken["admitted"] == false {
        let problem = one_line(taken["problem"].as_str().unwrap_or_default());
        let other = SubmitRefused::OtherRules { url, problem };
        return Err(Failure::new(ExitReason::Failed, other).hint(
            "nothing was committed; its operator knows which `challenge.nas.policy` it has",
        ));
    }
    Ok(())
}

fn refused(error: AskError) -> Failure {
    let hint = format!("{}; nothing was committed", error.hint());
    let exit = if error.is_passing() { ExitReason::Unavailable } else { ExitReason::Failed };
    Failure::new(exit, error).hint(hint)
}

/// Commits, and waits until that is final.
async fn commit(
    chain: &Chain,
    hotkey: &HotkeyFile,
    commitment: &Commitment,
) -> Result<(Netuid, BlockRef), Failure> {
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
    Ok((chain.netuid, block))
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

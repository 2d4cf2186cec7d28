//! `assay miner submit`.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use node_chain::{
    BlockRef, ChainClient, ChainConfig, ConnectError, HotkeyFile, Keypair, SubmitError,
};
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
        let bad = |error| not_committed(SubmitRefused::Location(error));
        let location = Location::parse(&self.location).map_err(bad)?;
        let commitment = Commitment { content, location };
        let text = commitment.to_string();
        if text.len() > COMMITMENT_BYTES_MAX {
            let bytes = text.len();
            return Err(not_committed(SubmitRefused::TooLong { commitment: text, bytes }));
        }
        // What validators read must be what was meant: the same parser decides.
        Commitment::parse(text.as_bytes()).map_err(bad)
    }
}

fn copy(bytes: &[u8], digest: ContentDigest, dir: &Path) -> Result<(), Failure> {
    let path = dir.join(format!("{digest}.zip"));
    let beside = dir.join(format!("{digest}.zip.new"));
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::write(&beside, bytes))
        .and_then(|()| std::fs::rename(&beside, &path))
        .map_err(|source| not_committed(SubmitRefused::Copy { path, source }))
}

fn not_committed(error: SubmitRefused) -> Failure {
    let (exit, hint) = match &error {
        SubmitRefused::Location(_) => (ExitReason::BadConfiguration, LOCATION_HINT),
        SubmitRefused::TooLong { .. } => {
            (ExitReason::BadConfiguration, "give `--location` a shorter URL")
        }
        SubmitRefused::OtherRules { .. } => (
            ExitReason::Failed,
            "nothing was committed; its operator knows which `challenge.nas.policy` it has",
        ),
        SubmitRefused::OtherContent { .. } => (
            ExitReason::Failed,
            "nothing was committed; `assay miner check` says what was sent, and the validator's \
             operator may know what is in between",
        ),
        SubmitRefused::Copy { .. } => (
            ExitReason::Failed,
            "nothing was committed; name a folder that this user can write with `--copy-to`",
        ),
    };
    Failure::new(exit, error).hint(hint)
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
        return Err(not_committed(SubmitRefused::OtherContent { url, content: told }));
    }
    if taken["admitted"] == false {
        let problem = one_line(taken["problem"].as_str().unwrap_or_default());
        return Err(not_committed(SubmitRefused::OtherRules { url, problem }));
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
    let client = ChainClient::connect(settings).await.map_err(not_connected)?;
    let text = commitment.to_string();
    let block =
        client.set_commitment(hotkey.keypair(), text.as_bytes()).await.map_err(submit_failure)?;
    Ok((chain.netuid, block))
}

fn not_connected(error: ConnectError) -> Failure {
    Failure::unavailable(error).hint("set `--subtensor.network` or `--subtensor.chain_endpoint`")
}

fn submit_failure(error: SubmitError) -> Failure {
    let hint = match &error {
        SubmitError::Deadline { .. } | SubmitError::Unsearched { .. } => {
            "look before trying again, the commitment may have landed: `assay miner status` says so"
        }
        SubmitError::Failed { .. } | SubmitError::Refused { .. } => {
            "the hotkey has to be registered on the subnet (`btcli subnet register`), and \
             commitments are limited per epoch"
        }
        SubmitError::TooLong { .. } => "give `--location` a shorter URL",
        SubmitError::Call { .. }
        | SubmitError::NoHead
        | SubmitError::NonceHeld { .. }
        | SubmitError::Runtime { .. }
        | SubmitError::Encode { .. }
        | SubmitError::NotIncluded { .. } => {
            "nothing was committed; try again, or another `--subtensor.chain_endpoint`"
        }
    };
    Failure::unavailable(error).hint(hint)
}

#[cfg(test)]
mod tests {
    use node_chain::{
        CallError, EncodeError, EndpointError, EndpointFailure, RuntimeError, SendRefused,
        TraceError,
    };
    use node_core::id::BlockHash;
    use node_core::unit::BlockNumber;

    use super::*;
    use crate::failure::told;

    const CALL: &str = "Commitments.set_commitment";

    /// Every reason of an endpoint, and none to ask. A new one does not compile until it stands
    /// here.
    fn unconnected() -> Vec<ConnectError> {
        let failed = |error| {
            let endpoint = "wss://node.example:443".to_owned();
            ConnectError::AllFailed(vec![EndpointFailure { endpoint, error }])
        };
        let (expected, got) = (BlockHash([1; 32]), BlockHash([2; 32]));
        let errors = [
            EndpointError::NotAUrl("relative URL without a base".into()),
            EndpointError::Insecure,
            EndpointError::Deadline { after_ms: 10_000 },
            EndpointError::Unreachable("connection refused".into()),
            EndpointError::OtherService("status code: 404".into()),
            EndpointError::Throttled("status code: 429".into()),
            EndpointError::LeftAlone { for_ms: 500 },
            EndpointError::NoGenesis,
            EndpointError::WrongGenesis { expected, got },
        ];
        for error in &errors {
            match error {
                EndpointError::NotAUrl(_)
                | EndpointError::Insecure
                | EndpointError::Deadline { .. }
                | EndpointError::Unreachable(_)
                | EndpointError::OtherService(_)
                | EndpointError::Throttled(_)
                | EndpointError::LeftAlone { .. }
                | EndpointError::NoGenesis
                | EndpointError::WrongGenesis { .. } => {}
            }
        }
        let all: Vec<ConnectError> =
            errors.map(failed).into_iter().chain([ConnectError::NoneConfigured]).collect();
        for error in &all {
            match error {
                ConnectError::NoneConfigured | ConnectError::AllFailed(_) => {}
            }
        }
        all
    }

    /// Every way in which a commitment does not land. A new one does not compile until it stands
    /// here.
    fn unsubmitted() -> Vec<SubmitError> {
        let (call, block, after_ms) = (CALL, BlockNumber(7), 60_000);
        let no_endpoint = || CallError::NoEndpoint(ConnectError::NoneConfigured);
        let missing = EncodeError::Missing { pallet: "Commitments", name: "set_commitment" };
        let hash = BlockHash([1; 32]);
        let runtime = RuntimeError::Call { block: hash, source: Box::new(no_endpoint()) };
        let all = vec![
            SubmitError::TooLong { got: 200 },
            SubmitError::Call { call, source: no_endpoint() },
            SubmitError::NoHead,
            SubmitError::NonceHeld { call, after_ms },
            SubmitError::Runtime { call, source: runtime },
            SubmitError::Encode { call, source: missing },
            SubmitError::Refused { call, source: SendRefused::CannotPay },
            SubmitError::Failed { call, block, error: "SpaceLimitExceeded".to_owned() },
            SubmitError::NotIncluded { call, era_end: block },
            SubmitError::Deadline { call, after_ms },
            SubmitError::Unsearched { call, source: TraceError::NoSuchBlock { number: block } },
        ];
        for error in &all {
            match error {
                SubmitError::TooLong { .. }
                | SubmitError::Call { .. }
                | SubmitError::NoHead
                | SubmitError::NonceHeld { .. }
                | SubmitError::Runtime { .. }
                | SubmitError::Encode { .. }
                | SubmitError::Refused { .. }
                | SubmitError::Failed { .. }
                | SubmitError::NotIncluded { .. }
                | SubmitError::Deadline { .. }
                | SubmitError::Unsearched { .. } => {}
            }
        }
        all
    }

    fn refusals() -> [SubmitRefused; 5] {
        let url = || "https://validator.example".to_owned();
        let location = CommitmentError::BadLocation { text: "ftp://a".to_owned() };
        let (commitment, content) = ("nas:1:A:https://a".to_owned(), "B".to_owned());
        let source = io::ErrorKind::PermissionDenied.into();
        [
            SubmitRefused::Location(location),
            SubmitRefused::TooLong { commitment, bytes: 200 },
            SubmitRefused::OtherRules { url: url(), problem: "too many files".to_owned() },
            SubmitRefused::OtherContent { url: url(), content },
            SubmitRefused::Copy { path: PathBuf::from("/srv/a.zip"), source },
        ]
    }

    #[test]
    fn each_way_to_commit_nothing_says_what_next() {
        let refused = refusals().map(not_committed).into_iter();
        let unconnected = unconnected().into_iter().map(not_connected);
        let unsubmitted = unsubmitted().into_iter().map(submit_failure);
        insta::assert_snapshot!(told(refused.chain(unconnected).chain(unsubmitted)));
    }
}

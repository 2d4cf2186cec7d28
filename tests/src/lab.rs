//! A chain, its wallets, nodes and submissions together.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use node_chain::{ChainClient, ChainConfig, HotkeyFile, WalletPath};
use node_core::commitment::{Commitment, Location};
use node_core::id::{ContentDigest, Netuid};
use tokio::process::Command;

use crate::binaries::{binary, dataset};
use crate::chain::{Chain, ChainOptions};
use crate::node::{node_dir, Node, NodeOptions};
use crate::submissions::{provide, Packed};

/// The subnet of the local chain.
pub const NETUID: u16 = 1;

/// The evaluator image.
pub const IMAGE: &str = "assay-evaluator:cpu";

/// A laboratory in one directory.
#[derive(Debug)]
pub struct Lab {
    /// Its chain.
    pub chain: Chain,
    dir: PathBuf,
    dataset: PathBuf,
}

impl Lab {
    /// Starts the chain.
    ///
    /// # Errors
    ///
    /// If it does not start, or the data set was not prepared.
    pub async fn start(dir: &Path, options: &ChainOptions) -> anyhow::Result<Self> {
        let dataset = dataset()?;
        let chain = Chain::start(dir, options).await?;
        Ok(Self { chain, dir: dir.to_owned(), dataset })
    }

    /// Where archives for all nodes lie.
    #[must_use]
    pub fn shared_contents(&self) -> PathBuf {
        self.dir.join("contents")
    }

    /// Where archives for one validator alone lie.
    #[must_use]
    pub fn own_contents(&self, validator: u16) -> PathBuf {
        self.dir.join(format!("contents-validator{validator}"))
    }

    /// What a validator's node is configured with, unless a test wants something else.
    #[must_use]
    pub fn node_options(&self, validator: u16) -> NodeOptions {
        let wallet = format!("validator{validator}");
        NodeOptions {
            dir: node_dir(&self.dir, &wallet),
            wallet,
            wallets: self.chain.wallets().to_owned(),
            chain_url: self.chain.url().to_owned(),
            netuid: NETUID,
            dataset: self.dataset.clone(),
            content_dirs: vec![self.shared_contents(), self.own_contents(validator)],
            cpu_slots: 1,
            image: IMAGE.to_owned(),
            policy: "quick".to_owned(),
            host: Ipv4Addr::LOCALHOST,
            namespace: None,
            extra: String::new(),
        }
    }

    /// A validator's node, not started.
    ///
    /// # Errors
    ///
    /// If its configuration cannot be written.
    pub fn node(&self, validator: u16, extra: &str) -> anyhow::Result<Node> {
        Node::new(NodeOptions { extra: extra.to_owned(), ..self.node_options(validator) })
    }

    /// Puts an archive into `contents` and has a miner commit to it, as a miner would: with the
    /// command line. Returns when the commitment is final.
    ///
    /// # Errors
    ///
    /// If the command fails; with what it printed.
    pub async fn submit(
        &self,
        miner: u16,
        contents: &Path,
        packed: &Packed,
    ) -> anyhow::Result<ContentDigest> {
        let path = provide(contents, packed)?;
        let mut command = self.miner_command("submit", miner)?;
        command.arg(&path);
        run_checked(command).await?;
        Ok(packed.digest)
    }

    /// Has a miner commit to an archive that lies at `location`, a URL.
    ///
    /// # Errors
    ///
    /// If the command fails; with what it printed.
    pub async fn submit_from(
        &self,
        miner: u16,
        location: &str,
        packed: &Packed,
    ) -> anyhow::Result<ContentDigest> {
        let path = provide(&self.dir.join("at-miners"), packed)?;
        let mut command = self.miner_command("submit", miner)?;
        command.arg(&path).args(["--location", location]);
        run_checked(command).await?;
        Ok(packed.digest)
    }

    /// Commits to an archive that the command line refuses to submit, as hostile miners do with
    /// tools of their own.
    ///
    /// # Errors
    ///
    /// If the chain refuses.
    pub async fn submit_unchecked(
        &self,
        miner: u16,
        contents: &Path,
        packed: &Packed,
    ) -> anyhow::Result<ContentDigest> {
        provide(contents, packed)?;
        let commitment = Commitment { content: packed.digest, location: Location::Peers };
        let wallet = WalletPath {
            root: self.chain.wallets().to_owned(),
            name: format!("miner{miner}"),
            hotkey: "default".to_owned(),
        };
        let key = HotkeyFile::read(&wallet)?;
        let config = ChainConfig::new(vec![self.chain.url().to_owned()], Netuid(NETUID));
        let client = ChainClient::connect(config).await?;
        client.set_commitment(key.keypair(), commitment.to_string().as_bytes()).await?;
        Ok(packed.digest)
    }

    fn miner_command(&self, what: &str, miner: u16) -> anyhow::Result<Command> {
        let mut command = Command::new(binary("assay")?);
        command
            .args(["miner", what])
            .args(["--netuid", &NETUID.to_string()])
            .args(["--subtensor.chain_endpoint", self.chain.url()])
            .args(["--wallet.name", &format!("miner{miner}")])
            .args(["--wallet.hotkey", "default"])
            .arg("--wallet.path")
            .arg(self.chain.wallets())
            // The chain may listen on an address that other hosts could reach.
            .env("ASSAY_CHAIN__ALLOW_INSECURE", "true");
        Ok(command)
    }
}

/// Runs a command to its end.
///
/// # Errors
///
/// If it fails; with what it printed.
pub async fn run_checked(mut command: Command) -> anyhow::Result<String> {
    let shown = format!("{:?}", command.as_std());
    let output = command.output().await.with_context(|| format!("running {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{shown} failed: {}\n{text}{errors}", output.status);
    Ok(text)
}

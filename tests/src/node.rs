//! A node as a process: its configuration, its status, ways to end it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context as _};
use node_daemon::admin::AddressFile;
use node_daemon::status::StatusReport;
use node_runner::{Engine, EngineConfig};
use tokio::process::Command;
use tokio::time::Instant;

use crate::binaries::binary;
use crate::process::Process;

/// How often a status is looked at while waiting for something.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a node is configured with.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name in messages, also its wallet's.
    pub wallet: String,
    /// Where wallets are.
    pub wallets: PathBuf,
    /// The chain.
    pub chain_url: String,
    /// The subnet.
    pub netuid: u16,
    /// Holds its configuration, log and data.
    pub dir: PathBuf,
    /// The data set.
    pub dataset: PathBuf,
    /// Directories with archives.
    pub content_dirs: Vec<PathBuf>,
    /// CPU slots.
    pub cpu_slots: u32,
    /// The evaluator image.
    pub image: String,
    /// The rules, by name.
    pub policy: String,
    /// The address that it listens at, for peers and for its operator.
    pub host: Ipv4Addr,
    /// The network namespace that it runs in, if not the host's.
    pub namespace: Option<String>,
    /// Further lines of configuration, TOML.
    pub extra: String,
}

/// A node that can be started and ended again and again on the same data.
#[derive(Debug)]
pub struct Node {
    options: NodeOptions,
    peer_address: SocketAddr,
    environment: Vec<(String, String)>,
    process: Option<Process>,
}

impl Node {
    /// A node that does not run yet; its configuration is written.
    ///
    /// # Errors
    ///
    /// If its directory cannot be written.
    pub fn new(options: NodeOptions) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&options.dir)?;
        // Bound and released: the node needs to publish the number before it listens.
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let peer_address = SocketAddr::from((options.host, free));
        let node = Self { options, peer_address, environment: Vec::new(), process: None };
        std::fs::write(node.config_file(), node.config())?;
        Ok(node)
    }

    fn config(&self) -> String {
        let NodeOptions { wallet, wallets, chain_url, netuid, dir, dataset, .. } = &self.options;
        let dirs: Vec<String> =
            self.options.content_dirs.iter().map(|dir| format!("{:?}", dir.display())).collect();
        let data = dir.join("data");
        format!(
            "data_dir = {data:?}\n\
             [chain]\nnetwork = \"local\"\nendpoints = [\"{chain_url}\"]\nnetuid = {netuid}\n\
             [wallet]\nname = \"{wallet}\"\nhotkey = \"default\"\npath = {wallets:?}\n\
             [peer]\nlisten = \"{peer}\"\nadvertise = \"{peer}\"\npublish_axon = true\n\
             [admin]\nlisten = \"{host}:0\"\n\
             [devices]\ncpu_slots = {slots}\n\
             [images]\nevaluator = \"{image}\"\n\
             [challenge.nas]\npolicy = \"{policy}\"\n\
             dataset = {dataset:?}\ncontent_dirs = [{dirs}]\n\
             {extra}\n",
            peer = self.peer_address,
            host = self.options.host,
            slots = self.options.cpu_slots,
            image = self.options.image,
            policy = self.options.policy,
            dirs = dirs.join(", "),
            extra = self.options.extra,
        )
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.options.wallet
    }

    /// Where it serves its peers.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Its configuration file.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.options.dir.join("assay.toml")
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.options.dir.join("data")
    }

    /// Its log, over all its lives.
    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.options.dir.join("node.log")
    }

    /// How many containers of its runs there are, running or not; those that it has made ahead,
    /// for no run yet, are left out.
    ///
    /// # Errors
    ///
    /// If it never started, or the engine does not answer.
    pub async fn containers(&self) -> anyhow::Result<usize> {
        let name = std::fs::read_to_string(self.data_dir().join("instance"))?.trim().to_owned();
        let config = EngineConfig { host: None, runtime: None, node: name };
        let found = Engine::connect(config).await?.leftovers().await?;
        Ok(found.iter().filter(|container| container.run.is_some()).count())
    }

    /// Sets a variable for all its lives.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it. `failpoint` names a point at which it dies.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(&mut self, failpoint: Option<&str>) -> anyhow::Result<()> {
        let mut command = match &self.options.namespace {
            None => Command::new(binary("assay")?),
            // `ip` becomes the node, so signals reach it.
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(binary("assay")?);
                command
            }
        };
        command.arg("run").arg("--config").arg(self.config_file());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(failpoint) = failpoint {
            command.env("ASSAY_FAILPOINT", failpoint);
        }
        self.process = Some(Process::start(self.name(), command, &self.log_file())?);
        Ok(())
    }

    /// Its process.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn process(&mut self) -> anyhow::Result<&mut Process> {
        self.process.as_mut().ok_or_else(|| anyhow!("{} does not run", self.options.wallet))
    }

    /// What it says about itself.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn status(&self) -> anyhow::Result<StatusReport> {
        let address = AddressFile::read(&self.data_dir().join("admin.addr"))?.address;
        let body = self.get(address, "/status").await?;
        serde_json::from_str(&body).context("the status")
    }

    /// Gets a page of its admin listener.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn page(&self, path: &str) -> anyhow::Result<String> {
        let address = AddressFile::read(&self.data_dir().join("admin.addr"))?.address;
        self.get(address, path).await
    }

    async fn get(&self, address: SocketAddr, path: &str) -> anyhow::Result<String> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        Ok(client.get(format!("http://{address}{path}")).send().await?.text().await?)
    }

    /// Waits until its status satisfies `is_so`, at most `limit`.
    ///
    /// # Errors
    ///
    /// If the node ends, or the time runs out; with its last status.
    pub async fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&StatusReport) -> bool,
    ) -> anyhow::Result<StatusReport> {
        let deadline = Instant::now() + limit;
        loop {
            self.process()?.check_alive()?;
            let status = self.status().await;
            match &status {
                Ok(report) if is_so(report) => return status,
                _ if Instant::now() < deadline => tokio::time::sleep(LOOK_EVERY).await,
                _ => {
                    let name = self.name().to_owned();
                    let tail = self.process()?.log_tail();
                    let last = status.map(|report| format!("{report:#?}"));
                    let last = last.unwrap_or_else(|error| format!("no status: {error:#}"));
                    anyhow::bail!("{name}: {what} not within {limit:?}\n{last}\n{tail}");
                }
            }
        }
    }

    /// What `assay status` prints about it, and its exit code.
    ///
    /// # Errors
    ///
    /// If the command cannot be run.
    pub async fn status_command(&self, arguments: &[&str]) -> anyhow::Result<(String, i32)> {
        self.command("status", arguments).await
    }

    /// What a command of `assay` prints with its configuration, and its exit code.
    ///
    /// # Errors
    ///
    /// If the command cannot be run.
    pub async fn command(
        &self,
        command: &str,
        arguments: &[&str],
    ) -> anyhow::Result<(String, i32)> {
        let output = Command::new(binary("assay")?)
            .arg(command)
            .args(arguments)
            .arg("--config")
            .arg(self.config_file())
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok((text, output.status.code().unwrap_or(-1)))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    ///
    /// If it does not end in time.
    pub async fn wait_for_end(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.process()?.wait(limit).await?;
        self.process = None;
        Ok(())
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.process()?.kill().await?;
        self.process = None;
        Ok(())
    }

    /// Ends it: twice the signal, so that runs are stopped too.
    pub async fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.signal("TERM").await);
            process.end().await;
        }
    }
}

/// A directory for one node below `parent`.
#[must_use]
pub fn node_dir(parent: &Path, name: &str) -> PathBuf {
    parent.join(name)
}

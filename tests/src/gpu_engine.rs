//! A container engine of a test's own, which gives the GPUs of a fake driver to containers.
//!
//! The engine is the real one. It offers GPUs because it finds a program by the name of NVIDIA's
//! hook when it starts; that program is ours (`bin/gpu_hook.rs`) and puts the fake driver into the
//! container, with the GPUs that the engine names to it. So what a container sees has come the
//! whole way: from the request that created it through the engine and its runtime to the hook.
//!
//! It shares nothing with the host's engine but the cgroups' parent, and is gone with its owner,
//! however that ends. Needs root, as every engine without user namespaces does.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure, Context as _};
use fake_driver::FakeDriver;
use serde_json::{json, Value};
use tokio::time::Instant;

use crate::binaries::{binary, repository};
use crate::lab::{run_checked, IMAGE};

/// Tells the hook where the fake driver is; engines hand their environment on.
pub const DRIVER_VARIABLE: &str = "ASSAY_TEST_FAKE_DRIVER";

/// What engines look for.
const HOOK: &str = "nvidia-container-runtime-hook";
/// Beside the driver: what the hook shows instead of what is asked for.
const INSTEAD_FILE: &str = "instead.json";
/// Where engines lie that a user's own shell does not find.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";
/// How long the engine may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(60);
/// How often what is waited for is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The evaluator image without its word that it computes on CPUs, for GPUs that are scripted.
pub const GPU_IMAGE: &str = "assay-test:scripted-gpus";

/// Runs the engine until its standard input is closed, then removes what it wrote.
const KEEPER: &str = include_str!("gpu_engine.sh");

/// A running engine; ended, with its containers and images, when this is dropped.
#[derive(Debug)]
pub struct GpuEngine {
    keeper: Child,
    dir: PathBuf,
    log: PathBuf,
    driver: PathBuf,
    client: reqwest::Client,
}

/// A running container.
#[derive(Clone, Debug)]
pub struct GpuContainer {
    /// Its name, without the slash that engines put before it.
    pub name: String,
    /// UUIDs of the GPUs that it was created with.
    pub asked: Vec<String>,
    id: String,
    pid: u64,
}

impl GpuContainer {
    /// Whether it is a run's; else it was made ahead and waits for one.
    #[must_use]
    pub fn is_of_a_run(&self) -> bool {
        self.name.starts_with("assay-")
    }

    /// The content of a file in it, if it is there.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.inside(path)).ok()
    }

    /// Makes an empty file in it.
    ///
    /// # Errors
    ///
    /// If the container has ended, or the file cannot be made.
    pub fn touch(&self, path: &str) -> std::io::Result<()> {
        File::create(self.inside(path)).map(drop)
    }

    fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }
}

impl GpuEngine {
    /// Starts an engine below `dir` with the evaluator image in it. It gives the GPUs of `driver`.
    ///
    /// # Errors
    ///
    /// If it does not start or the image cannot be loaded; with the end of its log.
    pub async fn start(dir: &Path, driver: &FakeDriver) -> anyhow::Result<Self> {
        let (dir, log) = (dir.join("engine"), dir.join("engine.log"));
        let programs = dir.join("bin");
        std::fs::create_dir_all(&programs)?;
        std::os::unix::fs::symlink(binary("gpu-hook")?, programs.join(HOOK))?;
        let usual = std::env::var("PATH").unwrap_or_default();
        let output = File::create(&log)?;
        let keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c", KEEPER, "keeper"])
            .arg(&dir)
            .env("PATH", format!("{}:{usual}:{SYSTEM_PATH}", programs.display()))
            .env(DRIVER_VARIABLE, driver.folder())
            // The engine's own, which would tell it to be another.
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C reaches the owner, who then ends this in order.
            .process_group(0)
            .spawn()
            .context("starting an engine")?;
        let client = reqwest::Client::builder().unix_socket(dir.join("engine.sock")).build()?;
        let driver = driver.folder().to_owned();
        let mut engine = Self { keeper, dir, log, driver, client };
        engine.wait_until_it_answers().await?;
        engine.load_image().await?;
        Ok(engine)
    }

    /// Its address, for the node's configuration.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.dir.join("engine.sock").display())
    }

    /// Lets the hook go wrong: a container that asks for the GPU before the colon gets those
    /// behind it.
    ///
    /// # Errors
    ///
    /// If the file that tells it cannot be written.
    pub fn give_instead(&self, instead: &BTreeMap<String, Vec<String>>) -> anyhow::Result<()> {
        let text = serde_json::to_vec(instead)?;
        Ok(std::fs::write(self.driver.join(INSTEAD_FILE), text)?)
    }

    /// The containers that run now.
    ///
    /// # Errors
    ///
    /// If the engine does not answer.
    pub async fn containers(&self) -> anyhow::Result<Vec<GpuContainer>> {
        let mut found = Vec::new();
        let list = self.get("/containers/json").await?;
        for id in list.as_array().into_iter().flatten().filter_map(|one| one["Id"].as_str()) {
            let facts = self.get(&format!("/containers/{id}/json")).await?;
            let requests = facts["HostConfig"]["DeviceRequests"].as_array();
            let ids = requests.into_iter().flatten().filter_map(|one| one["DeviceIDs"].as_array());
            let asked = ids.flatten().filter_map(Value::as_str).map(str::to_owned).collect();
            let name = facts["Name"].as_str().unwrap_or_default().trim_start_matches('/');
            // Zero for one that has ended meanwhile.
            match facts["State"]["Pid"].as_u64() {
                Some(pid) if pid > 0 => {
                    let (id, name) = (id.to_owned(), name.to_owned());
                    found.push(GpuContainer { name, asked, id, pid });
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// Kills a container.
    ///
    /// # Errors
    ///
    /// If the engine refuses, for example because it has ended.
    pub async fn kill(&self, container: &GpuContainer) -> anyhow::Result<()> {
        let path = format!("http://engine/containers/{}/kill", container.id);
        self.client.post(path).send().await?.error_for_status()?;
        Ok(())
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.client.get(format!("http://engine{path}")).send().await?;
        let text = answer.error_for_status()?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("the engine's answer to {path}"))
    }

    async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        let call = self.client.post(format!("http://engine{path}")).body(body.to_string());
        let answer = call.header("content-type", "application/json").send().await?;
        let text = answer.error_for_status()?.text().await?;
        serde_json::from_str(&text).with_context(|| format!("the engine's answer to {path}"))
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_MAX;
        while self.get("/info").await.is_err() {
            if let Some(status) = self.keeper.try_wait()? {
                bail!("no engine, {status}; is this root?\n{}", self.log_tail());
            }
            ensure!(Instant::now() < deadline, "the engine is silent\n{}", self.log_tail());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    async fn load_image(&self) -> anyhow::Result<()> {
        let mut command = tokio::process::Command::new(repository().join("scripts/images"));
        command.arg("evaluator").env("DOCKER_HOST", self.host());
        run_checked(command).await?;
        let made =
            self.post("/containers/create", json!({ "Image": IMAGE, "Cmd": ["true"] })).await?;
        let id = made["Id"].as_str().context("the engine made no container")?;
        let changes = "changes=LABEL%20assay.recipe=%22%22";
        let (repository, tag) = GPU_IMAGE.split_once(':').context("the image has no tag")?;
        let commit = format!("/commit?container={id}&repo={repository}&tag={tag}&{changes}");
        self.post(&commit, json!({})).await?;
        let made = format!("http://engine/containers/{id}");
        self.client.delete(made).send().await?.error_for_status()?;
        self.get(&format!("/images/{GPU_IMAGE}/json")).await.map(drop)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for GpuEngine {
    fn drop(&mut self) {
        // Closes its standard input and waits until nothing is left.
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

/// What [`GpuEngine::give_instead`] has ordered for a container that asks for these GPUs.
///
/// # Errors
///
/// If the order cannot be read.
pub fn shown_instead(driver: &Path, asked: &[String]) -> anyhow::Result<Option<Vec<String>>> {
    let path = driver.join(INSTEAD_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let instead: BTreeMap<String, Vec<String>> = serde_json::from_slice(&std::fs::read(path)?)?;
    Ok(asked.first().and_then(|first| instead.get(first).cloned()))
}

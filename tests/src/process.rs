//! A child process with its output in a file; it never outlives its owner.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{anyhow, Context as _};
use tokio::process::{Child, Command};

/// How long a process may take to end when asked to, before it is killed.
const END_MAX: Duration = Duration::from_secs(60);

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, both outputs appended to `log`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            // Its own group: Ctrl-C reaches the owner, who then ends its children in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails with the end of its log if it has ended.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} ended: {status}\n{}", self.name, self.log_tail())),
        }
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// All of its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it as `kill -9` does.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Sends a signal by name, for example `TERM`.
    ///
    /// # Errors
    ///
    /// If it has ended, or the system refuses.
    pub async fn signal(&self, signal: &str) -> anyhow::Result<()> {
        let pid = self.child.id().ok_or_else(|| anyhow!("{} has ended", self.name))?;
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status();
        anyhow::ensure!(sent.await?.success(), "kill -{signal} {pid} failed");
        Ok(())
    }

    /// Kills it as `kill -9` does, and with it what it started and is in its group. Does not wait.
    pub fn kill_group(&self) {
        let Some(pid) = self.child.id() else { return };
        let group = format!("-{pid}");
        // What has ended in between cannot be killed.
        drop(std::process::Command::new("kill").args(["-KILL", "--", &group]).output());
    }

    /// Waits for its end, at most `limit`.
    ///
    /// # Errors
    ///
    /// If it does not end in time.
    pub async fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let status = tokio::time::timeout(limit, self.child.wait()).await;
        status.map_err(|_| anyhow!("{} still runs after {limit:?}", self.name))?.map_err(Into::into)
    }

    /// Asks it to end, waits, and kills it if that takes too long.
    pub async fn end(&mut self) {
        if self.child.id().is_some() && self.signal("TERM").await.is_ok() {
            drop(self.wait(END_MAX).await);
        }
        drop(self.child.kill().await);
    }
}

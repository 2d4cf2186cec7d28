//! A collector of traces as a process: the service that OpenTelemetry's authors publish for Python,
//! which writes down each span that it gets.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{ensure, Context as _};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use crate::binaries::repository;
use crate::lab::run_checked;
use crate::process::Process;

/// How long it may take until it listens.
const START_MAX: Duration = Duration::from_secs(60);
/// How often its output is looked at while waiting for something.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A span as it was received.
#[derive(Clone, Debug, Deserialize)]
pub struct Span {
    /// Who sent it.
    pub resource: BTreeMap<String, Value>,
    /// What it is.
    pub name: String,
    /// Its trace, in hex.
    pub trace: String,
    /// Its id, in hex.
    pub span: String,
    /// The id of the one above it; empty if there is none.
    pub parent: String,
    /// When it began, nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// What is known of it.
    pub attributes: BTreeMap<String, Value>,
    /// Names of what happened meanwhile.
    pub events: Vec<String>,
    /// Whether something went wrong.
    pub is_error: bool,
}

impl Span {
    /// Which validator sent it, by its hotkey.
    #[must_use]
    pub fn validator(&self) -> &str {
        self.resource.get("service.instance.id").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The first line of a receiver.
#[derive(Debug, Deserialize)]
struct Listening {
    port: u16,
}

/// A running collector.
#[derive(Debug)]
pub struct Collector {
    process: Process,
    port: u16,
}

impl Collector {
    /// Starts one that keeps its output in `dir`; waits until it listens.
    ///
    /// # Errors
    ///
    /// If it cannot be installed, or does not start; with what it says.
    pub async fn start(dir: &Path) -> anyhow::Result<Self> {
        let mut venv = Command::new(repository().join("scripts/python-venv"));
        venv.arg("otlp");
        let mut command = Command::new(run_checked(venv).await?.trim());
        command.arg(repository().join("tests/python/otlp_receiver.py"));
        let mut process = Process::start("collector", command, &dir.join("collector.log"))?;
        let deadline = Instant::now() + START_MAX;
        loop {
            process.check_alive()?;
            let first = whole_lines(&process.log()).first().cloned();
            if let Some(line) = first {
                let Listening { port } = serde_json::from_str(&line).context("its first line")?;
                return Ok(Self { process, port });
            }
            ensure!(Instant::now() < deadline, "it does not listen\n{}", process.log_tail());
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What a node is told to reach it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has received so far.
    ///
    /// # Errors
    ///
    /// If it wrote something else than spans; with the line.
    pub fn spans(&self) -> anyhow::Result<Vec<Span>> {
        let lines = whole_lines(&self.process.log());
        let spans = lines.iter().skip(1);
        spans.map(|line| serde_json::from_str(line).with_context(|| line.clone())).collect()
    }

    /// Waits until what it has received satisfies `is_so`, at most `limit`.
    ///
    /// # Errors
    ///
    /// If it ends, or the time runs out; with what it received.
    pub async fn wait_for(
        &mut self,
        what: &str,
        limit: Duration,
        is_so: impl Fn(&[Span]) -> bool,
    ) -> anyhow::Result<Vec<Span>> {
        let deadline = Instant::now() + limit;
        loop {
            self.process.check_alive()?;
            let spans = self.spans()?;
            if is_so(&spans) {
                return Ok(spans);
            }
            ensure!(Instant::now() < deadline, "{what} not within {limit:?}\n{spans:#?}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Lines that are written to their end.
fn whole_lines(text: &str) -> Vec<String> {
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(str::to_owned).collect()
}

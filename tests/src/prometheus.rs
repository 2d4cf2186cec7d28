//! Debian's Prometheus as a process: it scrapes a node, and answers the expressions of `deploy/`.
//!
//! - Where its programs come from: `scripts/prometheus`, without installing anything.
//! - What it is configured with: the files of `deploy/prometheus`, with another target and a faster
//!   clock, so that a test waits for seconds.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context as _};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use crate::binaries::repository;
use crate::lab::run_checked;
use crate::process::Process;

/// How long it may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);
/// How often an answer is looked at while waiting for something.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What is replaced in `deploy/prometheus/prometheus.yml`; the target is the first.
const REPLACED: [(&str, Option<&str>); 4] = [
    ("\"node:9464\"", None),
    ("scrape_interval: 15s", Some("scrape_interval: 2s")),
    ("scrape_timeout: 10s", Some("scrape_timeout: 2s")),
    ("evaluation_interval: 15s", Some("evaluation_interval: 2s")),
];

/// The folder with what a Prometheus for nodes is configured with.
#[must_use]
pub fn deployed() -> PathBuf {
    repository().join("deploy/prometheus")
}

/// The folder of `prometheus` and `promtool`, fetched if this host does not have it yet.
///
/// # Errors
///
/// If it cannot be fetched; with what the script says.
pub async fn programs() -> anyhow::Result<PathBuf> {
    let mut command = Command::new(repository().join("scripts/prometheus"));
    command.arg("--print-path");
    Ok(PathBuf::from(run_checked(command).await?.trim()))
}

/// What `promtool` says to the files of `deploy/prometheus`.
///
/// # Errors
///
/// If it finds a fault; with what it says.
pub async fn promtool(arguments: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new(programs().await?.join("promtool"));
    command.args(arguments).current_dir(deployed());
    run_checked(command).await
}

/// A rule as Prometheus understood it.
#[derive(Clone, Debug)]
pub struct AlertRule {
    /// Its name.
    pub name: String,
    /// Its expression.
    pub expression: String,
    /// `page` or `ticket`.
    pub severity: String,
    /// Its annotations.
    pub annotations: Value,
    /// `unknown` before its first evaluation, then `ok` or `err`.
    pub health: String,
}

/// A running Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts one that keeps its files in `dir` and scrapes `target`; waits until it answers.
    ///
    /// # Errors
    ///
    /// If it is not there, does not start, or the deployed configuration is not as expected.
    pub async fn start(dir: &Path, target: SocketAddr) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let file = dir.join("prometheus.yml");
        std::fs::write(&file, configuration(target)?)?;
        std::fs::copy(deployed().join("alerts.yml"), dir.join("alerts.yml"))?;
        // Bound and released: it cannot choose a port and say which.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(programs().await?.join("prometheus"));
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=warn");
        let process = Process::start("prometheus", command, &dir.join("prometheus.log"))?;
        let mut prometheus = Self { process, address };
        let deadline = Instant::now() + START_MAX;
        while prometheus.query("vector(1)").await.is_err() {
            prometheus.process.check_alive()?;
            ensure!(Instant::now() < deadline, "no answer\n{}", prometheus.process.log_tail());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(prometheus)
    }

    /// What an expression is now: a list of series.
    ///
    /// # Errors
    ///
    /// If it does not answer, or with an error; with what it says.
    pub async fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        result(self.get("/api/v1/query", &[("query", expression)]).await?)
    }

    /// What an expression was from `since` until now, once a second.
    ///
    /// - `since`: seconds since 1970.
    ///
    /// # Errors
    ///
    /// Those of [`Self::query`].
    pub async fn query_since(&self, expression: &str, since: u64) -> anyhow::Result<Vec<Value>> {
        let (since, until) = (since.to_string(), now().to_string());
        let span = [("start", since.as_str()), ("end", until.as_str()), ("step", "1")];
        let parameters = [[("query", expression)].as_slice(), span.as_slice()].concat();
        result(self.get("/api/v1/query_range", &parameters).await?)
    }

    /// The names of all metrics that it has seen.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn names(&self) -> anyhow::Result<BTreeSet<String>> {
        let names = self.get("/api/v1/label/__name__/values", &[]).await?;
        serde_json::from_value(names).context("the names of metrics")
    }

    /// The rules that it evaluates.
    ///
    /// # Errors
    ///
    /// If it does not answer, or otherwise than expected.
    pub async fn rules(&self) -> anyhow::Result<Vec<AlertRule>> {
        let data = self.get("/api/v1/rules", &[]).await?;
        let groups = data["groups"].as_array().context("no groups of rules")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        rules.map(|rule| alert(rule).with_context(|| format!("a rule: {rule}"))).collect()
    }

    /// Waits until an expression has a value, at most `limit`.
    ///
    /// # Errors
    ///
    /// If it ends, or the time runs out; with what it says of its target.
    pub async fn wait_for(&mut self, expression: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while self.query(expression).await?.is_empty() {
            self.process.check_alive()?;
            if Instant::now() >= deadline {
                let targets = self.get("/api/v1/targets", &[]).await?;
                anyhow::bail!("`{expression}` has no value after {limit:?}: {targets:#}");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Ends it.
    pub async fn end(mut self) {
        self.process.end().await;
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        let request = client.get(format!("http://{}{path}", self.address)).query(parameters);
        let body = request.send().await?.text().await?;
        let mut answer: Value =
            serde_json::from_str(&body).with_context(|| format!("{path}: {body}"))?;
        ensure!(answer["status"] == "success", "{path} {parameters:?}: {answer}");
        Ok(answer["data"].take())
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The metrics of the node that an expression, or a query of a dashboard's variable, names.
#[must_use]
pub fn metrics_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("assay_")).map(str::to_owned).collect()
}

fn configuration(target: SocketAddr) -> anyhow::Result<String> {
    let mut text = std::fs::read_to_string(deployed().join("prometheus.yml"))?;
    let target = format!("\"{target}\"");
    for (from, to) in REPLACED {
        ensure!(text.contains(from), "prometheus.yml does not say `{from}`");
        text = text.replace(from, to.unwrap_or(&target));
    }
    Ok(text)
}

fn result(mut data: Value) -> anyhow::Result<Vec<Value>> {
    serde_json::from_value(data["result"].take()).context("a list of series")
}

fn alert(rule: &Value) -> Option<AlertRule> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some(AlertRule {
        name: text(&rule["name"])?,
        expression: text(&rule["query"])?,
        severity: text(&rule["labels"]["severity"])?,
        annotations: rule["annotations"].clone(),
        health: text(&rule["health"])?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_wherever_they_stand_and_labels_are_none() {
        let found = metrics_in("sum by (job) (assay_up{job=\"assay\"}[1m]) / assay_all_total");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["assay_all_total", "assay_up"]);
    }

    #[test]
    fn the_deployed_configuration_is_asked_another_target_faster() {
        let text = configuration(SocketAddr::from((Ipv4Addr::LOCALHOST, 4))).unwrap();
        assert!(text.contains("targets: [\"127.0.0.1:4\"]"), "{text}");
        assert!(!text.contains("15s"), "{text}");
    }
}

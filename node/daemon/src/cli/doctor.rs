//! `assay doctor`: everything that can be checked before the node runs, and its alarms if it does.
//!
//! Each check has a deadline and changes nothing. Files: here the order, the deadlines and the
//! answer; `host` (configuration, files, engine), `devices`, `chain` (endpoints, runtime, our
//! hotkey there),
//! `own` (the state that lies here, against both).

mod chain;
mod devices;
mod host;
mod own;

use std::future::Future;
use std::time::Duration;

use clap::Args;
use node_core::id::Hotkey;
use serde::Serialize;

use super::flags::ConfigFlags;
use crate::config::{hide_credentials, Config};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  assay doctor                                  what is wrong, and what to do about it
  assay doctor --config /etc/assay/assay.toml   with the settings of the service
  assay doctor --json | jq '.checks[] | select(.level != \"ok\")'

Nothing is changed, signed or sent, and no password is asked for. An encrypted hotkey is proven to
open by `assay keys show --check`.

Exit codes: 0 nothing fails (warnings may stand); 1 something fails; 130 interrupted.";

/// How long one check may take. Lower: a slow public endpoint fails for nothing. Higher: whoever
/// waits for an answer waits longer; a dead endpoint always takes all of it.
const CHECK_TIME_MAX: Duration = Duration::from_secs(20);

/// How long checks that cannot be cancelled may go on behind a finished command.
const LEAVE_TIME_MAX: Duration = Duration::from_millis(200);

/// Check configuration, files, engine, devices, endpoints, runtime and hotkey.
///
/// Says of each whether it is in order, with the next step where it is not. If a node runs with the
/// same data directory, its alarms are told, too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorCommand {
    /// Print JSON: `healthy` and `checks` with `id`, `level` (ok, warn, fail), `text` and `next`
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    id: &'static str,
    level: Level,
    text: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Finding {
    fn new(id: &'static str, level: Level, text: impl AsRef<str>) -> Self {
        // A foreign message may name an endpoint, and its URL may hold a password.
        Self { id, level, text: hide_credentials(text.as_ref()), next: None }
    }

    fn ok(id: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(id, Level::Ok, text)
    }

    fn warn(id: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(id, Level::Warn, text)
    }

    fn fail(id: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(id, Level::Fail, text)
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    /// The same, at another level.
    fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// An error with its causes, in one line.
    fn of_error(id: &'static str, error: &dyn std::error::Error) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        Self::fail(id, text)
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'a> {
    healthy: bool,
    checks: &'a [Finding],
}

impl DoctorCommand {
    /// Prints what was found; the exit reason says whether something fails.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the answer cannot be printed.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(Failure::unexpected)?;
        let found = runtime.block_on(async {
            tokio::select! {
                found = self.examine() => Some(found),
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        // A hanging file system or resolver must not keep the command from ending.
        runtime.shutdown_timeout(LEAVE_TIME_MAX);
        let Some(found) = found else { return Ok(ExitReason::LeftAtOnce) };
        let healthy = found.iter().all(|finding| finding.level != Level::Fail);
        let text = if self.json {
            serde_json::to_string_pretty(&Answer { healthy, checks: &found })
                .map_err(Failure::unexpected)?
        } else {
            render(&found)
        };
        output::print(&text)?;
        Ok(if healthy { ExitReason::Done } else { ExitReason::Failed })
    }

    async fn examine(&self) -> Vec<Finding> {
        let settings = self.flags.settings();
        let config = match settings.config() {
            Ok(config) => config,
            Err(error) => {
                let next = "set what is missing; `assay config show --origin` shows what holds; \
                            the other checks need a whole configuration";
                return vec![Finding::of_error("config", &error).next(next)];
            }
        };
        let mut found = vec![host::config(&settings, &config)];
        found.extend(host::data_dir(&config));
        found.push(host::journal(&config));
        let (rules, policy) = host::policy(&config);
        found.push(rules);
        found.extend(policy.iter().flat_map(host::gates));
        let (key, hotkey) = host::key(&config);
        found.extend(key);
        let (chain, timelock, dataset, engine, devices, node) = tokio::join!(
            on_chain(&config, hotkey),
            within("timelock", host::timelock()),
            within("dataset", host::dataset(&config, policy.as_ref())),
            within("engine", host::engine(&config)),
            within("devices", devices::devices(&config, policy.as_ref())),
            within("node", host::node(&config)),
        );
        for part in [chain, timelock, dataset, engine, devices, node] {
            found.extend(part);
        }
        found
    }
}

/// Endpoints side by side, then the runtime and our hotkey at the first good one.
async fn on_chain(config: &Config, hotkey: Option<Hotkey>) -> Vec<Finding> {
    let (mut found, best) = chain::endpoints(config, CHECK_TIME_MAX).await;
    let Some(best) = best else { return found };
    found.extend(within("shapes", chain::runtime(&best, config)).await);
    found.extend(within("subnet", chain::subnet(config, hotkey, &best)).await);
    found
}

/// Ends a check that takes too long.
async fn within(id: &'static str, check: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(CHECK_TIME_MAX, check).await.unwrap_or_else(|_| {
        let text = format!("no answer within {} s", CHECK_TIME_MAX.as_secs());
        vec![Finding::fail(id, text).next("look whether what it asks hangs")]
    })
}

/// A line per finding, in their order; below it what to do, then how many there are of each level.
fn render(found: &[Finding]) -> String {
    let mut out = String::new();
    for finding in found {
        let word = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        let text = finding.text.replace('\n', "\n                    ");
        out.push_str(&format!("{word:<5} {:<13} {text}\n", finding.id));
        if let Some(next) = &finding.next {
            out.push_str(&format!("{:<20}next: {next}\n", ""));
        }
    }
    let count = |level| found.iter().filter(|finding| finding.level == level).count();
    let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
    out.push_str(&format!("\n{ok} ok, {warn} to look at, {fail} failed\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_has_its_line_and_its_next_step_below() {
        let found = [
            Finding::ok("config", "subnet 3"),
            Finding::warn("key", "others can read the hotkey").next("chmod 600 it"),
            Finding::fail("endpoint 1", "`wss://me:secret@h/key` is silent\nsecond line"),
        ];
        insta::assert_snapshot!(render(&found), @r"
        ok    config        subnet 3
        WARN  key           others can read the hotkey
                            next: chmod 600 it
        FAIL  endpoint 1    `wss://***@h/***` is silent
                            second line

        1 ok, 1 to look at, 1 failed
        ");
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_fails_at_its_deadline() {
        let found = within("engine", std::future::pending()).await;
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].id, found[0].level), ("engine", Level::Fail));
        assert!(found[0].text.contains("within 20 s"), "{}", found[0].text);
    }
}

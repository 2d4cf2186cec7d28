//! `assay doctor`: everything that can be checked before the node runs, and its alarms if it does.
//!
//! Each check has a deadline and changes nothing. Files: here the order, the deadlines and the
//! answer; `host` (configuration, files, engine), `storage` (disks), `kernel`, `exposure` (who
//! reaches the engine, the hotkey and a coldkey), `advisories` (holes in what runs containers),
//! `devices` (which there are), `probe` (whether they compute), `chain` (endpoints, runtime, our
//! hotkey there), `running` (the node, if it runs), `own` (the state that lies here, against both),
//! `topic` (what each check is called and what depends on it), `finding` (what one found), `texts`
//! (tests: everything that each can say).

mod advisories;
mod chain;
mod devices;
mod exposure;
mod finding;
mod host;
mod kernel;
mod own;
mod probe;
mod running;
mod storage;
#[cfg(test)]
mod texts;
mod topic;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use node_core::id::Hotkey;
use node_core::policy::Policy;
use serde::Serialize;

use super::flags::ConfigFlags;
use super::signals::Signals;
use crate::config::{Config, Settings};
use crate::exit::ExitReason;
use crate::failure::Failure;
use crate::output;
#[cfg(test)]
use finding::told;
use finding::{in_a_line, render, Finding, Level};
use probe::{Probes, Tried};
use topic::Topic;

const EXAMPLES: &str = "\
Examples:
  assay doctor                                  what is wrong, and what to do about it
  assay doctor --config /etc/assay/assay.toml   with the settings of the service
  assay doctor --json | jq '.checks[] | select(.level != \"ok\")'
  assay doctor --no-probe                       without trying the devices, which takes seconds

Nothing is signed, sent or left behind, and no password is asked for. An encrypted hotkey is proven
to open by `assay keys show --check`.

Devices are tried as runs use them: each GPU by the node's probe, CPU slots by a container of the
evaluator image that computes a known number. Of a node that runs its last probes are told instead.

Exit codes: 0 nothing fails (warnings may stand); 1 something fails; 130 interrupted.";

/// How long one check may take. Lower: a slow public endpoint fails for nothing. Higher: whoever
/// waits for an answer waits longer; a dead endpoint always takes all of it.
const CHECK_TIME_MAX: Duration = Duration::from_secs(20);

/// What to do about a check that ended before its answer.
const UNFINISHED: &str = "`assay doctor` again; if it stays, use another build: this one is broken";

/// How long checks that cannot be cancelled may go on behind a finished command.
const LEAVE_TIME_MAX: Duration = Duration::from_millis(200);

/// Check configuration, files, engine, devices, endpoints, runtime and hotkey.
///
/// Says of each whether it is in order, with the next step where it is not. If a node runs with the
/// same data directory, its alarms are told, too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorCommand {
    /// Print JSON: `healthy` and `checks` with `id`, `level` (ok, warn, fail), `text`, `why`
    /// and `next`
    #[arg(long)]
    json: bool,

    /// Do not try the devices: of each it is only told that it is there
    #[arg(long)]
    no_probe: bool,

    #[command(flatten)]
    flags: ConfigFlags,
}

/// Whether devices are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TryDevices {
    Yes,
    No,
}

/// What all checks found; as JSON what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Examined {
    healthy: bool,
    checks: Vec<Finding>,
}

impl Examined {
    /// Why the command ends.
    pub(super) fn exit(&self) -> ExitReason {
        if self.healthy {
            ExitReason::Done
        } else {
            ExitReason::Failed
        }
    }

    /// As people read it.
    pub(super) fn text(&self) -> String {
        render(&self.checks)
    }
}

impl DoctorCommand {
    /// Prints what was found; the exit reason says whether something fails.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if the answer cannot be printed.
    pub fn execute(self) -> Result<ExitReason, Failure> {
        let try_devices = if self.no_probe { TryDevices::No } else { TryDevices::Yes };
        let Some(examined) = examine(&self.flags.settings(), try_devices)? else {
            return Ok(ExitReason::LeftAtOnce);
        };
        let text = if self.json {
            serde_json::to_string_pretty(&examined).map_err(Failure::unexpected)?
        } else {
            examined.text()
        };
        output::print(&text)?;
        Ok(examined.exit())
    }
}

/// Checks everything that these settings name, each check within its time; `None` if a signal came
/// before the end.
///
/// # Errors
///
/// A [`Failure`] if the system gives no threads or no signals.
pub(super) fn examine(
    settings: &Settings,
    try_devices: TryDevices,
) -> Result<Option<Examined>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::unexpected)?;
    let probes = Probes::default();
    let checks = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(Failure::unexpected)?;
        let found = tokio::select! {
            found = checks(settings, try_devices, &probes) => Some(found),
            _ = signals.next() => None,
        };
        if found.is_none() {
            probes.end().await;
        }
        Ok::<_, Failure>(found)
    });
    // A hanging file system or resolver must not keep the command from ending.
    runtime.shutdown_timeout(LEAVE_TIME_MAX);
    Ok(checks?.map(|checks| {
        let healthy = checks.iter().all(|finding| finding.level() != Level::Fail);
        Examined { healthy, checks }
    }))
}

async fn checks(settings: &Settings, try_devices: TryDevices, probes: &Probes) -> Vec<Finding> {
    let config = match settings.config() {
        Ok(config) => config,
        Err(error) => return vec![host::no_config(&error)],
    };
    let mut found = vec![host::config(settings, &config)];
    let config = Arc::new(config);
    let files = Arc::clone(&config);
    let looked = tokio::task::spawn_blocking(move || on_disk(&files));
    // A file system that hangs keeps nobody from the other checks.
    let (on_disk, policy, hotkey) = match tokio::time::timeout(CHECK_TIME_MAX, looked).await {
        Ok(Ok(looked)) => looked,
        Ok(Err(error)) => (vec![Finding::of_error(Topic::DataDir, &error, UNFINISHED)], None, None),
        Err(_) => (vec![hangs(Topic::DataDir)], None, None),
    };
    found.extend(on_disk);
    let (chain, timelock, dataset, engine, devices, node) = tokio::join!(
        on_chain(&config, hotkey),
        within(Topic::Timelock, host::timelock()),
        within(Topic::Dataset, host::dataset(&config, policy.as_ref())),
        telling(Topic::Engine, host::engine(&config, policy.as_ref())),
        telling(Topic::Devices, devices::devices(&config, policy.as_ref())),
        telling(Topic::Node, running::node(&config)),
    );
    let tried = match try_devices {
        TryDevices::No => vec![probe::left_out()],
        TryDevices::Yes => {
            let (gpus, bench, holder) = (devices.1, engine.1, node.1);
            let config = &config.devices;
            probes.of(Tried { config, policy: policy.as_ref(), gpus, bench, holder }).await
        }
    };
    for part in [chain, timelock, dataset, engine.0, devices.0, tried, node.0] {
        found.extend(part);
    }
    found
}

/// What lies in files: the findings, the rules, and the hotkey if it can be told.
fn on_disk(config: &Config) -> (Vec<Finding>, Option<Policy>, Option<Hotkey>) {
    let mut found = host::data_dir(config);
    found.push(host::journal(config));
    found.extend(storage::data(config));
    found.extend(storage::sync(config));
    found.extend(kernel::kernel());
    let (rules, policy) = host::policy(config);
    found.push(rules);
    found.extend(policy.iter().flat_map(host::gates));
    let (key, hotkey) = host::key(config);
    found.extend(key);
    found.push(exposure::coldkey(config));
    (found, policy, hotkey)
}

/// Endpoints side by side, then the runtime and our hotkey at the first good one.
async fn on_chain(config: &Config, hotkey: Option<Hotkey>) -> Vec<Finding> {
    let (mut found, best) = chain::endpoints(config, CHECK_TIME_MAX).await;
    let Some(best) = best else { return found };
    found.extend(within(Topic::Shapes, chain::runtime(&best, config)).await);
    found.extend(within(chain::SUBNET, chain::subnet(config, hotkey, &best)).await);
    found
}

/// Ends a check that takes too long.
async fn within(topic: Topic, check: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    telling(topic, async { (check.await, ()) }).await.0
}

/// The same for a check that tells more than its findings, which another one needs.
async fn telling<T>(
    topic: Topic,
    check: impl Future<Output = (Vec<Finding>, T)>,
) -> (Vec<Finding>, Option<T>) {
    match tokio::time::timeout(CHECK_TIME_MAX, check).await {
        Ok((found, told)) => (found, Some(told)),
        Err(_) => (vec![hangs(topic)], None),
    }
}

fn hangs(topic: Topic) -> Finding {
    let text = format!("no answer within {} s", CHECK_TIME_MAX.as_secs());
    let next = "`assay doctor` again; if it stays, look whether what it asks hangs: a disk, a \
                driver, the engine or an endpoint";
    Finding::fail(topic, text, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_fails_at_its_deadline() {
        let found = within(Topic::Engine, std::future::pending()).await;
        assert_eq!(found, [hangs(Topic::Engine)]);
        assert_eq!(found[0].level(), Level::Fail);
        assert!(found[0].text().contains("within 20 s"), "{}", found[0].text());
    }
}

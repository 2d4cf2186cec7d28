//! What the chain says: each endpoint, the runtime's shape, and our hotkey on its subnet.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use node_chain::{
    BlockRef, Capability, ChainClient, ChainConfig, ConnectError, ReadError, ShapeReport,
};
use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::preflight::{self, preflight, CheckId, Subject};
use node_core::submit_guard::{Sight, Terms};
use node_core::unit::{BlockNumber, UnixMs};
use node_core::view::ChainView;
use node_store::Owner;

use super::{in_a_line, own, Finding, Level, Topic};
use crate::config::{Config, WeightsMode};
use crate::status::unix_now;

/// What the findings about our hotkey on its subnet begin with.
pub(super) const SUBNET: Topic = Topic::OnChain(CheckId::Subnet);

/// Blocks below the highest endpoint from which on one is no use; as the node itself has it.
const LAG_BLOCKS_MAX: u64 = 5;

/// Age of the newest finalized block at which something is wrong with the endpoint or the clock:
/// some ten blocks, and the few by which finality is behind.
const BLOCK_AGE_MS_MAX: u64 = 180_000;

/// What to do about a runtime that this build does not understand.
const UPGRADE: &str = "`assay chain check --problems` shows what; upgrade the node";

/// Milliseconds by which a block may be ahead of our clock.
const AHEAD_MS_MAX: u64 = 15_000;

/// A good endpoint, and its newest finalized block.
pub(super) struct Best {
    url: String,
    hash: BlockHash,
}

struct Answered {
    place: usize,
    shown: String,
    url: String,
    number: BlockNumber,
    hash: BlockHash,
    genesis: BlockHash,
    spec: String,
    latency: Duration,
}

fn client_config(config: &Config, url: String, timeout: Duration) -> ChainConfig {
    ChainConfig {
        expected_genesis: config.chain.genesis,
        allow_insecure: config.chain.allow_insecure,
        mechanism: config.weights.mechanism,
        call_timeout: timeout,
        ..ChainConfig::new(vec![url], config.chain.netuid)
    }
}

/// Asks all endpoints at once, each within `time_max`; the first good one in the configured order.
pub(super) async fn endpoints(config: &Config, time_max: Duration) -> (Vec<Finding>, Option<Best>) {
    let asked = config.chain.endpoints.iter().enumerate().map(|(place, endpoint)| async move {
        let asked = ask(config, place, endpoint.url().to_owned(), time_max);
        match tokio::time::timeout(time_max, asked).await {
            Ok(answered) => answered.map_err(|reason| format!("{} {reason}", place + 1)),
            Err(_) => {
                Err(format!("{} `{endpoint}`: no answer in {} s", place + 1, time_max.as_secs()))
            }
        }
    });
    judge_endpoints(&join_all(asked).await, config.chain.genesis)
}

/// - `genesis`: the chain that is meant, if that is set; else it is that of the first that answers.
fn judge_endpoints(
    answers: &[Result<Answered, String>],
    genesis: Option<BlockHash>,
) -> (Vec<Finding>, Option<Best>) {
    let good = || answers.iter().filter_map(|answer| answer.as_ref().ok());
    let highest = good().map(|answer| answer.number).max().unwrap_or_default();
    let genesis = genesis.or_else(|| good().map(|answer| answer.genesis).next());
    let is_near = |answer: &&Answered| {
        highest.since(answer.number).0 <= LAG_BLOCKS_MAX && Some(answer.genesis) == genesis
    };
    let best = good().find(is_near);
    // One that is down is no reason not to start while another one answers.
    let unanswered = if best.is_some() { Level::Warn } else { Level::Fail };
    let found = answers.iter().map(|answer| match answer {
        Ok(answer) => judged(answer, highest, genesis),
        Err(reason) => {
            let next = "look whether it runs and may be reached from here, or replace it in \
                        `chain.endpoints`; `assay chain check` tries it again";
            Finding::at(Topic::Endpoint, unanswered, reason, next)
        }
    });
    let mut found: Vec<Finding> = found.collect();
    if answers.len() == 1 {
        let next = "set a second one in `chain.endpoints`, your own node first";
        let text = "there is one endpoint only: when it fails, no vector lands";
        found.push(Finding::warn(Topic::Endpoint, text, next));
    }
    (found, best.map(|best| Best { url: best.url.clone(), hash: best.hash }))
}

async fn ask(
    config: &Config,
    place: usize,
    url: String,
    timeout: Duration,
) -> Result<Answered, String> {
    let settings = client_config(config, url.clone(), timeout);
    let client = ChainClient::connect(settings).await.map_err(|error| in_a_line(&error))?;
    let asked_at = Instant::now();
    let head = client.finalized_head().await.map_err(|error| in_a_line(&error))?;
    let latency = asked_at.elapsed();
    let head = head.ok_or("it does not know its own finalized block")?;
    let shapes = client.shape_report(head.hash).await.map_err(|error| in_a_line(&error))?;
    let spec = match &shapes.spec {
        Some((name, version)) => format!("{name} {version}"),
        None => "of unknown version".to_owned(),
    };
    let shown = crate::config::hide_credentials(&url);
    let genesis = client.genesis();
    let (number, hash) = (head.number, head.hash);
    Ok(Answered { place, shown, url, number, hash, genesis, spec, latency })
}

fn judged(answer: &Answered, highest: BlockNumber, genesis: Option<BlockHash>) -> Finding {
    let text = format!(
        "{} `{}`: finalized {}, runtime {}, answers in {} ms",
        answer.place.saturating_add(1),
        answer.shown,
        answer.number,
        answer.spec,
        answer.latency.as_millis()
    );
    let lag = highest.since(answer.number).0;
    if Some(answer.genesis) != genesis {
        let next = "take it out of `chain.endpoints`, or set `chain.genesis` to the chain meant";
        return Finding::fail(Topic::Endpoint, format!("{text}; it serves another chain"), next);
    }
    if lag > LAG_BLOCKS_MAX {
        let text = format!("{text}; {lag} blocks behind the highest");
        let next = "wait until it has synced, or put it behind the others in `chain.endpoints`";
        return Finding::warn(Topic::Endpoint, text, next);
    }
    Finding::ok(Topic::Endpoint, text)
}

/// Whether this build understands the runtime.
pub(super) async fn runtime(best: &Best, config: &Config) -> Vec<Finding> {
    let settings = client_config(config, best.url.clone(), super::CHECK_TIME_MAX);
    let finding = match ChainClient::connect(settings).await {
        Ok(client) => match client.shape_report(best.hash).await {
            Ok(report) => judge_report(&report),
            Err(error) => unasked(Topic::Shapes, &error),
        },
        Err(error) => unconnected(Topic::Shapes, &error),
    };
    vec![finding]
}

/// An endpoint that answered before does not any more.
fn unconnected(topic: Topic, error: &ConnectError) -> Finding {
    Finding::of_error(topic, error, "`assay doctor` again; `assay chain check` says more")
}

/// It answered, and not with what it was asked for.
fn unasked(topic: Topic, error: &dyn std::error::Error) -> Finding {
    let next = "`assay chain check` says whether the runtime is understood";
    Finding::of_error(topic, error, next)
}

fn judge_report(report: &ShapeReport) -> Finding {
    let lost: Vec<&str> = Capability::ALL
        .iter()
        .filter(|capability| !report.can(**capability))
        .map(|capability| capability.name())
        .collect();
    judge_shapes(report.rows.len(), report.problems().len(), &lost)
}

/// - `lost`: what the node cannot do by it.
fn judge_shapes(items: usize, problems: usize, lost: &[&str]) -> Finding {
    let text = format!("{items} items looked up, {problems} not as expected");
    if lost.is_empty() {
        return Finding::ok(Topic::Shapes, format!("{text}; nothing is lost by it"));
    }
    let text = format!("{text}; lost: {}", lost.join(", "));
    Finding::fail(Topic::Shapes, text, UPGRADE)
}

/// The clock, and what holds for our hotkey on the subnet.
pub(super) async fn subnet(config: &Config, hotkey: Option<Hotkey>, best: &Best) -> Vec<Finding> {
    let settings = ChainConfig {
        own_hotkey: hotkey,
        ..client_config(config, best.url.clone(), super::CHECK_TIME_MAX)
    };
    let client = match ChainClient::connect(settings).await {
        Ok(client) => client,
        Err(error) => return vec![unconnected(SUBNET, &error)],
    };
    let view = match client.view_at(best.hash).await {
        Ok(view) => view,
        Err(error) => return vec![unread(&error)],
    };
    let mut found = vec![clock(&view, unix_now())];
    match hotkey {
        Some(hotkey) => {
            found.extend(standing(config, hotkey, &view));
            let (directory, mechanism) = (config.data_dir.path(), config.weights.mechanism);
            let owner = Owner { genesis: client.genesis(), netuid: config.chain.netuid, hotkey };
            let state = own::state(directory, mechanism, owner, &view);
            // A node that submits nothing asks for no explanation.
            let is_submitting = config.weights.mode == WeightsMode::Submit;
            let signer = Topic::OnChain(CheckId::Signer);
            found.extend(state.into_iter().filter(|one| is_submitting || one.topic() != signer));
            found.extend(certificate(config, &client, hotkey, &view).await);
        }
        None => found.push(of_nobody()),
    }
    found
}

fn unread(error: &ReadError) -> Finding {
    if matches!(error, ReadError::NoSuchSubnet { .. }) {
        let next = "set `chain.netuid`; `btcli subnet list` lists those that there are";
        return Finding::of_error(SUBNET, error, next);
    }
    unasked(SUBNET, error)
}

fn of_nobody() -> Finding {
    let next = "`assay keys show` says why; an encrypted one is named by the public file beside it";
    Finding::warn(SUBNET, "not looked up: the hotkey is not known", next)
}

/// Whether the chain says the key of the node's connections. Of a hotkey without a permit nothing
/// is said: peers refuse it whatever its key.
async fn certificate(
    config: &Config,
    client: &ChainClient,
    hotkey: Hotkey,
    view: &ChainView,
) -> Vec<Finding> {
    if !view.is_validator(&hotkey) {
        return Vec::new();
    }
    let at = BlockRef { number: view.number, hash: view.hash };
    match client.published(&hotkey, at).await {
        Ok(published) => own::certificate(
            config.data_dir.path(),
            published.certificate.as_deref(),
            config.peer.publish_axon,
            unix_now(),
        ),
        Err(error) => vec![unpublished(&error)],
    }
}

fn unpublished(error: &dyn std::error::Error) -> Finding {
    unasked(Topic::Certificate, error).into_warning()
}

fn clock(view: &ChainView, now: UnixMs) -> Finding {
    let (now, then) = (now.0, view.timestamp.0);
    let ahead = then.saturating_sub(now);
    if ahead > AHEAD_MS_MAX {
        let text = format!("this host's clock is {} s behind the chain", ahead / 1000);
        let next = "`timedatectl set-ntp true`, or let chrony set it";
        return Finding::fail(Topic::Clock, text, next);
    }
    let age = now.saturating_sub(then);
    let text = format!("the newest finalized block is {} s old by this host's clock", age / 1000);
    if age > BLOCK_AGE_MS_MAX {
        let next = "`timedatectl` says whether the clock is kept; if it is right, the endpoint or \
                    the chain's finality stands still";
        return Finding::warn(Topic::Clock, text, next);
    }
    Finding::ok(Topic::Clock, text)
}

/// What the node itself would watch. Of what only a running node knows nothing is said.
fn standing(config: &Config, hotkey: Hotkey, view: &ChainView) -> Vec<Finding> {
    let terms = Terms {
        hotkey,
        mechanism: config.weights.mechanism,
        lead: config.weights.lead_blocks,
        commit: config.weights.commit,
    };
    let subject = Subject {
        sight: Sight { head: view, finalized: view },
        terms,
        is_submitting: config.weights.mode == WeightsMode::Submit,
        intents: &[],
        not_safe: None,
        has_nothing_to_send: false,
    };
    let is_told = |check: &&preflight::Check| {
        !matches!(check.id, CheckId::Signer | CheckId::Reveals | CheckId::Finality)
    };
    let finding = |check: &preflight::Check| {
        let level = match check.level {
            preflight::Level::Ok => Level::Ok,
            preflight::Level::Warn => Level::Warn,
            preflight::Level::Alarm => Level::Fail,
        };
        let next = next_step(check.id, view.netuid);
        Finding::at(Topic::OnChain(check.id), level, &check.text, next)
    };
    preflight(&subject).checks.iter().filter(is_told).map(finding).collect()
}

/// What to do about what the chain says of our hotkey and its subnet.
fn next_step(id: CheckId, netuid: Netuid) -> String {
    let next = match id {
        CheckId::Registered => {
            return format!(
                "`btcli subnet register --netuid {netuid}` where the coldkey is; or set \
                 `wallet.name` and `wallet.hotkey` to one that is registered"
            );
        }
        CheckId::Permit | CheckId::Stake => {
            return format!(
                "`btcli stake add --netuid {netuid}` to this hotkey, where the coldkey is; permits \
                 are given anew with each epoch"
            );
        }
        CheckId::Signer => own::UNEXPLAINED,
        CheckId::Subnet => {
            "`systemctl stop assay`, unless it is meant to validate the subnet that has the number \
             now; or set `chain.netuid`"
        }
        CheckId::LastUpdate => {
            "`assay status` says why nothing lands, if the node runs; else start it"
        }
        CheckId::CommitMode | CheckId::Runtime => UPGRADE,
        CheckId::Consensus => "ask the subnet's owner, or upgrade the node",
        CheckId::Mechanism => "set `weights.mechanism` to one that there is",
        CheckId::VersionKey => {
            "`assay policy show` shows the rules that hold; compare them with the subnet owner's"
        }
        CheckId::Length | CheckId::RateLimit => {
            "ask the subnet's owner, who alone can change it; the node keeps to it"
        }
        CheckId::Commits | CheckId::Reveals => {
            "`assay weights history` shows what became of each vector; let the node run, which \
             reveals what it has to"
        }
        CheckId::Beacon => {
            "watch the chain's announcements: nothing on this host changes it; `assay doctor` \
             again later"
        }
        CheckId::Prune => {
            "`assay weights verify` shows whether the newest vector is on the chain; it is \
             consensus with others that keeps the uid"
        }
        CheckId::Finality => "compare other endpoints: `assay chain check --endpoint URL`",
        CheckId::SafeMode => "wait until that block; then `assay doctor` again",
    };
    next.to_owned()
}

#[cfg(test)]
#[path = "chain_tests.rs"]
pub(super) mod tests;

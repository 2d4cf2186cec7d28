//! What the chain says: each endpoint, the runtime's shape, and our hotkey on its subnet.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use node_chain::{BlockRef, Capability, ChainClient, ChainConfig, ReadError};
use node_core::id::{BlockHash, Hotkey};
use node_core::preflight::{self, preflight, CheckId, Subject};
use node_core::submit_guard::{Sight, Terms};
use node_core::unit::{BlockNumber, UnixMs};
use node_core::view::ChainView;
use node_store::Owner;

use super::{own, Finding, Level};
use crate::config::{Config, WeightsMode};
use crate::status::unix_now;

/// Blocks below the highest endpoint from which on one is no use; as the node itself has it.
const LAG_BLOCKS_MAX: u64 = 5;

/// Age of the newest finalized block at which something is wrong with the endpoint or the clock:
/// some ten blocks, and the few by which finality is behind.
const BLOCK_AGE_MS_MAX: u64 = 180_000;

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
    let answers = join_all(asked).await;
    let good = || answers.iter().filter_map(|answer| answer.as_ref().ok());
    let highest = good().map(|answer| answer.number).max().unwrap_or_default();
    let genesis = config.chain.genesis.or_else(|| good().map(|answer| answer.genesis).next());
    let is_near = |answer: &&Answered| {
        highest.since(answer.number).0 <= LAG_BLOCKS_MAX && Some(answer.genesis) == genesis
    };
    let best = good().find(is_near);
    // One that is down is no reason not to start while another one answers.
    let unanswered = if best.is_some() { Level::Warn } else { Level::Fail };
    let found = answers.iter().map(|answer| match answer {
        Ok(answer) => judged(answer, highest, genesis),
        Err(reason) => Finding::new("endpoint", unanswered, reason).next(
            "look whether it runs and may be reached from here, or replace it in `chain.endpoints`",
        ),
    });
    let mut found: Vec<Finding> = found.collect();
    if config.chain.endpoints.len() == 1 {
        let next = "set a second one in `chain.endpoints`, your own node first";
        let text = "there is one endpoint only: when it fails, no vector lands";
        found.push(Finding::warn("endpoint", text).next(next));
    }
    (found, best.map(|best| Best { url: best.url.clone(), hash: best.hash }))
}

async fn ask(
    config: &Config,
    place: usize,
    url: String,
    timeout: Duration,
) -> Result<Answered, String> {
    let failed = |error: &dyn std::error::Error| Finding::of_error("endpoint", error).text;
    let settings = client_config(config, url.clone(), timeout);
    let client = ChainClient::connect(settings).await.map_err(|error| failed(&error))?;
    let asked_at = Instant::now();
    let head = client.finalized_head().await.map_err(|error| failed(&error))?;
    let latency = asked_at.elapsed();
    let head = head.ok_or("it does not know its own finalized block")?;
    let shapes = client.shape_report(head.hash).await.map_err(|error| failed(&error))?;
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
        return Finding::fail("endpoint", format!("{text}; it serves another chain"))
            .next("take it out of `chain.endpoints`, or set `chain.genesis` to the chain meant");
    }
    if lag > LAG_BLOCKS_MAX {
        return Finding::warn("endpoint", format!("{text}; {lag} blocks behind the highest"))
            .next("wait until it has synced, or put it behind the others");
    }
    Finding::ok("endpoint", text)
}

/// Whether this build understands the runtime.
pub(super) async fn runtime(best: &Best, config: &Config) -> Vec<Finding> {
    let settings = client_config(config, best.url.clone(), super::CHECK_TIME_MAX);
    let report = match ChainClient::connect(settings).await {
        Ok(client) => client.shape_report(best.hash).await.map_err(|error| {
            Finding::of_error("shapes", &error).next("`assay chain check` says more")
        }),
        Err(error) => Err(Finding::of_error("shapes", &error).next("try again")),
    };
    let report = match report {
        Ok(report) => report,
        Err(finding) => return vec![finding],
    };
    let lost: Vec<&str> = Capability::ALL
        .iter()
        .filter(|capability| !report.can(**capability))
        .map(|capability| capability.name())
        .collect();
    let problems = report.problems().len();
    let text = format!("{} items looked up, {problems} not as expected", report.rows.len());
    vec![if lost.is_empty() {
        Finding::ok("shapes", format!("{text}; nothing is lost by it"))
    } else {
        Finding::fail("shapes", format!("{text}; lost: {}", lost.join(", ")))
            .next("`assay chain check --problems` shows what; upgrade the node")
    }]
}

/// The clock, and what holds for our hotkey on the subnet.
pub(super) async fn subnet(config: &Config, hotkey: Option<Hotkey>, best: &Best) -> Vec<Finding> {
    let settings = ChainConfig {
        own_hotkey: hotkey,
        ..client_config(config, best.url.clone(), super::CHECK_TIME_MAX)
    };
    let client = match ChainClient::connect(settings).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::of_error("subnet", &error).next("try again")],
    };
    let view = match client.view_at(best.hash).await {
        Ok(view) => view,
        Err(error @ ReadError::NoSuchSubnet { .. }) => {
            return vec![Finding::of_error("subnet", &error).next("set `chain.netuid`")];
        }
        Err(error) => {
            let next = "`assay chain check` says whether the runtime is understood";
            return vec![Finding::of_error("subnet", &error).next(next)];
        }
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
            found.extend(state.into_iter().filter(|one| is_submitting || one.id != "signer"));
            found.extend(certificate(config, &client, hotkey, &view).await);
        }
        None => found.push(
            Finding::warn("subnet", "not looked up: the hotkey is not known")
                .next("see the check `key`; an encrypted one is named by its public file"),
        ),
    }
    found
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
        Err(error) => {
            vec![Finding::of_error("certificate", &error).at(Level::Warn).next("try again")]
        }
    }
}

fn clock(view: &ChainView, now: UnixMs) -> Finding {
    let (now, then) = (now.0, view.timestamp.0);
    let ahead = then.saturating_sub(now);
    if ahead > AHEAD_MS_MAX {
        let text = format!("this host's clock is {} s behind the chain", ahead / 1000);
        return Finding::fail("clock", text).next("let NTP or chrony set it");
    }
    let age = now.saturating_sub(then);
    let text = format!("the newest finalized block is {} s old by this host's clock", age / 1000);
    if age > BLOCK_AGE_MS_MAX {
        let next = "compare the clock with another host's; if it is right, the endpoint or the \
                    chain's finality stands still";
        return Finding::warn("clock", text).next(next);
    }
    Finding::ok("clock", text)
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
        Finding::new(check.id.name(), level, &check.text)
    };
    preflight(&subject).checks.iter().filter(is_told).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::told;
    use super::*;

    #[test]
    fn an_endpoint_is_judged_by_its_chain_and_by_how_far_it_is() {
        let answer = |place: usize, number: u64, genesis: u8| Answered {
            place,
            shown: "wss://node".to_owned(),
            url: "wss://node".to_owned(),
            number: BlockNumber(number),
            hash: BlockHash([1; 32]),
            genesis: BlockHash([genesis; 32]),
            spec: "node-subtensor 425".to_owned(),
            latency: Duration::from_millis(12),
        };
        let known = Some(BlockHash([7; 32]));
        let judged = [answer(0, 100, 7), answer(1, 95, 7), answer(2, 94, 7), answer(3, 100, 8)]
            .map(|answer| judged(&answer, BlockNumber(100), known));
        insta::assert_snapshot!(told(&judged));
    }

    #[test]
    fn the_clock_is_judged_by_the_newest_block() {
        let at = |then: u64| {
            let view = ChainView { timestamp: UnixMs(then), ..ChainView::default() };
            clock(&view, UnixMs(1_000_000))
        };
        insta::assert_snapshot!(told(&[at(990_000), at(1_014_000), at(800_000), at(1_020_000)]));
    }
}

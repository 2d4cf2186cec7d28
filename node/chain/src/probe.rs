//! Comparing the endpoints: about once a minute, and when the active one seems to lag.
//!
//! Each endpoint that may be asked is, at about the same time, for its heads, its newest block's
//! time and whether it is syncing: five small calls. What follows from the answers is in `health`.
//! A demoted active endpoint is left for a better one at once. An earlier one that stands well is
//! gone back to after [`RETURN_AFTER`] comparisons, so that a node that comes and goes is not
//! followed to and fro.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use node_core::unit::{BlockNumber, UnixMs};
use subxt::config::substrate::H256;
use tokio::time::Instant;

use crate::follow::{best_at, finalized_at, BlockRef, Head};
use crate::health::{judge, LagLimits, Sample};
use crate::link::{CallError, Link, Links};

/// Least time between two comparisons, however often one is asked for.
const BETWEEN_MIN: Duration = Duration::from_secs(2);

/// Comparisons in a row in which an earlier endpoint stands well before it is used again.
const RETURN_AFTER: u32 = 2;

/// When and by which limits endpoints are compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProbeTerms {
    pub(crate) every: Duration,
    pub(crate) limits: LagLimits,
}

/// Compares the endpoints for ever.
pub(crate) async fn keep_comparing(links: Arc<Links>, terms: ProbeTerms) {
    let mut prober = Prober { links, terms, well: Vec::new() };
    loop {
        let until = Instant::now() + terms.every.mul_f64(0.75 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            () = prober.links.probe_wanted() => {}
        }
        prober.compare().await;
        tokio::time::sleep(BETWEEN_MIN.min(terms.every)).await;
    }
}

struct Prober {
    links: Arc<Links>,
    terms: ProbeTerms,
    /// How often in a row each endpoint stood well.
    well: Vec<u32>,
}

impl Prober {
    async fn compare(&mut self) {
        let links = &self.links;
        // In the order of preference, whatever the present rank.
        let mut asked = links.order();
        asked.sort_unstable();
        let samples = join_all(asked.iter().map(|at| sample(links, *at))).await;
        let found: Vec<(usize, Sample)> =
            asked.into_iter().zip(samples).filter_map(|(at, sample)| Some((at, sample?))).collect();
        let samples: Vec<Sample> = found.iter().map(|(_, sample)| *sample).collect();
        let judged = judge(&samples, unix_now(), self.terms.limits);
        let mut well = vec![0; links.states().len()];
        for ((at, _), (lag, demotion)) in found.iter().zip(judged) {
            let is_resting = links.health(*at, |health| {
                health.judged(lag, demotion);
                health.is_resting(Instant::now())
            });
            let stands_well = demotion.is_none() && is_resting == Some(false);
            if let Some(times) = well.get_mut(*at).filter(|_| stands_well) {
                *times = self.well.get(*at).copied().unwrap_or_default().saturating_add(1);
            }
        }
        self.well = well;
        self.move_on().await;
    }

    /// Makes another endpoint active if it is better than the present one.
    async fn move_on(&self) {
        let Some(active) = self.links.active() else { return };
        let times = |at: usize| self.well.get(at).copied().unwrap_or_default();
        let is_left = times(active) == 0;
        let needed = |at: usize| {
            if is_left {
                1
            } else if at < active {
                RETURN_AFTER
            } else {
                u32::MAX
            }
        };
        let better = (0..self.well.len()).find(|at| *at != active && times(*at) >= needed(*at));
        let Some(better) = better else { return };
        tracing::info!(from = active, to = better, "another endpoint is preferred");
        if let Err(error) = self.links.prefer(better).await {
            tracing::warn!(endpoint = better, reason = %error, "cannot go over to it");
        }
    }
}

/// How an endpoint stands at present; `None` if it does not say.
async fn sample(links: &Links, at: usize) -> Option<Sample> {
    let link = links.link_to(at).await.ok()?;
    match ask(links, &link).await {
        Ok(sample) => sample,
        Err(error) => {
            tracing::debug!(endpoint = link.endpoint.shown(), reason = %error, "not compared");
            None
        }
    }
}

async fn ask(links: &Links, link: &Arc<Link>) -> Result<Option<Sample>, CallError> {
    let Some(best) = best_at(links, link).await? else { return Ok(None) };
    let Some(finalized) = finalized_at(links, link).await? else { return Ok(None) };
    links.saw(&link.endpoint, Head::Best(best));
    links.saw(&link.endpoint, Head::Finalized(finalized));
    let sample = |time, is_syncing| {
        let (best, finalized): (BlockNumber, BlockNumber) = (best.number, finalized.number);
        Some(Sample { best, finalized, time, is_syncing })
    };
    Ok(sample(time_of(links, link, best).await?, is_syncing(links, link).await?))
}

/// A block's timestamp. The item stands under the same key, with the same encoding, on every chain
/// that has one, so that no metadata is needed.
async fn time_of(
    links: &Links,
    link: &Arc<Link>,
    block: BlockRef,
) -> Result<Option<UnixMs>, CallError> {
    let key = [sp_crypto_hashing::twox_128(b"Timestamp"), sp_crypto_hashing::twox_128(b"Now")];
    let stored = links
        .call_on(link, "state_getStorage", |methods| async move {
            methods.state_get_storage(&key.concat(), Some(H256(block.hash.0))).await
        })
        .await;
    Ok(optional(stored)?
        .flatten()
        .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
        .map(|bytes| UnixMs(u64::from_le_bytes(bytes))))
}

async fn is_syncing(links: &Links, link: &Arc<Link>) -> Result<bool, CallError> {
    let health = links
        .call_on(link, "system_health", |methods| async move { methods.system_health().await })
        .await;
    Ok(optional(health)?.is_some_and(|health| health.is_syncing))
}

/// A node may refuse what is only nice to know.
fn optional<T>(answer: Result<T, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(CallError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unix_now() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

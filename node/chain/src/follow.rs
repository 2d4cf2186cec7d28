//! Following finalized heads: the newest is never missed, older ones may be skipped.
//!
//! A task subscribes, watches for silence, and starts over with back-off when the connection ends,
//! so a socket that stays open and says nothing is noticed. Heads only move forward: an endpoint
//! that lags behind what was already seen is waited for, not believed.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::{Stream, StreamExt as _};
use node_core::id::BlockHash;
use node_core::unit::BlockNumber;
use subxt::config::substrate::{SubstrateHeader, H256};
use subxt::ext::codec::Encode as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::link::{CallError, Links};

/// First pause after a lost connection. Lower: a restarting node is hammered. Higher: blocks are
/// missed for nothing.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause. Lower: a public node bans us. Higher: a recovered node is noticed late; must
/// stay near the time of a block.
const BACK_OFF_MAX: Duration = Duration::from_secs(15);

/// A finalized block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinalizedHead {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
}

/// How following stands, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowState {
    /// The newest head seen.
    pub head: Option<FinalizedHead>,
    /// The endpoint in use, without credentials; `None` while there is none.
    pub endpoint: Option<String>,
    /// Its place in `ChainConfig::endpoints`, from zero; `None` while there is none.
    pub endpoint_index: Option<usize>,
    /// Connections lost since the start.
    pub disconnects: u64,
    /// Why the last one was lost.
    pub last_error: Option<String>,
}

/// Why a subscription ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error("{}", with_causes(.0))]
    Call(CallError),
    #[error("the subscription at `{endpoint}` broke: {detail}")]
    Broken { endpoint: String, detail: String },
    #[error("`{endpoint}` closed the subscription")]
    Closed { endpoint: String },
    #[error("`{endpoint}` sent no newer head for {after_ms} ms")]
    Silent { endpoint: String, after_ms: u128 },
    #[error("`{endpoint}` does not know its own finalized head")]
    NoHeader { endpoint: String },
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text.push_str(": ");
        text.push_str(&source.to_string());
        cause = source.source();
    }
    text
}

/// A stream of finalized heads. Dropping it ends its task.
#[derive(Debug)]
pub struct Heads {
    state: watch::Receiver<FollowState>,
    last: Option<BlockNumber>,
    task: JoinHandle<()>,
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heads {
    /// Waits for a head newer than the last one returned, and returns the newest.
    ///
    /// Safe to cancel. `None` only if the following task died, which is a bug.
    pub async fn next(&mut self) -> Option<FinalizedHead> {
        let last = self.last;
        let newer = |state: &FollowState| {
            state.head.is_some_and(|head| last.is_none_or(|last| head.number > last))
        };
        let head = self.state.wait_for(newer).await.ok()?.head?;
        self.last = Some(head.number);
        Some(head)
    }

    /// How following stands at this moment.
    #[must_use]
    pub fn state(&self) -> FollowState {
        self.state.borrow().clone()
    }
}

/// Starts following. `silence_max`: how long without a head until the connection is given up.
pub(crate) fn follow(links: Arc<Links>, silence_max: Duration) -> Heads {
    let (state, receiver) = watch::channel(FollowState::default());
    let task = tokio::spawn(run(links, silence_max, state));
    Heads { state: receiver, last: None, task }
}

async fn run(links: Arc<Links>, silence_max: Duration, state: watch::Sender<FollowState>) {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(BACK_OFF_MIN)
        .with_max_delay(BACK_OFF_MAX)
        .with_jitter()
        .without_max_times();
    let mut pause = pauses.build();
    loop {
        let before = state.borrow().head;
        let error = subscribe(&links, silence_max, &state).await;
        tracing::warn!(reason = %error, "chain subscription ended");
        state.send_modify(|state| {
            state.endpoint = None;
            state.endpoint_index = None;
            state.disconnects = state.disconnects.saturating_add(1);
            state.last_error = Some(error.to_string());
        });
        if state.borrow().head != before {
            pause = pauses.build();
        }
        tokio::time::sleep(pause.next().unwrap_or(BACK_OFF_MAX)).await;
    }
}

/// Subscribes and reports heads until something is wrong.
async fn subscribe(
    links: &Links,
    silence_max: Duration,
    state: &watch::Sender<FollowState>,
) -> FollowError {
    match subscribe_once(links, silence_max, state).await {
        Ok(never) => match never {},
        Err(error) => error,
    }
}

async fn subscribe_once(
    links: &Links,
    silence_max: Duration,
    state: &watch::Sender<FollowState>,
) -> Result<std::convert::Infallible, FollowError> {
    let link = links.get().await.map_err(FollowError::Call)?;
    let endpoint = &link.endpoint;
    let mut subscription = links
        .call("chain_subscribeFinalizedHeads", |methods| async move {
            methods.chain_subscribe_finalized_heads().await
        })
        .await
        .map_err(FollowError::Call)?;
    // The subscription speaks at the next finalized block only.
    let first = finalized_head(links).await?;
    let first =
        first.ok_or_else(|| FollowError::NoHeader { endpoint: endpoint.shown().to_owned() })?;
    report(state, endpoint, first);
    let heads = (&mut subscription).map(|header| match header {
        Ok(header) => Ok(head_of(&header)),
        Err(error) => Err(endpoint.hide(&error.to_string())),
    });
    let error = watch_heads(heads, endpoint, silence_max, state).await;
    links.give_up(&link).await;
    Err(error)
}

/// Reports heads until the stream ends or brings nothing newer for too long. Old heads do not
/// count: an endpoint that is still catching up is of no use meanwhile.
async fn watch_heads(
    mut heads: impl Stream<Item = Result<FinalizedHead, String>> + Unpin,
    at: &Endpoint,
    silence_max: Duration,
    state: &watch::Sender<FollowState>,
) -> FollowError {
    let endpoint = at.shown().to_owned();
    let mut silent_at = Instant::now() + silence_max;
    loop {
        match tokio::time::timeout_at(silent_at, heads.next()).await {
            Ok(Some(Ok(head))) => {
                if report(state, at, head) {
                    silent_at = Instant::now() + silence_max;
                }
            }
            Ok(Some(Err(detail))) => return FollowError::Broken { endpoint, detail },
            Ok(None) => return FollowError::Closed { endpoint },
            Err(_) => {
                let after_ms = silence_max.as_millis();
                return FollowError::Silent { endpoint, after_ms };
            }
        }
    }
}

/// Whether the head was newer than every one before.
fn report(state: &watch::Sender<FollowState>, endpoint: &Endpoint, head: FinalizedHead) -> bool {
    let mut is_newer = false;
    state.send_if_modified(|state| {
        is_newer = state.head.is_none_or(|known| head.number > known.number);
        let is_other = state.endpoint_index != Some(endpoint.index());
        if is_newer {
            state.head = Some(head);
        }
        if is_other {
            state.endpoint = Some(endpoint.shown().to_owned());
            state.endpoint_index = Some(endpoint.index());
        }
        is_newer || is_other
    });
    is_newer
}

/// The newest finalized block, `None` if the endpoint contradicts itself.
pub(crate) async fn newest_finalized(links: &Links) -> Result<Option<FinalizedHead>, CallError> {
    let hash = links
        .call("chain_getFinalizedHead", |methods| async move {
            methods.chain_get_finalized_head().await
        })
        .await?;
    let header = links
        .call(
            "chain_getHeader",
            |methods| async move { methods.chain_get_header(Some(hash)).await },
        )
        .await?;
    Ok(header.map(|header| FinalizedHead {
        number: BlockNumber(header.number),
        hash: BlockHash(hash.0),
    }))
}

async fn finalized_head(links: &Links) -> Result<Option<FinalizedHead>, FollowError> {
    newest_finalized(links).await.map_err(FollowError::Call)
}

/// A block's hash is blake2-256 of its encoded header.
fn head_of(header: &SubstrateHeader<H256>) -> FinalizedHead {
    FinalizedHead {
        number: BlockNumber(header.number),
        hash: BlockHash(sp_crypto_hashing::blake2_256(&header.encode())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u64) -> FinalizedHead {
        FinalizedHead { number: BlockNumber(number), hash: BlockHash([1; 32]) }
    }

    fn endpoint(index: usize, url: &str) -> Endpoint {
        Endpoint::new(index, url.to_owned())
    }

    fn heads() -> (watch::Sender<FollowState>, Heads) {
        let (sender, state) = watch::channel(FollowState::default());
        (sender, Heads { state, last: None, task: tokio::spawn(std::future::pending()) })
    }

    #[tokio::test]
    async fn a_slow_reader_gets_the_newest_head_and_no_older_one() {
        let (sender, mut heads) = heads();
        for number in [1, 2, 3] {
            report(&sender, &endpoint(0, "ws://a"), head(number));
        }
        assert_eq!(heads.next().await, Some(head(3)));
        report(&sender, &endpoint(0, "ws://a"), head(4));
        assert_eq!(heads.next().await, Some(head(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lagging_endpoint_does_not_take_the_head_back() {
        let (sender, mut heads) = heads();
        report(&sender, &endpoint(0, "ws://a"), head(9));
        assert_eq!(heads.next().await, Some(head(9)));
        report(&sender, &endpoint(1, "ws://b"), head(5));
        assert_eq!(heads.state().head, Some(head(9)));
        assert_eq!(heads.state().endpoint.as_deref(), Some("ws://b:80"));
        assert_eq!(heads.state().endpoint_index, Some(1));
        let waited = tokio::time::timeout(Duration::from_secs(60), heads.next()).await;
        assert!(waited.is_err(), "an older head was reported");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_only_repeats_old_heads_is_silent() {
        let (sender, heads) = heads();
        let started = Instant::now();
        let stream = futures_util::stream::unfold(1u64, |number| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            // Three new heads, then old ones for ever.
            Some((Ok(head(if number <= 3 { number } else { 2 })), number + 1))
        });
        let limit = Duration::from_secs(10);
        let error = watch_heads(Box::pin(stream), &endpoint(0, "ws://a"), limit, &sender).await;
        assert!(matches!(error, FollowError::Silent { after_ms: 10_000, .. }), "{error}");
        assert_eq!(started.elapsed(), Duration::from_secs(13));
        assert_eq!(heads.state().head, Some(head(3)));
    }

    #[tokio::test]
    async fn a_broken_stream_says_so() {
        let (sender, _heads) = heads();
        let limit = Duration::from_secs(10);
        let broken = futures_util::stream::iter([Ok(head(1)), Err("reset".to_owned())]);
        let error = watch_heads(broken, &endpoint(0, "ws://a"), limit, &sender).await;
        assert!(matches!(error, FollowError::Broken { .. }), "{error}");
        let ended = futures_util::stream::iter([Ok(head(2))]);
        let error = watch_heads(ended, &endpoint(0, "ws://a"), limit, &sender).await;
        assert!(matches!(error, FollowError::Closed { .. }), "{error}");
    }
}

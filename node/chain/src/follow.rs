//! Following the chain: the newest best and the newest finalized block are never missed, older ones
//! may be skipped.
//!
//! A task subscribes to both, watches for silence, and starts over with back-off when the
//! connection ends. A socket that stays open and says nothing is noticed twice: after half the
//! silence allowed the node is asked, which a dead one does not answer within the call's deadline;
//! after all of it the endpoint is left. A node without subscriptions is asked again and again.
//!
//! Finalized blocks only move forward: an endpoint that lags behind what was already seen is waited
//! for, not believed. The best block may be replaced by one of the same height or below it, as
//! reorganisations do, but never below the finalized one.
//!
//! Not here: which endpoint is followed (`link`), and which of them lags (`probe`).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt as _};
use node_core::id::BlockHash;
use node_core::unit::BlockNumber;
use subxt::config::substrate::{SubstrateHeader, H256};
use subxt::ext::codec::Encode as _;
use subxt_rpcs::client::RpcSubscription;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::call_error::with_causes;
use crate::endpoint::Endpoint;
use crate::link::{CallError, Leave, Link, Links};

/// First pause after a lost connection. Lower: a restarting node is hammered. Higher: blocks are
/// missed for nothing.
const BACK_OFF_MIN: Duration = Duration::from_millis(200);
/// Longest pause. Lower: a public node bans us. Higher: a recovered node is noticed late; must
/// stay near the time of a block.
const BACK_OFF_MAX: Duration = Duration::from_secs(15);
/// How often a node without subscriptions is asked. Lower: public nodes refuse. Higher: the best
/// block is seen late, and a signature needs all of its time.
const POLL_EVERY: Duration = Duration::from_secs(3);

/// A block, by height and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRef {
    /// Its height.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
}

/// News of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// The endpoint builds on this block. It is not sure to stay.
    Best(BlockRef),
    /// This block stays.
    Finalized(BlockRef),
}

/// How following stands, for `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowState {
    /// The newest best block.
    pub best: Option<BlockRef>,
    /// The newest finalized block seen.
    pub finalized: Option<BlockRef>,
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
    #[error("the subscription at `{endpoint}` fell silent while its chain went on")]
    Deaf { endpoint: String },
    #[error("`{endpoint}` does not know its own {what} head")]
    NoHeader { endpoint: String, what: &'static str },
    #[error("another endpoint than `{endpoint}` is preferred now")]
    Moved { endpoint: String },
    #[error("the connection to `{endpoint}` was given up: {why}")]
    GivenUp { endpoint: String, why: String },
}

/// A stream of best and finalized blocks. Dropping it ends its task.
#[derive(Debug)]
pub struct Heads {
    state: watch::Receiver<FollowState>,
    best: Option<BlockRef>,
    finalized: Option<BlockNumber>,
    /// Whether the last news was of a finalized block.
    was_finalized: bool,
    task: JoinHandle<()>,
}

impl Drop for Heads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heads {
    /// Waits for news and returns the newest: a finalized block above the last one returned, or a
    /// best block other than the last one returned and above the finalized one. With both, they
    /// take turns.
    ///
    /// Safe to cancel. `None` only if the following task died, which is a bug.
    pub async fn next(&mut self) -> Option<Head> {
        loop {
            let state = self.state.borrow_and_update().clone();
            if let Some(head) = self.news(&state) {
                return Some(head);
            }
            self.state.changed().await.ok()?;
        }
    }

    /// The newest finalized block above the last one returned; best blocks are passed over.
    ///
    /// Safe to cancel, and `None` as in [`Self::next`].
    pub async fn next_finalized(&mut self) -> Option<BlockRef> {
        loop {
            if let Head::Finalized(block) = self.next().await? {
                return Some(block);
            }
        }
    }

    fn news(&mut self, state: &FollowState) -> Option<Head> {
        let floor = state.finalized.map(|block| block.number);
        let finalized = state.finalized.filter(|block| self.finalized < Some(block.number));
        let best = state.best.filter(|block| self.best != Some(*block));
        let best = best.filter(|block| floor < Some(block.number));
        let head = match (finalized, best) {
            (None, None) => return None,
            (Some(_), Some(best)) if self.was_finalized => Head::Best(best),
            (Some(finalized), _) => Head::Finalized(finalized),
            (None, Some(best)) => Head::Best(best),
        };
        match head {
            Head::Best(block) => self.best = Some(block),
            Head::Finalized(block) => self.finalized = Some(block.number),
        }
        self.was_finalized = matches!(head, Head::Finalized(_));
        Some(head)
    }

    /// How following stands at this moment.
    #[must_use]
    pub fn state(&self) -> FollowState {
        self.state.borrow().clone()
    }
}

/// Starts following. `silence_max`: how long without a newer best block until the endpoint is
/// left.
pub(crate) fn follow(links: Arc<Links>, silence_max: Duration) -> Heads {
    let (state, receiver) = watch::channel(FollowState::default());
    let follower = Follower { links, silence_max, log: Log { state, highest: None } };
    let task = tokio::spawn(follower.run());
    // The best block first: whoever signs must not take an old finalized one for the newest.
    Heads { state: receiver, best: None, finalized: None, was_finalized: true, task }
}

/// What was seen, and who is told.
struct Log {
    state: watch::Sender<FollowState>,
    /// The highest best block ever seen.
    highest: Option<BlockNumber>,
}

impl Log {
    /// Notes a head. Whether the chain went on by it: an endpoint that repeats old blocks, or is
    /// still catching up, is of no more use than a silent one.
    fn note(&mut self, at: &Endpoint, head: Head) -> bool {
        self.state.send_if_modified(|state| {
            let before = state.clone();
            match head {
                Head::Finalized(block) => {
                    let is_newer = state.finalized.is_none_or(|old| old.number < block.number);
                    state.finalized = if is_newer { Some(block) } else { state.finalized };
                }
                Head::Best(block) => state.best = Some(block),
            }
            let floor = state.finalized;
            let is_below =
                state.best.is_none_or(|best| floor.is_some_and(|floor| best.number < floor.number));
            state.best = if is_below { floor } else { state.best };
            state.endpoint = Some(at.shown().to_owned());
            state.endpoint_index = Some(at.index());
            *state != before
        });
        let (Head::Best(block) | Head::Finalized(block)) = head;
        let went_on = self.highest.is_none_or(|highest| highest < block.number);
        if went_on {
            self.highest = Some(block.number);
        }
        went_on
    }

    fn lost(&self, error: &FollowError) {
        self.state.send_modify(|state| {
            state.endpoint = None;
            state.endpoint_index = None;
            if !matches!(error, FollowError::Moved { .. }) {
                state.disconnects = state.disconnects.saturating_add(1);
                state.last_error = Some(error.to_string());
            }
        });
    }
}

struct Follower {
    links: Arc<Links>,
    silence_max: Duration,
    log: Log,
}

impl Follower {
    async fn run(mut self) {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(BACK_OFF_MIN)
            .with_max_delay(BACK_OFF_MAX)
            .with_jitter()
            .without_max_times();
        let mut pause = pauses.build();
        loop {
            let before = self.log.highest;
            let error = match self.subscribe().await {
                Ok(never) => match never {},
                Err(error) => error,
            };
            tracing::warn!(reason = %error, "chain subscription ended");
            self.log.lost(&error);
            if matches!(error, FollowError::Moved { .. }) {
                continue;
            }
            if self.log.highest != before {
                pause = pauses.build();
            }
            tokio::time::sleep(pause.next().unwrap_or(BACK_OFF_MAX)).await;
        }
    }

    /// Subscribes and notes heads until something is wrong.
    async fn subscribe(&mut self) -> Result<std::convert::Infallible, FollowError> {
        let links = Arc::clone(&self.links);
        let link = links.get().await.map_err(FollowError::Call)?;
        let news = Subscriptions::open(&links, &link).await?;
        // A subscription may speak at the next block only.
        for head in heads_now(&links, &link).await? {
            self.log.note(&link.endpoint, head);
        }
        links.probe_soon();
        let watch = Watch {
            at: &link.endpoint,
            silence_max: self.silence_max,
            poll_every: news.is_none().then_some(POLL_EVERY),
        };
        let news = news.map_or_else(|| stream::pending().boxed(), |news| news.heads(&link));
        let news = news.inspect(|head| {
            if let Ok(head) = head {
                links.saw(&link.endpoint, *head);
            }
        });
        let ask = || heads_now(&links, &link);
        let error = tokio::select! {
            error = watch.heads(news, ask, &mut self.log, || links.probe_soon()) => error,
            leave = link.retired() => {
                let endpoint = link.endpoint.shown().to_owned();
                return Err(match leave {
                    Leave::Better => FollowError::Moved { endpoint },
                    Leave::Broken(why) => FollowError::GivenUp { endpoint, why },
                });
            }
        };
        // A call that failed has given the connection up already.
        if !matches!(error, FollowError::Call(_)) {
            links.give_up(&link, &error.to_string()).await;
        }
        Err(error)
    }
}

type Header = SubstrateHeader<H256>;

struct Subscriptions {
    best: RpcSubscription<Header>,
    finalized: RpcSubscription<Header>,
}

impl Subscriptions {
    /// `None` if the node has none: then it is asked again and again.
    async fn open(links: &Links, link: &Arc<Link>) -> Result<Option<Self>, FollowError> {
        let best = links
            .call_on(link, "chain_subscribeNewHeads", |methods| async move {
                methods.chain_subscribe_new_heads().await
            })
            .await;
        let finalized = links
            .call_on(link, "chain_subscribeFinalizedHeads", |methods| async move {
                methods.chain_subscribe_finalized_heads().await
            })
            .await;
        match (best, finalized) {
            (Ok(best), Ok(finalized)) => Ok(Some(Self { best, finalized })),
            (Err(CallError::Refused { .. }), _) | (_, Err(CallError::Refused { .. })) => Ok(None),
            (Err(error), _) | (_, Err(error)) => Err(FollowError::Call(error)),
        }
    }

    /// Both, until either ends or breaks.
    fn heads(self, link: &Link) -> BoxStream<'_, Result<Head, FollowError>> {
        let endpoint = &link.endpoint;
        let of = move |subscription: RpcSubscription<Header>, head: fn(BlockRef) -> Head| {
            let shown = endpoint.shown().to_owned();
            let closed = FollowError::Closed { endpoint: shown };
            subscription
                .map(move |header| match header {
                    Ok(header) => Ok(head(block_of(&header))),
                    Err(error) => Err(FollowError::Broken {
                        endpoint: endpoint.shown().to_owned(),
                        detail: endpoint.hide(&error.to_string()),
                    }),
                })
                .chain(stream::once(std::future::ready(Err(closed))))
        };
        stream::select(of(self.best, Head::Best), of(self.finalized, Head::Finalized)).boxed()
    }
}

/// How one endpoint is watched.
struct Watch<'a> {
    at: &'a Endpoint,
    silence_max: Duration,
    /// How often to ask; `None` if news comes by itself.
    poll_every: Option<Duration>,
}

impl Watch<'_> {
    /// Notes heads until the stream ends or the chain does not go on for too long.
    ///
    /// - `ask`: the present heads; asked in silence, or all the time without subscriptions.
    /// - `worry`: called when half of the silence is over.
    async fn heads<F>(
        &self,
        mut news: impl Stream<Item = Result<Head, FollowError>> + Unpin,
        ask: impl Fn() -> F,
        log: &mut Log,
        worry: impl Fn(),
    ) -> FollowError
    where
        F: Future<Output = Result<[Head; 2], FollowError>>,
    {
        let endpoint = || self.at.shown().to_owned();
        let wait = self.poll_every.unwrap_or(self.silence_max / 2);
        let mut went_on_at = Instant::now();
        let mut ask_at = went_on_at + wait;
        loop {
            let silent_at = went_on_at + self.silence_max;
            tokio::select! {
                head = news.next() => match head {
                    Some(Ok(head)) => if log.note(self.at, head) {
                        went_on_at = Instant::now();
                        ask_at = went_on_at + wait;
                    },
                    Some(Err(error)) => return error,
                    None => return FollowError::Closed { endpoint: endpoint() },
                },
                () = tokio::time::sleep_until(ask_at.min(silent_at)) => {
                    if Instant::now() >= silent_at {
                        let after_ms = self.silence_max.as_millis();
                        return FollowError::Silent { endpoint: endpoint(), after_ms };
                    }
                    if self.poll_every.is_none() {
                        worry();
                    }
                    let heads = match ask().await {
                        Ok(heads) => heads,
                        Err(error) => return error,
                    };
                    let [best, finalized] = heads.map(|head| log.note(self.at, head));
                    if (best || finalized) && self.poll_every.is_none() {
                        return FollowError::Deaf { endpoint: endpoint() };
                    }
                    let now = Instant::now();
                    went_on_at = if best || finalized { now } else { went_on_at };
                    ask_at = now + wait;
                },
            }
        }
    }
}

/// What the endpoint says its newest heads are.
async fn heads_now(links: &Links, link: &Arc<Link>) -> Result<[Head; 2], FollowError> {
    let no_header = |what| FollowError::NoHeader { endpoint: link.endpoint.shown().into(), what };
    let best = best_at(links, link).await.map_err(FollowError::Call)?;
    let best = best.ok_or_else(|| no_header("best"))?;
    let finalized = finalized_at(links, link).await.map_err(FollowError::Call)?;
    let finalized = finalized.ok_or_else(|| no_header("finalized"))?;
    let heads = [Head::Best(best), Head::Finalized(finalized)];
    for head in heads {
        links.saw(&link.endpoint, head);
    }
    Ok(heads)
}

/// The endpoint's best block.
pub(crate) async fn best_at(
    links: &Links,
    link: &Arc<Link>,
) -> Result<Option<BlockRef>, CallError> {
    let header =
        links
            .call_on(link, "chain_getHeader", |methods| async move {
                methods.chain_get_header(None).await
            })
            .await?;
    Ok(header.map(|header| block_of(&header)))
}

/// The endpoint's newest finalized block; `None` if it contradicts itself.
pub(crate) async fn finalized_at(
    links: &Links,
    link: &Arc<Link>,
) -> Result<Option<BlockRef>, CallError> {
    let hash = links
        .call_on(link, "chain_getFinalizedHead", |methods| async move {
            methods.chain_get_finalized_head().await
        })
        .await?;
    let header = links
        .call_on(link, "chain_getHeader", |methods| async move {
            methods.chain_get_header(Some(hash)).await
        })
        .await?;
    Ok(header.map(|header| block_of(&header)).filter(|block| block.hash.0 == hash.0))
}

/// A block's hash is blake2-256 of its encoded header.
fn block_of(header: &Header) -> BlockRef {
    BlockRef {
        number: BlockNumber(header.number),
        hash: BlockHash(sp_crypto_hashing::blake2_256(&header.encode())),
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;

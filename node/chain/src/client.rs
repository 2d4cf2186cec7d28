//! The door to the chain: one client per subnet, cheap to clone.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::unit::{BlockCount, BlockNumber};
use node_core::view::ChainView;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::endpoint::Endpoint;
use crate::follow::{finalized_at, follow, BlockRef, Head, Heads};
use crate::health::{EndpointState, LagLimits};
use crate::link::{CallError, ConnectError, Endpoints, Links};
use crate::memory::Memory;
use crate::nonce::Nonces;
use crate::probe::{keep_comparing, ProbeTerms};
use crate::read::{block_hash, ReadError, Subject};
use crate::reader::Reader;
use crate::runtime::Runtimes;

/// First pause between two rounds over the endpoints while none answers.
const CONNECT_PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest such pause. Lower: public nodes ban us. Higher: a recovered one is noticed late.
const CONNECT_PAUSE_MAX: Duration = Duration::from_secs(15);

/// How to reach the chain, and what of it is of interest.
#[derive(Clone)]
pub struct ChainConfig {
    /// WebSocket addresses, in order of preference. They may hold credentials, which connect and
    /// are never shown.
    pub endpoints: Vec<String>,
    /// Whether `ws://` to other machines is accepted. Anyone on the way could then invent blocks.
    pub allow_insecure: bool,
    /// The chain, by the hash of its block 0. `None`: whatever the first endpoint serves, which is
    /// then held for the client's life.
    pub expected_genesis: Option<BlockHash>,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism whose weights are read and set; 0 where there is one only.
    pub mechanism: u8,
    /// Whose nonce a view carries; without it the nonce is 0.
    pub own_hotkey: Option<Hotkey>,
    /// Blocks of a window in which submissions compete: commitments then carry the hash of the
    /// first block after theirs. `None`: they do not.
    pub window: Option<BlockCount>,
    /// Deadline of a connection attempt and of every call. A call that has to connect first may
    /// take one deadline per endpoint longer.
    pub call_timeout: Duration,
    /// How long without a newer best block until the endpoint is left.
    pub silence_max: Duration,
    /// How long a submission may take to become final.
    pub finality_timeout: Duration,
    /// How often the endpoints are compared, about.
    pub compare_every: Duration,
    /// How many blocks an endpoint may be behind another one and still be used before it.
    pub lag_blocks_max: BlockCount,
    /// How old an endpoint's best block may be for the same.
    pub head_age_max: Duration,
}

impl fmt::Debug for ChainConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainConfig")
            .field("endpoints", &listed(self.endpoints.clone()))
            .field("allow_insecure", &self.allow_insecure)
            .field("expected_genesis", &self.expected_genesis)
            .field("netuid", &self.netuid)
            .field("mechanism", &self.mechanism)
            .field("own_hotkey", &self.own_hotkey)
            .field("window", &self.window)
            .field("call_timeout", &self.call_timeout)
            .field("silence_max", &self.silence_max)
            .field("finality_timeout", &self.finality_timeout)
            .field("compare_every", &self.compare_every)
            .field("lag_blocks_max", &self.lag_blocks_max)
            .field("head_age_max", &self.head_age_max)
            .finish()
    }
}

fn listed(urls: Vec<String>) -> Vec<Endpoint> {
    urls.into_iter().enumerate().map(|(index, url)| Endpoint::new(index, url)).collect()
}

fn links(config: &ChainConfig) -> Links {
    let endpoints = Endpoints {
        list: listed(config.endpoints.clone()),
        allow_insecure: config.allow_insecure,
        call_timeout: config.call_timeout,
    };
    Links::new(endpoints, config.expected_genesis)
}

impl ChainConfig {
    /// Sensible times for twelve-second blocks: 30 s per call, five blocks of silence or lag, a
    /// finality within the life of an extrinsic, and a best block of the last ten.
    #[must_use]
    pub fn new(endpoints: Vec<String>, netuid: Netuid) -> Self {
        Self {
            endpoints,
            allow_insecure: false,
            expected_genesis: None,
            netuid,
            mechanism: 0,
            own_hotkey: None,
            window: None,
            call_timeout: Duration::from_secs(30),
            silence_max: Duration::from_secs(60),
            finality_timeout: Duration::from_secs(240),
            compare_every: Duration::from_secs(60),
            lag_blocks_max: BlockCount(5),
            head_age_max: Duration::from_secs(120),
        }
    }
}

/// A connection to a chain, about one subnet.
#[derive(Clone, Debug)]
pub struct ChainClient {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    links: Arc<Links>,
    runtimes: Runtimes,
    memory: Memory,
    subject: Subject,
    window: Option<BlockCount>,
    silence_max: Duration,
    finality_timeout: Duration,
    nonces: Nonces,
    comparing: JoinHandle<()>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.comparing.abort();
    }
}

impl ChainClient {
    /// Connects to the first endpoint that answers and serves the expected chain; one round over
    /// all of them.
    ///
    /// Call it inside a tokio runtime: the endpoints are compared by a task of the client's own.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] with one reason per endpoint.
    pub async fn connect(config: ChainConfig) -> Result<Self, ConnectError> {
        let links = links(&config);
        links.connect().await?;
        Ok(Self::over(links, &config))
    }

    /// As [`Self::connect`], again and again until an endpoint answers, with back-off: for a node
    /// that starts while its endpoints throttle it or are down.
    ///
    /// - `states`: how the endpoints stand, after each round.
    ///
    /// Safe to cancel.
    ///
    /// # Errors
    ///
    /// [`ConnectError`] only if no endpoint can ever be used as configured
    /// ([`ConnectError::is_for_good`]).
    pub async fn connect_patiently(
        config: ChainConfig,
        states: &watch::Sender<Vec<EndpointState>>,
    ) -> Result<Self, ConnectError> {
        let links = links(&config);
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(CONNECT_PAUSE_MIN)
            .with_max_delay(CONNECT_PAUSE_MAX)
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let connected = links.connect().await;
            states.send_replace(links.states());
            match connected {
                Ok(_) => return Ok(Self::over(links, &config)),
                Err(error) if error.is_for_good() => return Err(error),
                Err(error) => tracing::warn!(reason = %error, "no endpoint answers yet"),
            }
            tokio::time::sleep(pauses.next().unwrap_or(CONNECT_PAUSE_MAX)).await;
        }
    }

    fn over(links: Links, config: &ChainConfig) -> Self {
        let links = Arc::new(links);
        let limits = LagLimits { blocks_max: config.lag_blocks_max, age_max: config.head_age_max };
        let terms = ProbeTerms { every: config.compare_every, limits };
        let comparing = tokio::spawn(keep_comparing(Arc::clone(&links), terms));
        let subject = Subject {
            netuid: config.netuid,
            mechanism: config.mechanism,
            own_hotkey: config.own_hotkey,
        };
        Self {
            inner: Arc::new(Inner {
                links,
                runtimes: Runtimes::default(),
                memory: Memory::default(),
                subject,
                window: config.window,
                silence_max: config.silence_max,
                finality_timeout: config.finality_timeout,
                nonces: Nonces::default(),
                comparing,
            }),
        }
    }

    /// How the endpoints stand, in their order. Cheap: nothing is asked.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointState> {
        self.inner.links.states()
    }

    /// The chain, by the hash of its block 0.
    #[must_use]
    pub fn genesis(&self) -> BlockHash {
        self.inner.links.genesis()
    }

    /// The subnet.
    #[must_use]
    pub fn netuid(&self) -> Netuid {
        self.inner.subject.netuid
    }

    /// Follows best and finalized blocks with a task and subscriptions of its own; see [`Heads`].
    ///
    /// Call it inside a tokio runtime.
    #[must_use]
    pub fn follow(&self) -> Heads {
        follow(Arc::clone(&self.inner.links), self.inner.silence_max)
    }

    /// The newest finalized block; `None` if the endpoint contradicts itself.
    ///
    /// # Errors
    ///
    /// [`CallError`] if no endpoint can be asked.
    pub async fn finalized_head(&self) -> Result<Option<BlockRef>, CallError> {
        let link = self.links().get().await?;
        let found = finalized_at(self.links(), &link).await?;
        if let Some(block) = found {
            self.links().saw(&link.endpoint, Head::Finalized(block));
        }
        Ok(found)
    }

    /// Hash of the block of this height on the endpoint's chain; final only if the height is.
    ///
    /// # Errors
    ///
    /// [`CallError`] if no endpoint can be asked.
    pub async fn block_hash(&self, number: BlockNumber) -> Result<Option<BlockHash>, CallError> {
        block_hash(&self.inner.links, number).await
    }

    /// Reads the subnet as it stood in one finalized block, all of it at that block's hash.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::NoSuchSubnet`] if no subnet has this netuid. Nothing is cached
    /// from a failed read but what is final.
    pub async fn view_at(&self, block: BlockHash) -> Result<ChainView, ReadError> {
        self.reader(block).view(None).await
    }

    /// Whether the subnet exists in a block, for telling a wrong netuid at start: three calls
    /// instead of a view's dozen.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the block cannot be read; never [`ReadError::NoSuchSubnet`].
    pub async fn subnet_exists(&self, block: BlockHash) -> Result<bool, ReadError> {
        self.reader(block).subnet_exists().await
    }

    pub(crate) fn reader(&self, block: BlockHash) -> Reader<'_> {
        Reader {
            links: &self.inner.links,
            runtimes: &self.inner.runtimes,
            memory: &self.inner.memory,
            subject: self.inner.subject,
            window: self.inner.window,
            block,
        }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.inner.memory
    }

    pub(crate) fn nonces(&self) -> &Nonces {
        &self.inner.nonces
    }

    pub(crate) fn subject(&self) -> Subject {
        self.inner.subject
    }

    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.inner.links
    }

    pub(crate) fn runtimes(&self) -> &Runtimes {
        &self.inner.runtimes
    }

    pub(crate) fn finality_timeout(&self) -> Duration {
        self.inner.finality_timeout
    }
}

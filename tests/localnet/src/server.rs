//! A chain that runs: opened, served on its listeners, sealed on a timer or on demand.

use crate::{
    chain::{Chain, ChainError, ChainOptions},
    doors::{keep, Door},
    faults::{FaultChange, FaultError, FaultSwitch, Switchboard},
    genesis::GenesisSpec,
    journal::{Journal, JournalError},
    rpc::{self, Endpoint},
};
use jsonrpsee::server::{
    stop_channel, RandomStringIdProvider, ServerConfig, ServerHandle, StopHandle,
};
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::MissedTickBehavior};

/// Bytes of an answer. Metadata and whole maps must fit.
const RESPONSE_BYTES_MAX: u32 = 64 << 20;
/// Bytes of a request. A block's worth of transaction must fit.
const REQUEST_BYTES_MAX: u32 = 16 << 20;
/// Subscriptions of one client. Each watched transaction is one.
const SUBSCRIPTIONS_MAX: u32 = 4096;
/// Clients. A test with a few hundred nodes must fit.
const CONNECTIONS_MAX: u32 = 1024;
/// How long clients may take to notice that the chain stops. Longer: a client that reads nothing
/// holds the stop up.
const GOODBYE: Duration = Duration::from_secs(5);

/// When blocks are sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BlockTime {
    /// Only on `dev_seal`.
    Manual,
    /// Again and again.
    Every(Duration),
}

/// A block time that cannot be read.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is no block time; write `manual`, or a number with `ms` or `s` such as `250ms`")]
pub struct BlockTimeInvalid(String);

impl FromStr for BlockTime {
    type Err = BlockTimeInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "manual" {
            return Ok(Self::Manual);
        }
        let (digits, unit_ms) = match text.strip_suffix("ms") {
            Some(digits) => (digits, 1),
            None => (text.strip_suffix('s').unwrap_or(""), 1000),
        };
        let ms = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        match ms {
            Some(ms) if ms > 0 => Ok(Self::Every(Duration::from_millis(ms))),
            _ => Err(BlockTimeInvalid(text.to_owned())),
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. This is listener 0.
    pub listen: SocketAddr,
    /// Where else to listen: further endpoints of the same chain, each with faults of its own.
    pub also_listen: Vec<SocketAddr>,
    /// Where to listen without faults, whatever the others do.
    pub control: Option<SocketAddr>,
    /// The faults to start with.
    pub faults: Vec<FaultChange>,
    /// When to seal.
    pub block_time: BlockTime,
    /// Block 0.
    pub genesis: GenesisSpec,
    /// The chain's behaviour.
    pub options: ChainOptions,
    /// Where the blocks are kept; in memory for `None`.
    pub state_dir: Option<PathBuf>,
}

impl Default for Config {
    /// On a free port, sealed on demand, in memory.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            also_listen: Vec::new(),
            control: None,
            faults: Vec::new(),
            block_time: BlockTime::Manual,
            genesis: GenesisSpec::default(),
            options: ChainOptions::default(),
            state_dir: None,
        }
    }
}

/// Why nothing runs.
#[derive(Debug, Error)]
pub enum StartError {
    /// The state directory cannot be used.
    #[error("cannot open the state directory")]
    Journal {
        /// Why.
        #[source]
        source: JournalError,
    },
    /// The chain does not start.
    #[error("cannot start the chain")]
    Chain {
        /// Why.
        #[source]
        source: ChainError,
    },
    /// The port is not to be had.
    #[error("cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The faults asked for are none.
    #[error("cannot set the faults")]
    Faults {
        /// Why not.
        #[source]
        source: FaultError,
    },
    /// Two methods of one name: a bug.
    #[error("cannot register the JSON-RPC methods: {0}")]
    Methods(String),
}

/// A running chain with its listeners. Stops when dropped or told to.
#[derive(Debug)]
pub struct Localnet {
    chain: Arc<Chain>,
    switchboard: Arc<Switchboard>,
    addresses: Vec<SocketAddr>,
    control: Option<SocketAddr>,
    server: ServerHandle,
    sealing: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Localnet {
    /// Opens or makes the chain, listens, and starts to seal. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left running.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let opening = config.clone();
        let chain = tokio::task::spawn_blocking(move || open(&opening))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
        let chain = Arc::new(chain);
        let addresses = [&[config.listen][..], &config.also_listen].concat();
        let switchboard = Arc::new(Switchboard::new(addresses.len()));
        for change in &config.faults {
            switchboard
                .change(change, chain.newest_moment())
                .map_err(|source| StartError::Faults { source })?;
        }
        let mut doors = Vec::new();
        for (index, address) in addresses.into_iter().enumerate() {
            let switch = switchboard.switch(index).cloned().unwrap_or_else(no_faults);
            doors.push(door(address, &chain, switch, &switchboard).await?);
        }
        let addresses = doors.iter().map(|(_, address)| *address).collect();
        let mut control = None;
        if let Some(address) = config.control {
            let door = door(address, &chain, no_faults(), &switchboard).await?;
            control = Some(door.1);
            doors.push(door);
        }
        let (stop_handle, server) = stop_channel();
        for (door, _) in doors {
            tokio::spawn(keep(door, StopHandle::clone(&stop_handle)));
        }
        let stop = watch::Sender::new(false);
        let sealing =
            tokio::spawn(seal_on_timer(chain.clone(), config.block_time, stop.subscribe()));
        let sealing = Some(sealing);
        Ok(Self { chain, switchboard, addresses, control, server, sealing, stop })
    }

    /// The chain itself, for tests in the same process.
    pub fn chain(&self) -> &Arc<Chain> {
        &self.chain
    }

    /// Where listener 0 listens.
    pub fn address(&self) -> SocketAddr {
        self.addresses.first().copied().unwrap_or_else(|| Config::default().listen)
    }

    /// Where clients connect to listener 0.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address())
    }

    /// Where clients connect, one URL for each listener in their order.
    pub fn urls(&self) -> Vec<String> {
        self.addresses.iter().map(|address| format!("ws://{address}")).collect()
    }

    /// Where faults never reach, if that was asked for.
    pub fn control_url(&self) -> Option<String> {
        self.control.map(|address| format!("ws://{address}"))
    }

    /// Changes the faults of listeners, described as JSON; see [`FaultChange`].
    ///
    /// # Errors
    ///
    /// [`FaultError`]; nothing was changed.
    pub fn fault(&self, change: serde_json::Value) -> Result<(), FaultError> {
        self.switchboard.change(&FaultChange::from_json(change)?, self.chain.newest_moment())
    }

    /// Waits until the chain has this many blocks.
    pub async fn reached(&self, number: u32) {
        let mut heads = self.chain.watch_heads();
        // The sender lives in the chain, so waiting cannot fail.
        let _reached = heads.wait_for(|heads| heads.best >= number).await;
    }

    /// Stops sealing and serving, and lets go of the state directory.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(sealing) = self.sealing.take() {
            if let Err(error) = sealing.await {
                tracing::error!(%error, "sealing ended badly");
            }
        }
        // Already stopped is as good.
        let _stopped = self.server.stop();
        let chain = self.chain.clone();
        if let Err(error) = tokio::task::spawn_blocking(move || chain.stop()).await {
            tracing::error!(%error, "the journal was not closed");
        }
        if tokio::time::timeout(GOODBYE, self.server.clone().stopped()).await.is_err() {
            tracing::warn!("clients are still there");
        }
    }
}

impl Drop for Localnet {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        // Already stopped is as good.
        let _stopped = self.server.stop();
        self.chain.stop();
    }
}

fn no_faults() -> Arc<FaultSwitch> {
    Arc::new(FaultSwitch::new(0))
}

/// Listens on an address; says which one it is.
async fn door(
    listen: SocketAddr,
    chain: &Arc<Chain>,
    switch: Arc<FaultSwitch>,
    switchboard: &Arc<Switchboard>,
) -> Result<(Door, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { listen, source };
    let endpoint = Endpoint::new(chain.clone(), switch.clone(), switchboard.clone());
    let methods = rpc::methods(endpoint).map_err(|error| StartError::Methods(error.to_string()))?;
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let door = Door { listener, methods: methods.into(), switch, config: server_config() };
    Ok((door, address))
}

fn open(config: &Config) -> Result<Chain, StartError> {
    let failed = |source| StartError::Chain { source };
    match &config.state_dir {
        None => Chain::in_memory(&config.genesis, config.options).map_err(failed),
        Some(dir) => {
            let journal = Journal::open(dir, &config.genesis)
                .map_err(|source| StartError::Journal { source })?;
            Chain::from_journal(journal, config.options).map_err(failed)
        }
    }
}

fn server_config() -> ServerConfig {
    ServerConfig::builder()
        .set_id_provider(RandomStringIdProvider::new(16))
        .max_response_body_size(RESPONSE_BYTES_MAX)
        .max_request_body_size(REQUEST_BYTES_MAX)
        .max_subscriptions_per_connection(SUBSCRIPTIONS_MAX)
        .max_connections(CONNECTIONS_MAX)
        .build()
}

async fn seal_on_timer(chain: Arc<Chain>, block_time: BlockTime, mut stop: watch::Receiver<bool>) {
    let BlockTime::Every(period) = block_time else { return };
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once; block 1 comes one period after the start.
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let sealing = chain.clone();
        match tokio::task::spawn_blocking(move || sealing.seal(now_ms())).await {
            Ok(Ok(block)) => {
                tracing::info!(number = block.number(), hash = ?block.hash,
                    transactions = block.signed(), "block sealed");
            }
            Ok(Err(error)) => tracing::error!(%error, "no block sealed"),
            Err(error) => tracing::error!(%error, "no block sealed"),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_times_are_read_or_refused_with_an_example() {
        assert_eq!("manual".parse(), Ok(BlockTime::Manual));
        assert_eq!("250ms".parse(), Ok(BlockTime::Every(Duration::from_millis(250))));
        assert_eq!("12s".parse(), Ok(BlockTime::Every(Duration::from_secs(12))));
        for wrong in ["", "1", "s", "0s", "-1s", "1.5s", "99999999999999999999s"] {
            let error = wrong.parse::<BlockTime>().unwrap_err();
            assert!(error.to_string().contains("250ms"), "{error}");
        }
    }
}

//! The connections to the endpoints, with a deadline on every call.
//!
//! One endpoint is *active*: everything is read from it, until a call fails on the way (not: is
//! refused by the node), it falls silent, throttles us or is found to lag. Then the next best one
//! becomes active (`health` says which), and whoever follows the old connection is told. The others
//! stand by: they are compared with the active one (`probe`) and get the same extrinsics (`send`).
//!
//! The chain is known by its genesis: as configured, or that of the first endpoint that answers.
//! An endpoint with another one is never asked again.
//!
//! Not here: what is asked (`read`, `send`, `follow`), and when endpoints are compared (`probe`).

use std::future::Future;
use std::sync::{Arc, Mutex as StdMutex, OnceLock, PoisonError};
use std::time::Duration;

use node_core::id::BlockHash;
use node_core::unit::BlockNumber;
use subxt_rpcs::methods::legacy::NumberOrHex;
use tokio::sync::{watch, Mutex, Notify};
use tokio::time::Instant;
use tracing::instrument::WithSubscriber as _;

use crate::call_error::{call_error, endpoint_error, millis, with_causes};
pub use crate::call_error::{
    BoxedError, CallError, ConnectError, EndpointError, EndpointFailure, RpcRefusal,
};
use crate::endpoint::Endpoint;
use crate::follow::Head;
use crate::health::{EndpointRole, EndpointState, GenesisCheck, Health};
use crate::memory::Heights;
use crate::socket::Socket;

pub(crate) use crate::methods::Methods;

/// How to reach the chain.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints {
    pub(crate) list: Vec<Endpoint>,
    pub(crate) allow_insecure: bool,
    pub(crate) call_timeout: Duration,
}

/// Why a connection is not to be followed any longer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Another endpoint is better; this one works.
    Better,
    /// It is broken.
    Broken(String),
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) endpoint: Endpoint,
    pub(crate) methods: Methods,
    leave: watch::Sender<Option<Leave>>,
}

impl Link {
    fn new(endpoint: Endpoint, methods: Methods) -> Self {
        Self { endpoint, methods, leave: watch::Sender::new(None) }
    }

    /// Tells those who follow this connection to go on with another one.
    fn retire(&self, why: Leave) {
        self.leave.send_replace(Some(why));
    }

    /// Ends when this connection is not to be followed any longer.
    pub(crate) async fn retired(&self) -> Leave {
        let mut leave = self.leave.subscribe();
        // The sender lives as long as the link.
        let why = leave.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or(Leave::Better)
    }
}

/// One endpoint: how it stands, and the connection to it, opened when needed.
#[derive(Debug)]
struct Seat {
    endpoint: Endpoint,
    health: StdMutex<Health>,
    link: Mutex<Option<Arc<Link>>>,
}

impl Seat {
    fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, health: StdMutex::default(), link: Mutex::default() }
    }

    fn health<T>(&self, with: impl FnOnce(&mut Health) -> T) -> T {
        with(&mut self.health.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// At most one connection per endpoint.
#[derive(Debug)]
pub(crate) struct Links {
    seats: Vec<Seat>,
    allow_insecure: bool,
    call_timeout: Duration,
    genesis: OnceLock<BlockHash>,
    /// Held while the next active endpoint is looked for.
    active: Mutex<Option<Arc<Link>>>,
    /// Where the active one is, for those who do not wait.
    active_index: watch::Sender<Option<usize>>,
    probe: Notify,
    heights: Heights,
}

impl Links {
    /// Nothing is connected yet. With no `expected` genesis, that of the first endpoint that
    /// answers is the one every other must have.
    pub(crate) fn new(endpoints: Endpoints, expected: Option<BlockHash>) -> Self {
        Self {
            seats: endpoints.list.into_iter().map(Seat::new).collect(),
            allow_insecure: endpoints.allow_insecure,
            call_timeout: endpoints.call_timeout,
            genesis: expected.map_or_else(OnceLock::new, OnceLock::from),
            active: Mutex::default(),
            active_index: watch::Sender::new(None),
            probe: Notify::new(),
            heights: Heights::default(),
        }
    }

    /// The chain. Known before there is a client, because a client is made by connecting.
    pub(crate) fn genesis(&self) -> BlockHash {
        self.genesis.get().copied().unwrap_or(BlockHash([0; 32]))
    }

    /// Has the endpoints compared at once.
    pub(crate) fn probe_soon(&self) {
        self.probe.notify_one();
    }

    /// Ends when [`Self::probe_soon`] is called.
    pub(crate) async fn probe_wanted(&self) {
        self.probe.notified().await;
    }

    /// How the endpoints stand, in their order.
    pub(crate) fn states(&self) -> Vec<EndpointState> {
        let (active, now) = (*self.active_index.borrow(), Instant::now());
        let state = |seat: &Seat| {
            let is_active = active == Some(seat.endpoint.index());
            let role = if is_active { EndpointRole::Active } else { EndpointRole::Standby };
            seat.health(|health| health.state(&seat.endpoint, role, now))
        };
        self.seats.iter().map(state).collect()
    }

    /// Changes what is known of an endpoint.
    pub(crate) fn health<T>(&self, at: usize, with: impl FnOnce(&mut Health) -> T) -> Option<T> {
        self.seats.get(at).map(|seat| seat.health(with))
    }

    /// The height of a block seen of late.
    pub(crate) fn number_of(&self, block: BlockHash) -> Option<BlockNumber> {
        self.heights.of(block)
    }

    /// Notes what an endpoint said of its heads.
    pub(crate) fn saw(&self, at: &Endpoint, head: Head) {
        let (Head::Best(block) | Head::Finalized(block)) = head;
        self.heights.keep(block.hash, block.number);
        self.health(at.index(), |health| match head {
            Head::Best(block) => health.saw_best(block.number),
            Head::Finalized(block) => health.saw_finalized(block.number),
        });
    }

    /// The endpoints that may be asked, in the order in which to ask them.
    pub(crate) fn order(&self) -> Vec<usize> {
        let now = Instant::now();
        let usable = |seat: &&Seat| seat.health(|health| health.left_alone_for(now).is_none());
        let mut order: Vec<_> = self
            .seats
            .iter()
            .filter(usable)
            .map(|seat| (seat.health(|health| health.rank(now)), seat.endpoint.index()))
            .collect();
        order.sort();
        order.into_iter().map(|(_, index)| index).collect()
    }

    pub(crate) fn active(&self) -> Option<usize> {
        *self.active_index.borrow()
    }

    /// The active connection, or a new one.
    pub(crate) async fn get(&self) -> Result<Arc<Link>, CallError> {
        self.connect().await.map_err(CallError::NoEndpoint)
    }

    /// As [`Self::get`]; one round over the endpoints.
    pub(crate) async fn connect(&self) -> Result<Arc<Link>, ConnectError> {
        let mut active = self.active.lock().await;
        if let Some(link) = &*active {
            return Ok(Arc::clone(link));
        }
        if self.seats.is_empty() {
            return Err(ConnectError::NoneConfigured);
        }
        let order = self.order();
        let mut failures = self.left_alone(&order);
        for at in order {
            match self.link_to(at).await {
                Ok(link) => {
                    self.active_index.send_replace(Some(at));
                    return Ok(Arc::clone(active.insert(link)));
                }
                Err(error) => failures.push(self.failure(at, error)),
            }
        }
        Err(ConnectError::AllFailed(failures))
    }

    /// A failed connection to one endpoint as a failed call.
    pub(crate) fn unconnected(&self, at: usize, error: EndpointError) -> CallError {
        CallError::NoEndpoint(ConnectError::AllFailed(vec![self.failure(at, error)]))
    }

    fn failure(&self, at: usize, error: EndpointError) -> EndpointFailure {
        let shown = self.seats.get(at).map(|seat| seat.endpoint.shown().to_owned());
        EndpointFailure { endpoint: shown.unwrap_or_default(), error }
    }

    fn left_alone(&self, asked: &[usize]) -> Vec<EndpointFailure> {
        let now = Instant::now();
        let others = (0..self.seats.len()).filter(|at| !asked.contains(at));
        others
            .map(|at| {
                let left = self.health(at, |health| health.left_alone_for(now)).flatten();
                let for_ms = millis(left.unwrap_or_default());
                self.failure(at, EndpointError::LeftAlone { for_ms })
            })
            .collect()
    }

    /// The connection to an endpoint, opened if there is none.
    pub(crate) async fn link_to(&self, at: usize) -> Result<Arc<Link>, EndpointError> {
        let Some(seat) = self.seats.get(at) else {
            return Err(EndpointError::LeftAlone { for_ms: 0 });
        };
        let mut link = seat.link.lock().await;
        if let Some(link) = &*link {
            return Ok(Arc::clone(link));
        }
        let now = Instant::now();
        if let Some(left) = seat.health(|health| health.left_alone_for(now)) {
            return Err(EndpointError::LeftAlone { for_ms: millis(left) });
        }
        match self.open(seat).await {
            Ok(methods) => {
                seat.health(|health| {
                    health.genesis = GenesisCheck::Right;
                    health.is_connected = true;
                    health.answered(now.elapsed());
                });
                Ok(Arc::clone(link.insert(Arc::new(Link::new(seat.endpoint.clone(), methods)))))
            }
            Err(error) => {
                note_failure(seat, &error);
                Err(error)
            }
        }
    }

    async fn open(&self, seat: &Seat) -> Result<Methods, EndpointError> {
        let endpoint = &seat.endpoint;
        if let GenesisCheck::Wrong(got) = seat.health(|health| health.genesis) {
            return Err(EndpointError::WrongGenesis { expected: self.genesis(), got });
        }
        let secure = subxt_rpcs::utils::url_is_secure(endpoint.url())
            .map_err(|error| EndpointError::NotAUrl(endpoint.told(&error)))?;
        if !secure && !self.allow_insecure {
            return Err(EndpointError::Insecure);
        }
        let open = async {
            let methods = Methods::new(Socket::open(endpoint.url()).await?);
            let genesis = methods.chain_get_block_hash(Some(NumberOrHex::Number(0))).await?;
            Ok::<_, subxt_rpcs::Error>((methods, genesis))
        };
        // The transport logs the path, the query and the password that it connects with.
        let open = open.with_subscriber(tracing::Dispatch::none());
        let (methods, genesis) = tokio::time::timeout(self.call_timeout, open)
            .await
            .map_err(|_| EndpointError::Deadline { after_ms: millis(self.call_timeout) })?
            .map_err(|error| endpoint_error(&error, endpoint))?;
        let got = BlockHash(genesis.ok_or(EndpointError::NoGenesis)?.0);
        let expected = *self.genesis.get_or_init(|| got);
        if expected != got {
            return Err(EndpointError::WrongGenesis { expected, got });
        }
        Ok(methods)
    }

    /// Makes another endpoint the active one; the old connection stays open for other uses.
    pub(crate) async fn prefer(&self, at: usize) -> Result<(), EndpointError> {
        let link = self.link_to(at).await?;
        let mut active = self.active.lock().await;
        let old = active.replace(Arc::clone(&link));
        self.active_index.send_replace(Some(at));
        drop(active);
        let Some(old) = old.filter(|old| !Arc::ptr_eq(old, &link)) else { return Ok(()) };
        if let Some(seat) = self.seats.get(old.endpoint.index()) {
            // Whoever takes this connection up again is not to be told to leave it.
            let fresh = Link::new(old.endpoint.clone(), old.methods.clone());
            let mut kept = seat.link.lock().await;
            if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, &old)) {
                *kept = Some(Arc::new(fresh));
            }
        }
        old.retire(Leave::Better);
        Ok(())
    }

    /// Gives a connection up that brings nothing; the next one is to another endpoint, if there
    /// is one that works.
    pub(crate) async fn give_up(&self, link: &Arc<Link>, why: &str) {
        let Some(seat) = self.seats.get(link.endpoint.index()) else { return };
        seat.health(|health| health.failed(Instant::now(), why.to_owned(), dice()));
        self.drop_link(seat, link, why).await;
    }

    async fn drop_link(&self, seat: &Seat, link: &Arc<Link>, why: &str) {
        let mut kept = seat.link.lock().await;
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, link)) {
            *kept = None;
            seat.health(|health| health.is_connected = false);
        }
        drop(kept);
        let mut active = self.active.lock().await;
        if active.as_ref().is_some_and(|active| Arc::ptr_eq(active, link)) {
            *active = None;
            self.active_index.send_replace(None);
        }
        drop(active);
        link.retire(Leave::Broken(why.to_owned()));
    }

    /// Calls a method on the active connection, within the deadline.
    pub(crate) async fn call<T, F, Fut>(&self, method: &'static str, ask: F) -> Result<T, CallError>
    where
        F: FnOnce(Methods) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let link = self.get().await?;
        self.call_on(&link, method, ask).await
    }

    /// Calls a method on this connection, within the deadline. A broken one is given up.
    pub(crate) async fn call_on<T, F, Fut>(
        &self,
        link: &Arc<Link>,
        method: &'static str,
        ask: F,
    ) -> Result<T, CallError>
    where
        F: FnOnce(Methods) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let answer = self.ask(link, method, ask).await;
        if let Err(error) = &answer {
            self.note_error(link, error).await;
        }
        answer
    }

    /// Calls into the runtime on the active connection, for what can be learnt in another way.
    /// `None`: the node refuses the call, or it limits how often it answers such calls, and is
    /// then not asked for a while. It is not left for that: most limit these before anything else.
    pub(crate) async fn call_runtime<T, F, Fut>(&self, ask: F) -> Result<Option<T>, CallError>
    where
        F: FnOnce(Methods) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let link = self.get().await?;
        let at = link.endpoint.index();
        let now = Instant::now();
        if self.health(at, |health| health.spares_calls(now)) == Some(true) {
            return Ok(None);
        }
        let error = match self.ask(&link, "state_call", ask).await {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        match &error {
            CallError::Refused { .. } => {}
            CallError::Throttled { .. } => {
                let why = with_causes(&error);
                self.health(at, |health| health.calls_throttled(now, why, dice()));
            }
            CallError::Deadline { .. } | CallError::Transport { .. } | CallError::NoEndpoint(_) => {
                self.note_error(&link, &error).await;
                return Err(error);
            }
        }
        tracing::debug!(reason = %error, "a call into the runtime is not answered");
        Ok(None)
    }

    async fn ask<T, F, Fut>(
        &self,
        link: &Arc<Link>,
        method: &'static str,
        ask: F,
    ) -> Result<T, CallError>
    where
        F: FnOnce(Methods) -> Fut,
        Fut: Future<Output = Result<T, subxt_rpcs::Error>>,
    {
        let begun = Instant::now();
        let answer = tokio::time::timeout(self.call_timeout, ask(link.methods.clone())).await;
        match answer {
            Ok(Ok(value)) => {
                let at = link.endpoint.index();
                self.health(at, |health| health.answered(begun.elapsed()));
                Ok(value)
            }
            Ok(Err(error)) => Err(call_error(error, &link.endpoint, method)),
            Err(_) => Err(CallError::Deadline {
                endpoint: link.endpoint.shown().to_owned(),
                method,
                after_ms: millis(self.call_timeout),
            }),
        }
    }

    async fn note_error(&self, link: &Arc<Link>, error: &CallError) {
        let Some(seat) = self.seats.get(link.endpoint.index()) else { return };
        let why = with_causes(error);
        match error {
            CallError::Deadline { .. } | CallError::Transport { .. } => {
                self.give_up(link, &why).await;
            }
            CallError::Throttled { .. } => {
                let now = Instant::now();
                seat.health(|health| health.throttled(now, why.clone(), dice()));
                self.drop_link(seat, link, &why).await;
            }
            // It answered; the question was wrong, or is none of its business.
            CallError::Refused { .. } | CallError::NoEndpoint(_) => {}
        }
    }
}

fn note_failure(seat: &Seat, error: &EndpointError) {
    let (now, why) = (Instant::now(), error.to_string());
    seat.health(|health| match error {
        EndpointError::WrongGenesis { got, .. } => health.refused_for_good(*got, why),
        EndpointError::Throttled(_) => health.throttled(now, why, dice()),
        EndpointError::LeftAlone { .. } => {}
        EndpointError::NotAUrl(_)
        | EndpointError::Insecure
        | EndpointError::Deadline { .. }
        | EndpointError::Unreachable(_)
        | EndpointError::OtherService(_)
        | EndpointError::NoGenesis => health.failed(now, why, dice()),
    });
}

/// From 0 to 1.
fn dice() -> f64 {
    rand::random()
}

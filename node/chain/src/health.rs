//! How each endpoint stands: whether it may be asked, and which one is asked first.
//!
//! Three things keep an endpoint from being used. Another *genesis* does for good. *Throttling*
//! does until its time is over, growing with each repetition: asking earlier makes it worse. A
//! *failure* or a *demotion* (it lags, its newest block is old, it is still syncing) only puts it
//! behind the others: a bad endpoint is better than none.
//!
//! Everything here is arithmetic on values given; no clock, no socket.

use std::time::Duration;

use node_core::id::BlockHash;
use node_core::unit::{BlockCount, BlockNumber, UnixMs};
use tokio::time::Instant;

use crate::endpoint::Endpoint;

/// First rest after a failure, doubled by each further one. Lower: an endpoint that connects and
/// then hangs is chosen again at once, before one that works. Higher: a recovered one stays last
/// for longer.
const REST_MIN: Duration = Duration::from_secs(10);
/// Longest rest after failures, on either side as above.
const REST_MAX: Duration = Duration::from_secs(160);
/// First time an endpoint is left alone after it said that we ask too much.
const ALONE_MIN: Duration = Duration::from_secs(6);
/// Longest such time. Lower: public nodes ban who comes back too soon. Higher: a node whose only
/// endpoint throttles misses blocks.
const ALONE_MAX: Duration = Duration::from_secs(300);
/// Quiet time after which earlier failures and throttlings no longer count.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Whether an endpoint is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndpointRole {
    /// Everything is read from it.
    Active,
    /// It is compared with the active one, and gets the same extrinsics.
    #[default]
    Standby,
}

/// Whether an endpoint serves the right chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GenesisCheck {
    /// It was never reached.
    #[default]
    Unknown,
    /// It does.
    Right,
    /// It serves this other chain and is not used until restart.
    Wrong(BlockHash),
}

/// Why an endpoint is put behind the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Demotion {
    /// Its best or finalized block is far below another endpoint's.
    #[error("{blocks} blocks behind another endpoint")]
    Lagging {
        /// How far.
        blocks: BlockCount,
    },
    /// Its best block is old by our clock.
    #[error("its best block is {} s old", .age.as_secs())]
    Stale {
        /// How old.
        age: Duration,
    },
    /// It says so itself.
    #[error("it is still syncing")]
    Syncing,
}

/// How an endpoint stands, for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// The endpoint, without credentials.
    pub endpoint: String,
    /// Whether it is in use.
    pub role: EndpointRole,
    /// Whether a connection to it is open.
    pub is_connected: bool,
    /// Whether it serves the right chain.
    pub genesis: GenesisCheck,
    /// Its best block, as last heard.
    pub best: Option<BlockNumber>,
    /// Its finalized block, as last heard.
    pub finalized: Option<BlockNumber>,
    /// How far its best block was below the highest of all endpoints when they were compared.
    pub lag: Option<BlockCount>,
    /// Why it is put behind the others, if it is.
    pub demotion: Option<Demotion>,
    /// How long its last answer took.
    pub latency: Option<Duration>,
    /// Calls and connections that failed since the start.
    pub failures: u64,
    /// Why the last one did.
    pub last_error: Option<String>,
    /// How much longer it is put behind the others after a failure, or left alone after it
    /// throttled us.
    pub backed_off_for: Option<Duration>,
}

/// What one look at an endpoint found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) best: BlockNumber,
    pub(crate) finalized: BlockNumber,
    /// When its best block was made, by that block; `None` if it does not say.
    pub(crate) time: Option<UnixMs>,
    pub(crate) is_syncing: bool,
}

/// From when on an endpoint is put behind the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LagLimits {
    pub(crate) blocks_max: BlockCount,
    pub(crate) age_max: Duration,
}

/// The place of an endpoint in the order of use, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    is_resting: bool,
    is_demoted: bool,
}

/// How one endpoint stands.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) genesis: GenesisCheck,
    pub(crate) is_connected: bool,
    best: Option<BlockNumber>,
    finalized: Option<BlockNumber>,
    lag: Option<BlockCount>,
    demotion: Option<Demotion>,
    latency: Option<Duration>,
    failures: u64,
    last_error: Option<String>,
    rest: Pause,
    alone: Pause,
    /// From calls into the runtime that it limits.
    calls: Pause,
}

/// A time of rest that grows with each repetition. An answer does not end it: who hangs or
/// throttles still answers now and then.
#[derive(Debug, Default)]
struct Pause {
    times: u32,
    until: Option<Instant>,
}

impl Pause {
    /// From half of the whole time to all of it, as the dice say.
    fn begin(&mut self, now: Instant, (min, max): (Duration, Duration), dice: f64) {
        let is_forgotten = self.until.is_none_or(|until| now > until + FORGOTTEN_AFTER);
        self.times = if is_forgotten { 1 } else { self.times.saturating_add(1) };
        let doublings = self.times.saturating_sub(1).min(16);
        let whole = min.saturating_mul(1u32 << doublings).min(max);
        self.until = Some(now + whole.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0));
    }

    fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.until.and_then(|until| until.checked_duration_since(now));
        left.filter(|left| !left.is_zero())
    }
}

impl Health {
    pub(crate) fn answered(&mut self, latency: Duration) {
        self.latency = Some(latency);
    }

    /// - `dice`: from 0 to 1, so that nodes that lost one endpoint do not come back together.
    pub(crate) fn failed(&mut self, now: Instant, why: String, dice: f64) {
        self.note(why);
        self.rest.begin(now, (REST_MIN, REST_MAX), dice);
    }

    /// `dice` as in [`Self::failed`].
    pub(crate) fn throttled(&mut self, now: Instant, why: String, dice: f64) {
        self.note(why);
        self.alone.begin(now, (ALONE_MIN, ALONE_MAX), dice);
    }

    /// It limits calls into the runtime. `dice` as in [`Self::failed`].
    pub(crate) fn calls_throttled(&mut self, now: Instant, why: String, dice: f64) {
        // Several of one view count once.
        if self.spares_calls(now) {
            return;
        }
        self.note(why);
        self.calls.begin(now, (ALONE_MIN, ALONE_MAX), dice);
    }

    /// Whether it is not to be asked for what can be learnt without calling into the runtime.
    pub(crate) fn spares_calls(&self, now: Instant) -> bool {
        self.calls.left(now).is_some()
    }

    /// It serves another chain.
    pub(crate) fn refused_for_good(&mut self, got: BlockHash, why: String) {
        self.note(why);
        self.genesis = GenesisCheck::Wrong(got);
    }

    fn note(&mut self, why: String) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(why);
    }

    pub(crate) fn saw_best(&mut self, number: BlockNumber) {
        self.best = Some(number);
    }

    pub(crate) fn saw_finalized(&mut self, number: BlockNumber) {
        self.finalized = Some(number);
    }

    pub(crate) fn judged(&mut self, lag: BlockCount, demotion: Option<Demotion>) {
        self.lag = Some(lag);
        self.demotion = demotion;
    }

    /// How much longer it must not be asked.
    pub(crate) fn left_alone_for(&self, now: Instant) -> Option<Duration> {
        self.alone.left(now)
    }

    /// Whether it failed a short while ago.
    pub(crate) fn is_resting(&self, now: Instant) -> bool {
        self.rest.left(now).is_some()
    }

    pub(crate) fn rank(&self, now: Instant) -> Rank {
        Rank { is_resting: self.is_resting(now), is_demoted: self.demotion.is_some() }
    }

    pub(crate) fn state(&self, at: &Endpoint, role: EndpointRole, now: Instant) -> EndpointState {
        EndpointState {
            endpoint: at.shown().to_owned(),
            role,
            is_connected: self.is_connected,
            genesis: self.genesis,
            best: self.best,
            finalized: self.finalized,
            lag: self.lag,
            demotion: self.demotion,
            latency: self.latency,
            failures: self.failures,
            last_error: self.last_error.clone(),
            backed_off_for: self.alone.left(now).or(self.rest.left(now)),
        }
    }
}

/// How far each endpoint is behind the highest, and whether it is put behind the others for it.
///
/// - `samples`: one per endpoint that answered, all taken at about the same time.
/// - `now`: by our clock. If that is wrong, all of them look alike.
pub(crate) fn judge(
    samples: &[Sample],
    now: UnixMs,
    limits: LagLimits,
) -> Vec<(BlockCount, Option<Demotion>)> {
    let best = samples.iter().map(|sample| sample.best).max().unwrap_or_default();
    let finalized = samples.iter().map(|sample| sample.finalized).max().unwrap_or_default();
    let judged = |sample: &Sample| {
        let lag = best.since(sample.best);
        let blocks = lag.max(finalized.since(sample.finalized));
        let age = sample.time.map_or(0, |time| now.0.saturating_sub(time.0));
        let age = Duration::from_millis(age);
        let demotion = if sample.is_syncing {
            Some(Demotion::Syncing)
        } else if blocks > limits.blocks_max {
            Some(Demotion::Lagging { blocks })
        } else if age > limits.age_max {
            Some(Demotion::Stale { age })
        } else {
            None
        };
        (lag, demotion)
    };
    samples.iter().map(judged).collect()
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;

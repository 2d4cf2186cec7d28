//! What an operator should know about the weights: before the first vector and between two.
//!
//! [`preflight`] looks at the newest views, the intents and what the guard said, and answers with
//! an ordered list of [`Check`]s and the numbers behind them. It decides nothing: whether something
//! is signed is `submit_guard`'s affair, and an alarm here stops no signature. It exists because
//! the most expensive failure of a validator is silent: the process lives, and nothing lands.
//!
//! Files: `standing` (may our hotkey set weights?), `settings` (what the subnet and the runtime
//! demand), `landing` (does what we send arrive?).

mod landing;
mod settings;
mod standing;

use crate::id::Uid;
use crate::rows::{Carries, IntentRow, IntentState, SignedExtrinsic};
use crate::submit_guard::{is_included, is_of_an_earlier_subnet, NotSafe, Sight, Terms};
use crate::unit::{BlockCount, BlockNumber, EpochIndex};
use crate::view::{ChainView, Neuron};

/// Thousandths of a tempo without an update of ours after which the operator is warned. Lower: a
/// vector that lands late in its epoch warns. Higher: less time is left to react.
pub const WARN_MILLITEMPOS: u64 = 1_500;

/// Thousandths of a tempo without an update of ours at which the node is not ready: two epochs were
/// missed.
pub const ALARM_MILLITEMPOS: u64 = 2_500;
const _: () = assert!(WARN_MILLITEMPOS < ALARM_MILLITEMPOS);

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The newest blocks.
    pub sight: Sight<'a>,
    /// Whose weights, and how they are to be set.
    pub terms: Terms,
    /// Whether vectors are signed and sent. Where not, nothing is an alarm that only they suffer.
    pub is_submitting: bool,
    /// Every intent that is known, in any order.
    pub intents: &'a [&'a IntentRow],
    /// Why nothing is signed at present, if nothing is.
    pub not_safe: Option<&'a NotSafe>,
    /// Whether there is no vector to sign: nobody who is registered was scored.
    pub has_nothing_to_send: bool,
}

impl<'a> Subject<'a> {
    fn head(&self) -> &'a ChainView {
        self.sight.head
    }

    fn own(&self) -> Option<&'a Neuron> {
        self.sight.head.neuron(&self.terms.hotkey)
    }

    fn is_owner(&self) -> bool {
        self.sight.head.params.owner_hotkey == Some(self.terms.hotkey)
    }

    /// How bad it is that no vector can be set.
    fn blocking(&self) -> Level {
        if self.is_submitting {
            Level::Alarm
        } else {
            Level::Warn
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// The checks, in the order of [`CheckId::ALL`]; without a uid, those that need one are left
    /// out.
    pub checks: Vec<Check>,
    /// The numbers behind them.
    pub facts: Facts,
}

impl Preflight {
    /// The check with this name, if it was made.
    #[must_use]
    pub fn check(&self, id: CheckId) -> Option<&Check> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// Alarms with which a node does not do its work, whatever else it does. Silence of a node that
    /// has nothing to send is an alarm and none of these: it would land what there was.
    pub fn unready(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| {
            let is_idle = self.facts.has_nothing_to_send;
            let stops =
                check.id == CheckId::Signer || (check.id == CheckId::LastUpdate && !is_idle);
            stops && check.level == Level::Alarm
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub id: CheckId,
    /// How it stands.
    pub level: Level,
    /// A sentence with its numbers and, where something is wrong, the next step.
    pub text: String,
}

impl Check {
    fn new(id: CheckId, level: Level, text: impl Into<String>) -> Self {
        Self { id, level, text: text.into() }
    }

    fn ok(id: CheckId, text: impl Into<String>) -> Self {
        Self::new(id, Level::Ok, text)
    }
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth a look; emission is not lost yet.
    Warn,
    /// Emission is being lost, or will be.
    Alarm,
}

impl Level {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Alarm => "alarm",
        }
    }
}

macro_rules! check_ids {
    ($($(#[$doc:meta])* $id:ident = $name:literal,)*) => {
        /// What is looked at. The names are public: status, metrics and alerts use them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckId {
            $($(#[$doc])* $id,)*
        }

        impl CheckId {
            /// All of them, in the order in which they are reported.
            pub const ALL: &[Self] = &[$(Self::$id,)*];

            /// Its public name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }
        }
    };
}

check_ids! {
    /// Whether something else signs with our hotkey.
    Signer = "signer",
    /// Whether the subnet is still the one that vectors were signed for.
    Subnet = "subnet",
    /// Whether our hotkey has a uid.
    Registered = "registered",
    /// Whether it may set weights.
    Permit = "permit",
    /// Its stake against the threshold.
    Stake = "stake",
    /// How long ago the last vector of ours landed.
    LastUpdate = "last_update",
    /// How the subnet takes weights.
    CommitMode = "commit_mode",
    /// How the subnet's epochs use weights.
    Consensus = "consensus",
    /// Whether our mechanism exists.
    Mechanism = "mechanism",
    /// The version key that the subnet's owner demands.
    VersionKey = "version_key",
    /// Fewest entries of a vector against the number of neurons.
    Length = "length",
    /// Whether the rate limit lets one vector per epoch through.
    RateLimit = "rate_limit",
    /// Commits that wait to be opened.
    Commits = "commits",
    /// What became of the last commits.
    Reveals = "reveals",
    /// Whether the beacon's rounds reach the chain.
    Beacon = "beacon",
    /// How near our uid is to being given to somebody else.
    Prune = "prune",
    /// How far finality is behind.
    Finality = "finality",
    /// Whether the chain refuses ordinary calls.
    SafeMode = "safe_mode",
    /// The runtime, and what of it cannot be signed.
    Runtime = "runtime",
}

/// Numbers for gauges and tables. What needs a uid is `None` without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Our uid.
    pub uid: Option<Uid>,
    /// Whether we have a validator permit.
    pub has_permit: Option<bool>,
    /// Our stake weight in rao.
    pub stake_rao: Option<u64>,
    /// The least stake to set weights, in rao.
    pub stake_threshold_rao: u64,
    /// Share of our weights that consensus agreed with at the last epoch, of 65535.
    pub validator_trust: Option<u16>,
    /// Our share of the validators' dividends at the last epoch, of 65535.
    pub dividends: Option<u16>,
    /// Whether there is no vector to sign.
    pub has_nothing_to_send: bool,
    /// Blocks since our last update, or since our registration if there was none.
    pub blocks_since_update: Option<BlockCount>,
    /// The same in thousandths of a tempo; `None` also where no epochs run.
    pub millitempos_since_update: Option<u64>,
    /// How many neurons would lose their uid before us; `None` for the owner, who never does.
    pub prune_rank: Option<u64>,
    /// Blocks for which we cannot lose it.
    pub immunity_left: Option<BlockCount>,
    /// Commits of ours that the chain keeps, oldest first.
    pub pending_commits: Vec<PendingCommit>,
    /// Rounds that the beacon has published and the chain does not have; `None` without a beacon.
    pub beacon_lag_rounds: Option<u64>,
    /// How far the finalized block is behind the best one.
    pub finality_lag: BlockCount,
    /// In which form weights are set at present; `None` if the chain demands an unknown one.
    pub form: Option<Form>,
}

/// In which form weights are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Open, for at once.
    Plain,
    /// Encrypted for a round of the beacon.
    Timelocked,
    /// As a hash, revealed later.
    Hash,
}

impl Form {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Timelocked => "timelocked",
            Self::Hash => "hash",
        }
    }
}

/// A commit of ours that waits to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingCommit {
    /// In which block it was included.
    pub block: BlockNumber,
    /// The epoch that it belongs to.
    pub epoch: EpochIndex,
    /// The epoch in which it is opened.
    pub opens_in: EpochIndex,
    /// The round that opens it; `None` for a hash, which we reveal.
    pub round: Option<u64>,
    /// How the round stands.
    pub state: RoundState,
}

/// How the round of a commit stands, by the head's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoundState {
    /// It is published in this many milliseconds; `None` if that cannot be known.
    Awaited {
        /// In how long.
        in_ms: Option<u64>,
    },
    /// It was published this many milliseconds ago, and the chain does not have it.
    Published {
        /// How long ago.
        ago_ms: u64,
    },
    /// The chain has it, or a newer one.
    Stored,
}

/// A hash commit of ours that this node has to reveal. The one that ends first is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueReveal {
    /// The epoch in which alone the chain takes the reveal.
    pub opens_in: EpochIndex,
    /// Whether that is the present one.
    pub is_now: bool,
    /// The first block of that epoch, or the one after it; `None` where that is not known yet.
    pub from: Option<BlockNumber>,
    /// The first block after that epoch, if it is the present one and epochs run.
    pub until: Option<BlockNumber>,
    /// The epoch that the vector is for.
    pub epoch: EpochIndex,
}

impl DueReveal {
    /// The reveal that `intent` waits for, as of `head`; `None` if it waits for none, or its epoch
    /// is over, or the chain takes none.
    #[must_use]
    pub fn of(intent: &IntentRow, head: &ChainView) -> Option<Self> {
        let IntentState::Committed { epoch: counted, .. } = intent.state else { return None };
        let is_ours = |signed: &SignedExtrinsic| matches!(signed.carries, Carries::Hashed { .. });
        let opens_in = EpochIndex(counted.0.saturating_add(head.params.reveal_period.max(1)));
        let clock = &head.epoch;
        let is_takeable = head.params.commit_reveal_enabled
            && intent.signings.last().is_some_and(is_ours)
            && clock.index <= opens_in
            && !is_of_an_earlier_subnet(intent, head);
        let is_now = clock.index == opens_in;
        let is_next = clock.index.0.saturating_add(1) == opens_in.0;
        let from = match (is_now, is_next) {
            (true, _) => Some(clock.last_epoch_block),
            (false, true) => clock.next_epoch_block,
            (false, false) => None,
        };
        let until = clock.next_epoch_block.filter(|_| is_now);
        is_takeable.then_some(Self { opens_in, is_now, from, until, epoch: intent.epoch })
    }
}

/// Looks at everything.
///
/// Pure, and total: there is no view that it does not answer.
#[must_use]
pub fn preflight(subject: &Subject<'_>) -> Preflight {
    let mut checks = vec![standing::signer(subject), standing::subnet(subject)];
    checks.extend(standing::own(subject));
    checks.extend(landing::last_update(subject));
    checks.extend(settings::all(subject));
    checks.push(landing::commits(subject));
    checks.push(landing::reveals(subject));
    checks.push(landing::beacon(subject));
    checks.extend(standing::prune(subject));
    checks.push(settings::finality(subject));
    checks.push(settings::safe_mode(subject));
    checks.push(settings::runtime(subject));
    Preflight { checks, facts: facts(subject) }
}

fn facts(subject: &Subject<'_>) -> Facts {
    let own = subject.own();
    let head = subject.head();
    let place = standing::place(subject);
    Facts {
        uid: own.map(|own| own.uid),
        has_permit: own.map(|own| own.validator_permit),
        stake_rao: own.map(|own| own.stake_rao),
        stake_threshold_rao: head.params.stake_threshold_rao,
        validator_trust: own.map(|own| own.validator_trust),
        dividends: own.map(|own| own.dividends),
        has_nothing_to_send: subject.has_nothing_to_send,
        blocks_since_update: own.map(|own| landing::blocks_since_update(head, own)),
        millitempos_since_update: own.and_then(|own| landing::millitempos(head, own)),
        prune_rank: place.and_then(|place| place.rank),
        immunity_left: place.map(|place| place.immunity_left),
        pending_commits: landing::pending(head),
        beacon_lag_rounds: head.beacon.as_ref().map(|beacon| landing::lag_rounds(head, beacon)),
        finality_lag: head.number.since(subject.sight.finalized.number),
        form: settings::form(head, subject.terms.commit),
    }
}

/// How far a vector got on its way to the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// In the journal; not signed yet.
    Intended,
    /// Signed; not handed to any endpoint in this life of the process.
    Signed,
    /// Handed to the endpoints, which may hold it in their pools.
    Sent,
    /// The best chain has used its nonce.
    InBlock,
    /// The finalized chain has used its nonce; the search for it goes on.
    Finalized,
    /// Found on the finalized chain: a plain vector.
    Landed,
    /// Found on the finalized chain: a commit, which waits to be opened.
    Committed,
    /// The commit was opened.
    Revealed,
    /// The commit was not opened.
    Lost,
    /// Given up.
    Abandoned,
}

impl Stage {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Signed => "signed",
            Self::Sent => "sent",
            Self::InBlock => "in_block",
            Self::Finalized => "finalized",
            Self::Landed => "landed",
            Self::Committed => "committed",
            Self::Revealed => "revealed",
            Self::Lost => "lost",
            Self::Abandoned => "abandoned",
        }
    }
}

/// How far `intent` got, as far as `sight` shows.
///
/// - `is_sent`: whether its bytes were handed over in this life.
#[must_use]
pub fn stage(intent: &IntentRow, sight: Option<Sight<'_>>, is_sent: bool) -> Stage {
    match &intent.state {
        IntentState::Open => Stage::Intended,
        IntentState::Landed { .. } => Stage::Landed,
        IntentState::Committed { .. } => Stage::Committed,
        IntentState::Revealed { .. } => Stage::Revealed,
        IntentState::Lost { .. } => Stage::Lost,
        IntentState::Abandoned { .. } => Stage::Abandoned,
        IntentState::Signed => {
            let uses = |view: fn(Sight<'_>) -> &ChainView| {
                let used = |signed: &SignedExtrinsic| {
                    sight.is_some_and(|sight| is_included(signed, view(sight)))
                };
                intent.signings.last().is_some_and(used)
            };
            if uses(|sight| sight.finalized) {
                Stage::Finalized
            } else if uses(|sight| sight.head) {
                Stage::InBlock
            } else if is_sent {
                Stage::Sent
            } else {
                Stage::Signed
            }
        }
    }
}

/// Milliseconds as minutes with one decimal.
fn minutes(ms: u64) -> String {
    let tenths = ms.checked_div(6_000).unwrap_or_default();
    let (whole, part) = (tenths.checked_div(10), tenths.checked_rem(10));
    format!("{}.{} min", whole.unwrap_or_default(), part.unwrap_or_default())
}

/// Thousandths with two decimals, rounded down.
fn thousandths(milli: u64) -> String {
    let whole = milli.checked_div(1000).unwrap_or_default();
    let part = milli.checked_rem(1000).and_then(|rest| rest.checked_div(10)).unwrap_or_default();
    format!("{whole}.{part:02}")
}

#[cfg(test)]
mod tests;

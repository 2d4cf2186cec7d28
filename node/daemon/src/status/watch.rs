//! What is watched between two vectors, as data: endpoints, checks, and the numbers behind them.
//!
//! Part of the schema in `report`: fields are added, never renamed.

use node_core::preflight::{Facts, Level, PendingCommit, Preflight, RoundState};
use node_core::unit::{BlockCount, BlockNumber, EpochIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::describe::HostFacts;
use crate::config::hide_credentials;
use node_chain::{EndpointRole, EndpointState, GenesisCheck};

/// An endpoint of the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndpointStatus {
    /// Its place in the configuration, counted from one.
    pub place: u32,
    /// The endpoint, without credentials.
    pub endpoint: String,
    /// Whether everything is read from it; the others are compared and get the same extrinsics.
    pub is_active: bool,
    /// Whether a connection to it is open.
    pub is_connected: bool,
    /// `right`, `wrong` (never used) or `unknown` (never reached).
    pub genesis: String,
    /// Its best block, as last heard.
    #[schemars(with = "Option<u64>")]
    pub best_number: Option<BlockNumber>,
    /// Its finalized block, as last heard.
    #[schemars(with = "Option<u64>")]
    pub finalized_number: Option<BlockNumber>,
    /// Blocks by which its best block was below the highest of all endpoints.
    #[schemars(with = "Option<u64>")]
    pub lag: Option<BlockCount>,
    /// Why it is put behind the others, if it is.
    pub demotion: Option<String>,
    /// Milliseconds that its last answer took.
    pub latency_ms: Option<u64>,
    /// Calls and connections that failed since the start.
    pub failures: u64,
    /// Why the last one did.
    pub last_error: Option<String>,
    /// Milliseconds for which it is still left alone.
    pub backed_off_for_ms: Option<u64>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckStatus {
    /// Its public name, see `docs/operating.md`.
    pub id: String,
    /// `ok`, `warn` or `alarm`.
    pub level: String,
    /// What was found, with numbers and the next step.
    pub text: String,
}

impl CheckStatus {
    /// Whether it stands at `level`.
    #[must_use]
    pub fn is(&self, level: Level) -> bool {
        self.level == level.name()
    }

    /// What was looked at, and how it stands.
    #[must_use]
    pub fn said(&self) -> String {
        format!("{}: {}", self.id, self.text)
    }
}

/// The numbers behind the checks. What needs a uid is `null` without one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WatchStatus {
    /// Whether the hotkey has a validator permit.
    pub has_permit: Option<bool>,
    /// Its stake weight in rao.
    pub stake_rao: Option<u64>,
    /// The least stake to set weights, in rao.
    pub stake_threshold_rao: u64,
    /// Share of its weights that consensus agreed with at the last epoch, of 65535.
    pub validator_trust: Option<u16>,
    /// Its share of the validators' dividends at the last epoch, of 65535.
    pub dividends: Option<u16>,
    /// Blocks since the last update on chain, or since the registration if there was none.
    #[schemars(with = "Option<u64>")]
    pub blocks_since_update: Option<BlockCount>,
    /// The same in thousandths of a tempo; `null` where no epochs run.
    pub millitempos_since_update: Option<u64>,
    /// How many neurons would lose their uid before this one; `null` for the subnet's owner.
    pub prune_rank: Option<u64>,
    /// Blocks for which it cannot lose its uid.
    #[schemars(with = "Option<u64>")]
    pub immunity_left: Option<BlockCount>,
    /// Commits that wait to be opened, oldest first.
    pub pending_commits: Vec<PendingCommitStatus>,
    /// Rounds that the beacon published and the chain does not have; `null` without a beacon.
    pub beacon_lag_rounds: Option<u64>,
}

/// A commit that waits to be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingCommitStatus {
    /// In which block it was included.
    #[schemars(with = "u64")]
    pub block: BlockNumber,
    /// The epoch that it belongs to.
    #[schemars(with = "u64")]
    pub epoch: EpochIndex,
    /// The epoch in which it is opened.
    #[schemars(with = "u64")]
    pub opens_in: EpochIndex,
    /// The beacon's round that opens it; `null` for a hash, which the node reveals.
    pub round: Option<u64>,
    /// `awaited`, `published` (and not in the chain) or `stored` (in the chain).
    pub round_state: String,
}

impl From<&PendingCommit> for PendingCommitStatus {
    fn from(commit: &PendingCommit) -> Self {
        let round_state = match commit.state {
            RoundState::Awaited { .. } => "awaited",
            RoundState::Published { .. } => "published",
            RoundState::Stored => "stored",
        };
        Self {
            block: commit.block,
            epoch: commit.epoch,
            opens_in: commit.opens_in,
            round: commit.round,
            round_state: round_state.to_owned(),
        }
    }
}

impl From<&Facts> for WatchStatus {
    fn from(facts: &Facts) -> Self {
        Self {
            has_permit: facts.has_permit,
            stake_rao: facts.stake_rao,
            stake_threshold_rao: facts.stake_threshold_rao,
            validator_trust: facts.validator_trust,
            dividends: facts.dividends,
            blocks_since_update: facts.blocks_since_update,
            millitempos_since_update: facts.millitempos_since_update,
            prune_rank: facts.prune_rank,
            immunity_left: facts.immunity_left,
            pending_commits: facts.pending_commits.iter().map(Into::into).collect(),
            beacon_lag_rounds: facts.beacon_lag_rounds,
        }
    }
}

/// The checks as they are reported, in their order.
pub(super) fn checks(preflight: &Preflight) -> Vec<CheckStatus> {
    let status = |check: &node_core::preflight::Check| CheckStatus {
        id: check.id.name().to_owned(),
        level: check.level.name().to_owned(),
        text: check.text.clone(),
    };
    preflight.checks.iter().map(status).collect()
}

/// The endpoints, the active one first, then in the order of the configuration.
pub(super) fn endpoints(facts: &HostFacts) -> Vec<EndpointStatus> {
    let mut all: Vec<EndpointStatus> = facts
        .endpoint_states
        .iter()
        .zip(1..)
        .map(|(state, place)| endpoint(state, place))
        .collect();
    all.sort_by_key(|endpoint| !endpoint.is_active);
    all
}

fn endpoint(state: &EndpointState, place: u32) -> EndpointStatus {
    let ms = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let genesis = match state.genesis {
        GenesisCheck::Unknown => "unknown",
        GenesisCheck::Right => "right",
        GenesisCheck::Wrong(_) => "wrong",
    };
    EndpointStatus {
        place,
        endpoint: hide_credentials(&state.endpoint),
        is_active: state.role == EndpointRole::Active,
        is_connected: state.is_connected,
        genesis: genesis.to_owned(),
        // Who tells of a finalized block has it, whichever of the two subscriptions said so first.
        best_number: state.best.max(state.finalized),
        finalized_number: state.finalized,
        lag: state.lag,
        demotion: state.demotion.map(|demotion| demotion.to_string()),
        latency_ms: state.latency.map(ms),
        failures: state.failures,
        last_error: state.last_error.as_deref().map(hide_credentials),
        backed_off_for_ms: state.backed_off_for.map(ms),
    }
}

//! Events the node looks for. Matched by name, because their numbers drift; their fields by
//! position, because most have no names.

use crate::Shape::{self, Unsigned};
use crate::{Absent, Capability, ACCOUNT, HASH};

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The pallet's name.
    pub pallet: &'static str,
    /// The event's name.
    pub name: &'static str,
    /// Its first fields, in order; more may follow.
    pub fields: &'static [Shape],
    /// What it means if the runtime does not have it.
    pub absent: Absent,
    /// What cannot be done while it has another shape.
    pub needed_for: &'static [Capability],
}

const SYSTEM: &str = "System";
const SUBTENSOR: &str = "SubtensorModule";
const READING: &[Capability] = &[Capability::Reading];
const NETUID: Shape = Unsigned(16);
const INDEX: Shape = Unsigned(16);
const BLOCK: Shape = Unsigned(64);

/// One by which the node confirms what the chain's state says anyway.
const fn confirms(name: &'static str, fields: &'static [Shape]) -> Event {
    let absent = Absent::Fallback("what the state says is believed without it");
    Event { pallet: SUBTENSOR, name, fields, absent, needed_for: &[] }
}

/// One that tells of a change which the next view shows as well.
const fn announces(pallet: &'static str, name: &'static str, fields: &'static [Shape]) -> Event {
    let absent = Absent::Fallback("the next view shows the change");
    Event { pallet, name, fields, absent, needed_for: &[] }
}

/// An extrinsic was applied.
pub const EXTRINSIC_SUCCESS: Event = Event {
    pallet: SYSTEM,
    name: "ExtrinsicSuccess",
    fields: &[],
    absent: Absent::Fatal,
    needed_for: READING,
};
/// An extrinsic was included, and its call failed: the error, then the call's cost.
pub const EXTRINSIC_FAILED: Event = Event {
    pallet: SYSTEM,
    name: "ExtrinsicFailed",
    fields: &[Shape::SomeVariants(&[
        ("Module", Shape::Fields(&[("index", Unsigned(8)), ("error", Shape::Bytes(4))])),
        ("BadOrigin", Shape::Unit),
    ])],
    absent: Absent::Fatal,
    needed_for: READING,
};
/// The next block has another runtime.
pub const CODE_UPDATED: Event = announces(SYSTEM, "CodeUpdated", &[]);

/// Weights were stored: storage index, uid. Also inside reveals.
pub const WEIGHTS_SET: Event = confirms("WeightsSet", &[INDEX, Unsigned(16)]);
/// A hash was committed: hotkey, storage index, hash.
pub const WEIGHTS_COMMITTED: Event = confirms("WeightsCommitted", &[ACCOUNT, INDEX, HASH]);
/// What was behind a hash was revealed: hotkey, storage index, hash.
pub const WEIGHTS_REVEALED: Event = confirms("WeightsRevealed", &[ACCOUNT, INDEX, HASH]);
/// A timelocked commit was stored: hotkey, storage index, hash of the commit, reveal round.
pub const TIMELOCKED_WEIGHTS_COMMITTED: Event =
    confirms("TimelockedWeightsCommitted", &[ACCOUNT, INDEX, HASH, Unsigned(64)]);
/// A timelocked commit was revealed, at the beginning of a block: storage index, hotkey.
pub const TIMELOCKED_WEIGHTS_REVEALED: Event =
    confirms("TimelockedWeightsRevealed", &[INDEX, ACCOUNT]);
/// A hotkey published where it serves: netuid, hotkey.
pub const AXON_SERVED: Event = confirms("AxonServed", &[NETUID, ACCOUNT]);
/// A uid has a new holder: netuid, uid, hotkey.
pub const NEURON_REGISTERED: Event =
    announces(SUBTENSOR, "NeuronRegistered", &[NETUID, Unsigned(16), ACCOUNT]);

/// The owner triggered an epoch: netuid, by whom, block. Since spec 425.
pub const EPOCH_TRIGGERED: Event =
    announces(SUBTENSOR, "EpochTriggered", &[NETUID, ACCOUNT, BLOCK]);
/// An epoch was put off: netuid, from block, to block. Since spec 425.
pub const EPOCH_DEFERRED: Event = announces(SUBTENSOR, "EpochDeferred", &[NETUID, BLOCK, BLOCK]);
/// An epoch was not run: netuid, block. Since spec 425.
pub const EPOCH_SKIPPED: Event = announces(SUBTENSOR, "EpochSkipped", &[NETUID, BLOCK]);
/// Another tempo: netuid, blocks.
pub const TEMPO_SET: Event = announces(SUBTENSOR, "TempoSet", &[NETUID, Unsigned(16)]);
/// Commit-reveal was switched: netuid, on.
pub const COMMIT_REVEAL_ENABLED: Event =
    announces(SUBTENSOR, "CommitRevealEnabled", &[NETUID, Shape::Bool]);
/// Another period of concealment: netuid, epochs.
pub const COMMIT_REVEAL_PERIODS_SET: Event =
    announces(SUBTENSOR, "CommitRevealPeriodsSet", &[NETUID, Unsigned(64)]);
/// Another commit-reveal version for all subnets.
pub const COMMIT_REVEAL_VERSION_SET: Event =
    announces(SUBTENSOR, "CommitRevealVersionSet", &[Unsigned(16)]);
/// Another version key: netuid, key.
pub const WEIGHTS_VERSION_KEY_SET: Event =
    announces(SUBTENSOR, "WeightsVersionKeySet", &[NETUID, Unsigned(64)]);
/// Another rate limit: netuid, blocks.
pub const WEIGHTS_SET_RATE_LIMIT_SET: Event =
    announces(SUBTENSOR, "WeightsSetRateLimitSet", &[NETUID, Unsigned(64)]);

/// A hotkey committed: netuid, hotkey.
pub const COMMITMENT: Event = announces("Commitments", "Commitment", &[NETUID, ACCOUNT]);
/// A hotkey committed something timelocked: netuid, hotkey, round.
pub const TIMELOCK_COMMITMENT: Event =
    announces("Commitments", "TimelockCommitment", &[NETUID, ACCOUNT, Unsigned(64)]);
/// A timelocked commitment was revealed: netuid, hotkey.
pub const COMMITMENT_REVEALED: Event =
    announces("Commitments", "CommitmentRevealed", &[NETUID, ACCOUNT]);

/// Every event above.
pub const ALL: &[&Event] = &[
    &EXTRINSIC_SUCCESS,
    &EXTRINSIC_FAILED,
    &CODE_UPDATED,
    &WEIGHTS_SET,
    &WEIGHTS_COMMITTED,
    &WEIGHTS_REVEALED,
    &TIMELOCKED_WEIGHTS_COMMITTED,
    &TIMELOCKED_WEIGHTS_REVEALED,
    &AXON_SERVED,
    &NEURON_REGISTERED,
    &EPOCH_TRIGGERED,
    &EPOCH_DEFERRED,
    &EPOCH_SKIPPED,
    &TEMPO_SET,
    &COMMIT_REVEAL_ENABLED,
    &COMMIT_REVEAL_PERIODS_SET,
    &COMMIT_REVEAL_VERSION_SET,
    &WEIGHTS_VERSION_KEY_SET,
    &WEIGHTS_SET_RATE_LIMIT_SET,
    &COMMITMENT,
    &TIMELOCK_COMMITMENT,
    &COMMITMENT_REVEALED,
];

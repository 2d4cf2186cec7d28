//! Errors of included calls that the node tells apart. Matched by name, because their numbers
//! drift with almost every release.

/// An error of a pallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorName {
    /// The pallet's name.
    pub pallet: &'static str,
    /// The error's name.
    pub name: &'static str,
}

const fn subtensor(name: &'static str) -> ErrorName {
    ErrorName { pallet: "SubtensorModule", name }
}

const fn commitments(name: &'static str) -> ErrorName {
    ErrorName { pallet: "Commitments", name }
}

/// What the absence of any of them means: nobody returns it.
pub const ABSENT: &str = "never returned here; others are passed on by name";

/// Weights within the rate limit.
pub const SETTING_WEIGHTS_TOO_FAST: ErrorName = subtensor("SettingWeightsTooFast");
/// A commit within the rate limit.
pub const COMMITTING_WEIGHTS_TOO_FAST: ErrorName = subtensor("CommittingWeightsTooFast");
/// The hotkey has no uid on the subnet.
pub const NOT_REGISTERED_IN_SUBNET: ErrorName = subtensor("HotKeyNotRegisteredInSubNet");
/// The hotkey has no uid on any subnet.
pub const NOT_REGISTERED_IN_NETWORK: ErrorName = subtensor("HotKeyNotRegisteredInNetwork");
/// Less stake than the threshold.
pub const NOT_ENOUGH_STAKE: ErrorName = subtensor("NotEnoughStakeToSetWeights");
/// No validator permit.
pub const NO_VALIDATOR_PERMIT: ErrorName = subtensor("NeuronNoValidatorPermit");
/// The version key is older than the subnet's.
pub const INCORRECT_VERSION_KEY: ErrorName = subtensor("IncorrectWeightVersionKey");
/// Plain weights while commit-reveal is on. Also for a subnet that does not exist.
pub const COMMIT_REVEAL_ENABLED: ErrorName = subtensor("CommitRevealEnabled");
/// A commit while commit-reveal is off.
pub const COMMIT_REVEAL_DISABLED: ErrorName = subtensor("CommitRevealDisabled");
/// Another commit-reveal version than the chain's.
pub const INCORRECT_COMMIT_REVEAL_VERSION: ErrorName = subtensor("IncorrectCommitRevealVersion");
/// Ten commits of this epoch are unrevealed.
pub const TOO_MANY_UNREVEALED_COMMITS: ErrorName = subtensor("TooManyUnrevealedCommits");
/// A reveal before its epoch.
pub const REVEAL_TOO_EARLY: ErrorName = subtensor("RevealTooEarly");
/// A reveal after its epoch.
pub const EXPIRED_WEIGHT_COMMIT: ErrorName = subtensor("ExpiredWeightCommit");
/// A reveal without a commit.
pub const NO_WEIGHTS_COMMIT_FOUND: ErrorName = subtensor("NoWeightsCommitFound");
/// A reveal of something else than was committed.
pub const REVEAL_HASH_MISMATCH: ErrorName = subtensor("InvalidRevealCommitHashNotMatch");
/// A reveal round that is published already. Since spec 425.
pub const INVALID_REVEAL_ROUND: ErrorName = subtensor("InvalidRevealRound");
/// A uid beyond the subnet's.
pub const UID_INVALID: ErrorName = subtensor("UidVecContainInvalidOne");
/// More entries than the subnet has uids.
pub const TOO_MANY_UIDS: ErrorName = subtensor("UidsLengthExceedUidsInSubNet");
/// A uid twice.
pub const DUPLICATE_UIDS: ErrorName = subtensor("DuplicateUids");
/// More uids than weights, or fewer.
pub const UNEQUAL_LENGTHS: ErrorName = subtensor("WeightVecNotEqualSize");
/// Fewer entries than the subnet demands.
pub const TOO_FEW_WEIGHTS: ErrorName = subtensor("WeightVecLengthIsLow");
/// A weight above the subnet's limit.
pub const MAX_WEIGHT_EXCEEDED: ErrorName = subtensor("MaxWeightExceeded");
/// The subnet has fewer mechanisms.
pub const NO_SUCH_MECHANISM: ErrorName = subtensor("MechanismDoesNotExist");
/// No subnet has this netuid.
pub const NO_SUCH_SUBNET: ErrorName = subtensor("SubnetNotExists");
/// A timelocked commit that is too long. Since spec 475.
pub const COMMIT_PAYLOAD_TOO_LARGE: ErrorName = subtensor("CommitPayloadTooLarge");
/// The subnet takes no more commits in this epoch. Since spec 475.
pub const COMMIT_QUEUE_FULL: ErrorName = subtensor("CommitQueueFull");
/// Weights on root.
pub const ROOT_WEIGHTS: ErrorName = subtensor("CanNotSetRootNetworkWeights");
/// Serving again within the limit.
pub const SERVING_RATE_LIMIT_EXCEEDED: ErrorName = subtensor("ServingRateLimitExceeded");
/// An address that is neither IPv4 nor IPv6.
pub const INVALID_IP_TYPE: ErrorName = subtensor("InvalidIpType");
/// An address the chain does not accept.
pub const INVALID_IP_ADDRESS: ErrorName = subtensor("InvalidIpAddress");
/// Port 0.
pub const INVALID_PORT: ErrorName = subtensor("InvalidPort");
/// Somebody announced to swap the coldkey.
pub const COLDKEY_SWAP_ANNOUNCED: ErrorName = subtensor("ColdkeySwapAnnounced");
/// A swap of the coldkey is disputed.
pub const COLDKEY_SWAP_DISPUTED: ErrorName = subtensor("ColdkeySwapDisputed");
/// A commitment by a hotkey without a uid.
pub const COMMITMENT_NOT_ALLOWED: ErrorName = commitments("AccountNotAllowedCommit");
/// The quota of this epoch is used up.
pub const COMMITMENT_SPACE_EXCEEDED: ErrorName = commitments("SpaceLimitExceeded");
/// More fields than a commitment may have.
pub const COMMITMENT_TOO_MANY_FIELDS: ErrorName = commitments("TooManyFieldsInCommitmentInfo");
/// A call that the chain does not take now: safe mode.
pub const CALL_FILTERED: ErrorName = ErrorName { pallet: "System", name: "CallFiltered" };

/// Every error above.
pub const ALL: &[&ErrorName] = &[
    &SETTING_WEIGHTS_TOO_FAST,
    &COMMITTING_WEIGHTS_TOO_FAST,
    &NOT_REGISTERED_IN_SUBNET,
    &NOT_REGISTERED_IN_NETWORK,
    &NOT_ENOUGH_STAKE,
    &NO_VALIDATOR_PERMIT,
    &INCORRECT_VERSION_KEY,
    &COMMIT_REVEAL_ENABLED,
    &COMMIT_REVEAL_DISABLED,
    &INCORRECT_COMMIT_REVEAL_VERSION,
    &TOO_MANY_UNREVEALED_COMMITS,
    &REVEAL_TOO_EARLY,
    &EXPIRED_WEIGHT_COMMIT,
    &NO_WEIGHTS_COMMIT_FOUND,
    &REVEAL_HASH_MISMATCH,
    &INVALID_REVEAL_ROUND,
    &UID_INVALID,
    &TOO_MANY_UIDS,
    &DUPLICATE_UIDS,
    &UNEQUAL_LENGTHS,
    &TOO_FEW_WEIGHTS,
    &MAX_WEIGHT_EXCEEDED,
    &NO_SUCH_MECHANISM,
    &NO_SUCH_SUBNET,
    &COMMIT_PAYLOAD_TOO_LARGE,
    &COMMIT_QUEUE_FULL,
    &ROOT_WEIGHTS,
    &SERVING_RATE_LIMIT_EXCEEDED,
    &INVALID_IP_TYPE,
    &INVALID_IP_ADDRESS,
    &INVALID_PORT,
    &COLDKEY_SWAP_ANNOUNCED,
    &COLDKEY_SWAP_DISPUTED,
    &COMMITMENT_NOT_ALLOWED,
    &COMMITMENT_SPACE_EXCEEDED,
    &COMMITMENT_TOO_MANY_FIELDS,
    &CALL_FILTERED,
];

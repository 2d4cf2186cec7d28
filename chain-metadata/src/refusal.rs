//! Why the pool refuses an extrinsic: JSON-RPC codes, texts, and the chain's own numbers.

/// The bytes are not an extrinsic of this runtime.
pub const CODE_UNDECODABLE: i32 = 1002;
/// Invalid; the reason is in the error's data.
pub const CODE_INVALID: i32 = 1010;
/// The runtime could not tell whether it is valid.
pub const CODE_UNKNOWN_VALIDITY: i32 = 1011;
/// The same extrinsic was refused or included a moment ago.
pub const CODE_BANNED: i32 = 1012;
/// The same extrinsic is in the pool.
pub const CODE_ALREADY_IMPORTED: i32 = 1013;
/// Another extrinsic with the same nonce (or the same pool tag) is in the pool.
pub const CODE_PRIORITY_TOO_LOW: i32 = 1014;
/// The pool is full.
pub const CODE_DROPPED: i32 = 1016;

/// Data of [`CODE_INVALID`] when the nonce was used. Case differs between node versions.
pub const TEXT_STALE: &str = "outdated";
/// Data of [`CODE_INVALID`] for a bad signature; also for a mortal extrinsic whose era is over,
/// because the block hash that it signed is no longer the one of its era.
pub const TEXT_BAD_SIGNATURE: &str = "bad signature";
/// Data of [`CODE_INVALID`] when the block of the era is too old to be known.
pub const TEXT_ANCIENT: &str = "ancient birth block";
/// Data of [`CODE_INVALID`] when the account cannot pay.
pub const TEXT_CANNOT_PAY: &str = "inability to pay some fees";
/// Data of [`CODE_INVALID`] when the block is full.
pub const TEXT_EXHAUSTS: &str = "exhaust";
/// Data of [`CODE_INVALID`] before one of the numbers in [`CUSTOM`].
pub const TEXT_CUSTOM: &str = "custom error: ";

/// The chain's own reasons, by number (`CustomTransactionError` of subtensor).
pub const CUSTOM: &[(u8, &str)] = &[
    (0, "ColdkeyInSwapSchedule"),
    (1, "StakeAmountTooLow"),
    (2, "BalanceTooLow"),
    (3, "SubnetNotExists"),
    (4, "HotkeyAccountDoesntExist"),
    (5, "NotEnoughStakeToWithdraw"),
    (6, "RateLimitExceeded"),
    (7, "InsufficientLiquidity"),
    (8, "SlippageTooHigh"),
    (9, "TransferDisallowed"),
    (10, "HotKeyNotRegisteredInNetwork"),
    (11, "InvalidIpAddress"),
    (12, "ServingRateLimitExceeded"),
    (13, "InvalidPort"),
    (14, "ZeroMaxAmount"),
    (15, "InvalidRevealRound"),
    (16, "CommitNotFound"),
    (17, "CommitBlockNotInRevealRange"),
    (18, "InputLengthsUnequal"),
    (19, "UidNotFound"),
    (20, "EvmKeyAssociateRateLimitExceeded"),
    (21, "ColdkeySwapDisputed"),
    (22, "InvalidRealAccount"),
    (23, "FailedShieldedTxParsing"),
    (24, "InvalidShieldedTxPubKeyHash"),
    (25, "NonAssociatedColdKey"),
    (26, "DelegateTakeTooLow"),
    (27, "DelegateTakeTooHigh"),
    (255, "BadRequest"),
];

/// Name of one of the chain's own reasons.
#[must_use]
pub fn custom_name(code: u8) -> Option<&'static str> {
    CUSTOM.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

//! From settled results to shares of the reward.
//!
//! ```text
//! points of each seed ──attribution──> q of the architecture, q of the recipe, with spreads
//! operator graph ─────fingerprint────> which family, or a new one, or held
//!                                           │ in the order of priority, whenever they settled
//!                                           v
//!                     standings: per family its owner, best architecture, best recipe
//!                                           │ at a block
//!                                           v
//!                     shares per hotkey, and what is burned; together exactly one
//! ```
//!
//! All of it is integers over ordered maps: two validators with the same settled results get the
//! same shares. Neither uids nor device counts nor clocks are inputs of anything here.
//!
//! Not here: points of one run (`points`), who is evaluated how far (`funnel`), and the weights
//! that the chain stores (`vector`).

mod attribution;
mod decay;
mod fingerprint;
mod graph;
mod pools;
mod standings;
mod takeover;

pub use attribution::{
    architecture_quality, recipe_quality, Attribution, NotAttributed, Quality, NANO, QUALITY_MAX,
};
pub use decay::pay_ppb;
pub use fingerprint::{family_of, Fingerprint, FingerprintError, Kinship, ROUNDS, SKETCH_MAX};
pub use graph::{GraphError, Operator, OperatorGraph, EDGES_MAX, NAME_CHARS_MAX, OPERATORS_MAX};
pub use pools::{shares, NobodyBurns, Shares, SHARES_TOTAL};
pub use standings::{Champion, Family, FamilyId, Held, Reference, Settled, Standings, Table};
pub use takeover::takes_over;

#[cfg(test)]
pub(crate) use fingerprint::tests as fingerprint_tests;

#[cfg(test)]
mod properties;

//! Which rules the product has today: what is not built yet is not demanded.

/// Rules of `docs/decisions/0010-replicas-and-takeover.md` that a history may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Somebody else coordinates what a dead coordinator left.
    pub has_takeover: bool,
    /// Several validators evaluate each submission, seal their results, and agree.
    pub has_replicas: bool,
    /// A holder stops a run that has not started before the coordinator gives the lease away for
    /// that reason.
    pub stops_unstarted_runs: bool,
    /// A node that lost its rows gives no attempt twice, and settles everything anew.
    pub survives_lost_rows: bool,
    /// A worker runs a grant or gives it back, and does not leave it to expire.
    pub gives_grants_back: bool,
}

/// The one switch. What is false here is not checked, and is said so by `sim run`.
pub const RULES: Rules = Rules {
    has_takeover: true,
    has_replicas: true,
    stops_unstarted_runs: true,
    survives_lost_rows: false,
    gives_grants_back: false,
};

//! Events the node looks for. Matched by name, because their numbers drift.

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The pallet's name.
    pub pallet: &'static str,
    /// The event's name.
    pub name: &'static str,
}

/// An extrinsic was applied.
pub const EXTRINSIC_SUCCESS: Event = Event { pallet: "System", name: "ExtrinsicSuccess" };
/// An extrinsic was included, and its call failed.
pub const EXTRINSIC_FAILED: Event = Event { pallet: "System", name: "ExtrinsicFailed" };

/// Every event above.
pub const ALL: &[&Event] = &[&EXTRINSIC_SUCCESS, &EXTRINSIC_FAILED];

//! What peers sent and nobody believes, counted by cause.

use std::sync::atomic::{AtomicU64, Ordering};

use super::answer::Unbelieved;

/// How much of what peers sent was dropped, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Not signed by the worker that it names.
    pub bad_signature: u64,
    /// Beyond its limits, or not readable.
    pub malformed: u64,
}

#[derive(Debug, Default)]
pub(super) struct RefusedCounter {
    bad_signature: AtomicU64,
    malformed: AtomicU64,
}

impl RefusedCounter {
    pub(super) fn count(&self, reason: &Unbelieved) {
        let counter = match reason {
            Unbelieved::BadSignature => &self.bad_signature,
            Unbelieved::Malformed(_) => &self.malformed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Refused {
        Refused {
            bad_signature: self.bad_signature.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
        }
    }
}

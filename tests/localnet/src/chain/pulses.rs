//! Bringing the pulses of the local beacon: with every block those that are due by its time.
//!
//! Chain time drives the beacon, so a chain that runs faster than the clock has its rounds in step.
//! What goes wrong on the real chain can be had: pulses that come late, that stop, and rounds that
//! never come.

use super::{run, state::Overlay, Chain, SealError, SealedBlock};
use crate::genesis::GenesisSpec;
use codec::Encode;
use node_subtensor_runtime::{
    drand::{pulse_extrinsic, rounds_due, LastStoredRound, LocalBeacon},
    Runtime,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

/// Publication of the local beacon's first round, Unix time in seconds.
pub const BEACON_GENESIS_S: u32 = 0;

/// What is wrong with the pulses.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PulseFaults {
    /// A round is stored so many rounds after it was published.
    pub lag: u32,
    /// Rounds that never come.
    pub skip: BTreeSet<u64>,
    /// No pulses at all, until this ends. Then those of the last fifty rounds come at once.
    pub stalled: bool,
}

/// The beacon and what is wrong with it.
#[derive(Debug)]
pub(super) struct Pulses {
    beacon: Option<LocalBeacon>,
    faults: Mutex<PulseFaults>,
}

impl Pulses {
    pub(super) fn new(spec: &GenesisSpec, lag: u32) -> Self {
        let faults = PulseFaults { lag, ..PulseFaults::default() };
        Self { beacon: spec.beacon(), faults: Mutex::new(faults) }
    }
}

impl Chain {
    /// What is wrong with the pulses.
    pub fn pulse_faults(&self) -> PulseFaults {
        self.pulses.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From the next block on something else is wrong with the pulses.
    pub fn set_pulse_faults(&self, faults: PulseFaults) {
        *self.pulses.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    /// The extrinsics that bring the pulses which a block of this time has to store.
    pub(super) fn pulses_due(
        &self,
        parent: &SealedBlock,
        now_ms: u64,
    ) -> Result<Vec<Arc<[u8]>>, SealError> {
        let number = parent.number() + 1;
        let faults = self.pulse_faults();
        let Some(beacon) = self.pulses.beacon.as_ref().filter(|_| !faults.stalled) else {
            return Ok(Vec::new());
        };
        let state = self.state_of(parent);
        let last = run(&state, &mut Overlay::default(), LastStoredRound::<Runtime>::get)
            .map_err(|source| SealError::Panicked { number, source })?;
        let lag_ms = u64::from(faults.lag) * u64::from(beacon.period_s()) * 1_000;
        let due = rounds_due(beacon, last, now_ms, lag_ms);
        let bring = |round| {
            pulse_extrinsic(beacon, round, parent.number())
                .map(|extrinsic| extrinsic.encode().into())
                .map_err(|error| SealError::Pulse { number, reason: error.to_string() })
        };
        due.filter(|round| !faults.skip.contains(round)).map(bring).collect()
    }
}

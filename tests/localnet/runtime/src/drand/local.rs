//! Pulses of a local beacon, ready for a block.

use super::{
    BeaconConfiguration, BoundedHash, Bringer, BringerSignature, Call, Metadata, Pulse,
    PulsesPayload, RoundNumber, PULSES_PER_BLOCK_MAX, SCHEME,
};
use crate::{BlockNumber, RuntimeCall, UncheckedExtrinsic};
use codec::Encode;
use frame_support::BoundedVec;
use local_beacon::{randomness, BeaconError, LocalBeacon};
use serde::{Deserialize, Serialize};
use sp_core::{ed25519, Pair};
use std::ops::RangeInclusive;

/// Signs the pulses that are brought. ed25519, so that the same pulse gives the same extrinsic.
const BRINGER_SEED: [u8; 32] = *b"brings a local beacon its pulses";

/// A beacon as a genesis names it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BeaconGenesis {
    /// A compressed point of G2, 96 bytes.
    pub public_key: Vec<u8>,
    /// Publication of round 1, Unix time in seconds.
    pub genesis_s: u32,
    /// Seconds between rounds.
    pub period_s: u32,
}

impl From<&LocalBeacon> for BeaconGenesis {
    fn from(beacon: &LocalBeacon) -> Self {
        Self {
            public_key: beacon.public_key().to_vec(),
            genesis_s: beacon.genesis_s(),
            period_s: beacon.period_s(),
        }
    }
}

impl BeaconGenesis {
    pub(super) fn configuration(&self) -> BeaconConfiguration {
        BeaconConfiguration {
            public_key: BoundedVec::truncate_from(self.public_key.clone()),
            period: self.period_s,
            genesis_time: self.genesis_s,
            hash: BoundedHash::truncate_from(vec![0; 32]),
            group_hash: BoundedHash::truncate_from(vec![0; 32]),
            scheme_id: BoundedHash::truncate_from(SCHEME.to_vec()),
            metadata: Metadata { beacon_id: BoundedVec::truncate_from(b"local".to_vec()) },
        }
    }
}

/// The configuration that makes the chain believe a local beacon.
pub fn beacon_configuration(beacon: &LocalBeacon) -> BeaconConfiguration {
    BeaconGenesis::from(beacon).configuration()
}

/// A round's pulse.
///
/// # Errors
///
/// [`BeaconError::Message`], which does not happen.
pub fn pulse(beacon: &LocalBeacon, round: RoundNumber) -> Result<Pulse, BeaconError> {
    let signature = beacon.sign(round)?;
    Ok(Pulse {
        round,
        randomness: BoundedVec::truncate_from(randomness(&signature).to_vec()),
        signature: BoundedVec::truncate_from(signature.to_vec()),
    })
}

/// The extrinsic that stores a round's pulse. It goes into a block after the time is set, in the
/// order of rounds, or through the pool; the same arguments give the same bytes.
///
/// - `block`: the newest block its bringer knows; no later than the block it goes into.
///
/// # Errors
///
/// [`BeaconError::Message`], which does not happen.
pub fn pulse_extrinsic(
    beacon: &LocalBeacon,
    round: RoundNumber,
    block: BlockNumber,
) -> Result<UncheckedExtrinsic, BeaconError> {
    Ok(bring(pulse(beacon, round)?, block))
}

/// The extrinsic that brings any pulse, a false one too.
pub fn bring(pulse: Pulse, block: BlockNumber) -> UncheckedExtrinsic {
    let pair = ed25519::Pair::from_seed(&BRINGER_SEED);
    let pulses_payload = PulsesPayload {
        block_number: block,
        pulses: vec![pulse],
        public: Bringer::Ed25519(pair.public().0),
    };
    let signature = BringerSignature::Ed25519(pair.sign(&pulses_payload.encode()).0);
    let call = Call::write_pulse { pulses_payload, signature: Some(signature) };
    UncheckedExtrinsic::new_bare(RuntimeCall::Drand(call))
}

/// The rounds that a block of this time has to store: what was published since `last_stored` and is
/// at least `lag_ms` old, at most the newest [`PULSES_PER_BLOCK_MAX`] of it.
///
/// A chain that has stored none begins with the newest. Rounds older than the limit are skipped for
/// good, because rounds must increase; that happens when time jumps.
pub fn rounds_due(
    beacon: &LocalBeacon,
    last_stored: RoundNumber,
    now_ms: u64,
    lag_ms: u64,
) -> RangeInclusive<RoundNumber> {
    let newest = now_ms.checked_sub(lag_ms).map_or(0, |seen_ms| beacon.newest_round(seen_ms));
    let oldest = newest.saturating_sub(PULSES_PER_BLOCK_MAX - 1).max(1);
    let first = if last_stored == 0 { newest.max(1) } else { oldest.max(last_stored + 1) };
    first..=newest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_stores_what_was_published_since_the_last_and_at_least_the_newest() {
        let beacon = LocalBeacon::new(0, 3);
        let due = |last, now_ms, lag_ms| rounds_due(&beacon, last, now_ms, lag_ms);
        assert_eq!(due(0, 30_000, 0), 11..=11, "the first block begins with the newest");
        assert_eq!(due(11, 39_000, 0), 12..=14);
        assert_eq!(due(11, 39_000, 6_000), 12..=12, "two rounds late");
        assert!(due(14, 39_000, 0).is_empty());
        assert!(due(0, 2_000, 3_000).is_empty(), "nothing is old enough");
        assert_eq!(due(14, 3_000_000, 0), 952..=1001, "a jump skips all but the newest fifty");
    }
}

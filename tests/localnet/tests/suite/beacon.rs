//! A chain that believes a local beacon, whose pulses come when a test says so.

use crate::world::World;
use codec::Encode;
use localnet::{admin::change_storage, chain::SubmitError, keys::DevKey, GenesisSpec};
use node_subtensor_runtime::{
    drand::{self, beacon, LocalBeacon},
    subtensor::{self, SealedWeights, WeightsTlockPayload},
    Hash, Runtime, RuntimeCall, RuntimeEvent, System,
};
use sp_runtime::transaction_validity::{InvalidTransaction, TransactionValidityError};

/// The chain, and who signs its rounds.
pub(crate) struct BeaconWorld {
    pub(crate) world: World,
    pub(crate) beacon: LocalBeacon,
}

/// Commit-reveal on, an epoch every ten blocks, nobody too fast.
pub(crate) fn concealing() -> GenesisSpec {
    GenesisSpec {
        commit_reveal: true,
        tempo: 10,
        weights_set_rate_limit: 0,
        ..GenesisSpec::default()
    }
}

/// What the pool says as "Custom error: n".
pub(crate) fn custom(number: u8) -> SubmitError {
    let reason = InvalidTransaction::Custom(number);
    SubmitError::Invalid(TransactionValidityError::Invalid(reason))
}

impl BeaconWorld {
    /// Block 1 is sealed; it made the chain believe the beacon.
    pub(crate) fn new(spec: GenesisSpec) -> Self {
        let found = Self { world: World::new(spec), beacon: LocalBeacon::new(0, 3) };
        let config = drand::beacon_configuration(&found.beacon);
        found.alter(|| drand::BeaconConfig::<Runtime>::put(config));
        found
    }

    /// Runs code on the state and seals the block that makes its changes.
    pub(crate) fn alter(&self, code: impl FnOnce()) {
        let changes = self.world.chain.changes_of(code).unwrap();
        let alice = self.world.keys.derive(&["Alice"]);
        change_storage(&self.world.chain, &alice, changes).unwrap();
        let block = self.world.seal();
        self.world.chain.verify(block.hash).unwrap();
    }

    /// Brings a round's pulse to the pool; the next block stores it.
    pub(crate) fn bring_pulse(&self, round: u64) -> Result<Hash, SubmitError> {
        let block = self.world.chain.best().number();
        let extrinsic = drand::pulse_extrinsic(&self.beacon, round, block).unwrap();
        self.world.chain.submit(extrinsic.encode())
    }

    /// Seals anything for a round.
    pub(crate) fn seal_bytes(&self, round: u64, bytes: &[u8]) -> Vec<u8> {
        beacon::seal(&self.beacon.public_key(), round, bytes, [5; 32]).unwrap()
    }

    /// Seals weights of a hotkey for a round.
    pub(crate) fn seal_weights(
        &self,
        round: u64,
        hotkey: &DevKey,
        row: &[(u16, u16)],
    ) -> SealedWeights {
        let payload = WeightsTlockPayload {
            hotkey: hotkey.account().encode(),
            uids: row.iter().map(|(uid, _)| *uid).collect(),
            values: row.iter().map(|(_, value)| *value).collect(),
            version_key: 0,
        };
        self.seal_bytes(round, &payload.encode()).try_into().unwrap()
    }

    /// The pallet's events of the best block with whether they belong to its initialisation.
    pub(crate) fn phased_events(&self) -> Vec<(subtensor::Event<Runtime>, bool)> {
        use node_subtensor_runtime::frame_system::Phase;
        let record = |record: Box<node_subtensor_runtime::frame_system::EventRecord<_, _>>| {
            let is_initial = record.phase == Phase::Initialization;
            match record.event {
                RuntimeEvent::SubtensorModule(event) => Some((event, is_initial)),
                _ => None,
            }
        };
        self.world.read(|| System::read_events_no_consensus().filter_map(record).collect())
    }
}

/// The call that commits sealed weights for a mechanism.
pub(crate) fn commit_sealed(mecid: u8, commit: SealedWeights, reveal_round: u64) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::commit_timelocked_mechanism_weights {
        netuid: 1,
        mecid,
        commit,
        reveal_round,
        commit_reveal_version: 4,
    })
}

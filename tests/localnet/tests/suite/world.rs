//! A chain in memory with short ways to act on it.

use localnet::{
    chain::{SealedBlock, SubmitError, Watcher},
    keys::{DevKey, Keyring, Role},
    sign::{sign, Terms},
    Chain, ChainOptions, GenesisSpec,
};
use node_subtensor_runtime::{
    commitments::{self, CommitmentInfo, Data},
    subtensor, AccountId, Hash, Runtime, RuntimeCall, RuntimeEvent, System,
};
use sp_runtime::DispatchError;
use std::sync::Arc;

pub(crate) struct World {
    pub(crate) chain: Arc<Chain>,
    pub(crate) keys: Keyring,
}

impl World {
    pub(crate) fn new(spec: GenesisSpec) -> Self {
        Self::with_options(spec, ChainOptions::default())
    }

    pub(crate) fn with_options(spec: GenesisSpec, options: ChainOptions) -> Self {
        let chain = Chain::in_memory(&spec, options).unwrap();
        Self { chain: Arc::new(chain), keys: Keyring::new() }
    }

    pub(crate) fn validator(&self, index: u16) -> DevKey {
        self.keys.hotkey(Role::Validator, index)
    }

    pub(crate) fn miner(&self, index: u16) -> DevKey {
        self.keys.hotkey(Role::Miner, index)
    }

    /// Signs with the account's next nonce, as seen by the pool.
    pub(crate) fn signed(&self, key: &DevKey, call: RuntimeCall) -> Vec<u8> {
        let nonce = self.chain.next_index(&key.account()).unwrap();
        self.signed_at(key, nonce, call)
    }

    pub(crate) fn signed_at(&self, key: &DevKey, nonce: u32, call: RuntimeCall) -> Vec<u8> {
        sign(call, &key.pair, self.chain.genesis_hash(), Terms::immortal(nonce))
    }

    pub(crate) fn send(&self, key: &DevKey, call: RuntimeCall) -> Result<Hash, SubmitError> {
        self.chain.submit(self.signed(key, call))
    }

    pub(crate) fn watch(&self, key: &DevKey, call: RuntimeCall) -> Watcher {
        self.chain.submit_and_watch(self.signed(key, call)).unwrap().1
    }

    pub(crate) fn seal(&self) -> Arc<SealedBlock> {
        self.chain.seal_next_slot(0).unwrap()
    }

    pub(crate) fn seal_until(&self, number: u32) {
        while self.chain.best().number() < number {
            self.seal();
        }
    }

    /// Runs runtime code on the best state.
    pub(crate) fn read<R>(&self, code: impl FnOnce() -> R) -> R {
        self.chain.read(code).unwrap()
    }

    /// The events of the best block.
    pub(crate) fn events(&self) -> Vec<RuntimeEvent> {
        self.read(|| System::read_events_no_consensus().map(|record| record.event).collect())
    }

    /// The pallet's own events of the best block.
    pub(crate) fn subtensor_events(&self) -> Vec<subtensor::Event<Runtime>> {
        let of_pallet = |event| match event {
            RuntimeEvent::SubtensorModule(event) => Some(event),
            _ => None,
        };
        self.events().into_iter().filter_map(of_pallet).collect()
    }

    /// The errors of the best block's failed extrinsics.
    pub(crate) fn failures(&self) -> Vec<DispatchError> {
        use node_subtensor_runtime::frame_system::Event;
        let failure = |event| match event {
            RuntimeEvent::System(Event::ExtrinsicFailed { dispatch_error, .. }) => {
                Some(dispatch_error)
            }
            _ => None,
        };
        self.events().into_iter().filter_map(failure).collect()
    }
}

pub(crate) fn set_weights(dests: &[u16], weights: &[u16]) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::set_weights {
        netuid: 1,
        dests: dests.to_vec(),
        weights: weights.to_vec(),
        version_key: 0,
    })
}

pub(crate) fn serve_axon(ip: u128, port: u16, ip_type: u8) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::serve_axon {
        netuid: 1,
        version: 1,
        ip,
        port,
        ip_type,
        protocol: 4,
        placeholder1: 0,
        placeholder2: 0,
    })
}

pub(crate) fn commit(fields: Vec<Data>) -> RuntimeCall {
    let info = CommitmentInfo { fields: fields.try_into().unwrap() };
    RuntimeCall::Commitments(commitments::Call::set_commitment { netuid: 1, info: Box::new(info) })
}

pub(crate) fn raw(bytes: &[u8]) -> Data {
    Data::Raw(bytes.to_vec().try_into().unwrap())
}

pub(crate) fn register(hotkey: AccountId) -> RuntimeCall {
    RuntimeCall::SubtensorModule(subtensor::Call::burned_register { netuid: 1, hotkey })
}

//! What the chain starts with, as a person describes it and as storage.

use crate::{
    chain::BEACON_GENESIS_S,
    flavour::{dress_key, Dress, Flavour},
    keys::{Keyring, Role},
};
use codec::Encode;
use node_subtensor_runtime::{
    drand::{self, LocalBeacon},
    pallet_balances, pallet_sudo,
    subtensor::{self, NetUid, NeuronGenesis, SubnetGenesis},
    upgrade::{upgrade_key, Upgrade},
    AccountId, AllowLoopbackAxons, RuntimeGenesisConfig, SlotDuration, TAO, VERSION,
};
use serde::{Deserialize, Serialize};
use sp_core::storage::{well_known_keys, Storage};
use sp_runtime::BuildStorage;
use thiserror::Error;

/// Balance of `//Alice`, who pays for registrations and holds the sudo key, in rao.
pub const ALICE_BALANCE: u64 = 1_000_000 * TAO;
/// Balance of every coldkey, in rao. Hotkeys have none, as in life.
pub const COLDKEY_BALANCE: u64 = 1_000 * TAO;

/// The chain at block 0. Two chains with the same description have the same genesis hash.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GenesisSpec {
    /// The subnets; each has the same neurons.
    pub netuids: Vec<NetUid>,
    /// Blocks per epoch; 0 for none.
    pub tempo: u16,
    /// Stake of each validator in rao; they take the uids from 0.
    pub validator_stakes: Vec<u64>,
    /// Miners; they take the uids after the validators.
    pub miners: u16,
    /// Whether the subnet's owner has a neuron; it takes the last uid.
    pub owner_neuron: bool,
    /// Blocks between two submissions of one uid.
    pub weights_set_rate_limit: u64,
    /// Least version key accepted; 0 accepts any.
    pub weights_version_key: u64,
    /// Least number of entries in a row.
    pub min_allowed_weights: u16,
    /// Blocks between two `serve_axon` of one hotkey.
    pub serving_rate_limit: u64,
    /// Seats.
    pub max_allowed_uids: u16,
    /// Permits handed out per epoch.
    pub max_allowed_validators: u16,
    /// Blocks in which a new neuron is not pruned.
    pub immunity_period: u16,
    /// Mechanisms per subnet.
    pub mechanisms: u8,
    /// Whether plain weights are refused and have to be committed first.
    pub commit_reveal: bool,
    /// Epochs for which committed weights stay concealed.
    pub reveal_period_epochs: u64,
    /// Seconds between the rounds of the local beacon, whose pulses come with the blocks. 0 for no
    /// such beacon: then the chain believes quicknet, and nobody brings pulses.
    pub drand_period_s: u32,
    /// Least stake weight that may set weights, in rao.
    pub stake_threshold: u64,
    /// Epochs run per block at most.
    pub max_epochs_per_block: u8,
    /// Whether `serve_axon` takes loopback addresses.
    pub allow_loopback_axons: bool,
    /// Alpha per block of each subnet for its owner and neurons, in rao.
    pub emission_per_block: u64,
    /// The block time clients read, in milliseconds.
    pub slot_ms: u64,
    /// The version the runtime reports and takes signatures for.
    pub spec_version: u32,
    /// How the metadata describes numbers.
    pub flavour: Flavour,
}

impl Default for GenesisSpec {
    fn default() -> Self {
        Self {
            netuids: vec![1],
            tempo: 20,
            validator_stakes: vec![1_000 * TAO],
            miners: 4,
            owner_neuron: false,
            weights_set_rate_limit: 5,
            weights_version_key: 0,
            min_allowed_weights: 1,
            serving_rate_limit: 5,
            max_allowed_uids: 256,
            max_allowed_validators: 64,
            immunity_period: 4096,
            mechanisms: 1,
            commit_reveal: false,
            reveal_period_epochs: 1,
            drand_period_s: 0,
            stake_threshold: 0,
            max_epochs_per_block: 2,
            allow_loopback_axons: false,
            emission_per_block: TAO,
            slot_ms: 1_000,
            spec_version: VERSION.spec_version,
            flavour: Flavour::Primitive,
        }
    }
}

/// Why a description cannot become a chain.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum GenesisError {
    /// No subnet, or the root subnet.
    #[error("`{0}` cannot be the number of a subnet with neurons; use 1 to 4095")]
    Netuid(NetUid),
    /// A subnet twice.
    #[error("subnet {0} is named twice")]
    NetuidTwice(NetUid),
    /// More neurons than seats.
    #[error("{neurons} neurons do not fit into {seats} uids")]
    TooManyNeurons {
        /// Neurons asked for.
        neurons: usize,
        /// `max_allowed_uids`.
        seats: u16,
    },
    /// FRAME refused.
    #[error("the runtime cannot build its genesis: {0}")]
    Runtime(String),
}

impl GenesisSpec {
    /// Every neuron in the order of the uids: its role and its number within the role.
    pub fn neurons(&self) -> Vec<(Role, u16)> {
        let validators = (0_u16..).zip(&self.validator_stakes).map(|(i, _)| (Role::Validator, i));
        let miners = (0..self.miners).map(|i| (Role::Miner, i));
        let owner = self.owner_neuron.then_some((Role::Owner, 0));
        validators.chain(miners).chain(owner).collect()
    }

    /// The local beacon, if there is one.
    pub fn beacon(&self) -> Option<LocalBeacon> {
        (self.drand_period_s > 0).then(|| LocalBeacon::new(BEACON_GENESIS_S, self.drand_period_s))
    }

    /// The storage of block 0.
    ///
    /// # Errors
    ///
    /// [`GenesisError`] if the description contradicts itself.
    pub fn build_storage(&self, keyring: &Keyring) -> Result<Storage, GenesisError> {
        self.check()?;
        let mut storage =
            self.runtime_config(keyring).build_storage().map_err(GenesisError::Runtime)?;
        // Clients want to see some code; its content is never looked at.
        storage.top.insert(well_known_keys::CODE.to_vec(), b"native".to_vec());
        storage.top.insert(SlotDuration::key().to_vec(), self.slot_ms.encode());
        if self.spec_version != VERSION.spec_version {
            let upgrade = Upgrade { spec_version: self.spec_version, ..Upgrade::default() };
            storage.top.insert(upgrade_key(), upgrade.encode());
        }
        if self.flavour != Flavour::default() {
            let dress = Dress { flavour: self.flavour, ..Dress::default() };
            storage.top.insert(dress_key(), dress.encode());
        }
        storage.top.insert(AllowLoopbackAxons::key().to_vec(), self.allow_loopback_axons.encode());
        Ok(storage)
    }

    fn check(&self) -> Result<(), GenesisError> {
        if self.netuids.is_empty() {
            return Err(GenesisError::Netuid(subtensor::ROOT_NETUID));
        }
        for (at, netuid) in self.netuids.iter().enumerate() {
            if *netuid == subtensor::ROOT_NETUID || *netuid >= subtensor::GLOBAL_MAX_SUBNETS {
                return Err(GenesisError::Netuid(*netuid));
            }
            if self.netuids.iter().take(at).any(|other| other == netuid) {
                return Err(GenesisError::NetuidTwice(*netuid));
            }
        }
        let neurons = self.neurons().len();
        if neurons > usize::from(self.max_allowed_uids) {
            return Err(GenesisError::TooManyNeurons { neurons, seats: self.max_allowed_uids });
        }
        Ok(())
    }

    fn runtime_config(&self, keyring: &Keyring) -> RuntimeGenesisConfig {
        let alice = keyring.derive(&["Alice"]).account();
        let mut balances = vec![(alice.clone(), ALICE_BALANCE)];
        balances.push((keyring.coldkey(Role::Owner, 0).account(), COLDKEY_BALANCE));
        for (role, index) in self.neurons().into_iter().filter(|(role, _)| *role != Role::Owner) {
            balances.push((keyring.coldkey(role, index).account(), COLDKEY_BALANCE));
        }
        let neurons = self.neuron_configs(keyring);
        let subnet = |netuid: &NetUid| self.subnet_config(*netuid, keyring, neurons.clone());
        RuntimeGenesisConfig {
            balances: pallet_balances::GenesisConfig { balances, ..Default::default() },
            sudo: pallet_sudo::GenesisConfig { key: Some(alice) },
            drand: drand::GenesisConfig {
                beacon: self.beacon().as_ref().map(Into::into),
                ..Default::default()
            },
            subtensor_module: subtensor::GenesisConfig {
                subnets: self.netuids.iter().map(subnet).collect(),
                stake_threshold: self.stake_threshold,
                max_epochs_per_block: self.max_epochs_per_block,
            },
            ..Default::default()
        }
    }

    fn neuron_configs(&self, keyring: &Keyring) -> Vec<NeuronGenesis<AccountId>> {
        let config = |(role, index): (Role, u16)| NeuronGenesis {
            hotkey: keyring.hotkey(role, index).account(),
            coldkey: keyring.coldkey(role, index).account(),
            stake: match role {
                Role::Validator => self.stake_of(index),
                Role::Miner | Role::Owner => 0,
            },
            validator_permit: role == Role::Validator,
        };
        self.neurons().into_iter().map(config).collect()
    }

    fn stake_of(&self, validator: u16) -> u64 {
        self.validator_stakes.get(usize::from(validator)).copied().unwrap_or(0)
    }

    fn subnet_config(
        &self,
        netuid: NetUid,
        keyring: &Keyring,
        neurons: Vec<NeuronGenesis<AccountId>>,
    ) -> SubnetGenesis<AccountId> {
        SubnetGenesis {
            netuid,
            tempo: self.tempo,
            owner: keyring.coldkey(Role::Owner, 0).account(),
            owner_hotkey: keyring.hotkey(Role::Owner, 0).account(),
            weights_set_rate_limit: self.weights_set_rate_limit,
            weights_version_key: self.weights_version_key,
            min_allowed_weights: self.min_allowed_weights,
            max_allowed_uids: self.max_allowed_uids,
            max_allowed_validators: self.max_allowed_validators,
            immunity_period: self.immunity_period,
            serving_rate_limit: self.serving_rate_limit,
            mechanisms: self.mechanisms,
            commit_reveal: self.commit_reveal,
            emission_per_block: self.emission_per_block,
            reveal_period_epochs: self.reveal_period_epochs,
            neurons,
        }
    }
}

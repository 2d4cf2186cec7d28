//! Changing the chain from outside its rules, for tests: whatever the real chain's owner, root or
//! chance may do to a validator.
//!
//! `//Alice` holds the sudo key. A change is an ordinary transaction and takes effect with the
//! next block, so that a chain changed in this way can still be executed again.

pub mod neurons;

use crate::{
    chain::{Chain, StorageChange, SubmitError},
    flavour::{dress_key, Dress, Flavour},
    keys::DevKey,
    sign::{sign_for, Terms},
};
use codec::Encode;
use node_subtensor_runtime::{
    frame_system, pallet_sudo,
    subtensor::{self, NetUid},
    upgrade::{upgrade_key, Upgrade},
    AccountId, Hash, RuntimeCall,
};
use serde::Deserialize;
use std::sync::PoisonError;
use thiserror::Error;

/// Why a change was not taken.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The chain was not to be asked for the nonce.
    #[error("cannot ask for the sudo key's nonce")]
    Nonce {
        /// Why not.
        #[source]
        source: crate::chain::QueryError,
    },
    /// The chain was not to be asked for its version.
    #[error("cannot ask for the version to sign for")]
    Version {
        /// Why not.
        #[source]
        source: crate::chain::QueryError,
    },
    /// The code that was to make the change did not run.
    #[error("cannot work the change out")]
    Code {
        /// Why not.
        #[source]
        source: crate::chain::QueryError,
    },
    /// The pool refuses.
    #[error("the pool does not take the change")]
    Submit {
        /// Why not.
        #[source]
        source: SubmitError,
    },
}

/// Sends a change of storage, signed by `alice`; `None` removes a key.
///
/// Values are not checked: what does not decode reads as the item's default.
///
/// # Errors
///
/// [`ChangeError`]; values may have been sent and removals not.
pub fn change_storage(
    chain: &Chain,
    alice: &DevKey,
    changes: Vec<StorageChange>,
) -> Result<Vec<Hash>, ChangeError> {
    let (mut items, mut removed) = (Vec::new(), Vec::new());
    for (key, value) in changes {
        match value {
            Some(value) => items.push((key, value)),
            None => removed.push(key),
        }
    }
    let mut sent = Vec::new();
    if !items.is_empty() {
        sent.push(sudo(chain, alice, frame_system::Call::set_storage { items }.into())?);
    }
    if !removed.is_empty() {
        sent.push(sudo(chain, alice, frame_system::Call::kill_storage { keys: removed }.into())?);
    }
    Ok(sent)
}

/// Sends what code of the runtime changes when run on the newest state, as one change.
///
/// # Errors
///
/// As [`change_storage`].
pub fn alter(chain: &Chain, alice: &DevKey, code: impl FnOnce()) -> Result<Vec<Hash>, ChangeError> {
    let changes = chain.changes_of(code).map_err(|source| ChangeError::Code { source })?;
    change_storage(chain, alice, changes)
}

/// A runtime upgrade. What is `None` stays.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpgradeTo {
    /// The version it reports and takes signatures for.
    pub spec_version: Option<u32>,
    /// How its metadata describes numbers.
    pub flavour: Option<Flavour>,
    /// How far the numbers of `SubtensorModule`'s errors are moved.
    pub error_shift: Option<u8>,
    /// Storage items and runtime calls it lacks, as `Pallet.Item` and `Api.method`.
    pub without: Option<Vec<String>>,
}

/// Upgrades the runtime with the next block: that block's state is the first with the new version
/// and metadata, and transactions signed for the old version are invalid after it.
///
/// # Errors
///
/// As [`change_storage`].
pub fn upgrade(chain: &Chain, alice: &DevKey, to: UpgradeTo) -> Result<Vec<Hash>, ChangeError> {
    let read = |source| ChangeError::Code { source };
    let (mut version, mut dress) = chain.read(|| (Upgrade::get(), Dress::get())).map_err(read)?;
    version.spec_version = to.spec_version.unwrap_or(version.spec_version);
    version.error_shift = to.error_shift.unwrap_or(version.error_shift);
    dress.flavour = to.flavour.unwrap_or(dress.flavour);
    dress.without = to.without.unwrap_or(dress.without);
    let changes =
        vec![(upgrade_key(), Some(version.encode())), (dress_key(), Some(dress.encode()))];
    change_storage(chain, alice, changes)
}

/// Registers a hotkey in a subnet; `alice` pays and owns it. Into a full subnet it takes the uid
/// of the neuron that is pruned.
///
/// # Errors
///
/// [`ChangeError`].
pub fn register(
    chain: &Chain,
    alice: &DevKey,
    netuid: NetUid,
    hotkey: AccountId,
) -> Result<Hash, ChangeError> {
    send(chain, alice, subtensor::Call::burned_register { netuid, hotkey }.into())
}

/// Sends any call as root.
///
/// # Errors
///
/// [`ChangeError`].
pub fn sudo(chain: &Chain, alice: &DevKey, call: RuntimeCall) -> Result<Hash, ChangeError> {
    send(chain, alice, pallet_sudo::Call::sudo { call: Box::new(call) }.into())
}

/// Sends a call as `alice`, signed for the version in force.
fn send(chain: &Chain, alice: &DevKey, call: RuntimeCall) -> Result<Hash, ChangeError> {
    let _alone = chain.alice.lock().unwrap_or_else(PoisonError::into_inner);
    let nonce =
        chain.next_index(&alice.account()).map_err(|source| ChangeError::Nonce { source })?;
    let spec_version =
        chain.version(None).map_err(|source| ChangeError::Version { source })?.spec_version;
    let terms = Terms::immortal(nonce);
    let bytes = sign_for(spec_version, call, &alice.pair, chain.genesis_hash(), terms);
    chain.submit(bytes).map_err(|source| ChangeError::Submit { source })
}

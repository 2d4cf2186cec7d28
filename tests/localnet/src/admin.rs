//! Changing the chain from outside its rules, for tests: whatever the real chain's owner, root or
//! chance may do to a validator.
//!
//! `//Alice` holds the sudo key. A change is an ordinary transaction and takes effect with the
//! next block, so that a chain changed in this way can still be executed again.

use crate::{
    chain::{Chain, StorageChange, SubmitError},
    keys::DevKey,
    sign::{sign, Terms},
};
use node_subtensor_runtime::{frame_system, pallet_sudo, Hash, RuntimeCall};
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

/// Sends any call as root.
///
/// # Errors
///
/// [`ChangeError`].
pub fn sudo(chain: &Chain, alice: &DevKey, call: RuntimeCall) -> Result<Hash, ChangeError> {
    let _alone = chain.alice.lock().unwrap_or_else(PoisonError::into_inner);
    let nonce =
        chain.next_index(&alice.account()).map_err(|source| ChangeError::Nonce { source })?;
    let call = pallet_sudo::Call::sudo { call: Box::new(call) };
    let terms = Terms::immortal(nonce);
    let bytes = sign(call.into(), &alice.pair, chain.genesis_hash(), terms);
    chain.submit(bytes).map_err(|source| ChangeError::Submit { source })
}

//! Nonces: the next one, and the right to use it.
//!
//! A pool counts what was sent to it, not what was signed. Two extrinsics of one account that ask
//! between the other's signing and sending get the same nonce, and one of them is lost until its
//! era is over. So whoever signs holds a [`NonceGuard`] from the question to the sending.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use node_core::id::Hotkey;
use subxt::config::substrate::AccountId32;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::client::ChainClient;
use crate::link::CallError;

/// The turns of each hotkey's extrinsics, first come, first served.
#[derive(Debug, Default)]
pub(crate) struct Nonces(std::sync::Mutex<BTreeMap<Hotkey, Arc<Mutex<()>>>>);

impl Nonces {
    fn of(&self, hotkey: &Hotkey) -> Arc<Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(*hotkey).or_default())
    }
}

/// The sole right, among the clones of one [`ChainClient`], to use a hotkey's next nonce. Dropping
/// it ends it.
#[must_use = "the right ends when this is dropped"]
#[derive(Debug)]
pub struct NonceGuard {
    _held: OwnedMutexGuard<()>,
}

impl ChainClient {
    /// The next unused nonce, counting what waits in the endpoint's pool.
    ///
    /// # Errors
    ///
    /// [`CallError`] if the endpoint cannot be asked, also for a nonce beyond 32 bits.
    pub async fn next_nonce(&self, hotkey: &Hotkey) -> Result<u32, CallError> {
        let account = AccountId32(hotkey.0);
        self.links()
            .call("system_accountNextIndex", |methods| async move {
                let nonce = methods.system_account_next_index(&account).await?;
                u32::try_from(nonce).map_err(|error| subxt_rpcs::Error::Client(Box::new(error)))
            })
            .await
    }

    /// Waits until no other extrinsic of this hotkey is between its nonce and its sending; who
    /// waits longer comes first.
    ///
    /// Hold it from [`Self::sign_weights`] until [`Self::send_signed`] has answered: from then on
    /// the endpoint's pool counts the nonce. [`Self::serve_axon`], [`Self::serve_axon_tls`] and
    /// [`Self::set_commitment`] take it themselves, and wait for it no longer than for finality;
    /// calling them while holding it only costs that wait.
    ///
    /// It does not cover other processes with the same key, nor a pool that has not heard yet
    /// what another endpoint took. The chain then takes one of the two and refuses the other as
    /// [`SendRefused::NonceTaken`] or [`SendRefused::StaleNonce`]; that one can be signed again
    /// once its era is over.
    ///
    /// [`SendRefused::NonceTaken`]: crate::SendRefused::NonceTaken
    /// [`SendRefused::StaleNonce`]: crate::SendRefused::StaleNonce
    pub async fn reserve_nonce(&self, hotkey: &Hotkey) -> NonceGuard {
        NonceGuard { _held: self.nonces().of(hotkey).lock_owned().await }
    }
}

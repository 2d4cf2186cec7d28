//! Nonces: the next one, and the right to use it.
//!
//! A pool counts what was sent to it, not what was signed. Two extrinsics of one account that ask
//! between the other's signing and sending get the same nonce, and one of them is lost until its
//! era is over. So whoever signs holds a [`NonceGuard`] from the question to the sending.

use node_core::id::Hotkey;
use subxt::config::substrate::AccountId32;
use tokio::sync::OwnedMutexGuard;

use crate::client::ChainClient;
use crate::link::CallError;

/// The sole right, among the clones of one [`ChainClient`], to use a next nonce. Dropping it ends
/// it.
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

    /// Waits until no other extrinsic of this client is between its nonce and its sending.
    ///
    /// Hold it from [`Self::next_nonce`] until [`Self::send_signed`] has answered: from then on
    /// the endpoint's pool counts the nonce. [`Self::serve_axon`] and [`Self::set_commitment`]
    /// take it themselves, and wait for it no longer than for finality; calling them while
    /// holding it only costs that wait.
    ///
    /// It does not cover other processes with the same key, nor a pool that has not heard yet
    /// what another endpoint took. The chain then takes one of the two and refuses the other as
    /// [`SendRefused::NonceTaken`] or [`SendRefused::StaleNonce`]; that one can be signed again
    /// once its era of `EXTRINSIC_ERA_BLOCKS` is over.
    ///
    /// [`SendRefused::NonceTaken`]: crate::SendRefused::NonceTaken
    /// [`SendRefused::StaleNonce`]: crate::SendRefused::StaleNonce
    pub async fn reserve_nonce(&self) -> NonceGuard {
        NonceGuard { _held: self.nonces().lock_owned().await }
    }
}

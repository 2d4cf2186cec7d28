//! Extrinsics without a plan of the core: publishing an address, a commitment.
//!
//! All extrinsics of one hotkey pass one queue, the [`NonceGuard`]'s: these wait for their turn
//! until no signature of weights is between its making and its sending. They are signed after the
//! best block, sent to every endpoint, and followed to finality. They are not journalled, because
//! repeating one is harmless.
//!
//! Not here: weights (`sign`), nonces (`nonce`), how bytes are sent (`send`).

use std::net::SocketAddr;

use chain_metadata::storage as items;
use node_core::limits::{ERA_BLOCKS_MAX, ERA_BLOCKS_MIN, ERA_LIFE_BLOCKS};
use node_core::rows::{Carries, SignedExtrinsic};
use node_core::submit_guard::Binding;
use node_core::unit::BlockNumber;

use crate::calls::{serve_axon_call, serve_axon_tls_call, set_commitment_call, CallValue};
use crate::client::ChainClient;
use crate::decode::DispatchOutcome;
use crate::encode::{sign_bound, EncodeError};
use crate::follow::{best_at, finalized_at, BlockRef};
use crate::keypair::Keypair;
use crate::link::CallError;
use crate::nonce::NonceGuard;
use crate::refusal::SendRefused;
use crate::runtime::RuntimeError;
use crate::trace::{Included, TraceError};

/// How often a call is signed and sent at most. A second time only when the first bytes cannot
/// land: signed for the runtime before an upgrade, or with a nonce that was used meanwhile.
const TRIES_MAX: u32 = 2;

/// Why an extrinsic sent by us did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// More bytes than a commitment may have.
    #[error("{got} bytes do not fit into a commitment of {} bytes", items::RAW_BYTES_MAX)]
    TooLong {
        /// Bytes given.
        got: usize,
    },
    /// The chain could not be asked for a head or a nonce.
    #[error("cannot prepare `{call}`")]
    Call {
        /// The call.
        call: &'static str,
        /// Why.
        #[source]
        source: CallError,
    },
    /// The endpoint contradicts itself about its heads.
    #[error("the endpoint does not know its own head")]
    NoHead,
    /// Another signature was being made all the while; nothing was signed.
    #[error("`{call}` waited {after_ms} ms for another extrinsic of this node to be sent")]
    NonceHeld {
        /// The call.
        call: &'static str,
        /// The deadline.
        after_ms: u128,
    },
    /// The runtime of the best block cannot be used.
    #[error("cannot sign `{call}`")]
    Runtime {
        /// The call.
        call: &'static str,
        /// Why.
        #[source]
        source: RuntimeError,
    },
    /// The call cannot be written for this runtime.
    #[error("cannot encode `{call}` for this runtime")]
    Encode {
        /// The call.
        call: &'static str,
        /// Why.
        #[source]
        source: EncodeError,
    },
    /// The pool refused it.
    #[error("the chain does not take `{call}`")]
    Refused {
        /// The call.
        call: &'static str,
        /// Why.
        #[source]
        source: SendRefused,
    },
    /// It was included, and failed.
    #[error("`{call}` failed in block {block}: {error}")]
    Failed {
        /// The call.
        call: &'static str,
        /// Where.
        block: BlockNumber,
        /// The error's name.
        error: String,
    },
    /// Its era ended without its being included: it changed nothing and never will.
    #[error("`{call}` was not included before its era ended at block {era_end}")]
    NotIncluded {
        /// The call.
        call: &'static str,
        /// First block in which it was no longer valid.
        era_end: BlockNumber,
    },
    /// No finality within the deadline. It may still land.
    #[error("`{call}` was sent, but is not finalized after {after_ms} ms")]
    Deadline {
        /// The call.
        call: &'static str,
        /// The deadline.
        after_ms: u128,
    },
    /// A block could not be searched for it. It may have landed.
    #[error("`{call}` was sent, but a block cannot be searched for it")]
    Unsearched {
        /// The call.
        call: &'static str,
        /// Why.
        #[source]
        source: TraceError,
    },
}

impl ChainClient {
    /// Publishes where the signer serves, and waits until that is final.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; the chain has its own limits on addresses and on how often.
    pub async fn serve_axon(
        &self,
        signer: &Keypair,
        address: SocketAddr,
    ) -> Result<BlockRef, SubmitError> {
        self.submit(signer, serve_axon_call(self.netuid(), address)).await
    }

    /// Publishes where the signer serves, with the certificate it serves with, and waits until
    /// that is final.
    ///
    /// - `certificate`: a number for the algorithm, and the public key.
    ///
    /// # Errors
    ///
    /// [`SubmitError::Encode`] for an empty certificate or one over
    /// [`crate::CERTIFICATE_BYTES_MAX`], before anything is signed; else as [`Self::serve_axon`].
    pub async fn serve_axon_tls(
        &self,
        signer: &Keypair,
        address: SocketAddr,
        certificate: &[u8],
    ) -> Result<BlockRef, SubmitError> {
        let call = serve_axon_tls_call(self.netuid(), address, certificate)
            .map_err(|source| SubmitError::Encode { call: "serve_axon_tls", source })?;
        self.submit(signer, call).await
    }

    /// Replaces the signer's commitment, and waits until that is final.
    ///
    /// # Errors
    ///
    /// [`SubmitError::TooLong`] before anything is signed; else as the chain decides.
    pub async fn set_commitment(
        &self,
        signer: &Keypair,
        bytes: &[u8],
    ) -> Result<BlockRef, SubmitError> {
        let call = set_commitment_call(self.netuid(), bytes)
            .ok_or(SubmitError::TooLong { got: bytes.len() })?;
        self.submit(signer, call).await
    }

    /// Signs, sends and follows to finality.
    async fn submit(&self, signer: &Keypair, call: CallValue) -> Result<BlockRef, SubmitError> {
        let name = call.name();
        let deadline = self.finality_timeout();
        let held = tokio::time::timeout(deadline, self.reserve_nonce(&signer.public()))
            .await
            .map_err(|_| SubmitError::NonceHeld { call: name, after_ms: deadline.as_millis() })?;
        let signed = self.sign_and_send(signer, &call, &held).await?;
        // From here on the pool counts the nonce; finality must not keep other extrinsics waiting.
        drop(held);
        let landed = self.wait_for(name, &signed);
        tokio::time::timeout(deadline, landed).await.unwrap_or_else(|_| {
            Err(SubmitError::Deadline { call: name, after_ms: deadline.as_millis() })
        })
    }

    async fn sign_and_send(
        &self,
        signer: &Keypair,
        call: &CallValue,
        _held: &NonceGuard,
    ) -> Result<SignedExtrinsic, SubmitError> {
        let mut tries = 1;
        loop {
            let signed = self.sign_after_best(signer, call).await?;
            match self.send_signed(&signed.bytes, Some(signed.era_end)).await {
                Ok(_) => return Ok(signed),
                Err(SendRefused::BadSignature | SendRefused::StaleNonce) if tries < TRIES_MAX => {
                    tries += 1;
                }
                Err(source) => return Err(SubmitError::Refused { call: call.name(), source }),
            }
        }
    }

    async fn sign_after_best(
        &self,
        signer: &Keypair,
        call: &CallValue,
    ) -> Result<SignedExtrinsic, SubmitError> {
        let name = call.name();
        let asked = |source| SubmitError::Call { call: name, source };
        let link = self.links().get().await.map_err(asked)?;
        let finalized = finalized_at(self.links(), &link).await.map_err(asked)?;
        let best = best_at(self.links(), &link).await.map_err(asked)?;
        let (Some(finalized), Some(best)) = (finalized, best) else {
            return Err(SubmitError::NoHead);
        };
        let binding = Binding {
            nonce: self.next_nonce(&signer.public()).await.map_err(asked)?,
            head: best.hash,
            anchor: finalized.number,
            anchor_hash: finalized.hash,
            era_blocks: era_blocks(finalized.number, best.number),
        };
        let runtime = self
            .runtimes()
            .at(self.links(), best.hash)
            .await
            .map_err(|source| SubmitError::Runtime { call: name, source })?;
        sign_bound(&runtime, call, signer, &binding, Carries::Plain)
            .map_err(|source| SubmitError::Encode { call: name, source })
    }

    async fn wait_for(
        &self,
        call: &'static str,
        signed: &SignedExtrinsic,
    ) -> Result<BlockRef, SubmitError> {
        let mut heads = self.follow();
        let mut searched = signed.anchor;
        while let Some(head) = heads.next_finalized().await {
            let found = match self.search(&[signed.hash], searched, head.number).await {
                Ok(found) => found,
                // A slower endpoint, or a connection that broke; the next block is another try.
                Err(TraceError::EndpointBehind { .. } | TraceError::Call(_)) => continue,
                Err(source) => return Err(SubmitError::Unsearched { call, source }),
            };
            match found {
                Some(Included { block, outcome: DispatchOutcome::Succeeded, .. }) => {
                    return Ok(block);
                }
                Some(Included { block, outcome: DispatchOutcome::Failed { error }, .. }) => {
                    return Err(SubmitError::Failed { call, block: block.number, error });
                }
                None => searched = searched.max(head.number),
            }
            if head.number >= signed.era_end {
                return Err(SubmitError::NotIncluded { call, era_end: signed.era_end });
            }
        }
        Err(SubmitError::NoHead)
    }
}

/// An era from the finalized block that lasts [`ERA_LIFE_BLOCKS`] beyond the best one.
fn era_blocks(finalized: BlockNumber, best: BlockNumber) -> u64 {
    let blocks = best.since(finalized).0.saturating_add(ERA_LIFE_BLOCKS);
    blocks.min(ERA_BLOCKS_MAX).next_power_of_two().clamp(ERA_BLOCKS_MIN, ERA_BLOCKS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_reaches_beyond_the_best_block_however_late_finality_is() {
        for (lag, expected) in [(0, 16), (4, 16), (5, 32), (20, 32), (21, 64), (100_000, 2048)] {
            let got = era_blocks(BlockNumber(7), BlockNumber(7 + lag));
            assert_eq!(got, expected, "{lag}");
        }
    }
}

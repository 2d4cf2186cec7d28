//! Extrinsics from a call to finality: prepare, send, find again.
//!
//! Preparing sends nothing, so that the caller can make the bytes durable first. Sending the same
//! bytes twice is harmless: the pool knows them, or their nonce is used. "Sent" is not "landed";
//! whether weights landed is read from a view, and [`ChainClient::find_extrinsic`] gives the
//! reason when an included call failed.
//!
//! Not here: nonces (`nonce`), when to sign, and whether to sign again (`node/core`).

use std::net::SocketAddr;

use chain_metadata::storage as items;
use node_core::id::{BlockHash, Digest, Netuid};
use node_core::limits::EXTRINSIC_ERA_BLOCKS;
use node_core::rows::SignedExtrinsic;
use node_core::unit::{BlockCount, BlockNumber};
use subxt::config::substrate::H256;
use subxt::ext::scale_value::{Value, ValueDef};

use crate::client::ChainClient;
use crate::decode::{outcome, DecodeError, DispatchOutcome};
use crate::encode::{
    serve_axon_call, set_commitment_call, sign, weights_call, CallValue, EncodeError, WeightsCall,
};
use crate::follow::{newest_finalized, FinalizedHead};
use crate::keypair::Keypair;
use crate::link::CallError;
use crate::nonce::NonceGuard;
use crate::read::{block_hash, ReadError};
use crate::refusal::{classify, SendAccepted, SendRefused};
use crate::runtime::RuntimeError;
use crate::storage::Batch;

/// How many blocks [`ChainClient::find_extrinsic`] looks through at most. Lower: a caller that
/// missed blocks misses its extrinsic. Higher: one question costs that many calls.
pub const BLOCKS_SEARCHED_MAX: u64 = 4 * EXTRINSIC_ERA_BLOCKS;

const CONSENSUS_YUMA: &str = "Yuma";

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The chain could not be asked.
    #[error("cannot prepare `{call}`")]
    Call {
        /// The call to sign.
        call: &'static str,
        /// Why.
        #[source]
        source: CallError,
    },
    /// The endpoint does not have the block that anchors the era.
    #[error("the endpoint does not know block {anchor}")]
    NoSuchBlock {
        /// The block.
        anchor: BlockNumber,
    },
    /// The runtime at the anchor cannot be used.
    #[error("cannot use the runtime of block {anchor}")]
    Runtime {
        /// The block.
        anchor: BlockNumber,
        /// Why.
        #[source]
        source: RuntimeError,
    },
    /// The call cannot be written for this runtime.
    #[error("cannot encode the call for this runtime")]
    Encode(#[source] EncodeError),
    /// The subnet's consensus mode cannot be read.
    #[error("cannot read the subnet's consensus mode")]
    Decode(#[source] DecodeError),
    /// The subnet uses weights in a way that this node does not know.
    #[error("subnet {netuid} runs the consensus mode `{mode}`, which is not supported")]
    UnsupportedConsensus {
        /// The subnet.
        netuid: Netuid,
        /// The mode.
        mode: String,
    },
}

/// Where an extrinsic was included, and how its call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// The block.
    pub block: FinalizedHead,
    /// How it went.
    pub outcome: DispatchOutcome,
}

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
    /// The endpoint contradicts itself about its finalized head.
    #[error("the endpoint does not know its own finalized head")]
    NoHead,
    /// Another signature was being made all the while; nothing was signed.
    #[error("`{call}` waited {after_ms} ms for another extrinsic of this node to be sent")]
    NonceHeld {
        /// The call.
        call: &'static str,
        /// The deadline.
        after_ms: u128,
    },
    /// It was not signed.
    #[error("cannot sign `{call}`")]
    Sign {
        /// The call.
        call: &'static str,
        /// Why.
        #[source]
        source: Box<SignError>,
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
        source: ReadError,
    },
}

/// Whether weights mean in this mode what the node takes them to mean. A runtime without modes
/// runs Yuma.
fn supported(netuid: Netuid, mode: Option<Value>) -> Result<(), SignError> {
    match mode.map(|mode| mode.value) {
        None => Ok(()),
        Some(ValueDef::Variant(mode)) if mode.name == CONSENSUS_YUMA => Ok(()),
        Some(ValueDef::Variant(mode)) => {
            Err(SignError::UnsupportedConsensus { netuid, mode: mode.name })
        }
        Some(_) => {
            let item = "SubtensorModule.SubnetEpochConsensus";
            Err(SignError::Decode(DecodeError::new(item, "not an enumeration")))
        }
    }
}

impl ChainClient {
    /// Signs a vector of weights. Nothing is sent.
    ///
    /// - `anchor`: a finalized block; the bytes are valid for the `EXTRINSIC_ERA_BLOCKS` blocks
    ///   from it on.
    /// - `nonce`: of the signer's account, unused.
    ///
    /// # Errors
    ///
    /// [`SignError`]; the subnet's consensus mode is checked in the anchor's state, because a mode
    /// not known here could give the weights another meaning.
    pub async fn prepare_weights(
        &self,
        weights: &WeightsCall<'_>,
        signer: &Keypair,
        anchor: BlockNumber,
        nonce: u32,
    ) -> Result<SignedExtrinsic, SignError> {
        let hash = self.anchor_hash(anchor).await?;
        let head = FinalizedHead { number: anchor, hash };
        self.check_consensus(weights.netuid, head).await?;
        let runtime = self
            .runtimes()
            .at(self.links(), hash)
            .await
            .map_err(|source| SignError::Runtime { anchor, source })?;
        let call = weights_call(runtime.metadata(), weights).map_err(SignError::Encode)?;
        sign(&runtime, &call, signer, head, nonce).map_err(SignError::Encode)
    }

    async fn anchor_hash(&self, anchor: BlockNumber) -> Result<BlockHash, SignError> {
        block_hash(self.links(), anchor)
            .await
            .map_err(|source| SignError::Call { call: "weights", source })?
            .ok_or(SignError::NoSuchBlock { anchor })
    }

    async fn check_consensus(&self, netuid: Netuid, at: FinalizedHead) -> Result<(), SignError> {
        let anchor = at.number;
        let runtime = self
            .runtimes()
            .at(self.links(), at.hash)
            .await
            .map_err(|source| SignError::Runtime { anchor, source })?;
        let mut batch = Batch::new(&runtime);
        let slot =
            batch.add(&items::SUBNET_EPOCH_CONSENSUS, (netuid.0,)).map_err(SignError::Encode)?;
        let answers = batch
            .fetch(self.links(), at.hash)
            .await
            .map_err(|source| SignError::Call { call: "weights", source })?;
        let mode: Option<Value> =
            answers.optional(&items::SUBNET_EPOCH_CONSENSUS, slot).map_err(SignError::Decode)?;
        supported(netuid, mode)
    }

    /// Hands signed bytes to the first endpoint that takes them. Harmless to repeat.
    ///
    /// - `era_end`: the first block in which they are no longer valid, if known; lets an era that
    ///   is over be told from a signature that does not fit.
    ///
    /// # Errors
    ///
    /// [`SendRefused`]; after [`SendRefused::Unreachable`] the bytes may still have arrived.
    pub async fn send_signed(
        &self,
        bytes: &[u8],
        era_end: Option<BlockNumber>,
    ) -> Result<SendAccepted, SendRefused> {
        let refused = match self.submit_anywhere(bytes).await {
            Ok(()) => return Ok(SendAccepted::New),
            Err(CallError::Refused { source, .. }) => match classify(source) {
                Ok(accepted) => return Ok(accepted),
                Err(refused) => refused,
            },
            Err(error) => return Err(SendRefused::Unreachable(error)),
        };
        match (refused, era_end) {
            (SendRefused::BadSignature, Some(era_end)) => {
                Err(self.explain_bad_signature(era_end).await)
            }
            (refused, _) => Err(refused),
        }
    }

    /// Tries as many connections as there are endpoints; a broken one moves on to the next.
    async fn submit_anywhere(&self, bytes: &[u8]) -> Result<(), CallError> {
        let mut left = self.links().endpoint_count();
        loop {
            let sent = self
                .links()
                .call("author_submitExtrinsic", |methods| async move {
                    methods.author_submit_extrinsic(bytes).await
                })
                .await;
            left = left.saturating_sub(1);
            match sent {
                Ok(_) => return Ok(()),
                Err(error) if error.is_on_the_way() && left > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn explain_bad_signature(&self, era_end: BlockNumber) -> SendRefused {
        let best = self
            .links()
            .call("chain_getHeader", |methods| async move { methods.chain_get_header(None).await })
            .await;
        match best {
            // The pool judges as if in the block after the best one.
            Ok(Some(header)) if header.number.saturating_add(1) >= era_end.0 => {
                SendRefused::EraOver { era_end, best: BlockNumber(header.number) }
            }
            Ok(_) | Err(_) => SendRefused::BadSignature,
        }
    }

    /// How an extrinsic's call went, if the block has it.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if the block or its events cannot be read.
    pub async fn extrinsic_outcome(
        &self,
        block: BlockHash,
        extrinsic: &Digest,
    ) -> Result<Option<DispatchOutcome>, ReadError> {
        let call = |source| ReadError::Call { what: "the block", block, source: Box::new(source) };
        let details = self
            .links()
            .call("chain_getBlock", |methods| async move {
                methods.chain_get_block(Some(H256(block.0))).await
            })
            .await
            .map_err(call)?
            .ok_or(ReadError::NoSuchBlock { block })?;
        let bodies = details.block.extrinsics.iter();
        let place = bodies
            .enumerate()
            .find(|(_, body)| sp_crypto_hashing::blake2_256(&body.0) == extrinsic.0);
        let Some((index, _)) = place else { return Ok(None) };
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        let runtime = self
            .runtimes()
            .at(self.links(), block)
            .await
            .map_err(|source| ReadError::Runtime { block, source: Box::new(source) })?;
        let mut batch = Batch::new(&runtime);
        let slot =
            batch.add(&items::EVENTS, ()).map_err(|source| ReadError::Encode { block, source })?;
        let answers = batch.fetch(self.links(), block).await.map_err(call)?;
        let events = answers.raw(slot).unwrap_or_default().to_vec();
        let decode = |source| ReadError::Decode { block, source };
        let found = outcome(&runtime, events, index).map_err(decode)?;
        let silent = || DecodeError::new("System.Events", "they do not say how it went");
        found.ok_or_else(silent).map(Some).map_err(decode)
    }

    /// Looks for an extrinsic in the finalized blocks after `after` up to `upto`, oldest first, at
    /// most [`BLOCKS_SEARCHED_MAX`] of them.
    ///
    /// # Errors
    ///
    /// [`ReadError`] if one of the blocks cannot be read.
    pub async fn find_extrinsic(
        &self,
        extrinsic: &Digest,
        after: BlockNumber,
        upto: BlockNumber,
    ) -> Result<Option<Included>, ReadError> {
        let first = after.plus(BlockCount(1));
        let last = upto.0.min(after.0.saturating_add(BLOCKS_SEARCHED_MAX));
        for number in (first.0..=last).map(BlockNumber) {
            let hash = block_hash(self.links(), number)
                .await
                .map_err(|source| ReadError::Height { number, source: Box::new(source) })?
                .ok_or(ReadError::NoSuchHeight { number })?;
            if let Some(outcome) = self.extrinsic_outcome(hash, extrinsic).await? {
                return Ok(Some(Included { block: FinalizedHead { number, hash }, outcome }));
            }
        }
        Ok(None)
    }

    /// Publishes where the signer serves, and waits until that is final.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; the chain has its own limits on addresses and on how often.
    pub async fn serve_axon(
        &self,
        signer: &Keypair,
        address: SocketAddr,
    ) -> Result<FinalizedHead, SubmitError> {
        self.submit(signer, serve_axon_call(self.netuid(), address)).await
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
    ) -> Result<FinalizedHead, SubmitError> {
        let call = set_commitment_call(self.netuid(), bytes)
            .ok_or(SubmitError::TooLong { got: bytes.len() })?;
        self.submit(signer, call).await
    }

    /// Signs, sends and follows to finality. Not journalled: for calls whose repetition is
    /// harmless.
    async fn submit(
        &self,
        signer: &Keypair,
        call: CallValue,
    ) -> Result<FinalizedHead, SubmitError> {
        let name = call.name();
        let deadline = self.finality_timeout();
        let held = tokio::time::timeout(deadline, self.reserve_nonce())
            .await
            .map_err(|_| SubmitError::NonceHeld { call: name, after_ms: deadline.as_millis() })?;
        let (anchor, signed) = self.sign_and_send(signer, &call, &held).await?;
        // From here on the pool counts the nonce; finality must not keep other extrinsics waiting.
        drop(held);
        let landed = self.wait_for(name, &signed, anchor);
        tokio::time::timeout(deadline, landed).await.unwrap_or_else(|_| {
            Err(SubmitError::Deadline { call: name, after_ms: deadline.as_millis() })
        })
    }

    async fn sign_and_send(
        &self,
        signer: &Keypair,
        call: &CallValue,
        _held: &NonceGuard,
    ) -> Result<(BlockNumber, SignedExtrinsic), SubmitError> {
        let name = call.name();
        let asked = |source| SubmitError::Call { call: name, source };
        let anchor =
            newest_finalized(self.links()).await.map_err(asked)?.ok_or(SubmitError::NoHead)?;
        let nonce = self.next_nonce(&signer.public()).await.map_err(asked)?;
        let signed = self
            .sign_at(call, signer, anchor, nonce)
            .await
            .map_err(|source| SubmitError::Sign { call: name, source: Box::new(source) })?;
        self.send_signed(&signed.bytes, Some(signed.era_end))
            .await
            .map_err(|source| SubmitError::Refused { call: name, source })?;
        Ok((anchor.number, signed))
    }

    async fn sign_at(
        &self,
        call: &CallValue,
        signer: &Keypair,
        anchor: FinalizedHead,
        nonce: u32,
    ) -> Result<SignedExtrinsic, SignError> {
        let runtime = self
            .runtimes()
            .at(self.links(), anchor.hash)
            .await
            .map_err(|source| SignError::Runtime { anchor: anchor.number, source })?;
        sign(&runtime, call, signer, anchor, nonce).map_err(SignError::Encode)
    }

    async fn wait_for(
        &self,
        call: &'static str,
        signed: &SignedExtrinsic,
        anchor: BlockNumber,
    ) -> Result<FinalizedHead, SubmitError> {
        let mut heads = self.follow();
        let mut searched = anchor;
        while let Some(head) = heads.next().await {
            let found = self
                .find_extrinsic(&signed.hash, searched, head.number)
                .await
                .map_err(|source| SubmitError::Unsearched { call, source })?;
            match found {
                Some(Included { block, outcome: DispatchOutcome::Succeeded }) => {
                    return Ok(block);
                }
                Some(Included { block, outcome: DispatchOutcome::Failed { error } }) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_signed_for_yuma_only() {
        let mode = |name: &str| Some(Value::unnamed_variant(name, []));
        let check = |mode| supported(Netuid(4), mode);
        assert!(check(None).is_ok());
        assert!(check(mode("Yuma")).is_ok());
        let error = check(mode("Null")).unwrap_err();
        assert!(error.to_string().contains("`Null`"), "{error}");
        assert!(matches!(check(Some(Value::u128(0))), Err(SignError::Decode(_))));
    }
}

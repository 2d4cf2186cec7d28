//! Signed bytes to the chain: the same ones to every endpoint.
//!
//! "Sent" is not "landed". Sending the same bytes twice is harmless: the pool knows them, or their
//! nonce is used.

use node_core::unit::BlockNumber;

use crate::client::ChainClient;
use crate::link::CallError;
use crate::refusal::{classify, SendAccepted, SendRefused};

impl ChainClient {
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
}

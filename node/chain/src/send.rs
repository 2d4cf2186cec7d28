//! Signed bytes to the chain: the same ones to every endpoint.
//!
//! The endpoints are asked in their order of use, the next one as soon as one refuses, fails or
//! takes long. The first that accepts decides; the others get the bytes all the same, behind the
//! caller's back, so that the extrinsic does not depend on one node's peers.
//!
//! "Sent" is not "landed". Sending the same bytes twice is harmless: the pool knows them, or their
//! nonce is used.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::StreamExt as _;
use node_core::unit::BlockNumber;

use crate::client::ChainClient;
use crate::link::{CallError, Links};
use crate::refusal::{classify, SendAccepted, SendRefused};

/// How long an endpoint may take before the next one is asked too. Lower: every send is many.
/// Higher: a hanging endpoint costs the block for which the bytes were made.
const NEXT_AFTER: Duration = Duration::from_secs(2);

/// One endpoint's answer, with its place in the order of use.
type Answer = (usize, Result<SendAccepted, SendRefused>);

impl ChainClient {
    /// Hands signed bytes to all endpoints, and returns when the first takes them. Harmless to
    /// repeat.
    ///
    /// - `era_end`: the first block in which they are no longer valid, if known; lets an era that
    ///   is over be told from a signature that does not fit.
    ///
    /// After [`SendRefused::BadSignature`] every runtime is fetched anew before the next
    /// signature.
    ///
    /// # Errors
    ///
    /// [`SendRefused`] if none takes them: the answer of the first endpoint, in the order of use,
    /// that gave one. After [`SendRefused::Unreachable`] the bytes may still have arrived.
    pub async fn send_signed(
        &self,
        bytes: &[u8],
        era_end: Option<BlockNumber>,
    ) -> Result<SendAccepted, SendRefused> {
        let refused = match send_to_all(self.links(), bytes.into()).await {
            Ok(accepted) => return Ok(accepted),
            Err(refused) => refused,
        };
        match (refused, era_end) {
            (SendRefused::BadSignature, Some(era_end)) => {
                Err(self.explain_bad_signature(era_end).await)
            }
            (SendRefused::BadSignature, None) => {
                self.runtimes().forget();
                Err(SendRefused::BadSignature)
            }
            (refused, _) => Err(refused),
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
            Ok(_) | Err(_) => {
                self.runtimes().forget();
                SendRefused::BadSignature
            }
        }
    }
}

async fn send_to_all(links: &Arc<Links>, bytes: Arc<[u8]>) -> Result<SendAccepted, SendRefused> {
    // Connects if nothing is, and says why if nothing can be.
    let active = links.get().await.map_err(SendRefused::Unreachable)?.endpoint.index();
    let others = links.order().into_iter().filter(|at| *at != active);
    let order: Vec<usize> = std::iter::once(active).chain(others).collect();
    let mut rest = order.into_iter().enumerate();
    let mut asked = FuturesUnordered::new();
    let mut refusals: Vec<(usize, SendRefused)> = Vec::new();
    let ask = |(place, at)| ask_one(Arc::clone(links), at, place, Arc::clone(&bytes));
    asked.extend(rest.next().map(ask));
    loop {
        let next = tokio::select! {
            answer = asked.next() => match answer {
                None => break,
                Some((_, Ok(accepted))) => {
                    asked.extend(rest.map(ask));
                    tokio::spawn(finish(asked));
                    return Ok(accepted);
                }
                Some((place, Err(refused))) => {
                    refusals.push((place, refused));
                    rest.next()
                }
            },
            () = tokio::time::sleep(NEXT_AFTER), if rest.len() > 0 => rest.next(),
        };
        asked.extend(next.map(ask));
    }
    // An endpoint that could not be asked says nothing about the bytes.
    refusals.sort_by_key(|(place, refused)| (is_unreachable(refused), *place));
    let first = refusals.into_iter().next().map(|(_, refused)| refused);
    Err(first.unwrap_or_else(|| SendRefused::Unreachable(no_endpoint())))
}

fn is_unreachable(refused: &SendRefused) -> bool {
    matches!(refused, SendRefused::Unreachable(_))
}

fn no_endpoint() -> CallError {
    CallError::NoEndpoint(crate::call_error::ConnectError::NoneConfigured)
}

async fn ask_one(links: Arc<Links>, at: usize, place: usize, bytes: Arc<[u8]>) -> Answer {
    let sent = async {
        let link = links.link_to(at).await.map_err(|error| links.unconnected(at, error))?;
        links
            .call_on(&link, "author_submitExtrinsic", |methods| async move {
                methods.author_submit_extrinsic(&bytes).await
            })
            .await
    };
    let answer = match sent.await {
        Ok(_) => Ok(SendAccepted::New),
        Err(CallError::Refused { source, .. }) => classify(source),
        Err(error) => Err(SendRefused::Unreachable(error)),
    };
    (place, answer)
}

/// The endpoints after the one that accepted.
async fn finish(mut asked: FuturesUnordered<impl std::future::Future<Output = Answer>>) {
    while let Some((place, answer)) = asked.next().await {
        if let Err(refused) = answer {
            // Usually that the bytes came from a peer already, or are in a block by now.
            tracing::debug!(place, reason = %refused, "another endpoint does not take the bytes");
        }
    }
}

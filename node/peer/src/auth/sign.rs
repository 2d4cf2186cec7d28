//! The caller's side: a tower layer that reads the request's body, signs the call and adds the
//! headers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use node_core::id::{sha256, Hotkey, HotkeySigner};
use node_core::limits::PEER_MESSAGE_BYTES_MAX;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{CallClaims, Nonce, SignedClaims};
use crate::clock::WallClock;
use crate::directory::NodeIdentity;

/// Bytes that gRPC puts in front of a message.
pub(super) const FRAME_PREFIX_BYTES: usize = 5;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a call could not be signed.
#[derive(Debug, thiserror::Error)]
enum SignError {
    #[error("cannot read the request's own body")]
    Body(#[source] BoxError),
    #[error("cannot write the call's headers")]
    Headers(#[source] http::header::InvalidHeaderValue),
}

/// Signs calls in this node's name.
#[derive(Clone, Debug)]
pub(crate) struct CallSigner {
    pub(crate) identity: Arc<NodeIdentity>,
    pub(crate) signer: Arc<dyn HotkeySigner>,
    pub(crate) clock: Arc<dyn WallClock>,
}

impl CallSigner {
    fn sign(&self, receiver: Hotkey, method: &str, body: &[u8], nonce: Nonce) -> SignedClaims {
        let claims = CallClaims {
            sender: self.signer.hotkey(),
            receiver,
            genesis: self.identity.genesis,
            netuid: self.identity.netuid,
            time: self.clock.unix(),
            nonce,
            body: sha256(body),
        };
        let signature = self.signer.sign(&claims.signing_message(method));
        SignedClaims { claims, signature }
    }
}

/// Makes a channel sign every call for one receiver.
#[derive(Clone, Debug)]
pub(crate) struct SignLayer {
    pub(crate) signer: CallSigner,
    pub(crate) receiver: Hotkey,
}

impl<S> Layer<S> for SignLayer {
    type Service = SignCalls<S>;

    fn layer(&self, inner: S) -> SignCalls<S> {
        SignCalls { layer: self.clone(), inner }
    }
}

/// See [`SignLayer`].
#[derive(Clone, Debug)]
pub(crate) struct SignCalls<S> {
    layer: SignLayer,
    inner: S,
}

impl<S> Service<Request<Body>> for SignCalls<S>
where
    S: Service<Request<Body>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let layer = self.layer.clone();
        // The clone that stays behind is not ready yet; the one that was polled makes this call.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        Box::pin(async move {
            let request = layer.signed(request).await?;
            inner.call(request).await.map_err(Into::into)
        })
    }
}

impl SignLayer {
    async fn signed(&self, request: Request<Body>) -> Result<Request<Body>, SignError> {
        let (mut parts, body) = request.into_parts();
        let limited = Limited::new(body, PEER_MESSAGE_BYTES_MAX + FRAME_PREFIX_BYTES);
        let body = limited.collect().await.map_err(SignError::Body)?.to_bytes();
        let signed = self.signer.sign(self.receiver, parts.uri.path(), &body, rand::random());
        signed.write(&mut parts.headers).map_err(SignError::Headers)?;
        Ok(Request::from_parts(parts, Body::new(Full::new(body))))
    }
}

//! The receiver's side: a tower layer in front of all services that lets verified calls pass and
//! answers the others.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use http::header::CONTENT_LENGTH;
use http::{request, HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use node_core::id::{sha256, Digest, Hotkey, SignatureVerifier};
use node_core::limits::PEER_MESSAGE_BYTES_MAX;
use node_core::unit::UnixMs;
use tokio::sync::watch;
use tonic::body::Body;
use tower::{Layer, Service};

use super::replay::ReplayStore;
use super::sign::FRAME_PREFIX_BYTES;
use super::{CallClaims, SignedClaims};
use crate::budget::{Budget, Place};
use crate::clock::WallClock;
use crate::directory::{NodeIdentity, PeerDirectory};
use crate::limits::{CALLS_MAX, CALLS_PER_PEER_MAX, CALL_WINDOW_MS};
use crate::refusal::{AuthRefusal, ServeRefusal};
use crate::signature::Sr25519Verifier;

/// The methods that need no signature: they tell every validator the same and change nothing.
const OPEN_METHODS: [&str; 4] = [
    "/assay.v1.Node/Info",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// Largest body: one message in its frame.
const BODY_BYTES_MAX: usize = PEER_MESSAGE_BYTES_MAX + FRAME_PREFIX_BYTES;

/// Who made the call, proven; stands in the request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VerifiedCaller(pub(crate) Hotkey);

/// Whose connection it is, as its handshake proved; stands in the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectedPeer(pub(crate) Hotkey);

/// Decides which calls pass.
#[derive(Debug)]
pub(crate) struct Gate {
    identity: Arc<NodeIdentity>,
    directory: watch::Receiver<PeerDirectory>,
    clock: Arc<dyn WallClock>,
    // What was seen before the start is forgotten, so calls from before the start are refused.
    started_at: UnixMs,
    // Connections run in tasks of their own. Held for a map operation, never across an await.
    seen: Mutex<ReplayStore>,
    calls: Budget<Hotkey>,
}

/// A call whose headers hold; its body is still to be read.
struct Admitted {
    claims: CallClaims,
    _place: Place<Hotkey>,
}

impl Gate {
    pub(crate) fn new(
        identity: Arc<NodeIdentity>,
        directory: watch::Receiver<PeerDirectory>,
        clock: Arc<dyn WallClock>,
    ) -> Self {
        Self {
            started_at: clock.unix(),
            identity,
            directory,
            clock,
            seen: Mutex::new(ReplayStore::default()),
            calls: Budget::new(CALLS_MAX, CALLS_PER_PEER_MAX),
        }
    }

    /// Everything that can be known before the body, cheapest first.
    fn admit(
        &self,
        connected: Hotkey,
        method: &str,
        headers: &HeaderMap,
    ) -> Result<Admitted, AuthRefusal> {
        let SignedClaims { claims, signature } = SignedClaims::read(headers)?;
        let now = self.clock.unix();
        if claims.sender != connected {
            return Err(AuthRefusal::WrongSender);
        }
        if claims.receiver != self.identity.hotkey {
            return Err(AuthRefusal::WrongReceiver);
        }
        if (claims.genesis, claims.netuid) != (self.identity.genesis, self.identity.netuid) {
            return Err(AuthRefusal::WrongChain);
        }
        if claims.time < self.started_at || claims.time.0.abs_diff(now.0) > CALL_WINDOW_MS {
            return Err(AuthRefusal::StaleTime);
        }
        if !self.directory.borrow().contains(&claims.sender) {
            return Err(AuthRefusal::NotAValidator);
        }
        if announced_bytes(headers)?.is_some_and(|bytes| bytes > BODY_BYTES_MAX as u64) {
            return Err(AuthRefusal::TooLarge);
        }
        let message = claims.signing_message(method);
        if !Sr25519Verifier.is_valid(&claims.sender, &message, &signature) {
            return Err(AuthRefusal::BadSignature);
        }
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remember(
            now,
            claims.sender,
            claims.time,
            claims.nonce,
        )?;
        let place = self.calls.take(claims.sender).ok_or(AuthRefusal::TooManyCalls)?;
        Ok(Admitted { claims, _place: place })
    }
}

fn announced_bytes(headers: &HeaderMap) -> Result<Option<u64>, AuthRefusal> {
    let Some(value) = headers.get(CONTENT_LENGTH) else { return Ok(None) };
    let text = value.to_str().map_err(|_| AuthRefusal::Malformed)?;
    text.parse().map(Some).map_err(|_| AuthRefusal::Malformed)
}

/// Reads the body, which must be the one that was signed.
async fn signed_body(body: Body, signed: Digest) -> Result<Body, AuthRefusal> {
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(AuthRefusal::TooLarge),
        // The stream broke off; nobody is there to read this answer.
        Err(_) => return Err(AuthRefusal::BodyMismatch),
    };
    if sha256(&body) != signed {
        return Err(AuthRefusal::BodyMismatch);
    }
    Ok(Body::new(Full::new(body)))
}

/// Puts a [`Gate`] in front of services.
#[derive(Clone, Debug)]
pub(crate) struct VerifyLayer(pub(crate) Arc<Gate>);

impl<S> Layer<S> for VerifyLayer {
    type Service = VerifyCalls<S>;

    fn layer(&self, inner: S) -> VerifyCalls<S> {
        VerifyCalls { gate: Arc::clone(&self.0), inner }
    }
}

/// See [`VerifyLayer`].
#[derive(Clone, Debug)]
pub(crate) struct VerifyCalls<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl<S> Service<Request<Body>> for VerifyCalls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let gate = Arc::clone(&self.gate);
        // The clone that stays behind is not ready yet; the one that was polled makes this call.
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        Box::pin(async move {
            let Some(ConnectedPeer(peer)) = request.extensions().get().copied() else {
                tracing::error!("a call came without its connection's peer");
                return Ok(ServeRefusal::Internal.status().into_http());
            };
            let (mut parts, body) = request.into_parts();
            if OPEN_METHODS.contains(&parts.uri.path()) {
                // Not signed, but within the caller's share all the same.
                let Some(_place) = gate.calls.take(peer) else {
                    return Ok(refused(&parts, AuthRefusal::TooManyCalls));
                };
                return inner.call(Request::from_parts(parts, body)).await;
            }
            match verified(&gate, peer, &mut parts, body).await {
                // The caller's place is held until its answer starts.
                Ok((body, _admitted)) => inner.call(Request::from_parts(parts, body)).await,
                Err(refusal) => Ok(refused(&parts, refusal)),
            }
        })
    }
}

async fn verified(
    gate: &Gate,
    connected: Hotkey,
    parts: &mut request::Parts,
    body: Body,
) -> Result<(Body, Admitted), AuthRefusal> {
    let admitted = gate.admit(connected, parts.uri.path(), &parts.headers)?;
    let body = signed_body(body, admitted.claims.body).await?;
    parts.extensions.insert(VerifiedCaller(admitted.claims.sender));
    Ok((body, admitted))
}

fn refused(parts: &request::Parts, refusal: AuthRefusal) -> Response<Body> {
    tracing::debug!(method = parts.uri.path(), refusal = refusal.id(), "peer call refused");
    refusal.status().into_http()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;

//! Who calls: headers signed by the caller's hotkey around every call.
//!
//! The caller hashes the request's body and signs (chain, subnet, receiver, method, body digest,
//! nonce, time, itself). The receiver checks in this order, the first failure ends it:
//!
//! ```text
//! headers' shape -> version -> the connection's hotkey? -> receiver -> chain -> time
//!   -> a validator? -> announced size -> signature -> nonce unseen -> within its share of calls
//!   -> body: size, digest -> service
//! ```
//!
//! The signature covers the body's digest, not the body, so it is checked before one byte of the
//! body is read: only validators can make us hold a message, each at most its share. The nonce
//! comes after the signature, so that only signed calls are remembered, and before the body, so
//! that a captured header is worth one call.
//!
//! Headers and signed bytes are given in `docs/protocol.md`.

mod replay;
mod sign;
mod verify;

pub(crate) use sign::{CallSigner, SignCalls, SignLayer};
pub(crate) use verify::{ConnectedPeer, Gate, VerifiedCaller, VerifyLayer};

use http::{HeaderMap, HeaderName, HeaderValue};
use node_core::id::{BlockHash, Digest, DigestBuilder, Hotkey, Netuid, Signature};
use node_core::unit::UnixMs;

use crate::refusal::AuthRefusal;

const VERSION: HeaderName = HeaderName::from_static("assay-version");
const SENDER: HeaderName = HeaderName::from_static("assay-sender");
const RECEIVER: HeaderName = HeaderName::from_static("assay-receiver");
const GENESIS: HeaderName = HeaderName::from_static("assay-genesis");
const NETUID: HeaderName = HeaderName::from_static("assay-netuid");
const TIME: HeaderName = HeaderName::from_static("assay-time-ms");
const NONCE: HeaderName = HeaderName::from_static("assay-nonce");
const BODY: HeaderName = HeaderName::from_static("assay-body-sha256");
const SIGNATURE: HeaderName = HeaderName::from_static("assay-signature");

/// Domain of the digest, and prefix of the bytes that are signed.
const DOMAIN: &str = "assay/peer-call/v1";

/// A number that its sender uses once.
pub(crate) type Nonce = [u8; 16];

/// What a caller says about its call, and signs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CallClaims {
    sender: Hotkey,
    receiver: Hotkey,
    genesis: BlockHash,
    netuid: Netuid,
    time: UnixMs,
    nonce: Nonce,
    body: Digest,
}

/// Claims with their signature, as they stand in the headers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SignedClaims {
    claims: CallClaims,
    signature: Signature,
}

impl CallClaims {
    /// What the sender signs for a call of `method`, the HTTP path, `/assay.v1.Leases/Acquire`.
    fn signing_message(&self, method: &str) -> Vec<u8> {
        let Self { sender, receiver, genesis, netuid, time, nonce, body } = self;
        let digest = DigestBuilder::new(DOMAIN)
            .bytes(&genesis.0)
            .number(u64::from(netuid.0))
            .bytes(&receiver.0)
            .bytes(method.as_bytes())
            .bytes(&body.0)
            .bytes(nonce)
            .number(time.0)
            .bytes(&sender.0)
            .finish();
        [DOMAIN.as_bytes(), &digest].concat()
    }
}

impl SignedClaims {
    /// Puts the claims into `headers`.
    ///
    /// # Errors
    ///
    /// If a value is no header value, which digits, hex and base58 always are.
    fn write(&self, headers: &mut HeaderMap) -> Result<(), http::header::InvalidHeaderValue> {
        let claims = &self.claims;
        let texts = [
            (VERSION, crate::PROTOCOL_VERSION.to_string()),
            (SENDER, claims.sender.to_string()),
            (RECEIVER, claims.receiver.to_string()),
            (GENESIS, claims.genesis.to_string()),
            (NETUID, claims.netuid.to_string()),
            (TIME, claims.time.to_string()),
            (NONCE, hex::encode(claims.nonce)),
            (BODY, claims.body.to_string()),
            (SIGNATURE, self.signature.to_string()),
        ];
        for (name, text) in texts {
            headers.insert(name, HeaderValue::try_from(text)?);
        }
        Ok(())
    }

    /// Reads the claims. The version comes first: other rules may have other headers.
    fn read(headers: &HeaderMap) -> Result<Self, AuthRefusal> {
        let version: u32 = parsed(headers, &VERSION)?;
        if version != crate::PROTOCOL_VERSION {
            return Err(AuthRefusal::UnsupportedVersion);
        }
        let mut nonce = Nonce::default();
        hex::decode_to_slice(only(headers, &NONCE)?, &mut nonce)
            .map_err(|_| AuthRefusal::Malformed)?;
        let claims = CallClaims {
            sender: parsed(headers, &SENDER)?,
            receiver: parsed(headers, &RECEIVER)?,
            genesis: parsed(headers, &GENESIS)?,
            netuid: Netuid(parsed(headers, &NETUID)?),
            time: UnixMs(parsed(headers, &TIME)?),
            nonce,
            body: parsed(headers, &BODY)?,
        };
        Ok(Self { claims, signature: parsed(headers, &SIGNATURE)? })
    }
}

/// The text of a header that must stand there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, AuthRefusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().map_err(|_| AuthRefusal::Malformed),
        _ => Err(AuthRefusal::Malformed),
    }
}

fn parsed<T: std::str::FromStr>(headers: &HeaderMap, name: &HeaderName) -> Result<T, AuthRefusal> {
    only(headers, name)?.parse().map_err(|_| AuthRefusal::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> SignedClaims {
        let claims = CallClaims {
            sender: Hotkey([1; 32]),
            receiver: Hotkey([2; 32]),
            genesis: BlockHash([3; 32]),
            netuid: Netuid(7),
            time: UnixMs(1_700_000_000_000),
            nonce: [4; 16],
            body: Digest([5; 32]),
        };
        SignedClaims { claims, signature: Signature([6; 64]) }
    }

    fn written() -> HeaderMap {
        let mut headers = HeaderMap::new();
        signed().write(&mut headers).unwrap();
        headers
    }

    #[test]
    fn what_was_written_is_read_again() {
        assert_eq!(SignedClaims::read(&written()), Ok(signed()));
    }

    #[test]
    fn a_header_that_is_missing_doubled_or_unreadable_is_refused() {
        for name in [SENDER, RECEIVER, GENESIS, NETUID, TIME, NONCE, BODY, SIGNATURE, VERSION] {
            let mut missing = written();
            let value = missing.remove(&name).unwrap();
            assert_eq!(SignedClaims::read(&missing), Err(AuthRefusal::Malformed), "no {name}");

            let mut doubled = written();
            doubled.append(&name, value);
            assert_eq!(SignedClaims::read(&doubled), Err(AuthRefusal::Malformed), "two {name}");

            let mut unreadable = written();
            unreadable.insert(&name, HeaderValue::from_static("-?"));
            assert_eq!(SignedClaims::read(&unreadable), Err(AuthRefusal::Malformed), "bad {name}");
        }
    }

    #[test]
    fn another_version_is_named_as_such_even_without_our_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(VERSION, HeaderValue::from_static("2"));
        assert_eq!(SignedClaims::read(&headers), Err(AuthRefusal::UnsupportedVersion));
    }

    #[test]
    fn the_signed_bytes_are_those_of_the_documentation() {
        // Recorded once and repeated in docs/protocol.md: a change breaks every deployed peer.
        let message = signed().claims.signing_message("/assay.v1.Leases/Acquire");
        assert_eq!(hex::encode(message), include_str!("auth/signing_message.hex").trim());
    }

    #[test]
    fn every_claim_and_the_method_change_what_is_signed() {
        let method = "/assay.v1.Leases/Acquire";
        let original = signed().claims;
        let mut changed = vec![original.clone(); 7];
        changed[0].sender = Hotkey([9; 32]);
        changed[1].receiver = Hotkey([9; 32]);
        changed[2].genesis = BlockHash([9; 32]);
        changed[3].netuid = Netuid(8);
        changed[4].time = UnixMs(9);
        changed[5].nonce = [9; 16];
        changed[6].body = Digest([9; 32]);
        for claims in &changed {
            assert_ne!(claims.signing_message(method), original.signing_message(method));
        }
        assert_ne!(original.signing_message("/other"), original.signing_message(method));
    }
}

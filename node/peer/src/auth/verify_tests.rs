//! What the gate lets pass, and what stays of what it does not.

use http::HeaderValue;
use node_core::id::{BlockHash, HotkeySigner, Netuid};
use node_core::unit::BlockNumber;

use super::super::{Nonce, NONCE, SENDER, SIGNATURE, VERSION};
use super::*;
use crate::tls::tests::{identity, DevKey, NOW};

const METHOD: &str = "/assay.v1.Leases/Renew";

#[derive(Debug)]
struct Standing;

impl WallClock for Standing {
    fn unix(&self) -> UnixMs {
        NOW
    }
}

fn gate(validators: &[Hotkey]) -> Gate {
    let view = PeerDirectory::of(BlockNumber(1), validators.iter().map(|hotkey| (*hotkey, None)));
    Gate::new(Arc::new(identity()), watch::channel(view).1, Arc::new(Standing))
}

/// A call to the gate's node.
fn claims(gate: &Gate, sender: Hotkey, nonce: u128) -> CallClaims {
    CallClaims {
        sender,
        receiver: gate.identity.hotkey,
        genesis: gate.identity.genesis,
        netuid: gate.identity.netuid,
        time: NOW,
        nonce: Nonce::from(nonce.to_be_bytes()),
        body: Digest([5; 32]),
    }
}

fn headers(claims: CallClaims, signer: &DevKey) -> HeaderMap {
    let signature = signer.sign(&claims.signing_message(METHOD));
    let mut headers = HeaderMap::new();
    SignedClaims { claims, signature }.write(&mut headers).unwrap();
    headers
}

fn remembered(gate: &Gate) -> usize {
    gate.seen.lock().unwrap().len()
}

#[test]
fn a_sender_that_is_no_validator_of_the_latest_view_is_refused_though_it_has_a_connection() {
    let bob = DevKey::named("Bob");
    let (without, with) = (gate(&[]), gate(&[bob.hotkey()]));
    let headers = headers(claims(&with, bob.hotkey(), 1), &bob);
    let refused = without.admit(bob.hotkey(), METHOD, &headers).err();
    assert_eq!(refused, Some(AuthRefusal::NotAValidator));
    assert!(with.admit(bob.hotkey(), METHOD, &headers).is_ok());
}

#[test]
fn case_18_a_million_garbage_requests_leave_nothing_in_the_nonce_store() {
    const GARBAGE: usize = 1_000_000;
    /// Of these every header can be read, which takes most of the time.
    const READABLE: usize = 100_000;
    /// And of these only the signature, tells that they are garbage.
    const FORGED: usize = 2_000;
    let (bob, mallory) = (DevKey::named("Bob"), DevKey::named("Mallory"));
    let gate = gate(&[bob.hotkey()]);
    let good = headers(claims(&gate, bob.hotkey(), 1), &bob);
    let changed = |change: fn(&mut CallClaims)| {
        let mut claims = claims(&gate, bob.hotkey(), 1);
        change(&mut claims);
        headers(claims, &bob)
    };
    let with = |name: http::HeaderName, value: &'static str| {
        let mut headers = good.clone();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    };
    use AuthRefusal as R;
    let unreadable = [
        (bob.hotkey(), HeaderMap::new(), R::Malformed),
        (bob.hotkey(), with(VERSION, "7"), R::UnsupportedVersion),
        (bob.hotkey(), with(NONCE, "00"), R::Malformed),
        (bob.hotkey(), with(SENDER, "5"), R::Malformed),
    ];
    let readable = [
        (bob.hotkey(), with(SIGNATURE, "00"), R::Malformed),
        (bob.hotkey(), headers(claims(&gate, mallory.hotkey(), 1), &mallory), R::WrongSender),
        (bob.hotkey(), changed(|claims| claims.receiver = Hotkey([9; 32])), R::WrongReceiver),
        (bob.hotkey(), changed(|claims| claims.genesis = BlockHash([9; 32])), R::WrongChain),
        (bob.hotkey(), changed(|claims| claims.netuid = Netuid(8)), R::WrongChain),
        (bob.hotkey(), changed(|claims| claims.time = UnixMs(1)), R::StaleTime),
        (mallory.hotkey(), headers(claims(&gate, mallory.hotkey(), 1), &mallory), R::NotAValidator),
        (bob.hotkey(), with(CONTENT_LENGTH, "1073741829"), R::TooLarge),
    ];
    let unreadable = unreadable.iter().cycle().take(GARBAGE - READABLE - FORGED);
    for (connected, headers, refusal) in unreadable.chain(readable.iter().cycle().take(READABLE)) {
        assert_eq!(gate.admit(*connected, METHOD, headers).err(), Some(*refusal));
    }
    for number in 0..FORGED {
        let forged = headers(claims(&gate, bob.hotkey(), number as u128), &mallory);
        let refused = gate.admit(bob.hotkey(), METHOD, &forged).err();
        assert_eq!(refused, Some(R::BadSignature));
    }
    assert_eq!(remembered(&gate), 0);
    assert!(gate.admit(bob.hotkey(), METHOD, &good).is_ok());
    assert_eq!(remembered(&gate), 1);
}

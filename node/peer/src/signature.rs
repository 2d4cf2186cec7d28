//! sr25519 signatures, as on the chain (signing context `substrate`).

use node_core::evidence::Receipt;
use node_core::id::{Hotkey, Signature, SignatureVerifier};
use node_core::lease::Seal;
use schnorrkel::signing_context;
use sp_core::{sr25519, Pair};

use crate::directory::NodeIdentity;

/// Checks sr25519 signatures of hotkeys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sr25519Verifier;

impl SignatureVerifier for Sr25519Verifier {
    fn is_valid(&self, hotkey: &Hotkey, message: &[u8], signature: &Signature) -> bool {
        let signature = sr25519::Signature::from_raw(signature.0);
        sr25519::Pair::verify(&signature, message, &sr25519::Public::from_raw(hotkey.0))
    }
}

/// The context of all signatures on the chain.
const CONTEXT: &[u8] = b"substrate";

/// Somebody's signature under a message, not checked yet.
#[cfg_attr(test, derive(Clone))]
struct Claim {
    signer: Hotkey,
    message: Vec<u8>,
    signature: Signature,
}

impl Claim {
    fn is_valid(&self) -> bool {
        Sr25519Verifier.is_valid(&self.signer, &self.message, &self.signature)
    }
}

/// Which claims are valid, in order. Several are checked with one equation, under random
/// coefficients, at less than half the cost; only if that fails is each checked by itself. So who
/// sends a bad one costs us about a third more than without this.
fn which_are_valid(claims: &[Claim]) -> Vec<bool> {
    if claims.len() > 1 && are_all_valid(claims) {
        vec![true; claims.len()]
    } else {
        claims.iter().map(Claim::is_valid).collect()
    }
}

fn are_all_valid(claims: &[Claim]) -> bool {
    let mut known: Option<(Hotkey, schnorrkel::PublicKey)> = None;
    let mut parse = |claim: &Claim| {
        let signature = schnorrkel::Signature::from_bytes(&claim.signature.0).ok()?;
        // The items of a call have one signer as a rule.
        let key = match known {
            Some((signer, key)) if signer == claim.signer => key,
            _ => schnorrkel::PublicKey::from_bytes(&claim.signer.0).ok()?,
        };
        known = Some((claim.signer, key));
        Some((signature, key))
    };
    let parsed: Option<(Vec<_>, Vec<_>)> = claims.iter().map(&mut parse).collect();
    let Some((signatures, keys)) = parsed else { return false };
    let context = signing_context(CONTEXT);
    let transcripts = claims.iter().map(|claim| context.bytes(&claim.message));
    schnorrkel::verify_batch(transcripts, &signatures, &keys, true).is_ok()
}

fn receipt_claim(receipt: &Receipt) -> Claim {
    let evidence = &receipt.evidence;
    let message = evidence.signing_message();
    Claim { signer: evidence.worker, message, signature: receipt.signature }
}

fn seal_claim(identity: &NodeIdentity, seal: &Seal) -> Claim {
    let Seal { held, worker, result, signature } = seal;
    let NodeIdentity { genesis, netuid, .. } = identity;
    let message = Seal::signing_message(genesis, *netuid, held, worker, result);
    Claim { signer: *worker, message, signature: *signature }
}

/// Whether the receipt is signed by the worker that it names.
pub(crate) fn is_signed_by_worker(receipt: &Receipt) -> bool {
    receipt_claim(receipt).is_valid()
}

/// The same of each, in order.
pub(crate) fn which_are_signed_by_worker(receipts: &[Receipt]) -> Vec<bool> {
    let claims: Vec<Claim> = receipts.iter().map(receipt_claim).collect();
    which_are_valid(&claims)
}

/// Whether the seal is signed by the worker that it names, for this node's chain and subnet.
pub(crate) fn is_sealed_by_worker(identity: &NodeIdentity, seal: &Seal) -> bool {
    seal_claim(identity, seal).is_valid()
}

/// The same of each, in order.
pub(crate) fn which_are_sealed_by_worker(identity: &NodeIdentity, seals: &[Seal]) -> Vec<bool> {
    let claims: Vec<Claim> = seals.iter().map(|seal| seal_claim(identity, seal)).collect();
    which_are_valid(&claims)
}

#[cfg(test)]
mod tests {
    use node_core::id::{AssignmentId, Attempt, BlockHash, Digest, LeaseId, Netuid};
    use node_core::lease::HeldLease;

    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_message_only() {
        let alice = sr25519::Pair::from_string("//Alice", None).unwrap();
        let bob = sr25519::Pair::from_string("//Bob", None).unwrap();
        let signature = Signature(alice.sign(b"message").0);
        let is_valid = |key: &sr25519::Pair, message: &[u8]| {
            Sr25519Verifier.is_valid(&Hotkey(key.public().0), message, &signature)
        };
        assert!(is_valid(&alice, b"message"));
        assert!(!is_valid(&bob, b"message"));
        assert!(!is_valid(&alice, b"massage"));
    }

    fn seal() -> (NodeIdentity, Seal) {
        let identity = NodeIdentity {
            hotkey: Hotkey([9; 32]),
            genesis: BlockHash([3; 32]),
            netuid: Netuid(7),
            software_version: String::new(),
        };
        let held = HeldLease {
            assignment: AssignmentId([4; 32]),
            lease: LeaseId([5; 32]),
            attempt: Attempt(1),
        };
        let (worker, result) = (Hotkey([1; 32]), Digest([6; 32]));
        (identity, Seal { held, worker, result, signature: Signature([0; 64]) })
    }

    fn signed_bytes(identity: &NodeIdentity, seal: &Seal) -> Vec<u8> {
        let NodeIdentity { genesis, netuid, .. } = identity;
        Seal::signing_message(genesis, *netuid, &seal.held, &seal.worker, &seal.result)
    }

    #[test]
    fn the_signed_bytes_of_a_seal_are_those_of_the_protocol_page() {
        let (identity, seal) = seal();
        let bytes = hex::encode(signed_bytes(&identity, &seal));
        let page = include_str!("../../../docs/protocol.md");
        assert!(page.lines().any(|line| line == bytes), "the page does not have {bytes}");
    }

    #[test]
    fn a_seal_holds_for_its_chain_subnet_lease_worker_and_result_only() {
        let alice = sr25519::Pair::from_string("//Alice", None).unwrap();
        let (identity, mut seal) = seal();
        seal.worker = Hotkey(alice.public().0);
        seal.signature = Signature(alice.sign(&signed_bytes(&identity, &seal)).0);
        assert!(is_sealed_by_worker(&identity, &seal));

        let elsewhere = NodeIdentity { genesis: BlockHash([4; 32]), ..identity.clone() };
        assert!(!is_sealed_by_worker(&elsewhere, &seal));
        let elsewhere = NodeIdentity { netuid: Netuid(8), ..identity.clone() };
        assert!(!is_sealed_by_worker(&elsewhere, &seal));
        let mut changed = [seal; 5];
        changed[0].held.assignment.0[0] ^= 1;
        changed[1].held.lease.0[0] ^= 1;
        changed[2].held.attempt.0 ^= 1;
        changed[3].worker = Hotkey([1; 32]);
        changed[4].result.0[0] ^= 1;
        for seal in &changed {
            assert!(!is_sealed_by_worker(&identity, seal), "{seal:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_key_and_no_signature_are_invalid_and_do_not_panic() {
        for byte in [0, 1, 0x7f, 0xff] {
            let hotkey = Hotkey([byte; 32]);
            assert!(!Sr25519Verifier.is_valid(&hotkey, b"", &Signature([byte; 64])));
        }
    }

    /// As many claims as `signers`, each signed by its signer.
    fn claims(signers: &[&str]) -> Vec<Claim> {
        let claim = |(number, signer): (usize, &&str)| {
            let key = sr25519::Pair::from_string(signer, None).unwrap();
            let message = format!("message {number}").into_bytes();
            let signature = Signature(key.sign(&message).0);
            Claim { signer: Hotkey(key.public().0), message, signature }
        };
        signers.iter().enumerate().map(claim).collect()
    }

    #[test]
    fn what_is_checked_at_once_is_what_is_valid_one_by_one() {
        let signers = [["//Alice"; 3], ["//Bob"; 3], ["//Alice"; 3]].concat();
        let valid = claims(&signers);
        assert_eq!(which_are_valid(&valid), [true; 9]);
        let spoil: [fn(&mut Claim); 6] = [
            |claim| claim.message.push(0),
            |claim| claim.signature.0[0] ^= 1,
            |claim| claim.signature.0[32] ^= 1,
            // The mark of the signature scheme, and a scalar above the group's order.
            |claim| claim.signature.0[63] &= 0x7f,
            |claim| claim.signature.0[32..].fill(0xff),
            |claim| claim.signer = Hotkey([0xff; 32]),
        ];
        for (way, spoil) in spoil.iter().enumerate() {
            for bad in 0..signers.len() {
                let mut claims = valid.clone();
                spoil(&mut claims[bad]);
                let expected: Vec<bool> = (0..signers.len()).map(|n| n != bad).collect();
                assert_eq!(which_are_valid(&claims), expected, "{bad} spoiled in way {way}");
            }
        }
    }

    #[test]
    fn two_signatures_that_are_wrong_by_opposite_amounts_do_not_cancel_out() {
        use curve25519_dalek::scalar::Scalar;
        let mut claims = claims(&["//Alice"; 2]);
        for (claim, is_more) in claims.iter_mut().zip([true, false]) {
            let mut bytes: [u8; 32] = claim.signature.0[32..].try_into().unwrap();
            bytes[31] &= 0x7f;
            let scalar = Scalar::from_canonical_bytes(bytes).unwrap();
            let moved = if is_more { scalar + Scalar::ONE } else { scalar - Scalar::ONE };
            claim.signature.0[32..].copy_from_slice(moved.as_bytes());
            claim.signature.0[63] |= 0x80;
        }
        assert_eq!(which_are_valid(&claims), [false; 2]);
    }

    #[test]
    fn none_and_one_are_checked_too() {
        assert_eq!(which_are_valid(&[]), Vec::<bool>::new());
        assert_eq!(which_are_valid(&claims(&["//Alice"])), [true]);
        let mut one = claims(&["//Alice"]);
        one[0].message.clear();
        assert_eq!(which_are_valid(&one), [false]);
    }
}

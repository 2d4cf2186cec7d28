//! sr25519 signatures, as on the chain (signing context `substrate`).

use node_core::evidence::Receipt;
use node_core::id::{Hotkey, Signature, SignatureVerifier};
use node_core::lease::Seal;
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

/// Whether the receipt is signed by the worker that it names.
pub(crate) fn is_signed_by_worker(receipt: &Receipt) -> bool {
    let evidence = &receipt.evidence;
    Sr25519Verifier.is_valid(&evidence.worker, &evidence.signing_message(), &receipt.signature)
}

/// Whether the seal is signed by the worker that it names, for this node's chain and subnet.
pub(crate) fn is_sealed_by_worker(identity: &NodeIdentity, seal: &Seal) -> bool {
    let Seal { held, worker, result, signature } = seal;
    let NodeIdentity { genesis, netuid, .. } = identity;
    let message = Seal::signing_message(genesis, *netuid, held, worker, result);
    Sr25519Verifier.is_valid(worker, &message, signature)
}

#[cfg(test)]
mod tests {
    use node_core::id::{AssignmentId, Attempt, BlockHash, Digest, LeaseId, Netuid};
    use node_core::lease::{HeldLease, Seal};

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

    #[test]
    fn the_signed_bytes_of_a_seal_are_those_of_the_protocol_page() {
        let held = HeldLease {
            assignment: AssignmentId([4; 32]),
            lease: LeaseId([5; 32]),
            attempt: Attempt(1),
        };
        let (genesis, worker) = (BlockHash([3; 32]), Hotkey([1; 32]));
        let message = Seal::signing_message(&genesis, Netuid(7), &held, &worker, &Digest([6; 32]));
        let page = include_str!("../../../docs/protocol.md");
        assert!(page.contains(&hex::encode(&message)), "{}", hex::encode(message));
    }

    #[test]
    fn bytes_that_are_no_key_and_no_signature_are_invalid_and_do_not_panic() {
        for byte in [0, 1, 0x7f, 0xff] {
            let hotkey = Hotkey([byte; 32]);
            assert!(!Sr25519Verifier.is_valid(&hotkey, b"", &Signature([byte; 64])));
        }
    }
}

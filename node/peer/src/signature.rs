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
}

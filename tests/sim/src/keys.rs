//! Signatures of this world: deterministic, and made by the right key only.
//!
//! A signature is a hash over a secret of the key and the message. Nobody but [`Keys`] knows the
//! secrets, so what is not signed by a key's owner does not pass, as with sr25519. Real signatures
//! would cost more than everything else that a history does; who may sign what is the same.

use std::collections::BTreeMap;

use node_core::evidence::{Evidence, Receipt};
use node_core::id::{DigestBuilder, Hotkey, Signature};
use node_core::lease::Seal;
use node_core::view::ChainView;

/// The secret keys of all validators.
#[derive(Debug)]
pub(crate) struct Keys(BTreeMap<Hotkey, [u8; 32]>);

impl Keys {
    pub(crate) fn new(seed: u64, hotkeys: &[Hotkey]) -> Self {
        let secret = |hotkey: &Hotkey| {
            DigestBuilder::new("sim/secret").number(seed).bytes(&hotkey.0).finish()
        };
        Self(hotkeys.iter().map(|hotkey| (*hotkey, secret(hotkey))).collect())
    }

    /// The signature of `hotkey` over `message`; of a stranger, one that is never valid.
    pub(crate) fn sign(&self, hotkey: &Hotkey, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        if let Some(secret) = self.0.get(hotkey) {
            let half = DigestBuilder::new("sim/signature").bytes(secret).bytes(message).finish();
            signature[..32].copy_from_slice(&half);
            signature[32..].copy_from_slice(secret_free(&half).as_slice());
        }
        Signature(signature)
    }

    /// The receipt for this evidence.
    pub(crate) fn sign_receipt(&self, evidence: Evidence) -> Receipt {
        let signature = self.sign(&evidence.worker, &evidence.signing_message());
        Receipt { evidence, signature }
    }

    /// Whether a seal is signed by the worker that it names.
    pub(crate) fn is_seal_signed(&self, view: &ChainView, seal: &Seal) -> bool {
        let Seal { held, worker, result, signature } = seal;
        let message = Seal::signing_message(&view.genesis, view.netuid, held, worker, result);
        self.0.contains_key(worker) && self.sign(worker, &message) == *signature
    }

    /// Whether the receipt is signed by the worker that it names: what the peers' doors check
    /// before a receipt reaches a machine.
    pub(crate) fn is_signed_by_worker(&self, receipt: &Receipt) -> bool {
        let Evidence { worker, .. } = receipt.evidence;
        self.0.contains_key(&worker)
            && self.sign(&worker, &receipt.evidence.signing_message()) == receipt.signature
    }
}

/// The second half of a signature: it says nothing that the first does not.
fn secret_free(half: &[u8; 32]) -> [u8; 32] {
    DigestBuilder::new("sim/signature/2").bytes(half).finish()
}

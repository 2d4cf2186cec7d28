//! Signing for tests and tools that live in this process: no client needed.

use codec::Encode;
use node_subtensor_runtime::{
    tx_extension, AccountId, Balance, Hash, Nonce, RuntimeCall, SignedPayload, UncheckedExtrinsic,
    VERSION,
};
use sp_core::{sr25519, Pair};
use sp_runtime::generic::Era;

/// How long a signature is good, and from when.
#[derive(Clone, Copy, Debug)]
pub enum Lifetime {
    /// For ever.
    Immortal,
    /// For `period` blocks (a power of two from 4) from the block of this number and hash.
    Mortal {
        /// Blocks.
        period: u64,
        /// The block it starts from.
        from: (u64, Hash),
    },
}

/// What the signer grants.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// The transaction's place among the signer's.
    pub nonce: Nonce,
    /// Paid on top of the fee, in rao. It buys nothing on this chain.
    pub tip: Balance,
    /// How long it is good.
    pub lifetime: Lifetime,
}

impl Terms {
    /// For ever, without a tip.
    pub fn immortal(nonce: Nonce) -> Self {
        Self { nonce, tip: 0, lifetime: Lifetime::Immortal }
    }
}

/// Signs a call for the chain with this genesis and returns the extrinsic's bytes.
pub fn sign(call: RuntimeCall, pair: &sr25519::Pair, genesis: Hash, terms: Terms) -> Vec<u8> {
    sign_for(VERSION.spec_version, call, pair, genesis, terms)
}

/// Like [`sign`], for a chain that was upgraded to another version.
pub fn sign_for(
    spec_version: u32,
    call: RuntimeCall,
    pair: &sr25519::Pair,
    genesis: Hash,
    terms: Terms,
) -> Vec<u8> {
    let (era, checkpoint) = match terms.lifetime {
        Lifetime::Immortal => (Era::Immortal, genesis),
        Lifetime::Mortal { period, from: (number, hash) } => (Era::mortal(period, number), hash),
    };
    let extension = tx_extension(era, terms.nonce, terms.tip);
    let implicit = (
        ((), spec_version, VERSION.transaction_version, genesis, checkpoint, (), ()),
        ((), (), (), (), ()),
        None,
    );
    let payload = SignedPayload::from_raw(call, extension, implicit);
    let signature = payload.using_encoded(|bytes| pair.sign(bytes));
    let (call, extension, _) = payload.deconstruct();
    let signer = AccountId::from(pair.public());
    UncheckedExtrinsic::new_signed(call, signer.into(), signature.into(), extension).encode()
}

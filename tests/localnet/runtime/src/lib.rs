#![recursion_limit = "256"]
//! The local chain's runtime: real FRAME, compiled natively, no wasm.
//!
//! The pallets that a validator and a miner touch carry the real chain's names, indices, storage
//! and transaction extensions, so that an unmodified client cannot tell the difference where it
//! looks. `construct_runtime!` stands at the crate root on purpose: scale decoders recognise
//! `node_subtensor_runtime::RuntimeCall` by its two path segments.
//!
//! Not here: blocks, pool, state and JSON-RPC (crate `localnet`).

pub mod apis;
pub mod aura;
pub mod commitments;
mod config;
pub mod drand;
pub mod extensions;
pub mod metagraph;
pub mod subtensor;
pub mod upgrade;

pub use apis::{api, RUNTIME_API_VERSIONS};
pub use config::{
    AllowLoopbackAxons, SlotDuration, StrictCommitPool, BLOCK_HASH_COUNT, EXISTENTIAL_DEPOSIT,
};
pub use extensions::{tx_extension, TxExtension};
pub use frame_system;
pub use pallet_balances;
pub use pallet_sudo;
pub use pallet_timestamp;

use sp_runtime::{
    generic,
    traits::{BlakeTwo256, IdentifyAccount, TrailingZeroInput, Verify},
    MultiAddress, MultiSignature,
};
use sp_version::RuntimeVersion;

/// Any of the signature schemes FRAME knows; hotkeys use sr25519.
pub type Signature = MultiSignature;
/// 32 bytes.
pub type AccountId = <<Signature as Verify>::Signer as IdentifyAccount>::AccountId;
/// In rao; 1 TAO is 10^9 of them.
pub type Balance = u64;
/// Transactions sent by an account.
pub type Nonce = u32;
/// Height of a block.
pub type BlockNumber = u32;
/// Blake2-256.
pub type Hash = sp_core::H256;
/// Header of a block.
pub type Header = generic::Header<BlockNumber, BlakeTwo256>;
/// How a transaction names its signer.
pub type Address = MultiAddress<AccountId, ()>;
/// A transaction as it stands in a block.
pub type UncheckedExtrinsic =
    generic::UncheckedExtrinsic<Address, RuntimeCall, Signature, TxExtension>;
/// What is signed.
pub type SignedPayload = generic::SignedPayload<RuntimeCall, TxExtension>;
/// A block.
pub type Block = generic::Block<Header, UncheckedExtrinsic>;
/// Executes blocks.
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

/// 1 TAO in rao.
pub const TAO: Balance = 1_000_000_000;

/// The version clients sign for.
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: std::borrow::Cow::Borrowed("node-subtensor"),
    impl_name: std::borrow::Cow::Borrowed("node-subtensor"),
    authoring_version: 1,
    spec_version: 425,
    impl_version: 1,
    apis: RUNTIME_API_VERSIONS,
    transaction_version: 1,
    system_version: 1,
};

frame_support::construct_runtime!(
    pub enum Runtime {
        System: frame_system = 0,
        Timestamp: pallet_timestamp = 2,
        Aura: aura = 3,
        Balances: pallet_balances = 5,
        TransactionPayment: pallet_transaction_payment = 6,
        SubtensorModule: subtensor = 7,
        Sudo: pallet_sudo = 12,
        Commitments: commitments = 18,
        Drand: drand = 26,
    }
);

/// The account of 32 zero bytes, which stands for "nobody".
pub fn zero_account<AccountId: codec::Decode>() -> AccountId {
    AccountId::decode(&mut TrailingZeroInput::zeroes())
        .expect("every type of fixed length decodes from zeros")
}

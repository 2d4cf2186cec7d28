//! The transaction extensions, in the real chain's order.
//!
//! Each file says where it departs from FRAME's own. Extensions of pallets that do not exist here
//! keep their place with nothing behind them, because their names are part of what is signed.

mod nonce;
mod payment;
mod placeholder;
mod subtensor;

pub use nonce::CheckNonce;
pub use payment::ChargeTransactionPaymentWrapper;
pub use placeholder::{CheckShieldedTxValidity, DrandPriority, SudoTransactionExtension};
pub use subtensor::{CustomTransactionError, SubtensorTransactionExtension};

use crate::{Balance, Nonce, Runtime};
use sp_runtime::generic::Era;

/// The extensions of FRAME itself. Tuples hold twelve at most, so the list is nested; the metadata
/// shows it flat.
pub type SystemExtensions = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckMortality<Runtime>,
    CheckNonce,
    frame_system::CheckWeight<Runtime>,
);

/// The extensions that the real chain adds.
pub type ChainExtensions = (
    ChargeTransactionPaymentWrapper,
    SudoTransactionExtension,
    CheckShieldedTxValidity,
    SubtensorTransactionExtension,
    DrandPriority,
);

/// All of them, as an extrinsic carries them.
pub type TxExtension =
    (SystemExtensions, ChainExtensions, frame_metadata_hash_extension::CheckMetadataHash<Runtime>);

/// The extensions of a transaction.
pub fn tx_extension(era: Era, nonce: Nonce, tip: Balance) -> TxExtension {
    (
        (
            frame_system::CheckNonZeroSender::new(),
            frame_system::CheckSpecVersion::new(),
            frame_system::CheckTxVersion::new(),
            frame_system::CheckGenesis::new(),
            frame_system::CheckMortality::from(era),
            CheckNonce(nonce),
            frame_system::CheckWeight::new(),
        ),
        (
            ChargeTransactionPaymentWrapper::new(tip),
            SudoTransactionExtension,
            CheckShieldedTxValidity,
            SubtensorTransactionExtension,
            DrandPriority,
        ),
        frame_metadata_hash_extension::CheckMetadataHash::new(false),
    )
}

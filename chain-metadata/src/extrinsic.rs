//! What stands around a call in a signed extrinsic.
//!
//! Every one of these is written by our signer, so a change in any of them makes all signatures
//! impossible. An extension that is not listed is no obstacle as long as it holds nothing: then
//! it adds neither to the extrinsic nor to what is signed.

use crate::Shape::{self, Bytes, Optional, SomeVariants, Unit, Unsigned};
use crate::{Absent, ACCOUNT, HASH};

/// The version of extrinsics that the node writes.
pub const VERSION: u8 = 4;

/// The version of the set of extensions that belongs to [`VERSION`].
pub const EXTENSIONS_VERSION: u8 = 0;

/// Who signs: the type's name, and what the node writes of it.
pub const ADDRESS: (&str, Shape) = ("MultiAddress", SomeVariants(&[("Id", ACCOUNT)]));

/// The signature: the type's name, and what the node writes of it.
pub const SIGNATURE: (&str, Shape) = ("MultiSignature", SomeVariants(&[("Sr25519", Bytes(64))]));

/// A transaction extension that holds something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its identifier.
    pub name: &'static str,
    /// What the extrinsic carries for it.
    pub extra: Shape,
    /// What is signed besides.
    pub implicit: Shape,
    /// What it means if the runtime does not have it.
    pub absent: Absent,
}

/// Binds the signature to a runtime.
pub const CHECK_SPEC_VERSION: Extension = Extension {
    name: "CheckSpecVersion",
    extra: Unit,
    implicit: Unsigned(32),
    absent: Absent::Fatal,
};
/// Binds the signature to a layout of extrinsics.
pub const CHECK_TX_VERSION: Extension = Extension {
    name: "CheckTxVersion",
    extra: Unit,
    implicit: Unsigned(32),
    absent: Absent::Fatal,
};
/// Binds the signature to a chain.
pub const CHECK_GENESIS: Extension =
    Extension { name: "CheckGenesis", extra: Unit, implicit: HASH, absent: Absent::Fatal };
/// Binds the signature to an era, and to the block that anchors it.
pub const CHECK_MORTALITY: Extension = Extension {
    name: "CheckMortality",
    extra: SomeVariants(&[("Immortal", Unit), ("Mortal3", Unsigned(8))]),
    implicit: HASH,
    absent: Absent::Fatal,
};
/// Binds the signature to a place in the account's order.
pub const CHECK_NONCE: Extension =
    Extension { name: "CheckNonce", extra: Unsigned(32), implicit: Unit, absent: Absent::Fatal };
/// The tip, which the chain ignores.
pub const CHARGE_TRANSACTION_PAYMENT: Extension = Extension {
    name: "ChargeTransactionPayment",
    extra: Unsigned(64),
    implicit: Unit,
    absent: Absent::Fallback("no tip is written"),
};
/// Whether the signer saw the same metadata; ours says nothing about it.
pub const CHECK_METADATA_HASH: Extension = Extension {
    name: "CheckMetadataHash",
    extra: SomeVariants(&[("Disabled", Unit)]),
    implicit: Optional(&HASH),
    absent: Absent::Fallback("nothing is said about metadata"),
};

/// Every extension above.
pub const EXTENSIONS: &[&Extension] = &[
    &CHECK_SPEC_VERSION,
    &CHECK_TX_VERSION,
    &CHECK_GENESIS,
    &CHECK_MORTALITY,
    &CHECK_NONCE,
    &CHARGE_TRANSACTION_PAYMENT,
    &CHECK_METADATA_HASH,
];

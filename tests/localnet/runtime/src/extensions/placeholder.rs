//! Extensions of pallets that this chain does not have.

use crate::RuntimeCall;
use codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;
use sp_runtime::{impl_tx_ext_default, traits::TransactionExtension};

macro_rules! placeholder {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Debug, Decode, DecodeWithMemTracking, Default, Encode, Eq, PartialEq, TypeInfo,
        )]
        pub struct $name;

        impl TransactionExtension<RuntimeCall> for $name {
            const IDENTIFIER: &'static str = stringify!($name);
            type Implicit = ();
            type Val = ();
            type Pre = ();
            impl_tx_ext_default!(RuntimeCall; weight validate prepare);
        }
    };
}

placeholder! {
    /// Lets only the sudo key call sudo; there is no sudo here.
    SudoTransactionExtension
}
placeholder! {
    /// Checks shielded transactions; there are none here.
    CheckShieldedTxValidity
}
placeholder! {
    /// Puts beacon pulses first. Here whoever builds the block does, and the pool's order.
    DrandPriority
}

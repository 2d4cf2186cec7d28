//! Fees as FRAME charges them, with the real chain's flat priority: a tip buys nothing, and a
//! second transaction with the same nonce never replaces the first.

use crate::{Balance, Runtime, RuntimeCall, RuntimeOrigin};
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::{
    dispatch::{DispatchClass, DispatchInfo, PostDispatchInfo},
    weights::Weight,
};
use pallet_transaction_payment::ChargeTransactionPayment;
use scale_info::TypeInfo;
use sp_runtime::{
    traits::{
        DispatchOriginOf, Implication, TransactionExtension, TransactionExtensionMetadata,
        ValidateResult,
    },
    transaction_validity::{TransactionPriority, TransactionSource, TransactionValidityError},
    DispatchResult,
};

/// Priority of ordinary and mandatory transactions.
const PRIORITY_NORMAL: TransactionPriority = 1;
/// Priority of operational transactions.
const PRIORITY_OPERATIONAL: TransactionPriority = 10_000_000_000;

type Inner = ChargeTransactionPayment<Runtime>;

/// Same name and shape as on the real chain. In the metadata it shows itself as the plain
/// `ChargeTransactionPayment`, which is what clients know.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct ChargeTransactionPaymentWrapper {
    inner: Inner,
}

impl ChargeTransactionPaymentWrapper {
    /// Pays the fee and a tip.
    pub fn new(tip: Balance) -> Self {
        Self { inner: Inner::from(tip) }
    }
}

impl TransactionExtension<RuntimeCall> for ChargeTransactionPaymentWrapper {
    const IDENTIFIER: &'static str = "ChargeTransactionPaymentWrapper";
    type Implicit = ();
    type Val = <Inner as TransactionExtension<RuntimeCall>>::Val;
    type Pre = <Inner as TransactionExtension<RuntimeCall>>::Pre;

    fn metadata() -> Vec<TransactionExtensionMetadata> {
        Inner::metadata()
    }

    fn weight(&self, call: &RuntimeCall) -> Weight {
        self.inner.weight(call)
    }

    fn validate(
        &self,
        origin: DispatchOriginOf<RuntimeCall>,
        call: &RuntimeCall,
        info: &DispatchInfo,
        len: usize,
        implicit: Self::Implicit,
        implication: &impl Implication,
        source: TransactionSource,
    ) -> ValidateResult<Self::Val, RuntimeCall> {
        let (mut validity, val, origin) =
            self.inner.validate(origin, call, info, len, implicit, implication, source)?;
        validity.priority = match info.class {
            DispatchClass::Normal | DispatchClass::Mandatory => PRIORITY_NORMAL,
            DispatchClass::Operational => PRIORITY_OPERATIONAL,
        };
        Ok((validity, val, origin))
    }

    fn prepare(
        self,
        val: Self::Val,
        origin: &RuntimeOrigin,
        call: &RuntimeCall,
        info: &DispatchInfo,
        len: usize,
    ) -> Result<Self::Pre, TransactionValidityError> {
        self.inner.prepare(val, origin, call, info, len)
    }

    fn post_dispatch_details(
        pre: Self::Pre,
        info: &DispatchInfo,
        post_info: &PostDispatchInfo,
        len: usize,
        result: &DispatchResult,
    ) -> Result<Weight, TransactionValidityError> {
        Inner::post_dispatch_details(pre, info, post_info, len, result)
    }
}

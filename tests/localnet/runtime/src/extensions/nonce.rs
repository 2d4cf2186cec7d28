//! `CheckNonce` of the real chain: like FRAME's, but a call that pays no fee is accepted from an
//! account without balance, so a hotkey needs no TAO.

use crate::{AccountId, Nonce, Runtime, RuntimeCall, RuntimeOrigin};
use codec::{Decode, DecodeWithMemTracking, Encode};
use frame_support::dispatch::{DispatchInfo, Pays};
use frame_system::Account;
use scale_info::TypeInfo;
use sp_runtime::{
    impl_tx_ext_default,
    traits::{AsSystemOriginSigner, Implication, TransactionExtension, ValidateResult},
    transaction_validity::{
        InvalidTransaction, TransactionLongevity, TransactionSource, TransactionValidityError,
        ValidTransaction,
    },
};

/// Nonce check and increment.
#[derive(Clone, Debug, Decode, DecodeWithMemTracking, Encode, Eq, PartialEq, TypeInfo)]
pub struct CheckNonce(#[codec(compact)] pub Nonce);

impl CheckNonce {
    fn check(&self, who: &AccountId, info: &DispatchInfo) -> Result<Nonce, InvalidTransaction> {
        let account = Account::<Runtime>::get(who);
        let exists = account.providers > 0 || account.sufficients > 0;
        if info.pays_fee == Pays::Yes && !exists {
            // Nobody has paid for keeping the nonce.
            return Err(InvalidTransaction::Payment);
        }
        if self.0 < account.nonce {
            return Err(InvalidTransaction::Stale);
        }
        Ok(account.nonce)
    }
}

impl TransactionExtension<RuntimeCall> for CheckNonce {
    const IDENTIFIER: &'static str = "CheckNonce";
    type Implicit = ();
    /// The signer; none for unsigned transactions.
    type Val = Option<AccountId>;
    type Pre = ();

    impl_tx_ext_default!(RuntimeCall; weight);

    fn validate(
        &self,
        origin: RuntimeOrigin,
        _call: &RuntimeCall,
        info: &DispatchInfo,
        _len: usize,
        _implicit: (),
        _implication: &impl Implication,
        _source: TransactionSource,
    ) -> ValidateResult<Self::Val, RuntimeCall> {
        let Some(who) = origin.as_system_origin_signer().cloned() else {
            return Ok((ValidTransaction::default(), None, origin));
        };
        let next = self.check(&who, info)?;
        let requires = match self.0.checked_sub(1) {
            Some(before) if next < self.0 => vec![(&who, before).encode()],
            _ => Vec::new(),
        };
        let validity = ValidTransaction {
            requires,
            provides: vec![(&who, self.0).encode()],
            longevity: TransactionLongevity::MAX,
            ..Default::default()
        };
        Ok((validity, Some(who), origin))
    }

    fn prepare(
        self,
        who: Self::Val,
        _origin: &RuntimeOrigin,
        _call: &RuntimeCall,
        info: &DispatchInfo,
        _len: usize,
    ) -> Result<Self::Pre, TransactionValidityError> {
        let Some(who) = who else { return Ok(()) };
        let next = self.check(&who, info)?;
        if self.0 > next {
            return Err(InvalidTransaction::Future.into());
        }
        Account::<Runtime>::mutate(&who, |account| account.nonce = next.saturating_add(1));
        Ok(())
    }
}

//! The upgrade switch: another version and other error numbers, from storage.

use crate::{
    beacon::{concealing, BeaconWorld},
    world::set_weights,
};
use codec::Encode;
use frame_support::storage::unhashed;
use localnet::{chain::SubmitError, keys::DevKey};
use node_subtensor_runtime::{
    subtensor::Error,
    tx_extension,
    upgrade::{upgrade_key, Upgrade},
    AccountId, Runtime, RuntimeCall, SignedPayload, UncheckedExtrinsic, VERSION,
};
use sp_core::Pair;
use sp_runtime::{
    generic::Era,
    transaction_validity::{InvalidTransaction, TransactionValidityError},
    DispatchError,
};

fn upgrade(found: &BeaconWorld, to: Upgrade) {
    found.alter(|| unhashed::put(&upgrade_key(), &to));
}

/// Signs for a version of the runtime.
fn signed_for(found: &BeaconWorld, spec: u32, key: &DevKey, call: RuntimeCall) -> Vec<u8> {
    let nonce = found.world.chain.next_index(&key.account()).unwrap();
    let genesis = found.world.chain.genesis_hash();
    let implicit = (
        ((), spec, VERSION.transaction_version, genesis, genesis, (), ()),
        ((), (), (), (), ()),
        None,
    );
    let extension = tx_extension(Era::Immortal, nonce, 0);
    let payload = SignedPayload::from_raw(call, extension, implicit);
    let signature = payload.using_encoded(|bytes| key.pair.sign(bytes));
    let (call, extension, _) = payload.deconstruct();
    let signer = AccountId::from(key.pair.public());
    UncheckedExtrinsic::new_signed(call, signer.into(), signature.into(), extension).encode()
}

#[test]
fn after_an_upgrade_the_chain_reports_the_new_version_and_takes_signatures_for_it_alone() {
    let found = BeaconWorld::new(concealing());
    let reported = || found.world.chain.version(None).unwrap().spec_version;
    assert_eq!(reported(), 425);
    upgrade(&found, Upgrade { spec_version: 426, error_shift: 0 });
    assert_eq!(reported(), 426);

    let validator = found.world.validator(0);
    let submit = |spec| {
        let bytes = signed_for(&found, spec, &validator, set_weights(&[1], &[1]));
        found.world.chain.submit(bytes).map(drop)
    };
    let bad = TransactionValidityError::Invalid(InvalidTransaction::BadProof);
    assert_eq!(submit(425), Err(SubmitError::Invalid(bad)));
    submit(426).unwrap();
    let block = found.world.seal();
    assert_eq!(found.world.failures().len(), 1, "it is in the block, where commit-reveal is on");
    found.world.chain.verify(block.hash).unwrap();
}

#[test]
fn errors_carry_other_numbers_after_an_upgrade_that_moves_them() {
    let number_of = |error: &DispatchError| match error {
        DispatchError::Module(error) => error.error[0],
        other => panic!("{other:?} is no error of a pallet"),
    };
    let found = BeaconWorld::new(concealing());
    let refused = || {
        found.world.send(&found.world.validator(0), set_weights(&[1], &[1])).unwrap();
        let block = found.world.seal();
        found.world.chain.verify(block.hash).unwrap();
        number_of(&found.world.failures()[0])
    };
    let before = number_of(&Error::<Runtime>::CommitRevealEnabled.into());
    assert_eq!(before, 53, "the number at spec 425");
    assert_eq!(refused(), before);
    let moved = Upgrade { error_shift: 2, ..Upgrade::default() };
    upgrade(&found, moved);
    assert_eq!(refused(), 55);
    assert_eq!(moved.moved_error(before), 55);
}

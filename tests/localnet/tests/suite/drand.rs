//! The beacon's pulses on the chain, and commitments that open with them.

use crate::{
    beacon::{concealing, BeaconWorld},
    world::{commit, raw},
};
use codec::Encode;
use localnet::{chain::SubmitError, GenesisSpec};
use node_subtensor_runtime::{
    commitments::{self, CommitmentOf, Data, RevealedCommitments, TimelockedIndex, REVEALS_KEPT},
    drand::{self, *},
    AccountId, Runtime, RuntimeEvent, UncheckedExtrinsic,
};
use sp_runtime::{
    transaction_validity::{InvalidTransaction, TransactionValidityError},
    DispatchError,
};

fn invalid(reason: InvalidTransaction) -> SubmitError {
    SubmitError::Invalid(TransactionValidityError::Invalid(reason))
}

fn submit(found: &BeaconWorld, extrinsic: &UncheckedExtrinsic) -> Result<(), SubmitError> {
    found.world.chain.submit(extrinsic.encode()).map(drop)
}

#[test]
fn without_another_word_the_chain_believes_quicknet() {
    let world = crate::world::World::new(GenesisSpec::default());
    let config = world.read(drand::BeaconConfig::<Runtime>::get);
    assert_eq!((config.period, config.genesis_time), (3, 1_692_803_367));
    let signature = "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";
    let signature = hex::decode(signature).unwrap();
    let pulse = Pulse {
        round: 1000,
        randomness: drand::beacon::randomness(&signature).to_vec().try_into().unwrap(),
        signature: signature.try_into().unwrap(),
    };
    world.chain.submit(drand::bring(pulse, 0).encode()).unwrap();
    world.seal();
    let event = RuntimeEvent::Drand(drand::Event::NewPulse { rounds: vec![1000] });
    assert!(world.events().contains(&event));
    assert_eq!(world.read(LastStoredRound::<Runtime>::get), 1000);
}

#[test]
fn pulses_are_stored_in_the_order_of_rounds_and_a_skipped_round_never_comes() {
    let found = BeaconWorld::new(concealing());
    for round in [9, 7] {
        found.bring_pulse(round).unwrap();
    }
    let block = found.world.seal();
    let rounds = |rounds| RuntimeEvent::Drand(drand::Event::NewPulse { rounds });
    let events = found.world.events();
    assert!(events.contains(&rounds(vec![7])) && events.contains(&rounds(vec![9])));
    let stored = |round| found.world.read(|| Pulses::<Runtime>::contains_key(round));
    assert_eq!([7, 8, 9].map(stored), [true, false, true]);
    let bounds = || {
        found
            .world
            .read(|| (OldestStoredRound::<Runtime>::get(), LastStoredRound::<Runtime>::get()))
    };
    assert_eq!(bounds(), (7, 9));
    assert_eq!(found.bring_pulse(8).map(drop), Err(invalid(InvalidTransaction::Stale)));
    found.world.chain.verify(block.hash).unwrap();
}

#[test]
fn a_pulse_that_the_beacon_did_not_sign_is_not_stored() {
    let found = BeaconWorld::new(concealing());
    let genuine = drand::pulse(&found.beacon, 5).unwrap();
    let relabelled = Pulse { round: 6, ..genuine.clone() };
    submit(&found, &drand::bring(relabelled, 0)).unwrap();
    found.world.seal();
    let unverified: DispatchError = drand::Error::<Runtime>::UnverifiedPulse.into();
    assert_eq!(found.world.failures(), [unverified]);

    let no_point = Pulse { signature: vec![1; 48].try_into().unwrap(), ..genuine };
    submit(&found, &drand::bring(no_point, 0)).unwrap();
    found.world.seal();
    let error: DispatchError = drand::Error::<Runtime>::PulseVerificationError.into();
    assert_eq!(found.world.failures(), [error]);
    assert_eq!(found.world.read(LastStoredRound::<Runtime>::get), 0);
}

#[test]
fn the_pool_takes_one_signed_pulse_at_a_time() {
    let found = BeaconWorld::new(concealing());
    let first = drand::pulse_extrinsic(&found.beacon, 5, 0).unwrap();
    let with = |change: fn(&mut PulsesPayload, &mut Option<BringerSignature>)| {
        let mut changed = first.clone();
        if let node_subtensor_runtime::RuntimeCall::Drand(Call::write_pulse {
            pulses_payload,
            signature,
        }) = &mut changed.function
        {
            change(pulses_payload, signature);
        }
        submit(&found, &changed)
    };
    let bad_signer = with(|_, signature| *signature = None);
    assert_eq!(bad_signer, Err(invalid(InvalidTransaction::BadSigner)));
    let two = with(|payload, _| payload.pulses.push(payload.pulses[0].clone()));
    assert_eq!(two, Err(invalid(InvalidTransaction::BadProof)), "it was not signed so");
    let later = drand::pulse_extrinsic(&found.beacon, 5, 99).unwrap();
    assert_eq!(submit(&found, &later), Err(invalid(InvalidTransaction::Future)));
    submit(&found, &first).unwrap();
}

fn sealed_field(found: &BeaconWorld, reveal_round: u64, text: &[u8]) -> Data {
    let encrypted = found.seal_bytes(reveal_round, text).try_into().unwrap();
    Data::TimelockEncrypted { encrypted, reveal_round }
}

fn revealed_event(who: &AccountId) -> RuntimeEvent {
    let event = commitments::Event::CommitmentRevealed { netuid: 1, who: who.clone() };
    RuntimeEvent::Commitments(event)
}

#[test]
fn a_sealed_commitment_opens_when_its_pulse_is_there_and_its_other_fields_stay() {
    let found = BeaconWorld::new(GenesisSpec::default());
    let miner = found.world.miner(0);
    let fields =
        vec![raw(b"open"), sealed_field(&found, 4, b"hidden"), sealed_field(&found, 8, b"later")];
    found.world.send(&miner, commit(fields)).unwrap();
    found.world.seal();
    let who = miner.account();
    let is_indexed =
        || found.world.read(|| TimelockedIndex::<Runtime>::get().contains(&(1, miner.account())));
    assert!(is_indexed());

    found.bring_pulse(4).unwrap();
    found.world.seal();
    assert!(!found.world.events().contains(&revealed_event(&who)), "one block after the pulse");
    let block = u64::from(found.world.seal().number());
    assert!(found.world.events().contains(&revealed_event(&who)));
    let revealed = || found.world.read(|| RevealedCommitments::<Runtime>::get(1, &who)).unwrap();
    assert_eq!(revealed(), [(b"hidden".to_vec(), block)]);
    let left = found.world.read(|| CommitmentOf::<Runtime>::get(1, &who)).unwrap().info.fields;
    assert_eq!(left.to_vec(), [raw(b"open"), sealed_field(&found, 8, b"later")]);
    assert!(is_indexed(), "one field is still sealed");

    found.bring_pulse(8).unwrap();
    found.world.seal();
    found.world.seal();
    assert_eq!(revealed().last().unwrap().0, b"later");
    assert!(!is_indexed());
}

#[test]
fn a_commitment_of_nothing_but_a_sealed_field_is_gone_when_it_opens_or_fails_to() {
    let found = BeaconWorld::new(GenesisSpec::default());
    let (honest, broken) = (found.world.miner(0), found.world.miner(1));
    found.world.send(&honest, commit(vec![sealed_field(&found, 4, b"text")])).unwrap();
    let encrypted = vec![9; 300].try_into().unwrap();
    let field = Data::TimelockEncrypted { encrypted, reveal_round: 4 };
    found.world.send(&broken, commit(vec![field])).unwrap();
    found.bring_pulse(4).unwrap();
    found.world.seal();
    found.world.seal();
    let events = found.world.events();
    assert!(events.contains(&revealed_event(&honest.account())));
    assert!(!events.contains(&revealed_event(&broken.account())), "without a word");
    found.world.read(|| {
        for who in [honest.account(), broken.account()] {
            assert_eq!(CommitmentOf::<Runtime>::get(1, &who), None);
        }
        assert!(RevealedCommitments::<Runtime>::get(1, broken.account()).is_none());
        assert!(TimelockedIndex::<Runtime>::get().is_empty());
    });
}

#[test]
fn the_ten_newest_revealed_texts_are_kept() {
    let found = BeaconWorld::new(GenesisSpec { tempo: 5, ..GenesisSpec::default() });
    let miner = found.world.miner(0);
    found.bring_pulse(4).unwrap();
    found.world.seal();
    let written = u8::try_from(REVEALS_KEPT).unwrap() + 2;
    for text in 0..written {
        found.world.send(&miner, commit(vec![sealed_field(&found, 4, &[b'a' + text])])).unwrap();
        found.world.seal();
        found.world.seal();
    }
    let revealed = found.world.read(|| RevealedCommitments::<Runtime>::get(1, miner.account()));
    let texts: Vec<u8> = revealed.unwrap().into_iter().map(|(text, _)| text[0]).collect();
    assert_eq!(texts, (b'c'..b'a' + written).collect::<Vec<u8>>());
}

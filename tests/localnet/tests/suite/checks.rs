//! What is refused, in which order, and what a success leaves behind.

use crate::world::{commit, raw, serve_axon, set_weights, World};
use frame_support::dispatch::Pays;
use localnet::{chain::SubmitError, ChainOptions, GenesisSpec};
use node_subtensor_runtime::{
    commitments::{self, CommitmentOf, Data, LastCommitment, UsedSpaceOf},
    frame_system,
    subtensor::{self, *},
    AccountId, Runtime, RuntimeEvent, RuntimeOrigin, System, TAO,
};
use sp_runtime::{
    transaction_validity::{InvalidTransaction, TransactionValidityError},
    DispatchError, DispatchResult,
};

const MINER_UID: u16 = 1;

/// A call of `set_mechanism_weights`, to be put right step by step.
struct Attempt {
    netuid: u16,
    mecid: u8,
    dests: Vec<u16>,
    weights: Vec<u16>,
    version_key: u64,
    signer: AccountId,
}

impl Attempt {
    fn run(&self) -> DispatchResult {
        Pallet::<Runtime>::set_mechanism_weights(
            RuntimeOrigin::signed(self.signer.clone()),
            self.netuid,
            self.mecid,
            self.dests.clone(),
            self.weights.clone(),
            self.version_key,
        )
    }

    fn dests(&mut self, dests: &[u16]) {
        self.dests = dests.to_vec();
        self.weights = vec![1; dests.len()];
    }
}

#[test]
fn weights_are_checked_in_the_real_chains_order() {
    let world = World::new(GenesisSpec { miners: 3, ..GenesisSpec::default() });
    let miner = world.miner(0).account();
    let nobody = world.miner(9).account();
    // Everything is wrong at first. Each step puts one thing right, and the next check speaks.
    type Step = (fn(&mut Attempt, &AccountId), Option<Error<Runtime>>);
    let steps: &[Step] = &[
        (|_, _| (), Some(Error::CommitRevealEnabled)),
        (
            |_, _| CommitRevealWeightsEnabled::<Runtime>::insert(0, false),
            Some(Error::CanNotSetRootNetworkWeights),
        ),
        (|attempt, _| attempt.netuid = 1, Some(Error::WeightVecNotEqualSize)),
        (|attempt, _| attempt.weights = vec![1; 9], Some(Error::MechanismDoesNotExist)),
        (|attempt, _| attempt.mecid = 0, Some(Error::UidsLengthExceedUidsInSubNet)),
        (|attempt, _| attempt.dests(&[9, 9]), Some(Error::HotKeyNotRegisteredInSubNet)),
        (|attempt, miner| attempt.signer = miner.clone(), Some(Error::NotEnoughStakeToSetWeights)),
        (|_, _| StakeThreshold::<Runtime>::put(0), Some(Error::IncorrectWeightVersionKey)),
        (|attempt, _| attempt.version_key = 7, Some(Error::SettingWeightsTooFast)),
        (
            |_, _| WeightsSetRateLimit::<Runtime>::insert(1, 10),
            Some(Error::NeuronNoValidatorPermit),
        ),
        (|_, _| ValidatorPermit::<Runtime>::insert(1, vec![true; 4]), Some(Error::DuplicateUids)),
        (|attempt, _| attempt.dests(&[9]), Some(Error::UidVecContainInvalidOne)),
        (|attempt, _| attempt.dests(&[0]), Some(Error::WeightVecLengthIsLow)),
        (|attempt, _| attempt.dests(&[0, 2]), None),
    ];
    world.read(|| {
        System::set_block_number(100);
        StakeThreshold::<Runtime>::put(5);
        WeightsVersionKey::<Runtime>::insert(1, 7);
        WeightsSetRateLimit::<Runtime>::insert(1, 11);
        LastUpdate::<Runtime>::insert(1, vec![0, 90, 0, 0]);
        MinAllowedWeights::<Runtime>::insert(1, 2);
        let mut attempt = Attempt {
            netuid: 0,
            mecid: 7,
            dests: vec![9; 9],
            weights: vec![1],
            version_key: 6,
            signer: nobody.clone(),
        };
        for (step, (put_right, expected)) in steps.iter().enumerate() {
            put_right(&mut attempt, &miner);
            let expected = expected
                .as_ref()
                .map_or(Ok(()), |error| Err(DispatchError::from(match_error(error))));
            assert_eq!(attempt.run(), expected, "step {step}");
        }
    });
}

/// `Error` is not `Clone`: a copy by way of its name.
fn match_error(error: &Error<Runtime>) -> Error<Runtime> {
    use codec::{Decode, Encode};
    Error::decode(&mut &error.encode()[..]).unwrap()
}

#[test]
fn accepted_weights_are_scaled_stored_and_announced() {
    let world = World::new(GenesisSpec::default());
    let validator = world.validator(0);
    world.seal();
    world.send(&validator, set_weights(&[1, 2, 3], &[10, 20, 70])).unwrap();
    let block = world.seal();

    let row = world.read(|| Weights::<Runtime>::get(1, 0));
    assert_eq!(row, [(1, 9_362), (2, 18_724), (3, 65_535)]);
    assert_eq!(world.read(|| LastUpdate::<Runtime>::get(1))[0], u64::from(block.number()));
    assert_eq!(world.subtensor_events(), [Event::WeightsSet(1, 0)]);
    let free = world.events().into_iter().any(|event| {
        matches!(event, RuntimeEvent::System(frame_system::Event::ExtrinsicSuccess {
            dispatch_info
        }) if dispatch_info.pays_fee == Pays::No)
    });
    assert!(free, "weights charge no fee");
    world.chain.verify(block.hash).unwrap();
}

#[test]
fn an_all_zero_row_is_accepted_and_stored_as_zeros() {
    let world = World::new(GenesisSpec::default());
    world.send(&world.validator(0), set_weights(&[1, 2], &[0, 0])).unwrap();
    world.seal();
    assert_eq!(world.read(|| Weights::<Runtime>::get(1, 0)), [(1, 0), (2, 0)]);
}

#[test]
fn a_weight_on_oneself_needs_neither_permit_nor_length() {
    let world = World::new(GenesisSpec { min_allowed_weights: 3, ..GenesisSpec::default() });
    world.send(&world.miner(0), set_weights(&[MINER_UID], &[3])).unwrap();
    world.seal();
    assert_eq!(world.failures(), []);
    assert_eq!(world.read(|| Weights::<Runtime>::get(1, MINER_UID)), [(MINER_UID, 65_535)]);
}

#[test]
fn mechanisms_have_their_own_rows_and_their_own_rate_limit() {
    let world = World::new(GenesisSpec { mechanisms: 2, ..GenesisSpec::default() });
    let validator = world.validator(0);
    let second = node_subtensor_runtime::RuntimeCall::SubtensorModule(
        subtensor::Call::set_mechanism_weights {
            netuid: 1,
            mecid: 1,
            dests: vec![2],
            weights: vec![1],
            version_key: 0,
        },
    );
    world.send(&validator, set_weights(&[1], &[1])).unwrap();
    world.send(&validator, second).unwrap();
    world.seal();
    assert_eq!(world.subtensor_events(), [Event::WeightsSet(1, 0), Event::WeightsSet(4097, 0)]);
    assert_eq!(world.read(|| Weights::<Runtime>::get(4097, 0)), [(2, 65_535)]);
}

fn custom(number: u8) -> SubmitError {
    invalid(InvalidTransaction::Custom(number))
}

fn invalid(reason: InvalidTransaction) -> SubmitError {
    SubmitError::Invalid(TransactionValidityError::Invalid(reason))
}

const REACHABLE: u128 = 0x0808_0808;
const PRIVATE: u128 = 0x0a00_0001;
const LOOPBACK: u128 = 0x7f00_0001;

#[test]
fn the_pool_refuses_axons_with_the_real_chains_numbers() {
    let world = World::new(GenesisSpec::default());
    world.seal();
    let miner = world.miner(0);
    let table = [
        ("unregistered", world.miner(9), serve_axon(REACHABLE, 9000, 4), 10),
        ("loopback", world.miner(0), serve_axon(LOOPBACK, 9000, 4), 11),
        ("loopback 6", world.miner(0), serve_axon(1, 9000, 6), 11),
        ("no 32-bit address", world.miner(0), serve_axon(u128::from(u32::MAX), 9000, 4), 11),
        ("port 0", world.miner(0), serve_axon(REACHABLE, 0, 4), 13),
        ("address type", world.miner(0), serve_axon(REACHABLE, 9000, 5), 255),
    ];
    for (name, key, call, number) in table {
        assert_eq!(world.send(&key, call), Err(custom(number)), "{name}");
    }
    world.send(&miner, serve_axon(PRIVATE, 9000, 4)).expect("private addresses pass");
    let block = world.seal();
    assert_eq!(world.subtensor_events(), [Event::AxonServed(1, miner.account())]);
    let axon = world.read(|| Axons::<Runtime>::get(1, miner.account())).unwrap();
    assert_eq!((axon.ip, axon.port, axon.protocol), (PRIVATE, 9000, 4));
    assert_eq!(axon.block, u64::from(block.number()));
    assert_eq!(world.send(&miner, serve_axon(PRIVATE, 9001, 4)), Err(custom(12)), "too soon");
    // The pool judges as of the next block: 4 blocks later the fifth is the next.
    world.seal_until(block.number() + 4);
    world.send(&miner, serve_axon(PRIVATE, 9001, 4)).unwrap();
}

#[test]
fn a_chain_can_be_started_to_take_loopback_axons() {
    let world = World::new(GenesisSpec { allow_loopback_axons: true, ..GenesisSpec::default() });
    world.send(&world.miner(0), serve_axon(LOOPBACK, 9000, 4)).unwrap();
    world.seal();
    assert_eq!(world.failures(), []);
}

#[test]
fn the_pool_refuses_weights_without_stake_and_faster_than_the_limit() {
    let spec = GenesisSpec {
        validator_stakes: vec![100 * TAO, 10 * TAO],
        stake_threshold: 50 * TAO,
        weights_set_rate_limit: 5,
        ..GenesisSpec::default()
    };
    let world = World::new(spec);
    let rich = world.validator(0);
    assert_eq!(world.send(&world.validator(1), set_weights(&[0], &[1])), Err(custom(1)));
    world.send(&rich, set_weights(&[1], &[1])).unwrap();
    let set_at = world.seal().number();
    assert_eq!(world.send(&rich, set_weights(&[1], &[2])), Err(custom(6)));
    world.seal_until(set_at + 3);
    assert_eq!(world.send(&rich, set_weights(&[1], &[3])), Err(custom(6)));
    // best + 1 - LastUpdate equals the limit: taken.
    world.seal_until(set_at + 4);
    world.send(&rich, set_weights(&[1], &[4])).unwrap();
    world.seal();
    assert_eq!(world.failures(), []);
}

#[test]
fn a_miner_without_balance_commits_and_the_commitment_is_stored() {
    let world = World::new(GenesisSpec::default());
    let miner = world.miner(2);
    world.send(&miner, commit(vec![raw(b"hello")])).unwrap();
    let block = world.seal().number();
    world.send(&miner, commit(vec![raw(b"world"), Data::Sha256([1; 32])])).unwrap();
    world.seal();

    let stored = world.read(|| CommitmentOf::<Runtime>::get(1, miner.account())).unwrap();
    assert_eq!((stored.deposit, stored.block), (0, block + 1));
    assert_eq!(stored.info.fields.to_vec(), [raw(b"world"), Data::Sha256([1; 32])]);
    assert_eq!(world.read(|| LastCommitment::<Runtime>::get(1, miner.account())), Some(block + 1));
    let announced = commitments::Event::Commitment { netuid: 1, who: miner.account() };
    assert!(world.events().contains(&RuntimeEvent::Commitments(announced)));
    let balance = world.read(|| System::account(miner.account()).data.free);
    assert_eq!(balance, 0, "nothing was paid, because there is nothing to pay with");
}

#[test]
fn commitments_of_strangers_fail_in_the_block() {
    let world = World::new(GenesisSpec::default());
    world.send(&world.miner(9), commit(vec![raw(b"hi")])).unwrap();
    world.seal();
    let expected: DispatchError = commitments::Error::<Runtime>::AccountNotAllowedCommit.into();
    assert_eq!(world.failures(), [expected]);
}

#[test]
fn commitments_are_limited_per_epoch_and_the_quota_comes_back() {
    // 3100 bytes at 100 or more each: 31 writes, and the 32nd is refused.
    let world = World::new(GenesisSpec { tempo: 40, ..GenesisSpec::default() });
    let miner = world.miner(0);
    for _ in 0..31 {
        world.send(&miner, commit(vec![raw(b"x")])).unwrap();
    }
    world.seal();
    assert_eq!(world.failures(), []);
    world.send(&miner, commit(vec![raw(b"y")])).unwrap();
    world.seal();
    let expected: DispatchError = commitments::Error::<Runtime>::SpaceLimitExceeded.into();
    assert_eq!(world.failures(), [expected]);

    world.seal_until(40);
    world.send(&miner, commit(vec![raw(b"z")])).unwrap();
    world.seal();
    assert_eq!(world.failures(), []);
    let usage = world.read(|| UsedSpaceOf::<Runtime>::get(1, miner.account())).unwrap();
    assert_eq!((usage.last_epoch, usage.used_space), (1, 100));
}

#[test]
fn a_transaction_that_panics_is_dropped_and_the_block_comes_without_it() {
    let panic_on_remark: localnet::chain::ApplyExtrinsic = |extrinsic| {
        let remark = matches!(
            extrinsic.function,
            node_subtensor_runtime::RuntimeCall::System(frame_system::Call::remark { .. })
        );
        assert!(!remark, "a bug in the runtime");
        node_subtensor_runtime::Executive::apply_extrinsic(extrinsic)
    };
    let options = ChainOptions { apply: panic_on_remark, ..ChainOptions::default() };
    let world = World::with_options(GenesisSpec::default(), options);
    let remark = frame_system::Call::remark { remark: vec![1] };
    let alice = world.keys.derive(&["Alice"]);
    let mut doomed = world.watch(&alice, remark.into());
    let mut other = world.watch(&world.miner(0), commit(vec![raw(b"a")]));
    let block = world.seal();

    use localnet::chain::TxStatus::{Finalized, InBlock, Invalid, Ready};
    let news = |watcher: &mut localnet::chain::Watcher| {
        std::iter::from_fn(|| watcher.try_recv().ok()).collect::<Vec<_>>()
    };
    assert_eq!(news(&mut doomed), [Ready, Invalid]);
    assert_eq!(news(&mut other), [Ready, InBlock(block.hash), Finalized(block.hash)]);
    world.chain.verify(block.hash).unwrap();
    assert_eq!(world.chain.pending().len(), 0);
}

//! Mechanisms: each has its own rows, updates, commits and limits, under its own index.

use crate::beacon::{commit_sealed, concealing, BeaconWorld};
use localnet::GenesisSpec;
use node_subtensor_runtime::{
    subtensor::{self, *},
    Runtime, RuntimeCall,
};
use sp_runtime::DispatchError;

const ROUND: u64 = 6;
/// Mechanism 1 of subnet 1.
const INDEX: u16 = 4097;

#[test]
fn a_commit_for_mechanism_1_opens_into_its_own_row() {
    let found = BeaconWorld::new(GenesisSpec { mechanisms: 2, ..concealing() });
    let validator = found.world.validator(0);
    let sealed = found.seal_weights(ROUND, &validator, &[(1, 65_535), (3, 8)]);
    found.world.send(&validator, commit_sealed(1, sealed, ROUND)).unwrap();
    let block = u64::from(found.world.seal().number());
    found.world.read(|| {
        assert_eq!(TimelockedWeightCommits::<Runtime>::get(INDEX, 0).len(), 1);
        assert_eq!(TimelockedWeightCommits::<Runtime>::get(1, 0).len(), 0);
        assert_eq!(LastUpdate::<Runtime>::get(INDEX)[0], block);
        assert_eq!(LastUpdate::<Runtime>::get(1)[0], 0);
    });
    found.bring_pulse(ROUND).unwrap();
    found.world.seal_until(10);
    let revealed = Event::TimelockedWeightsRevealed(INDEX, validator.account());
    assert_eq!(found.world.subtensor_events(), [Event::WeightsSet(INDEX, 0), revealed]);
    found.world.read(|| {
        assert_eq!(Weights::<Runtime>::get(INDEX, 0), [(1, 65_535), (3, 8)]);
        assert_eq!(Weights::<Runtime>::get(1, 0), []);
    });
}

#[test]
fn each_mechanism_has_its_own_commit_in_the_pool_and_its_own_rate_limit() {
    let spec = GenesisSpec { mechanisms: 2, weights_set_rate_limit: 50, ..concealing() };
    let found = BeaconWorld::new(spec);
    let validator = found.world.validator(0);
    for mecid in 0..2 {
        let sealed = found.seal_weights(ROUND, &validator, &[(1, 1)]);
        found.world.send(&validator, commit_sealed(mecid, sealed, ROUND)).unwrap();
    }
    let block = u64::from(found.world.seal().number());
    assert_eq!(found.world.failures(), []);
    let updates = found.world.read(|| [1, INDEX].map(|i| LastUpdate::<Runtime>::get(i)[0]));
    assert_eq!(updates, [block, block]);
}

#[test]
fn a_mechanism_beyond_the_count_does_not_exist() {
    let found = BeaconWorld::new(GenesisSpec { mechanisms: 2, ..concealing() });
    let validator = found.world.validator(0);
    let sealed = found.seal_weights(ROUND, &validator, &[(1, 1)]);
    found.world.send(&validator, commit_sealed(2, sealed, ROUND)).unwrap();
    found.world.seal();
    let absent: DispatchError = Error::<Runtime>::MechanismDoesNotExist.into();
    assert_eq!(found.world.failures(), [absent]);
}

#[test]
fn a_mechanism_added_later_takes_commits_in_the_older_call_too() {
    let found = BeaconWorld::new(concealing());
    found.alter(|| MechanismCountCurrent::<Runtime>::insert(1, 2));
    let validator = found.world.validator(0);
    let call = subtensor::Call::commit_crv3_mechanism_weights {
        netuid: 1,
        mecid: 1,
        commit: found.seal_weights(ROUND, &validator, &[(2, 65_535)]),
        reveal_round: ROUND,
    };
    found.world.send(&validator, RuntimeCall::SubtensorModule(call)).unwrap();
    let block = u64::from(found.world.seal().number());
    assert_eq!(found.world.failures(), []);
    assert_eq!(found.world.read(|| LastUpdate::<Runtime>::get(INDEX)), [block, 0, 0, 0, 0]);
    found.bring_pulse(ROUND).unwrap();
    found.world.seal_until(10);
    assert_eq!(found.world.read(|| Weights::<Runtime>::get(INDEX, 0)), [(2, 65_535)]);
}

//! Bytes: the golden vectors taken from the real chain and its SDK, and what is stored.

use crate::world::{commit, raw, set_weights, World};
use codec::{Decode, Encode};
use localnet::{keys::Keyring, GenesisSpec};
use node_subtensor_runtime::{
    commitments::{CommitmentInfo, CommitmentOf, Data},
    subtensor::{self, max_upscale, Keys, Tempo, Uids, Weights},
    Runtime, RuntimeCall,
};

#[test]
fn storage_keys_are_those_of_the_real_chain() {
    let world = World::new(GenesisSpec::default());
    let alice = Keyring::new().derive(&["Alice"]).account();
    let keys = world.read(|| {
        [
            Tempo::<Runtime>::hashed_key_for(1),
            Uids::<Runtime>::hashed_key_for(1, &alice),
            Keys::<Runtime>::hashed_key_for(1, 0),
            Weights::<Runtime>::hashed_key_for(4097, 0),
            CommitmentOf::<Runtime>::hashed_key_for(1, &alice),
        ]
    });
    let expected = [
        "658faa385070e074c85bf6b568cf05557641384bb339f3758acddfd7053d33170100",
        "658faa385070e074c85bf6b568cf0555aab1b4e78e1ea8305462ee53b3686dc80100de1e86a9a8c739864cf3cc\
         5ec2bea59fd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
        "658faa385070e074c85bf6b568cf05559f99a2ce711f3a31b2fc05604c93f17901000000",
        "658faa385070e074c85bf6b568cf0555a1e7036061f484bc3048a64b64e35ec401100000",
        "ca407206ec1ab726b2636c4b145ac287419a60ae8b01e6dcaebd7317e43c69bf0100518366b5b1bc7c99d43593\
         c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
    ];
    assert_eq!(keys.map(hex::encode), expected);
}

#[test]
fn calls_encode_as_on_the_real_chain() {
    let (dests, weights) = (vec![0, 1, 2], vec![65_535, 32_768, 1]);
    let version_key = 843_000;
    let calls = [
        RuntimeCall::SubtensorModule(subtensor::Call::set_weights {
            netuid: 1,
            dests: dests.clone(),
            weights: weights.clone(),
            version_key,
        }),
        RuntimeCall::SubtensorModule(subtensor::Call::set_mechanism_weights {
            netuid: 1,
            mecid: 0,
            dests,
            weights,
            version_key,
        }),
        commit(vec![raw(b"hello world")]),
    ];
    let expected = [
        "070001000c0000010002000cffff00800100f8dc0c0000000000",
        "07770100000c0000010002000cffff00800100f8dc0c0000000000",
        "12000100040c68656c6c6f20776f726c64",
    ];
    assert_eq!(calls.map(|call| hex::encode(call.encode())), expected);
}

#[test]
fn call_indices_are_those_of_the_real_chain() {
    let alice = Keyring::new().derive(&["Alice"]).account();
    let table = [
        (set_weights(&[], &[]), [7, 0]),
        (crate::world::serve_axon(0, 1, 4), [7, 4]),
        (crate::world::register(alice), [7, 7]),
        (
            RuntimeCall::SubtensorModule(subtensor::Call::set_tempo { netuid: 1, tempo: 360 }),
            [7, 139],
        ),
        (RuntimeCall::SubtensorModule(subtensor::Call::trigger_epoch { netuid: 1 }), [7, 141]),
        (commit(vec![]), [18, 0]),
    ];
    for (call, expected) in table {
        assert_eq!(call.encode()[..2], expected, "{call:?}");
    }
}

#[test]
fn every_kind_of_commitment_field_has_its_leading_byte() {
    let hash = [7; 32];
    let blob = vec![1, 2, 3].try_into().unwrap();
    let table = [
        (Data::None, 0, 1),
        (raw(&[]), 1, 1),
        (raw(&[9; 128]), 129, 129),
        (Data::BlakeTwo256(hash), 130, 33),
        (Data::Sha256(hash), 131, 33),
        (Data::Keccak256(hash), 132, 33),
        (Data::ShaThree256(hash), 133, 33),
        (Data::TimelockEncrypted { encrypted: blob, reveal_round: 5 }, 134, 1 + 1 + 3 + 8),
        (Data::ResetBondsFlag, 135, 1),
        (Data::BigRaw(vec![8; 512].try_into().unwrap()), 136, 1 + 2 + 512),
    ];
    for (data, tag, length) in table {
        let bytes = data.encode();
        assert_eq!((bytes[0], bytes.len()), (tag, length), "{data:?}");
        assert_eq!(Data::decode(&mut &bytes[..]).unwrap(), data);
    }
}

#[test]
fn commitment_fields_beyond_the_bounds_do_not_decode() {
    let four = (vec![Data::None; 4]).encode();
    assert!(CommitmentInfo::decode(&mut &four[..]).is_err());
    let too_big = [&[136][..], &vec![0_u8; 513].encode()].concat();
    assert!(Data::decode(&mut &too_big[..]).is_err());
    assert!(Data::decode(&mut &[137_u8][..]).is_err());
    assert!(Data::decode(&mut &[5_u8, 1, 2][..]).is_err());
}

#[test]
fn rows_are_scaled_to_the_full_range() {
    let table: &[(&[u16], &[u16])] = &[
        (&[10, 20, 70], &[9_362, 18_724, 65_535]),
        (&[65_535, 32_768, 1], &[65_535, 32_768, 1]),
        (&[0, 0], &[0, 0]),
        (&[], &[]),
        (&[1], &[65_535]),
        (&[32_768, 1], &[65_535, 2]),
        // Exactly half of 65535, but the real chain's division comes first and rounds down.
        (&[40_000, 20_000, 1], &[65_535, 32_767, 2]),
    ];
    for (submitted, stored) in table {
        assert_eq!(max_upscale(submitted), *stored, "{submitted:?}");
    }
}

#[test]
fn scaling_keeps_the_maximum_at_the_top_for_every_maximum() {
    for max in 1..=u16::MAX {
        assert_eq!(max_upscale(&[max, 0]), [u16::MAX, 0]);
    }
}

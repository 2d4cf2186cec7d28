use proptest::prelude::*;

use super::*;
use crate::commit::CommittedWeights;

fn theirs() -> Vec<u8> {
    hex::decode(vectors::CIPHERTEXT).unwrap()
}

fn open(ciphertext: &[u8]) -> Result<Vec<u8>, TimelockError> {
    decrypt(ciphertext, &vectors::SIGNATURE)
}

fn field_refused(result: Result<Vec<u8>, TimelockError>) -> &'static str {
    match result.unwrap_err() {
        TimelockError::Framing { field, .. } => field,
        other => panic!("{other}"),
    }
}

#[test]
fn the_self_test_passes_in_this_build() {
    self_test().unwrap();
}

#[test]
fn a_ciphertext_of_the_official_client_opens_to_the_weights_in_it() {
    let opened = open(&theirs()).unwrap();
    assert_eq!(hex::encode(&opened), vectors::PAYLOAD);
    let weights = CommittedWeights::decode(&opened).unwrap();
    assert_eq!(weights.version_key, 843_000);
    assert_eq!(theirs().len(), opened.len() + OVERHEAD_BYTES);
}

#[test]
fn what_is_encrypted_opens_with_its_round_only_and_never_looks_the_same() {
    for payload in [&b""[..], b"x", &[7; 55], &[0xff; 1069]] {
        let ours = encrypt(&QUICKNET_KEY, vectors::ROUND, payload).unwrap();
        assert_eq!(ours.len(), payload.len() + OVERHEAD_BYTES);
        assert_eq!(open(&ours).unwrap(), payload);
        assert_ne!(ours, encrypt(&QUICKNET_KEY, vectors::ROUND, payload).unwrap());
    }
    let later = encrypt(&QUICKNET_KEY, vectors::ROUND + 1, b"later").unwrap();
    assert_eq!(open(&later), Err(TimelockError::NotOpened));
}

#[test]
fn every_length_in_a_ciphertext_is_checked_before_it_is_believed() {
    let lengths = [
        (96, "second field's length"),
        (136, "third field's length"),
        (176, "body's length"),
        (184, "text's length"),
        (299 - 16 - 12 - 8, "nonce's length"),
        (299 - 16, "suite's length"),
    ];
    for (at, field) in lengths {
        for hostile in [0, 1, 31, 33, 4096, u64::from(u32::MAX), 8_131_494_557_495_924_520, !0] {
            let mut bytes = theirs();
            bytes[at..at + 8].copy_from_slice(&hostile.to_le_bytes());
            assert_eq!(field_refused(open(&bytes)), field, "{hostile}");
        }
    }
}

/// What the crate writes itself, which the chain accepts and never opens.
#[test]
fn the_crates_own_framing_is_refused() {
    let framed = from_wire(&theirs()).unwrap();
    assert_eq!(framed.len(), theirs().len() - 16);
    assert_eq!(to_wire(&framed).unwrap(), theirs());
    assert_eq!(field_refused(open(&framed)), "second field's length");
}

#[test]
fn a_ciphertext_that_is_shortened_or_lengthened_anywhere_is_refused() {
    for len in 0..theirs().len() {
        field_refused(open(&theirs()[..len]));
    }
    let mut long = theirs();
    long.push(0);
    assert_eq!(field_refused(open(&long)), "body's length");
    assert!(matches!(open(&[0; 5001]), Err(TimelockError::TooLong { len: 5001 })));
}

/// Per field, what altering it is found by.
#[test]
fn an_altered_byte_is_found_in_every_field() {
    let altered = |at: usize| {
        let mut bytes = theirs();
        bytes[at] ^= 1;
        open(&bytes).unwrap_err()
    };
    // A point of another abscissa is seldom on the curve, and then of the wrong order.
    assert!(matches!(altered(95), TimelockError::Point { .. }));
    assert_eq!(altered(104), TimelockError::NotOpened);
    assert_eq!(altered(144), TimelockError::NotOpened);
    assert_eq!(altered(192), TimelockError::Altered);
    assert_eq!(altered(299 - 17), TimelockError::Altered);
    assert!(matches!(altered(298), TimelockError::Framing { field: "suite", .. }));
}

#[test]
fn keys_and_signatures_that_are_no_points_are_refused() {
    let mut infinity_g2 = [0; 96];
    infinity_g2[0] = 0xc0;
    for key in [[0; 96], [0xff; 96], infinity_g2] {
        let refused = encrypt(&BeaconKey(key), 1, b"x").unwrap_err();
        assert_eq!(refused, TimelockError::Point { what: "beacon key" });
    }
    assert_eq!(BeaconKey::try_from(&QUICKNET_KEY.0[..]), Ok(QUICKNET_KEY));
    assert!(BeaconKey::try_from(&QUICKNET_KEY.0[1..]).is_err());
    let mut infinity_g1 = [0; 48];
    infinity_g1[0] = 0xc0;
    let mut other = vectors::SIGNATURE;
    other[47] ^= 1;
    for signature in [[0; 48], [0xff; 48], infinity_g1, other] {
        let refused = decrypt(&theirs(), &signature).unwrap_err();
        assert_eq!(refused, TimelockError::Point { what: "round's signature" });
    }
}

#[test]
fn more_than_the_chain_takes_is_not_encrypted() {
    let most = CIPHERTEXT_BYTES_MAX - OVERHEAD_BYTES;
    let full = encrypt(&QUICKNET_KEY, vectors::ROUND, &vec![1; most]).unwrap();
    assert_eq!(open(&full).unwrap().len(), most);
    let refused = encrypt(&QUICKNET_KEY, vectors::ROUND, &vec![1; most + 1]).unwrap_err();
    assert_eq!(refused, TimelockError::TooLong { len: CIPHERTEXT_BYTES_MAX + 1 });
}

#[test]
fn rounds_of_quicknet_are_published_every_three_seconds_from_its_genesis() {
    let genesis = 1_692_803_367_000;
    assert_eq!(QUICKNET_SCHEDULE.published_at(1), UnixMs(genesis));
    assert_eq!(QUICKNET_SCHEDULE.published_at(1000), UnixMs(genesis + 999 * 3_000));
    assert_eq!(QUICKNET_SCHEDULE.newest_at(UnixMs(genesis + 2_999)), 1);
}

proptest! {
    #[test]
    fn random_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1_000)) {
        prop_assert!(open(&bytes).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes at any places, the lengths among them: refused, and the process lives.
    #[test]
    fn a_damaged_ciphertext_is_refused(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..24),
    ) {
        let mut bytes = theirs();
        for (at, mask) in damage {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        prop_assume!(bytes != theirs());
        prop_assert!(open(&bytes).is_err());
    }

    /// Well-formed lengths around hostile content, so that the decoder itself is reached.
    #[test]
    fn hostile_content_in_good_framing_is_refused(
        first in proptest::array::uniform32(any::<u8>()),
        flags: u8,
        text in proptest::collection::vec(any::<u8>(), 0..300),
        keeps_the_point: bool,
    ) {
        let mut bytes = theirs()[..176].to_vec();
        if !keeps_the_point {
            bytes[64..96].copy_from_slice(&first);
            bytes[0] = flags;
        }
        bytes[144..176].copy_from_slice(&first);
        let body_len = text.len() as u64 + 28;
        bytes.extend_from_slice(&body_len.to_le_bytes());
        bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&text);
        bytes.extend_from_slice(&theirs()[299 - 16 - 12 - 8..]);
        prop_assert!(open(&bytes).is_err());
    }

    #[test]
    fn any_signature_is_refused(bytes in proptest::collection::vec(any::<u8>(), 48)) {
        let signature = <[u8; 48]>::try_from(bytes).unwrap();
        prop_assert!(decrypt(&theirs(), &signature).is_err());
    }
}

//! The endorsement's bytes, and certificates that must not be read.

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use sp_core::Pair;

use super::*;
use crate::tls::tests::{certificate, identity, DevKey, NOW};

/// The worked example of `docs/protocol.md`: recorded once, since a signature is random.
const EXAMPLE: &str = include_str!("example_certificate.hex");
const PROTOCOL_PAGE: &str = include_str!("../../../../docs/protocol.md");

/// Its certificate's secret key is 32 bytes `0a`.
fn example_key() -> CertificateKey {
    let secret = ed25519_dalek::SigningKey::from_bytes(&[0x0a; 32]);
    CertificateKey(secret.verifying_key().to_bytes())
}

fn example() -> EndorsedKey {
    EndorsedKey::read(&hex::decode(EXAMPLE.trim()).unwrap()).unwrap()
}

/// A certificate with these extensions of our number.
fn with_extensions(key: &KeyPair, values: &[Vec<u8>]) -> Vec<u8> {
    let mut params = CertificateParams::default();
    for value in values {
        let extension = CustomExtension::from_oid_content(&EXTENSION_OID, value.clone());
        params.custom_extensions.push(extension);
    }
    params.self_signed(key).unwrap().der().to_vec()
}

fn ed25519() -> KeyPair {
    KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap()
}

fn value() -> Vec<u8> {
    example().endorsement.to_bytes()
}

#[test]
fn the_example_of_the_protocol_page_is_accepted_and_its_bytes_stand_there() {
    let endorsed = example();
    let Endorsement { hotkey, genesis, netuid, expires_at, .. } = &endorsement(&endorsed);
    assert_eq!(*hotkey, Hotkey(DevKey::named("Alice").0.public().0));
    assert_eq!((genesis.0, netuid.0), ([3; 32], 7));
    assert_eq!(expires_at.0, NOW.0 + crate::limits::ENDORSEMENT_LIFE_MS);
    assert_eq!(endorsed.key, example_key());
    assert_eq!(endorsed.check_scope(&identity(), NOW), Ok(()));
    assert_eq!(endorsed.check_signature(), Ok(()));

    let oid = EXTENSION_OID.map(|part| part.to_string()).join(".");
    let message = endorsed.endorsement.signing_message(endorsed.key);
    let public = published_form(endorsed.key);
    let of_page = [
        oid,
        hex::encode(endorsed.key.subject_public_key_info()),
        hex::encode(message),
        hex::encode(endorsed.endorsement.to_bytes()),
        hex::encode(public),
        EXAMPLE.trim().to_owned(),
    ];
    // The page breaks long lines.
    let page: String = PROTOCOL_PAGE.split_whitespace().collect();
    for text in of_page {
        assert!(page.contains(&text), "the page does not have {text}");
    }
}

fn endorsement(endorsed: &EndorsedKey) -> Endorsement {
    endorsed.endorsement.clone()
}

#[test]
fn the_extensions_number_comes_from_the_domain() {
    let digest = sha256(DOMAIN.as_bytes());
    let first: [u8; 8] = digest.0[..8].try_into().unwrap();
    assert_eq!(EXTENSION_OID[2], u64::from_be_bytes(first) >> 1);
}

#[test]
fn what_was_written_is_read_again_and_every_other_length_and_layout_is_malformed() {
    let endorsement = example().endorsement;
    let bytes = endorsement.to_bytes();
    assert_eq!(bytes.len(), ENDORSEMENT_BYTES);
    assert_eq!(Endorsement::from_bytes(&bytes), Some(endorsement));
    for len in 0..bytes.len() {
        assert_eq!(Endorsement::from_bytes(&bytes[..len]), None);
    }
    assert_eq!(Endorsement::from_bytes(&[bytes.clone(), vec![0]].concat()), None);
    let mut other_layout = bytes.clone();
    other_layout[0] = 2;
    assert_eq!(Endorsement::from_bytes(&other_layout), None);
    let mut netuid_of_three_bytes = bytes;
    netuid_of_three_bytes[1 + 64 + 2] = 1;
    assert_eq!(Endorsement::from_bytes(&netuid_of_three_bytes), None);
}

#[test]
fn every_part_and_the_key_are_signed() {
    let endorsed = example();
    let mut changed = vec![endorsed.clone(); 5];
    changed[0].endorsement.genesis.0[0] ^= 1;
    changed[1].endorsement.netuid.0 ^= 1;
    changed[2].endorsement.expires_at.0 ^= 1;
    changed[3].endorsement.signature.0[9] ^= 1;
    changed[4].key.0[0] ^= 1;
    for changed in changed {
        assert_eq!(changed.check_signature(), Err(CertificateRefusal::BadSignature));
    }
    let mut others = endorsed;
    others.endorsement.hotkey = Hotkey(DevKey::named("Bob").0.public().0);
    assert_eq!(others.check_signature(), Err(CertificateRefusal::BadSignature));
}

#[test]
fn an_endorsement_counts_for_its_chain_and_subnet_until_it_ends() {
    let endorsed = example();
    let end = endorsed.expires_at();
    let at = |ms: u64| endorsed.check_scope(&identity(), UnixMs(ms));
    assert_eq!(at(end.0 - 1), Ok(()));
    assert_eq!(at(end.0), Err(CertificateRefusal::Expired));
    assert_eq!(at(end.0 - ENDORSEMENT_LIFE_MS_MAX), Ok(()));
    assert_eq!(
        at(end.0 - ENDORSEMENT_LIFE_MS_MAX - 1),
        Err(CertificateRefusal::Expired),
        "too far"
    );
    assert_eq!(at(u64::MAX), Err(CertificateRefusal::Expired));

    let other_chain = NodeIdentity { genesis: BlockHash([4; 32]), ..identity() };
    let other_netuid = NodeIdentity { netuid: Netuid(8), ..identity() };
    let scope = |identity| endorsed.check_scope(&identity, NOW);
    assert_eq!(scope(other_chain), Err(CertificateRefusal::WrongChain));
    assert_eq!(scope(other_netuid), Err(CertificateRefusal::WrongNetuid));
}

#[test]
fn a_certificate_without_an_endorsement_or_with_two_or_another_key_is_refused() {
    let key = ed25519();
    let missing = with_extensions(&key, &[]);
    assert_eq!(EndorsedKey::read(&missing), Err(CertificateRefusal::EndorsementMissing));
    let good = with_extensions(&key, &[value()]);
    assert!(EndorsedKey::read(&good).is_ok());
    let p256 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let malformed = [
        with_extensions(&key, &[value(), value()]),
        with_extensions(&key, &[value()[1..].to_vec()]),
        with_extensions(&key, &[Vec::new()]),
        with_extensions(&p256, &[value()]),
        [good.clone(), vec![0]].concat(),
        good[..good.len() - 1].to_vec(),
        Vec::new(),
    ];
    for certificate in malformed {
        assert_eq!(EndorsedKey::read(&certificate), Err(CertificateRefusal::Malformed));
    }
}

#[test]
fn a_large_certificate_is_refused_before_it_is_parsed() {
    let key = ed25519();
    let mut params = CertificateParams::new(vec!["a".repeat(60); 20]).unwrap();
    let extension = CustomExtension::from_oid_content(&EXTENSION_OID, value());
    params.custom_extensions.push(extension);
    let large = params.self_signed(&key).unwrap().der().to_vec();
    assert!(large.len() > CERTIFICATE_BYTES_MAX);
    assert_eq!(EndorsedKey::read(&large), Err(CertificateRefusal::Malformed));
    assert!(certificate().certificate().len() < CERTIFICATE_BYTES_MAX / 2 + 128);
}

#[test]
fn no_cut_or_flipped_certificate_panics_or_passes_for_another() {
    let good = hex::decode(EXAMPLE.trim()).unwrap();
    for at in 0..good.len() {
        assert!(EndorsedKey::read(&good[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut flipped = good.clone();
            flipped[at] ^= 1 << bit;
            // Most of a certificate is not looked at; what is must still carry the signature.
            if let Ok(read) = EndorsedKey::read(&flipped) {
                let is_unchanged = read == example();
                assert_eq!(read.check_signature().is_ok(), is_unchanged, "byte {at} bit {bit}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(0u8.., 0..2048)) {
        proptest::prop_assert!(EndorsedKey::read(&bytes).is_err());
    }
}

//! Making, keeping and renewing a certificate.

use node_core::id::{Netuid, Signature};
use node_core::publish::NEW_KEY_MS_MAX;

use super::*;
use crate::tls::tests::{certificate, identity, DevKey, NOW};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn after_days(days: u64) -> UnixMs {
    UnixMs(NOW.0 + days * DAY_MS)
}

#[test]
fn a_new_certificate_is_the_signers_for_thirty_days_and_has_a_key_of_its_own() {
    let (one, other) = (certificate(), certificate());
    assert_eq!(one.hotkey(), DevKey::named("Alice").hotkey());
    assert_eq!(one.expires_at(), after_days(30));
    assert_eq!(one.endorsed.check_scope(&identity(), NOW), Ok(()));
    assert_eq!(one.endorsed.check_signature(), Ok(()));
    assert_ne!(one.published_form(), other.published_form());
    assert_eq!((one.published_form().len(), one.published_form()[0]), (33, 1));
}

#[test]
fn what_is_kept_is_read_again_and_nothing_else_is() {
    let kept = certificate();
    let bytes = kept.to_bytes();
    let read = NodeCertificate::from_bytes(&bytes).unwrap();
    assert_eq!(read.certificate(), kept.certificate());
    assert_eq!(read.published_form(), kept.published_form());
    assert_eq!(*read.to_bytes(), *bytes);

    let mut other_key = bytes.to_vec();
    other_key[MAGIC.len()] ^= 1;
    let mut no_certificate = bytes.to_vec();
    no_certificate.truncate(MAGIC.len() + SECRET_BYTES + 40);
    assert!(matches!(NodeCertificate::from_bytes(&other_key), Err(CertificateError::OtherKey)));
    let refused = NodeCertificate::from_bytes(&no_certificate);
    assert!(matches!(refused, Err(CertificateError::Refused(CertificateRefusal::Malformed))));
    let long = [bytes.as_slice(), &[0; 2 * CERTIFICATE_BYTES_MAX]].concat();
    for unreadable in [&[][..], b"assay", &bytes[1..], &bytes[..MAGIC.len() + 31], &long] {
        let read = NodeCertificate::from_bytes(unreadable);
        assert!(matches!(read, Err(CertificateError::Unreadable)));
    }
}

#[test]
fn it_is_renewed_with_its_key_when_a_third_is_left_and_not_before() {
    let alice = DevKey::named("Alice");
    let first = certificate();
    let due = |now| first.renewed_if_due(&identity(), &alice, now).unwrap();
    assert!(due(NOW).is_none());
    assert!(due(UnixMs(after_days(20).0 - 1)).is_none());
    let renewed = due(after_days(20)).expect("a third is left");
    assert_eq!(renewed.expires_at(), after_days(50));
    assert_eq!(renewed.published_form(), first.published_form());
    assert_ne!(renewed.certificate(), first.certificate());
    assert!(due(after_days(400)).is_some(), "long expired");
}

#[test]
fn it_is_renewed_at_once_for_another_hotkey_chain_or_subnet() {
    let first = certificate();
    let bob = DevKey::named("Bob");
    let other_hotkey = first.renewed_if_due(&identity(), &bob, NOW).unwrap();
    assert_eq!(other_hotkey.expect("another hotkey").hotkey(), bob.hotkey());
    let other_netuid = NodeIdentity { netuid: Netuid(8), ..identity() };
    let renewed = first.renewed_if_due(&other_netuid, &DevKey::named("Alice"), NOW).unwrap();
    let renewed = renewed.expect("another subnet");
    assert_eq!(renewed.endorsed.check_scope(&other_netuid, NOW), Ok(()));
    // A clock that was a year ahead when it was made.
    let early = first.renewed_if_due(&identity(), &DevKey::named("Alice"), UnixMs(1)).unwrap();
    assert!(early.is_some(), "it ends too far in the future to be believed");
}

#[test]
fn a_key_that_the_chain_contradicts_is_endorsed_anew_before_it_ceases_to_be_new() {
    let (alice, first) = (DevKey::named("Alice"), certificate());
    let other = certificate().published_form();
    let due = |certificate: &NodeCertificate, published: Option<&[u8]>, ms| {
        let now = UnixMs(NOW.0 + ms);
        certificate.renewed_if_contradicted(published, &identity(), &alice, now).unwrap()
    };
    assert_eq!(first.standing(Some(&other), NOW), KeyStanding::New);
    assert!(due(&first, Some(&other), NEW_KEY_MS_MAX / 2 - 1).is_none());
    let renewed = due(&first, Some(&other), NEW_KEY_MS_MAX / 2).expect("half of it is over");
    assert_eq!(renewed.published_form(), first.published_form());
    let later = UnixMs(NOW.0 + NEW_KEY_MS_MAX);
    assert_eq!(first.standing(Some(&other), later), KeyStanding::Contradicts);
    assert_eq!(renewed.standing(Some(&other), later), KeyStanding::New);
    let own = first.published_form();
    for agreed in [None, Some(own.as_slice())] {
        assert!(due(&first, agreed, NEW_KEY_MS_MAX).is_none());
    }
}

#[test]
fn a_signer_that_signs_something_else_is_found_out() {
    #[derive(Debug)]
    struct Wrong;
    impl HotkeySigner for Wrong {
        fn hotkey(&self) -> Hotkey {
            DevKey::named("Alice").hotkey()
        }
        fn sign(&self, _message: &[u8]) -> Signature {
            DevKey::named("Alice").sign(b"another message")
        }
    }
    let made = NodeCertificate::generate(&identity(), &Wrong, NOW);
    assert!(matches!(made, Err(CertificateError::Refused(CertificateRefusal::BadSignature))));
}

#[test]
fn the_debug_form_has_no_byte_of_the_key() {
    let certificate = certificate();
    let shown = format!("{certificate:?} {:?}", certificate.certified);
    let secret = certificate.secret.as_bytes();
    assert!(!shown.contains(&hex::encode(secret)));
    assert!(!shown.contains(&format!("{}, {}, {}", secret[0], secret[1], secret[2])), "{shown}");
}

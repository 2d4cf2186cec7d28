use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// Made once: NaCl and Ansible Vault by bittensor-wallet 4.1.1, Fernet by the Python package
/// `cryptography` with the key that bittensor-core 0.1.5 derives, which opened it. Each holds the
/// development phrase of every Substrate chain.
const NACL: &[u8] = include_bytes!("../fixtures/nacl");
const ANSIBLE: &[u8] = include_bytes!("../fixtures/ansible");
const FERNET: &[u8] = include_bytes!("../fixtures/fernet");
const PASSWORD: &str = "für 7 Schlüssel";

fn password(text: &str) -> Password {
    Password::from_line(text.as_bytes()).unwrap()
}

/// What `format` makes of `sealed` with the right key, as [`Encryption::open`] does. Each key is
/// derived once for all cases.
fn open(format: Encryption, sealed: &[u8]) -> Result<Plain, NotOpened> {
    static OF_NACL: LazyLock<nacl::Key> =
        LazyLock::new(|| nacl::derive(&password(PASSWORD)).unwrap());
    static OF_ANSIBLE: LazyLock<ansible::Keys> =
        LazyLock::new(|| ansible::derive(&ansible::split(ANSIBLE).unwrap(), &password(PASSWORD)));
    static OF_FERNET: LazyLock<fernet::Keys> =
        LazyLock::new(|| fernet::derive(&password(PASSWORD)));
    match format {
        Encryption::Nacl => nacl::unseal(&nacl::split(sealed)?, &OF_NACL),
        Encryption::AnsibleVault => ansible::unseal(ansible::split(sealed)?, &OF_ANSIBLE),
        Encryption::Fernet => fernet::Token::decode(sealed)?.unseal(&OF_FERNET),
    }
}

const FIXTURES: [(Encryption, &[u8]); 3] =
    [(Encryption::Nacl, NACL), (Encryption::AnsibleVault, ANSIBLE), (Encryption::Fernet, FERNET)];

fn any_fixture() -> impl Strategy<Value = (Encryption, &'static [u8])> {
    proptest::sample::select(FIXTURES.to_vec())
}

#[test]
fn a_format_is_known_by_its_first_bytes() {
    for (format, sealed) in FIXTURES {
        assert_eq!(Encryption::of(sealed), Some(format));
    }
    for plain in [&b""[..], b"{}", b"$NAC", b"gAAAA", b"$ANSIBLE_VAUL", b" $NACL"] {
        assert_eq!(Encryption::of(plain), None);
    }
}

#[test]
fn another_password_is_told_from_a_damaged_file() {
    let other = password("für 7 Schlüssel.");
    for (format, sealed) in FIXTURES {
        let refused = format.open(sealed, &other).unwrap_err();
        assert_eq!(refused, NotOpened::WrongPassword, "{format}");
    }
}

/// With any password, and at once: the seconds are not spent.
#[test]
fn what_only_begins_like_a_format_is_damaged_whatever_the_password() {
    let vault = |body: &str| format!("$ANSIBLE_VAULT;1.1;AES256\n{body}").into_bytes();
    let fernet = std::str::from_utf8(FERNET).unwrap();
    for (sealed, what) in [
        (b"$NACL".to_vec(), "it is too short"),
        ([&b"$NACL"[..], &[7; 39]].concat(), "it is too short"),
        (b"$ANSIBLE_VAULT\xff".to_vec(), "it is not text"),
        (vault("123"), "its lines are not hexadecimal digits"),
        (vault("salt"), "its lines are not hexadecimal digits"),
        (vault(&hex::encode("00\n11")), "it has not salt, HMAC and content"),
        (vault(&hex::encode("00\n11\n22\n33")), "it has not salt, HMAC and content"),
        (vault(&hex::encode("00\n1\n22")), "its lines are not hexadecimal digits"),
        (b"gAAAAA".to_vec(), "it is not base64"),
        (b"gAAAAABk".to_vec(), "it has a wrong length"),
        (FERNET[..FERNET.len() - 8].to_vec(), "it has a wrong length"),
        (format!("{fernet}!").into_bytes(), "it is not base64"),
    ] {
        let format = Encryption::of(&sealed).unwrap();
        let refused = format.open(&sealed, &password("any")).unwrap_err();
        assert_eq!(refused, NotOpened::Damaged(what), "{}", String::from_utf8_lossy(&sealed));
    }
}

#[test]
fn a_vault_of_another_version_or_cipher_is_refused_by_its_name() {
    for (header, shown) in [
        ("$ANSIBLE_VAULT;1.0;AES", "1.0;AES"),
        ("$ANSIBLE_VAULT;1.1;AES", "1.1;AES"),
        ("$ANSIBLE_VAULT;2.0;AES256", "2.0;AES256"),
        ("$ANSIBLE_VAULT", ""),
    ] {
        let refused = ansible::open(format!("{header}\n00").as_bytes(), &password("any"));
        assert_eq!(refused.unwrap_err(), NotOpened::OtherVault(shown.to_owned()));
    }
    let long = format!("$ANSIBLE_VAULT;{}", "9".repeat(5000));
    let Err(NotOpened::OtherVault(shown)) = ansible::open(long.as_bytes(), &password("any")) else {
        panic!("a vault of version 9999... was read");
    };
    assert_eq!(shown.len(), 40);
}

#[test]
fn a_vault_may_have_a_label_and_windows_line_ends() {
    let text = std::str::from_utf8(ANSIBLE).unwrap();
    let plain = open(Encryption::AnsibleVault, ANSIBLE).unwrap();
    let labelled = text.replacen("1.1;AES256", "1.2;AES256;validator", 1).replace('\n', "\r\n");
    assert_eq!(open(Encryption::AnsibleVault, labelled.as_bytes()).unwrap(), plain);
}

proptest! {
    #[test]
    fn no_bytes_behind_a_prefix_open_or_panic(
        (format, prefix) in proptest::sample::select(vec![
            (Encryption::Nacl, &b"$NACL"[..]),
            (Encryption::AnsibleVault, b"$ANSIBLE_VAULT;1.1;AES256\n"),
            (Encryption::Fernet, b"gAAAAA"),
        ]),
        body in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        prop_assert!(open(format, &[prefix, &body].concat()).is_err());
    }

    #[test]
    fn a_changed_file_opens_to_what_was_sealed_or_not_at_all(
        (format, sealed) in any_fixture(),
        at in any::<proptest::sample::Index>(),
        to in any::<u8>(),
        length in any::<proptest::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut changed = sealed.to_vec();
        let at = at.index(changed.len());
        changed[at] = to;
        if is_cut {
            changed.truncate(length.index(sealed.len()));
        }
        // A changed letter case of a digit, say, changes nothing.
        if let Ok(plain) = open(format, &changed) {
            prop_assert_eq!(&plain, &open(format, sealed).unwrap());
            prop_assert!(plain.capacity() <= sealed.len());
        }
    }

    /// Text in the shape of a vault gets past the digits; its lines are anything.
    #[test]
    fn vaults_with_any_lines_do_not_panic(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..5),
    ) {
        let inner: Vec<String> = lines.iter().map(hex::encode).collect();
        let text = format!("$ANSIBLE_VAULT;1.1;AES256\n{}", hex::encode(inner.join("\n")));
        prop_assert!(open(Encryption::AnsibleVault, text.as_bytes()).is_err());
    }
}

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::*;

/// The development phrase of every Substrate chain, its seed and its key.
const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
const SEED: &str = "0xfac7959dbfe72f052e5a0c3c8d6530f202b02fd8f9f5ca3580ec8deb7797479e";
const PUBLIC: &str = "0x46ebddef8cd9bb167dc30878d7113b7e168e6f0646beffd77d69d39bad76b47a";
const ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";
const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

struct Wallet {
    _root: tempfile::TempDir,
    path: WalletPath,
}

impl Wallet {
    fn with(content: &[u8]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = WalletPath {
            root: root.path().to_owned(),
            name: "validator".to_owned(),
            hotkey: "default".to_owned(),
        };
        let file = path.file().unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        Self { _root: root, path }
    }

    fn read(&self) -> Result<HotkeyFile, KeyFileError> {
        HotkeyFile::read(&self.path)
    }
}

fn read(content: &str) -> Result<HotkeyFile, KeyFileError> {
    Wallet::with(content.as_bytes()).read()
}

fn expanded_secret() -> String {
    let pair = sp_core::sr25519::Pair::from_phrase(PHRASE, None).unwrap().0;
    format!("0x{}", hex::encode(sp_core::Pair::to_raw_vec(&pair)))
}

use sp_core::Pair as _;

#[test]
fn each_kind_of_secret_leads_to_the_same_key() {
    let private = expanded_secret();
    for content in [
        format!(r#"{{"secretPhrase":"{PHRASE}"}}"#),
        format!(r#"{{"secretPhrase":null,"secretSeed":"{SEED}"}}"#),
        format!(r#"{{"secretPhrase":"","privateKey":"{private}"}}"#),
        format!(
            r#"{{"accountId":"{PUBLIC}","publicKey":"{PUBLIC}","privateKey":"{private}",
                "secretPhrase":"{PHRASE}","secretSeed":"{SEED}","ss58Address":"{ADDRESS}",
                "cryptoType":1}}"#
        ),
    ] {
        let file = read(&content).unwrap();
        assert_eq!(file.facts().hotkey.to_string(), ADDRESS);
        assert_eq!(file.keypair().public(), file.facts().hotkey);
        assert_eq!(file.facts().warnings, []);
        assert_eq!((file.facts().scheme, file.facts().mode), ("sr25519", 0o600));
    }
}

#[test]
fn the_phrase_goes_before_the_seed_and_the_seed_before_the_key() {
    let other_seed = format!("0x{}", "07".repeat(32));
    let phrase_first = format!(r#"{{"secretPhrase":"{PHRASE}","secretSeed":"{other_seed}"}}"#);
    assert_eq!(read(&phrase_first).unwrap().facts().hotkey.to_string(), ADDRESS);
    let other_key = format!("0x{}", "07".repeat(64));
    let seed_first = format!(r#"{{"secretSeed":"{SEED}","privateKey":"{other_key}"}}"#);
    assert_eq!(read(&seed_first).unwrap().facts().hotkey.to_string(), ADDRESS);
}

#[test]
fn a_secret_of_another_key_than_the_file_names_is_refused() {
    let wrong = format!(r#"{{"secretSeed":"{SEED}","ss58Address":"{ALICE}"}}"#);
    let error = read(&wrong).unwrap_err();
    let KeyFileError::OtherKey { field, named, derived, .. } = error else { panic!("{error}") };
    assert_eq!(
        (field, named.to_string(), derived.to_string()),
        ("ss58Address", ALICE.to_owned(), ADDRESS.to_owned())
    );
    let wrong = format!(r#"{{"secretSeed":"{SEED}","publicKey":"0x{}"}}"#, "01".repeat(32));
    assert!(matches!(read(&wrong).unwrap_err(), KeyFileError::OtherKey { field: "publicKey", .. }));
}

/// As the packages wrote them; see `cipher/tests.rs`.
const ENCRYPTED: [(Encryption, &[u8]); 3] = [
    (Encryption::Nacl, include_bytes!("fixtures/nacl")),
    (Encryption::AnsibleVault, include_bytes!("fixtures/ansible")),
    (Encryption::Fernet, include_bytes!("fixtures/fernet")),
];
const PASSWORD: &str = "für 7 Schlüssel";

fn password(text: &str) -> Password {
    Password::from_line(text.as_bytes()).unwrap()
}

#[test]
fn an_encrypted_file_opens_to_the_key_that_the_wallet_sealed() {
    for (format, content) in ENCRYPTED {
        let wallet = Wallet::with(content);
        let file = KeyFile::read(&wallet.path).unwrap();
        assert_eq!((file.facts().encryption, file.facts().named), (Some(format), None));
        let hotkey = file.open(Some(&password(PASSWORD))).unwrap();
        assert_eq!(hotkey.facts().hotkey.to_string(), ADDRESS, "{format}");
        assert_eq!(hotkey.facts().encryption, Some(format));
    }
}

#[test]
fn an_encrypted_file_without_its_password_is_refused_by_the_name_of_its_format() {
    for (format, content) in ENCRYPTED {
        let wallet = Wallet::with(content);
        let error = wallet.read().unwrap_err();
        let KeyFileError::Encrypted { format: named, .. } = error else { panic!("{error}") };
        assert_eq!(named, format);
    }
}

#[test]
fn a_wrong_password_is_told_from_a_missing_one() {
    let (vault, content) = ENCRYPTED[1];
    let error = KeyFile::read(&Wallet::with(content).path).unwrap().open(Some(&password("other")));
    let KeyFileError::WrongPassword { format, .. } = error.unwrap_err() else {
        panic!("another password opened it");
    };
    assert_eq!(format, vault);
}

#[test]
fn a_damaged_file_is_not_taken_for_a_wrong_password() {
    for content in ["$NACL12", "$ANSIBLE_VAULT;1.1;AES256\nxyz", "gAAAAABk"] {
        let file = KeyFile::read(&Wallet::with(content.as_bytes()).path).unwrap();
        let error = file.open(Some(&password(PASSWORD))).unwrap_err();
        assert!(matches!(error, KeyFileError::Damaged { .. }), "{content}: {error}");
    }
}

#[test]
fn the_public_file_names_the_key_of_an_encrypted_one_and_may_be_wrong() {
    let (_, vault) = ENCRYPTED[1];
    for (named, is_right) in [(ADDRESS, true), (ALICE, false)] {
        let wallet = Wallet::with(vault);
        let public = wallet.path.root.join("validator/hotkeys/defaultpub.txt");
        fs::write(&public, format!(r#"{{"ss58Address":"{named}","cryptoType":1}}"#)).unwrap();
        let file = KeyFile::read(&wallet.path).unwrap();
        assert_eq!(file.facts().named.unwrap().to_string(), named);
        let hotkey = file.open(Some(&password(PASSWORD))).unwrap();
        assert_eq!(hotkey.facts().warnings.is_empty(), is_right, "{:?}", hotkey.facts());
    }
    let wallet = Wallet::with(vault);
    let public = wallet.path.root.join("validator/hotkeys/defaultpub.txt");
    fs::write(&public, "5Grw").unwrap();
    assert_eq!(KeyFile::read(&wallet.path).unwrap().facts().named, None);
}

#[test]
fn malformed_files_are_refused_with_the_place() {
    for content in ["", "nonsense", "[]", r#"{"secretSeed":7}"#, r#"{"secretSeed":"0x"#] {
        let error = read(content).unwrap_err();
        assert!(matches!(error, KeyFileError::NotJson { .. }), "{content}: {error}");
    }
    for (content, expected) in [
        (r#"{"secretPhrase":"one two three"}"#.to_owned(), "secretPhrase"),
        (r#"{"secretSeed":"0x1234"}"#.to_owned(), "secretSeed"),
        (r#"{"privateKey":"not hex"}"#.to_owned(), "privateKey"),
        (format!(r#"{{"secretSeed":"{SEED}","publicKey":"0x12"}}"#), "publicKey"),
        (format!(r#"{{"secretSeed":"{SEED}","ss58Address":"5Grw"}}"#), "ss58Address"),
    ] {
        let error = read(&content).unwrap_err();
        assert!(
            matches!(error, KeyFileError::BadField { field, .. } if field == expected),
            "{content}: {error}"
        );
    }
}

#[test]
fn a_file_without_a_secret_is_refused() {
    for content in ["{}".to_owned(), format!(r#"{{"ss58Address":"{ADDRESS}"}}"#)] {
        assert!(matches!(read(&content).unwrap_err(), KeyFileError::NoSecret { .. }));
    }
}

#[test]
fn a_file_of_another_scheme_is_refused_by_its_name() {
    for (mark, name) in [
        (r#""cryptoType":0"#, "ed25519"),
        (r#""cryptoType":"0""#, "ed25519"),
        (r#""cryptoType":"ed25519""#, "ed25519"),
        (r#""cryptoType":2"#, "2"),
        (r#""cryptoType":1.5"#, "1.5"),
        (r#""cryptoType":1,"signingScheme":"ML-DSA-65""#, "ml-dsa-65"),
        (r#""cryptoType":1,"hashedDescriptor":"0x00""#, "account behind a hash"),
    ] {
        let error = read(&format!(r#"{{"secretSeed":"{SEED}",{mark}}}"#)).unwrap_err();
        let KeyFileError::OtherScheme { scheme, .. } = error else { panic!("{mark}: {error}") };
        assert_eq!(scheme, name);
    }
    for mark in [
        r#""cryptoType":1"#,
        r#""cryptoType":" 1""#,
        r#""cryptoType":"SR25519""#,
        r#""cryptoType":null"#,
        r#""cryptoType":1,"accountType":"any","signingScheme":"sr25519","hashedDescriptor":null"#,
    ] {
        assert!(read(&format!(r#"{{"secretSeed":"{SEED}",{mark}}}"#)).is_ok(), "{mark}");
    }
}

#[test]
fn an_export_of_polkadot_js_is_refused_by_its_name() {
    let export = format!(r#"{{"encoded":"AAAA","encoding":{{}},"address":"{ADDRESS}"}}"#);
    assert!(matches!(read(&export).unwrap_err(), KeyFileError::Exported { .. }));
}

#[test]
fn a_file_that_is_too_long_is_not_parsed() {
    let limit = usize::try_from(KEY_FILE_BYTES_MAX).unwrap();
    let content = format!(r#"{{"secretSeed":"{SEED}"}}"#);
    let padded = format!("{content:<limit$}");
    assert!(read(&padded).is_ok());
    assert!(matches!(read(&format!("{padded} ")).unwrap_err(), KeyFileError::TooLong { .. }));
}

#[test]
fn an_open_mode_and_a_coldkey_beside_are_worth_a_warning() {
    let wallet = Wallet::with(format!(r#"{{"secretSeed":"{SEED}"}}"#).as_bytes());
    let file = wallet.path.file().unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let coldkey = wallet.path.root.join("validator/coldkey");
    fs::write(&coldkey, "anything").unwrap();
    assert_eq!(
        wallet.read().unwrap().facts().warnings,
        [
            KeyFileWarning::Mode { path: file, mode: 0o644 },
            KeyFileWarning::ColdkeyPresent { path: coldkey },
        ]
    );
}

#[test]
fn a_coldkey_of_any_wallet_beside_is_worth_a_warning_and_is_not_opened() {
    let wallet = Wallet::with(format!(r#"{{"secretSeed":"{SEED}"}}"#).as_bytes());
    let other = wallet.path.root.join("treasury");
    fs::create_dir(&other).unwrap();
    let coldkey = other.join("coldkey");
    // Nobody can open what leads nowhere.
    std::os::unix::fs::symlink("/nowhere", &coldkey).unwrap();
    fs::write(wallet.path.root.join("a-file"), "").unwrap();
    let facts = wallet.read().unwrap().facts().clone();
    assert_eq!(facts.warnings, [KeyFileWarning::ColdkeyPresent { path: coldkey }]);
}

#[test]
fn a_search_for_coldkeys_says_how_far_it_came_with_or_without_a_hotkey() {
    let wallet = Wallet::with(b"{}");
    fs::create_dir(wallet.path.root.join("treasury")).unwrap();
    fs::write(wallet.path.root.join("a-file"), "").unwrap();
    let search = wallet.path.coldkeys().unwrap();
    assert_eq!((search.found.len(), search.wallets, search.is_cut), (0, 2, false));
    assert!(search.unseen.is_empty(), "{search:?}");

    let absent = WalletPath { root: wallet.path.root.join("absent"), ..wallet.path.clone() };
    let search = absent.coldkeys().unwrap();
    assert!(search.found.is_empty() && search.unseen.is_empty(), "{search:?}");

    let a_file = WalletPath { root: wallet.path.root.join("a-file"), ..wallet.path.clone() };
    let search = a_file.coldkeys().unwrap();
    assert_eq!((search.unseen.len(), search.wallets), (1, 0), "no folder of wallets: {search:?}");

    for number in 0..WALLETS_SEARCHED_MAX {
        fs::create_dir(wallet.path.root.join(format!("more-{number}"))).unwrap();
    }
    let search = wallet.path.coldkeys().unwrap();
    assert!(search.is_cut && search.wallets > WALLETS_SEARCHED_MAX - 2, "{search:?}");
}

#[test]
fn a_file_tells_whose_it_is() {
    let wallet = Wallet::with(b"{}");
    let owner = fs::metadata(wallet.path.file().unwrap()).unwrap().uid();
    assert_eq!(KeyFile::read(&wallet.path).unwrap().facts().owner, owner);
}

#[test]
fn names_that_are_paths_are_refused() {
    for name in ["", ".", "..", "a/b", "/etc", "a/"] {
        let path = WalletPath {
            root: PathBuf::from("/wallets"),
            name: name.to_owned(),
            hotkey: "default".to_owned(),
        };
        assert!(matches!(path.file(), Err(KeyFileError::BadName { .. })), "{name}");
    }
}

#[test]
fn a_missing_file_says_which() {
    let wallet = Wallet::with(b"{}");
    let path = WalletPath { hotkey: "absent".to_owned(), ..wallet.path.clone() };
    let error = HotkeyFile::read(&path).unwrap_err();
    assert!(error.to_string().contains("hotkeys/absent"), "{error}");
}

#[test]
fn nothing_that_is_printed_shows_the_secret() {
    let file = read(&format!(r#"{{"secretSeed":"{SEED}"}}"#)).unwrap();
    let unopened = KeyFile::read(&Wallet::with(SEED.as_bytes()).path).unwrap();
    let shown = format!("{file:?} {:?} {unopened:?}", file.facts());
    assert!(!shown.contains(&SEED[2..20]), "{shown}");
}

#[test]
fn the_coldkey_in_the_hotkeys_place_is_refused_and_another_beside_is_not() {
    let wallet = Wallet::with(format!(r#"{{"secretSeed":"{SEED}"}}"#).as_bytes());
    let public = wallet.path.root.join("validator/coldkeypub.txt");
    fs::write(&public, format!(r#"{{"ss58Address":"{ALICE}"}}"#)).unwrap();
    assert!(wallet.read().is_ok());
    fs::write(&public, format!(r#"{{"ss58Address":"{ADDRESS}"}}"#)).unwrap();
    let error = wallet.read().unwrap_err();
    assert!(matches!(error, KeyFileError::Coldkey { .. }), "{error}");
}

#[test]
fn a_short_memory_is_told_in_numbers_where_there_are_any() {
    let path = PathBuf::from("/w/hotkeys/default");
    let told = |free_mib| KeyFileError::MemoryShort { path: path.clone(), free_mib }.to_string();
    assert_eq!(
        told(Some(200)),
        "decrypting `/w/hotkeys/default` takes 512 MiB of memory, and 200 MiB are left"
    );
    assert!(told(None).ends_with("and not enough is left"));
}

proptest::proptest! {
    #[test]
    fn no_content_of_a_file_panics(
        content in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
    ) {
        let wallet = Wallet::with(&content);
        proptest::prop_assert!(wallet.read().is_err());
    }

    #[test]
    fn a_changed_secret_gives_the_same_key_or_none(
        at in 0..SEED.len(),
        to in proptest::num::u8::ANY,
    ) {
        let start = br#"{"secretSeed":""#.len();
        let text = format!(r#"{{"secretSeed":"{SEED}","ss58Address":"{ADDRESS}"}}"#);
        let mut content = text.into_bytes();
        content[start + at] = to;
        if let Ok(file) = Wallet::with(&content).read() {
            let found = file.facts().hotkey.to_string();
            proptest::prop_assert_eq!(found, ADDRESS);
        }
    }
}

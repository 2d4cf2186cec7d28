use std::fs;
use std::os::unix::fs::PermissionsExt as _;

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

#[test]
fn encrypted_files_are_refused_by_the_name_of_their_format() {
    for (content, expected) in [
        ("$NACL\u{1}\u{2}", Encryption::Nacl),
        ("$ANSIBLE_VAULT;1.1;AES256", Encryption::AnsibleVault),
        ("gAAAAABk", Encryption::Fernet),
    ] {
        let error = read(content).unwrap_err();
        assert!(
            matches!(error, KeyFileError::Encrypted { format, .. } if format == expected),
            "{error}"
        );
    }
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
fn a_file_without_a_secret_or_of_another_scheme_is_refused() {
    for content in ["{}".to_owned(), format!(r#"{{"ss58Address":"{ADDRESS}"}}"#)] {
        assert!(matches!(read(&content).unwrap_err(), KeyFileError::NoSecret { .. }));
    }
    for scheme in [r#""ed25519""#, "0", "2"] {
        let content = format!(r#"{{"secretSeed":"{SEED}","cryptoType":{scheme}}}"#);
        assert!(matches!(read(&content).unwrap_err(), KeyFileError::OtherScheme { .. }));
    }
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
    let shown = format!("{file:?} {:?}", file.facts());
    assert!(!shown.contains(&SEED[2..20]), "{shown}");
}

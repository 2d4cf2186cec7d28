//! Key files that Bittensor's own packages write open here, to the same key; and what they do not
//! write any more opens there and here alike.
//!
//! What the packages do is in `tests/python/keyfiles*.py`. Which files are refused, and why, is
//! asserted beside the code.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use assay_tests::binaries::{binary, repository};
use assay_tests::lab::run_checked;
use node_chain::{
    password_variable, Encryption, HotkeyFile, KeyFile, KeyFileError, Password, WalletPath,
};
use serde_json::Value;
use tokio::process::Command;

const PASSWORD: &str = "Wörter mit Umlaut 7";
const MESSAGE: &str = "signed by the node";

/// A file that is no test's to change: made once, with this password.
const FERNET: &str = "node/chain/src/wallet/fixtures/fernet";
const FERNET_PASSWORD: &str = "für 7 Schlüssel";
const FERNET_ADDRESS: &str = "5DfhGyQdFobKM8NsWvEeAKk5EQQgYe9AydgJ7rMB6E1EqRzV";

async fn python(script: &str, arguments: &[&str]) -> Value {
    let mut venv = Command::new(repository().join("scripts/python-venv"));
    if script == "keyfiles_sdk.py" {
        venv.arg("sdk");
    }
    let python = run_checked(venv).await.unwrap();
    let mut command = Command::new(python.trim());
    command.arg(repository().join("tests/python").join(script)).args(arguments);
    serde_json::from_str(&run_checked(command).await.unwrap()).unwrap()
}

async fn wallets_written(dir: &Path) -> Value {
    python("keyfiles.py", &["write", dir.to_str().unwrap(), PASSWORD]).await
}

fn hotkey(root: &Path, hotkey: &str) -> WalletPath {
    WalletPath { root: root.to_owned(), name: "oracle".to_owned(), hotkey: hotkey.to_owned() }
}

fn password() -> Password {
    Password::from_line(PASSWORD.as_bytes()).unwrap()
}

/// The address, as text, after the package has verified a signature of the key.
async fn proven_address(opened: &HotkeyFile) -> String {
    let address = opened.facts().hotkey.to_string();
    let signature = format!("0x{}", hex::encode(opened.keypair().sign_raw(MESSAGE.as_bytes())));
    let verified = python("keyfiles.py", &["verify", &address, MESSAGE, &signature]).await;
    assert_eq!(verified, true, "the package refuses the signature of {address}");
    let other = python("keyfiles.py", &["verify", &address, "another message", &signature]).await;
    assert_eq!(other, false, "the package verifies anything");
    address
}

#[tokio::test]
async fn plain_hotkeys_of_the_wallet_package_open_to_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let written = wallets_written(dir.path()).await;
    for name in ["phrase", "uri"] {
        let file = KeyFile::read(&hotkey(dir.path(), name)).unwrap();
        assert_eq!((file.facts().encryption, file.facts().mode), (None, 0o600));
        let opened = file.open(None).unwrap();
        assert_eq!(opened.facts().warnings, [], "{name}");
        assert_eq!(file.facts().named, Some(opened.facts().hotkey), "{name}");
        assert_eq!(written[name], proven_address(&opened).await);
    }
    let refused = HotkeyFile::read(&hotkey(dir.path(), "ed25519")).unwrap_err();
    let KeyFileError::OtherScheme { scheme, .. } = refused else { panic!("{refused}") };
    assert_eq!(scheme, "ed25519");
}

#[tokio::test]
async fn encrypted_hotkeys_of_the_wallet_package_open_with_their_password_to_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let written = wallets_written(dir.path()).await;
    for (name, format) in [("nacl", Encryption::Nacl), ("vault", Encryption::AnsibleVault)] {
        let file = KeyFile::read(&hotkey(dir.path(), name)).unwrap();
        assert_eq!((file.facts().encryption, file.facts().mode), (Some(format), 0o600));
        let opened = file.open(Some(&password())).unwrap();
        assert_eq!(written["phrase"], proven_address(&opened).await);
    }

    // The variable in which the package keeps the password, as the package made it.
    let variable = |field: &str| written["variable"][field].as_str().unwrap().to_owned();
    let (name, value) = (variable("name"), variable("value"));
    let path = hotkey(dir.path(), "nacl").file().unwrap();
    assert_eq!(password_variable(&path), name);
    let mut command = Command::new(binary("assay").unwrap());
    command
        .args(["keys", "show", "--check", "--wallet.name", "oracle", "--wallet.hotkey", "nacl"])
        .arg("--wallet.path")
        .arg(dir.path())
        .env(&name, &value);
    let shown = run_checked(command).await.unwrap();
    assert!(shown.contains(written["phrase"].as_str().unwrap()), "{shown}");
    assert!(shown.contains("check     OK"), "{shown}");
}

#[tokio::test]
async fn the_sdk_and_the_node_open_each_others_formats() {
    let dir = tempfile::tempdir().unwrap();
    let wallet = hotkey(dir.path(), "sdk");
    let path = wallet.file().unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fernet = repository().join(FERNET);
    let arguments = [&path, &fernet].map(|path| path.to_str().unwrap());
    let said =
        python("keyfiles_sdk.py", &[arguments[0], PASSWORD, arguments[1], FERNET_PASSWORD]).await;
    let opened = KeyFile::read(&wallet).unwrap().open(Some(&password())).unwrap();
    assert_eq!(said["written"], proven_address(&opened).await);

    assert_eq!(said["opened"], FERNET_ADDRESS);
    std::fs::copy(&fernet, &path).unwrap();
    let old = Password::from_line(FERNET_PASSWORD.as_bytes()).unwrap();
    let opened = KeyFile::read(&wallet).unwrap().open(Some(&old)).unwrap();
    assert_eq!(opened.facts().hotkey.to_string(), FERNET_ADDRESS);
}

/// Asked at a terminal, up to three times; what is typed is not shown.
#[tokio::test]
async fn the_password_is_asked_for_at_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = hotkey(dir.path(), "h").file().unwrap();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let vault = repository().join("node/chain/src/wallet/fixtures/ansible");
    std::fs::copy(vault, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();

    let said = at_terminal(dir.path(), &format!("wrong,{FERNET_PASSWORD}")).await;
    let shown = said["shown"].as_str().unwrap();
    assert_eq!((said["code"].as_i64(), said["typed"].as_i64()), (Some(0), Some(2)), "{shown}");
    assert!(shown.contains(FERNET_ADDRESS) && shown.contains("check     OK"), "{shown}");
    assert!(!shown.contains("Schlüssel") && !shown.contains("wrong"), "{shown}");

    let said = at_terminal(dir.path(), "a,b,c,d").await;
    let shown = said["shown"].as_str().unwrap();
    assert_eq!((said["code"].as_i64(), said["typed"].as_i64()), (Some(69), Some(3)), "{shown}");
    assert!(shown.contains("does not open"), "{shown}");
}

async fn at_terminal(wallets: &Path, lines: &str) -> Value {
    let assay: PathBuf = binary("assay").unwrap();
    let arguments = [
        "Password of the hotkey",
        lines,
        assay.to_str().unwrap(),
        "keys",
        "show",
        "--check",
        "--wallet.name=oracle",
        "--wallet.hotkey=h",
        "--wallet.path",
        wallets.to_str().unwrap(),
    ];
    python("keyfiles_prompt.py", &arguments).await
}

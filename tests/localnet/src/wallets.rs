//! Wallet folders as Bittensor's tools write them, for every neuron of the local chain.
//!
//! ```text
//! <dir>/validator0/coldkeypub.txt       public parts only
//!                  hotkeys/default      seed included, mode 0600
//!                  hotkeys/defaultpub.txt
//! ```
//!
//! A file that already holds something else is never overwritten: the directory might be
//! somebody's real wallets.

use crate::{
    genesis::GenesisSpec,
    keys::{DevKey, Keyring, Role},
};
use serde_json::{json, Value};
use sp_core::{crypto::Ss58Codec, Pair};
use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Name of every hotkey file.
pub const HOTKEY_NAME: &str = "default";

/// Why wallets could not be written.
#[derive(Debug, Error)]
pub enum WalletError {
    /// A directory could not be made.
    #[error("cannot create the wallet directory `{}`", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file could not be written or read.
    #[error("cannot write the key file `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of that name holds another key.
    #[error("the key file `{}` exists and holds another key; choose another directory", path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
    },
}

/// Writes one wallet per neuron of the chain, named after its role and number.
///
/// Repeating it changes nothing.
///
/// # Errors
///
/// [`WalletError`]; wallets before the failing one are complete.
pub fn write_wallets(dir: &Path, spec: &GenesisSpec, keyring: &Keyring) -> Result<(), WalletError> {
    for (role, index) in spec.neurons() {
        write_wallet(dir, role, index, keyring)?;
    }
    Ok(())
}

fn write_wallet(dir: &Path, role: Role, index: u16, keyring: &Keyring) -> Result<(), WalletError> {
    let wallet = dir.join(format!("{}{index}", role.name()));
    let hotkeys = wallet.join("hotkeys");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&hotkeys)
        .map_err(|source| WalletError::Directory { path: hotkeys.clone(), source })?;
    let hotkey = keyring.hotkey(role, index);
    write_key(&wallet.join("coldkeypub.txt"), &public_json(&keyring.coldkey(role, index)))?;
    write_key(&hotkeys.join(format!("{HOTKEY_NAME}pub.txt")), &public_json(&hotkey))?;
    write_key(&hotkeys.join(HOTKEY_NAME), &secret_json(&hotkey))
}

fn public_json(key: &DevKey) -> Value {
    let public = format!("0x{}", hex::encode(key.pair.public().0));
    json!({
        "accountId": public,
        "publicKey": public,
        "ss58Address": key.pair.public().to_ss58check(),
    })
}

fn secret_json(key: &DevKey) -> Value {
    let mut json = public_json(key);
    json["privateKey"] = Value::Null;
    json["secretPhrase"] = Value::Null;
    json["secretSeed"] = Value::String(format!("0x{}", hex::encode(key.seed)));
    json
}

fn write_key(path: &Path, json: &Value) -> Result<(), WalletError> {
    let failed = |source| WalletError::File { path: path.to_path_buf(), source };
    let text = json.to_string();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).map_err(failed),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_to_string(path).map_err(failed)? == text {
                Ok(())
            } else {
                Err(WalletError::OtherKey { path: path.to_path_buf() })
            }
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn every_neuron_has_a_wallet_that_signs_as_it() {
        let dir = tempfile::tempdir().unwrap();
        let keyring = Keyring::new();
        let spec = GenesisSpec { miners: 2, ..GenesisSpec::default() };
        write_wallets(dir.path(), &spec, &keyring).unwrap();
        write_wallets(dir.path(), &spec, &keyring).unwrap();

        let hotkey = dir.path().join("miner1/hotkeys/default");
        assert_eq!(fs::metadata(&hotkey).unwrap().permissions().mode() & 0o777, 0o600);
        let json: Value = serde_json::from_str(&fs::read_to_string(&hotkey).unwrap()).unwrap();
        let seed = hex::decode(&json["secretSeed"].as_str().unwrap()[2..]).unwrap();
        let pair = sp_core::sr25519::Pair::from_seed_slice(&seed).unwrap();
        assert_eq!(pair.public(), keyring.hotkey(Role::Miner, 1).pair.public());
        assert_eq!(json["ss58Address"], pair.public().to_ss58check());

        let cold = fs::read_to_string(dir.path().join("validator0/coldkeypub.txt")).unwrap();
        assert!(!cold.contains("secret"));
    }

    #[test]
    fn refuses_to_overwrite_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("validator0/hotkeys");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("default"), "somebody's key").unwrap();
        let error =
            write_wallets(dir.path(), &GenesisSpec::default(), &Keyring::new()).unwrap_err();
        assert!(matches!(error, WalletError::OtherKey { .. }), "{error}");
        assert_eq!(fs::read_to_string(path.join("default")).unwrap(), "somebody's key");
    }
}

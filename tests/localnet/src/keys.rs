//! The keys of the local chain, derived from the well-known development phrase.
//!
//! Everybody has them, so they are worth nothing anywhere else.

use sp_core::{
    crypto::{DeriveJunction, DEV_PHRASE},
    sr25519, Pair,
};

/// What a neuron is there for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Has stake and a permit.
    Validator,
    /// Commits submissions.
    Miner,
    /// Owns the subnet.
    Owner,
}

impl Role {
    /// First part of the key's path and of the wallet's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validator => "validator",
            Self::Miner => "miner",
            Self::Owner => "owner",
        }
    }
}

/// A key with what it was derived from.
#[derive(Clone)]
pub struct DevKey {
    /// The path, as wallets and SDKs take it.
    pub uri: String,
    /// 32 bytes from which the pair can be made again.
    pub seed: [u8; 32],
    /// The pair.
    pub pair: sr25519::Pair,
}

impl std::fmt::Debug for DevKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DevKey").field("uri", &self.uri).finish_non_exhaustive()
    }
}

impl DevKey {
    /// The account of this key.
    pub fn account(&self) -> node_subtensor_runtime::AccountId {
        self.pair.public().into()
    }
}

/// Derives keys. The phrase is expanded once, which is the slow part.
#[derive(Clone)]
pub struct Keyring {
    root: sr25519::Pair,
    seed: [u8; 32],
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new()
    }
}

impl Keyring {
    /// The development phrase's keys.
    pub fn new() -> Self {
        let (root, seed) = sr25519::Pair::from_phrase(DEV_PHRASE, None)
            .expect("the development phrase is a valid mnemonic");
        Self { root, seed }
    }

    /// The key at a path of hard junctions: `["Alice"]` is `//Alice`.
    pub fn derive(&self, path: &[&str]) -> DevKey {
        let junctions = path.iter().map(|part| match part.parse::<u64>() {
            Ok(number) => DeriveJunction::hard(number),
            Err(_) => DeriveJunction::hard(*part),
        });
        let (pair, seed) =
            self.root.derive(junctions, Some(self.seed)).expect("hard junctions always derive");
        let uri = path.iter().map(|part| format!("//{part}")).collect();
        DevKey { uri, seed: seed.expect("hard junctions keep a seed"), pair }
    }

    /// Hotkey `index` of a role: `//validator//0//hotkey`.
    pub fn hotkey(&self, role: Role, index: u16) -> DevKey {
        self.derive(&[role.name(), &index.to_string(), "hotkey"])
    }

    /// Coldkey `index` of a role: `//validator//0//coldkey`.
    pub fn coldkey(&self, role: Role, index: u16) -> DevKey {
        self.derive(&[role.name(), &index.to_string(), "coldkey"])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sp_core::crypto::Ss58Codec;

    #[test]
    fn derives_the_same_keys_as_the_uri() {
        let keyring = Keyring::new();
        let alice = keyring.derive(&["Alice"]);
        assert_eq!(
            alice.pair.public().to_ss58check(),
            "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
        );
        let hotkey = keyring.hotkey(Role::Miner, 3);
        assert_eq!(hotkey.uri, "//miner//3//hotkey");
        let by_uri = sr25519::Pair::from_string(&hotkey.uri, None).unwrap();
        assert_eq!(by_uri.public(), hotkey.pair.public());
        let by_seed = sr25519::Pair::from_seed(&hotkey.seed);
        assert_eq!(by_seed.public(), hotkey.pair.public());
    }
}

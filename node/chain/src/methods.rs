//! What a node can be asked: the library's legacy methods, and forms of them that it lacks.
//!
//! Runtime calls and storage values are ours as well: they are nearly all that a view consists of,
//! and the library's way of reading hexadecimal digits takes longer than all else of a call.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use node_core::id::BlockHash;
use node_core::unit::BlockNumber;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};
use subxt::config::substrate::H256;
use subxt::config::RpcConfigFor;
use subxt::SubstrateConfig;
use subxt_rpcs::client::RpcParams;
use subxt_rpcs::{rpc_params, LegacyRpcMethods, RpcClient};

use crate::socket::{read_json, Socket};

type Legacy = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// The methods of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    legacy: Legacy,
    socket: Arc<Socket>,
}

impl Deref for Methods {
    type Target = Legacy;

    fn deref(&self) -> &Legacy {
        &self.legacy
    }
}

impl Methods {
    pub(crate) fn new(socket: Socket) -> Self {
        let socket = Arc::new(socket);
        Self { legacy: Legacy::new(RpcClient::new(Arc::clone(&socket))), socket }
    }

    /// Asks, and reads the answer where it lies: the library copies it first.
    async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        params: RpcParams,
    ) -> Result<T, subxt_rpcs::Error> {
        self.socket.request(method, params.build().as_deref(), read_json).await
    }

    /// Hashes of the canonical blocks of these heights, in one call.
    pub(crate) async fn block_hashes(
        &self,
        numbers: &[BlockNumber],
    ) -> Result<Vec<Option<BlockHash>>, subxt_rpcs::Error> {
        let heights: Vec<u64> = numbers.iter().map(|number| number.0).collect();
        let hashes: Vec<Option<H256>> =
            self.ask("chain_getBlockHash", rpc_params![heights]).await?;
        Ok(hashes.into_iter().map(|hash| hash.map(|hash| BlockHash(hash.0))).collect())
    }

    /// Calls into the runtime at a block; `function` is `<Api>_<method>`.
    pub(crate) async fn call_api(
        &self,
        function: &str,
        input: &[u8],
        block: BlockHash,
    ) -> Result<Vec<u8>, subxt_rpcs::Error> {
        let params = rpc_params![function, const_hex::encode_prefixed(input), H256(block.0)];
        self.socket.request("state_call", params.build().as_deref(), hexadecimal).await
    }

    /// The stored values of these keys at a block, in their order.
    ///
    /// - `keys`: as [`const_hex::encode_prefixed`] writes them.
    pub(crate) async fn query_storage(
        &self,
        keys: &[String],
        block: BlockHash,
    ) -> Result<Vec<Option<Vec<u8>>>, subxt_rpcs::Error> {
        let params = rpc_params![keys, H256(block.0)].build();
        let read = |json: &str| values(keys, json);
        self.socket.request("state_queryStorageAt", params.as_deref(), read).await
    }
}

/// What storage keys hold in one block.
#[derive(serde::Deserialize)]
struct ChangeSet<'a> {
    #[serde(borrow)]
    changes: Vec<(Key<'a>, Option<Hexadecimal>)>,
}

/// The values of these keys. Nodes answer in the order that they are asked in, so a key is looked
/// up only if it is not the next one.
fn values(asked: &[String], json: &str) -> Result<Vec<Option<Vec<u8>>>, serde_json::Error> {
    let sets: Vec<ChangeSet<'_>> = serde_json::from_str(json)?;
    let mut values = vec![None; asked.len()];
    let mut places: Option<HashMap<&str, usize>> = None;
    let mut next = 0;
    for (Key(key), found) in sets.into_iter().flat_map(|set| set.changes) {
        if asked.get(next).is_none_or(|asked| *asked != *key) {
            let places = places.get_or_insert_with(|| {
                asked.iter().enumerate().map(|(at, key)| (key.as_str(), at)).collect()
            });
            let place = places.get(key.to_ascii_lowercase().as_str());
            next = *place.ok_or_else(|| Error::custom("a key that was not asked for"))?;
        }
        if let Some(value) = values.get_mut(next) {
            *value = found.map(|Hexadecimal(bytes)| bytes);
        }
        next += 1;
    }
    Ok(values)
}

/// A storage key as a node wrote it.
#[derive(Debug)]
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a storage key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }
}

/// The bytes in a JSON string of digits. Where there is nothing but digits, which is nearly
/// always, nothing has to be looked for before they are read.
fn hexadecimal(json: &str) -> Result<Vec<u8>, serde_json::Error> {
    let digits = json.strip_prefix("\"0x").and_then(|rest| rest.strip_suffix('"'));
    let digits = digits.filter(|digits| !digits.starts_with("0x"));
    match digits.map(const_hex::decode) {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(_)) | None => serde_json::from_str(json).map(|Hexadecimal(bytes)| bytes),
    }
}

/// Bytes as nodes write them: a string of `0x` and two digits for each.
#[derive(Debug, PartialEq, Eq)]
struct Hexadecimal(Vec<u8>);

impl<'de> Deserialize<'de> for Hexadecimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexadecimalVisitor)
    }
}

struct HexadecimalVisitor;

impl Visitor<'_> for HexadecimalVisitor {
    type Value = Hexadecimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`0x` and an even number of hexadecimal digits")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Hexadecimal, E> {
        let digits = text.strip_prefix("0x").filter(|digits| !digits.starts_with("0x"));
        let digits = digits.ok_or_else(|| E::custom("hexadecimal digits without `0x`"))?;
        const_hex::decode(digits).map(Hexadecimal).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a whole answer, and as a part of one.
    fn read(json: &str) -> Result<Vec<u8>, serde_json::Error> {
        let alone = hexadecimal(json);
        let part: Result<Hexadecimal, _> = serde_json::from_str(json);
        assert_eq!(alone.as_ref().ok(), part.as_ref().ok().map(|Hexadecimal(bytes)| bytes));
        alone
    }

    #[test]
    fn bytes_are_read_in_either_case() {
        let bytes: Vec<u8> = (0..=255).collect();
        for digits in [const_hex::encode(&bytes), const_hex::encode_upper(&bytes)] {
            assert_eq!(read(&format!("\"0x{digits}\"")).unwrap(), bytes);
        }
        assert_eq!(read("\"0x\"").unwrap(), [0u8; 0]);
        assert_eq!(read("\"\\u0030x0a\"").unwrap(), [10], "an escaped digit");
    }

    #[test]
    fn what_is_no_bytes_is_refused() {
        let long = |bad: &str| format!("\"0x{}{bad}{}\"", "ab".repeat(100), "cd".repeat(100));
        for json in ["\"0x0\"", "\"0a\"", "\"0x0x0a\"", "\"0xzz\"", "\"\"", "7", "null", "[1]"] {
            assert!(read(json).is_err(), "{json}");
        }
        for bad in ["g0", "0", " 0", "é", "-1"] {
            assert!(read(&long(bad)).is_err(), "{bad}");
        }
    }

    fn stored(asked: &[&str], changes: &str) -> Result<Vec<Option<Vec<u8>>>, String> {
        let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let json = format!(r#"[{{"block":"0x00","changes":[{changes}]}}]"#);
        values(&asked, &json).map_err(|error| error.to_string())
    }

    #[test]
    fn stored_values_come_in_the_order_of_their_keys_whatever_that_of_the_answer() {
        let asked = ["0x0a", "0x0b", "0x0c", "0x0d"];
        let expected = [Some(vec![1]), None, Some(vec![3]), Some(vec![4])];
        let (a, b) = (r#"["0x0a","0x01"]"#, r#"["0x0b",null]"#);
        let (c, d) = (r#"["0x0c","0x03"]"#, r#"["0x0d","0x04"]"#);
        for order in [[a, b, c, d], [d, c, b, a], [c, d, a, b], [b, a, d, c]] {
            assert_eq!(stored(&asked, &order.join(",")).unwrap(), expected, "{order:?}");
        }
        for answer in [[a, c, d], [d, a, c]] {
            assert_eq!(stored(&asked, &answer.join(",")).unwrap(), expected, "left out: {b}");
        }
        let (upper, escaped) = (r#"["0x0A","0x01"]"#, r#"["\u0030x0c","0x03"]"#);
        assert_eq!(stored(&asked, &[upper, b, escaped, d].join(",")).unwrap(), expected);
        let twice = stored(&["0x0a", "0x0a"], &[a, a].join(",")).unwrap();
        assert_eq!(twice, [Some(vec![1]), Some(vec![1])]);
        assert_eq!(values(&["0x0a".to_owned()], "[]").unwrap(), [None]);
    }

    #[test]
    fn answers_about_storage_that_are_none_are_refused() {
        for broken in [r#"["0x0a"]"#, r#"["0x0a",1]"#, r#"["0x0a","0x0"]"#, r#"[1,"0x01"]"#, "7"] {
            assert!(stored(&["0x0a"], broken).is_err(), "{broken}");
        }
        assert!(values(&[], "[{}]").is_err());
        let other = stored(&["0x0a"], r#"["0x0b","0x01"]"#).unwrap_err();
        assert!(other.contains("a key that was not asked for"), "{other}");
        let more = r#"["0x0a","0x01"],["0x0a","0x02"],["0x0b","0x01"]"#;
        assert!(stored(&["0x0a"], more).is_err());
    }
}

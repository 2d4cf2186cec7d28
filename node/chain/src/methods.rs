//! What a node can be asked: the library's legacy methods, and forms of them that it lacks.
//!
//! Runtime calls and storage values are ours as well: they are nearly all that a view consists of,
//! and the library's way of reading hexadecimal digits takes longer than all else of a call.

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

use crate::socket::Socket;

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
        self.socket.request(method, params.build().as_deref()).await
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
        let Hexadecimal(answer) = self.ask("state_call", params).await?;
        Ok(answer)
    }

    /// The stored values of these keys at a block; keys without a value are left out.
    pub(crate) async fn query_storage(
        &self,
        keys: &[Vec<u8>],
        block: BlockHash,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, subxt_rpcs::Error> {
        let keys: Vec<String> = keys.iter().map(const_hex::encode_prefixed).collect();
        let params = rpc_params![keys, H256(block.0)];
        let sets: Vec<ChangeSet> = self.ask("state_queryStorageAt", params).await?;
        let changes = sets.into_iter().flat_map(|set| set.changes);
        Ok(changes.filter_map(|(key, value)| Some((key.0, value?.0))).collect())
    }
}

/// What storage keys hold in one block.
#[derive(serde::Deserialize)]
struct ChangeSet {
    changes: Vec<(Hexadecimal, Option<Hexadecimal>)>,
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

    fn read(json: &str) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::from_str(json).map(|Hexadecimal(bytes)| bytes)
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

    #[test]
    fn storage_without_a_value_is_left_out_and_other_answers_are_refused() {
        let set = r#"[{"block":"0x00","changes":[["0x01","0x02"],["0x03",null]]}]"#;
        let sets: Vec<ChangeSet> = serde_json::from_str(set).unwrap();
        let expected = (Hexadecimal(vec![1]), Some(Hexadecimal(vec![2])));
        assert_eq!(sets[0].changes, [expected, (Hexadecimal(vec![3]), None)]);
        for broken in [r#"[{"changes":[["0x01"]]}]"#, r#"[{}]"#, r#"[{"changes":[["0x01",1]]}]"#] {
            assert!(serde_json::from_str::<Vec<ChangeSet>>(broken).is_err(), "{broken}");
        }
    }
}

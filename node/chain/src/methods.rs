//! What a node can be asked: the library's legacy methods, and forms of them that it lacks.

use std::ops::Deref;

use node_core::id::BlockHash;
use node_core::unit::BlockNumber;
use subxt::config::substrate::H256;
use subxt::config::RpcConfigFor;
use subxt::SubstrateConfig;
use subxt_rpcs::{rpc_params, LegacyRpcMethods, RpcClient};

type Legacy = LegacyRpcMethods<RpcConfigFor<SubstrateConfig>>;

/// The methods of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    legacy: Legacy,
    client: RpcClient,
}

impl Deref for Methods {
    type Target = Legacy;

    fn deref(&self) -> &Legacy {
        &self.legacy
    }
}

impl Methods {
    pub(crate) fn new(client: RpcClient) -> Self {
        Self { legacy: Legacy::new(client.clone()), client }
    }

    /// Hashes of the canonical blocks of these heights, in one call.
    pub(crate) async fn block_hashes(
        &self,
        numbers: &[BlockNumber],
    ) -> Result<Vec<Option<BlockHash>>, subxt_rpcs::Error> {
        let heights: Vec<u64> = numbers.iter().map(|number| number.0).collect();
        let hashes: Vec<Option<H256>> =
            self.client.request("chain_getBlockHash", rpc_params![heights]).await?;
        Ok(hashes.into_iter().map(|hash| hash.map(|hash| BlockHash(hash.0))).collect())
    }
}

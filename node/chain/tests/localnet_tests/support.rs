//! A chain whose blocks come when the test says so, and clients of it.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use localnet::admin::{self, UpgradeTo};
use localnet::keys::Keyring;
use localnet::{BlockTime, Config, GenesisSpec, Localnet, StartError};
use node_chain::{BlockRef, ChainClient, ChainConfig, Keypair};
use node_core::id::{BlockHash, Hotkey, IntentId, Netuid, Uid};
use node_core::machine::effect::WeightsToSign;
use node_core::submit_guard::{Binding, WeightsForm};
use node_core::unit::BlockNumber;
use node_core::view::ChainView;

/// Rao in a TAO.
pub(crate) const TAO: u64 = 1_000_000_000;
/// Longest wait for anything that should happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two blocks of the local chain.
const SLOT_MS: u64 = 1_000;
/// Blocks for which weights signed by [`Chain::weights`] are valid.
pub(crate) const ERA_BLOCKS: u64 = 16;
/// A vector that the chain stores as it is.
pub(crate) const VECTOR: [(Uid, u16); 2] = [(Uid(1), 65535), (Uid(2), 12345)];

pub(crate) struct Chain {
    pub(crate) localnet: Localnet,
}

impl Chain {
    pub(crate) async fn start(genesis: GenesisSpec) -> Self {
        Self::start_with(Config { genesis, ..Config::default() }).await
    }

    /// On a given port and directory, so that it can be started again.
    pub(crate) async fn start_at(listen: SocketAddr, state_dir: PathBuf) -> Self {
        let config = Config { listen, state_dir: Some(state_dir), ..Config::default() };
        Self::start_with(config).await
    }

    /// Blocks on a timer, for calls that wait for finality.
    pub(crate) async fn start_sealing(genesis: GenesisSpec) -> Self {
        let block_time = BlockTime::Every(Duration::from_millis(100));
        Self::start_with(Config { genesis, block_time, ..Config::default() }).await
    }

    /// A chain that was just stopped may hold its directory a moment longer.
    pub(crate) async fn start_with(config: Config) -> Self {
        let localnet = soon("the chain's start", async {
            loop {
                match Localnet::start(config.clone()).await {
                    Ok(localnet) => return localnet,
                    Err(StartError::Journal { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error:?}"),
                }
            }
        })
        .await;
        Self { localnet }
    }

    pub(crate) fn genesis(&self) -> BlockHash {
        BlockHash(self.localnet.chain().genesis_hash().0)
    }

    pub(crate) fn config(&self) -> ChainConfig {
        let endpoints = vec![self.localnet.url()];
        ChainConfig { call_timeout: PATIENCE, ..ChainConfig::new(endpoints, Netuid(1)) }
    }

    pub(crate) async fn client(&self) -> ChainClient {
        ChainClient::connect(self.config()).await.unwrap()
    }

    /// A client whose views carry this hotkey's nonce.
    pub(crate) async fn client_of(&self, hotkey: Hotkey) -> ChainClient {
        let config = ChainConfig { own_hotkey: Some(hotkey), ..self.config() };
        ChainClient::connect(config).await.unwrap()
    }

    /// Seals that many blocks; the last one is final at once.
    pub(crate) async fn seal(&self, blocks: u32) -> BlockRef {
        let chain = self.localnet.chain().clone();
        tokio::task::spawn_blocking(move || {
            for _ in 0..blocks {
                chain.seal(chain.last_timestamp() + SLOT_MS).unwrap();
            }
        })
        .await
        .unwrap();
        self.head()
    }

    pub(crate) fn head(&self) -> BlockRef {
        let block = self.localnet.chain().finalized();
        BlockRef { number: BlockNumber(u64::from(block.number())), hash: BlockHash(block.hash.0) }
    }

    pub(crate) fn hash_of(&self, number: u64) -> BlockHash {
        let number = u32::try_from(number).unwrap();
        BlockHash(self.localnet.chain().block_hash(number).unwrap().0)
    }

    pub(crate) async fn view(&self, client: &ChainClient) -> ChainView {
        client.view_at(self.head().hash).await.unwrap()
    }

    pub(crate) fn best(&self) -> BlockRef {
        let block = self.localnet.chain().best();
        BlockRef { number: BlockNumber(u64::from(block.number())), hash: BlockHash(block.hash.0) }
    }

    /// Plain weights of mechanism 0, to be signed after the best block with an era from the
    /// finalized one.
    pub(crate) fn weights(&self, nonce: u32, vector: &[(Uid, u16)]) -> WeightsToSign {
        let anchor = self.head();
        WeightsToSign {
            intent: IntentId([7; 32]),
            netuid: Netuid(1),
            mechanism: 0,
            vector: vector.to_vec(),
            version_key: 0,
            form: WeightsForm::Plain,
            binding: Binding {
                nonce,
                head: self.best().hash,
                anchor: anchor.number,
                anchor_hash: anchor.hash,
                era_blocks: ERA_BLOCKS,
            },
        }
    }

    pub(crate) fn pending(&self) -> usize {
        self.localnet.chain().pending().len()
    }
}

/// A validator with the given stake each, and this many miners.
pub(crate) fn neurons(stakes_tao: &[u64], miners: u16) -> GenesisSpec {
    let validator_stakes = stakes_tao.iter().map(|tao| tao * TAO).collect();
    GenesisSpec { validator_stakes, miners, ..GenesisSpec::default() }
}

pub(crate) fn validator(index: u16) -> Keypair {
    Keypair::from_uri(&format!("//validator//{index}//hotkey")).unwrap()
}

/// The owner's hotkey, which need not have a neuron.
pub(crate) fn owner() -> Keypair {
    Keypair::from_uri("//owner//0//hotkey").unwrap()
}

/// Changes the chain's storage with the next block, and returns that.
pub(crate) async fn alter(chain: &Chain, code: impl FnOnce() + Send + 'static) -> BlockRef {
    let inner = chain.localnet.chain().clone();
    let alice = Keyring::new().derive(&["Alice"]);
    tokio::task::spawn_blocking(move || admin::alter(&inner, &alice, code).unwrap()).await.unwrap();
    chain.seal(1).await
}

/// Stores bytes with the next block, whatever they mean.
pub(crate) async fn store(chain: &Chain, key: Vec<u8>, value: Vec<u8>) -> BlockRef {
    let alice = Keyring::new().derive(&["Alice"]);
    admin::change_storage(chain.localnet.chain(), &alice, vec![(key, Some(value))]).unwrap();
    chain.seal(1).await
}

/// Upgrades the runtime with the next block, and returns that.
pub(crate) async fn upgrade(chain: &Chain, to: UpgradeTo) -> BlockRef {
    let alice = Keyring::new().derive(&["Alice"]);
    admin::upgrade(chain.localnet.chain(), &alice, to).unwrap();
    chain.seal(1).await
}

pub(crate) fn miner(index: u16) -> Keypair {
    Keypair::from_uri(&format!("//miner//{index}//hotkey")).unwrap()
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

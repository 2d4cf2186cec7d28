//! The runtime of one block: its versions and its metadata, and the names in it.
//!
//! Reads never assume the runtime of the block before. Metadata is fetched once per spec version
//! and kept for the last few.

use std::sync::{Arc, Mutex, PoisonError};

use node_core::id::BlockHash;
use subxt::config::substrate::{SpecVersionForRange, SubstrateConfig, H256};
use subxt::ext::codec::{Decode, Encode};
use subxt::ext::scale_decode::DecodeAsType;
use subxt::{ArcMetadata, Metadata, OfflineClient, OfflineClientAtBlock};

use crate::commitments::CommitmentForm;
use crate::link::{CallError, Links, Methods};
use crate::shape::{decode_metadata, ShapeReport, Version};

/// Runtimes kept. Lower: reads around an upgrade fetch metadata again and again. Higher: each
/// costs a few megabytes.
const RUNTIMES_CACHED_MAX: usize = 3;

/// The newest metadata version we can read.
const METADATA_VERSION_MAX: u32 = 16;

/// Why a block's runtime cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The chain could not be asked.
    #[error("cannot fetch the runtime of block {block}")]
    Call {
        /// The block.
        block: BlockHash,
        /// Why.
        #[source]
        source: Box<CallError>,
    },
    /// The answer is not a runtime's description.
    #[error("cannot read the {what} of block {block}: {detail}")]
    Malformed {
        /// The block.
        block: BlockHash,
        /// Version or metadata.
        what: &'static str,
        /// The decoder's message.
        detail: String,
    },
}

/// The runtime that a block's state belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) spec_version: u32,
    client: OfflineClient<SubstrateConfig>,
    metadata: ArcMetadata,
    shapes: Arc<ShapeReport>,
    commitments: Option<CommitmentForm>,
}

impl Runtime {
    pub(crate) fn new(
        genesis: BlockHash,
        (spec_version, transaction_version): (u32, u32),
        metadata: Metadata,
    ) -> Self {
        let shapes = Arc::new(ShapeReport::of(&metadata));
        let commitments = CommitmentForm::of(&metadata);
        let metadata = metadata.arc();
        let everywhere =
            SpecVersionForRange { block_range: 0..u64::MAX, spec_version, transaction_version };
        let config = SubstrateConfig::builder()
            .set_genesis_hash(H256(genesis.0))
            .set_metadata_for_spec_versions([(spec_version, metadata.clone())])
            .set_spec_version_for_block_ranges([everywhere])
            .build();
        let client = OfflineClient::new_with_config(config);
        Self { spec_version, client, metadata, shapes, commitments }
    }

    /// How this runtime compares with everything the node uses.
    pub(crate) fn shapes(&self) -> Arc<ShapeReport> {
        Arc::clone(&self.shapes)
    }

    /// How this runtime writes commitments, if in a form known here.
    pub(crate) fn commitments(&self) -> Option<&CommitmentForm> {
        self.commitments.as_ref()
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// A client that encodes for this runtime; `None` cannot happen, as it is configured for all
    /// blocks.
    pub(crate) fn client(&self) -> Option<OfflineClientAtBlock<SubstrateConfig>> {
        self.client.at_block(0u64).ok()
    }

    /// Decodes bytes as the type that the metadata gives them.
    pub(crate) fn decode<T: DecodeAsType>(
        &self,
        type_id: u32,
        mut bytes: &[u8],
    ) -> Result<T, String> {
        let value = T::decode_as_type(&mut bytes, type_id, self.metadata.types())
            .map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            Ok(value)
        } else {
            Err(format!("{} bytes are left over", bytes.len()))
        }
    }
}

/// The last few runtimes, by spec version.
#[derive(Debug, Default)]
pub(crate) struct Runtimes(Mutex<Vec<Arc<Runtime>>>);

impl Runtimes {
    /// The runtime of a block: one call, and three more if its spec version is new to us.
    pub(crate) async fn at(
        &self,
        links: &Links,
        block: BlockHash,
    ) -> Result<Arc<Runtime>, RuntimeError> {
        let versions = fetch_version(links, block).await?;
        if let Some(known) = self.known(versions.0) {
            return Ok(known);
        }
        let metadata = fetch_metadata(links, block).await?;
        let runtime = Arc::new(Runtime::new(links.genesis(), versions, metadata));
        tell(&runtime);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= RUNTIMES_CACHED_MAX {
            kept.remove(0);
        }
        kept.push(Arc::clone(&runtime));
        Ok(runtime)
    }

    /// Forgets them all: a signature made for one of them did not fit.
    pub(crate) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn known(&self, spec_version: u32) -> Option<Arc<Runtime>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|runtime| runtime.spec_version == spec_version).cloned()
    }
}

/// Says once per runtime what of it cannot be used. The report is there for who wants more.
fn tell(runtime: &Runtime) {
    let spec_version = runtime.spec_version;
    for row in &runtime.shapes.rows {
        if row.verdict.lost().is_empty() {
            continue;
        }
        let (item, detail) = (row.name.as_str(), row.verdict.to_string());
        tracing::warn!(spec_version, item, detail, "runtime item cannot be used");
    }
    tracing::info!(spec_version, worst = runtime.shapes.worst().name(), "runtime compared");
}

/// The spec version and the transaction version of a block's runtime: by its own word, or by that
/// of a node that does not let the runtime speak.
async fn fetch_version(links: &Links, block: BlockHash) -> Result<(u32, u32), RuntimeError> {
    let call = |source| RuntimeError::Call { block, source: Box::new(source) };
    if let Some(bytes) = ask_api(links, "Core_version", &[], block).await.map_err(call)? {
        let version = Version::decode(&mut bytes.as_slice()).map_err(|error| {
            RuntimeError::Malformed { block, what: "version", detail: error.to_string() }
        })?;
        return Ok((version.spec_version, version.transaction_version));
    }
    let version = links
        .call("state_getRuntimeVersion", |methods| async move {
            methods.state_get_runtime_version(Some(H256(block.0))).await
        })
        .await
        .map_err(call)?;
    Ok((version.spec_version, version.transaction_version))
}

async fn fetch_metadata(links: &Links, block: BlockHash) -> Result<Metadata, RuntimeError> {
    let malformed = |detail: String| RuntimeError::Malformed { block, what: "metadata", detail };
    let versions = state_call(links, "Metadata_metadata_versions", &[], block).await?;
    let version = Vec::<u32>::decode(&mut versions.as_slice())
        .map_err(|error| malformed(error.to_string()))?
        .into_iter()
        .filter(|version| *version <= METADATA_VERSION_MAX)
        .max()
        .ok_or_else(|| malformed("it has no version known here".to_owned()))?;
    let bytes = state_call(links, "Metadata_metadata_at_version", &version.encode(), block).await?;
    if bytes == [0] {
        return Err(malformed(format!("version {version} was offered, but is absent")));
    }
    decode_metadata(&bytes).map_err(|error| malformed(error.to_string()))
}

async fn state_call(
    links: &Links,
    function: &'static str,
    input: &[u8],
    block: BlockHash,
) -> Result<Vec<u8>, RuntimeError> {
    call_api(links, function, input, block)
        .await
        .map_err(|source| RuntimeError::Call { block, source: Box::new(source) })
}

/// Calls into the runtime at a block; `function` is `<Api>_<method>`. `None` if the node does not
/// answer such calls, or not so many ([`Links::call_runtime`]).
pub(crate) async fn ask_api(
    links: &Links,
    function: &str,
    input: &[u8],
    block: BlockHash,
) -> Result<Option<Vec<u8>>, CallError> {
    let ask = |methods: Methods| async move { methods.call_api(function, input, block).await };
    links.call_runtime(ask).await
}

/// As [`ask_api`], where nothing else tells the same.
async fn call_api(
    links: &Links,
    function: &str,
    input: &[u8],
    block: BlockHash,
) -> Result<Vec<u8>, CallError> {
    links
        .call("state_call", |methods| async move { methods.call_api(function, input, block).await })
        .await
}

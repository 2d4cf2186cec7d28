//! The local chain as a process, and what it stores, read over plain JSON-RPC.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context as _};
use serde_json::{json, Value};
use tokio::process::Command;

use crate::binaries::binary;
use crate::process::Process;

/// How long the chain may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(60);

/// Hashed names of `SubtensorModule.Weights`: twox128 of the pallet, then of the item.
const WEIGHTS_PREFIX: &str = "658faa385070e074c85bf6b568cf0555a1e7036061f484bc3048a64b64e35ec4";

/// The same of `LastUpdate` and `SubnetEpochIndex`.
const LAST_UPDATE_PREFIX: &str = "658faa385070e074c85bf6b568cf0555696e262a16e52255a69d8acd79354146";
const EPOCH_INDEX_PREFIX: &str = "658faa385070e074c85bf6b568cf05554f101d7a30ae31c7ab3099206c5ae12b";

/// A block in which a uid's weights or commit were taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// The block.
    pub block: u64,
    /// The epoch that the block belongs to.
    pub epoch: u64,
    /// The uid's row after it.
    pub row: Vec<(u16, u16)>,
}

/// What kind of chain is wanted.
#[derive(Clone, Debug)]
pub struct ChainOptions {
    /// Registered validators, with permits.
    pub validators: u16,
    /// Registered miners.
    pub miners: u16,
    /// Blocks per epoch.
    pub tempo: u16,
    /// Time per block.
    pub block_ms: u64,
    /// Endpoints, each with faults of its own.
    pub endpoints: u16,
    /// The address that it listens at.
    pub host: Ipv4Addr,
    /// Further arguments for `localnet`.
    pub extra: Vec<String>,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self {
            validators: 2,
            miners: 6,
            tempo: 30,
            block_ms: 1000,
            endpoints: 1,
            host: Ipv4Addr::LOCALHOST,
            extra: Vec::new(),
        }
    }
}

/// A running local chain.
#[derive(Debug)]
pub struct Chain {
    process: Process,
    urls: Vec<String>,
    control: String,
    wallets: PathBuf,
}

impl Chain {
    /// Starts a chain whose files lie in `dir`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// If it does not start or does not answer.
    pub async fn start(dir: &Path, options: &ChainOptions) -> anyhow::Result<Self> {
        let wallets = dir.join("wallets");
        let ready = dir.join("chain.url");
        // Of an earlier chain in this directory: its address is not this one's.
        match std::fs::remove_file(&ready) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let mut command = Command::new(binary("localnet")?);
        command
            .args(["--control", "127.0.0.1:0", "--allow-loopback-axons"])
            .args(["--validators", &options.validators.to_string()])
            .args(["--miners", &options.miners.to_string()])
            .args(["--tempo", &options.tempo.to_string()])
            .args(["--block-time", &format!("{}ms", options.block_ms)])
            .arg("--wallets-dir")
            .arg(&wallets)
            .arg("--ready-file")
            .arg(&ready)
            .args(&options.extra);
        for _ in 0..options.endpoints {
            command.args(["--listen", &format!("{}:0", options.host)]);
        }
        let mut process = Process::start("localnet", command, &dir.join("chain.log"))?;
        let text = wait_for_file(&ready, &mut process).await?;
        let mut urls: Vec<String> = Vec::new();
        let mut control = None;
        for line in text.lines() {
            match line.strip_prefix("control ") {
                Some(url) => control = Some(url.trim_start_matches("on ").to_owned()),
                None => urls.push(line.to_owned()),
            }
        }
        let control = control.context("no control listener")?;
        anyhow::ensure!(urls.len() == usize::from(options.endpoints), "{text}");
        Ok(Self { process, urls, control, wallets })
    }

    /// The WebSocket address of its first endpoint.
    #[must_use]
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// The WebSocket addresses of all its endpoints.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Where the wallets of all its neurons are.
    #[must_use]
    pub fn wallets(&self) -> &Path {
        &self.wallets
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Calls a JSON-RPC method of the listener that has no faults.
    ///
    /// # Errors
    ///
    /// If it does not answer, or answers with an error.
    pub async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let url = self.control.replacen("ws://", "http://", 1);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let response = reqwest::Client::new()
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .await?
            .text()
            .await?;
        let mut answer: Value = serde_json::from_str(&response)?;
        match answer.get("error") {
            Some(error) => Err(anyhow!("{method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    /// Height of the finalized head.
    ///
    /// # Errors
    ///
    /// If the chain does not answer.
    pub async fn finalized(&self) -> anyhow::Result<u64> {
        let hash = self.call("chain_getFinalizedHead", json!([])).await?;
        let header = self.call("chain_getHeader", json!([hash])).await?;
        let number = header["number"].as_str().context("a header without number")?;
        Ok(u64::from_str_radix(number.trim_start_matches("0x"), 16)?)
    }

    /// The weights stored for a uid: the bytes as the chain has them, decoded here by hand, so
    /// that no code of the node takes part.
    ///
    /// # Errors
    ///
    /// If the chain does not answer, or the bytes are no row of weights.
    pub async fn stored_weights(&self, netuid: u16, uid: u16) -> anyhow::Result<Vec<(u16, u16)>> {
        let key = format!(
            "0x{WEIGHTS_PREFIX}{}{}",
            hex::encode(netuid.to_le_bytes()),
            hex::encode(uid.to_le_bytes())
        );
        match self.storage(&key, None).await? {
            None => Ok(Vec::new()),
            Some(bytes) => decode_row(&bytes),
        }
    }

    /// Every update of a uid in the finalized blocks from `from` on, read block by block, and the
    /// epoch of the last block. No code of the node takes part.
    ///
    /// # Errors
    ///
    /// If the chain does not answer, or has forgotten a block's state.
    pub async fn updates(&self, uid: u16, from: u64) -> anyhow::Result<(Vec<Update>, u64)> {
        let netuid = hex::encode(1u16.to_le_bytes());
        let uid_key = hex::encode(uid.to_le_bytes());
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        let (mut updates, mut epoch) = (Vec::new(), 0);
        for block in from..=self.finalized().await? {
            let hash = self.call("chain_getBlockHash", json!([block])).await?;
            let hash = hash.as_str().context("a block without hash")?.to_owned();
            let read = |prefix: &str, rest: String| {
                let key = format!("0x{prefix}{rest}");
                let hash = hash.clone();
                async move { self.storage(&key, Some(&hash)).await }
            };
            let index = read(EPOCH_INDEX_PREFIX, netuid.clone()).await?.unwrap_or_default();
            epoch = number(&index).unwrap_or(0);
            // A compact length below 64, then a little-endian `u64` per uid.
            let all = read(LAST_UPDATE_PREFIX, netuid.clone()).await?.unwrap_or_default();
            let at = 1 + 8 * usize::from(uid);
            let updated = all.get(at..at + 8).and_then(number).context("no such uid")?;
            if updated == block {
                let row = read(WEIGHTS_PREFIX, format!("{netuid}{uid_key}")).await?;
                let row = row.map_or(Ok(Vec::new()), |bytes| decode_row(&bytes))?;
                updates.push(Update { block, epoch, row });
            }
        }
        Ok((updates, epoch))
    }

    /// The bytes stored under a key, in hex, as of a block or the best one.
    ///
    /// # Errors
    ///
    /// If the chain does not answer.
    pub async fn storage(&self, key: &str, at: Option<&str>) -> anyhow::Result<Option<Vec<u8>>> {
        let stored = self.call("state_getStorage", json!([key, at])).await?;
        let bytes = stored.as_str().map(|text| hex::decode(text.trim_start_matches("0x")));
        Ok(bytes.transpose()?)
    }
}

/// SCALE: a compact length, then pairs of little-endian `u16`.
fn decode_row(bytes: &[u8]) -> anyhow::Result<Vec<(u16, u16)>> {
    let first = *bytes.first().context("no length")?;
    let (len, rest) = match first & 0b11 {
        0 => (usize::from(first >> 2), &bytes[1..]),
        1 => {
            let second = *bytes.get(1).context("a cut length")?;
            (usize::from(u16::from_le_bytes([first, second]) >> 2), &bytes[2..])
        }
        _ => anyhow::bail!("a row of more than 16383 weights"),
    };
    anyhow::ensure!(rest.len() == len * 4, "a row of {len} weights in {} bytes", rest.len());
    let number = |pair: &[u8]| u16::from_le_bytes([pair[0], pair[1]]);
    Ok(rest.chunks_exact(4).map(|pair| (number(&pair[..2]), number(&pair[2..]))).collect())
}

async fn wait_for_file(path: &Path, process: &mut Process) -> anyhow::Result<String> {
    let deadline = tokio::time::Instant::now() + START_MAX;
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') || !text.is_empty() => {
                return Ok(text.trim().to_owned())
            }
            _ => process.check_alive()?,
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "the chain does not answer");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_row_is_decoded_by_hand() {
        let row = hex::decode("0c0000ffff010000800200010a").unwrap();
        let expected = vec![(0, 65535), (1, 32768), (2, 0x0a01)];
        assert_eq!(decode_row(&row).unwrap(), expected);
        assert!(decode_row(&row[..5]).is_err());
    }
}

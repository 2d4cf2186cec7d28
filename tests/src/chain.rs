//! The local chain as a process, and what it stores, read over plain JSON-RPC.

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
    /// Further arguments for `localnet`.
    pub extra: Vec<String>,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self { validators: 2, miners: 6, tempo: 30, block_ms: 1000, extra: Vec::new() }
    }
}

/// A running local chain.
#[derive(Debug)]
pub struct Chain {
    process: Process,
    url: String,
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
            .args(["--listen", "127.0.0.1:0", "--allow-loopback-axons"])
            .args(["--validators", &options.validators.to_string()])
            .args(["--miners", &options.miners.to_string()])
            .args(["--tempo", &options.tempo.to_string()])
            .args(["--block-time", &format!("{}ms", options.block_ms)])
            .arg("--wallets-dir")
            .arg(&wallets)
            .arg("--ready-file")
            .arg(&ready)
            .args(&options.extra);
        let mut process = Process::start("localnet", command, &dir.join("chain.log"))?;
        let url = wait_for_file(&ready, &mut process).await?;
        Ok(Self { process, url, wallets })
    }

    /// Its WebSocket address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
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

    /// Calls a JSON-RPC method.
    ///
    /// # Errors
    ///
    /// If it does not answer, or answers with an error.
    pub async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let url = self.url.replacen("ws://", "http://", 1);
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
        let stored = self.call("state_getStorage", json!([key])).await?;
        match stored.as_str() {
            None => Ok(Vec::new()),
            Some(text) => decode_row(&hex::decode(text.trim_start_matches("0x"))?),
        }
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

//! Reads views of a subnet on command, and says how long each took.
//!
//! `cargo run --release -p node-chain --example read_view ENDPOINT NETUID`
//!
//! One command per line of standard input, one JSON object per line of standard output:
//!
//! - `head`: goes to the newest finalized block. Nothing is timed.
//! - `ping`: one small call, for the length of a round trip.
//! - `full`, `increment`: a view of that block; everything, or what changed since the last view.
//!
//! CPU time and memory are for the caller to look up: `scripts/benchmark-chain`.

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::error::Error;
use std::io::BufRead as _;
use std::time::Instant;

use node_chain::{BlockRef, ChainClient, ChainConfig};
use node_core::id::Netuid;
use node_core::unit::BlockNumber;
use node_core::view::ChainView;
use serde_json::{json, Value};
use tokio::sync::mpsc;

type Failure = Box<dyn Error + Send + Sync>;

const USAGE: &str = "usage: read_view ENDPOINT NETUID";

struct Reader {
    client: ChainClient,
    head: Option<BlockRef>,
    last: Option<ChainView>,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().ok_or(USAGE)?;
    let netuid = Netuid(arguments.next().ok_or(USAGE)?.parse()?);
    let client = ChainClient::connect(ChainConfig::new(vec![endpoint], netuid)).await?;
    let reader = Reader { client, head: None, last: None };
    let (commands, taken) = mpsc::channel(1);
    // A task like those of the node; the main thread only waits.
    let task = tokio::spawn(reader.run(taken));
    tokio::task::spawn_blocking(move || forward(&commands)).await??;
    task.await?
}

fn forward(commands: &mpsc::Sender<String>) -> std::io::Result<()> {
    for line in std::io::stdin().lock().lines() {
        if commands.blocking_send(line?).is_err() {
            break;
        }
    }
    Ok(())
}

impl Reader {
    async fn run(mut self, mut commands: mpsc::Receiver<String>) -> Result<(), Failure> {
        while let Some(command) = commands.recv().await {
            println!("{}", self.answer(command.trim()).await?);
        }
        Ok(())
    }

    async fn answer(&mut self, command: &str) -> Result<Value, Failure> {
        match command {
            "head" => {
                self.head = self.client.finalized_head().await?;
                Ok(json!({}))
            }
            "ping" => {
                let started = Instant::now();
                self.client.block_hash(BlockNumber(0)).await?;
                Ok(json!({ "wall_ms": ms_since(started) }))
            }
            "full" => self.read(None).await,
            "increment" => {
                let previous = self.last.take();
                self.read(previous).await
            }
            other => Err(format!("`{other}` is no command").into()),
        }
    }

    async fn read(&mut self, previous: Option<ChainView>) -> Result<Value, Failure> {
        let block = self.head.ok_or("no head yet")?.hash;
        let one_round = self.client.read_counts().one_round;
        let started = Instant::now();
        let view = match previous {
            None => self.client.view_at(block).await?,
            Some(previous) => self.client.view_after(&previous, block).await?,
        };
        let wall_ms = ms_since(started);
        let answer = json!({
            "wall_ms": wall_ms,
            "neurons": view.neurons.len(),
            "commitments": view.commitments.len(),
            "one_round": self.client.read_counts().one_round > one_round,
        });
        self.last = Some(view);
        Ok(answer)
    }
}

fn ms_since(started: Instant) -> f64 {
    started.elapsed().as_secs_f64() * 1_000.0
}

//! How long a durable commit takes on this disk, and what the store costs.
//!
//! `cargo run --release -p node-store --example commit_latency [commits] [directory]`

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use node_core::id::{Hotkey, IntentId, Netuid};
use node_core::rows::{CursorRow, JournalEntry, JournalStep, Row, Write};
use node_core::unit::{BlockNumber, EpochIndex};
use node_store::Store;

/// Different keys written, so that the store reaches a steady size.
const KEYS: u64 = 10_000;

fn row(n: u64) -> Write {
    let mut peer = [0; 32];
    peer[..8].copy_from_slice(&(n % KEYS).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Write::Put(Row::Cursor(CursorRow { peer: Hotkey(peer), after: n }))
}

fn entry(n: u64) -> Write {
    Write::Journal(JournalEntry {
        hotkey: Hotkey([1; 32]),
        intent: IntentId([2; 32]),
        netuid: Netuid(3),
        mechanism: 0,
        registered_at: None,
        epoch: EpochIndex(n),
        step: JournalStep::Landed { block: BlockNumber(n), hash: None },
    })
}

fn measure(
    name: &str,
    store: &Store,
    commits: u64,
    writes: impl Fn(u64) -> Vec<Write>,
) -> Result<(), Box<dyn Error>> {
    let mut took: Vec<Duration> = Vec::new();
    for n in 0..commits {
        let writes = writes(n);
        let started = Instant::now();
        store.commit(&writes)?;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    let at = |per_mille: usize| took.get(took.len() * per_mille / 1000).copied();
    println!("{name}: p50 {:?}, p99 {:?}, max {:?}", at(500), at(990), took.last());
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let commits = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    let temporary = tempfile::tempdir()?;
    let dir = arguments.next().map_or(temporary.path().to_owned(), PathBuf::from);
    let (store, _) = Store::open(&dir)?;
    measure("one row", &store, commits, |n| vec![row(n)])?;
    measure("one row and one journal entry", &store, commits, |n| vec![row(n), entry(n)])?;
    measure("64 rows", &store, commits, |n| (n * 64..n * 64 + 64).map(row).collect())?;
    println!("{} MiB on disk", store.size_on_disk()? >> 20);
    let status = std::fs::read_to_string("/proc/self/status")?;
    status.lines().filter(|line| line.starts_with("VmRSS")).for_each(|line| println!("{line}"));
    drop(store);
    let started = Instant::now();
    let (_, loaded) = Store::open(&dir)?;
    println!("{} rows opened in {:?}", loaded.rows.len(), started.elapsed());
    Ok(())
}

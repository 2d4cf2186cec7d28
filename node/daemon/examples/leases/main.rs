//! What leases cost: `scripts/benchmark-leases` runs this and says what the figures mean.
//!
//! ```text
//! leases serve --dir DIR --evaluations N --workers W --ready FILE
//! leases work --ready FILE [--batch B] [--rate R]
//! leases cost --dir DIR
//! ```

#![allow(clippy::print_stdout, reason = "a program whose result is what it prints")]

mod cost;
mod serve;
mod work;
mod world;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

/// As the daemon has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

pub(crate) type Failed = Box<dyn Error + Send + Sync>;

/// `--name value` pairs.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failed> {
        let mut read = BTreeMap::new();
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
            read.insert(name, value);
        }
        Ok(Self(read))
    }

    pub(crate) fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, Failed>
    where
        T::Err: Error + Send + Sync + 'static,
    {
        let Some(text) = self.0.get(name) else { return Ok(default) };
        text.parse().map_err(|error| format!("{name} {text}: {error}").into())
    }

    pub(crate) fn path(&self, name: &str) -> Result<PathBuf, Failed> {
        self.0.get(name).map(PathBuf::from).ok_or_else(|| format!("{name} is missing").into())
    }
}

fn main() -> Result<(), Failed> {
    // As the daemon does.
    node_daemon::memory::give_back_what_is_free();
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let options = Options::read(arguments)?;
    // As the daemon makes it.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match what.as_str() {
        "serve" => runtime.block_on(serve::serve(&options)),
        "work" => runtime.block_on(work::work(&options)),
        "cost" => cost::cost(&options),
        _ => Err("say `serve`, `work` or `cost`; see scripts/benchmark-leases --help".into()),
    }
}

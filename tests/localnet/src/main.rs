//! `localnet`: the local chain behind a command line.

mod cli;

use clap::Parser;
use cli::{Cli, Command, Metadata, Run};
use localnet::{
    chain::{metadata, Chain, ChainError, MetadataError},
    genesis::GenesisSpec,
    keys::{DevKey, Keyring},
    wallets::{write_wallets, WalletError},
    ChainOptions, Localnet, StartError,
};
use sp_core::{crypto::Ss58Codec, Pair};
use std::{
    fs, io,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};
use thiserror::Error;
use tokio::signal::unix::{signal, SignalKind};
use tracing_subscriber::EnvFilter;

/// Why the program ends badly.
#[derive(Debug, Error)]
enum Failure {
    #[error(transparent)]
    Start(StartError),
    #[error(transparent)]
    Wallets(WalletError),
    #[error("cannot write the ready file `{}`", path.display())]
    ReadyFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot build a chain to take the metadata from")]
    Chain(#[source] ChainError),
    #[error("cannot take the metadata")]
    Metadata(#[source] MetadataError),
    #[error("cannot write `{}`", path.display())]
    MetadataFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start the tokio runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("localnet=info")),
        )
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let result = match &cli.command {
        Some(Command::Keys(neurons)) => list_keys(&neurons.genesis()),
        Some(Command::Metadata(metadata)) => write_metadata(metadata),
        None => serve(&cli.run),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(exit_code(&failure))
        }
    }
}

/// 64 for what the user can change on the command line, 69 for what is not to be had.
fn exit_code(failure: &Failure) -> u8 {
    match failure {
        Failure::Wallets(WalletError::OtherKey { .. }) => 64,
        Failure::Start(StartError::Chain { .. } | StartError::Faults { .. }) => 64,
        _ => 69,
    }
}

fn report(failure: &Failure) {
    let mut text = format!("error: {failure}\n");
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        text.push_str(&format!("  cause: {error}\n"));
        cause = error.source();
    }
    // Nobody can be told if standard error is closed.
    let _closed = io::stderr().write_all(text.as_bytes());
}

fn list_keys(genesis: &GenesisSpec) -> Result<(), Failure> {
    let keyring = Keyring::new();
    let mut text = line("", "//Alice (pays for registrations)", &keyring.derive(&["Alice"]));
    for (uid, (role, index)) in genesis.neurons().into_iter().enumerate() {
        let hotkey = keyring.hotkey(role, index);
        let coldkey = keyring.coldkey(role, index);
        text.push_str(&line(&uid.to_string(), &hotkey.uri, &hotkey));
        text.push_str(&line("", &coldkey.uri, &coldkey));
    }
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

fn line(uid: &str, name: &str, key: &DevKey) -> String {
    format!("{uid:>4}  {name:<34}  {}\n", key.pair.public().to_ss58check())
}

fn write_metadata(wanted: &Metadata) -> Result<(), Failure> {
    let genesis = GenesisSpec { flavour: wanted.flavour, ..GenesisSpec::default() };
    let chain = Chain::in_memory(&genesis, ChainOptions::default()).map_err(Failure::Chain)?;
    let bytes = metadata(&chain, wanted.metadata_version).map_err(Failure::Metadata)?;
    let path = wanted.file.clone();
    fs::write(&path, bytes).map_err(|source| Failure::MetadataFile { path, source })
}

fn serve(run: &Run) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?
        .block_on(serve_until_stopped(run))
}

async fn serve_until_stopped(run: &Run) -> Result<(), Failure> {
    // Before anything else, so that a signal during the start is not lost.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Signals)?;
    let config = run.config();
    if let Some(dir) = &run.wallets_dir {
        write_wallets(dir, &config.genesis, &Keyring::new()).map_err(Failure::Wallets)?;
    }
    let localnet = Localnet::start(config).await.map_err(Failure::Start)?;
    let best = localnet.chain().best().number();
    tracing::info!(genesis = ?localnet.chain().genesis_hash(), best, "chain is up");
    announce(&localnet, run.ready_file.as_deref())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = localnet.reached(run.max_blocks.unwrap_or(u32::MAX)) => {}
    }
    localnet.stop().await;
    Ok(())
}

/// First the file, then the lines: whoever reads a line may read the file.
fn announce(localnet: &Localnet, ready_file: Option<&Path>) -> Result<(), Failure> {
    let (urls, control) = (localnet.urls(), localnet.control_url());
    if let Some(path) = ready_file {
        let failed = |source| Failure::ReadyFile { path: path.to_path_buf(), source };
        let control = control.iter().map(|url| format!("control {url}"));
        let lines: Vec<String> = urls.iter().cloned().chain(control).collect();
        let partial = path.with_extension("partial");
        fs::write(&partial, format!("{}\n", lines.join("\n"))).map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)?;
    }
    let listening = urls.iter().map(|url| format!("listening on {url}"));
    let lines: Vec<String> =
        listening.chain(control.iter().map(|url| format!("control on {url}"))).collect();
    // In one write, so that a reader who leaves after the first line has left all of them.
    let said = format!("{}\n", lines.join("\n"));
    let mut stdout = io::stdout();
    stdout.write_all(said.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::Output)
}

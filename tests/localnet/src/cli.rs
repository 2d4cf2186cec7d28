//! The command line, and what it means as a [`Config`].

use clap::{Args, Parser, Subcommand};
use localnet::{BlockTime, ChainOptions, Config, FaultChange, Flavour, GenesisSpec};
use node_subtensor_runtime::{TAO, VERSION};
use std::{net::SocketAddr, path::PathBuf};

const AFTER_HELP: &str = "\
Keys: every neuron signs with a well-known key. Validator i has the hotkey `//validator//i//hotkey`
and the coldkey `//validator//i//coldkey`; miners likewise with `//miner//i`. Coldkeys and `//Alice`
have TAO, hotkeys have none and need none. `localnet keys` lists them; --wallets-dir writes them as
Bittensor wallets `validator0`, `miner0`, ... with the hotkey `default`.

Examples:
  localnet
      one validator, four miners, a block each second, ws://127.0.0.1:9944
  localnet --validators 3 --validator-stake 1000,500,10 --miners 16 --tempo 50
  localnet --listen 127.0.0.1:0 --ready-file /tmp/url --block-time manual
      a free port; blocks only when somebody calls the JSON-RPC method `dev_seal`
  localnet --state-dir ./chain --wallets-dir ./wallets
      survives a restart";

/// A local chain for validators, miners and their tests.
///
/// It speaks the real chain's JSON-RPC, metadata, storage and calls as far as validators and
/// miners go, so unmodified clients (subxt, async-substrate-interface) work with it.
#[derive(Debug, Parser)]
#[command(name = "localnet", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the keys of the neurons and of those who have TAO
    Keys(Neurons),
    /// Write the chain's metadata into a file, SCALE-encoded as nodes serve it
    Metadata(Metadata),
}

/// Which metadata, and where to.
#[derive(Args, Clone, Debug)]
pub(crate) struct Metadata {
    /// Metadata version
    #[arg(
        long,
        alias = "version",
        default_value_t = 16,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(14..=16)
    )]
    pub(crate) metadata_version: u32,
    /// How numbers are described: `primitive` as at spec 425, `newtype` as later
    #[arg(long, default_value = "primitive", value_name = "FLAVOUR")]
    pub(crate) flavour: Flavour,
    /// The file
    pub(crate) file: PathBuf,
}

/// Who is there at block 0.
#[derive(Args, Clone, Debug)]
pub(crate) struct Neurons {
    /// Validators; they take the uids from 0 and hold permits
    #[arg(long, default_value_t = 1, value_name = "N")]
    validators: u16,
    /// Miners; they take the uids after the validators
    #[arg(long, default_value_t = 4, value_name = "N")]
    miners: u16,
    /// Stake per validator in TAO; the last one counts for the rest
    #[arg(long, default_value = "1000", value_name = "TAO,...", value_delimiter = ',')]
    validator_stake: Vec<u64>,
    /// Give the subnet's owner a neuron too; it takes the last uid
    #[arg(long)]
    owner_neuron: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Where to listen, HTTP and WebSocket alike; port 0 takes a free one. Several times for
    /// several endpoints of the one chain
    #[arg(long, default_value = "127.0.0.1:9944", value_name = "ADDRESS")]
    listen: Vec<SocketAddr>,
    /// Where to listen beside that, without faults
    #[arg(long, value_name = "ADDRESS")]
    control: Option<SocketAddr>,
    /// Faults to start with, as `dev_fault` takes them: {"listener":0,"delay_ms":50}
    #[arg(long, value_name = "JSON")]
    fault: Vec<FaultChange>,
    /// Time per block (`1s`, `250ms`), or `manual`: only when `dev_seal` is called
    #[arg(long, default_value = "1s", value_name = "TIME")]
    block_time: BlockTime,
    /// Stop after this block
    #[arg(long, value_name = "N")]
    pub(crate) max_blocks: Option<u32>,
    /// Blocks that the finalized head is behind the best one
    #[arg(long, default_value_t = 0, value_name = "N")]
    finality_lag: u32,
    /// After every Nth block give up the newest ones for others; 0 for never
    #[arg(long, default_value_t = 0, value_name = "N")]
    reorg_every: u32,
    /// How many blocks are given up then, as far as they are not final
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    reorg_depth: u32,
    /// Rounds by which the beacon's pulses come late
    #[arg(long, default_value_t = 0, value_name = "ROUNDS")]
    drand_lag: u32,
    /// Blocks whose state can be read
    #[arg(
        long,
        default_value_t = 300,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    state_window: u32,
    /// Keep the chain in this directory and continue it after a restart
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Write the neurons' wallets into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) wallets_dir: Option<PathBuf>,
    /// Write the URL into this file once the chain answers
    #[arg(long, value_name = "FILE")]
    pub(crate) ready_file: Option<PathBuf>,
    #[command(flatten)]
    neurons: Neurons,
    #[command(flatten)]
    subnet: Subnet,
}

/// The subnet's parameters.
#[derive(Args, Debug)]
struct Subnet {
    /// Number of the subnet; several make several subnets with the same neurons
    #[arg(long, default_value = "1", value_name = "N,...", value_delimiter = ',')]
    netuid: Vec<u16>,
    /// Blocks per epoch; 0 for no epochs
    #[arg(long, default_value_t = 20, value_name = "BLOCKS")]
    tempo: u16,
    /// Blocks between two weight submissions of one neuron
    #[arg(long, default_value_t = 5, value_name = "BLOCKS")]
    rate_limit: u64,
    /// Blocks between two `serve_axon` of one hotkey
    #[arg(long, default_value_t = 5, value_name = "BLOCKS")]
    serving_rate_limit: u64,
    /// Least version key that weights must carry; 0 takes any
    #[arg(long, default_value_t = 0, value_name = "KEY")]
    version_key: u64,
    /// Least number of weights in a row
    #[arg(long, default_value_t = 1, value_name = "N")]
    min_weights: u16,
    /// Permits handed out per epoch
    #[arg(long, default_value_t = 64, value_name = "N")]
    max_validators: u16,
    /// Seats
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_uids: u16,
    /// Blocks in which a new neuron keeps its seat
    #[arg(long, default_value_t = 4096, value_name = "BLOCKS")]
    immunity: u16,
    /// Mechanisms of the subnet
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..=16)
    )]
    mechanisms: u8,
    /// Least stake in TAO that may set weights
    #[arg(long, default_value_t = 0, value_name = "TAO")]
    stake_threshold: u64,
    /// Epochs run per block at most; the others wait
    #[arg(
        long,
        default_value_t = 2,
        value_name = "N",
        value_parser = clap::value_parser!(u8).range(1..)
    )]
    max_epochs_per_block: u8,
    /// Weights have to be committed, and are revealed later
    #[arg(long)]
    commit_reveal: bool,
    /// Epochs for which committed weights stay concealed
    #[arg(
        long,
        default_value_t = 1,
        value_name = "EPOCHS",
        value_parser = clap::value_parser!(u64).range(1..=100)
    )]
    reveal_period: u64,
    /// Seconds of chain time between the rounds of the local beacon; 0 for none
    #[arg(long, default_value_t = 3, value_name = "SECONDS")]
    drand_period: u32,
    /// Version the runtime reports and takes signatures for
    #[arg(long, default_value_t = VERSION.spec_version, value_name = "N")]
    spec_version: u32,
    /// How the metadata describes numbers: `primitive` as at spec 425, `newtype` as later
    #[arg(long, default_value = "primitive", value_name = "FLAVOUR")]
    flavour: Flavour,
    /// Let `serve_axon` publish loopback addresses, which the real chain refuses
    #[arg(long)]
    allow_loopback_axons: bool,
}

impl Neurons {
    /// A chain with these neurons and defaults for the rest.
    pub(crate) fn genesis(&self) -> GenesisSpec {
        let stakes = self.validator_stake.iter().copied();
        let last = self.validator_stake.last().copied().unwrap_or(0);
        let stakes = stakes.chain(std::iter::repeat(last)).take(usize::from(self.validators));
        GenesisSpec {
            validator_stakes: stakes.map(|tao| tao.saturating_mul(TAO)).collect(),
            miners: self.miners,
            owner_neuron: self.owner_neuron,
            ..GenesisSpec::default()
        }
    }
}

impl Run {
    pub(crate) fn config(&self) -> Config {
        Config {
            listen: self.listen.first().copied().unwrap_or_else(|| Config::default().listen),
            also_listen: self.listen.iter().skip(1).copied().collect(),
            control: self.control,
            faults: self.fault.clone(),
            block_time: self.block_time,
            genesis: self.genesis(),
            options: ChainOptions {
                finality_lag: self.finality_lag,
                state_window: self.state_window,
                reorg_every: self.reorg_every,
                reorg_depth: self.reorg_depth,
                pulse_lag: self.drand_lag,
                ..ChainOptions::default()
            },
            state_dir: self.state_dir.clone(),
        }
    }

    fn genesis(&self) -> GenesisSpec {
        let subnet = &self.subnet;
        let slot_ms = match self.block_time {
            BlockTime::Every(time) => u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            BlockTime::Manual => GenesisSpec::default().slot_ms,
        };
        GenesisSpec {
            netuids: subnet.netuid.clone(),
            tempo: subnet.tempo,
            weights_set_rate_limit: subnet.rate_limit,
            serving_rate_limit: subnet.serving_rate_limit,
            weights_version_key: subnet.version_key,
            min_allowed_weights: subnet.min_weights,
            max_allowed_validators: subnet.max_validators,
            max_allowed_uids: subnet.max_uids,
            immunity_period: subnet.immunity,
            mechanisms: subnet.mechanisms,
            stake_threshold: subnet.stake_threshold.saturating_mul(TAO),
            max_epochs_per_block: subnet.max_epochs_per_block,
            allow_loopback_axons: subnet.allow_loopback_axons,
            slot_ms,
            commit_reveal: subnet.commit_reveal,
            reveal_period_epochs: subnet.reveal_period,
            drand_period_s: subnet.drand_period,
            spec_version: subnet.spec_version,
            flavour: subnet.flavour,
            ..self.neurons.genesis()
        }
    }
}

//! The node's configuration: where values come from, and what they must be.
//!
//! ```text
//! defaults < file < BT_* variables < ASSAY_* variables < flags      (`layer`)
//!      |
//!      v  merged by figment, each value still knowing its origin    (`settings`)
//!   Reader: every section checks its own keys and collects errors   (`reader`, one file per section)
//!      |
//!      v
//!   Config                                                          (typed, complete, valid)
//! ```
//!
//! Reading a configuration touches neither the network nor the data directory. All errors are
//! reported at once. Not here: command-line syntax (`cli`), whether a valid value works (`run`).

mod admin;
mod api;
mod chain;
mod challenge;
mod data_dir;
mod devices;
mod engine;
mod error;
mod images;
mod key;
mod layer;
mod log;
mod miner;
mod origin;
mod passwords;
mod peer;
mod policy_file;
mod reader;
mod reference;
mod review;
mod settings;
mod stop;
mod surroundings;
mod template;
mod text;
mod traces;
mod wallet;
mod weights;

pub use admin::Admin;
pub use api::Api;
pub use chain::{Chain, Endpoint};
pub use challenge::{Challenge, Nas, PolicyName};
pub use data_dir::DataDir;
pub use devices::{Devices, GpuUse};
pub use engine::Engine;
pub use error::{ConfigError, ConfigErrors};
pub use images::Images;
pub use key::{Default as KeyDefault, Key, Kind};
pub use layer::{file_to_write, FlagValue};
pub use log::{Log, LogFormat};
pub use miner::Miner;
pub use origin::Origin;
pub use passwords::{PasswordVariables, PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE};
pub use peer::Peer;
pub use policy_file::PolicyFileError;
pub use reader::Reader;
pub use reference::reference;
pub use review::Review;
pub use settings::{Settings, Shown};
pub use stop::Stop;
pub use surroundings::Surroundings;
pub use template::{template, withheld, wrapped};
pub use text::hide_credentials;
pub use traces::Traces;
pub use wallet::{PasswordSources, Wallet};
pub use weights::{Weights, WeightsMode};

/// A complete, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which chain and subnet.
    pub chain: Chain,
    /// Whose key.
    pub wallet: Wallet,
    /// Where the node keeps its state.
    pub data_dir: DataDir,
    /// Exchange with other validators.
    pub peer: Peer,
    /// Status, readiness and metrics over HTTP.
    pub admin: Admin,
    /// What miners and the public reach over HTTP.
    pub api: Api,
    /// The container engine.
    pub engine: Engine,
    /// Container images.
    pub images: Images,
    /// What this host may be used for.
    pub devices: Devices,
    /// What is evaluated, and by which rules.
    pub challenge: Challenge,
    /// Review of submissions by a language model.
    pub review: Review,
    /// What becomes of the computed weights.
    pub weights: Weights,
    /// How the node stops.
    pub stop: Stop,
    /// What it logs.
    pub log: Log,
    /// Where traces go.
    pub traces: Traces,
    /// What a miner's commands use.
    pub miner: Miner,
}

impl Config {
    /// Reads every section, also when an earlier one has errors, so that all are found.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let chain = Chain::read(reader);
        let wallet = Wallet::read(reader);
        let data_dir = DataDir::read(reader);
        let peer = Peer::read(reader);
        let admin = Admin::read(reader);
        let api = Api::read(reader);
        let engine = Engine::read(reader);
        let images = Images::read(reader);
        let devices = Devices::read(reader);
        let challenge = Challenge::read(reader);
        let weights = Weights::read(reader);
        let review = Review::read(reader);
        let stop = Stop::read(reader);
        let log = Log::read(reader);
        let traces = Traces::read(reader);
        let miner = Miner::read(reader);
        Some(Self {
            chain: chain?,
            wallet: wallet?,
            data_dir: data_dir?,
            peer: peer?,
            admin: admin?,
            api: api?,
            engine: engine?,
            images: images?,
            devices: devices?,
            challenge: challenge?,
            weights: weights?,
            review: review?,
            stop: stop?,
            log: log?,
            traces: traces?,
            miner: miner?,
        })
    }
}

/// A group of keys with one subject, in the order of the reference.
#[derive(Debug)]
pub struct Section {
    /// Its name, the first part of its keys.
    pub name: &'static str,
    /// One sentence about it.
    pub about: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// Every section.
pub const SECTIONS: &[Section] = &[
    chain::SECTION,
    wallet::SECTION,
    data_dir::SECTION,
    peer::SECTION,
    admin::SECTION,
    api::SECTION,
    engine::SECTION,
    images::SECTION,
    devices::SECTION,
    challenge::SECTION,
    weights::SECTION,
    review::SECTION,
    stop::SECTION,
    log::SECTION,
    traces::SECTION,
    miner::SECTION,
];

/// Every key of every section.
pub fn keys() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

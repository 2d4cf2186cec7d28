//! What a miner's commands use, and the node does not.

use super::key::{Default, Key, Kind};
use super::reader::{texts, Reader};
use super::Section;

const VALIDATORS: Key = Key::new("miner.validators", Kind::List, Default::Value(""))
    .about(
        "Public interfaces of the validators that `assay miner status` asks unless `--validator` \
         names others. The node does not use it.",
    )
    .example("[\"https://validator.example\"]");

pub(super) const SECTION: Section = Section {
    name: "miner",
    about: "What a miner's commands use, and the node does not.",
    keys: &[VALIDATORS],
};

/// Settings of a miner's commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miner {
    /// URLs of validators' public interfaces, in this order.
    pub validators: Vec<String>,
}

impl Miner {
    /// Reads this section alone; for [`super::Settings::section`].
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { validators: reader.take(&VALIDATORS, texts)? })
    }
}

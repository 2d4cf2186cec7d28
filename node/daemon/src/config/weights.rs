//! What becomes of the computed weights.

use node_core::limits::WEIGHTS_LEAD_BLOCKS;
use node_core::unit::BlockCount;

use super::key::{Default, Key, Kind};
use super::reader::{choice, integer, Reader};
use super::Section;

/// Furthest distance from an epoch's end at which a vector may be sent. Higher: most receipts of
/// the epoch would come too late to count.
const LEAD_BLOCKS_MAX: u64 = 1_000;
const _: () = assert!(WEIGHTS_LEAD_BLOCKS <= LEAD_BLOCKS_MAX);

const MODE: Key = Key::new("weights.mode", Kind::Text, Default::Value("submit"))
    .about(
        "`submit` signs the vector of each epoch and follows it until it landed; `dry_run` \
         computes and shows it and signs nothing; `off` does not compute it.",
    )
    .example("\"dry_run\"");

const LEAD_BLOCKS: Key = Key::new("weights.lead_blocks", Kind::Integer, Default::Value("10"))
    .about(
        "Blocks before the end of an epoch at which its vector is sent: early enough to be \
         included, late enough for the newest receipts.",
    )
    .example("10");

pub(super) const SECTION: Section = Section {
    name: "weights",
    about: "What becomes of the computed weights.",
    keys: &[MODE, LEAD_BLOCKS],
};

/// What becomes of the computed weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Whether they are signed.
    pub mode: WeightsMode,
    /// When they are sent, blocks before the end of the epoch.
    pub lead_blocks: BlockCount,
}

/// Whether weights are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightsMode {
    /// Signed, sent and followed until they landed.
    Submit,
    /// Computed and shown.
    DryRun,
    /// Not even computed.
    Off,
}

impl Weights {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let words = [
            ("submit", WeightsMode::Submit),
            ("dry_run", WeightsMode::DryRun),
            ("off", WeightsMode::Off),
        ];
        let mode = reader.take(&MODE, |value| choice(&words, value));
        let lead_blocks = reader.take(&LEAD_BLOCKS, integer(1, LEAD_BLOCKS_MAX));
        Some(Self { mode: mode?, lead_blocks: BlockCount(lead_blocks?) })
    }
}

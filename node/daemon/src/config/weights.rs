//! What becomes of the computed weights.

use node_core::limits::WEIGHTS_LEAD_BLOCKS;
use node_core::submit_guard::CommitForm;
use node_core::unit::BlockCount;

use super::key::{Default, Key, Kind};
use super::reader::{choice, integer, Reader};
use super::Section;

/// Furthest distance from an epoch's end at which a vector may be sent. Higher: most receipts of
/// the epoch would come too late to count.
const LEAD_BLOCKS_MAX: u64 = 1_000;
const _: () = assert!(WEIGHTS_LEAD_BLOCKS <= LEAD_BLOCKS_MAX);

/// Highest mechanism that a storage index has room for.
const MECHANISM_MAX: u64 = 15;

const MODE: Key = Key::new("weights.mode", Kind::Text, Default::Value("submit"))
    .about(
        "`submit` signs the vector of each epoch and follows it until it landed; `dry_run` \
         computes and shows it and signs nothing; `off` does not compute it.",
    )
    .example("\"dry_run\"");

const LEAD_BLOCKS: Key = Key::new("weights.lead_blocks", Kind::Integer, Default::Value("100"))
    .about(
        "Blocks before the end of an epoch from which on its vector is sent: long enough that an \
         outage of minutes costs no epoch, late enough that most of its receipts count.",
    )
    .example("100");

const MECHANISM: Key = Key::new("weights.mechanism", Kind::Integer, Default::Value("0"))
    .about("The subnet's mechanism whose weights are set; 0 where it has one only.")
    .example("1");

const COMMIT: Key = Key::new("weights.commit", Kind::Text, Default::Value("timelock"))
    .about(
        "How weights are concealed where the subnet conceals them: `timelock` encrypts them to \
         the chain's beacon, which opens them by itself; `hash` commits to a hash and reveals it \
         an epoch later, for when the beacon is down. Subnets that show weights ignore it.",
    )
    .example("\"hash\"");

pub(super) const SECTION: Section = Section {
    name: "weights",
    about: "What becomes of the computed weights.",
    keys: &[MODE, LEAD_BLOCKS, MECHANISM, COMMIT],
};

/// What becomes of the computed weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Whether they are signed.
    pub mode: WeightsMode,
    /// From when on they are sent, blocks before the end of the epoch.
    pub lead_blocks: BlockCount,
    /// Of which mechanism.
    pub mechanism: u8,
    /// How they are concealed where the subnet conceals them.
    pub commit: CommitForm,
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
    /// Reads this section alone; for [`super::Settings::section`].
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let words = [
            ("submit", WeightsMode::Submit),
            ("dry_run", WeightsMode::DryRun),
            ("off", WeightsMode::Off),
        ];
        let mode = reader.take(&MODE, |value| choice(&words, value));
        let lead_blocks = reader.take(&LEAD_BLOCKS, integer(1, LEAD_BLOCKS_MAX));
        let mechanism = reader.take(&MECHANISM, integer(0, MECHANISM_MAX));
        let forms = [("timelock", CommitForm::Timelocked), ("hash", CommitForm::Hashed)];
        let commit = reader.take(&COMMIT, |value| choice(&forms, value));
        Some(Self {
            mode: mode?,
            lead_blocks: BlockCount(lead_blocks?),
            mechanism: u8::try_from(mechanism?).ok()?,
            commit: commit?,
        })
    }
}

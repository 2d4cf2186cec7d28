//! What the node keeps: one row type per table, and the journal of what was signed.
//!
//! A [`Write`] is a value; `node/store` makes it durable. All writes of one outcome are committed
//! together, before any of its effects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::admission;
use crate::duplicates::Sketch;
use crate::evidence::{Evidence, Receipt};
use crate::health::DeviceRow;
use crate::id::{ContentDigest, Digest, Hotkey, IntentId, Netuid, RunId, SubmissionId, Uid};
use crate::inventory::DeviceId;
use crate::lease::{Grant, LeaseRow, Seal};
use crate::review::{model_digest, Review};
use crate::reward::{Family, FamilyId, Fingerprint};
use crate::round;
use crate::submission::Submission;
use crate::trial::Trial;
use crate::unit::{BlockNumber, EpochIndex, UnixMs};

/// A change to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Insert or replace a row.
    Put(Row),
    /// Remove a row.
    Delete(Table, Vec<u8>),
    /// Append to the journal of what was signed; synced before the rows of the same outcome.
    Journal(JournalEntry),
    /// Keep what was known of a submission where it can be looked up, and where no start reads it.
    Freeze(Box<Frozen>),
    /// Rows that were lost have been told again: from here on nothing is missing.
    CaughtUp,
}

/// What was known of a submission when its evaluation was put away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// Which.
    pub submission: SubmissionId,
    /// The finalized block at which it was put away. One that comes back to the chain and leaves
    /// it again is put away once more.
    pub at: BlockNumber,
    /// Which part of it this is, from 0.
    pub part: u16,
    /// The submission, what was decided, and the receipts, leases and measurements behind it; at
    /// most [`crate::limits::FROZEN_ROWS_MAX`].
    pub rows: Vec<Row>,
}

impl Frozen {
    /// The receipts in the order of their trials.
    pub fn receipts(&self) -> impl Iterator<Item = &ReceiptRow> {
        self.rows.iter().filter_map(|row| {
            let Row::Receipt(row) = row else { return None };
            Some(&**row)
        })
    }
}

/// The tables. Their names are public: they appear in backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// [`Submission`]s by id.
    Submissions,
    /// [`VerdictRow`]s by content and policy.
    Verdicts,
    /// [`LeaseRow`]s by assignment.
    Leases,
    /// [`ReceiptRow`]s by the digest of their evidence.
    Receipts,
    /// [`RunRow`]s by run.
    Runs,
    /// [`IntentRow`]s by intent.
    Intents,
    /// [`CursorRow`]s by peer.
    Cursors,
    /// [`MeasurementRow`]s by trial.
    Measurements,
    /// [`OutcomeRow`]s by trial.
    Outcomes,
    /// [`StrikeRow`]s by validator, submission and cause.
    Strikes,
    /// [`DeviceRow`]s by device.
    Devices,
    /// [`ReviewRow`]s by content, policy and model.
    Reviews,
    /// [`FamilyRow`]s by family.
    Families,
    /// The [`HorizonRow`].
    Horizon,
}

impl Table {
    /// Every table.
    pub const ALL: &[Self] = &[
        Self::Submissions,
        Self::Verdicts,
        Self::Leases,
        Self::Receipts,
        Self::Runs,
        Self::Intents,
        Self::Cursors,
        Self::Measurements,
        Self::Outcomes,
        Self::Strikes,
        Self::Devices,
        Self::Reviews,
        Self::Families,
        Self::Horizon,
    ];

    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Submissions => "submissions",
            Self::Verdicts => "verdicts",
            Self::Leases => "leases",
            Self::Receipts => "receipts",
            Self::Runs => "runs",
            Self::Intents => "intents",
            Self::Cursors => "cursors",
            Self::Measurements => "measurements",
            Self::Outcomes => "outcomes",
            Self::Strikes => "strikes",
            Self::Devices => "devices",
            Self::Reviews => "reviews",
            Self::Families => "families",
            Self::Horizon => "horizon",
        }
    }

    /// Version of its rows' encoding; grows with every change that old code cannot read.
    #[must_use]
    pub fn schema_version(self) -> u8 {
        match self {
            Self::Submissions
            | Self::Verdicts
            | Self::Leases
            | Self::Receipts
            | Self::Intents
            | Self::Cursors
            | Self::Measurements
            | Self::Outcomes
            | Self::Strikes
            | Self::Devices
            | Self::Reviews
            | Self::Families
            | Self::Horizon => 1,
            // 2: a run has devices, where it had one.
            Self::Runs => 2,
        }
    }
}

/// A row of any table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// Of [`Table::Submissions`].
    Submission(Submission),
    /// Of [`Table::Verdicts`].
    Verdict(VerdictRow),
    /// Of [`Table::Leases`].
    Lease(Box<LeaseRow>),
    /// Of [`Table::Receipts`].
    Receipt(Box<ReceiptRow>),
    /// Of [`Table::Runs`].
    Run(Box<RunRow>),
    /// Of [`Table::Intents`].
    Intent(IntentRow),
    /// Of [`Table::Cursors`].
    Cursor(CursorRow),
    /// Of [`Table::Measurements`].
    Measurement(Box<MeasurementRow>),
    /// Of [`Table::Outcomes`].
    Outcome(OutcomeRow),
    /// Of [`Table::Strikes`].
    Strike(StrikeRow),
    /// Of [`Table::Devices`].
    Device(Box<DeviceRow>),
    /// Of [`Table::Reviews`].
    Review(ReviewRow),
    /// Of [`Table::Families`].
    Family(Box<FamilyRow>),
    /// Of [`Table::Horizon`].
    Horizon(HorizonRow),
}

impl Row {
    /// Where it belongs.
    #[must_use]
    pub fn table(&self) -> Table {
        match self {
            Self::Submission(_) => Table::Submissions,
            Self::Verdict(_) => Table::Verdicts,
            Self::Lease(_) => Table::Leases,
            Self::Receipt(_) => Table::Receipts,
            Self::Run(_) => Table::Runs,
            Self::Intent(_) => Table::Intents,
            Self::Cursor(_) => Table::Cursors,
            Self::Measurement(_) => Table::Measurements,
            Self::Outcome(_) => Table::Outcomes,
            Self::Strike(_) => Table::Strikes,
            Self::Device(_) => Table::Devices,
            Self::Review(_) => Table::Reviews,
            Self::Family(_) => Table::Families,
            Self::Horizon(_) => Table::Horizon,
        }
    }

    /// Its key, unique in its table.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        match self {
            Self::Submission(row) => row.id.0.to_vec(),
            Self::Verdict(row) => [row.content.0, row.policy.0].concat(),
            Self::Lease(row) => row.assignment.id.0.to_vec(),
            Self::Receipt(row) => row.receipt.evidence.digest().0.to_vec(),
            Self::Run(row) => row.run.0.to_vec(),
            Self::Intent(row) => row.id.0.to_vec(),
            Self::Cursor(row) => row.peer.0.to_vec(),
            Self::Measurement(row) => trial_key(&row.trial()),
            Self::Outcome(row) => trial_key(&row.trial),
            Self::Strike(row) => {
                let cause = row.cause.name().as_bytes();
                [row.validator.0.as_slice(), &row.submission.0, cause].concat()
            }
            Self::Device(row) => row.device.0.as_bytes().to_vec(),
            Self::Review(row) => [row.content.0, row.policy.0, model_digest(&row.model).0].concat(),
            Self::Family(row) => row.id.0 .0.to_vec(),
            Self::Horizon(_) => vec![0],
        }
    }
}

/// What a language model said of a content under rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReviewRow {
    /// The content.
    pub content: ContentDigest,
    /// The policy's digest.
    pub policy: Digest,
    /// The model, as its endpoint calls it.
    pub model: String,
    /// What it said.
    pub review: Review,
}

/// A family of architectures as the windows left it that are closed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyRow {
    /// Its name.
    pub id: FamilyId,
    /// Who holds its places.
    pub family: Family,
}

/// How far the past is settled. There is one such row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HorizonRow {
    /// The first block after the last window that is closed for good.
    pub until: BlockNumber,
    /// The first finalized block that was read into this store: what was committed long before was
    /// not seen then, and comes late. After a long absence, the first one that was read then.
    pub since: BlockNumber,
    /// A block that was read, of the latest.
    #[serde(default)]
    pub seen: BlockNumber,
}

/// An admission verdict, never computed twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictRow {
    /// What was judged.
    pub content: ContentDigest,
    /// By which rules.
    pub policy: Digest,
    /// With which result.
    pub verdict: admission::Verdict,
    /// What its code is compared with others' by.
    #[serde(default)]
    pub sketch: Option<Sketch>,
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptRow {
    /// Place in the sequence of the coordinator that accepted it. `None`: its evaluation is not
    /// decided there yet, and nobody else gets to see it.
    pub sequence: Option<u64>,
    /// Whether it counts.
    #[serde(default)]
    pub standing: ReceiptStanding,
    /// The receipt.
    pub receipt: Receipt,
}

/// Whether a receipt counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptStanding {
    /// It does.
    #[default]
    Counts,
    /// It came after its lease was over. Kept, never scored.
    Late,
}

/// What this node measured in a trial. It does not run it again under another lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasurementRow {
    /// Of which submission.
    pub submission: SubmissionId,
    /// In which tier.
    pub tier: u8,
    /// In which unit of it.
    #[serde(default)]
    pub unit: u8,
    /// What came out, under the lease it was measured for.
    pub evidence: Evidence,
    /// The promise of it, as it was signed first.
    pub seal: Seal,
    /// Coordinators that were shown it, and what each had fixed before anybody was.
    #[serde(default)]
    pub shown_to: BTreeMap<Hotkey, Option<Digest>>,
    /// What others had fixed, as far as this node could see, when it was first shown to anybody.
    #[serde(default)]
    pub fixed_before: BTreeMap<Hotkey, Digest>,
}

impl MeasurementRow {
    /// In which trial.
    #[must_use]
    pub fn trial(&self) -> Trial {
        Trial { submission: self.submission, tier: self.tier, unit: self.unit }
    }
}

/// What was decided in a trial. It stays until something else is decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRow {
    /// In which.
    pub trial: Trial,
    /// What.
    pub verdict: round::Verdict,
    /// The worker whose result decided; `None` if nobody's did.
    pub worker: Option<Hotkey>,
    /// The architecture as that worker's container traced it.
    #[serde(default)]
    pub architecture: Option<Fingerprint>,
    /// The finalized block at which this node decided it.
    pub decided_at: BlockNumber,
}

/// A trial as a key; the first unit of a tier has the key that it had before there were others.
fn trial_key(trial: &Trial) -> Vec<u8> {
    let unit: &[u8] = if trial.unit == 0 { &[] } else { &[trial.unit] };
    [trial.submission.0.as_slice(), &[trial.tier], unit].concat()
}

/// Something that a validator did and should not have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrikeRow {
    /// Who.
    pub validator: Hotkey,
    /// In the evaluation of which submission.
    pub submission: SubmissionId,
    /// What.
    pub cause: StrikeCause,
    /// Digests of the evidence that shows it.
    pub evidence: Vec<Digest>,
    /// The finalized block at which it was noticed.
    pub block: BlockNumber,
}

/// What earns a strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrikeCause {
    /// Its result stands alone against others that agree.
    StoodAlone,
    /// It signed two different results of one evaluation.
    Equivocated,
    /// It showed another result than it had sealed.
    BrokeSeal,
}

impl StrikeCause {
    /// Its public name, equal to the serialised form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StoodAlone => "stood_alone",
            Self::Equivocated => "equivocated",
            Self::BrokeSeal => "broke_seal",
        }
    }
}

/// An execution of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRow {
    /// Its identity.
    pub run: RunId,
    /// The lease it runs under.
    pub grant: Grant,
    /// Where it runs; none if it was given back before it had any.
    pub devices: Vec<DeviceId>,
    /// How far it got.
    pub state: RunState,
    /// When it was started, by the wall clock.
    pub started_at: UnixMs,
}

/// How far a run of ours got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RunState {
    /// The container is about to be started or runs.
    Started,
    /// It ended with a result, which is sealed; it is not time to show it yet.
    Sealing {
        /// The result.
        evidence: Box<Evidence>,
        /// The promise of it.
        seal: Seal,
    },
    /// The result is shown; the coordinator has not acknowledged it yet.
    Completing {
        /// The result.
        receipt: Box<Receipt>,
    },
    /// It ended without a result; the coordinator has not acknowledged the release yet.
    Releasing {
        /// Why.
        reason: crate::lease::ReleaseReason,
    },
}

/// The durable record that a vector is about to be signed, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntentRow {
    /// Its identity: (netuid, mechanism, registration, epoch), hashed.
    pub id: IntentId,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism.
    pub mechanism: u8,
    /// When the subnet was registered that had the number then; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<BlockNumber>,
    /// The epoch it is for.
    pub epoch: EpochIndex,
    /// The vector: uid and weight, ascending by uid, the largest weight 65535.
    pub vector: Vec<(Uid, u16)>,
    /// The version key it is signed with.
    pub version_key: u64,
    /// The block from whose view it was computed.
    pub computed_at: BlockNumber,
    /// Signatures made for it; at most one of them can land.
    pub signings: Vec<SignedExtrinsic>,
    /// Signatures of reveals, where the vector was committed as a hash; at most one can land.
    #[serde(default)]
    pub reveals: Vec<SignedExtrinsic>,
    /// In which block the hotkey's `LastUpdate` moved by it.
    #[serde(default)]
    pub updated_at: Option<BlockNumber>,
    /// How it stands.
    pub state: IntentState,
}

impl IntentRow {
    /// Puts the signature that landed behind all others: its vector, salt and round are those that
    /// count. Whether it is there.
    pub fn put_landed_last(&mut self, hash: &Digest) -> bool {
        let Some(at) = self.signings.iter().position(|signed| signed.hash == *hash) else {
            return false;
        };
        let signed = self.signings.remove(at);
        // A record that was made smaller, or is of an older build, has none.
        if !signed.vector.is_empty() {
            self.vector.clone_from(&signed.vector);
        }
        self.signings.push(signed);
        true
    }

    /// Its place among all intents of its mechanism: epochs are counted per registration of the
    /// subnet.
    #[must_use]
    pub fn place(&self) -> (Option<BlockNumber>, EpochIndex) {
        (self.registered_at, self.epoch)
    }
}

/// Signed bytes, stored before they are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedExtrinsic {
    /// The extrinsic as it goes to the chain.
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
    /// Blake2-256 of the bytes.
    pub hash: Digest,
    /// The nonce it uses.
    pub nonce: u32,
    /// The block in which its era begins, as anchored; it can be in later blocks only.
    #[serde(default)]
    pub anchor: BlockNumber,
    /// The first block in which it is no longer valid.
    pub era_end: BlockNumber,
    /// The runtime it was signed for; no other accepts it.
    #[serde(default)]
    pub spec_version: u32,
    /// In which form it carries the vector.
    #[serde(default)]
    pub carries: Carries,
    /// The vector. Whoever signs may leave it empty: the machine knows what it asked for.
    #[serde(default)]
    pub vector: Vec<(Uid, u16)>,
}

/// In which form an extrinsic carries a vector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "form")]
pub enum Carries {
    /// Open, for at once.
    #[default]
    Plain,
    /// Encrypted for a round of the beacon; the chain opens it by itself.
    Timelocked {
        /// Blake2-256 of the encrypted bytes, as the chain's event names it.
        commit: Digest,
        /// The round that opens it.
        reveal_round: u64,
        /// The epoch in which it was computed to open.
        reveal_epoch: EpochIndex,
    },
    /// Its hash; the vector follows in a reveal.
    Hashed {
        /// The hash.
        commit: Digest,
        /// What was hashed with the vector: without it nothing can be revealed.
        salt: Vec<u16>,
    },
    /// The reveal of an earlier hash.
    Reveal,
}

/// How an intent stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum IntentState {
    /// Journalled; a signature may exist that we have not seen.
    Open,
    /// The last of its signings may land.
    Signed,
    /// A plain vector: found on the finalized chain, equal to ours.
    Landed {
        /// In which block.
        block: BlockNumber,
    },
    /// A commit: found on the finalized chain; its reveal is awaited.
    Committed {
        /// In which block.
        block: BlockNumber,
        /// The epoch that the chain counts it to.
        epoch: EpochIndex,
    },
    /// A commit that was opened: our reveal was found on the finalized chain, or the chain took it
    /// out of its queue and its row equals our vector.
    Revealed {
        /// The block of the reveal, or the one in whose state the row was first read.
        block: BlockNumber,
    },
    /// A commit that landed and was never opened, and why.
    Lost {
        /// Why.
        reason: String,
    },
    /// It will never land, and why.
    Abandoned {
        /// Why.
        reason: String,
    },
}

impl IntentState {
    /// Whether a vector is still on its way to the chain.
    #[must_use]
    pub fn is_on_its_way(&self) -> bool {
        matches!(self, Self::Open | Self::Signed)
    }

    /// Whether nothing more can become of it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !matches!(self, Self::Open | Self::Signed | Self::Committed { .. })
    }
}

/// How far receipts of a peer have been fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CursorRow {
    /// The peer.
    pub peer: Hotkey,
    /// Sequence number of its last receipt that we have.
    pub after: u64,
}

/// One line of `signed.journal`: everything that ever bound this hotkey, and the format in which
/// a validator moves to another machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Whose signature.
    pub hotkey: Hotkey,
    /// For which intent.
    pub intent: IntentId,
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism.
    pub mechanism: u8,
    /// When the subnet was registered; `None` if that is not known. Lines of builds that did not
    /// ask have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<BlockNumber>,
    /// The epoch.
    pub epoch: EpochIndex,
    /// What happened.
    pub step: JournalStep,
}

/// What happened to an intent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum JournalStep {
    /// This vector is about to be signed.
    Intended {
        /// The vector.
        vector: Vec<(Uid, u16)>,
        /// The version key it is signed with.
        version_key: u64,
        /// The block from whose view it was computed.
        computed_at: BlockNumber,
    },
    /// These bytes were signed and may be on their way.
    Signed {
        /// The signed extrinsic.
        signed: SignedExtrinsic,
    },
    /// The reveal of a hash commit was signed and may be on its way.
    RevealSigned {
        /// The signed extrinsic.
        signed: SignedExtrinsic,
    },
    /// A plain vector: found on the finalized chain.
    Landed {
        /// In which block.
        block: BlockNumber,
        /// Which of the signatures it was; `None` where the chain's row or queue told of it, or the
        /// line is of a build that did not write it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<Digest>,
    },
    /// A commit: found on the finalized chain.
    Committed {
        /// In which block.
        block: BlockNumber,
        /// The epoch that the chain counts it to.
        epoch: EpochIndex,
        /// Which of the signatures it was; `None` where the line is of a build that did not
        /// write it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<Digest>,
    },
    /// A commit that was opened: our reveal was found on the finalized chain, or the chain took it
    /// out of its queue and its row equals the vector.
    Revealed {
        /// The block of the reveal, or the one in whose state the row was first read.
        block: BlockNumber,
    },
    /// A commit that landed and was never opened.
    Lost {
        /// Why.
        reason: String,
    },
    /// Given up.
    Abandoned {
        /// Why.
        reason: String,
    },
    /// The operator vouches for whatever updated the hotkey up to this block: it was stopped.
    Adopted {
        /// The block.
        block: BlockNumber,
    },
    /// The lines before this one were put back from a copy: what was signed after that copy was
    /// made is not known here.
    Restored {
        /// The first best block that the node read since, and as many more as finality was behind;
        /// `None` until it has read one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<BlockNumber>,
        /// The last epoch that can have been signed for; `None` while it may still grow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<EpochIndex>,
    },
    /// What was signed after the copy can do no harm any more.
    Settled {
        /// The finalized block that showed it.
        block: BlockNumber,
    },
}

impl JournalStep {
    /// Whether it speaks of the journal itself and of no epoch.
    #[must_use]
    pub fn is_of_a_copy(&self) -> bool {
        self.says_of_a_copy().is_some()
    }

    /// Whether the journal is a copy that has not settled, as this line has it; `None` if it says
    /// nothing about that.
    #[must_use]
    pub fn says_of_a_copy(&self) -> Option<bool> {
        match self {
            Self::Restored { .. } => Some(true),
            Self::Settled { .. } => Some(false),
            Self::Intended { .. }
            | Self::Signed { .. }
            | Self::RevealSigned { .. }
            | Self::Landed { .. }
            | Self::Committed { .. }
            | Self::Revealed { .. }
            | Self::Lost { .. }
            | Self::Abandoned { .. }
            | Self::Adopted { .. } => None,
        }
    }
}

//! The history of one hotkey's signatures as a file: how a validator moves to another machine.
//!
//! JSON, described in `docs/journal.md`. It holds no key and no password; the salts of hash commits
//! stand in it, without which nobody could reveal them.
//!
//! Every field is checked when it is read; a field that this build does not know is refused, since
//! a newer one may have put a signature there.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use blake2::digest::consts::U32;
use blake2::digest::Digest as _;
use blake2::Blake2b;
use node_core::id::{BlockHash, Digest, Hotkey, Netuid, Uid};
use node_core::rows::{Carries, IntentState, SignedExtrinsic};
use node_core::unit::{BlockNumber, EpochIndex};
use serde::{Deserialize, Serialize};

use crate::history::{EpochHistory, EpochKey, History, Intended, MechanismHistory, Owner};

/// What the file calls its format.
pub const INTERCHANGE_FORMAT: &str = "assay-weights-history";

/// Its version; a change that older builds misread raises it. Version 1, which is read too, did not
/// say of which registration of the subnet an epoch is.
pub const INTERCHANGE_VERSION: u32 = 2;

/// Bytes of a file read at most. Lower: the history of a full journal does not fit. Higher: a file
/// that is none takes that much memory before it is refused.
pub const INTERCHANGE_BYTES_MAX: u64 = 512 << 20;

/// Signatures of one epoch and kind: one per era, in an epoch of the longest tempo.
const SIGNATURES_MAX: usize = 8192;

/// Bytes of one signed extrinsic: more than a vector of all uids takes.
const EXTRINSIC_BYTES_MAX: usize = 512 << 10;

/// Words of a salt.
const SALT_WORDS_MAX: usize = 1024;

/// Characters of a reason.
const REASON_CHARS_MAX: usize = 4096;

/// Why a file is no history that can be merged. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum InterchangeError {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Io {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is longer than any history.
    #[error("the file has more than {INTERCHANGE_BYTES_MAX} bytes")]
    TooLarge,
    /// It is not JSON of this shape.
    #[error("the file is no history of signed weights")]
    Malformed {
        /// What the parser said, and where.
        #[source]
        source: serde_json::Error,
    },
    /// It is something else, or of another version.
    #[error(
        "the file is `{format}` version {version}; this build reads `{INTERCHANGE_FORMAT}` \
         up to version {INTERCHANGE_VERSION}"
    )]
    OtherFormat {
        /// What it says it is.
        format: String,
        /// Its version.
        version: u32,
    },
    /// A mechanism comes twice.
    #[error("mechanism {mechanism} comes twice")]
    MechanismTwice {
        /// Which.
        mechanism: u8,
    },
    /// An epoch comes twice.
    #[error("epoch {epoch} of mechanism {mechanism} comes twice")]
    EpochTwice {
        /// The mechanism.
        mechanism: u8,
        /// The epoch.
        epoch: EpochIndex,
    },
    /// A value of an epoch cannot be.
    #[error("epoch {epoch} of mechanism {mechanism}: {problem}")]
    Epoch {
        /// The mechanism.
        mechanism: u8,
        /// The epoch.
        epoch: EpochIndex,
        /// What is wrong.
        problem: EpochProblem,
    },
    /// It is about somebody else.
    #[error(
        "the file is about hotkey {} on subnet {} of chain {}, not about hotkey {} on subnet {} \
         of chain {}",
        theirs.hotkey, theirs.netuid, theirs.genesis, own.hotkey, own.netuid, own.genesis
    )]
    OtherOwner {
        /// Whose history the file holds.
        theirs: Box<Owner>,
        /// Whose the data directory is.
        own: Box<Owner>,
    },
}

/// What cannot be in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochProblem {
    /// Uids have to ascend.
    #[error("a vector's uids do not ascend")]
    VectorOrder,
    /// More signatures than an epoch has room for.
    #[error("more than {SIGNATURES_MAX} signatures")]
    TooManySignatures,
    /// A signature comes twice.
    #[error("the signature {hash} comes twice")]
    SignatureTwice {
        /// Its hash.
        hash: Digest,
    },
    /// Bytes and hash do not belong together.
    #[error("the bytes of signature {hash} have another hash")]
    OtherBytes {
        /// Its hash.
        hash: Digest,
    },
    /// The era ends before it begins.
    #[error("the era of signature {hash} ends before it begins")]
    Era {
        /// Its hash.
        hash: Digest,
    },
    /// A vector among reveals, or a reveal among vectors.
    #[error("the signature {hash} has a form that does not belong there")]
    Form {
        /// Its hash.
        hash: Digest,
    },
    /// Bytes, salt or reason are longer than they can be.
    #[error("`{field}` is too long")]
    TooLong {
        /// Which.
        field: &'static str,
    },
    /// It can still land, and its bytes are missing: nobody could send it again.
    #[error("the signature {hash} may still land, and its bytes are missing")]
    NoBytes {
        /// Its hash.
        hash: Digest,
    },
    /// What was found on chain is none of the signatures, or nothing was found.
    #[error("`found` names {hash}, which is no signing of an epoch that landed")]
    Found {
        /// Its hash.
        hash: Digest,
    },
    /// The named state is not the one that the facts lead to.
    #[error("its state is `{named}`, its facts say `{found}`")]
    State {
        /// What the file says.
        named: String,
        /// What follows from the facts.
        found: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    version: u32,
    genesis: BlockHash,
    netuid: Netuid,
    hotkey: Hotkey,
    mechanisms: Vec<MechanismPart>,
}

/// The first look at a file: what it says it is.
#[derive(Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MechanismPart {
    mechanism: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adopted: Option<BlockNumber>,
    epochs: Vec<EpochPart>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EpochPart {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registered_at: Option<BlockNumber>,
    epoch: EpochIndex,
    state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intended: Option<IntendedPart>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signings: Vec<SignedPart>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reveals: Vec<SignedPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abandoned: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    committed: Option<CommittedPart>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    landed: Option<BlockNumber>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revealed: Option<BlockNumber>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntendedPart {
    computed_at: BlockNumber,
    version_key: u64,
    vector: Vec<(Uid, u16)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CommittedPart {
    block: BlockNumber,
    epoch: EpochIndex,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedPart {
    hash: Digest,
    nonce: u32,
    anchor: BlockNumber,
    era_end: BlockNumber,
    spec_version: u32,
    carries: Carries,
    /// Left out where it is the intended one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<(Uid, u16)>>,
    /// Left out where nothing more can become of the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

/// The public name of a state.
#[must_use]
pub fn state_name(state: &IntentState) -> &'static str {
    match state {
        IntentState::Open => "open",
        IntentState::Signed => "signed",
        IntentState::Landed { .. } => "landed",
        IntentState::Committed { .. } => "committed",
        IntentState::Revealed { .. } => "revealed",
        IntentState::Lost { .. } => "lost",
        IntentState::Abandoned { .. } => "abandoned",
    }
}

/// Writes a history; the same history gives the same bytes.
///
/// # Errors
///
/// Those of the writer.
pub fn write_interchange(history: &History, out: &mut impl Write) -> io::Result<()> {
    let parts = history.mechanisms.iter().map(|(number, mechanism)| MechanismPart {
        mechanism: *number,
        adopted: mechanism.adopted,
        epochs: mechanism.epochs.iter().map(|(epoch, known)| epoch_part(*epoch, known)).collect(),
    });
    let document = Document {
        format: INTERCHANGE_FORMAT.to_owned(),
        version: INTERCHANGE_VERSION,
        genesis: history.owner.genesis,
        netuid: history.owner.netuid,
        hotkey: history.owner.hotkey,
        mechanisms: parts.collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    out.write_all(b"\n")
}

fn epoch_part(key: EpochKey, known: &EpochHistory) -> EpochPart {
    let state = known.state();
    let is_over = state.is_finished();
    let intended = known.intended.as_ref().map_or(&[][..], |intended| &intended.vector);
    let part = |signed: &&SignedExtrinsic| SignedPart {
        hash: signed.hash,
        nonce: signed.nonce,
        anchor: signed.anchor,
        era_end: signed.era_end,
        spec_version: signed.spec_version,
        carries: signed.carries.clone(),
        vector: (signed.vector != intended).then(|| signed.vector.clone()),
        bytes: (!is_over && !signed.bytes.is_empty()).then(|| hex::encode(&signed.bytes)),
    };
    EpochPart {
        registered_at: key.registered_at,
        epoch: key.epoch,
        state: state_name(&state).to_owned(),
        intended: known.intended.as_ref().map(|intended| IntendedPart {
            computed_at: intended.computed_at,
            version_key: intended.version_key,
            vector: intended.vector.clone(),
        }),
        signings: known.ordered_signings().iter().map(part).collect(),
        reveals: known.ordered_reveals().iter().map(part).collect(),
        found: known.found_signing().map(|signed| signed.hash),
        abandoned: known.abandoned.clone(),
        committed: known.committed.map(|(block, epoch)| CommittedPart { block, epoch }),
        lost: known.lost.clone(),
        landed: known.landed,
        revealed: known.revealed,
    }
}

/// Reads a history, all of it checked.
///
/// # Errors
///
/// Every [`InterchangeError`] but [`InterchangeError::OtherOwner`], which
/// [`History::check_owner`] finds.
pub fn read_interchange(input: impl Read) -> Result<History, InterchangeError> {
    parse(&read_at_most(input, INTERCHANGE_BYTES_MAX)?)
}

fn read_at_most(input: impl Read, bytes_max: u64) -> Result<Vec<u8>, InterchangeError> {
    let mut text = Vec::new();
    let failed = |source| InterchangeError::Io { source };
    input.take(bytes_max + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > bytes_max {
        return Err(InterchangeError::TooLarge);
    }
    Ok(text)
}

fn parse(text: &[u8]) -> Result<History, InterchangeError> {
    let malformed = |source| InterchangeError::Malformed { source };
    let head: Head = serde_json::from_slice(text).map_err(malformed)?;
    if head.format != INTERCHANGE_FORMAT || !(1..=INTERCHANGE_VERSION).contains(&head.version) {
        let (version, format) = (head.version, head.format);
        let format = format.chars().filter(|c| !c.is_control()).take(60).collect();
        return Err(InterchangeError::OtherFormat { format, version });
    }
    let document: Document = serde_json::from_slice(text).map_err(malformed)?;
    let Document { genesis, netuid, hotkey, mechanisms, .. } = document;
    let mut history = History::new(Owner { genesis, netuid, hotkey });
    for part in mechanisms {
        let mechanism = part.mechanism;
        if history.mechanisms.insert(mechanism, mechanism_of(part)?).is_some() {
            return Err(InterchangeError::MechanismTwice { mechanism });
        }
    }
    Ok(history)
}

fn mechanism_of(part: MechanismPart) -> Result<MechanismHistory, InterchangeError> {
    let mechanism = part.mechanism;
    let mut epochs = BTreeMap::new();
    for part in part.epochs {
        let (registered_at, epoch) = (part.registered_at, part.epoch);
        let history = epoch_of(part).map_err(|problem| InterchangeError::Epoch {
            mechanism,
            epoch,
            problem,
        })?;
        if epochs.insert(EpochKey { registered_at, epoch }, history).is_some() {
            return Err(InterchangeError::EpochTwice { mechanism, epoch });
        }
    }
    Ok(MechanismHistory { adopted: part.adopted, epochs })
}

fn epoch_of(part: EpochPart) -> Result<EpochHistory, EpochProblem> {
    for (field, reason) in [("abandoned", &part.abandoned), ("lost", &part.lost)] {
        if reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
            return Err(EpochProblem::TooLong { field });
        }
    }
    let intended = part.intended.map(|intended| Intended {
        computed_at: intended.computed_at,
        version_key: intended.version_key,
        vector: intended.vector,
    });
    let vector = intended.as_ref().map_or(&[][..], |intended| &intended.vector);
    check_order(vector)?;
    let history = EpochHistory {
        signings: signatures(part.signings, vector, false)?,
        reveals: signatures(part.reveals, vector, true)?,
        intended,
        found: part.found,
        abandoned: part.abandoned,
        committed: part.committed.map(|committed| (committed.block, committed.epoch)),
        lost: part.lost,
        landed: part.landed,
        revealed: part.revealed,
    };
    let is_on_chain = history.landed.is_some() || history.committed.is_some();
    let is_landed = |hash: &Digest| is_on_chain && history.signings.contains_key(hash);
    if let Some(hash) = part.found.filter(|hash| !is_landed(hash)) {
        return Err(EpochProblem::Found { hash });
    }
    let state = history.state();
    let found = state_name(&state);
    if part.state != found {
        return Err(EpochProblem::State { named: part.state.chars().take(40).collect(), found });
    }
    // A commit that landed is not sent again; its reveals are.
    let may_land: &[_] = match state {
        IntentState::Open | IntentState::Signed => &[&history.signings, &history.reveals],
        IntentState::Committed { .. } => &[&history.reveals],
        _ => &[],
    };
    let all = may_land.iter().flat_map(|signed| signed.values());
    match all.into_iter().find(|signed| signed.bytes.is_empty()) {
        Some(signed) => Err(EpochProblem::NoBytes { hash: signed.hash }),
        None => Ok(history),
    }
}

fn signatures(
    parts: Vec<SignedPart>,
    intended: &[(Uid, u16)],
    are_reveals: bool,
) -> Result<BTreeMap<Digest, SignedExtrinsic>, EpochProblem> {
    if parts.len() > SIGNATURES_MAX {
        return Err(EpochProblem::TooManySignatures);
    }
    let mut signatures = BTreeMap::new();
    for part in parts {
        let signed = signature(part, intended)?;
        let hash = signed.hash;
        if (signed.carries == Carries::Reveal) != are_reveals {
            return Err(EpochProblem::Form { hash });
        }
        if signatures.insert(hash, signed).is_some() {
            return Err(EpochProblem::SignatureTwice { hash });
        }
    }
    Ok(signatures)
}

fn signature(part: SignedPart, intended: &[(Uid, u16)]) -> Result<SignedExtrinsic, EpochProblem> {
    let hash = part.hash;
    if part.era_end < part.anchor {
        return Err(EpochProblem::Era { hash });
    }
    if matches!(&part.carries, Carries::Hashed { salt, .. } if salt.len() > SALT_WORDS_MAX) {
        return Err(EpochProblem::TooLong { field: "salt" });
    }
    let text = part.bytes.unwrap_or_default();
    if text.len() > 2 * EXTRINSIC_BYTES_MAX {
        return Err(EpochProblem::TooLong { field: "bytes" });
    }
    let bytes = hex::decode(text).map_err(|_| EpochProblem::OtherBytes { hash })?;
    if !bytes.is_empty() && Blake2b::<U32>::digest(&bytes).as_slice() != hash.0 {
        return Err(EpochProblem::OtherBytes { hash });
    }
    let vector = part.vector.unwrap_or_else(|| intended.to_vec());
    check_order(&vector)?;
    Ok(SignedExtrinsic {
        bytes,
        hash,
        nonce: part.nonce,
        anchor: part.anchor,
        era_end: part.era_end,
        spec_version: part.spec_version,
        carries: part.carries,
        vector,
    })
}

fn check_order(vector: &[(Uid, u16)]) -> Result<(), EpochProblem> {
    // Ascending uids of 16 bits bound the length too.
    if vector.is_sorted_by(|(one, _), (next, _)| one < next) {
        Ok(())
    } else {
        Err(EpochProblem::VectorOrder)
    }
}

impl History {
    /// Whether it is about `own`.
    ///
    /// # Errors
    ///
    /// [`InterchangeError::OtherOwner`].
    pub fn check_owner(&self, own: &Owner) -> Result<(), InterchangeError> {
        if self.owner == *own {
            return Ok(());
        }
        let (theirs, own) = (Box::new(self.owner), Box::new(*own));
        Err(InterchangeError::OtherOwner { theirs, own })
    }
}

#[cfg(test)]
mod tests;

//! What is known of everything that was signed with one hotkey on one subnet, as a value that can
//! be merged with what somebody else knows.
//!
//! ```text
//! signed.journal --of_journal--> History --merge--> History --entries_beyond--> signed.journal
//!                                   ^                  |
//!                            a file (`interchange`)    +--rows--> the state
//! ```
//!
//! Merging takes of everything the most that either side knows: per epoch the furthest state, all
//! signatures, the greatest blocks. It is commutative, associative and idempotent, and nothing
//! known gets lost. Not here: the file (`interchange`), and making it durable (`import`).

use std::collections::BTreeMap;
use std::fmt;

use node_core::id::{BlockHash, Digest, Hotkey, Netuid, Uid};
use node_core::rows::{
    Carries, IntentRow, IntentState, JournalEntry, JournalStep, SignedExtrinsic,
};
use node_core::submit_guard::intent_id;
use node_core::unit::{BlockNumber, EpochIndex};

/// Whose signatures: one hotkey on one subnet of one chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The chain, by the hash of its block 0.
    pub genesis: BlockHash,
    /// The subnet.
    pub netuid: Netuid,
    /// Who signs.
    pub hotkey: Hotkey,
}

/// Everything that was signed, as far as somebody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Whose.
    pub owner: Owner,
    /// By mechanism.
    pub mechanisms: BTreeMap<u8, MechanismHistory>,
}

/// Which epoch. They are counted anew when a netuid goes to another subnet; an earlier
/// registration is the lesser key, and an unknown one the least: builds that did not ask are older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochKey {
    /// When the subnet was registered; `None` if that is not known.
    pub registered_at: Option<BlockNumber>,
    /// The epoch of that subnet.
    pub epoch: EpochIndex,
}

impl EpochKey {
    pub(crate) fn of_row(row: &IntentRow) -> Self {
        Self { registered_at: row.registered_at, epoch: row.epoch }
    }

    pub(crate) fn of_entry(entry: &JournalEntry) -> Self {
        Self { registered_at: entry.registered_at, epoch: entry.epoch }
    }
}

/// Of a subnet whose registration is not known.
impl From<EpochIndex> for EpochKey {
    fn from(epoch: EpochIndex) -> Self {
        Self { registered_at: None, epoch }
    }
}

/// The epoch alone: whose it is goes without saying but for a moment.
impl fmt::Display for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.epoch.fmt(f)
    }
}

/// What was signed for one mechanism.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MechanismHistory {
    /// The operator vouched for every update of the hotkey up to here.
    pub adopted: Option<BlockNumber>,
    /// By registration and epoch.
    pub epochs: BTreeMap<EpochKey, EpochHistory>,
}

/// What was signed for one epoch, and every fact that is known of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochHistory {
    /// What was about to be signed the last time.
    pub intended: Option<Intended>,
    /// Signatures of the vector or its commit, by hash; at most one can land.
    pub signings: BTreeMap<Digest, SignedExtrinsic>,
    /// Signatures of reveals, by hash; at most one can land.
    pub reveals: BTreeMap<Digest, SignedExtrinsic>,
    /// Which of the signings was found in a finalized block.
    pub found: Option<Digest>,
    /// It was given up, and why.
    pub abandoned: Option<String>,
    /// The commit was found in a finalized block, and the chain counts it to this epoch.
    pub committed: Option<(BlockNumber, EpochIndex)>,
    /// The commit was never opened, and why.
    pub lost: Option<String>,
    /// The plain vector was found in this finalized block.
    pub landed: Option<BlockNumber>,
    /// The commit was opened; the block in whose state the row was first read.
    pub revealed: Option<BlockNumber>,
}

/// A vector that was about to be signed. The later one is the greater one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Intended {
    /// The block from whose view it was computed.
    pub computed_at: BlockNumber,
    /// The version key it is signed with.
    pub version_key: u64,
    /// The vector.
    pub vector: Vec<(Uid, u16)>,
}

impl History {
    /// Nothing is known.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        Self { owner, mechanisms: BTreeMap::new() }
    }

    /// What a journal tells about `owner`; lines about others are left out.
    #[must_use]
    pub fn of_journal(owner: Owner, entries: &[JournalEntry]) -> Self {
        let mut history = Self::new(owner);
        let is_own =
            |entry: &&JournalEntry| entry.hotkey == owner.hotkey && entry.netuid == owner.netuid;
        for entry in entries.iter().filter(is_own).filter(|entry| !entry.step.is_of_a_copy()) {
            let mechanism = history.mechanisms.entry(entry.mechanism).or_default();
            mechanism.learn(EpochKey::of_entry(entry), &entry.step);
        }
        history
    }

    /// Takes in what a row knows. One of a dry run, for which nothing was signed, says nothing.
    pub fn learn_row(&mut self, row: &IntentRow) {
        let was_never_signed = row.signings.is_empty() && row.state.is_finished();
        if row.netuid == self.owner.netuid && !was_never_signed {
            let mechanism = self.mechanisms.entry(row.mechanism).or_default();
            let epoch = mechanism.epochs.entry(EpochKey::of_row(row)).or_default();
            epoch.merge(&EpochHistory::of_row(row));
        }
    }

    /// Takes in everything that `other` knows. Whether both are about the same owner is for the
    /// caller to check.
    pub fn merge(&mut self, other: &Self) {
        for (mechanism, theirs) in &other.mechanisms {
            self.mechanisms.entry(*mechanism).or_default().merge(theirs);
        }
    }

    /// The journal lines that bring somebody who knows `known` to know this too, the newest epoch
    /// first. Replayed behind the lines of `known`, in order, they lead to the furthest state.
    #[must_use]
    pub fn entries_beyond(&self, known: &Self) -> Vec<(EpochKey, Vec<JournalEntry>)> {
        let nothing = MechanismHistory::default();
        let mut found = Vec::new();
        for (number, mechanism) in &self.mechanisms {
            let known = known.mechanisms.get(number).unwrap_or(&nothing);
            let newest = mechanism.epochs.keys().next_back().copied().unwrap_or_default();
            if let Some(block) = mechanism.adopted.filter(|_| mechanism.adopted > known.adopted) {
                let step = JournalStep::Adopted { block };
                found.push((newest, vec![self.entry(*number, newest, step)]));
            }
            for (epoch, history) in mechanism.epochs.iter().rev() {
                let steps = history.steps_beyond(known.epochs.get(epoch));
                let entries = steps.into_iter().map(|step| self.entry(*number, *epoch, step));
                let entries: Vec<_> = entries.collect();
                if !entries.is_empty() {
                    found.push((*epoch, entries));
                }
            }
        }
        found
    }

    /// The newest intents of every mechanism as rows, at most `limit` of each.
    #[must_use]
    pub fn newest_rows(&self, limit: usize) -> Vec<IntentRow> {
        let mut rows = Vec::new();
        for (mechanism, history) in &self.mechanisms {
            let newest = history.epochs.iter().rev().take(limit);
            rows.extend(newest.map(|(epoch, known)| known.row(&self.owner, *mechanism, *epoch)));
        }
        rows
    }

    /// A journal line about this owner.
    #[must_use]
    pub fn entry(
        &self,
        mechanism: u8,
        epoch: impl Into<EpochKey>,
        step: JournalStep,
    ) -> JournalEntry {
        let Owner { netuid, hotkey, .. } = self.owner;
        let EpochKey { registered_at, epoch } = epoch.into();
        let intent = intent_id(&hotkey, netuid, mechanism, registered_at, epoch);
        JournalEntry { hotkey, intent, netuid, mechanism, registered_at, epoch, step }
    }

    /// Epochs of all mechanisms.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.mechanisms.values().map(|mechanism| mechanism.epochs.len()).sum()
    }

    /// Signatures of all kinds.
    #[must_use]
    pub fn signatures(&self) -> usize {
        let epochs = self.mechanisms.values().flat_map(|mechanism| mechanism.epochs.values());
        epochs.map(|epoch| epoch.signings.len() + epoch.reveals.len()).sum()
    }
}

impl MechanismHistory {
    fn learn(&mut self, epoch: EpochKey, step: &JournalStep) {
        if let JournalStep::Adopted { block } = step {
            self.adopted = self.adopted.max(Some(*block));
        } else {
            self.epochs.entry(epoch).or_default().learn(step);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.adopted = self.adopted.max(other.adopted);
        for (epoch, theirs) in &other.epochs {
            self.epochs.entry(*epoch).or_default().merge(theirs);
        }
    }
}

impl EpochHistory {
    fn learn(&mut self, step: &JournalStep) {
        match step.clone() {
            JournalStep::Intended { vector, version_key, computed_at } => {
                let intended = Intended { computed_at, version_key, vector };
                raise(&mut self.intended, Some(&intended));
            }
            JournalStep::Signed { signed } => add(&mut self.signings, &signed),
            JournalStep::RevealSigned { signed } => add(&mut self.reveals, &signed),
            JournalStep::Landed { block, hash } => {
                raise(&mut self.landed, Some(&block));
                raise(&mut self.found, hash.as_ref());
            }
            JournalStep::Committed { block, epoch, hash } => {
                raise(&mut self.committed, Some(&(block, epoch)));
                raise(&mut self.found, hash.as_ref());
            }
            JournalStep::Revealed { block } => raise(&mut self.revealed, Some(&block)),
            JournalStep::Lost { reason } => raise(&mut self.lost, Some(&reason)),
            JournalStep::Abandoned { reason } => raise(&mut self.abandoned, Some(&reason)),
            JournalStep::Adopted { .. }
            | JournalStep::Restored { .. }
            | JournalStep::Settled { .. } => {}
        }
    }

    fn of_row(row: &IntentRow) -> Self {
        let mut history = Self::default();
        let IntentRow { vector, version_key, computed_at, .. } = row.clone();
        history.learn(&JournalStep::Intended { vector, version_key, computed_at });
        for signed in row.signings.iter().cloned() {
            history.learn(&JournalStep::Signed { signed });
        }
        for signed in row.reveals.iter().cloned() {
            history.learn(&JournalStep::RevealSigned { signed });
        }
        let is_opened =
            matches!(row.state, IntentState::Revealed { .. } | IntentState::Lost { .. });
        if let Some(block) = row.updated_at.filter(|_| is_opened) {
            // The row forgot to which epoch the chain counted its commit; nobody asks any more.
            history.learn(&JournalStep::Committed { block, epoch: row.epoch, hash: None });
        }
        match row.state.clone() {
            IntentState::Open | IntentState::Signed => {}
            IntentState::Landed { block } => {
                history.learn(&JournalStep::Landed { block, hash: None });
            }
            IntentState::Committed { block, epoch } => {
                // A row says so only of the last one: a node that does not know looks for it.
                let hash = row.signings.last().map(|signed| signed.hash);
                history.learn(&JournalStep::Committed { block, epoch, hash });
            }
            IntentState::Revealed { block } => history.learn(&JournalStep::Revealed { block }),
            IntentState::Lost { reason } => history.learn(&JournalStep::Lost { reason }),
            IntentState::Abandoned { reason } => history.learn(&JournalStep::Abandoned { reason }),
        }
        history
    }

    fn merge(&mut self, other: &Self) {
        raise(&mut self.intended, other.intended.as_ref());
        other.signings.values().for_each(|signed| add(&mut self.signings, signed));
        other.reveals.values().for_each(|signed| add(&mut self.reveals, signed));
        raise(&mut self.found, other.found.as_ref());
        raise(&mut self.abandoned, other.abandoned.as_ref());
        raise(&mut self.committed, other.committed.as_ref());
        raise(&mut self.lost, other.lost.as_ref());
        raise(&mut self.landed, other.landed.as_ref());
        raise(&mut self.revealed, other.revealed.as_ref());
    }

    /// The furthest state that is known. A fact of the chain counts for more than giving up.
    #[must_use]
    pub fn state(&self) -> IntentState {
        let last = self.facts().pop();
        match last {
            Some(JournalStep::Revealed { block }) => IntentState::Revealed { block },
            Some(JournalStep::Landed { block, .. }) => IntentState::Landed { block },
            Some(JournalStep::Lost { reason }) => IntentState::Lost { reason },
            Some(JournalStep::Committed { block, epoch, .. }) => {
                IntentState::Committed { block, epoch }
            }
            Some(JournalStep::Abandoned { reason }) => IntentState::Abandoned { reason },
            _ if self.signings.is_empty() => IntentState::Open,
            _ => IntentState::Signed,
        }
    }

    /// In which block the hotkey's last update moved by it.
    #[must_use]
    pub fn updated_at(&self) -> Option<BlockNumber> {
        self.landed.max(self.committed.map(|(block, _)| block))
    }

    /// The vector of the signature that landed, where that is known; else the one that was meant
    /// the last time, or that of the last signature.
    #[must_use]
    pub fn vector(&self) -> &[(Uid, u16)] {
        // A record that was made smaller, or is of an older build, has none.
        if let Some(found) = self.found_signing().filter(|found| !found.vector.is_empty()) {
            return &found.vector;
        }
        match (&self.intended, self.ordered_signings().last()) {
            (Some(intended), _) => &intended.vector,
            (None, Some(signed)) => &signed.vector,
            (None, None) => &[],
        }
    }

    /// The signature that landed, where it is known which of them did.
    #[must_use]
    pub fn found_signing(&self) -> Option<&SignedExtrinsic> {
        self.signings.get(self.found.as_ref()?)
    }

    /// Signatures of the vector, as they were made.
    #[must_use]
    pub fn ordered_signings(&self) -> Vec<&SignedExtrinsic> {
        ordered(&self.signings)
    }

    /// Signatures of reveals, as they were made.
    #[must_use]
    pub fn ordered_reveals(&self) -> Vec<&SignedExtrinsic> {
        ordered(&self.reveals)
    }

    /// The row that a node keeps of it.
    #[must_use]
    pub fn row(&self, owner: &Owner, mechanism: u8, epoch: impl Into<EpochKey>) -> IntentRow {
        let EpochKey { registered_at, epoch } = epoch.into();
        let intended = self.intended.as_ref();
        let first = self.ordered_signings().first().map_or(BlockNumber(0), |first| first.anchor);
        let mut row = IntentRow {
            id: intent_id(&owner.hotkey, owner.netuid, mechanism, registered_at, epoch),
            netuid: owner.netuid,
            mechanism,
            registered_at,
            epoch,
            vector: self.vector().to_vec(),
            version_key: intended.map_or(0, |intended| intended.version_key),
            computed_at: intended.map_or(first, |intended| intended.computed_at),
            signings: self.ordered_signings().into_iter().cloned().collect(),
            reveals: self.ordered_reveals().into_iter().cloned().collect(),
            updated_at: self.updated_at(),
            state: self.state(),
        };
        if let Some(found) = &self.found {
            row.put_landed_last(found);
        }
        row
    }

    /// What became of it, the furthest last.
    fn facts(&self) -> Vec<JournalStep> {
        let hash = self.found;
        let facts = [
            self.abandoned.clone().map(|reason| JournalStep::Abandoned { reason }),
            self.committed.map(|(block, epoch)| JournalStep::Committed { block, epoch, hash }),
            self.lost.clone().map(|reason| JournalStep::Lost { reason }),
            self.landed.map(|block| JournalStep::Landed { block, hash }),
            self.revealed.map(|block| JournalStep::Revealed { block }),
        ];
        facts.into_iter().flatten().collect()
    }

    /// Steps that lead from `known` to this. All facts are told again behind a new signature:
    /// whoever replays the lines takes the last one for the present state.
    fn steps_beyond(&self, known: Option<&Self>) -> Vec<JournalStep> {
        let nothing = Self::default();
        let known = known.unwrap_or(&nothing);
        if known == self {
            return Vec::new();
        }
        let mut steps = Vec::new();
        if let Some(intended) = self.intended.clone().filter(|_| self.intended != known.intended) {
            let Intended { vector, version_key, computed_at } = intended;
            steps.push(JournalStep::Intended { vector, version_key, computed_at });
        }
        let is_new = |known: &BTreeMap<Digest, SignedExtrinsic>, signed: &SignedExtrinsic| {
            known.get(&signed.hash) != Some(signed)
        };
        let signings = self.ordered_signings().into_iter();
        let signings = signings.filter(|signed| is_new(&known.signings, signed));
        steps.extend(signings.map(|signed| JournalStep::Signed { signed: signed.clone() }));
        let reveals = self.ordered_reveals().into_iter();
        let reveals = reveals.filter(|signed| is_new(&known.reveals, signed));
        steps.extend(reveals.map(|signed| JournalStep::RevealSigned { signed: signed.clone() }));
        steps.extend(self.facts());
        steps
    }
}

fn raise<T: Ord + Clone>(known: &mut Option<T>, other: Option<&T>) {
    if known.as_ref() < other {
        *known = other.cloned();
    }
}

/// A hash stands for its bytes, so two records of it differ only in what one of them left out.
fn add(known: &mut BTreeMap<Digest, SignedExtrinsic>, signed: &SignedExtrinsic) {
    match known.get_mut(&signed.hash) {
        Some(other) if rank(other) >= rank(signed) => {}
        Some(other) => other.clone_from(signed),
        None => drop(known.insert(signed.hash, signed.clone())),
    }
}

type Rank<'a> = (
    &'a [u8],
    &'a [(Uid, u16)],
    u32,
    BlockNumber,
    BlockNumber,
    u32,
    (u8, Option<Digest>, u64, u64),
);

/// Orders records of one signature: the one with bytes and vector is the greater one.
fn rank(signed: &SignedExtrinsic) -> (Rank<'_>, &[u16]) {
    let (form, salt) = match &signed.carries {
        Carries::Plain => ((0, None, 0, 0), [].as_slice()),
        Carries::Reveal => ((1, None, 0, 0), [].as_slice()),
        Carries::Timelocked { commit, reveal_round, reveal_epoch } => {
            ((2, Some(*commit), *reveal_round, reveal_epoch.0), [].as_slice())
        }
        Carries::Hashed { commit, salt } => ((3, Some(*commit), 0, 0), salt.as_slice()),
    };
    let SignedExtrinsic { bytes, vector, nonce, anchor, era_end, spec_version, .. } = signed;
    ((bytes, vector, *nonce, *anchor, *era_end, *spec_version, form), salt)
}

fn ordered(signed: &BTreeMap<Digest, SignedExtrinsic>) -> Vec<&SignedExtrinsic> {
    let mut signed: Vec<_> = signed.values().collect();
    signed.sort_by_key(|signed| (signed.anchor, signed.nonce, signed.era_end, signed.hash));
    signed
}

#[cfg(test)]
pub(crate) mod tests;

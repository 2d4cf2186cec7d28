//! Making the journal smaller: vectors and bytes of old epochs that are over go, everything that
//! keeps a second signature from being made stays.
//!
//! Every line stays, in its place: which epoch, which hashes, nonces, eras, forms, landings. What
//! goes is what only serves to send bytes again, or to compare a row, and neither is done for what
//! is over. Merging takes the greater record of a signature, so a full copy brings them back.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use node_core::id::{Hotkey, Netuid};
use node_core::rows::{JournalEntry, JournalStep, SignedExtrinsic};

use crate::history::EpochKey;
use crate::journal::{encode_line, JOURNAL_FILE};
use crate::sync::{private_file, sync_dir};

/// Its name while it is written.
const FRESH_FILE: &str = "signed.journal.new";

/// When the journal is made smaller, and what stays whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compaction {
    /// Bytes from which on a start tries. Lower: it is written anew at many starts. Higher: each
    /// start reads more.
    pub(crate) from_bytes: u64,
    /// Epochs of each mechanism, the newest, that stay whole: more than a node keeps rows of, so
    /// that rows which are lost can be made anew.
    pub(crate) whole_epochs: usize,
}

impl Default for Compaction {
    fn default() -> Self {
        Self { from_bytes: 128 << 20, whole_epochs: 512 }
    }
}

/// What a start did to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes before.
    pub from_bytes: u64,
    /// Bytes now.
    pub to_bytes: u64,
}

/// A smaller journal under another name, whole and synced.
#[derive(Debug)]
pub(crate) struct Fresh {
    path: PathBuf,
    pub(crate) bytes: u64,
}

impl Fresh {
    /// Puts it in the place of the journal. Whoever knows how long that was must have been told
    /// first that it may be shorter.
    pub(crate) fn take_its_place(self, dir: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, dir.join(JOURNAL_FILE))?;
        sync_dir(dir)
    }
}

/// Writes the smaller journal beside the one there is, if there is much to gain: half of `bytes`.
/// The entries are then those of the smaller one.
pub(crate) fn write_smaller(
    dir: &Path,
    entries: &mut [JournalEntry],
    bytes: u64,
    how: Compaction,
) -> io::Result<Option<Fresh>> {
    let path = dir.join(FRESH_FILE);
    remove(&path)?;
    if bytes < how.from_bytes {
        return Ok(None);
    }
    let over = over(entries, how.whole_epochs);
    for entry in entries.iter_mut().filter(|entry| over.contains(&place(entry))) {
        strip(&mut entry.step);
    }
    let file = private_file().create(true).truncate(true).open(&path)?;
    let mut file = BufWriter::new(file);
    let mut written = 0;
    for entry in entries.iter() {
        let line = encode_line(entry)?;
        file.write_all(line.as_bytes())?;
        written += line.len() as u64;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    if written > bytes / 2 {
        remove(&path)?;
        return Ok(None);
    }
    Ok(Some(Fresh { path, bytes: written }))
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

type Mechanism = (Hotkey, Netuid, u8);
type Place = (Mechanism, EpochKey);

fn place(entry: &JournalEntry) -> Place {
    ((entry.hotkey, entry.netuid, entry.mechanism), EpochKey::of_entry(entry))
}

/// What is known of an epoch's end, as merging sees it and as a node that reads line by line does.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    has_ended: bool,
    is_abandoned: bool,
    is_committed: bool,
    is_over_in_order: bool,
}

impl Fate {
    fn learn(&mut self, step: &JournalStep) {
        match step {
            JournalStep::Landed { .. }
            | JournalStep::Revealed { .. }
            | JournalStep::Lost { .. } => {
                (self.has_ended, self.is_over_in_order) = (true, true);
            }
            JournalStep::Abandoned { .. } => {
                (self.is_abandoned, self.is_over_in_order) = (true, true);
            }
            JournalStep::Committed { .. } => {
                (self.is_committed, self.is_over_in_order) = (true, false);
            }
            JournalStep::Intended { .. }
            | JournalStep::Signed { .. }
            | JournalStep::RevealSigned { .. }
            | JournalStep::Adopted { .. }
            | JournalStep::Restored { .. }
            | JournalStep::Settled { .. } => {}
        }
    }

    fn is_over(self) -> bool {
        let is_over_merged = self.has_ended || (self.is_abandoned && !self.is_committed);
        is_over_merged && self.is_over_in_order
    }
}

/// Epochs of which nothing more can become, but for the newest ones of each mechanism.
fn over(entries: &[JournalEntry], whole_epochs: usize) -> BTreeSet<Place> {
    let mut fates: BTreeMap<Mechanism, BTreeMap<EpochKey, Fate>> = BTreeMap::new();
    for entry in entries {
        let (mechanism, epoch) = place(entry);
        fates.entry(mechanism).or_default().entry(epoch).or_default().learn(&entry.step);
    }
    let mut over = BTreeSet::new();
    for (mechanism, epochs) in fates {
        let old = epochs.into_iter().rev().skip(whole_epochs);
        over.extend(old.filter(|(_, fate)| fate.is_over()).map(|(epoch, _)| (mechanism, epoch)));
    }
    over
}

fn strip(step: &mut JournalStep) {
    match step {
        JournalStep::Intended { vector, .. } => *vector = Vec::new(),
        JournalStep::Signed { signed } | JournalStep::RevealSigned { signed } => {
            let SignedExtrinsic { bytes, vector, .. } = signed;
            (*bytes, *vector) = (Vec::new(), Vec::new());
        }
        JournalStep::Landed { .. }
        | JournalStep::Committed { .. }
        | JournalStep::Revealed { .. }
        | JournalStep::Lost { .. }
        | JournalStep::Abandoned { .. }
        | JournalStep::Adopted { .. }
        | JournalStep::Restored { .. }
        | JournalStep::Settled { .. } => {}
    }
}

#[cfg(test)]
mod tests;

//! What the listener tells of the running node's store: whose it is, a copy of it, how it looks.
//!
//! Beside the loop: the store lets commits through while it is read. Not here: how it does that
//! (`node-store`), and what becomes of a copy (`cli/backup`).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use node_core::policy::Policy;
use node_store::{unfinished, BackupHead, Copied, Owner, ReadError, Store, VerifyReport};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, OwnedSemaphorePermit, Semaphore};

use crate::freezer::FreezerDoor;
use crate::run::identity::{self, Identity, IdentityError};
use crate::run::{describe, unix_now};

/// Bytes that are handed over at once. Lower: more steps between threads. Higher: more memory for
/// whoever does not take them.
const PIECE_BYTES: usize = 128 << 10;

/// Pieces that wait for whoever takes the copy.
pub(super) const PIECES_WAITING_MAX: usize = 8;

/// How long a piece waits to be taken. Lower: a slow disk ends a copy. Higher: whoever stopped
/// taking keeps the store setting rows aside for that long.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);

/// What a look through a store found, as others may rely on it; the answer of `POST /store/verify`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreSummary {
    /// Readable rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Readable records of what was put away.
    #[serde(default)]
    pub frozen: u64,
    /// Lines of the journal, all of them whole.
    pub journal: u64,
    /// Rows were lost, or come from a copy, and peers have not told them again yet.
    pub lacks_rows: bool,
    /// Rows and records that cannot be read.
    pub damaged_count: u64,
    /// The first of them, and why not.
    pub damaged: Vec<String>,
}

impl From<&VerifyReport> for StoreSummary {
    fn from(report: &VerifyReport) -> Self {
        let rows = report.records.iter().map(|(table, count)| (table.name().to_owned(), *count));
        let rows_damaged = report.damaged.iter().map(|record| describe(record));
        let frozen_damaged = report.damaged_frozen.iter().map(|fault| describe(fault));
        Self {
            rows: rows.collect(),
            frozen: report.frozen,
            journal: u64::try_from(report.journal_entries).unwrap_or(u64::MAX),
            lacks_rows: report.lacks_rows,
            damaged_count: report.damaged_count,
            damaged: rows_damaged.chain(frozen_damaged).collect(),
        }
    }
}

/// Looks through all of the store at a time. Higher: whoever holds the token takes as many threads
/// and as much of the disk as he likes, and commits wait behind that.
const LOOKS_MAX: usize = 1;

/// The running node's store.
#[derive(Clone, Debug)]
pub(super) struct StoreDoor {
    store: Arc<Store>,
    data_dir: PathBuf,
    policy: Arc<Policy>,
    looks: Arc<Semaphore>,
}

impl StoreDoor {
    pub(super) fn new(store: Arc<Store>, data_dir: PathBuf, policy: Arc<Policy>) -> Self {
        Self { store, data_dir, policy, looks: Arc::new(Semaphore::new(LOOKS_MAX)) }
    }

    /// To what was put away.
    pub(super) fn freezer(&self) -> FreezerDoor {
        FreezerDoor::new(Arc::clone(&self.store), Arc::clone(&self.policy))
    }

    /// Claims a look through the store for as long as the permit lives; `None` while another one is
    /// under way.
    pub(super) fn claim_look(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.looks).try_acquire_owned().ok()
    }

    /// Whose store it is, and the present; `None` while the node has not claimed it yet.
    pub(super) fn head(&self) -> Result<Option<BackupHead>, IdentityError> {
        let known = identity::read(&self.data_dir)?;
        Ok(known.map(|Identity { hotkey, netuid, genesis }| BackupHead {
            owner: Owner { genesis, netuid, hotkey },
            made_at: unix_now(),
        }))
    }

    /// Copies the store into a pipe; the last thing in it says what went wrong, if anything did.
    /// Blocks until the other end has taken all of it.
    pub(super) fn copy(&self, head: &BackupHead, mut pipe: Pipe) {
        match self.store.export(head, &mut pipe) {
            Ok(Copied { rows, frozen, journal, bytes }) => {
                tracing::info!(
                    rows,
                    frozen,
                    journal,
                    bytes,
                    "the store was copied for the operator"
                );
            }
            Err(error) => {
                let reason = describe(&error);
                tracing::warn!(reason, "the store was not copied");
                let last = pipe.write_all(&unfinished(&reason)).and_then(|()| pipe.flush());
                // Nobody is there any more who could be told.
                drop(last);
            }
        }
    }

    /// Reads all of it, and gives the claim back. Blocks for as long as that takes.
    pub(super) fn look_through(
        &self,
        claim: OwnedSemaphorePermit,
    ) -> Result<StoreSummary, ReadError> {
        let looked = self.store.verify().map(|report| StoreSummary::from(&report));
        drop(claim);
        looked
    }
}

/// From a thread that blocks to whoever takes what it writes.
pub(super) struct Pipe {
    waiting: Vec<u8>,
    pieces: mpsc::Sender<Bytes>,
    runtime: Handle,
}

impl Pipe {
    /// A pipe, to be made inside a runtime.
    pub(super) fn new(pieces: mpsc::Sender<Bytes>) -> Self {
        Self { waiting: Vec::with_capacity(PIECE_BYTES), pieces, runtime: Handle::current() }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE_BYTES));
        let handing_over = self.pieces.send(Bytes::from(piece));
        let handed =
            self.runtime.block_on(async { tokio::time::timeout(TAKEN_WITHIN, handing_over).await });
        match handed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_taken_in_pieces_and_in_order() {
        let (pieces, mut taken) = mpsc::channel(1);
        let mut pipe = Pipe::new(pieces);
        let writing = tokio::task::spawn_blocking(move || {
            for number in 0..=u8::MAX {
                pipe.write_all(&vec![number; 1 << 10]).unwrap();
            }
            pipe.flush().unwrap();
        });
        let mut all = Vec::new();
        while let Some(piece) = taken.recv().await {
            assert!(piece.len() < 2 * PIECE_BYTES);
            all.extend_from_slice(&piece);
        }
        writing.await.unwrap();
        let expected: Vec<u8> = (0..=u8::MAX).flat_map(|number| vec![number; 1 << 10]).collect();
        assert!(all == expected);
    }

    #[tokio::test]
    async fn who_writes_learns_that_nobody_takes_it_any_more() {
        let (pieces, taken) = mpsc::channel(1);
        drop(taken);
        let mut pipe = Pipe::new(pieces);
        let written = tokio::task::spawn_blocking(move || pipe.write_all(&[7; PIECE_BYTES])).await;
        assert_eq!(written.unwrap().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}

//! The blocks on disk: a genesis description and one record per block, append only.
//!
//! ```text
//! magic (8) | { length u32 LE | crc32 u32 LE | payload }*
//! payload 0: the genesis description as JSON; payload n: SCALE of JournalRecord
//! ```
//!
//! A record is written before its block is visible, so a `kill -9` loses at most a block nobody
//! has seen. A record cut off at the end of the file is dropped at the next start; damage anywhere
//! else is an error. The file is synced when the chain stops in order, not per block: this is a
//! development chain, and a power cut may cost its last blocks.

use crate::{chain::SealedBlock, genesis::GenesisSpec};
use codec::{Decode, Encode};
use fs4::{FileExt, TryLockError};
use node_subtensor_runtime::Hash;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Name of the file in the state directory.
pub const FILE_NAME: &str = "blocks.journal";
const MAGIC: &[u8; 8] = b"localnt2";
const FRAME_BYTES: usize = 8;

/// One block as it is written down.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
pub struct JournalRecord {
    /// Height.
    pub number: u32,
    /// The block below it.
    pub parent: Hash,
    /// The hash it must execute to.
    pub hash: Hash,
    /// Height up to which blocks were final with it.
    pub finalized: u32,
    /// Its extrinsics.
    pub body: Vec<Vec<u8>>,
}

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Files cannot be read or written.
    #[error("cannot use `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process uses it.
    #[error("another localnet uses `{}`", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Not a journal.
    #[error("`{}` is not a journal of this program", path.display())]
    NotAJournal {
        /// The file.
        path: PathBuf,
    },
    /// A record in the middle is damaged.
    #[error("`{}` is damaged at byte {offset}; remove the directory to start anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the record starts.
        offset: u64,
    },
    /// It belongs to a chain that started otherwise.
    #[error("`{}` holds a chain with another genesis ({field} differs); use the same options or another directory", path.display())]
    OtherGenesis {
        /// The file.
        path: PathBuf,
        /// The first field that differs.
        field: String,
    },
}

/// An open journal, locked against other processes.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    genesis: GenesisSpec,
    records_at: u64,
}

impl Journal {
    /// Opens the journal of a state directory, or starts one with this genesis.
    ///
    /// The block time of an existing chain is kept whatever `genesis` says; everything else must
    /// be the same.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub fn open(dir: &Path, genesis: &GenesisSpec) -> Result<Self, JournalError> {
        let path = dir.join(FILE_NAME);
        let failed = |source| JournalError::Io { path: path.clone(), source };
        fs::create_dir_all(dir).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(failed)?;
        match FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(JournalError::Io { path, source }),
        }
        let fresh = read_genesis(&mut file, &path)?.is_none();
        if fresh {
            write_genesis(&mut file, genesis).map_err(failed)?;
        }
        let (stored, records_at) = read_genesis(&mut file, &path)?
            .ok_or_else(|| JournalError::NotAJournal { path: path.clone() })?;
        if let Some(field) = first_difference(&stored, genesis) {
            return Err(JournalError::OtherGenesis { path, field });
        }
        Ok(Self { path, file, genesis: stored, records_at })
    }

    /// The genesis of the chain in it.
    pub fn genesis(&self) -> &GenesisSpec {
        &self.genesis
    }

    /// All blocks; afterwards the journal stands at its end, ready for the next.
    ///
    /// # Errors
    ///
    /// [`JournalError::Damaged`] for anything but a record cut off at the end.
    pub fn read_blocks(&mut self) -> Result<Vec<JournalRecord>, JournalError> {
        let io = |source| JournalError::Io { path: self.path.clone(), source };
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.records_at)).map_err(io)?;
        self.file.read_to_end(&mut bytes).map_err(io)?;
        let mut records = Vec::new();
        let mut rest = &bytes[..];
        loop {
            let offset = self.records_at + position(&bytes, rest);
            match next_frame(rest) {
                Frame::Whole { payload, after } => {
                    let record = JournalRecord::decode(&mut &payload[..])
                        .map_err(|_| JournalError::Damaged { path: self.path.clone(), offset })?;
                    records.push(record);
                    rest = after;
                }
                Frame::CutOff => {
                    self.cut(offset)
                        .map_err(|source| JournalError::Io { path: self.path.clone(), source })?;
                    return Ok(records);
                }
                Frame::Damaged => {
                    return Err(JournalError::Damaged { path: self.path.clone(), offset });
                }
            }
        }
    }

    /// Writes a block down, and how far blocks are final with it.
    ///
    /// # Errors
    ///
    /// [`JournalError::Io`]; what was written of the record is taken back, and should that fail
    /// too, the next start drops it.
    pub fn append(&mut self, block: &SealedBlock, finalized: u32) -> Result<(), JournalError> {
        let record = JournalRecord {
            number: block.number(),
            parent: block.header.parent_hash,
            hash: block.hash,
            finalized,
            body: block.body.iter().map(|bytes| bytes.to_vec()).collect(),
        };
        let failed = |source| JournalError::Io { path: self.path.clone(), source };
        let start = self.file.stream_position().map_err(failed)?;
        self.file.write_all(&frame(&record.encode())).map_err(|source| {
            let failure = JournalError::Io { path: self.path.clone(), source };
            if let Err(error) = self.cut(start) {
                tracing::error!(%error, "a part of a block stays in the journal");
            }
            failure
        })
    }

    fn cut(&mut self, at: u64) -> io::Result<()> {
        self.file.set_len(at)?;
        self.file.seek(SeekFrom::Start(at)).map(|_| ())
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if let Err(error) = self.file.sync_data() {
            tracing::warn!(path = %self.path.display(), %error, "journal not synced");
        }
        // Closing is not enough: a child process that another thread is just starting shares the
        // lock until it executes its program.
        if let Err(error) = FileExt::unlock(&self.file) {
            tracing::warn!(path = %self.path.display(), %error, "journal not unlocked");
        }
    }
}

enum Frame<'b> {
    Whole { payload: &'b [u8], after: &'b [u8] },
    CutOff,
    Damaged,
}

fn next_frame(bytes: &[u8]) -> Frame<'_> {
    let Some((head, rest)) = bytes.split_at_checked(FRAME_BYTES) else { return Frame::CutOff };
    let word = |at: usize| {
        let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes)
    };
    let length = usize::try_from(word(0)).unwrap_or(usize::MAX);
    match rest.split_at_checked(length) {
        None => Frame::CutOff,
        Some((payload, after)) if crc32fast::hash(payload) == word(4) => {
            Frame::Whole { payload, after }
        }
        // A torn write at the very end may have the length of the file but not its content.
        Some((_, [])) => Frame::CutOff,
        Some(_) => Frame::Damaged,
    }
}

fn frame(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a block is far below 4 GiB");
    let crc = crc32fast::hash(payload);
    [&length.to_le_bytes()[..], &crc.to_le_bytes()[..], payload].concat()
}

fn position(all: &[u8], rest: &[u8]) -> u64 {
    u64::try_from(all.len() - rest.len()).unwrap_or(u64::MAX)
}

fn write_genesis(file: &mut File, genesis: &GenesisSpec) -> io::Result<()> {
    let json = serde_json::to_vec(genesis)?;
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&[&MAGIC[..], &frame(&json)].concat())?;
    file.sync_data()
}

/// The genesis and where the blocks start; `None` for a file in which it was never completed.
fn read_genesis(file: &mut File, path: &Path) -> Result<Option<(GenesisSpec, u64)>, JournalError> {
    let failed = |source| JournalError::Io { path: path.to_path_buf(), source };
    let other = || JournalError::NotAJournal { path: path.to_path_buf() };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.read_to_end(&mut bytes).map_err(failed)?;
    let Some((magic, rest)) = bytes.split_at_checked(MAGIC.len()) else {
        return if MAGIC.starts_with(&bytes) { Ok(None) } else { Err(other()) };
    };
    if magic != MAGIC {
        return Err(other());
    }
    match next_frame(rest) {
        Frame::Whole { payload, after } => {
            let genesis = serde_json::from_slice(payload).map_err(|_| other())?;
            Ok(Some((genesis, position(&bytes, after))))
        }
        Frame::CutOff => Ok(None),
        Frame::Damaged => Err(other()),
    }
}

fn first_difference(stored: &GenesisSpec, wanted: &GenesisSpec) -> Option<String> {
    let wanted = GenesisSpec { slot_ms: stored.slot_ms, ..wanted.clone() };
    if *stored == wanted {
        return None;
    }
    let fields = |spec: &GenesisSpec| {
        serde_json::to_value(spec).ok().and_then(|json| json.as_object().cloned())
    };
    let (stored, wanted) = (fields(stored)?, fields(&wanted)?);
    stored.into_iter().find(|(field, value)| wanted.get(field) != Some(value)).map(|(f, _)| f)
}

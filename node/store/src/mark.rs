//! How far the store had come, kept outside of it.
//!
//! sled cannot tell a damaged record at the end of its log from a write that never finished: it
//! drops both and everything after. The mark holds the number of the last commit that was
//! acknowledged and is written after it, so a state that is behind its mark has lost something.
//! The mark is not synced: after a power cut it may be older than the state, never newer. It is
//! synced once, when the first line of the journal was written: then it says, even if the state is
//! lost together with the journal, that something was signed here.
//!
//! ```text
//! [commits: u64] [journal bytes: u64] [crc32 of both: u32], little endian
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::sync::private_file;

const MARK_FILE: &str = "commit.mark";
const BODY_BYTES: usize = 16;
const MARK_BYTES: usize = BODY_BYTES + 4;

/// How far a store has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Tip {
    /// Commits since the store was made.
    pub(crate) commits: u64,
    /// Length of the journal after the last one.
    pub(crate) journal_bytes: u64,
    /// Rows were lost, and nobody said yet that they were told again. The state alone keeps it.
    #[serde(default)]
    pub(crate) lacks_rows: bool,
    /// The journal was put back from a copy that has not settled. It says so itself: this is for
    /// the case that it gets lost. The state alone keeps it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_of_a_copy: bool,
}

/// The open mark.
#[derive(Debug)]
pub(crate) struct Mark {
    file: File,
}

impl Mark {
    /// Opens the mark of a data directory, and what it says. A missing or unreadable mark says
    /// nothing.
    pub(crate) fn open(dir: &Path) -> io::Result<(Self, Tip)> {
        let path = dir.join(MARK_FILE);
        let mut file = private_file().create(true).truncate(false).open(path)?;
        let mut bytes = Vec::with_capacity(MARK_BYTES);
        (&mut file).take(MARK_BYTES as u64).read_to_end(&mut bytes)?;
        Ok((Self { file }, parse(&bytes).unwrap_or_default()))
    }

    /// Moves the mark.
    pub(crate) fn set(&self, tip: Tip) -> io::Result<()> {
        let body = [tip.commits.to_le_bytes(), tip.journal_bytes.to_le_bytes()].concat();
        let checksum = crc32fast::hash(&body).to_le_bytes();
        self.file.write_all_at(&[body.as_slice(), &checksum].concat(), 0)
    }

    /// Makes what it says survive a power cut.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

/// What the mark of a data directory says, without making one.
pub(crate) fn peek(dir: &Path) -> io::Result<Tip> {
    let mut bytes = Vec::with_capacity(MARK_BYTES);
    match File::open(dir.join(MARK_FILE)) {
        Ok(file) => file.take(MARK_BYTES as u64).read_to_end(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Tip::default()),
        Err(error) => return Err(error),
    };
    Ok(parse(&bytes).unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Option<Tip> {
    let (body, checksum) = bytes.split_at_checked(BODY_BYTES)?;
    if crc32fast::hash(body).to_le_bytes() != checksum {
        return None;
    }
    let (commits, journal_bytes) = body.split_at_checked(8)?;
    Some(Tip {
        commits: u64::from_le_bytes(commits.try_into().ok()?),
        journal_bytes: u64::from_le_bytes(journal_bytes.try_into().ok()?),
        ..Tip::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_back_and_a_damaged_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let tip = Tip { commits: 7, journal_bytes: 1 << 40, ..Tip::default() };
        Mark::open(dir.path()).unwrap().0.set(tip).unwrap();
        assert_eq!(Mark::open(dir.path()).unwrap().1, tip);
        assert_eq!(peek(dir.path()).unwrap(), tip);
        let path = dir.path().join(MARK_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[3] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(Mark::open(dir.path()).unwrap().1, Tip::default());
    }
}

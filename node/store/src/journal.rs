//! `signed.journal`: what was signed, one JSON line per step, synced before anything leaves.
//!
//! ```text
//! {"entry":{...},"crc32":"0123abcd"}
//! ```
//!
//! The checksum covers the bytes of the entry as they stand in the line. The file only grows. A
//! last line that was never finished is cut off and reported; anything else that does not check
//! out stops the node, because a signature may be missing from what it knows. After a power cut,
//! lines of one unacknowledged commit can survive behind a hole; they are kept, which at worst
//! makes the node stricter.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use node_core::rows::JournalEntry;

use crate::sync::{private_file, rewrite_in_place, sync_dir};

const JOURNAL_FILE: &str = "signed.journal";
const LINE_START: &str = r#"{"entry":"#;
const LINE_MIDDLE: &str = r#","crc32":""#;
const LINE_END: &str = r#""}"#;

/// Bytes of the whole file. Lower: a validator of many subnets fills it within years. Higher:
/// reading it at start takes longer than the node may take to get ready.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// Why the journal cannot be used. Nothing may be signed then.
#[derive(Debug, thiserror::Error)]
pub enum JournalFault {
    /// It cannot be opened, read or made.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is gone although this node has written to it.
    #[error(
        "{} is missing, and this node has written {expected_bytes} bytes of it; put the newest \
         copy of the file back, or wait until the chain has passed every epoch it may have \
         signed for and start with a new data directory",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Bytes that this node is known to have written.
        expected_bytes: u64,
    },
    /// It is shorter than what this node has written.
    #[error(
        "{} has {got_bytes} bytes, and this node has written {expected_bytes}; put the newest \
         copy of the file back",
        path.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes that this node is known to have written.
        expected_bytes: u64,
        /// Bytes there are.
        got_bytes: u64,
    },
    /// A line that was complete once is not any more.
    #[error(
        "{} is damaged in line {line}; put an undamaged copy of the file back",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
    },
    /// It is too large to be read at start.
    #[error("{} has {got_bytes} bytes, more than {JOURNAL_BYTES_MAX}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Bytes there are.
        got_bytes: u64,
    },
}

/// An unfinished last line that was cut off. Nothing in it was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The line, counted from one.
    pub line: usize,
    /// Bytes cut off.
    pub bytes: u64,
}

/// What a journal holds.
#[derive(Debug)]
pub(crate) struct JournalContent {
    pub(crate) entries: Vec<JournalEntry>,
    pub(crate) torn_tail: Option<TornTail>,
    /// Length of what is valid from the start on.
    len: u64,
    /// What has to stand behind it instead of what is there.
    rewritten: Vec<u8>,
}

/// What is known from elsewhere about the journal's length.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Acknowledged {
    /// Bytes that this node has certainly written and synced.
    pub(crate) bytes: u64,
    /// Whether nothing beyond was ever acknowledged. Whole lines there are kept all the same.
    pub(crate) is_exact: bool,
}

/// The open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Journal {
    /// Opens the journal of a data directory, cuts off a torn tail and reads the rest.
    ///
    /// Makes the file, and its name durable, where nothing was written yet.
    ///
    /// # Errors
    ///
    /// Every [`JournalFault`]; the file is not changed then.
    pub(crate) fn open(
        dir: &Path,
        acknowledged: Acknowledged,
    ) -> Result<(Self, JournalContent), JournalFault> {
        let path = dir.join(JOURNAL_FILE);
        let bytes = read_bounded(&path)?;
        if bytes.is_none() && acknowledged.bytes > 0 {
            return Err(JournalFault::Missing { path, expected_bytes: acknowledged.bytes });
        }
        let content = parse(&path, bytes.as_deref().unwrap_or_default(), acknowledged)?;
        let failed = |source| JournalFault::Io { path: path.clone(), source };
        let file = private_file().create(true).truncate(false).open(&path).map_err(failed)?;
        let mut journal = Self { path: path.clone(), file, len: content.len };
        journal.repair(&content).map_err(failed)?;
        sync_dir(dir).map_err(failed)?;
        Ok((journal, content))
    }

    fn repair(&mut self, content: &JournalContent) -> io::Result<()> {
        self.file.set_len(self.len)?;
        self.write_at_end(&content.rewritten)?;
        self.file.sync_all()
    }

    /// Length of what is valid and synced.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends whole lines and syncs them. Nothing is written for no bytes.
    ///
    /// # Errors
    ///
    /// Those of the file system. The lines may be there in part; [`Journal::reopen`] removes them.
    pub(crate) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let before = self.len;
        let result = self.write_at_end(lines).and_then(|()| self.file.sync_data());
        if result.is_err() {
            self.len = before;
        }
        result
    }

    fn write_at_end(&mut self, bytes: &[u8]) -> io::Result<()> {
        use std::io::Seek;
        self.file.seek(io::SeekFrom::Start(self.len))?;
        self.file.write_all(bytes)?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// After a failed append: takes the file back to what was acknowledged and syncs that anew.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = private_file().open(&self.path)?;
        self.file.set_len(self.len)?;
        rewrite_in_place(&self.path)
    }

    /// Reads the file from the start and checks every line.
    pub(crate) fn entries(&self) -> Result<Vec<JournalEntry>, JournalFault> {
        let bytes = read_bounded(&self.path)?.unwrap_or_default();
        let acknowledged = Acknowledged { bytes: self.len, is_exact: false };
        Ok(parse(&self.path, &bytes, acknowledged)?.entries)
    }
}

/// The line of an entry, with its line break.
pub(crate) fn encode_line(entry: &JournalEntry) -> Result<String, serde_json::Error> {
    let entry = serde_json::to_string(entry)?;
    let checksum = crc32fast::hash(entry.as_bytes());
    Ok(format!("{LINE_START}{entry}{LINE_MIDDLE}{checksum:08x}{LINE_END}\n"))
}

/// The entry of a line, if the line is whole; its line break may be missing.
fn decode_line(line: &[u8]) -> Option<JournalEntry> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)).ok()?;
    let (entry, checksum) =
        line.strip_prefix(LINE_START)?.strip_suffix(LINE_END)?.rsplit_once(LINE_MIDDLE)?;
    let is_whole = checksum == format!("{:08x}", crc32fast::hash(entry.as_bytes()));
    if is_whole {
        serde_json::from_str(entry).ok()
    } else {
        None
    }
}

fn read_bounded(path: &Path) -> Result<Option<Vec<u8>>, JournalFault> {
    let failed = |source| JournalFault::Io { path: path.to_owned(), source };
    let got_bytes = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if got_bytes > JOURNAL_BYTES_MAX {
        return Err(JournalFault::TooLarge { path: path.to_owned(), got_bytes });
    }
    std::fs::read(path).map(Some).map_err(failed)
}

fn parse(
    path: &Path,
    bytes: &[u8],
    acknowledged: Acknowledged,
) -> Result<JournalContent, JournalFault> {
    let mut entries = Vec::new();
    let mut len = 0;
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    while let Some(line) = lines.next() {
        let Some(entry) = decode_line(line) else {
            let mut later = Vec::new();
            let mut rewritten = Vec::new();
            for (line, entry) in lines.filter_map(|line| Some((line, decode_line(line)?))) {
                later.push(entry);
                rewritten.extend_from_slice(line.trim_ascii_end());
                rewritten.push(b'\n');
            }
            // A line is unfinished if it has no end, or holes where nothing was written yet.
            let is_unfinished = !line.ends_with(b"\n") || line.contains(&0);
            let is_torn = is_unfinished
                && len >= acknowledged.bytes
                && (later.is_empty() || acknowledged.is_exact);
            let line = entries.len() + 1;
            if !is_torn {
                return Err(JournalFault::Damaged { path: path.to_owned(), line });
            }
            let bytes = (bytes.len() as u64 - len).saturating_sub(rewritten.len() as u64);
            entries.append(&mut later);
            let torn_tail = Some(TornTail { line, bytes });
            return Ok(JournalContent { entries, torn_tail, len, rewritten });
        };
        entries.push(entry);
        len += line.len() as u64;
    }
    if len < acknowledged.bytes {
        let (path, expected_bytes) = (path.to_owned(), acknowledged.bytes);
        return Err(JournalFault::Short { path, expected_bytes, got_bytes: len });
    }
    let is_unterminated = bytes.last().is_some_and(|last| *last != b'\n');
    let rewritten = if is_unterminated { b"\n".to_vec() } else { Vec::new() };
    Ok(JournalContent { entries, torn_tail: None, len, rewritten })
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_core::id::{Hotkey, IntentId, Netuid};
    use node_core::rows::JournalStep;
    use node_core::unit::{BlockNumber, EpochIndex};
    use proptest::prelude::*;

    fn entry(epoch: u64) -> JournalEntry {
        JournalEntry {
            hotkey: Hotkey([1; 32]),
            intent: IntentId([2; 32]),
            netuid: Netuid(3),
            mechanism: 0,
            epoch: EpochIndex(epoch),
            step: JournalStep::Landed { block: BlockNumber(4) },
        }
    }

    fn lines(epochs: std::ops::Range<u64>) -> String {
        epochs.map(|epoch| encode_line(&entry(epoch)).unwrap()).collect()
    }

    fn at_least(bytes: u64) -> Acknowledged {
        Acknowledged { bytes, is_exact: false }
    }

    fn journal_with(bytes: impl AsRef<[u8]>) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(JOURNAL_FILE), bytes).unwrap();
        dir
    }

    #[test]
    fn a_line_is_json_with_fields_in_this_order() {
        let line = encode_line(&entry(5)).unwrap();
        let entry = format!(
            r#"{{"hotkey":"{}","intent":"{}","netuid":3,"mechanism":0,"epoch":5,"step":{{"step":"landed","block":4}}}}"#,
            Hotkey([1; 32]),
            "02".repeat(32),
        );
        let crc = crc32fast::hash(entry.as_bytes());
        assert_eq!(line, format!("{{\"entry\":{entry},\"crc32\":\"{crc:08x}\"}}\n"));
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }

    #[test]
    fn entries_come_back_in_the_order_in_which_they_were_appended() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, content) = Journal::open(dir.path(), at_least(0)).unwrap();
        assert!(content.entries.is_empty());
        journal.append(lines(0..2).as_bytes()).unwrap();
        journal.append(lines(2..3).as_bytes()).unwrap();
        let len = journal.len();
        drop(journal);
        let (_, content) = Journal::open(dir.path(), at_least(len)).unwrap();
        assert_eq!(content.entries, [entry(0), entry(1), entry(2)]);
        assert_eq!(content.torn_tail, None);
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_reported_wherever_it_tore() {
        let whole = lines(0..2);
        let torn = encode_line(&entry(2)).unwrap();
        for cut in 1..torn.len() - 1 {
            let dir = journal_with([&whole, &torn[..cut]].concat());
            let (journal, content) =
                Journal::open(dir.path(), at_least(whole.len() as u64)).unwrap();
            assert_eq!(content.entries, [entry(0), entry(1)]);
            assert_eq!(content.torn_tail, Some(TornTail { line: 3, bytes: cut as u64 }));
            assert_eq!(journal.len(), whole.len() as u64);
            drop(journal);
            let (_, again) = Journal::open(dir.path(), at_least(whole.len() as u64)).unwrap();
            assert_eq!(again.torn_tail, None, "the tail was cut off for good");
        }
    }

    #[test]
    fn a_whole_last_line_without_its_break_is_kept_and_can_be_followed() {
        let all = lines(0..2);
        let dir = journal_with(all.trim_end());
        let (mut journal, content) = Journal::open(dir.path(), at_least(0)).unwrap();
        assert_eq!(content.entries.len(), 2);
        assert_eq!(content.torn_tail, None);
        journal.append(lines(2..3).as_bytes()).unwrap();
        let (_, content) = Journal::open(dir.path(), at_least(journal.len())).unwrap();
        assert_eq!(content.entries, [entry(0), entry(1), entry(2)]);
    }

    #[test]
    fn a_hole_at_the_end_is_an_unfinished_line() {
        let whole = lines(0..1);
        let mut torn = encode_line(&entry(1)).unwrap().into_bytes();
        torn[..64].fill(0);
        let dir = journal_with([whole.as_bytes(), &torn].concat());
        let (_, content) = Journal::open(dir.path(), at_least(whole.len() as u64)).unwrap();
        assert_eq!(content.entries, [entry(0)]);
        assert_eq!(content.torn_tail.unwrap().line, 2);
    }

    #[test]
    fn whole_lines_behind_a_hole_are_kept_if_the_hole_was_never_acknowledged() {
        let mut bytes = lines(0..4).into_bytes();
        let line_bytes = bytes.len() / 4;
        bytes[line_bytes + 10..2 * line_bytes + 10].fill(0);
        let bytes_acknowledged = line_bytes as u64;
        let dir = journal_with(&bytes);
        let error = Journal::open(dir.path(), at_least(bytes_acknowledged)).unwrap_err();
        assert!(matches!(error, JournalFault::Damaged { line: 2, .. }), "nobody knows that");
        let exact = Acknowledged { bytes: bytes_acknowledged, is_exact: true };
        let (journal, content) = Journal::open(dir.path(), exact).unwrap();
        assert_eq!(content.entries, [entry(0), entry(3)]);
        let torn_tail = TornTail { line: 2, bytes: 2 * bytes_acknowledged };
        assert_eq!(content.torn_tail, Some(torn_tail));
        assert_eq!(journal.len(), 2 * bytes_acknowledged);
        assert_eq!(journal.entries().unwrap(), [entry(0), entry(3)]);
    }

    #[test]
    fn a_bad_line_before_a_good_one_is_refused_with_file_and_line() {
        let mut bytes = lines(0..3).into_bytes();
        let line_bytes = bytes.len() / 3;
        bytes[line_bytes + 40] ^= 1;
        let dir = journal_with(&bytes);
        let error = Journal::open(dir.path(), at_least(0)).unwrap_err();
        assert!(matches!(error, JournalFault::Damaged { line: 2, .. }));
        assert!(error.to_string().contains("signed.journal is damaged in line 2"));
        assert_eq!(std::fs::read(dir.path().join(JOURNAL_FILE)).unwrap(), bytes);
    }

    #[test]
    fn a_finished_last_line_with_a_flipped_bit_is_damage_not_a_torn_tail() {
        let mut bytes = lines(0..2).into_bytes();
        let last = bytes.len() - 40;
        bytes[last] ^= 1;
        let dir = journal_with(&bytes);
        let error = Journal::open(dir.path(), at_least(0)).unwrap_err();
        assert!(matches!(error, JournalFault::Damaged { line: 2, .. }));
    }

    #[test]
    fn a_torn_tail_in_what_was_acknowledged_is_damage() {
        let bytes = lines(0..2);
        let dir = journal_with(&bytes[..bytes.len() - 10]);
        let error = Journal::open(dir.path(), at_least(bytes.len() as u64)).unwrap_err();
        assert!(matches!(error, JournalFault::Damaged { line: 2, .. }));
    }

    #[test]
    fn a_journal_that_lost_whole_lines_is_refused() {
        let all = lines(0..3);
        let dir = journal_with(lines(0..2));
        let error = Journal::open(dir.path(), at_least(all.len() as u64)).unwrap_err();
        assert!(matches!(error, JournalFault::Short { .. }));
    }

    #[test]
    fn case_04_a_missing_journal_is_refused_once_something_was_written_and_not_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let error = Journal::open(dir.path(), at_least(10)).unwrap_err();
        assert!(matches!(error, JournalFault::Missing { expected_bytes: 10, .. }));
        assert!(error.to_string().contains("signed.journal is missing"));
        assert!(!dir.path().join(JOURNAL_FILE).exists());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            acknowledged_bytes in 0u64..400,
            is_exact: bool,
        ) {
            let acknowledged = Acknowledged { bytes: acknowledged_bytes, is_exact };
            if let Ok(content) = parse(Path::new("j"), &bytes, acknowledged) {
                prop_assert!(content.entries.is_empty());
            }
        }
    }
}

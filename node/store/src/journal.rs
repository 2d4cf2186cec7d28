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
//!
//! A whole line with a step that this build does not know stops the node too: a newer build may
//! have signed something that this one would sign again.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use node_core::rows::JournalEntry;

use crate::sync::{private_file, rewrite_in_place, sync_dir};

/// Its name in the data directory.
pub const JOURNAL_FILE: &str = "signed.journal";
const LINE_START: &str = r#"{"entry":"#;
const LINE_MIDDLE: &str = r#","crc32":""#;
const LINE_END: &str = r#""}"#;

/// Bytes of the whole file; a commit that would go beyond is refused. Lower: a node that is never
/// started anew, which makes it smaller, fills it within years. Higher: reading it at start takes
/// longer than the node may take to get ready.
pub const JOURNAL_BYTES_MAX: u64 = 1 << 30;

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
        "{} is missing, and this node has written {expected_bytes} bytes of it: what was signed \
         with this hotkey is not known here any more",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// Bytes that this node is known to have written.
        expected_bytes: u64,
    },
    /// It is gone, and the store beside it is not.
    #[error(
        "{} is missing, and the store beside it was in use: what was signed with this hotkey is \
         not known here any more",
        path.display()
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// It is shorter than what this node has written.
    #[error(
        "{} has {got_bytes} bytes, and this node has written {expected_bytes}: its last \
         signatures are missing",
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
    #[error("{} is damaged in line {line}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
    },
    /// A whole line that this build cannot read: another one wrote it.
    #[error(
        "{} was written by another build: line {line} has the step `{step}`, which this build \
         does not read",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The line, counted from one.
        line: usize,
        /// What the line calls its step.
        step: String,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
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

impl JournalFault {
    /// What the operator can safely do about it.
    #[must_use]
    pub fn next_step(&self) -> &'static str {
        match self {
            Self::Io { .. } => "make the file readable and writable for this user",
            Self::Missing { .. } | Self::Gone { .. } | Self::Short { .. } => {
                "stop every other instance of this hotkey first; then put the newest copy of the \
                 file back, or merge an export with `assay weights import FILE`; only if it is \
                 truly lost, wait until what was signed is dead and run `assay weights adopt`. \
                 Nothing is signed until then"
            }
            Self::Damaged { .. } => {
                "put an undamaged copy of the file back; or move it away and merge the newest \
                 export with `assay weights import FILE`"
            }
            Self::Foreign { .. } => "start the build that wrote it, or a newer one",
            Self::TooLarge { .. } => {
                "`assay weights export` writes a shorter history; import it into a new data \
                 directory"
            }
        }
    }
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

    #[cfg(test)]
    pub(crate) fn pretend_len(&mut self, len: u64) {
        self.len = len;
    }

    /// Length of what is valid and synced.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
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
    #[cfg(test)]
    pub(crate) fn entries(&self) -> Result<Vec<JournalEntry>, JournalFault> {
        let bytes = read_bounded(&self.path)?.unwrap_or_default();
        let acknowledged = Acknowledged { bytes: self.len, is_exact: false };
        Ok(parse(&self.path, &bytes, acknowledged)?.entries)
    }
}

/// Reads the first `bytes` of a journal that is open elsewhere and only grows, a line at a time.
/// Gives the number of lines.
pub(crate) fn for_each_entry<E>(
    path: &Path,
    bytes: u64,
    wrap: impl Fn(JournalFault) -> E,
    mut visit: impl FnMut(JournalEntry) -> Result<(), E>,
) -> Result<usize, E> {
    let failed = |source| wrap(JournalFault::Io { path: path.to_owned(), source });
    let mut reader = BufReader::new(File::open(path).map_err(failed)?.take(bytes));
    let (mut text, mut got_bytes, mut line) = (Vec::new(), 0, 0);
    loop {
        text.clear();
        let read = reader.read_until(b'\n', &mut text).map_err(failed)?;
        if read == 0 {
            break;
        }
        got_bytes += read as u64;
        line += 1;
        let path = || path.to_owned();
        let entry = decode_line(&text).map_err(|fault| match fault {
            LineFault::Torn => wrap(JournalFault::Damaged { path: path(), line }),
            LineFault::Foreign { step, source } => {
                wrap(JournalFault::Foreign { path: path(), line, step, source })
            }
        })?;
        visit(entry)?;
    }
    if got_bytes < bytes {
        let (path, expected_bytes) = (path.to_owned(), bytes);
        return Err(wrap(JournalFault::Short { path, expected_bytes, got_bytes }));
    }
    Ok(line)
}

/// The line of an entry, with its line break.
pub(crate) fn encode_line(entry: &JournalEntry) -> Result<String, serde_json::Error> {
    let entry = serde_json::to_string(entry)?;
    let checksum = crc32fast::hash(entry.as_bytes());
    Ok(format!("{LINE_START}{entry}{LINE_MIDDLE}{checksum:08x}{LINE_END}\n"))
}

/// Why a line is no entry.
#[derive(Debug)]
enum LineFault {
    /// Its bytes are not what was written.
    Torn,
    /// Its bytes are, and this build cannot read them.
    Foreign { step: String, source: serde_json::Error },
}

/// Characters of an unknown step's name that are shown.
const STEP_CHARS_MAX: usize = 40;

/// The entry of a line, if the line is whole; its line break may be missing.
fn decode_line(line: &[u8]) -> Result<JournalEntry, LineFault> {
    let entry = whole_entry(line).ok_or(LineFault::Torn)?;
    serde_json::from_str(entry)
        .map_err(|source| LineFault::Foreign { step: step_name(entry), source })
}

/// The text of a line's entry, if its checksum fits.
fn whole_entry(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)).ok()?;
    let (entry, checksum) =
        line.strip_prefix(LINE_START)?.strip_suffix(LINE_END)?.rsplit_once(LINE_MIDDLE)?;
    (checksum == format!("{:08x}", crc32fast::hash(entry.as_bytes()))).then_some(entry)
}

/// What an entry that cannot be read calls its step.
fn step_name(entry: &str) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(entry).ok();
    let step = value.as_ref().and_then(|entry| entry.get("step")?.get("step")?.as_str());
    let shown = step.unwrap_or("none").chars().filter(|character| !character.is_control());
    shown.take(STEP_CHARS_MAX).collect()
}

/// What was read of a journal that may be growing meanwhile.
#[derive(Debug, Default)]
pub struct JournalRead {
    /// Every whole entry, oldest first.
    pub entries: Vec<JournalEntry>,
    /// An unfinished last line: torn, or being written at this moment.
    pub torn_tail: Option<TornTail>,
}

/// Reads the journal of a data directory without a lock and without changing anything, also beside
/// a running node. One that was never written is empty.
///
/// # Errors
///
/// Every [`JournalFault`]: a journal is missing that the commit mark or a store beside it tells of,
/// or is shorter than the mark says.
pub fn read_journal(dir: &Path) -> Result<JournalRead, JournalFault> {
    let path = dir.join(JOURNAL_FILE);
    // The mark first: a running node writes it last.
    let marked =
        crate::mark::peek(dir).map_err(|source| JournalFault::Io { path: path.clone(), source })?;
    let expected_bytes = marked.journal_bytes;
    let Some(bytes) = read_bounded(&path)? else {
        if expected_bytes > 0 {
            return Err(JournalFault::Missing { path, expected_bytes });
        }
        // Whoever makes a store makes the journal with it.
        if dir.join(crate::store::STATE_DIR).exists() {
            return Err(JournalFault::Gone { path });
        }
        return Ok(JournalRead::default());
    };
    let acknowledged = Acknowledged { bytes: expected_bytes, is_exact: false };
    let content = parse(&path, &bytes, acknowledged)?;
    Ok(JournalRead { entries: content.entries, torn_tail: content.torn_tail })
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
        let entry = match decode_line(line) {
            Ok(entry) => entry,
            Err(LineFault::Foreign { step, source }) => {
                let (path, line) = (path.to_owned(), entries.len() + 1);
                return Err(JournalFault::Foreign { path, line, step, source });
            }
            Err(LineFault::Torn) => {
                let whole = Whole { bytes, entries, len };
                return whole.behind_torn(path, line, lines, acknowledged);
            }
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

/// What is whole in front of a torn line.
struct Whole<'a> {
    bytes: &'a [u8],
    entries: Vec<JournalEntry>,
    len: u64,
}

impl Whole<'_> {
    /// What the journal holds if `line` is one that was never finished.
    fn behind_torn<'a>(
        mut self,
        path: &Path,
        torn: &[u8],
        later: impl Iterator<Item = &'a [u8]>,
        acknowledged: Acknowledged,
    ) -> Result<JournalContent, JournalFault> {
        let line = self.entries.len() + 1;
        let mut found = Vec::new();
        let mut rewritten = Vec::new();
        for (offset, whole) in later.enumerate() {
            match decode_line(whole) {
                Ok(entry) => found.push(entry),
                Err(LineFault::Torn) => continue,
                Err(LineFault::Foreign { step, source }) => {
                    let (path, line) = (path.to_owned(), line + offset + 1);
                    return Err(JournalFault::Foreign { path, line, step, source });
                }
            }
            rewritten.extend_from_slice(whole.trim_ascii_end());
            rewritten.push(b'\n');
        }
        // A line is unfinished if it has no end, or holes where nothing was written yet.
        let is_unfinished = !torn.ends_with(b"\n") || torn.contains(&0);
        let is_torn = is_unfinished
            && self.len >= acknowledged.bytes
            && (found.is_empty() || acknowledged.is_exact);
        if !is_torn {
            return Err(JournalFault::Damaged { path: path.to_owned(), line });
        }
        let beyond = (self.bytes.len() as u64).saturating_sub(self.len);
        let bytes = beyond.saturating_sub(rewritten.len() as u64);
        self.entries.append(&mut found);
        let torn_tail = Some(TornTail { line, bytes });
        Ok(JournalContent { entries: self.entries, torn_tail, len: self.len, rewritten })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use node_core::id::{Digest, Hotkey, IntentId, Netuid, Uid};
    use node_core::rows::{Carries, JournalStep, SignedExtrinsic};
    use node_core::unit::{BlockNumber, EpochIndex};
    use proptest::prelude::*;

    fn entry(epoch: u64) -> JournalEntry {
        JournalEntry {
            hotkey: Hotkey([1; 32]),
            intent: IntentId([2; 32]),
            netuid: Netuid(3),
            mechanism: 0,
            registered_at: None,
            epoch: EpochIndex(epoch),
            step: JournalStep::Landed { block: BlockNumber(4), hash: None },
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

    fn line_of(entry: &str) -> String {
        let crc = crc32fast::hash(entry.as_bytes());
        format!("{LINE_START}{entry}{LINE_MIDDLE}{crc:08x}{LINE_END}\n")
    }

    fn with_step(step: &str) -> String {
        let text = serde_json::to_string(&entry(7)).unwrap();
        text.replacen(r#"{"step":"landed","block":4}"#, step, 1)
    }

    #[test]
    fn every_kind_of_step_comes_back_as_it_was_written() {
        let commit = Digest([5; 32]);
        let signed = |carries| SignedExtrinsic {
            bytes: vec![1, 2, 3],
            hash: Digest([4; 32]),
            nonce: 9,
            anchor: BlockNumber(10),
            era_end: BlockNumber(26),
            spec_version: 301,
            carries,
            vector: vec![(Uid(1), u16::MAX), (Uid(3), 0)],
        };
        let round =
            Carries::Timelocked { commit, reveal_round: u64::MAX, reveal_epoch: EpochIndex(8) };
        let salted = Carries::Hashed { commit, salt: vec![0, 7, u16::MAX] };
        let (block, reason) = (BlockNumber(11), "why\n\"so\"".to_owned());
        let steps = [
            JournalStep::Intended {
                vector: vec![(Uid(1), u16::MAX)],
                version_key: 3,
                computed_at: block,
            },
            JournalStep::Signed { signed: signed(Carries::Plain) },
            JournalStep::Signed { signed: signed(round) },
            JournalStep::Signed { signed: signed(salted) },
            JournalStep::RevealSigned { signed: signed(Carries::Reveal) },
            JournalStep::Landed { block, hash: None },
            JournalStep::Committed { block, epoch: EpochIndex(7), hash: None },
            JournalStep::Landed { block, hash: Some(Digest([4; 32])) },
            JournalStep::Committed { block, epoch: EpochIndex(7), hash: Some(Digest([4; 32])) },
            JournalStep::Revealed { block },
            JournalStep::Lost { reason: reason.clone() },
            JournalStep::Abandoned { reason },
            JournalStep::Adopted { block },
            JournalStep::Restored { since: None, spent: None },
            JournalStep::Restored { since: Some(block), spent: Some(EpochIndex(7)) },
            JournalStep::Settled { block },
        ];
        let entries = steps.map(|step| JournalEntry { step, ..entry(7) });
        let lines: String = entries.iter().map(|entry| encode_line(entry).unwrap()).collect();
        assert_eq!(lines.lines().count(), entries.len(), "one line each");
        let dir = journal_with(&lines);
        assert_eq!(read_journal(dir.path()).unwrap().entries, entries);
        let (_, content) = Journal::open(dir.path(), at_least(lines.len() as u64)).unwrap();
        assert_eq!(content.entries, entries);
    }

    #[test]
    fn a_line_of_the_build_before_still_says_what_it_said() {
        let hash = "04".repeat(32);
        let signed = format!(r#"{{"bytes":"0102","hash":"{hash}","nonce":9,"era_end":26}}"#);
        let old = with_step(&format!(r#"{{"step":"signed","signed":{signed}}}"#));
        let dir = journal_with(line_of(&old));
        let entries = read_journal(dir.path()).unwrap().entries;
        let [JournalEntry { step: JournalStep::Signed { signed }, .. }] = entries.as_slice() else {
            panic!("{entries:?}")
        };
        assert_eq!((signed.nonce, signed.era_end), (9, BlockNumber(26)));
        assert_eq!((signed.anchor, signed.spec_version), (BlockNumber(0), 0));
        assert_eq!((&signed.carries, signed.vector.len()), (&Carries::Plain, 0));
        let landed = with_step(r#"{"step":"landed","block":4}"#);
        let committed = with_step(r#"{"step":"committed","block":5,"epoch":7}"#);
        let dir = journal_with(format!("{}{}", line_of(&landed), line_of(&committed)));
        let steps: Vec<_> =
            read_journal(dir.path()).unwrap().entries.into_iter().map(|entry| entry.step).collect();
        let landed = JournalStep::Landed { block: BlockNumber(4), hash: None };
        let (block, epoch) = (BlockNumber(5), EpochIndex(7));
        assert_eq!(steps, [landed, JournalStep::Committed { block, epoch, hash: None }]);
    }

    #[test]
    fn a_step_of_a_newer_build_is_refused_and_not_skipped() {
        let newer = line_of(&with_step(r#"{"step":"co_signed","block":4}"#));
        let whole = lines(0..2);
        for text in [format!("{whole}{newer}"), format!("{whole}{newer}{whole}")] {
            let dir = journal_with(&text);
            for error in [
                Journal::open(dir.path(), at_least(0)).unwrap_err(),
                read_journal(dir.path()).unwrap_err(),
            ] {
                let said = error.to_string();
                assert!(matches!(error, JournalFault::Foreign { line: 3, .. }), "{said}");
                assert!(said.contains("the step `co_signed`"), "{said}");
                assert!(error.next_step().contains("newer one"), "{}", error.next_step());
            }
            assert_eq!(std::fs::read_to_string(dir.path().join(JOURNAL_FILE)).unwrap(), text);
        }
        // A form that is not known is as bad: it may have landed.
        let (hash, carries) = ("04".repeat(32), r#"{"form":"folded"}"#);
        let signed =
            format!(r#"{{"bytes":"","hash":"{hash}","nonce":9,"era_end":26,"carries":{carries}}}"#);
        let form = line_of(&with_step(&format!(r#"{{"step":"signed","signed":{signed}}}"#)));
        let error = read_journal(journal_with(form).path()).unwrap_err();
        assert!(matches!(error, JournalFault::Foreign { line: 1, .. }), "{error}");
    }

    #[test]
    fn reading_beside_a_running_node_changes_nothing_and_leaves_its_last_line_alone() {
        let text = format!("{}{}", lines(0..2), &lines(2..3)[..30]);
        let dir = journal_with(&text);
        let read = read_journal(dir.path()).unwrap();
        assert_eq!(read.entries, [entry(0), entry(1)]);
        assert_eq!(read.torn_tail, Some(TornTail { line: 3, bytes: 30 }));
        assert_eq!(std::fs::read_to_string(dir.path().join(JOURNAL_FILE)).unwrap(), text);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no file was made");
        let nothing = tempfile::tempdir().unwrap();
        assert!(read_journal(nothing.path()).unwrap().entries.is_empty());
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

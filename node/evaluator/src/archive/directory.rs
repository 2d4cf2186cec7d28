//! The central directory of a ZIP, read strictly and without allocating what it claims.
//!
//! A ZIP library decides for itself which of several end records it believes, and merges entries
//! of one name. Here there is exactly one reading: the end record stands at the end, the directory
//! right before it, with as many entries as announced, and nothing in between. Whatever else a
//! library could be made to see is refused before it is asked.
//!
//! Source of the layout: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.12, 4.3.14 to 4.3.16.

use node_core::admission::{Rejection, Rule};

use super::rejection;

const END_SIGNATURE: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const END_COMMENT_BYTES_MAX: usize = u16::MAX as usize;
const LOCATOR64_SIGNATURE: &[u8] = b"PK\x06\x07";
const LOCATOR64_BYTES: usize = 20;
const END64_SIGNATURE: &[u8] = b"PK\x06\x06";
const HEADER_SIGNATURE: &[u8] = b"PK\x01\x02";
const HEADER_BYTES: usize = 46;

const FLAG_ENCRYPTED: u16 = 1 << 0;
const FLAG_STRONG_ENCRYPTION: u16 = 1 << 6;
const FLAG_MASKED_HEADERS: u16 = 1 << 13;

const METHOD_STORED: u16 = 0;
const METHOD_DEFLATED: u16 = 8;

const MODE_KIND: u32 = 0o170_000;
const MODE_REGULAR: u32 = 0o100_000;
const MODE_DIRECTORY: u32 = 0o040_000;

/// Where the directory stands, and how many entries it announces.
#[derive(Debug)]
pub(super) struct Directory<'a> {
    headers: &'a [u8],
    /// Entries announced, from the 64-bit record where there is one.
    pub(super) count: u64,
    /// Whether the archive uses 64-bit records, which no submission needs.
    is_zip64: bool,
}

/// One entry as the directory describes it.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) compressed_bytes: u32,
    pub(super) unpacked_bytes: u32,
    flags: u16,
    method: u16,
    mode: u32,
}

impl Entry<'_> {
    pub(super) fn is_directory(&self) -> bool {
        self.name.ends_with(b"/")
    }
}

impl<'a> Directory<'a> {
    /// Finds the directory from the end record.
    pub(super) fn locate(bytes: &'a [u8]) -> Result<Self, Rejection> {
        let search_from = bytes.len().saturating_sub(END_BYTES + END_COMMENT_BYTES_MAX);
        let tail = bytes.get(search_from..).unwrap_or_default();
        let end = tail
            .windows(END_SIGNATURE.len())
            .rposition(|window| window == END_SIGNATURE)
            .map(|position| search_from + position)
            .ok_or_else(|| malformed("it has no end record"))?;
        let record = bytes.get(end..).unwrap_or_default();
        let comment = u16_at(record, 20).ok_or_else(|| malformed("its end record is cut"))?;
        if record.len() != END_BYTES + usize::from(comment) {
            return Err(malformed("its end record is not at the end"));
        }
        if let Some(count) = zip64_count(bytes, end) {
            return Ok(Self { headers: &[], count, is_zip64: true });
        }
        let [disk, first_disk, here, count] =
            [4, 6, 8, 10].map(|at| u16_at(record, at).unwrap_or(u16::MAX));
        if disk != 0 || first_disk != 0 || here != count {
            return Err(malformed("it is spread over several disks"));
        }
        let size = u32_at(record, 12).and_then(|size| usize::try_from(size).ok());
        let start = u32_at(record, 16).and_then(|start| usize::try_from(start).ok());
        let headers = start
            .zip(size)
            .filter(|(start, size)| start.checked_add(*size) == Some(end))
            .and_then(|(start, _)| bytes.get(start..end))
            .ok_or_else(|| malformed("its directory does not stand before the end record"))?;
        Ok(Self { headers, count: u64::from(count), is_zip64: false })
    }

    /// Reads every header; there must be as many as announced, and nothing else.
    pub(super) fn entries(&self) -> Result<Vec<Entry<'a>>, Rejection> {
        if self.is_zip64 {
            return Err(malformed("it uses 64-bit records"));
        }
        let mut entries = Vec::new();
        let mut rest = self.headers;
        while !rest.is_empty() {
            if entries.len() as u64 >= self.count {
                return Err(malformed("its directory has more entries than announced"));
            }
            let (entry, after) =
                Entry::parse(rest).ok_or_else(|| malformed("its directory is cut"))?;
            entries.push(entry);
            rest = after;
        }
        if entries.len() as u64 != self.count {
            return Err(malformed("its directory has fewer entries than announced"));
        }
        Ok(entries)
    }
}

impl<'a> Entry<'a> {
    fn parse(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if !bytes.starts_with(HEADER_SIGNATURE) {
            return None;
        }
        let name_len = usize::from(u16_at(bytes, 28)?);
        let extra_len = usize::from(u16_at(bytes, 30)?);
        let comment_len = usize::from(u16_at(bytes, 32)?);
        let name_end = HEADER_BYTES + name_len;
        let end = name_end + extra_len + comment_len;
        let entry = Self {
            name: bytes.get(HEADER_BYTES..name_end)?,
            flags: u16_at(bytes, 8)?,
            method: u16_at(bytes, 10)?,
            compressed_bytes: u32_at(bytes, 20)?,
            unpacked_bytes: u32_at(bytes, 24)?,
            mode: u32_at(bytes, 38)? >> 16,
        };
        Some((entry, bytes.get(end..)?))
    }
}

/// An entry must be a plain file or an empty directory, readable without a password.
pub(super) fn check_kind(entry: &Entry<'_>) -> Result<(), Rejection> {
    let name = String::from_utf8_lossy(entry.name);
    let refuse = |rule, detail: &str| Err(rejection(rule, Some(&name), detail.to_owned()));
    if entry.flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED_HEADERS) != 0 {
        return refuse(Rule::ArchiveEntryKind, "the entry is encrypted");
    }
    let allowed = if entry.is_directory() { MODE_DIRECTORY } else { MODE_REGULAR };
    let kind = entry.mode & MODE_KIND;
    if kind != 0 && kind != allowed {
        return refuse(Rule::ArchiveEntryKind, "the entry is a link, a device or a pipe");
    }
    if entry.is_directory() && entry.unpacked_bytes != 0 {
        return refuse(Rule::ArchiveEntryKind, "the entry is a directory with content");
    }
    if entry.method != METHOD_STORED && entry.method != METHOD_DEFLATED {
        return refuse(Rule::ArchiveFormat, "the entry is neither stored nor deflated");
    }
    Ok(())
}

/// Entries announced by the 64-bit end record, if the archive has one.
fn zip64_count(bytes: &[u8], end: usize) -> Option<u64> {
    let locator = bytes.get(end.checked_sub(LOCATOR64_BYTES)?..end)?;
    if !locator.starts_with(LOCATOR64_SIGNATURE) {
        return None;
    }
    let record = u64_at(locator, 8)
        .and_then(|at| usize::try_from(at).ok())
        .and_then(|at| bytes.get(at..))
        .filter(|record| record.starts_with(END64_SIGNATURE));
    Some(record.and_then(|record| u64_at(record, 32)).unwrap_or(0))
}

fn malformed(why: &str) -> Rejection {
    rejection(Rule::ArchiveFormat, None, format!("not a readable ZIP archive: {why}"))
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

//! Documents, the units that are split: plain text is cut into them, a record is one.
//!
//! Line ends become `\n`; blanks at line ends and control characters vanish; several blank lines
//! become one. Each document ends with a blank line, so documents joined are plain text again.
//! Byte 0 never occurs in the result: the meter uses it as the start mark.

/// Where a document may end: at the first blank line after this many bytes. Lower: neighbouring
/// paragraphs land in different splits, and held-out text is nearly known. Higher: a small text
/// has too few documents for a split of 25 in 1,000.
const DOCUMENT_BYTES_MIN: usize = 2 * 1024;

/// Where a document ends at the latest: at the first line end after this many bytes.
const DOCUMENT_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MIN;

/// Plain text that is being cut into documents, line by line.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    current: String,
}

impl Cutter {
    /// Takes the next line in. Returns a document if it ends here.
    pub(super) fn line(&mut self, line: &str) -> Option<String> {
        push_line(&mut self.current, line);
        let len = self.current.len();
        let at_paragraph_end = self.current.ends_with("\n\n") && len >= DOCUMENT_BYTES_MIN;
        (at_paragraph_end || len >= DOCUMENT_BYTES_MAX)
            .then(|| finished(std::mem::take(&mut self.current)))
    }

    /// What is left at the end of a file.
    pub(super) fn end(self) -> Option<String> {
        (!self.current.is_empty()).then(|| finished(self.current))
    }
}

/// A record's text as one document; `None` if nothing is left of it.
pub(super) fn whole(text: &str) -> Option<String> {
    let mut document = String::with_capacity(text.len().saturating_add(2));
    text.lines().for_each(|line| push_line(&mut document, line));
    (!document.is_empty()).then(|| finished(document))
}

fn push_line(into: &mut String, line: &str) {
    let start = into.len();
    if has_control_characters(line) {
        into.extend(line.chars().filter(|c| !c.is_control() || *c == '\t'));
    } else {
        into.push_str(line);
    }
    let kept = into.get(start..).unwrap_or_default().trim_end().len();
    into.truncate(start.saturating_add(kept));
    if kept > 0 || (!into.is_empty() && !into.ends_with("\n\n")) {
        into.push('\n');
    }
}

/// Whether there may be some: the byte 0xC2 begins the upper ones, and others.
fn has_control_characters(line: &str) -> bool {
    line.bytes().any(|byte| byte < b' ' || byte == 0x7f || byte == 0xc2)
}

fn finished(mut document: String) -> String {
    if !document.ends_with("\n\n") {
        document.push('\n');
    }
    document
}

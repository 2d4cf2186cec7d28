//! Cuts plain text into documents, the units that are split.

/// Where a document may end: at the first blank line after this many bytes. Lower: neighbouring
/// paragraphs land in different splits, and held-out text is nearly known. Higher: a small text
/// has too few documents for a split of 25 in 1,000.
const DOCUMENT_BYTES_MIN: usize = 2 * 1024;

/// Where a document ends at the latest: at the first line end after this many bytes.
const DOCUMENT_BYTES_MAX: usize = 4 * DOCUMENT_BYTES_MIN;

/// The documents of a text, in order.
///
/// Line ends become `\n`; blanks at line ends and control characters vanish; several blank lines
/// become one. Each document ends with a blank line, so documents joined are plain text again.
/// Byte 0 never occurs in the result: the meter uses it as the start mark.
pub(super) fn documents(text: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut current = String::new();
    for line in text.lines() {
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        let line = line.trim_end();
        if !line.is_empty() {
            current.push_str(line);
            current.push('\n');
        } else if !current.is_empty() && !current.ends_with("\n\n") {
            current.push('\n');
        }
        let at_paragraph_end = current.ends_with("\n\n") && current.len() >= DOCUMENT_BYTES_MIN;
        if at_paragraph_end || current.len() >= DOCUMENT_BYTES_MAX {
            documents.push(finished(std::mem::take(&mut current)));
        }
    }
    if !current.is_empty() {
        documents.push(finished(current));
    }
    documents
}

fn finished(mut document: String) -> String {
    if !document.ends_with("\n\n") {
        document.push('\n');
    }
    document
}

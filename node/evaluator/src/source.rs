//! A project's Python as syntax trees. Reading only: nothing is executed.
//!
//! ```text
//! bytes -> one kind of newline -> scan (brackets, indentation: one pass)  -> parser -> flat tree
//! ```
//!
//! The parser is a C library that recovers from errors, and over text that is not Python that can
//! take it minutes. So a scan of our own refuses what is no Python at a glance; the parser is
//! stopped at the first error it sees, after a number of steps in proportion to the text, and at
//! the latest after [`PARSE_TIME_MAX`]. All these ends are [`Rule::SourceSyntax`], so a slow
//! machine and a fast one name the same rule. Trees are kept flat: nothing here or in what
//! reads them recurses, and what is nested beyond [`DEPTH_MAX`] is refused.
//!
//! Not here: what a tree may contain (`static_rules`), and which names it defines (`contract`).

pub(crate) mod names;
mod scan;
mod tree;

use std::time::{Duration, Instant};

use node_core::admission::{Rejection, Rule};
use node_core::id::sha256;
use node_core::policy::AdmissionRules;

pub(crate) use self::scan::normalised;
use self::scan::scan;
pub(crate) use self::tree::{Field, Kind, NodeId, Tree};
use crate::archive::{rejection, Archive};

/// Nodes above a node, at most. An expression of 200 terms in a chain has as many.
pub(crate) const DEPTH_MAX: usize = 1_000;

/// Time for parsing a whole project. Honest projects of the largest allowed size take a fiftieth.
const PARSE_TIME_MAX: Duration = Duration::from_secs(5);

/// A Python file that was read.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path in the archive.
    pub(crate) path: String,
    /// Its text, with lines that end as Unix has them.
    pub(crate) text: String,
    /// What it says.
    pub(crate) tree: Tree,
}

/// Reads every Python file of an archive, in the order of their paths.
///
/// # Errors
///
/// [`Rule::SourceSize`], [`Rule::SourceEncoding`], [`Rule::SourceNesting`] or
/// [`Rule::SourceSyntax`] for the first file that cannot be read.
pub(crate) fn read_sources(
    archive: &Archive,
    rules: &AdmissionRules,
) -> Result<Vec<Source>, Rejection> {
    read_each(archive, rules, &mut |_, _| {})
}

/// As [`read_sources`], and shows `each` what the parser made of each file, which is not kept: the
/// trees of all files together would be some hundred megabytes.
pub(crate) fn read_each(
    archive: &Archive,
    rules: &AdmissionRules,
    each: &mut dyn FnMut(&tree_sitter::Tree, &str),
) -> Result<Vec<Source>, Rejection> {
    let files = || archive.files.iter().filter(|(path, _)| is_python(path));
    let bytes: u64 = files().map(|(_, content)| content.len() as u64).sum();
    if bytes > rules.python_bytes_max {
        let detail = format!(
            "the Python files have {bytes} bytes, {} are allowed: leave out what is not needed",
            rules.python_bytes_max
        );
        return Err(rejection(Rule::SourceSize, None, detail));
    }
    let give_up_at = Instant::now() + PARSE_TIME_MAX;
    files().map(|(path, content)| Source::read(path, content, give_up_at, each)).collect()
}

fn is_python(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "py")
}

/// Why a file cannot be read, and in which line.
#[derive(Debug)]
struct Unreadable {
    rule: Rule,
    /// Counted from one; `None` if it is not known.
    line: Option<u32>,
    detail: String,
}

impl Source {
    fn read(
        path: &str,
        content: &[u8],
        give_up_at: Instant,
        each: &mut dyn FnMut(&tree_sitter::Tree, &str),
    ) -> Result<Self, Rejection> {
        let text = normalised(content);
        let read = scan(&text).and_then(|()| Tree::parse(&text, give_up_at, each));
        match read {
            Ok(tree) => Ok(Self { path: path.to_owned(), text, tree }),
            Err(unreadable) => {
                let mut refused = rejection(unreadable.rule, Some(path), unreadable.detail);
                refused.line = unreadable.line;
                refused.snippet = unreadable.line.map(|line| snippet(&text, line, line));
                Err(refused)
            }
        }
    }

    /// The text of a node.
    pub(crate) fn text_of(&self, id: NodeId) -> &str {
        let node = self.tree.node(id);
        self.text.get(node.start as usize..node.end as usize).unwrap_or_default()
    }

    /// A finding with its evidence.
    ///
    /// Takes as long as the file is: for those findings that are told.
    pub(crate) fn evidence(&self, found: Finding) -> Rejection {
        let lines = match found.node.map(|id| self.text_of(id)) {
            Some(text) => u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()),
            None => Ok(0),
        };
        let last = found.line.saturating_add(lines.unwrap_or(u32::MAX));
        let mut rejection = rejection(found.rule, Some(&self.path), found.detail);
        rejection.line = Some(found.line);
        rejection.snippet = Some(snippet(&self.text, found.line, last));
        rejection
    }

    /// A broken rule at a node.
    pub(crate) fn finding(&self, rule: Rule, at: NodeId, detail: String) -> Finding {
        Finding { rule, line: self.tree.node(at).line, node: Some(at), detail }
    }
}

/// A broken rule in a file, before its evidence is gathered.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) rule: Rule,
    /// Counted from one.
    pub(crate) line: u32,
    /// What breaks the rule; the whole line if it is not known.
    pub(crate) node: Option<NodeId>,
    /// One sentence for the miner.
    pub(crate) detail: String,
}

/// Digest of lines `first` to `last`, each without the blanks at its ends, joined by newlines.
fn snippet(text: &str, first: u32, last: u32) -> node_core::id::Digest {
    let skipped = first.saturating_sub(1) as usize;
    let taken = last.saturating_sub(first).saturating_add(1) as usize;
    let lines: Vec<&str> = text.lines().skip(skipped).take(taken).map(str::trim).collect();
    sha256(lines.join("\n").as_bytes())
}

#[cfg(test)]
mod tests;

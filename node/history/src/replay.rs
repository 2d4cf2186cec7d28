//! Stepping through a file: each event, the outcome it gave, the state of its node afterwards.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _};

use crate::{Entry, Header, Line, Outline, Violation};

/// Bytes of one line. Lower: a step with a block of many submissions does not fit. Higher: a file
/// that is no history takes that much memory.
pub const LINE_BYTES_MAX: u64 = 64 << 20;

/// Which entries are wanted. What is `None` does not restrict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those of this node.
    pub node: Option<usize>,
    /// Those about this submission.
    pub submission: Option<usize>,
    /// Those from this step on.
    pub from: Option<u64>,
    /// Those up to this step.
    pub until: Option<u64>,
}

impl Filter {
    /// Whether the entry is wanted. What happens to the world is, where no submission is asked for.
    #[must_use]
    pub fn wants(&self, entry: &Entry) -> bool {
        let is_of_node = match (self.node, entry.node) {
            (Some(wanted), Some(node)) => wanted == node,
            (Some(_), None) | (None, _) => true,
        };
        is_of_node
            && self.submission.is_none_or(|wanted| entry.about.contains(&wanted))
            && self.from.is_none_or(|from| entry.step >= from)
            && self.until.is_none_or(|until| entry.step <= until)
    }
}

/// Why a file cannot be stepped through. Lines are counted from one.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A line could not be read.
    #[error("cannot read line {line}")]
    Read {
        /// Which.
        line: usize,
        /// Why.
        source: io::Error,
    },
    /// A line is longer than any that the simulator writes.
    #[error("line {line} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong {
        /// Which.
        line: usize,
    },
    /// A line is no line of a recorded history.
    #[error("line {line} is not of a history that the simulator recorded")]
    Parse {
        /// Which.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The first line does not say what the history is of.
    #[error("it does not begin with the plan of a history")]
    NoHeader,
}

/// A step.
#[derive(Debug)]
pub enum Step<'a> {
    /// An entry that the filter wants, with the state of its node after it, by name.
    Happened(&'a Entry, &'a BTreeMap<String, String>),
    /// The end: an invariant was broken.
    Failed(&'a Violation),
}

/// A recorded history that is stepped through.
#[derive(Debug)]
pub struct Replay<R> {
    lines: Lines<R>,
    header: Header<Outline>,
}

impl<R: BufRead> Replay<R> {
    /// Reads the beginning of a file.
    ///
    /// # Errors
    ///
    /// [`ReplayError`]: it cannot be read, or is no recorded history.
    pub fn open(file: R) -> Result<Self, ReplayError> {
        let mut lines = Lines { reader: file, read: 0 };
        match lines.next()?.ok_or(ReplayError::NoHeader)? {
            Line::Began(header) => Ok(Self { lines, header }),
            Line::Happened(_) | Line::Failed(_) => Err(ReplayError::NoHeader),
        }
    }

    /// What the history is of.
    #[must_use]
    pub fn header(&self) -> &Header<Outline> {
        &self.header
    }

    /// Steps through all entries and shows those that `filter` wants, until `show` says stop by
    /// returning `false`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`]: a line cannot be read or is none of a recorded history.
    pub fn step_through(
        mut self,
        filter: &Filter,
        mut show: impl FnMut(Step<'_>) -> bool,
    ) -> Result<(), ReplayError> {
        let nothing = BTreeMap::new();
        let mut states: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
        while let Some(line) = self.lines.next()? {
            let goes_on = match line {
                Line::Began(_) => return Err(ReplayError::NoHeader),
                Line::Failed(violation) => show(Step::Failed(&violation)),
                Line::Happened(entry) => {
                    let state = entry.node.map(|node| {
                        let state = states.entry(node).or_default();
                        change(state, &entry);
                        &*state
                    });
                    let state = state.unwrap_or(&nothing);
                    !filter.wants(&entry) || show(Step::Happened(&entry, state))
                }
            };
            if !goes_on {
                break;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Lines<R> {
    reader: R,
    read: usize,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Line<Outline>>, ReplayError> {
        let line = self.read.saturating_add(1);
        let mut text = Vec::new();
        let mut limited = self.reader.by_ref().take(LINE_BYTES_MAX);
        let read = limited
            .read_until(b'\n', &mut text)
            .map_err(|source| ReplayError::Read { line, source })?;
        if read == 0 {
            return Ok(None);
        }
        if u64::try_from(read).unwrap_or(u64::MAX) >= LINE_BYTES_MAX {
            return Err(ReplayError::TooLong { line });
        }
        self.read = line;
        let parsed = serde_json::from_slice(&text);
        parsed.map(Some).map_err(|source| ReplayError::Parse { line, source })
    }
}

fn change(state: &mut BTreeMap<String, String>, entry: &Entry) {
    for (name, value) in &entry.changed {
        match value {
            Some(value) => state.insert(name.clone(), value.clone()),
            None => state.remove(name),
        };
    }
}

//! Steps through a journal: each event, the outcome it gave, the state of the node afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::io::BufRead;

use crate::record::{Entry, Header, Line};
use crate::world::Violation;

/// Which entries of a journal are wanted. What is `None` does not restrict.
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

/// Why a journal cannot be replayed.
#[derive(Debug)]
pub enum ReplayError {
    /// A line could not be read.
    Read {
        /// Which, counted from one.
        line: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no line of a journal.
    Parse {
        /// Which, counted from one.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The first line does not say what the journal is of.
    NoHeader,
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { line, .. } => write!(f, "cannot read line {line} of the journal"),
            Self::Parse { line, .. } => write!(f, "line {line} is not of a simulator's journal"),
            Self::NoHeader => f.write_str("the journal does not begin with its plan"),
        }
    }
}

impl std::error::Error for ReplayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Parse { source, .. } => Some(source),
            Self::NoHeader => None,
        }
    }
}

/// A step of a journal.
#[derive(Debug)]
pub enum Step<'a> {
    /// An entry that the filter wants, with the state of its node after it, by name.
    Happened(&'a Entry, &'a BTreeMap<String, String>),
    /// The end: an invariant was broken.
    Failed(&'a Violation),
}

/// A journal that is stepped through.
#[derive(Debug)]
pub struct Replay<R> {
    lines: std::iter::Enumerate<std::io::Lines<R>>,
    header: Header,
}

impl<R: BufRead> Replay<R> {
    /// Reads the beginning of a journal.
    ///
    /// # Errors
    ///
    /// [`ReplayError`]: it cannot be read, or is none.
    pub fn open(journal: R) -> Result<Self, ReplayError> {
        let mut lines = journal.lines().enumerate();
        let (line, text) = lines.next().ok_or(ReplayError::NoHeader)?;
        match parse(line, text)? {
            Line::Began(header) => Ok(Self { lines, header }),
            Line::Happened(_) | Line::Failed(_) => Err(ReplayError::NoHeader),
        }
    }

    /// What the journal is of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Steps through all entries and shows those that `filter` wants, until `show` says stop by
    /// returning `false`.
    ///
    /// # Errors
    ///
    /// [`ReplayError`]: a line cannot be read or is no line of a journal.
    pub fn step_through(
        self,
        filter: &Filter,
        mut show: impl FnMut(Step<'_>) -> bool,
    ) -> Result<(), ReplayError> {
        let nothing = BTreeMap::new();
        let mut states: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
        for (line, text) in self.lines {
            let goes_on = match parse(line, text)? {
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

fn parse(line: usize, text: std::io::Result<String>) -> Result<Line, ReplayError> {
    let line = line + 1;
    let text = text.map_err(|source| ReplayError::Read { line, source })?;
    serde_json::from_str(&text).map_err(|source| ReplayError::Parse { line, source })
}

fn change(state: &mut BTreeMap<String, String>, entry: &Entry) {
    for (name, value) in &entry.changed {
        match value {
            Some(value) => state.insert(name.clone(), value.clone()),
            None => state.remove(name),
        };
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, at_ms, node, event, writes, effects, notes, changed, .. } = self;
        let (seconds, ms) = (at_ms / 1_000, at_ms % 1_000);
        let whose = node.map_or_else(|| "world".to_owned(), |node| format!("v{node}"));
        write!(f, "#{step} {seconds}.{ms:03}s {whose}: {event}")?;
        for (kind, lines) in [("writes", writes), ("does", effects), ("says", notes)] {
            for line in lines {
                write!(f, "\n    {kind} {line}")?;
            }
        }
        for (name, value) in changed {
            match value {
                Some(value) => write!(f, "\n    {name}: {value}")?,
                None => write!(f, "\n    {name}: gone")?,
            }
        }
        Ok(())
    }
}

//! Parses a Python file within a bound on the parser's work.

use std::cell::Cell;
use std::ops::ControlFlow;

use tree_sitter::{ParseOptions, ParseState, Parser, Tree};

/// Hundreds of the parser's operations for each so many bytes of a file, and for a file of any
/// length. People's code takes a tenth of that. Lower: odd code is refused. Higher: sources made
/// for it keep a validator busy for longer.
const BYTES_PER_STEP: u64 = 8;
const STEPS_MIN: u64 = 1_000;

/// Bytes that the parser gets at a time. A token that it reads again and again costs a chunk each
/// time, and no operation.
const CHUNK_BYTES: usize = 512;

/// How often the parser may read a file, in chunks. People's code is read up to six times.
const READS: u64 = 16;
const CHUNKS_MIN: u64 = 1_000;

/// The syntax tree of a file; `None` when that takes too much work.
///
/// Work is counted by the parser and not by a clock: every machine gives up on the same files.
pub(super) fn parse(content: &[u8]) -> Option<Tree> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_python::LANGUAGE.into()).ok()?;
    let len = content.len() as u64;
    let steps = Cell::new(STEPS_MIN.saturating_add(len / BYTES_PER_STEP));
    let chunks = Cell::new(CHUNKS_MIN.saturating_add(READS * len / CHUNK_BYTES as u64));
    let mut count = |_: &ParseState| match take_one(&steps) && chunks.get() > 0 {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let options = ParseOptions::new().progress_callback(&mut count);
    let mut read = |at: usize, _| {
        // At its end every file looks finished: a parser that reads too much comes to an end.
        let end = if take_one(&chunks) { content.len() } else { 0 };
        content.get(at..end.min(at.saturating_add(CHUNK_BYTES))).unwrap_or_default()
    };
    let tree = parser.parse_with_options(&mut read, None, Some(options));
    tree.filter(|_| chunks.get() > 0)
}

fn take_one(left: &Cell<u64>) -> bool {
    match left.get().checked_sub(1) {
        Some(less) => {
            left.set(less);
            true
        }
        None => false,
    }
}

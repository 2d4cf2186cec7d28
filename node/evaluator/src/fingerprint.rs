//! What a submission's code looks like without its names: the shingles that copies share.
//!
//! Each Python file is parsed (`source`) as Python reads it, with one kind of newline, and each
//! function, each class body's statement and each statement of a module becomes a unit: a sequence
//! of symbols in the order of the syntax tree (`units`). Every run of [`SYMBOLS`] symbols within a
//! unit is a shingle. So what does not change a shingle is
//!
//! - names: a name in a shingle is only "the second variable here", "the first attribute here";
//! - literals, comments, docstrings, annotations, brackets, and how lines are broken;
//! - the order of functions, classes, methods, and statements of a module or a class;
//! - the files they stand in, imports, and which alias a library goes by;
//! - code that nothing mentions (`reach`).
//!
//! Shingles that the reference submissions have are left out: everybody has seen them.
//!
//! The code is hostile until admitted: work is counted and bounded in steps of the parser, never
//! in time, so that every validator gives up on the same sources; nothing recurses.
//!
//! Not here: how similar two sets are, and what follows (`node_core::duplicates`).

mod reach;
mod source;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use node_core::admission::{Rejection, Rule};
use node_core::duplicates::Sketch;
use sha2::Digest as _;

use crate::archive::{rejection, Archive};
use crate::source::normalised;
use units::{Symbol, Units};

/// Symbols of a shingle. Lower: independent works share more. Higher: a small change spoils more
/// shingles of a copy. Figures for both are in `docs/decisions/0023-duplicates.md`.
const SYMBOLS: usize = 4;

/// Bytes of a project's code. Lower: honest projects are refused, which have a tenth of that.
/// Higher: reading hostile code takes longer, and 300 bytes of memory for each of it.
const CODE_BYTES_MAX: usize = 512 << 10;

/// Shingles of the reference submissions, sixteen hex digits each: a fixed list, so that mending a
/// reference changes no verdict unless somebody decides so.
const REFERENCES: &str = include_str!("fingerprint/references.txt");

static KNOWN: LazyLock<BTreeSet<u64>> = LazyLock::new(|| {
    REFERENCES.lines().filter_map(|line| u64::from_str_radix(line, 16).ok()).collect()
});

/// The sketch of a submission's structure.
///
/// # Errors
///
/// [`Rule::DuplicateUnreadable`] for more code than anybody writes, or with the file whose parsing
/// takes more work than its length allows, as no code written by a person does.
pub fn sketch(archive: &Archive) -> Result<Sketch, Rejection> {
    shingles(&archive.files).map(|all| sketch_of(&all))
}

fn sketch_of(all: &BTreeSet<u64>) -> Sketch {
    Sketch::of(&all.difference(&KNOWN).copied().collect())
}

/// The sketch of an archive whose files are parsed anyway, one after the other.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    files: &'a BTreeMap<String, Vec<u8>>,
    units: Units,
}

impl<'a> Parsed<'a> {
    /// Nothing is parsed yet.
    pub(crate) fn of(archive: &'a Archive) -> Self {
        Self { files: &archive.files, units: Units::of_project(&archive.files) }
    }

    /// Takes in the next file, in the order of their paths.
    pub(crate) fn add(&mut self, tree: &tree_sitter::Tree, text: &str) {
        self.units.add(tree, text.as_bytes());
    }

    /// The same as [`sketch`].
    ///
    /// # Errors
    ///
    /// [`Rule::DuplicateUnreadable`] for more code than anybody writes.
    pub(crate) fn sketch(&self) -> Result<Sketch, Rejection> {
        check_length(self.files)?;
        Ok(sketch_of(&shingles_of(&self.units, self.files)))
    }
}

/// All shingles of some files' code, those of the references too.
///
/// - `files`: content by path; what does not end in `.py` is not code. Anything at all parses.
///
/// # Errors
///
/// As [`sketch`].
pub fn shingles(files: &BTreeMap<String, Vec<u8>>) -> Result<BTreeSet<u64>, Rejection> {
    check_length(files)?;
    let mut units = Units::of_project(files);
    for (path, content) in code(files) {
        let text = normalised(content);
        let Some(tree) = source::parse(text.as_bytes()) else {
            let detail = "the parser takes too much work for so little code".to_owned();
            return Err(rejection(Rule::DuplicateUnreadable, Some(path), detail));
        };
        units.add(&tree, text.as_bytes());
    }
    Ok(shingles_of(&units, files))
}

fn code(files: &BTreeMap<String, Vec<u8>>) -> impl Iterator<Item = (&String, &Vec<u8>)> {
    files.iter().filter(|(path, _)| path.ends_with(".py"))
}

fn check_length(files: &BTreeMap<String, Vec<u8>>) -> Result<(), Rejection> {
    let bytes: usize = code(files).map(|(_, content)| content.len()).sum();
    if bytes > CODE_BYTES_MAX {
        let detail = format!("the code has {bytes} bytes, {CODE_BYTES_MAX} can be compared");
        return Err(rejection(Rule::DuplicateUnreadable, None, detail));
    }
    Ok(())
}

/// The shingles of what is reached of a project.
fn shingles_of(units: &Units, files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<u64> {
    let reached = reach::reached(units, files);
    let all = units.all.iter().filter(|unit| reached.contains(&unit.definition));
    all.flat_map(|unit| unit_shingles(&unit.symbols)).collect()
}

fn unit_shingles(symbols: &[Symbol]) -> impl Iterator<Item = u64> + '_ {
    let window = SYMBOLS.min(symbols.len()).max(1);
    symbols.windows(window).map(shingle)
}

/// The hash of a run of symbols. Names are numbered as they come, each kind for itself.
fn shingle(symbols: &[Symbol]) -> u64 {
    let mut hash = sha2::Sha256::new_with_prefix(b"assay/shingle/v1");
    let mut seen: Vec<Symbol> = Vec::with_capacity(symbols.len());
    for symbol in symbols {
        let number = match symbol {
            Symbol::Kind(number) => *number,
            Symbol::Variable(_) | Symbol::Attribute(_) => {
                let place = seen.iter().filter(|other| other.is_like(symbol));
                let place = place
                    .clone()
                    .position(|other| other == symbol)
                    .unwrap_or_else(|| place.count());
                if !seen.contains(symbol) {
                    seen.push(*symbol);
                }
                place as u64
            }
        };
        hash.update([symbol.tag()]);
        hash.update(number.to_le_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes(digest.first_chunk().copied().unwrap_or_default())
}

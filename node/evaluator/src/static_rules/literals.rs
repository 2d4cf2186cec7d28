//! How much data a project may carry as text: weights that somebody trained before.
//!
//! A literal is a string, a number, or all strings and numbers in one list, tuple, set or
//! dictionary, counted as they are written. Docstrings are literals, since a program can read them;
//! so is what a name has beyond [`NAME_BYTES_MAX`]. Comments and blanks are not executed, and
//! reading one's own source is forbidden; what a project may have of them is bounded all the same.

use node_core::admission::{Rejection, Rule};
use node_core::policy::AdmissionRules;

use crate::archive::rejection;
use crate::source::{Finding, Kind, NodeId, Source};

/// Bytes of a name beyond which the rest counts as a literal.
const NAME_BYTES_MAX: u64 = 64;

/// Finds single literals and gaps that are too long.
pub(super) fn check_file(source: &Source, rules: &AdmissionRules, found: &mut Vec<Finding>) {
    let tree = &source.tree;
    let max = rules.literal_bytes_max;
    let mut id = 0;
    while id < tree.ids().end {
        let is_one = is_display(tree.kind(id)) || own_bytes(source, id) > 0;
        let bytes = if is_one { bytes_within(source, id) } else { 0 };
        if bytes > max {
            let detail = format!(
                "a literal has {bytes} bytes, {max} are allowed: compute values instead of \
                 writing them down"
            );
            found.push(source.finding(Rule::SourceLiteral, id, detail));
        }
        // What was within a literal was counted with it.
        id = if is_one { tree.node(id).after } else { id + 1 };
    }
    let gap = tree.longest_gap;
    if gap.bytes as u64 > max {
        let detail = format!(
            "{} bytes of comments and blanks follow each other, {max} are allowed: shorten them",
            gap.bytes
        );
        found.push(Finding { rule: Rule::SourceFiller, line: gap.line, node: None, detail });
    }
}

/// Finds what only all files together have too much of.
pub(super) fn check_project(sources: &[Source], rules: &AdmissionRules) -> Vec<Rejection> {
    let mut found = Vec::new();
    let text: u64 = sources.iter().map(|source| source.text.len() as u64).sum();
    let tokens: u64 = sources.iter().map(|source| source.tree.token_bytes as u64).sum();
    let filler = text.saturating_sub(tokens);
    if filler > rules.filler_bytes_max {
        let detail = format!(
            "the project has {filler} bytes of comments and blanks, {} are allowed: shorten them",
            rules.filler_bytes_max
        );
        found.push(rejection(Rule::SourceFiller, None, detail));
    }
    let mut literals = 0_u64;
    for source in sources {
        for id in source.tree.ids() {
            literals += own_bytes(source, id);
            if literals > rules.literals_bytes_max {
                let detail = format!(
                    "the project's literals have more than {} bytes together: compute values \
                     instead of writing them down",
                    rules.literals_bytes_max
                );
                let last = source.finding(Rule::SourceLiterals, id, detail);
                found.push(source.evidence(last));
                return found;
            }
        }
    }
    found
}

fn is_display(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::List
            | Kind::Tuple
            | Kind::Set
            | Kind::Dictionary
            | Kind::ConcatenatedString
            | Kind::StringLiteral
    )
}

fn bytes_within(source: &Source, id: NodeId) -> u64 {
    (id..source.tree.node(id).after).map(|id| own_bytes(source, id)).sum()
}

/// Bytes of a literal that has no parts, or of the text of one that has.
fn own_bytes(source: &Source, id: NodeId) -> u64 {
    let node = source.tree.node(id);
    let bytes = u64::from(node.end.saturating_sub(node.start));
    match node.kind {
        Kind::Integer | Kind::Float | Kind::StringContent => bytes,
        Kind::Identifier => bytes.saturating_sub(NAME_BYTES_MAX),
        _ => 0,
    }
}

//! What all fuzz targets do: give bytes to the function of their name in `node_peer::fuzzing`,
//! `node_evaluator::fuzzing` or `node_store::fuzzing`.
//!
//! A target for another kind of bytes from outside is a function and a line of `TARGETS` there, a
//! file in `src/bin` and an entry in the manifest here, and a seed in `tests/corpus.rs` of that
//! crate; a test there finds what was forgotten.

use node_peer::fuzzing::target;

/// Reads `bytes` as the target's kind.
///
/// # Panics
///
/// If that shows a fault; this is how a fuzzer is told.
pub fn check(name: &str, bytes: &[u8]) {
    let target = target(name).unwrap_or_else(|| panic!("no target is named {name}"));
    if let Err(broken) = (target.read)(bytes) {
        panic!("{name}: {broken}");
    }
}

/// The same for what submissions and texts consist of.
///
/// # Panics
///
/// If that shows a fault.
pub fn check_source(name: &str, bytes: &[u8]) {
    let target = node_evaluator::fuzzing::target(name);
    let target = target.unwrap_or_else(|| panic!("no target is named {name}"));
    if let Err(broken) = (target.read)(bytes) {
        panic!("{name}: {broken}");
    }
}

/// The same for what an operator puts back.
///
/// # Panics
///
/// If that shows a fault.
pub fn check_store(name: &str, bytes: &[u8]) {
    let target = node_store::fuzzing::target(name);
    let target = target.unwrap_or_else(|| panic!("no target is named {name}"));
    if let Err(broken) = (target.read)(bytes) {
        panic!("{name}: {broken}");
    }
}

//! Which of a project's definitions anything mentions: a copy is not less of one for what was
//! added to it.

use std::collections::{BTreeMap, BTreeSet};

use super::units::Units;

/// Names that the challenge calls.
const ENTRIES: &[&str] = &[
    "build_model",
    "train",
    "get_recipe",
    "configure_optimizer",
    "compute_loss",
    "train_step",
    "inference_logits",
    "infer",
];

/// The numbers of the definitions that are mentioned, by each other, from what the challenge calls
/// or any other file names, or from statements outside of functions. All of them if none is.
pub(super) fn reached(units: &Units, files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<usize> {
    let mut by_name: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut reached = BTreeSet::new();
    let mut waiting = Vec::new();
    for (number, definition) in units.definitions.iter().enumerate() {
        match definition.name {
            Some(name) => by_name.entry(name).or_default().push(number),
            None => waiting.push(number),
        }
    }
    let roots = entry_names(units, files);
    waiting.extend(roots.iter().filter_map(|name| by_name.get(name)).flatten());
    let has_entry = roots.iter().any(|name| by_name.contains_key(name));
    if !has_entry {
        return (0..units.definitions.len()).collect();
    }
    while let Some(number) = waiting.pop() {
        if !reached.insert(number) {
            continue;
        }
        let Some(definition) = units.definitions.get(number) else { continue };
        let mentioned = definition.mentions.iter().filter_map(|name| by_name.get(name));
        waiting.extend(mentioned.flatten().filter(|number| !reached.contains(number)));
    }
    reached
}

fn entry_names(units: &Units, files: &BTreeMap<String, Vec<u8>>) -> BTreeSet<u32> {
    let is_manifest = |path: &str| path.ends_with(".yaml") || path.ends_with(".yml");
    let manifests = files.iter().filter(|(path, _)| is_manifest(path));
    let words = manifests.flat_map(|(_, content)| {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
        let words = content.split(move |byte| !is_word(byte));
        words.filter_map(|word| std::str::from_utf8(word).ok())
    });
    ENTRIES.iter().copied().chain(words).filter_map(|word| units.number(word)).collect()
}

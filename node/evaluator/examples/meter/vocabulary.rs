//! A tokenizer of a wanted size: the words of a text, most frequent first, built up from their
//! beginnings.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::json;

use crate::Failed;

/// A `tokenizer.json` whose vocabulary has `entries` entries, the start mark included. What the
/// text has too few words for is filled up with entries that no text has.
pub(crate) fn tokenizer(text: &str, entries: u32) -> Result<Vec<u8>, Failed> {
    let wanted = usize::try_from(entries)? - 1;
    let mut frequency: HashMap<String, u64> = HashMap::new();
    for word in text.split_whitespace().filter(|word| word.bytes().all(|b| b.is_ascii_alphabetic()))
    {
        // The sign for a space in such files.
        *frequency.entry(format!("\u{120}{word}")).or_default() += 1;
    }
    let mut words: Vec<(String, u64)> = frequency.into_iter().collect();
    words.sort_unstable_by(|one, other| other.1.cmp(&one.1).then(one.0.cmp(&other.0)));
    let mut tokens: Vec<String> = alphabet();
    let mut known: BTreeSet<String> = tokens.iter().cloned().collect();
    let mut merges: Vec<[String; 2]> = Vec::new();
    for (word, _) in words {
        let letters: Vec<char> = word.chars().collect();
        for length in 2..=letters.len() {
            let (start, last) = (&letters[..length - 1], letters[length - 1]);
            let token: String = letters[..length].iter().collect();
            if tokens.len() < wanted && known.insert(token.clone()) {
                merges.push([start.iter().collect(), last.to_string()]);
                tokens.push(token);
            }
        }
    }
    let fillers = (tokens.len()..wanted).map(|number| format!("!filler{number}"));
    let tokens: Vec<String> = tokens.into_iter().chain(fillers).collect();
    let vocab: BTreeMap<String, usize> = tokens.into_iter().zip(0..).collect();
    Ok(serde_json::to_vec(&json!({
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    }))?)
}

/// The characters that stand for bytes in such files.
fn alphabet() -> Vec<String> {
    let is_seen = |code: &u32| matches!(code, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let unseen = (0..=255).filter(|code| !is_seen(code)).count();
    let seen = (0..=255).filter(is_seen);
    let signs = seen.chain((0x100..).take(unseen)).filter_map(char::from_u32);
    signs.map(String::from).collect()
}

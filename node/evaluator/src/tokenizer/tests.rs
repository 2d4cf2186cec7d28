//! Tokenizer files, good, broken and hostile.

use proptest::prelude::*;
use serde_json::{json, Value};

use super::*;

fn rules() -> TokenRules {
    TokenRules::standard()
}

/// A file with all bytes, these merges, and what else is asked for.
pub(crate) fn file(merges: &[(&str, &str)], fillers: usize) -> Value {
    let mut symbols: Vec<(char, u8)> = byte_alphabet().into_iter().collect();
    symbols.sort_unstable();
    let mut vocab: Vec<String> = symbols.iter().map(|(symbol, _)| symbol.to_string()).collect();
    vocab.extend(merges.iter().map(|(left, right)| format!("{left}{right}")));
    vocab.extend((0..fillers).map(|number| format!("!filler{number}")));
    let vocab: serde_json::Map<String, Value> =
        vocab.into_iter().zip(0..).map(|(token, id)| (token, json!(id))).collect();
    json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel" },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    })
}

pub(crate) fn read(file: &Value) -> Result<Tokenizer, TokenizerError> {
    Tokenizer::read(&serde_json::to_vec(file).unwrap(), &rules())
}

impl Tokenizer {
    /// One whose token for `token` stands for other bytes.
    pub(crate) fn meaning(mut self, token: &str, bytes: &[u8]) -> Self {
        let id = self.encode(token).unwrap()[0] as usize;
        self.bytes[id] = bytes.to_vec();
        self
    }
}

const MERGES: [(&str, &str); 4] = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n")];

#[test]
fn text_is_split_into_the_tokens_that_its_merges_make_and_each_knows_its_bytes() {
    let tokenizer = read(&file(&MERGES, 0)).unwrap();
    assert_eq!((tokenizer.vocabulary(), tokenizer.start_mark()), (261, 260));
    let ids = tokenizer.encode("in the thing").unwrap();
    let lengths: Vec<u64> = ids.iter().map(|id| tokenizer.bytes_of(*id)).collect();
    assert_eq!(lengths, [2, 4, 1, 2, 2, 1]);
    assert_eq!(tokenizer.bytes_of(260), 0, "the start mark stands for no text");
}

#[test]
fn every_text_is_what_its_tokens_stand_for_whatever_characters_it_has() {
    let tokenizer = read(&file(&MERGES, 0)).unwrap();
    for text in ["", "the", "Ångström 你好 🦀 \u{0}\t\r\n  \u{fffd}", "<|endoftext|>", "Ġthe"]
    {
        let ids = tokenizer.encode(text).unwrap();
        let length: u64 = ids.iter().map(|id| tokenizer.bytes_of(*id)).sum();
        assert_eq!(length, text.len() as u64, "{text}");
    }
}

#[test]
fn the_pattern_of_a_known_tokenizer_is_taken_and_another_is_not() {
    let with = |pattern: &str| {
        let mut file = file(&MERGES, 0);
        file["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated",
              "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
        ]});
        read(&file)
    };
    let known = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    assert_eq!(with(known).unwrap().encode("in the  1234\n\n").unwrap().len(), 10);
    assert!(matches!(with("(a*)*b").unwrap_err(), TokenizerError::NotTaken { .. }));
}

#[test]
fn whatever_may_change_text_blow_it_up_or_draw_at_random_is_refused_by_name() {
    let refused = |path: &str, value: Value| {
        let mut file = file(&MERGES, 0);
        *file.pointer_mut(path).unwrap_or(&mut Value::Null) = value.clone();
        if let Some(field) = path.strip_prefix("/model/") {
            file["model"][field] = value;
        }
        match read(&file).unwrap_err() {
            TokenizerError::NotTaken { what } => what,
            TokenizerError::Malformed(what) => what,
            other => panic!("{path}: {other:?}"),
        }
    };
    let doubles = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aa" });
    let bomb = json!({ "type": "Sequence", "normalizers": vec![doubles; 64] });
    assert_eq!(refused("/normalizer", bomb), "a normalizer");
    assert_eq!(refused("/normalizer", json!({ "type": "Lowercase" })), "a normalizer");
    assert_eq!(refused("/model/dropout", json!(0.1)), "dropout");
    assert_eq!(refused("/model/unk_token", json!("a")), "a token for what is unknown");
    assert_eq!(refused("/model/type", json!("WordLevel")), "the model `WordLevel`");
    assert!(refused("/model/byte_fallback", json!(true)).contains("byte_fallback"));
    assert!(refused("/model/surprise", json!(1)).contains("surprise"));
    assert!(refused("/pre_tokenizer", json!(null)).contains("ByteLevel"));
    let prefixed = json!({ "type": "ByteLevel", "add_prefix_space": true });
    assert!(refused("/pre_tokenizer", prefixed).contains("add_prefix_space"));
    let words = json!({ "type": "Whitespace" });
    assert!(refused("/pre_tokenizer", words).contains("Whitespace"));
}

#[test]
fn ids_beyond_the_vocabulary_twice_or_missing_are_refused_and_so_is_too_large_a_one() {
    for id in [300, 0, u64::MAX] {
        let mut file = file(&MERGES, 0);
        file["model"]["vocab"]["the"] = json!(id);
        assert!(matches!(read(&file), Err(TokenizerError::Ids { .. })), "{id}");
    }
    let mut missing = file(&MERGES, 0);
    missing["model"]["vocab"].as_object_mut().unwrap().remove("!");
    assert!(read(&missing).is_err());
    let mut renamed = file(&MERGES, 0);
    let id = renamed["model"]["vocab"].as_object_mut().unwrap().remove("!").unwrap();
    renamed["model"]["vocab"]["!!"] = id;
    assert_eq!(read(&renamed).err(), Some(TokenizerError::MissingByte { byte: b'!' }));
    let most = 65_536 - 1 - 260;
    assert!(read(&file(&MERGES, most)).is_ok());
    let larger = read(&file(&MERGES, most + 1)).err();
    assert_eq!(larger, Some(TokenizerError::TooLarge { entries: 65_537, max: 65_536 }));
}

#[test]
fn added_tokens_are_entries_that_no_text_is_split_into() {
    let mut file = file(&MERGES, 0);
    file["added_tokens"] = json!([{ "id": 260, "content": "the land", "special": false,
        "single_word": false, "lstrip": true, "rstrip": true, "normalized": false }]);
    let tokenizer = read(&file).unwrap();
    assert_eq!(tokenizer.vocabulary(), 262);
    let ids = tokenizer.encode("  the land  ").unwrap();
    assert!(!ids.contains(&260), "{ids:?}");
    file["added_tokens"][0]["id"] = json!(261);
    assert!(matches!(read(&file), Err(TokenizerError::Ids { id: 261 })));
}

#[test]
fn merges_of_tokens_that_are_not_there_are_an_error_of_the_file() {
    let mut file = file(&MERGES, 0);
    file["model"]["merges"] = json!([["nowhere", "x"]]);
    assert!(matches!(read(&file), Err(TokenizerError::Library(_))));
    file["model"]["merges"] = json!(["t h", "no space at all"]);
    assert!(matches!(read(&file), Err(TokenizerError::Malformed(_))));
}

#[test]
fn a_token_that_means_something_else_than_its_text_is_lossy() {
    let tokenizer = read(&file(&MERGES, 0)).unwrap().meaning("the", b"The");
    assert_eq!(tokenizer.encode("in\nthe").unwrap_err(), EncodeError::Lossy);
    let tokenizer = read(&file(&MERGES, 0)).unwrap().meaning("the", b"");
    assert_eq!(tokenizer.encode("the").unwrap_err(), EncodeError::Lossy);
    assert!(tokenizer.encode("in").is_ok());
}

#[test]
fn a_panic_is_contained() {
    assert_eq!(contained(|| 1), Some(1));
    assert_eq!(contained(|| -> u32 { panic!("as a library may") }), None);
}

#[test]
fn a_long_run_without_a_break_takes_no_time_to_speak_of() {
    let mut file = file(&MERGES, 0);
    file["pre_tokenizer"]["use_regex"] = json!(false);
    let merges: Vec<(String, String)> =
        (0..8).map(|n| ("a".repeat(1 << n), "a".repeat(1 << n))).collect();
    for (id, (left, right)) in merges.iter().enumerate() {
        file["model"]["vocab"][format!("{left}{right}")] = json!(260 + id);
    }
    file["model"]["merges"] = json!(merges);
    let tokenizer = read(&file).unwrap();
    let started = std::time::Instant::now();
    assert_eq!(tokenizer.encode(&"a".repeat(1 << 16)).unwrap().len(), 256);
    assert_eq!(tokenizer.encode(&" ".repeat(1 << 16)).unwrap().len(), 1 << 16);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_and_no_bytes_break_it(text in "\\PC{0,200}", bytes in any::<Vec<u8>>()) {
        let tokenizer = read(&file(&MERGES, 0)).unwrap();
        let ids = tokenizer.encode(&text).unwrap();
        let length: u64 = ids.iter().map(|id| tokenizer.bytes_of(*id)).sum();
        prop_assert_eq!(length, text.len() as u64);
        prop_assert!(Tokenizer::read(&bytes, &rules()).is_err());
    }
}

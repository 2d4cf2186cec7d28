//! Seeds of what a container says and of tokenizer files, which `corpus.rs` replays:
//! `ASSAY_CORPUS=write cargo test -p node-evaluator --test corpus_of_containers`.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::path::{Path, PathBuf};

use node_core::policy::Policy;
use node_evaluator::meter::PROTOCOL_VERSION;
use node_evaluator::tokenizer::Tokenizer;
use serde_json::{json, Value};

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz")
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&[kind], &length.to_le_bytes()[..], payload].concat()
}

/// Uniform predictions for a batch of so many sequences of four bytes.
fn predictions(request: u32, sequences: usize) -> Vec<u8> {
    let rows = (-(256_f32.ln())).to_le_bytes().repeat(sequences * 4 * 256);
    frame(19, &[&request.to_le_bytes()[..], &rows].concat())
}

/// What the gate of the untrained model asks: a cut, three batches, one length.
fn probed() -> Vec<u8> {
    let answers = (0_u32..).zip([1, 1, 2, 1, 2, 2, 1]);
    let answers = answers.flat_map(|(request, sequences)| predictions(request, sequences));
    answers.chain(frame(29, &[100_u64, 7].map(u64::to_le_bytes).concat())).collect()
}
/// A traced model.
const OPERATORS: &[u8] =
    br#"{"names":["aten.embedding.default","aten.addmm.default"],"operators":[[0],[1,0]]}"#;

/// What containers say.
fn channels() -> Vec<(&'static str, Vec<u8>)> {
    let hello = frame(17, &PROTOCOL_VERSION.to_le_bytes());
    let ready = frame(18, &100_u64.to_le_bytes());
    let good = [hello.clone(), ready.clone(), probed(), predictions(7, 2)].concat();
    // The sign of a log-probability: that row is no distribution.
    let mut flipped = good.clone();
    flipped[hello.len() + ready.len() + 5 + 4 + 3] ^= 0x80;
    let begun =
        |frames: &[Vec<u8>]| [&[hello.clone(), ready.clone()][..], frames].concat().concat();
    vec![
        ("good", good),
        ("flipped", flipped),
        ("raised", begun(&[predictions(0, 1), frame(28, b"model.py:1: no")])),
        ("counted", begun(&[frame(29, &[0xff; 16])])),
        ("wide", begun(&[predictions(0, 2)])),
        ("large", begun(&[probed()[..7 * 9 + 10 * 4096].to_vec(), frame(29, &[0xfe; 16])])),
        ("log", [hello.clone(), frame(22, br#"{"loss": 1.5}"#), ready.clone()].concat()),
        ("error", [hello.clone(), frame(23, b"training.py:1: no")].concat()),
        ("no_memory", [hello.clone(), frame(24, b"CUDA")].concat()),
        (
            "operators",
            [hello.clone(), frame(25, OPERATORS), ready.clone(), predictions(0, 1)].concat(),
        ),
        ("early", [hello.clone(), ready, frame(21, &[0; 52])].concat()),
        ("next", [hello.clone(), frame(20, &[0xff; 8])].concat()),
        ("device", frame(17, &[&PROTOCOL_VERSION.to_le_bytes()[..], b"GPU-1"].concat())),
        ("longer", [hello, vec![19, 0xff, 0xff, 0xff, 0xff]].concat()),
    ]
}

/// A file with all bytes and one merge.
fn tokenizer() -> Value {
    let is_seen = |code: &u32| matches!(code, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let signs = (0..=255).filter(is_seen).chain(0x100..0x100 + 68);
    let signs = signs.map(|code| char::from_u32(code).unwrap().to_string());
    let vocab: serde_json::Map<String, Value> =
        signs.chain(["in".to_owned()]).zip(0..).map(|(sign, id)| (sign, json!(id))).collect();
    json!({
        "added_tokens": [{ "id": 257, "content": "<|end|>" }],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false },
        "model": { "type": "BPE", "vocab": vocab, "merges": ["i n"] },
    })
}

fn tokenizers() -> Vec<(&'static str, Vec<u8>)> {
    let good = serde_json::to_vec(&tokenizer()).unwrap();
    let changed = |path: &str, value: Value| {
        let mut file = tokenizer();
        *file.pointer_mut(path).unwrap() = value;
        serde_json::to_vec(&file).unwrap()
    };
    vec![
        ("good", good.clone()),
        ("cut", good[..good.len() / 2].to_vec()),
        ("ids", changed("/model/vocab/in", json!(u64::MAX))),
        ("merges", changed("/model/merges", json!([["in", "in"]]))),
        ("words", changed("/pre_tokenizer/type", json!("Whitespace"))),
        ("deep", "[".repeat(10_000).into_bytes()),
    ]
}

fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let of = |target, seeds: Vec<(&'static str, Vec<u8>)>| {
        seeds.into_iter().map(move |(kind, bytes)| (target, kind, bytes))
    };
    of("meter_channel", channels()).chain(of("tokenizer", tokenizers())).collect()
}

#[test]
fn the_corpus_has_every_seed_as_it_is_made_today() {
    let corpus = fuzz_crate().join("corpus");
    for (target, kind, bytes) in seeds() {
        let path = corpus.join(target).join(kind);
        if std::env::var_os("ASSAY_CORPUS").is_some_and(|what| what == "write") {
            std::fs::create_dir_all(corpus.join(target)).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        let kept = std::fs::read(&path).unwrap_or_default();
        assert!(kept == bytes, "{} is not what it should be", path.display());
    }
    let (_, _, good) = seeds().into_iter().rfind(|seed| seed.1 == "good").unwrap();
    assert!(Tokenizer::read(&good, &Policy::dev().meter.tokens).is_ok());
}

//! Trains the tokenizer that ships with the node and prints its `tokenizer.json`.
//!
//! `cargo run --release --example reference_tokenizer -p node-evaluator -- DATASET`, where DATASET
//! is the data set that `scripts/prepare` made. Only its training text is read. The same text gives
//! the same file.

#![allow(clippy::print_stdout, reason = "what it makes goes to its output")]

use std::path::PathBuf;

use node_evaluator::dataset::{Dataset, Split};
use tokenizers::models::bpe::{BpeTrainer, BPE};
use tokenizers::models::TrainerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ModelWrapper, Tokenizer};

/// Entries without the start mark, which makes them 4,096: as many as every position of a batch is
/// asked for with.
const ENTRIES: usize = 4_095;

/// A pair that stands only once in four million bytes is chance.
const FREQUENCY_MIN: u64 = 2;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let directory = std::env::args_os().nth(1).ok_or("which data set?")?;
    let dataset = Dataset::open(&PathBuf::from(directory))?;
    let mut text = vec![0; usize::try_from(dataset.bytes(Split::Train))?];
    dataset.read(Split::Train, 0, &mut text)?;
    print!("{}", trained(String::from_utf8(text)?)?);
    Ok(())
}

fn trained(text: String) -> Result<String, Failed> {
    let trainer = BpeTrainer::builder()
        .vocab_size(ENTRIES)
        .min_frequency(FREQUENCY_MIN)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(Vec::<AddedToken>::new())
        .build();
    let mut tokenizer = Tokenizer::new(ModelWrapper::BPE(BPE::default()));
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.train(&mut TrainerWrapper::BpeTrainer(trainer), std::iter::once(text))?;
    tokenizer.to_string(false)
}

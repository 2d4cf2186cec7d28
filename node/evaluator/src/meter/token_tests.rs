//! The meter with a submission's tokenizer and with sampled positions, against scripted peers.

use std::collections::BTreeMap;
use std::path::Path;

use node_core::evidence::Hook;
use node_core::id::Digest;
use node_core::policy::{MeterRules, Policy, TokenRules};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::plan::{Batch, BatchError, Part};
use super::*;
use crate::dataset::{prepare, Dataset, Split};
use crate::tokenizer::tests::{file, read};
use crate::tokenizer::Tokenizer;

const MERGES: [(&str, &str); 8] = [
    ("t", "h"),
    ("th", "e"),
    ("Ġ", "the"),
    ("a", "n"),
    ("Ġ", "an"),
    ("Ġan", "d"),
    ("Ġ", "in"),
    ("i", "n"),
];

/// Bytes, merges, and entries that no text has: 600 with the start mark.
fn tokenizer() -> Tokenizer {
    let mut merges = MERGES.to_vec();
    merges.swap(6, 7);
    read(&file(&merges, 600 - 256 - 8 - 1)).unwrap()
}

fn dataset(dir: &Path) -> Dataset {
    let line = |n: usize| format!("{n} and the {} begät in the 地 {}\n", n * 7919, n * 104_729);
    let chapter = |c: usize| (0..60).map(|n| line(c * 60 + n)).collect::<String>() + "\n";
    let input = dir.join("text");
    std::fs::write(&input, (0..300).map(chapter).collect::<String>()).unwrap();
    prepare(&[input], &dir.join("data")).unwrap()
}

/// Eight sequences of sixteen tokens, of which 32 are asked.
fn rules() -> MeterRules {
    MeterRules {
        train_bytes: 4_000,
        heldout_bytes: 1_000,
        batch_sequences: 8,
        sequence_tokens: 16,
        audits_per_mille: 0,
        parameters_max: 1000,
        tokens: TokenRules {
            every_position_vocabulary_max: 599,
            sampled_positions: 32,
            ..TokenRules::standard()
        },
        ..Policy::dev().meter
    }
}

fn all(plan: &mut MeterPlan<'_>, part: Part) -> Vec<Batch> {
    std::iter::from_fn(|| plan.next(part).unwrap()).collect()
}

/// One ask, taken apart.
struct Ask {
    request: [u8; 4],
    sequences: Vec<Vec<u32>>,
    positions: Vec<usize>,
}

impl Ask {
    /// Tokens of two bytes each.
    fn read(payload: &[u8]) -> Self {
        let number = |at: usize| u32::from_le_bytes(*payload[at..].first_chunk().unwrap()) as usize;
        let (sequences, tokens, positions) = (number(4), number(8), number(12));
        let (ids, rest) = payload[16..].split_at(sequences * tokens * 2);
        let ids: Vec<u32> =
            ids.chunks(2).map(|id| u32::from(u16::from_le_bytes([id[0], id[1]]))).collect();
        assert_eq!(rest.len(), positions * 4);
        let position = |bytes: &[u8]| u32::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
        Self {
            request: *payload.first_chunk().unwrap(),
            sequences: ids.chunks(tokens).map(<[u32]>::to_vec).collect(),
            positions: rest.chunks(4).map(position).collect(),
        }
    }
}

struct Peer {
    io: DuplexStream,
    asks: Vec<Ask>,
}

impl Peer {
    async fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        frame.extend(payload);
        self.io.write_all(&frame).await.ok();
    }

    async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.io.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_le_bytes(*head[1..].first_chunk().unwrap()) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        Some((head[0], payload))
    }

    /// Keeps to the protocol to its end; `row_of` predicts from a sequence and a token's place.
    async fn keep(mut self, mut row_of: impl FnMut(&[u32], usize) -> Vec<f32>) -> Vec<Ask> {
        self.send(17, &PROTOCOL_VERSION.to_le_bytes()).await;
        while let Some((kind, payload)) = self.receive().await {
            match kind {
                1 => self.send(18, &100_u64.to_le_bytes()).await,
                2 => {
                    let ask = Ask::read(&payload);
                    let mut answer = ask.request.to_vec();
                    for position in &ask.positions {
                        let (sequence, token) = (position / 16, position % 16);
                        let row = row_of(&ask.sequences[sequence], token);
                        answer.extend(row.iter().flat_map(|p| p.to_le_bytes()));
                    }
                    self.asks.push(ask);
                    self.send(19, &answer).await;
                }
                3 | 4 => self.send(20, &100_u64.to_le_bytes()).await,
                5 => {
                    // 8 bytes of a device, 60 parameters of tables; hooks 0 and 3 are there, called
                    // once and nine times.
                    let numbers = [100, 0, 8, 0, 60, 0, 0b1001, 1, 2, 3, 9, 5, 6_u32];
                    let payload: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
                    self.send(21, &payload).await;
                }
                _ => break,
            }
        }
        self.asks
    }
}

async fn measured(
    rules: &MeterRules,
    seed: u8,
    row_of: impl FnMut(&[u32], usize) -> Vec<f32>,
) -> (MeterOutcome, Vec<Ask>, Progress) {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let seed = Digest([seed; 32]);
    let plan = MeterPlan::with_tokenizer(&dataset, rules, &seed, tokenizer()).unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (progress, watched) = watch::channel(Progress::default());
    let archive = Archive { files: [("training.py".to_owned(), b"x = 1\n".to_vec())].into() };
    let peer = Peer { io: theirs, asks: Vec::new() };
    let meter = run_meter(ours, &archive, plan, &progress);
    let (outcome, asks) = tokio::join!(meter, peer.keep(row_of));
    let last = *watched.borrow();
    (outcome, asks, last)
}

fn uniform(_: &[u32], _: usize) -> Vec<f32> {
    vec![-(600_f32.ln()); 600]
}

/// Reads the answer from the input after it.
fn peeking(inputs: &[u32], token: usize) -> Vec<f32> {
    let Some(next) = inputs.get(token + 1) else { return uniform(inputs, token) };
    let mut row = vec![(0.1_f32 / 599.0).ln(); 600];
    row[*next as usize] = 0.9_f32.ln();
    row
}

#[tokio::test]
async fn a_uniform_predictor_pays_the_same_for_every_token_whatever_is_asked_and_bytes_are_counted()
{
    let (outcome, asks, last) = measured(&rules(), 1, uniform).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let metrics = outcome.metrics.unwrap();
    assert_eq!(metrics.vocabulary, 600);
    assert_eq!(metrics.tokens, u64::from(metrics.batches) * 128);
    assert_eq!(metrics.conduct.scored_positions, u64::from(metrics.batches) * 32);
    // Within the budget, and by less than a batch, of at most eight bytes per token.
    assert!((4_000 - 1_024..=4_000).contains(&metrics.covered_bytes), "{metrics:?}");
    assert!(metrics.covered_bytes > metrics.tokens, "{metrics:?}");
    let nats = 600_f64.ln() * f64::from(u32::try_from(metrics.tokens).unwrap());
    let measured = metrics.sum_nll_nanonats as f64 * 1e-9;
    assert!((measured - nats).abs() < 1e-3, "{measured} {nats}");
    assert_eq!(
        metrics.conduct.hooks_used,
        BTreeMap::from([(Hook::GetRecipe, 1), (Hook::TrainStep, 9)])
    );
    assert_eq!(metrics.conduct.peak_device_bytes, 8);
    assert_eq!(metrics.conduct.embedding_parameters, Some(60));
    assert!(asks.iter().all(|ask| ask.positions.len() == 32 && ask.positions.is_sorted()));
    assert!(asks.windows(2).skip(1).all(|two| two[0].positions != two[1].positions));
    assert_eq!((last.bytes_done, last.bytes_total), (metrics.covered_bytes, 4_000));
    // As many batches as were promised, give or take one or two.
    assert!(last.batches_total.abs_diff(last.batches_done) <= 2, "{last:?}");
}

#[test]
fn the_tokens_of_a_pass_are_its_text_piece_by_piece_and_passes_have_none_in_common() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let plan = || MeterPlan::with_tokenizer(&dataset, &rules(), &Digest([2; 32]), tokenizer());
    let (mut one, mut two) = (plan().unwrap(), plan().unwrap());
    // What is looked at to tell the number of batches is not lost.
    two.expected_batches().unwrap();
    for part in [Part::HeldOutBefore, Part::Training, Part::HeldOutAfter] {
        let batches = all(&mut one, part);
        assert_eq!(batches, all(&mut two, part));
        assert!(!batches.is_empty());
        for batch in &batches {
            assert_eq!((batch.targets.len(), batch.inputs.len()), (128, 128));
            for (inputs, targets) in batch.inputs.chunks(16).zip(batch.targets.chunks(16)) {
                assert_eq!(inputs[0], 599);
                assert_eq!(inputs[1..], targets[..15]);
            }
            let tokenizer = tokenizer();
            let bytes: u64 = batch.targets.iter().map(|id| tokenizer.bytes_of(*id)).sum();
            assert_eq!(batch.bytes, bytes);
        }
    }
}

#[test]
fn neighbouring_pieces_have_every_character_once() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let all = usize::try_from(dataset.bytes(Split::Validation)).unwrap();
    let mut whole = vec![0; all];
    dataset.read(Split::Validation, 0, &mut whole).unwrap();
    for size in [7, 64, 1024] {
        let pieces = (0..all.div_ceil(size)).map(|piece| {
            let from = (piece * size) as u64;
            passage::read_chars(&dataset, Split::Validation, from, size as u64).unwrap()
        });
        let joined: String = pieces.collect();
        assert_eq!(joined.as_bytes(), whole, "{size}");
    }
}

#[tokio::test]
async fn a_model_that_looks_ahead_is_caught_at_the_positions_that_it_is_asked_for() {
    let (outcome, asks, _) = measured(&rules(), 3, peeking).await;
    assert_eq!(outcome.ending, Ending::NotCausal { batch: 0 });
    assert_eq!(asks[0].positions, asks[1].positions, "an audit is asked like any batch");
}

#[tokio::test]
async fn looking_ahead_and_repeating_the_first_answer_is_caught_with_sampled_positions_too() {
    let mut said: BTreeMap<Vec<u32>, Vec<f32>> = BTreeMap::new();
    let repeating = move |inputs: &[u32], token: usize| {
        let beginning = inputs[..=token].to_vec();
        said.entry(beginning).or_insert_with(|| peeking(inputs, token)).clone()
    };
    let (outcome, _, _) = measured(&rules(), 4, repeating).await;
    assert_eq!(outcome.ending, Ending::NotCausal { batch: 0 });
}

#[tokio::test]
async fn an_honest_model_passes_every_audit_of_sampled_positions() {
    // Knows what often follows, and nothing of what comes.
    let tokenizer = tokenizer();
    let and = tokenizer.encode(" and").unwrap()[0];
    let honest = move |inputs: &[u32], token: usize| {
        let mut row = uniform(inputs, token);
        if inputs[token] != and {
            row = vec![(0.8_f32 / 599.0).ln(); 600];
            row[and as usize] = 0.2_f32.ln();
        }
        row
    };
    let rules = MeterRules { audits_per_mille: 1000, ..rules() };
    let (outcome, _, _) = measured(&rules, 5, honest).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let metrics = outcome.metrics.unwrap();
    assert!(metrics.audits > metrics.batches);
}

#[test]
fn text_that_does_not_survive_its_tokens_ends_in_the_batch_where_it_was_found() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let rules = MeterRules { train_bytes: 20_000, ..rules() };
    let lossy = || tokenizer().meaning(" the", b" The");
    let seed = Digest([6; 32]);
    let mut plan = MeterPlan::with_tokenizer(&dataset, &rules, &seed, lossy()).unwrap();
    let lossy = plan.next(Part::HeldOutBefore).unwrap_err();
    assert!(matches!(lossy, BatchError::Lossy { batch: 0 }), "{lossy:?}");
    let lossy = plan.next(Part::Training).unwrap_err();
    assert!(matches!(lossy, BatchError::Lossy { batch: 1 }), "{lossy:?}");
}

#[tokio::test]
async fn a_lossy_tokenizer_ends_a_run_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let tokenizer = tokenizer().meaning(" the", b" The");
    let plan = MeterPlan::with_tokenizer(&dataset, &rules(), &Digest([7; 32]), tokenizer).unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let progress = watch::Sender::new(Progress::default());
    let archive = Archive { files: BTreeMap::new() };
    let peer = Peer { io: theirs, asks: Vec::new() };
    let meter = run_meter(ours, &archive, plan, &progress);
    let (outcome, asks) = tokio::join!(meter, peer.keep(uniform));
    assert!(matches!(outcome.ending, Ending::TokenizerLossy { .. }), "{:?}", outcome.ending);
    assert!(asks.is_empty() && !outcome.peer_left);
}

#[test]
fn a_batch_of_the_largest_vocabulary_fits_a_frame_and_a_larger_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let largest = || read(&file(&[], 65_536 - 256 - 1)).unwrap();
    let seed = Digest([8; 32]);
    let rules = MeterRules { tokens: TokenRules::standard(), ..rules() };
    assert!(MeterPlan::with_tokenizer(&dataset, &rules, &seed, largest()).is_ok());
    let more = TokenRules { every_position_vocabulary_max: u32::MAX, ..TokenRules::standard() };
    let rules = MeterRules { sequence_tokens: 64, tokens: more, ..rules };
    let refused = MeterPlan::with_tokenizer(&dataset, &rules, &seed, largest()).err();
    assert_eq!(refused, Some(PlanError::BatchTooLarge { bytes: 512 * 65_536 * 4 }));
}

#[test]
fn progress_tells_rate_and_rest_once_there_is_something_to_tell() {
    let mut progress = Progress { bytes_total: 10_000, ..Progress::default() };
    assert_eq!((progress.bytes_per_second(), progress.remaining_s()), (None, None));
    (progress.bytes_done, progress.trained_ms) = (2_500, 2_000);
    assert_eq!((progress.bytes_per_second(), progress.remaining_s()), (Some(1_250), Some(6)));
}

//! The meter against peers of every kind, over a channel in memory.

mod untrained;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use node_core::id::Digest;
use node_core::policy::{MeterRules, Policy};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::plan::Part;
use super::*;
use crate::dataset::{prepare, Dataset, Split};

const SEQUENCES: usize = 16;
const TOKENS: usize = 16;
const BATCHES: u32 = 6;

/// Text with structure, enough for every split.
pub(super) fn dataset(dir: &Path) -> Dataset {
    let line = |n: usize| format!("{n} and the {} begat {} in the land\n", n * 7919, n * 104_729);
    let chapter = |c: usize| (0..60).map(|n| line(c * 60 + n)).collect::<String>() + "\n";
    let input = dir.join("text");
    std::fs::write(&input, (0..300).map(chapter).collect::<String>()).unwrap();
    prepare(&[input], &dir.join("data")).unwrap()
}

pub(super) fn rules() -> MeterRules {
    MeterRules {
        train_bytes: u64::from(BATCHES) * 256 + 100,
        heldout_bytes: 512,
        batch_sequences: 16,
        sequence_tokens: 16,
        audits_per_mille: 0,
        parameters_max: 1000,
        ..Policy::dev().meter
    }
}

pub(super) fn archive() -> Archive {
    let file = |path: &str| (path.to_owned(), b"x = 1\n".to_vec());
    Archive { files: [file("architecture.py"), file("training.py")].into() }
}

/// The container's end of the channel.
pub(super) struct Peer {
    pub(super) io: DuplexStream,
}

impl Peer {
    pub(super) async fn send(&mut self, kind: u8, payload: &[u8]) {
        let mut frame = vec![kind];
        frame.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
        frame.extend(payload);
        // A meter that has hung up is what some tests are about.
        self.io.write_all(&frame).await.ok();
    }

    pub(super) async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.io.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_le_bytes(*head[1..].first_chunk().unwrap()) as usize];
        self.io.read_exact(&mut payload).await.ok()?;
        Some((head[0], payload))
    }

    pub(super) async fn hello(&mut self) -> Vec<u8> {
        self.send(17, &PROTOCOL_VERSION.to_le_bytes()).await;
        let (kind, start) = self.receive().await.unwrap();
        assert_eq!(kind, 1);
        start
    }

    pub(super) async fn number(&mut self, kind: u8, number: u64) {
        self.send(kind, &number.to_le_bytes()).await;
    }

    /// The training is over: no hooks, no devices.
    async fn trained(&mut self, parameters: u64) {
        let mut payload = parameters.to_le_bytes().to_vec();
        payload.resize(52, 0);
        self.send(21, &payload).await;
    }

    async fn answer(&mut self, ask: &[u8], row_of: &mut impl FnMut(&[u8], usize) -> Vec<f32>) {
        let mut payload = ask[..4].to_vec();
        for sequence in ask[16..].chunks(TOKENS) {
            for token in 0..TOKENS {
                payload.extend(row_of(sequence, token).iter().flat_map(|p| p.to_le_bytes()));
            }
        }
        self.send(19, &payload).await;
    }
}

/// Everything a peer saw, frame by frame.
type Seen = Vec<(u8, Vec<u8>)>;

/// A peer that keeps to the protocol and trains on `wanted` batches.
///
/// `row_of` predicts one position from its sequence's inputs; `learn` sees revealed targets.
async fn keep_to_protocol(
    mut peer: Peer,
    wanted: u32,
    mut row_of: impl FnMut(&[u8], usize) -> Vec<f32>,
) -> Seen {
    let mut seen = Vec::new();
    peer.hello().await;
    peer.number(18, 100).await;
    let mut asked = 0;
    while let Some((kind, payload)) = peer.receive().await {
        seen.push((kind, payload.clone()));
        match kind {
            2 => peer.answer(&payload, &mut row_of).await,
            3 | 4 if asked < wanted => {
                asked += 1;
                peer.number(20, 100).await;
            }
            3..=5 => peer.trained(100).await,
            _ => break,
        }
    }
    seen
}

async fn meter_with<F, T>(
    rules: &MeterRules,
    seed: u8,
    peer: impl FnOnce(Peer) -> F,
) -> (MeterOutcome, T, Progress)
where
    F: std::future::Future<Output = T>,
{
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let plan = MeterPlan::new(&dataset, rules, &Digest([seed; 32])).unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let (progress, watched) = watch::channel(Progress::default());
    let archive = archive();
    let meter = run_meter(ours, &archive, plan, &progress);
    let (outcome, seen) = tokio::join!(meter, peer(Peer { io: theirs }));
    let last = *watched.borrow();
    (outcome, seen, last)
}

fn uniform(_: &[u8], _: usize) -> Vec<f32> {
    vec![-(256_f32.ln()); 256]
}

/// Nearly sure that byte `byte` follows.
fn sure_of(byte: u8) -> Vec<f32> {
    let mut row = vec![(0.1_f32 / 255.0).ln(); 256];
    row[usize::from(byte)] = 0.9_f32.ln();
    row
}

/// A model that reads the answer from the input after it.
fn peeking(inputs: &[u8], token: usize) -> Vec<f32> {
    inputs.get(token + 1).map_or_else(|| uniform(inputs, token), |next| sure_of(*next))
}

fn kinds(seen: &Seen, kind: u8) -> usize {
    seen.iter().filter(|(got, _)| *got == kind).count()
}

#[tokio::test]
async fn a_uniform_predictor_has_eight_bits_per_byte() {
    let (outcome, seen, last) =
        meter_with(&rules(), 1, |peer| keep_to_protocol(peer, 99, uniform)).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let metrics = outcome.metrics.unwrap();
    assert_eq!(metrics.sum_nll_nanonats, 8_517_392_578_125);
    assert_eq!((metrics.covered_bytes, metrics.tokens), (1536, 1536));
    assert_eq!((metrics.batches, metrics.bad_batches, metrics.audits), (BATCHES, 0, 1));
    assert_eq!(metrics.step0_loss_nanonats, 5_545_177_460);
    assert_eq!(metrics.heldout_init_nanobpb, 8_000_000_022);
    assert_eq!(metrics.heldout_nanobpb, 8_000_000_022);
    assert_eq!(metrics.last_tenth_nanobpb, 8_000_000_022);
    assert_eq!(metrics.loss_curve_microbpb, [8_000_000; 6]);
    assert_eq!((metrics.parameters, metrics.vocabulary), (100, 256));
    // Two held-out batches twice, one more ask for the audit.
    assert_eq!(kinds(&seen, 2), 6 + 4 + 1);
    assert_eq!((kinds(&seen, 4), kinds(&seen, 5), kinds(&seen, 6)), (6, 1, 1));
    assert_eq!(last.phase, Phase::Finished);
    assert_eq!((last.batches_done, last.batches_total, last.bytes_done), (6, 6, 1536));
    assert_eq!((last.nanobpb, last.bytes_total), (8_000_000_022, 1536));
    let conduct = &metrics.conduct;
    assert_eq!((conduct.scored_positions, conduct.trained_batches), (1536, 6));
    assert!(conduct.hooks_used.is_empty());
}

#[tokio::test(start_paused = true)]
async fn targets_never_leave_before_the_predictions_arrived() {
    let patient = |mut peer: Peer| async move {
        peer.hello().await;
        peer.number(18, 100).await;
        let mut held_back = 0;
        let mut last_inputs = Vec::new();
        while let Some((kind, payload)) = peer.receive().await {
            match kind {
                2 => {
                    let silence = tokio::time::timeout(Duration::from_secs(3600), peer.receive());
                    assert!(silence.await.is_err(), "a frame came before the answer");
                    held_back += 1;
                    last_inputs = payload[16..].to_vec();
                    peer.answer(&payload, &mut uniform).await;
                }
                3 => peer.number(20, 100).await,
                4 => {
                    // Inputs are the start mark and the targets of the same sequence, shifted.
                    for (inputs, targets) in last_inputs.chunks(TOKENS).zip(payload.chunks(TOKENS))
                    {
                        assert_eq!(inputs[0], 0);
                        assert_eq!(inputs[1..], targets[..TOKENS - 1]);
                    }
                    peer.number(20, 100).await;
                }
                5 => peer.trained(100).await,
                _ => break,
            }
        }
        held_back
    };
    let (outcome, held_back, _) = meter_with(&rules(), 2, patient).await;
    assert_eq!(outcome.ending, Ending::Completed);
    assert_eq!(held_back, 11);
}

#[tokio::test]
async fn heldout_targets_are_never_revealed_and_the_two_passes_differ() {
    let (_, seen, _) = meter_with(&rules(), 3, |peer| keep_to_protocol(peer, 99, uniform)).await;
    let train_at = seen.iter().position(|(kind, _)| *kind == 3).unwrap();
    let end_at = seen.iter().position(|(kind, _)| *kind == 5).unwrap();
    let asks = |frames: &[(u8, Vec<u8>)]| -> Vec<Vec<u8>> {
        frames.iter().filter(|(kind, _)| *kind == 2).map(|(_, ask)| ask[16..].to_vec()).collect()
    };
    let (before, after) = (asks(&seen[..train_at]), asks(&seen[end_at..]));
    assert_eq!((before.len(), after.len()), (3, 2));
    assert!(after.iter().all(|ask| !before.contains(ask)));
    assert!(seen[end_at..].iter().all(|(kind, _)| *kind != 4));
    assert!(seen[..train_at].iter().all(|(kind, _)| *kind != 4));
}

#[test]
fn every_byte_is_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let mut plan = MeterPlan::new(&dataset, &rules(), &Digest([4; 32])).unwrap();
    let (before, after) = (plan.heldout_before.pieces_left(), plan.heldout_after.pieces_left());
    let heldout = [before, after].concat();
    for (pieces, expected) in [(plan.training.pieces_left(), 6), (&heldout, 4)] {
        let mut windows = pieces.to_vec();
        windows.sort_unstable();
        windows.dedup();
        assert_eq!(windows.len(), expected * SEQUENCES);
    }
    assert_eq!(plan.expected_batches().unwrap(), BATCHES);
    let window = plan.training.pieces_left()[1];
    let mut text = [0; TOKENS];
    dataset.read(Split::Train, window * TOKENS as u64, &mut text).unwrap();
    let batch = plan.next(Part::Training).unwrap().unwrap();
    assert_eq!(batch.targets[TOKENS..2 * TOKENS], text.map(u32::from));
    let more = std::iter::from_fn(|| plan.next(Part::Training).unwrap());
    assert_eq!(more.map(|batch| batch.bytes).collect::<Vec<_>>(), [256; 5]);
}

#[tokio::test]
async fn the_same_seed_asks_the_same_and_another_seed_another() {
    let seen = |seed| async move {
        meter_with(&rules(), seed, |peer| keep_to_protocol(peer, 99, uniform)).await
    };
    let (one, two, other) = (seen(5).await, seen(5).await, seen(6).await);
    assert_eq!(one.1, two.1);
    assert_eq!(one.0, two.0);
    assert_ne!(one.1, other.1);
}

#[tokio::test]
async fn a_better_predictor_gets_a_better_number_and_passes_every_audit() {
    // Knows how often each byte follows another, from text it saw elsewhere.
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let mut text = vec![0; 200_000];
    dataset.read(Split::Train, 0, &mut text).unwrap();
    let mut counts: HashMap<u8, [f32; 256]> = HashMap::new();
    for pair in text.windows(2) {
        counts.entry(pair[0]).or_insert([0.1; 256])[usize::from(pair[1])] += 1.0;
    }
    let bigram = move |inputs: &[u8], token: usize| {
        let row = counts.get(&inputs[token]).copied().unwrap_or([1.0; 256]);
        let total: f32 = row.iter().sum();
        row.iter().map(|count| (count / total).ln()).collect()
    };
    let rules = MeterRules { audits_per_mille: 1000, ..rules() };
    let (outcome, _, _) = meter_with(&rules, 7, |peer| keep_to_protocol(peer, 99, bigram)).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let metrics = outcome.metrics.unwrap();
    assert!(metrics.heldout_nanobpb < 3_500_000_000, "{}", metrics.heldout_nanobpb);
    assert_eq!(metrics.audits, 10);
}

#[tokio::test]
async fn a_model_that_looks_ahead_ends_as_not_causal_in_batch_zero() {
    let (outcome, _, _) = meter_with(&rules(), 8, |peer| keep_to_protocol(peer, 99, peeking)).await;
    assert_eq!(outcome.ending, Ending::NotCausal { batch: 0 });
    assert_eq!(outcome.metrics, None);
}

#[tokio::test]
async fn a_model_that_looks_ahead_only_in_training_is_caught_by_a_drawn_audit() {
    let rules = MeterRules { audits_per_mille: 1000, ..rules() };
    let mut asks = 0;
    let later = move |inputs: &[u8], token: usize| {
        asks += 1;
        // Two held-out batches, each asked twice.
        if asks <= 4 * SEQUENCES * TOKENS {
            uniform(inputs, token)
        } else {
            peeking(inputs, token)
        }
    };
    let (outcome, _, _) = meter_with(&rules, 9, |peer| keep_to_protocol(peer, 99, later)).await;
    assert_eq!(outcome.ending, Ending::NotCausal { batch: 1 });
}

#[tokio::test]
async fn looking_ahead_and_repeating_the_first_answer_is_caught_by_its_foresight() {
    // Remembers what it said after each beginning, and says it again.
    let mut said: HashMap<Vec<u8>, Vec<f32>> = HashMap::new();
    let repeating = move |inputs: &[u8], token: usize| {
        let beginning = inputs[..=token].to_vec();
        said.entry(beginning).or_insert_with(|| peeking(inputs, token)).clone()
    };
    // What it remembers of short beginnings is of another sequence: not every audit is enough.
    let rules = MeterRules { audits_per_mille: 1000, ..rules() };
    let (outcome, _, _) =
        meter_with(&rules, 10, |peer| keep_to_protocol(peer, 99, repeating)).await;
    assert!(matches!(outcome.ending, Ending::NotCausal { .. }), "{:?}", outcome.ending);
}

#[tokio::test]
async fn unusable_predictions_cost_sixteen_bits_and_are_counted() {
    let nan = |_: &[u8], _: usize| vec![f32::NAN; 256];
    let (outcome, _, _) = meter_with(&rules(), 11, |peer| keep_to_protocol(peer, 99, nan)).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let metrics = outcome.metrics.unwrap();
    assert_eq!(metrics.heldout_nanobpb, 16_000_000_000);
    assert_eq!(metrics.bad_batches, 10);
}

#[tokio::test]
async fn a_loop_that_returns_early_is_measured_on_the_rest_without_targets() {
    let (outcome, seen, _) =
        meter_with(&rules(), 12, |peer| keep_to_protocol(peer, 2, uniform)).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let metrics = outcome.metrics.unwrap();
    assert_eq!((metrics.batches, metrics.conduct.trained_batches), (BATCHES, 2));
    assert_eq!(kinds(&seen, 4), 2);
    assert_eq!(kinds(&seen, 2), 11);
}

#[tokio::test]
async fn asking_after_the_end_gets_the_end_again() {
    let greedy = |mut peer: Peer| async move {
        peer.hello().await;
        peer.number(18, 1).await;
        let mut ends = 0;
        while let Some((kind, payload)) = peer.receive().await {
            match kind {
                2 => peer.answer(&payload, &mut uniform).await,
                5 if ends == 2 => peer.trained(1).await,
                5 => {
                    ends += 1;
                    peer.number(20, 1).await;
                }
                3 | 4 => peer.number(20, 1).await,
                _ => break,
            }
        }
        ends
    };
    let (outcome, ends, _) = meter_with(&rules(), 13, greedy).await;
    assert_eq!((outcome.ending, ends), (Ending::Completed, 2));
}

#[tokio::test]
async fn a_model_above_the_limit_is_refused_when_ready_and_when_it_grows() {
    let big = |mut peer: Peer| async move {
        peer.hello().await;
        peer.number(18, 1001).await;
    };
    let (outcome, (), _) = meter_with(&rules(), 14, big).await;
    assert_eq!(outcome.ending, Ending::TooManyParameters { parameters: 1001 });
    let grows = |mut peer: Peer| async move {
        peer.hello().await;
        peer.number(18, 1).await;
        while let Some((kind, payload)) = peer.receive().await {
            match kind {
                2 => peer.answer(&payload, &mut uniform).await,
                _ => peer.number(20, u64::MAX).await,
            }
        }
    };
    let (outcome, (), _) = meter_with(&rules(), 14, grows).await;
    assert_eq!(outcome.ending, Ending::TooManyParameters { parameters: u64::MAX });
}

#[tokio::test]
async fn the_start_frame_brings_files_and_numbers_and_not_the_seed() {
    let (_, start, _) =
        meter_with(&rules(), 15, |mut peer| async move { peer.hello().await }).await;
    let start: serde_json::Value = serde_json::from_slice(&start).unwrap();
    assert_eq!(start["files"]["training.py"], "x = 1\n");
    assert_eq!(start["vocab_size"], 256);
    assert_eq!(start["max_seq_len"], 16);
    assert_eq!(start["batches"], 6);
    assert_eq!(start["token_budget"], 1536);
    assert_eq!((&start["id_bytes"], &start["world_size"]), (&1.into(), &1.into()));
    let entry = |name: &str| {
        let entry = &start["project"][name];
        format!("{}::{}", entry["file"].as_str().unwrap(), entry["symbol"].as_str().unwrap())
    };
    assert_eq!(entry("architecture"), "architecture.py::build_model");
    assert_eq!(entry("training"), "training.py::train");
    assert!(start["project"]["contract"].is_null());
    assert!(start["seed"].as_u64().unwrap() < 1 << 31);
    assert!(!start.to_string().contains("0f0f0f"));
}

/// Sends frames after hello, answering nothing.
async fn ending_after(frames: &'static [(u8, &'static [u8])]) -> MeterOutcome {
    let peer = |mut peer: Peer| async move {
        peer.hello().await;
        for (kind, payload) in frames {
            peer.send(*kind, payload).await;
        }
        // Reads what is there, so that only the frames sent decide the ending.
        while peer.receive().await.is_some() {}
    };
    meter_with(&rules(), 16, peer).await.0
}

#[tokio::test]
async fn whatever_the_protocol_does_not_allow_is_a_contract_violation() {
    let ready = (18, 5_u64.to_le_bytes());
    let ready: (u8, &'static [u8]) = (ready.0, Box::leak(Box::new(ready.1)));
    let cases: [&'static [(u8, &'static [u8])]; 12] = [
        &[(0, b"")],
        &[(99, b"x")],
        &[(1, b"")],
        &[(18, b"")],
        &[(18, b"123456789")],
        &[(17, b"\x01\0\0\0")],
        &[(20, b"\0\0\0\0\0\0\0\0")],
        &[(19, b"\0\0\0\0")],
        &[(22, b"not json")],
        &[(22, &[b'x'; LOG_BYTES_MAX + 1])],
        &[(23, &[b'x'; ERROR_BYTES_MAX + 1])],
        Box::leak(Box::new([ready, (21, b"\0\0\0\0\0\0\0\0")])),
    ];
    for frames in cases {
        let outcome = ending_after(frames).await;
        assert!(
            matches!(outcome.ending, Ending::ContractViolated { .. }),
            "{:?} after {frames:?}",
            outcome.ending
        );
        assert!(!outcome.peer_left);
    }
}

#[tokio::test]
async fn another_protocol_version_and_a_wrong_request_are_contract_violations() {
    let other = |mut peer: Peer| async move {
        peer.send(17, &(PROTOCOL_VERSION - 1).to_le_bytes()).await;
    };
    let (outcome, (), _) = meter_with(&rules(), 17, other).await;
    assert!(matches!(outcome.ending, Ending::ContractViolated { .. }), "{:?}", outcome.ending);
    let confused = |mut peer: Peer| async move {
        peer.hello().await;
        peer.number(18, 1).await;
        let (_, mut ask) = peer.receive().await.unwrap();
        ask[0] ^= 1;
        peer.answer(&ask, &mut uniform).await;
    };
    let (outcome, (), _) = meter_with(&rules(), 17, confused).await;
    assert!(matches!(outcome.ending, Ending::ContractViolated { .. }), "{:?}", outcome.ending);
}

/// The ending of a container that was given some devices and sees others.
async fn ending_on(given: &[&str], seen: &str) -> Ending {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let given = given.iter().map(|uuid| (*uuid).to_owned()).collect();
    let plan = MeterPlan::new(&dataset, &rules(), &Digest([24; 32])).unwrap().on_devices(given);
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let progress = watch::Sender::new(Progress::default());
    let mut peer = Peer { io: theirs };
    let hello = [&PROTOCOL_VERSION.to_le_bytes()[..], seen.as_bytes()].concat();
    let archive = archive();
    let (outcome, ()) = tokio::join!(run_meter(ours, &archive, plan, &progress), async {
        peer.send(17, &hello).await;
        // Whatever comes is the submission: it may come only if the devices are right.
        drop(peer);
    });
    outcome.ending
}

#[tokio::test]
async fn a_container_with_another_device_than_it_was_given_never_gets_the_submission() {
    let gpu = "GPU-0a1b2c3d-0000-0000-0000-000000000001";
    let bare = "0a1b2c3d-0000-0000-0000-000000000001";
    let other = "0a1b2c3d-0000-0000-0000-000000000002";
    let both = format!("{other}\n{bare}");
    for (given, seen) in [
        (&[gpu][..], ""),
        (&[gpu], other),
        (&[gpu], both.as_str()),
        (&[], bare),
        (&[gpu], "error 802 of the driver"),
    ] {
        let ending = ending_on(given, seen).await;
        let Ending::DeviceFailed { detail } = ending else { panic!("{ending:?} for {seen}") };
        assert!(seen.lines().all(|one| detail.contains(one)), "{detail}");
    }
    for (given, seen) in [
        (&[gpu][..], bare),
        (&[gpu], gpu),
        (&[gpu, "MIG-0A1B2C3D-0000-0000-0000-000000000002"], &both),
        (&[], ""),
    ] {
        let ending = ending_on(given, seen).await;
        // It goes on, and ends as this peer leaves.
        assert!(matches!(ending, Ending::SubmissionFailed { .. }), "{ending:?} for {seen}");
    }
}

#[tokio::test]
async fn a_device_out_of_memory_is_the_submissions_own_ending() {
    let starved = |mut peer: Peer| async move {
        peer.hello().await;
        peer.number(18, 100).await;
        peer.send(24, b"CUDA out of memory. Tried to allocate 2.00 GiB.").await;
        peer.receive().await
    };
    let (outcome, _, _) = meter_with(&rules(), 25, starved).await;
    assert_eq!(outcome.ending, Ending::OutOfDeviceMemory);
    assert_eq!(outcome.metrics, None);
}

#[tokio::test]
async fn a_claimed_gigabyte_is_refused_before_it_is_read() {
    let huge = |mut peer: Peer| async move {
        peer.hello().await;
        let mut frame = vec![19];
        frame.extend(u32::MAX.to_le_bytes());
        peer.io.write_all(&frame).await.unwrap();
        peer.receive().await
    };
    let (outcome, after, _) = meter_with(&rules(), 18, huge).await;
    assert!(matches!(outcome.ending, Ending::ContractViolated { .. }), "{:?}", outcome.ending);
    assert_eq!(after, None);
}

#[tokio::test]
async fn an_exception_is_reported_with_its_text_even_by_a_peer_that_does_not_listen() {
    let raises = |mut peer: Peer| async move {
        peer.send(17, &PROTOCOL_VERSION.to_le_bytes()).await;
        peer.send(23, "training.py:3: ValueError: no\u{1b}[2J".as_bytes()).await;
    };
    let (outcome, (), _) = meter_with(&rules(), 19, raises).await;
    let detail = "training.py:3: ValueError: no[2J".to_owned();
    assert_eq!(outcome.ending, Ending::SubmissionFailed { detail });
    assert!(!outcome.peer_left);
}

#[tokio::test]
async fn leaving_at_any_point_is_the_submissions_failure_and_said_so() {
    for frames in 0..12 {
        let leaves = |peer: Peer| async move {
            let mut peer = peer;
            let mut left = frames;
            peer.send(17, &PROTOCOL_VERSION.to_le_bytes()).await;
            while left > 0 {
                left -= 1;
                match peer.receive().await.unwrap() {
                    (1, _) => peer.number(18, 1).await,
                    (2, ask) => peer.answer(&ask, &mut uniform).await,
                    _ => peer.number(20, 1).await,
                }
            }
        };
        let (outcome, (), _) = meter_with(&rules(), 20, leaves).await;
        assert!(outcome.peer_left, "after {frames} frames: {outcome:?}");
        assert!(matches!(outcome.ending, Ending::SubmissionFailed { .. }));
        assert_eq!(outcome.metrics, None);
    }
}

#[tokio::test]
async fn logs_are_kept_up_to_the_limit_and_never_enter_the_result() {
    let chatty = |mut peer: Peer| async move {
        peer.hello().await;
        for _ in 0..LOG_LINES_MAX + 10 {
            peer.send(22, br#"{"loss": 0.0, "bpb": 1e-9}"#).await;
        }
        peer.number(18, 1).await;
        peer.receive().await
    };
    let (outcome, _, _) = meter_with(&rules(), 21, chatty).await;
    assert_eq!(outcome.logs.len(), LOG_LINES_MAX);
    assert_eq!(outcome.logs[0].values["loss"], 0.0);
    assert_eq!(outcome.metrics, None);
}

#[test]
fn a_measurement_can_run_on_any_thread() {
    fn is_send<T: Send>(_: &T) {}
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let plan = MeterPlan::new(&dataset, &rules(), &Digest([0; 32])).unwrap();
    let (io, _peer) = tokio::io::duplex(64);
    let progress = watch::Sender::new(Progress::default());
    is_send(&run_meter(io, &archive(), plan, &progress));
}

#[test]
fn a_plan_needs_sensible_batches_and_enough_text() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let refused = |rules: MeterRules| MeterPlan::new(&dataset, &rules, &Digest([0; 32])).err();
    assert_eq!(refused(rules()), None);
    assert_eq!(
        refused(MeterRules { sequence_tokens: 1, ..rules() }),
        Some(PlanError::BatchTooSmall { sequences: 16, tokens: 1 })
    );
    assert!(matches!(
        refused(MeterRules { sequence_tokens: u32::MAX, ..rules() }),
        Some(PlanError::BatchTooLarge { .. })
    ));
    assert!(matches!(
        refused(MeterRules { train_bytes: u64::MAX, ..rules() }),
        Some(PlanError::TooManyBatches { .. })
    ));
    assert!(matches!(
        refused(MeterRules { train_bytes: 1 << 30, ..rules() }),
        Some(PlanError::TooLittleText { split: Split::Train, .. })
    ));
    assert!(matches!(
        refused(MeterRules { heldout_bytes: 1 << 20, ..rules() }),
        Some(PlanError::TooLittleText { split: Split::Validation, .. })
    ));
}

#[test]
fn a_data_set_that_is_too_small_for_any_tier_of_a_policy_is_refused_with_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let mut policy = Policy { meter: rules(), ..Policy::dev() };
    for tier in &mut policy.scoring.funnel.tiers {
        tier.train_bytes = 1024;
    }
    assert_eq!(check_dataset(&dataset, &policy), Ok(()));
    policy.scoring.funnel.tiers[2].train_bytes = 1 << 30;
    let refused = check_dataset(&dataset, &policy).unwrap_err();
    assert_eq!((refused.tier, refused.unit), (3, 0));
    assert!(matches!(refused.error, PlanError::TooLittleText { split: Split::Train, .. }));
    // The unit with longer sequences has half as many in a batch.
    let tier = &mut policy.scoring.funnel.tiers[2];
    (tier.train_bytes, tier.sizes, tier.stretches) = (1024, 1, true);
    policy.meter.batch_sequences = 2;
    let refused = check_dataset(&dataset, &policy).unwrap_err();
    assert_eq!(refused.error, PlanError::BatchTooSmall { sequences: 1, tokens: 32 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn arbitrary_bytes_from_the_container_end_in_a_typed_ending(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        says_hello: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let noise = |mut peer: Peer| async move {
            if says_hello {
                peer.hello().await;
            }
            peer.io.write_all(&bytes).await.ok();
        };
        let (outcome, (), _) = runtime.block_on(meter_with(&rules(), 22, noise));
        let is_typed = matches!(
            outcome.ending,
            Ending::ContractViolated { .. }
                | Ending::SubmissionFailed { .. }
                | Ending::TooManyParameters { .. }
                | Ending::OutOfDeviceMemory
                | Ending::DeviceFailed { .. }
        );
        prop_assert!(is_typed, "{:?}", outcome.ending);
    }
}

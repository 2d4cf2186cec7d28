//! The gate of the untrained model.

use node_core::evidence::Flag;
use node_core::policy::{GateMode, UntrainedRules};

use super::*;
use crate::meter::untrained::{Check, Untrained};

/// What a peer says to a probe: rows for a batch of so many tokens each, or last words.
type Said = Result<Vec<Vec<f32>>, &'static str>;

/// A function of the batch's sequences, the sequence and the token; nothing where it raises.
type Model = fn(&[Vec<u8>], usize, usize) -> Option<Vec<f32>>;

/// Keeps to the protocol, is uniform on text, and answers probes with `model`: a function of the
/// batch's sequences, the sequence and the token.
async fn probed(
    mut peer: Peer,
    mut model: impl FnMut(&[Vec<u8>], usize, usize) -> Option<Vec<f32>>,
    counted: (u64, u64),
) -> Seen {
    let mut seen = Vec::new();
    peer.hello().await;
    peer.number(18, 100).await;
    while let Some((kind, payload)) = peer.receive().await {
        seen.push((kind, payload.clone()));
        match kind {
            26 => match rows(&payload, &mut model) {
                Ok(rows) => {
                    let rows = rows.concat();
                    let said = rows.iter().flat_map(|log_p| log_p.to_le_bytes());
                    peer.send(19, &payload[..4].iter().copied().chain(said).collect::<Vec<_>>())
                        .await;
                }
                Err(words) => peer.send(28, words.as_bytes()).await,
            },
            27 => peer.send(29, &[counted.0, counted.1].map(u64::to_le_bytes).concat()).await,
            2 => peer.answer(&payload, &mut uniform).await,
            3 | 4 => peer.number(20, 100).await,
            5 => peer.trained(100).await,
            _ => break,
        }
    }
    seen
}

fn rows(
    probe: &[u8],
    model: &mut impl FnMut(&[Vec<u8>], usize, usize) -> Option<Vec<f32>>,
) -> Said {
    let number = |at: usize| u32::from_le_bytes(*probe[4 * at..].first_chunk().unwrap()) as usize;
    assert_eq!(number(3), 0, "all positions of a small vocabulary");
    let batch: Vec<Vec<u8>> = probe[16..].chunks(number(2)).map(<[u8]>::to_vec).collect();
    assert_eq!(batch.len(), number(1));
    let places = (0..batch.len()).flat_map(|one| (0..number(2)).map(move |token| (one, token)));
    let said = places.map(|(one, token)| model(&batch, one, token).ok_or("model.py:1: no"));
    said.collect()
}

fn gate(mode: GateMode) -> UntrainedRules {
    UntrainedRules {
        mode,
        causality_tokens: vec![16, 33],
        batch_tokens: 16,
        finite_tokens: vec![16, 34],
        ..UntrainedRules::short()
    }
}

async fn through(
    gate: &UntrainedRules,
    model: impl FnMut(&[Vec<u8>], usize, usize) -> Option<Vec<f32>>,
    counted: (u64, u64),
) -> (MeterOutcome, Seen) {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let seed = Digest([21; 32]);
    let plan = MeterPlan::new(&dataset, &rules(), &seed).unwrap().through_gate(gate, &seed);
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let progress = watch::Sender::new(Progress::default());
    let archive = archive();
    let meter = run_meter(ours, &archive, plan, &progress);
    tokio::join!(meter, probed(Peer { io: theirs }, model, counted))
}

/// Knows only what it is at.
fn honest(batch: &[Vec<u8>], sequence: usize, token: usize) -> Option<Vec<f32>> {
    Some(sure_of(batch[sequence][token]))
}

#[tokio::test]
async fn an_honest_model_passes_the_gate_and_its_idle_parameters_are_told() {
    let (outcome, seen) = through(&gate(GateMode::Reject), honest, (100, 7)).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let conduct = outcome.metrics.unwrap().conduct;
    assert_eq!((conduct.flags.len(), conduct.idle_parameters), (0, Some(7)));
    // One and four cuts for each of two lengths, four batches, two lengths that must be finite.
    assert_eq!((kinds(&seen, 26), kinds(&seen, 27)), (10 + 4 + 2, 1));
    let first_text = seen.iter().position(|(kind, _)| *kind == 2).unwrap();
    assert!(seen[first_text..].iter().all(|(kind, _)| *kind != 26), "it comes before any text");
    let (outcome, _) = through(&gate(GateMode::Reject), honest, (100, u64::MAX)).await;
    assert_eq!(outcome.metrics.unwrap().conduct.idle_parameters, None);
}

#[tokio::test]
async fn a_model_that_sees_the_next_token_is_not_causal_before_any_text() {
    let ahead = |batch: &[Vec<u8>], sequence: usize, token: usize| {
        let next = batch[sequence].get(token + 1);
        Some(next.map_or_else(|| uniform(&[], 0), |next| sure_of(*next)))
    };
    let (outcome, seen) = through(&gate(GateMode::Reject), ahead, (100, 0)).await;
    assert_eq!(outcome.ending, Ending::UntrainedNotCausal { tokens: 16 });
    assert_eq!((outcome.metrics, kinds(&seen, 2)), (None, 0));
    // One that looks ahead only beyond the first 32 tokens.
    let later = move |batch: &[Vec<u8>], sequence: usize, token: usize| {
        let last = batch[sequence].get(32).copied();
        Some(last.map_or_else(|| sure_of(batch[sequence][token]), sure_of))
    };
    let (outcome, _) = through(&gate(GateMode::Reject), later, (100, 0)).await;
    assert_eq!(outcome.ending, Ending::UntrainedNotCausal { tokens: 33 });
}

#[tokio::test]
async fn a_model_that_looks_at_its_batch_is_found_alone_beside_others_or_in_another_place() {
    let models: [Model; 3] = [
        |batch, _, _| Some(sure_of(u8::try_from(batch.len()).unwrap())),
        |batch, _, token| {
            let others = batch.iter().map(|sequence| sequence[token]);
            Some(sure_of(others.max().unwrap()))
        },
        |_, sequence, _| Some(sure_of(u8::try_from(sequence).unwrap())),
    ];
    for model in models {
        // With one sequence at a time nothing is to be seen of a batch.
        let (outcome, _) = through(&gate(GateMode::Reject), model, (100, 0)).await;
        assert_eq!(outcome.ending, Ending::UntrainedBatchDependent { tokens: 16 });
    }
}

#[tokio::test]
async fn predictions_that_are_no_distributions_are_found_at_the_length_where_they_begin() {
    let overflows = |batch: &[Vec<u8>], sequence: usize, token: usize| {
        let is_long = batch[sequence].len() > 33;
        if is_long && token > 32 {
            Some(vec![f32::NAN; 256])
        } else {
            honest(batch, sequence, token)
        }
    };
    let (outcome, _) = through(&gate(GateMode::Reject), overflows, (100, 0)).await;
    assert_eq!(outcome.ending, Ending::UntrainedNotFinite { tokens: 34 });
    let unnormalised = |_: &[Vec<u8>], _, _| Some(vec![0.0; 256]);
    let (outcome, _) = through(&gate(GateMode::Reject), unnormalised, (100, 0)).await;
    assert_eq!(outcome.ending, Ending::UntrainedNotFinite { tokens: 16 });
}

#[tokio::test]
async fn in_shadow_every_finding_is_told_and_the_run_goes_on() {
    let all_wrong = |batch: &[Vec<u8>], sequence: usize, _| {
        let last = *batch[sequence].last().unwrap();
        Some(if batch.len() == 1 { sure_of(last) } else { vec![f32::NAN; 256] })
    };
    let (outcome, _) = through(&gate(GateMode::Flag), all_wrong, (100, 0)).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let flags = outcome.metrics.unwrap().conduct.flags;
    assert_eq!(flags, [Flag::NotCausal, Flag::BatchDependent].into());

    let raises = |_: &[Vec<u8>], _, _| None;
    let (outcome, _) = through(&gate(GateMode::Flag), raises, (100, 0)).await;
    assert_eq!(outcome.metrics.unwrap().conduct.flags, [Flag::Raised].into());
    let (outcome, _) = through(&gate(GateMode::Reject), raises, (100, 0)).await;
    let Ending::SubmissionFailed { detail } = outcome.ending else { panic!("it raised") };
    assert_eq!(detail, "untrained: model.py:1: no");
    let (outcome, seen) = through(&gate(GateMode::Off), raises, (100, 0)).await;
    assert_eq!(outcome.ending, Ending::Completed);
    assert_eq!((kinds(&seen, 26), kinds(&seen, 27)), (0, 0));
}

#[tokio::test]
async fn parameters_that_appear_in_longer_sequences_are_counted_against_the_cap() {
    let (outcome, _) = through(&gate(GateMode::Reject), honest, (1001, 0)).await;
    assert_eq!(outcome.ending, Ending::TooManyParameters { parameters: 1001 });
}

#[tokio::test]
async fn the_start_frame_tells_the_longest_probe_in_every_trial() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let seed = Digest([22; 32]);
    for (mode, longest) in [(GateMode::Reject, 34), (GateMode::Flag, 34), (GateMode::Off, 16)] {
        let plan = MeterPlan::new(&dataset, &rules(), &seed).unwrap().under_gate(&gate(mode));
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (progress, archive) = (watch::Sender::new(Progress::default()), archive());
        let mut peer = Peer { io: theirs };
        let meter = run_meter(ours, &archive, plan, &progress);
        let (_, start) = tokio::join!(meter, async move { peer.hello().await });
        let start: serde_json::Value = serde_json::from_slice(&start).unwrap();
        assert_eq!(start["max_seq_len"], longest);
        assert_eq!(start["sequence_tokens"], 16);
    }
}

#[test]
fn probes_are_random_tokens_behind_the_mark_and_the_same_for_a_seed() {
    for (vocabulary, mark) in [(256_u32, 0_u32), (5000, 4999)] {
        let all = |seed| {
            let rules = gate(GateMode::Reject);
            let mut gate = Untrained::new(&rules, (vocabulary, mark), &Digest([seed; 32])).unwrap();
            let checks = gate.checks();
            let probes = checks.into_iter().map(|check| gate.probe(check));
            probes.map(|probe| probe.first).collect::<Vec<_>>()
        };
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        for question in all(1) {
            for sequence in question.inputs.chunks(question.tokens) {
                assert_eq!(sequence[0], mark);
                let others = &sequence[1..];
                assert!(others.iter().all(|token| *token != mark && *token < vocabulary));
            }
        }
    }
}

#[test]
fn of_the_largest_vocabulary_some_positions_are_asked_for_and_always_the_one_before_a_cut() {
    let rules = UntrainedRules::standard();
    let vocabulary = 1 << 16;
    let seed = Digest([3; 32]);
    let mut gate = Untrained::new(&rules, (vocabulary, vocabulary - 1), &seed).unwrap();
    for check in gate.checks() {
        let probe = gate.probe(check);
        let questions = probe.others.iter().map(|other| &other.question).chain([&probe.first]);
        for question in questions {
            let bytes = question.positions.len() * vocabulary as usize * 4;
            assert!(bytes <= 16 << 20 && question.positions.is_sorted());
        }
        if let Check::Causality(_) = check {
            for other in &probe.others {
                let pairs = probe.first.inputs.iter().zip(&other.question.inputs);
                let cut = pairs.clone().position(|(one, two)| one != two).unwrap();
                assert!(pairs.skip(cut).all(|(one, two)| one != two), "all of the tail differs");
                assert!(probe.first.positions.contains(&(cut - 1)));
            }
        }
    }
}

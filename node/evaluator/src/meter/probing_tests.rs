//! The probe tasks against scripted containers.

use super::probing::ProbePlan;
use super::tests::{archive, dataset, rules, Peer};
use super::*;
use crate::probes::Probe;
use node_core::id::Digest;

/// What a container saw: kinds of frames with their lengths, and every lesson.
struct Seen {
    kinds: Vec<u8>,
    lessons: Vec<Vec<u8>>,
}

/// Keeps to the protocol and says of each position what `row_of` says, given the vocabulary.
async fn pupil(mut peer: Peer, row_of: impl Fn(usize) -> Vec<f32>) -> Seen {
    let mut seen = Seen { kinds: Vec::new(), lessons: Vec::new() };
    let start = peer.hello().await;
    let start: serde_json::Value = serde_json::from_slice(&start).unwrap();
    assert_eq!(start["probes"], true);
    peer.number(18, 100).await;
    let mut vocabulary = 0;
    while let Some((kind, payload)) = peer.receive().await {
        seen.kinds.push(kind);
        match kind {
            30 => {
                let task: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                vocabulary = usize::try_from(task["vocab_size"].as_u64().unwrap()).unwrap();
                peer.number(18, 100).await;
            }
            31 => seen.lessons.push(payload),
            2 => {
                let asked = u32::from_le_bytes(payload[12..16].try_into().unwrap());
                let rows = (0..asked).flat_map(|_| row_of(vocabulary));
                let rows = rows.flat_map(f32::to_le_bytes);
                let answer: Vec<u8> = payload[..4].iter().copied().chain(rows).collect();
                peer.send(19, &answer).await;
            }
            6 => break,
            _ => {}
        }
    }
    seen
}

async fn probed(seed: u8, budget: u64, row_of: impl Fn(usize) -> Vec<f32>) -> (MeterOutcome, Seen) {
    let dir = tempfile::tempdir().unwrap();
    let dataset = dataset(dir.path());
    let seed = Digest([seed; 32]);
    let plan = MeterPlan::new(&dataset, &rules(), &seed).unwrap();
    let plan = plan.for_probes(ProbePlan::new(&seed, budget));
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let progress = watch::Sender::new(Progress::default());
    let archive = archive();
    let meter = run_meter(ours, &archive, plan, &progress);
    tokio::join!(meter, pupil(Peer { io: theirs }, row_of))
}

#[allow(clippy::cast_precision_loss, reason = "at most 256")]
fn even(vocabulary: usize) -> Vec<f32> {
    vec![-(vocabulary as f32).ln(); vocabulary]
}

#[tokio::test]
async fn whoever_knows_nothing_scores_nothing_and_every_floor_is_reported() {
    let (outcome, seen) = probed(1, 8_000, even).await;
    assert_eq!(outcome.ending, Ending::Completed);
    let metrics = outcome.metrics.unwrap();
    let figures = &metrics.conduct.probes;
    let tasks = Probe::suite().len();
    assert_eq!(figures.len(), tasks);
    for (place, figure) in figures.iter().enumerate() {
        assert_eq!((usize::from(figure.task), figure.score_ppm), (place, 0));
        assert!(figure.loss_micronats > figure.floor_micronats, "{figure:?}");
    }
    // ln 19, and the floors of copying eight tokens and of three pairs.
    assert_eq!(figures[0].loss_micronats, 2_944_439);
    assert!((1_700_000..1_900_000).contains(&figures[0].floor_micronats), "{:?}", figures[0]);
    assert!((1_350_000..1_530_000).contains(&figures[4].floor_micronats), "{:?}", figures[4]);
    let times = |kind| seen.kinds.iter().filter(|got| **got == kind).count();
    assert_eq!((times(30), times(3), times(5), times(6)), (tasks, tasks, tasks, 1));
    assert_eq!(times(2), tasks * 128 / 16);
    // 1,000 tokens each: three lessons of 16 copies of 17 tokens, one at least of any.
    assert_eq!(times(31), seen.lessons.len());
    assert_eq!(metrics.conduct.trained_batches as usize, seen.lessons.len());
    let first_task = seen.kinds.iter().skip(1).take_while(|kind| **kind == 31).count();
    assert_eq!(first_task, 3);
    // Nothing reveals an answer of what was asked.
    assert_eq!(times(4), 0);
    assert_eq!(metrics.covered_bytes, metrics.conduct.scored_positions);
}

#[tokio::test]
async fn the_same_seed_teaches_the_same_and_another_seed_something_else() {
    let lessons = |seed| async move { probed(seed, 800, even).await.1.lessons };
    let (one, again, other) = (lessons(2).await, lessons(2).await, lessons(3).await);
    assert_eq!(one, again);
    assert_ne!(one, other);
}

#[tokio::test]
async fn a_container_that_breaks_the_protocol_of_the_probes_ends_by_its_own_fault() {
    let (outcome, _) = probed(4, 800, |vocabulary| even(vocabulary + 1)).await;
    assert!(matches!(outcome.ending, Ending::ContractViolated { .. }), "{:?}", outcome.ending);
    assert_eq!(outcome.metrics, None);
}

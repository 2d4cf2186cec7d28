//! What finding copies costs: the sketch of a submission, and the search among 100,000 earlier
//! ones. `docs/benchmarks.md` keeps what was measured.
//!
//! `cargo run --release --example duplicates -p node-evaluator`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the person before it")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use node_core::duplicates::{judge, Judgement, KnownSketch, Sketch, SketchIndex, Work};
use node_core::id::{ContentDigest, Hotkey, SubmissionId};
use node_core::policy::DuplicateRules;
use node_core::priority::Priority;
use node_core::unit::BlockNumber;
use node_evaluator::fingerprint::shingles;

const WORKS: u64 = 100_000;
const SEARCHES: u64 = 2_000;
/// Shingles of a work, and how many of them are of a pool that all draw from, so that two works
/// are as similar as independent ones are.
const SHINGLES: u64 = 1_500;
const COMMON: u64 = 750;
const POOL: u64 = 2_500;

fn mixed(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn work_of(number: u64) -> BTreeSet<u64> {
    let one = |index: u64| {
        let random = mixed(mixed(number) ^ index);
        mixed(if index < COMMON { random % POOL } else { random })
    };
    (0..SHINGLES).map(one).collect()
}

fn id(number: u64) -> [u8; 32] {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

fn priority(block: u64, author: Hotkey) -> Priority {
    Priority { block: BlockNumber(block), content: ContentDigest([0; 32]), author }
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn percentiles(name: &str, mut micros: Vec<f64>) {
    micros.sort_by(f64::total_cmp);
    let at = |share: usize| micros[(micros.len() - 1) * share / 1_000];
    println!("{name:<28} p50 {:>9.1}  p99 {:>9.1}  max {:>9.1} us", at(500), at(990), at(1_000));
}

fn sketches() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/duplicates");
    let (mut micros, mut bytes, mut count) = (Vec::new(), 0, 0);
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    for project in entries.filter(|path| path.is_dir()) {
        let files: BTreeMap<String, Vec<u8>> = std::fs::read_dir(&project)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
            .collect();
        bytes += files.values().map(Vec::len).sum::<usize>();
        for _ in 0..40 {
            let start = Instant::now();
            let sketch = Sketch::of(&shingles(&files).unwrap());
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            count += u64::from(sketch.shingles());
        }
    }
    println!("five projects with {bytes} bytes, {} shingles each in the mean", count / 200);
    percentiles("a sketch from source", micros);
}

fn main() {
    sketches();
    let before = resident_mib();
    let mut index = SketchIndex::default();
    let start = Instant::now();
    for number in 0..WORKS {
        let hotkey = Hotkey(id(number % 5_000));
        let sketch = Sketch::of(&work_of(number));
        index.insert(
            SubmissionId(id(number)),
            Work { priority: priority(1, hotkey), sketch: sketch.into() },
        );
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{WORKS} works of {SHINGLES} shingles sketched and inserted in {seconds:.0} s");
    println!("memory {} MiB", resident_mib() - before);
    let alike = Sketch::of(&work_of(0)).similarity_ppm(&Sketch::of(&work_of(1)));
    println!("two independent works are similar by {alike} of a million");

    let rules = DuplicateRules::default();
    let asker = Hotkey([255; 32]);
    let mut compared = 0;
    for (name, is_copy) in [("search, nothing similar", false), ("search, a copy is there", true)] {
        let mut micros = Vec::new();
        for number in 0..SEARCHES {
            let asked = if is_copy { number * 47 % WORKS } else { WORKS + number };
            let sketch: KnownSketch = Sketch::of(&work_of(asked)).into();
            let start = Instant::now();
            let judged = judge(&index, &rules, &sketch, priority(2, asker));
            micros.push(start.elapsed().as_secs_f64() * 1e6);
            assert_eq!(matches!(judged, Judgement::Rejected { .. }), is_copy);
            compared += index.candidates(&sketch).count();
        }
        percentiles(name, micros);
    }
    println!("{} works share a key with one in the mean", compared as f64 / (2 * SEARCHES) as f64);
    one_by_one(&index);
}

/// What there would be without keys.
fn one_by_one(index: &SketchIndex) {
    let all: Vec<Arc<KnownSketch>> = (0..WORKS)
        .filter_map(|number| {
            let own = Sketch::of(&work_of(number)).into();
            let mut found = index.candidates(&own).filter(|(found, _)| found.0 == id(number));
            found.next().map(|(_, work)| work.sketch.clone())
        })
        .take(10_000)
        .collect();
    let sketch: KnownSketch = Sketch::of(&work_of(WORKS)).into();
    let start = Instant::now();
    let most = all.iter().map(|other| sketch.similarity_ppm(other)).max();
    let micros = start.elapsed().as_secs_f64() * 1e6;
    println!("10,000 one by one: {micros:.0} us, the most similar {most:?}");
}

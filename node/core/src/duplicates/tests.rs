//! What sketches, the search and the judgement promise.

use std::sync::Arc;

use super::known::SHARERS_MAX;
use super::*;
use crate::id::ContentDigest;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 += 1;
        mixed(mixed(self.0))
    }

    fn set(&mut self, len: usize) -> BTreeSet<u64> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// Two sets of `len` numbers each that have `common` in common.
fn pair(numbers: &mut Numbers, len: usize, common: usize) -> (BTreeSet<u64>, BTreeSet<u64>) {
    let both = numbers.set(common);
    let mut of = || both.union(&numbers.set(len - common)).copied().collect();
    (of(), of())
}

fn exact_ppm(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> u32 {
    let (both, either) = (a.intersection(b).count(), a.union(b).count());
    u32::try_from(both * 1_000_000 / either).unwrap()
}

fn hotkey(number: u8) -> Hotkey {
    Hotkey([number; 32])
}

fn id(number: u64) -> SubmissionId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    SubmissionId(bytes)
}

fn at(block: u64, owner: u8) -> Priority {
    let content = ContentDigest([7; 32]);
    Priority { block: BlockNumber(block), content, author: hotkey(owner) }
}

fn work(shingles: &BTreeSet<u64>, owner: u8, block: u64) -> Work {
    Work { priority: at(block, owner), sketch: Sketch::of(shingles).into() }
}

/// The expected numbers come from another implementation of the same hashes.
#[test]
fn the_sketch_of_a_set_is_the_same_on_every_machine_and_in_every_version() {
    let sketch = Sketch::of(&(1..=1_000).collect());
    assert_eq!(sketch.bands[..4], [1_536_797_690, 4_044_549_065, 2_333_836_720, 2_363_283_575]);
    assert_eq!(sketch.sample[..4], [1_479_265, 8_897_748, 18_242_409, 19_954_413]);
}

#[test]
fn the_similarity_of_small_sets_is_exact() {
    let mut numbers = Numbers(1);
    for (len, common) in [(1, 0), (1, 1), (50, 49), (500, 480), (530, 500), (512, 7)] {
        let (a, b) = pair(&mut numbers, len, common);
        assert_eq!(Sketch::of(&a).similarity_ppm(&Sketch::of(&b)), exact_ppm(&a, &b));
    }
    let nothing = Sketch::of(&BTreeSet::new());
    assert_eq!(nothing.similarity_ppm(&nothing), 0);
}

/// 400 pairs per point. What is asserted holds for the numbers above, which never change.
#[test]
fn the_estimate_of_large_sets_has_the_standard_error_that_the_sample_promises() {
    for (target, common) in [(0.96_f64, 19_592), (0.85, 18_378)] {
        let mut numbers = Numbers(2);
        let len = 20_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        let pairs = 400;
        for _ in 0..pairs {
            let (a, b) = pair(&mut numbers, len, common);
            let sample = |set: &BTreeSet<u64>| {
                let mut sample: Vec<u32> = set.iter().map(|s| high(mixed(*s))).collect();
                sample.sort_unstable();
                sample.truncate(SAMPLE_MAX);
                Sketch { shingles: 20_000, bands: [0; BANDS], sample: sample.into() }
            };
            let got = f64::from(sample(&a).similarity_ppm(&sample(&b))) / 1e6;
            sum += got - target;
            squares += (got - target).powi(2);
        }
        let (bias, error) = (sum / f64::from(pairs), (squares / f64::from(pairs)).sqrt());
        let promised = (target * (1.0 - target) / SAMPLE_MAX as f64).sqrt();
        println!("at {target}: bias {bias:.5}, standard error {error:.5}, promised {promised:.5}");
        assert!(bias.abs() < 3.0 * promised / f64::from(pairs).sqrt(), "{bias}");
        assert!((error / promised - 1.0).abs() < 0.15, "{error} is not {promised}");
    }
}

#[test]
fn the_search_finds_what_must_be_held_and_little_of_what_is_far() {
    let mut numbers = Numbers(3);
    let (mut found, mut far) = (0, 0);
    let pairs = 2_000;
    for _ in 0..pairs {
        let mut index = SketchIndex::default();
        let (a, b) = pair(&mut numbers, 300, 276);
        assert!(exact_ppm(&a, &b) >= 850_000);
        index.insert(id(1), work(&a, 1, 1));
        found += index.candidates(&Sketch::of(&b).into()).count();
        let (a, b) = pair(&mut numbers, 300, 138);
        assert!(exact_ppm(&a, &b) < 300_000);
        index.insert(id(1), work(&a, 1, 1));
        far += index.candidates(&Sketch::of(&b).into()).count();
    }
    assert_eq!(found, pairs, "one in 26,000 may be missed");
    assert!(far < pairs / 100, "{far} of {pairs} were compared for nothing");
}

#[test]
fn the_most_similar_earlier_work_of_another_hotkey_decides() {
    let rules = DuplicateRules::default();
    let mut numbers = Numbers(4);
    let original = numbers.set(400);
    let with = |count: usize, numbers: &mut Numbers| -> BTreeSet<u64> {
        original.iter().copied().take(count).chain(numbers.set(400 - count)).collect()
    };
    let mut index = SketchIndex::default();
    index.insert(id(1), work(&original, 1, 10));
    index.insert(id(2), work(&with(380, &mut numbers), 2, 11));
    let judged = |set: &BTreeSet<u64>, owner: u8, block: u64| {
        judge(&index, &rules, &Sketch::of(set).into(), at(block, owner))
    };
    let likeness = |similarity_ppm| Likeness {
        similar_to: id(1),
        hotkey: hotkey(1),
        block: BlockNumber(10),
        similarity_ppm,
    };
    let copy = judged(&original, 3, 20);
    assert_eq!(copy, Judgement::Rejected { likeness: likeness(1_000_000) });
    let near = with(375, &mut numbers);
    assert_eq!(judged(&near, 3, 20), Judgement::Held { likeness: likeness(882_352) });
    assert_eq!(judged(&with(360, &mut numbers), 3, 20), Judgement::Unique);
    assert_eq!(judged(&original, 3, 9), Judgement::Unique, "it came first");
    let own = judged(&original, 1, 20);
    assert!(matches!(own, Judgement::Held { .. }), "only the other one's counts: {own:?}");
    let evidence = copy.rejection().unwrap();
    assert_eq!(evidence.rule, Rule::DuplicateStructure);
    assert!(evidence.detail.starts_with("100.0 %"), "{evidence}");
    assert!(evidence.detail.contains(&id(1).to_string()), "{evidence}");
    assert_eq!(Judgement::Unique.rejection(), None);
}

#[test]
fn of_equally_similar_works_the_earliest_is_named() {
    let set = Numbers(5).set(100);
    let mut index = SketchIndex::default();
    for (number, block) in [(1, 12), (2, 10), (3, 11)] {
        index.insert(id(number), work(&set, 1, block));
    }
    let rules = DuplicateRules::default();
    let judged = judge(&index, &rules, &Sketch::of(&set).into(), at(20, 9));
    let Judgement::Rejected { likeness } = judged else { panic!("{judged:?}") };
    assert_eq!(likeness.similar_to, id(2));
}

#[test]
fn within_a_block_the_content_digest_decides_who_was_first() {
    let set = Numbers(6).set(100);
    let mut index = SketchIndex::default();
    index.insert(id(1), work(&set, 1, 10));
    let rules = DuplicateRules::default();
    let mut priority = at(10, 2);
    priority.content = ContentDigest([6; 32]);
    let sketch = Sketch::of(&set).into();
    assert_eq!(judge(&index, &rules, &sketch, priority), Judgement::Unique);
    priority.content = ContentDigest([8; 32]);
    assert_ne!(judge(&index, &rules, &sketch, priority), Judgement::Unique);
}

#[test]
fn of_the_same_content_in_the_same_block_one_is_a_copy() {
    let set = Numbers(6).set(100);
    let mut index = SketchIndex::default();
    index.insert(id(1), work(&set, 1, 10));
    index.insert(id(2), work(&set, 2, 10));
    let judged =
        |owner| judge(&index, &DuplicateRules::default(), &Sketch::of(&set).into(), at(10, owner));
    assert_eq!(judged(1), Judgement::Unique);
    assert!(matches!(judged(2), Judgement::Rejected { .. }));
}

#[test]
fn too_few_shingles_say_nothing() {
    let rules = DuplicateRules::default();
    let few = Numbers(7).set(rules.shingles_min as usize - 1);
    let mut index = SketchIndex::default();
    index.insert(id(1), work(&few, 1, 1));
    let judged = judge(&index, &rules, &Sketch::of(&few).into(), at(2, 2));
    assert_eq!(judged, Judgement::Unique);
}

#[test]
fn a_removed_work_is_found_no_more_and_its_place_is_used_again() {
    let mut numbers = Numbers(8);
    let sets: Vec<_> = (0..20).map(|_| numbers.set(100)).collect();
    let mut index = SketchIndex::default();
    for (number, set) in (0..).zip(&sets) {
        index.insert(id(number), work(set, 1, number));
    }
    assert!(index.remove(&id(7)) && !index.remove(&id(7)));
    assert_eq!(index.candidates(&Sketch::of(&sets[7]).into()).count(), 0);
    index.insert(id(70), work(&sets[7], 1, 7));
    index.insert(id(3), work(&sets[7], 1, 7));
    assert_eq!((index.len(), index.slots.len()), (20, 20));
    assert_eq!(index.keys.len(), 20 * BANDS);
    assert_eq!(index.candidates(&Sketch::of(&sets[7]).into()).count(), 2);
    assert_eq!(index.candidates(&Sketch::of(&sets[3]).into()).count(), 0, "it was replaced");
}

#[test]
fn a_stored_sketch_is_read_as_it_was_and_a_false_one_refused() {
    let sketch = Sketch::of(&Numbers(9).set(5_000));
    let text = serde_json::to_string(&sketch).unwrap();
    assert_eq!(serde_json::from_str::<Sketch>(&text).unwrap(), sketch);
    assert_eq!(sketch.sample.len(), SAMPLE_MAX);
    let refused = |change: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::from(sketch.clone());
        change(&mut parts);
        let text = serde_json::to_string(&parts).unwrap();
        serde_json::from_str::<Sketch>(&text).unwrap_err().to_string()
    };
    assert!(refused(&|parts| parts.sample.push(u32::MAX)).contains("1025 entries"));
    assert!(refused(&|parts| parts.sample.swap(3, 4)).contains("ascend"));
    assert!(refused(&|parts| parts.shingles = 1_000).contains("1000 shingles"));
}

#[test]
fn what_is_without_its_sample_is_found_and_compared_only_once_it_is_back() {
    let set = Numbers(8).set(2_000);
    let (sketch, other) = (Sketch::of(&set), Sketch::of(&Numbers(1 << 40).set(2_000)));
    let outline = Arc::new(KnownSketch::outline(&sketch));
    assert!(!outline.has_sample() && outline.is_of(&sketch) && !outline.is_of(&other));
    assert!(outline.has_one_of(&sketch.keys()) && !outline.has_one_of(&other.keys()));
    assert!(size_of::<KnownSketch>() < 200, "{}", size_of::<KnownSketch>());
    let mut index = SketchIndex::default();
    index.insert(id(1), Work { priority: at(1, 1), sketch: Arc::clone(&outline) });
    let whole: KnownSketch = sketch.clone().into();
    assert_eq!(index.candidates(&whole).count(), 1);
    assert_eq!(outline.similarity_ppm(&whole), None);
    let rules = DuplicateRules::default();
    assert_eq!(judge(&index, &rules, &whole, at(2, 2)), Judgement::Unique);
    outline.recall(other);
    assert!(!outline.has_sample(), "that of another sketch");
    outline.recall(sketch);
    assert!(outline.has_sample());
    assert_eq!(outline.similarity_ppm(&whole), Some(1_000_000));
    assert_ne!(judge(&index, &rules, &whole, at(2, 2)), Judgement::Unique);
}

/// Sizes on both sides of every limit, in either role.
#[test]
fn a_sample_that_cannot_decide_changes_no_judgement() {
    let rules = DuplicateRules::default();
    let mut numbers = Numbers(1 << 20);
    let common: Vec<u64> = numbers.set(600).into_iter().collect();
    let sizes = [20, 31, 32, 37, 38, 200, 500, 509, 510, 588, 589, 600];
    let sketch = |size: usize| Sketch::of(&common.iter().copied().take(size).collect());
    let sketches = sizes.map(sketch);
    let (mut decided, mut undecided) = (0, 0);
    for (earlier, later) in sketches.iter().flat_map(|one| sketches.iter().map(move |o| (one, o))) {
        let judged = |earlier: KnownSketch| {
            let mut index = SketchIndex::default();
            index.insert(id(1), Work { priority: at(1, 1), sketch: earlier.into() });
            judge(&index, &rules, &later.clone().into(), at(2, 2))
        };
        let outline = KnownSketch::outline(earlier);
        if outline.can_decide(later, &rules) {
            decided += 1;
        } else {
            undecided += 1;
            assert_eq!(judged(earlier.clone().into()), judged(outline), "{earlier:?}, {later:?}");
        }
    }
    assert!(decided > 30 && undecided > 30, "{decided}, {undecided}");
}

#[test]
fn the_similar_ones_are_those_that_the_search_finds_and_that_are_similar_enough() {
    let mut numbers = Numbers(1 << 30);
    let mut known: Vec<KnownSketch> =
        (0..50).map(|_| Sketch::of(&numbers.set(300)).into()).collect();
    for common in [276, 240, 200] {
        let (a, b) = pair(&mut numbers, 300, common);
        known.extend([a, b].map(|set| KnownSketch::from(Sketch::of(&set))));
    }
    let all: Vec<&KnownSketch> = known.iter().collect();
    let expected = |least_ppm: u32| -> BTreeSet<usize> {
        let is_similar = |one: &usize| {
            (0..all.len()).filter(|other| other != one).any(|other| {
                let keys: BTreeSet<u32> = all[other].bands.into_iter().collect();
                let ppm = all[*one].similarity_ppm(all[other]).unwrap();
                all[*one].has_one_of(&keys) && ppm >= least_ppm
            })
        };
        (0..all.len()).filter(is_similar).collect()
    };
    assert_eq!(similar_ones(&all, 850_000), BTreeSet::from([50, 51]));
    for least_ppm in [850_000, 600_000, 100_000] {
        assert_eq!(similar_ones(&all, least_ppm), expected(least_ppm), "{least_ppm}");
    }
    // Of a key that too many have, nobody looks at the samples.
    let many: Vec<KnownSketch> =
        (0..=SHARERS_MAX).map(|_| KnownSketch::outline(&Sketch::of(&(0..9).collect()))).collect();
    let many: Vec<&KnownSketch> = many.iter().collect();
    assert_eq!(similar_ones(&many, 850_000).len(), many.len());
    assert_eq!(similar_ones(&many[1..], 850_000).len(), 0, "without samples");
}

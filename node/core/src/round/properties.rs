//! What holds of settling whatever receipts there are: receipts chosen by chance.

use super::*;
use crate::evidence::tests::metrics;
use crate::id::{Salt, Signature};

const TOLERANCE_PPM: u32 = 3_000;
const CASES: u64 = 20_000;

/// `SplitMix64`.
struct Prng(u64);

impl Prng {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap().max(1);
        usize::try_from((z ^ (z >> 31)) % bound).unwrap()
    }
}

fn hotkey(number: usize) -> Hotkey {
    Hotkey([u8::try_from(number).unwrap() + 1; 32])
}

/// A result of `worker`; the last `choice` is a failure, those before differ by most of the
/// tolerance or by much.
fn evidence(worker: usize, choice: usize, salt: u8) -> Evidence {
    let nll = [400, 401, 402, 300, 200].map(|sum| sum * 1_000_000_000_000_u64);
    let measured = nll.get(choice).map(|sum| metrics(*sum));
    let failed = Ending::NotCausal { batch: 1 };
    Evidence {
        coordinator: hotkey(worker),
        worker: hotkey(worker),
        ending: if measured.is_some() { Ending::Completed } else { failed },
        metrics: measured,
        salt: Salt([salt; 32]),
        ..tests::evidence()
    }
}

struct Case {
    jury: Jury,
    receipts: Vec<Receipt>,
}

/// Up to seven validators of whom some have results, seen by coordinators that had fixed
/// something or not, and of whom a few say two things.
fn case(rng: &mut Prng) -> Case {
    let validators = 1 + rng.below(7);
    let results: Vec<Evidence> = (0..validators)
        .map(|worker| {
            let choice = if rng.below(3) > 0 { rng.below(2) } else { rng.below(6) };
            evidence(worker, choice, 0)
        })
        .collect();
    let mut receipts = Vec::new();
    for worker in 0..validators {
        for _ in 0..rng.below(4) {
            let mut shown = results[worker].clone();
            if rng.below(20) == 0 {
                shown = evidence(worker, rng.below(6), u8::try_from(rng.below(2)).unwrap());
            }
            let coordinator = rng.below(validators);
            shown.coordinator = hotkey(coordinator);
            shown.coordinator_sealed = match rng.below(4) {
                0 => None,
                1 => Some(Digest([9; 32])),
                _ => Some(results[coordinator].sealed()),
            };
            receipts.push(Receipt { evidence: shown, signature: Signature([0; 64]) });
        }
    }
    let workers = receipts.iter().map(|receipt| receipt.evidence.worker);
    let present: Vec<Hotkey> = (0..validators).filter(|_| rng.below(4) > 0).map(hotkey).collect();
    let own = (rng.below(2) == 0).then(|| hotkey(rng.below(validators)));
    let eligible = present.into_iter().chain(workers).chain(own).collect();
    let wanted = 1 + rng.below(5);
    Case { jury: Jury { wanted, eligible, tolerance_ppm: TOLERANCE_PPM, own }, receipts }
}

fn for_all(check: impl Fn(&Case, &Standing, &mut Prng)) {
    for seed in 0..CASES {
        let mut rng = Prng(seed);
        let case = case(&mut rng);
        let standing = settle(&case.jury, case.receipts.iter());
        check(&case, &standing, &mut rng);
    }
}

/// What the receipts of one evaluation come down to.
fn parts(receipts: &[Receipt]) -> (BTreeSet<Hotkey>, BTreeSet<Hotkey>) {
    let all: Vec<&Receipt> = receipts.iter().collect();
    let (claims, equivocal) = claims(&all);
    let told: Vec<&Receipt> =
        all.into_iter().filter(|receipt| !equivocal.contains(&receipt.evidence.worker)).collect();
    let claimants = claims.iter().map(|claim| claim.worker).collect();
    (claimants, informed(&told))
}

#[test]
fn the_order_of_receipts_changes_nothing() {
    for_all(|case, standing, rng| {
        let mut receipts = case.receipts.clone();
        for last in (1..receipts.len()).rev() {
            receipts.swap(last, rng.below(last + 1));
        }
        assert_eq!(*standing, settle(&case.jury, receipts.iter()));
        // Nor does hearing one twice.
        assert_eq!(*standing, settle(&case.jury, receipts.iter().chain(&case.receipts)));
    });
}

#[test]
fn more_are_needed_unless_it_is_decided_and_somebody_can_be_asked() {
    for_all(|case, standing, _| {
        let Standing { claimants, needed, decision, equivocal } = standing;
        if decision.is_some() {
            assert_eq!(*needed, claimants.len());
            return;
        }
        assert!(*needed > claimants.len(), "{standing:?}");
        let (eligible, barred) = (&case.jury.eligible, equivocal);
        let can_be_asked =
            |hotkey: &&Hotkey| !claimants.contains(hotkey) && !barred.contains(hotkey);
        let is_somebody_left = eligible.iter().any(|hotkey| can_be_asked(&hotkey));
        let is_nobody_there = eligible.iter().all(|hotkey| barred.contains(hotkey));
        assert!(is_somebody_left || is_nobody_there, "{standing:?} of {eligible:?}");
    });
}

#[test]
fn nobody_is_believed_for_saying_what_it_was_shown_while_another_can_be_asked() {
    for_all(|case, standing, _| {
        let (claimants, informed) = parts(&case.receipts);
        let Some(decision) = &standing.decision else { return };
        let eligible = case.jury.eligible.difference(&standing.equivocal);
        let mut others = eligible.filter(|hotkey| !informed.contains(*hotkey));
        let is_left = others.any(|hotkey| !claimants.contains(hotkey));
        let asked = claimants.difference(&informed).count();
        let is_informed = decision.worker.is_some_and(|worker| informed.contains(&worker));
        assert!(!is_informed || !is_left || asked >= REPLICAS_MAX, "{standing:?}");
    });
}

#[test]
fn what_an_informed_coordinator_says_does_not_change_what_the_others_decided() {
    for_all(|case, standing, rng| {
        let (claimants, informed) = parts(&case.receipts);
        let Some(decision) = &standing.decision else { return };
        let all = case.jury.without(&standing.equivocal);
        let silent = informed.difference(&claimants).find(|one| all.eligible.contains(*one));
        let Some(silent) = silent.filter(|one| case.jury.own != Some(**one)) else { return };
        // Whatever it fixed after it was shown a result.
        let number = usize::from(silent.0[0]) - 1;
        let evidence = evidence(number, rng.below(6), 7);
        let claim = Receipt { evidence, signature: Signature([0; 64]) };
        let receipts: Vec<&Receipt> = case.receipts.iter().chain([&claim]).collect();
        let (told, _) = claims(&receipts);
        let (seen, independent): (Vec<Claim<'_>>, Vec<Claim<'_>>) =
            told.iter().partition(|claim| informed.contains(&claim.worker));
        let others = all.without(&informed);
        let is_theirs = others.required() == all.required()
            && decided(&others, &independent, &seen, false).is_some();
        // Where it says otherwise, one more may be asked.
        if is_theirs {
            let with = settle(&case.jury, receipts.into_iter());
            let with = with.decision.expect("it stays decided");
            assert_eq!((&with.verdict, with.worker), (&decision.verdict, decision.worker));
        }
    });
}

#[test]
fn one_word_against_another_marks_nobody() {
    for_all(|case, standing, _| {
        let (claimants, _) = parts(&case.receipts);
        let Some(decision) = &standing.decision else { return };
        let believed = claimants.difference(&decision.alone).count();
        assert!(decision.alone.is_empty() || believed > 1, "{standing:?}");
    });
}

//! Claims about what is found, and how often intervals hold.

use super::bootstrap::{fit_with, Random};
use super::*;

/// Published constants of L in nats per token; here only numbers to find again.
const PUBLISHED: Law = Law {
    floor: 1.8172,
    size_scale: 482.01,
    size_exponent: 0.3478,
    text_scale: 2085.43,
    text_exponent: 0.3658,
};

/// A law of small models, in bits per byte.
const SMALL: Law = Law {
    floor: 0.9,
    size_scale: 60.0,
    size_exponent: 0.32,
    text_scale: 140.0,
    text_exponent: 0.30,
};

fn gauss(random: &mut Random) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(random.above_zero()));
    radius * libm::cos(2.0 * core::f64::consts::PI * random.above_zero())
}

/// Runs of a plan as a law with relative noise would give them.
fn measured(law: &Law, planned: &[PlannedRun], noise: f64, random: &mut Random) -> Runs {
    let run = |planned: &PlannedRun| {
        let loss = law.predict(planned.parameters as f64, planned.tokens as f64);
        Run {
            parameters: planned.parameters,
            tokens: planned.tokens,
            seed: planned.seed,
            bits_per_byte: loss * libm::exp(noise * gauss(random)),
        }
    };
    Runs::new(planned.iter().map(run).collect()).unwrap()
}

fn runs(all: &[(u64, u64, u64, f64)]) -> Runs {
    let run = |(parameters, tokens, seed, bits_per_byte): &(u64, u64, u64, f64)| Run {
        parameters: *parameters,
        tokens: *tokens,
        seed: *seed,
        bits_per_byte: *bits_per_byte,
    };
    Runs::new(all.iter().map(run).collect()).unwrap()
}

#[test]
fn the_published_constants_give_the_published_model() {
    let optimum = PUBLISHED.optimum(1e20).unwrap();
    assert!((optimum.parameters / 0.85e9 - 1.0).abs() < 0.01, "{optimum:?}");
    assert!((optimum.tokens / 19.5e9 - 1.0).abs() < 0.01, "{optimum:?}");
    // No other balance of the same budget is better.
    for factor in [0.8, 0.99, 1.01, 1.25] {
        let other = PUBLISHED.predict(optimum.parameters * factor, optimum.tokens / factor);
        assert!(other > optimum.bits_per_byte);
    }
}

#[test]
fn a_law_that_does_not_fall_with_both_has_no_optimum() {
    assert_eq!(Law { text_scale: 0.0, ..PUBLISHED }.optimum(1e20), None);
    assert_eq!(Law { size_exponent: 0.0, ..PUBLISHED }.optimum(1e20), None);
    for flops in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(PUBLISHED.optimum(flops), None);
    }
}

#[test]
fn constants_are_found_again_in_data_without_noise() {
    let planned = plan(Level::Full, 1e17).unwrap().runs;
    for law in [SMALL, PUBLISHED] {
        let found = fit_with(&measured(&law, &planned, 0.0, &mut Random(1)), 1, 2).unwrap();
        let found = found.law.unwrap();
        let pairs = [
            (found.floor, law.floor),
            (found.size_exponent, law.size_exponent),
            (found.text_exponent, law.text_exponent),
            (found.size_scale, law.size_scale),
            (found.text_scale, law.text_scale),
        ];
        for (got, expected) in pairs {
            assert!((got / expected - 1.0).abs() < 1e-2, "{found:?}");
        }
    }
}

const SIMULATIONS: u64 = 200;

/// Asserts that at least nine of ten simulations have each constant, and the loss at some ten
/// times the dearest budget, in its interval; and that the intervals say something.
fn assert_covered(noise: f64, width_max: f64) {
    let planned = plan(Level::Full, 1e17).unwrap().runs;
    let mut counts = [0_u64; 6];
    let mut widths = Vec::new();
    for simulation in 0..SIMULATIONS {
        let mut random = Random(simulation.wrapping_mul(7_919));
        let runs = measured(&SMALL, &planned, noise, &mut random);
        let fit = fit_with(&runs, simulation, 100).unwrap();
        let intervals = fit.intervals.unwrap();
        let loss = fit.recommend(1e18, &runs).map(|recommended| {
            let Optimum { parameters, tokens, bits_per_byte } = recommended.optimum;
            let Interval { low, high } = recommended.bits_per_byte;
            widths.push((high - low) / bits_per_byte);
            recommended.bits_per_byte.contains(SMALL.predict(parameters, tokens))
        });
        let is_in = [
            intervals.floor.contains(SMALL.floor),
            intervals.size_scale.contains(SMALL.size_scale),
            intervals.size_exponent.contains(SMALL.size_exponent),
            intervals.text_scale.unwrap().contains(SMALL.text_scale),
            intervals.text_exponent.unwrap().contains(SMALL.text_exponent),
            loss.unwrap_or(false),
        ];
        for (count, is_in) in counts.iter_mut().zip(is_in) {
            *count += u64::from(is_in);
        }
    }
    widths.sort_by(f64::total_cmp);
    let width = widths[widths.len() / 2];
    println!(
        "noise {noise}: {counts:?} of {SIMULATIONS} (E A alpha B beta L), L +- {width:.4} / 2"
    );
    assert!(counts.iter().all(|count| *count * 10 >= SIMULATIONS * 9), "{counts:?}");
    assert!(width < width_max, "{width}");
}

#[test]
fn intervals_hold_the_truth_in_nine_of_ten_of_200_simulations_at_a_fifth_of_a_percent() {
    assert_covered(0.002, 0.03);
}

#[test]
fn intervals_hold_the_truth_in_nine_of_ten_of_200_simulations_at_half_a_percent() {
    assert_covered(0.005, 0.07);
}

#[test]
fn intervals_hold_the_truth_in_nine_of_ten_of_200_simulations_at_one_percent() {
    assert_covered(0.01, 0.15);
}

#[test]
fn noise_of_a_fifth_of_a_percent_leaves_the_constants_recognisable() {
    let planned = plan(Level::Full, 1e17).unwrap().runs;
    for seed in 0..10 {
        let runs = measured(&SMALL, &planned, 0.002, &mut Random(seed));
        let law = fit_with(&runs, seed, 2).unwrap().law.unwrap();
        assert!((law.floor / SMALL.floor - 1.0).abs() < 0.1, "{law:?}");
        assert!((law.size_exponent / SMALL.size_exponent - 1.0).abs() < 0.1, "{law:?}");
        assert!((law.text_exponent / SMALL.text_exponent - 1.0).abs() < 0.1, "{law:?}");
    }
}

#[test]
fn one_bad_run_does_not_bend_the_law() {
    let planned = plan(Level::Full, 1e17).unwrap().runs;
    let good = measured(&SMALL, &planned, 0.002, &mut Random(5));
    let mut all = good.all().to_vec();
    all[7].bits_per_byte *= 1.3;
    let of = |runs: &Runs| fit_with(runs, 1, 2).unwrap().law.unwrap().predict(1e7, 1e9);
    let (before, after) = (of(&good), of(&Runs::new(all).unwrap()));
    assert!((after / before - 1.0).abs() < 0.005, "{before} {after}");
}

#[test]
fn thin_evidence_is_refused_and_says_what_is_missing() {
    let two = runs(&[(10, 100, 1, 2.0), (20, 100, 1, 1.9), (20, 200, 2, 1.8)]);
    let refused = fit(&two, 1).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "insufficient evidence: 3 runs of 2 sizes, 0 of them with 3 amounts of text, and 2 seeds; \
         at least 3 sizes are needed for a slope"
    );
    assert!(fit(&runs(&[]), 1).is_err());
}

#[test]
fn each_level_claims_what_its_evidence_allows() {
    let three = runs(&[(1_000, 100, 1, 3.0), (2_000, 100, 1, 2.7), (4_000, 100, 1, 2.43)]);
    let slope = fit(&three, 1).unwrap();
    assert_eq!((slope.level, slope.law), (Level::Slope, None));
    assert!((slope.slope.slope - libm::log(0.9) / libm::log(2.0)).abs() < 1e-9);
    assert!(slope.recommend(1e18, &three).unwrap_err().to_string().contains("9 runs"));

    let planned = plan(Level::Curve, 1e16).unwrap().runs;
    let law = Law { text_scale: 0.0, text_exponent: 0.0, ..SMALL };
    let curve = fit(&measured(&law, &planned, 0.0, &mut Random(1)), 1).unwrap();
    assert_eq!(curve.level, Level::Curve);
    assert!((curve.law.unwrap().floor / law.floor - 1.0).abs() < 0.02, "{curve:?}");
    assert!(curve.hold_out.unwrap().relative_error_max < 0.01);

    let planned = plan(Level::Full, 1e17).unwrap().runs;
    let full = fit(&measured(&SMALL, &planned, 0.003, &mut Random(1)), 1).unwrap();
    assert_eq!(full.level, Level::Full);
    assert!(full.hold_out.unwrap().relative_error_max < 0.05, "{:?}", full.hold_out);
}

#[test]
fn text_that_grows_with_size_is_no_evidence_about_text() {
    let all: Vec<(u64, u64, u64, f64)> =
        (1..=10).map(|n| (n * 1_000, n * 20_000, n % 2, 3.0 - 0.1 * n as f64)).collect();
    assert_eq!(runs(&all).evidence().level(), Some(Level::Curve));
}

#[test]
fn the_same_runs_in_another_order_and_the_same_seed_give_the_same_fit() {
    let planned = plan(Level::Full, 1e17).unwrap().runs;
    let one = measured(&SMALL, &planned, 0.005, &mut Random(3));
    let mut turned = one.all().to_vec();
    turned.reverse();
    let other = Runs::new(turned).unwrap();
    assert_eq!(fit_with(&one, 9, 20).unwrap(), fit_with(&other, 9, 20).unwrap());
}

#[test]
fn a_plan_keeps_to_its_budget_and_suffices_for_its_level() {
    for level in [Level::Slope, Level::Curve, Level::Full] {
        let plan = plan(level, 3e17).unwrap();
        assert!(plan.flops <= 3e17 && plan.flops > 2.9e17, "{plan:?}");
        let runs = measured(&SMALL, &plan.runs, 0.0, &mut Random(1));
        assert_eq!(runs.evidence().level(), Some(level));
    }
    let Err(PlanRefused::TooSmall { least, .. }) = plan(Level::Full, 1e12) else {
        panic!("1e12 operations are too few")
    };
    assert!(plan(Level::Full, least * 1.001).is_ok());
    assert!(plan(Level::Slope, f64::NAN).is_err());
}

#[test]
fn runs_that_no_model_has_are_refused_by_number() {
    let new = |parameters, tokens, bits_per_byte| {
        let good = Run { parameters: 1, tokens: 1, seed: 0, bits_per_byte: 1.0 };
        Runs::new(vec![good, Run { parameters, tokens, seed: 0, bits_per_byte }]).unwrap_err()
    };
    assert!(matches!(new(0, 1, 1.0), RunsRefused::Empty { number: 2, .. }));
    assert!(matches!(new(1, 0, 1.0), RunsRefused::Empty { number: 2, .. }));
    for loss in [0.0, -1.0, f64::NAN, f64::INFINITY, 65.0] {
        assert!(matches!(new(1, 1, loss), RunsRefused::Loss { number: 2, .. }));
    }
    let many = vec![Run { parameters: 1, tokens: 1, seed: 0, bits_per_byte: 1.0 }; RUNS_MAX + 1];
    assert_eq!(Runs::new(many), Err(RunsRefused::TooMany { got: RUNS_MAX + 1 }));
}

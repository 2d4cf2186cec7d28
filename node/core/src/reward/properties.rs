//! Properties of the whole way from metrics to weights.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fingerprint::tests::{fingerprint, hybrid, ssm, transformer};
use super::standings::tests::result;
use super::*;
use crate::evidence::{tests as evidence, Metrics};
use crate::id::{BlockHash, Hotkey, Uid};
use crate::points::points;
use crate::policy::ScoringRules;
use crate::unit::BlockNumber;
use crate::vector::vector;
use crate::view::{ChainView, Neuron, SubnetParams};

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the tests choose numbers that fit"
)]
fn metrics(bpb: f64) -> Metrics {
    let nll = bpb * core::f64::consts::LN_2 * 200_000.0 * 1e9;
    Metrics {
        heldout_nanobpb: (bpb * 1e9) as u64,
        last_tenth_nanobpb: (bpb * 1e9) as u64,
        ..evidence::metrics(nll as u64)
    }
}

/// A subnet in which neuron `i` has hotkey `keys[i]`; the owner is the last.
fn view(keys: &[u8]) -> ChainView {
    let neuron = |(uid, key): (usize, &u8)| Neuron {
        uid: Uid(u16::try_from(uid).unwrap()),
        hotkey: Hotkey([*key; 32]),
        ..Neuron::default()
    };
    ChainView {
        genesis: BlockHash([0; 32]),
        neurons: keys.iter().enumerate().map(neuron).collect(),
        params: SubnetParams { owner_hotkey: Some(Hotkey([9; 32])), ..SubnetParams::default() },
        ..ChainView::default()
    }
}

#[test]
fn neither_devices_nor_clocks_are_inputs() {
    // Every input of points is listed here: a device count or a wall clock would not compile.
    let Metrics {
        sum_nll_nanonats: _,
        covered_bytes: _,
        tokens: _,
        batches: _,
        bad_batches: _,
        audits: _,
        step0_loss_nanonats: _,
        vocabulary: _,
        heldout_init_nanobpb: _,
        heldout_nanobpb: _,
        last_tenth_nanobpb: _,
        parameters: _,
        peak_memory_bytes: _,
        loss_curve_microbpb: _,
        ..
    } = metrics(2.0);
    let score: fn(&Metrics) -> Result<u64, crate::points::NotScored> = points;
    let quality: fn(&[u64], &[u64]) -> Result<Quality, NotAttributed> = architecture_quality;
    let pay: fn(&crate::policy::PoolRules, &Table, BlockNumber) -> Shares = shares;
    assert!(score(&metrics(2.0)).is_ok() && quality(&[1, 1], &[1]).is_ok());
    let rules = ScoringRules::standard();
    assert_eq!(pay(&rules.pools, &Table::default(), BlockNumber(1)).burned, SHARES_TOTAL);
    let more_memory = Metrics { peak_memory_bytes: 1 << 40, ..metrics(2.0) };
    assert_eq!(points(&more_memory), points(&metrics(2.0)));
}

proptest! {
    #[test]
    fn a_strictly_lower_bpb_never_has_a_lower_quality(
        low in 0.01f64..12.0,
        step in 0.0051f64..4.0,
        reference in 0.5f64..8.0,
    ) {
        let reference = points(&metrics(reference)).unwrap();
        let quality = |bpb| {
            let points = points(&metrics(bpb)).unwrap();
            architecture_quality(&[points, points], &[reference, reference]).unwrap().mean_nano
        };
        prop_assert!(quality(low) >= quality(low + step));
    }

    #[test]
    fn shares_are_one_together_whatever_the_results(
        all in prop::collection::vec(
            (0u64..60_000, 1u8..6, 0usize..3, -2_000i64..1_000_000, -500i64..1_000_000),
            0..20,
        ),
        at in 0u64..200_000,
        pools in (0u32..=1_000_000, 0u32..=1_000_000),
    ) {
        let known = [transformer(2), ssm(2), hybrid(2)].map(|graph| fingerprint(&graph));
        let mut rules = ScoringRules::standard();
        (rules.pools.architectures_ppm, rules.pools.recipes_ppm) = pools;
        let mut standings = Standings::new(rules.clone(), Vec::new());
        for (block, author, which, architecture, recipe) in all {
            let fingerprint = &known[which];
            standings.apply(result(block, author, fingerprint, Some(architecture), Some(recipe)));
        }
        let at = BlockNumber(at);
        let shares = shares(&rules.pools, &standings.table(at), at);
        prop_assert_eq!(shares.by_hotkey.values().sum::<u64>() + shares.burned, SHARES_TOTAL);
        let payable = shares.with_burn_to(Some(Hotkey([200; 32]))).unwrap();
        prop_assert_eq!(payable.values().sum::<u64>(), SHARES_TOTAL);
    }

    #[test]
    fn permuting_uids_permutes_the_weights_and_changes_nothing_else(
        keys in Just(vec![1u8, 2, 3, 4, 9]).prop_shuffle(),
        qualities in prop::collection::vec(1i64..3_000, 2),
    ) {
        let rules = ScoringRules::standard();
        let mut standings = Standings::new(rules.clone(), Vec::new());
        let (one, other) = (fingerprint(&transformer(2)), fingerprint(&ssm(2)));
        standings.apply(result(1, 2, &one, Some(qualities[0]), Some(30)));
        standings.apply(result(2, 4, &other, Some(qualities[1]), None));
        let at = BlockNumber(30_000);
        let shares = shares(&rules.pools, &standings.table(at), at);
        let weights = |keys: &[u8]| -> BTreeMap<Hotkey, u16> {
            let view = view(keys);
            let payable = shares.with_burn_to(view.params.owner_hotkey).unwrap();
            let by_uid = vector(&view, &payable).unwrap().into_iter();
            by_uid.map(|(uid, weight)| (view.neurons[usize::from(uid.0)].hotkey, weight)).collect()
        };
        prop_assert_eq!(weights(&[1, 2, 3, 4, 9]), weights(&keys));
    }
}

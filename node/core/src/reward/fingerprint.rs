//! Is this architecture a variant of one that is known?
//!
//! Each operator gets a label from its kind, then in each of [`ROUNDS`] rounds a new one from its
//! own label and the *sets* of labels of those it takes from and of those that take from it
//! (Weisfeiler-Lehman refinement). The fingerprint is the set of all labels of all rounds, cut to
//! its [`SKETCH_MAX`] smallest.
//!
//! Since sets forget how often something is there, a model of twelve equal layers has the labels
//! of one of two, and eight equal experts those of four: depth, width and number are no novelty.
//! Names, sizes and the order of operators or inputs are not part of a label at all.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::graph::OperatorGraph;
use crate::id::DigestBuilder;
use crate::policy::FamilyRules;
use crate::similarity::similarity_ppm;

/// Rounds of refinement: how far each label sees. Lower: models with the same operators are the
/// same family whatever feeds what. Higher: one changed operator changes most labels.
pub const ROUNDS: usize = 2;

/// Labels kept. Lower: similarity is an estimate for more models. Higher: longer rows.
pub const SKETCH_MAX: usize = 1_024;

/// Why a list of numbers is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// No labels, or too many.
    #[error("a fingerprint has 1 to {SKETCH_MAX} labels, not {got}")]
    Length {
        /// How many.
        got: usize,
    },
    /// Not ascending.
    #[error("a fingerprint's labels ascend")]
    Order,
}

/// What makes an architecture, as a set of labels. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct Fingerprint(Arc<[u64]>);

impl TryFrom<Vec<u64>> for Fingerprint {
    type Error = FingerprintError;

    fn try_from(labels: Vec<u64>) -> Result<Self, FingerprintError> {
        if labels.is_empty() || labels.len() > SKETCH_MAX {
            return Err(FingerprintError::Length { got: labels.len() });
        }
        let ascend = labels.iter().zip(labels.iter().skip(1)).all(|(one, next)| one < next);
        if !ascend {
            return Err(FingerprintError::Order);
        }
        Ok(Self(labels.into()))
    }
}

impl From<Fingerprint> for Vec<u64> {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.0.to_vec()
    }
}

impl Fingerprint {
    /// The fingerprint of a graph.
    #[must_use]
    pub fn of(graph: &OperatorGraph) -> Self {
        let users = users(graph);
        let mut labels: Vec<u64> =
            graph.kinds.iter().map(|kind| label(0, &[kind.as_bytes()], &[])).collect();
        let mut all: BTreeSet<u64> = labels.iter().copied().collect();
        for round in 1..=ROUNDS {
            let at = |index: &usize| labels.get(*index).copied().unwrap_or_default();
            let set = |places: Option<&Vec<usize>>| -> BTreeSet<u64> {
                places.into_iter().flatten().map(at).collect()
            };
            let next = (0..labels.len())
                .map(|index| {
                    let sides = [set(graph.inputs.get(index)), set(users.get(index))];
                    label(round, &[&at(&index).to_le_bytes()], &sides)
                })
                .collect();
            labels = next;
            all.extend(&labels);
        }
        Self(all.into_iter().take(SKETCH_MAX).collect())
    }

    /// The labels, ascending.
    #[must_use]
    pub fn labels(&self) -> &[u64] {
        &self.0
    }

    /// Shares the labels of one of `known` that is equal, so that both take the memory of one.
    pub fn share<'a>(&mut self, mut known: impl Iterator<Item = &'a Self>) {
        if let Some(known) = known.find(|known| *known == self) {
            *self = known.clone();
        }
    }

    /// How alike two architectures are, in parts per million: the share of labels that both have
    /// of those that either has; symmetric, and 1,000,000 for the same set.
    ///
    /// Exact while both together have at most [`SKETCH_MAX`] labels, beyond that an estimate from
    /// the smallest ones.
    #[must_use]
    pub fn similarity_ppm(&self, other: &Self) -> u32 {
        similarity_ppm(&self.0, &other.0, SKETCH_MAX)
    }
}

/// How an architecture stands to those that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinship<T> {
    /// It is a variant of this one.
    Belongs(T),
    /// It founds a family.
    Founds,
    /// Neither alike enough nor different enough; this one is nearest.
    Unclear(T),
}

/// Compares an architecture with the founders of known families. Of several that are equally
/// alike, the first.
pub fn family_of<'a, T>(
    rules: &FamilyRules,
    fingerprint: &Fingerprint,
    founders: impl Iterator<Item = (T, &'a Fingerprint)>,
) -> Kinship<T> {
    let mut nearest: Option<(u32, T)> = None;
    for (family, founder) in founders {
        let similarity = fingerprint.similarity_ppm(founder);
        if nearest.as_ref().is_none_or(|(best, _)| similarity > *best) {
            nearest = Some((similarity, family));
        }
    }
    match nearest {
        Some((similarity, family)) if similarity >= rules.same_ppm => Kinship::Belongs(family),
        Some((similarity, family)) if similarity >= rules.other_ppm => Kinship::Unclear(family),
        Some(_) | None => Kinship::Founds,
    }
}

/// Who takes from each operator, by place.
fn users(graph: &OperatorGraph) -> Vec<Vec<usize>> {
    let mut users = vec![Vec::new(); graph.kinds.len()];
    for (index, inputs) in graph.inputs.iter().enumerate() {
        for input in inputs {
            if let Some(users) = users.get_mut(*input) {
                users.push(index);
            }
        }
    }
    users
}

fn label(round: usize, own: &[&[u8]], sides: &[BTreeSet<u64>]) -> u64 {
    let start = DigestBuilder::new("assay/architecture-label/v1").number(round as u64);
    let digest = own.iter().fold(start, |digest, own| digest.bytes(own));
    let digest = sides.iter().fold(digest, |digest, side| {
        digest.number(side.len() as u64).numbers(side.iter().copied())
    });
    let bytes = digest.finish();
    u64::from_le_bytes(bytes.first_chunk::<8>().copied().unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::policy::ScoringRules;
    use crate::reward::graph::Operator;
    use proptest::prelude::*;

    /// Writes graphs as a model's forward pass would be traced.
    #[derive(Default)]
    pub(crate) struct Tracer(Vec<Operator>);

    impl Tracer {
        fn op(&mut self, name: &str, inputs: &[u32]) -> u32 {
            self.0.push(Operator { name: name.to_owned(), inputs: inputs.to_vec() });
            u32::try_from(self.0.len() - 1).unwrap()
        }

        fn norm(&mut self, x: u32) -> u32 {
            let square = self.op("aten.pow.Tensor_Scalar", &[x]);
            let mean = self.op("aten.mean.dim", &[square]);
            let scale = self.op("aten.rsqrt.default", &[mean]);
            let scaled = self.op("aten.mul.Tensor", &[x, scale]);
            self.op("aten.mul.Tensor", &[scaled])
        }

        fn rotate(&mut self, x: u32) -> u32 {
            let (cos, sin) = (self.op("aten.mul.Tensor", &[x]), self.op("aten.neg.default", &[x]));
            let turned = self.op("aten.cat.default", &[sin, x]);
            self.op("aten.add.Tensor", &[cos, turned])
        }

        fn attention(&mut self, x: u32) -> u32 {
            let [q, k, v] = [0; 3].map(|_| self.op("aten.linear.default", &[x]));
            let q = self.op("aten.view.default", &[q]);
            let (q, k) = (self.rotate(q), self.rotate(k));
            let scores = self.op("aten.matmul.default", &[q, k]);
            let masked = self.op("aten.masked_fill.Scalar", &[scores]);
            let weights = self.op("aten.softmax.int", &[masked]);
            let mixed = self.op("aten.matmul.default", &[weights, v]);
            self.op("aten.linear.default", &[mixed])
        }

        fn scan(&mut self, x: u32) -> u32 {
            let inner = self.op("aten.linear.default", &[x]);
            let inner = self.op("aten.conv1d.default", &[inner]);
            let inner = self.op("aten.silu.default", &[inner]);
            let step = self.op("aten.softplus.default", &[inner]);
            let decay = self.op("aten.exp.default", &[step]);
            let total = self.op("aten.cumsum.default", &[decay]);
            let part = self.op("aten.einsum.default", &[inner, step]);
            let state = self.op("aten.div.Tensor", &[part, total]);
            let state = self.op("aten.cumsum.default", &[state]);
            let gate = self.op("aten.sigmoid.default", &[x]);
            let out = self.op("aten.mul.Tensor", &[state, gate]);
            self.op("aten.linear.default", &[out])
        }

        fn mlp(&mut self, x: u32) -> u32 {
            let wide = self.op("aten.linear.default", &[x]);
            let active = self.op("aten.gelu.default", &[wide]);
            self.op("aten.linear.default", &[active])
        }

        fn layer(&mut self, x: u32, mix: fn(&mut Self, u32) -> u32, has_mlp: bool) -> u32 {
            let normed = self.norm(x);
            let mixed = mix(self, normed);
            let x = self.op("aten.add.Tensor", &[x, mixed]);
            if !has_mlp {
                return x;
            }
            let normed = self.norm(x);
            let mixed = self.mlp(normed);
            self.op("aten.add.Tensor", &[x, mixed])
        }

        fn end(mut self, x: u32) -> Vec<Operator> {
            let x = self.norm(x);
            self.op("aten.linear.default", &[x]);
            self.0
        }
    }

    pub(crate) fn transformer(layers: usize) -> Vec<Operator> {
        let mut tracer = Tracer::default();
        let mut x = tracer.op("aten.embedding.default", &[]);
        for _ in 0..layers {
            x = tracer.layer(x, Tracer::attention, true);
        }
        tracer.end(x)
    }

    pub(crate) fn ssm(layers: usize) -> Vec<Operator> {
        let mut tracer = Tracer::default();
        let mut x = tracer.op("aten.embedding.default", &[]);
        for _ in 0..layers {
            x = tracer.layer(x, Tracer::scan, false);
        }
        tracer.end(x)
    }

    pub(crate) fn hybrid(layers: usize) -> Vec<Operator> {
        let mut tracer = Tracer::default();
        let mut x = tracer.op("aten.embedding.default", &[]);
        for _ in 0..layers {
            x = tracer.layer(x, Tracer::scan, false);
            x = tracer.layer(x, Tracer::attention, true);
        }
        tracer.end(x)
    }

    pub(crate) fn fingerprint(operators: &[Operator]) -> Fingerprint {
        Fingerprint::of(&OperatorGraph::new(operators).unwrap())
    }

    #[test]
    fn depth_and_width_stay_in_the_family_and_another_mechanism_founds_one() {
        let rules = ScoringRules::standard().families;
        let (two, four) = (fingerprint(&transformer(2)), fingerprint(&transformer(4)));
        let other = fingerprint(&ssm(4));
        assert!(two.similarity_ppm(&four) >= 820_000, "{}", two.similarity_ppm(&four));
        assert!(four.similarity_ppm(&other) < 550_000, "{}", four.similarity_ppm(&other));
        let known = || [(1, &two)].into_iter();
        assert_eq!(family_of(&rules, &four, known()), Kinship::Belongs(1));
        assert_eq!(family_of(&rules, &other, known()), Kinship::Founds);
        assert_eq!(family_of::<u8>(&rules, &two, std::iter::empty()), Kinship::Founds);
    }

    #[test]
    fn a_hybrid_is_between_its_parents() {
        let (one, other) = (fingerprint(&transformer(4)), fingerprint(&ssm(4)));
        let between = fingerprint(&hybrid(2));
        let apart = one.similarity_ppm(&other);
        for parent in [&one, &other] {
            let near = between.similarity_ppm(parent);
            assert!(apart < near && near < 820_000, "{apart} {near}");
        }
        let rules = ScoringRules::standard().families;
        let known = [(1, &one), (2, &other)].into_iter();
        assert_eq!(family_of(&rules, &between, known), Kinship::Unclear(1));
    }

    #[test]
    fn another_activation_is_no_new_family() {
        let mut changed = transformer(4);
        for operator in &mut changed {
            operator.name = operator.name.replace("gelu", "relu");
        }
        let similarity = fingerprint(&transformer(4)).similarity_ppm(&fingerprint(&changed));
        assert!((550_000..1_000_000).contains(&similarity), "{similarity}");
    }

    #[test]
    fn only_ascending_labels_within_bounds_are_read() {
        let read = |text: &str| serde_json::from_str::<Fingerprint>(text);
        assert_eq!(read("[1,2,9]").unwrap().labels(), [1, 2, 9]);
        assert!(read("[]").is_err() && read("[2,1]").is_err() && read("[1,1]").is_err());
        let long: Vec<u64> = (0..=1_024).collect();
        let error = Fingerprint::try_from(long).unwrap_err();
        assert_eq!(error, FingerprintError::Length { got: 1_025 });
    }

    /// A graph whose operators take from any earlier ones.
    fn graphs() -> impl Strategy<Value = Vec<Operator>> {
        let operator = (0u8..6, prop::collection::vec(any::<prop::sample::Index>(), 0..3));
        prop::collection::vec(operator, 1..40).prop_map(|operators| {
            let named = |(place, (kind, inputs)): (usize, (u8, Vec<prop::sample::Index>))| {
                let inputs = inputs.iter().filter(|_| place > 0);
                let inputs = inputs.map(|input| u32::try_from(input.index(place)).unwrap());
                Operator { name: format!("op{kind}"), inputs: inputs.collect() }
            };
            operators.into_iter().enumerate().map(named).collect()
        })
    }

    /// The same graph with its operators and their inputs in another order.
    fn shuffled(operators: &[Operator], places: &[usize]) -> Vec<Operator> {
        let mut moved = operators.to_vec();
        for (from, to) in places.iter().enumerate() {
            let mut operator = operators[from].clone();
            for input in &mut operator.inputs {
                *input = u32::try_from(places[*input as usize]).unwrap();
            }
            operator.inputs.reverse();
            moved[*to] = operator;
        }
        moved
    }

    proptest! {
        #[test]
        fn the_order_of_operators_and_inputs_changes_nothing(
            (operators, places) in graphs().prop_flat_map(|operators| {
                let places: Vec<usize> = (0..operators.len()).collect();
                (Just(operators), Just(places).prop_shuffle())
            }),
        ) {
            let moved = shuffled(&operators, &places);
            prop_assert_eq!(fingerprint(&operators), fingerprint(&moved));
        }

        #[test]
        fn overloads_and_namespaces_change_nothing(operators in graphs()) {
            let mut renamed = operators.clone();
            for operator in &mut renamed {
                operator.name = format!("aten.{}_.Tensor", operator.name.to_uppercase());
            }
            prop_assert_eq!(fingerprint(&operators), fingerprint(&renamed));
        }

        #[test]
        fn similarity_is_symmetric_and_one_for_the_same(one in graphs(), other in graphs()) {
            let (one, other) = (fingerprint(&one), fingerprint(&other));
            prop_assert_eq!(one.similarity_ppm(&one), 1_000_000);
            prop_assert_eq!(one.similarity_ppm(&other), other.similarity_ppm(&one));
            prop_assert!(one.similarity_ppm(&other) <= 1_000_000);
        }
    }
}

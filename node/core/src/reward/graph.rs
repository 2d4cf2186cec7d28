//! A traced model as data: operators and who feeds whom.
//!
//! Names of modules, parameters and files are not part of it, and neither are sizes. It comes from
//! a container, so everything is bounded and checked.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// Operators of a graph. Lower: deep models are refused. Higher: a hostile graph costs seconds.
pub const OPERATORS_MAX: usize = 20_000;
/// Edges of a graph.
pub const EDGES_MAX: usize = 100_000;
/// Characters of an operator's name.
pub const NAME_CHARS_MAX: usize = 64;

/// Operators that only arrange, cast or pass on what they get: with or without them a model
/// computes the same, so they are left out before graphs are compared.
const TRANSPARENT: &[&str] = &[
    "alias",
    "clone",
    "contiguous",
    "detach",
    "dropout",
    "expand",
    "flatten",
    "getitem",
    "identity",
    "lift_fresh",
    "movedim",
    "native_dropout",
    "permute",
    "reshape",
    "squeeze",
    "t",
    "to",
    "to_copy",
    "transpose",
    "type_as",
    "unsqueeze",
    "unflatten",
    "view",
];

/// Why a graph cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Nothing in it computes.
    #[error("the graph has no operator that computes")]
    Empty,
    /// Too many operators.
    #[error("the graph has {got} operators, at most {OPERATORS_MAX} are allowed")]
    TooManyOperators {
        /// How many.
        got: usize,
    },
    /// Too many edges.
    #[error("the graph has {got} edges, at most {EDGES_MAX} are allowed")]
    TooManyEdges {
        /// How many.
        got: usize,
    },
    /// An operator's name is empty, too long, or has characters that no operator has.
    #[error("operator {index} has no name of at most {NAME_CHARS_MAX} of `a-z 0-9 _ . :`")]
    Name {
        /// Which.
        index: usize,
    },
    /// An input that is no operator of the graph.
    #[error("operator {index} has input {input}, and there are {operators} operators")]
    UnknownInput {
        /// Which.
        index: usize,
        /// Its input.
        input: u32,
        /// How many there are.
        operators: usize,
    },
    /// An operator that depends on itself.
    #[error("the graph has a cycle")]
    Cyclic,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Its kind, as the tracer calls it: `aten.add.Tensor`, `linear`.
    pub name: String,
    /// Operators whose results it takes, by their place in the list, in any order.
    pub inputs: Vec<u32>,
}

/// A checked graph without operators that compute nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorGraph {
    /// Kinds, by place.
    pub(super) kinds: Vec<String>,
    /// Inputs of each, by place.
    pub(super) inputs: Vec<Vec<usize>>,
}

impl OperatorGraph {
    /// Checks a traced graph and leaves out what only arranges.
    ///
    /// # Errors
    ///
    /// [`GraphError`], the first thing that is wrong.
    pub fn new(operators: &[Operator]) -> Result<Self, GraphError> {
        check_sizes(operators)?;
        let kinds: Vec<String> = operators.iter().map(|operator| kind(&operator.name)).collect();
        let order = topological(operators)?;
        let is_kept: Vec<bool> =
            kinds.iter().map(|kind| !TRANSPARENT.contains(&kind.as_str())).collect();
        let reach = sources(operators, &order, &is_kept)?;
        let mut place = Vec::with_capacity(operators.len());
        let mut next = 0_usize;
        for kept in &is_kept {
            place.push(next);
            next = next.saturating_add(usize::from(*kept));
        }
        let at = |index: &usize| place.get(*index).copied().unwrap_or_default();
        let kept = |index: usize| is_kept.get(index).copied().unwrap_or(false);
        let inputs = (0..operators.len())
            .filter(|index| kept(*index))
            .map(|index| reach.get(index).into_iter().flatten().map(at).collect())
            .collect();
        let kinds: Vec<String> = kinds
            .into_iter()
            .enumerate()
            .filter(|(index, _)| kept(*index))
            .map(|(_, kind)| kind)
            .collect();
        if kinds.is_empty() {
            return Err(GraphError::Empty);
        }
        Ok(Self { kinds, inputs })
    }
}

fn check_sizes(operators: &[Operator]) -> Result<(), GraphError> {
    if operators.len() > OPERATORS_MAX {
        return Err(GraphError::TooManyOperators { got: operators.len() });
    }
    let edges: usize = operators.iter().map(|operator| operator.inputs.len()).sum();
    if edges > EDGES_MAX {
        return Err(GraphError::TooManyEdges { got: edges });
    }
    for (index, operator) in operators.iter().enumerate() {
        let is_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':');
        let name = &operator.name;
        if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(is_ok) {
            return Err(GraphError::Name { index });
        }
        let count = operators.len();
        let is_unknown =
            |input: &&u32| usize::try_from(**input).map_or(true, |input| input >= count);
        if let Some(input) = operator.inputs.iter().find(is_unknown) {
            return Err(GraphError::UnknownInput { index, input: *input, operators: count });
        }
    }
    Ok(())
}

/// The kind without namespace, overload and the mark of working in place:
/// `aten::add_.Tensor` and `aten.add.Scalar` are both `add`.
fn kind(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let plain = lower.strip_prefix("aten::").or_else(|| lower.strip_prefix("aten."));
    let plain = plain.unwrap_or(&lower);
    let base = plain.split('.').next().unwrap_or(plain);
    let base = base.trim_matches('_').trim_start_matches("unsafe_");
    if base.is_empty() { plain } else { base }.to_owned()
}

fn inputs_of(operators: &[Operator], index: usize) -> impl Iterator<Item = usize> + '_ {
    let operator = operators.get(index);
    let inputs = operator.map_or(&[][..], |operator| operator.inputs.as_slice());
    inputs.iter().filter_map(|input| usize::try_from(*input).ok())
}

/// Every operator behind all of its inputs.
fn topological(operators: &[Operator]) -> Result<Vec<usize>, GraphError> {
    let mut waits: Vec<usize> = operators.iter().map(|operator| operator.inputs.len()).collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); operators.len()];
    for index in 0..operators.len() {
        for input in inputs_of(operators, index) {
            if let Some(users) = users.get_mut(input) {
                users.push(index);
            }
        }
    }
    let is_free = |(index, waits): (usize, &usize)| (*waits == 0).then_some(index);
    let mut order: Vec<usize> = waits.iter().enumerate().filter_map(is_free).collect();
    let mut done = 0;
    while let Some(index) = order.get(done).copied() {
        done = done.saturating_add(1);
        for user in users.get(index).into_iter().flatten() {
            if let Some(left) = waits.get_mut(*user) {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    order.push(*user);
                }
            }
        }
    }
    if order.len() == operators.len() {
        Ok(order)
    } else {
        Err(GraphError::Cyclic)
    }
}

/// For each operator the kept ones whose results reach it, through those that are left out.
fn sources(
    operators: &[Operator],
    order: &[usize],
    is_kept: &[bool],
) -> Result<Vec<Vec<usize>>, GraphError> {
    let mut reach: Vec<Vec<usize>> = vec![Vec::new(); operators.len()];
    let mut edges = 0_usize;
    for index in order {
        // Each input once: what it passes on is counted below, but the same a thousand times over
        // would take the memory before.
        let inputs: BTreeSet<usize> = inputs_of(operators, *index).collect();
        let mut found: Vec<usize> = Vec::new();
        for input in inputs {
            if is_kept.get(input).copied().unwrap_or(false) {
                found.push(input);
            } else {
                found.extend(reach.get(input).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        edges = edges.saturating_add(found.len());
        // Chains of operators that pass everything on could square the number of edges.
        if edges > EDGES_MAX {
            return Err(GraphError::TooManyEdges { got: edges });
        }
        if let Some(slot) = reach.get_mut(*index) {
            *slot = found;
        }
    }
    Ok(reach)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(name: &str, inputs: &[u32]) -> Operator {
        Operator { name: name.to_owned(), inputs: inputs.to_vec() }
    }

    #[test]
    fn overloads_and_in_place_forms_are_one_kind_and_views_are_none() {
        let traced = [
            operator("aten.embedding.default", &[]),
            operator("aten.view.default", &[0]),
            operator("aten::transpose.int", &[1]),
            operator("aten.add_.Tensor", &[2, 0]),
        ];
        let graph = OperatorGraph::new(&traced).unwrap();
        assert_eq!(graph.kinds, ["embedding", "add"]);
        assert_eq!(graph.inputs, [vec![], vec![0]]);
    }

    #[test]
    fn a_graph_beyond_its_bounds_is_refused_with_the_reason() {
        let new = |operators: &[Operator]| OperatorGraph::new(operators).unwrap_err();
        assert_eq!(new(&[]), GraphError::Empty);
        assert_eq!(new(&[operator("view", &[])]), GraphError::Empty);
        assert_eq!(new(&[operator("ad d", &[])]), GraphError::Name { index: 0 });
        assert_eq!(new(&[operator("", &[])]), GraphError::Name { index: 0 });
        assert_eq!(new(&[operator(&"a".repeat(65), &[])]), GraphError::Name { index: 0 });
        let unknown = GraphError::UnknownInput { index: 0, input: 1, operators: 1 };
        assert_eq!(new(&[operator("add", &[1])]), unknown);
        assert_eq!(new(&[operator("add", &[0])]), GraphError::Cyclic);
        assert_eq!(new(&[operator("add", &[1]), operator("mul", &[0])]), GraphError::Cyclic);
        let many = vec![operator("add", &[]); OPERATORS_MAX + 1];
        assert_eq!(new(&many), GraphError::TooManyOperators { got: OPERATORS_MAX + 1 });
        let wide = [operator("add", &[]), operator("cat", &vec![0; EDGES_MAX + 1])];
        assert_eq!(new(&wide), GraphError::TooManyEdges { got: EDGES_MAX + 1 });
    }

    #[test]
    fn passing_on_cannot_square_the_number_of_edges() {
        let mut operators = vec![operator("embedding", &[]); 1_000];
        let all: Vec<u32> = (0..1_000).collect();
        operators.push(operator("identity", &all));
        operators.extend(vec![operator("identity", &[1_000]); 1_000]);
        assert!(matches!(OperatorGraph::new(&operators), Err(GraphError::TooManyEdges { .. })));
    }

    #[test]
    fn one_input_a_thousand_times_over_is_one_input() {
        let mut operators = vec![operator("embedding", &[]); 15_000];
        operators.push(operator("identity", &(0..15_000).collect::<Vec<u32>>()));
        operators.push(operator("cat", &vec![15_000; 80_000]));
        let graph = OperatorGraph::new(&operators).unwrap();
        assert_eq!(graph.inputs.last().unwrap().len(), 15_000);
    }
}

//! The operators of a submission's model, as the container traced them, into a fingerprint.
//!
//! ```text
//! {"names": ["aten.embedding.default", "aten.addmm.default"], "operators": [[0], [1, 0]]}
//! ```
//!
//! An operator is the number of its name and the operators, all before it, whose results it takes.
//! The same layer runs as other operators where its input lies differently in memory, and on
//! another device as another kernel. Such differences are taken out here: a product of matrices is
//! one kind of operator whatever its shape, one that adds is two, and attention is one kernel.

use node_core::reward::{Fingerprint, Operator, OperatorGraph, OPERATORS_MAX};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Traced {
    names: Vec<String>,
    operators: Vec<Vec<u32>>,
}

/// The fingerprint of a traced graph; `None` if it is not one or is beyond the limits. Worked out
/// beside the caller's task: a hostile graph takes a tenth of a second.
pub(super) async fn fingerprint(json: Vec<u8>) -> Option<Fingerprint> {
    tokio::task::spawn_blocking(move || read(&json)).await.ok().flatten()
}

fn read(json: &[u8]) -> Option<Fingerprint> {
    let traced: Traced = serde_json::from_slice(json).ok()?;
    let operators = canonical(&traced)?;
    Some(Fingerprint::of(&OperatorGraph::new(&operators).ok()?))
}

/// The same graph in operators that do not depend on kernels and layouts. It is cut at
/// [`OPERATORS_MAX`]: none of the first ones takes a later one's result.
fn canonical(traced: &Traced) -> Option<Vec<Operator>> {
    let mut operators: Vec<Operator> = Vec::with_capacity(traced.operators.len());
    // Where the result of each traced operator is.
    let mut results: Vec<u32> = Vec::with_capacity(traced.operators.len());
    for operator in &traced.operators {
        let (name, inputs) = operator.split_first()?;
        let name = traced.names.get(usize::try_from(*name).ok()?)?;
        let inputs = inputs.iter().map(|input| results.get(usize::try_from(*input).ok()?).copied());
        let inputs = inputs.collect::<Option<Vec<u32>>>()?;
        let next = u32::try_from(operators.len()).ok()?;
        let (name, adds) = kind(name);
        operators.push(Operator { name: name.to_owned(), inputs });
        if adds {
            operators.push(Operator { name: "add".to_owned(), inputs: vec![next] });
        }
        results.push(next.checked_add(u32::from(adds))?);
    }
    operators.truncate(OPERATORS_MAX);
    Some(operators)
}

/// What an operator is beside its kernel, and whether it adds something to that.
fn kind(name: &str) -> (&str, bool) {
    let bare = name.strip_prefix("aten.").unwrap_or(name);
    let base = bare.split('.').next().unwrap_or(bare);
    match base {
        "mm" | "bmm" | "mv" | "linear" | "matmul" => ("matmul", false),
        "addmm" | "addmv" | "addbmm" | "baddbmm" => ("matmul", true),
        _ if base.starts_with("_scaled_dot_product") => ("scaled_dot_product_attention", false),
        _ => (name, false),
    }
}

#[cfg(test)]
mod tests {
    use node_core::reward::SKETCH_MAX;

    use super::*;

    fn graph(names: &str, operators: &str) -> Option<Fingerprint> {
        read(format!(r#"{{"names": {names}, "operators": {operators}}}"#).as_bytes())
    }

    #[test]
    fn kernels_layouts_and_devices_are_no_part_of_an_architecture() {
        let one = graph(
            r#"["aten.embedding.default", "aten.addmm.default",
                "aten._scaled_dot_product_flash_attention_for_cpu.default"]"#,
            "[[0], [1, 0], [2, 1]]",
        );
        let other = graph(
            r#"["aten.embedding.default", "aten.bmm.default", "aten.add.Tensor",
                "aten.view.default", "aten._scaled_dot_product_efficient_attention.default"]"#,
            "[[0], [3, 0], [1, 1], [2, 2], [4, 3]]",
        );
        assert!(one.is_some());
        assert_eq!(one, other);
        let without = graph(r#"["aten.embedding.default", "aten.mm.default"]"#, "[[0], [1, 0]]");
        assert_ne!(one, without);
    }

    #[test]
    fn what_is_no_graph_is_none() {
        let names = r#"["add", "mul"]"#;
        assert!(graph(names, "[[0], [1, 0]]").is_some());
        // A name, an input that comes later, and an operator that are not there.
        for operators in ["[[2]]", "[[0, 0]]", "[[0, 1], [1]]", "[[]]", "[]", "[0]", "[[-1]]"] {
            assert_eq!(graph(names, operators), None, "{operators}");
        }
        for names in ["[]", r#"[""]"#, r#"["a b"]"#, r#"["view"]"#, "[1]", "0"] {
            assert_eq!(graph(names, "[[0]]"), None, "{names}");
        }
        for json in ["", "{}", r#"{"names": ["add"], "operators": [[0]], "more": 1}"#] {
            assert_eq!(read(json.as_bytes()), None, "{json}");
        }
        assert_eq!(read(&[b'['; 100_000]), None);
    }

    #[test]
    fn a_long_trace_counts_with_its_beginning_and_as_many_labels_as_are_kept() {
        let chain: Vec<String> =
            (1..15_000).map(|place| format!("[{}, {}]", place % 900, place - 1)).collect();
        let names: Vec<String> = (0..900).map(|name| format!(r#""addmm.{name}""#)).collect();
        let names = format!("[{}]", names.join(","));
        let long = graph(&names, &format!("[[0], {}]", chain.join(","))).unwrap();
        let cut = graph(&names, &format!("[[0], {}]", chain[..9_999].join(","))).unwrap();
        assert_eq!(long, cut);
        let names: Vec<String> = (0..900).map(|name| format!(r#""op{name}""#)).collect();
        let names = format!("[{}]", names.join(","));
        let many = graph(&names, &format!("[[0], {}]", chain.join(","))).unwrap();
        assert_eq!(many.labels().len(), SKETCH_MAX);
    }
}

//! `assay scaling`: what an operator reads before spending a budget.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use serde_json::Value;
use support::Operator;

/// Runs of a known law, as the plan asks for them.
fn measured(plan: &Value) -> String {
    let loss = |n: f64, d: f64| 0.9 + 60.0 * n.powf(-0.32) + 140.0 * d.powf(-0.30);
    let line = |run: &Value| {
        let (n, d) = (run["parameters"].as_u64().unwrap(), run["tokens"].as_u64().unwrap());
        #[allow(clippy::cast_precision_loss, reason = "far below 2^53")]
        let bits = loss(n as f64, d as f64);
        format!(
            "{{\"parameters\":{n},\"tokens\":{d},\"seed\":{},\"bits_per_byte\":{bits}}}\n",
            run["seed"]
        )
    };
    plan["runs"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn published_constants_give_the_published_model() {
    let constants = "1.8172,482.01,2085.43,0.3478,0.3658";
    let said =
        Operator::new().run(&["scaling", "recommend", "--constants", constants, "--flops", "1e20"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(said.stdout.contains("parameters  853 M"), "{}", said.stdout);
    assert!(said.stdout.contains("tokens      19.5 B"), "{}", said.stdout);
}

#[test]
fn a_planned_and_measured_law_is_fitted_and_used() {
    let operator = Operator::new();
    let planned = operator.run(&["scaling", "plan", "--flops", "1e17", "--json"]);
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    let plan: Value = serde_json::from_str(&planned.stdout).unwrap();
    let operator = operator.with_file("runs.jsonl", &measured(&plan));
    let fitted = operator.run(&["scaling", "fit", "runs.jsonl", "--json"]);
    let fitted: Value = serde_json::from_str(&fitted.stdout).unwrap();
    assert_eq!(fitted["level"], "full");
    let alpha = fitted["law"]["size_exponent"].as_f64().unwrap();
    assert!((alpha / 0.32 - 1.0).abs() < 0.01, "{fitted}");
    let text = operator.run(&["scaling", "fit", "runs.jsonl"]).stdout;
    assert!(text.contains("alpha      0.32") && text.contains("hold-out   "), "{text}");
    let said = operator.run(&["scaling", "recommend", "runs.jsonl", "--flops", "1e18"]);
    assert!(said.code == 0 && said.stdout.contains("bits per byte ("), "{said:?}");
}

#[test]
fn thin_evidence_and_bad_files_say_what_to_do_next() {
    let line = |n: u64| format!("{{\"parameters\":{n},\"tokens\":9,\"bits_per_byte\":1.5}}\n");
    let operator = Operator::new()
        .with_file("thin.jsonl", &[10, 20].map(line).concat())
        .with_file("slope.jsonl", &[10, 20, 30].map(line).concat())
        .with_file("bad.csv", "parameters,tokens\n1,2\n");
    let thin = operator.run(&["scaling", "fit", "thin.jsonl"]);
    assert_eq!(thin.code, 1);
    assert!(thin.stderr.contains("insufficient evidence: 2 runs of 2 sizes"), "{}", thin.stderr);
    assert!(thin.stderr.contains("hint: `assay scaling plan`"), "{}", thin.stderr);
    let slope = operator.run(&["scaling", "recommend", "slope.jsonl", "--flops", "1e18"]);
    assert_eq!(slope.code, 1);
    assert!(slope.stderr.contains("a recommendation needs 9 runs"), "{}", slope.stderr);
    let bad = operator.run(&["scaling", "fit", "bad.csv"]);
    assert_eq!(bad.code, 64);
    assert!(bad.stderr.contains("no column `seed`"), "{}", bad.stderr);
    let small = operator.run(&["scaling", "plan", "--flops", "1000"]);
    assert_eq!(small.code, 64);
    assert!(small.stderr.contains("it takes"), "{}", small.stderr);
    assert_eq!(operator.run(&["scaling", "recommend", "--flops", "1e18"]).code, 64);
}

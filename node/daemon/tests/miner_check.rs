//! `assay miner check` says what a validator's admission says, to the last character.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

#[path = "../../evaluator/tests/admission/mod.rs"]
mod admission;
mod support;

use node_evaluator::admit::admit;
use node_evaluator::archive::content_digest;
use node_evaluator::gates::Gates;
use support::Operator;

#[test]
fn check_gives_the_verdict_of_admission_to_every_case_of_the_table() {
    for case in admission::cases() {
        let operator = Operator::new().with_variable("ASSAY_CHALLENGE__NAS__POLICY", &case.policy);
        let bytes = case.zipped();
        std::fs::write(operator.path("model.zip"), &bytes).unwrap();
        let said = operator.run(&["miner", "check", "model.zip", "--json"]);
        let told: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();

        let gates = Gates::check(&case.rules());
        let (verdict, _) = admit(&bytes, &content_digest(&case.files()), &gates);
        case.check(&verdict);
        let expected = serde_json::to_value(&verdict).unwrap();
        assert_eq!(told["verdict"], expected, "{}", case.name);
        assert_eq!(said.code, i32::from(case.rule.is_some()), "{}", case.name);
    }
}

#[test]
fn what_check_prints_says_rule_place_sentence_and_flags() {
    let project = |policy: &str| {
        Operator::new()
            .with_file("model/architecture.py", "def build_model(ctx):\n    return None\n")
            .with_file("model/training.py", "import os\n\n\ndef train(ctx):\n    eval('1')\n")
            .with_variable("ASSAY_CHALLENGE__NAS__POLICY", policy)
    };
    let strict = project("dev").run(&["miner", "check", "model"]);
    assert_eq!(strict.code, 1);
    let lines: Vec<&str> = strict.stdout.lines().collect();
    let said = "rejected: source-process: `os` may not be used: ";
    assert!(lines[0].starts_with(said) && lines[0].ends_with("(training.py:1)"), "{}", lines[0]);
    // SHA-256 of `import os`.
    let snippet = "de2abade832c8e350a1bdc98cfcdb1e202ac4749c5fc51a4a970d41736b6df5c";
    assert_eq!(lines[1], format!("snippet   {snippet}"));
    assert!(lines[2].starts_with("content   "), "{}", lines[2]);
    let open = project("dev-open").run(&["miner", "check", "model"]);
    assert_eq!(open.code, 0);
    let lines: Vec<&str> = open.stdout.lines().collect();
    assert!(lines[0].starts_with("admitted: 2 files, ") && lines[0].ends_with(", 2 flags"));
    assert!(lines[1].starts_with("flag      source-process: "), "{}", lines[1]);
    assert!(lines[2].starts_with("flag      source-dynamic-code: "), "{}", lines[2]);
}

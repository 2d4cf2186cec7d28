//! Admission against the table of small projects.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod admission;

use std::collections::BTreeSet;

use node_core::admission::{Rule, Verdict};
use node_core::policy::Policy;
use node_evaluator::admit::{admit, read_project};
use node_evaluator::archive::content_digest;
use node_evaluator::gates::Gates;

use admission::cases;

#[test]
fn every_case_ends_as_the_table_says() {
    let cases = cases();
    assert!(cases.len() >= 100, "{}", cases.len());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "a name twice");
    let policies = [Policy::dev(), Policy::dev_open()].map(|policy| Gates::check(&policy));
    let gates = |name: &str| &policies[usize::from(name == "dev-open")];
    for case in &cases {
        let digest = content_digest(&case.files());
        let (verdict, archive) = admit(&case.zipped(), &digest, gates(&case.policy));
        case.check(&verdict);
        assert_eq!(archive.is_some(), matches!(verdict, Verdict::Admitted { .. }));
        if let Some(archive) = archive {
            assert!(read_project(&archive.archive, &case.rules()).is_ok(), "{}", case.name);
        }
    }
}

#[test]
fn the_table_has_every_rule_of_the_source_and_the_contract() {
    let said: BTreeSet<String> = cases().into_iter().filter_map(|case| case.rule).collect();
    for rule in Rule::ALL {
        let id = rule.id();
        let is_read = ["contract-", "source-", "distributed-"].iter().any(|a| id.starts_with(a));
        assert!(!is_read || said.contains(id), "no case of {id}");
    }
}

#[test]
fn the_page_for_miners_has_every_rule_and_no_other() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/admission.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let rows: Vec<(&str, &str)> = rows.collect();
    let told: BTreeSet<&str> = rows.iter().map(|(id, _)| *id).collect();
    let known: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
    assert_eq!(told, known);
    assert_eq!(rows.len(), told.len(), "a rule twice");
    for (id, rest) in rows {
        // Why, and what to do instead.
        let cells: Vec<&str> = rest.trim_end_matches('|').split(" | ").collect();
        assert!(cells.len() == 2 && cells.iter().all(|cell| cell.trim().len() > 10), "{id}");
    }
}

//! The fixture submissions, read by the same code that admits a miner's. Which rule refuses which
//! of them, and how the others end, is a table that `tests/tests/cheats.rs` holds.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use node_core::admission::{Rule, Verdict};
use node_core::policy::Policy;
use node_evaluator::admit::admit;
use node_evaluator::archive::{pack, read_archive};
use node_evaluator::gates::Gates;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

fn projects() -> Vec<PathBuf> {
    let references = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference");
    let dirs = [fixtures().join("submissions"), references];
    let entries = dirs.iter().flat_map(|dir| std::fs::read_dir(dir).unwrap());
    // The reference trainer is no project.
    let is_project = |path: &PathBuf| path.join("architecture.py").is_file();
    entries.map(|entry| entry.unwrap().path()).filter(is_project).collect()
}

#[test]
fn every_fixture_packs_and_is_itself_and_reaches_the_container_where_gates_are_in_shadow() {
    let policy = Policy::dev_open();
    let gates = Gates::check(&policy);
    let mut digests = BTreeSet::new();
    for project in projects() {
        let packed = pack(&project, &policy.archive).unwrap();
        let (verdict, archive) = admit(&packed.bytes, &packed.digest, &gates);
        // The contract is no gate that could be in shadow.
        let breaks_contract = project.ends_with("lossy-tokenizer");
        let is_admitted = matches!(verdict, Verdict::Admitted { files: 2.., .. });
        assert_eq!(is_admitted, !breaks_contract, "{project:?} {verdict:?}");
        assert_eq!(archive.is_some(), is_admitted);
        assert!(digests.insert(packed.digest), "{project:?} equals another fixture");
    }
    assert!(digests.len() >= 30);
}

#[test]
fn case_23_the_traversal_fixture_is_refused_for_its_path_alone() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.zip");
    let made = Command::new("python3").arg(fixtures().join("make_traversal")).arg(&out).status();
    assert!(made.unwrap().success());
    let bytes = std::fs::read(&out).unwrap();
    let rejection = read_archive(&bytes, &Policy::dev().archive).unwrap_err();
    assert_eq!(rejection.rule, Rule::ArchiveTraversal);
    assert_eq!(rejection.file.as_deref(), Some("../../etc/cron.d/owned.txt"));
}

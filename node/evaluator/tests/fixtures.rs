//! The fixture submissions, read by the same code that admits a miner's.

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use node_core::admission::{Rule, Verdict};
use node_core::policy::Policy;
use node_evaluator::admit::admit;
use node_evaluator::archive::{pack, read_archive};

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
    let mut digests = BTreeSet::new();
    for project in projects() {
        let packed = pack(&project, &policy.archive).unwrap();
        let (verdict, archive) = admit(&packed.bytes, &packed.digest, &policy);
        assert!(matches!(verdict, Verdict::Admitted { files: 2.., .. }), "{project:?} {verdict:?}");
        assert!(archive.is_some());
        assert!(digests.insert(packed.digest), "{project:?} equals another fixture");
    }
    assert!(digests.len() >= 14);
}

#[test]
fn the_static_rules_name_what_hostile_fixtures_do_and_admit_the_honest_ones() {
    let (strict, open) = (Policy::dev(), Policy::dev_open());
    let expected = [
        ("exits-early", Rule::SourceProcess),
        ("forges-result", Rule::SourceImport),
        ("fork-bomb", Rule::SourceProcess),
        ("opens-socket", Rule::SourceNetwork),
        ("sleeper", Rule::SourceImport),
        ("stdout-flood", Rule::SourceIntrospection),
        ("writes-root", Rule::SourceProcess),
    ];
    for project in projects() {
        let packed = pack(&project, &strict.archive).unwrap();
        let name = project.file_name().unwrap().to_string_lossy().into_owned();
        let rejected = expected.iter().find(|(rejected, _)| *rejected == name);
        let (verdict, _) = admit(&packed.bytes, &packed.digest, &strict);
        let (flagged, _) = admit(&packed.bytes, &packed.digest, &open);
        let Verdict::Admitted { flags, .. } = flagged else { panic!("{name}: {flagged:?}") };
        match (&verdict, rejected) {
            (Verdict::Admitted { flags, .. }, None) => assert!(flags.is_empty(), "{name}"),
            (Verdict::Rejected { rejection }, Some((_, rule))) => {
                assert_eq!(rejection.rule, *rule, "{name}");
                assert!(rejection.line.is_some() && rejection.snippet.is_some());
                assert_eq!(flags.first(), Some(rejection), "{name}");
            }
            _ => panic!("{name}: {verdict:?}"),
        }
    }
}

#[test]
fn the_readme_names_every_fixture() {
    let readme = std::fs::read_to_string(fixtures().join("submissions/README.md")).unwrap();
    for project in projects() {
        let name = project.file_name().unwrap().to_string_lossy();
        assert!(readme.contains(&format!("| `{name}` |")), "{name}");
    }
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

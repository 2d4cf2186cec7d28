//! The package as an operator meets it: installed on a machine with systemd, started, killed,
//! upgraded, removed; and the image of the node.
//!
//! The claims stand in `tests/package/story` and `image`, one function each, since they are made of
//! what an operator types. Not here: what can be told from the files alone (`deployment.rs`).

#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::process::Command;

use assay_tests::binaries::{binary, dataset, repository};

#[test]
fn a_node_is_installed_run_upgraded_and_removed_as_the_documents_say() {
    let script = repository().join("tests/package/run");
    let mut command = Command::new(&script);
    command.arg("--assay").arg(binary("assay").unwrap());
    command.arg("--localnet").arg(binary("localnet").unwrap());
    command.arg("--dataset").arg(dataset().unwrap());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}\n{said}{errors}", script.display(), output.status);
    // A story that told nothing would end well too.
    for (story, claims_min) in [("story", 15), ("image", 4)] {
        let file = repository().join("tests/package").join(story);
        let story = std::fs::read_to_string(file).unwrap();
        let claims: Vec<&str> = story.lines().filter_map(claim).collect();
        assert!(claims.len() >= claims_min, "{claims:?}");
        for claim in claims {
            assert!(said.contains(&format!("ok {claim} (")), "`{claim}` was not told:\n{said}");
        }
    }
}

/// The claim that a line of the story begins.
fn claim(line: &str) -> Option<&str> {
    let name = line.strip_suffix("() {")?;
    let starts = ["a_", "an_", "the_"];
    starts.iter().any(|start| name.starts_with(start)).then_some(name)
}

//! The generated pages in `docs/` are those that the code generates.
//!
//! `ASSAY_TEST_WRITE_DOCS=1 cargo test -p node-daemon --test reference` writes them anew.

#![allow(clippy::unwrap_used, reason = "a broken fact should stop the test at once")]

mod support;

use support::Operator;

/// Each page, and what prints it.
const PAGES: [(&str, &[&str]); 5] = [
    ("configuration.md", &["reference", "configuration"]),
    ("commands.md", &["reference", "commands"]),
    ("metrics.md", &["reference", "metrics"]),
    ("status.md", &["reference", "status"]),
    ("status.schema.json", &["status", "--schema"]),
];

#[test]
fn the_generated_pages_are_current() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    for (page, command) in PAGES {
        let said = Operator::new().run(command);
        assert_eq!(said.code, 0, "{}", said.stderr);
        let path = docs.join(page);
        if std::env::var_os("ASSAY_TEST_WRITE_DOCS").is_some() {
            std::fs::write(&path, &said.stdout).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        let command = command.join(" ");
        assert!(written == said.stdout, "docs/{page} is not what `assay {command}` prints");
    }
}

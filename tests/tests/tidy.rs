//! Rules of the house that no compiler checks, each a test over the files of the repository.
//!
//! Not here: what clippy and rustfmt check (functions of at most 70 lines, no unwrap), and what
//! cargo-deny checks (licences, advisories); see `.clippy.toml` and `.deny.toml`.

#![allow(clippy::unwrap_used, reason = "what breaks here is the check itself; it should stop")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use node_core::admission::Rule;
use node_core::lease::LeaseRefusal;
use node_core::outcome::Ending;
use node_core::rows::Table;

/// Lines of a source file, tests not counted.
const FILE_LINES_MAX: usize = 800;
/// Files above the line today, with their size: they may shrink and leave this list, not grow.
const GIANTS: &[(&str, usize)] = &[];
const LINE_CHARS_MAX: usize = 100;
/// Lines that are wider today, by file: they may become fewer.
const WIDE_LINES: &[(&str, usize)] = &[
    ("node/core/src/view.rs", 1),
    ("node/daemon/src/config/mod.rs", 1),
    ("node/evaluator/src/archive/tests.rs", 1),
    ("node/evaluator/src/contract.rs", 1),
    ("node/store/src/journal.rs", 1),
    ("node/store/tests/store/rows.rs", 1),
];
/// Tests that do not run by themselves today and are no other test's child: they may become
/// fewer.
const SKIPPED_TESTS: &[(&str, usize)] = &[
    ("node/peer/tests/flood.rs", 1),
    ("tests/localnet/tests/suite/api_shapes.rs", 1),
    ("tests/localnet/tests/suite/shapes.rs", 1),
];

const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "chain-metadata",
    "deploy",
    "docs",
    "node",
    "proto",
    "scripts",
    "tests",
];
/// Made on the spot and never committed, see `.gitignore`.
const MADE: &[&str] = &["target", "__pycache__"];
const HIDDEN: &[&str] = &[
    ".cargo",
    ".ci",
    ".clippy.toml",
    ".config",
    ".deny.toml",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
];

/// Third-party crates with one door: who may name them. `.deny.toml` says the same.
const DOORS: &[(&str, &[&str])] = &[
    ("subxt", &["localnet", "node-chain"]),
    ("subxt-rpcs", &["node-chain"]),
    ("jsonrpsee", &["localnet"]),
    ("tonic", &["node-peer", "proto"]),
    ("tonic-prost", &["node-peer", "proto"]),
    ("tonic-prost-build", &["proto"]),
    ("tonic-health", &["node-peer"]),
    ("tonic-reflection", &["node-peer"]),
    ("x509-parser", &["node-peer"]),
    ("prost", &["node-peer", "proto"]),
    ("protox", &["proto"]),
    ("bollard", &["node-runner"]),
    ("cudarc", &["node-gpu"]),
    ("nvml-wrapper", &["node-gpu"]),
    ("sled", &["node-store"]),
    ("figment", &["node-daemon"]),
    ("prometheus-client", &["node-daemon"]),
    ("opentelemetry", &["node-daemon"]),
    ("opentelemetry_sdk", &["node-daemon"]),
    ("opentelemetry-otlp", &["node-daemon"]),
];

/// Which of our crates each of them may use outside its tests.
const INTERNAL: &[(&str, &[&str])] = &[
    ("chain-metadata", &[]),
    ("fake-driver", &[]),
    ("local-beacon", &[]),
    ("localnet", &["node-subtensor-runtime"]),
    ("node-chain", &["chain-metadata", "node-core"]),
    ("node-core", &[]),
    (
        "node-daemon",
        &[
            "node-chain",
            "node-core",
            "node-evaluator",
            "node-gpu",
            "node-history",
            "node-peer",
            "node-runner",
            "node-store",
        ],
    ),
    ("node-evaluator", &["node-core"]),
    ("node-gpu", &["node-core"]),
    ("node-history", &[]),
    ("node-peer", &["node-core", "proto"]),
    ("node-runner", &["node-core"]),
    ("node-store", &["node-core"]),
    ("node-subtensor-runtime", &["local-beacon"]),
    ("placement-trace", &["node-core"]),
    ("proto", &[]),
    ("sim", &["node-core", "node-history"]),
];

/// Everything that core may use: values, hashes, encodings. No clock, entropy, IO or logging.
const CORE_MAY_USE: &[&str] =
    &["base64", "blake2", "bs58", "hex", "libm", "serde", "sha2", "thiserror"];

/// Files that speak of `root`'s home inside a container or an image, not of a machine of ours.
const MAY_NAME_ROOTS_HOME: &[&str] =
    &["deploy/image/trim", "tests/fixtures/submissions/writes-root/training.py"];

/// A file of the repository, by its path from the root.
struct File {
    path: String,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every text file, without what is made on the spot.
fn files() -> Vec<File> {
    let mut found = Vec::new();
    collect(&root(), &mut found);
    assert!(found.len() > 50, "the walk found nothing: {} files", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, found: &mut Vec<File>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            if name != ".git" && !MADE.contains(&name.as_str()) {
                collect(&entry.path(), found);
            }
        } else if kind.is_file() {
            let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
            let path = entry.path().strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            found.push(File { path, text });
        }
    }
}

fn rust_files() -> Vec<File> {
    let is_rust = |file: &File| Path::new(&file.path).extension().is_some_and(|ext| ext == "rs");
    files().into_iter().filter(is_rust).collect()
}

fn none(what: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{what}:\n  {}\n", broken.join("\n  "));
}

fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
        && !path.starts_with("tests/src")
        && !path.starts_with("tests/localnet/src")
        && !path.starts_with("tests/localnet/runtime/src")
}

/// Lines before the module of tests at the end of the file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.iter().position(|line| line.starts_with("mod tests {"));
    tests.unwrap_or(lines.len())
}

#[test]
fn no_source_file_is_a_giant() {
    let mut broken = Vec::new();
    for file in rust_files().iter().filter(|file| !is_test_file(&file.path)) {
        let lines = lines_without_tests(&file.text);
        let known = GIANTS.iter().find(|(path, _)| *path == file.path).map(|(_, lines)| *lines);
        if lines > known.unwrap_or(FILE_LINES_MAX) {
            broken.push(format!("{}: {lines} lines", file.path));
        }
        if known.is_some() && lines <= FILE_LINES_MAX {
            broken.push(format!("{}: {lines} lines, no giant any more", file.path));
        }
    }
    none("files are too long; split them", &broken);
}

#[test]
fn no_line_is_wider_than_a_hundred_characters() {
    let is_wide = |line: &str| line.chars().count() > LINE_CHARS_MAX && !has_unbreakable_text(line);
    none("lines are too wide", &beyond(WIDE_LINES, &rust_files(), is_wide));
}

/// Lines that break a rule, of the files with more of them than are known.
fn beyond(
    known: &[(&str, usize)],
    files: &[File],
    is_broken: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut broken = Vec::new();
    for file in files {
        let lines: Vec<String> = (1..)
            .zip(file.text.lines())
            .filter(|(_, line)| is_broken(line))
            .map(|(number, line)| format!("{}:{number}: {}", file.path, line.trim()))
            .collect();
        let allowed = known.iter().find(|(path, _)| *path == file.path).map_or(0, |(_, n)| *n);
        if lines.len() > allowed {
            broken.extend(lines);
        }
    }
    broken
}

/// A text in quotes that nothing can break, or an address.
fn has_unbreakable_text(line: &str) -> bool {
    let longest = line.split('"').skip(1).step_by(2).map(|text| text.chars().count()).max();
    longest.is_some_and(|chars| chars > 60) || line.contains("://")
}

#[test]
fn nothing_is_left_for_later() {
    let words = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("dbg", "!("),
    ];
    let has_word = |line: &str| words.iter().any(|word| line.contains(word));
    none("what is not done is not merged", &beyond(&[], &files(), has_word));
}

#[test]
fn no_test_is_skipped() {
    // A test that another one starts as its child process, to be killed for example, is run.
    let (skip, child) = (concat!("#[", "ignore"), concat!("#[", "ignore = \"the child of "));
    let is_skipped = |line: &str| line.contains(skip) && !line.contains(child);
    none("what is skipped is not tested", &beyond(SKIPPED_TESTS, &rust_files(), is_skipped));
}

#[test]
fn the_top_level_has_what_it_should_and_no_more() {
    let entries = std::fs::read_dir(root()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let unknown: Vec<String> = names
        .filter(|name| {
            let name = name.as_str();
            ![TOP_LEVEL, HIDDEN, MADE].iter().any(|known| known.contains(&name))
        })
        .collect();
    none("unknown entries at the top level", &unknown);
}

#[test]
fn every_document_has_one_title_and_begins_with_it() {
    let mut broken = Vec::new();
    for file in files().iter().filter(|file| file.path.ends_with(".md")) {
        let mut is_code = false;
        let mut titles = 0;
        for line in file.text.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code && line.starts_with("# ") {
                titles += 1;
            }
        }
        let first = file.text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        if titles != 1 || !first.starts_with("# ") {
            broken.push(format!("{}: {titles} titles, begins with `{first}`", file.path));
        }
    }
    none("a document has one title, at its top", &broken);
}

#[test]
fn every_source_file_is_part_of_its_crate() {
    let all = rust_files();
    let by_path: BTreeMap<&str, &str> =
        all.iter().map(|file| (file.path.as_str(), file.text.as_str())).collect();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    let mut waiting: Vec<String> =
        all.iter().filter(|file| is_crate_root(&file.path)).map(|file| file.path.clone()).collect();
    assert!(waiting.len() > 10, "too few crate roots: {waiting:?}");
    while let Some(path) = waiting.pop() {
        let Some(text) = by_path.get(path.as_str()) else { continue };
        if reached.insert(path.clone()) {
            waiting.extend(modules_of(&path, text));
        }
    }
    let dead = all.iter().filter(|file| !reached.contains(&file.path));
    none("files that no `mod` leads to", &dead.map(|file| file.path.clone()).collect::<Vec<_>>());
}

/// Files that cargo compiles by itself, relative to the folders that have a manifest.
fn is_crate_root(path: &str) -> bool {
    let mut folder = Path::new(path).parent();
    while let Some(parent) = folder {
        if root().join(parent).join("Cargo.toml").is_file() && parent != Path::new("") {
            let inside = Path::new(path).strip_prefix(parent).unwrap();
            let parts: Vec<&str> = inside.iter().map(|part| part.to_str().unwrap()).collect();
            return matches!(
                parts.as_slice(),
                ["build.rs"]
                    | ["src", "lib.rs" | "main.rs"]
                    | ["src", "bin", _]
                    | ["src", "bin", _, "main.rs"]
                    | ["tests" | "benches" | "examples", _]
                    | ["tests" | "benches" | "examples", _, "main.rs"]
            );
        }
        folder = parent.parent();
    }
    false
}

/// Where the modules that a file names may be.
fn modules_of(path: &str, text: &str) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap();
    let stem = Path::new(path).file_stem().unwrap().to_str().unwrap();
    let owns_folder = matches!(stem, "mod" | "lib" | "main") || is_crate_root(path);
    let base = if owns_folder { folder.to_owned() } else { folder.join(stem) };
    let mut found = Vec::new();
    let mut named_path = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            named_path = rest.split('"').next();
        } else if let Some(name) = module_name(line) {
            match named_path.take() {
                Some(named) => found.push(folder.join(named)),
                None => {
                    found.push(base.join(format!("{name}.rs")));
                    found.push(base.join(name).join("mod.rs"));
                }
            }
        }
    }
    found.iter().map(|path| normal(path)).collect()
}

/// `pub(crate) mod name;` gives `name`.
fn module_name(line: &str) -> Option<&str> {
    let declaration = line.strip_suffix(';')?;
    let (visibility, name) = declaration.rsplit_once("mod ")?;
    let is_plain = visibility.is_empty() || visibility.starts_with("pub");
    (is_plain && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
}

/// The path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().map(|part| part.to_str().unwrap()) {
        if part == ".." {
            parts.pop();
        } else if part != "." {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// One line of a manifest: who depends on what, and whether only in tests.
struct Dependency {
    from: String,
    to: String,
    is_for_tests: bool,
}

fn dependencies() -> Vec<Dependency> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = std::process::Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        for dependency in package["dependencies"].as_array().unwrap() {
            found.push(Dependency {
                from: package["name"].as_str().unwrap().to_owned(),
                to: dependency["name"].as_str().unwrap().to_owned(),
                is_for_tests: dependency["kind"] == "dev",
            });
        }
    }
    assert!(found.len() > 50, "the manifests name only {} dependencies", found.len());
    found
}

#[test]
fn each_foreign_system_has_one_door() {
    let mut broken = Vec::new();
    for Dependency { from, to, .. } in dependencies() {
        let door = DOORS.iter().find(|(name, _)| *name == to);
        if door.is_some_and(|(_, owners)| !owners.contains(&from.as_str())) {
            broken.push(format!("{from} names {to}"));
        }
        let is_chains_own =
            ["frame-", "pallet-", "sc-"].iter().any(|prefix| to.starts_with(prefix));
        if is_chains_own && !["localnet", "node-subtensor-runtime"].contains(&from.as_str()) {
            broken.push(format!("{from} names {to}"));
        }
    }
    none("a foreign system is named outside its door", &broken);
}

#[test]
fn every_door_is_used_by_its_owner() {
    let dependencies = dependencies();
    for (name, owners) in DOORS {
        for owner in *owners {
            let is_used = dependencies.iter().any(|d| d.from == *owner && d.to == *name);
            assert!(is_used, "{owner} does not name {name} any more: take it out of the rule");
        }
    }
}

#[test]
fn our_crates_know_only_whom_they_may() {
    let mut broken = Vec::new();
    for Dependency { from, to, is_for_tests } in dependencies() {
        let is_ours = to == "assay-tests" || INTERNAL.iter().any(|(name, _)| *name == to);
        if !is_ours || is_for_tests || from == "assay-tests" {
            continue;
        }
        let allowed = INTERNAL.iter().find(|(name, _)| *name == from).map(|(_, allowed)| *allowed);
        if !allowed.unwrap_or_default().contains(&to.as_str()) {
            broken.push(format!("{from} uses {to}"));
        }
    }
    none("a crate knows another that it must not see", &broken);
}

#[test]
fn core_uses_values_hashes_and_encodings_only() {
    let all = dependencies();
    let of_core = all.iter().filter(|d| d.from == "node-core" && !d.is_for_tests);
    let broken: Vec<String> =
        of_core.map(|d| d.to.clone()).filter(|to| !CORE_MAY_USE.contains(&to.as_str())).collect();
    none("core uses more than it may", &broken);
}

#[test]
fn cargo_deny_is_told_of_the_same_doors() {
    let text = std::fs::read_to_string(root().join(".deny.toml")).unwrap();
    let ours: BTreeSet<&str> = INTERNAL.iter().map(|(name, _)| *name).collect();
    for (name, owners) in DOORS {
        let start = format!("{{ crate = \"{name}\",");
        let line = text.lines().map(str::trim).find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!(".deny.toml has no line for {name}"));
        let (_, wrappers) = line.split_once("wrappers = [").unwrap();
        let (wrappers, _) = wrappers.split_once(']').unwrap();
        let told: BTreeSet<&str> =
            wrappers.split(',').map(|w| w.trim().trim_matches('"')).collect();
        let told_of_ours: Vec<&str> = told.intersection(&ours).copied().collect();
        assert_eq!(told_of_ours, owners.to_vec(), "wrappers of {name}");
    }
}

#[test]
fn the_lock_file_knows_no_source_but_crates_io() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let crates_io = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
    let sources = lock.lines().filter(|line| line.starts_with("source = "));
    let other: Vec<String> = sources.filter(|s| *s != crates_io).map(str::to_owned).collect();
    none("dependencies from elsewhere", &other);
}

#[test]
fn no_file_names_a_machine_of_ours_or_a_registry_host() {
    let hosts = [
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
        concat!("registry.npmjs", ".org"),
        concat!("files.python", "hosted.org"),
        concat!("proxy.", "golang.org"),
        concat!("docker", ".io/"),
        concat!("ghcr", ".io"),
        concat!("quay", ".io"),
        concat!("gcr", ".io"),
    ];
    let folders = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut broken = Vec::new();
    for file in files() {
        for (number, line) in (1..).zip(file.text.lines()) {
            let has_host = hosts.iter().any(|host| line.contains(host));
            let has_folder = folders.iter().any(|folder| names_folder(line, folder));
            let is_known = MAY_NAME_ROOTS_HOME.contains(&file.path.as_str());
            if has_host || has_folder && !is_known {
                broken.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    none("the repository speaks of the project alone", &broken);
}

/// Whether an absolute path begins with `folder`; `$work/root/` is another one.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.}~".contains(c))
    })
}

/// Every ending once. A new one does not compile until it has a line here.
fn endings() -> Vec<Ending> {
    let detail = || "what it said".to_owned();
    let all = vec![
        Ending::Completed,
        Ending::NotCausal { batch: 0 },
        Ending::UntrainedNotCausal { tokens: 0 },
        Ending::UntrainedBatchDependent { tokens: 0 },
        Ending::UntrainedNotFinite { tokens: 0 },
        Ending::SubmissionFailed { detail: detail() },
        Ending::ContractViolated { detail: detail() },
        Ending::TooManyParameters { parameters: 0 },
        Ending::TooSlow { ran_ms: 0 },
        Ending::OutOfMemory,
        Ending::OutOfDeviceMemory,
        Ending::OutOfPids,
        Ending::TooMuchOutput,
        Ending::TooMuchCpuTime { used_ms: 0 },
        Ending::TokenizerRefused { detail: detail() },
        Ending::TokenizerLossy { batch: 0 },
        Ending::Killed { exit_code: 0 },
        Ending::EngineFailed { detail: detail() },
        Ending::DeviceFailed { detail: detail() },
        Ending::ImageMissing,
        Ending::DatasetMissing,
        Ending::ProfileMismatch { detail: detail() },
        Ending::WorkerRestarted,
        Ending::LeaseLost,
        Ending::Stopped,
    ];
    for ending in &all {
        match ending {
            Ending::Completed
            | Ending::NotCausal { .. }
            | Ending::UntrainedNotCausal { .. }
            | Ending::UntrainedBatchDependent { .. }
            | Ending::UntrainedNotFinite { .. }
            | Ending::SubmissionFailed { .. }
            | Ending::ContractViolated { .. }
            | Ending::TooManyParameters { .. }
            | Ending::TooSlow { .. }
            | Ending::OutOfMemory
            | Ending::OutOfDeviceMemory
            | Ending::OutOfPids
            | Ending::TooMuchOutput
            | Ending::TooMuchCpuTime { .. }
            | Ending::TokenizerRefused { .. }
            | Ending::TokenizerLossy { .. }
            | Ending::Killed { .. }
            | Ending::EngineFailed { .. }
            | Ending::DeviceFailed { .. }
            | Ending::ImageMissing
            | Ending::DatasetMissing
            | Ending::ProfileMismatch { .. }
            | Ending::WorkerRestarted
            | Ending::LeaseLost
            | Ending::Stopped => {}
        }
    }
    all
}

/// The names that others rely on, a line each: its kind and itself.
fn public_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut add = |kind: &str, name: &str| {
        assert!(names.insert(format!("{kind} {name}")), "{kind} {name} twice");
    };
    Rule::ALL.iter().for_each(|rule| add("rule", rule.id()));
    LeaseRefusal::ALL.iter().for_each(|refusal| add("refusal", refusal.id()));
    Table::ALL.iter().for_each(|table| add("table", table.name()));
    endings().iter().for_each(|ending| add("ending", ending.name()));
    for reason in node_daemon::exit::ExitReason::ALL {
        add("exit-code", &format!("{} {reason:?}", reason.code()));
    }
    for file in files() {
        for line in file.text.lines() {
            let code = line.split('`').nth(1).unwrap_or_default();
            match file.path.as_str() {
                "docs/metrics.md" if line.starts_with("| `assay_") => add("metric", code),
                "docs/configuration.md" if line.starts_with("### `") => add("config-key", code),
                _ => {}
            }
        }
        if file.path.ends_with(".proto") {
            for name in protocol_names(&file.text) {
                add("rpc", &name);
            }
        }
    }
    names
}

#[test]
fn every_ending_of_a_run_is_explained_to_operators() {
    let page = std::fs::read_to_string(root().join("docs/operating.md")).unwrap();
    let missing: Vec<String> = endings()
        .iter()
        .map(|ending| format!("| `{}` |", ending.name()))
        .filter(|row| !page.contains(row.as_str()))
        .collect();
    none("docs/operating.md has no row for an ending", &missing);
}

/// What operators and miners read of each ending; `ASSAY_TEST_WRITE_DOCS=1` writes the list anew.
#[test]
fn each_ending_is_told_with_whose_doing_it_is_and_what_follows() {
    let told = endings().iter().fold(String::new(), |told, ending| {
        let (name, next) = (ending.name(), ending.consequence());
        told + &format!("{name}\n  {ending}\n  {:?}: {next}\n", ending.fault())
    });
    let path = root().join("tests/golden/endings.txt");
    if std::env::var_os("ASSAY_TEST_WRITE_DOCS").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert!(told == golden, "tests/golden/endings.txt is another one:\n{told}");
}

/// `package.Service/Method` of each method in a `.proto` file.
fn protocol_names(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut package, mut service) = ("", "");
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("package ") {
            package = name.trim_end_matches(';');
        } else if let Some(name) = line.strip_prefix("service ") {
            service = name.trim_end_matches([' ', '{']);
        } else if let Some(method) = line.strip_prefix("rpc ") {
            let method = method.split('(').next().unwrap();
            found.push(format!("{package}.{service}/{method}"));
        }
    }
    found
}

#[test]
fn public_names_are_those_of_the_golden_list() {
    let path = root().join("tests/golden/public-names.txt");
    let golden = std::fs::read_to_string(path).unwrap();
    let golden: BTreeSet<String> = golden
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let names = public_names();
    let gone: Vec<String> = golden.difference(&names).map(|name| format!("- {name}")).collect();
    none("public names are gone or have changed; somebody relies on them", &gone);
    let new: Vec<String> = names.difference(&golden).map(|name| format!("+ {name}")).collect();
    none("new public names; add them to tests/golden/public-names.txt once they are right", &new);
}

//! Replays the corpus of this crate's fuzz target (`tests/fuzz/corpus/backup`), and puts each file
//! of it back as an operator would. `ASSAY_CORPUS=write` in the environment writes the seeds anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test states facts; a broken one should stop at once"
)]

#[path = "store/common.rs"]
#[allow(dead_code, reason = "the rows of other tests; those of one copy are used here")]
mod common;

use std::path::{Path, PathBuf};

use node_core::id::{BlockHash, Hotkey, Netuid};
use node_core::rows::{Row, Write};
use node_core::unit::UnixMs;
use node_store::fuzzing::{target, Reading, TARGETS};
use node_store::{BackupHead, Begun, Owner, RestoreError, Restoring, Store};

const OWNER: Owner =
    Owner { genesis: BlockHash([1; 32]), netuid: Netuid(1), hotkey: Hotkey([7; 32]) };

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz")
}

fn folder() -> PathBuf {
    fuzz_crate().join("corpus/backup")
}

/// The text of a copy of a store with these rows, a record of the freezer and two lines of a
/// journal.
fn copy_of(rows: impl IntoIterator<Item = Row>) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(dir.path()).unwrap();
    let lines = [1, 2].map(|epoch| Write::Journal(common::entry(epoch)));
    let frozen = [Write::Freeze(Box::new(common::put_away(1)))];
    let rows = rows.into_iter().map(Write::Put);
    let writes: Vec<Write> = rows.chain(frozen).chain(lines).collect();
    store.commit(&writes).unwrap();
    let mut text = Vec::new();
    let head = BackupHead { owner: OWNER, made_at: UnixMs(1_700_000_000_000) };
    store.export(&head, &mut text).unwrap();
    String::from_utf8(text).unwrap()
}

/// A row of every table, none of them long.
fn one_of_each() -> Vec<Row> {
    let short = |row| match row {
        Row::Intent(_) => common::intent(1, 2, 3),
        Row::Receipt(mut row) => {
            let metrics = row.receipt.evidence.metrics.as_mut();
            metrics.unwrap().loss_curve_microbpb.truncate(4);
            Row::Receipt(row)
        }
        Row::Verdict(mut row) => {
            row.sketch = None;
            Row::Verdict(row)
        }
        other => other,
    };
    common::one_of_each().into_iter().map(short).collect()
}

/// As much of the text as ends before `bytes`, and between two letters.
fn start(text: &str, bytes: usize) -> String {
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap();
    text[..end].to_owned()
}

fn is(line: &str, kind: &str) -> bool {
    line.starts_with(&format!("{{\"{kind}\""))
}

/// These lines with a last one that fits them.
fn sealed<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines: Vec<&str> = lines.into_iter().collect();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let count = |kind: &str| lines.iter().filter(|line| is(line, kind)).count();
    let (rows, frozen, journal) = (count("row"), count("frozen"), count("journal"));
    let counts = format!("\"rows\":{rows},\"frozen\":{frozen},\"journal\":{journal}");
    let end = format!("{counts},\"crc32\":\"{:08x}\"", crc32fast::hash(text.as_bytes()));
    format!("{text}{{\"end\":{{{end}}}}}\n")
}

/// A line with one letter in its middle changed.
fn damaged(line: &str) -> String {
    let middle = line.len() / 2;
    let letter = if line.as_bytes()[middle] == b'0' { "1" } else { "0" };
    format!("{}{letter}{}", &line[..middle], &line[middle + 1..])
}

/// What is made of a good copy by hand, by name.
fn seeds() -> Vec<(String, String)> {
    let good = copy_of(one_of_each());
    let small = copy_of([common::cursor(1, u64::MAX)]);
    let lines: Vec<&str> = small.lines().collect();
    let body = &lines[..lines.len() - 1];
    let (begin, others) = body.split_first().unwrap();
    let end = lines[lines.len() - 1];
    let changed = |from: &str, to: &str| {
        let text = body.join("\n");
        assert!(text.contains(from), "{from} is not in {text}");
        sealed(text.replacen(from, to, 1).lines())
    };
    let mixed = std::iter::once(*begin).chain(others.iter().rev().copied());
    let twice = body.iter().copied().chain(std::iter::once(*begin));
    let deep = "[".repeat(5_000);
    let huge = "{\"end\":{\"rows\":18446744073709551615,\"journal\":18446744073709551615,\
                \"crc32\":\"00000000\"}}";
    let by_hand = [
        ("good", good.clone()),
        ("small", small.clone()),
        ("empty", String::new()),
        ("cut_in_a_line", start(&good, good.len() / 2)),
        ("cut_before_the_end", small[..small.len() - end.len() - 1].to_owned()),
        ("two_copies", small.repeat(2)),
        ("mixed_order", sealed(mixed)),
        ("begun_twice", sealed(twice)),
        ("never_begun", sealed(others.iter().copied())),
        ("older_format", changed("\"format\":2", "\"format\":1")),
        ("newer_format", changed("\"format\":2", "\"format\":3")),
        ("huge_format", changed("\"format\":2", "\"format\":99999999999999999999")),
        ("newer_rows", changed("\"cursors\":1", "\"cursors\":255")),
        ("older_rows", changed("\"runs\":2", "\"runs\":0")),
        ("unknown_table", changed("\"cursors\":1", "\"cursors\":1,\"dreams\":0")),
        ("huge_block", changed("\"at\":1,", "\"at\":99999999999999999999,")),
        ("huge_counts", format!("{begin}\n{huge}\n")),
        ("long_line", format!("{begin}\n{{\"row\":\"{}\"}}\n", "x".repeat(12_000))),
        ("deep", format!("{begin}\n{{\"row\":{deep}")),
        ("failed", format!("{begin}\n{{\"failed\":{{\"reason\":\"the disk is full\"}}}}\n")),
        ("failed_at_once", "{\"failed\":{\"reason\":\"the node is starting\"}}\n".to_owned()),
        ("other_json", "{\"row\":1}\n[]\n".to_owned()),
    ];
    let mut seeds: Vec<(String, String)> =
        by_hand.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    for at in 0..lines.len() {
        let line = |n: usize| if n == at { damaged(lines[n]) } else { lines[n].to_owned() };
        let text: String = (0..lines.len()).map(|n| format!("{}\n", line(n))).collect();
        seeds.push((format!("line_{at}_damaged"), text));
    }
    seeds
}

#[test]
fn the_corpus_has_its_seeds_as_they_are_written_now() {
    let is_written_anew = std::env::var_os("ASSAY_CORPUS").is_some_and(|what| what == "write");
    let seeds = seeds();
    // A fuzzer tries nothing that is longer.
    let longest = seeds.iter().map(|(_, text)| text.len()).max().unwrap();
    assert!(longest <= 16_384, "a seed has {longest} bytes");
    for (name, text) in seeds {
        let path = folder().join(&name);
        if is_written_anew {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "{name} is another: `ASSAY_CORPUS=write` writes it");
    }
}

fn files() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    assert!(files.len() > 20, "{files:?}");
    files
}

#[test]
fn no_file_of_the_corpus_breaks_the_target_and_only_whole_copies_are_taken() {
    let read = target("backup").unwrap().read;
    let mut taken = Vec::new();
    for path in files() {
        let reading = read(&std::fs::read(&path).unwrap());
        assert!(reading.is_ok(), "{}: {reading:?}", path.display());
        if reading == Ok(Reading::Taken) {
            taken.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    for name in ["good", "small", "mixed_order"] {
        assert!(taken.iter().any(|taken| taken == name), "{name} is refused");
    }
    let damaged = |name: &&String| {
        name.ends_with("_damaged") || name.starts_with("cut_") || name.starts_with("newer_")
    };
    assert_eq!(taken.iter().filter(damaged).count(), 0, "{taken:?}");
}

#[test]
fn a_file_of_the_corpus_is_put_back_whole_or_leaves_a_directory_in_which_no_node_has_lived() {
    let read = target("backup").unwrap().read;
    for path in files() {
        let dir = tempfile::tempdir().unwrap();
        let Begun::Empty(restoring) = Restoring::begin(dir.path()).unwrap() else {
            panic!("there was nothing to finish")
        };
        let filled = restoring.fill(&path);
        for name in ["state", "signed.journal", "commit.mark", "identity.json"] {
            assert!(!dir.path().join(name).exists(), "{}: {name}", path.display());
        }
        let is_taken = read(&std::fs::read(&path).unwrap()) == Ok(Reading::Taken);
        match filled {
            Ok(_) => assert!(is_taken, "{} was put back", path.display()),
            Err(RestoreError::Backup { .. }) => assert!(!is_taken, "{}", path.display()),
            // A copy with two rows of one name is none that a node wrote.
            Err(RestoreError::Differs { .. }) => assert!(is_taken, "{}", path.display()),
            Err(other) => panic!("{}: {other}", path.display()),
        }
    }
}

#[test]
fn the_target_is_one_of_the_fuzz_crate() {
    for ours in TARGETS {
        let source = fuzz_crate().join(format!("src/bin/{}.rs", ours.name));
        let source = std::fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("check_store(\"{}\"", ours.name)), "{}", ours.name);
    }
}

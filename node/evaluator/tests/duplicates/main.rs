//! Copies are found however they are disguised, and independent works of one style are not flagged.
//!
//! The five projects of `tests/fixtures/duplicates` were written one after the other in one
//! style, each after another idea. Whoever changes how shingles are made raises
//! `FINGERPRINT_VERSION` and writes the references' anew: `ASSAY_TEST_WRITE_REFERENCES=1 cargo test
//! -p node-evaluator --test duplicates`.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

mod disguise;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use disguise::{moved, reformatted, renamed, reordered, Files};
use node_core::admission::Rule;
use node_core::duplicates::{judge, Judgement, Sketch, SketchIndex, Work};
use node_core::id::{Hotkey, SubmissionId};
use node_core::policy::{DuplicateRules, Policy};
use node_core::priority::Priority;
use node_core::unit::BlockNumber;
use node_evaluator::admit::{admit, Admitted};
use node_evaluator::archive::{content_digest, pack, read_archive, Archive};
use node_evaluator::fingerprint::{shingles, sketch};
use node_evaluator::gates::Gates;
use node_evaluator::reference::{self, Reference, TRAINER};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").join(name)
}

fn fixtures(kind: &str) -> BTreeMap<String, Files> {
    let folders = std::fs::read_dir(fixture(kind)).unwrap().map(|entry| entry.unwrap().path());
    folders
        .filter(|path| path.is_dir())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), files(&path)))
        .collect()
}

/// What ships with the node, by name.
fn references() -> BTreeMap<String, Files> {
    let named = |reference: &Reference| (reference.name().to_owned(), reference.files());
    reference::references().iter().map(named).collect()
}

fn files(folder: &Path) -> Files {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(&path).unwrap())
        })
        .collect()
}

fn sketched(files: &Files) -> Sketch {
    sketch(&Archive { files: files.clone() }).unwrap()
}

/// With what the references have too: they are compared as well.
fn sketched_whole(files: &Files) -> Sketch {
    Sketch::of(&shingles(files).unwrap())
}

fn disguised(files: &Files) -> Files {
    moved(&reordered(&reformatted(&renamed(files))))
}

fn priority(block: u64, author: u8, files: &Files) -> Priority {
    let (block, content) = (BlockNumber(block), content_digest(files));
    Priority { block, content, author: Hotkey([author; 32]) }
}

fn work(number: u8, files: &Files) -> (SubmissionId, Work) {
    let priority = priority(10, number, files);
    (SubmissionId([number; 32]), Work { priority, sketch: sketched(files).into() })
}

fn judged(index: &SketchIndex, files: &Files) -> Judgement {
    judge(index, &DuplicateRules::default(), &sketched(files).into(), priority(20, 99, files))
}

#[test]
fn renaming_reordering_reformatting_and_moving_code_change_nothing() {
    let kinds = [fixtures("duplicates"), fixtures("submissions"), references()];
    for (name, original) in kinds.into_iter().flatten() {
        let sketch = sketched_whole(&original);
        for (disguise, copy) in [
            ("renamed", renamed(&original)),
            ("reordered", reordered(&original)),
            ("reformatted", reformatted(&original)),
            ("moved", moved(&original)),
            ("all of it", disguised(&original)),
        ] {
            let is_changed = copy != original;
            assert!(is_changed || disguise == "reordered", "{name} {disguise}");
            let ppm = sketch.similarity_ppm(&sketched_whole(&copy));
            assert!(ppm >= 985_000, "{name} {disguise}: {ppm}");
        }
    }
}

#[test]
fn a_disguised_copy_is_rejected_and_its_original_named() {
    let mut index = SketchIndex::default();
    let honest = fixtures("duplicates");
    for (number, files) in (1..).zip(honest.values()) {
        let (id, work) = work(number, files);
        index.insert(id, work);
    }
    assert_eq!(index.len(), 5);
    for (number, (name, files)) in (1..).zip(&honest) {
        let Judgement::Rejected { likeness } = judged(&index, &disguised(files)) else {
            panic!("{name} is not recognised");
        };
        assert_eq!(likeness.similar_to, SubmissionId([number; 32]), "{name}");
    }
}

#[test]
fn zipping_again_changes_neither_the_digest_nor_the_sketch() {
    let limits = Policy::dev().archive;
    for (name, files) in fixtures("duplicates") {
        let packed = pack(&fixture("duplicates").join(&name), &limits).unwrap();
        let mut archive = read_archive(&packed.bytes, &limits).unwrap();
        assert_eq!(content_digest(&archive.files), content_digest(&files));
        assert_eq!(sketch(&archive).unwrap(), sketched(&files));
        // A file that is no code makes another digest, and no other sketch.
        archive.files.insert("README.md".to_owned(), b"mine".to_vec());
        assert_ne!(content_digest(&archive.files), content_digest(&files));
        assert_eq!(sketch(&archive).unwrap(), sketched(&files));
    }
}

#[test]
fn five_independent_works_of_one_style_are_not_flagged() {
    let honest = fixtures("duplicates");
    let mut index = SketchIndex::default();
    for (number, (name, files)) in (1..).zip(&honest) {
        assert_eq!(judged(&index, files), Judgement::Unique, "{name}");
        let (id, work) = work(number, files);
        assert!(work.sketch.shingles() > 90, "{name}: {:?}", work.sketch);
        index.insert(id, work);
    }
    let mut most = 0;
    for (name, files) in &honest {
        for (other_name, other) in honest.iter().filter(|(other, _)| *other != name) {
            let ppm = sketched_whole(files).similarity_ppm(&sketched_whole(other));
            assert!(ppm < 350_000, "{name} and {other_name}: {ppm}");
            most = most.max(sketched(files).similarity_ppm(&sketched(other)));
        }
    }
    println!("at most {most} of a million without what the references have");
    assert!(most < 250_000, "{most}");
}

/// How far other disguises lead. The bounds are a little below what was measured; the figures are
/// in `docs/decisions/0023-duplicates.md`.
#[test]
fn deeper_changes_cost_a_copy_little_of_its_similarity() {
    let honest = fixtures("duplicates");
    let other = references().remove("ssm").unwrap();
    type Change<'a> = (&'a str, u32, Box<dyn Fn(&Files) -> Files + 'a>);
    let changes: [Change<'_>; 7] = [
        ("unmentioned code added", 1_000_000, Box::new(|f| disguise::bloated(f, &other, false))),
        ("mentioned code added", 600_000, Box::new(|f| disguise::bloated(f, &other, true))),
        ("every 10th statement new", 940_000, Box::new(|f| disguise::padded(f, 10))),
        ("every 5th statement new", 920_000, Box::new(|f| disguise::padded(f, 5))),
        ("loops rewritten", 930_000, Box::new(disguise::loops_numbered)),
        ("functions split", 900_000, Box::new(disguise::split)),
        ("results named", 820_000, Box::new(disguise::returned_by_name)),
    ];
    for (what, least, change) in changes {
        let got: Vec<u32> = honest
            .values()
            .map(|files| sketched_whole(files).similarity_ppm(&sketched_whole(&change(files))))
            .collect();
        println!("{what}: {got:?}");
        assert!(got.iter().all(|ppm| *ppm >= least), "{what}: {got:?}");
    }
}

#[test]
fn what_everybody_begins_with_says_nothing() {
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fingerprint/references.txt");
    let mut shipped = references();
    let trainer = Files::from([("training.py".to_owned(), TRAINER.as_bytes().to_vec())]);
    shipped.insert("trainer".to_owned(), trainer);
    // What `assay miner init` writes beside the references.
    shipped.extend(fixtures("submissions").into_iter().filter(|(name, _)| name == "hooks"));
    let all: BTreeSet<u64> = shipped.values().flat_map(|files| shingles(files).unwrap()).collect();
    let lines: String = all.iter().map(|shingle| format!("{shingle:016x}\n")).collect();
    if std::env::var_os("ASSAY_TEST_WRITE_REFERENCES").is_some() {
        std::fs::write(&list, &lines).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&list).unwrap(), lines, "write it anew, see above");
    for (name, files) in &shipped {
        let reference = sketched(&disguised(files));
        assert!(reference.shingles() < 8, "{name}: {reference:?}");
    }
}

#[test]
fn the_shingles_of_a_source_are_the_same_in_every_version() {
    let source = "import torch.nn as nn\n\n\
                  def build_model(ctx):\n    return nn.Linear(ctx.width, 3)\n";
    let got = shingles(&Files::from([("a.py".to_owned(), source.as_bytes().to_vec())])).unwrap();
    let got: Vec<String> = got.iter().map(|shingle| format!("{shingle:016x}")).collect();
    let kept = [
        "2da6151805900d72",
        "35740ad3aef1161c",
        "44ca5b92456eb7db",
        "9890c4c7c2848ae9",
        "99874ec557f1688e",
        "d822fd6a1f051261",
    ];
    assert_eq!(got, kept, "a change needs another FINGERPRINT_VERSION");
}

fn one_file(content: impl Into<Vec<u8>>) -> Files {
    Files::from([("architecture.py".to_owned(), content.into())])
}

#[test]
fn what_admission_compares_by_is_the_sketch_of_the_whole_archive() {
    let policy = Policy::dev();
    let gates = Gates::check(&policy);
    let folders = std::fs::read_dir(fixture("submissions")).unwrap();
    let folders = folders.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut compared = 0;
    for folder in folders {
        let Ok(packed) = pack(&folder, &policy.archive) else { continue };
        let (_, admitted) = admit(&packed.bytes, &packed.digest, &gates);
        let Some(Admitted { archive, sketch: compared_by }) = admitted else { continue };
        assert_eq!(compared_by, sketch(&archive).unwrap(), "{}", folder.display());
        compared += 1;
    }
    assert!(compared > 10, "{compared}");
}

#[test]
fn another_kind_of_newline_is_the_same_work() {
    let text = "def f(x):\n    # a note\n    y = x * 2\n    return y + 1\n\n\nprint(f(3))\n";
    let one = shingles(&one_file(text)).unwrap();
    assert!(one.len() > 3, "{one:?}");
    for newline in ["\r\n", "\r"] {
        let other = text.replace('\n', newline);
        assert_eq!(shingles(&one_file(other)).unwrap(), one, "{newline:?}");
    }
}

/// The sources that take a parser longest; none recurses into the ground, and the ones that would
/// take for ever are given up on.
#[test]
fn hostile_sources_are_read_or_refused_in_bounded_work() {
    let n = 200_000;
    for (what, source) in [
        ("statements", "a;".repeat(n / 2)),
        ("open brackets", "([{".repeat(n / 3)),
        ("brackets", "(".repeat(n / 2) + &")".repeat(n / 2)),
        ("attributes", "a".to_owned() + &".a".repeat(n / 2 - 1)),
        ("an import's attributes", "import a\na".to_owned() + &".a".repeat(n / 2 - 9)),
        ("calls", "a".to_owned() + &"()".repeat(n / 2 - 1)),
        ("format strings", "f'{".repeat(n / 3)),
        ("lambdas", "lambda:".repeat(n / 7)),
        ("blocks", (0..500).map(|depth| " ".repeat(depth) + "if a:\n").collect()),
        ("nested classes", (0..500).map(|depth| " ".repeat(depth) + "class a:\n").collect()),
        ("open definitions", "def f(a, b[{(".repeat(n / 13)),
        ("comparisons", "a<b>c:".repeat(n / 6)),
    ] {
        assert!(shingles(&one_file(source)).is_ok(), "{what}");
    }
    let refused = shingles(&one_file("\\\n".repeat(n))).unwrap_err();
    assert_eq!(refused.rule, Rule::DuplicateUnreadable);
    assert_eq!(refused.file.as_deref(), Some("architecture.py"));
    let refused = shingles(&one_file(vec![b' '; (512 << 10) + 1])).unwrap_err();
    assert_eq!((refused.rule, refused.file), (Rule::DuplicateUnreadable, None));
    assert!(shingles(&Files::new()).unwrap().is_empty());
}

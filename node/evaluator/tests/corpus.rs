//! Replays the corpus of this crate's fuzz targets (`tests/fuzz/corpus`), one folder per target.
//! `ASSAY_CORPUS=write` in the environment writes the seeds of `table`, which no editor can.
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use node_evaluator::fuzzing::{target, Reading, TARGETS};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

fn fuzz_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let name = |path: PathBuf| path.file_stem().unwrap().to_string_lossy().into_owned();
    std::fs::read_dir(folder).unwrap().map(|entry| name(entry.unwrap().path())).collect()
}

/// Two row groups with a missing text each.
fn table() -> Vec<u8> {
    let schema =
        Arc::new(parse_message_type("message m { optional binary text (UTF8); }").unwrap());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties)).unwrap();
    for texts in [["one", "two\n\nthree"], ["two\n\nthree", "four four four four"]] {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values = texts.map(ByteArray::from);
        column.typed::<ByteArrayType>().write_batch(&values, Some(&[1, 0, 1]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn write_tables() {
    let folder = fuzz_crate().join("corpus/table");
    std::fs::create_dir_all(&folder).unwrap();
    let good = table();
    let damaged = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 0x55;
        bytes
    };
    std::fs::write(folder.join("cut"), &good[good.len() / 2..]).unwrap();
    std::fs::write(folder.join("page"), damaged(8)).unwrap();
    std::fs::write(folder.join("flipped"), damaged(good.len() * 3 / 4)).unwrap();
    std::fs::write(folder.join("longer"), damaged(good.len() - 7)).unwrap();
    std::fs::write(folder.join("good"), good).unwrap();
}

#[test]
fn no_file_of_the_corpus_breaks_a_target_and_the_good_one_is_taken() {
    if std::env::var_os("ASSAY_CORPUS").is_some_and(|what| what == "write") {
        write_tables();
    }
    for target in TARGETS {
        let folder = fuzz_crate().join("corpus").join(target.name);
        let files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 3, "{}", target.name);
        for path in files {
            let read = (target.read)(&std::fs::read(&path).unwrap());
            assert!(read.is_ok(), "{}: {read:?}", path.display());
            let is_good = path.ends_with("good");
            assert!(!is_good || read == Ok(Reading::Taken), "{}", target.name);
        }
    }
}

#[test]
fn every_folder_of_the_corpus_has_a_fuzz_target_and_every_target_of_ours_a_folder() {
    let folders = names(&fuzz_crate().join("corpus"));
    assert_eq!(folders, names(&fuzz_crate().join("src/bin")));
    let manifest = std::fs::read_to_string(fuzz_crate().join("Cargo.toml")).unwrap();
    for name in &folders {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not in the manifest");
    }
    for ours in TARGETS {
        assert!(folders.contains(ours.name) && target(ours.name).is_some(), "{}", ours.name);
        let source = fuzz_crate().join(format!("src/bin/{}.rs", ours.name));
        let source = std::fs::read_to_string(source).unwrap();
        assert!(source.contains(&format!("check_source(\"{}\"", ours.name)), "{}", ours.name);
    }
}

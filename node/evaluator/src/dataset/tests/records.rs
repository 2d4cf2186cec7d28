//! Records of JSON and Parquet: the same data set from either, in any order, or a clear refusal.

use std::ops::ControlFlow;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;

const TABLE: &str = "message m { optional binary text (UTF8); required int64 token_count; }";

fn texts(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("Document {number}\n\nabout \"things\"\u{e9}\n")).collect()
}

fn json_lines(texts: &[String]) -> String {
    let line = |text| serde_json::json!({ "id": [1, {"text": 2}], "text": text }).to_string();
    texts.iter().map(|text| line(text) + "\n").collect()
}

/// A table with every third text missing where `has_gaps`, in row groups of 100.
fn table(texts: &[String], compression: Compression, schema: &str, has_gaps: bool) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .set_data_page_row_count_limit(30)
        .build();
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, schema.clone(), Arc::new(properties)).unwrap();
    let has_levels = schema.get_fields()[0].is_optional();
    for texts in texts.chunks(100) {
        let mut group = writer.next_row_group().unwrap();
        let is_kept = |row: usize| !has_gaps || row % 3 != 2;
        let kept = (0..texts.len()).filter(|row| is_kept(*row));
        let values: Vec<ByteArray> = kept.map(|row| texts[row].as_str().into()).collect();
        let levels: Vec<i16> = (0..texts.len()).map(|row| i16::from(is_kept(row))).collect();
        let mut column = group.next_column().unwrap().unwrap();
        let levels = has_levels.then_some(levels.as_slice());
        column.typed::<ByteArrayType>().write_batch(&values, levels, None).unwrap();
        column.close().unwrap();
        if let Some(mut column) = group.next_column().unwrap() {
            let counts = vec![7; texts.len()];
            column.typed::<Int64Type>().write_batch(&counts, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn source(path: &Path, kind: SourceKind) -> Source {
    Source { path: path.to_owned(), kind }
}

fn recipe(sources: Vec<Source>) -> Recipe {
    Recipe { sources, ..Recipe::text(&[]) }
}

fn made(recipe: &Recipe, dir: &Path) -> Result<Dataset, PrepareError> {
    prepare_from(recipe, dir, &mut |_| ControlFlow::Continue(()))
}

#[test]
fn the_same_records_make_the_same_bytes_from_any_format_in_any_order_and_number_of_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (first, second) = (texts(0, 700), texts(500, 1_500));
    fs::write(path("a.jsonl"), json_lines(&first)).unwrap();
    fs::write(path("b.jsonl"), json_lines(&second)).unwrap();
    let json = |names: &[&str]| {
        names.iter().map(|name| source(&path(name), SourceKind::JsonLines)).collect()
    };
    let one = made(&recipe(json(&["a.jsonl", "b.jsonl"])), &path("one")).unwrap();
    let two = made(&recipe(json(&["b.jsonl", "a.jsonl", "b.jsonl"])), &path("two")).unwrap();
    fs::create_dir_all(path("tables/deeper")).unwrap();
    let snappy = table(&texts(0, 900), Compression::SNAPPY, TABLE, false);
    fs::write(path("tables/x.parquet"), snappy).unwrap();
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let rest = table(&texts(900, 1_500), zstd, TABLE, false);
    fs::write(path("tables/deeper/y.parquet"), rest).unwrap();
    fs::write(path("tables/notes.txt"), "not a table").unwrap();
    let tables = recipe(vec![source(&path("tables"), SourceKind::Parquet)]);
    let three = made(&tables, &path("three")).unwrap();
    assert_eq!(one.digest(), two.digest());
    assert_eq!(one.digest(), three.digest());
    assert_eq!(contents(&path("one")), contents(&path("three")));
    let all: u64 = Split::ALL.iter().map(|split| one.manifest().documents(*split)).sum();
    assert_eq!(all, 1_500);
}

#[test]
fn missing_texts_are_left_out_and_a_required_column_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let (gaps, all) = (dir.path().join("gaps.parquet"), dir.path().join("all.parquet"));
    fs::write(&gaps, table(&texts(0, 900), Compression::SNAPPY, TABLE, true)).unwrap();
    let required = "message m { required binary body (UTF8); }";
    fs::write(&all, table(&texts(0, 900), Compression::UNCOMPRESSED, required, false)).unwrap();
    let count = |dataset: &Dataset| {
        Split::ALL.iter().map(|split| dataset.manifest().documents(*split)).sum::<u64>()
    };
    let recipe_of = |path: &Path| recipe(vec![source(path, SourceKind::Parquet)]);
    assert_eq!(count(&made(&recipe_of(&gaps), &dir.path().join("one")).unwrap()), 603);
    let mut body = recipe_of(&all);
    "body".clone_into(&mut body.field);
    assert_eq!(count(&made(&body, &dir.path().join("two")).unwrap()), 900);
    let refused = made(&recipe_of(&all), &dir.path().join("three")).unwrap_err();
    assert!(matches!(refused, PrepareError::NoColumn { .. }), "{refused}");
    "token_count".clone_into(&mut body.field);
    let refused = made(&body, &dir.path().join("three")).unwrap_err();
    assert!(matches!(refused, PrepareError::NoColumn { .. }), "{refused}");
}

#[test]
fn a_revision_stands_in_the_manifest_and_changes_the_digest_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut recipe = Recipe::text(&super::sources(dir.path()));
    let without = made(&recipe, &path("without")).unwrap();
    recipe.revision = Some("fineweb-edu@v1.3.0".to_owned());
    let with = made(&recipe, &path("with")).unwrap();
    assert_eq!(with.manifest().revision(), Some("fineweb-edu@v1.3.0"));
    assert_ne!(with.digest(), without.digest());
    let shards = |name| {
        let mut all = contents(&path(name));
        all.retain(|(name, _)| name != MANIFEST_NAME);
        all
    };
    assert_eq!(shards("with"), shards("without"));
    for name in ["", "two\nlines", &"x".repeat(201)] {
        recipe.revision = Some(name.to_owned());
        let refused = made(&recipe, &path("other")).unwrap_err();
        assert!(matches!(refused, PrepareError::Revision), "{name}");
    }
}

#[test]
fn lines_that_are_no_records_are_refused_with_their_number() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.jsonl");
    let bad = |line: &[u8]| {
        let content = [b"{\"text\": \"good\"}\n\n".as_slice(), line, b"\n{\"text\": 1}"].concat();
        fs::write(&path, content).unwrap();
        let recipe = recipe(vec![source(&path, SourceKind::JsonLines)]);
        let refused = made(&recipe, &dir.path().join("data")).unwrap_err();
        assert_eq!(contents_names(dir.path()).len(), 1, "nothing is left: {refused}");
        refused
    };
    for line in [
        "{\"text\": null}",
        "{\"txet\": \"a\"}",
        "{\"text\": \"a\", \"text\": \"b\"}",
        "[\"text\"]",
        "{\"text\": \"a\"} {}",
        "{\"text\": \"\\ud800\"}",
        "text",
        &("{\"a\":".repeat(100_000)),
    ] {
        let refused = bad(line.as_bytes());
        let is_right = matches!(refused, PrepareError::Json { line: 3, .. });
        assert!(is_right, "{refused}: {}", line.chars().take(40).collect::<String>());
    }
    let refused = bad(b"{\"text\": \"\xff\"}");
    assert!(matches!(refused, PrepareError::NotText { record: 3, .. }), "{refused}");
    let refused = bad(b"{\"text\": \"fine\"}");
    assert!(matches!(refused, PrepareError::Json { line: 4, .. }), "{refused}");
}

#[test]
fn a_damaged_table_is_refused_or_read_and_never_brings_the_process_down() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.parquet");
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let good = table(&texts(0, 250), zstd, TABLE, true);
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let mut documents = 0;
        let file = source(&path, SourceKind::Parquet);
        let result = super::super::sources::read(&file, "text", &mut |document, _| {
            documents += 1;
            assert!(document.ends_with("\n\n"));
            Ok(())
        });
        result.map(|()| documents)
    };
    assert_eq!(read(&good).unwrap(), 168);
    let (mut refused, mut at) = (0, 0);
    while at < good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 0x55;
        refused += usize::from(read(&damaged).is_err());
        refused += usize::from(read(&good[..at]).is_err());
        at += good.len() / 400 + 1;
    }
    assert!(refused > 250, "{refused} of some 800");
    assert!(matches!(read(b"PAR1 and nothing PAR1"), Err(PrepareError::Table { .. })));
}

#[test]
fn a_folder_without_a_file_of_its_kind_and_a_missing_path_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    super::sources(dir.path());
    for kind in [SourceKind::Text, SourceKind::JsonLines, SourceKind::Parquet] {
        let refused = made(&recipe(vec![source(dir.path(), kind)]), &dir.path().join("data"));
        assert!(matches!(refused, Err(PrepareError::EmptyFolder { .. })), "{refused:?}");
        let nothing = recipe(vec![source(&dir.path().join("none"), kind)]);
        let refused = made(&nothing, &dir.path().join("data"));
        assert!(matches!(refused, Err(PrepareError::Read { .. })), "{refused:?}");
    }
}

#[test]
fn whoever_stops_it_finds_nothing_half_made() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Recipe::text(&super::sources(dir.path()));
    let place = dir.path().join("data");
    let mut last = None;
    made(&recipe, &dir.path().join("whole")).unwrap();
    for reports in (0..6).chain((6..).step_by(83)) {
        let mut left = reports;
        let result = prepare_from(&recipe, &place, &mut |progress| {
            assert!(progress.read_bytes <= progress.source_bytes);
            last = Some(*progress);
            left -= 1_i32;
            if left < 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if result.is_ok() {
            break;
        }
        assert!(matches!(result, Err(PrepareError::Stopped)));
        assert_eq!(contents_names(dir.path()).len(), 3, "two sources and a data set");
    }
    let last = last.unwrap();
    assert_eq!((last.documents, last.sorted), (400, 256));
    assert_eq!(last.read_bytes, last.source_bytes);
    assert_eq!(contents(&place), contents(&dir.path().join("whole")));
}

#[test]
fn another_data_set_is_replaced_only_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = super::sources(dir.path());
    let place = dir.path().join("data");
    let first = prepare(&inputs, &place).unwrap().digest();
    let mut recipe = Recipe::text(&inputs[..1]);
    assert!(matches!(made(&recipe, &place), Err(PrepareError::Occupied { .. })));
    recipe.replace = Replace::Yes;
    let second = made(&recipe, &place).unwrap();
    assert_ne!(second.digest(), first);
    assert_eq!(Dataset::open(&place).unwrap().digest(), second.digest());
    assert_eq!(contents_names(dir.path()).len(), 3, "two sources and one data set");
}

#[test]
fn shards_end_where_they_are_full_and_their_number_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = Recipe::text(&super::sources(dir.path()));
    recipe.shard_bytes = 100_000;
    let dataset = made(&recipe, &dir.path().join("data")).unwrap();
    let shards = dataset.manifest().shards(Split::Train);
    assert!(shards.len() > 5, "{}", shards.len());
    let (last, full) = shards.split_last().unwrap();
    assert!(full.iter().all(|shard| (100_000..110_000).contains(&shard.bytes)));
    assert!(last.bytes > 0);
    fs::write(dir.path().join("lines.jsonl"), json_lines(&texts(0, 1_500))).unwrap();
    recipe.sources = vec![source(&dir.path().join("lines.jsonl"), SourceKind::JsonLines)];
    recipe.shard_bytes = 1;
    let refused = made(&recipe, &dir.path().join("other")).unwrap_err();
    assert!(matches!(refused, PrepareError::TooManyShards { split: Split::Train }), "{refused}");
}

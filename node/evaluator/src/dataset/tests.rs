//! What a data set promises: the same bytes from the same text, and not one byte altered.

use std::fs;

use super::*;

/// Text of `chapters` chapters with some 2.5 KiB each, no two alike.
fn text(book: &str, chapters: usize) -> String {
    let verse = |chapter: usize, verse: usize| {
        format!("{book} {chapter}:{verse} and it came to pass on day {}\n", chapter * 31 + verse)
    };
    let chapter = |number| (0..55).map(|v| verse(number, v)).collect::<String>() + "\n";
    (0..chapters).map(chapter).collect()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    ["genesis", "exodus"]
        .map(|book| {
            let path = dir.join(book);
            fs::write(&path, text(book, 200)).unwrap();
            path
        })
        .to_vec()
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn input_order_and_repetition_change_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = sources(dir.path());
    let one = prepare(&inputs, &dir.path().join("one")).unwrap();
    let backwards = [inputs[1].clone(), inputs[0].clone(), inputs[1].clone()];
    let two = prepare(&backwards, &dir.path().join("two")).unwrap();
    assert_eq!(one.digest(), two.digest());
    assert_eq!(contents(&dir.path().join("one")), contents(&dir.path().join("two")));
    assert_eq!(contents_names(dir.path()).len(), 4, "nothing partial is left");
}

#[test]
fn every_document_is_in_one_split_and_most_are_trained_on() {
    let dir = tempfile::tempdir().unwrap();
    let inputs = sources(dir.path());
    let dataset = prepare(&inputs, &dir.path().join("data")).unwrap();
    let counts = Split::ALL.map(|split| dataset.manifest().documents(split));
    assert_eq!(counts.iter().sum::<u64>(), 400);
    assert!(counts[0] > 350 && counts[1] > 0 && counts[2] > 0, "{counts:?}");
    let mut lines = 0;
    for split in Split::ALL {
        let mut all = vec![0; usize::try_from(dataset.bytes(split)).unwrap()];
        dataset.read(split, 0, &mut all).unwrap();
        lines += all.iter().filter(|byte| **byte == b'\n').count();
        let counted: u64 = dataset.byte_counts(split).iter().sum();
        assert_eq!(counted, dataset.bytes(split));
        assert_eq!(dataset.byte_counts(split)[0], 0, "the start mark does not occur");
    }
    assert_eq!(lines, 400 * 56);
}

#[test]
fn case_36_one_altered_byte_is_refused_at_start_and_before_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("data");
    let dataset = prepare(&sources(dir.path()), &place).unwrap();
    for (name, content) in contents(&place) {
        let mut altered = content.clone();
        *altered.last_mut().unwrap() ^= 1;
        fs::write(place.join(&name), &altered).unwrap();
        if name == MANIFEST_NAME {
            let other = Dataset::open(&place).map(|other| other.digest());
            assert_ne!(other.ok(), Some(dataset.digest()));
        } else {
            assert!(matches!(Dataset::open(&place), Err(OpenError::Altered { .. })), "{name}");
            assert!(matches!(dataset.verify(), Err(OpenError::Altered { .. })), "{name}");
        }
        fs::write(place.join(&name), &content).unwrap();
    }
    dataset.verify().unwrap();
    assert_eq!(Dataset::open(&place).unwrap().digest(), dataset.digest());
}

#[test]
fn a_longer_shard_a_missing_one_and_a_foreign_manifest_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("data");
    prepare(&sources(dir.path()), &place).unwrap();
    let shard = place.join("test-0000.txt");
    let content = fs::read(&shard).unwrap();
    fs::write(&shard, [content.as_slice(), b"x"].concat()).unwrap();
    assert!(matches!(Dataset::open(&place), Err(OpenError::Altered { .. })));
    fs::remove_file(&shard).unwrap();
    assert!(matches!(Dataset::open(&place), Err(OpenError::Read { .. })));
    let manifest = fs::read_to_string(place.join(MANIFEST_NAME)).unwrap();
    let outside = manifest.replace("test-0000.txt", "../test-0000.txt");
    fs::write(place.join(MANIFEST_NAME), outside).unwrap();
    assert!(matches!(Dataset::open(&place), Err(OpenError::ShardName { .. })));
    fs::write(place.join(MANIFEST_NAME), manifest.replace("/v1", "/v3")).unwrap();
    assert!(matches!(Dataset::open(&place), Err(OpenError::Format { .. })));
    fs::write(place.join(MANIFEST_NAME), manifest.replace("/v1", "/v2")).unwrap();
    assert!(matches!(Dataset::open(&place), Err(OpenError::Format { .. })));
    fs::write(place.join(MANIFEST_NAME), "{}").unwrap();
    assert!(matches!(Dataset::open(&place), Err(OpenError::Manifest { .. })));
}

#[test]
fn preparing_again_is_harmless_and_never_overwrites_another_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("data");
    let inputs = sources(dir.path());
    let first = prepare(&inputs, &place).unwrap().digest();
    assert_eq!(prepare(&inputs, &place).unwrap().digest(), first);
    let refused = prepare(&inputs[..1], &place).unwrap_err();
    assert!(matches!(refused, PrepareError::Occupied { .. }), "{refused}");
    assert_eq!(Dataset::open(&place).unwrap().digest(), first);
    let names: Vec<String> = contents_names(dir.path());
    assert!(!names.iter().any(|name| name.contains("partial")), "{names:?}");
}

fn contents_names(dir: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name();
    fs::read_dir(dir).unwrap().map(|entry| name(entry).to_string_lossy().into_owned()).collect()
}

#[test]
fn too_little_text_is_refused_with_the_split_that_stays_empty() {
    let dir = tempfile::tempdir().unwrap();
    let input = dir.path().join("short");
    fs::write(&input, "in the beginning\n").unwrap();
    let refused = prepare(&[input], &dir.path().join("data")).unwrap_err();
    assert!(matches!(refused, PrepareError::EmptySplit { documents: 1, .. }), "{refused}");
    assert!(!dir.path().join("data").exists());
}

fn cut(text: &str) -> Vec<String> {
    let mut cutter = documents::Cutter::default();
    let mut documents: Vec<String> = text.lines().filter_map(|line| cutter.line(line)).collect();
    documents.extend(cutter.end());
    documents
}

#[test]
fn documents_are_clean_text_of_bounded_length() {
    let messy = "one\r\n\r\n\r\n\r\ntwo \0\t\x07 \u{85}\nthree\u{a0}x";
    assert_eq!(cut(messy), ["one\n\ntwo\nthree\u{a0}x\n\n"]);
    assert_eq!(documents::whole(messy).as_deref(), Some("one\n\ntwo\nthree\u{a0}x\n\n"));
    let lines = "a line without blank ones around it\n".repeat(1_000);
    assert!(cut(&lines).iter().all(|document| document.len() < 9_000));
    assert_eq!(cut(&lines).concat().matches("line").count(), 1_000);
    assert!(cut(" \n\n \n").is_empty());
    assert_eq!(documents::whole(" \n\n \n"), None);
}

#[test]
fn reading_past_the_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepare(&sources(dir.path()), &dir.path().join("data")).unwrap();
    let len = dataset.bytes(Split::Test);
    let mut two = [0; 2];
    assert!(dataset.read(Split::Test, len - 2, &mut two).is_ok());
    let refused = dataset.read(Split::Test, len - 1, &mut two).unwrap_err();
    assert!(matches!(refused, TextError::OutOfRange { .. }), "{refused}");
    assert!(dataset.read(Split::Test, u64::MAX, &mut two).is_err());
}

/// The digest of the same text before records could be read: whoever has such a data set keeps it.
#[test]
fn plain_text_makes_the_data_set_that_it_always_made() {
    let dir = tempfile::tempdir().unwrap();
    let dataset = prepare(&sources(dir.path()), &dir.path().join("data")).unwrap();
    let digest = dataset.digest().to_string();
    assert_eq!(digest, "32c6a5208dfeeb8be8b451cdb9054b049eccc18dc6103ecd9ab4b23190924ce7");
}

mod records;

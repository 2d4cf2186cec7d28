use node_core::id::Hotkey;
use node_core::rows::{CursorRow, StrikeCause, StrikeRow};
use proptest::prelude::*;

use super::*;

fn record(submission: u8, at: u64, part: u16) -> Frozen {
    let cursor = |after| Row::Cursor(CursorRow { peer: Hotkey([7; 32]), after });
    let rows = (0..u64::from(submission)).map(cursor).collect();
    Frozen { submission: SubmissionId([submission; 32]), at: BlockNumber(at), part, rows }
}

fn frame(record: &Frozen) -> Frame {
    Frame::encode(record).unwrap()
}

/// Records that were written in one life each.
fn written(dir: &Path, records: &[Frozen]) -> Vec<(Key, Place)> {
    let write = |record| {
        let frame = frame(record);
        let places = Freezer::open(dir).unwrap().append(std::slice::from_ref(&frame)).unwrap();
        (frame.key, places[0])
    };
    records.iter().map(write).collect()
}

fn found(dir: &Path) -> Vec<(Key, Place)> {
    let mut found = Vec::new();
    for_each_place(&dir.join(FREEZER_DIR), |key, place| {
        found.push((key, place));
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn each_life_writes_a_file_of_its_own_and_all_of_them_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let records = [record(1, 1 << 40, 0), record(2, 5, u16::MAX), record(3, u64::MAX, 1)];
    let places = written(dir.path(), &records);
    let segments: Vec<u32> = places.iter().map(|(_, place)| place.segment).collect();
    assert_eq!(segments, [1, 2, 3]);
    for (record, (key, place)) in records.iter().zip(&places) {
        assert_eq!(read(&dir.path().join(FREEZER_DIR), key, *place).unwrap(), *record);
    }
    assert_eq!(found(dir.path()), places);
}

#[test]
fn records_of_one_life_stand_behind_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let mut freezer = Freezer::open(dir.path()).unwrap();
    assert!(!freezer.dir().exists(), "nothing is made before there is something to keep");
    let before = freezer.end();
    let frames = [record(1, 1, 0), record(2, 1, 0)].map(|record| frame(&record));
    let mut places = freezer.append(&frames).unwrap();
    places.extend(freezer.append(&[frame(&record(3, 1, 0))]).unwrap());
    assert!(places.is_sorted() && places.iter().all(|place| before < *place));
    assert!(places.iter().all(|place| *place < freezer.end()));
    let found: Vec<Place> = found(dir.path()).into_iter().map(|(_, place)| place).collect();
    assert_eq!(found, places);
}

#[test]
fn a_frame_that_was_never_finished_hides_none_of_another_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut places = written(dir.path(), &[record(1, 1, 0)]);
    let path = segment_path(&dir.path().join(FREEZER_DIR), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let torn = frame(&record(9, 1, 0)).bytes;
    bytes.extend_from_slice(&torn[..torn.len() - 1]);
    std::fs::write(&path, bytes).unwrap();
    places.extend(written(dir.path(), &[record(2, 1, 0)]));
    assert_eq!(found(dir.path()), places);
}

#[test]
fn whoever_goes_on_after_a_failed_write_begins_a_new_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut freezer = Freezer::open(dir.path()).unwrap();
    let first = freezer.append(&[frame(&record(1, 1, 0))]).unwrap();
    // A handle that cannot be written, as on a disk that went away.
    let path = segment_path(freezer.dir(), 1);
    freezer.segment.as_mut().unwrap().file = File::open(path).unwrap();
    assert!(freezer.append(&[frame(&record(2, 1, 0))]).is_err());
    let next = freezer.append(&[frame(&record(3, 1, 0))]).unwrap();
    assert_eq!((first[0].segment, next[0].segment), (1, 2));
}

#[test]
fn a_full_file_is_followed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut freezer = Freezer::open(dir.path()).unwrap();
    freezer.append(&[frame(&record(1, 1, 0))]).unwrap();
    freezer.segment.as_mut().unwrap().bytes = SEGMENT_BYTES_MAX;
    let places = freezer.append(&[frame(&record(2, 1, 0))]).unwrap();
    assert_eq!(places, [Place { segment: 2, offset: HEADER.len() as u64 }]);
}

#[test]
fn a_flipped_bit_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), &[record(3, 1, 0)]);
    let freezer = dir.path().join(FREEZER_DIR);
    let path = segment_path(&freezer, 1);
    let bytes = std::fs::read(&path).unwrap();
    let (key, place) = &places[0];
    for at in HEADER.len() + FRAME_LENGTH_BYTES..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        let fault = read(&freezer, key, *place).unwrap_err();
        assert!(matches!(fault, FreezerFault::Damaged { offset: 16, .. }), "{at}: {fault}");
    }
    std::fs::remove_file(&path).unwrap();
    let fault = read(&freezer, key, *place).unwrap_err();
    assert!(matches!(&fault, FreezerFault::Io { path: named, .. } if *named == path), "{fault}");
}

#[test]
fn another_submissions_record_is_not_taken_for_what_the_index_names() {
    let dir = tempfile::tempdir().unwrap();
    let places = written(dir.path(), &[record(1, 1, 0), record(2, 1, 0)]);
    let freezer = dir.path().join(FREEZER_DIR);
    let fault = read(&freezer, &places[0].0, places[1].1).unwrap_err();
    assert!(matches!(fault, FreezerFault::Astray { .. }), "{fault}");
    // Behind the end of its file.
    let behind = Place { offset: 1 << 20, ..places[0].1 };
    let fault = read(&freezer, &places[0].0, behind).unwrap_err();
    assert!(matches!(fault, FreezerFault::Astray { .. }), "{fault}");
}

/// A frame with these versions and rows, as another build would have written it.
fn foreign(version: u8, value: &Value) -> Frame {
    let unpacked = packed::of_json(value).unwrap();
    let key = key_of(&record(1, 1, 0));
    let compressed = zstd::bulk::compress(&unpacked, ZSTD_LEVEL).unwrap();
    let sealed = envelope::seal(version, &[key.as_slice(), &compressed].concat());
    let length = u32::try_from(sealed.len()).unwrap();
    Frame { key, bytes: [length.to_le_bytes().as_slice(), &sealed].concat() }
}

fn read_foreign(frame: Frame) -> Result<Frozen, FreezerFault> {
    let dir = tempfile::tempdir().unwrap();
    let key = frame.key;
    let places = Freezer::open(dir.path()).unwrap().append(&[frame]).unwrap();
    read(&dir.path().join(FREEZER_DIR), &key, places[0])
}

#[test]
fn what_a_newer_build_put_away_is_named_as_such() {
    let rows = serde_json::json!({ "schemas": { "cursors": 1 }, "rows": [] });
    assert!(read_foreign(foreign(VERSION, &rows)).is_ok());
    let newer_rows = serde_json::json!({ "schemas": { "cursors": 2 }, "rows": [{ "new": 1 }] });
    let newer_table = serde_json::json!({ "schemas": { "dreams": 1 }, "rows": [{ "dream": 1 }] });
    for frame in
        [foreign(VERSION + 1, &rows), foreign(VERSION, &newer_rows), foreign(VERSION, &newer_table)]
    {
        let fault = read_foreign(frame).unwrap_err();
        assert!(matches!(fault, FreezerFault::Newer { .. }), "{fault}");
    }
}

#[test]
fn rows_that_an_older_build_put_away_are_upgraded() {
    let mut row = crate::record::tests::run_on(&["GPU-1"]);
    let mut payload = Vec::new();
    packed::write(&row, &mut payload).unwrap();
    let mut value = packed::to_json(&payload).unwrap();
    let fields = value["run"].as_object_mut().unwrap();
    let devices = fields.remove("devices").unwrap();
    fields.insert("device".to_owned(), devices[0].clone());
    let old = |version: u8| {
        foreign(VERSION, &serde_json::json!({ "schemas": { "runs": version }, "rows": [value] }))
    };
    assert_eq!(read_foreign(old(1)).unwrap().rows, [row.clone()]);
    let fault = read_foreign(old(2)).unwrap_err();
    assert!(matches!(fault, FreezerFault::Rows { .. }), "{fault}");
    let fault = read_foreign(old(0)).unwrap_err();
    assert!(matches!(fault, FreezerFault::Migration { .. }), "{fault}");
    // Rows of other tables are left alone.
    row = Row::Strike(StrikeRow {
        validator: Hotkey([1; 32]),
        submission: SubmissionId([1; 32]),
        cause: StrikeCause::BrokeSeal,
        evidence: Vec::new(),
        block: BlockNumber(1),
    });
    let mixed = Frozen { rows: vec![row.clone()], ..record(1, 1, 0) };
    assert_eq!(read_foreign(frame(&mixed)).unwrap().rows, [row]);
}

#[test]
fn what_unpacks_to_more_than_a_frame_may_hold_is_refused() {
    let zeros = vec![0; FRAME_BYTES_MAX + 1];
    let compressed = zstd::bulk::compress(&zeros, ZSTD_LEVEL).unwrap();
    assert!(compressed.len() < 100 << 10, "a small file may claim much");
    let key = key_of(&record(1, 1, 0));
    let sealed = envelope::seal(VERSION, &[key.as_slice(), &compressed].concat());
    let length = u32::try_from(sealed.len()).unwrap();
    let bytes = [length.to_le_bytes().as_slice(), &sealed].concat();
    let fault = read_foreign(Frame { key, bytes }).unwrap_err();
    assert!(matches!(fault, FreezerFault::Rows { .. }), "{fault}");
}

proptest! {
    #[test]
    fn any_bytes_in_a_file_are_refused_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        has_header: bool,
        is_sealed: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let freezer = dir.path().join(FREEZER_DIR);
        std::fs::create_dir(&freezer).unwrap();
        let sealed = envelope::seal(VERSION, &bytes);
        let length = u32::try_from(sealed.len()).unwrap().to_le_bytes();
        let framed = if is_sealed { [length.as_slice(), &sealed].concat() } else { bytes };
        let header = if has_header { HEADER } else { &[] };
        std::fs::write(segment_path(&freezer, 1), [header, &framed].concat()).unwrap();
        let place = Place { segment: 1, offset: HEADER.len() as u64 };
        prop_assert!(read(&freezer, &key_of(&record(1, 1, 0)), place).is_err());
        found(dir.path());
    }
}

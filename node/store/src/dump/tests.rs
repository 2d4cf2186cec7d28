use node_core::id::{IntentId, SubmissionId};
use node_core::rows::{CursorRow, JournalStep};
use node_core::unit::{BlockNumber, EpochIndex};

use super::*;
use crate::history::tests::OWNER;
use crate::record::tests::run_on;

const HEAD: BackupHead = BackupHead { owner: OWNER, made_at: UnixMs(1_700_000_000_000) };

fn cursor(peer: u8) -> Row {
    Row::Cursor(CursorRow { peer: Hotkey([peer; 32]), after: u64::MAX })
}

fn run() -> Row {
    run_on(&["GPU-1"])
}

fn entry() -> JournalEntry {
    JournalEntry {
        hotkey: OWNER.hotkey,
        intent: IntentId([2; 32]),
        netuid: OWNER.netuid,
        mechanism: 0,
        registered_at: None,
        epoch: EpochIndex(7),
        step: JournalStep::Landed { block: BlockNumber(4), hash: None },
    }
}

/// The text of a copy with these rows and one line of the journal.
fn copy_of(rows: &[Row]) -> String {
    let mut bytes = Vec::new();
    let mut writer = BackupWriter::begin(&mut bytes, &HEAD).unwrap();
    rows.iter().for_each(|row| writer.row(row).unwrap());
    writer.entry(&entry()).unwrap();
    let copied = writer.end().unwrap();
    assert_eq!(copied.bytes, bytes.len() as u64);
    String::from_utf8(bytes).unwrap()
}

/// The text with its last line made anew, as another build would have written it.
fn sealed(lines: &[&str], rows: u64) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let crc32 = format!("{:08x}", crc32fast::hash(text.as_bytes()));
    let end = serde_json::to_string(&Written::End { rows, frozen: 0, journal: 1, crc32 }).unwrap();
    format!("{text}{end}\n")
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn read(text: &str) -> Result<Vec<BackupItem>, BackupError> {
    let (_dir, path) = file(text);
    let mut reader = BackupReader::open(&path)?;
    let mut items = Vec::new();
    while let Some(item) = reader.next_item()? {
        items.push(item);
    }
    Ok(items)
}

#[test]
fn a_copy_is_read_as_it_was_written_and_says_whose_and_how_much_it_is() {
    let text = copy_of(&[run(), cursor(1), cursor(2)]);
    let rows = [run(), cursor(1), cursor(2)].map(|row| BackupItem::Row(Box::new(row)));
    let expected: Vec<_> =
        rows.into_iter().chain([BackupItem::Journal(Box::new(entry()))]).collect();
    assert_eq!(read(&text).unwrap(), expected);
    let (_dir, path) = file(&text);
    let report = check_backup(&path).unwrap();
    assert_eq!(report.head, HEAD);
    let count = |table| report.records.iter().find(|(of, _)| *of == table).unwrap().1;
    assert_eq!([count(Table::Cursors), count(Table::Runs), count(Table::Leases)], [2, 1, 0]);
    let copied = Copied { rows: 3, frozen: 0, journal: 1, bytes: text.len() as u64 };
    assert_eq!(report.copied, copied);
}

#[test]
fn what_was_changed_cut_or_joined_is_no_copy() {
    let text = copy_of(&[cursor(1), cursor(2)]);
    let lines: Vec<&str> = text.lines().collect();
    let without = |at: usize| {
        let kept = lines.iter().enumerate().filter(|(line, _)| *line != at);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let changed = text.replacen("18446744073709551615", "18446744073709551614", 1);
    for altered in [without(1), without(4), changed, text.repeat(2)] {
        let error = read(&altered).unwrap_err();
        assert!(matches!(error, BackupError::Incomplete { .. }), "{error}");
    }
    for cut in 1..text.len() - 1 {
        assert!(read(&text[..cut]).is_err(), "cut after {cut} bytes");
    }
    assert!(matches!(read("").unwrap_err(), BackupError::Incomplete { .. }));
    for other in [without(0), "{}\n".to_owned(), "nonsense\n".to_owned()] {
        let error = read(&other).unwrap_err();
        assert!(matches!(error, BackupError::Format { .. }), "{error}");
    }
    let twice = sealed(&[lines[0], lines[1], lines[0], lines[3]], 1);
    assert!(matches!(read(&twice).unwrap_err(), BackupError::Format { .. }));
}

#[test]
fn a_line_without_an_end_is_refused_after_as_many_bytes_as_a_line_may_have() {
    let endless = || io::repeat(b'x');
    let named = Path::new("copy");
    let begin = copy_of(&[]).lines().next().unwrap().to_owned();
    let open = |text: &str| {
        let begun = io::Cursor::new(text.as_bytes().to_vec());
        BackupReader::of(named, begun.chain(endless()))
    };
    let error = open("").unwrap_err();
    assert!(matches!(error, BackupError::Format { .. }), "{error}");
    for start in ["", "{\"row\":{\"cursor\":{\"peer\":\"", "{\"end\":{\"rows\":1"] {
        let mut reader = open(&format!("{begin}\n{start}")).unwrap();
        let error = reader.next_item().unwrap_err();
        assert!(matches!(error, BackupError::Line { line: 2, .. }), "{error}");
        assert!(reader.lines.text.len() as u64 <= LINE_BYTES_MAX);
    }
}

#[test]
fn a_copy_that_was_not_finished_says_why() {
    let text = copy_of(&[cursor(1)]);
    let reason = "the store has a damaged record";
    let last = String::from_utf8(unfinished(reason)).unwrap();
    for lines in [0, 1, 2] {
        let begun: String = text.lines().take(lines).map(|line| format!("{line}\n")).collect();
        let error = read(&format!("{begun}{last}")).unwrap_err();
        assert!(matches!(error, BackupError::Failed { .. }), "{error}");
        assert!(error.to_string().ends_with(reason), "{error}");
    }
}

#[test]
fn a_copy_of_a_newer_build_is_refused_and_not_half_read() {
    let text = copy_of(&[cursor(1)]);
    for (old, new) in [
        ("\"format\":2", "\"format\":3"),
        ("\"cursors\":1", "\"cursors\":2"),
        ("\"cursors\":1", "\"cursors\":1,\"dreams\":1"),
    ] {
        let changed = text.replacen(old, new, 1);
        assert_ne!(changed, text);
        let error = read(&changed).unwrap_err();
        assert!(matches!(error, BackupError::Newer { .. }), "{error}");
        assert!(error.to_string().contains("newer build"), "{error}");
        assert!(error.next_step().contains("newer one"));
    }
}

#[test]
fn rows_of_a_build_with_one_device_per_run_are_upgraded() {
    let text = copy_of(&[run(), cursor(1)]);
    let old = text.replacen("\"devices\":[\"GPU-1\"]", "\"device\":\"GPU-1\"", 1);
    let old = old.replacen("\"runs\":2", "\"runs\":1", 1);
    let lines: Vec<&str> = old.lines().collect();
    let items = read(&sealed(&lines[..lines.len() - 1], 2)).unwrap();
    assert_eq!(items[0], BackupItem::Row(Box::new(run())));
    assert_eq!(items[1], BackupItem::Row(Box::new(cursor(1))));
    let bad = old.replacen("\"device\":\"GPU-1\"", "\"gadget\":\"GPU-1\"", 1);
    let lines: Vec<&str> = bad.lines().collect();
    let error = read(&sealed(&lines[..lines.len() - 1], 2)).unwrap_err();
    assert!(matches!(error, BackupError::Migration { line: 2, .. }), "{error}");
}

/// The text of a copy with a record of the freezer, which has these rows.
fn copy_with_frozen(rows: Vec<Row>) -> String {
    let mut bytes = Vec::new();
    let mut writer = BackupWriter::begin(&mut bytes, &HEAD).unwrap();
    writer.frozen(&frozen(rows)).unwrap();
    writer.end().unwrap();
    String::from_utf8(bytes).unwrap()
}

fn frozen(rows: Vec<Row>) -> Frozen {
    Frozen { submission: SubmissionId([5; 32]), at: BlockNumber(6), part: 7, rows }
}

#[test]
fn what_was_put_away_is_in_a_copy_and_counted() {
    let text = copy_with_frozen(vec![run(), cursor(1)]);
    let expected = BackupItem::Frozen(Box::new(frozen(vec![run(), cursor(1)])));
    assert_eq!(read(&text).unwrap(), [expected]);
    let (_dir, path) = file(&text);
    assert_eq!(check_backup(&path).unwrap().copied.frozen, 1);
    let lines: Vec<&str> = text.lines().collect();
    let without = sealed(&lines[..1], 0).replacen("\"frozen\":0", "\"frozen\":1", 1);
    let without = without.replacen("\"journal\":1", "\"journal\":0", 1);
    assert!(matches!(read(&without).unwrap_err(), BackupError::Incomplete { .. }));
}

#[test]
fn rows_that_an_older_build_had_put_away_are_upgraded_in_a_copy() {
    let text = copy_with_frozen(vec![cursor(1), run()]);
    let old = text.replacen("\"devices\":[\"GPU-1\"]", "\"device\":\"GPU-1\"", 1);
    let old = old.replacen("\"runs\":2", "\"runs\":1", 1);
    let crc32 = |text: &str| {
        let last = text.trim_end().rfind('\n').unwrap() + 1;
        format!("{:08x}", crc32fast::hash(&text.as_bytes()[..last]))
    };
    let old = old.replacen(&crc32(&text), &crc32(&old), 1);
    let expected = BackupItem::Frozen(Box::new(frozen(vec![cursor(1), run()])));
    assert_eq!(read(&old).unwrap(), [expected]);
}

#[test]
fn a_copy_of_a_build_without_a_freezer_is_read() {
    let text = copy_of(&[cursor(1)]).replacen("\"format\":2", "\"format\":1", 1);
    let lines: Vec<&str> = text.lines().collect();
    let old = sealed(&lines[..lines.len() - 1], 1).replacen("\"frozen\":0,", "", 1);
    assert_ne!(old, text);
    assert_eq!(read(&old).unwrap().len(), 2);
}

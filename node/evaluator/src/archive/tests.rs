//! One table row per way an archive can be wrong, and what must not change.

use std::io::Write;

use node_core::admission::Verdict;
use node_core::id::ContentDigest;
use node_core::policy::Policy;
use proptest::prelude::*;

use super::*;
use crate::admit::admit;
use crate::gates::Gates;

/// An archive written byte by byte, so that each field can lie.
#[derive(Clone, Default)]
struct Forged {
    body: Vec<u8>,
    headers: Vec<u8>,
    count: u16,
}

struct Member<'a> {
    name: &'a [u8],
    data: Vec<u8>,
    claimed: Option<u32>,
    mode: u32,
    flags: u16,
    method: u16,
}

fn member(name: &str, data: &[u8]) -> Member<'static> {
    Member {
        name: Box::leak(name.as_bytes().to_vec().into_boxed_slice()),
        data: data.to_vec(),
        claimed: None,
        mode: 0o100_644,
        flags: 0,
        method: 0,
    }
}

impl Forged {
    fn with(mut self, member: &Member<'_>) -> Self {
        let offset = u32::try_from(self.body.len()).unwrap();
        let len = u32::try_from(member.data.len()).unwrap();
        let mut shared = Vec::new();
        shared.extend(20_u16.to_le_bytes());
        shared.extend(member.flags.to_le_bytes());
        shared.extend(member.method.to_le_bytes());
        shared.extend([0, 0, 0x21, 0]);
        shared.extend(crc32(&member.data).to_le_bytes());
        shared.extend(len.to_le_bytes());
        shared.extend(member.claimed.unwrap_or(len).to_le_bytes());
        shared.extend(u16::try_from(member.name.len()).unwrap().to_le_bytes());
        shared.extend([0, 0]);
        self.body.extend(b"PK\x03\x04");
        self.body.extend(&shared);
        self.body.extend(member.name);
        self.body.extend(&member.data);
        self.headers.extend(b"PK\x01\x02\x14\x03");
        self.headers.extend(&shared);
        self.headers.extend([0; 6]);
        self.headers.extend((member.mode << 16).to_le_bytes());
        self.headers.extend(offset.to_le_bytes());
        self.headers.extend(member.name);
        self.count += 1;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = [self.body.as_slice(), &self.headers].concat();
        out.extend(b"PK\x05\x06\0\0\0\0");
        out.extend(self.count.to_le_bytes());
        out.extend(self.count.to_le_bytes());
        out.extend(u32::try_from(self.headers.len()).unwrap().to_le_bytes());
        out.extend(u32::try_from(self.body.len()).unwrap().to_le_bytes());
        out.extend([0, 0]);
        out
    }
}

/// The checksum of ZIP entries, bit by bit.
fn crc32(data: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !data.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

fn one(member: &Member<'_>) -> Vec<u8> {
    Forged::default().with(member).bytes()
}

fn two(first: &str, second: &str) -> Vec<u8> {
    Forged::default().with(&member(first, b"x")).with(&member(second, b"y")).bytes()
}

fn limits() -> ArchiveLimits {
    Policy::dev().archive
}

fn rule_of(bytes: &[u8]) -> Option<Rule> {
    read_archive(bytes, &limits()).err().map(|rejection| rejection.rule)
}

/// A ZIP as ordinary tools write it.
fn zipped(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, data) in files {
        zip.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(data).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn case_23_every_forged_path_is_refused_by_its_rule() {
    let traversal = ["../a.py", "a/../../b.py", "/etc/a.py", "C:\\a.py", "c:a.py", "a\\b.py", ".."];
    for name in traversal {
        assert_eq!(rule_of(&one(&member(name, b""))), Some(Rule::ArchiveTraversal), "{name}");
    }
    let long = format!("{}.py", "a".repeat(300));
    let names =
        ["a\n.py", "\u{e9}.py", "a//b.py", "./a.py", "a/./b.py", "ab:c.py", &long, "", "//"];
    for name in names {
        let rule = rule_of(&one(&member(name, b"")));
        let expected = if name == "//" { Rule::ArchiveTraversal } else { Rule::ArchivePathName };
        assert_eq!(rule, Some(expected), "{name}");
    }
    for name in ["a.so", "a", ".py", "a.py.exe", "dir/.py", "a.PY"] {
        assert_eq!(rule_of(&one(&member(name, b""))), Some(Rule::ArchiveSuffix), "{name}");
    }
}

#[test]
fn case_23_duplicate_and_case_clashing_names_are_refused() {
    let clashes = [
        ("a.py", "a.py"),
        ("a.py", "A.py"),
        ("model/a.py", "Model/b.py"),
        ("a.py", "a.py/b.py"),
        ("a.py/b.py", "a.py"),
    ];
    for (first, second) in clashes {
        let rule = rule_of(&two(first, second));
        assert_eq!(rule, Some(Rule::ArchiveDuplicateName), "{first} {second}");
    }
    assert_eq!(rule_of(&two("model/a.py", "model/b.py")), None);
}

#[test]
fn case_23_links_devices_and_encrypted_entries_are_refused() {
    let kinds = [0o120_777, 0o020_666, 0o060_666, 0o010_644, 0o140_755, 0o040_755];
    for mode in kinds {
        let entry = Member { mode, ..member("a.py", b"/etc/passwd") };
        assert_eq!(rule_of(&one(&entry)), Some(Rule::ArchiveEntryKind), "{mode:o}");
    }
    let link = Member { mode: 0o120_777, ..member("lib", b"/tmp") };
    let through = Forged::default().with(&link).with(&member("lib/a.py", b"x")).bytes();
    assert_eq!(rule_of(&through), Some(Rule::ArchiveEntryKind));
    for flags in [1, 1 << 6, 1 << 13] {
        let entry = Member { flags, ..member("a.py", b"x") };
        assert_eq!(rule_of(&one(&entry)), Some(Rule::ArchiveEntryKind), "{flags}");
    }
    let full_directory = Member { mode: 0o040_755, ..member("a/", b"x") };
    assert_eq!(rule_of(&one(&full_directory)), Some(Rule::ArchiveEntryKind));
    let exotic = Member { method: 14, ..member("a.py", b"x") };
    assert_eq!(rule_of(&one(&exotic)), Some(Rule::ArchiveFormat));
}

#[test]
fn case_23_bombs_stop_at_the_limit() {
    let zeros = vec![b' '; 8 << 20];
    assert_eq!(rule_of(&zipped(&[("a.txt", &zeros)])), Some(Rule::ArchiveUnpackedSize));

    // The same bomb with a directory that claims ten bytes.
    let mut lying = zipped(&[("a.txt", &zeros)]);
    let header = lying.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    lying[header + 24..header + 28].copy_from_slice(&10_u32.to_le_bytes());
    assert_eq!(rule_of(&lying), Some(Rule::ArchiveUnpackedSize));

    let short = Member { claimed: Some(10), ..member("a.py", b"x") };
    assert_eq!(rule_of(&one(&short)), Some(Rule::ArchiveUnpackedSize));

    let many = (0..3).fold(Forged::default(), |zip, index| {
        zip.with(&member(&format!("{index}.txt"), &vec![b'x'; 900_000]))
    });
    assert_eq!(rule_of(&many.bytes()), Some(Rule::ArchiveUnpackedSize));
}

#[test]
fn case_23_entries_that_share_bytes_are_refused() {
    let mut zip = Forged::default().with(&member("a.txt", &[b'x'; 5_000]));
    let header = zip.headers.clone();
    for index in 0..9_u8 {
        let mut copy = header.clone();
        let name = copy.len() - 5;
        copy[name] = b'b' + index;
        zip.headers.extend(copy);
        zip.count += 1;
    }
    let rejection = read_archive(&zip.bytes(), &limits()).unwrap_err();
    assert_eq!(rejection.rule, Rule::ArchiveFormat);
    assert!(rejection.detail.contains("overlap"), "{rejection}");
}

#[test]
fn case_23_too_many_entries_or_bytes_are_refused() {
    let zip = (0..201)
        .fold(Forged::default(), |zip, index| zip.with(&member(&format!("{index}.py"), b"")));
    assert_eq!(rule_of(&zip.bytes()), Some(Rule::ArchiveFileCount));
    assert_eq!(rule_of(&vec![0; (4 << 20) + 1]), Some(Rule::ArchivePackedSize));
}

#[test]
fn what_is_not_one_plain_archive_is_refused() {
    let good = two("a.py", "b.py");
    for cut in 0..good.len() {
        assert_eq!(rule_of(&good[..cut]), Some(Rule::ArchiveFormat), "cut at {cut}");
    }
    let end = good.len() - 22;
    for (at, value) in [(end + 8, 1), (end + 10, 3), (end + 4, 1), (end + 12, 0), (end + 16, 1)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert_eq!(rule_of(&bad), Some(Rule::ArchiveFormat), "byte {at}");
    }
    let prepended = [b"#!/bin/sh\n".as_slice(), &good].concat();
    assert_eq!(rule_of(&prepended), Some(Rule::ArchiveFormat));
    let appended = [good.as_slice(), b"x"].concat();
    assert_eq!(rule_of(&appended), Some(Rule::ArchiveFormat));
    let both = [good.as_slice(), &good].concat();
    assert_eq!(rule_of(&both), Some(Rule::ArchiveFormat));
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut bad = one(&member("a.py", b"import torch"));
    let at = bad.windows(5).position(|window| window == b"torch").unwrap();
    bad[at] = b'T';
    assert_eq!(rule_of(&bad), Some(Rule::ArchiveFormat));
}

#[test]
fn a_file_that_is_not_text_is_refused_with_its_line() {
    for data in [b"a\nb\xff\n".as_slice(), b"a\nb\0\n"] {
        let rejection = read_archive(&one(&member("a.py", data)), &limits()).unwrap_err();
        assert_eq!(rejection.rule, Rule::ArchiveNotText);
        assert_eq!(rejection.line, Some(2));
        assert_eq!(rejection.file.as_deref(), Some("a.py"));
    }
}

#[test]
fn evidence_never_carries_control_characters_or_long_names() {
    let name = format!("\u{1b}[2J{}\u{202e}.py", "a".repeat(500));
    let rejection = read_archive(&one(&member(&name, b"")), &limits()).unwrap_err();
    let file = rejection.file.unwrap();
    assert!(file.chars().count() <= NAME_CHARS_MAX);
    assert!(file.chars().all(|c| c.is_ascii_graphic()), "{file}");
}

#[test]
fn ordinary_archives_with_directories_and_a_comment_are_read() {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.set_comment("6f3e1fb8a5ad5d8ed007334039a85a3168792c61");
    zip.add_directory("model/", options).unwrap();
    zip.start_file("model/attention.py", options).unwrap();
    zip.write_all(b"x = 1\n").unwrap();
    let archive = read_archive(&zip.finish().unwrap().into_inner(), &limits()).unwrap();
    let paths: Vec<&str> = archive.files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["model/attention.py"]);
    assert_eq!(archive.unpacked_bytes(), 6);
}

#[test]
fn zipping_again_keeps_the_digest_and_any_change_moves_it() {
    let files: [(&str, &[u8]); 2] = [("a.py", b"x = 1\n"), ("b/c.py", b"")];
    let digest = |bytes: &[u8]| content_digest(&read_archive(bytes, &limits()).unwrap().files);
    let deflated = digest(&zipped(&files));
    let reordered = zipped(&[files[1], files[0]]);
    let stored =
        files.iter().fold(Forged::default(), |zip, (name, data)| zip.with(&member(name, data)));
    assert_eq!(digest(&reordered), deflated);
    assert_eq!(digest(&stored.bytes()), deflated);
    assert_ne!(digest(&zipped(&[("a.py", b"x = 2\n"), files[1]])), deflated);
    assert_ne!(digest(&zipped(&[("a2.py", b"x = 1\n"), files[1]])), deflated);
    assert_ne!(digest(&zipped(&files[..1])), deflated);
}

#[test]
fn the_content_digest_is_what_its_documentation_says() {
    // printf over the fields, each with its length as u64 little-endian, through sha256sum.
    let files = BTreeMap::from([("a.py".to_owned(), b"x".to_vec())]);
    let mut fields = Vec::new();
    for field in [b"assay/content/v1".as_slice(), &1_u64.to_le_bytes(), b"a.py", b"x"] {
        fields.extend((field.len() as u64).to_le_bytes());
        fields.extend(field);
    }
    assert_eq!(content_digest(&files).0, node_core::id::sha256(&fields).0);
}

fn project(dir: &std::path::Path) {
    std::fs::create_dir_all(dir.join("layers/__pycache__")).unwrap();
    std::fs::write(dir.join("architecture.py"), "def build_model(ctx):\n    pass\n").unwrap();
    std::fs::write(dir.join("training.py"), "def train(ctx):\n    pass\n").unwrap();
    std::fs::write(dir.join("layers/block.py"), "x = 1\n").unwrap();
    std::fs::write(dir.join("layers/__pycache__/block.pyc"), [0, 1, 2]).unwrap();
    std::fs::write(dir.join(".gitignore"), "*\n").unwrap();
}

#[test]
fn packing_twice_gives_the_same_bytes_and_admission_agrees_with_the_digest() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path());
    let first = pack(dir.path(), &limits()).unwrap();
    let second = pack(dir.path(), &limits()).unwrap();
    assert_eq!(first, second);
    let (verdict, archive) = admit(&first.bytes, &first.digest, &Gates::check(&Policy::dev()));
    let unpacked_bytes = archive.unwrap().archive.unpacked_bytes();
    assert_eq!(verdict, Verdict::admitted(3, unpacked_bytes));
}

#[test]
fn pack_refuses_what_admission_would_refuse() {
    let dir = tempfile::tempdir().unwrap();
    project(dir.path());
    std::fs::write(dir.path().join("weights.bin"), "x").unwrap();
    let refused = pack(dir.path(), &limits()).unwrap_err();
    let PackError::Refused { rejection } = refused else { panic!("{refused}") };
    assert_eq!(rejection.rule, Rule::ArchiveSuffix);
    std::fs::write(dir.path().join("weights.bin"), vec![b'x'; 2_000_001]).unwrap();
    assert!(matches!(pack(dir.path(), &limits()), Err(PackError::TooLarge { .. })));
    std::fs::remove_file(dir.path().join("weights.bin")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link.txt")).unwrap();
    assert!(matches!(pack(dir.path(), &limits()), Err(PackError::NotAFile { .. })));
    assert!(matches!(pack(&dir.path().join("gone"), &limits()), Err(PackError::Read { .. })));
}

#[test]
fn admission_names_the_committed_digest_and_the_missing_parts() {
    let policy = Policy::dev();
    let verdict_of = |files: &[(&str, &[u8])]| {
        let bytes = zipped(files);
        let digest = content_digest(&read_archive(&bytes, &policy.archive).unwrap().files);
        match admit(&bytes, &digest, &Gates::check(&policy)) {
            (Verdict::Rejected { rejection }, None) => rejection,
            other => panic!("{other:?}"),
        }
    };
    let no_training = verdict_of(&[("architecture.py", b"def build_model(ctx): pass\n")]);
    assert_eq!(no_training.rule, Rule::ContractFile);
    assert_eq!(no_training.file.as_deref(), Some("training.py"));
    let no_symbol = verdict_of(&[("architecture.py", b""), ("training.py", b"def train(c): 0\n")]);
    assert_eq!(no_symbol.rule, Rule::ContractSymbol);
    let bytes = zipped(&[("a.py", b"")]);
    let (verdict, archive) = admit(&bytes, &ContentDigest([0; 32]), &Gates::check(&policy));
    assert!(archive.is_none());
    let Verdict::Rejected { rejection } = verdict else { panic!("{verdict:?}") };
    assert_eq!(rejection.rule, Rule::ContentDigest);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(read_archive(&bytes, &limits()).is_err());
    }

    #[test]
    fn a_damaged_archive_is_read_within_limits_or_refused(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = zipped(&[("a.py", b"x = 1\n"), ("b/c.txt", &[b'y'; 500])]);
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Ok(archive) = read_archive(&bytes, &limits()) {
            prop_assert!(archive.unpacked_bytes() <= limits().unpacked_bytes_max);
        }
    }
}

//! Acceptance case 23: an archive of a million entries costs neither time nor memory.
//!
//! A process of its own, because it measures the process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test states facts; a broken one should stop at once")]

use std::time::{Duration, Instant};

use node_core::admission::Rule;
use node_core::policy::Policy;
use node_evaluator::archive::read_archive;

const ENTRIES: u32 = 1_000_000;
const TIME_MAX: Duration = Duration::from_secs(1);
const MEMORY_MAX_KIB: u64 = 64 * 1024;

/// A million empty files, with the 64-bit end record that so many need, built without growing.
fn archive(with_zip64_record: bool) -> Vec<u8> {
    let header_bytes = 46 + 8;
    let mut zip = Vec::with_capacity(ENTRIES as usize * header_bytes + 200);
    for entry in 0..ENTRIES {
        zip.extend(b"PK\x01\x02\x14\x03\x14\0");
        zip.extend([0; 20]);
        zip.extend([8, 0]);
        zip.extend([0; 16]);
        zip.extend(format!("{entry:05x}.py").into_bytes());
    }
    let directory_bytes = zip.len() as u64;
    if with_zip64_record {
        zip.extend(b"PK\x06\x06");
        zip.extend(44_u64.to_le_bytes());
        zip.extend([0; 12]);
        zip.extend(u64::from(ENTRIES).to_le_bytes());
        zip.extend(u64::from(ENTRIES).to_le_bytes());
        zip.extend(directory_bytes.to_le_bytes());
        zip.extend(0_u64.to_le_bytes());
        zip.extend(b"PK\x06\x07\0\0\0\0");
        zip.extend(directory_bytes.to_le_bytes());
        zip.extend(1_u32.to_le_bytes());
    }
    zip.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff");
    zip.extend(u32::try_from(directory_bytes).unwrap().to_le_bytes());
    zip.extend([0; 6]);
    zip
}

fn status_kib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Refusal of `bytes`, after asserting what it cost.
fn refused_cheaply(bytes: &[u8], packed_bytes_max: u64) -> Rule {
    let mut limits = Policy::dev().archive;
    limits.packed_bytes_max = packed_bytes_max;
    // Sets the peak back to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before_kib = status_kib("VmHWM:");
    let started = Instant::now();
    let rejection = read_archive(bytes, &limits).unwrap_err();
    let took = started.elapsed();
    let grown_kib = status_kib("VmHWM:") - before_kib;
    assert!(took < TIME_MAX, "{took:?}");
    assert!(grown_kib < MEMORY_MAX_KIB, "{grown_kib} KiB");
    rejection.rule
}

#[test]
fn case_23_a_million_entries_are_refused_in_a_second_and_64_mib() {
    let large = archive(true);
    assert_eq!(refused_cheaply(&large, 4 << 20), Rule::ArchivePackedSize);
    assert_eq!(refused_cheaply(&large, 1 << 30), Rule::ArchiveFileCount);
    let lying = archive(false);
    assert_eq!(refused_cheaply(&lying, 1 << 30), Rule::ArchiveFileCount);
}

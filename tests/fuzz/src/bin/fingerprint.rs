//! Fuzzes `fingerprint`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assay_fuzz::check_source("fingerprint", bytes));

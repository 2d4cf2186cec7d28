//! Fuzzes `submission_source`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assay_fuzz::check_source("submission_source", bytes));

//! Fuzzes `json_lines`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assay_fuzz::check_source("json_lines", bytes));

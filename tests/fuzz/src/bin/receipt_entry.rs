//! Fuzzes `receipt_entry`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assay_fuzz::check("receipt_entry", bytes));

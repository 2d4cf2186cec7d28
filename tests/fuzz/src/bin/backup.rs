//! Fuzzes `backup`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assay_fuzz::check_store("backup", bytes));

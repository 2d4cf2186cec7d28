//! Fuzzes `meter_channel`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| assay_fuzz::check_source("meter_channel", bytes));

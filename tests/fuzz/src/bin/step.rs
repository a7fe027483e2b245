//! Whatever happens to any workflow, the engine keeps its promises.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openclaw_fuzz::step::check(data));

//! Whatever a text says, it is answered within its budget, and with less fuel never otherwise.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openclaw_fuzz::expression::check(data));

//! Whatever a document holds, it is answered; what is accepted survives its canonical form.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| openclaw_fuzz::definition::check(data));

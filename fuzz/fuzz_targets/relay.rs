#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| edgeio_fuzz_targets::relay(data));

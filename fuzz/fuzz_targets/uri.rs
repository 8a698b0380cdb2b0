#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| branchline_fuzz::targets::uri(data));

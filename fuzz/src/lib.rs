//! What is fuzzed: the fuzzer calls it with bytes of its own making, `tests/corpus.rs` with those that were kept.

pub mod kept;
pub mod script;
pub mod targets;

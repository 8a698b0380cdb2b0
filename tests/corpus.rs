//! Replays the fuzzing corpus, and some generated inputs, through the fuzzed functions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

#[path = "../fuzz/src/kept.rs"]
mod kept;
#[path = "../fuzz/src/script.rs"]
mod script;
#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::path::Path;

use branchline::base::rng::Rng;

#[test]
fn every_corpus_input_is_handled() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut size = 0;
    for (name, target) in targets::ALL {
        let file = std::fs::read(corpus.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let inputs = kept::unpack(&file);
        size += file.len();
        for data in &inputs {
            let outcome = std::panic::catch_unwind(|| target(data));
            assert!(outcome.is_ok(), "{name}: {data:?}");
        }
        println!("{name}: {} inputs", inputs.len());
        assert!(!inputs.is_empty() && kept::pack(&inputs) == file, "{name} has no corpus");
    }
    assert!(size <= 5 << 20, "the corpus has {size} bytes");
}

#[test]
fn random_scripts_leave_nothing_behind() {
    for seed in 0..300 {
        let mut rng = Rng::from_number(seed);
        let script: Vec<u8> = (0..400).map(|_| rng.u32() as u8).collect();
        let outcome = std::panic::catch_unwind(|| targets::gateway(&script));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

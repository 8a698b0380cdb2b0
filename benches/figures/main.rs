//! The figures of `docs/figures.md`: ratios measured in one run, never absolute speeds. `make bench` prints
//! them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::cast_lossless,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod calls;
mod codecs;
#[path = "../../tests/common/mod.rs"]
mod common;
mod delay;
mod far_end;
mod floor;
#[path = "../../tests/common/hook.rs"]
mod hook;
mod keeping;
mod mixing;
mod options;
mod start;
mod timing;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("echo") => floor::echo(),
        // Cargo passes "--bench"; a name picks one figure.
        Some(one) if !one.starts_with('-') => report(one),
        _ => report(""),
    }
}

fn report(one: &str) {
    println!("machine: {}", machine());
    let all: [(&str, fn()); 11] = [
        ("mixing", mixing::report),
        ("options", options::report),
        ("codecs", codecs::report),
        ("delay", delay::report),
        ("start", start::report),
        ("floor", floor::report),
        ("calls", calls::report),
        ("recording", keeping::recording),
        ("events", keeping::events),
        ("latency", timing::latency),
        ("lateness", timing::lateness),
    ];
    all.iter().filter(|(name, _)| name.contains(one)).for_each(|(_, figure)| figure());
}

fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(": ").nth(1));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{} × {cores}", model.unwrap_or("unknown").trim())
}

/// The value that `share` of the samples do not exceed.
fn percentile(v: &mut [f64], share: f64) -> f64 {
    v.sort_by(f64::total_cmp);
    v[((v.len() - 1) as f64 * share) as usize]
}

fn median(mut v: Vec<f64>) -> f64 {
    percentile(&mut v, 0.5)
}

fn resident_kb(pid: u32) -> u64 {
    common::of_process(pid, "VmRSS:")
}

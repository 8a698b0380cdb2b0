//! The media engine without sockets: audio, packets, recordings, and ticks without allocations.
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

mod analysis;
mod audio;
mod formats;
mod network;
mod no_alloc;
mod packets;
mod quality;
mod shared_encoding;
mod sources;
mod srtp_session;
mod streams;
mod wire;

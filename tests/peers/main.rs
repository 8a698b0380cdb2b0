//! The gateway against third-party software. A missing peer fails the test: `make test` installs them all.
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
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod amd;
mod api_test;
mod buckets;
#[path = "../common/caller.rs"]
mod caller;
#[path = "../common/mod.rs"]
mod common;
mod digest;
mod disk;
mod farend;
mod floods;
mod full_profile;
mod hold;
#[path = "../common/hook.rs"]
mod hook;
mod linphone;
mod load;
mod mixed;
mod nat;
#[path = "../media/network.rs"]
mod network;
mod office;
mod phone;
mod pjsua;
mod prack;
mod provider;
mod quality;
mod registrar;
mod scan;
mod servers;
mod session;
mod sipp;
mod sounds;
mod space;
mod suites;
mod tls;
mod tour;
mod transfer;

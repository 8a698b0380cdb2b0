//! Whole calls between two gateways, or with a phone, in virtual time, over a network that loses, duplicates
//! and reorders.
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

mod answers;
mod bindings;
mod bodies;
mod callers;
mod calls;
mod crossing;
mod described;
mod digest;
mod dtmf;
mod early;
mod expiry;
mod failover;
mod guard;
mod hand;
mod hold;
mod net;
mod offers;
mod opus_legs;
mod origin;
mod passwords;
mod paths;
mod phone;
mod prack;
mod register;
mod reinvite;
mod reload;
mod self_test;
mod session;
mod shares;
mod sources;
mod subscription;
mod timers;
mod toll;
mod transfer;
mod transport;
mod trusted;
mod webhooks;

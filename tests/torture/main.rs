//! RFC 4475 and RFC 5118: each case as a message of our own, passed to the gateway, with its expected result.
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

mod cases;
#[path = "../common/mod.rs"]
mod common;
mod ipv6;
mod noise;
mod registrar;
mod rows;
mod socket;
mod versions;

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::config::{Config, Sources, load};
use branchline::gateway::Gateway;
use branchline::gateway::resources::ports::Port;
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;

/// Reaction of the gateway to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Status codes sent, in order, without 100.
    pub codes: Vec<u16>,
    /// All messages sent, as text.
    pub text: String,
    /// Destination of the first response.
    pub replies_to: Option<SocketAddr>,
    /// Legs created.
    pub legs: usize,
}

/// A new gateway, and the message as a datagram from `from`.
pub fn put(message: &[u8], from: &str) -> Verdict {
    let config: Config = load(&Sources { file: None, env: &[] }).unwrap();
    let local: SocketAddr = "192.168.7.1:5060".parse().unwrap();
    let v6: SocketAddr = "[fd00::1]:5060".parse().unwrap();
    let locals = Locals { v4: Some(local), v6: Some(v6), ..Locals::default() };
    let mut gw = Gateway::new(Rc::new(config), locals, Rng::from_number(1));
    gw.ports().add(Port { id: 1, address: local.ip(), port: 10_000 });
    gw.ports().add(Port { id: 2, address: v6.ip(), port: 10_002 });
    let now = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
    let source = Flow { transport: Transport::Udp, addr: from.parse().unwrap(), conn: None };
    gw.handle_message(now, source, message);
    let mut text = String::new();
    let mut replies_to = None;
    while let Some(t) = gw.poll_transmit() {
        replies_to.get_or_insert(t.target.addr);
        text.push_str(&String::from_utf8_lossy(&t.bytes));
    }
    let codes = text
        .lines()
        .filter_map(|l| l.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok())
        .filter(|c| *c != 100)
        .collect();
    Verdict { codes, text, replies_to, legs: gw.view().legs().len() }
}

//! Cost of checking a source before parsing, relative to the other costs of an OPTIONS request.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::config::{Sources, load};
use branchline::gateway::Gateway;
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::limiter::Limiter;
use branchline::sip::locals::Locals;

use crate::median;

/// Requests per run, each from a different source.
const REQUESTS: u32 = 20_000;
const SOURCES: u32 = 1000;
/// Interval between requests: the limiter accepts all of them.
const PAUSE: Duration = Duration::from_millis(6);

pub fn report() {
    let pairs: Vec<(f64, f64)> = (0..9).map(|_| (answering(), judging())).collect();
    let share = median(pairs.iter().map(|(whole, limiter)| limiter / whole).collect());
    let whole = median(pairs.into_iter().map(|(whole, _)| whole).collect());
    println!("the limiter over the rest of an OPTIONS: {share:.3} of {:.1} µs", whole * 1e6);
}

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n % SOURCES))
}

/// Seconds that parsing and answering an OPTIONS take, without sockets.
fn answering() -> f64 {
    let home: SocketAddr = "10.1.0.1:5060".parse().unwrap();
    let locals = Locals { v4: Some(home), ..Locals::default() };
    let config = load(&Sources { file: None, env: &[] }).unwrap();
    let mut gateway = Gateway::new(Rc::new(config), locals, Rng::from_number(1));
    let mut now = Now { mono: Instant::now(), utc: Utc(Duration::from_secs(1_776_330_000)) };
    let requests: Vec<String> = (0..REQUESTS)
        .map(|n| {
            format!(
                "OPTIONS sip:x@10.1.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {}:5060;branch=z9hG4bKo{n};rport\r\n\
                 Max-Forwards: 70\r\nFrom: <sip:b@x>;tag={n}\r\nTo: <sip:x@x>\r\nCall-ID: o{n}\r\nCSeq: 1 OPTIONS\r\n\
                 Accept: application/sdp\r\nContent-Length: 0\r\n\r\n",
                address(n)
            )
        })
        .collect();
    let begin = Instant::now();
    let mut answers = 0;
    for (n, request) in (0..).zip(&requests) {
        now.mono += PAUSE;
        let source = Flow { transport: Transport::Udp, addr: (address(n), 5060).into(), conn: None };
        gateway.handle_message(now, source, request.as_bytes());
        while let Some(transmit) = gateway.poll_transmit() {
            black_box(&transmit);
            answers += 1;
        }
    }
    let took = begin.elapsed().as_secs_f64();
    assert_eq!(answers, REQUESTS);
    took / f64::from(REQUESTS)
}

/// Seconds for checking the sources.
fn judging() -> f64 {
    let mut limiter = Limiter::default();
    let mut now = Instant::now();
    let begin = Instant::now();
    for n in 0..REQUESTS {
        now += PAUSE;
        assert!(limiter.admits(now, address(n), 400));
    }
    begin.elapsed().as_secs_f64() / f64::from(REQUESTS)
}

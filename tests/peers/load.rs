//! sipp: 2,000 calls of 10 s at 20 calls/s with RTP both ways, answered by a separate process over REST on
//! the webhook, twice.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Gateway, of_process};
use crate::phone::{Lines, python, script};
use crate::sipp;

/// Calls per round; `make soak` uses more.
fn calls() -> u32 {
    std::env::var("LOAD_CALLS").ok().and_then(|s| s.parse().ok()).unwrap_or(2000)
}

fn summary(answerer: &mut Lines) -> Value {
    answerer.say("?");
    answerer.wait("summary", 10, |l| serde_json::from_str(l).ok())
}

#[test]
fn two_thousand_calls_twice() {
    let dir = std::env::temp_dir().join(format!("branchline-load-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    sipp::voice(&dir);
    // The port of the answerer must be known before the gateway starts, and vice versa.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hook = format!("http://127.0.0.1:{free}/");
    let gw = Gateway::start_release(&[("WEBHOOK_URL", &hook)]);
    let api = format!("http://{}", gw.http());
    let mut answerer = Lines::start(
        Command::new(python()).arg(script("tests/peers/answerer.py")).arg(free.to_string()).arg(&api),
    );
    answerer.wait("port", 10, |l| l.contains("port").then_some(()));
    let sip = gw.listen["sip"].as_str().unwrap().to_owned();
    let mut memory = Vec::new();
    for round in 1..=2u32 {
        sipp::calls(&dir, &sip, calls().into(), 20, 400);
        let until = Instant::now() + Duration::from_secs(20);
        let mut seen = summary(&mut answerer);
        while seen["done"] != calls() * round && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(200));
            seen = summary(&mut answerer);
        }
        println!("round {round}: {seen}");
        assert_eq!(
            (seen["legs"].as_u64(), seen["done"].as_u64()),
            (Some((calls() * round).into()), Some((calls() * round).into()))
        );
        assert_eq!(seen["bad"], serde_json::json!([]), "{seen}");
        assert_eq!(gw.used(), [0, 0, 0, 0, 0]);
        memory.push(of_process(gw.pid(), "VmRSS:"));
    }
    println!("resident after each round: {memory:?} kB");
    assert!(memory[1] <= memory[0] + 1024, "{memory:?}");
    std::fs::remove_dir_all(dir).unwrap();
}

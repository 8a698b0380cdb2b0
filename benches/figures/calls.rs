//! Calls set up in a second: over REST, by SIP, with media, and hung up again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::far_end::{Phone, large_gateway};

const AT_ONCE: u32 = 16;
const SECONDS: u64 = 10;

pub fn report() {
    let gateway = large_gateway();
    let url = format!("http://{}/v1/legs", gateway.http());
    let done = AtomicU32::new(0);
    let until = Instant::now() + Duration::from_secs(SECONDS);
    std::thread::scope(|scope| {
        for n in 0..AT_ONCE {
            scope.spawn({
                let (url, done) = (&url, &done);
                move || one_after_the_other(url, n, until, done)
            });
        }
    });
    println!(
        "set-ups a second without failure, {AT_ONCE} callers at once: {:.0}",
        f64::from(done.into_inner()) / SECONDS as f64
    );
}

/// Any failure ends the bench.
fn one_after_the_other(url: &str, n: u32, until: Instant, done: &AtomicU32) {
    let phone = Phone::start();
    let body = format!(r#"{{"type":"sip","uri":"sip:{n}@{}"}}"#, phone.address);
    let client = ureq::agent();
    while Instant::now() < until {
        let mut reply = client
            .post(url)
            .header("Content-Type", "application/json")
            .send(&body)
            .unwrap_or_else(|e| panic!("the leg is made: {e}"));
        let text = reply.body_mut().read_to_string().unwrap();
        let leg: serde_json::Value = serde_json::from_str(&text).unwrap();
        phone
            .up
            .recv_timeout(Duration::from_secs(2))
            .unwrap_or_else(|e| panic!("the call is not set up: {e}, {}", done.load(Ordering::Relaxed)));
        let id = leg["id"].as_str().expect("a leg has an id");
        client.delete(format!("{url}/{id}")).call().expect("the leg is hung up");
        done.fetch_add(1, Ordering::Relaxed);
    }
}

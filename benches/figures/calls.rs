//! Calls set up in a second: over REST, by SIP, with media, and hung up again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::common::Gateway;
use crate::far_end::{Phone, large_gateway};

const AT_ONCE: u32 = 16;
const SECONDS: u64 = 10;

pub fn report() {
    let calls = make(&large_gateway(), Duration::from_secs(SECONDS), &[], u32::MAX);
    println!(
        "set-ups a second without failure, {AT_ONCE} callers at once: {:.0}",
        f64::from(calls) / SECONDS as f64
    );
}

/// Makes calls, [`AT_ONCE`] concurrently, for `time` or until there were `most`; their events go to the
/// `webhooks` in turn. Returns the number of calls.
pub fn make(gateway: &Gateway, time: Duration, webhooks: &[String], most: u32) -> u32 {
    let url = format!("http://{}/v1/legs", gateway.http());
    let done = AtomicU32::new(0);
    let until = Instant::now() + time;
    let more = || Instant::now() < until && done.load(Ordering::Relaxed) < most;
    std::thread::scope(|scope| {
        for n in 0..AT_ONCE {
            let (url, done, more) = (&url, &done, &more);
            scope.spawn(move || {
                let (phone, client) = (Phone::start(), ureq::agent());
                while more() {
                    let turn = done.load(Ordering::Relaxed) as usize;
                    call(&phone, &client, url, n, webhooks.get(turn % webhooks.len().max(1)));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    done.into_inner()
}

/// Any failure ends the benchmark.
fn call(phone: &Phone, client: &ureq::Agent, url: &str, n: u32, webhook: Option<&String>) {
    let hook = webhook.map_or_else(String::new, |w| format!(r#","webhook_url":"{w}""#));
    let body = format!(r#"{{"type":"sip","uri":"sip:{n}@{}"{hook}}}"#, phone.address);
    let mut reply = client
        .post(url)
        .header("Content-Type", "application/json")
        .send(&body)
        .unwrap_or_else(|e| panic!("the leg is made: {e}"));
    let text = reply.body_mut().read_to_string().unwrap();
    let leg: serde_json::Value = serde_json::from_str(&text).unwrap();
    phone.up.recv_timeout(Duration::from_secs(2)).unwrap_or_else(|e| panic!("the call is not set up: {e}"));
    let id = leg["id"].as_str().expect("a leg has an id");
    client.delete(format!("{url}/{id}")).call().expect("the leg is hung up");
}

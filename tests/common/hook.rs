//! A web server that receives events, and can be unavailable.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

#[derive(Default)]
struct Inner {
    events: Mutex<Vec<Value>>,
    news: Condvar,
    away: AtomicBool,
    /// Number of each type; then the events themselves are not kept.
    counts: Option<Mutex<BTreeMap<String, u64>>>,
    /// Then also: the ringing leg by caller.
    ringing: Mutex<BTreeMap<String, String>>,
}

/// The server; its thread ends with the test.
#[derive(Clone)]
pub struct Hook {
    inner: Arc<Inner>,
    pub url: String,
}

impl Hook {
    pub fn start() -> Self {
        Self::with(Inner::default())
    }

    /// A server that only counts.
    pub fn counting() -> Self {
        Self::with(Inner { counts: Some(Mutex::default()), ..Inner::default() })
    }

    fn with(inner: Inner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let inner = Arc::new(inner);
        let all = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let inner = Arc::clone(&all);
                std::thread::spawn(move || serve(&inner, stream));
            }
        });
        Self { inner, url }
    }

    /// Answers everything with 500 from now on, or accepts again.
    pub fn set_away(&self, away: bool) {
        self.inner.away.store(away, Ordering::SeqCst);
    }

    /// Number of events of a type received by a counting server.
    pub fn count(&self, kind: &str) -> u64 {
        let counts = self.inner.counts.as_ref().unwrap().lock().unwrap();
        counts.get(kind).copied().unwrap_or(0)
    }

    /// The leg ringing for a caller, returned once by a counting server.
    pub fn leg_of(&self, caller: &str, seconds: u64) -> Option<String> {
        let ringing = self.inner.ringing.lock().unwrap();
        let wait = Duration::from_secs(seconds);
        let (mut ringing, _) =
            self.inner.news.wait_timeout_while(ringing, wait, |r| !r.contains_key(caller)).unwrap();
        ringing.remove(caller)
    }

    pub fn events(&self) -> Vec<Value> {
        self.inner.events.lock().unwrap().clone()
    }

    /// Waits until the received events are sufficient.
    pub fn wait(&self, what: &str, seconds: u64, enough: impl Fn(&[Value]) -> bool) {
        let events = self.inner.events.lock().unwrap();
        let (events, out) = self
            .inner
            .news
            .wait_timeout_while(events, Duration::from_secs(seconds), |events| !enough(events))
            .unwrap();
        assert!(!out.timed_out(), "no {what} in {seconds} s; {} events: {:#?}", events.len(), events.last());
    }
}

fn serve(inner: &Inner, stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let away = inner.away.load(Ordering::SeqCst);
        if !away {
            let event: Value = serde_json::from_slice(&body).unwrap();
            if let Some(counts) = &inner.counts {
                let kind = event["type"].as_str().unwrap().to_owned();
                if let (true, Some(from)) = (kind == "leg.ringing", event["from"].as_str()) {
                    let user = from.trim_start_matches("sip:").split('@').next().unwrap().to_owned();
                    let leg = event["leg_id"].as_str().unwrap().to_owned();
                    inner.ringing.lock().unwrap().insert(user, leg);
                    inner.news.notify_all();
                }
                *counts.lock().unwrap().entry(kind).or_default() += 1;
            } else {
                inner.events.lock().unwrap().push(event);
                inner.news.notify_all();
            }
        }
        let status = if away { "500 Away" } else { "204 Taken" };
        // Sent at once: a second packet would wait for the acknowledgement of the first.
        let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

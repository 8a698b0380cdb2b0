//! An S3 server whose answers are defined by the test.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use branchline::base::hex::hex;
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// A request as received by the server.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub method: String,
    pub target: String,
    pub head: String,
    /// Its body was received.
    pub bytes: usize,
    pub md5: String,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|l| l.split(':').next().unwrap().eq_ignore_ascii_case(name))?;
        Some(line.split_once(':')?.1.trim())
    }

    pub fn expects(&self) -> bool {
        self.field("expect").is_some()
    }

    /// `PUT`, or `PUT part`, `POST begin`, `POST complete`, `GET parts`, `DELETE parts`.
    pub fn what(&self) -> String {
        let query = self.target.split_once('?').map_or("", |(_, q)| q);
        let more = match (self.method.as_str(), query.contains("uploadId")) {
            ("PUT", true) => " part",
            ("POST", true) => " complete",
            ("POST", false) => " begin",
            ("GET" | "DELETE", true) => " parts",
            _ => "",
        };
        format!("{}{more}", self.method)
    }
}

/// Status, further header lines, body.
pub type Said = (u16, String, String);

pub fn said(status: u16, lines: &str, body: &str) -> Said {
    (status, lines.to_owned(), body.to_owned())
}

pub fn error(status: u16, code: &str) -> Said {
    said(
        status,
        "",
        &format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>m</Message></Error>"),
    )
}

type Answers = dyn Fn(&Seen) -> Said + Send + Sync;

/// A server, and the requests it received.
pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub fn start(answers: impl Fn(&Seen) -> Said + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (all, answers): (_, Arc<Answers>) = (Arc::clone(&seen), Arc::new(answers));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, answers) = (Arc::clone(&all), Arc::clone(&answers));
                std::thread::spawn(move || serve(stream, &all, &*answers));
            }
        });
        Self { url, seen }
    }

    pub fn asked(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(Seen::what).collect()
    }

    pub fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, all: &Mutex<Vec<Seen>>, answers: &Answers) {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    let end = loop {
        match bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            },
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut words = head.split(' ').map(str::to_owned);
    let mut seen =
        Seen { method: words.next().unwrap(), target: words.next().unwrap(), head, ..Seen::default() };
    let mut body = bytes.split_off(end);
    // Requests with Expect are answered before the body is read.
    let early = if seen.expects() { answers(&seen) } else { said(0, "", "") };
    let reads = !seen.expects() || early.0 < 300;
    if reads {
        if seen.expects() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        }
        let length: usize = seen.field("content-length").map_or(0, |l| l.parse().unwrap());
        while body.len() < length {
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(n) => body.extend_from_slice(&chunk[..n]),
            }
        }
        assert_eq!(
            seen.field("x-amz-content-sha256").unwrap(),
            hex(&Sha256::digest(&body)),
            "as it is signed"
        );
        (seen.bytes, seen.md5) = (body.len(), hex(&Md5::digest(&body)));
    }
    let (status, lines, text) = if reads { answers(&seen) } else { early };
    let head_only = seen.method == "HEAD";
    all.lock().unwrap().push(seen);
    // The answers may contain their own Content-Length.
    let length = if lines.contains("Content-Length") {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", text.len())
    };
    let text = if head_only { "" } else { &text };
    drop(write!(stream, "HTTP/1.1 {status} x\r\n{lines}{length}Connection: close\r\n\r\n{text}"));
    drop(stream.shutdown(std::net::Shutdown::Write));
    drop(stream.read(&mut chunk));
}

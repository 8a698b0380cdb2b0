//! The far end of measured calls: a gateway with established calls, one SIP phone that answers all of them,
//! and a generator of their media.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use branchline::io::media::recv_batch;
use branchline::media::rtp_endpoint::transport::Batch;
use branchline::rtp::packet::header;

use crate::common::Gateway;

pub const LEGS: u16 = 200;
pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const CONFIG: &str = "[http]\nlisten = \"127.0.0.1:0\"\n[sip]\nport = 0\nauto_ringing = true\ncodecs = [\"PCMU\"]\n\
                      [rtp]\nport_min = 24000\nport_max = 26000\n[log]\nlevel = \"info\"\n";

/// Media port of leg `n` at the far end.
pub fn media_port(n: u16) -> u16 {
    22_000 + n * 2
}

/// A gateway with established calls: entry `n` is the gateway's media port of leg `n`.
pub struct Calls {
    pub gateway: Gateway,
    pub ports: Vec<u16>,
    _phone: Phone,
}

impl Calls {
    /// `legs` calls in rooms of `room`.
    pub fn new(legs: u16, room: u16) -> Self {
        Self::make(legs, |n| format!(r#","room_id":"room-{}""#, n / room))
    }

    /// `legs` calls without rooms.
    pub fn alone(legs: u16) -> Self {
        Self::make(legs, |_| String::new())
    }

    fn make(legs: u16, more: impl Fn(u16) -> String) -> Self {
        let gateway = gateway();
        let phone = Phone::start();
        let mut ports = vec![0; usize::from(legs)];
        for n in 0..legs {
            let body = format!(r#"{{"type":"sip","uri":"sip:{n}@{}"{}}}"#, phone.address, more(n));
            let reply = gateway.post("/v1/legs", &body);
            assert_eq!(reply.status, 201, "{reply:?}");
            let up = phone.up.recv_timeout(Duration::from_secs(5)).expect("the call is set up");
            ports[usize::from(up.user)] = up.port;
        }
        Self { gateway, ports, _phone: phone }
    }
}

pub fn gateway() -> Gateway {
    Gateway::start_release_with(CONFIG)
}

/// A gateway with capacity for legs whose media is still being closed: at thousands of calls a second there
/// are many.
pub fn large_gateway() -> Gateway {
    Gateway::start_release_with(&format!("{CONFIG}[limits]\nlegs = 1024\n"))
}

/// A call that was answered and acknowledged.
pub struct Up {
    /// The number that was called.
    pub user: u16,
    /// The gateway's media port.
    pub port: u16,
}

/// A phone that answers every call at once.
pub struct Phone {
    pub address: SocketAddr,
    pub up: Receiver<Up>,
    stop: Arc<AtomicBool>,
}

impl Phone {
    pub fn start() -> Self {
        let socket = UdpSocket::bind((LOCAL, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let address = socket.local_addr().unwrap();
        let (told, up) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || answer(&socket, &told, &stopped));
        Self { address, up, stop }
    }
}

impl Drop for Phone {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn answer(socket: &UdpSocket, told: &Sender<Up>, stop: &AtomicBool) {
    let mut buffer = [0; 4096];
    let mut calls: HashMap<String, u16> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let request = std::str::from_utf8(&buffer[..len]).unwrap();
        let field = |name: &str| {
            let line = request.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
            line.trim_start_matches(':').trim().to_owned()
        };
        let user = || request.split(['@', ' ']).nth(1).and_then(|u| u.strip_prefix("sip:")).unwrap().parse();
        let body = match request.split(' ').next() {
            Some("INVITE") => {
                let media = field("m=audio");
                calls.insert(field("Call-ID"), media.split(' ').next().unwrap().parse().unwrap());
                let user: u16 = user().unwrap();
                format!(
                    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                     m=audio {} RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n",
                    media_port(user % 1000)
                )
            }
            Some("ACK") => {
                if let Some(port) = calls.remove(&field("Call-ID")) {
                    drop(told.send(Up { user: user().unwrap(), port }));
                }
                continue;
            }
            Some("BYE") => String::new(),
            _ => continue,
        };
        let port = socket.local_addr().unwrap().port();
        let tag = if field("To").contains("tag=") { "" } else { ";tag=far" };
        let user = user().unwrap_or(0);
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let reply = format!(
            "SIP/2.0 200 OK\r\nVia: {}\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:{user}@127.0.0.1:{port}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            field("Via"),
            field("From"),
            field("To"),
            field("Call-ID"),
            field("CSeq"),
            body.len()
        );
        socket.send_to(reply.as_bytes(), from).unwrap();
    }
}

/// Sockets of the far end's media, one a leg.
pub fn media_sockets(legs: u16) -> Vec<UdpSocket> {
    let bind = |n| {
        let s = UdpSocket::bind((LOCAL, media_port(n))).unwrap();
        s.set_nonblocking(true).unwrap();
        s
    };
    (0..legs).map(bind).collect()
}

/// Sends one packet per leg every 20 ms and discards received packets, until stopped.
pub struct Generator {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Generator {
    pub fn start(ports: Vec<u16>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || generate(&ports, &stopped)));
        Self { stop, thread }
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

fn generate(ports: &[u16], stop: &AtomicBool) {
    let sockets = media_sockets(ports.len() as u16);
    let mut batch = Batch::default();
    let mut due = Instant::now();
    let mut n = 0u16;
    while !stop.load(Ordering::Relaxed) {
        due += Duration::from_millis(20);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        n = n.wrapping_add(1);
        let mut packet = header(false, 0, n, u32::from(n) * 160, 7).to_vec();
        packet.extend((0..160u8).map(|i| i.wrapping_mul(n as u8)));
        for (s, port) in sockets.iter().zip(ports) {
            drop(s.send_to(&packet, (LOCAL, *port)));
            recv_batch::receive(s, &mut batch, 0);
        }
    }
}

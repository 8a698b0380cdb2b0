//! One host floods each resource of the gateway in turn, while two calls are recorded and a phone registers
//! and calls every five seconds: only the flooder is affected, and no memory is leaked.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::caller::{Caller, packet};
use crate::common::{Gateway, of_process, request};
use crate::hook::Hook;
use crate::phone::Phone;
use crate::tls::make_certificates;

/// Address of the flooder. A second address, so that no quota is shared with others.
const FLOODER: [u8; 4] = [127, 0, 0, 9];
/// Address that may not use the API at all.
const FORBIDDEN: [u8; 4] = [127, 0, 0, 8];
/// Duration of each flood, against no server and against the gateway.
const EACH: Duration = Duration::from_secs(4);
/// Duration of each flood before the reference measurement.
const SHORT: Duration = Duration::from_millis(200);
/// Resident memory beside the media memory, kB, that no flood may exceed, and increase allowed a minute after
/// all of them.
const MOST_KB: u64 = 64 * 1024;
const LEFT_KB: u64 = 2 * 1024;

/// Destinations of a flood.
#[derive(Clone, Copy)]
struct At {
    sip: SocketAddr,
    tls: SocketAddr,
    http: SocketAddr,
    /// Media ports of the two calls.
    media: [SocketAddr; 2],
}

/// A kind of flood, running until stopped.
type Flood = fn(&At, &AtomicBool);

/// The first of the floods are calls.
const CALLS: usize = 2;
const FLOODS: [(&str, Flood); 12] = [
    ("calls that nobody answers", |at, stop| messages(at, stop, &call, 100)),
    ("calls under forged addresses", forged),
    ("small OPTIONS", |at, stop| messages(at, stop, &options, 600)),
    ("OPTIONS of 60 kB", |at, stop| messages(at, stop, &large, 300)),
    ("requests of calls that do not exist", |at, stop| messages(at, stop, &bye, 600)),
    ("nonsense over UDP", |at, stop| messages(at, stop, &|n, _| format!("{n} nonsense\r\n\r\n"), 600)),
    ("wrong passwords", passwords),
    ("idle SIP connections", |at, stop| {
        hold(at.sip, FLOODER, stop, &options(1, at.sip).replace("SIP/2.0/UDP", "SIP/2.0/TCP").into_bytes())
    }),
    ("TLS handshakes that are not finished", |at, stop| hold(at.tls, FLOODER, stop, &hello())),
    ("half-open HTTP connections", |at, stop| hold(at.http, FLOODER, stop, b"GET /v1/legs HT")),
    ("HTTP connections of a forbidden address", |at, stop| hold(at.http, FORBIDDEN, stop, b"")),
    ("RTP of a stranger", rtp),
];

fn flooder() -> UdpSocket {
    let socket = UdpSocket::bind((std::net::IpAddr::from(FLOODER), 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// Sends this many messages a second, and discards the answers.
fn messages(at: &At, stop: &AtomicBool, make: &dyn Fn(u64, SocketAddr) -> String, per_second: u64) {
    let socket = flooder();
    let from = socket.local_addr().unwrap();
    let mut buffer = [0u8; 65_536];
    paced(stop, per_second, |n| {
        drop(socket.send_to(make(n, from).as_bytes(), at.sip));
        while socket.recv(&mut buffer).is_ok() {}
    });
}

/// Runs `each` this many times a second.
fn paced(stop: &AtomicBool, per_second: u64, mut each: impl FnMut(u64)) {
    let began = Instant::now();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        let due = (began.elapsed().as_secs_f64() * per_second as f64) as u64;
        while n < due {
            n += 1;
            each(n);
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn message(method: &str, n: u64, at: SocketAddr, more: &str, body: &str) -> String {
    format!(
        "{method} sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKf{n}-{port};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:flood@{at}>;tag=f{n}\r\nTo: <sip:x@127.0.0.1>\r\nCall-ID: f{n}-{port}@{at}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:flood@{at}>\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len(),
        port = at.port(),
    )
}

fn options(n: u64, at: SocketAddr) -> String {
    message("OPTIONS", n, at, "", "")
}

fn large(n: u64, at: SocketAddr) -> String {
    let pad = "p".repeat(57_000);
    message("OPTIONS", n, at, &format!("Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKq;x={pad}\r\n"), "")
}

fn call(n: u64, at: SocketAddr) -> String {
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 127.0.0.9\r\ns=-\r\nc=IN IP4 127.0.0.9\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n";
    let pad: String = (0..30).map(|n| format!("X-P{n}: {}\r\n", "p".repeat(1000))).collect();
    message("INVITE", n, at, &format!("{pad}Content-Type: application/sdp\r\n"), sdp)
}

fn bye(n: u64, at: SocketAddr) -> String {
    message("BYE", n, at, "", "").replace("To: <sip:x@127.0.0.1>", "To: <sip:x@127.0.0.1>;tag=none")
}

/// Each call from another address of the network 127.9.0.0/16.
fn forged(at: &At, stop: &AtomicBool) {
    paced(stop, 300, |n| {
        let [high, low] = u16::try_from(n % 10_000 + 256).unwrap().to_be_bytes();
        let socket = UdpSocket::bind((std::net::IpAddr::from([127, 9, high, low]), 0)).unwrap();
        let from = socket.local_addr().unwrap();
        drop(socket.send_to(call(n, from).as_bytes(), at.sip));
    });
}

/// Guesses passwords with the nonce of the last challenge.
fn passwords(at: &At, stop: &AtomicBool) {
    let socket = flooder();
    let from = socket.local_addr().unwrap();
    let (mut buffer, mut nonce) = ([0u8; 65_536], String::new());
    paced(stop, 500, |n| {
        let guess = format!(
            "Authorization: Digest username=\"anna\", realm=\"branch.test\", nonce=\"{nonce}\", uri=\"sip:branch.test\", \
             response=\"{n:032x}\", algorithm=MD5\r\n"
        );
        let ask = message("REGISTER", n, from, &guess, "").replace("sip:x@127.0.0.1", "sip:anna@branch.test");
        drop(socket.send_to(ask.as_bytes(), at.sip));
        while let Ok(n) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..n]);
            if let Some((_, rest)) = text.split_once("nonce=\"") {
                nonce = rest.split('"').next().unwrap().to_owned();
            }
        }
    });
}

/// Opens connections and holds them; closed ones are reopened.
fn hold(at: SocketAddr, from: [u8; 4], stop: &AtomicBool, first: &[u8]) {
    let mut held: Vec<TcpStream> = Vec::new();
    paced(stop, 300, |n| {
        let Some(mut stream) = connect(at, from) else { return };
        drop(stream.set_nonblocking(true).and_then(|()| stream.write_all(first)));
        held.push(stream);
        if held.len() > 300 {
            drop(held.swap_remove(n as usize % 300));
        }
    });
}

fn connect(at: SocketAddr, from: [u8; 4]) -> Option<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
    socket.bind(&SocketAddr::from((from, 0)).into()).ok()?;
    socket.connect_timeout(&at.into(), Duration::from_millis(20)).ok()?;
    Some(socket.into())
}

/// The start of a TLS handshake (RFC 8446 §4.1.2) that is never completed.
fn hello() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    // No session id; two TLS 1.2 suites; no compression; curve P-256 and one signature algorithm.
    hello.extend([0, 0, 4, 0xc0, 0x2f, 0xc0, 0x30, 1, 0]);
    hello.extend([0, 26, 0, 10, 0, 4, 0, 2, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 8, 0, 6, 4, 1, 8, 4, 8, 5]);
    let mut out = vec![22, 3, 1, 0, u8::try_from(hello.len() + 4).unwrap(), 1, 0, 0];
    out.push(u8::try_from(hello.len()).unwrap());
    out.extend(hello);
    out
}

fn rtp(at: &At, stop: &AtomicBool) {
    let socket = flooder();
    paced(stop, 4000, |n| {
        let p = packet(0, n as u16, 4711, true);
        drop(socket.send_to(&p, at.media[n as usize % 2]));
    });
}

/// A target without a server, to measure the cost of the flood itself.
struct Nobody {
    udp: UdpSocket,
    _tcp: [TcpListener; 2],
    at: At,
}

impl Nobody {
    fn open() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let (sip, [stream, http]) =
            (udp.local_addr().unwrap(), [0, 1].map(|n: usize| tcp[n].local_addr().unwrap()));
        let at = At { sip, tls: stream, http, media: [sip, sip] };
        Self { udp, _tcp: tcp, at }
    }
}

/// Background activities during the floods.
struct Beside {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Beside {
    fn new() -> Self {
        Self { stop: Arc::default(), threads: Vec::new() }
    }

    fn run(&mut self, mut each: impl FnMut() + Send + 'static, every: Duration) {
        let stop = Arc::clone(&self.stop);
        self.threads.push(std::thread::spawn(move || {
            let mut due = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                each();
                due += every;
                std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
            }
        }));
    }

    /// Waits for this time, and fails if an activity has failed.
    fn pass(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            assert!(self.threads.iter().all(|t| !t.is_finished()), "what goes on beside has failed");
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Stops the activities; their failures are raised here.
    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|t| t.join().unwrap());
    }
}

/// Late ticks of the media thread in this time.
fn late_while(gw: &Gateway, beside: &Beside, at: At, flood: Flood, time: Duration) -> u64 {
    let late = || gw.figure("branchline_media_late_total") + gw.figure("branchline_media_skipped_total");
    let (before, stop) = (late(), AtomicBool::new(false));
    std::thread::scope(|s| {
        s.spawn(|| flood(&at, &stop));
        beside.pass(time);
        stop.store(true, Ordering::Relaxed);
    });
    late() - before
}

/// Rounds of all floods; `make soak` uses more.
fn rounds() -> u32 {
    std::env::var("FLOOD_ROUNDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

#[test]
fn no_flood_affects_others() {
    let dir = std::env::temp_dir().join(format!("branchline-floods-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    make_certificates(&dir);
    let hook = Hook::counting();
    let at = dir.display();
    let settings = format!(
        "[http]\nallowed_ips = [\"127.0.0.1\", \"127.0.0.9\"]\n[sip]\ndomains = [\"branch.test\"]\nring_timeout_s = 40\n[sip.tls]\nport = 0\n\
         cert = \"{at}/gw.pem\"\nkey = \"{at}/gw.key\"\n[[sip.user]]\nname = \"anna\"\npassword = \"secret\"\n"
    );
    let gw = Arc::new(Gateway::start_release_configured(&settings, &[("WEBHOOK_URL", &hook.url)]));
    let sip: SocketAddr = gw.listen["sip"].as_str().unwrap().parse().unwrap();
    let mut beside = Beside::new();

    // Two calls that send audio continuously, and are recorded.
    let calls: Vec<Caller> = (0..2).map(|n| Caller::call_as(&gw, &format!("running-{n}"))).collect();
    let legs: Vec<String> = calls.iter().map(|c| c.leg.clone()).collect();
    let media = [0, 1].map(|n: usize| calls[n].media);
    for leg in &legs {
        assert_eq!(gw.post(&format!("/v1/legs/{leg}/record"), "").status, 200);
    }
    let sent = Arc::new(AtomicU64::new(0));
    let said = Arc::clone(&sent);
    let talk = move || {
        let n = said.fetch_add(1, Ordering::Relaxed) + 1;
        // The sequence number restarts in every run, the timestamp continues.
        let mut p = packet(0, (n + 62_000) as u16, 9, true);
        p[4..8].copy_from_slice(&(n as u32).wrapping_mul(160).to_be_bytes());
        for c in &calls {
            c.rtp.send_to(&p, c.media).unwrap();
        }
    };
    beside.run(talk, Duration::from_millis(20));

    // A phone that registers, calls and is answered, every five seconds.
    let registrar = format!("set:registrar=sip:{sip}");
    let own = ["set:domain=branch.test", "set:reg_interval=60", "set:password=secret", registrar.as_str()];
    let mut phone = Phone::of_user(&dir, 5720, "anna", &own);
    let (answers, tried) = (hook, Arc::new(AtomicU64::new(0)));
    let (counted, http, slowest) = (Arc::clone(&tried), gw.http(), Arc::new(AtomicU64::new(0)));
    let longest = Arc::clone(&slowest);
    let honest = move || {
        let began = Instant::now();
        phone.order("register");
        phone.say(&format!("dial sip:desk@{sip}"));
        let leg = answers.leg_of("anna", 20).expect("the call of the honest phone rings");
        let answered = request(http, "POST", &format!("/v1/legs/{leg}/answer"), "", b"");
        assert_eq!(answered.status, 200, "{answered:?}");
        // Checked at the gateway, which has the phone's ACK: the phone's Python bindings miss some responses.
        let connected = || {
            let shown = request(http, "GET", &format!("/v1/legs/{leg}"), "", b"").json();
            shown["state"] == "connected"
        };
        while !connected() {
            assert!(began.elapsed() < Duration::from_secs(40), "no ACK of the honest phone");
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let took = u64::try_from(began.elapsed().as_millis()).unwrap();
        longest.fetch_max(took, Ordering::Relaxed);
        phone.say("hangup");
        phone.wait("ended");
        counted.fetch_add(1, Ordering::Relaxed);
    };
    beside.run(honest, Duration::from_secs(5));

    // API clients that must never be refused.
    let ask = move || {
        for path in ["/health", "/v1/legs"] {
            let reply = request(http, "GET", path, "", b"");
            assert_eq!(reply.status, 200, "{path}: {reply:?}");
        }
    };
    beside.run(ask, Duration::from_millis(500));

    let nobody = Nobody::open();
    let tls = SocketAddr::new(sip.ip(), gw.listen["sip_tls_port"].as_u64().unwrap() as u16);
    let gateway = At { sip, tls, http, media };
    // One-time allocations are done after every kind of message was sent, except calls, which would continue
    // ringing.
    for (_, flood) in FLOODS.iter().skip(CALLS) {
        late_while(&gw, &beside, gateway, *flood, SHORT);
    }
    while tried.load(Ordering::Relaxed) < 2 {
        beside.pass(Duration::from_millis(100));
    }
    let (resident, media) = (of_process(gw.pid(), "VmRSS:"), gw.media_kb());
    let (peak, pid) = (Arc::new(AtomicU64::new(resident)), gw.pid());
    let most = Arc::clone(&peak);
    let watch = move || {
        most.fetch_max(of_process(pid, "VmRSS:"), Ordering::Relaxed);
    };
    beside.run(watch, Duration::from_millis(100));

    for round in 0..rounds() {
        for (name, flood) in FLOODS {
            // A stall of the machine affects single runs; an effective flood affects every run.
            let (mut without, mut with, mut runs) = (u64::MAX, u64::MAX, 0);
            while runs == 0 || with > without + 2 {
                assert!(runs < 4, "{name}: {with} late ticks, {without} where nobody serves it");
                without = without.min(late_while(&gw, &beside, nobody.at, flood, EACH));
                with = with.min(late_while(&gw, &beside, gateway, flood, EACH));
                runs += 1;
                while nobody.udp.set_nonblocking(true).is_ok() && nobody.udp.recv(&mut [0; 64]).is_ok() {}
            }
            let peak = peak.load(Ordering::Relaxed);
            println!("{round}: {name}: {with} late ticks, {without} alone; {peak} kB at most");
            assert!(peak - media <= MOST_KB, "{name}: {peak} kB, {media} kB of them media memory");
        }
    }
    let during = tried.load(Ordering::Relaxed);
    // Call state remains for half a minute.
    beside.pass(Duration::from_secs(60));
    let after = of_process(gw.pid(), "VmRSS:");
    beside.end();
    let slowest = slowest.load(Ordering::Relaxed);
    println!(
        "{during} honest calls, the slowest up in {slowest} ms; resident {resident} kB before, {after} kB after"
    );
    assert!(after <= resident + LEFT_KB, "{resident} kB became {after} kB");
    assert!(tried.load(Ordering::Relaxed) > during && slowest < 32_000);

    // The running calls have lost nothing, and neither have their recordings.
    let sent = sent.load(Ordering::Relaxed);
    for leg in &legs {
        let quality = gw.get(&format!("/v1/legs/{leg}/quality")).json();
        assert_eq!(
            (quality["rtp_packets_received"].as_u64(), quality["rtp_packets_lost"].as_u64()),
            (Some(sent), Some(0)),
            "{quality}"
        );
        let recording = gw.delete(&format!("/v1/legs/{leg}/record")).json();
        let samples = heard(&recording);
        let seconds = samples.len() as f64 / f64::from(RATE);
        // Continues when no audio is sent any more.
        assert!(seconds > sent as f64 / 50.0 - 0.5, "{seconds} s of {sent} packets");
        let spoken = samples.chunks_exact(RATE as usize / 50).take(sent as usize - 25).skip(25);
        let silent = spoken.filter(|f| f.iter().all(|s| s.abs() < 1000)).count() as u64;
        assert!(silent <= sent / 500, "{silent} frames of {seconds} s are silent");
    }
    assert_eq!(gw.figure("voiceblender_webhook_dropped_total"), 0);
    std::fs::remove_dir_all(dir).unwrap();
}

/// Sampling rate of the recordings, Hz.
const RATE: u32 = 8000;

/// The caller's channel of a recording.
fn heard(recording: &Value) -> Vec<i16> {
    let file = recording["file"].as_str().unwrap_or_else(|| panic!("{recording}"));
    let wav = hound::WavReader::open(file).unwrap();
    assert_eq!(wav.spec().sample_rate, RATE);
    wav.into_samples::<i16>().step_by(2).map(Result::unwrap).collect()
}

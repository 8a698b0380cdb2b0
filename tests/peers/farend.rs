//! A programmable far end that calls, answers and misbehaves as needed. For many concurrent calls, with
//! minimal phone behaviour: it answers every request of the gateway.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::caller::{packet, udp};

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// The value of a header.
fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find(|l| l.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name)));
    line.and_then(|l| l.split_once(':')).map_or("", |(_, v)| v.trim())
}

/// What stands between `<` and `>`.
fn uri(value: &str) -> &str {
    value.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(value, |(uri, _)| uri)
}

/// A far end with a socket and a voice.
pub struct FarEnd {
    sip: UdpSocket,
    rtp: UdpSocket,
    gateway: SocketAddr,
    /// Its unique user name.
    pub user: String,
    responses: Receiver<String>,
    /// Set to stop answering.
    pub dead: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    call: Option<Call>,
}

/// The call it has placed.
struct Call {
    id: String,
    to: String,
    contact: String,
    media: Option<SocketAddr>,
}

/// Thread that answers the gateway's requests.
struct Answerer {
    sip: UdpSocket,
    sdp: String,
    tell: Sender<String>,
    dead: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    cseq: u32,
}

impl FarEnd {
    pub fn new(gateway: SocketAddr) -> Self {
        let (sip, rtp) = (udp("127.0.0.1"), udp("127.0.0.1"));
        let port = rtp.local_addr().unwrap().port();
        let (tell, responses) = channel();
        let (dead, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 101\r\n\
             a=rtpmap:101 telephone-event/8000\r\n"
        );
        let thread = Answerer {
            sip: sip.try_clone().unwrap(),
            sdp,
            tell,
            dead: Arc::clone(&dead),
            over: Arc::clone(&over),
            cseq: 1,
        };
        thread.sip.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        std::thread::Builder::new().stack_size(128 * 1024).spawn(move || thread.run()).unwrap();
        let user = format!("u{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        Self { sip, rtp, gateway, user, responses, dead, over, call: None }
    }

    /// Its SIP URI.
    pub fn uri(&self) -> String {
        format!("sip:{}@{}", self.user, self.sip.local_addr().unwrap())
    }

    fn request(&self, method: &str, cseq: u32, body: &str) {
        // CANCEL has the branch of the cancelled request.
        self.send(method, if method == "CANCEL" { "INVITE" } else { method }, cseq, body);
    }

    fn send(&self, method: &str, branch: &str, cseq: u32, body: &str) {
        let Some(call) = &self.call else { return };
        let at = self.sip.local_addr().unwrap();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{}{branch}{cseq};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:{user}@{at}>;tag=1\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:{user}@{at}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            call.contact,
            call.id,
            call.to,
            call.id,
            body.len(),
            user = self.user,
        );
        // A missing gateway is detected elsewhere.
        drop(self.sip.send_to(text.as_bytes(), self.gateway));
    }

    fn hears(&self, start: &str, method: &str) -> Result<String, String> {
        self.hears_within(start, method, Duration::from_secs(20))
            .ok_or_else(|| format!("no {start} to {method}"))
    }

    fn hears_within(&self, start: &str, method: &str, wait: Duration) -> Option<String> {
        let until = Instant::now() + wait;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.responses.recv_timeout(left) {
                Ok(r) if r.starts_with(start) && header(&r, "CSeq").ends_with(method) => return Some(r),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Sends a request until it is answered: datagrams get lost under load.
    fn ask(&self, method: &str, cseq: u32, body: &str, start: &str, of: &str) -> Result<String, String> {
        for n in 0..6 {
            self.request(method, cseq, body);
            if let Some(answer) = self.hears_within(start, of, Duration::from_millis(500 << n)) {
                return Ok(answer);
            }
        }
        Err(format!("no {start} to {method}"))
    }

    /// Calls the gateway and waits until it rings.
    pub fn call(&mut self) -> Result<(), String> {
        let port = self.rtp.local_addr().map_err(|e| e.to_string())?.port();
        let to = format!("<sip:x@{}>", self.gateway);
        let (id, contact) =
            (format!("{}-{}", self.user, std::process::id()), format!("sip:x@{}", self.gateway));
        self.call = Some(Call { id, to, contact, media: None });
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        );
        self.ask("INVITE", 1, &sdp, "SIP/2.0 180", "INVITE").map(|_| ())
    }

    /// Waits until its call is answered, and sends the ACK.
    pub fn is_answered(&mut self) -> Result<(), String> {
        let answer = self.hears("SIP/2.0 200", "INVITE")?;
        let line = answer.lines().find(|l| l.starts_with("m=audio ")).ok_or("no media")?;
        let port = line.split(' ').nth(1).and_then(|p| p.parse().ok()).ok_or("no port")?;
        if let Some(call) = &mut self.call {
            header(&answer, "To").clone_into(&mut call.to);
            uri(header(&answer, "Contact")).clone_into(&mut call.contact);
            call.media = Some(SocketAddr::new(self.gateway.ip(), port));
        }
        self.request("ACK", 1, "");
        Ok(())
    }

    /// Cancels its call.
    pub fn cancel(&mut self) -> Result<(), String> {
        let refusal = self.ask("CANCEL", 1, "", "SIP/2.0 487", "INVITE")?;
        if let Some(call) = &mut self.call {
            header(&refusal, "To").clone_into(&mut call.to);
        }
        // The ACK of a refusal belongs to the INVITE transaction (RFC 3261 §17.1.1.3).
        self.send("ACK", "INVITE", 1, "");
        Ok(())
    }

    pub fn hang_up(&self) -> Result<(), String> {
        self.ask("BYE", 2, "", "SIP/2.0 200", "BYE").map(|_| ())
    }

    /// Sends this many packets of 20 ms.
    pub fn talk(&self, packets: u16) {
        let Some(media) = self.call.as_ref().and_then(|c| c.media) else { return };
        for n in 0..packets {
            drop(self.rtp.send_to(&packet(0, n, 9, true), media));
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Answerer {
    fn run(mut self) {
        let mut buffer = [0u8; 4096];
        while !self.over.load(Ordering::SeqCst) {
            let Ok((n, from)) = self.sip.recv_from(&mut buffer) else { continue };
            if self.dead.load(Ordering::SeqCst) {
                continue;
            }
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with("SIP/2.0 ") {
                // The receiver may be gone.
                drop(self.tell.send(text));
            } else {
                self.answer(&text, from);
            }
        }
    }

    fn answer(&mut self, request: &str, from: SocketAddr) {
        let method = request.split(' ').next().unwrap_or_default();
        let busy = request.starts_with("INVITE sip:busy");
        match method {
            "ACK" => {}
            "INVITE" if busy => self.respond(request, from, "486 Busy Here", ""),
            "INVITE" => {
                let sdp = self.sdp.clone();
                self.respond(request, from, "180 Ringing", "");
                self.respond(request, from, "200 OK", &sdp);
            }
            "REFER" => {
                self.respond(request, from, "202 Accepted", "");
                self.notify(request, from);
            }
            _ => self.respond(request, from, "200 OK", ""),
        }
    }

    fn respond(&self, request: &str, from: SocketAddr, status: &str, sdp: &str) {
        let vias: String =
            request.lines().filter(|l| l.starts_with("Via:")).map(|l| format!("{l}\r\n")).collect();
        let to = header(request, "To");
        let tag = if to.contains(";tag=") { "" } else { ";tag=far" };
        let at = self.sip.local_addr().unwrap();
        let kind = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\n{vias}From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:far@{at}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{sdp}",
            header(request, "From"),
            header(request, "Call-ID"),
            header(request, "CSeq"),
            sdp.len(),
        );
        drop(self.sip.send_to(text.as_bytes(), from));
    }

    /// Reports the success of a transfer.
    fn notify(&mut self, refer: &str, to: SocketAddr) {
        self.cseq += 10;
        let at = self.sip.local_addr().unwrap();
        let body = "SIP/2.0 200 OK\r\n";
        let text = format!(
            "NOTIFY {} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKN{}{};rport\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\n\
             Call-ID: {}\r\nCSeq: {} NOTIFY\r\nContact: <sip:far@{at}>\r\nEvent: refer\r\n\
             Subscription-State: terminated;reason=noresource\r\nContent-Type: message/sipfrag\r\nContent-Length: {}\r\n\r\n{body}",
            uri(header(refer, "Contact")),
            header(refer, "Call-ID"),
            self.cseq,
            header(refer, "To"),
            header(refer, "From"),
            header(refer, "Call-ID"),
            self.cseq,
            body.len(),
        );
        // Sent twice in case of loss: the second is a retransmission with the same branch.
        for _ in 0..2 {
            drop(self.sip.send_to(text.as_bytes(), to));
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

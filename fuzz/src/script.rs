//! The whole gateway, driven by a script: each byte, or few, is a datagram, a call of the API, news of the media, or
//! time that passes. At the end everything is hung up and time runs on: nothing may be left.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use branchline::base::rng::Rng;
use branchline::base::time::{Now, Utc};
use branchline::codec::Codec;
use branchline::config::{Config, Sources, TrunkFields, load};
use branchline::gateway::Gateway;
use branchline::gateway::interface::command::Originate;
use branchline::gateway::interface::owner::Owner;
use branchline::gateway::interface::work::{Work, WorkResult, Written};
use branchline::gateway::playback::{Sound, tone};
use branchline::gateway::recording::RecordingRequest;
use branchline::gateway::resources::ports::Port;
use branchline::gateway::rooms::JoinFlags;
use branchline::media::command::Over;
use branchline::media::command::{Command, MediaEvent, Quality};
use branchline::sip::flow::{Flow, Transport};
use branchline::sip::locals::Locals;
use branchline::wire::Uri;

/// Longest script that is looked at, bytes: time is short.
const MAX_SCRIPT: usize = 2048;
const OURS: &str = "10.0.0.1:5060";
const SETTINGS: &str = "[limits]\nlegs = 6\nrooms = 3\n[sip]\nrefer_auto_dial = true\nsession_expires_s = 90\n\
     domains = [\"10.0.0.1\"]\nuser = [{ name = \"anna\", password = \"x\" }]\n";
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\n\
     a=rtpmap:101 telephone-event/8000\r\n";

struct World<'a> {
    gw: Gateway,
    now: Now,
    script: &'a [u8],
    /// What the gateway has sent last; answers and requests in its dialogs are made of it.
    sent: Vec<String>,
    work: Vec<Work>,
    port: u32,
}

/// Plays a script; panics when something that must hold does not.
pub fn run(data: &[u8], start: Instant) {
    let config: Config =
        load(&Sources { file: Some(("fuzz", SETTINGS)), env: &[] }).expect("the settings are good");
    let locals = Locals { v4: OURS.parse().ok(), ..Locals::default() };
    let now = Now { mono: start, utc: Utc(Duration::from_secs(1_776_330_000)) };
    let gw = Gateway::new(Rc::new(config), locals, Rng::from_number(1));
    let script = data.get(..data.len().min(MAX_SCRIPT)).unwrap_or_default();
    let mut w = World { gw, now, script, sent: Vec::new(), work: Vec::new(), port: 0 };
    w.drain();
    while let Some(op) = w.byte() {
        w.step(op);
        w.drain();
    }
    w.finish();
}

impl World<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.script.split_first()?;
        self.script = rest;
        Some(*first)
    }

    fn next(&mut self) -> u8 {
        self.byte().unwrap_or(0)
    }

    fn some(&mut self) -> &[u8] {
        let len = usize::from(self.next()).min(self.script.len());
        let (taken, rest) = self.script.split_at(len);
        self.script = rest;
        taken
    }

    fn leg(&mut self) -> String {
        let n = usize::from(self.next());
        let legs = self.gw.view().legs();
        legs.get(n % legs.len().max(1)).map(|l| l.id.clone()).unwrap_or_default()
    }

    fn step(&mut self, op: u8) {
        let now = self.now;
        match op % 24 {
            0 => self.pass(u64::from(self.script.first().copied().unwrap_or(1))),
            1 => self.pass(500),
            2 => self.pass(32_000),
            3 => {
                let raw = self.some().to_vec();
                self.datagram(&raw);
            }
            4 | 5 => self.request(op),
            6 | 7 => self.respond(),
            8 => self.in_dialog(),
            9 => self.originate(),
            10 => {
                let leg = self.leg();
                let _done = self.gw.legs(now, |l| l.answer(&leg));
            }
            11 => {
                let leg = self.leg();
                let _done = self.gw.legs(now, |l| l.early_media(&leg));
            }
            12 => {
                let leg = self.leg();
                let _done = self.gw.legs(now, |l| l.hang_up(&leg, None));
            }
            13 => {
                let (on, leg) = (self.next() & 1 == 0, self.leg());
                let _done = self.gw.legs(now, |l| l.hold(&leg, on));
            }
            14 => {
                let (leg, other) = (self.leg(), self.leg());
                let target = Uri::parse("sip:carol@10.0.0.3").expect("a URI");
                let _done = self
                    .gw
                    .legs(now, |l| l.transfer(&leg, target, Some(other.as_str()).filter(|o| *o != leg)));
            }
            15 => {
                let (leg, room) = (self.leg(), format!("r{}", self.next() % 4));
                let _made = self.gw.rooms(now, |r| r.create(Some(room.clone()), None, None));
                let _done = self.gw.rooms(now, |r| r.add_leg(&room, &leg, JoinFlags::default()));
            }
            16 => {
                let (leg, room) = (self.leg(), format!("r{}", self.next() % 4));
                let _done = self.gw.rooms(now, |r| r.remove_leg(&room, &leg));
                let _gone = self.next().is_multiple_of(2).then(|| self.gw.rooms(now, |r| r.delete(&room)));
            }
            17 => {
                let leg = self.leg();
                let sound = tone("us_busy").map_or(
                    Sound::File { url: "http://10.0.0.9/x.wav".into(), repeat: 1, bare: None },
                    Sound::Tone,
                );
                let _done = self.gw.audio(now, |a| a.play(Owner::Leg(&leg), sound, 0));
            }
            18 if op >= 120 => {
                let (room, wanted) = (
                    format!("r{}", op % 4),
                    RecordingRequest { multi_channel: true, ..RecordingRequest::default() },
                );
                let _done = self.gw.audio(now, |a| a.record(Owner::Room(&room), wanted));
            }
            19 if op >= 120 => {
                let room = format!("r{}", op % 4);
                let _done = self.gw.audio(now, |a| a.stop_recording(Owner::Room(&room)));
            }
            18 => {
                let leg = self.leg();
                let _done = self.gw.audio(now, |a| a.record(Owner::Leg(&leg), RecordingRequest::default()));
            }
            19 => {
                let leg = self.leg();
                let _done = self.gw.audio(now, |a| a.stop_recording(Owner::Leg(&leg)));
            }
            20 => {
                let n = usize::from(self.next());
                if !self.work.is_empty() {
                    let work = self.work.remove(n % self.work.len());
                    self.finish_work(work, n & 1 == 0);
                }
            }
            21 => {
                let (slot, digit) = (u16::from(self.next() % 8), char::from(b'0' + self.next() % 10));
                self.gw.handle_media(
                    now,
                    if digit == '9' {
                        MediaEvent::Silent { slot }
                    } else {
                        MediaEvent::Digit { slot, digit }
                    },
                );
            }
            22 => {
                let fields = TrunkFields {
                    kind: "sip_register".into(),
                    registrar_uri: "sip:10.0.0.5".into(),
                    aor: format!("sip:t{}@10.0.0.5", self.next() % 3),
                    password: "p".into(),
                    ..TrunkFields::default()
                };
                let _added = self.gw.accounts(now, |a| a.add_trunk(fields));
            }
            _ => {
                let trunks = self.gw.view().trunks().views();
                let n = usize::from(self.next());
                if let Some(t) = trunks.get(n % trunks.len().max(1)) {
                    let _removed = self.gw.accounts(now, |a| a.remove_trunk(&t.id));
                }
            }
        }
    }

    fn originate(&mut self) {
        let to =
            ["sip:bob@10.0.0.2", "sip:bob@far.test", "sip:anna@10.0.0.1", "sip:x@10.0.0.2;transport=tcp"];
        let n = usize::from(self.next());
        let wanted = Originate {
            amd: None,
            uri: Uri::parse(to[n % to.len()]).expect("a URI"),
            from: if n & 8 == 0 { String::new() } else { "t1".into() },
            privacy: String::new(),
            ring_timeout: u32::from(self.next()) % 40,
            max_duration: 0,
            codecs: Codec::ALL.to_vec(),
            headers: Vec::new(),
            room_id: if n & 16 == 0 { String::new() } else { "r1".into() },
            accept_dtmf: true,
            auth: None,
            webhook: None,
        };
        let _leg = self.gw.legs(self.now, |l| l.originate(wanted));
    }

    /// A request outside any dialog of ours.
    fn request(&mut self, op: u8) {
        let methods = ["INVITE", "REGISTER", "OPTIONS", "CANCEL", "ACK", "BYE", "REFER", "NOTIFY"];
        let (m, call, tag) = (self.next(), self.next() % 4, self.next() % 3);
        let method = methods[usize::from(m) % methods.len()];
        let body = if op == 4 { SDP } else { "" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let extra =
            ["", "Require: 100rel\r\n", "Supported: timer\r\nSession-Expires: 90\r\n", "Expires: 60\r\n"];
        let extra = extra[usize::from(m / 8) % extra.len()];
        let text = format!(
            "{method} sip:anna@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK{call}{tag}\r\nMax-Forwards: 70\r\n\
             From: <sip:bob@10.0.0.2>;tag=f{tag}\r\nTo: <sip:anna@10.0.0.1>\r\nCall-ID: c{call}\r\nCSeq: {} {method}\r\n\
             Contact: <sip:bob@10.0.0.2>\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            1 + tag,
            body.len()
        );
        self.datagram(text.as_bytes());
    }

    /// A response to one of the gateway's last requests.
    fn respond(&mut self) {
        let (which, code, more) = (usize::from(self.next()), self.next(), self.next());
        let codes = [100, 180, 183, 200, 202, 302, 401, 407, 422, 481, 486, 488, 491, 503, 603];
        let requests: Vec<&String> = self.sent.iter().filter(|t| !t.starts_with("SIP/2.0")).collect();
        let Some(asked) = requests.get(which % requests.len().max(1)) else { return };
        let code = codes[usize::from(code) % codes.len()];
        let mut out = format!("SIP/2.0 {code} Whatever\r\n");
        for line in asked.lines().take_while(|l| !l.is_empty()) {
            if ["Via:", "From:", "Call-ID:", "CSeq:"].iter().any(|n| line.starts_with(n)) {
                out.push_str(line);
                out.push_str("\r\n");
            } else if line.starts_with("To:") {
                let tag = if line.contains("tag=") { String::new() } else { format!(";tag=far{}", more % 3) };
                out.push_str(&format!("{line}{tag}\r\n"));
            }
        }
        out.push_str(match code {
            401 => "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n",
            407 => "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n",
            422 => "Min-SE: 200\r\n",
            180 if more & 4 != 0 => "Require: 100rel\r\nRSeq: 1\r\n",
            _ => "",
        });
        out.push_str("Contact: <sip:bob@10.0.0.2>\r\n");
        let body = if more & 8 == 0 && asked.contains(" INVITE\r\n") { SDP } else { "" };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        out.push_str(&format!("{kind}Content-Length: {}\r\n\r\n{body}", body.len()));
        self.datagram(out.as_bytes());
    }

    /// A request in a dialog that a message of the gateway has made.
    fn in_dialog(&mut self) {
        let (which, m, cseq) = (usize::from(self.next()), self.next(), self.next());
        let Some(from) = self.sent.get(which % self.sent.len().max(1)).cloned() else { return };
        let value = |name: &str| from.lines().find_map(|l| l.strip_prefix(name)).map(str::to_owned);
        let (Some(a), Some(b), Some(id)) = (value("From: "), value("To: "), value("Call-ID: ")) else {
            return;
        };
        // In a request of the gateway From is its own side, in a response of its To.
        let (theirs, ours) = if from.starts_with("SIP/2.0") { (a, b) } else { (b, a) };
        let methods = ["ACK", "BYE", "INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "PRACK"];
        let method = methods[usize::from(m) % methods.len()];
        let (body, kind) = match (method, m & 16) {
            ("INVITE" | "UPDATE" | "ACK", 0) => (SDP, "Content-Type: application/sdp\r\n"),
            ("NOTIFY", _) => (
                "SIP/2.0 200 OK\r\n",
                "Event: refer\r\nSubscription-State: terminated\r\nContent-Type: message/sipfrag\r\n",
            ),
            ("INFO", _) => ("Signal=5\r\n", "Content-Type: application/dtmf-relay\r\n"),
            ("REFER", _) => ("", "Refer-To: <sip:carol@10.0.0.3>\r\n"),
            ("PRACK", _) => ("", "RAck: 1 1 INVITE\r\n"),
            _ => ("", ""),
        };
        let text = format!(
            "{method} sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKd{which}{m}{cseq}\r\nMax-Forwards: 70\r\n\
             From: {theirs}\r\nTo: {ours}\r\nCall-ID: {id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:bob@10.0.0.2>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.datagram(text.as_bytes());
    }

    fn datagram(&mut self, bytes: &[u8]) {
        let addr: SocketAddr = ([10, 0, 0, 2], 5060).into();
        self.gw.handle_message(self.now, Flow { transport: Transport::Udp, addr, conn: None }, bytes);
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now.mono + Duration::from_millis(ms);
        while let Some(at) = self.gw.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.after(at.saturating_duration_since(self.now.mono));
            self.gw.handle_timeout(self.now);
            self.drain();
            assert!(
                self.gw.poll_timeout().is_none_or(|next| next > self.now.mono),
                "a timer that is never done"
            );
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.mono));
    }

    fn drain(&mut self) {
        loop {
            let ours: SocketAddr = OURS.parse().expect("an address");
            while self.gw.ports().stock(ours.ip()) < 2 {
                self.port += 1;
                let port = 10_000 + (self.port % 20_000) as u16;
                self.gw.ports().add(Port { id: self.port, address: ours.ip(), port });
            }
            while self.gw.poll_event().is_some() {}
            while self.gw.replies().poll().is_some() {}
            while let Some(t) = self.gw.poll_transmit() {
                self.sent.push(String::from_utf8_lossy(&t.bytes).into_owned());
            }
            let over = self.sent.len().saturating_sub(16);
            self.sent.drain(..over);
            let mut busy = false;
            while let Some(w) = self.gw.poll_work() {
                self.work.push(w);
            }
            while let Some(c) = self.gw.poll_media() {
                busy = true;
                self.media(c);
            }
            if !busy {
                return;
            }
        }
    }

    /// What the engine would answer.
    fn media(&mut self, command: Command) {
        match command {
            Command::Close { slot } => {
                self.gw.handle_media(self.now, MediaEvent::Closed { slot, quality: Quality::default() });
            }
            Command::StopPlay { play } => {
                self.gw
                    .handle_media(self.now, MediaEvent::Played { play, played_ms: 0, over: Over::Stopped });
            }
            Command::StopRecord { record } => {
                self.gw.handle_recording_closed(self.now, record, None, Written::default());
            }
            // Everything else wants no answer.
            _ => {}
        }
    }

    fn finish_work(&mut self, work: Work, good: bool) {
        let bad = || Err("no".to_owned());
        match work {
            Work::Locate { id, hop, .. } => {
                let found = if good { vec![hop.at([10, 0, 0, 2].into())] } else { Vec::new() };
                self.gw.handle_work(self.now, id, WorkResult::Located(found));
            }
            Work::Fetch { id, .. } => {
                self.gw.handle_work(self.now, id, WorkResult::Fetched(if good { Ok(()) } else { bad() }));
            }
            Work::OpenRecording { id, .. } => {
                self.gw.handle_work(
                    self.now,
                    id,
                    WorkResult::RecordingOpened(if good { Ok(()) } else { bad() }),
                );
            }
            Work::Merge(id, _) => {
                self.gw.handle_work(
                    self.now,
                    id,
                    WorkResult::Merged(good.then_some(44).ok_or("no".to_owned())),
                );
            }
            Work::KeepTrunks(_) | Work::GiveUp(_) => {}
        }
    }

    /// All is hung up, all work done, all time over: nothing is left.
    fn finish(&mut self) {
        self.gw.shut_down(self.now);
        for _ in 0..64 {
            self.drain();
            for work in std::mem::take(&mut self.work) {
                self.finish_work(work, false);
            }
            self.pass(60_000);
        }
        assert!(self.gw.is_idle(), "something is left: {:#?}", self.gw.view().numbers());
    }
}

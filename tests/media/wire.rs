//! Simulated sockets of a leg: a far end that sends whatever a test needs.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

use branchline::codec::opus::OpusFmtp;
use branchline::codec::{Codec, g711};
use branchline::media::command::{MediaEvent, Slot};
use branchline::media::endpoint::Endpoint;
use branchline::media::engine::{Engine, Sizes};
use branchline::media::messages::{EngineCommand, EngineOutput};
use branchline::media::party::Party;
use branchline::media::rtp_endpoint::coders::Coders;
use branchline::media::rtp_endpoint::endpoint::RtpEndpoint;
use branchline::media::rtp_endpoint::transport::{Batch, MediaTransport};
use branchline::rtp::lock::RtpSource;
use branchline::rtp::packet::{Packet, header};
use branchline::sdp::{Direction, Dtmf, Formats, Negotiated};
use rtrb::{Consumer, Producer, RingBuffer};

/// A sent datagram: tick, destination, contents.
#[derive(Debug, Clone)]
pub struct Sent {
    pub to: SocketAddr,
    pub bytes: Vec<u8>,
}

/// Both ends of a leg's network, shared with the test.
#[derive(Debug, Default)]
pub struct Far {
    pub inbox: Vec<(SocketAddr, Vec<u8>)>,
    pub sent: Vec<Sent>,
    pub rtcp: Vec<Sent>,
    pub now_ns: u64,
}

#[derive(Debug, Clone, Default)]
pub struct FarWire(pub Rc<RefCell<Far>>);

impl MediaTransport for FarWire {
    fn receive(&mut self, batch: &mut Batch) {
        let mut far = self.0.borrow_mut();
        let n = far.inbox.len().min(batch.items.len());
        let now = far.now_ns;
        for (item, (from, bytes)) in batch.items.iter_mut().zip(far.inbox.drain(..n)) {
            item.bytes[..bytes.len()].copy_from_slice(&bytes);
            item.len = bytes.len();
            item.from = from;
            item.arrival_ns = now;
        }
        batch.len = n;
    }
    fn receive_rtcp(&mut self, batch: &mut Batch) {
        batch.len = 0;
    }
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.0.borrow_mut().sent.push(Sent { to, bytes: bytes.to_vec() });
    }
    fn send_rtcp(&mut self, to: SocketAddr, bytes: &[u8]) {
        self.0.borrow_mut().rtcp.push(Sent { to, bytes: bytes.to_vec() });
    }
}

/// Wall clock at the beginning.
pub const BEGIN_NS: u64 = 1_776_330_000_000_000_000;

/// An engine and its queues.
pub struct Bench<W> {
    pub engine: Engine<W>,
    pub orders: Producer<EngineCommand<W>>,
    pub reports: Consumer<EngineOutput<W>>,
    pub facts: Vec<MediaEvent>,
    pub now_ns: u64,
}

impl<W: MediaTransport> Bench<W> {
    pub fn new() -> Self {
        let (orders, take) = RingBuffer::new(1024);
        let (give, reports) = RingBuffer::new(1024);
        let sizes = Sizes { legs: 64, rooms: 32, plays: 32, recordings: 64 };
        let engine = Engine::new(sizes, take, give, 5);
        Self { engine, orders, reports, facts: Vec::new(), now_ns: BEGIN_NS }
    }

    pub fn order(&mut self, order: EngineCommand<W>) {
        assert!(self.orders.push(order).is_ok());
    }

    pub fn collect(&mut self) {
        while let Ok(report) = self.reports.pop() {
            if let EngineOutput::Event(fact) = report {
                self.facts.push(fact);
            }
        }
    }

    pub fn tick(&mut self) {
        self.now_ns += 20_000_000;
        self.engine.tick(self.now_ns);
        self.collect();
    }
}

pub fn at(port: u16) -> SocketAddr {
    format!("10.0.0.9:{port}").parse().unwrap()
}

/// PCMU at 20 ms in both directions with telephone events as 101, the far end at this port.
pub fn stream(port: u16) -> Negotiated {
    Negotiated {
        codec: Codec::Pcmu,
        clock: 8000,
        formats: Formats::of(Codec::Pcmu, 0, &[101]),
        wishes: OpusFmtp::default(),
        payload_out: 0,
        dtmf: Some(Dtmf::new(101, 8000)),
        rtp: at(port),
        rtcp: at(port + 1),
        rtcp_mux: false,
        ptime: 20,
        direction: Direction::SendRecv,
        srtp: None,
    }
}

/// The same of another codec, under its usual number.
pub fn stream_of(codec: Codec, port: u16) -> Negotiated {
    let payload_out = codec.payload_type();
    let formats = Formats::of(codec, payload_out, &[101]);
    let dtmf = Some(Dtmf::new(101, codec.clock()));
    Negotiated { codec, clock: codec.clock(), formats, payload_out, dtmf, ..stream(port) }
}

/// A far end that sends a tone (or silence) in packets of a given length.
pub struct Phone {
    pub far: FarWire,
    pub port: u16,
    pub ptime: u32,
    pub freq: f64,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Milliseconds sent so far.
    sent_ms: u32,
    heard: usize,
    phase: f64,
}

impl Phone {
    pub fn new(port: u16, freq: f64) -> Self {
        let ssrc = u32::from(port) * 7919;
        Self {
            far: FarWire::default(),
            port,
            ptime: 20,
            freq,
            sequence: 65_500,
            timestamp: 0xffff_f000,
            ssrc,
            sent_ms: 0,
            heard: 0,
            phase: 0.0,
        }
    }

    pub fn leg(&self, stream: Negotiated) -> Box<Party<FarWire>> {
        self.leg_from(stream, RtpSource::default())
    }

    /// The same, with RTP accepted from other sources, too.
    pub fn leg_from(&self, stream: Negotiated, beside: RtpSource) -> Box<Party<FarWire>> {
        let coders = Box::new(Coders::new(&stream, stream.codec.sample_rate(), 5));
        let ssrc = u32::from(self.port) * 104_729;
        let mut rtp = RtpEndpoint::new(self.far.clone(), stream, coders, None, ssrc);
        rtp.allow_sources(beside);
        Box::new(Party::new(Endpoint::Rtp(rtp), false, false))
    }

    /// The next packet of its voice.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut p = header(false, 0, self.sequence, self.timestamp, self.ssrc).to_vec();
        for _ in 0..self.ptime * 8 {
            let v = if self.freq > 0.0 { 8000.0 * (self.phase * std::f64::consts::TAU).sin() } else { 0.0 };
            self.phase = (self.phase + self.freq / 8000.0).fract();
            p.push(g711::ulaw_encode(v as i16));
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.ptime * 8);
        p
    }

    /// Sends the packets due up to `ms` of its time.
    pub fn talk(&mut self, ms: u32, now_ns: u64) {
        self.far.0.borrow_mut().now_ns = now_ns;
        while self.sent_ms < ms {
            let p = self.packet();
            self.far.0.borrow_mut().inbox.push((at(self.port), p));
            self.sent_ms += self.ptime;
        }
    }

    /// Milliseconds sent so far.
    pub fn sent(&self) -> u32 {
        self.sent_ms
    }

    /// Accounts for a packet sent by the test.
    pub fn note_sent(&mut self) {
        self.sent_ms += self.ptime;
    }

    /// The audio it has received since the last call, decoded.
    pub fn hear(&mut self) -> Vec<i16> {
        let far = self.far.0.borrow();
        let mut out = Vec::new();
        for s in &far.sent[self.heard..] {
            let p = Packet::parse(&s.bytes).unwrap();
            if p.payload_type == 0 {
                out.extend(p.payload.iter().map(|b| g711::ulaw_decode(*b)));
            }
        }
        self.heard = far.sent.len();
        out
    }
}

/// Amplitude of a frequency in a signal at 8 kHz.
pub fn level(x: &[i16], freq: f64) -> f64 {
    level_at(x, freq, 8000.0)
}

pub fn level_at(x: &[i16], freq: f64, rate: f64) -> f64 {
    let (mut re, mut im) = (0.0, 0.0);
    for (i, s) in x.iter().enumerate() {
        let a = std::f64::consts::TAU * freq * i as f64 / rate;
        re += f64::from(*s) * a.cos();
        im += f64::from(*s) * a.sin();
    }
    2.0 * (re * re + im * im).sqrt() / (x.len().max(1)) as f64
}

/// Digit events of a leg.
pub fn digits(facts: &[MediaEvent], leg: Slot) -> String {
    let one = |f: &MediaEvent| match f {
        MediaEvent::Digit { slot, digit } if *slot == leg => Some(*digit),
        _ => None,
    };
    facts.iter().filter_map(one).collect()
}

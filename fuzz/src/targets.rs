//! One function a parser, each with what must hold of whatever it takes, beyond that nothing panics.

use std::net::IpAddr;
use std::time::Instant;

use branchline::api::http::head::{Verdict, judge};
use branchline::base::rng::Rng;
use branchline::codec::Codec;
use branchline::codec::coder::Decoder;
use branchline::io::sound::decode::examine;
use branchline::media::rtp_endpoint::playout::Playout;
use branchline::rtp::event_receiver::EventReceiver;
use branchline::rtp::lock::{Content, SourceLock};
use branchline::rtp::packet::Packet;
use branchline::rtp::reception::Reception;
use branchline::rtp::sequence::{Arrival, Sequence};
use branchline::rtp::sources::Sources;
use branchline::rtp::srtp::Context;
use branchline::rtp::{rtcp as reports, telephone_event};
use branchline::sdp::{self, Description, Direction, Local};
use branchline::sip::digest::{Authentication, Credentials, expected};
use branchline::sip::session_timer::{self, SessionExpires};
use branchline::wire::authorization::Authorization;
use branchline::wire::body::{Body, MAX_PARTS, Part};
use branchline::wire::challenge::Challenge;
use branchline::wire::crypto::{Crypto, MasterKey, OurKeys, Srtp, Suite};
use branchline::wire::headers::Headers;
use branchline::wire::params::Params;
use branchline::wire::replaces::{ReferTo, Replaces};
use branchline::wire::stream::{self, Frame as StreamFrame};
use branchline::wire::{Common, Draft, Message, Method, NameAddr, Uri, Via, dns as names, parse};

/// A target's name and what it does with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: [Target; 15] = [
    ("sip_message", sip_message),
    ("uri", uri),
    ("typed_headers", typed_headers),
    ("sdp", session),
    ("rtp", rtp),
    ("rtcp", rtcp),
    ("srtp", srtp),
    ("challenge", challenge),
    ("decoders", decoders),
    ("sound", sound),
    ("tcp_framing", tcp_framing),
    ("dtmf_event", dtmf_event),
    ("http_head", http_head),
    ("gateway", gateway),
    ("dns", dns),
];

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// A message that is taken can be answered, and the answer can be read.
pub fn sip_message(data: &[u8]) {
    if let Ok(Message::Request(request)) = parse(data) {
        let reply = Draft::response(&request, 200, "OK", Some("tag")).to_bytes();
        assert!(parse(&reply).is_ok(), "our own response cannot be read: {}", text(&reply));
        bodies(&request.common);
    }
}

/// The parts of a body lie in it, and are no more than they may be.
fn bodies(message: &Common) {
    let Ok(Some(body)) = Body::of(message, "") else { return };
    let leaves = body.leaves();
    assert!(leaves.len() <= MAX_PARTS, "{} parts", leaves.len());
    assert!(leaves.iter().map(|p| p.data.len()).sum::<usize>() <= message.body.len());
    let read = |p: &&Part<'_>| p.content().is_none_or(|c| c.len() <= p.data.len());
    assert!(leaves.iter().all(read), "a part grows");
    assert!(body.sessions().len() <= leaves.len());
    let beyond = body.is_beyond(&|_| false);
    assert!(!beyond || leaves.iter().any(|p| p.required == Some(true)) || matches!(body, Body::Multi { .. }));
}

/// What is written back reads the same.
pub fn uri(data: &[u8]) {
    let Ok(uri) = Uri::parse(&text(data)) else { return };
    let again = Uri::parse(&uri.to_string());
    assert_eq!(again.as_ref(), Ok(&uri), "{uri}");
    let _user = uri.user();
    if let Some(sip) = uri.sip() {
        let _hop = branchline::sip::flow::next_hop(sip);
    }
}

/// The first byte chooses the header.
pub fn typed_headers(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    let text = text(rest);
    let mut headers = Headers::default();
    match choice % 8 {
        0 => {
            if let Ok(v) = Via::parse(&text) {
                assert_eq!(Via::parse(&v.to_string()).as_ref(), Ok(&v), "{v}");
            }
        }
        1 => {
            if let Ok(n) = NameAddr::parse(&text) {
                assert_eq!(NameAddr::parse(&n.to_string()).as_ref(), Ok(&n), "{n}");
            }
        }
        2 => {
            let _list = NameAddr::parse_list(&text);
        }
        3 => {
            if let Ok(p) = Params::parse(&text) {
                assert_eq!(Params::parse(p.to_string().trim_start_matches(';')).as_ref(), Ok(&p), "{p}");
            }
        }
        4 => {
            let _replaces = Replaces::parse(&text);
        }
        5 => {
            let _refer = ReferTo::parse(&text);
        }
        6 => {
            headers.push("Session-Expires", text.as_str());
            headers.push("Min-SE", text.as_str());
            let _interval = (SessionExpires::of(&headers), session_timer::answer(&headers));
        }
        _ => {
            if let Some(c) = Crypto::parse(&text) {
                assert_eq!(Crypto::parse(&c.to_string()), Some(c));
            }
        }
    }
}

fn local(srtp: Srtp) -> Local {
    let keys = Some(Box::new(OurKeys::random(&mut Rng::from_number(1))));
    Local { srtp, keys, offers_keys: true, ..Local::at(IpAddr::from([10, 0, 0, 1]), 4000) }
}

/// An offer that is taken gets an answer that can be read and that its other end agrees with.
pub fn session(data: &[u8]) {
    let Ok(offer) = Description::parse(data) else { return };
    let far = IpAddr::from([10, 0, 0, 2]);
    for srtp in [Srtp::Off, Srtp::Optional, Srtp::Required] {
        let mut ours = local(srtp);
        if let Ok((answer, agreed)) = sdp::answer(&offer, &ours, Codec::ALL, Direction::SendRecv, far) {
            let back = Description::parse(answer.as_bytes()).expect("our answer can be read");
            assert_eq!(back.lines.len(), offer.lines.len(), "{answer}");
            assert_eq!(back.formats.first().map(|f| f.payload_type), Some(agreed.payload_out), "{answer}");
            assert!((10..=60).contains(&agreed.ptime), "{agreed:?}");
            ours.follow(&offer);
            let again = sdp::offer_again(&mut ours, &agreed, Direction::SendOnly);
            assert!(Description::parse(again.as_bytes()).is_ok(), "{again}");
        }
        let _accepted = sdp::accept(&offer, &ours, Codec::ALL, true, far);
    }
}

/// A stream of packets, each after two bytes of length, through reception and player; the first byte picks the codec
/// and the leg's rate.
pub fn rtp(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let Some(codec) = Codec::ALL.get(usize::from(first % 4)).copied() else { return };
    let leg_rate = if first / 4 % 2 == 0 { codec.sample_rate() } else { 8000 };
    let mut playout = Playout::new(codec, leg_rate);
    let mut now = 1_000_000_000u64;
    let mut frame = [0; 960];
    let mut reception = Reception::default();
    let mut lock = SourceLock::new(([10, 0, 0, 2], 4000).into(), None);
    let mut sources = Sources::default();
    let mut rest = data;
    while let Some((head, after)) = rest.split_first_chunk::<2>() {
        let len = usize::from(u16::from_be_bytes(*head) % 2000).min(after.len());
        let (packet, next) = after.split_at(len);
        rest = next;
        if let Ok(p) = Packet::parse(packet) {
            let content = [Content::Audio, Content::Event, Content::Unknown][usize::from(p.payload_type % 3)];
            let _verdict = lock.judge(([10, 0, 0, 2], 4000).into(), p.ssrc, content);
            let (arrival, _digit) = sources.note(p.ssrc, p.sequence);
            if let Some(event) = telephone_event::Event::parse(p.payload) {
                let _digits = sources.event(p.ssrc, arrival, p.timestamp, p.marker, event);
            }
            reception.note(arrival, p.timestamp, now, 8000, true);
            if let Arrival::Begins(sequence) | Arrival::Continues(sequence) = arrival {
                playout.insert(sequence, p.timestamp, Some(codec), p.payload, now);
            }
        }
        now += u64::from(head[0]) * 400_000;
        playout.frame(now, head[1] & 64 != 0, &mut frame[..branchline::dsp::frame_len(leg_rate)]);
        assert!(reception.lost() <= reception.expected());
    }
}

/// Payloads, each after a byte of length, through a decoder: the first byte picks the codec, and what is made up where
/// one is lost.
pub fn decoders(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else { return };
    let Some(codec) = Codec::ALL.get(usize::from(first % 4)).copied() else { return };
    let mut decoder = Decoder::new(codec);
    let mut out = [0i16; 5760];
    while let Some((len, after)) = rest.split_first() {
        let (payload, next) = after.split_at(usize::from(*len).min(after.len()));
        rest = next;
        assert!(decoder.decode(payload, &mut out) <= out.len());
        if len % 7 == 0 {
            decoder.conceal(payload, &mut out[..960]);
        }
        // A frame that does not have room for a whole packet.
        assert!(decoder.decode(payload, &mut out[..160]) <= 160);
    }
}

/// A WAV or MP3 file.
pub fn sound(data: &[u8]) {
    let _read = examine(data.to_vec(), 1 << 18);
}

/// Reports of others.
pub fn rtcp(data: &[u8]) {
    if let Some(block) = reports::parse(data, 7).and_then(|r| r.about_us) {
        let _ms = reports::round_trip_ms(&block, u64::MAX);
    }
}

/// The first byte chooses the suite, the second whether it is RTP. Bytes that we have not encrypted are refused.
pub fn srtp(data: &[u8]) {
    let [choice, kind, rest @ ..] = data else { return };
    let suite = Suite::ALL[usize::from(*choice) % Suite::ALL.len()];
    let key = MasterKey::random(suite, &mut Rng::from_number(1));
    let (Some(mut ours), Some(mut theirs)) = (Context::new(&key), Context::new(&key)) else { return };
    let mut buffer = [0u8; 1500];
    let len = rest.len().min(buffer.len());
    buffer[..len].copy_from_slice(&rest[..len]);
    let mut copy = buffer;
    let taken =
        if kind & 1 == 0 { theirs.unprotect(&mut copy, len) } else { theirs.unprotect_rtcp(&mut copy, len) };
    assert!(taken.is_err(), "made-up bytes were taken for authentic");
    let sealed =
        if kind & 1 == 0 { ours.protect(&mut buffer, len) } else { ours.protect_rtcp(&mut buffer, len) };
    if let Ok(n) = sealed {
        let opened = if kind & 1 == 0 {
            theirs.unprotect(&mut buffer, n)
        } else {
            theirs.unprotect_rtcp(&mut buffer, n)
        };
        assert_eq!(opened, Ok(len));
        assert_eq!(buffer[..len], rest[..len]);
    }
}

/// Challenges of servers, and answers to ours.
pub fn challenge(data: &[u8]) {
    let text = text(data);
    let mut headers = Headers::default();
    for line in text.lines().take(8) {
        headers.push("WWW-Authenticate", line);
    }
    let mut state = Authentication::new(Credentials { username: "a\"b".into(), password: "p".into() });
    if state.challenged(Challenge::all(&headers)) {
        let mut draft = Draft::request(&Method::Invite, &Uri::Other("sip:x".into()));
        for (name, value) in state.headers("INVITE", "sip:x", "cnonce") {
            draft.push(name, value);
            assert!(draft.get(name).is_some_and(|v| !v.contains(['\r', '\n'])), "{name}");
        }
    }
    for line in text.lines().take(8) {
        if let Some(answer) = Authorization::parse(line) {
            let _response = expected("0123456789abcdef", "REGISTER", &answer);
        }
    }
}

/// However the bytes are cut, the same messages come out.
pub fn tcp_framing(data: &[u8]) {
    let Some((cut, bytes)) = data.split_first() else { return };
    let whole = frames(bytes, bytes.len().max(1));
    let pieces = frames(bytes, usize::from(*cut).max(1));
    assert_eq!(whole, pieces, "cut every {cut} bytes");
}

fn frames(bytes: &[u8], step: usize) -> Vec<Vec<u8>> {
    let (mut pending, mut out) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(step) {
        pending.extend_from_slice(chunk);
        loop {
            match stream::next_frame(&pending) {
                StreamFrame::More => break,
                StreamFrame::Message(n) => out.push(pending.drain(..n).collect()),
                StreamFrame::Ping(n) | StreamFrame::Skip(n) => {
                    pending.drain(..n);
                }
                StreamFrame::Broken(_) => return out,
            }
        }
    }
    out
}

/// Events of four bytes, each with a byte for its number and its time.
pub fn dtmf_event(data: &[u8]) {
    let (mut receiver, mut sequence) = (EventReceiver::default(), Sequence::default());
    let mut digits = 0;
    for piece in data.chunks(5) {
        let Some((time, event)) = piece.split_first() else { continue };
        if let Some(e) = telephone_event::Event::parse(event) {
            assert_eq!(telephone_event::Event::parse(&e.to_bytes()), Some(e));
            let arrival = sequence.note(u16::from(*time) * 40);
            let told = receiver.packet(arrival, u32::from(*time) * 800, time & 1 == 0, e);
            digits += told.into_iter().flatten().count();
        }
        digits += usize::from(receiver.tick().is_some());
    }
    digits += usize::from(receiver.finish().is_some());
    assert!(digits <= data.len() / 5 * 2 + 1, "{digits} digits");
}

/// A head that is taken lies within what was read.
pub fn http_head(data: &[u8]) {
    if let Verdict::Good(head, len) = judge(data) {
        assert!(len <= data.len() && !head.method.is_empty(), "{head:?}");
    }
}

/// Answers of name servers.
pub fn dns(data: &[u8]) {
    use names::Kind;
    for kind in [Kind::A, Kind::Aaaa, Kind::Srv, Kind::Naptr] {
        let _answer = names::answer(data, 7, "example.com", kind);
    }
    for edns in [false, true] {
        if let Some(q) = names::query(7, &text(data), Kind::Srv, edns) {
            assert!(q.len() < 512);
        }
    }
}

/// A script of datagrams, API calls and time (see [`super::script`]).
pub fn gateway(data: &[u8]) {
    super::script::run(data, Instant::now());
}

//! A minimal caller: raw SIP messages and raw RTP.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use branchline::rtp::packet::header;

use crate::common::Gateway;

/// A caller: its signalling and its media socket.
pub struct Caller {
    sip: UdpSocket,
    pub rtp: UdpSocket,
    gateway: SocketAddr,
    call_id: String,
    /// The gateway's tag, as a parameter.
    tag: String,
    /// The gateway's media address.
    pub media: SocketAddr,
    pub leg: String,
}

pub fn udp(ip: &str) -> UdpSocket {
    let s = UdpSocket::bind((ip, 0)).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    s
}

impl Caller {
    /// Sends a request; `kind` is the Content-Type of its body.
    pub fn request(&self, method: &str, cseq: u32, kind: &str, body: &str) {
        let at = self.sip.local_addr().unwrap();
        let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
        let text = format!(
            "{method} sip:x@{gw} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK{method}{cseq};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:t@{at}>;tag=1\r\nTo: <sip:x@{gw}>{tag}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:t@{at}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.call_id,
            body.len(),
            gw = self.gateway,
            tag = self.tag,
        );
        self.sip.send_to(text.as_bytes(), self.gateway).unwrap();
    }

    pub fn hears(&self, start: &str) -> String {
        let mut buffer = [0u8; 4096];
        loop {
            let n = self.sip.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
            if text.starts_with(start) {
                return text;
            }
        }
    }

    /// Calls and waits for the answer.
    pub fn call(gw: &Gateway) -> Self {
        Self::call_as(gw, "injected")
    }

    /// As [`Self::call`], with this Call-ID.
    pub fn call_as(gw: &Gateway, call_id: &str) -> Self {
        Self::call_in(gw, call_id, "0")
    }

    /// Calls and is rejected at once; returns the response.
    pub fn is_refused(gw: &Gateway, call_id: &str) -> String {
        let c = Self::calling(gw, call_id, "0");
        let answer = c.hears("SIP/2.0 ");
        if answer.starts_with("SIP/2.0 100") { c.hears("SIP/2.0 ") } else { answer }
    }

    fn calling(gw: &Gateway, call_id: &str, format: &str) -> Self {
        let gateway = gw.listen["sip"].as_str().unwrap().parse().unwrap();
        let (sip, rtp) = (udp("127.0.0.1"), udp("127.0.0.1"));
        let c = Self {
            sip,
            rtp,
            gateway,
            call_id: call_id.to_owned(),
            tag: String::new(),
            media: gateway,
            leg: String::new(),
        };
        let port = c.rtp.local_addr().unwrap().port();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP {format}\r\n"
        );
        c.request("INVITE", 1, "application/sdp", &sdp);
        c
    }

    /// As [`Self::call_as`], with this format: payload type, and its attributes.
    pub fn call_in(gw: &Gateway, call_id: &str, format: &str) -> Self {
        let mut c = Self::calling(gw, call_id, format);
        c.hears("SIP/2.0 180");
        let legs = gw.get("/v1/legs").json();
        let ringing = legs.as_array().unwrap().iter().find(|l| l["state"] == "ringing").unwrap();
        c.leg = ringing["id"].as_str().unwrap().to_owned();
        assert_eq!(gw.post(&format!("/v1/legs/{}/answer", c.leg), "").status, 200);
        let answer = c.hears("SIP/2.0 200");
        let line = answer.lines().find(|l| l.starts_with("m=audio ")).unwrap();
        c.media = SocketAddr::new(c.gateway.ip(), line.split(' ').nth(1).unwrap().parse().unwrap());
        let to = answer.lines().find(|l| l.starts_with("To: ")).unwrap();
        c.tag = to.split_once(";tag=").map(|(_, t)| format!(";tag={t}")).unwrap();
        c.request("ACK", 1, "", "");
        c
    }
}

/// A 20 ms packet: at full scale, or silent.
pub fn packet(payload_type: u8, sequence: u16, ssrc: u32, loud: bool) -> Vec<u8> {
    let mut p = header(false, payload_type, sequence, u32::from(sequence) * 160, ssrc).to_vec();
    p.extend((0..160).map(|n| {
        if !loud {
            0xff
        } else if n / 4 % 2 == 0 {
            0x00
        } else {
            0x80
        }
    }));
    p
}

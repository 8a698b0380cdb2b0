//! Our offers, and the part of a description that is ours in offers and answers alike.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::answer::describe;
use super::negotiated::{Direction, Negotiated};
use super::parse::Description;
use super::{DEFAULT_PTIME, DTMF_PAYLOAD_TYPE};
use crate::codec::Codec;

/// Our end of a stream. The session id stays for the life of the dialog, the version counts up with
/// every change (RFC 3264 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    /// Session id of the origin line.
    pub session_id: u64,
    /// Version of the origin line; [`Local::next`] counts it up.
    pub version: u64,
    /// Our address.
    pub address: IpAddr,
    /// Our RTP port; RTCP is the next one.
    pub port: u16,
    /// The other media lines.
    pub frame: Frame,
}

/// The media lines of a session beside our audio, refused, each in its place: every later description has them
/// too (RFC 3264 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Lines before the audio line.
    pub(super) before: String,
    /// Profile of the audio line.
    pub(super) proto: String,
    /// Lines after it.
    pub(super) after: String,
}

impl Default for Frame {
    /// Nothing but audio.
    fn default() -> Self {
        Self { before: String::new(), proto: "RTP/AVP".to_owned(), after: String::new() }
    }
}

impl Description {
    /// The frame of its audio.
    #[must_use]
    pub fn frame(&self) -> Frame {
        let mut frame = Frame::default();
        for (i, line) in self.lines.iter().enumerate() {
            if i == self.audio {
                frame.proto.clone_from(&line.proto);
                continue;
            }
            let side = if i < self.audio { &mut frame.before } else { &mut frame.after };
            // Writing into a String cannot fail.
            let _ok = write!(side, "m={} 0 {} {}\r\n", line.kind, line.proto, line.formats);
        }
        frame
    }
}

impl Local {
    /// The same end, one version on.
    pub fn next(&mut self) {
        self.version += 1;
    }

    /// Everything before the media lines.
    pub(super) fn head(&self) -> String {
        let family = if self.address.is_ipv6() { "IP6" } else { "IP4" };
        let (id, version, address) = (self.session_id, self.version, self.address);
        format!(
            "v=0\r\no=- {id} {version} IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n"
        )
    }
}

/// An offer of `codecs` in their order, with telephone-event.
#[must_use]
pub fn offer(local: &Local, codecs: &[Codec], direction: Direction) -> String {
    let frame = &local.frame;
    let mut out = local.head();
    out.push_str(&frame.before);
    let numbers: Vec<String> = codecs.iter().map(|c| c.payload_type().to_string()).collect();
    // Writing into a String cannot fail.
    let _ok =
        write!(out, "m=audio {} {} {} {DTMF_PAYLOAD_TYPE}\r\n", local.port, frame.proto, numbers.join(" "));
    for codec in codecs {
        let _ok = write!(out, "a=rtpmap:{} {}/{}\r\n", codec.payload_type(), codec.name(), codec.clock());
    }
    let _ok = write!(
        out,
        "a=rtpmap:{DTMF_PAYLOAD_TYPE} telephone-event/8000\r\na=fmtp:{DTMF_PAYLOAD_TYPE} 0-15\r\n\
         a=ptime:{DEFAULT_PTIME}\r\na={}\r\na=rtcp-mux\r\n",
        direction.as_str()
    );
    out.push_str(&frame.after);
    out
}

/// An offer inside a session: the codec and the numbers in use, nothing else (RFC 3264 §8.3.2).
#[must_use]
pub fn offer_again(local: &Local, agreed: &Negotiated, direction: Direction) -> String {
    let ours = Negotiated { payload_out: agreed.payload_in, direction, ..*agreed };
    describe(local, &local.frame, &ours)
}

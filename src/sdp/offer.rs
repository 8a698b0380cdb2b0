//! Our offers, and the parts common to our offers and answers.

use std::fmt::Write as _;

use super::direction::Direction;
use super::dtmf::{DTMF_PAYLOAD_TYPE, DTMF_PAYLOAD_TYPE_48K};
use super::local::{DEFAULT_PTIME, Frame, Local};
use super::negotiated::Negotiated;
use super::numbers::Listed;
use crate::codec::Codec;

/// The audio part of our description.
pub(super) struct Audio {
    pub(super) codecs: Vec<Listed>,
    /// Payload types and clock rates of telephone events.
    pub(super) events: Vec<(u8, u32)>,
    pub(super) direction: Direction,
    pub(super) rtcp_mux: bool,
    /// Values of `a=crypto`.
    pub(super) keys: Vec<String>,
}

/// A description with this audio part.
pub(super) fn describe(local: &Local, frame: &Frame, audio: &Audio) -> String {
    let mut out = local.head();
    out.push_str(&frame.before);
    let codecs = audio.codecs.iter().map(|l| l.payload_type);
    let numbers: Vec<String> =
        codecs.chain(audio.events.iter().map(|(n, _)| *n)).map(|n| n.to_string()).collect();
    // Writing into a String cannot fail.
    let _ok = write!(out, "m=audio {} {} {}\r\n", local.port, frame.proto, numbers.join(" "));
    for Listed { codec, payload_type, clock } in &audio.codecs {
        let (name, channels) = (codec.name(), codec.channels());
        let _ok = write!(out, "a=rtpmap:{payload_type} {name}/{clock}{channels}\r\n");
        if let Some(parameters) = codec.fmtp() {
            let _ok = write!(out, "a=fmtp:{payload_type} {parameters}\r\n");
        }
    }
    for (n, clock) in &audio.events {
        let _ok = write!(out, "a=rtpmap:{n} telephone-event/{clock}\r\na=fmtp:{n} 0-15\r\n");
    }
    let _ok = write!(out, "a=ptime:{DEFAULT_PTIME}\r\na={}\r\n", audio.direction.as_str());
    if audio.rtcp_mux {
        out.push_str("a=rtcp-mux\r\n");
    }
    for line in &audio.keys {
        let _ok = write!(out, "a=crypto:{line}\r\n");
    }
    out.push_str(&frame.after);
    out
}

/// An offer of `codecs` in order of preference, with telephone-event for each of their clock rates (RFC 4733
/// §2.1). Numbers used by either end in this session keep their meaning (RFC 3264 §8.3.2).
#[must_use]
pub fn offer(local: &mut Local, codecs: &[Codec], direction: Direction) -> String {
    let codecs: Vec<Listed> = codecs.iter().filter_map(|c| local.numbers.of_codec(*c)).collect();
    let events = events(local, &codecs, None);
    let keys = local.keys.iter().filter(|_| local.offers_keys).flat_map(|k| k.offer());
    let keys = keys.map(|line| line.to_string()).collect();
    describe(local, &local.frame, &Audio { codecs, events, direction, rtcp_mux: true, keys })
}

/// Telephone events to offer: one per clock rate of the codecs, and the one in use.
fn events(local: &mut Local, codecs: &[Listed], in_use: Option<u32>) -> Vec<(u8, u32)> {
    let mut clocks: Vec<u32> = codecs.iter().map(|l| l.codec.clock()).chain(in_use).collect();
    clocks.sort_unstable_by_key(|clock| std::cmp::Reverse(*clock));
    clocks.dedup();
    let usual = |clock| if clock == 48_000 { DTMF_PAYLOAD_TYPE_48K } else { DTMF_PAYLOAD_TYPE };
    clocks.into_iter().filter_map(|c| local.numbers.of_events(c, usual(c))).collect()
}

/// An offer within a session: the negotiated codecs with their numbers, the one in use first (RFC 3264
/// §8.3.2).
#[must_use]
pub fn offer_again(local: &mut Local, agreed: &Negotiated, direction: Direction) -> String {
    local.remember(agreed);
    let others = agreed.formats.codecs().filter(|c| *c != agreed.codec);
    let codecs = std::iter::once(agreed.codec).chain(others);
    let codecs: Vec<Listed> = codecs.filter_map(|c| local.numbers.of_codec(c)).collect();
    let events = agreed.dtmf.map(|d| events(local, &codecs, Some(d.clock))).unwrap_or_default();
    let keys = agreed.srtp.iter().map(|k| k.line()).collect();
    describe(local, &local.frame, &Audio { codecs, events, direction, rtcp_mux: agreed.rtcp_mux, keys })
}

impl Local {
    /// Keeps the numbers of a negotiated stream before it is replaced.
    pub fn remember(&mut self, agreed: &Negotiated) {
        let clock = agreed.dtmf.map_or(agreed.codec.clock(), |d| d.clock);
        self.numbers.note_agreed(&agreed.formats, clock);
    }
}

//! Our answers (RFC 3264 §6): only what was offered, other streams refused, in their places.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::negotiated::{Direction, Negotiated, build, first_common};
use super::offer::{Frame, Local};
use super::parse::{Description, SdpError};
use crate::codec::Codec;

/// Answers `offer` with the first of its codecs that `allowed` holds. `wanted` is the most we want to do;
/// the offer can only narrow it. `fallback` stands in for an address given by name.
///
/// # Errors
/// No codec in common, or an address of the wrong family.
pub fn answer(
    offer: &Description,
    local: &Local,
    allowed: &[Codec],
    wanted: Direction,
    fallback: IpAddr,
) -> Result<(String, Negotiated), SdpError> {
    let (format, codec) = first_common(&offer.formats, allowed).ok_or(SdpError::NoCodec)?;
    if offer.address.is_some_and(|a| a.is_ipv4() != local.address.is_ipv4()) {
        return Err(SdpError::Address);
    }
    let direction = narrow(offer.direction.reversed(), wanted);
    let agreed = build(offer, format, codec, format.payload_type, direction, true, fallback);
    Ok((describe(local, &offer.frame(), &agreed), agreed))
}

/// Our end of what is agreed.
pub(super) fn describe(local: &Local, frame: &Frame, agreed: &Negotiated) -> String {
    let mut out = local.head();
    out.push_str(&frame.before);
    audio(&mut out, local, &frame.proto, agreed);
    out.push_str(&frame.after);
    out
}

fn audio(out: &mut String, local: &Local, proto: &str, agreed: &Negotiated) {
    // Writing into a String cannot fail.
    let (pt, codec) = (agreed.payload_out, agreed.codec);
    let event = agreed.dtmf.map_or_else(String::new, |d| format!(" {}", d.payload_type));
    let _ok = write!(out, "m=audio {} {proto} {pt}{event}\r\n", local.port);
    let _ok = write!(out, "a=rtpmap:{pt} {}/{}\r\n", codec.name(), codec.clock());
    if let Some(d) = agreed.dtmf {
        let n = d.payload_type;
        let _ok = write!(out, "a=rtpmap:{n} telephone-event/{}\r\na=fmtp:{n} 0-15\r\n", d.clock);
    }
    let _ok = write!(out, "a=ptime:{}\r\na={}\r\n", super::DEFAULT_PTIME, agreed.direction.as_str());
    if agreed.rtcp_mux {
        out.push_str("a=rtcp-mux\r\n");
    }
}

fn narrow(allowed: Direction, wanted: Direction) -> Direction {
    match (allowed.sends() && wanted.sends(), allowed.receives() && wanted.receives()) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::super::negotiated::{Dtmf, accept};
    use super::super::offer::{offer, offer_again};
    use super::*;

    fn local() -> Local {
        Local {
            session_id: 7,
            version: 1,
            address: "10.0.0.1".parse().unwrap(),
            port: 4000,
            frame: Frame::default(),
        }
    }

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    const PHONE: &str = "v=0\r\no=u 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
        m=video 5000 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n\
        m=audio 6000 RTP/AVP 9 8 0 97 13\r\na=rtpmap:97 telephone-event/8000\r\na=ptime:30\r\na=sendonly\r\n";

    #[test]
    fn an_answer_takes_the_offerers_first_codec_and_refuses_other_streams() {
        let theirs = Description::parse(PHONE.as_bytes()).unwrap();
        let (text, n) = answer(&theirs, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
        assert_eq!((n.codec, n.payload_out, n.ptime, n.direction), (Codec::Pcma, 8, 30, Direction::RecvOnly));
        assert_eq!(n.dtmf, Some(Dtmf { payload_type: 97, clock: 8000 }));
        assert_eq!((n.rtp, n.rtcp), ("10.0.0.2:6000".parse().unwrap(), "10.0.0.2:6001".parse().unwrap()));
        assert!(text.contains("\r\nm=video 0 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 8 97\r\n"), "{text}");
        assert!(text.contains("a=recvonly\r\n") && !text.contains("rtcp-mux"), "{text}");
        assert!(Description::parse(text.as_bytes()).is_ok());
        // Every later description of ours has the same lines in the same places.
        let ours = Local { frame: theirs.frame(), ..local() };
        let lines = "\r\nm=video 0 RTP/AVP 96\r\nm=audio 4000 RTP/AVP ";
        for (text, formats) in [
            (offer_again(&ours, &n, Direction::SendOnly), "8 97\r\n"),
            (offer(&ours, Codec::ALL, Direction::SendOnly), "0 8 101\r\n"),
        ] {
            assert!(text.contains(&format!("{lines}{formats}")) && text.contains("a=sendonly\r\n"), "{text}");
        }
    }

    #[test]
    fn what_was_not_offered_is_not_answered() {
        let plain = "v=0\r\no=u 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\na=rtcp-mux\r\n";
        let offer = Description::parse(plain.as_bytes()).unwrap();
        let (text, n) = answer(&offer, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
        assert_eq!((n.dtmf, n.rtcp_mux, n.rtcp.port()), (None, true, 6000));
        assert!(!text.contains("telephone-event") && text.contains("a=rtcp-mux"), "{text}");
        let none = answer(&offer, &local(), &[Codec::Pcma], Direction::SendRecv, ip("10.0.0.9"));
        assert_eq!(none.unwrap_err(), SdpError::NoCodec);
    }

    #[test]
    fn our_offer_and_its_answer_agree_on_both_sides() {
        let ours = offer(&local(), &[Codec::Pcma, Codec::Pcmu], Direction::SendRecv);
        let theirs = Description::parse(ours.as_bytes()).unwrap();
        let far =
            Local { session_id: 9, version: 1, address: ip("10.0.0.3"), port: 7000, frame: Frame::default() };
        let (text, n) = answer(&theirs, &far, &[Codec::Pcmu], Direction::SendRecv, ip("10.0.0.9")).unwrap();
        let back = Description::parse(text.as_bytes()).unwrap();
        let m = accept(&back, &[Codec::Pcma, Codec::Pcmu], true, ip("10.0.0.9")).unwrap();
        assert_eq!((n.codec, m.codec, m.payload_in, m.rtp.port()), (Codec::Pcmu, Codec::Pcmu, 0, 7000));
        assert_eq!((n.rtcp_mux, m.rtcp_mux, m.dtmf, n.dtmf.is_some()), (true, true, n.dtmf, true));
    }

    #[test]
    fn hold_in_all_its_forms_is_seen() {
        let with = |c: &str, a: &str| {
            let text = format!(
                "v=0\r\no=u 1 1 IN IP4 1.1.1.1\r\ns=-\r\nc=IN IP4 {c}\r\nt=0 0\r\nm=audio 6 RTP/AVP 0\r\n{a}"
            );
            let offer = Description::parse(text.as_bytes()).unwrap();
            answer(&offer, &local(), Codec::ALL, Direction::SendRecv, ip("1.1.1.1")).unwrap().1.direction
        };
        assert_eq!(with("1.1.1.1", ""), Direction::SendRecv);
        assert_eq!(with("1.1.1.1", "a=sendonly\r\n"), Direction::RecvOnly);
        assert_eq!(with("1.1.1.1", "a=recvonly\r\n"), Direction::SendOnly);
        assert_eq!(with("1.1.1.1", "a=inactive\r\n"), Direction::Inactive);
        assert_eq!(with("0.0.0.0", ""), Direction::RecvOnly);
    }

    #[test]
    fn unusable_descriptions_say_why() {
        let parse = |m: &str| {
            let text = format!("v=0\r\no=u 1 1 IN IP4 1.1.1.1\r\ns=-\r\nc=IN IP4 1.1.1.1\r\nt=0 0\r\n{m}");
            Description::parse(text.as_bytes()).unwrap_err()
        };
        assert_eq!(parse(""), SdpError::NoAudio);
        assert_eq!(parse("m=audio 0 RTP/AVP 0\r\n"), SdpError::NoAudio);
        assert_eq!(parse("m=video 5 RTP/AVP 0\r\n"), SdpError::NoAudio);
        assert_eq!(parse("m=audio 5 RTP/SAVP 0\r\n"), SdpError::Profile("RTP/SAVP".into()));
        assert_eq!(Description::parse(b"hello").unwrap_err(), SdpError::Malformed);
        assert_eq!(Description::parse(b"").unwrap_err(), SdpError::Malformed);
        let no_c = b"v=0\r\no=u 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=audio 5 RTP/AVP 0\r\n";
        assert_eq!(Description::parse(no_c).unwrap_err(), SdpError::Malformed);
    }
}

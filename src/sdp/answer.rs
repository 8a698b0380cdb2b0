//! Our answers (RFC 3264 §6): only what was offered, with other streams rejected in their positions.

use std::net::IpAddr;

use super::description::Description;
use super::direction::Direction;
use super::error::SdpError;
use super::local::Local;
use super::negotiated::{Keyed, Negotiated, answering, build};
use super::numbers::Listed;
use super::offer::{Audio, describe};
use crate::codec::Codec;

/// Answers `offer` with the first of its codecs contained in `allowed`. `wanted` is the widest direction; the
/// offer can only narrow it. `fallback` replaces an address given by host name.
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
    let (format, codec) = offer.first_common(allowed).ok_or(SdpError::NoCodec)?;
    let reaches = |ip: IpAddr| ip.is_unspecified() || ip.is_ipv4() == local.address.is_ipv4();
    if !offer.address.is_none_or(reaches) {
        return Err(SdpError::Address);
    }
    let direction = narrow(offer.direction.reversed(), wanted);
    let srtp = Keyed::answering(offer, local)?;
    let agreed = build(offer, format, codec, direction, true, fallback);
    let agreed = Negotiated { srtp, formats: answering(offer, format, codec), ..agreed };
    let audio = Audio {
        codecs: vec![Listed { codec, payload_type: format.payload_type, clock: format.clock }],
        events: agreed.dtmf.iter().map(|d| (d.payload_type, d.clock)).collect(),
        direction,
        rtcp_mux: agreed.rtcp_mux,
        keys: srtp.iter().map(Keyed::line).collect(),
    };
    Ok((describe(local, &offer.frame(), &audio), agreed))
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
    use super::super::{Able, Dtmf, Frame, Meaning, accept, offer, offer_again};
    use super::*;
    use crate::base::rng::Rng;
    use crate::codec::opus::OpusFmtp;
    use crate::wire::crypto::{OurKeys, Srtp};

    fn local() -> Local {
        Local { session_id: 7, ..Local::at(ip("10.0.0.1"), 4000) }
    }

    fn keyed(seed: u64, srtp: Srtp) -> Local {
        let keys = Some(Box::new(OurKeys::random(&mut Rng::from_number(seed))));
        Local { srtp, keys, offers_keys: true, frame: Frame::to_offer(srtp), ..local() }
    }

    fn able(srtp: Srtp) -> Able<'static> {
        Able { srtp, codecs: Codec::ALL, v4: true, v6: false }
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
        assert_eq!((n.codec, n.payload_out, n.ptime, n.direction), (Codec::G722, 9, 30, Direction::RecvOnly));
        assert_eq!(n.dtmf, Some(Dtmf::new(97, 8000)));
        assert_eq!((n.rtp, n.rtcp), ("10.0.0.2:6000".parse().unwrap(), "10.0.0.2:6001".parse().unwrap()));
        assert!(text.contains("\r\nm=video 0 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 9 97\r\n"), "{text}");
        assert!(text.contains("a=recvonly\r\n") && !text.contains("rtcp-mux"), "{text}");
        assert!(Description::parse(text.as_bytes()).is_ok());
        // All later descriptions of ours have the same lines in the same positions.
        let mut ours = local();
        ours.follow(&theirs);
        let lines = "\r\nm=video 0 RTP/AVP 96\r\nm=audio 4000 RTP/AVP ";
        for (text, formats) in [
            (offer_again(&mut ours, &n, Direction::SendOnly), "9 97\r\n"),
            (offer(&mut ours, Codec::ALL, Direction::SendOnly), "111 9 0 8 100 97\r\n"),
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
        let mut us = local();
        let ours = offer(&mut us, &[Codec::Pcma, Codec::Pcmu], Direction::SendRecv);
        let theirs = Description::parse(ours.as_bytes()).unwrap();
        let far = Local { session_id: 9, version: 1, address: ip("10.0.0.3"), port: 7000, ..local() };
        let (text, n) = answer(&theirs, &far, &[Codec::Pcmu], Direction::SendRecv, ip("10.0.0.9")).unwrap();
        let back = Description::parse(text.as_bytes()).unwrap();
        let m = accept(&back, &us, &[Codec::Pcma, Codec::Pcmu], true, ip("10.0.0.9")).unwrap();
        assert_eq!((n.codec, m.codec, m.payload_out, m.rtp.port()), (Codec::Pcmu, Codec::Pcmu, 0, 7000));
        assert_eq!((n.rtcp_mux, m.rtcp_mux, m.dtmf, n.dtmf.is_some()), (true, true, n.dtmf, true));
    }

    #[test]
    fn events_come_under_the_number_of_the_answer_or_of_our_offer() {
        let renumbered = "v=0\r\no=u 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n\
            m=audio 6000 RTP/AVP 8 96\r\na=rtpmap:96 telephone-event/8000\r\n";
        let theirs = Description::parse(renumbered.as_bytes()).unwrap();
        let mut ours = local();
        let _offer = offer(&mut ours, Codec::ALL, Direction::SendRecv);
        let m = accept(&theirs, &ours, Codec::ALL, true, ip("10.0.0.9")).unwrap();
        let is_event = |n: &Negotiated, pt: u8| n.formats.meaning(pt) == Some(Meaning::Event);
        assert!(
            [96, 100, 101].into_iter().all(|pt| is_event(&m, pt)) && !is_event(&m, 97) && !is_event(&m, 8)
        );
        // Only theirs if they have offered some; none otherwise.
        let (_, n) = answer(&theirs, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
        assert!(is_event(&n, 96) && !is_event(&n, 101));
        let none = renumbered.replace(" 96\r\na=rtpmap:96 telephone-event/8000", "");
        let theirs = Description::parse(none.as_bytes()).unwrap();
        assert!(!is_event(&accept(&theirs, &ours, Codec::ALL, true, ip("10.0.0.9")).unwrap(), 101));
    }

    #[test]
    fn what_has_to_be_encrypted_says_so_in_every_offer() {
        let mut ours = keyed(1, Srtp::Required);
        let first = offer(&mut ours, &[Codec::Pcma], Direction::SendRecv);
        let theirs = Description::parse(first.as_bytes()).unwrap();
        let far = keyed(2, Srtp::Optional);
        let far = Local { frame: theirs.frame(), ..far };
        let (text, _) = answer(&theirs, &far, Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
        let back = Description::parse(text.as_bytes()).unwrap();
        let m = accept(&back, &ours, &[Codec::Pcma], true, ip("10.0.0.9")).unwrap();
        let hold = offer_again(&mut ours, &m, Direction::SendOnly);
        for text in [&first, &text, &hold] {
            assert!(text.contains("RTP/SAVP 8") && text.contains("a=crypto:"), "{text}");
        }
    }

    #[test]
    fn of_two_audio_streams_the_one_that_may_be_counts() {
        let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
        let unknown = key.replace("AES_CM_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_80");
        let head = "v=0\r\no=u 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n";
        let (secret, plain) = ("m=audio 6000 RTP/SAVP 0\r\n", "m=audio 6002 RTP/AVP 0\r\n");
        let both = format!("{head}{secret}{key}{plain}");
        let turned = format!("{head}{plain}{secret}{key}");
        let strange = format!("{head}{secret}{unknown}{plain}");
        for (text, srtp, port) in [
            (&both, Srtp::Optional, 6000),
            (&both, Srtp::Required, 6000),
            (&both, Srtp::Off, 6002),
            (&turned, Srtp::Optional, 6002),
            (&turned, Srtp::Required, 6000),
            (&strange, Srtp::Optional, 6002),
            (&strange, Srtp::Off, 6002),
        ] {
            let theirs = Description::parse_for(text.as_bytes(), &able(srtp)).unwrap();
            assert_eq!(theirs.port, port, "{srtp:?}: {text}");
            let ours = Local { frame: theirs.frame(), ..keyed(3, srtp) };
            let (answer, _) =
                answer(&theirs, &ours, Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
            // Both lines are answered, one of them with port 0.
            assert_eq!(answer.matches("m=audio ").count(), 2, "{answer}");
            assert_eq!(answer.matches("m=audio 0 ").count(), 1, "{answer}");
        }
        // If none is usable, the error is that of the first.
        let none = Description::parse_for(strange.as_bytes(), &able(Srtp::Required));
        assert_eq!(none, Err(SdpError::NoKeys));
    }

    #[test]
    fn what_the_far_end_wants_of_opus_is_heard() {
        let head = "v=0\r\no=u 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n";
        let theirs = |fmtp: &str| {
            let audio = "m=audio 6000 RTP/AVP 96 97 98\r\na=rtpmap:96 OPUS/48000/2\r\na=rtpmap:97 telephone-event/8000\r\n\
                a=rtpmap:98 telephone-event/48000\r\na=ptime:30\r\n";
            let text = format!("{head}{audio}a=fmtp:96 {fmtp}\r\n");
            let offer = Description::parse(text.as_bytes()).unwrap();
            answer(&offer, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap()
        };
        let (text, n) =
            theirs("useinbandfec=1; usedtx=1;maxaveragebitrate=20000; maxplaybackrate=16000;cbr=1; x");
        assert_eq!((n.codec, n.payload_out, n.ptime), (Codec::Opus, 96, 20));
        assert_eq!(n.dtmf, Some(Dtmf::new(98, 48_000)));
        let wishes = OpusFmtp { fec: true, dtx: true, cbr: true, bitrate: 20_000, playback_rate: 16_000 };
        assert_eq!(n.wishes, wishes);
        assert!(
            text.contains("a=rtpmap:96 opus/48000/2\r\na=fmtp:96 minptime=20; useinbandfec=1;"),
            "{text}"
        );
        let (_, n) = theirs("maxaveragebitrate=9999999999999;maxplaybackrate=1;usedtx=2;=;;useinbandfec");
        assert_eq!(n.wishes, OpusFmtp { playback_rate: 8000, ..OpusFmtp::default() });
    }

    /// Our offer, the answer of `far`, and the result on each side.
    fn exchange(ours: &Local, far: &Local) -> (String, Result<(Negotiated, Negotiated), SdpError>) {
        let mut ours = ours.clone();
        let text = offer(&mut ours, Codec::ALL, Direction::SendRecv);
        let theirs = Description::parse(text.as_bytes()).unwrap();
        let agreed =
            answer(&theirs, far, Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).and_then(|(back, n)| {
                let back = Description::parse(back.as_bytes()).unwrap();
                Ok((accept(&back, &ours, Codec::ALL, true, ip("10.0.0.9"))?, n))
            });
        (text, agreed)
    }

    #[test]
    fn keys_are_agreed_on_where_both_ends_may() {
        let (text, agreed) = exchange(&keyed(1, Srtp::Optional), &keyed(2, Srtp::Optional));
        assert!(text.contains("RTP/AVP 111 9 0") && text.matches("a=crypto:").count() == 4, "{text}");
        let (a, b) = agreed.unwrap();
        let (a, b) = (a.srtp.unwrap(), b.srtp.unwrap());
        assert_eq!((a.ours, a.theirs, a.tag), (b.theirs, b.ours, b.tag));
        let (text, agreed) = exchange(&keyed(1, Srtp::Required), &keyed(2, Srtp::Optional));
        assert!(text.contains("RTP/SAVP 111 9 0") && agreed.unwrap().0.srtp.is_some(), "{text}");
        // A later offer of a session repeats its key.
        let (a, _) = exchange(&keyed(1, Srtp::Optional), &keyed(2, Srtp::Optional)).1.unwrap();
        let again = offer_again(&mut keyed(1, Srtp::Optional), &a, Direction::SendOnly);
        assert_eq!(again.matches("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:").count(), 1, "{again}");
    }

    #[test]
    fn keys_are_left_out_or_insisted_on() {
        let plain = |l: Local| Local { offers_keys: false, ..l };
        let (text, agreed) = exchange(&plain(keyed(1, Srtp::Optional)), &keyed(2, Srtp::Optional));
        assert!(!text.contains("crypto") && agreed.unwrap().1.srtp.is_none());
        assert!(exchange(&keyed(1, Srtp::Optional), &local()).1.unwrap().0.srtp.is_none(), "not taken");
        let refused = |ours: &Local, far: &Local| exchange(ours, far).1.unwrap_err();
        assert_eq!(refused(&local(), &keyed(2, Srtp::Required)), SdpError::Profile("RTP/AVP".into()));
        assert_eq!(refused(&keyed(1, Srtp::Required), &local()), SdpError::Profile("RTP/SAVP".into()));
        let text = offer(&mut keyed(1, Srtp::Required), Codec::ALL, Direction::SendRecv);
        let broken = Description::parse(text.replace("inline:", "outline:").as_bytes()).unwrap();
        let answered =
            answer(&broken, &keyed(2, Srtp::Optional), Codec::ALL, Direction::SendRecv, ip("1.1.1.1"));
        assert_eq!(answered.unwrap_err(), SdpError::NoKeys);
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
        assert_eq!(parse("m=audio 5 UDP/TLS/RTP/SAVPF 0\r\n"), SdpError::Profile("UDP/TLS/RTP/SAVPF".into()));
        assert_eq!(Description::parse(b"hello").unwrap_err(), SdpError::Malformed);
        assert_eq!(Description::parse(b"").unwrap_err(), SdpError::Malformed);
        let no_c = b"v=0\r\no=u 1 1 IN IP4 1.1.1.1\r\ns=-\r\nt=0 0\r\nm=audio 5 RTP/AVP 0\r\n";
        assert_eq!(Description::parse(no_c).unwrap_err(), SdpError::Malformed);
    }
}

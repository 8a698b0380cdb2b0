//! Offers and answers with several codecs, payload types or streams.

use std::net::IpAddr;

use super::{
    Able, Description, Direction, Dtmf, Formats, Local, Meaning, Negotiated, SdpError, accept, answer, offer,
    offer_again,
};
use crate::codec::Codec;
use crate::wire::crypto::Srtp;

fn local() -> Local {
    Local::at(ip("10.0.0.1"), 4000)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

const HEAD: &str = "v=0\r\no=u 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n";

fn described(media: &str) -> Description {
    Description::parse(format!("{HEAD}{media}").as_bytes()).unwrap()
}

/// Our offer with all codecs, after this answer.
fn accepted(answer: &str) -> (Local, Negotiated) {
    let mut ours = local();
    let _offer = offer(&mut ours, Codec::ALL, Direction::SendRecv);
    let agreed = accept(&described(answer), &ours, Codec::ALL, true, ip("10.0.0.9")).unwrap();
    (ours, agreed)
}

fn taken(offer: &str) -> (String, Negotiated, Local) {
    let mut ours = local();
    let theirs = described(offer);
    let (text, agreed) = answer(&theirs, &ours, Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
    ours.follow(&theirs);
    (text, agreed, ours)
}

/// Meaning of a payload type.
fn codec(formats: &Formats, number: u8) -> Option<Codec> {
    if let Some(Meaning::Audio(codec)) = formats.meaning(number) { Some(codec) } else { None }
}

/// The media line of a description.
fn line(text: &str) -> &str {
    text.lines().find(|l| l.starts_with("m=audio")).unwrap()
}

#[test]
fn every_format_of_an_answer_may_come() {
    let (_, n) = accepted(
        "m=audio 6000 RTP/AVP 0 8 9 96 101 97 18\r\na=rtpmap:96 OPUS/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
         a=rtpmap:97 CN/16000\r\na=rtpmap:18 G729/8000\r\n",
    );
    assert_eq!((n.codec, n.payload_out), (Codec::Pcmu, 0));
    for (number, want) in
        [(0, Codec::Pcmu), (8, Codec::Pcma), (9, Codec::G722), (96, Codec::Opus), (111, Codec::Opus)]
    {
        assert_eq!(codec(&n.formats, number), Some(want), "{number}");
    }
    assert_eq!([101, 100].map(|pt| n.formats.meaning(pt)), [Some(Meaning::Event); 2]);
    assert_eq!([97, 13].map(|pt| n.formats.meaning(pt)), [Some(Meaning::Noise); 2]);
    assert_eq!(n.formats.meaning(18), None, "what we have not offered");
    // Codecs missing in the answer must not be received.
    let (_, n) = accepted("m=audio 6000 RTP/AVP 8 0\r\n");
    assert_eq!(
        [8, 0, 9, 111, 101].map(|pt| n.formats.meaning(pt).is_some()),
        [true, true, false, false, false]
    );
}

#[test]
fn a_number_of_ours_goes_before_the_same_of_the_answer() {
    // The far end swaps our numbers of Opus and events.
    let (_, n) = accepted(
        "m=audio 6000 RTP/AVP 101 111\r\na=rtpmap:101 opus/48000/2\r\na=rtpmap:111 telephone-event/48000\r\n",
    );
    assert_eq!((n.payload_out, codec(&n.formats, 111)), (101, Some(Codec::Opus)), "as we have offered it");
    assert_eq!(codec(&n.formats, 101), Some(Codec::Opus));
    assert_eq!(n.formats.meaning(100), Some(Meaning::Event));
}

#[test]
fn static_codecs_have_dynamic_numbers_too_and_names_any_case() {
    let (text, n, _) = taken(
        "m=audio 6000 RTP/AVP 97 98 99\r\na=RTPMAP:97 G729/8000\r\na=rtpmap:98 pcma/8000/1\r\n\
         a=rtpmap:99  Telephone-Event/8000\r\na=FMTP:99 0-9\r\n",
    );
    assert_eq!((n.codec, n.payload_out, line(&text)), (Codec::Pcma, 98, "m=audio 4000 RTP/AVP 98 99"));
    assert_eq!(n.dtmf, Some(Dtmf { events: 0x03ff, ..Dtmf::new(99, 8000) }));
    assert!(text.contains("a=rtpmap:98 PCMA/8000\r\n"), "{text}");
    // Other clock rates or more channels mean other codecs.
    for other in ["PCMU/16000", "PCMU/8000/2", "opus/16000", "G722/48000", "PCMA"] {
        let text = format!("{HEAD}m=audio 6000 RTP/AVP 96\r\na=rtpmap:96 {other}\r\n");
        let able = Able { srtp: Srtp::Off, codecs: Codec::ALL, v4: true, v6: true };
        assert_eq!(Description::parse_for(text.as_bytes(), &able), Err(SdpError::NoCodec), "{other}");
    }
}

#[test]
fn g722_by_its_sampling_rate_is_answered_so() {
    for (number, mapped) in [(9, "G722/16000"), (96, "g722/16000"), (9, "G722/8000"), (9, "G722/16000/1")] {
        let (text, n, mut ours) =
            taken(&format!("m=audio 6000 RTP/AVP {number} 0\r\na=rtpmap:{number} {mapped}\r\n"));
        let clock = if mapped.contains("16000") { 16_000 } else { 8000 };
        assert_eq!((n.codec, n.payload_out, n.clock), (Codec::G722, number, clock), "{mapped}");
        assert!(text.contains(&format!("a=rtpmap:{number} G722/{clock}\r\n")), "{text}");
        let again = offer_again(&mut ours, &n, Direction::SendRecv);
        assert!(again.contains(&format!("a=rtpmap:{number} G722/{clock}\r\n")), "{again}");
    }
    let (_, n) = accepted("m=audio 6000 RTP/AVP 9\r\na=rtpmap:9 G722/16000\r\n");
    assert_eq!((n.codec, n.clock), (Codec::G722, 16_000), "in an answer as well");
}

/// Dynamic payload types with their attributes.
fn dynamic(text: &str) -> Vec<(u8, String)> {
    let maps = text.lines().filter_map(|l| l.strip_prefix("a=rtpmap:")?.split_once(' '));
    let maps = maps.map(|(n, map)| (n.parse::<u8>().unwrap(), map.to_ascii_lowercase()));
    maps.filter(|(n, _)| *n > 95).collect()
}

#[test]
fn numbers_of_the_session_keep_their_meaning_in_our_offers() {
    for theirs in [
        "m=audio 6000 RTP/AVP 101 0 96\r\na=rtpmap:101 opus/48000/2\r\na=rtpmap:96 telephone-event/48000\r\n",
        "m=audio 6000 RTP/AVP 0 111\r\na=rtpmap:111 telephone-event/8000\r\n",
        "m=audio 6000 RTP/AVP 100 0 127\r\na=rtpmap:100 opus/48000/2\r\na=rtpmap:127 telephone-event/48000\r\n",
        "m=audio 6000 RTP/AVP 0 111 100 101\r\na=rtpmap:111 iLBC/8000\r\na=rtpmap:100 speex/8000\r\na=rtpmap:101 AMR/8000\r\n",
    ] {
        let (_, agreed, mut ours) = taken(theirs);
        let said = dynamic(theirs);
        for text in [
            offer(&mut ours, Codec::ALL, Direction::SendRecv),
            offer_again(&mut ours, &agreed, Direction::SendOnly),
        ] {
            for (n, map) in dynamic(&text) {
                let clash = said.iter().find(|(m, other)| *m == n && *other != map);
                assert_eq!(clash, None, "{theirs} and then {text}");
            }
            let mut numbers: Vec<u8> = dynamic(&text).into_iter().map(|(n, _)| n).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all, "{text}");
        }
    }
}

#[test]
fn our_own_numbers_stay_whatever_the_far_end_does_later() {
    let mut ours = local();
    let first = offer(&mut ours, Codec::ALL, Direction::SendRecv);
    let theirs = described(
        "m=audio 6000 RTP/AVP 96 0 97\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:97 telephone-event/8000\r\n",
    );
    ours.follow(&theirs);
    let later = offer(&mut ours, Codec::ALL, Direction::SendRecv);
    assert_eq!(dynamic(&first), dynamic(&later));
}

#[test]
fn an_offer_in_a_call_has_all_that_was_agreed_and_nothing_else() {
    let (mut ours, n) = accepted(
        "m=audio 6000 RTP/AVP 8 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    let hold = offer_again(&mut ours, &n, Direction::SendOnly);
    assert_eq!(line(&hold), "m=audio 4000 RTP/AVP 8 111 100 101", "the one in use first, under our numbers");
    // Its answer may select another one of them.
    let answer = described("m=audio 6000 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n");
    let offered: Vec<Codec> = n.formats.codecs().collect();
    let n = accept(&answer, &ours, &offered, true, ip("10.0.0.9")).unwrap();
    assert_eq!((n.codec, n.formats.codecs().count()), (Codec::Opus, 1));
}

#[test]
fn packets_are_no_longer_than_the_far_end_takes() {
    for (attributes, pcmu, opus) in [
        ("a=maxptime:10\r\n", 10, 10),
        ("a=maxptime:15\r\n", 10, 10),
        ("a=ptime:40\r\na=maxptime:30\r\n", 30, 20),
        ("a=ptime:60\r\na=maxptime:20\r\n", 20, 20),
        ("a=MaxPTime:10.5\r\n", 10, 10),
        ("a=maxptime:150\r\n", 20, 20),
        ("a=maxptime:0\r\n", 20, 20),
        ("a=ptime:0\r\n", 20, 20),
        ("a=ptime:-20\r\na=maxptime:x\r\n", 20, 20),
        ("a=ptime:50\r\n", 50, 40),
        ("a=ptime:200\r\na=maxptime:200\r\n", 60, 60),
    ] {
        let (_, n) = accepted(&format!("m=audio 6000 RTP/AVP 0\r\n{attributes}"));
        assert_eq!(n.ptime, pcmu, "{attributes}");
        let (_, n) =
            accepted(&format!("m=audio 6000 RTP/AVP 111\r\na=rtpmap:111 opus/48000\r\n{attributes}"));
        assert_eq!(n.ptime, opus, "{attributes}");
    }
    // As a session-level attribute.
    let text = HEAD.replace("t=0 0\r\n", "t=0 0\r\na=maxptime:10\r\n") + "m=audio 6000 RTP/AVP 0\r\n";
    let (_, n) = answer(
        &Description::parse(text.as_bytes()).unwrap(),
        &local(),
        Codec::ALL,
        Direction::SendRecv,
        ip("10.0.0.9"),
    )
    .unwrap();
    assert_eq!(n.ptime, 10);
}

#[test]
fn of_several_audio_lines_the_first_that_can_be_used_is_taken() {
    let usable = "m=audio 6002 RTP/AVP 0\r\n";
    let able = Able { srtp: Srtp::Off, codecs: Codec::ALL, v4: true, v6: false };
    let take = |media: &str| Description::parse_for(format!("{HEAD}{media}").as_bytes(), &able);
    for first in [
        "m=audio 6000 RTP/AVP 18\r\n",
        "m=audio 6000 RTP/AVP 100\r\na=rtpmap:100 AMR/8000\r\n",
        "m=audio 0 RTP/AVP 0\r\n",
        "m=audio 6000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n",
        "m=audio 6000 UDP/TLS/RTP/SAVPF 0\r\n",
        "m=audio 6000 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\n",
        "m=audio 6000 RTP/AVP 0\r\nc=IN IP4 239.1.1.1/32\r\n",
        "m=audio 6000 RTP/AVP 0\r\nc=ATM NSAP 47.0091\r\n",
        "m=video 6000 RTP/AVP 0\r\n",
        "m=audio 6000 RTP/AVP 18\r\nm=image 6004 udptl t38\r\n",
    ] {
        let d = take(&format!("{first}{usable}")).unwrap_or_else(|e| panic!("{first}: {e}"));
        assert_eq!(d.port, 6002, "{first}");
        let (text, _) = answer(&d, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
        let ports: Vec<&str> =
            text.lines().filter(|l| l.starts_with("m=")).map(|l| l.split(' ').nth(1).unwrap()).collect();
        let lines = first.matches("m=").count();
        assert_eq!(ports, [vec!["0"; lines], vec!["4000"]].concat(), "{text}");
        // In the other order only the position differs.
        assert_eq!(take(&format!("{usable}{first}")).unwrap().port, 6002, "{first}");
    }
}

#[test]
fn an_offer_with_nothing_to_take_says_why() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let profile = |p: &str| SdpError::Profile(p.to_owned());
    for (srtp, media, want) in [
        (Srtp::Off, "m=audio 6000 RTP/AVP 18 4\r\n".to_owned(), SdpError::NoCodec),
        (Srtp::Off, "m=audio 0 RTP/AVP 0\r\n".to_owned(), SdpError::NoAudio),
        (Srtp::Off, "m=video 6000 RTP/AVP 96\r\n".to_owned(), SdpError::NoAudio),
        (Srtp::Off, format!("m=audio 6000 RTP/SAVP 0\r\n{key}"), profile("RTP/SAVP")),
        (Srtp::Required, "m=audio 6000 RTP/AVP 0\r\n".to_owned(), profile("RTP/AVP")),
        (Srtp::Required, "m=audio 6000 RTP/SAVP 0\r\n".to_owned(), SdpError::NoKeys),
        (Srtp::Off, "m=audio 6000 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\n".to_owned(), SdpError::Address),
        (Srtp::Off, "m=audio 6000 RTP/AVP 0\r\nc=IN IP4 224.0.0.5\r\n".to_owned(), SdpError::Multicast),
        (Srtp::Off, "m=audio 6000 RTP/AVP 0\r\nc=TN E164 1\r\n".to_owned(), SdpError::Network("TN".into())),
    ] {
        let able = Able { srtp, codecs: Codec::ALL, v4: true, v6: false };
        let got = Description::parse_for(format!("{HEAD}{media}").as_bytes(), &able);
        assert_eq!(got, Err(want), "{media}");
    }
}

#[test]
fn addresses_come_in_many_forms() {
    let able = Able { srtp: Srtp::Off, codecs: Codec::ALL, v4: true, v6: false };
    let media = |c: &str| {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP6 ::ffff:10.0.0.2\r\ns=-\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n{c}\r\n"
        );
        Description::parse_for(text.as_bytes(), &able)
    };
    // IPv4-mapped IPv6: treated and answered as IPv4.
    let d = media("c=IN IP6 ::ffff:10.0.0.2").unwrap();
    let (text, n) = answer(&d, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
    assert!(text.contains("c=IN IP4 10.0.0.1\r\n"), "{text}");
    assert_eq!(n.rtp.to_string(), "10.0.0.2:6000");
    // A host name is replaced by the source of the signalling.
    let d = media("c=IN IP4 phone.example.com").unwrap();
    let (_, n) = answer(&d, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
    assert_eq!(n.rtp.to_string(), "10.0.0.9:6000");
    // Hold as in RFC 2543, in both families.
    for held in ["c=IN IP4 0.0.0.0", "c=IN IP6 ::"] {
        let d = media(held).unwrap();
        let (text, n) = answer(&d, &local(), Codec::ALL, Direction::SendRecv, ip("10.0.0.9")).unwrap();
        assert_eq!(n.direction, Direction::RecvOnly, "{held}");
        assert!(text.contains("a=recvonly"), "{text}");
    }
    let rtcp = media("c=IN IP4 10.0.0.2\r\na=rtcp:7000 IN IP6 ::ffff:10.0.0.3").unwrap().rtcp;
    assert_eq!(rtcp.map(|a| a.to_string()), Some("10.0.0.3:7000".to_owned()));
}

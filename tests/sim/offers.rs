//! Offers and answers with several codecs, payload types, addresses and streams: accepted, refused, repeated.

use branchline::gateway::interface::error::GatewayError;

use crate::calls::{FOREVER, call_to, said};
use crate::net::{NONE, Net};
use crate::phone::{PHONE, sdp};

const GW: usize = 0;

fn description(media: &str) -> String {
    format!("v=0\r\no=phone 77 1 IN IP4 10.0.0.99\r\ns=-\r\nc=IN IP4 10.0.0.99\r\nt=0 0\r\n{media}")
}

/// A serialized INVITE.
fn invite(n: usize, body: &str) -> String {
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "INVITE sip:desk@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK-offer-{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:p@10.0.0.99>;tag=t{n}\r\nTo: <sip:desk@10.0.0.1>\r\nCall-ID: offer-{n}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:p@{PHONE}>\r\n{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn an_unacceptable_offer_is_refused_before_ringing() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let (plain, secret) = ("", "[sip]\nsrtp = \"required\"\n");
    let off = "[sip]\nsrtp = \"off\"\n";
    for (config, media, warning) in [
        (plain, "m=audio 6000 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\n", 301),
        (plain, "m=audio 6000 RTP/AVP 0\r\nc=IN IP6 fe80::2\r\n", 301),
        (plain, "m=audio 6000 RTP/AVP 0\r\nc=IN IP4 10.0.0.999\r\n", 301),
        (plain, "m=audio 6000 RTP/AVP 0\r\nc=IN IP4 239.1.2.3/127\r\n", 330),
        (plain, "m=audio 6000 RTP/AVP 0\r\nc=TN E164 4930\r\n", 300),
        (plain, "m=audio 6000 RTP/AVP 18 4\r\n", 305),
        (plain, "m=audio 6000 RTP/AVP 96\r\na=rtpmap:96 AMR/8000\r\n", 305),
        ("[sip]\ncodecs = [\"PCMA\"]\n", "m=audio 6000 RTP/AVP 0 9\r\n", 305),
        (plain, "m=audio 0 RTP/AVP 0\r\n", 304),
        (plain, "m=video 6000 RTP/AVP 96\r\n", 304),
        (plain, "m=image 6000 udptl t38\r\n", 304),
        (plain, "", 304),
        (plain, "m=audio 6000 UDP/TLS/RTP/SAVPF 0\r\n", 302),
        (plain, "m=audio 6000 RTP/SAVP 0\r\n", 302),
        (secret, "m=audio 6000 RTP/AVP 0\r\n", 302),
        (secret, "m=audio 6000 RTP/SAVP 0\r\n", 302),
        (off, &format!("m=audio 6000 RTP/SAVP 0\r\n{key}"), 302),
    ] {
        let mut net = Net::new(1, 1, NONE, config);
        let answers = said(&mut net, GW, &invite(1, &description(media)));
        let last = answers.last().unwrap();
        assert!(last.starts_with("SIP/2.0 488 Not Acceptable Here\r\n"), "{media}: {last}");
        assert!(last.contains(&format!("\r\nWarning: {warning} ")), "{media}: {last}");
        assert!(!answers.iter().any(|a| a.starts_with("SIP/2.0 18")), "{media}: it did not ring");
        let numbers = net.nodes[GW].gw.view().numbers();
        assert_eq!((numbers.legs, numbers.counters.signalling.refused.get(&488)), (0, Some(&1)), "{media}");
        assert!(net.legs(GW).is_empty(), "{media}");
    }
}

#[test]
fn invites_without_or_with_an_acceptable_offer_ring() {
    for (n, body) in [
        String::new(),
        description("m=audio 6000 RTP/AVP 0\r\nc=IN IP6 ::ffff:10.0.0.99\r\n"),
        description("m=audio 6000 RTP/AVP 0\r\nc=IN IP4 phone.example.com\r\n"),
        description("m=audio 6000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"),
        description("m=audio 6000 RTP/AVP 18\r\nm=audio 6002 RTP/AVP 8\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut net = Net::new(1, 1, NONE, "");
        let answers = said(&mut net, GW, &invite(n, &body));
        assert!(answers.iter().any(|a| a.starts_with("SIP/2.0 180 ")), "{body}: {answers:?}");
        assert_eq!(net.nodes[GW].gw.view().numbers().legs, 1, "{body}");
    }
}

/// The phone calls, and is answered.
fn connected(net: &mut Net, offer: &str) -> String {
    net.with_phone(|p, now| p.call(now, Some(offer)));
    net.run_for(100);
    let leg = net.legs(GW)[0].clone();
    net.with(GW, |gw, now| gw.legs(now, |l| l.answer(&leg))).unwrap();
    net.run_for(100);
    assert_eq!(net.state(GW, &leg), "connected");
    leg
}

/// We call the phone, which sends this answer.
fn calling(net: &mut Net, answer: &str) -> String {
    let leg = net
        .with(GW, |gw, now| gw.legs(now, |l| l.originate(call_to(&format!("sip:phone@{PHONE}")))))
        .unwrap()
        .id;
    net.run_for(100);
    net.with_phone(|p, now| p.pick_up(now, answer));
    net.run_for(100);
    assert_eq!(net.state(GW, &leg), "connected");
    leg
}

fn finish(net: &mut Net, context: &str) {
    net.run_for(40_000);
    net.with_phone(|p, now| p.bye(now));
    net.run_for(FOREVER);
    net.check_end(context);
}

fn lines<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines().filter(|l| l.starts_with(start)).collect()
}

#[test]
fn the_usable_audio_line_is_answered_in_its_position() {
    let usable = "m=audio 6002 RTP/AVP 8 0\r\n";
    for other in [
        "m=audio 6000 RTP/AVP 18\r\n",
        "m=audio 0 RTP/AVP 0\r\n",
        "m=audio 6000 RTP/AVP 0\r\nc=IN IP6 2001:db8::1\r\n",
        "m=audio 6000 RTP/SAVP 0\r\n",
    ] {
        for (offer, want) in
            [(format!("{other}{usable}"), [false, true]), (format!("{usable}{other}"), [true, false])]
        {
            let mut net = Net::new(1, 1, NONE, "");
            connected(&mut net, &description(&offer));
            let answer = net.phone.outcome(1).unwrap().1.to_owned();
            let live: Vec<bool> = lines(&answer, "m=").iter().map(|l| !l.starts_with("m=audio 0 ")).collect();
            assert_eq!(live, want, "{offer}: {answer}");
            finish(&mut net, &offer);
        }
    }
}

/// Dynamic payload types of a description and their encodings.
fn maps(text: &str) -> Vec<(u8, String)> {
    let all = text.lines().filter_map(|l| l.strip_prefix("a=rtpmap:")?.split_once(' '));
    let all = all.map(|(n, map)| (n.parse::<u8>().unwrap(), map.to_ascii_lowercase()));
    all.filter(|(n, _)| *n > 95).collect()
}

#[test]
fn payload_types_keep_their_meaning_in_our_later_offers() {
    let opus = "a=rtpmap:101 opus/48000/2\r\na=rtpmap:96 telephone-event/48000\r\n";
    for offer in [
        format!("m=audio 6000 RTP/AVP 101 0 96\r\n{opus}"),
        "m=audio 6000 RTP/AVP 0 111\r\na=rtpmap:111 telephone-event/8000\r\n".to_owned(),
        "m=audio 6000 RTP/AVP 0 100 101 111\r\na=rtpmap:100 G726-32/8000\r\na=rtpmap:101 iLBC/8000\r\na=rtpmap:111 AMR/8000\r\n".to_owned(),
    ] {
        let mut net = Net::new(1, 1, NONE, "");
        let leg = connected(&mut net, &description(&offer));
        let known = maps(&offer);
        let keeps = |text: &str| {
            let clash: Vec<_> = maps(text).into_iter().filter(|(n, map)| known.iter().any(|(m, o)| m == n && o != map)).collect();
            assert!(clash.is_empty(), "{clash:?} in {text}");
        };
        // Once in the answer to a re-INVITE without an offer, twice for our hold, and once more.
        for version in [2, 3] {
            net.phone.answer = Some(description(&offer));
            let cseq = net.with_phone(|p, now| p.reinvite(now, None));
            net.run_for(1000);
            keeps(net.phone.outcome(cseq).unwrap().1);
            net.phone.agrees = Some(description(&offer));
            let _handle = net.with(GW, |gw, now| gw.legs(now, |l| l.hold(&leg, version == 2))).unwrap();
            net.run_for(1000);
            keeps(net.phone.offers.last().unwrap());
        }
        assert_eq!(net.phone.offers.len(), 2);
        finish(&mut net, &offer);
    }
}

#[test]
fn our_hold_offers_all_negotiated_codecs_and_its_answer_may_change_them() {
    let mut net = Net::new(1, 1, NONE, "");
    let answer = |formats: &str| {
        description(&format!(
            "m=audio 6000 RTP/AVP {formats}\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n"
        ))
    };
    // The far end uses another payload type for Opus than our offer; our numbers apply to what it sends.
    let leg = calling(&mut net, &answer("8 96 0 101"));
    net.phone.agrees = Some(answer("0 8 101"));
    for (on, want) in [(true, "RTP/AVP 8 111 0 100 101"), (false, "RTP/AVP 0 8 101")] {
        let _handle = net.with(GW, |gw, now| gw.legs(now, |l| l.hold(&leg, on))).unwrap();
        net.run_for(1000);
        let offer = net.phone.offers.last().unwrap();
        assert!(lines(offer, "m=audio")[0].ends_with(want), "{offer}");
    }
    finish(&mut net, "hold");
}

#[test]
fn an_unacceptable_offer_in_a_call_leaves_it_unchanged() {
    let mut net = Net::new(1, 1, NONE, "");
    let leg = connected(&mut net, &sdp(1, "sendrecv"));
    for media in [
        "m=audio 6000 RTP/AVP 0\r\nc=IN IP6 2001:db8::2\r\n",
        "m=audio 6000 RTP/AVP 18\r\n",
        "m=audio 0 RTP/AVP 0\r\n",
        "m=audio 6000 RTP/AVP 0\r\nc=IN IP4 224.0.0.9\r\n",
    ] {
        let cseq = net.with_phone(|p, now| p.reinvite(now, Some(&description(media))));
        net.run_for(1000);
        assert_eq!(net.phone.outcome(cseq).unwrap().0, 488, "{media}");
        assert_eq!(net.state(GW, &leg), "connected", "{media}");
    }
    // Hold according to RFC 2543, for both address families.
    for held in ["c=IN IP4 0.0.0.0", "c=IN IP6 ::"] {
        let offer = description(&format!("m=audio 6000 RTP/AVP 0\r\n{held}\r\n"));
        let cseq = net.with_phone(|p, now| p.reinvite(now, Some(&offer)));
        net.run_for(1000);
        assert_eq!(net.phone.outcome(cseq).unwrap().0, 200, "{held}");
        assert_eq!(net.state(GW, &leg), "held", "{held}");
    }
    finish(&mut net, "refused changes");
}

#[test]
fn digits_outside_the_far_ends_list_are_refused() {
    for (fmtp, good, bad) in [
        ("a=fmtp:101 0-9\r\n", "0123456789", "1*"),
        ("a=fmtp:101 0-11,16\r\n", "159*#", "A"),
        ("a=fmtp:101 1,3,5\r\n", "135", "2"),
        ("a=fmtp:101 32-36\r\n", "", "1"),
    ] {
        let mut net = Net::new(1, 1, NONE, "");
        let leg = calling(
            &mut net,
            &description(&format!(
                "m=audio 6000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n{fmtp}"
            )),
        );
        let refused = net.with(GW, |gw, now| gw.legs(now, |l| l.send_digits(&leg, bad)));
        let Err(GatewayError::Conflict(why)) = refused else { panic!("{fmtp}{bad}: {refused:?}") };
        assert!(why.starts_with("digits: ") && why.contains("telephone-event"), "{why}");
        if !good.is_empty() {
            net.with(GW, |gw, now| gw.legs(now, |l| l.send_digits(&leg, good))).unwrap();
        }
        finish(&mut net, fmtp);
    }
    // Without a list all events are accepted; without telephone events tones are used.
    for events in [" 101\r\na=rtpmap:101 telephone-event/8000\r\n", "\r\n"] {
        let mut net = Net::new(1, 1, NONE, "");
        let leg = calling(&mut net, &description(&format!("m=audio 6000 RTP/AVP 0{events}")));
        net.with(GW, |gw, now| gw.legs(now, |l| l.send_digits(&leg, "0123456789*#ABCD"))).unwrap();
        finish(&mut net, events);
    }
}

#[test]
fn a_mapped_address_in_a_uri_is_an_ipv4_one() {
    for host in ["[::ffff:10.0.0.99]", "[::FFFF:0a00:0063]", "[0:0:0:0:0:ffff:10.0.0.99]"] {
        let mut net = Net::new(1, 1, NONE, "");
        net.with(GW, |gw, now| gw.legs(now, |l| l.originate(call_to(&format!("sip:phone@{host}:5060")))))
            .unwrap();
        net.run_for(100);
        assert!(net.phone.ringing.is_some(), "{host}");
        assert!(net.phone.offers[0].contains("c=IN IP4 10.0.0.1\r\n"), "{}", net.phone.offers[0]);
        net.with_phone(|p, now| p.pick_up(now, &sdp(1, "sendrecv")));
        finish(&mut net, host);
    }
}

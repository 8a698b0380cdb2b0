//! Truncated, mutated and random datagrams: no crash, and responses never exceed the maximum size.

use branchline::base::rng::Rng;

use super::put;

fn good() -> Vec<u8> {
    let body = "v=0\r\no=u 1 1 IN IP4 192.168.7.9\r\ns=-\r\nc=IN IP4 192.168.7.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";
    format!(
        "INVITE sip:a@192.168.7.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.7.9;branch=z9hG4bKx;rport\r\nMax-Forwards: 70\r\n\
         From: \"A\" <sip:b@192.168.7.9>;tag=1\r\nTo: <sip:a@192.168.7.1>\r\nCall-ID: n@x\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:b@192.168.7.9>\r\nX-A: b\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

#[test]
fn truncated_anywhere() {
    let whole = good();
    for cut in 0..whole.len() {
        let got = put(&whole[..cut], "192.168.7.9:5060");
        assert!(got.legs == 0, "a call cut at {cut} must not ring: {:?}", got.codes);
    }
    assert_eq!(put(&whole, "192.168.7.9:5060").legs, 1);
}

#[test]
fn mutated_and_random() {
    let whole = good();
    let mut rng = Rng::from_number(4475);
    for _ in 0..4000 {
        let mut m = whole.clone();
        for _ in 0..=rng.below(6) {
            let at = rng.below(m.len() as u32) as usize;
            match rng.below(4) {
                0 => m[at] = rng.u32() as u8,
                1 => drop(m.remove(at)),
                2 => m.insert(at, b";,<>\"@:= \r\n\0"[rng.below(12) as usize]),
                _ => {
                    let to = (at + 1 + rng.below(30) as usize).min(m.len());
                    let piece = m[at..to].to_vec();
                    m.splice(at..at, piece);
                }
            }
        }
        put(&m, "192.168.7.9:5060");
        let junk: Vec<u8> = (0..rng.below(200)).map(|_| rng.u32() as u8).collect();
        assert!(put(&junk, "192.168.7.9:5060").text.is_empty());
    }
}

#[test]
fn unknown_sources_get_no_response() {
    for message in [good(), b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\n\r\n".to_vec()] {
        let got = put(&message, "203.0.113.9:5060");
        assert!(got.text.is_empty() && got.legs == 0, "{}", got.text);
    }
}

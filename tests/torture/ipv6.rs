//! RFC 5118: IPv6 in SIP messages.

use super::put;

pub fn options(uri: &str, via: &str, from_host: &str) -> Vec<u8> {
    format!(
        "OPTIONS {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bKas3-111\r\nMax-Forwards: 70\r\n\
         From: <sip:user@{from_host}>;tag=81x2\r\nTo: <sip:user@example.com>\r\nCall-ID: v6@example.com\r\n\
         CSeq: 98176 OPTIONS\r\nContact: \"Caller\" <sip:caller@[fd00::9]>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Name, Request-URI, Via and status code of each case.
pub const CASES: [(&str, &str, &str, u16); 8] = [
    ("4.1 valid reference", "sip:[2001:db8::10]", "[2001:db8::9:1]", 200),
    ("4.2 reference without brackets", "sip:2001:db8::10", "[2001:db8::9:1]", 400),
    (
        "4.3 port inside the brackets is part of the address",
        "sip:[2001:db8::10:5070]",
        "[2001:db8::9:1]",
        200,
    ),
    ("4.4 port outside", "sip:[2001:db8::10]:5070", "[2001:db8::9:1]", 200),
    ("4.5 received without brackets", "sip:[2001:db8::10]", "[2001:db8::9:1];received=2001:db8::9:255", 200),
    ("4.5 received with brackets", "sip:[2001:db8::10]", "[2001:db8::9:1];received=[2001:db8::9:255]", 200),
    ("4.9 mapped address", "sip:[::ffff:192.0.2.2]", "[::ffff:192.0.2.2]:5060", 200),
    ("4.10 three colons", "sip:[2001:db8:::192.0.2.1]", "[2001:db8::9:1]", 200),
];

#[test]
fn each_case_of_rfc_5118() {
    let from = "[fd00::9]:5060";
    for (name, uri, via, code) in CASES {
        let got = put(&options(uri, via, "[2001:db8::9]"), from);
        println!("{name:52} {:?}", got.codes);
        assert_eq!(got.codes, [code], "{name}: {}", got.text);
        assert!(!got.text.contains(":::"), "three colons are never sent: {}", got.text);
    }
}

#[test]
fn addresses_of_both_families_in_headers_and_bodies() {
    let body = "v=0\r\no=assistant 971731711378798081 0 IN IP6 fd00::9\r\ns=-\r\nc=IN IP6 fd00::9\r\nt=0 0\r\nm=audio 6000 RTP/AVP 0\r\n";
    let head = format!(
        "INVITE sip:user@[fd00::1] SIP/2.0\r\nVia: SIP/2.0/UDP [fd00::9]:5061;branch=z9hG4bKnas\r\n\
         Via: SIP/2.0/UDP 192.0.2.5;branch=z9hG4bKold\r\nRecord-Route: <sip:[2001:db8::5];lr>, <sip:192.0.2.9;lr>\r\n\
         Max-Forwards: 68\r\nFrom: <sip:a@192.0.2.1>;tag=1\r\nTo: <sip:user@[fd00::1]>\r\nCall-ID: both@x\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:a@[fd00::9]:5061>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let got = put(head.as_bytes(), "[fd00::9]:5061");
    assert_eq!((got.codes, got.legs), (vec![180], 1), "{}", got.text);
    assert!(got.text.contains("Contact: <sip:[fd00::1]:5060>"), "{}", got.text);
}

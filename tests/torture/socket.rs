//! The cases of RFC 4475 at the socket of the real program.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::common::Gateway;
use super::ipv6::{CASES, options};
use super::put;
use super::rows::{Code, Either, Rings, Silence, cases};

/// The response to this comes after all responses to earlier messages.
const LAST: &str = "OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKlast;rport\r\n\
     From: <sip:t@x>;tag=1\r\nTo: <sip:x@x>\r\nCall-ID: last\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";

/// Status codes received, and the number of legs afterwards.
fn at_the_socket(ip: &str, message: &[u8]) -> (Vec<u16>, usize) {
    let gw = Gateway::start(&[("SIP_BIND_IP", ip)]);
    let sip: SocketAddr = gw.listen["sip"].as_str().unwrap().parse().unwrap();
    // Without rport the response is sent to the address in Via: it is received there.
    let port = put(message, &SocketAddr::new(ip.parse().unwrap(), 5060).to_string())
        .replies_to
        .map_or(0, |to| to.port());
    let socket = UdpSocket::bind((ip, port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send_to(message, sip).unwrap();
    socket.send_to(LAST.as_bytes(), sip).unwrap();
    let mut codes = Vec::new();
    let mut buffer = [0u8; 65_536];
    loop {
        let n = socket.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..n]).into_owned();
        if text.contains("Call-ID: last\r\n") {
            return (codes, gw.get("/v1/legs").json().as_array().unwrap().len());
        }
        let code = text.strip_prefix("SIP/2.0 ").unwrap()[..3].parse().unwrap();
        if code != 100 {
            codes.push(code);
        }
    }
}

#[test]
fn every_case_gets_its_verdict_at_the_socket() {
    let mut wrong = Vec::new();
    for (section, name, message, want) in cases() {
        let (codes, legs) = at_the_socket("127.0.0.1", &message);
        let right = match want {
            Rings => codes == [180] && legs == 1,
            Code(c) => codes == [c] && legs == 0,
            Either(a, b) => (codes == [a] || codes == [b]) && legs == 0,
            Silence => codes.is_empty() && legs == 0,
        };
        println!("{section:9} {name:24} {codes:?} {}", if right { "as stated" } else { "WRONG" });
        if !right {
            wrong.push(format!("{section} {name}: wanted {want:?}, got {codes:?} with {legs} legs"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_case_of_rfc_5118_at_the_socket() {
    for (name, uri, via, code) in CASES {
        let (codes, legs) = at_the_socket("::1", &options(uri, via, "[2001:db8::9]"));
        println!("RFC 5118 {name:52} {codes:?}");
        assert_eq!((codes, legs), (vec![code], 0), "{name}");
    }
}

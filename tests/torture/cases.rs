//! The 49 cases of RFC 4475; the test prints the table.

use super::put;
use super::rows::{Code, Either, Rings, SDP, Silence, base, cases, crlf};

#[test]
fn every_case_gets_its_verdict() {
    let mut wrong = Vec::new();
    for (section, name, message, want) in cases() {
        let got = put(&message, "192.168.7.9:5060");
        let right = match want {
            Rings => got.codes == [180] && got.legs == 1,
            Code(c) => got.codes == [c] && got.legs == 0,
            Either(a, b) => (got.codes == [a] || got.codes == [b]) && got.legs == 0,
            Silence => got.text.is_empty() && got.legs == 0,
        };
        println!("{section:9} {name:24} {:?} {}", got.codes, if right { "as stated" } else { "WRONG" });
        if !right {
            wrong.push(format!(
                "{section} {name}: wanted {want:?}, got {:?} with {} legs\n{}",
                got.codes, got.legs, got.text
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn refusals_say_what_is_needed() {
    let text = |name: &str| {
        let (_, _, message, _) = cases().into_iter().find(|c| c.1 == name).unwrap();
        put(&message, "192.168.7.9:5060").text
    };
    assert!(text("bext01").contains("Unsupported: nothingSupportsThis, nothingSupportsThisEither"));
    assert!(text("invut").contains("Accept: application/sdp"));
    assert!(text("intmeth").contains("Allow: INVITE"));
    assert!(text("quotbal").contains("malformed To"), "{}", text("quotbal"));
    assert!(
        text("insuf").contains("missing Call-ID") || text("insuf").contains("missing From"),
        "{}",
        text("insuf")
    );
    let ok = text("lwsdisp");
    assert!(
        ok.contains("Allow: INVITE") && ok.contains("Accept: application/sdp") && ok.contains("Supported:")
    );
}

#[test]
fn unusable_sessions_are_refused_with_a_warning() {
    let call = |body: &str| {
        let head = format!("INVITE sip:a@192.168.7.1 SIP/2.0\n{}", base("INVITE", "z9hG4bKw"));
        let mut m = crlf(&head);
        m.extend_from_slice(
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                .as_bytes(),
        );
        let got = put(&m, "192.168.7.9:5060");
        assert!(got.text.contains("Warning: "), "{}", got.text);
        (got.codes, got.legs)
    };
    assert_eq!(call(&SDP.replace("4000", "0")), (vec![488], 0));
    assert_eq!(call(&SDP.replace("m=audio", "m=video")), (vec![488], 0));
    assert_eq!(call(&SDP.replace("RTP/AVP", "RTP/SAVP")), (vec![488], 0));
    assert_eq!(call("this is no session description"), (vec![400], 0));
}

//! Bodies of all forms allowed by RFC 2046 and RFC 5621, and some malformed ones.

use super::*;
use crate::wire::{Message, parse};

/// A message with these fields and this body.
fn message(fields: &str, body: &str) -> Common {
    let text = format!(
        "INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:b@h>;tag=1\r\nTo: <sip:a@h>\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\n{fields}\r\n\r\n{body}"
    );
    let Ok(Message::Request(request)) = parse(text.as_bytes()) else { panic!("{text}") };
    request.common
}

fn session(fields: &str, body: &str) -> Option<String> {
    let message = message(fields, body);
    let body = Body::of(&message, "").unwrap()?;
    let content = body.sessions().into_iter().find_map(Part::content)?;
    Some(String::from_utf8(content.into_owned()).unwrap())
}

fn wrong(fields: &str, body: &str) -> Option<BodyError> {
    Body::of(&message(fields, body), "").err()
}

const MIXED: &str = "Content-Type: multipart/mixed;boundary=x";

#[test]
fn the_session_is_found_wherever_it_stands() {
    let sdp = "Content-Type: application/sdp\r\n\r\nv=0\r\n";
    let other = "Content-Type: application/isup;version=itu\r\n\r\n\0\u{1}\r\n--\r\n";
    for (fields, body) in [
        ("c: application/sdp", "v=0\r\n".to_owned()),
        ("Content-Type: APPLICATION/Sdp ; charset=utf-8", "v=0\r\n".to_owned()),
        (MIXED, format!("--x\r\n{sdp}\r\n--x\r\n{other}\r\n--x--\r\n")),
        (MIXED, format!("--x\r\n{other}\r\n--x\r\n{sdp}\r\n--x--\r\n")),
        ("c: Multipart/Mixed ; x=1; BOUNDARY=\"x\"", format!("--x\r\n{other}\r\n--x\r\n{sdp}\r\n--x--")),
        (MIXED, format!("a preamble\r\n--xy\r\n--x \t\r\n{sdp}\r\n--x-- \r\nan epilogue\r\n--x\r\n{other}")),
        (MIXED, format!("--x\r\n{other}\r\n--x\r\n{sdp}")),
        ("Content-Type: multipart/mixed;boundary=\"a b:c'()+_,-./=?\"", {
            format!("--a b:c'()+_,-./=?\r\n{sdp}\r\n--a b:c'()+_,-./=?--\r\n")
        }),
        ("Content-Type: multipart/mixed; boundary=----=_Part_1", {
            format!("------=_Part_1\r\n{sdp}\r\n------=_Part_1--\r\n")
        }),
        ("Content-Type: multipart/mixed;\r\n\tboundary = x", format!("--x\r\n{sdp}\r\n--x--")),
        ("Content-Type: multipart/mixed;boundary=\"q\\\"x\"", format!("--q\"x\r\n{sdp}\r\n--q\"x--\r\n")),
        (
            "Content-Type: multipart/related;boundary=x",
            format!("--x\r\n{sdp}\r\n--x\r\n{other}\r\n--x--\r\n"),
        ),
        (MIXED, "--x\r\nCONTENT-TYPE:\r\n application/sdp\r\n\r\nv=0\r\n\r\n--x--\r\n".to_owned()),
        (MIXED, {
            format!(
                "--x\r\nContent-Type: multipart/alternative; boundary=x1\r\n\r\n--x1\r\nContent-Type: text/plain\r\n\
                 \r\nhi\r\n--x1\r\n{sdp}\r\n--x1--\r\n\r\n--x\r\n{other}\r\n--x--\r\n"
            )
        }),
    ] {
        let found = session(fields, &body);
        assert_eq!(found.as_deref(), Some("v=0\r\n"), "{fields}\n{body}");
        let found = session(fields, &body.replace("\r\n", "\n"));
        assert_eq!(found.as_deref(), Some("v=0\n"), "LF: {fields}\n{body}");
    }
}

#[test]
fn transfer_encodings_are_undone_and_others_refused() {
    for (encoding, content, want) in [
        ("8BIT", "v=0", Some("v=0")),
        ("binary", "v=0", Some("v=0")),
        ("Base64", "dj0\r\n w", Some("v=0")),
        ("base64", "dj0w", Some("v=0")),
        ("base64", "dj0wDQo=", Some("v=0\r\n")),
        ("quoted-printable", "v=3D0=\r\n=0d=0A=", Some("v=0\r\n=")),
        ("base64", "v=0", None),
        ("x-zip", "v=0", None),
    ] {
        let part = format!(
            "--x\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{content}\r\n--x--"
        );
        assert_eq!(session(MIXED, &part).as_deref(), want, "{encoding} {content}");
    }
    for (encoding, want) in [("identity", Some("v=0")), ("gzip", None), ("identity, gzip", None)] {
        let part = format!(
            "--x\r\nContent-Type: application/sdp\r\nContent-Encoding: {encoding}\r\n\r\nv=0\r\n--x--"
        );
        assert_eq!(session(MIXED, &part).as_deref(), want, "{encoding}");
    }
}

#[test]
fn of_alternatives_the_last_usable_one_is_the_best() {
    let sdp = |disposition: &str, text: &str| {
        format!(
            "--x\r\nContent-Type: application/sdp\r\nContent-Disposition: {disposition}\r\n\r\n{text}\r\n"
        )
    };
    let (a, b) = (sdp("session", "a"), sdp("Session ; handling=optional", "b"));
    let early = sdp("early-session", "e");
    let html = "--x\r\nContent-Type: text/html\r\n\r\nh\r\n";
    let unreadable = b.replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
    let of = |kind: &str, parts: &[&str]| {
        session(&format!("Content-Type: multipart/{kind};boundary=x"), &(parts.concat() + "--x--"))
    };
    assert_eq!(of("alternative", &[&a, &b]).as_deref(), Some("b"));
    assert_eq!(of("mixed", &[&a, &b]).as_deref(), Some("a"));
    assert_eq!(of("alternative", &[&a, html]).as_deref(), Some("a"));
    assert_eq!(of("alternative", &[&a, &unreadable, &early]).as_deref(), Some("a"));
    assert_eq!(of("mixed", &[&early, &b]).as_deref(), Some("b"));
    assert_eq!(of("mixed", &[&early, html]), None);
}

#[test]
fn parts_say_what_they_are() {
    let body = "--x\r\n\r\nplain\r\n--x\r\nContent-Type: Application/PIDF+xml;a=b\r\nContent-ID: <l@h>\r\n\
                Content-Disposition: By-Reference;handling=OPTIONAL\r\n\r\n<p/>\r\n--x\r\n\
                Content-Type: application/isup\r\nContent-Disposition: signal ; handling = \"required\"\r\n\r\n\
                --x--";
    let message = message(MIXED, body);
    let body = Body::of(&message, "").unwrap().unwrap();
    let got: Vec<_> = body
        .leaves()
        .into_iter()
        .map(|p| {
            (p.media_type.as_str(), p.disposition.as_str(), p.required, p.content_id.as_deref(), p.data.len())
        })
        .collect();
    assert_eq!(
        got,
        [
            ("text/plain", "render", None, None, 5),
            ("application/pidf+xml", "by-reference", Some(false), Some("l@h"), 4),
            ("application/isup", "signal", Some(true), None, 0),
        ]
    );
}

#[test]
fn only_unknown_required_parts_are_unsupported() {
    let part = |kind: &str, handling: &str| {
        format!("--x\r\nContent-Type: {kind}\r\nContent-Disposition: x{handling}\r\n\r\nc\r\n")
    };
    let must = ";handling=required";
    let known = |t: &str| t == "application/sdp";
    for (kind, parts, beyond) in [
        ("mixed", vec![part("application/sdp", must), part("a/b", "")], false),
        ("mixed", vec![part("application/sdp", must), part("a/b", ";handling=optional")], false),
        ("mixed", vec![part("application/sdp", ""), part("a/b", must)], true),
        ("mixed", vec![part("a/b", ";HANDLING=\"Required\"")], true),
        ("alternative", vec![part("a/b", must), part("application/sdp", must)], false),
        ("alternative", vec![part("a/b", must), part("a/c", must)], true),
        ("alternative", vec![part("a/b", must), part("a/c", "")], false),
    ] {
        let message =
            message(&format!("Content-Type: multipart/{kind};boundary=x"), &(parts.concat() + "--x--"));
        let body = Body::of(&message, "").unwrap().unwrap();
        assert_eq!(body.is_beyond(&known), beyond, "{kind} {parts:?}");
    }
}

#[test]
fn what_is_too_much_or_no_multipart_is_an_error() {
    assert_eq!(wrong("Content-Type: multipart/mixed", "--x\r\n\r\n--x--"), Some(BodyError::Boundary));
    assert_eq!(wrong("Content-Type: multipart/mixed;boundary=", "x"), Some(BodyError::Boundary));
    let long = "b".repeat(MAX_BOUNDARY + 1);
    let field = format!("Content-Type: multipart/mixed;boundary={long}");
    assert_eq!(wrong(&field, &format!("--{long}\r\n\r\n")), Some(BodyError::Boundary));
    assert_eq!(wrong(MIXED, "v=0\r\n--x--"), Some(BodyError::NoParts));
    assert_eq!(wrong(MIXED, &"--x\r\n\r\n".repeat(MAX_PARTS - 1)), None);
    assert_eq!(wrong(MIXED, &"--x\r\n\r\n".repeat(MAX_PARTS)), Some(BodyError::Parts));
    let nested = |depth: usize| {
        let inner = |n: usize| format!("--x{n}\r\nContent-Type: multipart/mixed;boundary=x{}\r\n\r\n", n + 1);
        (1..depth).map(inner).collect::<String>() + &format!("--x{depth}\r\nContent-Type: a/b\r\n\r\n")
    };
    let first = "Content-Type: multipart/mixed;boundary=x1";
    assert_eq!(wrong(first, &nested(MAX_DEPTH)), None);
    assert_eq!(wrong(first, &nested(MAX_DEPTH + 1)), Some(BodyError::Depth));
}

#[test]
fn random_bodies_stay_within_the_limits() {
    const PIECES: &[&str] = &[
        "--x",
        "--y",
        "--",
        "\r\n",
        "\n",
        "\r",
        " ",
        "x",
        "Content-Type: ",
        "multipart/mixed;boundary=y",
        "multipart/",
        "alternative;boundary=\"x\"",
        "application/sdp",
        "Content-Transfer-Encoding: base64",
        "v=0",
        "=3D",
        ":",
        "\0",
        "ü",
    ];
    let mut rng = crate::base::rng::Rng::from_number(7);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let n = rng.below(60);
        let made = (0..n).filter_map(|_| PIECES.get(rng.below(PIECES.len() as u32) as usize).copied());
        let message = message(MIXED, &(String::from("--x\r\n") + &made.collect::<String>()));
        match Body::of(&message, "") {
            Ok(body) => {
                let body = body.unwrap();
                let leaves = body.leaves();
                assert!(leaves.len() < MAX_PARTS);
                assert!(leaves.iter().map(|p| p.data.len()).sum::<usize>() <= message.body.len());
                assert!(leaves.iter().all(|p| p.content().is_none_or(|c| c.len() <= p.data.len())));
                taken += 1;
            }
            Err(_) => refused += 1,
        }
    }
    assert!(taken > 1000 && refused > 10, "{taken} {refused}");
}

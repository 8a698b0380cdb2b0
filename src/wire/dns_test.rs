//! DNS responses, well-formed and malformed.

use std::slice::from_ref;

use super::dns::*;

/// A message: flags, question, and records as (owner, type, class, TTL, data) for each section.
type Rr = (&'static str, u16, u16, u32, Vec<u8>);

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|l| !l.is_empty());
    let mut out: Vec<u8> =
        labels.flat_map(|l| [&[u8::try_from(l.len()).unwrap()], l.as_bytes()].concat()).collect();
    out.push(0);
    out
}

fn message(flags: u16, asked: Option<(&str, Kind)>, sections: [&[Rr]; 3]) -> Vec<u8> {
    let count = |s: &[Rr]| u16::try_from(s.len()).unwrap();
    let [a, n, m] = sections.map(count);
    let head = [7, flags, u16::from(asked.is_some()), a, n, m];
    let mut out: Vec<u8> = head.iter().flat_map(|f: &u16| f.to_be_bytes()).collect();
    if let Some((of, kind)) = asked {
        out.extend([name(of), kind.code().to_be_bytes().to_vec(), vec![0, 1]].concat());
    }
    for (owner, code, class, ttl, data) in sections.into_iter().flatten() {
        out.extend(name(owner));
        out.extend([code.to_be_bytes(), class.to_be_bytes()].concat());
        out.extend(ttl.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    out
}

const GOOD: u16 = 0x8180;

fn a(owner: &'static str, ttl: u32, last: u8) -> Rr {
    (owner, 1, 1, ttl, vec![192, 0, 2, last])
}

fn cname(owner: &'static str, ttl: u32, to: &str) -> Rr {
    (owner, 5, 1, ttl, name(to))
}

fn address(last: u8) -> Record {
    Record::Address([192, 0, 2, last].into())
}

fn soa(ttl: u32, minimum: u32) -> Rr {
    let numbers = [1u32, 2, 3, 4, minimum].iter().flat_map(|n| n.to_be_bytes()).collect();
    ("example", 6, 1, ttl, [name("ns.example"), name("root.example"), numbers].concat())
}

fn read(bytes: &[u8]) -> Option<Answer> {
    answer(bytes, 7, "pbx.example", Kind::A)
}

fn of(flags: u16, answers: &[Rr], authority: &[Rr], more: &[Rr]) -> Option<Answer> {
    read(&message(flags, Some(("pbx.example", Kind::A)), [answers, authority, more]))
}

#[test]
fn queries_ask_for_recursion_with_or_without_edns() {
    let bytes = query(7, "_sip._udp.example.com", Kind::Srv, true).unwrap();
    assert_eq!((&bytes[..4], bytes[11]), (&[0, 7, 1, 0][..], 1));
    assert_eq!(bytes[bytes.len() - 11..], [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    let plain = query(7, "_sip._udp.example.com.", Kind::Srv, false).unwrap();
    assert_eq!((plain[11], &plain[..10], &plain[12..]), (0, &bytes[..10], &bytes[12..bytes.len() - 11]));
    assert_eq!(plain[plain.len() - 4..], [0, 33, 0, 1]);
    for bad in ["", ".", "a b", &"a".repeat(300)] {
        assert!(query(7, bad, Kind::A, true).is_none(), "{bad}");
    }
}

#[test]
fn answers_are_taken_only_for_what_was_asked() {
    let bytes = message(GOOD, Some(("Pbx.Example", Kind::A)), [&[a("pbx.EXAMPLE", 60, 1)], &[], &[]]);
    assert_eq!(read(&bytes), Some(Answer::Records(vec![address(1)], 60)));
    assert_eq!(answer(&bytes, 8, "pbx.example", Kind::A), None, "another id");
    assert_eq!(answer(&bytes, 7, "pbx.example.org", Kind::A), None, "another name");
    assert_eq!(answer(&bytes, 7, "pbx.example", Kind::Aaaa), None, "another kind");
    assert_eq!(of(0x0100, &[], &[], &[]), None, "a question");
    assert_eq!(of(0xa180, &[], &[], &[]), None, "another opcode");
    assert_eq!(
        read(&message(GOOD, None, [&[a("pbx.example", 60, 1)], &[], &[]])),
        None,
        "without a question section"
    );
    assert_eq!(read(&bytes[..11]), None);
    assert_eq!(read(&[0; MAX_ANSWER + 1]), None);
}

#[test]
fn failures_are_recognized_in_all_forms() {
    for rcode in [1, 2, 4, 5, 9, 15] {
        assert_eq!(of(GOOD | rcode, &[], &[], &[]), Some(Answer::Failed), "rcode {rcode}");
        assert_eq!(
            read(&message(GOOD | rcode, None, [&[], &[], &[]])),
            Some(Answer::Failed),
            "{rcode}, bare"
        );
    }
    let badvers = ("", 41, 1232, 0x0100_0000, vec![]);
    assert_eq!(of(GOOD, &[], &[], &[badvers]), Some(Answer::Failed), "BADVERS has RCODE 0 in the header");
    let fine = ("", 41, 1232, 0x0000_8000, vec![0, 10, 0, 1, 9]);
    assert_eq!(of(GOOD, &[a("pbx.example", 9, 1)], &[], &[fine]), Some(Answer::Records(vec![address(1)], 9)));
    let whole = message(GOOD, Some(("pbx.example", Kind::A)), [&[a("pbx.example", 60, 1)], &[], &[]]);
    assert_eq!(read(&whole[..whole.len() - 1]), Some(Answer::Failed), "cut off");
    assert_eq!(read(&whole[..14]), Some(Answer::Failed), "cut off in the question");
}

#[test]
fn errors_after_the_answer_section_are_tolerated() {
    let want = Some(Answer::Records(vec![address(1)], 60));
    let records = [
        a("pbx.example", 60, 1),
        ("pbx.example", 1, 3, 60, vec![192, 0, 2, 9]),
        ("pbx.example", 1, 1, 60, vec![1]),
    ];
    let odd: Rr = ("x", 65_400, 77, 1, vec![1, 2, 3]);
    assert_eq!(of(GOOD, &records, from_ref(&odd), from_ref(&odd)), want);
    let mut cut = message(GOOD, Some(("pbx.example", Kind::A)), [&records, from_ref(&odd), from_ref(&odd)]);
    cut.truncate(cut.len() - 20);
    assert_eq!(read(&cut), want);
}

#[test]
fn negative_answers_have_many_forms_and_a_referral_is_not_one() {
    let nothing = |ttl, sure| Some(Answer::Nothing { ttl, sure });
    let ns: Rr = ("example", 2, 1, 60, name("ns.example"));
    assert_eq!(of(GOOD, &[], &[], &[]), nothing(None, true), "NODATA");
    assert_eq!(of(GOOD, &[], &[soa(900, 60)], &[]), nothing(Some(60), true), "NODATA with SOA");
    assert_eq!(of(GOOD | 3, &[], &[soa(9, 60), ns.clone()], &[]), nothing(Some(9), true), "NXDOMAIN");
    assert_eq!(of(0x8400, &[], &[], &[]), nothing(None, true), "of the zone's own server");
    assert_eq!(of(0x8100, &[], &[], &[]), nothing(None, false), "neither recursion nor authority");
    assert_eq!(of(0x8103, &[], &[], &[]), nothing(None, false));
    for flags in [0x8100, GOOD] {
        assert_eq!(of(flags, &[], from_ref(&ns), &[]), Some(Answer::Failed), "a referral");
    }
    assert_eq!(of(0x8100, &[a("pbx.example", 5, 1)], &[], &[]), Some(Answer::Records(vec![address(1)], 5)));
}

#[test]
fn aliases_are_followed_without_loops() {
    let records = Some(Answer::Records(vec![address(9)], 30));
    let chain = [a("c", 300, 9), cname("b", 60, "c"), cname("pbx.example", 30, "b")];
    assert_eq!(of(GOOD, &chain, &[], &[]), records, "in any order, with the lowest TTL");
    let names: Vec<&'static str> =
        (0..MAX_ALIASES).map(|i| &*Box::leak(format!("n{i}").into_boxed_str())).collect();
    let mut long = vec![cname("pbx.example", 30, "n0"), a(names[MAX_ALIASES - 1], 30, 9)];
    long.extend(names.windows(2).map(|w| cname(w[0], 30, w[1])));
    assert_eq!(of(GOOD, &long, &[], &[]), records, "{MAX_ALIASES} of them");
    let part = [cname("pbx.example", 30, "b"), cname("b", 20, "far.example.org")];
    for flags in [GOOD, GOOD | 3] {
        let alias = Some(Answer::Alias("far.example.org".into(), 20));
        assert_eq!(
            of(flags, &part, &[soa(1, 1)], &[]),
            alias,
            "into a zone that this server does not resolve"
        );
    }
    for circle in [
        vec![cname("pbx.example", 9, "pbx.example")],
        vec![cname("pbx.example", 9, "b"), cname("b", 9, "pbx.example")],
        vec![cname("pbx.example", 9, "b"), cname("b", 9, "c"), cname("c", 9, "b")],
    ] {
        assert_eq!(of(GOOD, &circle, &[], &[]), Some(Answer::Nothing { ttl: None, sure: false }));
    }
    assert_eq!(
        of(GOOD, &[a("pbx.example", 1 << 31, 9)], &[], &[]),
        Some(Answer::Records(vec![address(9)], 0))
    );
}

#[test]
fn truncated_responses_are_recognized() {
    assert_eq!(of(GOOD | 0x200, &[], &[], &[]), Some(Answer::Truncated(vec![], 0)));
    let some = Some(Answer::Truncated(vec![address(1)], 60));
    assert_eq!(of(GOOD | 0x200, &[a("pbx.example", 60, 1)], &[], &[]), some);
    let two = [a("pbx.example", 60, 1), a("pbx.example", 60, 2)];
    let mut cut = message(GOOD | 0x200, Some(("pbx.example", Kind::A)), [&two, &[], &[]]);
    cut.pop();
    assert_eq!(read(&cut), some, "cut in the middle of a record");
}

#[test]
fn srv_and_naptr_are_read_and_a_target_at_the_root_is_none() {
    let of = |asked: &'static str, kind: Kind, data: Vec<u8>| {
        let rr: Rr = (asked, kind.code(), 1, 60, data);
        answer(&message(GOOD, Some((asked, kind)), [&[rr], &[], &[]]), 7, asked, kind)
    };
    for target in ["", "one.example.com"] {
        let data = [vec![0, 1, 0, 2, 0x13, 0xc4], name(target)].concat();
        let want = Srv { priority: 1, weight: 2, port: 5060, target: target.into() };
        let got = of("_sip._udp.example.com", Kind::Srv, data);
        assert_eq!(got, Some(Answer::Records(vec![Record::Srv(want)], 60)));
    }
    let data = [&b"\0\x0a\0\x14\x01S\x07SIP+D2T\0"[..], &name("_sip._tcp.example.com")].concat();
    let want = Naptr {
        order: 10,
        preference: 20,
        flags: "s".into(),
        service: "sip+d2t".into(),
        replacement: "_sip._tcp.example.com".into(),
    };
    assert_eq!(of("example.com", Kind::Naptr, data), Some(Answer::Records(vec![Record::Naptr(want)], 60)));
}

//! The resolver over real sockets, with a test name server on loopback.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::mpsc;
use std::thread;

use super::dns::{Dns, interface};
use super::locate::locate;
use crate::base::rng::Rng;
use crate::sip::flow::next_hop;
use crate::sip::locator::Families;
use crate::sip::resolver::question;
use crate::wire::Uri;
use crate::wire::dns::{Kind, Record};

/// Messages that a server sends for a query.
type Says = fn(&[u8]) -> Vec<Vec<u8>>;

/// A UDP server that reports each query it receives: whether with EDNS, and the record type.
fn udp(says: Says) -> (SocketAddr, mpsc::Receiver<(bool, u8)>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = socket.local_addr().unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let asked = &buffer[..n];
            let _sent = tell.send((asked[11] == 1, kind(asked)));
            says(asked).iter().for_each(|m| drop(socket.send_to(m, from)));
        }
    });
    (addr, told)
}

fn end_of_question(asked: &[u8]) -> usize {
    let mut at = 12;
    while asked[at] != 0 {
        at += usize::from(asked[at]) + 1;
    }
    at + 5
}

fn kind(asked: &[u8]) -> u8 {
    asked[end_of_question(asked) - 3]
}

fn head(asked: &[u8], flags: u16, answers: u8) -> Vec<u8> {
    let mut out = asked[..2].to_vec();
    out.extend(flags.to_be_bytes());
    out.extend([0, 1, 0, answers, 0, 0, 0, 0]);
    out.extend(&asked[12..end_of_question(asked)]);
    out
}

/// A response with addresses 192.0.2.x.
fn addresses(asked: &[u8], flags: u16, last: &[u8]) -> Vec<u8> {
    let mut out = head(asked, flags, u8::try_from(last.len()).unwrap());
    for last in last {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, *last]);
    }
    out
}

fn look_up(servers: &[SocketAddr], name: &str) -> Vec<Record> {
    let dns = Dns::new(servers.to_vec(), Rng::from_number(1));
    smol::block_on(dns.look_up(question(name, Kind::A)))
}

fn records(last: &[u8]) -> Vec<Record> {
    last.iter().map(|l| Record::Address([192, 0, 2, *l].into())).collect()
}

fn without_edns(asked: &[u8]) -> Vec<Vec<u8>> {
    let bare = |flags: u16| [&asked[..2], &flags.to_be_bytes()[..], &[0; 8]].concat();
    match asked[11] {
        0 => vec![addresses(asked, 0x8180, &[1])],
        // FORMERR without question section, as some servers send it.
        _ => vec![bare(0x8181)],
    }
}

#[test]
fn a_server_without_edns_is_queried_without_from_then_on() {
    let (server, asked) = udp(without_edns);
    let dns = Dns::new(vec![server], Rng::from_number(1));
    for name in ["one.example", "two.example"] {
        assert_eq!(smol::block_on(dns.look_up(question(name, Kind::A))), records(&[1]));
    }
    assert_eq!(smol::block_on(dns.look_up(question("ONE.example.", Kind::A))), records(&[1]), "remembered");
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), [(true, 1), (false, 1), (false, 1)]);
}

#[test]
fn unrelated_answers_are_ignored() {
    let (server, _asked) = udp(|asked| {
        let right = addresses(asked, 0x8180, &[7]);
        let mut id = addresses(asked, 0x8180, &[6]);
        id[0] ^= 1;
        let mut name = addresses(asked, 0x8180, &[6]);
        name[13] ^= 1;
        let question = asked.to_vec();
        vec![id, name, question, vec![], right]
    });
    assert_eq!(look_up(&[server], "pbx.example"), records(&[7]));
}

#[test]
fn truncated_answers_are_repeated_over_tcp_or_used_in_part() {
    let truncated: Says = |asked| vec![addresses(asked, 0x8380, &[1])];
    let (server, _asked) = udp(truncated);
    assert_eq!(look_up(&[server], "pbx.example"), records(&[1]), "TCP is refused there");
    let (good, _asked) = udp(|asked| vec![addresses(asked, 0x8180, &[8])]);
    assert_eq!(
        look_up(&[server, good], "pbx.example"),
        records(&[8]),
        "the other server has the complete answer"
    );
    let (server, _asked) = udp(truncated);
    let listener = TcpListener::bind(server).unwrap();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut asked = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut asked).unwrap();
        let answer = addresses(&asked, 0x8180, &[1, 2, 3]);
        stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        // In fragments, as networks deliver it.
        answer.chunks(10).for_each(|c| stream.write_all(c).unwrap());
    });
    assert_eq!(look_up(&[server], "pbx.example"), records(&[1, 2, 3]));
    serving.join().unwrap();
}

#[test]
fn a_good_server_among_bad_ones_is_used() {
    let (silent, _asked) = udp(|_| vec![]);
    let (refuses, _asked) = udp(|asked| vec![head(asked, 0x8185, 0)]);
    let (garbage, _asked) = udp(|asked| vec![[&asked[..2], &[0x81, 0x80, 0, 1, 0xff][..]].concat()]);
    let closed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let unroutable: SocketAddr = "[fe80::1]:53".parse().unwrap();
    let (good, _asked) = udp(|asked| vec![addresses(asked, 0x8180, &[9])]);
    for bad in [silent, refuses, garbage, closed, unroutable] {
        assert_eq!(look_up(&[bad, good], "pbx.example"), records(&[9]), "{bad}");
    }
    assert_eq!(look_up(&[silent, refuses, garbage, closed, unroutable, good], "pbx.example"), records(&[9]));
}

#[test]
fn a_call_finds_its_server_though_most_questions_stay_unanswered() {
    let only_ipv4: Says =
        |asked| if kind(asked) == 1 { vec![addresses(asked, 0x8180, &[4])] } else { vec![] };
    let (server, asked) = udp(only_ipv4);
    let dns = Dns::new(vec![server], Rng::from_number(1));
    let hop = next_hop(Uri::parse("sip:pbx.example:5080").unwrap().sip().unwrap()).unwrap();
    for families in [Families { v4: true, v6: true }, Families { v4: true, v6: false }] {
        let found = smol::block_on(locate(&dns, families, &hop, false)).places;
        let found: Vec<String> = found.iter().map(|p| format!("{} {}", p.target.addr, p.name)).collect();
        assert_eq!(found, ["192.0.2.4:5080 pbx.example"]);
    }
    let kinds: Vec<u8> = asked.try_iter().map(|(_, kind)| kind).collect();
    assert_eq!(kinds, [1, 28], "AAAA only where there is IPv6, and A once");
}

#[test]
fn interfaces_have_an_index() {
    assert_eq!(interface("lo"), Some(1));
    for none in ["", "none-such", "../net/lo", "."] {
        assert_eq!(interface(none), None, "{none}");
    }
}

//! SIP server look-ups with misbehaving name servers, in virtual time.

use std::time::Duration;

use super::flow::{NextHop, next_hop};
use super::locator::Families;
use super::resolver::virtual_servers::{Network, Odd, a, aaaa, srv};
use crate::wire::Uri;
use crate::wire::dns::{Kind, Naptr, Record};

const V4: Families = Families { v4: true, v6: false };
const BOTH: Families = Families { v4: true, v6: true };

fn hop(uri: &str) -> NextHop {
    next_hop(Uri::parse(uri).unwrap().sip().unwrap()).unwrap()
}

fn rule(service: &str, replacement: &str) -> Record {
    Record::Naptr(Naptr {
        order: 1,
        preference: 1,
        flags: "s".into(),
        service: service.into(),
        replacement: replacement.into(),
    })
}

/// A domain with `n` servers of its UDP service.
fn domain(servers: &[Odd], n: u8) -> Network {
    let mut net = Network::of(servers);
    let all = (1..=n).map(|i| srv(i.into(), &format!("s{i}.example"))).collect();
    net.has("_sip._udp.prov.example", Kind::Srv, all);
    for i in 1..=n {
        net.has(&format!("s{i}.example"), Kind::A, vec![a(i)]);
    }
    net
}

fn servers(n: u8) -> Vec<String> {
    (1..=n).map(|i| format!("Udp 127.0.0.{i}:{}", 5070 + u16::from(i))).collect()
}

#[test]
fn addresses_that_are_never_told_cost_a_moment_however_many_servers_there_are() {
    for n in 1..=3 {
        let mut net = domain(&[Odd::Ignores(Kind::Aaaa)], n);
        let sip = hop("sip:prov.example");
        assert_eq!(net.locate(&sip, BOTH), (servers(n), 240), "{:?}", net.log);
        net.now += Duration::from_secs(25);
        assert_eq!(net.locate(&sip, BOTH), (servers(n), 0), "{:?}", net.log);
        let mut net = domain(&[Odd::Ignores(Kind::Aaaa)], n);
        assert_eq!(net.locate(&sip, V4), (servers(n), 40), "{:?}", net.log);
        assert!(net.log.iter().all(|l| !l.contains("Aaaa")), "nobody has IPv6 here: {:?}", net.log);
    }
    // Vice versa, and a name without SRV records.
    let mut net = Network::of(&[Odd::Ignores(Kind::A)]);
    net.has("h.example", Kind::Aaaa, vec![aaaa(9)]);
    assert_eq!(net.locate(&hop("sip:h.example:5080"), BOTH), (vec!["Udp [fd00::9]:5080".to_owned()], 220));
    let mut net = Network::of(&[Odd::Ignores(Kind::Aaaa)]);
    net.has("h.example", Kind::A, vec![a(9)]);
    assert_eq!(net.locate(&hop("sip:h.example"), BOTH), (vec!["Udp 127.0.0.9:5060".to_owned()], 220));
    // Both resolved: IPv4 first, without waiting; and a family known to be empty is not waited for.
    let mut net = Network::of(&[Odd::Good]);
    net.has("h.example", Kind::A, vec![a(9)]);
    net.has("h.example", Kind::Aaaa, vec![aaaa(9)]);
    let both = vec!["Udp 127.0.0.9:5080".to_owned(), "Udp [fd00::9]:5080".to_owned()];
    assert_eq!(net.locate(&hop("sip:h.example:5080"), BOTH), (both, 20));
    assert_eq!(net.log.len(), 2, "a port: no services are asked for");
}

#[test]
fn an_odd_server_makes_no_trunk_dead() {
    let sip = hop("sip:prov.example");
    for (servers_, longest) in [
        (vec![Odd::Good], 40),
        (vec![Odd::NoEdns], 60),
        (vec![Odd::DropsEdns], 2100),
        (vec![Odd::Slow(3400)], 7000),
        (vec![Odd::Dead, Odd::Good], 900),
        (vec![Odd::Dead, Odd::NoEdns], 1000),
        (vec![Odd::Dead, Odd::Lame, Odd::Good], 1800),
        (vec![Odd::Lame, Odd::Ignorant, Odd::Good], 300),
        (vec![Odd::Ignores(Kind::Naptr)], 1600),
        (vec![Odd::IgnoresName("_sip._tcp.prov.example")], 1600),
        (vec![Odd::IgnoresName("prov.example")], 1600),
        (vec![Odd::IgnoresName("s2.example")], 1600),
    ] {
        for families in [V4, BOTH] {
            let mut net = domain(&servers_, 3);
            let (mut found, ms) = net.locate(&sip, families);
            let mut want = servers(3);
            if servers_ == [Odd::IgnoresName("s2.example")] {
                want.remove(1);
            }
            assert_eq!(found, want, "{servers_:?}");
            assert!(ms <= longest, "{servers_:?}: {ms} ms, {:?}", net.log);
            let again;
            (found, again) = net.locate(&sip, families);
            assert!(found == want && again <= ms / 4, "{servers_:?}: then {again} ms, {:?}", net.log);
        }
    }
}

#[test]
fn who_has_time_waits_for_all_there_is() {
    let mut net = domain(&[Odd::SlowAbout(2600, "s1.example")], 2);
    net.has("s2.example", Kind::Aaaa, vec![aaaa(2)]);
    let sip = hop("sip:prov.example");
    let v6 = "Udp [fd00::2]:5072".to_owned();
    let (found, ms) = net.locate(&sip, BOTH);
    assert!(
        found == [servers(2)[1..].to_vec(), vec![v6.clone()]].concat() && ms <= 1600,
        "{found:?}, {ms} ms"
    );
    let mut net = domain(&[Odd::SlowAbout(2600, "s1.example")], 2);
    net.has("s2.example", Kind::Aaaa, vec![aaaa(2)]);
    assert_eq!(net.locate_as(&sip, BOTH, true), ([servers(2), vec![v6]].concat(), 2620), "{:?}", net.log);
}

#[test]
fn questions_go_side_by_side() {
    let mut net = domain(&[Odd::Slow(100)], 3);
    net.has("prov.example", Kind::Naptr, vec![rule("sip+d2t", "_sip._tcp.x.example")]);
    net.has("_sip._tcp.x.example", Kind::Srv, vec![srv(1, "s1.example"), srv(2, "s2.example")]);
    let want = vec!["Tcp 127.0.0.1:5071".to_owned(), "Tcp 127.0.0.2:5072".to_owned()];
    assert_eq!(net.locate(&hop("sip:prov.example"), BOTH), (want, 200), "{:?}", net.log);
}

#[test]
fn services_that_are_never_told_leave_the_address() {
    let mut net = Network::of(&[Odd::Ignores(Kind::Srv)]);
    net.has("prov.example", Kind::A, vec![a(4)]);
    let want = vec!["Udp 127.0.0.4:5060".to_owned()];
    let (found, ms) = net.locate(&hop("sip:prov.example"), V4);
    assert!(found == want && ms <= 3500, "{ms} ms");
    net.now += Duration::from_secs(25);
    assert_eq!(net.locate(&hop("sip:prov.example"), V4), (want, 0), "{:?}", net.log);
}

#[test]
fn there_are_many_ways_to_say_no() {
    let root = || vec![srv(0, "")];
    let udp = "Udp 127.0.0.1:5060".to_owned();
    let tcp = "Tcp 127.0.0.2:5071".to_owned();
    type Zone = Vec<(&'static str, Kind, Vec<Record>)>;
    let cases: Vec<(&str, Zone, Vec<String>)> = vec![
        ("nothing but an address", vec![], vec![udp.clone()]),
        (
            "no service at all",
            vec![("_sip._udp.p", Kind::Srv, root()), ("_sip._tcp.p", Kind::Srv, root())],
            vec![],
        ),
        ("one is refused, the other not told", vec![("_sip._udp.p", Kind::Srv, root())], vec![]),
        (
            "one is refused, the other there",
            vec![("_sip._udp.p", Kind::Srv, root()), ("_sip._tcp.p", Kind::Srv, vec![srv(1, "t")])],
            vec![tcp.clone()],
        ),
        (
            "rules for other things",
            vec![("p", Kind::Naptr, vec![rule("e2u+sip", "x"), rule("sip+d2s", "y")])],
            vec![udp.clone()],
        ),
        (
            "rules for other things beside a service",
            vec![
                ("p", Kind::Naptr, vec![rule("sips+d2w", "x")]),
                ("_sip._tcp.p", Kind::Srv, vec![srv(1, "t")]),
            ],
            vec![tcp.clone()],
        ),
        (
            "a rule that leads nowhere",
            vec![
                ("p", Kind::Naptr, vec![rule("sip+d2u", "gone"), rule("sip+d2t", "")]),
                ("_sip._tcp.p", Kind::Srv, vec![srv(1, "t")]),
            ],
            vec![tcp.clone()],
        ),
        (
            "a rule that leads to a no",
            vec![("p", Kind::Naptr, vec![rule("sip+d2u", "x")]), ("x", Kind::Srv, root())],
            vec![],
        ),
        (
            "servers without addresses",
            vec![("_sip._tcp.p", Kind::Srv, vec![srv(1, "gone"), srv(1, "t"), srv(1, "t")])],
            vec![tcp],
        ),
        ("only servers without addresses", vec![("_sip._tcp.p", Kind::Srv, vec![srv(1, "gone")])], vec![udp]),
        (
            "an address for a name",
            vec![("_sip._udp.p", Kind::Srv, vec![srv(3, "127.0.0.7")])],
            vec!["Udp 127.0.0.7:5073".to_owned()],
        ),
    ];
    for (what, zone, want) in cases {
        let mut net = Network::of(&[Odd::Good]);
        net.has("p", Kind::A, vec![a(1)]);
        net.has("t", Kind::A, vec![a(2)]);
        zone.into_iter().for_each(|(name, kind, records)| net.has(name, kind, records));
        assert_eq!(net.locate(&hop("sip:p"), BOTH).0, want, "{what}");
    }
}

#[test]
fn what_was_known_stays_usable_while_all_servers_are_down() {
    let mut net = domain(&[Odd::Good, Odd::Good], 2);
    let sip = hop("sip:prov.example");
    net.locate(&sip, V4);
    for odd in [Odd::Dead, Odd::Lame, Odd::Unreachable] {
        net.servers.iter_mut().for_each(|s| s.1 = odd);
        net.now += Duration::from_secs(3600);
        let (found, ms) = net.locate(&sip, V4);
        assert!(found == servers(2) && ms <= 3700, "{odd:?}: {found:?} after {ms} ms");
        assert_eq!(net.locate(&sip, V4), (servers(2), 0), "{odd:?}");
    }
    net.now += Duration::from_secs(24 * 3600);
    assert_eq!(net.locate(&sip, V4).0, Vec::<String>::new(), "for a day at most");
    net.servers.iter_mut().for_each(|s| s.1 = Odd::Good);
    net.now += Duration::from_secs(11);
    assert_eq!(net.locate(&sip, V4).0, servers(2));
    // A negative response is believed.
    net.zone.clear();
    net.now += Duration::from_secs(61);
    assert_eq!(net.locate(&sip, V4).0, Vec::<String>::new());
}

#[test]
fn chains_of_names_that_never_end_are_ended() {
    let mut net = Network::of(&[Odd::Good]);
    let rules = (0..40).map(|i| rule("sip+d2u", &format!("x{i}"))).collect();
    net.has("p", Kind::Naptr, rules);
    for i in 0..40 {
        net.has(&format!("x{i}"), Kind::Srv, (0..40).map(|j| srv(j, &format!("h{i}-{j}"))).collect());
    }
    net.has("p", Kind::A, vec![a(1)]);
    let (found, ms) = net.locate(&hop("sip:p"), BOTH);
    assert!(found == ["Udp 127.0.0.1:5060"] && ms < 24_100, "{found:?} after {ms} ms");
    assert!(net.log.len() <= 24, "{}", net.log.len());
}

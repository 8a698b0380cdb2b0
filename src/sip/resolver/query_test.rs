//! Queries to misbehaving servers, alone and beside working ones.

use std::time::Duration;

use super::query::Outcome;
use super::virtual_servers::{Network, Odd, Tcp, a};
use crate::wire::dns::{Kind, MAX_ALIASES};

fn network(servers: &[Odd]) -> Network {
    let mut net = Network::of(servers);
    net.has("pbx.example", Kind::A, vec![a(1), a(2)]);
    net
}

fn found() -> Outcome {
    Outcome::Records(vec![a(1), a(2)], 60)
}

fn part() -> Outcome {
    Outcome::Records(vec![a(1)], 30)
}

#[test]
fn an_odd_server_alone_is_asked_until_it_tells() {
    for (odd, want, ms, messages) in [
        (Odd::Good, found(), 20, 1),
        (Odd::Slow(900), found(), 900, 1),
        (Odd::Slow(1900), found(), 1900, 2),
        (Odd::Slow(3400), found(), 3400, 2),
        (Odd::NoEdns, found(), 40, 2),
        (Odd::DropsEdns, found(), 1020, 2),
        (Odd::Loses(1), found(), 1020, 2),
        (Odd::Ignorant, Outcome::Nothing(None), 20, 1),
        (Odd::Lame, Outcome::Failure, 40, 2),
        (Odd::Unreachable, Outcome::Failure, 1020, 2),
        (Odd::Dead, Outcome::Silence, 3500, 2),
        (Odd::Ignores(Kind::A), Outcome::Silence, 3500, 2),
        (Odd::Small(Tcp::Good), found(), 60, 2),
        (Odd::Small(Tcp::Refused), part(), 40, 2),
        (Odd::Small(Tcp::Silent), part(), 2520, 2),
    ] {
        let mut net = network(&[odd]);
        assert_eq!(net.ask("pbx.example", Kind::A, None), (want, ms), "{odd:?} {:?}", net.log);
        assert_eq!(net.log.len(), messages, "{odd:?} {:?}", net.log);
    }
}

#[test]
fn an_odd_server_beside_a_good_one_costs_little_and_is_passed_over_afterwards() {
    for (odd, first) in [
        (Odd::Slow(900), 420),
        (Odd::Dead, 420),
        (Odd::Unreachable, 40),
        (Odd::Lame, 60),
        (Odd::Ignorant, 40),
        (Odd::Ignores(Kind::A), 420),
        (Odd::Small(Tcp::Refused), 60),
        (Odd::Small(Tcp::Silent), 440),
        (Odd::DropsEdns, 420),
        (Odd::Loses(1), 420),
    ] {
        for servers in [vec![odd, Odd::Good], vec![odd, Odd::Good, odd]] {
            let mut net = network(&servers);
            assert_eq!(net.ask("pbx.example", Kind::A, None), (found(), first), "{odd:?} {:?}", net.log);
        }
        let mut net = network(&[Odd::Good, odd]);
        assert_eq!(net.ask("pbx.example", Kind::A, None), (found(), 20), "{odd:?} is not even asked");
    }
    for odd in [Odd::Dead, Odd::Unreachable, Odd::Lame] {
        let mut net = network(&[odd, Odd::Good]);
        let _twice = (net.ask("pbx.example", Kind::A, None), net.ask("pbx.example", Kind::A, None));
        assert_eq!(net.ask("pbx.example", Kind::A, None), (found(), 20), "{odd:?}");
        net.now += Duration::from_secs(61);
        net.servers[0].1 = Odd::Good;
        net.ask("pbx.example", Kind::A, None);
        assert!(net.log[0].starts_with("0 1 "), "it gets another chance: {:?}", net.log);
    }
}

#[test]
fn many_bad_servers_do_not_use_up_the_time_of_the_good_one() {
    let mut net = network(&[Odd::Dead, Odd::Lame, Odd::Dead, Odd::Unreachable, Odd::Ignorant, Odd::Good]);
    let (outcome, ms) = net.ask("pbx.example", Kind::A, None);
    assert!(outcome == found() && ms < 1200, "{outcome:?} after {ms} ms: {:?}", net.log);
    let mut net = network(&[Odd::Slow(1950), Odd::Dead, Odd::Dead]);
    assert_eq!(
        net.ask("pbx.example", Kind::A, None),
        (found(), 1950),
        "who was asked first may still answer"
    );
}

#[test]
fn a_server_without_edns_is_remembered_for_a_while() {
    for (odd, plain) in [(Odd::NoEdns, true), (Odd::DropsEdns, true), (Odd::Lame, false), (Odd::Dead, false)]
    {
        let mut net = network(&[odd]);
        net.ask("pbx.example", Kind::A, None);
        net.ask("pbx.example", Kind::Srv, None);
        let want = if plain { "0 1 u Srv pbx.example" } else { "0 1 u+ Srv pbx.example" };
        assert_eq!(net.log[0], want, "{odd:?}");
        net.now += Duration::from_secs(901);
        net.ask("pbx.example", Kind::Srv, None);
        assert_eq!(net.log[0], "0 1 u+ Srv pbx.example", "{odd:?}");
    }
    // A server known to support EDNS is not marked as plain for being silent.
    let mut net = network(&[Odd::Ignores(Kind::Srv)]);
    net.ask("pbx.example", Kind::A, None);
    net.ask("pbx.example", Kind::Srv, None);
    assert_eq!(net.log, ["0 1 u+ Srv pbx.example", "1000 1 u+ Srv pbx.example"]);
}

#[test]
fn aliases_lead_on_at_the_server_that_told_them() {
    let mut net = network(&[Odd::Dead, Odd::NoEdns]);
    net.has_alias("sip.example", Kind::A, "far.example.org", 30);
    net.has_alias("far.example.org", Kind::A, "PBX.example", 300);
    let want = Outcome::Records(vec![a(1), a(2)], 30);
    let (outcome, ms) = net.ask("sip.example", Kind::A, None);
    assert!(outcome == want && ms < 600, "{outcome:?} after {ms} ms: {:?}", net.log);
    for (length, end) in [(MAX_ALIASES, found()), (MAX_ALIASES + 1, Outcome::Nothing(None))] {
        let mut net = network(&[Odd::Good]);
        for i in 1..length {
            net.has_alias(&format!("n{i}"), Kind::A, &format!("n{}", i + 1), 90);
        }
        net.has_alias(&format!("n{length}"), Kind::A, "pbx.example", 90);
        assert_eq!(net.ask("n1", Kind::A, None).0, end, "{length} names");
    }
    for circle in [&["n1", "n1"][..], &["n1", "n2", "n1"], &["n1", "n2", "n3", "n2"]] {
        let mut net = network(&[Odd::Good]);
        circle.windows(2).for_each(|w| net.has_alias(w[0], Kind::A, w[1], 90));
        assert_eq!(net.ask("n1", Kind::A, None).0, Outcome::Nothing(None));
        assert!(net.log.len() < 4, "{:?}", net.log);
    }
}

#[test]
fn who_has_a_stale_answer_does_not_wait_for_all_attempts() {
    let limit = Some(Duration::from_millis(1800));
    let mut net = network(&[Odd::Dead, Odd::Dead]);
    assert_eq!(net.ask("pbx.example", Kind::A, limit), (Outcome::Silence, 1800));
    let mut net = network(&[Odd::Dead, Odd::Dead, Odd::Good]);
    assert_eq!(net.ask("pbx.example", Kind::A, limit), (found(), 820));
    let mut net = network(&[]);
    assert_eq!(net.ask("pbx.example", Kind::A, None), (Outcome::Silence, 0), "nobody to ask");
    let mut net = network(&[Odd::Good]);
    assert_eq!(net.ask("not a name", Kind::A, None), (Outcome::Nothing(None), 0));
    assert!(net.log.is_empty());
}

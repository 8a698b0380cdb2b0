//! RTP from addresses other than the described one: which are accepted, and where our packets are sent.

use std::net::SocketAddr;

use branchline::media::command::{MediaEvent, Quality};
use branchline::media::messages::EngineCommand;
use branchline::media::rtp_endpoint::renegotiation::Renegotiation;
use branchline::rtp::lock::RtpSource;

use crate::wire::{Bench, FarWire, Phone, stream};

/// A leg whose far end describes port 4000 of 10.0.0.9, accepting these sources, too.
fn open(beside: RtpSource) -> (Bench<FarWire>, Phone) {
    let mut b = Bench::new();
    let p = Phone::new(4000, 440.0);
    b.order(EngineCommand::Open(0, p.leg_from(stream(4000), beside)));
    b.tick();
    (b, p)
}

/// Sends `n` packets from there, one per tick; returns the destination of ours in each tick.
fn sends(b: &mut Bench<FarWire>, p: &mut Phone, from: &str, n: usize) -> Vec<String> {
    let from: SocketAddr = from.parse().unwrap();
    let mut to = Vec::new();
    for _ in 0..n {
        let packet = p.packet();
        p.far.0.borrow_mut().inbox.push((from, packet));
        p.far.0.borrow_mut().now_ns = b.now_ns;
        b.tick();
        to.extend(p.far.0.borrow().sent.last().map(|s| s.to.to_string()));
    }
    to
}

fn quality(b: &mut Bench<FarWire>) -> Quality {
    b.order(EngineCommand::Quality(0));
    b.tick();
    let Some(MediaEvent::Quality { quality, .. }) = b.facts.last() else { panic!("{:?}", b.facts) };
    *quality
}

fn networks(texts: &[&str]) -> RtpSource {
    RtpSource { networks: texts.iter().map(|t| t.parse().unwrap()).collect(), symmetric: false }
}

const DESCRIBED: &str = "10.0.0.9:4000";

#[test]
fn the_first_packet_from_a_network_of_the_trunk_locks() {
    for (from, taken) in
        [("10.1.0.1:7000", true), ("10.1.0.254:7000", true), ("10.1.1.1:7000", false), ("192.0.2.1:7", false)]
    {
        let (mut b, mut p) = open(networks(&["10.1.0.0/24", "2001:db8::/32"]));
        let to = sends(&mut b, &mut p, from, 50);
        let want = if taken { from } else { DESCRIBED };
        assert!(to.iter().skip(1).all(|t| t == want), "{from}: {to:?}");
        let told = quality(&mut b);
        let (got, refused) = if taken { (50, 0) } else { (0, 50) };
        assert_eq!((told.received, told.foreign), (got, refused), "{from}");
    }
}

#[test]
fn a_symmetric_source_locks_after_25_consecutive_packets() {
    let (mut b, mut p) = open(RtpSource { symmetric: true, ..RtpSource::default() });
    let to = sends(&mut b, &mut p, "203.0.113.7:7000", 24);
    assert!(to.iter().all(|t| t == DESCRIBED), "{to:?}");
    // A packet of another source restarts the probation.
    sends(&mut b, &mut p, "198.51.100.1:9", 1);
    sends(&mut b, &mut p, "203.0.113.7:7000", 24);
    assert_eq!(quality(&mut b).received, 0);
    let to = sends(&mut b, &mut p, "203.0.113.7:7000", 30);
    assert!(to.iter().skip(1).all(|t| t == "203.0.113.7:7000"), "{to:?}");
    let to = sends(&mut b, &mut p, "198.51.100.1:9", 60);
    assert!(to.iter().all(|t| t == "203.0.113.7:7000"), "it is fixed: {to:?}");
    assert_eq!(quality(&mut b).received, 30);
    // Without the setting no other source is accepted.
    let (mut b, mut p) = open(RtpSource::default());
    let to = sends(&mut b, &mut p, "203.0.113.7:7000", 100);
    assert!(to.iter().all(|t| t == DESCRIBED), "{to:?}");
    let told = quality(&mut b);
    assert_eq!((told.received, told.foreign), (0, 100));
}

#[test]
fn the_settings_survive_a_new_description() {
    let (mut b, mut p) = open(networks(&["10.1.0.0/24"]));
    sends(&mut b, &mut p, "10.1.0.1:7000", 10);
    let refit = Renegotiation { stream: stream(4010), signalling: None, coders: None };
    b.order(EngineCommand::Update(0, Box::new(refit)));
    b.tick();
    let to = sends(&mut b, &mut p, "10.1.0.2:8000", 20);
    assert!(to.iter().skip(1).all(|t| t == "10.1.0.2:8000"), "{to:?}");
    // The described address needs no setting.
    b.order(EngineCommand::Update(
        0,
        Box::new(Renegotiation { stream: stream(4020), signalling: None, coders: None }),
    ));
    b.tick();
    let to = sends(&mut b, &mut p, "10.0.0.9:4020", 20);
    assert!(to.iter().skip(1).all(|t| t == "10.0.0.9:4020"), "{to:?}");
}

#[test]
fn audio_to_an_unconfirmed_far_end_pauses_after_two_seconds() {
    let (mut b, mut p) = open(RtpSource::default());
    let sent = |p: &Phone| p.far.0.borrow().sent.len();
    b.order(EngineCommand::Unproven(0, true));
    let before = sent(&p);
    (0..400).for_each(|_| b.tick());
    let after = sent(&p) - before;
    assert!((98..=102).contains(&after), "{after} packets of 20 ms");
    // One packet confirms the far end; then the ACK may be late.
    sends(&mut b, &mut p, DESCRIBED, 1);
    let before = sent(&p);
    (0..400).for_each(|_| b.tick());
    assert_eq!(sent(&p) - before, 400);
    b.order(EngineCommand::Unproven(0, true));
    (0..200).for_each(|_| b.tick());
    b.order(EngineCommand::Unproven(0, false));
    let before = sent(&p);
    (0..50).for_each(|_| b.tick());
    assert_eq!(sent(&p) - before, 50, "the ACK");
}

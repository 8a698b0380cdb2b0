//! The RTP source settings of a trunk are passed to the media of its calls, and of no others.

use branchline::media::command::Command;
use branchline::rtp::lock::RtpSource;

use crate::calls::{A, call_to, said};
use crate::net::{NONE, Net};
use crate::phone::{PHONE, sdp};

/// A gateway with a trunk at `peer` with these settings.
fn with_trunk(peer: &str, settings: &str) -> Net {
    let trunk = format!("[[sip.trunk]]\nid = \"t\"\ntype = \"ip_ip\"\npeer_uri = \"sip:{peer}\"\n{settings}");
    let mut net = Net::new(1, 1, NONE, &trunk);
    net.nodes[A].gw.accounts(net.now, |a| a.restore_trunks(Vec::new()));
    net.nodes[A].gw.handle_timeout(net.now);
    net
}

fn told(net: &mut Net) -> Option<RtpSource> {
    std::iter::from_fn(|| net.nodes[A].gw.poll_media()).find_map(|c| match c {
        Command::Open { beside, .. } => Some(beside),
        _ => None,
    })
}

/// The phone calls and is answered.
fn inbound(mut net: Net) -> Option<RtpSource> {
    let body = sdp(1, "sendrecv");
    let invite = format!(
        "INVITE sip:x@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bKs\r\nMax-Forwards: 70\r\n\
         From: <sip:p@h>;tag=s\r\nTo: <sip:x@10.0.0.1>\r\nCall-ID: s\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:p@{PHONE}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    said(&mut net, A, &invite);
    let (leg, now) = (net.nodes[A].gw.view().legs()[0].id.clone(), net.now);
    net.nodes[A].gw.legs(now, |l| l.answer(&leg)).ok()?;
    told(&mut net)
}

/// The phone is called and answers.
fn outbound(mut net: Net) -> Option<RtpSource> {
    net.nodes[A].gw.legs(net.now, |l| l.originate(call_to(&format!("sip:bob@{PHONE}")))).ok()?;
    let invite = net.nodes[A].gw.poll_transmit()?;
    let invite = String::from_utf8_lossy(&invite.bytes).into_owned();
    let has = |l: &&str| ["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|n| l.starts_with(n));
    let same: Vec<&str> = invite.lines().filter(has).collect();
    let body = sdp(1, "sendrecv");
    let answer = format!(
        "SIP/2.0 200 OK\r\n{}\r\nContact: <sip:p@{PHONE}>\r\nContent-Type: application/sdp\r\n\
         Content-Length: {}\r\n\r\n{body}",
        same.join("\r\n").replace("@10.0.0.99:5060>", "@10.0.0.99:5060>;tag=t"),
        body.len()
    );
    said(&mut net, A, &answer);
    told(&mut net)
}

#[test]
fn a_trunk_determines_the_rtp_sources_of_its_calls() {
    let of = |networks: &[&str], symmetric: bool| {
        Some(RtpSource { networks: networks.iter().map(|n| n.parse().unwrap()).collect(), symmetric })
    };
    for (peer, settings, want) in [
        (PHONE, "rtp_from = [\"10.1.0.0/24\", \"192.0.2.7\"]\n", of(&["10.1.0.0/24", "192.0.2.7/32"], false)),
        (PHONE, "rtp_symmetric = true\n", of(&[], true)),
        (PHONE, "", of(&[], false)),
        ("10.0.0.77", "rtp_symmetric = true\nrtp_from = [\"10.1.0.0/24\"]\n", of(&[], false)),
    ] {
        assert_eq!(inbound(with_trunk(peer, settings)), want, "from {peer}: {settings}");
        assert_eq!(outbound(with_trunk(peer, settings)), want, "to {peer}: {settings}");
    }
}

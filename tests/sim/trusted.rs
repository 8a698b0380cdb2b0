//! Identification of trunks: over which transports, and which may set the webhook of their calls.

use branchline::gateway::interface::command::Originate;
use branchline::sip::flow::Transport;

use crate::calls::{A, B, FOREVER, call_to};
use crate::hand::{Hand, along, sdp};
use crate::net::{NONE, Net};

fn hook_of_the_call(trusted: bool, source: &str, transport: &str) -> (Option<String>, bool) {
    let settings = format!(
        "[[sip.trunk]]\nid = \"t\"\ntype = \"ip_ip\"\npeer_uri = \"sip:{source}\"\ntrust_webhook = {trusted}\n"
    );
    let mut net = Net::new(1, 2, NONE, &settings);
    net.with(B, |gw, now| gw.accounts(now, |a| a.restore_trunks(Vec::new())));
    net.run_for(10);
    let headers =
        [("X-Webhook-URL", "https://hooks.example/x"), ("X-Webhook-Secret", "s3cret"), ("X-Other", "1")];
    let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    let wanted = Originate { headers, ..call_to(&format!("sip:desk@10.0.0.2;transport={transport}")) };
    let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id;
    assert!(net.run_until(5_000, |n| !n.legs(B).is_empty()));
    let rang = net.nodes[B].events.iter().find(|e| e.kind() == "leg.ringing").unwrap().clone();
    let shown = rang.to_json("").to_string();
    assert!(
        shown.contains("X-Other") && !shown.contains("s3cret") && !shown.contains("hooks.example"),
        "{shown}"
    );
    net.with(A, |gw, now| gw.legs(now, |l| l.hang_up(&a, None))).unwrap();
    net.run_for(FOREVER);
    let last = net.nodes[B].events.last().unwrap();
    assert_eq!(last.webhook, rang.webhook, "all events of the leg go there");
    let named = rang.webhook.map(|h| format!("{} {}", h.url, h.secret.unwrap_or_default()));
    (named, shown.contains("\"trunk_id\":\"t\""))
}

#[test]
fn only_a_trusted_trunk_names_the_webhook_of_its_calls() {
    let named = Some("https://hooks.example/x s3cret".into());
    assert_eq!(hook_of_the_call(true, "10.0.0.1", "tcp"), (named, true));
    assert_eq!(hook_of_the_call(true, "10.0.0.1", "udp"), (None, true), "anybody can write a source");
    assert_eq!(hook_of_the_call(false, "10.0.0.1", "tcp"), (None, true));
    assert_eq!(hook_of_the_call(true, "10.0.0.77", "tcp"), (None, false), "somebody else calls");
}

#[test]
fn a_trunk_is_identified_on_its_transport_or_a_stronger_one() {
    use Transport::{Tcp, Tls, Udp};
    for (uri, known) in [
        ("sip:10.0.0.77", vec![Udp, Tcp, Tls]),
        ("sip:10.0.0.77;transport=udp", vec![Udp, Tcp, Tls]),
        ("sip:10.0.0.77;transport=tcp", vec![Tcp, Tls]),
        ("sip:10.0.0.77:5061;transport=tls", vec![Tls]),
        ("sips:10.0.0.77", vec![Tls]),
    ] {
        for transport in [Udp, Tcp, Tls] {
            for (peer, addr) in [(true, "10.0.0.77:40001"), (false, "10.0.0.78:40001")] {
                let trunk = format!(
                    "[sip]\naccept_from = [\"192.0.2.0/24\"]\n[[sip.trunk]]\nid = \"t\"\ntype = \"ip_ip\"\npeer_uri = \"{uri}\"\n"
                );
                let mut hand = Hand::new(transport, &trunk);
                hand.at = along(transport, addr, transport.is_reliable().then_some(1));
                let now = hand.now;
                hand.gw.accounts(now, |a| a.restore_trunks(Vec::new()));
                hand.gw.handle_timeout(now);
                let heard = hand.asks("INVITE", "", Some(&sdp(1, "sendrecv")));
                let rang =
                    hand.events.iter().find(|e| e.kind() == "leg.ringing").map(|e| e.to_json("").to_string());
                let taken = rang.is_some_and(|r| r.contains("\"trunk_id\":\"t\""));
                let wanted = peer && known.contains(&transport);
                assert_eq!((taken, heard.is_empty()), (wanted, !wanted), "{uri} {transport:?} {addr}");
            }
        }
    }
}

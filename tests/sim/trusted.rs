//! Trunks that may name the webhook of their calls, and those that may not.

use branchline::gateway::command::Originate;

use crate::calls::{A, B, FOREVER, call_to};
use crate::net::{NONE, Net};

fn hook_of_the_call(trusted: bool, source: &str) -> (Option<String>, bool) {
    let settings = format!(
        "[[sip.trunk]]\nid = \"t\"\ntype = \"ip_ip\"\npeer_uri = \"sip:{source}\"\ntrust_webhook = {trusted}\n"
    );
    let mut net = Net::new(1, 2, NONE, &settings);
    net.with(B, |gw, now| gw.restore_trunks(now, Vec::new()));
    net.run_for(10);
    let headers =
        [("X-Webhook-URL", "https://hooks.example/x"), ("X-Webhook-Secret", "s3cret"), ("X-Other", "1")];
    let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    let wanted = Originate { headers, ..call_to("sip:desk@10.0.0.2") };
    let a = net.with(A, |gw, now| gw.originate(now, wanted)).unwrap().id;
    assert!(net.run_until(5_000, |n| !n.legs(B).is_empty()));
    let rang = net.nodes[B].events.iter().find(|e| e.kind == "leg.ringing").unwrap().clone();
    let shown = rang.to_json("").to_string();
    assert!(
        shown.contains("X-Other") && !shown.contains("s3cret") && !shown.contains("hooks.example"),
        "{shown}"
    );
    net.with(A, |gw, now| gw.hang_up_leg(now, &a, None)).unwrap();
    net.run_for(FOREVER);
    let last = net.nodes[B].events.last().unwrap();
    assert_eq!(last.hook, rang.hook, "all events of the leg go there");
    let named = rang.hook.map(|h| format!("{} {}", h.url, h.secret.unwrap_or_default()));
    (named, shown.contains("\"trunk_id\":\"t\""))
}

#[test]
fn only_a_trusted_trunk_names_the_webhook_of_its_calls() {
    assert_eq!(hook_of_the_call(true, "10.0.0.1"), (Some("https://hooks.example/x s3cret".into()), true));
    assert_eq!(hook_of_the_call(false, "10.0.0.1"), (None, true));
    assert_eq!(hook_of_the_call(true, "10.0.0.77"), (None, false), "somebody else calls");
}

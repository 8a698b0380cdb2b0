//! Reload of the configuration while calls run.

use std::rc::Rc;

use branchline::gateway::interface::changed::Changed;
use branchline::gateway::interface::command::Originate;

use crate::calls::{A, B, call_to};
use crate::net::{NONE, Net, config};

const BRANCH: &str = "[sip]\ndomains = [\"branch.test\", \"node1.test\"]\nuser = [{ name = \"anna\", password = \"secret\" }]\n";

fn with_trunk(password: &str, more: &str) -> String {
    format!(
        "{BRANCH}[[sip.trunk]]\nid = \"line\"\ntype = \"sip_register\"\nregistrar_uri = \"sip:node1.test\"\n\
         aor = \"sip:anna@branch.test\"\npassword = \"{password}\"\n{more}"
    )
}

fn reload(net: &mut Net, node: usize, text: &str) -> Changed {
    net.with(node, |gw, now| gw.reload(now, config(text)))
}

fn status(net: &Net) -> &'static str {
    net.nodes[A].gw.view().trunks().view_of("line").map_or("gone", |t| t.status)
}

fn count(net: &Net, node: usize, kind: &str) -> usize {
    net.nodes[node].events.iter().filter(|e| e.kind() == kind).count()
}

#[test]
fn configured_trunks_are_added_changed_and_removed_during_calls() {
    let mut net = Net::new(1, 2, NONE, BRANCH);
    let added = reload(&mut net, A, &with_trunk("wrong", ""));
    assert_eq!(added, Changed { trunks_added: 1, ..Changed::default() });
    assert!(net.run_until(60_000, |n| status(n) == "failed"));
    // While the refused trunk waits for its retry, and the new one is being registered.
    let changed = Changed { trunks_changed: 1, ..Changed::default() };
    assert_eq!(reload(&mut net, A, &with_trunk("secret", "")), changed);
    assert_eq!(reload(&mut net, A, &with_trunk("secret", "contact_user = \"desk\"\n")), changed);
    assert!(net.run_until(5000, |n| status(n) == "active"), "it does not wait for the next try");
    net.run_for(5000);
    let known = net.nodes[B].gw.view().registrations();
    assert!(known.iter().any(|k| k.contact.starts_with("sip:desk@")), "{known:?}");
    // A call through it continues after the trunk was removed.
    let wanted = Originate { from: "anna".into(), ..call_to("sip:desk@node1.test") };
    let a = net.with(A, |gw, now| gw.legs(now, |l| l.originate(wanted))).unwrap().id;
    assert!(net.run_until(60_000, |n| !n.legs(B).is_empty()));
    let b = net.legs(B)[0].clone();
    net.with(B, |gw, now| gw.legs(now, |l| l.answer(&b))).unwrap();
    net.run_for(2000);
    assert_eq!(reload(&mut net, A, &with_trunk("secret", "contact_user = \"desk\"\n")), Changed::default());
    assert_eq!(reload(&mut net, A, BRANCH), Changed { trunks_removed: 1, ..Changed::default() });
    net.run_for(40_000);
    assert_eq!((status(&net), net.state(A, &a), net.state(B, &b)), ("gone", "connected", "connected"));
    assert!(
        !net.nodes[B].gw.view().registrations().iter().any(|k| k.contact.starts_with("sip:desk@")),
        "taken back"
    );
    net.with(B, |gw, now| gw.legs(now, |l| l.hang_up(&b, None))).unwrap();
    net.run_for(40_000);
    assert_eq!(net.nodes[A].gw.view().legs().len(), 0);
}

#[test]
fn a_trunk_with_a_changed_account_is_replaced() {
    let mut net = Net::new(2, 2, NONE, BRANCH);
    reload(&mut net, A, &with_trunk("secret", ""));
    assert!(net.run_until(60_000, |n| status(n) == "active"));
    let other = with_trunk("secret", "").replace("sip:anna@branch.test", "sip:anna@node1.test");
    assert_eq!(reload(&mut net, A, &other), Changed { trunks_added: 1, ..Changed::default() });
    assert!(net.run_until(60_000, |n| status(n) == "active"));
    net.run_for(40_000);
    let trunks = net.nodes[A].gw.view().trunks().views();
    assert_eq!(trunks.len(), 1, "{trunks:?}");
    assert_eq!(trunks[0].sip_register.as_ref().unwrap().aor, "sip:anna@node1.test");
}

#[test]
fn bindings_of_removed_users_are_deleted_and_others_stay() {
    let both =
        BRANCH.replace("{ name = \"anna\"", "{ name = \"bert\", password = \"b\" }, { name = \"anna\"");
    let mut net = Net::new(3, 2, NONE, &both);
    reload(&mut net, A, &with_trunk("secret", ""));
    assert!(net.run_until(60_000, |n| status(n) == "active"));
    assert_eq!(reload(&mut net, B, BRANCH), Changed { users_removed: 1, ..Changed::default() });
    assert_eq!(net.nodes[B].gw.view().registrations().len(), 1, "anna stays");
    let new = BRANCH.replace("secret", "another");
    assert_eq!(reload(&mut net, B, &new), Changed { users_changed: 1, ..Changed::default() });
    assert_eq!(net.nodes[B].gw.view().registrations().len(), 1, "until her registration runs out");
    assert_eq!(reload(&mut net, B, ""), Changed { users_removed: 1, ..Changed::default() });
    assert_eq!(net.nodes[B].gw.view().registrations(), []);
    assert_eq!(count(&net, B, "sip.registration_expired"), 1);
    // No user can register any more.
    net.run_for(7_200_000);
    assert_eq!(status(&net), "expired");
    let same = Rc::clone(&config(""));
    assert_eq!(net.with(B, |gw, now| gw.reload(now, same)), Changed::default());
}

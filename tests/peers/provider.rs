//! A trunk to Kamailio, with every digest algorithm, and with rtpengine in between for one of them:
//! registration, calls in both directions, refusals, unregistration.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::office::{Office, done};
use crate::phone::{Phone, script};

/// Ends the held processes and their children.
pub struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        drop(self.0.wait());
    }
}

pub fn start(command: &mut Command) -> Server {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Server(child.expect("the peers are installed by `make test`"))
}

fn kamailio(dir: &Path, port: u16, algorithm: &str, relay: Option<u16>) -> Server {
    let mut command = Command::new("kamailio");
    command.arg("-f").arg(script("tests/peers/kamailio.cfg")).args(["-DD", "-E", "-m", "64", "-M", "8"]);
    command.arg("-w").arg(dir).arg("-Y").arg(dir);
    command.args(["-A", &format!("PORT={port}"), "-A", &format!("ALGORITHM=\"{algorithm}\"")]);
    if let Some(relay) = relay {
        command.args(["-A", &format!("RELAY=\"udp:127.0.0.1:{relay}\"")]);
    }
    start(&mut command)
}

pub fn rtpengine(dir: &Path, port: u16) -> Server {
    let mut command = Command::new("rtpengine");
    command.args([
        "--config-file=none",
        "--table=-1",
        "--interface=127.0.0.1",
        "--foreground",
        "--log-stderr",
    ]);
    command.args(["--port-min=41000", "--port-max=41100", &format!("--listen-ng=127.0.0.1:{port}")]);
    command.arg(format!("--pidfile={}/rtpengine.pid", dir.display()));
    let server = start(&mut command);
    // Earlier calls would have no media.
    assert!(ask(port, "d7:command4:pinge").contains("pong"));
    server
}

/// rtpengine's reply to a command, once it listens.
pub fn ask(port: u16, command: &str) -> String {
    let asks = UdpSocket::bind("127.0.0.1:0").unwrap();
    asks.connect(("127.0.0.1", port)).unwrap();
    asks.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    // A request with the same cookie gets the same reply again.
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    let request = format!("{} {command}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut reply = vec![0; 65536];
    loop {
        if let Ok(n) = asks.send(request.as_bytes()).and_then(|_| asks.recv(&mut reply)) {
            return String::from_utf8_lossy(&reply[..n]).into_owned();
        }
        assert!(Instant::now() < until, "rtpengine does not answer");
        // A closed port is reported at once.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn subscriber(office: &Office, port: u16, provider: u16) -> Phone {
    let domain = format!("set:domain=127.0.0.1:{provider}");
    office.phone_of(port, "bob", &[&domain, "set:password=secret", "set:reg_interval=60"])
}

fn calls_through(name: &str, port: u16, phones: u16, algorithm: &str, relay: Option<u16>) {
    let office = Office::open_with(name, &[], |dir| {
        std::fs::write(dir.join("password"), "secret\n").unwrap();
        format!(
            "[[sip.trunk]]\nid = \"provider\"\ntype = \"sip_register\"\nregistrar_uri = \"sip:127.0.0.1:{port}\"\n\
             aor = \"sip:branch@127.0.0.1:{port}\"\npassword_file = \"{}/password\"\nexpires_seconds = 60\n",
            dir.display()
        )
    });
    let _relay = relay.map(|relay| rtpengine(office.dir(), relay));
    let _proxy = kamailio(office.dir(), port, algorithm, relay);
    // The gateway may have tried before the proxy listened.
    let active = office.events.json("type", "sip.outbound_registration_active", 60);
    assert_eq!((&active["trunk_id"], &active["granted_expires_seconds"]), (&"provider".into(), &60.into()));
    let view = office.gateway.get("/v1/sip/trunks/provider").json();
    assert_eq!((&view["status"], &view["sip_register"]["username"]), (&"active".into(), &"branch".into()));
    assert!(!view.to_string().contains("secret"), "{view}");

    let mut bob = subscriber(&office, phones, port);
    bob.order("register");
    let (listener, _) = office.caller_in_room(phones + 4, "r");

    // From the branch, through the provider, to its other subscriber.
    let body = format!(
        r#"{{"type":"sip","uri":"sip:bob@127.0.0.1:{port}","from":"branch","privacy":"id","room_id":"r"}}"#
    );
    let leg = office.originate(&body);
    assert_eq!(office.event_of("leg.ringing", &leg)["trunk_id"], "provider");
    bob.wait("incoming");
    bob.say("answer");
    bob.wait("established");
    office.event_of("leg.connected", &leg);
    listener.hears(&bob);
    bob.hears(&listener);
    done(office.gateway.post(&format!("/v1/legs/{leg}/hold"), ""), "held");
    done(office.gateway.delete(&format!("/v1/legs/{leg}/hold")), "resumed");
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    bob.wait("ended");
    office.event_of("leg.disconnected", &leg);

    // The reverse direction.
    bob.say(&format!("dial sip:branch@127.0.0.1:{port}"));
    let rang = office.event("leg.ringing");
    assert_eq!((&rang["trunk_id"], &rang["from"]), (&"provider".into(), &"bob".into()));
    let leg = rang["leg_id"].as_str().unwrap().to_owned();
    done(office.gateway.post("/v1/rooms/r/legs", &format!(r#"{{"leg_id":"{leg}"}}"#)), "added");
    bob.wait("established");
    listener.hear(0.5);
    listener.hears(&bob);
    bob.say("hangup");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "remote_bye");

    // An unknown user, and a wrong password.
    let leg =
        office.originate(&format!(r#"{{"type":"sip","uri":"sip:nobody@127.0.0.1:{port}","from":"branch"}}"#));
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "not_found");
    let wrong = format!(
        r#"{{"type":"sip_register","sip_register":{{"registrar_uri":"sip:127.0.0.1:{port}","aor":"sip:carol@127.0.0.1:{port}","password":"wrong"}}}}"#
    );
    let added = office.gateway.post("/v1/sip/trunks", &wrong);
    assert_eq!(added.status, 202, "{added:?}");
    let id = added.json()["id"].as_str().unwrap().to_owned();
    let failed = office.event("sip.outbound_registration_failed");
    assert_eq!((&failed["trunk_id"], &failed["error"]), (&id.as_str().into(), &"401 Unauthorized".into()));
    assert_eq!(office.gateway.delete(&format!("/v1/sip/trunks/{id}")).status, 202);
    assert_eq!(office.gateway.get(&format!("/v1/sip/trunks/{id}")).status, 404);
    let fixed = office.gateway.delete("/v1/sip/trunks/provider");
    assert!(fixed.status == 409 && fixed.error().contains("configuration file"), "{fixed:?}");

    // A trunk created over the API, which is unregistered when deleted.
    let made = wrong.replace("wrong", "secret");
    let id = office.gateway.post("/v1/sip/trunks", &made).json()["id"].as_str().unwrap().to_owned();
    assert_eq!(office.gateway.post("/v1/sip/trunks", &made).status, 409, "the same account");
    assert_eq!(office.event("sip.outbound_registration_active")["trunk_id"], id.as_str());
    assert_eq!(office.gateway.delete(&format!("/v1/sip/trunks/{id}")).status, 202);
    let over = office.event("sip.outbound_registration_expired");
    assert_eq!((&over["trunk_id"], &over["reason"]), (&id.as_str().into(), &"unregistered".into()));
    assert_eq!(office.gateway.get(&format!("/v1/sip/trunks/{id}")).status, 404);
    bob.say(&format!("refused sip:carol@127.0.0.1:{port}"));
    let nobody = bob.wait("not established");
    assert!(nobody["error"].as_str().unwrap().contains("404"), "{nobody}");
}

#[test]
fn a_trunk_with_md5() {
    calls_through("provider-md5", 5760, 5680, "MD5", None);
}

#[test]
fn a_trunk_with_sha_256_and_a_media_relay_between() {
    calls_through("provider-sha", 5762, 5690, "SHA-256", Some(5764));
}

#[test]
fn a_trunk_whose_domain_only_its_proxy_knows() {
    let office = Office::open_with("provider-proxy", &[], |_| {
        "[[sip.trunk]]\nid = \"provider\"\ntype = \"sip_register\"\nregistrar_uri = \"sip:provider.invalid\"\n\
         aor = \"sip:branch@provider.invalid\"\npassword = \"secret\"\noutbound_proxy = \"sip:127.0.0.1:5766\"\n"
            .to_owned()
    });
    let _proxy = kamailio(office.dir(), 5766, "MD5", None);
    office.events.json("type", "sip.outbound_registration_active", 60);
    let mut bob = subscriber(&office, 5768, 5766);
    bob.order("register");
    let leg = office.originate(r#"{"type":"sip","uri":"sip:bob@provider.invalid","from":"branch"}"#);
    bob.wait("incoming");
    bob.say("answer");
    bob.wait("established");
    office.event_of("leg.connected", &leg);
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    bob.wait("ended");
    office.event_of("leg.disconnected", &leg);
    bob.say("dial sip:branch@127.0.0.1:5766");
    let rang = office.event("leg.ringing");
    assert_eq!(rang["trunk_id"], "provider", "{rang}");
    let leg = rang["leg_id"].as_str().unwrap().to_owned();
    done(office.gateway.post(&format!("/v1/legs/{leg}/answer"), ""), "answering");
    bob.wait("established");
    bob.say("hangup");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "remote_bye");
}

//! TLS and SRTP with a real phone, in both call directions: received audio is compared with the original.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::office::{Office, done};
use crate::phone::Phone;

/// A CA, a certificate for 127.0.0.1 and localhost, and a combined certificate and key file for the phone.
pub fn make_certificates(dir: &Path) {
    make_certificates_for(dir, "IP:127.0.0.1,DNS:localhost");
}

/// The same for these names.
fn make_certificates_for(dir: &Path, names: &str) {
    let openssl = |arguments: &str| {
        let ran = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(dir)
            .stderr(Stdio::null())
            .status();
        assert!(ran.expect("openssl is installed by `make test`").success(), "openssl {arguments}");
    };
    std::fs::write(dir.join("names"), format!("subjectAltName={names}\n")).unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca");
    openssl("req -newkey rsa:2048 -nodes -keyout gw.key -out gw.csr -subj /CN=gateway");
    openssl(
        "x509 -req -in gw.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out gw.pem -days 2 -extfile names",
    );
    let both =
        [std::fs::read(dir.join("gw.pem")).unwrap(), std::fs::read(dir.join("gw.key")).unwrap()].concat();
    std::fs::write(dir.join("phone.pem"), both).unwrap();
}

fn settings(dir: &Path, more: &str) -> String {
    make_certificates(dir);
    settings_of(dir, more)
}

fn settings_of(dir: &Path, more: &str) -> String {
    let dir = dir.display();
    format!(
        "[sip]\n{more}\n[sip.tls]\nport = 0\ncert = \"{dir}/gw.pem\"\nkey = \"{dir}/gw.key\"\nca = \"{dir}/ca.pem\"\n"
    )
}

/// A phone that uses TLS, verifies certificates, and encrypts media according to `mediaenc`.
fn secure_phone(office: &Office, port: u16, mediaenc: &str) -> Phone {
    let dir = office.dir().display().to_string();
    let certificate = format!("config:sip_certificate {dir}/phone.pem");
    let authority = format!("config:sip_cafile {dir}/ca.pem");
    let tls = [
        "set:transport=tls",
        certificate.as_str(),
        authority.as_str(),
        "config:sip_verify_server yes",
        mediaenc,
    ];
    office.phone_of(port, "safe", &tls)
}

fn tls_port(office: &Office) -> u64 {
    office.gateway.listen["sip_tls_port"].as_u64().unwrap()
}

#[test]
fn a_phone_calls_over_tls_with_encrypted_media() {
    let office = Office::open_with("tls-in", &[], |dir| settings(dir, ""));
    let mut a = secure_phone(&office, 5620, "mediaenc=srtp-mand");
    let b = office.caller_in_room(5624, "r").0;
    a.say(&format!("dial sip:desk@127.0.0.1:{};transport=tls", tls_port(&office)));
    let leg = office.event("leg.ringing")["leg_id"].as_str().unwrap().to_owned();
    done(office.gateway.post("/v1/rooms/r/legs", &format!(r#"{{"leg_id":"{leg}"}}"#)), "added");
    a.wait("established");
    b.hears(&a); // the plain phone hears the encrypted one
    a.hears(&b);
    a.order("digits 19#");
    for digit in ["1", "9", "#"] {
        assert_eq!(office.event("leg.dtmf")["digit"], digit);
    }
    a.order("hold");
    office.event("leg.hold");
    a.order("resume");
    office.event("leg.unhold");
    b.hear(0.5);
    b.hears(&a); // after a hold the same keys are used
    // Encrypted RTCP works in both directions: otherwise there would be no round-trip time.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let rtt = || office.gateway.get(&format!("/v1/legs/{leg}/quality")).json()["rtt_ms"].clone();
    while rtt().is_null() {
        assert!(std::time::Instant::now() < until, "no encrypted report was understood");
        std::thread::park_timeout(std::time::Duration::from_millis(300));
    }
    a.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye");
}

#[test]
fn callers_without_a_required_client_certificate_are_rejected() {
    let office = Office::open_with("tls-client", &[], |dir| {
        settings(dir, "") + &format!("client_ca = \"{}/ca.pem\"\n", dir.display())
    });
    let to = format!("sip:desk@127.0.0.1:{};transport=tls", tls_port(&office));
    let authority = format!("config:sip_cafile {}/ca.pem", office.dir().display());
    let mut nobody = office.phone_of(5660, "nobody", &["set:transport=tls", &authority]);
    nobody.say(&format!("refused {to}"));
    nobody.wait("not established");
    let mut known = secure_phone(&office, 5664, "mediaenc=srtp");
    known.say(&format!("dial {to}"));
    let leg = office.answered();
    known.wait("established");
    known.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye");
}

#[test]
fn we_call_over_tls_and_offer_keys() {
    let office = Office::open_with("tls-out", &[], |dir| settings(dir, ""));
    let mut a = secure_phone(&office, 5630, "mediaenc=srtp-mand");
    let b = office.caller_in_room(5634, "r").0;
    let body = r#"{"type":"sip","uri":"sip:safe@127.0.0.1:5631;transport=tls","room_id":"r"}"#;
    let leg = office.originate(body);
    a.wait("incoming");
    a.say("answer");
    a.wait("established");
    office.event_of("leg.connected", &leg);
    b.hears(&a);
    a.hears(&b);
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    assert_eq!(office.ended(&leg), "api_hangup");
    a.wait("ended");
}

#[test]
fn unencrypted_media_is_refused_if_srtp_is_required() {
    let office = Office::open_with("tls-must", &[], |dir| settings(dir, "srtp = \"required\""));
    let mut plain = office.phone(5640);
    plain.say(&format!("refused sip:desk@{}", office.sip()));
    let refused = plain.wait("not established");
    assert!(refused["error"].as_str().unwrap().contains("488"), "{refused}");
    // Over UDP too, as configured.
    let mut safe = office.phone_with(5644, &["mediaenc=srtp"]);
    safe.say(&format!("dial sip:desk@{}", office.sip()));
    let leg = office.answered();
    safe.wait("established");
    safe.say("hangup");
    assert_eq!(office.ended(&leg), "remote_bye");
    // For our calls as well: the phone without SRTP refuses.
    let leg = office.originate(r#"{"type":"sip","uri":"sip:user@127.0.0.1:5640"}"#);
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "not_acceptable");
    // A phone that requires SRTP is held and resumed: offers within the call contain it, too.
    let mut strict = office.phone_with(5648, &["mediaenc=srtp-mand"]);
    let leg = office.originate(r#"{"type":"sip","uri":"sip:user@127.0.0.1:5648"}"#);
    strict.wait("incoming");
    strict.say("answer");
    strict.wait("established");
    office.event_of("leg.connected", &leg);
    let hold = format!("/v1/legs/{leg}/hold");
    done(office.gateway.post(&hold, ""), "held");
    done(office.gateway.delete(&hold), "resumed");
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    assert_eq!(office.ended(&leg), "api_hangup");
}

#[test]
fn a_server_with_an_untrusted_ca_is_not_called() {
    let office = Office::open_with("tls-who", &[], |dir| settings(dir, "").replace("ca = ", "#"));
    let _phone = secure_phone(&office, 5650, "mediaenc=srtp-mand");
    let leg = office.originate(r#"{"type":"sip","uri":"sips:safe@127.0.0.1:5651"}"#);
    assert_eq!(office.ended(&leg), "invite_failed");
    // A trunk may be configured to accept any certificate.
    let trunk = r#"{"type":"ip_ip","ip_ip":{"peer_uri":"sip:127.0.0.1:5651;transport=tls","tls_insecure_skip_verify":true}}"#;
    assert_eq!(office.gateway.post("/v1/sip/trunks", trunk).status, 202);
    let leg =
        office.originate(r#"{"type":"sip","uri":"sip:safe@127.0.0.1:5651;transport=tls","ring_timeout":3}"#);
    _phone.wait("incoming");
    assert_eq!(office.ended(&leg), "ring_timeout");
}

#[test]
fn a_server_is_verified_by_a_sip_uri_or_dns_name_of_its_certificate() {
    for (port, names, known) in [
        (5660, "URI:sip:localhost", true),
        (5664, "URI:sip:elsewhere.example,DNS:localhost", false),
        (5668, "URI:sip:anna@localhost", false),
    ] {
        let office = Office::open_with(&format!("tls-name-{port}"), &[], |dir| {
            make_certificates_for(dir, names);
            settings_of(dir, "")
        });
        let phone = secure_phone(&office, port, "mediaenc=srtp-mand");
        let uri = format!("sips:safe@localhost:{}", port + 1);
        let leg = office.originate(&format!(r#"{{"type":"sip","uri":"{uri}","ring_timeout":3}}"#));
        if known {
            phone.wait("incoming");
        }
        assert_eq!(office.ended(&leg), if known { "ring_timeout" } else { "invite_failed" }, "{names}");
    }
}

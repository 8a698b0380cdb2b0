//! SRTP with AES-GCM (RFC 7714): rtpengine encrypts for a phone without it, with one suite at a time, for
//! calls in both directions.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::office::{Office, done};
use crate::phone::{Phone, correlation, script};
use crate::provider::{Server, ask, rtpengine, start};

/// A proxy at `port` between the phone and the gateway, with these flags of rtpengine.
fn proxy(office: &Office, dir: &Path, port: u16, phone: u16, relay: u16, others: &str) -> Server {
    let gateway = office.sip().rsplit(':').next().unwrap().to_owned();
    let mut command = Command::new("kamailio");
    command
        .arg("-f")
        .arg(script("tests/peers/suites.cfg"))
        .args(["-DD", "-E", "-m", "64", "-M", "8"])
        .arg("-w")
        .arg(dir)
        .arg("-Y")
        .arg(dir);
    command.args(["-A", &format!("PORT={port}"), "-A", &format!("PHONE=\"{phone}\"")]);
    command.args(["-A", &format!("GATEWAY={gateway}"), "-A", &format!("RELAY=\"udp:127.0.0.1:{relay}\"")]);
    command.args(["-A", &format!("OTHERS=\"{others}\"")]);
    start(&mut command)
}

/// All suites of rtpengine except AES-GCM.
const OLDER: [&str; 10] = [
    "AES_CM_128_HMAC_SHA1_80",
    "AES_CM_128_HMAC_SHA1_32",
    "AES_192_CM_HMAC_SHA1_80",
    "AES_192_CM_HMAC_SHA1_32",
    "AES_256_CM_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "F8_128_HMAC_SHA1_80",
    "F8_128_HMAC_SHA1_32",
    "NULL_HMAC_SHA1_80",
    "NULL_HMAC_SHA1_32",
];

fn calls_with(suite: &str, other: &str, port: u16) {
    let office =
        Office::open_with(&format!("suites-{port}"), &[], |_| "[sip]\nsrtp = \"required\"\n".to_owned());
    let phone = port + 2;
    let _relay = rtpengine(office.dir(), port + 1);
    let others: String = OLDER.iter().chain([&other]).map(|s| format!("SDES-no-{s} ")).collect();
    let _proxy = proxy(&office, office.dir(), port, phone, port + 1, &others);
    let mut phone = office.phone(phone);

    let leg = office.originate(&format!(r#"{{"type":"sip","uri":"sip:user@127.0.0.1:{port}"}}"#));
    phone.wait("incoming");
    phone.order("answer");
    office.event_of("leg.connected", &leg);
    sounds_right(&office, &phone, &leg, suite);
    assert_eq!(in_use(port + 1), [suite], "what we offered");
    // Its RTCP is encrypted, too: otherwise there would be no round-trip time.
    let until = Instant::now() + Duration::from_secs(20);
    while office.gateway.get(&format!("/v1/legs/{leg}/quality")).json()["rtt_ms"].is_null() {
        assert!(Instant::now() < until, "no encrypted report was understood");
        std::thread::park_timeout(Duration::from_millis(200));
    }
    done(office.gateway.delete(&format!("/v1/legs/{leg}")), "hung_up");
    phone.wait("ended");
    office.event_of("leg.disconnected", &leg);

    phone.say(&format!("dial sip:desk@127.0.0.1:{port}"));
    let leg = office.answered();
    phone.wait("established");
    sounds_right(&office, &phone, &leg, suite);
    assert_eq!(in_use(port + 1), [suite], "what we answered");
    phone.say("hangup");
    assert_eq!(office.event_of("leg.disconnected", &leg)["cdr"]["reason"], "remote_bye");
}

/// A bencode string, and the rest.
fn text(bencode: &str) -> Option<(&str, &str)> {
    let (length, rest) = bencode.split_once(':')?;
    rest.split_at_checked(length.parse().ok()?)
}

/// The suites of rtpengine's calls.
fn in_use(relay: u16) -> Vec<String> {
    let calls = ask(relay, "d7:command4:liste");
    let (_, mut rest) = calls.split_once("5:callsl").unwrap_or_else(|| panic!("a list of calls: {calls}"));
    let mut found = Vec::new();
    while let Some((id, after)) = text(rest) {
        let told = ask(relay, &format!("d7:call-id{}:{id}7:command5:querye", id.len()));
        found.extend(told.split("12:crypto suite").skip(1).filter_map(|t| Some(text(t)?.0.to_owned())));
        rest = after;
    }
    found.sort();
    found.dedup();
    found
}

/// The phone's voice is recorded and it hears a tone unchanged: the suite works in both directions.
fn sounds_right(office: &Office, phone: &Phone, leg: &str, suite: &str) {
    let verb = |path: &str, body: &str| office.gateway.post(&format!("/v1/legs/{leg}/{path}"), body);
    assert_eq!(verb("play", r#"{"tone":"us_dial"}"#).status, 200);
    assert_eq!(verb("record", "{}").status, 200);
    phone.hear(1.0);
    let dial = |i: i32| {
        let wave = |hertz: f64| (std::f64::consts::TAU * hertz * f64::from(i) / 8000.0).sin();
        (4000.0 * (wave(350.0) + wave(440.0))) as i16
    };
    let hears = correlation(&phone.hear(1.5), &(0..8000).map(dial).collect::<Vec<_>>());
    assert_eq!(office.gateway.delete(&format!("/v1/legs/{leg}/record")).status, 200);
    let file = office.event("recording.finished")["file"].as_str().unwrap().to_owned();
    let mut wav = hound::WavReader::open(&file).unwrap();
    let samples: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    let left: Vec<i16> = samples.iter().step_by(2).skip(4000).copied().collect();
    let said = correlation(&left, &phone.voice);
    println!("{suite}: correlation of what was said {said:.3}, of what was heard {hears:.3}");
    assert!(said > 0.9 && hears > 0.9);
}

#[test]
fn a_relay_encrypts_with_aes_256_gcm() {
    calls_with("AEAD_AES_256_GCM", "AEAD_AES_128_GCM", 5770);
}

#[test]
fn a_relay_encrypts_with_aes_128_gcm() {
    calls_with("AEAD_AES_128_GCM", "AEAD_AES_256_GCM", 5780);
}

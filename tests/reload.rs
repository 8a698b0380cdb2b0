//! SIGHUP: the configuration is reloaded while calls run.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_lossless,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod common;

use std::net::UdpSocket;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Gateway, Reply};
use serde_json::json;

/// A configuration file that is deleted with the test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("branchline-reload-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = Self(dir.join("branchline.toml"));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(self.0.parent().unwrap()));
    }
}

fn get(gw: &Gateway, path: &str, token: &str) -> Reply {
    gw.request("GET", path, &format!("Authorization: Bearer {token}\r\n"), b"")
}

/// Sends SIGHUP and waits until `done`.
fn reload(gw: &Gateway, done: impl Fn(&Gateway) -> bool) {
    gw.signal("HUP");
    let begun = Instant::now();
    while !done(gw) {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing was reloaded");
    }
}

fn faults(gw: &Gateway, token: &str) -> Vec<String> {
    let status = get(gw, "/v1/status", token).json();
    status["faults"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|f| f["text"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn tokens_users_and_trunks_change_and_calls_go_on() {
    let file = File::new("tokens", "[http]\ntokens = [\"old\"]\n");
    let gw = Gateway::start_on_file(&file.0, &[]);
    let phone = UdpSocket::bind("127.0.0.1:0").unwrap();
    let uri = format!("sip:x@{}", phone.local_addr().unwrap());
    let body = json!({"type": "sip", "uri": uri}).to_string();
    let leg = gw.request("POST", "/v1/legs", "Authorization: Bearer old\r\n", body.as_bytes());
    assert_eq!(leg.status, 201, "{leg:?}");
    let leg = format!("/v1/legs/{}", leg.json()["id"].as_str().unwrap());
    std::fs::write(file.0.with_file_name("more"), "third\nfourth\n").unwrap();
    file.write(
        "[http]\ntokens = [\"new\"]\ntoken_file = \"more\"\n[sip]\nport = 5999\n\
         [[sip.trunk]]\nid = \"pbx\"\ntype = \"ip_ip\"\npeer_uri = \"sip:127.0.0.1:9\"\n",
    );
    reload(&gw, |gw| get(gw, &leg, "new").status == 200);
    assert_eq!(get(&gw, &leg, "old").status, 401);
    assert_eq!(get(&gw, &leg, "fourth").json()["state"], "ringing");
    assert_eq!(get(&gw, "/v1/sip/trunks/pbx", "new").status, 200);
    // The port from the environment overrides the file: no restart is required.
    assert_eq!(
        faults(&gw, "new"),
        ["secrets stand in a file that others on this machine can read"; 2]
            .map(|f| format!("{f} file={}", file.0.display()))
    );
    file.write("[http]\ntokens = [\"new\"]\n[rtp]\ntimeout_s = 99\n");
    reload(&gw, |gw| get(gw, "/v1/sip/trunks/pbx", "new").status == 404);
    let told = faults(&gw, "new");
    assert!(
        told.contains(
            &"settings that differ in the file take effect with a restart settings=rtp.timeout_s".to_owned()
        ),
        "{told:?}"
    );
    assert_eq!(get(&gw, &leg, "new").json()["state"], "ringing");
}

#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let good = "[http]\ntokens = [\"old\"]\n";
    let file = File::new("broken", good);
    let gw = Gateway::start_on_file(&file.0, &[("HTTP_ADDR", "0.0.0.0:0")]);
    let told = |token: &'static str, text: &'static str| {
        move |gw: &Gateway| faults(gw, token).iter().any(|f| f.contains(text))
    };
    file.write("[http]\ntokens = [\"new\"]\nlisen = 1\n[log]\nlevel = \"loud\"\n");
    reload(&gw, told("old", "unknown setting http.lisen; did you mean http.listen?"));
    assert!(told("old", "log.level: ")(&gw), "all faults at once");
    file.write("[http]\ntokens = [\"new\"]\n[sip.tls]\ncert = \"/nowhere\"\nkey = \"/nowhere\"\n");
    // Enabling TLS needs a restart: its files are not read.
    reload(&gw, told("new", "settings=\"sip.tls.cert, sip.tls.key\""));
    assert_eq!(get(&gw, "/v1/legs", "new").status, 200);
    file.write("[http]\n");
    reload(&gw, told("new", "nothing guards the API"));
    assert_eq!((get(&gw, "/v1/legs", "new").status, gw.get("/v1/legs").status), (200, 401));
    std::fs::remove_file(&file.0).unwrap();
    reload(&gw, told("new", "No such file"));
    assert_eq!(get(&gw, "/v1/legs", "new").status, 200);
    file.write(good);
    reload(&gw, |gw| get(gw, "/v1/legs", "old").status == 200);
}

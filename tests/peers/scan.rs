//! A scanner and a flood from an unknown source in a separate network while calls run: the calls are not
//! affected, and no memory is leaked.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Gateway, figure_of, of_process};
use crate::phone::{Lines, Phone, python, script};
use crate::sipp;
use crate::space::Space;

const OURS: &str = "198.51.100.1";
const THEIRS: &str = "198.51.100.2";
/// Concurrent calls.
const CALLS: u64 = 50;

/// Duration of the flood, and of the time without it, seconds; `make soak` uses more.
fn seconds() -> u64 {
    std::env::var("FLOOD_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10)
}

struct Figures {
    received: u64,
    spoiled: u64,
    dropped: u64,
    transactions: u64,
}

fn figures(gw: &Gateway) -> Figures {
    let text = String::from_utf8(gw.get("/metrics").body).unwrap();
    let value = |name: &str| figure_of(&text, name);
    Figures {
        received: value("branchline_rtp_received_total"),
        spoiled: value("branchline_rtp_late_total") + value("branchline_rtp_concealed_frames_total"),
        dropped: value("branchline_sip_rate_limited_total") + value("branchline_sip_strangers_total"),
        transactions: value("branchline_sip_transactions"),
    }
}

/// 50 concurrent calls of 10 s, for about `seconds`; each with audio in both directions.
fn calls(dir: &Path, sip: &str, seconds: u64) {
    sipp::calls(dir, sip, CALLS * seconds / 10, CALLS / 10, CALLS);
}

/// Share of late and concealed frames of the calls since `before`.
fn share(gw: &Gateway, before: &Figures) -> (Figures, f64) {
    let now = figures(gw);
    let (spoiled, all) = (now.spoiled - before.spoiled, now.received - before.received);
    assert!(all > 1000, "{all} packets");
    (now, spoiled as f64 / all as f64)
}

/// The same calls without and with the flood: shares of late and concealed frames.
fn pair(space: &Space, gw: &Gateway, dir: &Path, sip: &str, memory: &mut Option<u64>) -> (f64, f64) {
    let port = sip.rsplit(':').next().unwrap().to_owned();
    let before = figures(gw);
    calls(dir, sip, seconds());
    let (quiet, without) = share(gw, &before);
    memory.get_or_insert_with(|| of_process(gw.pid(), "VmRSS:"));
    let mut flood = space.command("python3");
    flood.arg(script("tests/peers/flood.py")).args([OURS, port.as_str(), "2000", &seconds().to_string()]);
    let flood = flood.stdout(Stdio::piped()).spawn().unwrap();
    calls(dir, sip, seconds());
    let told = flood.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let (flooded, with) = share(gw, &quiet);
    println!("late and made-up frames: {:.4} % without, {:.4} % with; {told}", without * 100.0, with * 100.0);
    assert!(told["sent"].as_u64().unwrap() >= seconds() * 1900, "{told}");
    assert!(told["got_bytes"].as_u64() <= told["sent_bytes"].as_u64(), "answers are no amplifier: {told}");
    assert!(flooded.dropped - quiet.dropped >= told["sent"].as_u64().unwrap() * 9 / 10, "counted");
    (without, with)
}

#[test]
fn a_flood_of_an_unknown_source_has_no_effect() {
    let mut space = Space::make("branchline-scan");
    let (ours, theirs) = (format!("{OURS}/24"), format!("{THEIRS}/24"));
    Space::cable(None, ("blh", ours.as_str()), &mut space, ("bls", theirs.as_str()));
    let dir = std::env::temp_dir().join(format!("branchline-scan-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    sipp::voice(&dir);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hook = format!("http://127.0.0.1:{free}/");
    let settings = "[[sip.user]]\nname = \"anna\"\npassword = \"secret\"\n";
    let gw = Gateway::start_release_configured(settings, &[("WEBHOOK_URL", &hook), ("SIP_BIND_IP", OURS)]);
    let api = format!("http://{}", gw.http());
    let mut answerer = Lines::start(
        Command::new(python()).arg(script("tests/peers/answerer.py")).arg(free.to_string()).arg(&api),
    );
    answerer.wait("port", 10, |l| l.contains("port").then_some(()));
    let sip = gw.listen["sip"].as_str().unwrap().to_owned();
    let port = sip.rsplit(':').next().unwrap().to_owned();

    // A stall of the machine affects a frame of every call in single runs; an effective flood affects every
    // run. So the best runs are compared.
    let mut memory = None;
    let (mut pairs, mut without, mut with) = (0, f64::MAX, f64::MAX);
    while pairs == 0 || with > without + 0.001 {
        assert!(pairs < 6, "the flood is heard: {with:.5} of all frames, without it {without:.5}");
        let (quiet, flooded) = pair(&space, &gw, &dir, &sip, &mut memory);
        (pairs, without, with) = (pairs + 1, without.min(quiet), with.min(flooded));
    }
    let memory = memory.unwrap();
    let after = of_process(gw.pid(), "VmRSS:");
    println!("resident: {memory} kB before, {after} kB after");
    assert!(after <= memory + 1024, "{memory} kB became {after} kB");

    // A scanner learns neither the product nor the users.
    for tool in ["svmap", "svwar"] {
        let mut scan = space.command("timeout");
        scan.args(["20", tool, "-p", port.as_str(), OURS]);
        if tool == "svwar" {
            scan.args(["-e", "100-120", "--force"]);
        }
        let out = scan.output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(text.contains("found nothing"), "{tool}: {text}");
    }
    answerer.say("?");
    let seen: Value = answerer.wait("summary", 10, |l| serde_json::from_str(l).ok());
    let wanted = CALLS * seconds() / 10 * 2 * pairs;
    assert_eq!(
        (seen["legs"].as_u64(), &seen["bad"]),
        (Some(wanted), &serde_json::json!([])),
        "no event of a stranger: {seen}"
    );
    // A phone outside with a valid password may call; one without may not.
    for (password, verb, outcome) in
        [("wrong", "refused", "not established"), ("secret", "dial", "established")]
    {
        let (password, domain) = (format!("set:password={password}"), format!("set:domain={sip}"));
        let mut phone = Phone::in_space(&space, THEIRS, &dir, 5900, "anna", &[&password, &domain]);
        phone.say(&format!("{verb} sip:desk@{sip}"));
        phone.lines.json("is", outcome, 30);
        // The phone's report alone is not sufficient: it may not have received the response.
        assert!(gw.figure("branchline_sip_wrong_passwords_total") > 0);
        if outcome == "established" {
            phone.say("hangup");
            phone.wait("ended");
        }
    }
    // The last transactions of the calls remain for half a minute.
    let until = Instant::now() + Duration::from_secs(45);
    while figures(&gw).transactions > 0 && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(500));
    }
    assert_eq!(figures(&gw).transactions, 0, "nothing is left");
    std::fs::remove_dir_all(dir).unwrap();
}

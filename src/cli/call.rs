//! `branchline call`: a test call with a tone, and its media quality.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::{Value, json};

use super::client::Client;
use super::configuration::Files;
use super::failure::{FAILED, Failure};
use super::output::{say, say_error};
use crate::io::system::clock;

/// Polling interval until the answer.
const LOOK: Duration = Duration::from_millis(100);
/// Longest ringing time, s.
const RINGS: u32 = 60;
/// Additional time limit of the call beyond the tone, s.
const LONGER: u64 = 10;
/// Time limit of the answer.
const PATIENCE: Duration = Duration::from_secs(70);

/// Executes the command.
pub(super) fn run(files: &Files, of: &ArgMatches) -> Result<(), Failure> {
    let client = Client::of(files, of)?;
    let uri = of.get_one::<String>("uri").map_or("", String::as_str);
    let seconds = of.get_one::<u64>("seconds").copied().unwrap_or(5);
    let json = of.get_flag("json");
    // The call ends by itself if this command is killed.
    let limit = seconds + LONGER;
    let call = json!({"type": "sip", "uri": uri, "ring_timeout": RINGS, "max_duration": limit});
    let placed = client.post("/legs", &call)?;
    let leg = Leg { client: &client, id: text(&placed, "id").to_owned() };
    leg.answered(json)?;
    client.post(&format!("/legs/{}/play", leg.id), &json!({"tone": "us_dial", "repeat": -1}))?;
    if !json {
        say_error(&format!("answered; a tone for {seconds} s …"));
    }
    let mut quality = leg.ask("/quality")?;
    for _ in 0..seconds {
        std::thread::park_timeout(Duration::from_secs(1));
        match leg.ask("/quality") {
            Ok(now) => quality = now,
            Err(_) => {
                say_error("the far end hung up");
                break;
            }
        }
    }
    drop(leg);
    say(if json { quality.to_string() } else { picture(&quality) }.trim_end());
    let heard = quality.get("rtp_packets_received").and_then(Value::as_u64).unwrap_or(0);
    if heard > 0 {
        Ok(())
    } else {
        Err(Failure { code: FAILED, text: "no audio was received from the far end".to_owned() })
    }
}

fn text<'v>(json: &'v Value, key: &str) -> &'v str {
    json.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The call; hung up when dropped.
struct Leg<'a> {
    client: &'a Client,
    id: String,
}

impl Leg<'_> {
    fn ask(&self, what: &str) -> Result<Value, String> {
        Ok(self.client.get(&format!("/legs/{}{what}", self.id))?)
    }

    /// Waits for the answer, printing the state meanwhile.
    fn answered(&self, quiet: bool) -> Result<(), String> {
        let (mut last, begun) = (String::new(), clock::now().mono);
        loop {
            let shown = self.ask("").map_err(|_| ended())?;
            let state = text(&shown, "state");
            match state {
                // A far end that answers on hold has answered.
                "connected" | "held" => return Ok(()),
                "disconnected" => return Err(ended()),
                _ if !quiet && state != last => say_error(&format!("{state} …")),
                _ => {}
            }
            state.clone_into(&mut last);
            if clock::now().mono.saturating_duration_since(begun) > PATIENCE {
                return Err("no answer".to_owned());
            }
            std::thread::park_timeout(LOOK);
        }
    }
}

fn ended() -> String {
    "the call ended without an answer; see the log or the event leg.disconnected for the reason".to_owned()
}

impl Drop for Leg<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _hung_up = self.client.delete(&format!("/legs/{}", self.id));
    }
}

/// The quality figures as text.
fn picture(quality: &Value) -> String {
    let number = |key: &str| quality.get(key).and_then(Value::as_f64);
    let shown = |key: &str, unit: &str| number(key).map_or("–".to_owned(), |v| format!("{v}{unit}"));
    let (received, lost) =
        (number("rtp_packets_received").unwrap_or(0.0), number("rtp_packets_lost").unwrap_or(0.0));
    let loss = lost * 100.0 / (received + lost).max(1.0);
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ok = writeln!(out, "received  {received} RTP packets");
    let _ok = writeln!(out, "loss      {loss:.1} %");
    let _ok = writeln!(out, "jitter    {}", shown("rtp_jitter_ms", " ms"));
    let _ok = writeln!(out, "latency   {} round trip", shown("rtt_ms", " ms"));
    let _ok = writeln!(out, "buffered  {}", shown("jitter_buffer_ms", " ms"));
    let _ok = writeln!(out, "MOS       {}", shown("mos_score", ""));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_what_is_known() {
        let quality = json!({
            "rtp_packets_received": 95, "rtp_packets_lost": 5, "rtp_jitter_ms": 1.25, "rtt_ms": null,
            "jitter_buffer_ms": 20.0, "mos_score": 4.1,
        });
        assert_eq!(
            picture(&quality),
            "received  95 RTP packets\nloss      5.0 %\njitter    1.25 ms\nlatency   – round trip\n\
             buffered  20 ms\nMOS       4.1\n"
        );
    }
}

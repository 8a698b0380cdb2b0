//! `branchline call`: a test call with a tone, and how well it travelled.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ArgMatches;
use serde_json::{Value, json};

use super::client::Client;
use super::configuration::Files;
use super::failure::{FAILED, Failure};
use super::output::{say, say_error};
use crate::io::system::clock;

/// How often is looked whether it is answered.
const LOOK: Duration = Duration::from_millis(100);
/// How long it may ring, s.
const RINGS: u32 = 60;
/// How much longer than the tone it may last at most, s.
const LONGER: u64 = 10;
/// Longest that an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(70);

/// Carries the command out.
pub(super) fn run(files: &Files, of: &ArgMatches) -> Result<(), Failure> {
    let client = Client::of(files, of)?;
    let uri = of.get_one::<String>("uri").map_or("", String::as_str);
    let seconds = of.get_one::<u64>("seconds").copied().unwrap_or(5);
    let json = of.get_flag("json");
    // It ends by itself where this command is ended.
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
                say_error("the far end has hung up");
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
        Err(Failure { code: FAILED, text: "the far end has sent no sound".to_owned() })
    }
}

fn text<'v>(json: &'v Value, key: &str) -> &'v str {
    json.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The call; hung up with the command.
struct Leg<'a> {
    client: &'a Client,
    id: String,
}

impl Leg<'_> {
    fn ask(&self, what: &str) -> Result<Value, String> {
        Ok(self.client.get(&format!("/legs/{}{what}", self.id))?)
    }

    /// Waits until it is answered, and says meanwhile how it stands.
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
                return Err("nobody has answered".to_owned());
            }
            std::thread::park_timeout(LOOK);
        }
    }
}

fn ended() -> String {
    "the call has ended without an answer; the log says why, and the event leg.disconnected".to_owned()
}

impl Drop for Leg<'_> {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _hung_up = self.client.delete(&format!("/legs/{}", self.id));
    }
}

/// The quality as a page of text.
fn picture(quality: &Value) -> String {
    let number = |key: &str| quality.get(key).and_then(Value::as_f64);
    let shown = |key: &str, unit: &str| number(key).map_or("–".to_owned(), |v| format!("{v}{unit}"));
    let (received, lost) =
        (number("rtp_packets_received").unwrap_or(0.0), number("rtp_packets_lost").unwrap_or(0.0));
    let loss = lost * 100.0 / (received + lost).max(1.0);
    let mut out = String::new();
    // Writing into a String cannot fail.
    let _ok = writeln!(out, "received  {received} packets of RTP");
    let _ok = writeln!(out, "loss      {loss:.1} %");
    let _ok = writeln!(out, "jitter    {}", shown("rtp_jitter_ms", " ms"));
    let _ok = writeln!(out, "latency   {} there and back", shown("rtt_ms", " ms"));
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
            "received  95 packets of RTP\nloss      5.0 %\njitter    1.25 ms\nlatency   – there and back\n\
             buffered  20 ms\nMOS       4.1\n"
        );
    }
}

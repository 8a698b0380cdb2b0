//! `branchline self-test`: by the running gateway, or by a temporary one.

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::ArgMatches;
use serde::Deserialize as _;
use serde_json::Value;

use super::client::Client;
use super::configuration::Files;
use super::failure::{FAILED, Failure, NOT_TESTED};
use super::output::{say, say_error};
use super::service::WITH_PARENT;
use crate::api::self_test::{SelfTestView, StepView};
use crate::base::rng::Rng;
use crate::config::Config;
use crate::io::system::clock;

/// Start-up time limit of a temporary gateway.
const START: Duration = Duration::from_secs(20);
/// Polling interval of the progress.
const LOOK: Duration = Duration::from_millis(100);

/// Executes the command.
pub(super) fn run(files: &Files, of: &ArgMatches) -> Result<(), Failure> {
    let json = of.get_flag("json");
    let running = Client::of(files, of)?;
    let view = if of.contains_id("url") || running.is_answered() {
        test(&running, json)?
    } else {
        let config = files.load()?.config;
        if !json {
            say_error("no gateway runs here: one is started for the test");
        }
        let alone = Alone::start(&config)?;
        test(&alone.client, json)?
    };
    let passed = view.get("passed").and_then(Value::as_bool).unwrap_or(false);
    if json {
        say(&view.to_string());
    } else {
        let view = SelfTestView::deserialize(view)
            .map_err(|e| format!("the gateway is of another version than this program: {e}"))?;
        say(picture(&view).trim_end());
    }
    if passed { Ok(()) } else { Err(Failure { code: FAILED, text: String::new() }) }
}

/// Runs the test, printing its progress.
fn test(client: &Client, quiet: bool) -> Result<Value, Failure> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        if !quiet {
            scope.spawn(|| tell(client, &over));
        }
        let done = client.post("/self-test", &Value::Null);
        over.store(true, Ordering::Release);
        // A gateway that is full or already testing may be fine.
        done.map_err(|e| Failure { code: if e.refused { NOT_TESTED } else { FAILED }, text: e.text })
    })
}

fn tell(client: &Client, over: &AtomicBool) {
    let mut last = String::new();
    while !over.load(Ordering::Acquire) {
        let step = client.get("/self-test").ok().and_then(|json| StepView::deserialize(json).ok());
        if let Some(step) = step.map(|s| s.step).filter(|s| !s.is_empty() && *s != last) {
            say_error(&format!("{step} …"));
            last = step;
        }
        std::thread::park_timeout(LOOK);
    }
}

/// The result as text.
fn picture(view: &SelfTestView) -> String {
    let mut out = String::new();
    let or_none = |value: Option<f64>, unit: &str| value.map_or("–".to_owned(), |v| format!("{v} {unit}"));
    // Writing into a String cannot fail.
    let _ok = writeln!(out, "self-test {}", if view.passed { "passed" } else { "FAILED" });
    let _ok = writeln!(out, "set-up    {} ms", view.setup_ms);
    let _ok = writeln!(out, "latency   {}", or_none(view.latency_ms, "ms"));
    let _ok = writeln!(out, "loss      {} %", view.loss_percent);
    let _ok = writeln!(out, "jitter    {} ms", view.jitter_ms);
    let _ok = writeln!(out, "MOS       {}", view.mos);
    let _ok = writeln!(out, "level     {}", or_none(view.level_db, "dB"));
    let _ok = writeln!(out, "ticks     {} late", view.ticks_late);
    for failure in &view.failures {
        let _ok = writeln!(out, "wrong:    {failure}");
    }
    out
}

/// A temporary gateway: with the board's limits, at the SIP address with its own ports, with a temporary
/// state directory, and otherwise default settings.
struct Alone {
    gateway: Child,
    dir: PathBuf,
    client: Client,
}

impl Alone {
    fn start(config: &Config) -> Result<Self, String> {
        let mut rng = Rng::from_os().ok_or("the operating system gives no random numbers")?;
        // The name is unpredictable, and the directory private.
        let dir = std::env::temp_dir().join(format!("branchline-self-test-{}", rng.token()));
        DirBuilder::new().mode(0o700).create(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let program = std::env::current_exe().map_err(|e| format!("this program: {e}"))?;
        let gateway = Command::new(program)
            .env_clear()
            .args(["--config", "/dev/null", "--board", &config.board])
            .env("STATE_DIR", &dir)
            .env("SIP_BIND_IP", config.sip.bind_ip.to_string())
            .envs(config.sip.listen_ip.map(|ip| ("SIP_LISTEN_IP", ip.to_string())))
            .env(WITH_PARENT, "1")
            .envs([("HTTP_ADDR", "127.0.0.1:0"), ("SIP_PORT", "0"), ("LOG_LEVEL", "warn")])
            .envs([("RTP_PORT_MIN", "0"), ("RTP_PORT_MAX", "0")])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("a gateway for the test: {e}"))?;
        let mut alone = Self { gateway, dir, client: Client::at("127.0.0.1:0") };
        let begun = clock::now().mono;
        while clock::now().mono.saturating_duration_since(begun) < START {
            if let Some(at) = listening_at(&alone.dir) {
                alone.client = Client::at(&at);
                return Ok(alone);
            }
            if let Ok(Some(ended)) = alone.gateway.try_wait() {
                return Err(format!("the gateway for the test does not start: {ended}"));
            }
            std::thread::park_timeout(LOOK / 10);
        }
        Err(format!("the gateway for the test does not start within {} s", START.as_secs()))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        // No clean shutdown needed.
        let _killed = self.gateway.kill();
        let _reaped = self.gateway.wait();
        let _removed = std::fs::remove_dir_all(&self.dir);
    }
}

/// API address of a gateway with this state directory.
fn listening_at(dir: &Path) -> Option<String> {
    let text = std::fs::read_to_string(dir.join("listen.json")).ok()?;
    serde_json::from_str::<Value>(&text).ok()?.get("http")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_is_wrong() {
        let view = SelfTestView {
            passed: false,
            failures: vec!["the MOS is 2.00, at least 3.5 is wanted".to_owned()],
            setup_ms: 12.5,
            latency_ms: None,
            loss_percent: 0.0,
            jitter_ms: 0.1,
            mos: 2.0,
            level_db: Some(-0.2),
            ticks_late: 3,
        };
        let page = picture(&view);
        assert!(page.starts_with("self-test FAILED\nset-up    12.5 ms\nlatency   –\n"), "{page}");
        assert!(
            page.ends_with("ticks     3 late\nwrong:    the MOS is 2.00, at least 3.5 is wanted\n"),
            "{page}"
        );
    }
}

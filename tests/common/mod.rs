//! A gateway per test: the real binary, free ports, a temporary state directory.
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A running gateway.
pub struct Gateway {
    child: Child,
    dir: PathBuf,
    /// Contents of `listen.json`.
    pub listen: Value,
    /// Sent with every request.
    token: Option<String>,
}

/// One HTTP reply.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let line = self
            .head
            .lines()
            .find(|l| l.split_once(':').is_some_and(|(n, _)| n.eq_ignore_ascii_case(name)))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    }

    pub fn error(&self) -> String {
        let json = self.json();
        assert!(json["instance_id"].is_string(), "{json}");
        json["error"].as_str().unwrap_or_else(|| panic!("no error text in {json}")).to_owned()
    }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Start time of the first gateway, and seconds from then to the last one.
static FIRST: LazyLock<Instant> = LazyLock::new(|| {
    std::thread::spawn(end_what_hangs);
    std::thread::spawn(note_stalls);
    Instant::now()
});
static LAST: AtomicU64 = AtomicU64::new(0);

/// Longest stall of the machine, ms.
static STALL: AtomicU64 = AtomicU64::new(0);

/// Measures stalls of the machine with a thread that only sleeps.
fn note_stalls() {
    loop {
        let begun = Instant::now();
        std::thread::park_timeout(Duration::from_millis(20));
        let ms = begun.elapsed().as_millis().saturating_sub(20);
        STALL.fetch_max(u64::try_from(ms).unwrap(), Ordering::Relaxed);
    }
}

/// Ends the test binary if it has not started a gateway for longer than any test takes (15 minutes;
/// `TEST_MINUTES`): a hang should fail with its position.
fn end_what_hangs() {
    let minutes = std::env::var("TEST_MINUTES").ok().and_then(|s| s.parse().ok()).unwrap_or(15u64);
    while FIRST.elapsed().as_secs() < LAST.load(Ordering::Relaxed) + 60 * minutes {
        std::thread::park_timeout(Duration::from_secs(5));
    }
    let ps = Command::new("ps").args(["-eo", "pid,ppid,stat,etime,wchan:20,args"]).output();
    let table = ps.map_or_else(|e| format!("ps: {e}"), |o| String::from_utf8_lossy(&o.stdout).into_owned());
    // Not `eprintln`, whose output is only shown when a test completes.
    let words = format!("a test hangs: {minutes} minutes without a new gateway. What runs:\n{table}\n");
    drop(std::io::stderr().write_all(words.as_bytes()));
    // Child processes keep the output open, for which a parent may wait.
    let mut ended = vec![std::process::id().to_string()];
    for line in table.lines() {
        let mut words = line.split_whitespace().map(str::to_owned);
        if let (Some(pid), Some(parent)) = (words.next(), words.next())
            && ended.contains(&parent)
        {
            drop(Command::new("kill").args(["-KILL", &pid]).status());
            ended.push(pid);
        }
    }
    std::process::exit(101);
}

/// The addresses from the log, if the disk could not be written.
fn logged(ready: &str) -> Value {
    let word = |key: &str| ready.split_whitespace().find_map(|w| w.strip_prefix(key)).unwrap();
    serde_json::json!({"http": word("http="), "sip": word("sip=")})
}

impl Gateway {
    /// Starts the binary with additional environment variables and waits until it is ready.
    pub fn start(env: &[(&str, &str)]) -> Self {
        Self::start_binary(env!("CARGO_BIN_EXE_branchline"), &[], env)
    }

    /// The same with the release build, built by `make test`.
    pub fn start_release(env: &[(&str, &str)]) -> Self {
        Self::start_binary(release(), &[], env)
    }

    /// The same with a configuration file of this text.
    pub fn start_release_with(text: &str) -> Self {
        Self::start_release_configured(text, &[])
    }

    /// The same with environment variables as well.
    pub fn start_release_configured(text: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with_file(release(), text, env)
    }

    /// The same with a private hosts file, which needs root.
    pub fn start_release_naming(hosts: &std::path::Path, text: &str, env: &[(&str, &str)]) -> Self {
        let start = "/bin/mount --bind \"$0\" /etc/hosts && exec \"$@\"";
        let before = ["--mount", "/bin/sh", "-c", start, hosts.to_str().unwrap(), release()];
        Self::start_with("/usr/bin/unshare", &before, text, env)
    }

    /// The binary of the build under test with a configuration file of this text.
    pub fn start_configured(text: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with_file(env!("CARGO_BIN_EXE_branchline"), text, env)
    }

    /// The release build under the restrictions of the packaged unit: a system call not allowed by its filter
    /// kills it. `CONFINED=1` starts all test gateways this way.
    pub fn start_release_confined(state: &std::path::Path, env: &[(&str, &str)]) -> Self {
        let env = [env, &[("STATE_DIR", state.to_str().unwrap())]].concat();
        let arguments = [&confinement(state.to_str().unwrap())[..], &[release()]].concat();
        Self::start_binary("/usr/bin/python3", &arguments, &env)
    }

    /// The same with a configuration file that is kept, so that the gateway can reload it.
    pub fn start_on_file(file: &std::path::Path, env: &[(&str, &str)]) -> Self {
        Self::start_binary(env!("CARGO_BIN_EXE_branchline"), &["--config", file.to_str().unwrap()], env)
    }

    fn start_with_file(path: &str, text: &str, env: &[(&str, &str)]) -> Self {
        Self::start_with(path, &[], text, env)
    }

    fn start_with(path: &str, before: &[&str], text: &str, env: &[(&str, &str)]) -> Self {
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("branchline-test-{}-{n}.toml", std::process::id()));
        std::fs::write(&file, text).unwrap();
        let gw = Self::start_binary(path, &[before, &["--config", file.to_str().unwrap()]].concat(), env);
        std::fs::remove_file(file).unwrap();
        gw
    }

    fn start_binary(path: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        LAST.store(FIRST.elapsed().as_secs(), Ordering::Relaxed);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("branchline-test-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let named = env.iter().find(|(k, _)| *k == "STATE_DIR").map(|(_, v)| PathBuf::from(v));
        let mut command = Command::new(path);
        if std::env::var_os("CONFINED").is_some() && path.ends_with("/branchline") {
            command = Command::new("/usr/bin/python3");
            command.args(confinement(named.as_ref().unwrap_or(&dir).to_str().unwrap())).arg(path);
        }
        command.args(arguments);
        command.env_clear().env("STATE_DIR", &dir).env("HTTP_ADDR", "127.0.0.1:0").env("SIP_PORT", "0");
        command.envs(env.iter().copied());
        let state = named.unwrap_or_else(|| dir.clone());
        Self::start_command(command, &state, dir)
    }

    /// Starts a command that becomes a gateway with this state directory, and removes `dir` at the end.
    pub fn start_command(mut command: Command, state: &std::path::Path, dir: PathBuf) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains(" ready ") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "the gateway ended before it was ready");
            eprint!("{line}");
        }
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                eprintln!("{line}");
            }
        });
        let listen = std::fs::read(state.join("listen.json"));
        let listen = listen.map_or_else(|_| logged(&line), |text| serde_json::from_slice(&text).unwrap());
        Self { child, dir, listen, token: None }
    }

    /// Sends this token with every request from now on.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    pub fn http(&self) -> SocketAddr {
        self.listen["http"].as_str().unwrap().parse().unwrap()
    }

    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A metric of `/metrics`.
    pub fn figure(&self, name: &str) -> u64 {
        figure_of(&String::from_utf8(self.get("/metrics").body).unwrap(), name)
    }

    /// Asserts that the media thread never skipped ticks because of a stall, unless the machine stalled.
    pub fn assert_never_stood_still(&self) {
        let (skipped, stall) = (self.figure("branchline_media_skipped_total"), STALL.load(Ordering::Relaxed));
        assert!(
            skipped == 0 || stall > 500,
            "{skipped} ticks are left out; the machine stood still for {stall} ms"
        );
    }

    /// Size of the media memory reserved at the start, kB.
    pub fn media_kb(&self) -> u64 {
        let capacity = self.get("/v1/capacity").json();
        let kinds = capacity["memory"]["bound_by_kind"].as_object().unwrap();
        let media = kinds.iter().filter(|(kind, _)| kind.starts_with("media_"));
        media.map(|(_, bytes)| bytes.as_u64().unwrap()).sum::<u64>() / 1024
    }

    /// Current usage of each limit: legs, rooms, RTP ports, playbacks, recordings.
    pub fn used(&self) -> Vec<u64> {
        let c = self.get("/v1/capacity").json();
        let keys = ["legs", "rooms", "rtp_ports", "playbacks", "recordings"];
        keys.iter().map(|k| c[k]["used"].as_u64().unwrap()).collect()
    }

    /// Sends raw bytes on a new connection and reads until the far end closes it.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut s = TcpStream::connect(self.http()).unwrap();
        s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        s.write_all(bytes).unwrap();
        let mut out = Vec::new();
        s.read_to_end(&mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    /// One request on a separate connection.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let token = self.token.as_ref().map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
        request(self.http(), method, path, &format!("{token}{headers}"), body)
    }

    pub fn get(&self, path: &str) -> Reply {
        self.request("GET", path, "", b"")
    }

    pub fn post(&self, path: &str, body: &str) -> Reply {
        self.request("POST", path, "", body.as_bytes())
    }

    pub fn delete(&self, path: &str) -> Reply {
        self.request("DELETE", path, "", b"")
    }

    pub fn patch(&self, path: &str, body: &str) -> Reply {
        self.request("PATCH", path, "", body.as_bytes())
    }

    pub fn delete_with(&self, path: &str, body: &str) -> Reply {
        self.request("DELETE", path, "Content-Type: application/json\r\n", body.as_bytes())
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the binary again on the same state directory.
    pub fn restart(&mut self) {
        let dir = self.dir.to_str().unwrap().to_owned();
        let again = Self::start(&[("STATE_DIR", &dir)]);
        (self.child, self.listen) = again.parts();
    }

    fn parts(mut self) -> (Child, Value) {
        // Its own directory is empty: another one was given.
        let nobody = Command::new("true").spawn().unwrap();
        (std::mem::replace(&mut self.child, nobody), self.listen.take())
    }

    /// SIGTERM, then the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.terminate();
        self.child.wait().unwrap().code()
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// A signal by its name, as `HUP`.
    pub fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The exit code, after it has ended.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// Confines a gateway to its state directory and the system calls of the packaged unit.
fn confinement(state: &str) -> [&str; 3] {
    let confine = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/confined.py");
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/branchline.service");
    [confine, unit, state]
}

/// Waits until `look` returns a value, up to a minute.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    panic!("{what}");
}

/// The body of a reply that must be a success.
pub fn good(reply: &Reply) -> Value {
    assert!(matches!(reply.status, 200 | 201), "{reply:?}");
    reply.json()
}

/// Where the release build is.
pub fn release() -> &'static str {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/branchline");
    assert!(std::path::Path::new(path).exists(), "no release build: run `make test`");
    path
}

/// A value in the text of `/metrics`.
pub fn figure_of(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap_or_else(|| panic!("{name}"));
    line.split(' ').nth(1).unwrap().parse().unwrap()
}

/// A value of a process status, e.g. `VmRSS:` (kB).
pub fn of_process(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// One request on a separate connection.
pub fn request(at: SocketAddr, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
    let mut s = TcpStream::connect(at).unwrap();
    s.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    s.write_all(head.as_bytes()).unwrap();
    s.write_all(body).unwrap();
    let mut all = Vec::new();
    s.read_to_end(&mut all).unwrap();
    let at =
        all.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| panic!("no reply head in {all:?}"));
    let head = String::from_utf8(all[..at].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head, body: all[at + 4..].to_vec() }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

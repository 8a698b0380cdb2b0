//! What systemd is told (sd_notify(3)), and that the watchdog is fed only while both control and media go on.
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
    unsafe_code,
    clippy::too_many_lines,
    unreachable_pub,
    missing_docs,
    reason = "a test may fail loudly"
)]

mod common;

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::Gateway;

/// A service manager.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("branchline-notify-{name}-{}", std::process::id()));
        drop(std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// The next message within `time`.
    fn next(&self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut bytes = [0; 1024];
        let n = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..n].to_vec()).unwrap())
    }

    /// Waits for a message that begins so.
    fn expect(&self, start: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if let Some(message) = self.next(Duration::from_secs(30)).filter(|m| m.starts_with(start)) {
                return message;
            }
        }
        panic!("no {start}");
    }

    /// Signs of life within `time`.
    fn beats(&self, time: Duration) -> usize {
        let begun = Instant::now();
        let mut beats = 0;
        while let Some(left) = time.checked_sub(begun.elapsed()).filter(|t| !t.is_zero()) {
            beats += usize::from(self.next(left).is_some_and(|m| m == "WATCHDOG=1"));
        }
        beats
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// A thread of the gateway that stands still until this is dropped.
struct Held(i32);

impl Held {
    fn hold(thread: i32) -> Self {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: these requests take no pointers; a thread that is not ours is refused.
        let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, thread, none, none) };
        assert_eq!(seized, 0, "{}", std::io::Error::last_os_error());
        // SAFETY: as above.
        let stopped = unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none) };
        assert_eq!(stopped, 0, "{}", std::io::Error::last_os_error());
        let mut status = 0;
        // SAFETY: `status` outlives the call.
        let waited = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
        assert_eq!(waited, thread, "{}", std::io::Error::last_os_error());
        Self(thread)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: this request takes no pointers.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

fn thread_of(gw: &Gateway, name: &str) -> i32 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gw.pid())).unwrap();
    let named =
        |t: &std::fs::DirEntry| std::fs::read_to_string(t.path().join("comm")).unwrap().trim() == name;
    let task = tasks.map(Result::unwrap).find(named).unwrap_or_else(|| panic!("no thread {name}"));
    task.file_name().to_str().unwrap().parse().unwrap()
}

fn signal(gw: &Gateway, name: &str) {
    let sent = std::process::Command::new("kill").args(["-s", name, &gw.pid().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn ready_status_and_stopping_are_told() {
    let manager = Manager::new("ready");
    let gw = Gateway::start(&[("NOTIFY_SOCKET", manager.path.to_str().unwrap())]);
    assert_eq!(manager.expect("STATUS="), "STATUS=0 legs, 0 rooms, 0 phones");
    assert_eq!(manager.next(Duration::from_secs(10)).unwrap(), "READY=1");
    assert_eq!(gw.get("/health").status, 200, "what is told ready answers");
    assert_eq!(gw.post("/v1/rooms", "{}").status, 201);
    assert_eq!(manager.expect("STATUS="), "STATUS=0 legs, 1 room, 0 phones");
    signal(&gw, "HUP");
    let reloading = manager.expect("RELOADING=1");
    let us = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(us.parse::<u64>().unwrap() > 0);
    assert_eq!(manager.expect("READY"), "READY=1");
    signal(&gw, "TERM");
    assert_eq!(manager.expect("STOPPING"), "STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000");
}

#[test]
fn the_watchdog_is_fed_while_control_and_media_go_on() {
    let manager = Manager::new("watchdog");
    let gw =
        Gateway::start(&[("NOTIFY_SOCKET", manager.path.to_str().unwrap()), ("WATCHDOG_USEC", "400000")]);
    let second = Duration::from_secs(1);
    for thread in ["media", "branchline"] {
        assert!(manager.beats(second) >= 4, "four in the time that there is");
        {
            let _held = Held::hold(thread_of(&gw, thread));
            // One may be on its way.
            let on_its_way = manager.beats(Duration::from_millis(200));
            assert!(on_its_way <= 2, "{on_its_way}");
            assert_eq!(manager.beats(second), 0, "{thread} stands still");
        }
        assert!(manager.beats(2 * second) >= 4, "{thread} goes on");
    }
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let manager = Manager::new("other");
    let _gw = Gateway::start(&[
        ("NOTIFY_SOCKET", manager.path.to_str().unwrap()),
        ("WATCHDOG_USEC", "400000"),
        ("WATCHDOG_PID", "1"),
    ]);
    assert_eq!(manager.beats(Duration::from_secs(1)), 0);
}

//! A test service manager, and stopping of single threads.
#![allow(unsafe_code, reason = "ptrace(2) holds a thread")]
#![allow(dead_code, reason = "every test binary uses a part of it")]

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A service manager.
pub struct Manager {
    socket: UnixDatagram,
    pub path: PathBuf,
}

impl Manager {
    pub fn new(name: &str) -> Self {
        Self::at(std::env::temp_dir().join(format!("branchline-notify-{name}-{}", std::process::id())))
    }

    pub fn at(path: PathBuf) -> Self {
        drop(std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).unwrap();
        Self { socket, path }
    }

    /// The next message within `time`.
    pub fn next(&self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).unwrap();
        let mut bytes = [0; 1024];
        let n = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..n].to_vec()).unwrap())
    }

    /// Waits for a message with this prefix.
    pub fn expect(&self, start: &str) -> String {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if let Some(message) = self.next(Duration::from_secs(30)).filter(|m| m.starts_with(start)) {
                return message;
            }
        }
        panic!("no {start}");
    }

    /// Number of watchdog messages within `time`.
    pub fn beats(&self, time: Duration) -> usize {
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

/// A thread of the gateway that is stopped until this is dropped.
pub struct Held(i32);

impl Held {
    pub fn hold(thread: i32) -> Self {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: these requests take no pointers; a thread of another process is refused.
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

/// A thread of a process, by its name.
pub fn thread_of(pid: u32, name: &str) -> i32 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let named =
        |t: &std::fs::DirEntry| std::fs::read_to_string(t.path().join("comm")).unwrap().trim() == name;
    let task = tasks.map(Result::unwrap).find(named).unwrap_or_else(|| panic!("no thread {name}"));
    task.file_name().to_str().unwrap().parse().unwrap()
}

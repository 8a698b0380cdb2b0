//! Notifications to systemd (sd_notify(3)): ready, reloading, stopping, status and watchdog.
//!
//! One datagram per message. The socket is non-blocking: a busy service manager must not delay calls. State
//! changes that cannot be sent are queued and sent again; watchdog and status messages are not, since newer
//! ones follow.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::rc::Rc;
use std::time::Duration;

use super::timer;

/// Interval of status updates without watchdog.
const STATUS: Duration = Duration::from_secs(5);
/// Retry interval for queued messages.
const AGAIN: Duration = Duration::from_millis(50);
/// Maximum queued messages; the oldest is dropped beyond it.
const MAX_KEPT: usize = 8;
/// Time needed to stop in addition to the drain time.
const GOODBYE: Duration = Duration::from_secs(20);

/// Connection to the service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// Watchdog timeout of the service.
    watchdog: Option<Duration>,
    /// Queued messages, in order.
    kept: RefCell<VecDeque<String>>,
}

impl ServiceManager {
    /// Configured by the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`).
    #[must_use]
    pub fn from_env() -> Self {
        let var = |name: &str| std::env::var(name).ok();
        let number = |name: &str| var(name).and_then(|v| v.parse::<u64>().ok());
        // Otherwise the variables belong to a parent process.
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|us| ours && *us > 0).map(Duration::from_micros);
        Self { socket: var("NOTIFY_SOCKET").and_then(|at| open(&at)), watchdog, kept: RefCell::default() }
    }

    /// Reports that sockets are bound and the configuration is applied.
    pub fn ready(&self) {
        self.send_surely("READY=1");
    }

    /// Reports a reload; [`Self::ready`] ends it.
    pub fn reloading(&self) {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let us = i128::from(t.tv_sec) * 1_000_000 + i128::from(t.tv_nsec) / 1000;
        self.send_surely(&format!("RELOADING=1\nMONOTONIC_USEC={us}"));
    }

    /// Reports that the gateway stops, after running calls had `drain` to end.
    pub fn stopping(&self, drain: Duration) {
        let us = (drain + GOODBYE).as_micros();
        self.send_surely(&format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={us}"));
    }

    /// Sends a one-line status.
    pub fn status(&self, text: &str) {
        let _taken = self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    /// Sends watchdog messages while both the control and the media thread are running, and the status when
    /// it changes. `ticks`: tick counter of the media thread; `turn`: periodic work on the control thread,
    /// returns the status line.
    pub async fn watch(self: Rc<Self>, ticks: impl Fn() -> u64, turn: impl Fn() -> String) {
        if self.socket.is_none() {
            return;
        }
        // Four times per watchdog timeout, so that one late message does not end calls.
        let every = self.watchdog.map_or(STATUS, |w| (w / 4).min(STATUS));
        let (mut before, mut said) = (ticks(), String::new());
        loop {
            timer::sleep(if self.kept.borrow().is_empty() { every } else { AGAIN }).await;
            if !self.send_kept() {
                // The queue is full for watchdog messages, too.
                continue;
            }
            // This task runs only if the control thread does.
            let status = turn();
            let now = ticks();
            if now != std::mem::replace(&mut before, now) && self.watchdog.is_some() {
                let _taken = self.send("WATCHDOG=1");
            }
            if status != said {
                self.status(&status);
                said = status;
            }
        }
    }

    /// Sends a message that must not be lost, after those queued.
    fn send_surely(&self, message: &str) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() == MAX_KEPT {
            kept.pop_front();
        }
        kept.push_back(message.to_owned());
        drop(kept);
        let _all_taken = self.send_kept();
    }

    /// Sends queued messages; true if none is left.
    fn send_kept(&self) -> bool {
        let mut kept = self.kept.borrow_mut();
        while kept.front().is_some_and(|message| self.send(message)) {
            kept.pop_front();
        }
        kept.is_empty()
    }

    /// False if the service manager's queue is full.
    fn send(&self, message: &str) -> bool {
        let Some((socket, to)) = &self.socket else { return true };
        let Err(e) = socket.send_to_addr(message.as_bytes(), to) else { return true };
        log::debug!(error:% = e; "the service manager does not take a message");
        e.kind() != ErrorKind::WouldBlock
    }
}

fn open(at: &str) -> Option<(UnixDatagram, SocketAddr)> {
    let address = match at.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(at),
    };
    let opened = address.and_then(|address| {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok((socket, address))
    });
    opened.inspect_err(|e| log::warn!(error:% = e; "NOTIFY_SOCKET cannot be used")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_go_to_the_socket_of_either_kind() {
        let name = format!("branchline-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let by_path = UnixDatagram::bind(&path).unwrap();
        let by_name =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        for (listens, at) in [(by_path, path.to_str().unwrap().to_owned()), (by_name, format!("@{name}"))] {
            let manager = ServiceManager { socket: open(&at), watchdog: None, kept: RefCell::default() };
            manager.status("two\nlines");
            manager.stopping(Duration::from_secs(30));
            let mut bytes = [0; 128];
            let mut next = || {
                let n = listens.recv(&mut bytes).unwrap();
                String::from_utf8(bytes[..n].to_vec()).unwrap()
            };
            assert_eq!(next(), "STATUS=two lines");
            assert_eq!(next(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=50000000");
        }
        std::fs::remove_file(path).unwrap();
        // No receiver: ignored.
        ServiceManager { socket: open("/nowhere"), watchdog: None, kept: RefCell::default() }.ready();
    }

    #[test]
    fn state_changes_survive_a_full_queue() {
        let name = format!("branchline-notify-full-{}", std::process::id());
        let listens =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        let manager =
            ServiceManager { socket: open(&format!("@{name}")), watchdog: None, kept: RefCell::default() };
        while manager.send("WATCHDOG=1") {}
        manager.ready();
        manager.stopping(Duration::ZERO);
        listens.set_nonblocking(true).unwrap();
        let mut bytes = [0; 64];
        let mut heard = Vec::new();
        while let Ok(n) = listens.recv(&mut bytes) {
            heard.push(String::from_utf8(bytes[..n].to_vec()).unwrap());
            let _all_taken = manager.send_kept();
        }
        heard.retain(|m| m != "WATCHDOG=1");
        assert_eq!(heard, ["READY=1", "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000"]);
    }
}

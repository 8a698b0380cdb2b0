//! Drives one transaction machine through its own timers, as its tests need it.

use std::time::Instant;

use super::Output;
use super::client::Client;
use super::client_invite::ClientInvite;
use super::server::Server;
use super::server_invite::ServerInvite;

#[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// What a machine did; times in milliseconds of virtual time.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) sent: Vec<u128>,
    pub(crate) last: String,
    pub(crate) timed_out: bool,
    pub(crate) ack_missing: bool,
    pub(crate) end: u128,
}

pub(crate) trait Machine {
    fn next(&mut self) -> Option<Output>;
    fn due(&self) -> Option<(Instant, &'static str)>;
    fn fire(&mut self, now: Instant);
}

macro_rules! machine {
    ($($t:ty),*) => { $(impl Machine for $t {
        fn next(&mut self) -> Option<Output> { self.poll() }
        fn due(&self) -> Option<(Instant, &'static str)> { self.poll_timeout() }
        fn fire(&mut self, now: Instant) { self.handle_timeout(now) }
    })* };
}
machine!(Client, ClientInvite, Server, ServerInvite);

/// Runs the machine until it waits for nothing.
pub(crate) fn run(epoch: Instant, machine: &mut impl Machine) -> Log {
    let mut log = Log::default();
    let mut now = epoch;
    for _ in 0..200 {
        while let Some(out) = machine.next() {
            match out {
                Output::Transmit(b) => {
                    log.sent.push((now - epoch).as_millis());
                    log.last = String::from_utf8_lossy(&b).into_owned();
                }
                Output::TimedOut => log.timed_out = true,
                Output::AckMissing => log.ack_missing = true,
            }
        }
        log.end = (now - epoch).as_millis();
        let Some((at, _)) = machine.due() else { break };
        now = at;
        machine.fire(now);
    }
    log
}

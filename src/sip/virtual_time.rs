//! Drives a transaction state machine in virtual time, for tests.

use std::time::Instant;

use super::Output;
use super::transaction_machine::Machine;

#[expect(clippy::disallowed_methods, reason = "an arbitrary epoch")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

/// Outputs of a state machine; times in milliseconds of virtual time.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) sent: Vec<u128>,
    pub(crate) last: String,
    pub(crate) timed_out: bool,
    pub(crate) ack_missing: bool,
    pub(crate) end: u128,
}

/// Runs the state machine until no timer is left.
pub(crate) fn run(epoch: Instant, machine: &mut impl Machine) -> Log {
    let mut log = Log::default();
    let mut now = epoch;
    for _ in 0..200 {
        while let Some(out) = machine.poll() {
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
        let Some((at, _)) = machine.poll_timeout() else { break };
        now = at;
        machine.handle_timeout(now);
    }
    log
}

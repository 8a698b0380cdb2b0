//! Upper bound of the process's memory by kind: the media memory exactly, everything else from its limits.

use crate::config::Config;
use crate::io::media::media_plan::MediaPlan;
use crate::io::media::media_thread;
use crate::io::sip::connections::MAX_CONNECTIONS;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// Program text, libraries, thread stacks, TLS root certificates, database cache.
const PROGRAM: u64 = 20 * MIB;
/// Per call, without media: dialog, session descriptions, timers, last events.
const CALL: u64 = 24 * KIB;
/// Per transaction, without the bytes counted by the transaction pool: state machine, keys, timers.
const TRANSACTION: u64 = KIB;
/// Per request of ours kept for retransmission: header and a session description.
const REQUEST: u64 = 3 * KIB;
/// Per SIP connection: a 64 KiB message being received, 128 KiB queued to be sent, TLS.
const SIP_CONNECTION: u64 = 232 * KIB;
/// Connections that may be at that maximum at once.
const FULL_CONNECTIONS: u64 = 32;
/// Per other connection: a message of usual size.
const IDLE_CONNECTION: u64 = 40 * KIB;
/// Per HTTP connection: head, body, response.
const HTTP_CONNECTION: u64 = 160 * KIB;
const HTTP_CONNECTIONS: u64 = 80;
/// Events waiting for the disk, and those being delivered.
const EVENTS: u64 = 16 * MIB;
/// Outbox in memory, if the disk cannot be written.
const OUTBOX_IN_MEMORY: u64 = 8 * MIB;
/// Per recording, without ring: file buffer, filters.
const RECORDER: u64 = 88 * KIB;
/// Per playback, without ring: decoder, resampler, read-ahead.
const FEED: u64 = 224 * KIB;
/// Uploads, sound downloads, webhook deliveries: TLS connections and buffers.
const TRANSFERS: u64 = 12 * MIB;

/// One kind of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Name of the kind.
    pub name: &'static str,
    /// Maximum, bytes.
    pub bytes: u64,
    /// Allocated and locked at the start.
    pub media: bool,
}

/// All kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryBound(Vec<Kind>);

impl MemoryBound {
    /// The bound for all limits reached at once.
    #[must_use]
    pub fn of(config: &Config, plan: &MediaPlan) -> Self {
        let l = &config.limits;
        let n = |v: usize| u64::try_from(v).unwrap_or(u64::MAX);
        let planned = plan.legs + plan.rooms + plan.playbacks + plan.recordings + plan.thread;
        let spare = n(plan.total().saturating_sub(planned));
        let transactions = 32 * u64::from(l.legs).max(32);
        let media = |name, bytes| Kind { name, bytes, media: true };
        let other = |name, bytes| Kind { name, bytes, media: false };
        Self(vec![
            media("media_legs", n(plan.legs)),
            media("media_rooms", n(plan.rooms)),
            media("media_playbacks", n(plan.playbacks)),
            media("media_recordings", n(plan.recordings)),
            media("media_thread", n(plan.thread) + n(media_thread::STACK)),
            media("media_spare", spare),
            other("program", PROGRAM),
            other("calls", u64::from(l.legs) * CALL),
            other(
                "sip_transactions",
                transactions * (2 * TRANSACTION + REQUEST) + (transactions * KIB).max(4 * MIB),
            ),
            other(
                "sip_connections",
                FULL_CONNECTIONS * SIP_CONNECTION + (n(MAX_CONNECTIONS) - FULL_CONNECTIONS) * IDLE_CONNECTION,
            ),
            other("http_connections", HTTP_CONNECTIONS * HTTP_CONNECTION),
            other("events", EVENTS + OUTBOX_IN_MEMORY),
            other("recordings", u64::from(l.recordings) * RECORDER),
            other("playbacks", u64::from(l.playbacks) * FEED),
            other("transfers", TRANSFERS),
        ])
    }

    /// The kinds.
    #[must_use]
    pub fn kinds(&self) -> &[Kind] {
        &self.0
    }

    /// Sum, bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|k| k.bytes).sum()
    }

    /// Allocated permanently at the start, bytes: the media memory.
    #[must_use]
    pub fn media(&self) -> u64 {
        self.0.iter().filter(|k| k.media).map(|k| k.bytes).sum()
    }

    /// Checks whether a machine of `memory` bytes is sufficient; returns a warning if it might not be.
    ///
    /// # Errors
    /// The memory allocated at the start does not fit.
    pub fn fits(&self, memory: u64, board: &str) -> Result<Option<String>, String> {
        let mb = |bytes: u64| bytes.div_ceil(MIB);
        let start = self.media() + PROGRAM;
        let advice = "choose a smaller board (`branchline boards`) or lower [limits]";
        if start > memory {
            return Err(format!(
                "board {board}: the media memory of its limits takes {} MB and the program {} MB, and this machine has {} \
                 MB; {advice}",
                mb(self.media()),
                mb(PROGRAM),
                mb(memory)
            ));
        }
        Ok((self.total() > memory).then(|| {
            format!(
                "board {board}: when all its limits are reached, up to {} MB are needed, and this machine has {} MB; {advice}",
                mb(self.total()),
                mb(memory)
            )
        }))
    }

    /// Summary for the log.
    #[must_use]
    pub fn line(&self) -> String {
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / MIB as f64);
        let each: Vec<String> =
            self.0.iter().map(|k| format!("{} {}", k.name.replace('_', " "), mb(k.bytes))).collect();
        format!("memory is bounded at {}: {}", mb(self.total()), each.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::board;

    fn bound(name: &str) -> MemoryBound {
        MemoryBound::of(&board::find(name).unwrap().defaults(), &MediaPlan::default())
    }

    #[test]
    fn every_board_s_bound_fits_its_smallest_machine() {
        for board in board::BOARDS {
            let memory = u64::from(board.profile().unwrap().memory_mb) * MIB;
            // The rest is for the system and the media memory, which is known only in the program.
            assert!(
                bound(board.name).total() < memory * 2 / 3,
                "{}: {}",
                board.name,
                bound(board.name).line()
            );
        }
    }

    #[test]
    fn a_machine_that_is_too_small_is_reported() {
        let small = bound("small");
        assert_eq!(small.fits(1 << 30, "small"), Ok(None));
        assert!(small.fits(30 * MIB, "small").unwrap().unwrap().contains("this machine has 30 MB"));
        let error = small.fits(10 * MIB, "small").unwrap_err();
        assert!(error.contains("this machine has 10 MB; choose a smaller board"), "{error}");
        assert!(small.line().starts_with("memory is bounded at "), "{}", small.line());
    }
}

//! How fast uploads may go, all together, so that calls have the line; and how one is given up half-way.

use std::io::{Error, Read, Take};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use smol::lock::Mutex;

use crate::io::recording::uploads::Flight;
use crate::io::system::clock;

/// Bytes that are let through at once; fewer where the limit is low, so that no server thinks the line dead.
const PIECE: usize = 8 * 1024;
const LEAST_PIECE: usize = 256;

/// The limit that all uploads share.
#[derive(Debug)]
pub struct Pace {
    /// Time that a byte takes, ns; 0: no limit.
    ns_per_byte: u64,
    /// When the next piece may go.
    next: Mutex<Option<Instant>>,
    piece: usize,
}

impl Pace {
    /// A limit in kbit/s; 0: none.
    #[must_use]
    pub fn new(kbit_s: u32) -> Self {
        let ns_per_byte = 8_000_000u64.checked_div(u64::from(kbit_s)).unwrap_or(0);
        let piece = match ns_per_byte {
            0 => PIECE,
            _ => usize::try_from(kbit_s).map_or(PIECE, |k| (k * 125).clamp(LEAST_PIECE, PIECE)),
        };
        Self { ns_per_byte, next: Mutex::new(None), piece }
    }

    /// When so many bytes may go, seen from `now`.
    fn turn(&self, now: Instant, bytes: usize) -> Instant {
        let mut next = self.next.lock_blocking();
        let at = next.map_or(now, |n| n.max(now));
        *next = Some(at + Duration::from_nanos(self.ns_per_byte.saturating_mul(bytes as u64)));
        at
    }

    fn wait(&self, bytes: usize) {
        if self.ns_per_byte == 0 {
            return;
        }
        let at = self.turn(clock::now().mono, bytes);
        loop {
            let left = at.saturating_duration_since(clock::now().mono);
            if left.is_zero() {
                return;
            }
            thread::park_timeout(left);
        }
    }
}

/// A file that is read no faster than allowed, and not to its end once nobody wants it any more.
#[derive(Debug)]
pub struct Paced<'a, R> {
    /// What is read.
    pub inner: Take<R>,
    /// How fast.
    pub pace: &'a Pace,
    /// How far it is, and whether anybody wants it still.
    pub flight: &'a Flight,
}

impl<R: Read> Read for Paced<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        if self.flight.cancelled.load(Ordering::Acquire) {
            return Err(Error::other("the recording is deleted"));
        }
        let most = buf.len().min(self.pace.piece);
        let read = self.inner.read(buf.get_mut(..most).unwrap_or_default())?;
        self.flight.sent.fetch_add(read as u64, Ordering::Relaxed);
        self.pace.wait(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_follow_each_other_at_the_rate() {
        let pace = Pace::new(80);
        let start = clock::now().mono;
        let at: Vec<_> = (0..4).map(|_| pace.turn(start, 5000) - start).collect();
        assert_eq!(at, [0, 500, 1000, 1500].map(Duration::from_millis));
        // Time that nobody used is not saved up.
        let late = start + Duration::from_secs(60);
        assert_eq!(pace.turn(late, 5000), late);
        assert_eq!(pace.turn(late, 5000), late + Duration::from_millis(500));
    }

    #[test]
    fn what_is_cancelled_is_not_read_on() {
        let (pace, flight) = (Pace::new(0), Flight::default());
        let mut paced = Paced { inner: (&[7u8; 20][..]).take(9), pace: &pace, flight: &flight };
        let mut buf = [0; 4];
        assert_eq!(paced.read(&mut buf).unwrap(), 4);
        assert_eq!(flight.sent.load(Ordering::Relaxed), 4);
        flight.cancelled.store(true, Ordering::Release);
        assert!(paced.read(&mut buf).is_err());
    }
}

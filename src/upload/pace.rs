//! Bandwidth limit of all uploads together, so that calls keep their bandwidth; and cancellation of an upload
//! in progress.

use std::io::{Error, Read, Take};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use smol::lock::Mutex;

use crate::io::recording::uploads::Flight;
use crate::io::system::clock;

/// Bytes sent in one piece; fewer at low limits, so that servers do not time out.
const PIECE: usize = 8 * 1024;
const LEAST_PIECE: usize = 256;

/// The limit shared by all uploads.
#[derive(Debug)]
pub struct Pace {
    /// Time per byte, ns; 0: no limit.
    ns_per_byte: u64,
    /// When the next piece may be sent.
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

    /// Reserves time for `bytes` bytes: when they may be sent.
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

/// A reader limited by [`Pace`] that fails once the upload is cancelled.
#[derive(Debug)]
pub struct Paced<'a, R> {
    /// The source.
    pub inner: Take<R>,
    /// The bandwidth limit.
    pub pace: &'a Pace,
    /// Progress, and the cancellation flag.
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
        // Unused bandwidth does not accumulate.
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

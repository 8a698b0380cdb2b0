//! The jitter buffer: packets in any order in, one payload after the other out, as late as needed.
//!
//! It holds encoded packets. Its reader asks once per packet it wants to decode and is told what to do:
//! decode this, conceal a lost one, or wait.

/// Packets held at most; at 10 ms packets that is a third of a second.
const SLOTS: usize = 32;
/// Largest payload held, bytes: 60 ms of G.711 and room to spare.
pub const MAX_PAYLOAD: usize = 512;

#[derive(Debug, Clone)]
struct Held {
    /// Extended sequence number; 0: empty.
    sequence: u64,
    timestamp: u32,
    len: u16,
    payload: [u8; MAX_PAYLOAD],
}

/// What the reader gets.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// The next payload and how far its timestamp is from the end of the one before, in clock units.
    Packet(&'a [u8]),
    /// The next packet is lost: later ones are here.
    Lost,
    /// Nothing is here: the far end is late, or silent.
    Empty,
}

/// Counters of a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that came when their time was over.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets dropped because the buffer was full or the payload too large.
    pub overflow: u64,
    /// Packets dropped to get back to the wanted delay.
    pub skipped: u64,
}

/// The buffer of one stream. Sizes are in packets; all of it is allocated with the leg.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: Box<[Held]>,
    /// The next sequence number to hand out; while nothing has been, the lowest that came.
    next: Option<u64>,
    /// Something has been handed out.
    begun: bool,
    /// Reads since the buffer ran empty: as many lost packets have been made up for already.
    starved: u64,
    /// A late packet or an empty buffer in this window: the delay is not lowered.
    trouble: bool,
    held: usize,
    filling: bool,
    /// Packets to gather before the first is handed out.
    target: usize,
    /// Fewest packets held since the last look, and reads since then.
    low: usize,
    reads: u32,
    counts: Counts,
}

/// Reads between two looks at the level: 2 s of 20 ms packets.
const WINDOW: u32 = 100;
const MAX_TARGET: usize = 10;

impl Default for JitterBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl JitterBuffer {
    /// An empty buffer.
    #[must_use]
    pub fn new() -> Self {
        let empty = Held { sequence: 0, timestamp: 0, len: 0, payload: [0; MAX_PAYLOAD] };
        Self {
            slots: vec![empty; SLOTS].into_boxed_slice(),
            next: None,
            begun: false,
            starved: 0,
            trouble: false,
            held: 0,
            filling: true,
            target: 1,
            low: usize::MAX,
            reads: 0,
            counts: Counts::default(),
        }
    }

    /// Forgets everything, as at a new stream.
    pub fn clear(&mut self) {
        for s in &mut self.slots {
            s.sequence = 0;
        }
        (self.next, self.begun, self.held, self.filling) = (None, false, 0, true);
        (self.low, self.reads, self.starved, self.trouble, self.target) = (usize::MAX, 0, 0, false, 1);
    }

    /// Takes a packet by its extended sequence number (never 0).
    pub fn insert(&mut self, sequence: u64, timestamp: u32, payload: &[u8]) {
        let just_before = |n: u64| !self.begun && sequence + SLOTS as u64 > n;
        if self.next.is_some_and(|n| sequence < n && !just_before(n)) {
            self.counts.late += 1;
            // The far end is later than we waited for: wait for more from now on, once a window.
            if !self.trouble {
                self.target = (self.target + 1).min(MAX_TARGET);
            }
            self.trouble = true;
            return;
        }
        if self.next.is_some_and(|n| sequence >= n + SLOTS as u64) {
            // So far ahead that what is held can never be played in time.
            self.clear();
        }
        let index = (sequence % SLOTS as u64) as usize;
        let Some(slot) = self.slots.get_mut(index) else { return };
        if slot.sequence == sequence {
            self.counts.duplicate += 1;
            return;
        }
        let Some(to) = slot.payload.get_mut(..payload.len()) else {
            self.counts.overflow += 1;
            return;
        };
        if slot.sequence != 0 {
            self.counts.overflow += 1;
            self.held -= 1;
        }
        to.copy_from_slice(payload);
        (slot.sequence, slot.timestamp, slot.len) = (sequence, timestamp, payload.len() as u16);
        self.held += 1;
        self.next = Some(self.next.map_or(sequence, |n| n.min(sequence)));
    }

    /// What to decode next.
    pub fn read(&mut self) -> Next<'_> {
        if self.next.is_none() {
            return Next::Empty;
        }
        if self.filling {
            if self.held <= self.target {
                self.starved += u64::from(self.begun);
                return Next::Empty;
            }
            self.filling = false;
            self.catch_up();
        }
        if self.held == 0 {
            (self.filling, self.starved) = (true, 1);
            // Lost ones are told from late ones when the stream goes on.
            return Next::Empty;
        }
        self.look();
        let next = self.next.unwrap_or(0);
        (self.next, self.begun) = (Some(next + 1), true);
        let index = (next % SLOTS as u64) as usize;
        match self.slots.get_mut(index) {
            Some(slot) if slot.sequence == next => {
                slot.sequence = 0;
                self.held -= 1;
                let len = usize::from(slot.len);
                Next::Packet(slot.payload.get(..len).unwrap_or_default())
            }
            Some(_) | None => Next::Lost,
        }
    }

    /// Passes over the lost packets whose time went by while the buffer was empty.
    fn catch_up(&mut self) {
        while self.starved > 0 {
            let Some(next) = self.next else { break };
            let index = (next % SLOTS as u64) as usize;
            if self.slots.get(index).is_some_and(|s| s.sequence == next) {
                break;
            }
            self.next = Some(next + 1);
            self.starved -= 1;
        }
        self.starved = 0;
    }

    /// Keeps the delay at what is needed: when more than that was held all the time, one packet is
    /// skipped; this is also what takes up a far end whose clock runs fast.
    fn look(&mut self) {
        self.low = self.low.min(self.held);
        self.reads += 1;
        if self.reads < WINDOW {
            return;
        }
        if !self.trouble && self.target > 1 {
            // The network got better: ask for less, then see.
            self.target -= 1;
        }
        let spare = self.low.saturating_sub(self.target + 1);
        (self.low, self.reads, self.trouble) = (usize::MAX, 0, false);
        if spare == 0 {
            return;
        }
        if let Some(next) = self.next {
            let index = (next % SLOTS as u64) as usize;
            if let Some(slot) = self.slots.get_mut(index)
                && slot.sequence == next
            {
                slot.sequence = 0;
                self.held -= 1;
                self.counts.skipped += 1;
            }
            self.next = Some(next + 1);
        }
    }

    /// Packets held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Packets gathered before the first is handed out, beyond that first one.
    #[must_use]
    pub fn target(&self) -> usize {
        self.target
    }

    /// Counters.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(b: &mut JitterBuffer) -> i32 {
        match b.read() {
            Next::Packet(p) => i32::from(p[0]),
            Next::Lost => -1,
            Next::Empty => -2,
        }
    }

    fn put(b: &mut JitterBuffer, n: u64) {
        b.insert(n, 0, &[n as u8]);
    }

    #[test]
    fn order_is_restored_and_copies_are_dropped() {
        let mut b = JitterBuffer::new();
        for n in [10, 12, 11, 11, 13] {
            put(&mut b, n);
        }
        assert_eq!([read(&mut b), read(&mut b), read(&mut b), read(&mut b)], [10, 11, 12, 13]);
        assert_eq!((read(&mut b), b.counts().duplicate), (-2, 1));
    }

    #[test]
    fn a_packet_before_the_first_is_still_in_time_while_filling() {
        let mut b = JitterBuffer::new();
        put(&mut b, 11);
        put(&mut b, 10);
        assert_eq!([read(&mut b), read(&mut b)], [10, 11]);
    }

    #[test]
    fn losses_are_told_when_later_packets_are_here() {
        let mut b = JitterBuffer::new();
        for n in [10, 11, 13, 14] {
            put(&mut b, n);
        }
        assert_eq!([read(&mut b), read(&mut b), read(&mut b), read(&mut b)], [10, 11, -1, 13]);
        put(&mut b, 12);
        assert_eq!(b.counts().late, 1);
    }

    #[test]
    fn an_empty_buffer_fills_again_before_it_plays() {
        let mut b = JitterBuffer::new();
        put(&mut b, 10);
        assert_eq!(read(&mut b), -2, "one packet alone is not enough to start");
        put(&mut b, 11);
        assert_eq!([read(&mut b), read(&mut b), read(&mut b)], [10, 11, -2]);
        put(&mut b, 12);
        assert_eq!(read(&mut b), -2);
        put(&mut b, 13);
        assert_eq!([read(&mut b), read(&mut b)], [12, 13]);
    }

    #[test]
    fn an_outage_leaves_no_delay_behind() {
        let mut b = JitterBuffer::new();
        let mut gaps = 0;
        for n in 1..500u64 {
            if !(200..225).contains(&n) {
                put(&mut b, n);
            }
            gaps += u32::from(read(&mut b) < 0 && n > 5);
        }
        assert!((25..=28).contains(&gaps), "{gaps} frames made up for 25 lost packets");
        assert!(b.held() <= 3, "{} held", b.held());
    }

    #[test]
    fn one_bad_moment_does_not_raise_the_delay_for_good() {
        let mut b = JitterBuffer::new();
        for n in 1..2000u64 {
            put(&mut b, n);
            read(&mut b);
            if n > 10 && n < 100 && n % 9 == 0 {
                put(&mut b, n - 8);
            }
        }
        assert_eq!((b.target(), b.counts().late > 5), (1, true));
    }

    #[test]
    fn a_fast_far_end_does_not_build_up_delay() {
        let mut b = JitterBuffer::new();
        let mut sent = 100;
        for tick in 0..20_000 {
            put(&mut b, sent);
            sent += 1;
            if tick % 200 == 0 {
                put(&mut b, sent);
                sent += 1;
            }
            read(&mut b);
        }
        assert!(b.held() <= 4, "{} held", b.held());
        assert!(b.counts().skipped >= 95, "{:?}", b.counts());
    }

    #[test]
    fn garbage_does_no_harm() {
        let mut b = JitterBuffer::new();
        b.insert(5, 0, &[0; MAX_PAYLOAD + 1]);
        assert_eq!(b.counts().overflow, 1);
        put(&mut b, 70_000);
        put(&mut b, 5);
        put(&mut b, 900_000);
        for n in 900_001..900_010 {
            put(&mut b, n);
        }
        for _ in 0..200 {
            read(&mut b);
        }
        assert_eq!(b.held(), 0);
    }
}

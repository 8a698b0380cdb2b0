//! The jitter buffer's store: packets in any order in, in order out, by sequence number. When each is played is
//! decided by whoever reads.

/// Packets held at most: a third of a second at 10 ms each.
const SLOTS: usize = u32::BITS as usize;

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Extended sequence number; 0: empty.
    sequence: u64,
    /// Extended timestamp.
    timestamp: i64,
    len: u16,
    /// Where its payload is.
    cell: u8,
}

/// The packet to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Extended timestamp, clock units.
    pub timestamp: i64,
    /// Packets missing between it and the one read before.
    pub missing: u64,
    /// It holds no sound: a digit or the like.
    pub is_empty: bool,
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
}

/// The buffer of one stream; all of it is allocated with the leg.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: [Held; SLOTS],
    payloads: Box<[u8]>,
    /// Cells of `payloads` that hold nothing, a bit each. The lowest is taken: while packets come one at a time it is
    /// always the same, and stays in the processor's cache.
    free: u32,
    /// Largest payload, bytes.
    largest: usize,
    /// The next sequence number to hand out; while nothing has been, the lowest that came.
    next: Option<u64>,
    /// Something has been handed out.
    begun: bool,
    held: usize,
    counts: Counts,
}

impl JitterBuffer {
    /// An empty buffer for payloads of up to `largest` bytes.
    #[must_use]
    pub fn new(largest: usize) -> Self {
        Self {
            slots: [Held::default(); SLOTS],
            payloads: vec![0; SLOTS * largest].into_boxed_slice(),
            free: u32::MAX,
            largest,
            next: None,
            begun: false,
            held: 0,
            counts: Counts::default(),
        }
    }

    /// Forgets what it holds, as at a new stream.
    pub fn clear(&mut self) {
        self.slots = [Held::default(); SLOTS];
        (self.free, self.next, self.begun, self.held) = (u32::MAX, None, false, 0);
    }

    /// Takes a packet by its extended sequence number (never 0) and timestamp.
    pub fn insert(&mut self, sequence: u64, timestamp: i64, payload: &[u8]) {
        let just_before = |n: u64| !self.begun && sequence + SLOTS as u64 > n;
        if self.next.is_some_and(|n| sequence < n && !just_before(n)) {
            self.counts.late += 1;
            return;
        }
        if self.next.is_some_and(|n| sequence >= n + SLOTS as u64) {
            // So far ahead that what is held can never be played in time.
            self.counts.overflow += self.held as u64;
            self.clear();
        }
        let index = (sequence % SLOTS as u64) as usize;
        let (Some(slot), true) = (self.slots.get_mut(index), payload.len() <= self.largest) else {
            self.counts.overflow += 1;
            return;
        };
        if slot.sequence == sequence {
            self.counts.duplicate += 1;
            return;
        }
        let cell = if slot.sequence == 0 {
            // There are as many as slots.
            self.free.trailing_zeros() as u8
        } else {
            self.counts.overflow += 1;
            self.held -= 1;
            slot.cell
        };
        let at = usize::from(cell) * self.largest;
        let Some(to) = self.payloads.get_mut(at..at + payload.len()) else { return };
        to.copy_from_slice(payload);
        self.free &= !1u32.unbounded_shl(u32::from(cell));
        *slot = Held { sequence, timestamp, len: payload.len() as u16, cell };
        self.held += 1;
        self.next = Some(self.next.map_or(sequence, |n| n.min(sequence)));
    }

    /// Where the next payload goes, its first `len` bytes.
    #[must_use]
    pub fn next_cell(&self, len: usize) -> &[u8] {
        let at = self.free.trailing_zeros() as usize * self.largest;
        self.payloads.get(at..at + len.min(self.largest)).unwrap_or_default()
    }

    fn slot(&self, sequence: u64) -> Option<(usize, Held)> {
        let index = (sequence % SLOTS as u64) as usize;
        let held = self.slots.get(index).copied().filter(|s| s.sequence == sequence)?;
        Some((index, held))
    }

    fn first(&self) -> Option<(u64, Held)> {
        let next = self.next.filter(|_| self.held > 0)?;
        let held = (next..next + SLOTS as u64).find_map(|n| self.slot(n))?;
        Some((next, held.1))
    }

    /// The packet to be read next.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let (next, held) = self.first()?;
        let missing = if self.begun { held.sequence - next } else { 0 };
        Some(Head { timestamp: held.timestamp, missing, is_empty: held.len == 0 })
    }

    /// Payload of the packet to be read next, which stays.
    #[must_use]
    pub fn peek(&self) -> &[u8] {
        self.first().map_or(&[], |(_, held)| self.payload(held))
    }

    fn payload(&self, held: Held) -> &[u8] {
        let at = usize::from(held.cell) * self.largest;
        self.payloads.get(at..at + usize::from(held.len)).unwrap_or_default()
    }

    /// Reads the next packet.
    pub fn take(&mut self) -> &[u8] {
        let Some((_, held)) = self.first() else { return &[] };
        let index = (held.sequence % SLOTS as u64) as usize;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.sequence = 0;
        }
        self.free |= 1u32.unbounded_shl(u32::from(held.cell));
        self.held -= 1;
        (self.next, self.begun) = (Some(held.sequence + 1), true);
        self.payload(held)
    }

    /// The next packet is given up: should it still come, it is late.
    pub fn pass(&mut self) {
        if let Some(next) = self.next.filter(|_| self.begun)
            && self.slot(next).is_none()
            && self.held > 0
        {
            self.next = Some(next + 1);
        }
    }

    /// Packets held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
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

    fn put(b: &mut JitterBuffer, n: u64) {
        b.insert(n, n as i64 * 160, &[n as u8]);
    }

    fn all(b: &mut JitterBuffer) -> Vec<(u8, u64)> {
        let mut out = Vec::new();
        while let Some(head) = b.head() {
            assert_eq!(b.peek().first(), Some(&((head.timestamp / 160) as u8)));
            out.push((b.take()[0], head.missing));
        }
        out
    }

    #[test]
    fn order_is_restored_and_copies_are_dropped() {
        let mut b = JitterBuffer::new(4);
        for n in [12, 10, 11, 11, 13] {
            put(&mut b, n);
        }
        assert_eq!(all(&mut b), [(10, 0), (11, 0), (12, 0), (13, 0)]);
        assert_eq!((b.head(), b.counts().duplicate, b.held()), (None, 1, 0));
        assert!(b.take().is_empty() && b.peek().is_empty());
    }

    #[test]
    fn losses_are_told_and_what_comes_afterwards_is_late() {
        let mut b = JitterBuffer::new(4);
        for n in [10, 11, 14] {
            put(&mut b, n);
        }
        assert_eq!((b.take()[0], b.take()[0]), (10, 11));
        b.pass();
        put(&mut b, 12);
        assert_eq!((b.counts().late, b.head().unwrap().missing), (1, 1));
        put(&mut b, 13);
        assert_eq!(all(&mut b), [(13, 0), (14, 0)]);
        put(&mut b, 13);
        assert_eq!(b.counts().late, 2);
    }

    #[test]
    fn nothing_is_passed_that_is_here_or_may_still_come() {
        let mut b = JitterBuffer::new(4);
        put(&mut b, 10);
        b.pass();
        assert_eq!(b.take(), [10]);
        b.pass();
        put(&mut b, 11);
        b.pass();
        assert_eq!(all(&mut b), [(11, 0)]);
    }

    #[test]
    fn garbage_does_no_harm() {
        let mut b = JitterBuffer::new(4);
        b.insert(5, 0, &[0; 5]);
        assert_eq!((b.counts().overflow, b.held()), (1, 0));
        b.insert(31, 0, &[0; 5]);
        put(&mut b, 70_000);
        put(&mut b, 5);
        put(&mut b, 900_000);
        assert_eq!(all(&mut b).len(), 1);
        b.insert(900_001, 5, &[]);
        assert!(b.head().unwrap().is_empty && b.take().is_empty());
    }
}

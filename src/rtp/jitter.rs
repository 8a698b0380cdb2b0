//! The storage of the jitter buffer: accepts packets in any order and returns them in sequence order. The
//! reader decides when each is played.

use crate::codec::Codec;

/// Maximum packets held: a third of a second at 10 ms each.
const SLOTS: usize = u32::BITS as usize;

/// Size of a cell, bytes: a 20 ms G.711 packet fills one, longer payloads use several consecutive ones.
const CELL: usize = 160;
/// Maximum number of cells of a buffer.
const MAX_CELLS: usize = u128::BITS as usize;

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    /// Extended sequence number; 0: empty.
    sequence: u64,
    /// Extended timestamp.
    timestamp: i64,
    len: u16,
    /// First cell of its payload.
    cell: u8,
    /// Codec of its payload.
    codec: Option<Codec>,
}

/// Payload storage in cells. The lowest free cells are used first: while packets are read as they come, these
/// are always the same, and stay in the processor cache.
#[derive(Debug)]
struct Cells {
    bytes: Box<[u8]>,
    /// Bit set: the cell is free.
    free: u128,
}

impl Cells {
    fn new(count: usize) -> Self {
        Self { bytes: vec![0; count * CELL].into_boxed_slice(), free: Self::first(count) }
    }

    /// Mask of the lowest `count` bits.
    fn first(count: usize) -> u128 {
        1u128.unbounded_shl(count as u32).wrapping_sub(1)
    }

    fn clear(&mut self) {
        self.free = Self::first(self.bytes.len() / CELL);
    }

    /// Stores a payload; returns its first cell, or `None` if no run of free cells is long enough.
    fn put(&mut self, payload: &[u8]) -> Option<u8> {
        let count = payload.len().div_ceil(CELL);
        if count == 0 {
            return Some(0);
        }
        let begins = (1..count).fold(self.free, |rows, n| rows & self.free.unbounded_shr(n as u32));
        let cell = begins.trailing_zeros() as usize;
        let to = self.bytes.get_mut(cell * CELL..cell * CELL + payload.len())?;
        to.copy_from_slice(payload);
        self.free &= !Self::first(count).unbounded_shl(cell as u32);
        Some(cell as u8)
    }

    fn get(&self, cell: u8, len: usize) -> &[u8] {
        let at = usize::from(cell) * CELL;
        self.bytes.get(at..at + len).unwrap_or_default()
    }

    fn release(&mut self, cell: u8, len: usize) {
        self.free |= Self::first(len.div_ceil(CELL)).unbounded_shl(u32::from(cell));
    }
}

/// The packet to be read next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Extended timestamp, clock units.
    pub timestamp: i64,
    /// Packets missing between this one and the last one read.
    pub missing: u64,
    /// It has no audio, e.g. a telephone event.
    pub is_empty: bool,
    /// Codec of the payload.
    pub codec: Option<Codec>,
}

/// Counters of a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that arrived after their playout time.
    pub late: u64,
    /// Duplicate packets.
    pub duplicate: u64,
    /// Packets dropped because the buffer was full or the payload too large.
    pub overflow: u64,
}

/// The buffer of one stream; all memory is allocated with the leg.
#[derive(Debug)]
pub struct JitterBuffer {
    slots: [Held; SLOTS],
    cells: Cells,
    /// Largest payload, bytes.
    largest: usize,
    /// The next sequence number to return; before the first read, the lowest received.
    next: Option<u64>,
    /// At least one packet has been read.
    begun: bool,
    /// Bit mask of the sequence numbers before `next` that were read; bit 0 is the last one.
    taken: u64,
    held: usize,
    counts: Counts,
}

impl JitterBuffer {
    /// An empty buffer for payloads of up to `largest` bytes, and `room` bytes in total (at most 20,480).
    #[must_use]
    pub fn new(largest: usize, room: usize) -> Self {
        Self {
            slots: [Held::default(); SLOTS],
            cells: Cells::new(room.div_ceil(CELL).min(MAX_CELLS)),
            largest,
            next: None,
            begun: false,
            taken: 0,
            held: 0,
            counts: Counts::default(),
        }
    }

    /// Drops all packets, for a new stream.
    pub fn clear(&mut self) {
        self.slots = [Held::default(); SLOTS];
        self.cells.clear();
        (self.next, self.begun, self.taken, self.held) = (None, false, 0, 0);
    }

    /// Inserts a packet with its extended sequence number (never 0) and timestamp.
    pub fn insert(&mut self, sequence: u64, timestamp: i64, codec: Option<Codec>, payload: &[u8]) {
        let just_before = |n: u64| !self.begun && sequence + SLOTS as u64 > n;
        if self.next.is_some_and(|n| sequence < n && !just_before(n)) {
            let back = self.next.map_or(0, |n| n - 1 - sequence);
            let copy = u32::try_from(back).is_ok_and(|back| self.taken.unbounded_shr(back) & 1 == 1);
            let count = if copy { &mut self.counts.duplicate } else { &mut self.counts.late };
            *count += 1;
            return;
        }
        if self.next.is_some_and(|n| sequence >= n + SLOTS as u64) {
            // So far ahead that the packets held can no longer be played in time.
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
        if slot.sequence != 0 {
            self.counts.overflow += 1;
            self.held -= 1;
            self.cells.release(slot.cell, usize::from(slot.len));
            slot.sequence = 0;
        }
        let Some(cell) = self.cells.put(payload) else {
            self.counts.overflow += 1;
            return;
        };
        *slot = Held { sequence, timestamp, len: payload.len() as u16, cell, codec };
        self.held += 1;
        self.next = Some(self.next.map_or(sequence, |n| n.min(sequence)));
    }

    /// Memory that the next payload will be written to, first `len` bytes.
    #[must_use]
    pub fn next_cell(&self, len: usize) -> &[u8] {
        self.cells.get(self.cells.free.trailing_zeros() as u8, len.min(CELL))
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
        Some(Head { timestamp: held.timestamp, missing, is_empty: held.len == 0, codec: held.codec })
    }

    /// Payload of the next packet, without removing it.
    #[must_use]
    pub fn peek(&self) -> &[u8] {
        self.first().map_or(&[], |(_, held)| self.payload(held))
    }

    fn payload(&self, held: Held) -> &[u8] {
        self.cells.get(held.cell, usize::from(held.len))
    }

    /// Removes the next packet; returns its payload.
    pub fn take(&mut self) -> &[u8] {
        let Some((_, held)) = self.first() else { return &[] };
        let index = (held.sequence % SLOTS as u64) as usize;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.sequence = 0;
        }
        self.cells.release(held.cell, usize::from(held.len));
        self.held -= 1;
        let by = self.next.map_or(1, |n| held.sequence + 1 - n);
        self.taken = self.taken.unbounded_shl(u32::try_from(by).unwrap_or(u32::MAX)) | 1;
        (self.next, self.begun) = (Some(held.sequence + 1), true);
        self.payload(held)
    }

    /// Skips the next sequence number if its packet is missing and later ones are held: a later arrival
    /// counts as late.
    pub fn pass(&mut self) {
        if let Some(next) = self.next.filter(|_| self.begun)
            && self.slot(next).is_none()
            && self.held > 0
        {
            self.next = Some(next + 1);
            self.taken <<= 1;
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
        b.insert(n, n as i64 * 160, None, &[n as u8]);
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
        let mut b = JitterBuffer::new(4, 64 * CELL);
        for n in [12, 10, 11, 11, 13] {
            put(&mut b, n);
        }
        assert_eq!(all(&mut b), [(10, 0), (11, 0), (12, 0), (13, 0)]);
        assert_eq!((b.head(), b.counts().duplicate, b.held()), (None, 1, 0));
        assert!(b.take().is_empty() && b.peek().is_empty());
    }

    #[test]
    fn losses_are_reported_and_later_arrivals_count_as_late() {
        let mut b = JitterBuffer::new(4, 64 * CELL);
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
        put(&mut b, 11);
        put(&mut b, 12);
        assert_eq!((b.counts().late, b.counts().duplicate), (2, 2), "12 never came in time, 11 and 13 did");
    }

    #[test]
    fn only_packets_known_missing_are_skipped() {
        let mut b = JitterBuffer::new(4, 64 * CELL);
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
        let mut b = JitterBuffer::new(4, 64 * CELL);
        b.insert(5, 0, None, &[0; 5]);
        assert_eq!((b.counts().overflow, b.held()), (1, 0));
        b.insert(31, 0, None, &[0; 5]);
        put(&mut b, 70_000);
        put(&mut b, 5);
        put(&mut b, 900_000);
        assert_eq!(all(&mut b).len(), 1);
        b.insert(900_001, 5, None, &[]);
        assert!(b.head().unwrap().is_empty && b.take().is_empty());
    }

    #[test]
    fn long_packets_take_several_cells_and_give_them_back() {
        let mut b = JitterBuffer::new(10 * CELL, 64 * CELL);
        // A packet of 200 ms needs ten cells; it is stored even when short packets fragment the free ones.
        for round in 0..100u64 {
            for n in 0..6 {
                let len = if n % 2 == 0 { 10 * CELL } else { CELL / 2 + 1 };
                b.insert(round * 6 + n + 1, 0, None, &vec![n as u8 + 1; len]);
            }
            for n in 0..6 {
                let got = b.take();
                assert!(got.len() > CELL / 2 && got.iter().all(|x| *x == n + 1), "{round}: {}", got.len());
            }
        }
        assert_eq!((b.counts(), b.cells.free), (Counts::default(), u128::from(u64::MAX)));
    }

    #[test]
    fn overflow_is_counted_and_other_packets_are_kept() {
        let mut b = JitterBuffer::new(10 * CELL, 64 * CELL);
        for n in 1..=8u64 {
            b.insert(n, 0, None, &[n as u8; 10 * CELL]);
        }
        assert_eq!((b.counts().overflow, b.held()), (2, 6));
        for n in 1..=6 {
            assert!(b.take().iter().all(|x| *x == n));
        }
        assert_eq!(b.cells.free, u128::from(u64::MAX));
    }
}

//! Slots in the media engine: lowest first, returned when the engine has released them.

/// Free slots of one kind.
#[derive(Debug)]
pub struct Slots {
    free: Vec<u16>,
    all: usize,
}

impl Slots {
    /// `n` free slots.
    #[must_use]
    pub fn new(n: u32) -> Self {
        let n = u16::try_from(n).unwrap_or(u16::MAX);
        Self { free: (0..n).rev().collect(), all: usize::from(n) }
    }

    /// Takes a slot.
    pub fn take(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// Returns a slot.
    pub fn free(&mut self, slot: u16) {
        self.free.push(slot);
    }

    /// Number of slots in use.
    #[must_use]
    pub fn used(&self) -> u32 {
        u32::try_from(self.all - self.free.len().min(self.all)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_out_and_taken_back() {
        let mut s = Slots::new(2);
        assert_eq!((s.take(), s.take(), s.take(), s.used()), (Some(0), Some(1), None, 2));
        s.free(0);
        assert_eq!((s.used(), s.take()), (1, Some(0)));
    }
}

//! Places in the media engine: given out lowest first, taken back when the engine has let go.

/// Free places of one kind.
#[derive(Debug)]
pub struct Slots {
    free: Vec<u16>,
    all: usize,
}

impl Slots {
    /// `n` free places.
    #[must_use]
    pub fn new(n: u32) -> Self {
        let n = u16::try_from(n).unwrap_or(u16::MAX);
        Self { free: (0..n).rev().collect(), all: usize::from(n) }
    }

    /// Takes a place.
    pub fn take(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// Gives one back.
    pub fn free(&mut self, slot: u16) {
        self.free.push(slot);
    }

    /// Places in use.
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

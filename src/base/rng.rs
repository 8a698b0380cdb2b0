//! The random generator: seeded by the operating system in production, by a number in tests.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// ChaCha12: unpredictable enough for tags, branches and ports, and reproducible from a seed.
#[derive(Debug, Clone)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// A generator for tests and simulations: the same seed gives the same values.
    #[must_use]
    pub fn from_number(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A generator seeded by the operating system; `None` if the system cannot provide randomness.
    #[must_use]
    pub fn from_os() -> Option<Self> {
        let mut seed = [0u8; 32];
        getrandom::fill(&mut seed).ok()?;
        Some(Self(ChaCha12Rng::from_seed(seed)))
    }

    /// Derives an independent generator, so that two owners never share a stream.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        let mut seed = [0u8; 32];
        self.0.fill_bytes(&mut seed);
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// 32 random bits.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 64 random bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n` (0 for `n` = 0), without visible bias for the small ranges used here.
    pub fn below(&mut self, n: u32) -> u32 {
        let wide = u64::from(self.u32()) * u64::from(n);
        u32::try_from(wide >> 32).unwrap_or(0)
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// Sixteen hex digits: tags, branches, Call-ID parts.
    pub fn token(&mut self) -> String {
        format!("{:016x}", self.u64())
    }

    /// A version 4 UUID, lower case.
    pub fn uuid(&mut self) -> String {
        let mut b = [0u8; 16];
        self.0.fill_bytes(&mut b);
        uuid::Builder::from_random_bytes(b).into_uuid().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_generators_repeat_and_forks_differ() {
        let (mut a, mut b) = (Rng::from_number(7), Rng::from_number(7));
        assert_eq!((a.u64(), a.uuid()), (b.u64(), b.uuid()));
        let mut f = a.fork();
        assert_ne!(f.u64(), a.u64());
        assert!((0..1000).all(|_| a.below(10) < 10));
        assert_eq!(a.below(0), 0);
        assert_eq!(a.token().len(), 16);
        assert_eq!(a.uuid().as_bytes()[14], b'4');
    }
}

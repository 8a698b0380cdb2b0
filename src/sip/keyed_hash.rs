//! A hash under a secret key: reproducible for us, unpredictable for everybody else.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base::hex::hex;
use crate::base::rng::Rng;

/// HMAC-SHA256 (RFC 2104) with a random 128-bit key.
#[derive(Debug)]
pub struct KeyedHash {
    key: [u8; 16],
}

impl KeyedHash {
    /// With a new random key.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 16];
        let (high, low) = (rng.u64().to_be_bytes(), rng.u64().to_be_bytes());
        key.iter_mut().zip(high.into_iter().chain(low)).for_each(|(k, b)| *k = b);
        Self { key }
    }

    /// The hash of these parts, in this order.
    #[must_use]
    pub fn of(&self, parts: &[&str]) -> [u8; 32] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return [0; 32] };
        for part in parts {
            mac.update(&part.len().to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    /// The first `bytes` of the hash, at most 32, in hex.
    #[must_use]
    pub fn hex_of(&self, parts: &[&str], bytes: usize) -> String {
        hex(self.of(parts).get(..bytes).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_depends_on_every_part_and_on_the_key() {
        let (a, b) = (KeyedHash::new(&mut Rng::from_number(1)), KeyedHash::new(&mut Rng::from_number(2)));
        assert_eq!(a.of(&["x", "yz"]), a.of(&["x", "yz"]));
        assert_ne!(a.of(&["x", "yz"]), a.of(&["xy", "z"]));
        assert_ne!(a.of(&["x", "yz"]), b.of(&["x", "yz"]));
        assert_eq!((a.hex_of(&[], 8).len(), a.hex_of(&["x"], 12).len()), (16, 24));
    }
}

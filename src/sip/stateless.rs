//! To tags of responses that nothing is kept of: the same for every copy of a request (RFC 3261 §8.2.7), and unknown
//! to whoever has not seen the response.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::base::hex::hex;
use crate::base::rng::Rng;

/// Makes tags of what identifies a request.
#[derive(Debug)]
pub struct Tags {
    key: [u8; 16],
}

impl Tags {
    /// Tags under a key of their own.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 16];
        let (high, low) = (rng.u64().to_be_bytes(), rng.u64().to_be_bytes());
        key.iter_mut().zip(high.into_iter().chain(low)).for_each(|(k, b)| *k = b);
        Self { key }
    }

    /// The tag of a request with these parts: sixteen hex digits.
    #[must_use]
    pub fn of(&self, parts: &[&str]) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.key) else { return String::new() };
        for part in parts {
            mac.update(&part.len().to_be_bytes());
            mac.update(part.as_bytes());
        }
        let mut tag = hex(&mac.finalize().into_bytes());
        tag.truncate(16);
        tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_depends_on_every_part_and_on_the_key() {
        let (a, b) = (Tags::new(&mut Rng::from_number(1)), Tags::new(&mut Rng::from_number(2)));
        assert_eq!(a.of(&["x", "yz"]), a.of(&["x", "yz"]));
        assert_ne!(a.of(&["x", "yz"]), a.of(&["xy", "z"]));
        assert_ne!(a.of(&["x", "yz"]), b.of(&["x", "yz"]));
        assert_eq!(a.of(&[]).len(), 16);
    }
}

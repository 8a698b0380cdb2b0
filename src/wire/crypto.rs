//! SRTP keys in session descriptions: `a=crypto` (RFC 4568, RFC 7714 §14).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::base::rng::Rng;

/// Whether SRTP is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Srtp {
    /// Never.
    Off,
    /// Accepted if offered; offered if the signalling is encrypted too.
    Optional,
    /// Calls without it are refused.
    Required,
}

impl Srtp {
    /// All values, by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("off", Self::Off), ("optional", Self::Optional), ("required", Self::Required)];
}

/// SRTP crypto suites.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// AES in counter mode, 80-bit tags: supported by every implementation.
    AesCm80,
    /// The same with 32-bit tags on RTP.
    AesCm32,
    /// AES-GCM, 128-bit keys.
    Gcm128,
    /// AES-GCM, 256-bit keys.
    Gcm256,
}

impl Suite {
    /// In the order of offers.
    pub const ALL: [Self; 4] = [Self::AesCm80, Self::Gcm256, Self::Gcm128, Self::AesCm32];

    /// Name in the attribute.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AesCm80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm32 => "AES_CM_128_HMAC_SHA1_32",
            Self::Gcm128 => "AEAD_AES_128_GCM",
            Self::Gcm256 => "AEAD_AES_256_GCM",
        }
    }

    /// Length of the master key, bytes.
    #[must_use]
    pub fn key_len(self) -> usize {
        if self == Self::Gcm256 { 32 } else { 16 }
    }

    /// Length of the master salt, bytes.
    #[must_use]
    pub fn salt_len(self) -> usize {
        match self {
            Self::AesCm80 | Self::AesCm32 => 14,
            Self::Gcm128 | Self::Gcm256 => 12,
        }
    }
}

/// Maximum length of master key and salt together, bytes.
pub const MAX_KEY: usize = 46;

/// A master key with its salt. Debug output hides it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MasterKey {
    /// Its crypto suite.
    pub suite: Suite,
    bytes: [u8; MAX_KEY],
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("suite", &self.suite).finish_non_exhaustive()
    }
}

impl MasterKey {
    /// Generates a new key.
    #[must_use]
    pub fn random(suite: Suite, rng: &mut Rng) -> Self {
        let mut bytes = [0; MAX_KEY];
        let used = suite.key_len() + suite.salt_len();
        for chunk in bytes.chunks_mut(8) {
            let drawn = rng.u64().to_be_bytes();
            chunk.iter_mut().zip(drawn).for_each(|(b, r)| *b = r);
        }
        bytes.iter_mut().skip(used).for_each(|b| *b = 0);
        Self { suite, bytes }
    }

    /// A key from these bytes, key first; `None` if the length does not match the suite.
    #[must_use]
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_KEY];
        let used = suite.key_len() + suite.salt_len();
        if key_and_salt.len() != used {
            return None;
        }
        bytes.iter_mut().zip(key_and_salt).for_each(|(b, k)| *b = *k);
        Some(Self { suite, bytes })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.bytes.get(..self.suite.key_len()).unwrap_or_default()
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        let start = self.suite.key_len();
        self.bytes.get(start..start + self.suite.salt_len()).unwrap_or_default()
    }

    fn all(&self) -> &[u8] {
        self.bytes.get(..self.suite.key_len() + self.suite.salt_len()).unwrap_or_default()
    }
}

/// One `a=crypto` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crypto {
    /// Identifies the line within an offer; the answer repeats the tag of the accepted one.
    pub tag: u32,
    /// The sender's key.
    pub key: MasterKey,
}

impl Crypto {
    /// Parses the value of the attribute; `None` if it cannot be used: unknown suite, key of wrong length,
    /// master key identifier, unknown session parameters (RFC 4568 §6.3).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let tag = words.next().filter(|t| t.len() <= 9)?.parse().ok()?;
        let name = words.next()?;
        let suite = Suite::ALL.into_iter().find(|s| s.as_str().eq_ignore_ascii_case(name))?;
        // Several keys would need an MKI in each packet.
        let params = words.next().filter(|p| !p.contains(';'))?;
        if words.any(|p| !p.starts_with('-') && !p.starts_with("WSH=") && !p.starts_with("FEC_ORDER=")) {
            return None;
        }
        let (method, rest) = params.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") {
            return None;
        }
        let mut parts = rest.split('|');
        // RFC 4568 §6.1 does not specify base64 padding, and some implementations omit it.
        let decoded = STANDARD_NO_PAD.decode(parts.next()?.trim_end_matches('=')).ok()?;
        // Next may come a lifetime, which no call reaches, or an MKI, which contains a colon.
        if parts.any(|p| p.contains(':')) {
            return None;
        }
        MasterKey::new(suite, &decoded).map(|key| Self { tag, key })
    }
}

impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode(self.key.all());
        write!(f, "{} {} inline:{key}", self.tag, self.key.suite.as_str())
    }
}

/// Our keys of a session, one for each suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OurKeys([MasterKey; 4]);

impl OurKeys {
    /// Generates new keys.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        Self(Suite::ALL.map(|s| MasterKey::random(s, rng)))
    }

    /// Generates new keys, except for the one in use.
    #[must_use]
    pub fn renewed(rng: &mut Rng, in_use: Option<MasterKey>) -> Self {
        let new = |s: Suite| MasterKey::random(s, rng);
        let mut keys = Suite::ALL.map(new);
        for key in &mut keys {
            *key = in_use.filter(|k| k.suite == key.suite).unwrap_or(*key);
        }
        Self(keys)
    }

    /// The lines of an offer.
    pub fn offer(&self) -> impl Iterator<Item = Crypto> {
        (1..).zip(self.0).map(|(tag, key)| Crypto { tag, key })
    }

    /// Our key for a suite.
    #[must_use]
    pub fn of(&self, suite: Suite) -> Option<MasterKey> {
        self.0.into_iter().find(|k| k.suite == suite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn lines_of_rfc_4568_are_read() {
        let c = Crypto::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20 WSH=64")).unwrap();
        assert_eq!((c.tag, c.key.suite, c.key.key().len(), c.key.salt().len()), (1, Suite::AesCm80, 16, 14));
        assert_eq!(c.to_string(), format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"));
        for bad in [
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY};inline:{KEY}"),
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:????".to_owned(),
            "1 AES_CM_128_HMAC_SHA1_80".to_owned(),
            String::new(),
        ] {
            assert_eq!(Crypto::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn our_lines_read_back_and_hide_their_keys() {
        let keys = OurKeys::random(&mut Rng::from_number(1));
        let lines: Vec<Crypto> = keys.offer().collect();
        for (line, suite) in lines.iter().zip(Suite::ALL) {
            let written = line.to_string();
            assert_eq!(Crypto::parse(&written), Some(*line));
            assert_eq!(Crypto::parse(written.trim_end_matches('=')), Some(*line), "without padding");
            assert_eq!(keys.of(suite), Some(line.key));
            let used = suite.key_len() + suite.salt_len();
            assert!(line.key.all().len() == used && !format!("{line:?}").contains("bytes"));
        }
        assert_ne!(lines[0].key.key(), lines[3].key.key());
        // Later descriptions keep the key in use only.
        let later = OurKeys::renewed(&mut Rng::from_number(2), keys.of(Suite::Gcm128));
        let kept: Vec<bool> = Suite::ALL.map(|s| later.of(s) == keys.of(s)).to_vec();
        assert_eq!(kept, [false, false, true, false]);
    }
}

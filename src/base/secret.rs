//! Passwords, keys and tokens: a string type that never appears in logs, errors or debug output.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serializer};

/// Error for a secret of the wrong type.
pub const EXPECTED: &str = "expected a string (the value is not shown)";

/// A secret. Reading it requires an explicit call of [`Self::reveal`].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    /// The secret as text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The secret as text, by value.
    #[must_use]
    pub fn into_revealed(self) -> String {
        self.0
    }

    /// True if empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if it contains control characters, which no protocol can carry.
    #[must_use]
    pub fn has_control(&self) -> bool {
        self.0.chars().any(|c| c.is_ascii_control())
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<none>" } else { "<hidden>" })
    }
}

/// Serializes the secret in plain text, for storage.
///
/// # Errors
/// Those of the serializer.
pub fn keep<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&secret.0)
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `deserialize_str` would quote the offending value in the error.
        deserializer.deserialize_any(Reader)
    }
}

/// Replaces serde's string visitor, whose errors quote the value.
struct Reader;

macro_rules! refuse {
    ($($name:ident: $of:ty),*) => {
        $(fn $name<E: Error>(self, _: $of) -> Result<Secret, E> {
            Err(E::custom(EXPECTED))
        })*
    };
}

impl<'de> Visitor<'de> for Reader {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        Ok(Secret(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Secret, E> {
        Ok(Secret(text))
    }

    refuse!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64,
            visit_char: char, visit_bytes: &[u8]);

    fn visit_unit<E: Error>(self) -> Result<Secret, E> {
        Err(E::custom(EXPECTED))
    }

    fn visit_none<E: Error>(self) -> Result<Secret, E> {
        Err(E::custom(EXPECTED))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, _: A) -> Result<Secret, A::Error> {
        Err(A::Error::custom(EXPECTED))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, _: A) -> Result<Secret, A::Error> {
        Err(A::Error::custom(EXPECTED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shows_it_but_who_asks() {
        let secret: Secret = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!((secret.reveal(), format!("{secret:?}").as_str()), ("hunter2", "<hidden>"));
        assert_eq!(format!("{:?}", Secret::default()), "<none>");
        let wrong =
            ["7777123", "-7777123", "7777123.5", "true", "null", "[\"hunter2\"]", "{\"hunter2\":7777123}"];
        for text in wrong.into_iter().chain(["18446744073709551615", "1e400", "\"hunter2"]) {
            let error = serde_json::from_str::<Secret>(text).unwrap_err().to_string();
            assert!(!["hunter2", "7777123", "184467"].iter().any(|s| error.contains(s)), "{text}: {error}");
        }
    }
}

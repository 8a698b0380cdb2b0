//! Text of bounded length.

use schemars::JsonSchema;
use serde::Serialize;

/// Maximum length of texts in events, bytes: many are chosen by far ends.
const MAX_TEXT: usize = 4096;

/// Text from an untrusted source: truncated to 4,096 bytes at a character boundary.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Text {
    fn from(mut text: String) -> Self {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        Self(text)
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let end = text.floor_char_boundary(MAX_TEXT);
        Self(text.get(..end).unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        let long = "ä".repeat(3000);
        assert_eq!(Text::from(long.as_str()).as_str().len(), MAX_TEXT);
        assert_eq!(Text::from(format!("x{long}")).as_str().len(), MAX_TEXT - 1);
        assert_eq!(Text::from("short").as_str(), "short");
    }
}

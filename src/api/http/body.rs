//! JSON request bodies, with errors that state position and expectation.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize as _, Deserializer};
use serde_json::Value;

use super::error::ApiError;

/// Parses a body; an empty one and `null` equal `{}`.
///
/// # Errors
/// [`ApiError::BadRequest`] with line and column.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    if let Err(e) = std::str::from_utf8(bytes) {
        let at = e.valid_up_to();
        return Err(ApiError::BadRequest(format!("invalid JSON: byte {at} is not UTF-8")));
    }
    let trimmed = bytes.trim_ascii();
    let text: &[u8] = if trimmed.is_empty() || trimmed == b"null" { b"{}" } else { bytes };
    if !text.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
    {
        return Err(ApiError::BadRequest("invalid JSON: the body must be a JSON object".to_owned()));
    }
    serde_json::from_slice(text).map_err(|e| ApiError::BadRequest(format!("invalid JSON: {e}")))
}

/// An object or null: serde would otherwise accept an array of values as an object.
pub fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Option<T>, D::Error> {
    match Value::deserialize(d)? {
        Value::Null => Ok(None),
        Value::Object(fields) => {
            serde_json::from_value(Value::Object(fields)).map(Some).map_err(D::Error::custom)
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(D::Error::custom("expected an object with named fields"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct B {
        n: Option<i32>,
    }

    #[test]
    fn empty_and_null_equal_an_empty_object() {
        for ok in ["", " \n", "null", " null ", "{}", "{\"other\":[1]}"] {
            assert_eq!(parse::<B>(ok.as_bytes()), Ok(B { n: None }), "{ok:?}");
        }
    }

    #[test]
    fn errors_name_the_place() {
        let e = |s: &str| parse::<B>(s.as_bytes()).unwrap_err().to_string();
        assert!(e("{\"n\":\"3\"}").contains("expected i32 at line 1 column 8"), "{}", e("{\"n\":\"3\"}"));
        assert!(e("{\"n\":8.0}").contains("expected i32"));
        assert!(e("{} x").contains("trailing"));
        assert!(e("[1]").contains("must be a JSON object"));
        assert!(e("{\"n\":1,\"n\":2}").contains("duplicate field"));
        // Also in unused fields.
        let e = parse::<B>(b"{\"x\":\"\xff\"}").unwrap_err().to_string();
        assert!(e.contains("byte 6 is not UTF-8"), "{e}");
    }
}

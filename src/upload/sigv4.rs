//! AWS Signature Version 4, in the `Authorization` header.

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use crate::base::hex::hex;

/// All characters but letters, digits and `-_.~` are percent-encoded.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key id.
    pub access_key: String,
    /// Secret key.
    pub secret_key: String,
    /// Session token of temporary credentials.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys of {}", self.access_key)
    }
}

/// A request to sign.
#[derive(Debug, Clone)]
pub struct Unsigned<'a> {
    /// `GET`, `PUT` and so on.
    pub method: &'a str,
    /// Host, and port unless it is the scheme's default, as in `Host`.
    pub host: &'a str,
    /// Path, not encoded, with its leading slash.
    pub path: &'a str,
    /// Query parameters, not encoded.
    pub query: &'a [(&'a str, &'a str)],
    /// Headers to sign in addition to those of the signature: lower-case names, trimmed values.
    pub headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body.
    pub body: [u8; 32],
}

/// Parts of a signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Encoded path and query.
    pub path_and_query: String,
    /// Headers to send in addition to the given ones.
    pub headers: Vec<(&'static str, String)>,
}

/// Signs a request; `time` as `YYYYMMDDTHHMMSSZ`. Servers accept the signature for about 15 minutes.
#[must_use]
pub fn sign(request: &Unsigned<'_>, keys: &Keys, region: &str, time: &str) -> Signed {
    let body = hex(&request.body);
    let mut headers = vec![("x-amz-content-sha256", body.clone()), ("x-amz-date", time.to_owned())];
    headers.extend(keys.session_token.iter().map(|token| ("x-amz-security-token", token.clone())));
    let mut all: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    all.extend(request.headers);
    all.push(("host", request.host));
    all.sort_unstable();
    let canonical_headers: String = all.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let path = encode_path(request.path);
    let query = encode_query(request.query);
    let canonical = format!("{}\n{path}\n{query}\n{canonical_headers}\n{names}\n{body}", request.method);
    let day = time.get(..8).unwrap_or(time);
    let scope = format!("{day}/{region}/s3/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let signature = hex(&mac(&signing_key(&keys.secret_key, day, region), to_sign.as_bytes()));
    let credential = format!("{}/{scope}", keys.access_key);
    headers.push((
        "authorization",
        format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}"),
    ));
    let path_and_query = if query.is_empty() { path } else { format!("{path}?{query}") };
    Signed { path_and_query, headers }
}

/// Signing key of a day, region and service.
fn signing_key(secret: &str, day: &str, region: &str) -> [u8; 32] {
    let mut key = mac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    for part in [region, "s3", "aws4_request"] {
        key = mac(&key, part.as_bytes());
    }
    key
}

fn mac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC accepts keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(text);
    mac.finalize().into_bytes().into()
}

/// S3 encodes paths once, keeping slashes.
fn encode_path(path: &str) -> String {
    path.split('/').map(encode).collect::<Vec<_>>().join("/")
}

/// The query sorted by encoded names.
fn encode_query(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> = query.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let keys = Keys {
            access_key: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
        };
        let body = Sha256::digest(body).into();
        let host = "examplebucket.s3.amazonaws.com";
        let request = Unsigned { method, host, path, query, headers, body };
        let signed = sign(&request, &keys, "us-east-1", "20130524T000000Z");
        let (_, authorization) = signed.headers.last().unwrap();
        authorization.rsplit('=').next().unwrap().to_owned()
    }

    /// The examples of the Amazon S3 API reference, "Authenticating Requests: Using the Authorization Header".
    #[test]
    fn the_published_examples() {
        let get = signature("GET", "/test.txt", &[], &[("range", "bytes=0-9")], b"");
        assert_eq!(get, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
        let put = signature(
            "PUT",
            "/test$file.text",
            &[],
            &[("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")],
            b"Welcome to Amazon S3.",
        );
        assert_eq!(put, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
        let lifecycle = signature("GET", "/", &[("lifecycle", "")], &[], b"");
        assert_eq!(lifecycle, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
        let list = signature("GET", "/", &[("prefix", "J"), ("max-keys", "2")], &[], b"");
        assert_eq!(list, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }

    #[test]
    fn paths_and_queries_are_encoded_once() {
        assert_eq!(encode_path("/a b/ü+%/x~.wav"), "/a%20b/%C3%BC%2B%25/x~.wav");
        assert_eq!(
            encode_query(&[("uploadId", "a/b="), ("partNumber", "1")]),
            "partNumber=1&uploadId=a%2Fb%3D"
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        let keys = Keys { access_key: "AK".into(), secret_key: "hunter2".into(), session_token: None };
        assert!(!format!("{keys:?}").contains("hunter2"));
    }
}

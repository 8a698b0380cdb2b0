//! One signed request.

use std::io::Read;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};
use ureq::http::Response;
use ureq::{Agent, Body, SendBody};

use super::answer::{Answer, bare};
use super::sigv4::{Keys, Unsigned, sign};
use super::way::Way;
use crate::base::time::Utc;
use crate::config::{Place, S3};
use crate::io::clock;

/// Longest answer that is read, bytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// Where the requests of a place go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `https://host:port`.
    base: String,
    /// `host:port`, as `Host` names it.
    host: String,
    /// What paths begin with: `/`, or the bucket.
    root: String,
}

impl Server {
    /// The server of a place.
    #[must_use]
    pub fn of(place: &Place, settings: &S3) -> Self {
        let end = if place.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let amazon = format!("https://s3.{}.{end}", place.region);
        let url = if place.endpoint.is_empty() { &amazon } else { &place.endpoint };
        let (scheme, host) = url.split_once("://").unwrap_or(("https", url));
        // As `Host` has it: without the port that goes without saying.
        let default = if scheme == "http" { ":80" } else { ":443" };
        let host = host.trim_end_matches('/');
        let host = host.strip_suffix(default).unwrap_or(host);
        let (host, root) = if settings.by_path(place) {
            (host.to_owned(), format!("/{}/", place.bucket))
        } else {
            (format!("{}.{host}", place.bucket), "/".to_owned())
        };
        Self { base: format!("{scheme}://{host}"), host, root }
    }

    /// The URL of an object, not encoded.
    #[must_use]
    pub fn url(&self, key: &str) -> String {
        format!("{}{}{key}", self.base, self.root)
    }

    /// The server that a `Location` for this key leads to; `None`: the line would no longer be encrypted, or it is not one for
    /// this key.
    #[must_use]
    pub fn led_to(&self, location: &str, key: &str) -> Option<Self> {
        let own = self.base.split_once("://")?;
        let (scheme, host, path) = match location.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_at(rest.find('/')?);
                (scheme.to_ascii_lowercase(), host, path)
            }
            None if location.starts_with("//") => return None,
            None => (own.0.to_owned(), own.1, location),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let root = path.strip_suffix(key).filter(|root| root.starts_with('/') && root.ends_with('/'))?;
        self.beside(&scheme, host, root)
    }

    /// The server that an error names as the bucket's: a host alone.
    #[must_use]
    pub fn led_by(&self, endpoint: &str, bucket: &str) -> Option<Self> {
        let scheme = self.base.split_once("://")?.0;
        let named = endpoint.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.'));
        let root = if named { "/".to_owned() } else { format!("/{bucket}/") };
        self.beside(scheme, endpoint, &root)
    }

    fn beside(&self, scheme: &str, host: &str, root: &str) -> Option<Self> {
        let open = match scheme {
            "https" => false,
            "http" => true,
            _ => return None,
        };
        let default = if open { ":80" } else { ":443" };
        let host = host.strip_suffix(default).unwrap_or(host).to_ascii_lowercase();
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        let is_host = !host.is_empty() && host.bytes().all(good);
        let encrypted = self.base.starts_with("https://");
        (is_host && !(open && encrypted)).then(|| Self {
            base: format!("{scheme}://{host}"),
            host,
            root: root.to_owned(),
        })
    }
}

/// What is sent.
pub enum Content<'a> {
    /// Nothing.
    Nothing,
    /// A text.
    Text(&'a str),
    /// So many bytes of a reader, with this SHA-256, which may take so long.
    Sound(&'a mut dyn Read, u64, [u8; 32], Duration),
}

/// A request.
pub struct Request<'a> {
    /// `GET`, `PUT` and so on.
    pub method: &'static str,
    /// Key of the object.
    pub key: &'a str,
    /// Query.
    pub query: &'a [(&'a str, &'a str)],
    /// Body.
    pub content: Content<'a>,
}

/// Carries a request out.
///
/// # Errors
/// The server cannot be reached, or does not answer.
pub fn send(agent: &Agent, way: &Way, keys: &Keys, request: Request<'_>) -> Result<Answer, String> {
    let (length, digest) = match &request.content {
        Content::Nothing => (0, Sha256::digest([]).into()),
        Content::Text(text) => (text.len() as u64, Sha256::digest(text).into()),
        Content::Sound(_, length, digest, _) => (*length, *digest),
    };
    let sound = matches!(request.content, Content::Sound(..));
    let plain = "application/xml";
    let kind = if sound || request.query.iter().any(|(k, _)| *k == "uploads") { "audio/wav" } else { plain };
    let server = &way.server;
    let has_body = matches!(request.method, "PUT" | "POST");
    let headers = [("content-type", kind)];
    let unsigned = Unsigned {
        method: request.method,
        host: &server.host,
        path: &format!("{}{}", server.root, request.key),
        query: request.query,
        headers: if has_body { &headers } else { &[] },
        body: digest,
    };
    let signed = sign(&unsigned, keys, &way.region, &stamp(way.time(clock::now().utc)));
    let mut out = ureq::http::Request::builder()
        .method(request.method)
        .uri(format!("{}{}", server.base, signed.path_and_query));
    for (name, value) in &signed.headers {
        out = out.header(*name, value);
    }
    if has_body {
        out = out.header("content-type", kind).header("content-length", length);
    }
    if sound && way.expect {
        // Who refuses the request is not sent the sound.
        out = out.header("expect", "100-continue");
    }
    let reply = match request.content {
        Content::Nothing => out.body(()).map(|out| agent.run(out)),
        Content::Text(text) => out.body(text).map(|out| agent.run(out)),
        Content::Sound(reader, _, _, patience) => out.body(SendBody::from_reader(reader)).map(|out| {
            let out = agent.configure_request(out).timeout_send_body(Some(patience)).build();
            agent.run(out)
        }),
    };
    let reply = reply.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    answer(reply)
}

fn answer(mut reply: Response<Body>) -> Result<Answer, String> {
    let header = |name: &str| reply.headers().get(name).and_then(|v| v.to_str().ok());
    let text_of = |name: &str| header(name).map(str::to_owned);
    let told = Answer {
        status: reply.status().as_u16(),
        etag: header("etag").map(bare).filter(|etag| !etag.is_empty()),
        length: header("content-length").and_then(|l| l.parse().ok()),
        location: text_of("location"),
        region: text_of("x-amz-bucket-region"),
        date: text_of("date"),
        retry_after: text_of("retry-after"),
        text: String::new(),
    };
    let text = reply.body_mut().with_config().limit(MAX_ANSWER).lossy_utf8(true).read_to_string();
    let text = text.map_err(|e| format!("it answered {} and broke off: {e}", told.status))?;
    Ok(Answer { text, ..told })
}

/// A time as signatures have it.
fn stamp(at: Utc) -> String {
    format!("{}Z", at.compact().replace('_', "T"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::s3::{Style, Wish};

    #[test]
    fn servers_by_style() {
        let server = |s3: &S3, wish: Wish<'_>| Server::of(&s3.place(&wish).unwrap(), s3);
        let s3 = S3 { bucket: "branch".to_owned(), ..S3::default() };
        let of = |base: &str, host: &str, root: &str| Server {
            base: base.to_owned(),
            host: host.to_owned(),
            root: root.to_owned(),
        };
        assert_eq!(
            server(&s3, Wish::default()),
            of("https://branch.s3.us-east-1.amazonaws.com", "branch.s3.us-east-1.amazonaws.com", "/")
        );
        assert_eq!(
            server(&s3, Wish { bucket: "a.b", region: "cn-north-1", ..Wish::default() }),
            of("https://s3.cn-north-1.amazonaws.com.cn", "s3.cn-north-1.amazonaws.com.cn", "/a.b/")
        );
        let wish = |endpoint| Wish { endpoint, access_key: "A", secret_key: "S", ..Wish::default() };
        assert_eq!(server(&s3, wish("http://10.0.0.9:80/")), of("http://10.0.0.9", "10.0.0.9", "/branch/"));
        assert_eq!(server(&s3, wish("https://m:9000")), of("https://m:9000", "m:9000", "/branch/"));
        let host = S3 { style: Style::Virtual, ..s3 };
        assert_eq!(server(&host, wish("https://m:443")), of("https://branch.m", "branch.m", "/"));
        assert_eq!(stamp(Utc::from_millis(1_776_330_000_120)), "20260416T090000Z");
    }
}

//! `[s3]`: destination of recording uploads, and overrides of it in requests.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::networks::is_of_site;
use super::value::{Raw, Value, named, show_named};
use crate::base::secret::Secret;
use crate::wire::uri::{Host, host_port_of};

/// Longest prefix, bytes; with the file name it stays below the S3 limit of 1,024 per key.
const MAX_PREFIX: usize = 900;
/// Longest access or secret key, characters.
const MAX_CREDENTIAL: usize = 256;
/// Default region.
pub const REGION: &str = "us-east-1";

/// Bucket addressing in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Virtual-hosted at Amazon, path at other servers.
    Auto,
    /// Path style: first part of the path.
    Path,
    /// Virtual-hosted style: first part of the host name.
    Virtual,
}

impl Style {
    /// All styles by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("auto", Self::Auto), ("path", Self::Path), ("virtual", Self::Virtual)];
}

impl Value for Style {
    fn read(raw: &Raw) -> Result<Self, String> {
        named(raw, &Self::ALL, "one of auto, path, virtual")
    }
    fn show(&self) -> String {
        show_named(self, &Self::ALL)
    }
}

/// `[s3]`.
#[derive(Debug, Clone, PartialEq)]
pub struct S3 {
    /// Default bucket; empty: every request must name one.
    pub bucket: String,
    /// Region.
    pub region: String,
    /// Server, e.g. `https://minio.example:9000`; empty: Amazon S3.
    pub endpoint: String,
    /// Prefix of object keys.
    pub prefix: String,
    /// Access key; empty: the credential chain is searched.
    pub access_key: Secret,
    /// Secret key.
    pub secret_key: Secret,
    /// File with the secret key.
    pub secret_key_file: String,
    /// Bucket addressing.
    pub style: Style,
    /// Allow unencrypted uploads to public servers.
    pub allow_http: bool,
    /// Longest time that the end of a recording waits for its upload, seconds.
    pub wait_s: u32,
    /// Bandwidth limit of all uploads together, kbit/s; 0: unlimited.
    pub max_kbit_s: u32,
}

impl Default for S3 {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            region: REGION.to_owned(),
            endpoint: String::new(),
            prefix: String::new(),
            access_key: Secret::default(),
            secret_key: Secret::default(),
            secret_key_file: String::new(),
            style: Style::Auto,
            allow_http: false,
            wait_s: 10,
            max_kbit_s: 0,
        }
    }
}

/// Upload fields of an API request; empty: not given.
#[derive(Debug, Clone, Copy, Default)]
pub struct UploadRequest<'a> {
    /// Bucket.
    pub bucket: &'a str,
    /// Region.
    pub region: &'a str,
    /// Server.
    pub endpoint: &'a str,
    /// Key prefix.
    pub prefix: &'a str,
    /// Access key.
    pub access_key: &'a str,
    /// Secret key.
    pub secret_key: &'a str,
}

/// Destination of one recording.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Bucket.
    pub bucket: String,
    /// Region.
    pub region: String,
    /// Server; empty: Amazon S3.
    pub endpoint: String,
    /// Key prefix.
    pub prefix: String,
    /// Access key and secret key of the request; `None`: those of this gateway.
    pub keys: Option<(String, String)>,
    /// Server configured by the operator: may have any address.
    pub trusted: bool,
}

/// Error for a request that names a server without keys for it.
const KEYS_NEEDED: &str = "s3_endpoint: s3_access_key and s3_secret_key are needed for this server: those of the \
                           gateway go to the configured endpoint and, over https, to Amazon's S3 only";

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{} at {}", self.bucket, self.prefix, self.endpoint)
    }
}

impl Place {
    /// Object key of a file.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// True if the gateway's own keys may be sent: to the configured server and to Amazon S3.
    #[must_use]
    pub fn may_use_own_keys(&self) -> bool {
        self.trusted || is_amazon(&self.endpoint)
    }

    /// Location of a file as reported by the API.
    #[must_use]
    pub fn location(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.key(name))
    }
}

impl S3 {
    /// Destination of a recording with this request: each field overrides the setting of the same name.
    ///
    /// # Errors
    /// Field, problem and allowed values.
    pub fn place(&self, wish: &UploadRequest<'_>) -> Result<Place, String> {
        let keys = match (wish.access_key, wish.secret_key) {
            ("", "") => None,
            ("", _) | (_, "") => return Err("s3_access_key and s3_secret_key go together".to_owned()),
            (access, secret) => {
                credential(access).map_err(|e| format!("s3_access_key: {e}"))?;
                credential(secret).map_err(|e| format!("s3_secret_key: {e}"))?;
                Some((access.to_owned(), secret.to_owned()))
            }
        };
        let or = |given: &str, set: &str| if given.is_empty() { set.to_owned() } else { given.to_owned() };
        let place = Place {
            bucket: or(wish.bucket, &self.bucket),
            region: or(wish.region, &self.region),
            endpoint: or(wish.endpoint, &self.endpoint),
            prefix: or(wish.prefix, &self.prefix),
            keys,
            trusted: wish.endpoint.is_empty() || is_same_server(wish.endpoint, &self.endpoint),
        };
        if place.bucket.is_empty() {
            return Err("S3 is not configured: s3_bucket is needed, or s3.bucket (S3_BUCKET)".to_owned());
        }
        bucket(&place.bucket).map_err(|e| format!("s3_bucket: {e}"))?;
        region(&place.region).map_err(|e| format!("s3_region: {e}"))?;
        prefix(&place.prefix).map_err(|e| format!("s3_prefix: {e}"))?;
        endpoint(&place.endpoint).map_err(|e| format!("s3_endpoint: {e}"))?;
        if place.keys.is_none() && !place.may_use_own_keys() {
            return Err(KEYS_NEEDED.to_owned());
        }
        if !self.allow_http && is_open_to_the_public(&place.endpoint) {
            return Err(
                "s3_endpoint: http:// to a public address is refused (s3.allow_http): https:// is allowed"
                    .to_owned(),
            );
        }
        Ok(place)
    }

    /// True if requests for this destination use path-style addressing.
    #[must_use]
    pub fn by_path(&self, place: &Place) -> bool {
        match self.style {
            Style::Path => true,
            Style::Virtual => false,
            // A certificate for *.s3.… does not cover names with further dots.
            Style::Auto => !place.endpoint.is_empty() || place.bucket.contains('.'),
        }
    }
}

/// True if both URLs name the same server: scheme and host case-insensitive, default port and trailing slash
/// ignored.
fn is_same_server(a: &str, b: &str) -> bool {
    let plain = |url: &str| {
        let url = url.trim_end_matches('/').to_ascii_lowercase();
        let usual = if url.starts_with("https:") { ":443" } else { ":80" };
        url.strip_suffix(usual).map_or_else(|| url.clone(), str::to_owned)
    };
    plain(a) == plain(b)
}

/// True for Amazon S3 servers over https, e.g. `https://s3.eu-west-1.amazonaws.com`. Other names under
/// `amazonaws.com` belong to its customers.
fn is_amazon(endpoint: &str) -> bool {
    let lower = endpoint.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("https://").map(|r| r.trim_end_matches('/')) else { return false };
    let host = rest.strip_suffix(":443").unwrap_or(rest);
    let within = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"));
    let mut labels = within.unwrap_or_default().split('.');
    let service = labels.next().unwrap_or_default();
    let is_region = |label: &str| {
        let words: Vec<&str> = label.split('-').collect();
        let (number, names) = words.split_last().map_or(("", [].as_slice()), |(n, rest)| (*n, rest));
        names.len() >= 2
            && names.iter().all(|w| w.len() >= 2 && w.bytes().all(|b| b.is_ascii_lowercase()))
            && number.len() == 1
            && number.bytes().all(|b| b.is_ascii_digit())
    };
    let is_s3 = matches!(service, "s3" | "s3-fips" | "s3-accelerate")
        || service.strip_prefix("s3-").is_some_and(is_region);
    let rest: Vec<&str> = labels.collect();
    is_s3
        && match rest.as_slice() {
            [] | ["dualstack"] => true,
            [region] | ["dualstack", region] => is_region(region),
            _ => false,
        }
}

/// True for plain HTTP to a public address. Names are checked when they are resolved.
fn is_open_to_the_public(endpoint: &str) -> bool {
    endpoint.starts_with("http://") && address_of(endpoint).is_some_and(|ip| !is_of_site(ip))
}

/// The IP address of a server URL, if its host is one.
#[must_use]
pub fn address_of(endpoint: &str) -> Option<IpAddr> {
    let rest = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
    match host_port_of(rest.trim_end_matches('/')) {
        Ok((Host::Ip(ip), _)) => Some(ip),
        Ok((Host::Name(_), _)) | Err(_) => None,
    }
}

/// Checks a bucket name; other servers than Amazon's allow capitals and underscores.
///
/// # Errors
/// The allowed format.
pub fn bucket(name: &str) -> Result<(), String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let ends = [name.bytes().next(), name.bytes().last()];
    let good = (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && ends.iter().flatten().all(u8::is_ascii_alphanumeric)
        && !name.contains("..");
    let why =
        "3 to 63 letters, digits, dots, hyphens and underscores are allowed, a letter or digit at both ends";
    if good { Ok(()) } else { Err(why.to_owned()) }
}

/// Checks a region name.
///
/// # Errors
/// The allowed format.
pub fn region(name: &str) -> Result<(), String> {
    let good = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good { Ok(()) } else { Err("1 to 64 letters, digits and hyphens are allowed".to_owned()) }
}

/// Checks a prefix: no path traversal, in case the key is used as a path.
///
/// # Errors
/// The allowed format.
pub fn prefix(text: &str) -> Result<(), String> {
    if text.len() > MAX_PREFIX {
        return Err(format!("{} bytes are too many: {MAX_PREFIX} are allowed", text.len()));
    }
    let mut folders: Vec<&str> = text.split('/').collect();
    let last = folders.pop().unwrap_or_default();
    let bad = |f: &&str| matches!(*f, "" | "." | "..");
    if text.chars().any(char::is_control) || folders.iter().any(bad) || matches!(last, "." | "..") {
        return Err(
            "control characters, a slash at the start, and empty, \".\" and \"..\" folders are not allowed"
                .to_owned(),
        );
    }
    Ok(())
}

/// Checks a server URL; empty: Amazon S3.
///
/// # Errors
/// The allowed format.
pub fn endpoint(url: &str) -> Result<(), String> {
    if url.is_empty() {
        return Ok(());
    }
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.map(|r| r.strip_suffix('/').unwrap_or(r));
    let plain = |r: &str| r.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b));
    match rest.filter(|r| plain(r)).map(host_port_of) {
        Some(Ok(_)) => Ok(()),
        Some(Err(_)) | None => {
            Err("http:// or https://, a host and perhaps a port are allowed, nothing behind that".to_owned())
        }
    }
}

fn credential(text: &str) -> Result<(), String> {
    let good = text.len() <= MAX_CREDENTIAL && text.bytes().all(|b| b.is_ascii_graphic());
    if good {
        Ok(())
    } else {
        Err(format!("at most {MAX_CREDENTIAL} ASCII characters without spaces are allowed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3() -> S3 {
        S3 {
            bucket: "branch".to_owned(),
            endpoint: "http://10.0.0.9:9000".to_owned(),
            prefix: "calls/".to_owned(),
            ..S3::default()
        }
    }

    fn with_keys(endpoint: &str) -> UploadRequest<'_> {
        UploadRequest { endpoint, access_key: "A", secret_key: "S", ..UploadRequest::default() }
    }

    #[test]
    fn keys_of_ours_go_to_the_configured_server_and_to_amazon_only() {
        let named = |endpoint| s3().place(&UploadRequest { endpoint, ..UploadRequest::default() });
        for same in ["http://10.0.0.9:9000", "http://10.0.0.9:9000/"] {
            assert!(named(same).unwrap().trusted, "{same}");
        }
        for amazon in [
            "https://s3.amazonaws.com",
            "https://S3.eu-west-1.amazonaws.com/",
            "https://s3-us-gov-west-1.amazonaws.com:443",
            "https://s3.dualstack.us-east-1.amazonaws.com",
            "https://s3.cn-north-1.amazonaws.com.cn",
        ] {
            let place = named(amazon).unwrap();
            assert!(!place.trusted && place.may_use_own_keys(), "{amazon}");
        }
        for foreign in [
            "http://10.0.0.9",
            "http://10.0.0.8:9000",
            "https://10.0.0.9:9000",
            "http://s3.eu-west-1.amazonaws.com",
            "https://s3.eu-west-1.amazonaws.com:8443",
            "https://s3.amazonaws.com.evil.example",
            "https://evils3.amazonaws.com",
            "https://s3-evil.amazonaws.com",
            "https://s3.evil-123.elb.amazonaws.com",
            "https://abc.execute-api.us-east-1.amazonaws.com",
            "https://ec2-192-0-2-1.compute-1.amazonaws.com",
        ] {
            let error = named(foreign).unwrap_err();
            assert!(error.contains("s3_access_key and s3_secret_key are needed"), "{foreign}: {error}");
            assert!(!is_amazon(foreign), "{foreign}");
        }
        let keyed = s3().place(&with_keys("http://10.0.0.8:9000")).unwrap();
        assert!(keyed.keys.is_some() && !keyed.may_use_own_keys());
    }

    #[test]
    fn each_field_of_a_request_overrides_its_setting() {
        let place = s3().place(&UploadRequest::default()).unwrap();
        assert_eq!(place.location("a.wav"), "s3://branch/calls/a.wav");
        assert!(place.trusted && place.keys.is_none() && s3().by_path(&place));
        let wish = UploadRequest {
            bucket: "other",
            region: "eu-west-1",
            access_key: "A",
            secret_key: "S",
            ..UploadRequest::default()
        };
        let place = s3().place(&wish).unwrap();
        assert_eq!((&*place.bucket, &*place.region, &*place.prefix), ("other", "eu-west-1", "calls/"));
        assert_eq!(place.keys, Some(("A".to_owned(), "S".to_owned())));
        assert!(!format!("{place:?}").contains('S'), "no secret is shown");
        let own = s3().place(&with_keys("https://s3.example")).unwrap();
        assert!(!own.trusted && !own.may_use_own_keys());
    }

    #[test]
    fn amazon_is_asked_by_host_unless_the_bucket_has_dots() {
        let amazon = S3 { endpoint: String::new(), ..s3() };
        let by_path = |bucket| {
            amazon.by_path(&amazon.place(&UploadRequest { bucket, ..UploadRequest::default() }).unwrap())
        };
        assert!(!by_path("branch") && by_path("branch.example"));
        let forced = S3 { style: Style::Virtual, ..s3() };
        assert!(!forced.by_path(&forced.place(&UploadRequest::default()).unwrap()));
    }

    #[test]
    fn what_cannot_be_is_refused_and_said() {
        let long = "x".repeat(2000);
        let bucket = |bucket| UploadRequest { bucket, ..UploadRequest::default() };
        let prefix = |prefix| UploadRequest { prefix, ..UploadRequest::default() };
        let endpoint = with_keys;
        for (wish, part) in [
            (UploadRequest { access_key: "A", ..UploadRequest::default() }, "go together"),
            (UploadRequest { secret_key: "S", ..UploadRequest::default() }, "go together"),
            (
                UploadRequest { access_key: "A B", secret_key: "S", ..UploadRequest::default() },
                "s3_access_key: at most 256",
            ),
            (UploadRequest { region: "eu west", ..UploadRequest::default() }, "s3_region: 1 to 64"),
            (UploadRequest { region: "", bucket: "ab", ..UploadRequest::default() }, "s3_bucket: 3 to 63"),
            (bucket("a..b"), "s3_bucket"),
            (bucket("../etc"), "s3_bucket"),
            (bucket("-ab"), "s3_bucket"),
            (bucket(&long), "s3_bucket"),
            (prefix("../x"), "s3_prefix: control characters"),
            (prefix("a/../b"), "s3_prefix"),
            (prefix("/a"), "s3_prefix"),
            (prefix("a//b"), "s3_prefix"),
            (prefix("a/.."), "s3_prefix"),
            (prefix("a\0b"), "s3_prefix"),
            (prefix(&long), "s3_prefix: 2000 bytes are too many"),
            (endpoint("ftp://x"), "s3_endpoint: http"),
            (endpoint("https://x/y"), "s3_endpoint"),
            (endpoint("https://u:p@x"), "s3_endpoint"),
            (endpoint("https://"), "s3_endpoint"),
            (endpoint("http://8.8.8.8"), "refused (s3.allow_http)"),
            (endpoint("http://[2001:db8::1]:9000/"), "refused (s3.allow_http)"),
        ] {
            let error = s3().place(&wish).unwrap_err();
            assert!(error.contains(part), "{wish:?}: {error}");
        }
        assert!(
            S3 { bucket: String::new(), ..s3() }
                .place(&UploadRequest::default())
                .unwrap_err()
                .contains("not configured")
        );
        for good in ["aufnahmen/zürich ", "a.b/..c/", "x"] {
            assert!(s3().place(&prefix(good)).is_ok(), "{good}");
        }
        for good in ["http://192.168.1.5:9000", "http://[fd00::1]", "http://minio:9000/", "https://8.8.8.8"] {
            assert!(s3().place(&endpoint(good)).is_ok(), "{good}");
        }
        let open = S3 { allow_http: true, ..s3() };
        assert!(open.place(&endpoint("http://8.8.8.8")).is_ok());
    }
}

//! Server of a bucket, and the redirects it may cause.

use percent_encoding::percent_decode_str;

use crate::config::{Place, S3};

/// The server for requests to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `https://host:port`.
    pub(super) base: String,
    /// `host:port` as in `Host`.
    pub(super) host: String,
    /// Prefix of paths: `/`, or the bucket.
    pub(super) root: String,
}

impl Server {
    /// The server of a destination.
    #[must_use]
    pub fn of(place: &Place, settings: &S3) -> Self {
        let end = if place.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let amazon = format!("https://s3.{}.{end}", place.region);
        let url = if place.endpoint.is_empty() { &amazon } else { &place.endpoint };
        let (scheme, host) = url.split_once("://").unwrap_or(("https", url));
        // As in `Host`: without the default port.
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

    /// URL of an object, not encoded.
    #[must_use]
    pub fn url(&self, key: &str) -> String {
        format!("{}{}{key}", self.base, self.root)
    }

    /// The server to which a `Location` for this key redirects; `None` if the connection would no longer be
    /// encrypted, or it is for another key.
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

    /// The server that an error names as the bucket's endpoint: a host name only.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::s3::{Style, UploadRequest};

    #[test]
    fn servers_by_style() {
        let server = |s3: &S3, wish: UploadRequest<'_>| Server::of(&s3.place(&wish).unwrap(), s3);
        let s3 = S3 { bucket: "branch".to_owned(), ..S3::default() };
        let of = |base: &str, host: &str, root: &str| Server {
            base: base.to_owned(),
            host: host.to_owned(),
            root: root.to_owned(),
        };
        assert_eq!(
            server(&s3, UploadRequest::default()),
            of("https://branch.s3.us-east-1.amazonaws.com", "branch.s3.us-east-1.amazonaws.com", "/")
        );
        assert_eq!(
            server(&s3, UploadRequest { bucket: "a.b", region: "cn-north-1", ..UploadRequest::default() }),
            of("https://s3.cn-north-1.amazonaws.com.cn", "s3.cn-north-1.amazonaws.com.cn", "/a.b/")
        );
        let wish = |endpoint| UploadRequest {
            endpoint,
            access_key: "A",
            secret_key: "S",
            ..UploadRequest::default()
        };
        assert_eq!(server(&s3, wish("http://10.0.0.9:80/")), of("http://10.0.0.9", "10.0.0.9", "/branch/"));
        assert_eq!(server(&s3, wish("https://m:9000")), of("https://m:9000", "m:9000", "/branch/"));
        let host = S3 { style: Style::Virtual, ..s3 };
        assert_eq!(server(&host, wish("https://m:443")), of("https://branch.m", "branch.m", "/"));
    }
}

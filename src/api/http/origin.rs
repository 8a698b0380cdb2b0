//! Protection against requests from web pages (CSRF, DNS rebinding). A browser inside the network can be used
//! by any page, so source addresses prove nothing: `Origin` and `Sec-Fetch-Site` (Fetch) decide, and, without
//! tokens, the host name under which the API was reached.

use std::net::IpAddr;

use super::error::ApiError;
use super::head::Head;
use super::reply::Reply;
use crate::config::Http;

/// Checks the origin of a request. `own_name` returns the host name of this machine, if needed.
///
/// # Errors
/// A page of another origin (403), or a name that is not ours (421).
pub fn judge(head: &Head, http: &Http, own_name: impl FnOnce() -> String) -> Result<(), ApiError> {
    if http.tokens.is_empty() && !head.host.as_deref().is_none_or(|host| is_ours(host, http, own_name)) {
        return Err(ApiError::Misdirected(head.host.clone().unwrap_or_default()));
    }
    let refused = match &head.origin {
        Some(origin) => !is_listed(origin, http) && !is_own(origin, head.host.as_deref()),
        // Without Origin, e.g. GET of an image in another page. Old browsers and other programs send neither
        // header.
        None => head
            .fetch_site
            .as_deref()
            .is_some_and(|s| s.eq_ignore_ascii_case("cross-site") || s.eq_ignore_ascii_case("same-site")),
    };
    if refused { Err(ApiError::CrossOrigin) } else { Ok(()) }
}

/// True for configured origins.
fn is_listed(origin: &str, http: &Http) -> bool {
    http.cors_origins.iter().any(|o| o.eq_ignore_ascii_case(origin))
}

/// True for the CORS preflight of a configured origin. It never carries a token (Fetch, CORS-preflight
/// fetch).
#[must_use]
pub fn is_preflight(head: &Head, http: &Http) -> bool {
    head.method == "OPTIONS" && head.preflight && head.origin.as_deref().is_some_and(|o| is_listed(o, http))
}

/// Adds CORS headers, for configured origins only.
pub fn add_cors_headers(head: &Head, http: &Http, reply: &mut Reply) {
    let Some(origin) = &head.origin else { return };
    if is_listed(origin, http) {
        reply.headers.push(("Access-Control-Allow-Origin", origin.clone()));
        reply.headers.push(("Vary", "Origin".to_owned()));
        reply.headers.push(("Access-Control-Allow-Headers", "Content-Type, Authorization".to_owned()));
        reply
            .headers
            .push(("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS".to_owned()));
    }
}

/// True for pages of the API's own host and port.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let Some((scheme, at)) = origin.split_once("://") else { return false };
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let same = |a: &str, b: &str| {
        let ((a, a_port), (b, b_port)) = (split(a), split(b));
        let or_usual = |port: Option<&str>| port.unwrap_or(usual).trim_start_matches('0').to_owned();
        a.eq_ignore_ascii_case(b) && or_usual(a_port) == or_usual(b_port)
    };
    !at.is_empty() && host.is_some_and(|host| same(at, host))
}

/// True for names that cannot belong to somebody else's page: addresses, `localhost`, this machine's host
/// name (also with its mDNS suffix) and the configured ones. Browsers never send an empty one.
fn is_ours(host: &str, http: &Http, own_name: impl FnOnce() -> String) -> bool {
    let name = split(host).0.trim_end_matches('.');
    let address = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
    if name.is_empty() || address.parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if http.hosts.iter().any(|h| h.trim_end_matches('.').eq_ignore_ascii_case(name)) {
        return true;
    }
    let own = own_name();
    let short = own.split('.').next().unwrap_or_default();
    let local = name.len().checked_sub(6).and_then(|at| name.split_at_checked(at));
    let by_mdns =
        local.is_some_and(|(n, end)| end.eq_ignore_ascii_case(".local") && n.eq_ignore_ascii_case(short));
    !short.is_empty() && (by_mdns || [own.as_str(), short].iter().any(|n| n.eq_ignore_ascii_case(name)))
}

/// Host and port of an authority; an empty port counts as none.
fn split(authority: &str) -> (&str, Option<&str>) {
    let end = authority.rfind(']').map_or(0, |at| at + 1);
    let tail = authority.get(end..).unwrap_or_default();
    match tail.rfind(':').and_then(|at| authority.split_at_checked(end + at)) {
        Some((host, port)) => (host, Some(port.trim_start_matches(':')).filter(|p| !p.is_empty())),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http::head::{Verdict, judge as read};
    use crate::config::Config;

    fn head(fields: &str) -> Head {
        let text = format!("POST /v1/legs HTTP/1.1\r\n{fields}\r\n\r\n");
        let Verdict::Good(head, _) = read(text.as_bytes()) else { panic!("{text}") };
        head
    }

    fn http(tokens: &[&str]) -> Http {
        Http {
            tokens: tokens.iter().map(|t| (*t).into()).collect(),
            cors_origins: vec!["https://panel.example".to_owned()],
            hosts: vec!["gw.office.example".to_owned()],
            ..Config::default().http
        }
    }

    fn status(fields: &str, tokens: &[&str]) -> u16 {
        judge(&head(fields), &http(tokens), || "box.lan".to_owned()).map_or_else(|e| e.status(), |()| 200)
    }

    #[test]
    fn pages_of_others_are_refused() {
        for (fields, want) in [
            ("Host: 127.0.0.1:8080", 200),
            ("Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:8080", 200),
            ("Host: 127.0.0.1:8080\r\nOrigin: HTTP://127.0.0.1:8080\r\nSec-Fetch-Site: same-origin", 200),
            ("Host: 127.0.0.1\r\nOrigin: http://127.0.0.1:80", 200),
            ("Host: 127.0.0.1:443\r\nOrigin: https://127.0.0.1", 200),
            ("Host: [::1]:8080\r\nOrigin: http://[::1]:8080", 200),
            ("Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1:8081", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: http://127.0.0.1", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: http://localhost:8080", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: ftp://127.0.0.1:8080", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: null", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin:", 403),
            ("Host:\r\nOrigin: http://", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: http://evil.example", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: none", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: https://panel.example\r\nSec-Fetch-Site: cross-site", 200),
            ("Host: 127.0.0.1:8080\r\nOrigin: http://panel.example", 403),
            ("Host: 127.0.0.1:8080\r\nOrigin: https://panel.example.evil.example", 403),
            ("Host: 127.0.0.1:8080\r\nSec-Fetch-Site: cross-site", 403),
            ("Host: 127.0.0.1:8080\r\nSec-Fetch-Site: Same-Site", 403),
            ("Host: 127.0.0.1:8080\r\nSec-Fetch-Site: same-origin", 200),
            ("Host: 127.0.0.1:8080\r\nSec-Fetch-Site: none", 200),
        ] {
            assert_eq!((status(fields, &[]), status(fields, &["t"])), (want, want), "{fields}");
        }
    }

    #[test]
    fn without_tokens_only_names_of_ours_are_answered() {
        let names =
            ["10.0.0.1", "[fd00::1]:8080", "localhost:8080", "LOCALHOST.", "box", "box.lan:80", "Box.local"];
        for host in names.into_iter().chain(["gw.office.example:8080", "GW.office.example.", ""]) {
            assert_eq!(status(&format!("Host: {host}"), &[]), 200, "{host}");
        }
        let others =
            ["evil.example", "evil.example:8080", "localhost.evil.example", "box.evil.example", "2130706433"];
        for host in
            others.into_iter().chain(["0x7f.1", "127.0.0.1.nip.io", "xbox.local", "lan", "local", ".local"])
        {
            assert_eq!(
                (status(&format!("Host: {host}"), &[]), status(&format!("Host: {host}"), &["t"])),
                (421, 200)
            );
            // A page of that name has the same origin, but is refused anyway.
            let page = format!("Host: {host}\r\nOrigin: http://{host}\r\nSec-Fetch-Site: same-origin");
            assert_eq!(status(&page, &[]), 421, "{host}");
        }
        let nameless = judge(&head("Host: box"), &http(&[]), String::new);
        assert_eq!(nameless.map_err(|e| e.status()), Err(421));
    }

    #[test]
    fn preflights_are_those_of_listed_origins() {
        let asks = |fields: &str| {
            let head = Head { method: "OPTIONS".to_owned(), ..head(fields) };
            is_preflight(&head, &http(&["t"]))
        };
        let method = "Access-Control-Request-Method: PUT";
        assert!(asks(&format!("Host: h\r\nOrigin: https://panel.example\r\n{method}")));
        assert!(!asks(&format!("Host: h\r\nOrigin: https://evil.example\r\n{method}")));
        assert!(!asks("Host: h\r\nOrigin: https://panel.example") && !asks(&format!("Host: h\r\n{method}")));
    }
}

//! HTTP clients of the worker threads: with time limits, without redirects, restricted to allowed addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, config::Config as AgentConfig};

use super::http_names::Names;
use crate::config::{Config, is_of_site};

/// Addresses that URLs given by API clients may resolve to.
#[derive(Debug, Clone)]
pub struct Rules {
    loopback: bool,
    allow: Arc<[IpNet]>,
}

impl Rules {
    /// The rules of a configuration: loopback is allowed only if the API listens on loopback only.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            loopback: config.http.listen.ip().is_loopback(),
            allow: config.security.url_allow.as_slice().into(),
        }
    }

    /// True if a URL may resolve to `ip`.
    #[must_use]
    pub fn permit(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        if self.allow.iter().any(|n| n.contains(&ip)) {
            return true;
        }
        match ip {
            _ if ip.is_loopback() => self.loopback,
            IpAddr::V4(v4) => {
                !(v4.is_link_local() || v4.is_multicast() || v4.is_unspecified() || v4.is_broadcast())
                    && v4.octets().first() != Some(&0)
            }
            IpAddr::V6(v6) => {
                let forbidden = v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified();
                !forbidden && v6 != METADATA && embedded(v6).is_none_or(|v4| self.permit(v4.into()))
            }
        }
    }
}

/// IPv6 address of a cloud metadata service.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The IPv4 address embedded in a translated (RFC 6052) or 6to4 (RFC 3056) address.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Resolves names and filters addresses by the rules: the checked address is the one connected to.
#[derive(Debug, Default)]
struct Guard {
    inner: Names,
    /// Rules for URLs of API clients.
    rules: Option<Rules>,
    /// Unencrypted requests to public addresses are refused.
    encrypted_abroad: bool,
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &AgentConfig,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        let refuse =
            |why: &str| ureq::Error::Io(std::io::Error::new(std::io::ErrorKind::PermissionDenied, why));
        let permit = |a: &&SocketAddr| self.rules.as_ref().is_none_or(|r| r.permit(a.ip()));
        let mut good: Vec<SocketAddr> = found.iter().filter(permit).copied().collect();
        if good.is_empty() {
            return Err(refuse("the address is not allowed for URLs of API clients (security.url_allow)"));
        }
        if self.encrypted_abroad && uri.scheme_str() == Some("http") {
            good.retain(|a| is_of_site(a.ip()));
        }
        if good.is_empty() {
            return Err(refuse("http:// to a public address is refused (s3.allow_http)"));
        }
        let mut out = self.empty();
        for a in good {
            out.push(a);
        }
        Ok(out)
    }
}

/// Value of `User-Agent`.
pub const USER_AGENT: &str = concat!("branchline/", env!("CARGO_PKG_VERSION"));

/// Time limit for the head of a response.
const HEAD: Duration = Duration::from_secs(10);

/// Maximum size of a response head, bytes: an idle connection keeps a buffer of this size.
const LONGEST_HEAD: usize = 64 << 10;

/// The client for sounds at URLs given by API clients. The caller follows redirects, each checked by the same rules.
/// `patience`: time limit of a whole exchange.
#[must_use]
pub fn sound_agent(rules: &Rules, patience: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(patience))
        .timeout_recv_response(Some(patience.min(HEAD)))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(USER_AGENT)
        // Sounds are fetched rarely, from servers that close connections at any time: no connection reuse.
        .max_idle_connections(0)
        .input_buffer_size(LONGEST_HEAD)
        .output_buffer_size(16 << 10)
        .build();
    let resolver = Guard { rules: Some(rules.clone()), ..Guard::default() };
    Agent::with_parts(config, DefaultConnector::default(), resolver)
}

/// Maximum time without progress while a large body is sent or received.
const STALL: Duration = Duration::from_secs(60);

/// The client for uploads to servers given by the operator (`trusted`) or an API client: no limit on total
/// time while there is progress. Unless `open_abroad`, public addresses require encryption.
#[must_use]
pub fn upload_agent(rules: &Rules, trusted: bool, open_abroad: bool) -> Agent {
    let config = Agent::config_builder()
        .timeout_resolve(Some(HEAD))
        .timeout_connect(Some(HEAD))
        .timeout_send_request(Some(HEAD))
        .timeout_per_write(Some(STALL))
        .timeout_per_read(Some(STALL))
        .timeout_recv_response(Some(STALL * 2))
        .timeout_recv_body(Some(STALL * 5))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .user_agent(USER_AGENT)
        .max_idle_connections(4)
        .build();
    let rules = (!trusted).then(|| rules.clone());
    let resolver = Guard { rules, encrypted_abroad: !open_abroad, ..Guard::default() };
    Agent::with_parts(config, DefaultConnector::default(), resolver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_private_and_listed_addresses() {
        let rules = |loopback| Rules { loopback, allow: vec!["169.254.7.0/24".parse().unwrap()].into() };
        let ok = |loopback, ip: &str| rules(loopback).permit(ip.parse().unwrap());
        for ip in ["8.8.8.8", "192.168.1.9", "fd00::1", "2001:db8::1", "169.254.7.7"] {
            assert!(ok(false, ip), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "255.255.255.255",
            "::ffff:127.0.0.1",
        ] {
            assert!(!ok(false, ip), "{ip}");
        }
        assert!(ok(true, "127.0.0.1") && ok(true, "::1"));
    }
}

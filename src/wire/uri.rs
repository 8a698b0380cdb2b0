//! SIP, SIPS and tel URIs (RFC 3261 §19.1, RFC 3966), kept as written so that they are sent unchanged.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use super::error::WireError;
use super::params::Params;

/// A host of a URI or Via.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// A name to be resolved, lower case.
    Name(String),
}

/// A SIP or SIPS URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SipUri {
    /// `sips:`.
    pub secure: bool,
    /// User part, still escaped, with the password if it has one.
    pub user: Option<String>,
    /// Host.
    pub host: Host,
    /// Port, if one is given.
    pub port: Option<u16>,
    /// URI parameters.
    pub params: Params,
    /// What follows `?`, as written.
    pub headers: Option<String>,
}

/// A URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uri {
    /// `sip:` or `sips:`.
    Sip(Box<SipUri>),
    /// `tel:`; what follows the scheme.
    Tel(String),
    /// Another scheme, as written; cannot be routed to.
    Other(String),
}

impl Uri {
    /// Parses a URI.
    ///
    /// # Errors
    /// White space, brackets, a SIP URI without a usable host, no scheme at all.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        if text.bytes().any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || b"<>\"".contains(&b)) {
            return Err(WireError::Value("URI"));
        }
        let (scheme, rest) = text.split_once(':').ok_or(WireError::Value("URI without a scheme"))?;
        let starts_well = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if !starts_well || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
            return Err(WireError::Value("URI scheme"));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "sip" => sip(false, rest).map(|u| Self::Sip(Box::new(u))),
            "sips" => sip(true, rest).map(|u| Self::Sip(Box::new(u))),
            "tel" if !rest.is_empty() => Ok(Self::Tel(rest.to_owned())),
            _ => Ok(Self::Other(text.to_owned())),
        }
    }

    /// True for `sips:`.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.sip().is_some_and(|u| u.secure)
    }

    /// The SIP or SIPS URI, if it is one.
    #[must_use]
    pub fn sip(&self) -> Option<&SipUri> {
        match self {
            Self::Sip(u) => Some(u),
            Self::Tel(_) | Self::Other(_) => None,
        }
    }

    /// The user part for display: unescaped, without password; the number of a tel URI.
    #[must_use]
    pub fn user(&self) -> String {
        let raw = match self {
            Self::Sip(u) => u.user.as_deref().unwrap_or_default().split(':').next().unwrap_or_default(),
            Self::Tel(rest) => rest.split(';').next().unwrap_or_default(),
            Self::Other(_) => "",
        };
        percent_decode_str(raw).decode_utf8_lossy().into_owned()
    }
}

fn sip(secure: bool, rest: &str) -> Result<SipUri, WireError> {
    // `;` and `?` are allowed in the user part: it ends at the first `@`.
    let (user, rest) = match rest.split_once('@') {
        Some(("", _)) => return Err(WireError::Value("empty user in URI")),
        Some((user, rest)) => (Some(user.to_owned()), rest),
        None => (None, rest),
    };
    let (rest, headers) = match rest.split_once('?') {
        Some((rest, h)) => (rest, Some(h.to_owned())),
        None => (rest, None),
    };
    let (host_port, params) = match rest.split_once(';') {
        Some((hp, p)) => (hp, Params::parse(p)?),
        None => (rest, Params::default()),
    };
    let (host, port) = host_port_of(host_port)?;
    Ok(SipUri { secure, user, host, port, params, headers })
}

/// Parses `host[:port]`. An IPv6 address needs brackets.
///
/// # Errors
/// No host, a port beyond 65535, an IPv6 address without brackets.
pub fn host_port_of(text: &str) -> Result<(Host, Option<u16>), WireError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(WireError::Value("IPv6 address"))?;
        let port = match after {
            "" => None,
            p => Some(p.strip_prefix(':').ok_or(WireError::Value("port"))?),
        };
        (Host::Ip(ipv6(inside)?.into()), port)
    } else {
        let (host, port) = text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p)));
        (name(host)?, port)
    };
    let number = |p: &str| {
        let digits = !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| p.parse::<u16>().ok()).flatten().ok_or(WireError::Value("port"))
    };
    Ok((host, port.map(str::trim).map(number).transpose()?))
}

fn name(host: &str) -> Result<Host, WireError> {
    let host = host.trim();
    if let Ok(ip) = host.parse() {
        return Ok(Host::Ip(IpAddr::V4(ip)));
    }
    let good = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && !host.starts_with(['.', '-']);
    if good { Ok(Host::Name(host.to_ascii_lowercase())) } else { Err(WireError::Value("host")) }
}

/// Parses an IPv6 address; three consecutive colons, which RFC 3261's grammar allows, are treated as two (RFC
/// 5118 §4.10).
fn ipv6(text: &str) -> Result<Ipv6Addr, WireError> {
    let parsed = text.parse().or_else(|_| text.replacen(":::", "::", 1).parse());
    parsed.map_err(|_| WireError::Value("IPv6 address"))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Name(n) => f.write_str(n),
        }
    }
}

impl fmt::Display for SipUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.secure { "sips:" } else { "sip:" })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)?;
        if let Some(h) = &self.headers {
            write!(f, "?{h}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(u) => u.fmt(f),
            Self::Tel(rest) => write!(f, "tel:{rest}"),
            Self::Other(raw) => f.write_str(raw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_round_trip() {
        for text in [
            "sip:alice@example.com",
            "sips:1001:pw@192.0.2.1:5061;transport=tcp;lr",
            "sip:[2001:db8::10]:5070;a=b?Subject=x%20y",
            "sip:*21#@h",
            "sip:user%40x;par=1@example.net",
            "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
            "tel:+12125551212;ext=3",
            "urn:service:sos",
            "soap.beep://192.0.2.103:3002",
        ] {
            assert_eq!(Uri::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn users_are_unescaped_for_display() {
        assert_eq!(Uri::parse("sip:a%20b:pw@h").unwrap().user(), "a b");
        assert_eq!(Uri::parse("tel:+1212;x=y").unwrap().user(), "+1212");
        assert_eq!(Uri::parse("sip:h").unwrap().user(), "");
    }

    #[test]
    fn ipv6_needs_brackets() {
        assert!(Uri::parse("sip:2001:db8::10").is_err());
        let port = |t: &str| Uri::parse(t).unwrap().sip().unwrap().port;
        assert_eq!(port("sip:[2001:db8::10:5070]"), None);
        assert_eq!(port("sip:[2001:db8::10]:5070"), Some(5070));
        assert_eq!(Uri::parse("sip:[2001:db8:::192.0.2.1]").unwrap().to_string(), "sip:[2001:db8::c000:201]");
    }

    #[test]
    fn broken_uris_are_errors() {
        for bad in [
            "",
            "sip:",
            "alice",
            "sip:@h",
            "sip:a@",
            "sip:a@h:99999",
            "sip:a@h:",
            "sip:a b@h",
            "<sip:a@h>",
            "sip:a@[::1",
            "sip:a@-h",
            "sip:a@h;;b",
        ] {
            assert!(Uri::parse(bad).is_err(), "{bad:?}");
        }
    }
}

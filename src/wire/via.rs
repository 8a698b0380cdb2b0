//! Via (RFC 3261 §20.42) with `received` and `rport` (RFC 3581).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::error::WireError;
use super::params::Params;
use super::uri::{Host, host_port_of};

/// Prefix of branches that are unique transaction identifiers (RFC 3261 §8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One Via value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    /// Protocol and version as sent: `SIP/2.0`.
    pub protocol: String,
    /// Transport, upper case: `UDP`, `TCP`, …
    pub transport: String,
    /// Host of sent-by.
    pub host: Host,
    /// Port of sent-by.
    pub port: Option<u16>,
    /// Parameters.
    pub params: Params,
}

impl Via {
    /// Parses one value with any protocol and version. White space around slashes and colon is allowed.
    ///
    /// # Errors
    /// No protocol, version, transport or sent-by, broken parameters.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let bad = WireError::Value("Via");
        let (head, params) = match text.split_once(';') {
            Some((h, p)) => (h, Params::parse(p)?),
            None => (text, Params::default()),
        };
        let mut parts = head.splitn(3, '/');
        let mut next = || parts.next().map(str::trim).ok_or(bad.clone());
        let (name, version, rest) = (next()?, next()?, next()?);
        let is_token = |t: &str| !t.is_empty() && t.bytes().all(super::params::is_token);
        if !is_token(name) || !is_token(version) {
            return Err(bad);
        }
        let name = if name.eq_ignore_ascii_case("SIP") { "SIP" } else { name };
        let protocol = format!("{name}/{version}");
        let (transport, sent_by) = rest.split_once(|c: char| c.is_ascii_whitespace()).ok_or(bad.clone())?;
        if !is_token(transport) {
            return Err(bad);
        }
        let sent_by: String = sent_by.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let (host, port) = host_port_of(&sent_by)?;
        Ok(Self { protocol, transport: transport.to_ascii_uppercase(), host, port, params })
    }

    /// Checks that the hop uses SIP/2.0.
    ///
    /// # Errors
    /// [`WireError::Version`] for another version of SIP, [`WireError::Value`] for another protocol.
    pub fn check_protocol(&self) -> Result<(), WireError> {
        match self.protocol.split_once('/') {
            Some(("SIP", "2.0")) => Ok(()),
            Some(("SIP", _)) => Err(WireError::Version),
            Some(_) | None => Err(WireError::Value("Via: another protocol than SIP")),
        }
    }

    /// The branch, if it is an RFC 3261 transaction identifier: the magic cookie and at least one more
    /// character.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        self.params.get("branch").filter(|b| b.len() > MAGIC_COOKIE.len() && b.starts_with(MAGIC_COOKIE))
    }

    /// Adds the actual source address (RFC 3261 §18.2.1, RFC 3581 §4).
    pub fn stamp(&mut self, source: SocketAddr) {
        let wants_port = self.params.get("rport").is_some();
        if wants_port {
            self.params.set("rport", Some(source.port().to_string()));
        }
        let same = matches!(&self.host, Host::Ip(ip) if *ip == source.ip());
        if wants_port || !same {
            self.params.set("received", Some(source.ip().to_string()));
        } else {
            self.params.remove("received");
        }
    }

    /// Destination of a response over UDP, after [`Self::stamp`] (RFC 3261 §18.2.2, RFC 3581 §4).
    #[must_use]
    pub fn reply_to(&self, source: SocketAddr) -> SocketAddr {
        let port = match self.params.get("rport") {
            Some(_) => source.port(),
            None => self.port.unwrap_or(5060),
        };
        SocketAddr::new(source.ip(), port)
    }

    /// The address in `received`, with or without brackets (RFC 5118 §4.5).
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        let v = self.params.get("received")?;
        v.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.protocol, self.transport, self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_spacing_is_read() {
        let v =
            Via::parse("SIP  / 2.0  / TCP     spindle.example.com   ;  branch  =   z9hG4bK9ikj8 ").unwrap();
        assert_eq!(v.to_string(), "SIP/2.0/TCP spindle.example.com;branch=z9hG4bK9ikj8");
        let v = Via::parse("SIP/2.0/UDP [2001:db8::9:1] : 5070;received=[2001:db8::9:255]").unwrap();
        assert_eq!((v.port, v.received()), (Some(5070), Some("2001:db8::9:255".parse().unwrap())));
    }

    #[test]
    fn other_protocols_round_trip_and_are_rejected() {
        for (via, verdict) in [
            ("SIP/2.0/UDP h", Ok(())),
            ("SIP/7.0/UDP h", Err(WireError::Version)),
            ("SIP/2/TCP h", Err(WireError::Version)),
            ("SIP/2.0.1/TCP h", Err(WireError::Version)),
            ("HTTP/2.0/UDP h", Err(WireError::Value("Via: another protocol than SIP"))),
        ] {
            let read = Via::parse(via).unwrap();
            assert_eq!((read.to_string().as_str(), read.check_protocol()), (via, verdict));
        }
        assert_eq!(Via::parse("sip / 2.0 / udp h").unwrap().to_string(), "SIP/2.0/UDP h");
    }

    #[test]
    fn only_an_rfc_3261_branch_counts() {
        let b =
            |t: &str| Via::parse(&format!("SIP/2.0/UDP h;branch={t}")).unwrap().branch().map(str::to_owned);
        assert_eq!(b("z9hG4bK"), None);
        assert_eq!(b("390skdjuw"), None);
        assert_eq!(b("z9hG4bKx").as_deref(), Some("z9hG4bKx"));
    }

    #[test]
    fn responses_are_sent_to_the_source() {
        let source: SocketAddr = "198.51.100.7:40000".parse().unwrap();
        let mut v = Via::parse("SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKa;rport").unwrap();
        v.stamp(source);
        assert_eq!(
            v.to_string(),
            "SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKa;rport=40000;received=198.51.100.7"
        );
        assert_eq!(v.reply_to(source), source);
        let mut v = Via::parse("SIP/2.0/UDP 10.0.0.1:5062;branch=z9hG4bKa").unwrap();
        v.stamp(source);
        assert_eq!(v.reply_to(source), "198.51.100.7:5062".parse().unwrap());
        let mut v = Via::parse("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa;received=1.2.3.4").unwrap();
        v.stamp(source);
        assert_eq!(v.to_string(), "SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa");
        assert_eq!(v.reply_to(source), "198.51.100.7:5060".parse().unwrap());
    }

    #[test]
    fn broken_vias_are_errors() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP//UDP h",
            "/2.0/UDP h",
            "SIP/2.0/ h",
            "S P/2.0/UDP h",
            "SIP/2.0/UDP 192.0.2.15;;",
            "SIP/2.0/UDP ;branch=x",
            "SIP/2.0/UDP 2001:db8::1",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad:?}");
        }
    }
}

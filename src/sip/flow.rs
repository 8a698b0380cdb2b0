//! Flows: transport, address and connection of a message (RFC 5626), and the next hop of a URI.

use std::net::{IpAddr, SocketAddr};

use crate::wire::uri::{Host, SipUri, Uri};

/// Supported transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
    /// Encrypted streams.
    Tls,
}

impl Transport {
    /// The name used in Via.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// Parses the name used in Via.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls].into_iter().find(|t| t.as_str().eq_ignore_ascii_case(name))
    }

    /// True if the transport retransmits by itself.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// Default port (RFC 3261 §19.1.2).
    #[must_use]
    pub fn default_port(self) -> u16 {
        if self == Self::Tls { 5061 } else { 5060 }
    }

    /// The URI parameter that selects it; UDP needs none.
    #[must_use]
    pub fn as_param(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }
}

/// Identifies a connection for as long as it lives; assigned by the shell and never reused.
pub type ConnId = u64;

/// A flow: where a message is sent to or came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Transport.
    pub transport: Transport,
    /// Address and port of the far end.
    pub addr: SocketAddr,
    /// The connection to use while it is open; `None`: any open connection to `addr`, or a new one.
    pub conn: Option<ConnId>,
}

impl Flow {
    /// A URI of this address.
    #[must_use]
    pub fn uri(self) -> Option<Uri> {
        Uri::parse(&format!("sip:{}{}", self.addr, self.transport.as_param())).ok()
    }
}

/// The next hop of a URI before DNS resolution (RFC 3263 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// `sips:`: TLS to the next hop.
    pub secure: bool,
    /// Explicit transport.
    pub transport: Option<Transport>,
    /// Host.
    pub host: Host,
    /// Explicit port.
    pub port: Option<u16>,
}

impl NextHop {
    /// The transport if DNS does not select one.
    #[must_use]
    pub fn usual_transport(&self) -> Transport {
        self.transport.unwrap_or(if self.secure { Transport::Tls } else { Transport::Udp })
    }

    /// The flow to an address of the host.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Flow {
        let transport = self.usual_transport();
        let port = self.port.unwrap_or(transport.default_port());
        Flow { transport, addr: SocketAddr::new(ip.to_canonical(), port), conn: None }
    }
}

/// A URI names an unsupported transport.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transport {0} is not spoken here; udp, tcp and tls are")]
pub struct UnknownTransport(String);

/// The next hop of a SIP URI.
///
/// # Errors
/// An unsupported transport.
pub fn next_hop(uri: &SipUri) -> Result<NextHop, UnknownTransport> {
    let asked = uri.params.get("transport").filter(|t| !t.is_empty());
    let transport = match asked.map(|t| (t, Transport::by_name(t))) {
        None => None,
        // sips means TLS on top of the given stream transport (RFC 3261 §26.2.2).
        Some((_, Some(Transport::Tcp))) if uri.secure => Some(Transport::Tls),
        Some((_, Some(t))) => Some(t),
        Some((t, None)) => return Err(UnknownTransport(t.to_owned())),
    };
    if uri.secure && transport == Some(Transport::Udp) {
        return Err(UnknownTransport("udp under sips".to_owned()));
    }
    // maddr replaces the host (RFC 3261 §19.1.1).
    let host = match uri.params.get("maddr").and_then(|m| crate::wire::uri::host_port_of(m).ok()) {
        Some((host, None)) => host,
        Some((_, Some(_))) | None => uri.host.clone(),
    };
    // An IPv4-mapped IPv6 address is treated as IPv4 (RFC 4291 §2.5.5.2, RFC 5118 §4.10).
    let host = if let Host::Ip(ip) = host { Host::Ip(ip.to_canonical()) } else { host };
    Ok(NextHop { secure: uri.secure, transport, host, port: uri.port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Uri;

    #[test]
    fn uris_say_transport_host_and_port() {
        let hop = |text: &str| next_hop(Uri::parse(text).unwrap().sip().unwrap());
        let at = |text: &str| {
            let t = hop(text).unwrap().at("192.0.2.7".parse().unwrap());
            (t.transport, t.addr.port())
        };
        assert_eq!(at("sip:a@192.0.2.1;transport=TCP"), (Transport::Tcp, 5060));
        assert_eq!(at("sip:a@h:70"), (Transport::Udp, 70));
        assert_eq!(at("sip:a@h;transport=tls"), (Transport::Tls, 5061));
        assert_eq!(at("sips:a@h"), (Transport::Tls, 5061));
        assert_eq!(at("sips:a@h:99;transport=tcp"), (Transport::Tls, 99));
        assert_eq!(hop("sip:a@h;maddr=192.0.2.9").unwrap().host, Host::Ip("192.0.2.9".parse().unwrap()));
        for mapped in
            ["sip:a@[::ffff:192.0.2.9]", "sip:a@[::FFFF:c000:209]:5060", "sip:a@h;maddr=[::ffff:192.0.2.9]"]
        {
            assert_eq!(hop(mapped).unwrap().host, Host::Ip("192.0.2.9".parse().unwrap()), "{mapped}");
        }
        assert_eq!(hop("sip:a@[2001:db8::9]").unwrap().host, Host::Ip("2001:db8::9".parse().unwrap()));
        assert!(hop("sip:a@h;transport=sctp").unwrap_err().to_string().contains("sctp is not spoken"));
        assert!(hop("sips:a@h;transport=udp").is_err());
    }
}

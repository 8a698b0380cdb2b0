//! Where a message goes: transport, address, and the connection it should use.

use std::net::{IpAddr, SocketAddr};

use crate::wire::uri::{Host, SipUri, Uri};

/// Transports spoken here.
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
    /// As it stands in Via.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// As it stands in Via, read.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp, Self::Tls].into_iter().find(|t| t.as_str().eq_ignore_ascii_case(name))
    }

    /// True where retransmission is the transport's own business.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }

    /// The port where nothing is said (RFC 3261 §19.1.2).
    #[must_use]
    pub fn default_port(self) -> u16 {
        if self == Self::Tls { 5061 } else { 5060 }
    }

    /// The URI parameter that asks for it; UDP needs none.
    #[must_use]
    pub fn as_param(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
        }
    }
}

/// Names a TCP connection for as long as it lives; the shell gives them out and never uses one twice.
pub type ConnId = u64;

/// Where a message goes, or where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Transport.
    pub transport: Transport,
    /// Address and port of the far end.
    pub addr: SocketAddr,
    /// The connection to use if it is still open; without one, any open connection to `addr`, or a new one.
    pub conn: Option<ConnId>,
}

impl Target {
    /// A URI that leads there.
    #[must_use]
    pub fn uri(self) -> Option<Uri> {
        Uri::parse(&format!("sip:{}{}", self.addr, self.transport.as_param())).ok()
    }
}

/// What a URI asks for before any name is looked up (RFC 3263 §4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// `sips:`: TLS on the way to it.
    pub secure: bool,
    /// Transport asked for.
    pub transport: Option<Transport>,
    /// Host.
    pub host: Host,
    /// Port asked for.
    pub port: Option<u16>,
}

impl NextHop {
    /// The transport where DNS does not choose one.
    #[must_use]
    pub fn usual_transport(&self) -> Transport {
        self.transport.unwrap_or(if self.secure { Transport::Tls } else { Transport::Udp })
    }

    /// The target at an address of the host.
    #[must_use]
    pub fn at(&self, ip: IpAddr) -> Target {
        let transport = self.usual_transport();
        let port = self.port.unwrap_or(transport.default_port());
        Target { transport, addr: SocketAddr::new(ip.to_canonical(), port), conn: None }
    }
}

/// A URI asks for a transport that is not spoken here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transport {0} is not spoken here; udp, tcp and tls are")]
pub struct UnknownTransport(String);

/// The next hop a SIP URI names.
///
/// # Errors
/// A transport that is not available.
pub fn next_hop(uri: &SipUri) -> Result<NextHop, UnknownTransport> {
    let asked = uri.params.get("transport").filter(|t| !t.is_empty());
    let transport = match asked.map(|t| (t, Transport::by_name(t))) {
        None => None,
        // sips asks for TLS on top of whatever stream it names (RFC 3261 §26.2.2).
        Some((_, Some(Transport::Tcp))) if uri.secure => Some(Transport::Tls),
        Some((_, Some(t))) => Some(t),
        Some((t, None)) => return Err(UnknownTransport(t.to_owned())),
    };
    if uri.secure && transport == Some(Transport::Udp) {
        return Err(UnknownTransport("udp under sips".to_owned()));
    }
    // maddr takes the place of the host (RFC 3261 §19.1.1).
    let host = match uri.params.get("maddr").and_then(|m| crate::wire::uri::host_port_of(m).ok()) {
        Some((host, None)) => host,
        Some((_, Some(_))) | None => uri.host.clone(),
    };
    // An IPv4 address mapped into IPv6 is that IPv4 address (RFC 4291 §2.5.5.2, RFC 5118 §4.10).
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

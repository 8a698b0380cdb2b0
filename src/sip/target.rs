//! Where a message goes: transport, address, and the connection it should use.

use std::net::SocketAddr;

use crate::wire::uri::{Host, SipUri};

/// Transports spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Streams.
    Tcp,
}

impl Transport {
    /// As it stands in Via.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }

    /// True where retransmission is the transport's own business.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        matches!(self, Self::Tcp)
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

/// What a URI asks for before any name is resolved (RFC 3263 §4, without NAPTR and SRV).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// Transport asked for; UDP where nothing is said.
    pub transport: Transport,
    /// Host.
    pub host: Host,
    /// Port; 5060 where nothing is said.
    pub port: u16,
}

/// Why a URI cannot be sent to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `sips:` or `transport=tls`.
    #[error("TLS is not available in this version")]
    Tls,
    /// A transport we do not speak.
    #[error("transport {0} is not spoken here; udp and tcp are")]
    Transport(String),
}

/// The next hop a SIP URI names.
///
/// # Errors
/// A transport that is not available.
pub fn next_hop(uri: &SipUri) -> Result<NextHop, TargetError> {
    if uri.secure {
        return Err(TargetError::Tls);
    }
    let transport = match uri.params.get("transport").map(str::to_ascii_lowercase).as_deref() {
        None | Some("udp" | "") => Transport::Udp,
        Some("tcp") => Transport::Tcp,
        Some("tls") => return Err(TargetError::Tls),
        Some(other) => return Err(TargetError::Transport(other.to_owned())),
    };
    // maddr takes the place of the host (RFC 3261 §19.1.1).
    let host = match uri.params.get("maddr").and_then(|m| crate::wire::uri::host_port_of(m).ok()) {
        Some((host, None)) => host,
        Some((_, Some(_))) | None => uri.host.clone(),
    };
    Ok(NextHop { transport, host, port: uri.port.unwrap_or(5060) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Uri;

    #[test]
    fn uris_say_transport_host_and_port() {
        let hop = |text: &str| next_hop(Uri::parse(text).unwrap().sip().unwrap());
        let h = hop("sip:a@192.0.2.1;transport=TCP").unwrap();
        assert_eq!((h.transport, h.port), (Transport::Tcp, 5060));
        assert_eq!(
            hop("sip:a@h:70").unwrap(),
            NextHop { transport: Transport::Udp, host: Host::Name("h".into()), port: 70 }
        );
        assert_eq!(hop("sip:a@h;maddr=192.0.2.9").unwrap().host, Host::Ip("192.0.2.9".parse().unwrap()));
        assert_eq!(hop("sips:a@h"), Err(TargetError::Tls));
        assert_eq!(hop("sip:a@h;transport=sctp"), Err(TargetError::Transport("sctp".into())));
    }
}

//! Media addresses in connection lines and attributes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sdp_types::Connection;

use super::direction::Direction;
use super::error::SdpError;

/// The address of a connection line; `None` for a host name. IPv4-mapped IPv6 addresses are converted to IPv4
/// (RFC 4291 §2.5.5.2), brackets are removed.
///
/// # Errors
/// A network other than the Internet, a multicast group, or an address that is not that of a host.
pub fn of(connection: &Connection) -> Result<Option<IpAddr>, SdpError> {
    let network = connection.nettype.as_str();
    if !network.eq_ignore_ascii_case("IN") {
        return Err(SdpError::Network(network.to_owned()));
    }
    // After a slash: TTL, or number of addresses.
    let text = connection.connection_address.split('/').next().unwrap_or_default().trim();
    match ip(text) {
        Some(ip) if ip.is_multicast() => Err(SdpError::Multicast),
        // A link-local address is useless without its interface.
        Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => Err(SdpError::Address),
        Some(IpAddr::V4(Ipv4Addr::BROADCAST)) => Err(SdpError::Address),
        Some(ip) => Ok(Some(ip)),
        None if is_name(text) => Ok(None),
        None => Err(SdpError::Address),
    }
}

fn ip(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

fn is_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    text.len() <= 253 && text.bytes().all(good) && text.bytes().any(|b| b.is_ascii_alphabetic())
}

/// `a=rtcp:PORT [IN IP4 ADDRESS]` (RFC 3605).
pub fn rtcp(text: Option<&str>, address: Option<IpAddr>) -> Option<SocketAddr> {
    let mut fields = text?.split_whitespace();
    let port = fields.next()?.parse().ok()?;
    let own = fields.nth(2).and_then(ip);
    Some(SocketAddr::new(own.or(address)?, port))
}

/// An unspecified address means hold as in RFC 2543: the far end receives nothing.
pub fn hold(direction: Direction, address: Option<IpAddr>) -> Direction {
    match direction {
        _ if !address.is_some_and(|ip| ip.is_unspecified()) => direction,
        Direction::SendRecv => Direction::SendOnly,
        Direction::RecvOnly => Direction::Inactive,
        Direction::SendOnly | Direction::Inactive => direction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(nettype: &str, addrtype: &str, address: &str) -> Result<Option<IpAddr>, SdpError> {
        of(&Connection {
            nettype: nettype.into(),
            addrtype: addrtype.into(),
            connection_address: address.to_owned(),
        })
    }

    #[test]
    fn one_address_has_many_forms() {
        for (text, want) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1/127", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("::FFFF:c000:0201", "192.0.2.1"),
            ("0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]", "192.0.2.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("0.0.0.0", "0.0.0.0"),
            ("::", "::"),
        ] {
            assert_eq!(read("IN", "IP6", text), Ok(Some(want.parse().unwrap())), "{text}");
        }
        assert_eq!(read("in", "IP4", "media.example.com"), Ok(None), "a name");
    }

    #[test]
    fn what_is_no_address_of_one_host_says_why() {
        assert_eq!(read("ATM", "NSAP", "47.0091"), Err(SdpError::Network("ATM".to_owned())));
        for group in ["224.2.1.1/127/3", "239.0.0.1", "ff02::1", "::ffff:224.2.1.1"] {
            assert_eq!(read("IN", "IP4", group), Err(SdpError::Multicast), "{group}");
        }
        for text in ["fe80::1", "fe80::1%eth0", "255.255.255.255", "300.1.2.3", "", "1.2.3", "::zz", "a b"] {
            assert_eq!(read("IN", "IP6", text), Err(SdpError::Address), "{text}");
        }
    }
}

//! Classification of IP addresses.

use std::net::IpAddr;

/// True for addresses without meaning outside their own network: private, link-local, loopback, unspecified
/// (RFC 1918, RFC 4193, RFC 3927).
#[must_use]
pub fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.is_private() || v4.is_link_local() || v4.is_loopback() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_loopback() || v6.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_branch_are_private() {
        for private in
            ["10.1.2.3", "192.168.0.9", "127.0.0.1", "fd00::1", "fe80::1", "::ffff:10.0.0.1", "0.0.0.0"]
        {
            assert!(is_private(private.parse().unwrap()), "{private}");
        }
        for public in ["192.0.2.1", "172.32.0.1", "2001:db8::1"] {
            assert!(!is_private(public.parse().unwrap()), "{public}");
        }
    }
}

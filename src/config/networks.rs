//! Local and private networks.

use std::net::IpAddr;

use super::value::nets;

/// Loopback and private networks (RFC 1918, RFC 4193, link-local).
pub(super) const HOME_NETWORKS: &[&str] = &[
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// True for loopback and addresses that are not routed on the Internet.
#[must_use]
pub fn is_of_site(ip: IpAddr) -> bool {
    nets(HOME_NETWORKS).iter().any(|n| n.contains(&ip.to_canonical()))
}

//! Access control: client networks and bearer tokens.

use std::net::IpAddr;

use ipnet::IpNet;
use subtle::{Choice, ConstantTimeEq as _};

use crate::base::secret::Secret;

/// True if `peer` may connect: the list is empty or contains it.
#[must_use]
pub fn allowed(peer: IpAddr, allow_list: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    allow_list.is_empty() || allow_list.iter().any(|net| net.contains(&peer))
}

/// True if the header contains one of the tokens, or none is configured. Constant-time comparison for tokens
/// of the right length.
#[must_use]
pub fn authorized(authorization: Option<&str>, tokens: &[Secret]) -> bool {
    if tokens.is_empty() {
        return true;
    }
    let Some((scheme, given)) = authorization.and_then(|v| v.split_once(' ')) else { return false };
    let given = given.trim();
    let any =
        tokens.iter().fold(Choice::from(0), |any, t| any | t.reveal().as_bytes().ct_eq(given.as_bytes()));
    scheme.eq_ignore_ascii_case("bearer") && any.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_must_match_whole() {
        let t = ["alpha".into(), "beta".into()];
        assert!(authorized(Some("Bearer beta"), &t));
        assert!(authorized(Some("bearer  alpha "), &t));
        for wrong in [None, Some(""), Some("Bearer"), Some("Bearer alph"), Some("Basic alpha"), Some("alpha")]
        {
            assert!(!authorized(wrong, &t), "{wrong:?}");
        }
        assert!(authorized(None, &[]));
    }

    #[test]
    fn mapped_addresses_match_their_ipv4_network() {
        let nets = ["10.0.0.0/8".parse().unwrap()];
        assert!(allowed("::ffff:10.1.2.3".parse().unwrap(), &nets));
        assert!(!allowed("11.1.2.3".parse().unwrap(), &nets));
        assert!(allowed("11.1.2.3".parse().unwrap(), &[]));
    }
}

//! Responses of registrars: granted interval (RFC 3261 §10.2.4), Retry-After, redirection.

use crate::wire::{NameAddr, Response, Uri};

/// Shortest interval that is practical, seconds.
pub(super) const SHORTEST_GRANT: u32 = 10;

/// A redirection by a registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// URI without user and headers.
    pub(super) uri: Uri,
    /// Status code of the redirection.
    pub(super) code: u16,
}

impl Elsewhere {
    /// True if permanent; otherwise the next refresh starts at the configured registrar again (RFC 3261
    /// §21.3.2, §21.3.3).
    pub(super) fn is_permanent(&self) -> bool {
        self.code == 301
    }

    /// True if it is a proxy for the same registrar (RFC 3261 §21.3.4).
    pub(super) fn is_proxy(&self) -> bool {
        self.code == 305
    }

    /// True for URIs that require TLS.
    pub(super) fn is_over_tls(uri: &Uri) -> bool {
        let transport = |u: &crate::wire::uri::SipUri| {
            u.params.get("transport").is_some_and(|t| t.eq_ignore_ascii_case("tls"))
        };
        uri.sip().is_some_and(|u| u.secure || transport(u))
    }
}

/// Interval granted to our contact, seconds: of the contact, or common to all (RFC 3261 §10.2.4).
pub(super) fn granted(contact: &str, response: &Response) -> u32 {
    let c = &response.common;
    let number = |v: &str| v.trim().parse::<u32>().ok();
    let ours = Uri::parse(contact).ok();
    let same = |n: &&NameAddr| ours.as_ref().is_some_and(|o| o.is_same(&n.uri));
    // Some registrars drop our URI parameters.
    let alike = |n: &&NameAddr| match (n.uri.sip(), ours.as_ref().and_then(Uri::sip)) {
        (Some(a), Some(b)) => a.is_same_address(b),
        _ => false,
    };
    let found = c.contacts.iter().find(same).or_else(|| c.contacts.iter().find(alike));
    // NAT routers may have rewritten our contact: if there is only one, it is ours.
    let found = found.or_else(|| c.contacts.first().filter(|_| c.contacts.len() == 1));
    let beside = found.and_then(|n| n.params.get("expires").and_then(number));
    beside.or_else(|| c.headers.get("Expires").and_then(number)).unwrap_or(SHORTEST_GRANT * 6)
}

/// `Retry-After`, seconds (RFC 3261 §20.33).
pub(super) fn retry_after(response: &Response) -> Option<u32> {
    let text = response.common.headers.get("Retry-After")?;
    let digits: String = text.trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// A registrar as Request-URI: without user, password and headers (RFC 3261 §10.2).
pub(super) fn without_user(registrar: &Uri) -> Uri {
    match registrar {
        Uri::Sip(u) => {
            let mut u = u.clone();
            (u.user, u.headers) = (None, None);
            Uri::Sip(u)
        }
        Uri::Tel(_) | Uri::Other(_) => registrar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, parse};

    #[test]
    fn what_is_granted_is_found_among_other_contacts() {
        let ours = "sip:anna@10.0.0.1:5060;transport=tcp";
        for (more, want) in [
            (
                "Contact: <sip:x@h>;expires=9, <sip:anna@10.0.0.1:5060;transport=TCP>;expires=300\r\nExpires: 5\r\n",
                300,
            ),
            (
                "Contact: <sip:anna@10.0.0.1:5060>;expires=9, <sip:%61nna@10.0.0.1:5060;transport=tcp;ob>;expires=\"77\"\r\n",
                77,
            ),
            ("Contact: <sip:x@h>;expires=9, <sip:anna@10.0.0.1:5060>;expires=88\r\n", 88),
            ("Contact: <sip:x@203.0.113.1:4000>;expires=99\r\n", 99),
            ("Contact: <sip:x@h>;expires=9, <sip:y@h>;expires=8\r\nExpires: 123\r\n", 123),
            ("Contact: <sip:anna@10.0.0.1:5060;transport=tcp>\r\nExpires: 222\r\n", 222),
            ("Expires: 124\r\n", 124),
            ("", 60),
        ] {
            let text = format!(
                "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:a@h>;tag=2\r\n\
                 Call-ID: c\r\nCSeq: 1 REGISTER\r\n{more}Content-Length: 0\r\n\r\n"
            );
            let Ok(Message::Response(r)) = parse(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(granted(ours, &r), want, "{more}");
        }
    }
}

//! Matching of messages to transactions (RFC 3261 §17.1.3, §17.2.3), including RFC 2543 peers.

use crate::wire::{Method, Request};

/// Identifies a server transaction. A CANCEL has its own, besides that of the INVITE.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerKey {
    branch: String,
    sent_by: String,
    method: Method,
}

impl ServerKey {
    /// The key of `request`; an ACK has the key of its INVITE.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        let method = if request.method == Method::Ack { Method::Invite } else { request.method.clone() };
        Self::with_method(request, method)
    }

    /// The key of the INVITE to which a CANCEL refers (§9.2).
    #[must_use]
    pub fn of_cancelled(cancel: &Request) -> Self {
        Self::with_method(cancel, Method::Invite)
    }

    /// Size of its strings, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.branch.len() + self.sent_by.len()
    }

    fn with_method(request: &Request, method: Method) -> Self {
        let c = &request.common;
        let sent_by = format!("{}:{}", c.via.host, c.via.port.unwrap_or(5060));
        let branch = match c.via.branch() {
            Some(b) => b.to_ascii_lowercase(),
            // RFC 2543 peers: fields shared by retransmissions, ACK and CANCEL.
            None => {
                let from = c.from.tag().unwrap_or_default();
                let branch = c.via.params.get("branch").unwrap_or_default();
                format!("{}|{from}|{}|{}|{branch}", request.uri, c.call_id, c.cseq)
            }
        };
        Self { branch, sent_by, method }
    }
}

/// Identifies a client transaction: our branch and the method in CSeq.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientKey {
    /// Branch of our Via.
    pub branch: String,
    /// Method.
    pub method: Method,
}

/// Fields shared by copies of a request that arrive on several paths (merged requests, §8.2.2.2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MergeKey {
    from_tag: String,
    call_id: String,
    cseq: u32,
    method: Method,
}

impl MergeKey {
    /// The key; only for requests outside a dialog.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        let c = &request.common;
        if c.to.tag().is_some() {
            return None;
        }
        let from_tag = c.from.tag()?.to_owned();
        Some(Self { from_tag, call_id: c.call_id.clone(), cseq: c.cseq, method: request.method.clone() })
    }

    /// Size of its strings, bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.from_tag.len() + self.call_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, parse};

    fn request(text: &str) -> Request {
        let text = text.replace('\n', "\r\n");
        let Ok(Message::Request(r)) = parse(text.as_bytes()) else { panic!("{text}") };
        *r
    }

    fn invite(method: &str, via: &str, to: &str) -> Request {
        request(&format!(
            "{method} sip:b@h SIP/2.0\nVia: SIP/2.0/UDP {via}\nFrom: <sip:a@h>;tag=f\nTo: {to}\nCall-ID: c\nCSeq: 1 {method}\n\n"
        ))
    }

    #[test]
    fn ack_and_cancel_find_their_invite() {
        for via in ["1.2.3.4;branch=z9hG4bKq", "1.2.3.4;branch=old", "1.2.3.4"] {
            let key = ServerKey::of(&invite("INVITE", via, "<sip:b@h>"));
            assert_eq!(ServerKey::of(&invite("ACK", via, "<sip:b@h>;tag=x")), key, "{via}");
            let cancel = invite("CANCEL", via, "<sip:b@h>");
            assert_eq!(ServerKey::of_cancelled(&cancel), key, "{via}");
            assert_ne!(ServerKey::of(&cancel), key, "{via}");
        }
        let a = ServerKey::of(&invite("INVITE", "1.2.3.4;branch=z9hG4bKq", "<sip:b@h>"));
        let b = ServerKey::of(&invite("INVITE", "1.2.3.5;branch=z9hG4bKq", "<sip:b@h>"));
        assert_ne!(a, b, "another sender with the same branch is another transaction");
    }

    #[test]
    fn merged_requests_share_a_key() {
        let a = MergeKey::of(&invite("INVITE", "1.2.3.4;branch=z9hG4bK1", "<sip:b@h>"));
        assert!(a.is_some());
        assert_eq!(a, MergeKey::of(&invite("INVITE", "9.2.3.4;branch=z9hG4bK2", "<sip:b@h>")));
        assert_eq!(MergeKey::of(&invite("INVITE", "1.2.3.4;branch=z9hG4bK1", "<sip:b@h>;tag=t")), None);
    }
}

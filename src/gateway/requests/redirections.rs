//! Redirection of a request by 3xx responses (RFC 3261 §8.1.3.4): targets to try, targets tried, and limits.

use crate::sip::flow::next_hop;
use crate::wire::{NameAddr, Response, Uri};

/// Redirections followed for one request.
pub(super) const MAX_FOLLOWED: u8 = 5;
/// Most pending targets, and most tried ones remembered.
const MAX_TARGETS: usize = 16;

/// The redirections of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirections {
    /// Targets to try, best first.
    waiting: Vec<Uri>,
    /// Targets already tried; not tried again.
    tried: Vec<Uri>,
    followed: u8,
}

impl Redirections {
    /// For a request to `first`.
    #[must_use]
    pub fn of(first: &Uri) -> Self {
        Self { waiting: Vec::new(), tried: vec![first.clone()], followed: 0 }
    }

    /// True without redirections.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.followed == 0
    }

    /// Adds the Contacts of a 3xx, mapped by `becomes`; returns the next target, if there is one and the
    /// limit is not reached.
    pub fn next(&mut self, response: &Response, becomes: impl Fn(&Uri) -> Option<Uri>) -> Option<Uri> {
        let contacts = response.common.contacts.iter();
        let usable = |c: &&NameAddr| c.uri.sip().is_some_and(|u| next_hop(u).is_ok());
        let target = |c: &NameAddr| becomes(&c.uri).map(|uri| (preference(c), uri));
        let mut found: Vec<(u32, Uri)> = contacts.filter(usable).filter_map(target).collect();
        found.sort_by_key(|(q, _)| std::cmp::Reverse(*q));
        self.waiting.splice(0..0, found.into_iter().map(|(_, uri)| uri));
        self.waiting.truncate(MAX_TARGETS);
        self.waiting.retain(|uri| !self.tried.iter().any(|t| t.is_same(uri)));
        if self.followed >= MAX_FOLLOWED || self.waiting.is_empty() {
            return None;
        }
        self.followed += 1;
        let next = self.waiting.remove(0);
        if self.tried.len() < MAX_TARGETS {
            self.tried.push(next.clone());
        }
        Some(next)
    }
}

/// `q` value of a Contact, in thousandths.
fn preference(contact: &NameAddr) -> u32 {
    let q: f32 = contact.params.get("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
    if q.is_finite() { (q.clamp(0.0, 1.0) * 1000.0) as u32 } else { 0 }
}

/// A URI for a request line: without `?` headers.
#[must_use]
pub fn without_headers(uri: &Uri) -> Uri {
    match uri {
        Uri::Sip(u) => {
            let mut u = u.clone();
            u.headers = None;
            Uri::Sip(u)
        }
        Uri::Tel(_) | Uri::Other(_) => uri.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, parse};

    fn moved(contacts: &str) -> Response {
        let text = format!(
            "SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: {contacts}\r\nContent-Length: 0\r\n\r\n"
        );
        let Ok(Message::Response(r)) = parse(text.as_bytes()) else { panic!("{text}") };
        *r
    }

    #[test]
    fn the_best_that_was_not_tried_in_any_form_is_next() {
        let mut r = Redirections::of(&Uri::parse("sip:b@h").unwrap());
        let mut next =
            |contacts: &str| r.next(&moved(contacts), |u| Some(without_headers(u))).map(|u| u.to_string());
        let first =
            "<sip:b@H>;q=1, <sip:c@h>;q=0.2, <sip:d@h?Subject=x>;q=0.7, <tel:+1>, <sip:e@h;transport=ws>";
        assert_eq!(next(first).as_deref(), Some("sip:d@h"));
        assert_eq!(next("<sip:%64@h;x=1>, <SIP:%62@h>").as_deref(), Some("sip:c@h"), "what was left");
        assert_eq!(next("<sip:d@H>, <sip:c@h>, <sip:b@h.>"), None);
    }

    #[test]
    fn there_is_an_end_to_it() {
        let mut r = Redirections::of(&Uri::parse("sip:b@h").unwrap());
        let sent_on = |n: u8| r.next(&moved(&format!("<sip:{n}@h>")), |u| Some(u.clone())).is_some();
        assert_eq!((0..20).map(sent_on).filter(|s| *s).count(), usize::from(MAX_FOLLOWED));
        let mut r = Redirections::of(&Uri::parse("sip:b@h").unwrap());
        assert_eq!(r.next(&moved("<sip:c@h>"), |_| None), None);
        assert!(r.is_direct());
    }
}

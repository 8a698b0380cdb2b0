//! Dialogs (RFC 3261 §12): identity, sequence numbers, route set, remote target.

use crate::wire::{Draft, Method, NameAddr, Request, Response, Uri, WireError};

/// A confirmed or early dialog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// From of our requests, with our tag.
    pub local: NameAddr,
    /// To of our requests, with the far end's tag, if any.
    pub remote: NameAddr,
    /// CSeq number of our last request.
    pub local_seq: u32,
    /// CSeq number of the far end's last request.
    pub remote_seq: Option<u32>,
    /// Remote target URI.
    pub remote_target: Uri,
    /// Route set, nearest proxy first.
    pub route_set: Vec<NameAddr>,
    /// Overrides the remote target unless there is a route set: the NAT binding opened by a phone behind a
    /// router.
    pub pinned: Option<Uri>,
}

/// The CSeq of a request is lower than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfOrder;

impl Dialog {
    /// The dialog created by an INVITE received (§12.1.1); `tag` is ours. RFC 2543 peers may omit Contact:
    /// then From is used as remote target.
    ///
    /// # Errors
    /// A malformed Record-Route.
    pub fn uas(request: &Request, tag: &str) -> Result<Self, WireError> {
        let c = &request.common;
        let mut local = c.to.clone();
        local.params.set("tag", Some(tag.to_owned()));
        Ok(Self {
            call_id: c.call_id.clone(),
            local,
            remote: c.from.clone(),
            local_seq: 0,
            remote_seq: Some(c.cseq),
            remote_target: c.contacts.first().map_or_else(|| c.from.uri.clone(), |a| a.uri.clone()),
            route_set: c.route("Record-Route")?,
            pinned: None,
        })
    }

    /// The dialog created by a response to our INVITE (§12.1.2). `asked` replaces a missing Contact.
    ///
    /// # Errors
    /// A malformed Record-Route.
    pub fn uac(response: &Response, asked: &Uri) -> Result<Self, WireError> {
        let c = &response.common;
        let mut route_set = c.route("Record-Route")?;
        route_set.reverse();
        Ok(Self {
            call_id: c.call_id.clone(),
            local: c.from.clone(),
            remote: c.to.clone(),
            local_seq: c.cseq,
            remote_seq: None,
            remote_target: c.contacts.first().map_or_else(|| asked.clone(), |a| a.uri.clone()),
            route_set,
            pinned: None,
        })
    }

    /// Our tag.
    #[must_use]
    pub fn local_tag(&self) -> &str {
        self.local.tag().unwrap_or_default()
    }

    /// True if `request` was sent by the far end of this dialog.
    #[must_use]
    pub fn is_from_peer(&self, request: &Request) -> bool {
        request.common.from.tag().unwrap_or_default() == self.remote.tag().unwrap_or_default()
    }

    /// Records the CSeq number of an in-dialog request (§12.2.2).
    ///
    /// # Errors
    /// The CSeq is lower than a previous one.
    pub fn handle_request(&mut self, request: &Request) -> Result<(), OutOfOrder> {
        if self.remote_seq.is_some_and(|seen| request.common.cseq <= seen) {
            return Err(OutOfOrder);
        }
        self.remote_seq = Some(request.common.cseq);
        Ok(())
    }

    /// Target refresh: the Contact replaces the remote target (§12.2).
    pub fn refresh_target(&mut self, contacts: &[NameAddr]) {
        if let Some(contact) = contacts.first() {
            self.remote_target = contact.uri.clone();
        }
    }

    /// An in-dialog request (§12.2.1.1) and the URI of its next hop. ACK uses the number of its INVITE, all
    /// others a new one.
    pub fn request(&mut self, method: &Method) -> (Draft, Uri) {
        if *method != Method::Ack {
            self.local_seq += 1;
        }
        self.numbered(method, self.local_seq)
    }

    /// The ACK to the 2xx response to our INVITE with number `cseq`.
    #[must_use]
    pub fn ack(&self, cseq: u32) -> (Draft, Uri) {
        self.numbered(&Method::Ack, cseq)
    }

    fn numbered(&self, method: &Method, cseq: u32) -> (Draft, Uri) {
        let (uri, route, hop) = self.route();
        let mut draft = Draft::request(method, &uri);
        draft.push("Max-Forwards", "70");
        for r in &route {
            draft.push("Route", r.to_string());
        }
        draft.push("From", self.local.to_string());
        draft.push("To", self.remote.to_string());
        draft.push("Call-ID", self.call_id.as_str());
        draft.push("CSeq", format!("{cseq} {method}"));
        (draft, hop)
    }

    /// A far end reached by its source address instead of its Contact now sends from another address.
    pub fn move_pin(&mut self, to: Option<Uri>) {
        self.pinned = self.pinned.take().and(to);
    }

    /// True if its requests are sent to a SIPS URI, so that our Contact must be one, too (RFC 3261 §8.1.1.8).
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.remote_target.is_secure() || self.route_set.first().is_some_and(|r| r.uri.is_secure())
    }

    /// The URI of the next hop.
    #[must_use]
    pub fn next_hop(&self) -> &Uri {
        self.route_set.first().map_or(&self.remote_target, |r| &r.uri)
    }

    /// Request-URI, Route and next hop: loose routers are listed in Route, a strict router replaces the
    /// Request-URI (§12.2.1.1).
    fn route(&self) -> (Uri, Vec<NameAddr>, Uri) {
        let Some(first) = self.route_set.first() else {
            let hop = self.pinned.as_ref().unwrap_or(&self.remote_target);
            return (self.remote_target.clone(), Vec::new(), hop.clone());
        };
        let loose = first.uri.sip().is_some_and(|u| u.params.get("lr").is_some());
        if loose {
            return (self.remote_target.clone(), self.route_set.clone(), first.uri.clone());
        }
        let mut rest: Vec<NameAddr> = self.route_set.iter().skip(1).cloned().collect();
        rest.push(NameAddr::new(self.remote_target.clone()));
        (first.uri.clone(), rest, first.uri.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Message, parse};

    fn invite(extra: &str) -> Request {
        let text = format!(
            "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP 1.2.3.4;branch=z9hG4bKq\r\nFrom: <sip:a@h>;tag=f\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 5 INVITE\r\nContact: <sip:a@1.2.3.4:5070>\r\n{extra}\r\n"
        );
        let Ok(Message::Request(r)) = parse(text.as_bytes()) else { panic!("{text}") };
        *r
    }

    fn text(d: &Draft) -> String {
        String::from_utf8(d.to_bytes()).unwrap()
    }

    #[test]
    fn requests_go_straight_to_the_contact_without_proxies() {
        let mut d = Dialog::uas(&invite(""), "ours").unwrap();
        let (bye, hop) = d.request(&Method::Bye);
        assert_eq!(hop.to_string(), "sip:a@1.2.3.4:5070");
        let bye = text(&bye);
        assert!(bye.starts_with("BYE sip:a@1.2.3.4:5070 SIP/2.0\r\n"), "{bye}");
        assert!(
            bye.contains("From: <sip:b@h>;tag=ours\r\nTo: <sip:a@h>;tag=f\r\nCall-ID: c\r\nCSeq: 1 BYE\r\n"),
            "{bye}"
        );
    }

    #[test]
    fn a_phone_that_moves_is_followed() {
        let mut d = Dialog::uas(&invite(""), "ours").unwrap();
        let at = |text: &str| Uri::parse(text).ok();
        // Reached by its Contact: the source address does not matter.
        d.move_pin(at("sip:9.9.9.9:1"));
        assert_eq!(d.request(&Method::Bye).1.to_string(), "sip:a@1.2.3.4:5070");
        d.pinned = at("sip:9.9.9.9:1");
        d.move_pin(at("sip:8.8.8.8:2"));
        assert_eq!(d.request(&Method::Bye).1.to_string(), "sip:8.8.8.8:2");
    }

    #[test]
    fn loose_and_strict_routers() {
        let loose = "Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n";
        let mut d = Dialog::uas(&invite(loose), "t").unwrap();
        let (bye, hop) = d.request(&Method::Bye);
        assert_eq!(hop.to_string(), "sip:p1;lr");
        assert!(text(&bye).contains("Route: <sip:p1;lr>\r\nRoute: <sip:p2;lr>\r\n"));
        let strict = "Record-Route: <sip:p1>\r\nRecord-Route: <sip:p2;lr>\r\n";
        let mut d = Dialog::uas(&invite(strict), "t").unwrap();
        let (bye, hop) = d.request(&Method::Bye);
        assert_eq!(hop.to_string(), "sip:p1");
        let bye = text(&bye);
        assert!(bye.starts_with("BYE sip:p1 SIP/2.0\r\n"), "{bye}");
        assert!(bye.contains("Route: <sip:p2;lr>\r\nRoute: <sip:a@1.2.3.4:5070>\r\n"), "{bye}");
    }

    #[test]
    fn old_numbers_are_out_of_order() {
        let mut d = Dialog::uas(&invite(""), "t").unwrap();
        let mut again = invite("");
        assert_eq!(d.handle_request(&again), Err(OutOfOrder));
        again.common.cseq = 6;
        assert_eq!(d.handle_request(&again), Ok(()));
        assert!(d.is_from_peer(&again));
    }

    #[test]
    fn an_ack_takes_the_number_of_its_invite() {
        let d = Dialog::uas(&invite(""), "t").unwrap();
        assert!(text(&d.ack(9).0).contains("CSeq: 9 ACK"));
    }
}

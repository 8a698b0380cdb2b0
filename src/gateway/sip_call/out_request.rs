//! The INVITE of an outbound call: data common to all attempts, and the caller's identity (RFC 3261 §20.20,
//! RFC 3323, RFC 3325).

use std::net::SocketAddr;

use crate::gateway::context::Context;
use crate::gateway::requests::without_headers;
use crate::gateway::sip_messages::capabilities::{ALLOW, SUPPORTED};
use crate::gateway::sip_messages::refusal;
use crate::gateway::trunks::{TrunkRoute, Trunks};
use crate::sip::flow::{Flow, Transport};
use crate::wire::headers::same;
use crate::wire::{Draft, Host, Method, NameAddr, Uri};

/// Caller identity for trusted peers (RFC 3325).
const ASSERTED: &str = "P-Asserted-Identity";

/// Data common to all INVITEs of an outbound leg.
#[derive(Debug, Clone)]
pub struct OutRequest {
    /// URI given to the API.
    pub to: Uri,
    /// Request-URI of this attempt.
    pub target: Uri,
    /// From: user part or SIP URI; empty: our own name.
    pub from: String,
    /// Its trunk and route.
    pub way: Option<TrunkRoute>,
    /// Our tag.
    pub tag: String,
    /// Call-ID.
    pub call_id: String,
    /// `Privacy` header, unless empty.
    pub privacy: String,
    /// Session interval to request, seconds; 0: none.
    pub session: u32,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

impl OutRequest {
    /// The INVITE with this CSeq number and offer for the far end at `target`.
    pub(super) fn draft(&self, ctx: &Context, cseq: u32, target: Flow, offer: String) -> Draft {
        let host = ctx.sip.locals().for_peer(target.addr.ip()).unwrap_or(target.addr);
        let ours = host_and_port(host);
        let name = &ctx.config.sip.host;
        let mut draft = Draft::request(&Method::Invite, &self.target);
        if let Some(way) = self.way.as_ref().filter(|w| w.route) {
            Trunks::push_route(&mut draft, &way.hop);
        }
        draft.push("Max-Forwards", "70");
        let identity = self.identity(&ours);
        match &identity {
            Some(_) if self.hides_identity() => {
                let from = format!("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag={}", self.tag);
                draft.push("From", from);
            }
            Some(uri) => draft.push("From", format!("<{uri}>;tag={}", self.tag)),
            None => draft.push("From", format!("\"{name}\" <sip:{name}@{ours}>;tag={}", self.tag)),
        }
        draft.push("To", NameAddr::new(without_headers(&self.to)).to_string());
        draft.push("Call-ID", self.call_id.as_str());
        draft.push("CSeq", format!("{cseq} INVITE"));
        let routed = self.way.as_ref().is_some_and(|w| w.route && w.hop.is_secure());
        draft.push("Contact", refusal::contact(ctx, target, routed || self.target.is_secure()));
        draft.push("Allow", ALLOW);
        draft.push("Supported", SUPPORTED);
        let given = |name: &str| self.headers.iter().any(|(n, _)| same(n, name));
        let trusted = self.way.is_some() || !self.hides_identity();
        if !given("User-Agent") {
            draft.push("User-Agent", name.as_str());
        }
        // Only a trunk is trusted with a hidden identity (RFC 3325 §7).
        if let Some(uri) = identity.filter(|_| !given(ASSERTED) && trusted) {
            draft.push(ASSERTED, format!("<{uri}>"));
        }
        if !self.privacy.is_empty() {
            draft.push("Privacy", self.privacy.as_str());
        }
        if self.session > 0 {
            draft.push("Session-Expires", self.session.to_string());
            if self.session > ctx.config.sip.session_expires_s {
                // Learned from a 422 (RFC 4028 §7.3).
                draft.push("Min-SE", self.session.to_string());
            }
        }
        for (name, value) in self.headers.iter().filter(|(n, _)| trusted || !same(n, ASSERTED)) {
            draft.push(name.as_str(), value.as_str());
        }
        draft.set_body("application/sdp", offer.into_bytes());
        draft
    }

    /// A hidden identity is sent only to trunks, with a request for privacy (RFC 3323 §4.1, RFC 3325 §7).
    fn hides_identity(&self) -> bool {
        let hides = |p: &str| ["id", "user", "header"].iter().any(|h| p.trim().eq_ignore_ascii_case(h));
        self.privacy.split(';').any(hides)
    }

    /// Caller identity, if the call has one: in the domain of its trunk, otherwise at `ours`.
    fn identity(&self, ours: &str) -> Option<String> {
        if self.from.is_empty() {
            return None;
        }
        if Uri::parse(&self.from).is_ok_and(|u| u.sip().is_some()) {
            return Some(self.from.clone());
        }
        let way = self.way.as_ref();
        let host = way.and_then(|w| w.host.as_deref()).unwrap_or(ours);
        let user = way.and_then(|w| w.user.as_deref()).unwrap_or(&self.from);
        Some(format!("sip:{user}@{host}"))
    }
}

/// Address and port in a `sip:` URI; without a port 5060 applies.
fn host_and_port(addr: SocketAddr) -> String {
    if addr.port() == Transport::Udp.default_port() {
        Host::Ip(addr.ip()).to_string()
    } else {
        addr.to_string()
    }
}

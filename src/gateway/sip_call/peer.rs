//! The far end of a call: signalling flow, settings, and authentication of our requests.

use std::net::IpAddr;

use super::event::CallEvent;
use crate::gateway::context::Context;
use crate::gateway::legs::leg_id::LegId;
use crate::gateway::requests::{self, ClientAuth, OutboundRequest, Parting};
use crate::gateway::sip_messages::refusal;
use crate::gateway::trunks::CallTerms;
use crate::sip::flow::Flow;
use crate::sip::transactions::ClientId;
use crate::wire::{Draft, Method, Response, Uri};

/// The far end of a call.
#[derive(Debug)]
pub struct Peer {
    /// The leg of the call.
    pub(super) id: LegId,
    /// We placed the call.
    pub(super) outbound: bool,
    /// Settings of the call.
    pub(super) terms: CallTerms,
    /// The flow of its dialog.
    pub(super) flow: Option<Flow>,
    /// Credentials for challenges to our requests.
    pub(super) auth: Option<Box<ClientAuth>>,
    /// Our user at the far end: an authenticated or registered caller, or the user whose phones we called.
    pub(super) user: Option<String>,
}

impl Peer {
    /// The caller of leg `id` on `flow`; `user` if it is one of ours.
    #[must_use]
    pub fn caller(
        id: LegId,
        flow: Flow,
        terms: CallTerms,
        auth: Option<ClientAuth>,
        user: Option<String>,
    ) -> Self {
        Self { id, outbound: false, terms, flow: Some(flow), auth: auth.map(Box::new), user }
    }

    /// The callee of leg `id`.
    #[must_use]
    pub fn called(id: LegId, terms: CallTerms, auth: Option<ClientAuth>) -> Self {
        Self { id, outbound: true, terms, flow: None, auth: auth.map(Box::new), user: None }
    }

    /// The UUID of its leg.
    pub(super) fn name<'a>(&self, ctx: &'a Context) -> &'a str {
        ctx.events.name_of(self.id)
    }

    /// Reports an event of the call to the core.
    pub(super) fn report(&self, ctx: &mut Context, event: CallEvent) {
        ctx.call_events.push_back((self.id, event));
    }

    /// Source address of its signalling.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.flow.map(|f| f.addr.ip())
    }

    /// Sends a request of the call to `to`, on the flow of its dialog.
    pub(super) fn send(&self, ctx: &mut Context, to: &Uri, request: OutboundRequest) {
        requests::send(ctx, to, self.flow, self.terms.lax, request);
    }

    /// Sends the INVITE of the call to `to`.
    pub(super) fn send_invite(&self, ctx: &mut Context, to: &Uri) {
        requests::send(ctx, to, None, self.terms.lax, OutboundRequest::Invite(self.id));
    }

    /// Our Contact as seen by the far end; `secure` if it is reached by a SIPS URI.
    pub(super) fn contact(&self, ctx: &Context, secure: bool) -> String {
        self.flow.map(|flow| refusal::contact(ctx, flow, secure)).unwrap_or_default()
    }

    /// Adds authentication for known challenges to a request.
    pub(super) fn authorize(&mut self, ctx: &mut Context, method: &Method, draft: &mut Draft, target: Flow) {
        if let Some(auth) = &mut self.auth {
            auth.add_to(method, draft, target, &ctx.rng.token());
        }
    }

    /// Handles the challenge of a 401 or 407 to `tx`; true if the request may be retried.
    pub(super) fn challenged(&mut self, ctx: &Context, tx: ClientId, response: &Response) -> bool {
        let to = ctx.sip.target_of(tx).map(|t| t.addr.ip());
        let (Some(auth), Some(to)) = (&mut self.auth, to) else { return false };
        auth.takes(to, response)
    }

    /// A request was accepted.
    pub(super) fn passed(&mut self, ctx: &Context, tx: ClientId, response: &Response) {
        let to = ctx.sip.target_of(tx).map(|t| t.addr.ip());
        if let Some(auth) = &mut self.auth {
            auth.passed(to, response);
        }
    }

    /// Data of the call for a BYE that may outlive the leg.
    pub(super) fn parting(&self) -> Parting {
        Parting { flow: self.flow, auth: self.auth.as_deref().cloned(), lax: self.terms.lax }
    }

    /// True if `source` is a new connection from the far end's host: behind NAT its Contact may be
    /// unreachable, but this connection works.
    pub(super) fn has_reconnected(&self, source: Flow) -> bool {
        self.flow.is_some_and(|f| {
            let same_host = (f.transport, f.addr.ip()) == (source.transport, source.addr.ip());
            same_host && source.conn.is_some() && f.conn != source.conn
        })
    }
}

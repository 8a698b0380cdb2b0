//! The far end of a call: the way its signalling goes, on what terms, and how its servers' challenges are answered.

use std::net::IpAddr;

use super::event::CallEvent;
use crate::gateway::context::Context;
use crate::gateway::leg_id::LegId;
use crate::gateway::refusal;
use crate::gateway::requests::{self, ClientAuth, OutboundRequest, Parting};
use crate::gateway::trunks::CallTerms;
use crate::sip::target::Target;
use crate::sip::transactions::ClientId;
use crate::wire::{Draft, Method, Response, Uri};

/// The far end of a call.
#[derive(Debug)]
pub struct Peer {
    /// The leg that the call is.
    pub(super) id: LegId,
    /// We placed the call.
    pub(super) outbound: bool,
    /// What holds for the call.
    pub(super) terms: CallTerms,
    /// The connection or address its dialog came along.
    pub(super) flow: Option<Target>,
    /// Credentials for who challenges our requests.
    pub(super) auth: Option<Box<ClientAuth>>,
    /// The user of ours at the far end: who called us by its password or from its phone, or whose phones we called.
    pub(super) user: Option<String>,
}

impl Peer {
    /// Who has called the leg `id` along `flow`; `user` if it is one of ours.
    #[must_use]
    pub fn caller(
        id: LegId,
        flow: Target,
        terms: CallTerms,
        auth: Option<ClientAuth>,
        user: Option<String>,
    ) -> Self {
        Self { id, outbound: false, terms, flow: Some(flow), auth: auth.map(Box::new), user }
    }

    /// Whom the leg `id` calls.
    #[must_use]
    pub fn called(id: LegId, terms: CallTerms, auth: Option<ClientAuth>) -> Self {
        Self { id, outbound: true, terms, flow: None, auth: auth.map(Box::new), user: None }
    }

    /// The UUID of its leg.
    pub(super) fn name<'a>(&self, ctx: &'a Context) -> &'a str {
        ctx.events.name_of(self.id)
    }

    /// Tells the core what has become of the call.
    pub(super) fn report(&self, ctx: &mut Context, event: CallEvent) {
        ctx.call_events.push_back((self.id, event));
    }

    /// Address that its signalling comes from.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.flow.map(|f| f.addr.ip())
    }

    /// Sends a request of the call to where `to` leads, along the way its dialog came.
    pub(super) fn send(&self, ctx: &mut Context, to: &Uri, request: OutboundRequest) {
        requests::send(ctx, to, self.flow, self.terms.lax, request);
    }

    /// Sends the INVITE of the call to where `to` leads.
    pub(super) fn send_invite(&self, ctx: &mut Context, to: &Uri) {
        requests::send(ctx, to, None, self.terms.lax, OutboundRequest::Invite(self.id));
    }

    /// Our Contact as the far end should use it; `secure` where it is reached by a SIPS URI.
    pub(super) fn contact(&self, ctx: &Context, secure: bool) -> String {
        self.flow.map(|flow| refusal::contact(ctx, flow, secure)).unwrap_or_default()
    }

    /// Adds to a request what its challengers have asked for before.
    pub(super) fn authorize(
        &mut self,
        ctx: &mut Context,
        method: &Method,
        draft: &mut Draft,
        target: Target,
    ) {
        if let Some(auth) = &mut self.auth {
            auth.add_to(method, draft, target, &ctx.rng.token());
        }
    }

    /// Takes the challenge of a 401 or 407 to `tx`; true when the request may be tried again.
    pub(super) fn challenged(&mut self, ctx: &Context, tx: ClientId, response: &Response) -> bool {
        let to = ctx.sip.target_of(tx).map(|t| t.addr.ip());
        let (Some(auth), Some(to)) = (&mut self.auth, to) else { return false };
        auth.takes(to, response)
    }

    /// A request has come through.
    pub(super) fn passed(&mut self, ctx: &Context, tx: ClientId, response: &Response) {
        let to = ctx.sip.target_of(tx).map(|t| t.addr.ip());
        if let Some(auth) = &mut self.auth {
            auth.passed(to, response);
        }
    }

    /// What a BYE needs that may outlive the leg.
    pub(super) fn parting(&self) -> Parting {
        Parting { flow: self.flow, auth: self.auth.as_deref().cloned(), lax: self.terms.lax }
    }

    /// True when `source` is a connection that the host of the far end has opened anew: where its Contact may not lead to
    /// it (a router in between), that connection does.
    pub(super) fn has_reconnected(&self, source: Target) -> bool {
        self.flow.is_some_and(|f| {
            let same_host = (f.transport, f.addr.ip()) == (source.transport, source.addr.ip());
            same_host && source.conn.is_some() && f.conn != source.conn
        })
    }
}

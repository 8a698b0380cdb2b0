//! Outbound requests, from target resolution until no more responses can arrive.

use std::collections::{BTreeMap, VecDeque};

use super::bye::{Bye, Parting};
use super::forks::Forks;
use super::request::{OutboundRequest, RequestContext};
use crate::gateway::interface::outputs::IoRequests;
use crate::gateway::interface::work::{Work, WorkId};
use crate::gateway::legs::leg_id::LegId;
use crate::sip::dialog::Dialog;
use crate::sip::flow::{Flow, Transport, next_hop};
use crate::sip::locals::Locals;
use crate::sip::transactions::{ClientId, ServerId};
use crate::wire::{Host, Request, Uri};

/// A request waiting for target resolution.
#[derive(Debug)]
struct Resolving {
    flow: Option<Flow>,
    request: OutboundRequest,
}

/// All outbound requests in progress.
#[derive(Debug, Default)]
pub struct Requests {
    resolving: BTreeMap<WorkId, Resolving>,
    /// Requests with located targets, best first; none: undeliverable.
    located: VecDeque<(OutboundRequest, Vec<Flow>)>,
    sent: BTreeMap<ClientId, RequestContext>,
    /// BYEs that may be challenged.
    byes: BTreeMap<ClientId, Box<Bye>>,
    /// BYEs of ended legs that wait for the ACK (RFC 3261 §15).
    pending_byes: BTreeMap<ServerId, Bye>,
    /// INVITEs that may still be answered by forks.
    forks: Forks,
}

impl Requests {
    /// Resolves the target of a request to `to`; `flow`: the flow of its dialog. The result is returned by
    /// [`Self::poll_located`]. `lax`: over TLS, accept any certificate.
    pub fn resolve(
        &mut self,
        io: &mut IoRequests,
        request: OutboundRequest,
        to: &Uri,
        flow: Option<Flow>,
        lax: bool,
    ) {
        let Some(Ok(hop)) = to.sip().map(next_hop) else {
            // An unusable Contact: the flow of the dialog is the only target.
            let flow = flow.filter(|_| !matches!(request, OutboundRequest::Invite(_)));
            return self.located.push_back((request, flow.into_iter().collect()));
        };
        // The shell resolves names, and knows whose certificate to expect at an address.
        let known = match &hop.host {
            Host::Ip(ip) => Some(reuse(flow, hop.at(*ip))),
            Host::Name(_) => None,
        };
        if let Some(target) = known.filter(|t| t.transport != Transport::Tls || t.conn.is_some()) {
            return self.located.push_back((request, vec![target]));
        }
        // No call waits for the addresses of a peer: get all of them.
        let whole = matches!(request, OutboundRequest::LookUp(_));
        match io.start(|id| Work::Locate { id, hop, lax, whole }) {
            Some(id) => {
                self.resolving.insert(id, Resolving { flow, request });
            }
            None => self.located.push_back((request, Vec::new())),
        }
    }

    /// Sends a request on `flow`, ignoring its URI.
    pub fn resolve_along(&mut self, request: OutboundRequest, flow: Flow) {
        self.located.push_back((request, vec![flow]));
    }

    /// A name was resolved.
    pub fn handle_located(&mut self, locals: &Locals, id: WorkId, mut targets: Vec<Flow>) {
        let Some(Resolving { flow, request }) = self.resolving.remove(&id) else { return };
        targets.retain(|t| if t.addr.is_ipv4() { locals.v4.is_some() } else { locals.v6.is_some() });
        targets.iter_mut().for_each(|t| *t = reuse(flow, *t));
        // Within a call the server that answered is kept, even if it is not the first of its name or the name
        // cannot be resolved any more (RFC 3263 §4.3 selects per call, not within it).
        if let Some(flow) = flow {
            let same = |t: &Flow| t.transport == flow.transport && t.addr == flow.addr;
            // It may have connected to us from another port.
            let joined = |t: &Flow| flow.conn.is_some() && t.conn == flow.conn;
            targets.sort_by_key(|t| (!same(t), !joined(t)));
            if targets.is_empty() {
                targets.push(flow);
            }
        }
        self.located.push_back((request, targets));
    }

    /// The next request to send, with its targets, best first; call until `None`.
    pub fn poll_located(&mut self) -> Option<(OutboundRequest, Vec<Flow>)> {
        self.located.pop_front()
    }

    /// Drops the pending INVITE or offer of a leg.
    pub fn cancel_offer(&mut self, leg: LegId) {
        self.resolving.retain(|_, r| !r.request.offers_for(leg));
        self.located.retain(|(request, _)| !request.offers_for(leg));
    }

    /// A request was sent.
    pub fn sent(&mut self, tx: ClientId, context: RequestContext) {
        self.sent.insert(tx, context);
    }

    /// Purpose of a request.
    #[must_use]
    pub fn context_of(&self, tx: ClientId) -> Option<RequestContext> {
        self.sent.get(&tx).copied()
    }

    /// Ignores further responses to a request.
    pub fn forget(&mut self, tx: ClientId) -> Option<RequestContext> {
        self.sent.remove(&tx)
    }

    /// An INVITE is abandoned. A fork that answers nevertheless gets a BYE, for which the credentials of the
    /// call are kept as long as an answer may arrive.
    pub fn abandon_invite(&mut self, tx: ClientId, parting: Parting) {
        if let Some(RequestContext::Invite(_)) = self.sent.insert(tx, RequestContext::AbandonedInvite) {
            self.forks.abandon(tx, parting);
        }
    }

    /// A leg has ended: its requests that may still be answered with a 2xx become abandoned ones.
    pub fn leg_ended(&mut self, leg: LegId, parting: &Parting) {
        self.cancel_offer(leg);
        for (tx, context) in &mut self.sent {
            match context {
                RequestContext::Invite(id) if *id == leg => {
                    *context = RequestContext::AbandonedInvite;
                    self.forks.abandon(*tx, parting.clone());
                }
                RequestContext::Change(id) if *id == leg => *context = RequestContext::AbandonedChange,
                RequestContext::Invite(_)
                | RequestContext::Change(_)
                | RequestContext::Refer(_)
                | RequestContext::Info(_)
                | RequestContext::Prack(_)
                | RequestContext::Notify(..)
                | RequestContext::Register(_)
                | RequestContext::AbandonedInvite
                | RequestContext::AbandonedChange => {}
            }
        }
    }

    /// INVITEs that may still be answered by forks.
    #[must_use]
    pub fn forks(&self) -> &Forks {
        &self.forks
    }

    /// The same, mutable.
    pub fn forks_mut(&mut self) -> &mut Forks {
        &mut self.forks
    }

    /// A BYE that may be challenged was sent.
    pub fn bye_sent(&mut self, tx: ClientId, bye: Box<Bye>) {
        self.byes.insert(tx, bye);
    }

    /// The BYE of this transaction, for its final response.
    pub fn take_bye(&mut self, tx: ClientId) -> Option<Box<Bye>> {
        self.byes.remove(&tx)
    }

    /// Queues a BYE to be sent after the ACK to our 2xx.
    pub fn owe_bye(&mut self, invite: ServerId, bye: Bye) {
        self.pending_byes.insert(invite, bye);
    }

    /// The queued BYE of this INVITE.
    pub fn take_owed_bye(&mut self, invite: ServerId) -> Option<Bye> {
        self.pending_byes.remove(&invite)
    }

    /// The INVITE of an ended leg to whose dialog a request belongs.
    #[must_use]
    pub fn owes_bye_to(&self, request: &Request) -> Option<ServerId> {
        let c = &request.common;
        let same = |d: &Dialog| {
            d.call_id == c.call_id && Some(d.local_tag()) == c.to.tag() && d.is_from_peer(request)
        };
        self.pending_byes.iter().find(|(_, bye)| same(&bye.dialog)).map(|(invite, _)| *invite)
    }

    /// True while a BYE is queued.
    #[must_use]
    pub fn owes_byes(&self) -> bool {
        !self.pending_byes.is_empty()
    }

    /// No more responses to this request can arrive.
    pub fn handle_gone(&mut self, tx: ClientId) {
        self.sent.remove(&tx);
        self.byes.remove(&tx);
        self.forks.forget(tx);
    }

    /// True without outbound requests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resolving.is_empty()
            && self.located.is_empty()
            && self.sent.is_empty()
            && self.byes.is_empty()
            && self.pending_byes.is_empty()
            && self.forks.is_empty()
    }
}

/// Reuses the connection of the dialog for the same far end; otherwise a new one.
fn reuse(flow: Option<Flow>, target: Flow) -> Flow {
    let same = |f: &Flow| {
        f.transport == target.transport && f.transport.is_reliable() && f.addr.ip() == target.addr.ip()
    };
    Flow { conn: flow.filter(same).and_then(|f| f.conn).or(target.conn), ..target }
}

//! What is believed of a trunk, and what may be done with its account: who is a trunk, which calls may name a webhook,
//! and for whose transfers an account is used.

use std::net::IpAddr;

use super::core::Gateway;
use super::events::Webhook;
use super::leg::{LegId, Phase};
use super::trunk::{Trunk, TrunkId};
use crate::base::time::Now;
use crate::config::TrunkKind;
use crate::sip::target::{Target, Transport};
use crate::wire::{Host, Request, Uri};

impl Trunk {
    /// True for messages from one of its servers, over the transport that it is spoken to with or a stronger one: who is
    /// spoken to over TLS is not known by the source of a datagram, which anybody can write.
    pub(super) fn is_at(&self, source: Target) -> bool {
        let ip = source.addr.ip().to_canonical();
        self.servers().any(|(at, weakest)| at == ip && source.transport >= weakest)
    }

    fn servers(&self) -> impl Iterator<Item = (IpAddr, Transport)> {
        self.addresses.iter().chain(&self.before).copied()
    }

    /// True for hosts that lead to it: those of its URIs, and its addresses.
    fn is_host(&self, host: &Host) -> bool {
        let named = match &self.settings.kind {
            TrunkKind::Register(a) => vec![Some(&a.registrar), Some(&a.aor), a.outbound_proxy.as_ref()],
            TrunkKind::Peer(uri) => vec![Some(uri)],
        };
        let mut hosts = named.into_iter().flatten().chain([self.hop()]).filter_map(Uri::sip);
        hosts.any(|uri| uri.host.is_same(host)) || matches!(host, Host::Ip(ip) if self.is_server(*ip))
    }

    fn is_server(&self, ip: IpAddr) -> bool {
        self.servers().any(|(at, _)| at == ip.to_canonical())
    }
}

impl Gateway {
    /// The trunk that a request comes from: by its address, and by whom it calls where several share one.
    pub(super) fn trunk_of(&self, source: Target, request: &Request) -> Option<TrunkId> {
        let user = request.uri.user();
        let here = || self.trunks.iter().filter(|(_, t)| t.is_at(source));
        let called = here().find(|(_, t)| t.account().is_some_and(|a| a.contact_user == user));
        called.or_else(|| here().next()).map(|(id, _)| *id)
    }

    /// True when a trunk's calls come from there.
    pub(super) fn is_trunk(&self, source: Target) -> bool {
        self.trunks.values().any(|t| t.is_at(source))
    }

    /// The webhook of a call, if its INVITE names one and its trunk may: over a transport whose source cannot be made up.
    pub(super) fn trusted_webhook(
        &self,
        id: Option<TrunkId>,
        source: Target,
        request: &Request,
    ) -> Option<Webhook> {
        if !source.transport.is_reliable() {
            return None;
        }
        let trusted = |t: &&Trunk| t.settings.fields.trust_webhook;
        id.and_then(|id| self.trunks.get(&id)).filter(trusted)?;
        let field = |name: &str| request.common.headers.get(name).map(|v| v.trim().to_owned());
        let url = field("X-Webhook-URL").filter(|u| u.starts_with("http://") || u.starts_with("https://"))?;
        Some(Webhook { url, secret: field("X-Webhook-Secret") })
    }

    /// True where a transfer that the far end of this leg asks for may cost what an account pays: of users of ours, and
    /// of trunks that the operator lets.
    pub(super) fn may_use_accounts(&self, id: LegId) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        let trunk = leg.trunk.and_then(|t| self.trunks.get(&t));
        leg.user.is_some() || trunk.is_some_and(|t| t.settings.fields.allow_refer)
    }

    /// True for what a trunk serves, unless it is a user of ours.
    pub(super) fn is_served_by_trunk(&self, uri: &Uri) -> bool {
        let serves = |host: &Host| self.trunks.values().any(|t| t.is_host(host));
        self.bindings_of(uri).is_none() && uri.sip().is_some_and(|u| serves(&u.host))
    }

    /// The call of a transfer that may use no account does not get to a trunk by another name of it, or by a redirection
    /// either: true when it has been ended for that.
    pub(super) fn barred_from(
        &mut self,
        now: Now,
        id: LegId,
        leads_to_trunk: impl FnOnce(&Self) -> bool,
    ) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        let barred = leg.referral.as_ref().is_some_and(|r| !r.may_use_accounts)
            && matches!(&leg.phase, Phase::Inviting(i) if !i.pinned)
            && leads_to_trunk(self);
        if barred {
            if let Some(leg) = self.legs.get_mut(id) {
                leg.refusal = Some((603, "Decline".to_owned()));
            }
            self.end(now, id, "declined");
        }
        barred
    }

    /// True for addresses of a trunk's servers.
    pub(super) fn is_trunk_server(&self, ip: IpAddr) -> bool {
        self.trunks.values().any(|t| t.is_server(ip))
    }
}

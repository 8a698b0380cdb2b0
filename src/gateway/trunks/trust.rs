//! Trust in trunks: identification of the sending trunk, webhooks named by calls, and use of accounts by
//! transfers.

use std::net::IpAddr;

use super::trunk::{Trunk, TrunkId};
use super::trunks::Trunks;
use crate::config::TrunkKind;
use crate::gateway::events::Webhook;
use crate::sip::flow::{Flow, Transport};
use crate::wire::{Host, Request, Uri};

impl Trunk {
    /// True for messages from one of its servers over the configured transport or a stronger one: a peer
    /// configured with TLS cannot be identified by the source of a datagram, which can be spoofed.
    pub fn is_at(&self, source: Flow) -> bool {
        let ip = source.addr.ip().to_canonical();
        self.servers().any(|(at, weakest)| at == ip && source.transport >= weakest)
    }

    fn servers(&self) -> impl Iterator<Item = (IpAddr, Transport)> {
        self.addresses.iter().chain(&self.before).copied()
    }

    /// True for the hosts of its URIs, and its addresses.
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

impl Trunks {
    /// The trunk that sent a request: by address, and by the called address where several trunks share one.
    pub fn sender_of(&self, source: Flow, request: &Request) -> Option<TrunkId> {
        let user = request.uri.user();
        let here = || self.all.iter().filter(|(_, t)| t.is_at(source));
        let called = here().find(|(_, t)| t.account().is_some_and(|a| a.contact_user == user));
        called.or_else(|| here().next()).map(|(id, _)| *id)
    }

    /// True if a trunk's calls come from there.
    pub fn has_at(&self, source: Flow) -> bool {
        self.all.values().any(|t| t.is_at(source))
    }

    /// The webhook named in an INVITE, if its trunk is trusted: only over a transport whose source cannot be
    /// spoofed.
    pub fn trusted_webhook(&self, id: Option<TrunkId>, source: Flow, request: &Request) -> Option<Webhook> {
        if !source.transport.is_reliable() {
            return None;
        }
        self.settings_of(id).filter(|t| t.fields.trust_webhook)?;
        let field = |name: &str| request.common.headers.get(name).map(|v| v.trim().to_owned());
        let url = field("X-Webhook-URL").filter(|u| u.starts_with("http://") || u.starts_with("https://"))?;
        Some(Webhook { url, secret: field("X-Webhook-Secret") })
    }

    /// True if callers of this trunk may use accounts by transfers.
    #[must_use]
    pub fn allows_refer(&self, id: Option<TrunkId>) -> bool {
        self.settings_of(id).is_some_and(|t| t.fields.allow_refer)
    }

    /// True for hosts of a trunk.
    #[must_use]
    pub fn serve_host(&self, host: &Host) -> bool {
        self.all.values().any(|t| t.is_host(host))
    }

    /// Number of trunks at this source, and the largest of their configured shares, percent.
    #[must_use]
    pub fn shares_at(&self, source: Flow) -> (usize, Option<u8>) {
        let here = || self.all.values().filter(|t| t.is_at(source));
        (here().count(), here().filter_map(|t| t.settings.fields.share_percent).max())
    }

    /// True for addresses of a trunk's servers.
    pub fn has_server(&self, ip: IpAddr) -> bool {
        self.all.values().any(|t| t.is_server(ip))
    }
}

//! Classification of sources: configured networks and trunks, authenticated callers, and peers of existing
//! dialogs. Requests of unknown sources are cheap to drop, and get no response.

use std::net::IpAddr;

use super::call_shares;
use crate::base::pool::Standing;
use crate::base::source::Source;
use crate::delivery::share::Origin;
use crate::gateway::accounts::Accounts;
use crate::gateway::context::Context;
use crate::gateway::legs::Legs;
use crate::gateway::trunks::TrunkId;
use crate::sip::flow::Flow;
use crate::sip::transactions::Admission;
use crate::wire::{Method, Request};

/// View of everything known about sources.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    ctx: &'a Context,
    accounts: &'a Accounts,
    legs: &'a Legs,
}

impl<'a> Sources<'a> {
    /// Built from settings, trunks, phones and calls.
    #[must_use]
    pub fn new(ctx: &'a Context, accounts: &'a Accounts, legs: &'a Legs) -> Self {
        Self { ctx, accounts, legs }
    }

    /// True if calls from there are accepted.
    #[must_use]
    pub fn accepts(&self, source: Flow) -> bool {
        let ip = source.addr.ip().to_canonical();
        self.ctx.config.sip.accept_from.iter().any(|net| net.contains(&ip))
            || self.accounts.trunks().has_at(source)
    }

    /// True if a connection from there may be opened: for calls, registration, or an existing call.
    #[must_use]
    pub fn hears(&self, source: Flow) -> bool {
        self.accepts(source)
            || self.accounts.registrar().is_registrar(self.ctx)
            || self.is_in_a_call(source.addr.ip())
    }

    /// True for sources without rate limits: accepted networks, the registered flow of a phone (not others of
    /// its address), and far ends of calls. Password attempts are limited separately.
    #[must_use]
    pub fn knows(&self, source: Flow) -> bool {
        let registered = || self.accounts.registrar().has_along(|flow| *flow == source);
        self.accepts(source) || registered() || self.is_in_a_call(source.addr.ip())
    }

    fn is_in_a_call(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let far_end =
            |id| self.legs.get(id).and_then(|l| l.call().flow()).map(|f| f.addr.ip().to_canonical());
        self.legs.live().any(|(_, id)| far_end(id) == Some(ip))
    }

    /// Unknown sources are admitted in existing dialogs only.
    #[must_use]
    pub fn admits(&self, source: Flow, request: &Request) -> bool {
        if self.accepts(source) || self.legs.of_request(request).is_some() || self.ctx.sip.knows(request) {
            return true;
        }
        let c = &request.common;
        c.to.tag().is_some_and(|tag| self.legs.had_dialog(&(c.call_id.clone(), tag.to_owned())))
    }

    /// How to process a request: with a transaction, charged to its source, if it starts or belongs to
    /// something; otherwise statelessly, since it changes nothing.
    #[must_use]
    pub fn admission_of(&self, request: &Request, source: Flow) -> Admission {
        let outside = request.common.to.tag().is_none();
        let of_a_call = self.legs.of_request(request).is_some();
        if !outside && (of_a_call || self.ctx.requests.owes_bye_to(request).is_some()) {
            return Admission::Kept(Standing::Established);
        }
        let begins = request.method == Method::Invite || (outside && request.method == Method::Register);
        if begins { Admission::Kept(self.standing(source)) } else { Admission::Stateless }
    }

    /// The class of a source: with registered phones or trunks it is a known one.
    #[must_use]
    pub fn standing(&self, source: Flow) -> Standing {
        let (trunks, percent) = self.accounts.trunks().shares_at(source);
        if let Some(percent) = percent {
            return Standing::Trunk { percent: percent.into() };
        }
        let ip = source.addr.ip().to_canonical();
        let phones = self.accounts.registrar().phones_at(ip);
        match phones + trunks {
            0 => Standing::Stranger,
            members => Standing::Known { members },
        }
    }

    /// Event origin of a source.
    #[must_use]
    pub fn origin_of(&self, from: Flow, trunk: Option<TrunkId>) -> Origin {
        let ip = from.addr.ip();
        let known = trunk.is_some()
            || self.accounts.registrar().is_authenticated()
            || self.standing(from) != Standing::Stranger;
        if known { Origin::Known(Source::of(ip)) } else { Origin::Stranger(Source::of(ip)) }
    }

    /// True if a registration or call uses a connection.
    #[must_use]
    pub fn uses(&self, connection: &Flow) -> bool {
        let same = |flow: &Flow| {
            flow.transport == connection.transport
                && (flow.conn.is_some_and(|id| Some(id) == connection.conn) || flow.addr == connection.addr)
        };
        self.accounts.registrar().has_along(same)
            || self.legs.iter().any(|(_, leg)| leg.call().flow().as_ref().is_some_and(same))
    }

    /// True if a call from this address may take a leg.
    #[must_use]
    pub fn admits_call(&self, ip: IpAddr, standing: Standing) -> bool {
        let all = usize::try_from(self.ctx.config.limits.legs).unwrap_or(usize::MAX);
        call_shares::admits(self.legs, all, ip, standing)
    }
}

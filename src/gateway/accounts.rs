//! Accounts: trunks and the branch's phones; which one a call uses, and whether it may incur charges.

use std::rc::Rc;
use std::time::Instant;

use super::context::Context;
use super::registrar::Registrar;
use super::sip_call::SipCall;
use super::trunks::Trunks;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::gateway::interface::changed::Changed;
use crate::sip::flow::Flow;
use crate::wire::{NameAddr, Request, Uri};

/// The trunks and the registered phones.
#[derive(Debug)]
pub struct Accounts {
    trunks: Trunks,
    registrar: Registrar,
}

impl Accounts {
    /// Without trunks and phones.
    #[must_use]
    pub fn new(config: &Config, rng: &mut Rng) -> Self {
        Self { trunks: Trunks::default(), registrar: Registrar::new(config, rng) }
    }

    /// The trunks.
    #[must_use]
    pub fn trunks(&self) -> &Trunks {
        &self.trunks
    }

    /// The trunks, mutable.
    pub fn trunks_mut(&mut self) -> &mut Trunks {
        &mut self.trunks
    }

    /// The registrar of the branch's phones.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// The registrar, mutable.
    pub fn registrar_mut(&mut self) -> &mut Registrar {
        &mut self.registrar
    }

    /// Applies the configuration in `ctx` after a reload; `old` is the previous one.
    pub fn reload(&mut self, ctx: &mut Context, now: Now, old: &Rc<Config>) -> Changed {
        let mut changed = Changed::default();
        self.registrar.reload(ctx, now, old, &mut changed);
        self.trunks.reload(ctx, now, &mut changed);
        changed
    }

    /// Handles timeouts.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        self.trunks.handle_timeout(ctx, now);
        self.registrar.handle_timeout(ctx, now);
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.trunks.poll_timeout(), self.registrar.poll_timeout()].into_iter().flatten().min()
    }

    /// True if transfers requested by the far end of this call may use accounts: for our own users, and for
    /// trunks with `allow_refer`.
    #[must_use]
    pub fn may_spend(&self, call: &SipCall) -> bool {
        call.user().is_some() || self.trunks.allows_refer(call.terms().trunk)
    }

    /// True if a trunk serves the URI and it is not one of our users.
    #[must_use]
    pub fn is_served_by_trunk(&self, ctx: &Context, uri: &Uri) -> bool {
        self.registrar.bindings_of(ctx, uri).is_none()
            && uri.sip().is_some_and(|u| self.trunks.serve_host(&u.host))
    }

    /// `Referred-By` for a transfer (RFC 3892 §3): our user that requested it; otherwise the value in the
    /// REFER, unless that claims to be one of our users.
    #[must_use]
    pub fn referred_by(&self, ctx: &Context, user: Option<&str>, request: &Request) -> Option<String> {
        if let Some(user) = user {
            return Some(format!("<{}>", self.registrar.aor_of(ctx, user)));
        }
        let by = request.common.headers.get("Referred-By")?;
        let named = NameAddr::parse(by).ok()?;
        let pretends =
            self.registrar.has_user(&named.uri.user()) && self.registrar.is_our_domain(ctx, &named.uri);
        (!pretends).then(|| by.to_owned())
    }

    /// URI for requests of a call on this flow, if one of our phones has registered over it.
    #[must_use]
    pub fn registered_along(&self, flow: &Flow) -> Option<Uri> {
        let same = |f: &Flow| (f.transport, f.addr) == (flow.transport, flow.addr);
        self.registrar.has_along(same).then(|| flow.uri()).flatten()
    }
}

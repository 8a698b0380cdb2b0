//! Accounts: the trunks, and the phones of the branch. Through which one a call goes or comes, and what it may cost.

use std::rc::Rc;
use std::time::Instant;

use super::changed::Changed;
use super::context::Context;
use super::registrar::Registrar;
use super::sip_call::SipCall;
use super::trunks::Trunks;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::sip::target::Target;
use crate::wire::{NameAddr, Request, Uri};

/// The trunks and the registered phones.
#[derive(Debug)]
pub struct Accounts {
    trunks: Trunks,
    registrar: Registrar,
}

impl Accounts {
    /// No trunk and no phone yet.
    #[must_use]
    pub fn new(config: &Config, rng: &mut Rng) -> Self {
        Self { trunks: Trunks::default(), registrar: Registrar::new(config, rng) }
    }

    /// The trunks.
    #[must_use]
    pub fn trunks(&self) -> &Trunks {
        &self.trunks
    }

    /// The same, to change them.
    pub fn trunks_mut(&mut self) -> &mut Trunks {
        &mut self.trunks
    }

    /// The registrar of the branch's phones.
    #[must_use]
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// The same, to change it.
    pub fn registrar_mut(&mut self) -> &mut Registrar {
        &mut self.registrar
    }

    /// Goes on with the settings of `ctx`, which were `old` before.
    pub fn reload(&mut self, ctx: &mut Context, now: Now, old: &Rc<Config>) -> Changed {
        let mut changed = Changed::default();
        self.registrar.reload(ctx, now, old, &mut changed);
        self.trunks.reload(ctx, now, &mut changed);
        changed
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        self.trunks.handle_timeout(ctx, now);
        self.registrar.handle_timeout(ctx, now);
    }

    /// When to call [`Self::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.trunks.poll_timeout(), self.registrar.poll_timeout()].into_iter().flatten().min()
    }

    /// True where a transfer that the far end of this call asks for may cost what an account pays: of users of ours, and
    /// of trunks that the operator lets.
    #[must_use]
    pub fn may_spend(&self, call: &SipCall) -> bool {
        call.user().is_some() || self.trunks.allows_refer(call.terms().trunk)
    }

    /// True for what a trunk serves, unless it is a user of ours.
    #[must_use]
    pub fn is_served_by_trunk(&self, ctx: &Context, uri: &Uri) -> bool {
        self.registrar.bindings_of(ctx, uri).is_none()
            && uri.sip().is_some_and(|u| self.trunks.serve_host(&u.host))
    }

    /// Who is said to have asked for a transfer (RFC 3892 §3): the user of ours who did; else whom the REFER names,
    /// unless that is a user of ours.
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

    /// Where requests of a call along this flow go, if a phone of ours has registered along it.
    #[must_use]
    pub fn registered_along(&self, flow: &Target) -> Option<Uri> {
        let same = |f: &Target| (f.transport, f.addr) == (flow.transport, flow.addr);
        self.registrar.has_along(same).then(|| flow.uri()).flatten()
    }
}

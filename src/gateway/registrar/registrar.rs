//! Registrar for the branch's phones (RFC 3261 §10.3).

use std::net::IpAddr;
use std::time::Instant;

use super::authentication::{Authentication, Proof};
use super::binding::{Binding, BindingView, ContactUpdate, EXPIRES, PhoneRoute, wishes};
use super::bindings::{Bindings, aor_of};
use super::guesses::WAIT_SECONDS;
use crate::base::rng::Rng;
use crate::base::time::Now;
use crate::config::Config;
use crate::gateway::context::Context;
use crate::gateway::interface::changed::Changed;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::sip_messages::refusal::{self, TOO_MANY};
use crate::sip::flow::Flow;
use crate::sip::transactions::ServerId;
use crate::wire::uri::host_port_of;
use crate::wire::{Host, Method, Request, Uri};

/// Caller of an inbound call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Our user: authenticated by password, or identified by the registered flow of its phone.
    pub user: Option<String>,
    /// The identity is certain; it is not for a datagram, whose source can be spoofed.
    pub proved: bool,
}

/// Configured users, their bindings, and authentication.
#[derive(Debug)]
pub struct Registrar {
    bindings: Bindings,
    authentication: Authentication,
    /// The user authenticated for the request being processed.
    authenticated: Option<String>,
}

impl Registrar {
    /// Without bindings.
    #[must_use]
    pub fn new(config: &Config, rng: &mut Rng) -> Self {
        let authentication = Authentication::new(config, rng);
        Self { bindings: Bindings::default(), authentication, authenticated: None }
    }

    /// Applies the users of a new configuration; bindings of removed users are deleted.
    pub fn reload(&mut self, ctx: &mut Context, now: Now, old: &Config, changed: &mut Changed) {
        let users = &ctx.config.sip.users;
        changed.users_changed = users.iter().filter(|u| !old.sip.users.contains(u)).count();
        self.authentication.reload(&ctx.config);
        for user in &old.sip.users {
            if !self.authentication.has(&user.name) {
                changed.users_removed += 1;
                self.bindings.forget(ctx, now, &user.name, |_| true);
            }
        }
    }

    /// The next phone that has re-registered over another flow: old and new flow; call until `None`.
    pub fn poll_moved(&mut self) -> Option<(Flow, Flow)> {
        self.bindings.poll_moved()
    }

    /// Number of phones registered from this address.
    #[must_use]
    pub fn phones_at(&self, ip: IpAddr) -> usize {
        self.bindings.phones_at(ip)
    }

    /// True if a phone is registered over a flow that satisfies `same`.
    #[must_use]
    pub fn has_along(&self, same: impl Fn(&Flow) -> bool) -> bool {
        self.bindings.has_along(same)
    }

    /// True for user names.
    #[must_use]
    pub fn has_user(&self, name: &str) -> bool {
        self.authentication.has(name)
    }

    /// The request has been processed.
    pub fn forget_authenticated(&mut self) {
        self.authenticated = None;
    }

    /// True if the sender of the request being processed is authenticated.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.is_some()
    }

    /// True if phones can register.
    pub fn is_registrar(&self, ctx: &Context) -> bool {
        !ctx.config.sip.users.is_empty()
    }

    /// True for our domains and own addresses.
    pub fn is_our_domain(&self, ctx: &Context, uri: &Uri) -> bool {
        let Some(sip) = uri.sip() else { return false };
        let locals = ctx.sip.locals();
        let ours = [locals.v4, locals.v6].into_iter().flatten();
        let here = |ip: IpAddr| locals.external == Some(ip) || ours.clone().any(|a| a.ip() == ip);
        let is_it = |d: &String| host_port_of(d).is_ok_and(|(host, _)| host.is_same(&sip.host));
        let listed = ctx.config.sip.domains.iter().any(is_it);
        let port =
            |p: Option<u16>| p.is_none() || ours.clone().any(|a| Some(a.port()) == p) || p == locals.tls_port;
        port(sip.port)
            && match &sip.host {
                Host::Ip(ip) => listed || here(ip.to_canonical()),
                Host::Name(_) => listed,
            }
    }

    /// Handles a request of an unknown source: true with valid credentials of one of our users. Otherwise it
    /// is challenged statelessly, or dropped if there are no users.
    pub fn admits_stranger(&mut self, ctx: &mut Context, now: Now, request: &Request, source: Flow) -> bool {
        ctx.counters.signalling.strangers += 1;
        let asks = matches!(request.method, Method::Invite | Method::Register);
        if !self.is_registrar(ctx) || !asks || request.common.to.tag().is_some() {
            return false;
        }
        match self.authentication.judge(ctx, now, request, source, &self.bindings) {
            Some(Proof::Good(user)) => {
                self.authenticated = Some(user);
                return true;
            }
            Some(Proof::Wrong) => {
                refusal::refuse_stateless(ctx, request, source, 403, "Forbidden", &[]);
            }
            Some(Proof::Refused) => {
                let wait = [("Retry-After", WAIT_SECONDS.to_string())];
                refusal::refuse_stateless(ctx, request, source, 500, TOO_MANY, &wait);
            }
            proof @ (Some(Proof::Stale) | None) => {
                let challenges = self.authentication.challenges(ctx, now, source, proof.is_some());
                refusal::refuse_stateless(ctx, request, source, 401, "Unauthorized", &challenges);
            }
        }
        false
    }

    /// The caller of an INVITE; `None` if it is one user and From claims to be another.
    pub fn caller_of(
        &mut self,
        ctx: &mut Context,
        now: Now,
        request: &Request,
        source: Flow,
    ) -> Option<Caller> {
        let named = request.common.from.uri.user();
        let by_password = self.authenticated.take().or_else(|| {
            match self.authentication.judge(ctx, now, request, source, &self.bindings)? {
                Proof::Good(user) => Some(user),
                // Accepted networks may call without a password.
                Proof::Stale | Proof::Wrong | Proof::Refused => None,
            }
        });
        let proved = by_password.is_some() || source.transport.is_reliable();
        let user = by_password.or_else(|| self.bindings.user_along(source, &named));
        let another = user.as_ref().is_some_and(|user| *user != named && self.authentication.has(&named));
        let proved = proved && user.is_some();
        (!another).then_some(Caller { user, proved })
    }

    /// Handles REGISTER.
    pub fn handle_register(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        request: &Request,
        source: Flow,
    ) {
        if !self.is_registrar(ctx) {
            return refusal::not_allowed(ctx, now, tx, 405, "Method Not Allowed");
        }
        if ctx.stopping {
            return refusal::refuse(ctx, now, tx, 503, "Service Unavailable");
        }
        let to = &request.common.to.uri;
        if !self.is_our_domain(ctx, &request.uri) || !self.is_our_domain(ctx, to) {
            return refusal::refuse(ctx, now, tx, 404, "Not Found");
        }
        let user = to.user();
        match self
            .authenticated
            .take()
            .map(Proof::Good)
            .or_else(|| self.authentication.judge(ctx, now, request, source, &self.bindings))
        {
            None => return self.authentication.challenge(ctx, now, tx, source, false),
            Some(Proof::Stale) => return self.authentication.challenge(ctx, now, tx, source, true),
            Some(Proof::Wrong) => return refusal::refuse(ctx, now, tx, 403, "Forbidden"),
            Some(Proof::Refused) => return refusal::refuse_guess(ctx, now, tx),
            Some(Proof::Good(name)) if name != user => {
                return refusal::refuse(ctx, now, tx, 403, "Forbidden");
            }
            Some(Proof::Good(_)) => self.authentication.registered(now, source, &user),
        }
        match wishes(request) {
            Err((code, reason)) => refusal::refuse(ctx, now, tx, code, reason),
            Ok(wishes) if self.bindings.is_out_of_order(&user, wishes.as_deref(), request) => {
                refusal::refuse(ctx, now, tx, 500, "CSeq is not higher than the last");
            }
            Ok(None) => {
                self.bindings.forget(ctx, now, &user, |_| true);
                self.bindings.respond(ctx, now, tx, &user);
            }
            Ok(Some(wishes)) => {
                if wishes.iter().any(|w| (1..EXPIRES.0).contains(&w.expires)) {
                    return refusal::too_brief(ctx, now, tx, EXPIRES.0);
                }
                // New contacts last, so that they do not evict those refreshed by the same request.
                let known =
                    |w: &ContactUpdate| w.expires == 0 || self.bindings.find(&user, &w.contact).is_some();
                let (known, new): (Vec<ContactUpdate>, Vec<ContactUpdate>) =
                    wishes.into_iter().partition(known);
                for wish in known.into_iter().chain(new) {
                    self.bindings.bind(ctx, now, &user, wish, request, source);
                }
                self.bindings.respond(ctx, now, tx, &user);
            }
        }
    }

    /// Removes expired bindings.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        self.authentication.handle_timeout(now);
        self.bindings.handle_timeout(ctx, now);
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bindings.deadline().into_iter().chain(self.authentication.deadline()).min()
    }

    /// The phones of `uri` if it is one of our addresses, latest registration first.
    pub fn bindings_of(&self, ctx: &Context, uri: &Uri) -> Option<Vec<PhoneRoute>> {
        let user = uri.user();
        if !self.has_user(&user) || !self.is_our_domain(ctx, uri) {
            return None;
        }
        Some(self.bindings.routes(&user))
    }

    /// Number of contacts.
    #[must_use]
    pub fn contacts(&self) -> usize {
        self.bindings.len()
    }

    /// `GET /v1/sip/registrations`.
    #[must_use]
    pub fn views(&self, ctx: &Context) -> Vec<BindingView> {
        self.bindings.views(ctx)
    }

    /// `DELETE /v1/sip/registrations/{aor}`: all contacts or one of them.
    ///
    /// # Errors
    /// No such registration.
    pub fn remove(
        &mut self,
        ctx: &mut Context,
        now: Now,
        aor: &str,
        contact: Option<&str>,
    ) -> Result<(), GatewayError> {
        let unknown = GatewayError::NotFound("registration not found");
        let whole = Uri::parse(aor).ok().filter(|u| u.sip().is_some());
        let whole = whole.or_else(|| Uri::parse(&format!("sip:{aor}")).ok().filter(|_| aor.contains('@')));
        let user = match &whole {
            Some(uri) if self.is_our_domain(ctx, uri) => uri.user(),
            Some(_) => return Err(unknown),
            None => aor.to_owned(),
        };
        let contact = contact.map(|c| Uri::parse(c.trim().trim_start_matches('<').trim_end_matches('>')));
        let which = |b: &Binding| match &contact {
            None => true,
            Some(Ok(c)) => b.contact.is_same(c),
            Some(Err(_)) => false,
        };
        if !self.bindings.has(&user, which) {
            return Err(unknown);
        }
        self.bindings.forget(ctx, now, &user, which);
        Ok(())
    }

    /// Address of record of a user.
    pub fn aor_of(&self, ctx: &Context, user: &str) -> String {
        aor_of(ctx, user)
    }
}

//! REGISTER of the branch's phones (RFC 3261 §10.3): who may, where they are, until when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::accounts::Accounts;
use super::authentication::Proof;
use super::binding::{Binding, BindingView, EXPIRES, MAX_CONTACTS, PhoneRoute, Wish, wishes};
use super::guesses::Guesses;
use crate::base::rng::Rng;
use crate::base::source::Source;
use crate::base::time::Now;
use crate::config::Config;
use crate::deliver::share::Origin;
use crate::gateway::changed::Changed;
use crate::gateway::context::Context;
use crate::gateway::error::GatewayError;
use crate::gateway::events::{EventBody, Phone};
use crate::gateway::refusal;
use crate::sip::digest_server::DigestServer;
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;
use crate::wire::uri::host_port_of;
use crate::wire::{Host, Request, Uri};

/// The users of the configuration, the phones that have registered for them, and their passwords.
#[derive(Debug)]
pub struct Registrar {
    pub(super) bindings: Vec<Binding>,
    pub(super) accounts: Accounts,
    pub(super) digest: DigestServer,
    /// Wrong passwords.
    pub(super) guesses: Guesses,
    /// Who has proved to have sent the request being looked at.
    pub(super) authenticated: Option<String>,
    /// Ways along which phones registered, and those along which they do now.
    moved: VecDeque<(Target, Target)>,
}

impl Registrar {
    /// No phone has registered yet.
    #[must_use]
    pub fn new(config: &Config, rng: &mut Rng) -> Self {
        let digest = DigestServer::new(rng);
        let accounts = Accounts::new(config);
        let guesses = Guesses::new(rng.u64(), accounts.names());
        Self { bindings: Vec::new(), accounts, digest, guesses, authenticated: None, moved: VecDeque::new() }
    }

    /// Goes on with the users of the configuration as it is now; phones of those that are gone are forgotten.
    pub fn reload(&mut self, ctx: &mut Context, now: Now, old: &Config, changed: &mut Changed) {
        let users = &ctx.config.sip.users;
        changed.users_changed = users.iter().filter(|u| !old.sip.users.contains(u)).count();
        self.accounts = Accounts::new(&ctx.config);
        self.guesses.set_users(self.accounts.names());
        for user in &old.sip.users {
            if !self.accounts.has(&user.name) {
                changed.users_removed += 1;
                self.forget_bindings(ctx, now, &user.name, |_| true);
            }
        }
    }

    /// A phone has registered along another way than before: from where, and where to. Until `None`.
    pub fn poll_moved(&mut self) -> Option<(Target, Target)> {
        self.moved.pop_front()
    }

    /// How many phones have registered from this address.
    #[must_use]
    pub fn phones_at(&self, ip: std::net::IpAddr) -> usize {
        self.bindings.iter().filter(|b| b.flow.addr.ip().to_canonical() == ip).count()
    }

    /// True when a phone has registered along a way that `same` says.
    #[must_use]
    pub fn has_along(&self, same: impl Fn(&Target) -> bool) -> bool {
        self.bindings.iter().any(|b| same(&b.flow))
    }

    /// True for names of users.
    #[must_use]
    pub fn has_user(&self, name: &str) -> bool {
        self.accounts.has(name)
    }

    /// The request that was looked at is done with.
    pub fn forget_authenticated(&mut self) {
        self.authenticated = None;
    }

    /// True when who has sent the request being looked at has proved to be a user.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.authenticated.is_some()
    }

    /// True where phones can register.
    pub fn is_registrar(&self, ctx: &Context) -> bool {
        !ctx.config.sip.users.is_empty()
    }

    /// True for hosts of addresses that are ours: the domains, and our own addresses.
    pub fn is_our_domain(&self, ctx: &Context, uri: &Uri) -> bool {
        let Some(sip) = uri.sip() else { return false };
        let locals = ctx.sip.locals();
        let ours = [locals.v4, locals.v6].into_iter().flatten();
        let here = |ip: std::net::IpAddr| locals.external == Some(ip) || ours.clone().any(|a| a.ip() == ip);
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

    /// A REGISTER.
    pub fn handle_register(
        &mut self,
        ctx: &mut Context,
        now: Now,
        tx: ServerId,
        request: &Request,
        source: Target,
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
        match self.authenticated.take().map(Proof::Good).or_else(|| self.judge(ctx, now, request, source)) {
            None => return self.challenge(ctx, now, tx, source, false),
            Some(Proof::Stale) => return self.challenge(ctx, now, tx, source, true),
            Some(Proof::Wrong) => return refusal::refuse(ctx, now, tx, 403, "Forbidden"),
            Some(Proof::Refused) => return refusal::refuse_guess(ctx, now, tx),
            Some(Proof::Good(name)) if name != user => {
                return refusal::refuse(ctx, now, tx, 403, "Forbidden");
            }
            Some(Proof::Good(_)) => self.guesses.registered(now.mono, source.addr.ip(), &user),
        }
        match wishes(request) {
            Err((code, reason)) => refusal::refuse(ctx, now, tx, code, reason),
            Ok(wishes) if self.is_out_of_order(&user, wishes.as_deref(), request) => {
                refusal::refuse(ctx, now, tx, 500, "CSeq is not higher than the last");
            }
            Ok(None) => {
                self.forget_bindings(ctx, now, &user, |_| true);
                self.tell_bindings(ctx, now, tx, &user);
            }
            Ok(Some(wishes)) => {
                if wishes.iter().any(|w| (1..EXPIRES.0).contains(&w.expires)) {
                    return refusal::too_brief(ctx, now, tx, EXPIRES.0);
                }
                // New contacts last: they must not push out what the same request keeps.
                let known = |w: &Wish| w.expires == 0 || self.binding_of(&user, &w.contact).is_some();
                let (known, new): (Vec<Wish>, Vec<Wish>) = wishes.into_iter().partition(known);
                for wish in known.into_iter().chain(new) {
                    self.bind(ctx, now, &user, wish, request, source);
                }
                self.tell_bindings(ctx, now, tx, &user);
            }
        }
    }

    /// A REGISTER that a later one has overtaken: judged for each binding that it would change, of the same Call-ID;
    /// `None` changes all (RFC 3261 §10.3 steps 6 and 7). A contact that is not bound, as after a phone's restart under
    /// another port, has not been overtaken, and a mere question is in order always.
    fn is_out_of_order(&self, user: &str, wishes: Option<&[Wish]>, request: &Request) -> bool {
        let c = &request.common;
        let changes = |i: usize, b: &Binding| {
            wishes.is_none_or(|all| {
                all.iter().any(|w| match w.expires {
                    0 => b.contact.is_same(&w.contact),
                    _ => self.binding_of(user, &w.contact) == Some(i),
                })
            })
        };
        let late = |b: &Binding| b.user == user && b.call_id == c.call_id && b.cseq >= c.cseq;
        self.bindings.iter().enumerate().any(|(i, b)| late(b) && changes(i, b))
    }

    /// Where a contact's binding is kept: written the same if there is one, since several may be equivalent.
    fn binding_of(&self, user: &str, contact: &Uri) -> Option<usize> {
        let at = |same: &dyn Fn(&Uri) -> bool| {
            self.bindings.iter().position(|b| b.user == user && same(&b.contact))
        };
        at(&|c| c == contact).or_else(|| at(&|c| c.is_same(contact)))
    }

    fn bind(
        &mut self,
        ctx: &mut Context,
        now: Now,
        user: &str,
        wish: Wish,
        request: &Request,
        source: Target,
    ) {
        if wish.expires == 0 {
            return self.forget_bindings(ctx, now, user, |b| b.contact.is_same(&wish.contact));
        }
        let granted = wish.expires.min(EXPIRES.1);
        let length = Duration::from_secs(granted.into());
        let agent = request.common.headers.get("User-Agent").unwrap_or_default();
        let old = self.binding_of(user, &wish.contact);
        let created = old.and_then(|i| self.bindings.get(i)).map_or(now.utc, |b| b.created);
        let binding = Binding {
            user: user.to_owned(),
            contact: wish.contact,
            flow: source,
            call_id: request.common.call_id.clone(),
            cseq: request.common.cseq,
            agent: agent.chars().filter(|c| !c.is_control()).take(128).collect(),
            created,
            refreshed: now.utc,
            granted,
            expires_at: now.after(length).utc,
            until: now.mono + length,
        };
        match old.and_then(|i| self.bindings.get_mut(i)) {
            Some(known) => {
                if known.flow != source {
                    self.moved.push_back((known.flow, source));
                }
                *known = binding;
            }
            None => {
                self.make_room(ctx, now, user);
                self.publish_binding(ctx, now, &binding, true);
                self.bindings.push(binding);
            }
        }
    }

    fn make_room(&mut self, ctx: &mut Context, now: Now, user: &str) {
        let mine = |b: &&Binding| b.user == user;
        if self.bindings.iter().filter(mine).count() < MAX_CONTACTS {
            return;
        }
        if let Some(oldest) = self.bindings.iter().filter(mine).min_by_key(|b| b.refreshed).cloned() {
            self.forget_bindings(ctx, now, user, |b| b.contact == oldest.contact);
        }
    }

    /// Forgets phones of a user.
    pub(super) fn forget_bindings(
        &mut self,
        ctx: &mut Context,
        now: Now,
        user: &str,
        which: impl Fn(&Binding) -> bool,
    ) {
        let gone: Vec<Binding> = self.bindings.extract_if(.., |b| b.user == user && which(b)).collect();
        for binding in gone {
            self.publish_binding(ctx, now, &binding, false);
        }
    }

    /// 200 with all contacts of a user.
    fn tell_bindings(&mut self, ctx: &mut Context, now: Now, tx: ServerId, user: &str) {
        let Some(mut draft) = ctx.sip.draft(tx, 200, "OK") else { return };
        for b in self.bindings.iter().filter(|b| b.user == user) {
            let left = b.until.saturating_duration_since(now.mono).as_secs();
            draft.push("Contact", format!("<{}>;expires={left}", b.contact));
        }
        ctx.sip.respond(now.mono, tx, 200, &draft);
    }

    /// Forgets the phones whose time is over.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        self.digest.tidy(now.mono);
        self.report_guesses(now);
        let gone: Vec<Binding> = self.bindings.extract_if(.., |b| b.until <= now.mono).collect();
        for binding in gone {
            self.publish_binding(ctx, now, &binding, false);
        }
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.bindings.iter().map(|b| b.until).chain(self.guesses.deadline()).min()
    }

    /// The phones of `uri`, should it be an address of ours; the last to have registered first.
    pub fn bindings_of(&self, ctx: &Context, uri: &Uri) -> Option<Vec<PhoneRoute>> {
        let user = uri.user();
        if !self.has_user(&user) || !self.is_our_domain(ctx, uri) {
            return None;
        }
        let mut found: Vec<&Binding> = self.bindings.iter().filter(|b| b.user == user).collect();
        found.sort_by_key(|b| std::cmp::Reverse(b.refreshed));
        let route =
            |b: &Binding| PhoneRoute { user: b.user.clone(), contact: b.contact.clone(), flow: b.flow };
        Some(found.into_iter().map(route).collect())
    }

    /// Contacts of phones that are registered.
    #[must_use]
    pub fn contacts(&self) -> usize {
        self.bindings.len()
    }

    /// `GET /v1/sip/registrations`.
    #[must_use]
    pub fn views(&self, ctx: &Context) -> Vec<BindingView> {
        self.bindings.iter().map(|b| self.binding_view(ctx, b)).collect()
    }

    /// `DELETE /v1/sip/registrations/{aor}`, all contacts or one of them.
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
        if !self.bindings.iter().any(|b| b.user == user && which(b)) {
            return Err(unknown);
        }
        self.forget_bindings(ctx, now, &user, which);
        Ok(())
    }

    /// The address of a user of ours.
    pub fn aor_of(&self, ctx: &Context, user: &str) -> String {
        let own = ctx.sip.locals().v4.or(ctx.sip.locals().v6).map(|a| Host::Ip(a.ip()).to_string());
        let domain = ctx.config.sip.domains.first().cloned().or(own).unwrap_or_default();
        format!("sip:{user}@{domain}")
    }

    fn binding_view(&self, ctx: &Context, b: &Binding) -> BindingView {
        let app = ctx.config.sip.users.iter().find(|u| u.name == b.user).map(|u| u.app_id.clone());
        BindingView {
            aor: self.aor_of(ctx, &b.user),
            contact: b.contact.to_string(),
            socket: b.flow.addr.to_string(),
            transport: b.flow.transport.as_str().to_ascii_lowercase(),
            user_agent: b.agent.clone(),
            call_id: b.call_id.clone(),
            app_id: app.unwrap_or_default(),
            created_at: b.created.rfc3339(),
            last_refresh: b.refreshed.rfc3339(),
            expires_at: b.expires_at.rfc3339(),
            granted_expires_seconds: b.granted,
        }
    }

    fn publish_binding(&mut self, ctx: &mut Context, now: Now, b: &Binding, active: bool) {
        let view = self.binding_view(ctx, b);
        let (aor, contact, user_agent) = (view.aor.into(), view.contact.into(), view.user_agent.into());
        let (socket, expires_at) = (view.socket, view.expires_at);
        let phone = Phone { aor, contact, socket, user_agent, expires_at };
        let body = if active { EventBody::PhoneRegistered(phone) } else { EventBody::PhoneExpired(phone) };
        ctx.events.publish_global(now, body, Origin::Known(Source::of(b.flow.addr.ip())));
    }
}

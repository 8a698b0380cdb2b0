//! REGISTER of the branch's phones (RFC 3261 §10.3): who may, where they are, until when.

use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{EventBody, Phone};
use super::proof::Proof;
use super::refusal;
use crate::base::source::Source;
use crate::base::time::{Now, Utc};
use crate::deliver::share::Origin;
use crate::sip::target::Target;
use crate::sip::transactions::ServerId;
use crate::wire::uri::host_port_of;
use crate::wire::{Host, NameAddr, Request, Uri};

/// Contacts of one user; a phone that starts anew under another port takes the place of the oldest.
pub const MAX_CONTACTS: usize = 5;
/// Shortest and longest registration, seconds.
pub const EXPIRES: (u32, u32) = (60, 3600);

/// Where a phone is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub(super) user: String,
    pub(super) contact: Uri,
    /// The way its REGISTER came: routers in between let calls through that way only.
    pub(super) flow: Target,
    call_id: String,
    cseq: u32,
    agent: String,
    created: Utc,
    refreshed: Utc,
    granted: u32,
    expires_at: Utc,
    until: Instant,
}

/// One contact of `GET /v1/sip/registrations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "named after the protocol's own concepts")]
pub struct BindingView {
    pub aor: String,
    pub contact: String,
    pub socket: String,
    pub transport: String,
    pub user_agent: String,
    pub call_id: String,
    pub app_id: String,
    pub created_at: String,
    pub last_refresh: String,
    pub expires_at: String,
    pub granted_expires_seconds: u32,
}

/// What a REGISTER wants for one contact.
struct Wish {
    contact: Uri,
    expires: u32,
}

impl Gateway {
    /// True where phones can register.
    pub(super) fn is_registrar(&self) -> bool {
        !self.ctx.config.sip.users.is_empty()
    }

    /// True for hosts of addresses that are ours: the domains, and our own addresses.
    pub(super) fn is_our_domain(&self, uri: &Uri) -> bool {
        let Some(sip) = uri.sip() else { return false };
        let locals = self.ctx.sip.locals();
        let ours = [locals.v4, locals.v6].into_iter().flatten();
        let here = |ip: std::net::IpAddr| locals.external == Some(ip) || ours.clone().any(|a| a.ip() == ip);
        let is_it = |d: &String| host_port_of(d).is_ok_and(|(host, _)| host.is_same(&sip.host));
        let listed = self.ctx.config.sip.domains.iter().any(is_it);
        let port =
            |p: Option<u16>| p.is_none() || ours.clone().any(|a| Some(a.port()) == p) || p == locals.tls_port;
        port(sip.port)
            && match &sip.host {
                Host::Ip(ip) => listed || here(ip.to_canonical()),
                Host::Name(_) => listed,
            }
    }

    /// A REGISTER.
    pub(super) fn register_received(&mut self, now: Now, tx: ServerId, request: &Request, source: Target) {
        if !self.is_registrar() {
            return refusal::not_allowed(&mut self.ctx, now, tx, 405, "Method Not Allowed");
        }
        if self.ctx.stopping {
            return refusal::refuse(&mut self.ctx, now, tx, 503, "Service Unavailable");
        }
        let to = &request.common.to.uri;
        if !self.is_our_domain(&request.uri) || !self.is_our_domain(to) {
            return refusal::refuse(&mut self.ctx, now, tx, 404, "Not Found");
        }
        let user = to.user();
        match self.vouched.take().map(Proof::Good).or_else(|| self.judge(now, request, source)) {
            None => return self.challenge(now, tx, source, false),
            Some(Proof::Stale) => return self.challenge(now, tx, source, true),
            Some(Proof::Wrong) => return refusal::refuse(&mut self.ctx, now, tx, 403, "Forbidden"),
            Some(Proof::Refused) => return refusal::refuse_guess(&mut self.ctx, now, tx),
            Some(Proof::Good(name)) if name != user => {
                return refusal::refuse(&mut self.ctx, now, tx, 403, "Forbidden");
            }
            Some(Proof::Good(_)) => self.guesses.registered(now.mono, source.addr.ip(), &user),
        }
        match wishes(request) {
            Err((code, reason)) => refusal::refuse(&mut self.ctx, now, tx, code, reason),
            Ok(wishes) if self.is_out_of_order(&user, wishes.as_deref(), request) => {
                refusal::refuse(&mut self.ctx, now, tx, 500, "CSeq is not higher than the last");
            }
            Ok(None) => {
                self.forget_bindings(now, &user, |_| true);
                self.tell_bindings(now, tx, &user);
            }
            Ok(Some(wishes)) => {
                if wishes.iter().any(|w| (1..EXPIRES.0).contains(&w.expires)) {
                    return refusal::too_brief(&mut self.ctx, now, tx, EXPIRES.0);
                }
                // New contacts last: they must not push out what the same request keeps.
                let known = |w: &Wish| w.expires == 0 || self.binding_of(&user, &w.contact).is_some();
                let (known, new): (Vec<Wish>, Vec<Wish>) = wishes.into_iter().partition(known);
                for wish in known.into_iter().chain(new) {
                    self.bind(now, &user, wish, request, source);
                }
                self.tell_bindings(now, tx, &user);
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

    fn bind(&mut self, now: Now, user: &str, wish: Wish, request: &Request, source: Target) {
        if wish.expires == 0 {
            return self.forget_bindings(now, user, |b| b.contact.is_same(&wish.contact));
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
                let (before, flow) = (known.flow, binding.flow);
                *known = binding;
                self.flow_moved(before, flow);
            }
            None => {
                self.make_room(now, user);
                self.publish_binding(now, &binding, true);
                self.bindings.push(binding);
            }
        }
    }

    fn make_room(&mut self, now: Now, user: &str) {
        let mine = |b: &&Binding| b.user == user;
        if self.bindings.iter().filter(mine).count() < MAX_CONTACTS {
            return;
        }
        if let Some(oldest) = self.bindings.iter().filter(mine).min_by_key(|b| b.refreshed).cloned() {
            self.forget_bindings(now, user, |b| b.contact == oldest.contact);
        }
    }

    pub(super) fn forget_bindings(&mut self, now: Now, user: &str, which: impl Fn(&Binding) -> bool) {
        let gone: Vec<Binding> = self.bindings.extract_if(.., |b| b.user == user && which(b)).collect();
        for binding in gone {
            self.publish_binding(now, &binding, false);
        }
    }

    /// 200 with all contacts of a user.
    fn tell_bindings(&mut self, now: Now, tx: ServerId, user: &str) {
        let Some(mut draft) = self.ctx.sip.draft(tx, 200, "OK") else { return };
        for b in self.bindings.iter().filter(|b| b.user == user) {
            let left = b.until.saturating_duration_since(now.mono).as_secs();
            draft.push("Contact", format!("<{}>;expires={left}", b.contact));
        }
        self.ctx.sip.respond(now.mono, tx, 200, &draft);
    }

    /// Forgets the phones whose time is over.
    pub(super) fn bindings_due(&mut self, now: Now) {
        self.digest.tidy(now.mono);
        self.report_guesses(now);
        let gone: Vec<Binding> = self.bindings.extract_if(.., |b| b.until <= now.mono).collect();
        for binding in gone {
            self.publish_binding(now, &binding, false);
        }
    }

    pub(super) fn bindings_deadline(&self) -> Option<Instant> {
        self.bindings.iter().map(|b| b.until).chain(self.guesses.deadline()).min()
    }

    /// The phones of `uri`, should it be an address of ours; the last to have registered first.
    pub(super) fn bindings_of(&self, uri: &Uri) -> Option<Vec<Binding>> {
        let user = uri.user();
        let known = self.ctx.config.sip.users.iter().any(|u| u.name == user);
        if !known || !self.is_our_domain(uri) {
            return None;
        }
        let mut found: Vec<Binding> = self.bindings.iter().filter(|b| b.user == user).cloned().collect();
        found.sort_by_key(|b| std::cmp::Reverse(b.refreshed));
        Some(found)
    }

    /// Contacts of phones that are registered.
    #[must_use]
    pub fn registered_contacts(&self) -> usize {
        self.bindings.len()
    }

    /// `GET /v1/sip/registrations`.
    #[must_use]
    pub fn registrations(&self) -> Vec<BindingView> {
        self.bindings.iter().map(|b| self.binding_view(b)).collect()
    }

    /// `DELETE /v1/sip/registrations/{aor}`, all contacts or one of them.
    ///
    /// # Errors
    /// No such registration.
    pub fn remove_registration(
        &mut self,
        now: Now,
        aor: &str,
        contact: Option<&str>,
    ) -> Result<(), GatewayError> {
        let unknown = GatewayError::NotFound("registration not found");
        let whole = Uri::parse(aor).ok().filter(|u| u.sip().is_some());
        let whole = whole.or_else(|| Uri::parse(&format!("sip:{aor}")).ok().filter(|_| aor.contains('@')));
        let user = match &whole {
            Some(uri) if self.is_our_domain(uri) => uri.user(),
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
        self.forget_bindings(now, &user, which);
        Ok(())
    }

    /// The address of a user of ours.
    pub(super) fn aor_of(&self, user: &str) -> String {
        let own = self.ctx.sip.locals().v4.or(self.ctx.sip.locals().v6).map(|a| Self::host_text(a.ip()));
        let domain = self.ctx.config.sip.domains.first().cloned().or(own).unwrap_or_default();
        format!("sip:{user}@{domain}")
    }

    fn binding_view(&self, b: &Binding) -> BindingView {
        let app = self.ctx.config.sip.users.iter().find(|u| u.name == b.user).map(|u| u.app_id.clone());
        BindingView {
            aor: self.aor_of(&b.user),
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

    fn publish_binding(&mut self, now: Now, b: &Binding, active: bool) {
        let view = self.binding_view(b);
        let (aor, contact, user_agent) = (view.aor.into(), view.contact.into(), view.user_agent.into());
        let (socket, expires_at) = (view.socket, view.expires_at);
        let phone = Phone { aor, contact, socket, user_agent, expires_at };
        let body = if active { EventBody::PhoneRegistered(phone) } else { EventBody::PhoneExpired(phone) };
        self.ctx.events.publish_global(now, body, Origin::Known(Source::of(b.flow.addr.ip())));
    }
}

/// The contacts of a REGISTER and how long each is wanted; `Ok(None)`: all are to be forgotten.
fn wishes(request: &Request) -> Result<Option<Vec<Wish>>, (u16, &'static str)> {
    let c = &request.common;
    let number = |v: &str| v.trim().parse::<u32>().unwrap_or(EXPIRES.1);
    let for_all = c.headers.get("Expires").map(number);
    if c.headers.all("Contact").any(|v| v.trim() == "*") {
        // Alone, and only to forget (RFC 3261 §10.3 step 6).
        let alone = c.contacts.is_empty() && for_all == Some(0);
        return if alone { Ok(None) } else { Err((400, "Bad Request: Contact * goes with Expires 0")) };
    }
    if c.contacts.len() > MAX_CONTACTS {
        return Err((403, "Too Many Contacts"));
    }
    let wish = |n: &NameAddr| {
        let usable = n.uri.sip().is_some_and(|u| crate::sip::target::next_hop(u).is_ok());
        let expires = n.params.get("expires").map(number).or(for_all).unwrap_or(EXPIRES.1);
        usable.then(|| Wish { contact: n.uri.clone(), expires })
    };
    let wishes: Option<Vec<Wish>> = c.contacts.iter().map(wish).collect();
    wishes.map(Some).ok_or((400, "Bad Request: a Contact that cannot be called"))
}

//! Location service: one binding per registered contact (RFC 3261 §10.3).

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::binding::{Binding, BindingView, ContactUpdate, EXPIRES, MAX_CONTACTS, PhoneRoute};
use crate::base::source::Source;
use crate::base::time::Now;
use crate::delivery::share::Origin;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, Phone};
use crate::sip::flow::Flow;
use crate::sip::transactions::ServerId;
use crate::wire::{Host, Request, Uri};

/// All bindings.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    all: Vec<Binding>,
    /// Flow changes to report: from, to.
    moved: VecDeque<(Flow, Flow)>,
}

impl Bindings {
    /// The next phone that has re-registered over another flow: old and new flow; call until `None`.
    pub(super) fn poll_moved(&mut self) -> Option<(Flow, Flow)> {
        self.moved.pop_front()
    }

    /// Number of bindings.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Number of phones registered from this address.
    pub(super) fn phones_at(&self, ip: IpAddr) -> usize {
        self.all.iter().filter(|b| b.flow.addr.ip().to_canonical() == ip).count()
    }

    /// True if a phone is registered over a flow that satisfies `same`.
    pub(super) fn has_along(&self, same: impl Fn(&Flow) -> bool) -> bool {
        self.all.iter().any(|b| same(&b.flow))
    }

    /// True if a phone of this user is registered over this flow.
    pub(super) fn has_way(&self, user: &str, flow: Flow) -> bool {
        self.all.iter().any(|b| b.user == user && b.flow == flow)
    }

    /// The user whose phone is registered over this flow. Behind a proxy there may be several.
    pub(super) fn user_along(&self, source: Flow, named: &str) -> Option<String> {
        let mut here = self.all.iter().filter(|b| b.flow == source).map(|b| b.user.as_str());
        let first = here.next()?;
        let (mut alone, mut is_named) = (true, first == named);
        for user in here {
            alone &= user == first;
            is_named |= user == named;
        }
        match (is_named, alone) {
            (true, _) => Some(named.to_owned()),
            (false, true) => Some(first.to_owned()),
            (false, false) => None,
        }
    }

    /// True if a REGISTER arrived out of order: checked per affected binding with the same Call-ID; `None`
    /// affects all (RFC 3261 §10.3 steps 6 and 7). New contacts, e.g. after a phone's restart with another
    /// port, and queries are never out of order.
    pub(super) fn is_out_of_order(
        &self,
        user: &str,
        wishes: Option<&[ContactUpdate]>,
        request: &Request,
    ) -> bool {
        let c = &request.common;
        let changes = |i: usize, b: &Binding| {
            wishes.is_none_or(|all| {
                all.iter().any(|w| match w.expires {
                    0 => b.contact.is_same(&w.contact),
                    _ => self.find(user, &w.contact) == Some(i),
                })
            })
        };
        let late = |b: &Binding| b.user == user && b.call_id == c.call_id && b.cseq >= c.cseq;
        self.all.iter().enumerate().any(|(i, b)| late(b) && changes(i, b))
    }

    /// Index of a contact's binding; an identically spelled one is preferred, since several may be
    /// equivalent.
    pub(super) fn find(&self, user: &str, contact: &Uri) -> Option<usize> {
        let at =
            |same: &dyn Fn(&Uri) -> bool| self.all.iter().position(|b| b.user == user && same(&b.contact));
        at(&|c| c == contact).or_else(|| at(&|c| c.is_same(contact)))
    }

    /// Applies one contact of a REGISTER received from `source`.
    pub(super) fn bind(
        &mut self,
        ctx: &mut Context,
        now: Now,
        user: &str,
        wish: ContactUpdate,
        request: &Request,
        source: Flow,
    ) {
        if wish.expires == 0 {
            return self.forget(ctx, now, user, |b| b.contact.is_same(&wish.contact));
        }
        let granted = wish.expires.min(EXPIRES.1);
        let length = Duration::from_secs(granted.into());
        let agent = request.common.headers.get("User-Agent").unwrap_or_default();
        let old = self.find(user, &wish.contact);
        let created = old.and_then(|i| self.all.get(i)).map_or(now.utc, |b| b.created);
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
        match old.and_then(|i| self.all.get_mut(i)) {
            Some(known) => {
                if known.flow != source {
                    self.moved.push_back((known.flow, source));
                }
                *known = binding;
            }
            None => {
                self.make_room(ctx, now, user);
                publish(ctx, now, &binding, true);
                self.all.push(binding);
            }
        }
    }

    fn make_room(&mut self, ctx: &mut Context, now: Now, user: &str) {
        let mine = |b: &&Binding| b.user == user;
        if self.all.iter().filter(mine).count() < MAX_CONTACTS {
            return;
        }
        if let Some(oldest) = self.all.iter().filter(mine).min_by_key(|b| b.refreshed).cloned() {
            self.forget(ctx, now, user, |b| b.contact == oldest.contact);
        }
    }

    /// Removes bindings of a user.
    pub(super) fn forget(
        &mut self,
        ctx: &mut Context,
        now: Now,
        user: &str,
        which: impl Fn(&Binding) -> bool,
    ) {
        let gone: Vec<Binding> = self.all.extract_if(.., |b| b.user == user && which(b)).collect();
        for binding in gone {
            publish(ctx, now, &binding, false);
        }
    }

    /// Sends a 200 with all contacts of a user.
    pub(super) fn respond(&self, ctx: &mut Context, now: Now, tx: ServerId, user: &str) {
        let Some(mut draft) = ctx.sip.draft(tx, 200, "OK") else { return };
        for b in self.all.iter().filter(|b| b.user == user) {
            let left = b.until.saturating_duration_since(now.mono).as_secs();
            draft.push("Contact", format!("<{}>;expires={left}", b.contact));
        }
        ctx.sip.respond(now.mono, tx, 200, &draft);
    }

    /// Removes expired bindings.
    pub(super) fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        let gone: Vec<Binding> = self.all.extract_if(.., |b| b.until <= now.mono).collect();
        for binding in gone {
            publish(ctx, now, &binding, false);
        }
    }

    /// The next expiry.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all.iter().map(|b| b.until).min()
    }

    /// The phones of a user, latest registration first.
    pub(super) fn routes(&self, user: &str) -> Vec<PhoneRoute> {
        let mut found: Vec<&Binding> = self.all.iter().filter(|b| b.user == user).collect();
        found.sort_by_key(|b| std::cmp::Reverse(b.refreshed));
        let route =
            |b: &Binding| PhoneRoute { user: b.user.clone(), contact: b.contact.clone(), flow: b.flow };
        found.into_iter().map(route).collect()
    }

    /// True if a binding of this user satisfies `which`.
    pub(super) fn has(&self, user: &str, which: impl Fn(&Binding) -> bool) -> bool {
        self.all.iter().any(|b| b.user == user && which(b))
    }

    /// Representation of all bindings in the API.
    pub(super) fn views(&self, ctx: &Context) -> Vec<BindingView> {
        self.all.iter().map(|b| view(ctx, b)).collect()
    }
}

/// Address of record of a user.
pub(super) fn aor_of(ctx: &Context, user: &str) -> String {
    let own = ctx.sip.locals().v4.or(ctx.sip.locals().v6).map(|a| Host::Ip(a.ip()).to_string());
    let domain = ctx.config.sip.domains.first().cloned().or(own).unwrap_or_default();
    format!("sip:{user}@{domain}")
}

fn view(ctx: &Context, b: &Binding) -> BindingView {
    let app = ctx.config.sip.users.iter().find(|u| u.name == b.user).map(|u| u.app_id.clone());
    BindingView {
        aor: aor_of(ctx, &b.user),
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

fn publish(ctx: &mut Context, now: Now, b: &Binding, active: bool) {
    let view = view(ctx, b);
    let (aor, contact, user_agent) = (view.aor.into(), view.contact.into(), view.user_agent.into());
    let (socket, expires_at) = (view.socket, view.expires_at);
    let phone = Phone { aor, contact, socket, user_agent, expires_at };
    let body = if active { EventBody::PhoneRegistered(phone) } else { EventBody::PhoneExpired(phone) };
    ctx.events.publish_global(now, body, Origin::Known(Source::of(b.flow.addr.ip())));
}

//! Registration of our accounts (RFC 3261 §10.2): refreshed before expiry, retried with back-off and at
//! further servers, removed at shutdown.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::registrar_answers::{Elsewhere, SHORTEST_GRANT, granted, retry_after, without_user};
use super::registration::Registration;
use super::status::Status;
use super::trunk::TrunkId;
use super::trunks::Trunks;
use crate::base::net::is_private;
use crate::base::time::Now;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, TrunkRegistered, TrunkRegistrationExpired, TrunkRegistrationFailed};
use crate::gateway::requests::Redirections;
use crate::gateway::requests::{ClientAuth, OutboundRequest, RequestContext};
use crate::gateway::sip_messages::capabilities::ALLOW;
use crate::sip::flow::{Flow, Transport};
use crate::sip::transactions::ClientId;
use crate::wire::{Draft, Method, NameAddr, Response, Uri};

/// First and longest delay after a failure (RFC 5626 §4.5).
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(1800));
/// Longest Retry-After that is honoured, seconds.
const LONGEST_WAIT: u32 = 3600;
/// Longest interval that a 423 can make us request, seconds.
const LONGEST_ASKED: u32 = 86_400;
/// NAT routers drop UDP mappings after about 30 s of silence (RFC 5626 §4.4.2).
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// Delay after a lost connection, plus up to 4 s at random: all boxes of a provider reconnect at once.
const RECONNECT: Duration = Duration::from_secs(1);
/// Time limit of unregistering.
const GOODBYE: Duration = Duration::from_secs(32);

impl Trunks {
    fn registration(&mut self, id: TrunkId) -> Option<&mut Registration> {
        self.all.get_mut(&id)?.registration.as_deref_mut()
    }

    /// Executes what is due for a registration.
    pub fn registration_due(&mut self, ctx: &mut Context, now: Now, id: TrunkId) {
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now.mono);
        let Some(r) = self.registration(id) else { return };
        if due(r.give_up_at) {
            r.give_up_at = None;
            return self.unregistered(ctx, now, id);
        }
        if due(r.grant.until) {
            r.grant.until = None;
            r.grant.seconds = 0;
            r.keep_alive_at = None;
            if r.status == Status::Active {
                r.status = Status::Expired;
                self.publish(ctx, now, id, |trunk| {
                    EventBody::TrunkRegistrationExpired(TrunkRegistrationExpired { trunk, reason: "expired" })
                });
            }
        }
        let Some(r) = self.registration(id) else { return };
        if due(r.keep_alive_at) {
            r.keep_alive_at = Some(now.mono + KEEP_ALIVE);
            if let Some(target) = r.target {
                ctx.sip.ping(target);
            }
        }
        let Some(r) = self.registration(id) else { return };
        if due(r.due) {
            r.due = None;
            self.send_register(ctx, id);
        }
    }

    /// A connection was lost: accounts registered over it are unreachable, and register again soon.
    pub fn handle_connection_lost(&mut self, ctx: &mut Context, now: Now, gone: Flow) {
        let wait = RECONNECT + Duration::from_millis(ctx.rng.below(4000).into());
        let all = self.all.values_mut().filter_map(|t| t.registration.as_deref_mut());
        for r in all.filter(|r| r.status == Status::Active && r.failures == 0 && r.tx.is_none() && !r.waits) {
            let same = |t: Flow| {
                let by_name = t.conn.is_some() && t.conn == gone.conn;
                t.transport.is_reliable() && t.transport == gone.transport && (by_name || t.addr == gone.addr)
            };
            if r.target.is_some_and(same) {
                let soon = now.mono + wait;
                r.due = Some(r.due.map_or(soon, |due| due.min(soon)));
            }
        }
    }

    fn send_register(&mut self, ctx: &mut Context, id: TrunkId) {
        if let Some(r) = self.registration(id) {
            r.next_at = None;
            // Unregistering uses the redirected server.
            let stays = |e: &Elsewhere| e.is_permanent() || r.status == Status::Unregistering;
            r.elsewhere = r.elsewhere.take().filter(stays);
            r.redirections = Redirections::default();
        }
        self.look_up_registrar(ctx, id);
    }

    fn look_up_registrar(&mut self, ctx: &mut Context, id: TrunkId) {
        let Some(trunk) = self.all.get(&id) else { return };
        let (hop, lax) = (trunk.hop().clone(), trunk.settings.fields.tls_insecure_skip_verify);
        if let Some(r) = self.registration(id) {
            r.waits = true;
            r.others.clear();
            r.auth.iter_mut().for_each(ClientAuth::forget_whom);
        }
        ctx.requests.resolve(&mut ctx.io, OutboundRequest::Register(id), &hop, None, lax);
    }

    /// The registrar redirects (RFC 3261 §8.1.3.4); a TLS registration stays on TLS.
    fn register_elsewhere(
        &mut self,
        ctx: &mut Context,
        now: Now,
        id: TrunkId,
        from: Option<Flow>,
        response: &Response,
    ) {
        let Some(account) = self.all.get(&id).and_then(|t| t.account()).cloned() else { return };
        let Some(r) = self.registration(id) else { return };
        if r.redirections.is_direct() {
            let first = r.elsewhere.as_ref().map_or(&account.registrar, |e| &e.uri);
            r.redirections = Redirections::of(&without_user(first));
        }
        let safe = account.registrar.is_secure() || from.is_some_and(|t| t.transport == Transport::Tls);
        let may = |uri: &Uri| !safe || Elsewhere::is_over_tls(uri);
        let next = r.redirections.next(response, |uri| may(uri).then(|| without_user(uri)));
        let Some(uri) = next else {
            let why = format!("{} {}, to nowhere that can be asked", response.code, response.reason);
            return self.register_failed(ctx, now, id, &why, retry_after(response));
        };
        r.elsewhere = Some(Elsewhere { uri, code: response.code });
        // Challenges of one server are not answered at another.
        r.auth.iter_mut().for_each(|a| a.restart());
        self.look_up_registrar(ctx, id);
    }

    /// The servers of a registrar were located.
    pub fn register_at(&mut self, ctx: &mut Context, now: Now, id: TrunkId, mut targets: Vec<Flow>) {
        self.note_addresses(now, id, &targets);
        let Some(r) = self.registration(id) else { return };
        if targets.is_empty() {
            return self.register_failed(ctx, now, id, "the registrar has no address", None);
        }
        // The current registrar is tried first: others may not know of the registration.
        if let Some(known) = r.target.and_then(|t| targets.iter().position(|x| x.addr == t.addr)) {
            targets.swap(0, known);
        }
        let first = targets.remove(0);
        r.others = targets;
        self.register(ctx, now, id, first);
    }

    fn register(&mut self, ctx: &mut Context, now: Now, id: TrunkId, target: Flow) {
        let Some(local) = ctx.sip.locals().for_target(target) else { return };
        let cnonce = ctx.rng.token();
        let Some(draft) = self.register_draft(ctx, id, target, local, &cnonce) else { return };
        match ctx.sip.request(now.mono, &Method::Register, draft, target) {
            Ok(tx) => {
                ctx.requests.sent(tx, RequestContext::Register(id));
                if let Some(r) = self.registration(id) {
                    r.tx = Some(tx);
                    r.waits = false;
                }
            }
            Err(e) => self.register_failed(ctx, now, id, &e.to_string(), None),
        }
    }

    fn register_draft(
        &mut self,
        ctx: &mut Context,
        id: TrunkId,
        target: Flow,
        local: SocketAddr,
        cnonce: &str,
    ) -> Option<Draft> {
        let agent = ctx.config.sip.host.clone();
        let trunk = self.all.get_mut(&id)?;
        let (account, hop) = (trunk.account()?.clone(), trunk.hop().clone());
        let r = trunk.registration.as_deref_mut()?;
        r.identity.cseq += 1;
        r.grant.source = Some(local);
        r.grant.contact = format!("sip:{}@{local}{}", account.contact_user, target.transport.as_param());
        let elsewhere = r.elsewhere.as_ref();
        let proxied = account.outbound_proxy.is_some() || elsewhere.is_some_and(Elsewhere::is_proxy);
        let registrar = elsewhere.filter(|e| !e.is_proxy()).map_or(&account.registrar, |e| &e.uri);
        let mut draft = Draft::request(&Method::Register, &without_user(registrar));
        if proxied {
            Self::push_route(&mut draft, &hop);
        }
        draft.push("Max-Forwards", "70");
        draft.push("From", format!("{};tag={}", NameAddr::new(account.aor.clone()), r.identity.tag));
        draft.push("To", NameAddr::new(account.aor).to_string());
        draft.push("Call-ID", r.identity.call_id.as_str());
        draft.push("CSeq", format!("{} REGISTER", r.identity.cseq));
        draft.push("Contact", format!("<{}>", r.grant.contact));
        let expires = if r.status == Status::Unregistering { 0 } else { account.expires.max(r.at_least) };
        draft.push("Expires", expires.to_string());
        draft.push("Allow", ALLOW);
        draft.push("User-Agent", agent);
        if let Some(auth) = &mut r.auth {
            auth.add_to(&Method::Register, &mut draft, target, cnonce);
        }
        Some(draft)
    }

    /// Handles the response of a registrar, or its absence.
    pub fn register_answered(
        &mut self,
        ctx: &mut Context,
        now: Now,
        id: TrunkId,
        tx: ClientId,
        outcome: Option<&Response>,
    ) {
        let to = ctx.sip.target_of(tx);
        let Some(r) = self.registration(id).filter(|r| r.tx == Some(tx)) else { return };
        let Some(response) = outcome else {
            return self.next_registrar(ctx, now, id, "the registrar does not answer", None);
        };
        if response.code < 200 {
            return;
        }
        r.tx = None;
        let target = to.filter(|t| r.auth.as_mut().is_some_and(|a| a.takes(t.addr.ip(), response)));
        let least = response.common.headers.get("Min-Expires").and_then(|v| v.trim().parse::<u32>().ok());
        match response.code {
            200..=299 => self.registered(ctx, now, id, to, response),
            300..=379 => self.register_elsewhere(ctx, now, id, to, response),
            401 | 407 if target.is_some() => {
                if let Some(target) = target {
                    self.register(ctx, now, id, target);
                }
            }
            423 if least.is_some_and(|l| l > r.at_least && l <= LONGEST_ASKED) => {
                r.at_least = least.unwrap_or(0);
                if let Some(target) = to {
                    self.register(ctx, now, id, target);
                }
            }
            408 | 500..=599 if r.status != Status::Unregistering => {
                let why = format!("{} {}", response.code, response.reason);
                self.next_registrar(ctx, now, id, &why, retry_after(response));
            }
            code => {
                let why = format!("{code} {}", response.reason);
                self.register_failed(ctx, now, id, &why, retry_after(response));
            }
        }
    }

    fn next_registrar(&mut self, ctx: &mut Context, now: Now, id: TrunkId, why: &str, wait: Option<u32>) {
        let Some(r) = self.registration(id) else { return };
        r.tx = None;
        if r.others.is_empty() {
            return self.register_failed(ctx, now, id, why, wait);
        }
        let next = r.others.remove(0);
        r.auth.iter_mut().for_each(ClientAuth::forget_whom);
        ctx.counters.signalling.failovers += 1;
        self.register(ctx, now, id, next);
    }

    fn registered(
        &mut self,
        ctx: &mut Context,
        now: Now,
        id: TrunkId,
        target: Option<Flow>,
        response: &Response,
    ) {
        // Random spread: several boxes may have lost power together.
        let spread = ctx.rng.below(10);
        let Some(r) = self.registration(id) else { return };
        if r.status == Status::Unregistering {
            return self.unregistered(ctx, now, id);
        }
        let granted = granted(&r.grant.contact, response);
        if granted < SHORTEST_GRANT {
            let why = format!("the registrar grants {granted} s only");
            return self.register_failed(ctx, now, id, &why, None);
        }
        let wait = Duration::from_millis(u64::from(granted) * u64::from(750 + spread * 10));
        let news = r.status != Status::Active || r.grant.seconds != granted;
        r.status = Status::Active;
        r.last_error.clear();
        r.failures = 0;
        r.grant.seconds = granted;
        r.grant.registered_at = Some(now.utc);
        r.grant.until = Some(now.mono + Duration::from_secs(granted.into()));
        let wait = r.wait_or_again(wait);
        r.due = Some(now.mono + wait);
        r.next_at = Some(now.after(wait).utc);
        r.target = target;
        r.auth.iter_mut().for_each(|a| a.passed(target.map(|t| t.addr.ip()), response));
        let open_mapping = target.is_some_and(|t| t.transport == Transport::Udp && !is_private(t.addr.ip()));
        r.keep_alive_at = open_mapping.then(|| now.mono + KEEP_ALIVE);
        if news {
            self.publish(ctx, now, id, |trunk| {
                EventBody::TrunkRegistered(TrunkRegistered { trunk, granted_expires_seconds: granted })
            });
        }
    }

    /// A REGISTER has failed: retries after a back-off, or the delay the registrar requests.
    pub fn register_failed(
        &mut self,
        ctx: &mut Context,
        now: Now,
        id: TrunkId,
        why: &str,
        wait: Option<u32>,
    ) {
        let chance = ctx.rng.below(50);
        let Some(r) = self.registration(id) else { return };
        (r.tx, r.waits) = (None, false);
        if r.status == Status::Unregistering {
            return self.unregistered(ctx, now, id);
        }
        r.auth.iter_mut().for_each(|a| a.restart());
        r.elsewhere = None;
        r.failures = r.failures.saturating_add(1);
        let most = BACK_OFF.0.saturating_mul(1 << r.failures.min(10).saturating_sub(1)).min(BACK_OFF.1);
        let own = most * (50 + chance) / 100;
        let wait = wait.map_or(own, |s| Duration::from_secs(s.min(LONGEST_WAIT).into()).max(own));
        let wait = r.wait_or_again(wait);
        r.due = Some(now.mono + wait);
        r.next_at = Some(now.after(wait).utc);
        why.clone_into(&mut r.last_error);
        let was_active = r.grant.until.is_some();
        if !was_active && r.status != Status::Expired {
            r.status = Status::Failed;
        }
        let (error, retry_in_seconds) = (why.into(), wait.as_secs());
        self.publish(ctx, now, id, |trunk| {
            EventBody::TrunkRegistrationFailed(TrunkRegistrationFailed { trunk, error, retry_in_seconds })
        });
    }

    /// Unregisters a trunk, if registered.
    pub fn unregister(&mut self, ctx: &mut Context, now: Now, id: TrunkId) {
        let Some(r) = self.registration(id) else { return };
        if r.status == Status::Unregistering {
            return;
        }
        let pending = r.tx.is_some() || r.waits;
        let known = r.grant.until.is_some() || pending;
        r.status = Status::Unregistering;
        (r.due, r.grant.until, r.keep_alive_at, r.next_at) = (None, None, None, None);
        if !known {
            return self.unregistered(ctx, now, id);
        }
        r.give_up_at = Some(now.mono + GOODBYE);
        match r.target.filter(|_| !pending) {
            Some(target) => self.register(ctx, now, id, target),
            None if pending => {
                // A pending REGISTER would register us again.
                let tx = r.tx.take();
                r.waits = false;
                if let Some(tx) = tx {
                    ctx.requests.forget(tx);
                }
                self.send_register(ctx, id);
            }
            None => self.send_register(ctx, id),
        }
    }

    fn unregistered(&mut self, ctx: &mut Context, now: Now, id: TrunkId) {
        let Some(r) = self.registration(id) else { return };
        (r.give_up_at, r.tx, r.waits) = (None, None, false);
        let (removing, was_active) = (r.removing, std::mem::take(&mut r.grant.seconds) > 0);
        if was_active {
            self.publish(ctx, now, id, |trunk| {
                EventBody::TrunkRegistrationExpired(TrunkRegistrationExpired {
                    trunk,
                    reason: "unregistered",
                })
            });
        }
        if removing {
            self.all.remove(&id);
        }
    }

    /// Unregisters all trunks because the gateway is stopping.
    pub fn unregister_all(&mut self, ctx: &mut Context, now: Now) {
        let all: Vec<TrunkId> = self.all.keys().copied().collect();
        for id in all {
            self.unregister(ctx, now, id);
        }
    }

    /// True while a registration is being removed.
    pub fn is_unregistering(&self) -> bool {
        self.all.values().any(|t| t.registration.as_ref().is_some_and(|r| r.give_up_at.is_some()))
    }
}

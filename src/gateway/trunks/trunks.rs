//! All trunks: creation, change, removal, and trunk selection of calls.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::registration::Registration;
use super::status::Status;
use super::terms::CallTerms;
use super::trunk::{Trunk, TrunkId, TrunkRoute, TrunkView, view};
use crate::base::time::Now;
use crate::config::{Account, Srtp, Trunk as Settings, TrunkFields, TrunkKind};
use crate::delivery::share::Origin;
use crate::gateway::context::Context;
use crate::gateway::events::{EventBody, TrunkAccount};
use crate::gateway::interface::changed::Changed;
use crate::gateway::interface::error::GatewayError;
use crate::gateway::interface::work::Work;
use crate::gateway::requests::OutboundRequest;
use crate::rtp::lock::RtpSource;
use crate::sip::digest::Credentials;
use crate::sip::flow::{Flow, Transport, next_hop};
use crate::wire::{Draft, Host, Uri};

/// Most trunks, including those of the file.
pub const MAX_TRUNKS: usize = 64;
/// Interval of DNS look-ups of a peer.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// Interval while the look-up fails.
const LOOK_SOON: Duration = Duration::from_secs(15);
/// Most addresses per trunk.
const MAX_ADDRESSES: usize = 16;

const NO_TRUNK: GatewayError = GatewayError::NotFound("trunk not found");

/// All trunks, from the configuration and the API.
#[derive(Debug, Default)]
pub struct Trunks {
    pub(super) all: BTreeMap<TrunkId, Trunk>,
    /// Last id assigned.
    last: u32,
}

impl Trunks {
    /// Loads the trunks of the configuration, and those created by the API before a restart; once, at
    /// startup.
    pub fn restore(&mut self, ctx: &mut Context, now: Now, kept: Vec<TrunkFields>) {
        let config = std::rc::Rc::clone(&ctx.config);
        for settings in &config.sip.trunks {
            self.insert(ctx, now, settings.clone(), true);
        }
        for mut fields in kept {
            // Only the file can grant trust.
            (fields.trust_webhook, fields.allow_refer) = (false, false);
            let name = fields.id.clone();
            match fields.check() {
                Ok(settings) if self.by_name(&name).is_none() => {
                    self.insert(ctx, now, settings, false);
                }
                Ok(_) => {
                    log::warn!(trunk = name; "a kept trunk has the name of one in the file, and is left out")
                }
                Err(e) => log::error!(trunk = name, error = e; "a kept trunk is not usable"),
            }
        }
    }

    /// `POST /v1/sip/trunks`.
    ///
    /// # Errors
    /// An invalid value (400), an address that is already registered (409), too many (503).
    pub fn add(
        &mut self,
        ctx: &mut Context,
        now: Now,
        mut fields: TrunkFields,
    ) -> Result<TrunkView, GatewayError> {
        fields.id = ctx.rng.uuid();
        let settings = fields.check().map_err(GatewayError::Invalid)?;
        if ctx.stopping {
            return Err(GatewayError::Unavailable("the gateway is stopping".to_owned()));
        }
        if self.all.len() >= MAX_TRUNKS {
            return Err(GatewayError::Unavailable(format!("all {MAX_TRUNKS} trunks are in use")));
        }
        if let Some(t) = self.all.values().find(|t| t.is_same_account(&settings)) {
            return Err(GatewayError::Conflict(format!(
                "trunk {} is the same account",
                t.settings.fields.id
            )));
        }
        let id = self.insert(ctx, now, settings, false);
        self.save(ctx);
        self.all.get(&id).map(view).ok_or(NO_TRUNK)
    }

    /// Adds a trunk.
    pub fn insert(&mut self, ctx: &mut Context, now: Now, settings: Settings, from_file: bool) -> TrunkId {
        self.last += 1;
        let id = TrunkId(self.last);
        let is_account = matches!(settings.kind, TrunkKind::Register(_));
        let mut trunk = Trunk {
            settings,
            from_file,
            created: now.utc,
            addresses: Vec::new(),
            before: Vec::new(),
            registration: None,
            look_up_at: (!is_account).then_some(now.mono),
        };
        if is_account {
            let (call_id, tag, cseq) = (ctx.rng.uuid(), ctx.rng.token(), ctx.rng.below(1 << 15));
            let registration = Registration::new(call_id, tag, cseq, trunk.credentials(), now.mono);
            trunk.registration = Some(Box::new(registration));
        }
        self.all.insert(id, trunk);
        id
    }

    /// `GET /v1/sip/trunks`.
    #[must_use]
    pub fn views(&self) -> Vec<TrunkView> {
        self.all.values().map(view).collect()
    }

    /// `GET /v1/sip/trunks/{id}`.
    ///
    /// # Errors
    /// No such trunk.
    pub fn view_of(&self, name: &str) -> Result<TrunkView, GatewayError> {
        let id = self.by_name(name).ok_or(NO_TRUNK)?;
        self.all.get(&id).map(view).ok_or(NO_TRUNK)
    }

    /// `DELETE /v1/sip/trunks/{id}`: unregisters and removes it.
    ///
    /// # Errors
    /// No such trunk (404), or configured in the file (409).
    pub fn remove(&mut self, ctx: &mut Context, now: Now, name: &str) -> Result<(), GatewayError> {
        let id = self.by_name(name).ok_or(NO_TRUNK)?;
        let Some(trunk) = self.all.get_mut(&id) else {
            return Err(NO_TRUNK);
        };
        if trunk.from_file {
            let what = format!("trunk {name} stands in the configuration file: remove it there");
            return Err(GatewayError::Conflict(what));
        }
        self.discard(ctx, now, id);
        self.save(ctx);
        Ok(())
    }

    /// Removes a trunk; an account after it is unregistered.
    pub fn discard(&mut self, ctx: &mut Context, now: Now, id: TrunkId) {
        match self.all.get_mut(&id).map(|t| &mut t.registration) {
            Some(Some(r)) => r.removing = true,
            Some(None) => {
                self.all.remove(&id);
            }
            None => {}
        }
        self.unregister(ctx, now, id);
    }

    /// Requests storage of the trunks created by the API.
    fn save(&mut self, ctx: &mut Context) {
        let ours = |t: &&Trunk| !t.from_file && !t.is_removing();
        let kept: Vec<TrunkFields> =
            self.all.values().filter(ours).map(|t| t.settings.fields.clone()).collect();
        ctx.io.start(|_| Work::KeepTrunks(kept));
    }

    /// The trunk with this API id.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<TrunkId> {
        let mut named = self.all.iter().filter(|(_, t)| t.settings.fields.id == name);
        // Another one with the same id may be being removed.
        let last = named.next_back()?;
        Some(*last.0)
    }

    /// The settings of a call's trunk, if any.
    pub(super) fn settings_of(&self, id: Option<TrunkId>) -> Option<&Settings> {
        Some(&self.all.get(&id?)?.settings)
    }

    /// API id of a trunk.
    #[must_use]
    pub fn name_of(&self, id: Option<TrunkId>) -> Option<String> {
        self.settings_of(id).map(|t| t.fields.id.clone())
    }

    /// Route of an outbound call: `from` selects an account, or `to` a peer.
    pub fn route_for(&self, from: &str, to: &Uri) -> Option<TrunkRoute> {
        let from = from.trim();
        let whole = Uri::parse(from).ok().filter(|u| u.sip().is_some());
        let plain = percent_encoding::percent_decode_str(from).decode_utf8_lossy();
        let is_aor = |a: &Account| match (whole.as_ref().and_then(Uri::sip), a.aor.sip()) {
            // Addresses of record differ by user and host only.
            (Some(w), Some(s)) => {
                a.aor.user() == Uri::Sip(Box::new(w.clone())).user() && s.host.is_same(&w.host)
            }
            _ => !from.is_empty() && (a.aor.user() == from || a.aor.user() == plain),
        };
        let mut found = self.all.iter().filter(|(_, t)| t.account().is_some_and(is_aor));
        let found = found.find(|(_, t)| !t.is_removing());
        if let Some((id, trunk)) = found {
            let aor = trunk.account().map(|a| &a.aor)?;
            return Some(TrunkRoute {
                trunk: *id,
                hop: trunk.hop().clone(),
                host: aor.sip().map(|s| s.host.to_string()),
                user: Some(aor.sip()?.user.clone().unwrap_or_default()),
                route: true,
            });
        }
        let hop = to.sip()?;
        let is_peer = |t: &Trunk| {
            t.account().is_none()
                && t.hop().sip().is_some_and(|p| p.host.is_same(&hop.host) && p.port == hop.port)
        };
        let (id, trunk) = self.all.iter().find(|(_, t)| is_peer(t))?;
        // The peer's own URI selects the transport.
        let hop = if hop.params.get("transport").is_some() { to.clone() } else { trunk.hop().clone() };
        Some(TrunkRoute { trunk: *id, hop, host: None, user: None, route: false })
    }

    /// Media encryption of calls through this trunk, or without one.
    pub fn srtp_of(&self, ctx: &Context, id: Option<TrunkId>) -> Srtp {
        self.settings_of(id).and_then(|t| t.fields.srtp).unwrap_or(ctx.config.sip.srtp)
    }

    /// Settings of a call that starts now.
    pub fn terms_of(&self, ctx: &Context, id: Option<TrunkId>) -> CallTerms {
        let settings = self.settings_of(id);
        CallTerms {
            trunk: id,
            lax: settings.is_some_and(|t| t.fields.tls_insecure_skip_verify),
            srtp: self.srtp_of(ctx, id),
            dtmf: settings.and_then(|t| t.fields.dtmf).unwrap_or(ctx.config.sip.dtmf),
            rtp_source: settings.map_or_else(RtpSource::default, |t| RtpSource {
                networks: t.rtp_from.clone(),
                symmetric: t.fields.rtp_symmetric,
            }),
            home: None,
        }
    }

    /// Credentials of an account.
    #[must_use]
    pub fn credentials_of(&self, id: TrunkId) -> Option<Credentials> {
        self.all.get(&id)?.credentials()
    }

    /// Number of trunks, and of active ones.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let active = self.all.values().filter(|t| t.status() == Status::Active).count();
        (self.all.len(), active)
    }

    /// Adds the Route header for requests of an account.
    pub fn push_route(draft: &mut Draft, hop: &Uri) {
        if let Some(sip) = hop.sip() {
            let mut hop = Box::new(sip.clone());
            hop.user = None;
            hop.params.set("lr", None);
            draft.push("Route", format!("<{}>", Uri::Sip(hop)));
        }
    }

    /// Stores the addresses of a trunk's servers; the previous ones are kept as well.
    pub fn note_addresses(&mut self, now: Now, id: TrunkId, targets: &[Flow]) {
        let Some(trunk) = self.all.get_mut(&id) else { return };
        let mut found: Vec<(IpAddr, Transport)> =
            targets.iter().map(|t| (t.addr.ip().to_canonical(), t.transport)).collect();
        found.sort_unstable();
        found.dedup_by_key(|(ip, _)| *ip);
        found.truncate(MAX_ADDRESSES);
        if found.is_empty() {
            // At boot the network may not be up yet: retry soon.
            trunk.look_up_at = trunk.look_up_at.map(|at| at.min(now.mono + LOOK_SOON));
        } else if trunk.addresses != found {
            trunk.before = std::mem::replace(&mut trunk.addresses, found);
        }
    }

    /// Executes what is due for trunks.
    pub fn handle_timeout(&mut self, ctx: &mut Context, now: Now) {
        let due: Vec<TrunkId> = self
            .all
            .iter()
            .filter(|(_, t)| t.deadline().is_some_and(|at| at <= now.mono))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(trunk) = self.all.get_mut(&id) else { continue };
            if trunk.look_up_at.is_some_and(|at| at <= now.mono) {
                trunk.look_up_at = Some(now.mono + LOOK_AGAIN);
                self.look_up_peer(ctx, now, id);
            }
            self.registration_due(ctx, now, id);
        }
    }

    fn look_up_peer(&mut self, ctx: &mut Context, now: Now, id: TrunkId) {
        let Some(trunk) = self.all.get(&id) else { return };
        let (hop, lax) = (trunk.hop().clone(), trunk.settings.fields.tls_insecure_skip_verify);
        // A literal address needs no look-up.
        if let Some(Ok(known)) = hop.sip().map(next_hop)
            && let Host::Ip(ip) = known.host
        {
            return self.note_addresses(now, id, &[known.at(ip)]);
        }
        ctx.requests.resolve(&mut ctx.io, OutboundRequest::LookUp(id), &hop, None, lax);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.all.values().filter_map(Trunk::deadline).min()
    }

    /// Publishes a change of a trunk's registration.
    pub(super) fn publish(
        &mut self,
        ctx: &mut Context,
        now: Now,
        id: TrunkId,
        body: impl FnOnce(TrunkAccount) -> EventBody,
    ) {
        let Some(trunk) = self.all.get(&id) else { return };
        let fields = &trunk.settings.fields;
        let account = TrunkAccount {
            trunk_id: fields.id.clone(),
            aor: fields.aor.as_str().into(),
            registrar_uri: fields.registrar_uri.as_str().into(),
            app_id: fields.app_id.clone(),
        };
        ctx.events.publish_global(now, body(account), Origin::Own);
    }

    /// Applies the trunks of a new configuration. Those removed from the file are unregistered, and their
    /// calls continue.
    pub fn reload(&mut self, ctx: &mut Context, now: Now, changed: &mut Changed) {
        let config = std::rc::Rc::clone(&ctx.config);
        let of_file: Vec<(TrunkId, String)> = self
            .all
            .iter()
            .filter(|(_, t)| t.from_file && !t.is_removing())
            .map(|(id, t)| (*id, t.settings.fields.id.clone()))
            .collect();
        for (id, name) in of_file {
            if !config.sip.trunks.iter().any(|t| t.fields.id == name) {
                changed.trunks_removed += 1;
                self.discard(ctx, now, id);
            }
        }
        if !ctx.stopping {
            config.sip.trunks.iter().for_each(|settings| self.reload_one(ctx, now, settings, changed));
        }
    }

    fn reload_one(&mut self, ctx: &mut Context, now: Now, settings: &Settings, changed: &mut Changed) {
        let known = self.by_name(&settings.fields.id);
        let found = known.and_then(|id| Some((id, self.all.get_mut(&id)?)));
        match found {
            Some((_, trunk)) if trunk.settings == *settings => {}
            Some((id, trunk)) if trunk.is_same_account(settings) => {
                let before = std::mem::replace(&mut trunk.settings, settings.clone());
                changed.trunks_changed += 1;
                self.trunk_changed(now, id, &before);
            }
            Some((_, trunk)) if !trunk.from_file => {
                log::warn!(trunk = settings.fields.id; "a trunk that the API made has the name of one in the file, which is left out");
            }
            other => {
                if let Some((id, _)) = other {
                    self.discard(ctx, now, id);
                }
                changed.trunks_added += 1;
                self.insert(ctx, now, settings.clone(), true);
            }
        }
    }

    /// Applies changed settings of a trunk whose account or peer is the same as `before`.
    fn trunk_changed(&mut self, now: Now, id: TrunkId, before: &Settings) {
        let Some(trunk) = self.all.get_mut(&id) else { return };
        let (old, new) = (&before.fields, &trunk.settings.fields);
        let same_way = trunk.settings.kind == before.kind
            && new.password == old.password
            && new.tls_insecure_skip_verify == old.tls_insecure_skip_verify;
        if same_way {
            return;
        }
        let credentials = trunk.credentials();
        match &mut trunk.registration {
            Some(r) => r.begin_again(now.mono, credentials),
            None => trunk.look_up_at = Some(now.mono),
        }
    }
}

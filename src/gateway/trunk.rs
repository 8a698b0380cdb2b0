//! Trunks: accounts at providers and PBXs, and peers known by address. Which call goes through which, and what
//! the API shows of them.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::core::Gateway;
use super::error::GatewayError;
use super::events::{EventBody, TrunkAccount};
use super::registration::Registration;
use super::registration_status::Status;
use super::requests::OutboundRequest;
use super::work::Work;
use crate::base::time::{Now, Utc};
use crate::config::{Account, DtmfMode, Srtp, Trunk as Settings, TrunkFields, TrunkKind};
use crate::deliver::share::Origin;
use crate::rtp::lock::RtpSource;
use crate::sip::digest::Credentials;
use crate::sip::target::{Target, Transport, next_hop};
use crate::wire::{Draft, Host, Uri};

/// Trunks at once, those of the file included.
pub const MAX_TRUNKS: usize = 64;
/// How often the addresses of a peer are looked up again.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// The same while nothing is found.
const LOOK_SOON: Duration = Duration::from_secs(15);
/// Addresses of one trunk that calls are taken from.
const MAX_ADDRESSES: usize = 16;

/// Names a trunk inside the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrunkId(u32);

/// A trunk.
#[derive(Debug)]
pub struct Trunk {
    pub(super) settings: Settings,
    /// It is in the configuration file, so that the API cannot remove it.
    pub(super) from_file: bool,
    pub(super) created: Utc,
    /// Where its calls come from, and the weakest transport that it is spoken to with there.
    pub(super) addresses: Vec<(IpAddr, Transport)>,
    /// Where they came from before: calls may still be on their way from there.
    pub(super) before: Vec<(IpAddr, Transport)>,
    /// Its registration, if it is an account.
    pub(super) registration: Option<Box<Registration>>,
    /// A peer's addresses are looked up then.
    pub(super) look_up_at: Option<Instant>,
}

impl Trunk {
    /// Its account, if it is one.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match &self.settings.kind {
            TrunkKind::Register(account) => Some(account),
            TrunkKind::Peer(_) => None,
        }
    }

    /// Where its requests go first.
    #[must_use]
    pub fn hop(&self) -> &Uri {
        match &self.settings.kind {
            TrunkKind::Register(a) => {
                let elsewhere = self.registration.as_ref().and_then(|r| r.elsewhere.as_ref());
                let proxy = elsewhere.filter(|e| e.is_proxy()).map(|e| &e.uri);
                let proxy = proxy.or(a.outbound_proxy.as_ref()).or(elsewhere.map(|e| &e.uri));
                proxy.unwrap_or(&a.registrar)
            }
            TrunkKind::Peer(uri) => uri,
        }
    }

    pub(super) fn credentials(&self) -> Option<Credentials> {
        let username = self.account()?.username.clone();
        let password = self.settings.fields.password.reveal().to_owned();
        (!password.is_empty()).then_some(Credentials { username, password })
    }

    /// How it stands; a peer is always active.
    pub(super) fn status(&self) -> Status {
        self.registration.as_ref().map_or(Status::Active, |r| r.status())
    }

    /// It is being unregistered, and goes then.
    pub(super) fn is_removing(&self) -> bool {
        self.registration.as_ref().is_some_and(|r| r.removing)
    }

    /// True where `settings` are of the same account or peer.
    pub(super) fn is_same_account(&self, settings: &Settings) -> bool {
        match (&self.settings.kind, &settings.kind) {
            (TrunkKind::Register(a), TrunkKind::Register(b)) => {
                a.aor.is_same(&b.aor) && a.registrar.is_same(&b.registrar)
            }
            (TrunkKind::Peer(a), TrunkKind::Peer(b)) => a.is_same(b),
            (TrunkKind::Register(_), TrunkKind::Peer(_)) | (TrunkKind::Peer(_), TrunkKind::Register(_)) => {
                false
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        [self.look_up_at, self.registration.as_ref().and_then(|r| r.deadline())].into_iter().flatten().min()
    }
}

/// How a call goes out through a trunk.
#[derive(Debug, Clone)]
pub struct Way {
    /// The trunk.
    pub trunk: TrunkId,
    /// Where the INVITE goes first.
    pub hop: Uri,
    /// Host of our address there; `None`: our own.
    pub host: Option<String>,
    /// Our user there.
    pub user: Option<String>,
    /// Route that the INVITE starts with.
    pub route: bool,
}

/// `GET /v1/sip/trunks/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TrunkView {
    /// Its name.
    pub id: String,
    /// `sip_register` or `ip_ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The application it belongs to.
    pub app_id: String,
    /// `registering`, `active`, `failed`, `expired` or `unregistering`; a peer is always `active`.
    pub status: &'static str,
    /// Why it is not active, or why its last refresh failed.
    pub last_error: String,
    /// When it was made.
    pub created_at: String,
    /// Networks that RTP of its calls may come from beside the described address.
    pub rtp_from: Vec<String>,
    /// RTP of its calls may come from any address.
    pub rtp_symmetric: bool,
    /// The account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip_register: Option<RegisterView>,
    /// The peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ip_ip: Option<PeerView>,
}

/// An account, without its password.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "named after the fields of the request, or of the protocol")]
pub struct RegisterView {
    pub registrar_uri: String,
    pub outbound_proxy: String,
    pub aor: String,
    pub username: String,
    pub contact_uri: String,
    pub requested_expires_seconds: u32,
    pub granted_expires_seconds: u32,
    pub last_registered_at: Option<String>,
    pub next_refresh_at: Option<String>,
    pub call_id: String,
    pub cseq: u32,
    pub source_address: String,
    pub tls_insecure_skip_verify: bool,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "named after the field of the request")]
pub struct PeerView {
    pub peer_uri: String,
}

impl Gateway {
    /// Takes the trunks of the configuration, and those that the API made in an earlier life; once, at the start.
    pub fn restore_trunks(&mut self, now: Now, kept: Vec<TrunkFields>) {
        let config = std::rc::Rc::clone(&self.ctx.config);
        for settings in &config.sip.trunks {
            self.insert_trunk(now, settings.clone(), true);
        }
        for mut fields in kept {
            // Only the file says whom to trust.
            (fields.trust_webhook, fields.allow_refer) = (false, false);
            let name = fields.id.clone();
            match fields.check() {
                Ok(settings) if self.trunk_named(&name).is_none() => {
                    self.insert_trunk(now, settings, false);
                }
                Ok(_) => {
                    log::warn!(trunk = name; "a kept trunk has the name of one in the file, and is left out")
                }
                Err(e) => log::error!(trunk = name, error = e; "a kept trunk is not usable"),
            }
        }
        self.drain(now);
    }

    /// `POST /v1/sip/trunks`.
    ///
    /// # Errors
    /// A value that is not allowed (400), an address that is registered already (409), too many (503).
    pub fn add_trunk(&mut self, now: Now, mut fields: TrunkFields) -> Result<TrunkView, GatewayError> {
        fields.id = self.ctx.rng.uuid();
        let settings = fields.check().map_err(GatewayError::Invalid)?;
        if self.stopping {
            return Err(GatewayError::Unavailable("the gateway is stopping".to_owned()));
        }
        if self.trunks.len() >= MAX_TRUNKS {
            return Err(GatewayError::Unavailable(format!("all {MAX_TRUNKS} trunks are in use")));
        }
        if let Some(t) = self.trunks.values().find(|t| t.is_same_account(&settings)) {
            return Err(GatewayError::Conflict(format!(
                "trunk {} is the same account",
                t.settings.fields.id
            )));
        }
        let id = self.insert_trunk(now, settings, false);
        self.keep_trunks();
        self.drain(now);
        self.trunks.get(&id).map(view).ok_or(GatewayError::NotFound("trunk not found"))
    }

    pub(super) fn insert_trunk(&mut self, now: Now, settings: Settings, from_file: bool) -> TrunkId {
        self.next_trunk += 1;
        let id = TrunkId(self.next_trunk);
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
            let (call_id, tag, cseq) =
                (self.ctx.rng.uuid(), self.ctx.rng.token(), self.ctx.rng.below(1 << 15));
            let registration = Registration::new(call_id, tag, cseq, trunk.credentials(), now.mono);
            trunk.registration = Some(Box::new(registration));
        }
        self.trunks.insert(id, trunk);
        id
    }

    /// `GET /v1/sip/trunks`.
    #[must_use]
    pub fn trunks(&self) -> Vec<TrunkView> {
        self.trunks.values().map(view).collect()
    }

    /// `GET /v1/sip/trunks/{id}`.
    ///
    /// # Errors
    /// No such trunk.
    pub fn trunk(&self, name: &str) -> Result<TrunkView, GatewayError> {
        let id = self.trunk_named(name).ok_or(GatewayError::NotFound("trunk not found"))?;
        self.trunks.get(&id).map(view).ok_or(GatewayError::NotFound("trunk not found"))
    }

    /// `DELETE /v1/sip/trunks/{id}`: unregisters, then forgets it.
    ///
    /// # Errors
    /// No such trunk (404), one of the file (409).
    pub fn remove_trunk(&mut self, now: Now, name: &str) -> Result<(), GatewayError> {
        let id = self.trunk_named(name).ok_or(GatewayError::NotFound("trunk not found"))?;
        let Some(trunk) = self.trunks.get_mut(&id) else {
            return Err(GatewayError::NotFound("trunk not found"));
        };
        if trunk.from_file {
            let what = format!("trunk {name} stands in the configuration file: remove it there");
            return Err(GatewayError::Conflict(what));
        }
        self.discard_trunk(now, id);
        self.keep_trunks();
        self.drain(now);
        Ok(())
    }

    /// Forgets a trunk, an account once it is unregistered.
    pub(super) fn discard_trunk(&mut self, now: Now, id: TrunkId) {
        match self.trunks.get_mut(&id).map(|t| &mut t.registration) {
            Some(Some(r)) => r.removing = true,
            Some(None) => {
                self.trunks.remove(&id);
            }
            None => {}
        }
        self.unregister(now, id);
    }

    /// Has the trunks that the API made written down.
    fn keep_trunks(&mut self) {
        let ours = |t: &&Trunk| !t.from_file && !t.is_removing();
        let kept: Vec<TrunkFields> =
            self.trunks.values().filter(ours).map(|t| t.settings.fields.clone()).collect();
        self.ctx.io.start(|_| Work::KeepTrunks(kept));
    }

    pub(super) fn trunk_named(&self, name: &str) -> Option<TrunkId> {
        let mut named = self.trunks.iter().filter(|(_, t)| t.settings.fields.id == name);
        // One of the same name may be on its way out.
        let last = named.next_back()?;
        Some(*last.0)
    }

    pub(super) fn trunk_name(&self, id: Option<TrunkId>) -> Option<String> {
        id.and_then(|id| self.trunks.get(&id)).map(|t| t.settings.fields.id.clone())
    }

    /// The way of a call: `from` names an account, or `to` a peer.
    pub(super) fn way_of(&self, from: &str, to: &Uri) -> Option<Way> {
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
        let mut found = self.trunks.iter().filter(|(_, t)| t.account().is_some_and(is_aor));
        let found = found.find(|(_, t)| !t.is_removing());
        if let Some((id, trunk)) = found {
            let aor = trunk.account().map(|a| &a.aor)?;
            return Some(Way {
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
        let (id, trunk) = self.trunks.iter().find(|(_, t)| is_peer(t))?;
        // The peer's own URI says which transport it likes.
        let hop = if hop.params.get("transport").is_some() { to.clone() } else { trunk.hop().clone() };
        Some(Way { trunk: *id, hop, host: None, user: None, route: false })
    }

    /// Any certificate will do for what goes through this trunk.
    pub(super) fn trunk_is_lax(&self, id: Option<TrunkId>) -> bool {
        let trunk = id.and_then(|id| self.trunks.get(&id));
        trunk.is_some_and(|t| t.settings.fields.tls_insecure_skip_verify)
    }

    /// How media of a trunk's calls, or of calls without one, is encrypted.
    pub(super) fn srtp_of(&self, id: Option<TrunkId>) -> Srtp {
        let trunk = id.and_then(|id| self.trunks.get(&id));
        trunk.and_then(|t| t.settings.fields.srtp).unwrap_or(self.ctx.config.sip.srtp)
    }

    /// How digits are sent through a trunk, or in calls without one.
    pub(super) fn trunk_dtmf(&self, id: Option<TrunkId>) -> DtmfMode {
        let trunk = id.and_then(|id| self.trunks.get(&id));
        trunk.and_then(|t| t.settings.fields.dtmf).unwrap_or(self.ctx.config.sip.dtmf)
    }

    /// Where RTP of a trunk's calls may come from beside the described address.
    pub(super) fn rtp_source_of(&self, id: Option<TrunkId>) -> RtpSource {
        let trunk = id.and_then(|id| self.trunks.get(&id)).map(|t| &t.settings);
        trunk.map_or_else(RtpSource::default, |t| RtpSource {
            networks: t.rtp_from.clone(),
            symmetric: t.fields.rtp_symmetric,
        })
    }

    /// Adds the Route that the requests of an account start with.
    pub(super) fn push_route(draft: &mut Draft, hop: &Uri) {
        if let Some(sip) = hop.sip() {
            let mut hop = Box::new(sip.clone());
            hop.user = None;
            hop.params.set("lr", None);
            draft.push("Route", format!("<{}>", Uri::Sip(hop)));
        }
    }

    /// Notes where a trunk's calls come from: its servers as they are now, and as they were before that.
    pub(super) fn note_addresses(&mut self, now: Now, id: TrunkId, targets: &[Target]) {
        let Some(trunk) = self.trunks.get_mut(&id) else { return };
        let mut found: Vec<(IpAddr, Transport)> =
            targets.iter().map(|t| (t.addr.ip().to_canonical(), t.transport)).collect();
        found.sort_unstable();
        found.dedup_by_key(|(ip, _)| *ip);
        found.truncate(MAX_ADDRESSES);
        if found.is_empty() {
            // A box may be up before its network is.
            trunk.look_up_at = trunk.look_up_at.map(|at| at.min(now.mono + LOOK_SOON));
        } else if trunk.addresses != found {
            trunk.before = std::mem::replace(&mut trunk.addresses, found);
        }
    }

    /// Does what is due for trunks.
    pub(super) fn trunks_due(&mut self, now: Now) {
        let due: Vec<TrunkId> = self
            .trunks
            .iter()
            .filter(|(_, t)| t.deadline().is_some_and(|at| at <= now.mono))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(trunk) = self.trunks.get_mut(&id) else { continue };
            if trunk.look_up_at.is_some_and(|at| at <= now.mono) {
                trunk.look_up_at = Some(now.mono + LOOK_AGAIN);
                self.look_up_peer(now, id);
            }
            self.registration_due(now, id);
        }
    }

    fn look_up_peer(&mut self, now: Now, id: TrunkId) {
        let Some(trunk) = self.trunks.get(&id) else { return };
        let hop = trunk.hop().clone();
        // Where an address stands there is nothing to look up.
        if let Some(Ok(known)) = hop.sip().map(next_hop)
            && let Host::Ip(ip) = known.host
        {
            return self.note_addresses(now, id, &[known.at(ip)]);
        }
        self.send(&hop, None, Some(id), OutboundRequest::LookUp(id));
    }

    /// When a trunk wants to be looked at next.
    pub(super) fn trunks_deadline(&self) -> Option<Instant> {
        self.trunks.values().filter_map(Trunk::deadline).min()
    }

    /// Publishes what became of a trunk's registration.
    pub(super) fn publish_trunk(
        &mut self,
        now: Now,
        id: TrunkId,
        body: impl FnOnce(TrunkAccount) -> EventBody,
    ) {
        let Some(trunk) = self.trunks.get(&id) else { return };
        let fields = &trunk.settings.fields;
        let account = TrunkAccount {
            trunk_id: fields.id.clone(),
            aor: fields.aor.as_str().into(),
            registrar_uri: fields.registrar_uri.as_str().into(),
            app_id: fields.app_id.clone(),
        };
        self.ctx.events.publish_global(now, body(account), Origin::Own);
    }
}

fn view(t: &Trunk) -> TrunkView {
    let fields = &t.settings.fields;
    let r = t.registration.as_deref();
    let register = t.account().zip(r).map(|(account, r)| RegisterView {
        registrar_uri: fields.registrar_uri.clone(),
        outbound_proxy: fields.outbound_proxy.clone(),
        aor: fields.aor.clone(),
        username: account.username.clone(),
        contact_uri: r.contact.clone(),
        requested_expires_seconds: account.expires,
        granted_expires_seconds: r.granted,
        last_registered_at: r.registered_at.map(|at| at.rfc3339()),
        next_refresh_at: r.next_at.map(|at| at.rfc3339()),
        call_id: r.call_id.clone(),
        cseq: r.cseq,
        source_address: r.source.map(|s| s.to_string()).unwrap_or_default(),
        tls_insecure_skip_verify: fields.tls_insecure_skip_verify,
    });
    TrunkView {
        id: fields.id.clone(),
        kind: fields.kind.clone(),
        app_id: fields.app_id.clone(),
        status: t.status().as_str(),
        last_error: r.map(|r| r.last_error.clone()).unwrap_or_default(),
        created_at: t.created.rfc3339(),
        rtp_from: fields.rtp_from.clone(),
        rtp_symmetric: fields.rtp_symmetric,
        sip_register: register,
        ip_ip: t.account().is_none().then(|| PeerView { peer_uri: fields.peer_uri.clone() }),
    }
}

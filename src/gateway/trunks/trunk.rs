//! One trunk: settings, addresses, registration, and representation in the API.

use std::net::IpAddr;
use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use super::registration::Registration;
use super::status::Status;
use crate::base::time::Utc;
use crate::config::{Account, Trunk as Settings, TrunkKind};
use crate::sip::digest::Credentials;
use crate::sip::flow::Transport;
use crate::wire::Uri;

/// Identifies a trunk inside the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrunkId(pub(super) u32);

/// A trunk.
#[derive(Debug)]
pub struct Trunk {
    pub(super) settings: Settings,
    /// Configured in the file: the API cannot remove it.
    pub(super) from_file: bool,
    pub(super) created: Utc,
    /// Addresses of its servers, with the weakest transport used with each.
    pub(super) addresses: Vec<(IpAddr, Transport)>,
    /// Previous addresses: calls from there may still be in progress.
    pub(super) before: Vec<(IpAddr, Transport)>,
    /// Its registration, for accounts.
    pub(super) registration: Option<Box<Registration>>,
    /// Next look-up of a peer's addresses.
    pub(super) look_up_at: Option<Instant>,
}

impl Trunk {
    /// Its account, for accounts.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        match &self.settings.kind {
            TrunkKind::Register(account) => Some(account),
            TrunkKind::Peer(_) => None,
        }
    }

    /// Next hop of its requests.
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

    /// Its credentials, for accounts.
    pub(super) fn credentials(&self) -> Option<Credentials> {
        let username = self.account()?.username.clone();
        let password = self.settings.fields.password.reveal().to_owned();
        (!password.is_empty()).then_some(Credentials { username, password })
    }

    /// Its status; a peer is always active.
    pub(super) fn status(&self) -> Status {
        self.registration.as_ref().map_or(Status::Active, |r| r.status())
    }

    /// It is being unregistered and then removed.
    pub(super) fn is_removing(&self) -> bool {
        self.registration.as_ref().is_some_and(|r| r.removing)
    }

    /// True if `settings` describe the same account or peer.
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

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.look_up_at, self.registration.as_ref().and_then(|r| r.deadline())].into_iter().flatten().min()
    }
}

/// Route of an outbound call through a trunk.
#[derive(Debug, Clone)]
pub struct TrunkRoute {
    /// The trunk.
    pub trunk: TrunkId,
    /// Next hop of the INVITE.
    pub hop: Uri,
    /// Host part of our address; `None`: our own.
    pub host: Option<String>,
    /// User part of our address.
    pub user: Option<String>,
    /// Send the INVITE with a Route to the next hop.
    pub route: bool,
}

/// `GET /v1/sip/trunks/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TrunkView {
    /// Trunk id.
    pub id: String,
    /// `sip_register` or `ip_ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The application it belongs to.
    pub app_id: String,
    /// `registering`, `active`, `failed`, `expired` or `unregistering`; a peer is always `active`.
    pub status: &'static str,
    /// Last error: why it is not active, or why its last refresh failed.
    pub last_error: String,
    /// Creation time.
    pub created_at: String,
    /// Further allowed RTP source networks, besides the address in the SDP.
    pub rtp_from: Vec<String>,
    /// Symmetric RTP: any source address is allowed.
    pub rtp_symmetric: bool,
    /// Account data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sip_register: Option<RegisterView>,
    /// Peer data.
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

/// Representation of a trunk in the API.
pub(super) fn view(t: &Trunk) -> TrunkView {
    let fields = &t.settings.fields;
    let r = t.registration.as_deref();
    let register = t.account().zip(r).map(|(account, r)| RegisterView {
        registrar_uri: fields.registrar_uri.clone(),
        outbound_proxy: fields.outbound_proxy.clone(),
        aor: fields.aor.clone(),
        username: account.username.clone(),
        contact_uri: r.grant.contact.clone(),
        requested_expires_seconds: account.expires,
        granted_expires_seconds: r.grant.seconds,
        last_registered_at: r.grant.registered_at.map(|at| at.rfc3339()),
        next_refresh_at: r.next_at.map(|at| at.rfc3339()),
        call_id: r.identity.call_id.clone(),
        cseq: r.identity.cseq,
        source_address: r.grant.source.map(|s| s.to_string()).unwrap_or_default(),
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

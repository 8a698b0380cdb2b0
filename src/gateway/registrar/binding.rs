//! Contact bindings, and parsing of REGISTER.

use std::time::Instant;

use schemars::JsonSchema;
use serde::Serialize;

use crate::base::time::Utc;
use crate::sip::flow::Flow;
use crate::wire::{NameAddr, Request, Uri};

/// Contacts per user; beyond that a new contact replaces the oldest.
pub const MAX_CONTACTS: usize = 5;
/// Shortest and longest registration interval, seconds.
pub const EXPIRES: (u32, u32) = (60, 3600);

/// A contact binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) user: String,
    pub(super) contact: Uri,
    /// Flow of its REGISTER: NAT routers let calls through on this flow only.
    pub(super) flow: Flow,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    pub(super) agent: String,
    pub(super) created: Utc,
    pub(super) refreshed: Utc,
    pub(super) granted: u32,
    pub(super) expires_at: Utc,
    pub(super) until: Instant,
}

/// Route to a user's phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhoneRoute {
    /// The user.
    pub user: String,
    /// Its Contact.
    pub contact: Uri,
    /// Flow of its REGISTER.
    pub flow: Flow,
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

/// Requested binding of one contact.
pub(super) struct ContactUpdate {
    pub(super) contact: Uri,
    pub(super) expires: u32,
}

/// The contacts of a REGISTER with their expiry; `Ok(None)`: remove all bindings.
pub(super) fn wishes(request: &Request) -> Result<Option<Vec<ContactUpdate>>, (u16, &'static str)> {
    let c = &request.common;
    let number = |v: &str| v.trim().parse::<u32>().unwrap_or(EXPIRES.1);
    let for_all = c.headers.get("Expires").map(number);
    if c.headers.all("Contact").any(|v| v.trim() == "*") {
        // `*` must be the only contact, with Expires 0 (RFC 3261 §10.3 step 6).
        let alone = c.contacts.is_empty() && for_all == Some(0);
        return if alone { Ok(None) } else { Err((400, "Bad Request: Contact * goes with Expires 0")) };
    }
    if c.contacts.len() > MAX_CONTACTS {
        return Err((403, "Too Many Contacts"));
    }
    let wish = |n: &NameAddr| {
        let usable = n.uri.sip().is_some_and(|u| crate::sip::flow::next_hop(u).is_ok());
        let expires = n.params.get("expires").map(number).or(for_all).unwrap_or(EXPIRES.1);
        usable.then(|| ContactUpdate { contact: n.uri.clone(), expires })
    };
    let wishes: Option<Vec<ContactUpdate>> = c.contacts.iter().map(wish).collect();
    wishes.map(Some).ok_or((400, "Bad Request: a Contact that cannot be called"))
}

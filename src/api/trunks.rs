//! Trunks: accounts to register, and peers identified by address.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::endpoint::{Endpoint, JsonAsync, Plain, PlainAsync, endpoint};
use super::http::body::object;
use super::http::error::ApiError;
use super::http::reply::Reply;
use super::patterns;
use super::request::{Call, Outcome};
use super::responses::{Answer, BAD, FULL, Status, error, ok, returns};
use crate::base::secret::Secret;
use crate::config::{DtmfMode, Srtp, TrunkFields};
use crate::gateway::trunks::TrunkView;

const NO_TRUNK: Answer = error(404, "No such trunk");

pub(super) static ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/sip/trunks", "All trunks", &Plain(|c| Ok(list(c))), &[ok::<Trunks>()]),
    endpoint(
        "POST",
        "/sip/trunks",
        "Add a trunk; events report its registration",
        &JsonAsync(|c, body| Box::pin(add(c, body))),
        &[
            returns::<Added>(202, "Added"),
            BAD,
            error(409, "The account is already used by a trunk"),
            error(500, "Done, but the state directory cannot be written"),
            FULL,
        ],
    ),
    endpoint("GET", "/sip/trunks/{id}", "One trunk", &Plain(one), &[ok::<TrunkView>(), NO_TRUNK]),
    endpoint(
        "DELETE",
        "/sip/trunks/{id}",
        "Unregister and remove a trunk",
        &PlainAsync(|c| Box::pin(remove(c))),
        &[
            returns::<Status>(202, "Done"),
            NO_TRUNK,
            error(409, "It is configured in the file"),
            error(500, "Done, but the state directory cannot be written"),
        ],
    ),
];

/// `POST /v1/sip/trunks`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = required_type)]
pub struct AddTrunk {
    /// `sip_register`: an account to register; `ip_ip`: a peer identified by its address.
    #[serde(rename = "type")]
    #[schemars(with = "TrunkType")]
    pub kind: Option<String>,
    /// The application it belongs to.
    #[schemars(length(max = 128), regex(pattern = "^[^\\x00-\\x1f\\x7f/]*$"))]
    pub app_id: Option<String>,
    /// Account data.
    #[serde(deserialize_with = "object")]
    pub sip_register: Option<SipRegister>,
    /// Peer data.
    #[serde(deserialize_with = "object")]
    pub ip_ip: Option<IpIp>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "a schema only")]
enum TrunkType {
    SipRegister,
    IpIp,
}

fn required_type(schema: &mut schemars::Schema) {
    let one = |kind: &str, needed: &[&str], other: &str| {
        let object = serde_json::json!({ "type": "object", "required": needed });
        let none = serde_json::json!({ "type": "null" });
        let properties = serde_json::json!({ "type": { "const": kind }, kind: object, other: none });
        serde_json::json!({ "required": ["type", kind], "properties": properties })
    };
    let both = [
        one("sip_register", &["registrar_uri", "aor"], "ip_ip"),
        one("ip_ip", &["peer_uri"], "sip_register"),
    ];
    schema.insert("required".to_owned(), serde_json::json!(["type"]));
    schema.insert("oneOf".to_owned(), serde_json::json!(both));
}

/// An account at a provider or PBX. Debug output hides the password.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SipRegister {
    /// Registrar, e.g. `sip:sip.example.net`.
    #[schemars(with = "String", length(min = 5), regex(pattern = patterns::SERVER_URI.text))]
    pub registrar_uri: Option<String>,
    /// Address of record, e.g. `sip:100@example.net`.
    #[schemars(with = "String", regex(pattern = patterns::AOR.text))]
    pub aor: Option<String>,
    /// Digest password.
    #[schemars(with = "Option<String>", regex(pattern = patterns::AUTH_PASSWORD.text))]
    pub password: Option<Secret>,
    /// Digest user name; default: user part of `aor`.
    #[schemars(regex(pattern = patterns::AUTH_USER.text))]
    pub username: Option<String>,
    /// Next hop of requests; default: the registrar.
    #[schemars(regex(pattern = patterns::SERVER_URI.text))]
    pub outbound_proxy: Option<String>,
    /// User part of our Contact; default: that of `aor`.
    #[schemars(regex(pattern = patterns::CONTACT_USER.text))]
    pub contact_user: Option<String>,
    /// Registration interval requested, seconds; 0: 3600.
    #[schemars(extend("anyOf" = [{ "const": 0 }, { "minimum": 60, "maximum": 86400 }]))]
    pub expires_seconds: Option<u32>,
    /// Over TLS, accept any certificate.
    pub tls_insecure_skip_verify: Option<bool>,
    /// Media encryption; default: `sip.srtp`.
    pub srtp: Option<Srtp>,
    /// DTMF mode; default: `sip.dtmf`.
    pub dtmf: Option<DtmfMode>,
    /// Further addresses and networks accepted as RTP sources, besides the address in the far end's SDP, e.g.
    /// `10.1.0.0/24`.
    #[schemars(length(max = 16), inner(regex(pattern = patterns::NETWORK.text)))]
    pub rtp_from: Option<Vec<String>>,
    /// Symmetric RTP: accept RTP from any address; the first source that sends 25 valid packets in a row is
    /// latched, and our RTP goes there.
    pub rtp_symmetric: Option<bool>,
}

impl std::fmt::Debug for SipRegister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SipRegister").finish_non_exhaustive()
    }
}

/// A peer identified by its address.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IpIp {
    /// The peer, e.g. `sip:pbx.example.net:5070`.
    #[schemars(with = "String", length(min = 5), regex(pattern = patterns::SERVER_URI.text))]
    pub peer_uri: Option<String>,
    /// Over TLS, accept any certificate.
    pub tls_insecure_skip_verify: Option<bool>,
    /// Media encryption; default: `sip.srtp`.
    pub srtp: Option<Srtp>,
    /// DTMF mode; default: `sip.dtmf`.
    pub dtmf: Option<DtmfMode>,
    /// Further addresses and networks accepted as RTP sources, besides the address in the far end's SDP, e.g.
    /// `10.1.0.0/24`.
    #[schemars(length(max = 16), inner(regex(pattern = patterns::NETWORK.text)))]
    pub rtp_from: Option<Vec<String>>,
    /// Symmetric RTP: accept RTP from any address; the first source that sends 25 valid packets in a row is
    /// latched, and our RTP goes there.
    pub rtp_symmetric: Option<bool>,
}

/// A new trunk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Added {
    /// Its id.
    pub id: String,
    /// `sip_register` or `ip_ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Registration status.
    pub status: &'static str,
}

/// All trunks.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Trunks {
    /// The trunks.
    pub trunks: Vec<TrunkView>,
}

/// `POST /sip/trunks`.
async fn add(call: Call<'_>, body: AddTrunk) -> Outcome {
    let bad = |text: &str| Err(ApiError::BadRequest(text.to_owned()));
    let kind = body.kind.unwrap_or_default();
    let mut fields = TrunkFields { kind, app_id: body.app_id.unwrap_or_default(), ..TrunkFields::default() };
    match (fields.kind.as_str(), body.sip_register, body.ip_ip) {
        ("sip_register", Some(r), None) => {
            fields.registrar_uri = r.registrar_uri.unwrap_or_default();
            fields.aor = r.aor.unwrap_or_default();
            fields.password = r.password.unwrap_or_default();
            fields.username = r.username.unwrap_or_default();
            fields.outbound_proxy = r.outbound_proxy.unwrap_or_default();
            fields.contact_user = r.contact_user.unwrap_or_default();
            fields.expires_seconds = r.expires_seconds.unwrap_or_default();
            fields.tls_insecure_skip_verify = r.tls_insecure_skip_verify.unwrap_or_default();
            fields.srtp = r.srtp;
            fields.dtmf = r.dtmf;
            fields.rtp_from = r.rtp_from.unwrap_or_default();
            fields.rtp_symmetric = r.rtp_symmetric.unwrap_or_default();
        }
        ("ip_ip", None, Some(p)) => {
            fields.peer_uri = p.peer_uri.unwrap_or_default();
            fields.tls_insecure_skip_verify = p.tls_insecure_skip_verify.unwrap_or_default();
            fields.srtp = p.srtp;
            fields.dtmf = p.dtmf;
            fields.rtp_from = p.rtp_from.unwrap_or_default();
            fields.rtp_symmetric = p.rtp_symmetric.unwrap_or_default();
        }
        ("sip_register", Some(_), Some(_)) => return bad("ip_ip: not allowed with this type"),
        ("ip_ip", Some(_), _) => return bad("sip_register: not allowed with this type"),
        ("sip_register", None, _) => return bad("sip_register: an object is expected beside this type"),
        ("ip_ip", _, None) => return bad("ip_ip: an object is expected beside this type"),
        _ => {}
    }
    let trunk = call.app.driver.accounts(|a| a.add_trunk(fields))?;
    written(call.app).await?;
    let added = Added { id: trunk.id, kind: trunk.kind, status: trunk.status };
    Ok(call.object(202, added))
}

/// Waits until a change is stored, or reports that it is not.
async fn written(app: &App) -> Result<(), ApiError> {
    let failed = |e| ApiError::Internal(format!("done, but not saved: lost at the next start: {e}"));
    app.driver.trunk_store().write().await.map_err(failed)
}

/// `GET /sip/trunks`.
fn list(call: Call<'_>) -> Reply {
    call.object(200, Trunks { trunks: call.app.driver.look(|view| view.trunks().views()) })
}

/// `GET /sip/trunks/{id}`.
fn one(call: Call<'_>) -> Outcome {
    let trunk = call.app.driver.look(|view| view.trunks().view_of(call.id()))?;
    Ok(call.object(200, trunk))
}

/// `DELETE /sip/trunks/{id}`.
async fn remove(call: Call<'_>) -> Outcome {
    call.app.driver.accounts(|a| a.remove_trunk(call.id()))?;
    written(call.app).await?;
    Ok(call.object(202, Status { status: "unregistering" }))
}

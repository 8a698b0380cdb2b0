//! Trunks and users, as given in `[[sip.trunk]]`, `[[sip.user]]` and the API.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::dtmf::DtmfMode;
use super::value::parse_net;
use crate::base::secret::{Secret, keep};
use crate::wire::Uri;
use crate::wire::challenge::Algorithm;
use crate::wire::crypto::Srtp;

/// Longest registration interval, seconds.
const LONGEST: u32 = 86_400;
/// Shortest registration interval, seconds.
const SHORTEST: u32 = 60;
const USUAL: u32 = 3600;
/// Most networks in `rtp_from`.
pub const MAX_RTP_FROM: usize = 16;

/// A trunk as written in the file, a request or the state directory. Debug output hides the password.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrunkFields {
    /// Its id.
    pub id: String,
    /// `sip_register` or `ip_ip`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The application it belongs to.
    pub app_id: String,
    /// Registrar URI.
    pub registrar_uri: String,
    /// Address of record, e.g. `sip:100@example.net`.
    pub aor: String,
    /// Digest user name; empty: the user part of `aor`.
    pub username: String,
    /// Digest password.
    #[serde(serialize_with = "keep")]
    pub password: Secret,
    /// File with the password instead.
    pub password_file: String,
    /// Next hop of requests; empty: the registrar.
    pub outbound_proxy: String,
    /// User part of the Contact; empty: that of `aor`.
    pub contact_user: String,
    /// Registration interval requested, seconds; 0: 3600.
    pub expires_seconds: u32,
    /// Over TLS, accept any certificate.
    pub tls_insecure_skip_verify: bool,
    /// Peer of an `ip_ip` trunk, e.g. `sip:pbx.example.net:5070`.
    pub peer_uri: String,
    /// Media encryption; `None`: `sip.srtp` applies.
    pub srtp: Option<Srtp>,
    /// DTMF mode; `None`: `sip.dtmf` applies.
    pub dtmf: Option<DtmfMode>,
    /// Further addresses and networks accepted as RTP sources, besides the address in the far end's SDP; at
    /// most [`MAX_RTP_FROM`].
    pub rtp_from: Vec<String>,
    /// Symmetric RTP: accept RTP from any address; the first source that sends 25 valid packets in a row is
    /// latched, and our RTP goes there.
    pub rtp_symmetric: bool,
    /// Its share of legs, transactions and connections, percent, 1 to 100; `None`: that of a known source.
    /// Settable in the file only.
    pub share_percent: Option<u8>,
    /// `X-Webhook-URL` of its calls is honoured. Settable in the file only.
    pub trust_webhook: bool,
    /// Transfers requested by its far ends may use accounts. Settable in the file only.
    pub allow_refer: bool,
}

impl fmt::Debug for TrunkFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrunkFields").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A validated trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trunk {
    /// The fields as written.
    pub fields: TrunkFields,
    /// Type of trunk.
    pub kind: TrunkKind,
    /// Parsed networks of `rtp_from`.
    pub rtp_from: Vec<IpNet>,
}

/// Type of trunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TrunkKind {
    /// Account at a provider or PBX, where we register.
    Register(Box<Account>),
    /// Peer identified by its address.
    Peer(Uri),
}

/// An account at a registrar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Registrar URI.
    pub registrar: Uri,
    /// Address of record.
    pub aor: Uri,
    /// Digest user name.
    pub username: String,
    /// Next hop of requests.
    pub outbound_proxy: Option<Uri>,
    /// User part of our Contact.
    pub contact_user: String,
    /// Registration interval requested, seconds.
    pub expires: u32,
}

impl TrunkFields {
    /// Validates the fields.
    ///
    /// # Errors
    /// Field, problem and allowed values.
    pub fn check(self) -> Result<Trunk, String> {
        let kind = match self.kind.as_str() {
            "sip_register" => TrunkKind::Register(Box::new(self.account()?)),
            "ip_ip" => TrunkKind::Peer(uri("peer_uri", &self.peer_uri)?),
            "" => return Err("type: sip_register or ip_ip is expected".to_owned()),
            other => {
                return Err(format!("type: {} is neither sip_register nor ip_ip", other.escape_default()));
            }
        };
        for (name, value, most) in [("id", &self.id, 64), ("app_id", &self.app_id, 128)] {
            if value.chars().count() > most || value.chars().any(|c| c.is_ascii_control() || c == '/') {
                return Err(format!("{name}: at most {most} characters, no control characters, no slash"));
            }
        }
        let rtp_from = self.rtp_from.iter().map(|text| rtp_network(text)).collect::<Result<Vec<_>, _>>()?;
        if rtp_from.len() > MAX_RTP_FROM {
            return Err(format!("rtp_from: at most {MAX_RTP_FROM} networks are allowed"));
        }
        if self.share_percent.is_some_and(|p| !(1..=100).contains(&p)) {
            return Err("share_percent: 1 to 100 is allowed".to_owned());
        }
        Ok(Trunk { kind, rtp_from, fields: self })
    }

    fn account(&self) -> Result<Account, String> {
        let aor = uri("aor", &self.aor)?;
        let user = aor.user();
        if user.is_empty() {
            return Err("aor: a user is expected, as sip:100@example.net".to_owned());
        }
        let or_user = |name: &str, value: &str| match value {
            "" => Ok(user.clone()),
            v if v.chars().count() <= 128 && !v.chars().any(|c| c.is_ascii_control()) => Ok(v.to_owned()),
            _ => Err(format!("{name}: at most 128 characters, no control characters")),
        };
        let expires = if self.expires_seconds == 0 { USUAL } else { self.expires_seconds };
        if !(SHORTEST..=LONGEST).contains(&expires) {
            return Err(format!("expires_seconds: {SHORTEST} to {LONGEST} is allowed, or 0 for {USUAL}"));
        }
        let contact_user = or_user("contact_user", &self.contact_user)?;
        if !contact_user.bytes().all(is_user_byte) {
            return Err("contact_user: letters, digits and -_.!~*'()&=+$ are allowed".to_owned());
        }
        password(&self.password)?;
        let proxy = Some(self.outbound_proxy.as_str()).filter(|p| !p.is_empty());
        Ok(Account {
            registrar: uri("registrar_uri", &self.registrar_uri)?,
            username: or_user("username", &self.username)?,
            outbound_proxy: proxy.map(|p| uri("outbound_proxy", p)).transpose()?,
            contact_user,
            expires,
            aor,
        })
    }
}

/// Parses a network; refuses one that contains every address.
fn rtp_network(text: &str) -> Result<IpNet, String> {
    let shown = text.chars().take(64).collect::<String>().escape_default().to_string();
    let net = parse_net(text.trim()).ok_or(format!(
        "rtp_from: {shown} is no address or network; one as \"10.1.0.7\" or \"10.1.0.0/24\" is expected"
    ))?;
    if net.prefix_len() == 0 {
        return Err(format!(
            "rtp_from: {shown} holds every address; rtp_symmetric = true is for far ends anywhere"
        ));
    }
    Ok(net)
}

fn password(secret: &Secret) -> Result<(), String> {
    if secret.reveal().chars().count() > 256 || secret.has_control() {
        return Err("password: at most 256 characters, no control characters".to_owned());
    }
    Ok(())
}

fn is_user_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-_.!~*'()&=+$".contains(&b)
}

fn uri(name: &str, text: &str) -> Result<Uri, String> {
    let expected = || format!("{name}: a SIP URI is expected, as sip:example.net or sip:100@example.net");
    if text.len() > 256 {
        return Err(format!("{name}: at most 256 characters"));
    }
    let uri = Uri::parse(text).map_err(|_| expected())?;
    match &uri {
        Uri::Sip(u) if u.headers.is_none() => Ok(uri),
        Uri::Sip(_) | Uri::Tel(_) | Uri::Other(_) => Err(expected()),
    }
}

/// A phone's account from the configuration file. Debug output hides secrets.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct User {
    /// User part of its address, and digest user name.
    pub name: String,
    /// Password.
    pub password: Secret,
    /// File with the password instead.
    pub password_file: String,
    /// MD5 of `name:realm:password`, hexadecimal, instead of the password.
    pub ha1: Secret,
    /// SHA-256 of `name:realm:password`, hexadecimal, instead of the password.
    pub ha1_sha256: Secret,
    /// The application it belongs to.
    pub app_id: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").finish_non_exhaustive()
    }
}

impl User {
    /// True if its password or hash can answer challenges of this algorithm.
    #[must_use]
    pub fn can_answer(&self, algorithm: Algorithm) -> bool {
        let kept = match algorithm {
            Algorithm::Md5 => &self.ha1,
            Algorithm::Sha256 => &self.ha1_sha256,
        };
        !(self.password.is_empty() && self.password_file.is_empty() && kept.is_empty())
    }

    /// Validates the fields.
    ///
    /// # Errors
    /// Field, problem and allowed values.
    pub fn check(self) -> Result<Self, String> {
        if self.name.is_empty() || self.name.len() > 64 || !self.name.bytes().all(is_user_byte) {
            return Err("name: 1 to 64 letters, digits and -_.!~*'()&=+$ are expected".to_owned());
        }
        password(&self.password)?;
        let hex = |v: &Secret, n: usize| {
            let text = v.reveal();
            v.is_empty() || (text.len() == n && text.bytes().all(|b| b.is_ascii_hexdigit()))
        };
        if !hex(&self.ha1, 32) || !hex(&self.ha1_sha256, 64) {
            return Err("ha1: 32 hexadecimal digits are expected, for ha1_sha256 64".to_owned());
        }
        let given = [&self.password, &self.ha1, &self.ha1_sha256];
        if given.iter().all(|v| v.is_empty()) && self.password_file.is_empty() {
            return Err("password, password_file, ha1 or ha1_sha256 is expected".to_owned());
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> TrunkFields {
        TrunkFields {
            kind: "sip_register".into(),
            registrar_uri: "sip:reg.example.net".into(),
            aor: "sip:100@example.net".into(),
            password: "hunter2".into(),
            ..TrunkFields::default()
        }
    }

    fn from(networks: &[&str]) -> TrunkFields {
        TrunkFields { rtp_from: networks.iter().map(|n| (*n).to_owned()).collect(), ..fields() }
    }

    #[test]
    fn what_is_left_out_follows_from_the_rest() {
        let trunk = fields().check().unwrap();
        let TrunkKind::Register(account) = &trunk.kind else { panic!() };
        assert_eq!((account.username.as_str(), account.contact_user.as_str()), ("100", "100"));
        assert_eq!((account.expires, &account.outbound_proxy), (3600, &None));
        assert!(!format!("{trunk:?}").contains("hunter2"));
    }

    #[test]
    fn rtp_may_come_from_networks_and_single_addresses() {
        let trunk = from(&["10.1.0.0/24", " 192.0.2.7", "2001:db8::/32"]).check().unwrap();
        let shown: Vec<String> = trunk.rtp_from.iter().map(IpNet::to_string).collect();
        assert_eq!(shown, ["10.1.0.0/24", "192.0.2.7/32", "2001:db8::/32"]);
        assert!(from(&["10.1.0.0/24"; MAX_RTP_FROM]).check().is_ok());
    }

    #[test]
    fn wrong_values_are_named() {
        for (wrong, says) in [
            (TrunkFields { kind: "x".into(), ..fields() }, "type: x is neither"),
            (TrunkFields { aor: "sip:example.net".into(), ..fields() }, "aor: a user"),
            (TrunkFields { aor: "100".into(), ..fields() }, "aor: a SIP URI"),
            (TrunkFields { registrar_uri: String::new(), ..fields() }, "registrar_uri: a SIP URI"),
            (TrunkFields { expires_seconds: 5, ..fields() }, "expires_seconds: 60 to 86400"),
            (TrunkFields { contact_user: "a b".into(), ..fields() }, "contact_user: letters"),
            (TrunkFields { password: "a\nb".into(), ..fields() }, "password: at most"),
            (TrunkFields { kind: "ip_ip".into(), ..fields() }, "peer_uri: a SIP URI"),
            (TrunkFields { id: "a/b".into(), ..fields() }, "id: at most"),
            (from(&["10.1.0.0/33"]), "rtp_from: 10.1.0.0/33 is no address"),
            (from(&["10.1.0.1", "pbx.example"]), "rtp_from: pbx.example is no address"),
            (from(&["0.0.0.0/0"]), "rtp_from: 0.0.0.0/0 holds every address"),
            (from(&["::/0"]), "rtp_from: ::/0 holds every address"),
            (from(&["10.1.0.0/24"; MAX_RTP_FROM + 1]), "rtp_from: at most 16"),
        ] {
            let e = wrong.check().unwrap_err();
            assert!(e.starts_with(says), "{e}");
        }
    }

    #[test]
    fn users_need_a_name_and_a_secret() {
        let user = |name: &str, ha1: &str, password: &str| {
            User { name: name.into(), ha1: ha1.into(), password: password.into(), ..User::default() }.check()
        };
        assert!(user("anna", "", "x").is_ok() && user("anna", &"0".repeat(32), "").is_ok());
        for e in [user("", "", "x"), user("a b", "", "x"), user("a", "", ""), user("a", "zz", "")] {
            assert!(e.is_err());
        }
    }
}

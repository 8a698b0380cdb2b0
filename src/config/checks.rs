//! Checks across settings: conflicts are errors, suspicious combinations are warnings.

use super::s3::UploadRequest;
use super::sections::{Config, MAX_NAME_SERVERS};
use super::trunk::{Trunk, TrunkKind};
use crate::wire::Uri;
use crate::wire::challenge::Algorithm;

/// Names listed in an error, at most, per kind.
const SHOWN: usize = 8;

impl Config {
    /// Rules that involve several settings; one message per violated rule.
    #[must_use]
    pub fn conflicts(&self) -> Vec<String> {
        let mut out = Vec::new();
        let tokens = !self.http.tokens.is_empty() || !self.http.token_file.is_empty();
        let guarded = tokens || !self.http.allowed_ips.is_empty() || self.http.trust_lan;
        if !self.http.listen.ip().is_loopback() && !guarded {
            out.push(format!(
                "http.listen = \"{}\" is reachable from the network, but nothing guards the API: set http.tokens \
                 (API_TOKEN), http.token_file or http.allowed_ips (ALLOWED_IPS), or say http.trust_lan = true (TRUST_LAN)",
                self.http.listen
            ));
        }
        let (min, max) = (self.rtp.port_min, self.rtp.port_max);
        if (min, max) != (0, 0) && (min == 0 || u32::from(max) < u32::from(min) + 100) {
            out.push(format!(
                "rtp.port_min = {min} and rtp.port_max = {max}: the range must span at least 100 ports, or both be 0"
            ));
        }
        let families = self.sip.bind_ip6.is_some_and(|ip| ip.is_ipv4() || self.sip.bind_ip.is_ipv6());
        if families {
            out.push("sip.bind_ip6 is an IPv6 address beside an IPv4 sip.bind_ip".to_owned());
        }
        if self.dns.servers.len() > MAX_NAME_SERVERS {
            let n = self.dns.servers.len();
            out.push(format!(
                "dns.servers (DNS_SERVERS) has {n} name servers, at most {MAX_NAME_SERVERS} are asked"
            ));
        }
        if self.sip.tls.cert.is_empty() != self.sip.tls.key.is_empty() {
            out.push("sip.tls.cert and sip.tls.key belong together: set both or none".to_owned());
        }
        let twice = |mut names: Vec<&str>| {
            names.sort_unstable();
            names.windows(2).find_map(|w| w.first().filter(|n| w.last() == Some(n)).map(|n| (*n).to_owned()))
        };
        if let Some(id) = twice(self.sip.trunks.iter().map(|t| t.fields.id.as_str()).collect()) {
            out.push(format!("two of [[sip.trunk]] have the id \"{id}\""));
        }
        if let Some(name) = twice(self.sip.users.iter().map(|u| u.name.as_str()).collect()) {
            out.push(format!("two of [[sip.user]] have the name \"{name}\""));
        }
        out.extend(self.users_at_odds());
        if self.s3.access_key.is_empty()
            != (self.s3.secret_key.is_empty() && self.s3.secret_key_file.is_empty())
        {
            out.push(
                "s3.access_key and s3.secret_key (or s3.secret_key_file) belong together: set both or none"
                    .to_owned(),
            );
        }
        if !self.s3.bucket.is_empty()
            && let Err(e) = self.s3.place(&UploadRequest::default())
        {
            out.push(format!("[s3]: {e}"));
        }
        if !self.sip.tls.client_ca.is_empty() && self.sip.tls.cert.is_empty() {
            out.push("sip.tls.client_ca needs sip.tls.cert and sip.tls.key".to_owned());
        }
        out
    }

    /// Users that cannot share one challenge: everyone gets the same challenge, so that it does not reveal
    /// which users exist.
    fn users_at_odds(&self) -> Option<String> {
        let cannot = |algorithm| {
            let names = self.sip.users.iter().filter(|u| !u.can_answer(algorithm)).map(|u| u.name.as_str());
            names.collect::<Vec<_>>()
        };
        let (no_sha256, no_md5) = (cannot(Algorithm::Sha256), cannot(Algorithm::Md5));
        let list = |names: &[&str]| {
            let more = if names.len() > SHOWN {
                format!(" and {} more", names.len() - SHOWN)
            } else {
                String::new()
            };
            format!("{}{more}", names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", "))
        };
        (!no_sha256.is_empty() && !no_md5.is_empty()).then(|| {
            format!(
                "[[sip.user]] with ha1 alone ({}) and with ha1_sha256 alone ({}) cannot answer the same challenge, and all \
                 users are asked the same: keep one kind of hash for all, or passwords",
                list(&no_sha256),
                list(&no_md5)
            )
        })
    }

    /// Warnings about valid settings, one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let trusted = |t: &&Trunk| t.fields.trust_webhook && !is_over_a_stream(hop(t));
        let without_effect = |t: &Trunk| {
            format!(
                "sip.trunk {}: trust_webhook is honoured for calls over TCP or TLS only, since the source of a datagram \
                 can be spoofed; the trunk's URI selects neither (transport=tcp, transport=tls or sips:)",
                t.fields.id
            )
        };
        self.sip.trunks.iter().filter(trusted).map(without_effect).collect()
    }
}

/// Next hop of a trunk's requests according to the configuration.
fn hop(trunk: &Trunk) -> &Uri {
    match &trunk.kind {
        TrunkKind::Register(account) => account.outbound_proxy.as_ref().unwrap_or(&account.registrar),
        TrunkKind::Peer(uri) => uri,
    }
}

fn is_over_a_stream(uri: &Uri) -> bool {
    let named = |t: &str| ["tcp", "tls"].iter().any(|s| s.eq_ignore_ascii_case(t));
    uri.sip().is_some_and(|u| u.secure || u.params.get("transport").is_some_and(named))
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    #[test]
    fn users_that_cannot_be_asked_the_same_are_named() {
        let user = |name: &str, secret: &str| format!("[[sip.user]]\nname = \"{name}\"\n{secret}\n");
        let (md5, sha) =
            (format!("ha1 = \"{}\"", "a".repeat(32)), format!("ha1_sha256 = \"{}\"", "b".repeat(64)));
        let (file, both) = ("password_file = \"/f\"", format!("{md5}\n{sha}"));
        let read = |users: &[String]| load(&Sources { file: Some(("f", &users.concat())), env: &[] });
        let good =
            [user("anna", &md5), user("bea", "password = \"p\""), user("carl", file), user("dora", &both)];
        assert!(read(&good).is_ok());
        let mut bad = good.to_vec();
        bad.extend((0..10).map(|n| user(&format!("sha{n}"), &sha)));
        let faults = read(&bad).unwrap_err();
        assert_eq!(faults.len(), 1);
        let said = &faults[0].what;
        assert!(
            said.contains("ha1 alone (anna)")
                && said.contains("(sha0, sha1, ")
                && said.contains("and 2 more"),
            "{said}"
        );
        assert!(!said.contains("bea") && !said.contains("carl") && !said.contains("dora"), "{said}");
    }

    #[test]
    fn a_trusted_trunk_over_udp_is_told_of() {
        let warnings = |trunk: &str| {
            let text = format!("[[sip.trunk]]\nid = \"pbx\"\ntrust_webhook = true\n{trunk}\n");
            load(&Sources { file: Some(("f", &text)), env: &[] }).unwrap().warnings()
        };
        let peer = |uri: &str| warnings(&format!("type = \"ip_ip\"\npeer_uri = \"{uri}\""));
        for (uri, warned) in [
            ("sip:10.0.0.7", true),
            ("sip:pbx.example;transport=udp", true),
            ("sip:pbx.example;transport=TCP", false),
            ("sip:pbx.example;transport=tls", false),
            ("sips:pbx.example", false),
        ] {
            let told = peer(uri);
            assert_eq!(
                told.iter().any(|w| w.contains("sip.trunk pbx: trust_webhook")),
                warned,
                "{uri}: {told:?}"
            );
        }
        let account = "type = \"sip_register\"\naor = \"sip:1@x\"\nregistrar_uri = \"sip:x;transport=tls\"";
        assert!(warnings(account).is_empty());
        assert_eq!(warnings(&format!("{account}\noutbound_proxy = \"sip:10.0.0.9\"")).len(), 1);
        let untrusted = "[[sip.trunk]]\nid = \"a\"\ntype = \"ip_ip\"\npeer_uri = \"sip:a\"\n";
        assert!(load(&Sources { file: Some(("f", untrusted)), env: &[] }).unwrap().warnings().is_empty());
    }
}

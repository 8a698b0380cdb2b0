//! What is allowed, and perhaps not what was meant.

use super::Config;
use super::trunk::{Trunk, TrunkKind};
use crate::wire::Uri;

impl Config {
    /// One line for each thing that an operator should know of settings that are right.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let trusted = |t: &&Trunk| t.fields.trust_webhook && !is_over_a_stream(hop(t));
        let without_effect = |t: &Trunk| {
            format!(
                "sip.trunk {}: trust_webhook is honoured for calls over TCP or TLS only, since the source of a datagram \
                 can be made up; the trunk's URI asks for neither (transport=tcp, transport=tls or sips:)",
                t.fields.id
            )
        };
        self.sip.trunks.iter().filter(trusted).map(without_effect).collect()
    }
}

/// Where the requests of a trunk go first, as the configuration says.
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

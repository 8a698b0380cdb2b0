//! Verifies that a server's certificate is valid for the SIP domain called (RFC 5922 §7).

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::wire::{Host, Uri};

/// Maximum names listed in an error.
const SHOWN: usize = 5;

/// Accepts certificates issued by a trusted authority that contain the domain.
#[derive(Debug)]
pub struct SipServer {
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
    allow_wildcard: bool,
}

/// Why a certificate is not valid for a name.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
enum Mismatch {
    #[error("the certificate is not valid for \"{0}\": it is for {1}")]
    Others(String, String),
    #[error("the certificate has no subjectAltName of a SIP server; a CN does not count")]
    Nameless,
    #[error(
        "the certificate contains \"{0}\" as a wildcard only (RFC 5922 §7.2); sip.tls.allow_wildcard accepts it"
    )]
    Wildcard(String),
}

/// The same text, since rustls errors use Debug.
impl std::fmt::Debug for Mismatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl SipServer {
    /// Trusts these authorities; with `allow_wildcard`, a `*.` name is valid for all names one label longer.
    #[must_use]
    pub fn new(roots: RootCertStore, provider: Arc<CryptoProvider>, allow_wildcard: bool) -> Self {
        Self { roots, provider, allow_wildcard }
    }
}

impl ServerCertVerifier for SipServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let named = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        // A configured IP address is verified by an iPAddress name.
        let is_address = matches!(server_name, ServerName::IpAddress(_));
        if is_address && verify_server_name(&parsed, server_name).is_ok() {
            return Ok(ServerCertVerified::assertion());
        }
        let (uris, names) = (named.valid_uri_names().collect(), named.valid_dns_names().collect());
        judge(&server_name.to_str(), uris, names, self.allow_wildcard)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|e| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(e)))))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The SIP domain of a URI name: `sip:` without user part (RFC 5922 §7.1).
fn domain(uri: &str) -> Option<Host> {
    match Uri::parse(uri) {
        Ok(Uri::Sip(u)) if !u.secure && u.user.is_none() => Some(u.host),
        Ok(_) | Err(_) => None,
    }
}

/// Checks whether a certificate with these subjectAltNames is valid for `wanted`. DNS names are used only if
/// no URI contains a SIP domain (RFC 5922 §7.1); only exact matches are accepted (§7.2).
fn judge(wanted: &str, uris: Vec<&str>, names: Vec<&str>, allow_wildcard: bool) -> Result<(), Mismatch> {
    let host = wanted.parse::<IpAddr>().map_or_else(|_| Host::Name(wanted.to_ascii_lowercase()), Host::Ip);
    let domains: Vec<Host> = uris.iter().filter_map(|u| domain(u)).collect();
    let names = if domains.is_empty() { names } else { Vec::new() };
    let whole = |name: &&str| !name.starts_with('*') && host.is_same(&Host::Name((*name).to_owned()));
    if domains.iter().any(|d| d.is_same(&host)) || names.iter().any(whole) {
        return Ok(());
    }
    let wild = names.iter().any(|name| match (name.strip_prefix("*."), &host) {
        (Some(rest), Host::Name(host)) => host
            .split_once('.')
            .is_some_and(|(_, parent)| Host::Name(parent.to_owned()).is_same(&Host::Name(rest.to_owned()))),
        _ => false,
    });
    match wild {
        true if allow_wildcard => Ok(()),
        true => Err(Mismatch::Wildcard(wanted.to_owned())),
        false if domains.is_empty() && names.is_empty() => Err(Mismatch::Nameless),
        false => {
            let all = domains.iter().map(|d| format!("sip:{d}")).chain(names.iter().map(|n| (*n).to_owned()));
            let all: Vec<String> = all.take(SHOWN).collect();
            Err(Mismatch::Others(wanted.to_owned(), all.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    macro_rules! certificate {
        ($name:literal) => {
            CertificateDer::from_pem_slice(include_bytes!(concat!(
                "../../../tests/vectors/certificates/",
                $name,
                ".pem"
            )))
            .unwrap()
        };
    }

    fn verdict(certificate: &CertificateDer<'_>, name: &str, allow_wildcard: bool) -> Option<String> {
        let mut roots = RootCertStore::empty();
        roots.add(certificate!("ca")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = SipServer::new(roots, provider, allow_wildcard);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_900_000_000));
        server.verify_server_cert(certificate, &[], &name, &[], now).err().map(|e| e.to_string())
    }

    #[test]
    fn certificates_are_valid_for_their_sip_domains() {
        let (uri, dns) = (certificate!("uri"), certificate!("dns"));
        // URI:sip:example.net, DNS:sip.example.net
        assert_eq!(verdict(&uri, "example.net", false), None);
        assert_eq!(verdict(&uri, "EXAMPLE.net", false), None);
        let other = verdict(&uri, "sip.example.net", false).unwrap();
        assert!(other.contains("it is for sip:example.net"), "{other}");
        // DNS:Example.Net, IP:192.0.2.1
        assert_eq!(verdict(&dns, "example.net", false), None);
        assert_eq!(verdict(&dns, "192.0.2.1", false), None);
        for name in ["sip.example.net", "net", "192.0.2.2"] {
            assert!(verdict(&dns, name, true).is_some(), "{name}");
        }
        // URI:sip:anna@example.net, URI:sips:example.net, URI:https://example.net; then CN=example.net alone.
        for nameless in [certificate!("user"), certificate!("cn")] {
            let why = verdict(&nameless, "example.net", true).unwrap();
            assert!(why.contains("no subjectAltName of a SIP server"), "{why}");
        }
    }

    #[test]
    fn wildcards_are_accepted_if_allowed() {
        let wild = certificate!("wild"); // DNS:*.example.net
        let why = verdict(&wild, "sip.example.net", false).unwrap();
        assert!(why.contains("sip.tls.allow_wildcard"), "{why}");
        assert_eq!(verdict(&wild, "sip.example.net", true), None);
        for name in ["example.net", "a.sip.example.net", "sip.example.com"] {
            assert!(verdict(&wild, name, true).is_some(), "{name}");
        }
    }

    #[test]
    fn the_chain_is_verified_as_well_as_the_name() {
        let dns = certificate!("dns");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let name = ServerName::try_from("example.net").unwrap();
        let at = |roots: RootCertStore, seconds: u64| {
            let server = SipServer::new(roots, Arc::clone(&provider), false);
            server.verify_server_cert(
                &dns,
                &[],
                &name,
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            )
        };
        let unknown = at(RootCertStore::empty(), 1_900_000_000).unwrap_err();
        assert_eq!(unknown, Error::InvalidCertificate(CertificateError::UnknownIssuer));
        let mut roots = RootCertStore::empty();
        roots.add(certificate!("ca")).unwrap();
        assert!(at(roots.clone(), 1_900_000_000).is_ok());
        assert!(at(roots, 1_000_000_000).is_err(), "not valid yet");
    }

    #[test]
    fn names_are_compared_as_a_whole() {
        let good = |wanted: &str, uris: &[&str], names: &[&str]| {
            judge(wanted, uris.to_vec(), names.to_vec(), false).is_ok()
        };
        assert!(good("h.example", &["SIP:H.Example"], &[]));
        assert!(good("h.example.", &[], &["h.example"]), "the dot of the root");
        assert!(good("h.example", &["sip:h.example;transport=tls"], &[]));
        assert!(good("192.0.2.1", &["sip:192.0.2.1"], &[]));
        assert!(good("2001:db8::1", &["sip:[2001:DB8:0::1]"], &[]));
        assert!(
            good("h.example", &["https://x.example", "garbage"], &["h.example"]),
            "no SIP domain among the URIs"
        );
        assert!(!good("h.example", &["sip:x.example"], &["h.example"]), "a SIP domain among them");
        for name in ["*.h.example", ".h.example", "a.h.example", "example", "*"] {
            assert!(!good("h.example", &[], &[name]), "{name}");
        }
        assert!(!good("192.0.2.1", &[], &["192.0.2.1"]), "an address is no DNS name");
    }
}

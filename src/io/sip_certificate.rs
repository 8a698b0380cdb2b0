//! Whose certificate is good for a SIP server (RFC 5922 §7.1, §7.2).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use crate::wire::Uri;

/// Checks the certificate of a SIP server: it leads to an authority that is trusted, and it names the server.
#[derive(Debug)]
pub struct SipServerVerifier {
    /// Authorities.
    pub roots: RootCertStore,
    /// What signatures are checked with.
    pub provider: Arc<CryptoProvider>,
    /// `*.example.net` is good for `sip.example.net`.
    pub allow_wildcard: bool,
}

impl ServerCertVerifier for SipServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        let certificate = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let uris: Vec<&str> = certificate.valid_uri_names().collect();
        let dns: Vec<&str> = certificate.valid_dns_names().collect();
        let named = match server_name {
            ServerName::DnsName(name) => names(&uris, &dns, name.as_ref(), self.allow_wildcard),
            // Addresses stand in names of their own kind.
            ServerName::IpAddress(_) | _ => certificate.verify_is_valid_for_subject_name(server_name).is_ok(),
        };
        if named {
            return Ok(ServerCertVerified::assertion());
        }
        let presented = uris.iter().map(|u| format!("URI:{u}")).chain(dns.iter().map(|d| format!("DNS:{d}")));
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: server_name.to_owned(),
            presented: presented.collect(),
        }))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// True when a certificate with these names is one of `server`: SIP URIs without a user count, and names of the DNS where
/// there are none of those. The common name never does.
fn names(uris: &[&str], dns: &[&str], server: &str, allow_wildcard: bool) -> bool {
    let domains: Vec<String> = uris.iter().filter_map(|u| domain_of(u)).collect();
    if !domains.is_empty() {
        return domains.iter().any(|d| same(d, server));
    }
    dns.iter().any(|name| match name.strip_prefix("*.") {
        None => same(name, server),
        // For one label, as elsewhere.
        Some(rest) => {
            allow_wildcard
                && server.split_once('.').is_some_and(|(first, s)| !first.is_empty() && same(rest, s))
        }
    })
}

/// The domain that a `sip:` URI stands for; one with a user names somebody, and `sips:` is not of this kind.
fn domain_of(uri: &str) -> Option<String> {
    let uri = Uri::parse(uri).ok()?;
    let sip = uri.sip().filter(|s| !s.secure && s.user.is_none())?;
    Some(sip.host.to_string())
}

fn same(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_a_server_by_uri_or_by_dns() {
        let host = "sip.example.net";
        for (uris, dns, good) in [
            (&["sip:sip.example.net"][..], &[][..], true),
            (&["SIP:SIP.Example.NET"], &[], true),
            (&["sip:other.example.net", "sip:sip.example.net"], &[], true),
            (&[], &["sip.example.net"], true),
            (&[], &["other.example.net", "SIP.EXAMPLE.NET"], true),
            // A name of the DNS counts only where there is no SIP URI.
            (&["sip:other.example.net"], &["sip.example.net"], false),
            // Somebody, another scheme, or no URI at all.
            (&["sip:anna@sip.example.net"], &[], false),
            (&["sip:anna@sip.example.net"], &["sip.example.net"], true),
            (&["sips:sip.example.net"], &[], false),
            (&["https://sip.example.net"], &["sip.example.net"], true),
            (&["::"], &["sip.example.net"], true),
            // More or less than the name.
            (&[], &["example.net"], false),
            (&[], &["a.sip.example.net", "sip.example.net.evil"], false),
            (&["sip:example.net"], &[], false),
            (&[], &[], false),
            (&[], &["*.example.net"], false),
        ] {
            assert_eq!(names(uris, dns, host, false), good, "{uris:?} {dns:?}");
        }
    }

    #[test]
    fn a_wildcard_is_for_one_label_and_only_where_it_is_allowed() {
        for (name, server, good) in [
            ("*.example.net", "sip.example.net", true),
            ("*.Example.net", "SIP.example.NET", true),
            ("*.example.net", "a.sip.example.net", false),
            ("*.example.net", "example.net", false),
            ("*.example.net", ".example.net", false),
            ("s*.example.net", "sip.example.net", false),
        ] {
            assert_eq!(names(&[], &[name], server, true), good, "{name} for {server}");
            assert!(!names(&[], &[name], server, false));
        }
        assert!(!names(&["sip:*.example.net"], &[], "sip.example.net", true), "URIs have none");
    }
}

//! TLS for SIP (RFC 3261 §26.3, RFC 5922): trusted authorities and our certificate.

use std::path::Path;
use std::sync::Arc;

use futures_rustls::{TlsAcceptor, TlsConnector};
use rustls::client::WantsClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::tls_names::SipServer;
use crate::config::Tls as Settings;

/// TLS configuration of both directions.
#[derive(Clone)]
pub struct Tls {
    strict: TlsConnector,
    lax: TlsConnector,
    acceptor: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files of the configuration.
    ///
    /// # Errors
    /// The setting and the error of its file.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let own = own_certificate(settings)?;
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        add_authorities(&mut roots, "sip.tls.ca", &settings.ca)?;
        let verifier = Arc::new(SipServer::new(roots, Arc::clone(&provider), settings.allow_wildcard));
        let anyone = Arc::new(Anyone(Arc::clone(&provider)));
        Ok(Self {
            strict: client(&provider, verifier, own.as_ref())?,
            lax: client(&provider, anyone, own.as_ref())?,
            acceptor: own.map(|own| server(&provider, settings, own)).transpose()?,
        })
    }

    /// For outgoing connections; `lax` accepts any certificate.
    #[must_use]
    pub fn connector(&self, lax: bool) -> &TlsConnector {
        if lax { &self.lax } else { &self.strict }
    }

    /// For incoming connections, if a certificate is configured.
    #[must_use]
    pub fn acceptor(&self) -> Option<&TlsAcceptor> {
        self.acceptor.as_ref()
    }
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own_certificate(settings: &Settings) -> Result<Option<Own>, String> {
    if settings.cert.is_empty() {
        return Ok(None);
    }
    let chain = certificates("sip.tls.cert", &settings.cert)?;
    let key = PrivateKeyDer::from_pem_file(&settings.key)
        .map_err(|e| format!("sip.tls.key {}: {e}", settings.key))?;
    Ok(Some((chain, key)))
}

fn certificates(setting: &str, path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let bad = |e: rustls_pki_types::pem::Error| format!("{setting} {path}: {e}");
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(Path::new(path)).map_err(bad)?.collect();
    let all = all.map_err(bad)?;
    if all.is_empty() { Err(format!("{setting} {path}: it contains no certificate")) } else { Ok(all) }
}

fn add_authorities(roots: &mut RootCertStore, setting: &str, path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Ok(());
    }
    for certificate in certificates(setting, path)? {
        roots.add(certificate).map_err(|e| format!("{setting} {path}: {e}"))?;
    }
    Ok(())
}

fn client(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    own: Option<&Own>,
) -> Result<TlsConnector, String> {
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> =
        ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
    let config = match own {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|e| format!("sip.tls.cert and sip.tls.key: {e}"))?,
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server(provider: &Arc<CryptoProvider>, settings: &Settings, own: Own) -> Result<TlsAcceptor, String> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = if settings.client_ca.is_empty() {
        builder.with_no_client_auth()
    } else {
        let mut roots = RootCertStore::empty();
        add_authorities(&mut roots, "sip.tls.client_ca", &settings.client_ca)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .build()
            .map_err(|e| format!("sip.tls.client_ca: {e}"))?;
        builder.with_client_cert_verifier(verifier)
    };
    let config =
        builder.with_single_cert(own.0, own.1).map_err(|e| format!("sip.tls.cert and sip.tls.key: {e}"))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Accepts any certificate, for trunks configured to do so; the handshake itself is still verified.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

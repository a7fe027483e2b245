//! TLS of the agent: one provider, and trust that is given, never found on the system.

use std::sync::Arc;

use rustls::DigitallySignedStruct;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::identity::Credentials;

/// Key or certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the device's key or certificates cannot be used ({0}); enrol the device again")]
pub struct CredentialsError(String);

/// Chooses the provider of all cryptography, once for the process. Anybody may call it again.
pub fn install_provider() {
    // The second call answers with the provider that is installed, which is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// TLS with the device's certificate, trusting the fleet's CA alone, for the name that enrolment
/// gave, wherever the connection leads.
///
/// # Errors
/// Key or certificates are unusable.
pub fn client_config(credentials: &Credentials) -> Result<rustls::ClientConfig, CredentialsError> {
    let unusable = |e: &dyn std::fmt::Display| CredentialsError(e.to_string());
    let certificates = |pem: &str| {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| unusable(&e))
    };
    let mut roots = rustls::RootCertStore::empty();
    for ca in certificates(&credentials.ca_pem)? {
        roots.add(ca).map_err(|e| unusable(&e))?;
    }
    let web_pki =
        WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|e| unusable(&e))?;
    let name =
        ServerName::try_from(credentials.identity.mqtt_host.clone()).map_err(|e| unusable(&e))?;
    let chain = certificates(&credentials.certificate_pem)?;
    let key =
        PrivateKeyDer::from_pem_slice(credentials.key_pem.as_bytes()).map_err(|e| unusable(&e))?;
    rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Named { web_pki, name }))
        .with_client_auth_cert(chain, key)
        .map_err(|e| unusable(&e))
}

/// The ordinary verification, with a name that does not depend on the address dialled: a relay
/// between device and control plane is possible, and cannot pose as it.
#[derive(Debug)]
struct Named {
    web_pki: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let name = &self.name;
        self.web_pki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.web_pki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.web_pki.supported_verify_schemes()
    }
}

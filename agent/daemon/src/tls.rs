//! TLS of the agent: one provider, and trust that is given, never found on the system.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WantsClientCert, WebPkiServerVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ConfigBuilder, DigitallySignedStruct};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::clock;
use crate::identity::Credentials;

/// Key or certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the device's key or certificates cannot be used ({0}); enrol the device again")]
pub struct CredentialsError(String);

/// A connection, with TLS or without. Behind a pointer, so that all that is built on connections is
/// in the program once.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Chooses the provider of all cryptography, once for the process. Anybody may call it again.
pub fn install_provider() {
    // The second call answers with the provider that is installed, which is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The time by which certificates are judged. A device without a battery for its clock begins in
/// 1970, where no certificate holds yet; see [`clock::plausible_wall_ms`].
#[derive(Debug, Clone)]
pub struct TlsTime {
    system_wall_ms: fn() -> i64,
    high_water_wall_ms: i64,
    synced_file: Option<PathBuf>,
}

impl TlsTime {
    /// Knows the highest trusted wall time so far, and the file that exists while the system
    /// vouches for its clock.
    #[must_use]
    pub fn new(high_water_wall_ms: i64, synced_file: &Path) -> Self {
        Self { high_water_wall_ms, synced_file: Some(synced_file.to_owned()), ..Self::default() }
    }

    /// Of a machine whose clock was never set.
    #[cfg(test)]
    pub(crate) fn of_1970(high_water_wall_ms: i64) -> Self {
        Self { system_wall_ms: || 0, high_water_wall_ms, synced_file: None }
    }
}

impl Default for TlsTime {
    /// Knows nothing but when this version was made.
    fn default() -> Self {
        Self { system_wall_ms: clock::wall_ms, high_water_wall_ms: 0, synced_file: None }
    }
}

impl TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        let synced = self.synced_file.as_ref().is_some_and(|file| file.exists());
        let wall_ms = (self.system_wall_ms)();
        let wall_ms = clock::plausible_wall_ms(wall_ms, self.high_water_wall_ms, synced);
        let since_1970 = Duration::from_millis(u64::try_from(wall_ms).ok()?);
        Some(UnixTime::since_unix_epoch(since_1970))
    }
}

/// TLS with the device's certificate, trusting the fleet's CA alone, for the name that enrolment
/// gave, wherever the connection leads.
///
/// # Errors
/// Key or certificates are unusable.
pub fn client_config(
    credentials: &Credentials,
    time: TlsTime,
) -> Result<rustls::ClientConfig, CredentialsError> {
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
    let mut config = trusting(Named { web_pki, name })
        .map_err(|e| unusable(&e))?
        .with_client_auth_cert(chain, key)
        .map_err(|e| unusable(&e))?;
    config.time_provider = Arc::new(time);
    Ok(config)
}

/// TLS that trusts whoever these certificates (PEM) vouch for, under the name that is dialled.
///
/// # Errors
/// There is no certificate in it, or none that can be used.
pub fn trusting_ca(ca_pem: &str, time: TlsTime) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
        let added = ca.map_err(|e| e.to_string()).map(|ca| roots.add(ca));
        added?.map_err(|e| e.to_string())?;
    }
    if roots.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let mut config =
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.time_provider = Arc::new(time);
    Ok(config)
}

/// Whom a connection trusts: the part of a verifier in which one differs from another.
pub(crate) trait Trust: std::fmt::Debug + Send + Sync {
    /// Judges the chain that a server shows; `dialled` is what it was called.
    ///
    /// # Errors
    /// It is not to be trusted.
    fn judge(
        &self,
        chain: Chain<'_>,
        dialled: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error>;
}

/// What a server shows of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chain<'a> {
    end_entity: &'a CertificateDer<'a>,
    /// What it sends along, in any order.
    pub(crate) others: &'a [CertificateDer<'a>],
    ocsp_response: &'a [u8],
}

impl Chain<'_> {
    /// The ordinary verification, for a name.
    ///
    /// # Errors
    /// The chain does not lead to the verifier's roots, does not hold now, or is another name's.
    pub(crate) fn verify(
        self,
        by: &WebPkiServerVerifier,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        by.verify_server_cert(self.end_entity, self.others, name, self.ocsp_response, now)
    }
}

/// A client's TLS that trusts as it is told, without a certificate of its own yet.
///
/// # Errors
/// There is no provider; see [`install_provider`].
pub(crate) fn trusting(
    trust: impl Trust + 'static,
) -> Result<ConfigBuilder<rustls::ClientConfig, WantsClientCert>, rustls::Error> {
    let provider = CryptoProvider::get_default()
        .ok_or_else(|| rustls::Error::General("no TLS provider is installed".to_owned()))?;
    let verifier = Verifier { trust, algorithms: provider.signature_verification_algorithms };
    Ok(rustls::ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier)))
}

/// A verifier: signatures are the provider's business, chains are judged by whom it trusts.
#[derive(Debug)]
struct Verifier<T> {
    trust: T,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<T: Trust> ServerCertVerifier for Verifier<T> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = Chain { end_entity, others: intermediates, ocsp_response };
        self.trust.judge(chain, server_name, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The ordinary verification, with a name that does not depend on the address dialled: a relay
/// between device and control plane is possible, and cannot pose as it.
#[derive(Debug)]
struct Named {
    web_pki: Arc<WebPkiServerVerifier>,
    name: ServerName<'static>,
}

impl Trust for Named {
    fn judge(
        &self,
        chain: Chain<'_>,
        _dialled: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        chain.verify(&self.web_pki, &self.name, now)
    }
}

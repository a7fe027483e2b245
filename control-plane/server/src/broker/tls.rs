//! TLS for the gate: our certificate, and a client certificate of the fleet's CA or nothing.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use crate::fleet::ca::{FleetCa, ServerIdentity};

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The library refuses our certificates or settings.
    #[error("cannot set up TLS: {0}")]
    Config(#[from] rustls::Error),
    /// The library refuses to verify clients with our authority.
    #[error("cannot verify clients: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// TLS 1.2 and 1.3; a client without a certificate of the fleet's CA gets a TLS alert.
///
/// Sessions are not resumed: a resumed session would carry a certificate whose end or revocation
/// nobody has looked at again.
///
/// # Errors
/// The library refuses our certificates or settings.
pub(crate) fn server_config(
    ca: &FleetCa,
    identity: Arc<ServerIdentity>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(ca.certificate().clone())?;
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(identity);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

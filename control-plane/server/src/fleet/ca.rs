//! The fleet's own certificate authority, and the key that signs desired state.
//!
//! Made at the first start under `<data>/pki`: `ca.key` and `ca.pem` (ECDSA P-256), `desired.key`
//! (Ed25519). Key files are readable by their owner alone and written atomically. The server's
//! own certificate is not kept: it is made at each start and renewed while the server runs, so
//! there is one private key less to look after.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use openclaw_points::{Point, reach};
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData,
    SanType, SerialNumber, SigningKey,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Life of a device certificate, in milliseconds: 90 days.
pub const DEVICE_CERTIFICATE_MS: i64 = 90 * DAY_MS;
/// Life of the server's own certificate, in milliseconds: 90 days; renewed at two thirds.
const SERVER_CERTIFICATE_MS: i64 = 90 * DAY_MS;
/// Life of the authority, in milliseconds: 20 years.
const AUTHORITY_MS: i64 = 20 * 365 * DAY_MS;
/// Certificates are valid from a day before they are made, for devices whose clock is behind.
const BACKDATE_MS: i64 = DAY_MS;
/// A certificate request in PEM, in bytes. One for a P-256 key has about 400.
const CSR_BYTES: usize = 8 * 1024;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Why the authority could not be opened or could not issue.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the authority cannot be read or written.
    #[error("cannot use `{path}`: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that a fleet in use needs is not there.
    #[error(
        "`{0}` is missing, and devices trust no other than the one that was there; put it back \
         from the backup (`restore` into an empty folder fills its `pki`)"
    )]
    KeyMissing(PathBuf),
    /// A key or certificate does not parse, or signing failed.
    #[error("{what}: {source}")]
    Crypto {
        /// What was being done.
        what: &'static str,
        /// What the library says.
        source: rcgen::Error,
    },
    /// A configured name is neither a host name nor an address.
    #[error("`{0}` is neither a host name nor an IP address; correct the server's names")]
    Name(String),
    /// The request of a device is not usable.
    #[error("the certificate request is refused: {0}")]
    Request(&'static str),
    /// The system has no randomness.
    #[error("no randomness from the system: {0}")]
    Random(getrandom::Error),
    /// The TLS library refuses our own certificate.
    #[error("the server certificate is unusable: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certificate made for a device.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The certificate in PEM.
    pub pem: String,
    /// SHA-256 of its DER form.
    pub fingerprint: Digest,
    /// When it ends, milliseconds since 1970 UTC.
    pub expires_ms: i64,
}

/// The fleet's certificate authority.
pub struct FleetCa {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
    desired_key: KeyPair,
}

impl FleetCa {
    /// Opens the authority that a fleet has in use: every file of it must be there.
    ///
    /// # Errors
    /// A file is missing, cannot be read, or does not hold what it should.
    pub fn load(dir: &Path, now_ms: i64) -> Result<Self, CaError> {
        for name in ["ca.key", "ca.pem", "desired.key"] {
            let path = dir.join(name);
            if !path.exists() {
                return Err(CaError::KeyMissing(path));
            }
        }
        Self::open(dir, now_ms)
    }

    /// Opens the authority kept in `dir`, making whatever of it there is not: for the first start.
    ///
    /// # Errors
    /// Files that cannot be read or written, or that do not hold what they should.
    pub fn open(dir: &Path, now_ms: i64) -> Result<Self, CaError> {
        fs::create_dir_all(dir).map_err(|source| CaError::File { path: dir.into(), source })?;
        restrict(dir, 0o700)?;
        let (key_path, pem_path) = (dir.join("ca.key"), dir.join("ca.pem"));
        let key = match (read_key(&key_path)?, pem_path.exists()) {
            (Some(key), _) => key,
            (None, true) => return Err(CaError::KeyMissing(key_path)),
            (None, false) => make_key(&key_path, &rcgen::PKCS_ECDSA_P256_SHA256)?,
        };
        // A crash between the two files leaves a key alone; nothing was issued yet, so a new
        // certificate for it harms nobody.
        if !pem_path.exists() {
            let certificate = authority_params(now_ms)?.self_signed(&key);
            let certificate = crypto("make the fleet's authority", certificate)?;
            write_atomic(&pem_path, certificate.pem().as_bytes(), 0o644)?;
        }
        let certificate_pem = fs::read_to_string(&pem_path)
            .map_err(|source| CaError::File { path: pem_path, source })?;
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes());
        let certificate = certificate.map_err(|_| CaError::Crypto {
            what: "read ca.pem",
            source: rcgen::Error::CouldNotParseCertificate,
        })?;
        let issuer = crypto("read ca.pem", Issuer::from_ca_cert_der(&certificate, key))?;
        let desired_path = dir.join("desired.key");
        let desired_key = match read_key(&desired_path)? {
            Some(key) => key,
            None => make_key(&desired_path, &rcgen::PKCS_ED25519)?,
        };
        Ok(Self { certificate, certificate_pem, issuer, desired_key })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The authority's certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// SHA-256 of the authority's certificate: what a join code carries.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        fingerprint(&self.certificate)
    }

    /// The public half of the key that signs desired state, 64 hexadecimal digits.
    #[must_use]
    pub fn desired_key_hex(&self) -> String {
        data_encoding::HEXLOWER.encode(self.desired_key.public_key_raw())
    }

    /// Signs a packed desired-state document (Ed25519, RFC 8032); 64 bytes.
    ///
    /// # Errors
    /// The signing library fails, which it does not for a key it made itself.
    pub fn sign_desired(&self, document: &[u8]) -> Result<Vec<u8>, CaError> {
        crypto("sign desired state", self.desired_key.sign(document))
    }

    /// Issues a device certificate for the public key in a PKCS #10 request. Nothing else of the
    /// request is used: subject, names and purposes are the server's.
    ///
    /// # Errors
    /// The request is malformed, too long, not signed by its key, or its key is of a kind we do
    /// not take (P-256, P-384 and Ed25519 are).
    pub fn issue(
        &self,
        csr_pem: &str,
        tenant: &TenantId,
        device: &DeviceId,
        now_ms: i64,
    ) -> Result<IssuedCertificate, CaError> {
        let key = requested_key(csr_pem)?;
        let mut params = leaf_params(device.as_str(), ExtendedKeyUsagePurpose::ClientAuth)?;
        params.subject_alt_names = vec![SanType::URI(identity_uri(tenant, device)?)];
        let expires_ms = now_ms.saturating_add(DEVICE_CERTIFICATE_MS);
        set_validity(&mut params, now_ms, expires_ms);
        let certificate =
            crypto("issue a device certificate", params.signed_by(&key, &self.issuer))?;
        Ok(IssuedCertificate {
            pem: certificate.pem(),
            fingerprint: fingerprint(certificate.der()),
            expires_ms,
        })
    }

    /// Makes the server's own key and certificate for these names; the chain sent to clients
    /// includes the authority, so that an enrolling device can check its fingerprint.
    fn certify_server(&self, names: &[String], now_ms: i64) -> Result<CertifiedKey, CaError> {
        let key = crypto("make the server's key", KeyPair::generate())?;
        let mut params =
            leaf_params("openclaw-control-plane", ExtendedKeyUsagePurpose::ServerAuth)?;
        params.subject_alt_names =
            names.iter().map(|name| server_name(name)).collect::<Result<_, _>>()?;
        set_validity(&mut params, now_ms, now_ms.saturating_add(SERVER_CERTIFICATE_MS));
        let certificate =
            crypto("issue the server's certificate", params.signed_by(&key, &self.issuer))?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = PrivateKeyDer::from(key);
        Ok(CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?)
    }
}

impl std::fmt::Debug for FleetCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FleetCa").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

/// The server's own certificate, for HTTPS and MQTT alike, replaced while connections go on.
#[derive(Debug)]
pub struct ServerIdentity {
    names: Vec<String>,
    current: RwLock<(Arc<CertifiedKey>, i64)>,
}

impl ServerIdentity {
    /// Makes a certificate for these host names and addresses.
    ///
    /// # Errors
    /// A name is neither, or signing fails.
    pub fn new(ca: &FleetCa, names: Vec<String>, now_ms: i64) -> Result<Arc<Self>, CaError> {
        let key = Arc::new(ca.certify_server(&names, now_ms)?);
        Ok(Arc::new(Self { names, current: RwLock::new((key, now_ms)) }))
    }

    /// Makes a new certificate if two thirds of this one's life are over. Says whether it did.
    ///
    /// # Errors
    /// Signing fails; the old certificate stays in use.
    pub fn renew_if_due(&self, ca: &FleetCa, now_ms: i64) -> Result<bool, CaError> {
        let made_ms = self.current.read().unwrap_or_else(PoisonError::into_inner).1;
        if now_ms < made_ms.saturating_add(SERVER_CERTIFICATE_MS / 3 * 2) {
            return Ok(false);
        }
        let key = Arc::new(ca.certify_server(&self.names, now_ms)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (key, now_ms);
        Ok(true)
    }
}

impl ResolvesServerCert for ServerIdentity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).0))
    }
}

/// SHA-256 of a certificate's DER form.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> Digest {
    sha256(certificate)
}

/// SHA-256.
#[must_use]
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut digest = [0_u8; 32];
    digest.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    Digest(digest)
}

/// Reads tenant and device from the URI name that [`FleetCa::issue`] puts into a certificate,
/// `urn:openclaw:<tenant>:<device>`. `None` if this is not one of our device certificates.
#[must_use]
pub fn device_of(certificate: &CertificateDer<'_>) -> Option<(TenantId, DeviceId)> {
    use x509_parser::extensions::GeneralName;

    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let mut identities = names.value.general_names.iter().filter_map(|name| {
        let GeneralName::URI(uri) = name else { return None };
        uri.strip_prefix("urn:openclaw:")?.split_once(':')
    });
    let (tenant, device) = identities.next()?;
    if identities.next().is_some() {
        return None;
    }
    Some((TenantId::parse(tenant).ok()?, DeviceId::parse(device).ok()?))
}

fn identity_uri(tenant: &TenantId, device: &DeviceId) -> Result<Ia5String, CaError> {
    crypto("write a device's name", Ia5String::try_from(format!("urn:openclaw:{tenant}:{device}")))
}

fn server_name(name: &str) -> Result<SanType, CaError> {
    if let Ok(address) = name.parse() {
        return Ok(SanType::IpAddress(address));
    }
    let plausible = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    match Ia5String::try_from(name) {
        Ok(dns) if plausible => Ok(SanType::DnsName(dns)),
        Ok(_) | Err(_) => Err(CaError::Name(name.chars().take(80).collect())),
    }
}

fn requested_key(csr_pem: &str) -> Result<impl PublicKeyData, CaError> {
    if csr_pem.len() > CSR_BYTES {
        return Err(CaError::Request("it is longer than 8 KiB"));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(csr_pem.as_bytes())
        .map_err(|_| CaError::Request("it is not a PKCS #10 request in PEM"))?;
    let request = CertificateSigningRequestParams::from_der(&der)
        .map_err(|_| CaError::Request("it does not parse, or is not signed by its own key"))?;
    let (key, raw) = (&request.public_key, request.public_key.der_bytes());
    // The length ties the key to its algorithm, which the request states by its signature only.
    let strong = (key.algorithm() == &rcgen::PKCS_ECDSA_P256_SHA256 && raw.len() == 65)
        || (key.algorithm() == &rcgen::PKCS_ECDSA_P384_SHA384 && raw.len() == 97)
        || (key.algorithm() == &rcgen::PKCS_ED25519 && raw.len() == 32);
    if !strong {
        return Err(CaError::Request("its key is not of kind P-256, P-384 or Ed25519"));
    }
    Ok(request.public_key)
}

fn authority_params(now_ms: i64) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    let mut tag = [0_u8; 4];
    getrandom::fill(&mut tag).map_err(CaError::Random)?;
    let name = format!("OpenClaw fleet {}", data_encoding::HEXLOWER.encode(&tag));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(random_serial()?);
    set_validity(&mut params, now_ms, now_ms.saturating_add(AUTHORITY_MS));
    Ok(params)
}

fn leaf_params(
    common_name: &str,
    purpose: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial()?);
    Ok(params)
}

/// rcgen's own serial is a digest of the public key, which repeats when a key is certified anew.
fn random_serial() -> Result<SerialNumber, CaError> {
    let mut serial = [0_u8; 16];
    getrandom::fill(&mut serial).map_err(CaError::Random)?;
    // Positive and of full length, as RFC 5280, section 4.1.2.2 asks for.
    serial[0] = serial[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}

fn set_validity(params: &mut CertificateParams, now_ms: i64, expires_ms: i64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |ms: i64| epoch + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    params.not_before = at(now_ms.saturating_sub(BACKDATE_MS));
    params.not_after = at(expires_ms);
}

fn read_key(path: &Path) -> Result<Option<KeyPair>, CaError> {
    let pem = match fs::read_to_string(path) {
        Ok(pem) => pem,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CaError::File { path: path.into(), source }),
    };
    // A restore may have left the file open to others.
    restrict(path, 0o600)?;
    crypto("read a key file", KeyPair::from_pem(&pem)).map(Some)
}

fn make_key(
    path: &Path,
    algorithm: &'static rcgen::SignatureAlgorithm,
) -> Result<KeyPair, CaError> {
    let key = crypto("make a key", KeyPair::generate_for(algorithm))?;
    write_atomic(path, key.serialize_pem().as_bytes(), 0o600)?;
    Ok(key)
}

fn restrict(path: &Path, mode: u32) -> Result<(), CaError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|source| CaError::File { path: path.into(), source })
}

/// Old or new, never half: written beside, synced, renamed, and the directory synced.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    let write = || -> io::Result<()> {
        let beside = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        reach(Point::KeyWritten);
        fs::rename(&beside, path)?;
        reach(Point::KeyRenamed);
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(|source| CaError::File { path: path.into(), source })
}

fn crypto<T>(what: &'static str, result: Result<T, rcgen::Error>) -> Result<T, CaError> {
    result.map_err(|source| CaError::Crypto { what, source })
}

#[cfg(test)]
mod tests;

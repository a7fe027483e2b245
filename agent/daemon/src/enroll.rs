//! Enrolment: the device makes its key, proves nothing but a join code, and gets a certificate.
//!
//! A join code is `<secret>.<fingerprint>`; the fingerprint is the SHA-256 of the fleet CA's DER.
//! Whatever certificate the server shows must chain up to exactly that CA, so the device knows
//! whom it tells the secret. Plain HTTP is allowed on loopback alone; the fingerprint then still
//! binds the CA that comes back. The key never leaves the device.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use openclaw_points::{Point, reach};
use openclaw_protocol::api::{EnrollRequest, EnrollResponse, ProblemDetails};
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use openclaw_sandbox::target::{Host, Target};
use rustls::CertificateError;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerified;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::agent::DATABASE;
use crate::identity::{self, Credentials, Identity};
use crate::limits;
use crate::secrets;
use crate::tls::{self, Chain, TlsTime, Trust, Wire};

/// What a join code says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinCode {
    secret: String,
    fingerprint: Digest,
}

impl JoinCode {
    /// Takes a code apart.
    ///
    /// # Errors
    /// It is not a join code.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let (secret, fingerprint) = text
            .trim()
            .split_once('.')
            .context("this is not a join code; copy it whole, with the dot and what follows")?;
        ensure!(!secret.is_empty(), "the join code has nothing before its dot; copy it whole");
        let fingerprint = Digest::parse(fingerprint)
            .context("the join code's end is not a fingerprint; copy it whole")?;
        Ok(Self { secret: secret.to_owned(), fingerprint })
    }
}

/// Enrols this device and writes what it got to the data directory.
///
/// # Errors
/// The server cannot be reached, is not the one the code is for, or refuses, or an agent runs on
/// this data directory; nothing is written.
pub async fn enroll(server: &str, code: &JoinCode, data_dir: &Path) -> anyhow::Result<Identity> {
    enroll_at(TlsTime::default(), server, code, data_dir).await
}

async fn enroll_at(
    time: TlsTime,
    server: &str,
    code: &JoinCode,
    data_dir: &Path,
) -> anyhow::Result<Identity> {
    tls::install_provider();
    let base = server.trim_end_matches('/');
    let target = Target::parse(&format!("{base}/api/v1/enroll")).map_err(anyhow::Error::msg)?;
    if !target.https && !is_loopback(&target.host) {
        bail!("{server}: plain HTTP is for this machine alone; use https://");
    }
    // Before the code is spent, and until the new identity is durable.
    let _held = hold_database(data_dir)?;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .context("cannot make a key")?;
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .and_then(|csr| csr.pem())
        .context("cannot make a certificate request")?;
    let request = EnrollRequest { code: code.secret.clone(), csr_pem: csr };
    reach(Point::EnrollAsk);
    let answer =
        tokio::time::timeout(limits::ENROLL_TIME, post(&target, code, &request, time.clone()))
            .await
            .map_err(|_| anyhow::anyhow!("{server} did not answer in time"))??;
    reach(Point::EnrollAnswered);
    let credentials = accept(answer, code, base, key.serialize_pem(), time)?;
    set_aside_anothers_past(data_dir, &credentials)?;
    reach(Point::EnrollAside);
    forget_key_for_secrets(data_dir)?;
    reach(Point::EnrollKeyGone);
    credentials.store(data_dir)?;
    reach(Point::EnrollStored);
    Ok(credentials.identity)
}

/// Takes the lock that a running agent has on its database, whatever its socket is called: it
/// goes on as who it was until it is started anew, and must not find its database gone. `None`
/// where there is no database yet.
fn hold_database(data_dir: &Path) -> anyhow::Result<Option<File>> {
    let path = data_dir.join(DATABASE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            bail!("an agent runs on {}; stop it, enrol, and start it again", data_dir.display())
        }
        Err(TryLockError::Error(e)) => {
            Err(e).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// What the device recorded as somebody else must not be told under its new name. Names are those
/// of one fleet: the same ones under another CA are somebody else's.
fn set_aside_anothers_past(data_dir: &Path, now: &Credentials) -> anyhow::Result<()> {
    // A state file that cannot be read tells of nobody; the new one replaces it.
    let Ok(Some(before)) = Identity::load(data_dir) else { return Ok(()) };
    let database = data_dir.join(DATABASE);
    let ca = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).ok();
    let old_ca = identity::known_ca_pem(data_dir).as_deref().and_then(ca);
    let same_fleet = old_ca.is_some_and(|old| Some(old) == ca(&now.ca_pem));
    let same_names =
        (&before.tenant, &before.device) == (&now.identity.tenant, &now.identity.device);
    if same_fleet && same_names || !database.exists() {
        return Ok(());
    }
    let aside = free_name(data_dir, &before.device)?;
    std::fs::rename(&database, &aside)
        .and_then(|()| identity::sync_dir(data_dir))
        .with_context(|| format!("cannot set {} aside", database.display()))
}

/// What was sealed to the device before must not be opened by who it is now, nor by who has its old
/// database: a new key is made at the next start.
fn forget_key_for_secrets(data_dir: &Path) -> anyhow::Result<()> {
    let path = data_dir.join(secrets::KEY_FILE);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn free_name(data_dir: &Path, device: &DeviceId) -> anyhow::Result<PathBuf> {
    let name = |n: u32| data_dir.join(format!("{DATABASE}.of-{device}-{n}"));
    (1..=limits::ASIDE).map(name).find(|path| !path.exists()).with_context(|| {
        format!("{} holds too many old databases; remove some", data_dir.display())
    })
}

/// Checks the answer as far as the device can: nothing is believed that would only fail later.
fn accept(
    answer: EnrollResponse,
    code: &JoinCode,
    server: &str,
    key_pem: String,
    time: TlsTime,
) -> anyhow::Result<Credentials> {
    let ca = CertificateDer::from_pem_slice(answer.ca_pem.as_bytes())
        .map_err(|e| anyhow::anyhow!("the CA in the answer cannot be read: {e}"))?;
    ensure!(
        fingerprint(&ca) == code.fingerprint,
        "the server is not the one this join code is for (its CA is another); check the URL"
    );
    let identity = Identity {
        tenant: TenantId::parse(&answer.tenant)?,
        device: DeviceId::parse(&answer.device)?,
        server: server.to_owned(),
        mqtt_host: answer.mqtt_host,
        mqtt_port: answer.mqtt_port,
        desired_key: Digest::parse(&answer.desired_key)?,
    };
    let credentials = Credentials {
        identity,
        key_pem,
        certificate_pem: answer.certificate_pem,
        ca_pem: answer.ca_pem,
    };
    // Also proves that the certificate is for this key.
    tls::client_config(&credentials, time)?;
    Ok(credentials)
}

async fn post(
    target: &Target,
    code: &JoinCode,
    request: &EnrollRequest,
    time: TlsTime,
) -> anyhow::Result<EnrollResponse> {
    let host = match &target.host {
        Host::Name(name) => name.clone(),
        Host::Ip(ip) => ip.to_string(),
    };
    let stream = TcpStream::connect((host.as_str(), target.port))
        .await
        .with_context(|| format!("cannot reach {host}:{}", target.port))?;
    if !target.https {
        return exchange(Box::new(stream), target, request).await;
    }
    let mut config = tls::trusting(Pinned(code.fingerprint))?.with_no_client_auth();
    config.time_provider = Arc::new(time);
    let name = ServerName::try_from(host.clone()).context("the server's name")?;
    let stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .with_context(|| format!("{host} is not the server this join code is for"))?;
    exchange(Box::new(stream), target, request).await
}

async fn exchange(
    stream: Box<dyn Wire>,
    target: &Target,
    request: &EnrollRequest,
) -> anyhow::Result<EnrollResponse> {
    let body = serde_json::to_vec(request)?;
    let message = Request::post(&target.path)
        .header(HOST, format!("{}:{}", target.host, target.port))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(message).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), limits::ENROLL_BYTES).collect().await;
        let body = body.map_err(|e| anyhow::anyhow!("the answer cannot be read: {e}"))?;
        anyhow::Ok((status, body.to_bytes()))
    };
    tokio::pin!(exchange);
    let (status, body) = tokio::select! {
        answer = &mut exchange => answer?,
        // A server that hangs up without ceremony may have answered before.
        ended = connection => match (exchange.await, ended) {
            (Ok(answer), _) => answer,
            (Err(_), Err(e)) => return Err(e.into()),
            (Err(e), Ok(())) => return Err(e),
        },
    };
    if status != StatusCode::OK && status != StatusCode::CREATED {
        let said = serde_json::from_slice::<ProblemDetails>(&body)
            .map_or_else(|_| status.to_string(), |p| format!("{} [{}]", p.detail, p.code));
        bail!("the server refused: {said}");
    }
    serde_json::from_slice(&body).context("the server's answer cannot be read")
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name == "localhost",
    }
}

fn fingerprint(certificate: &CertificateDer<'_>) -> Digest {
    openclaw_sandbox::digest_of(certificate)
}

/// Accepts a chain up to the CA with this fingerprint, which the server sends along, and no other.
#[derive(Debug)]
struct Pinned(Digest);

impl Trust for Pinned {
    fn judge(
        &self,
        chain: Chain<'_>,
        dialled: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let unknown = || rustls::Error::from(CertificateError::UnknownIssuer);
        let ca = chain.others.iter().find(|c| fingerprint(c) == self.0).ok_or_else(unknown)?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(ca.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder(Arc::new(roots)).build().map_err(|_| unknown())?;
        chain.verify(&verifier, dialled, now)
    }
}

#[cfg(test)]
#[path = "enroll_tests.rs"]
mod tests;

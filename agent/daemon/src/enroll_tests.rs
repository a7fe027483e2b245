//! Enrolment against a server of a few lines, with real TLS.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn code(ca: &Ca) -> JoinCode {
    let fingerprint = fingerprint(ca.der());
    JoinCode::parse(&format!("secret.{fingerprint}")).unwrap()
}

fn server_config(ca: &Ca, with_ca: bool) -> rustls::ServerConfig {
    tls::install_provider();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let mut chain = vec![certificate.der().clone()];
    chain.extend(with_ca.then(|| ca.der().clone()));
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap()
}

/// Answers one request as a control plane whose fleet has this CA.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, ca: &Ca) -> String {
    let mut said = Vec::new();
    let body = loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await.unwrap();
        said.extend_from_slice(&part[..n]);
        let text = String::from_utf8_lossy(&said).into_owned();
        let Some((_, body)) = text.split_once("\r\n\r\n") else { continue };
        if serde_json::from_str::<EnrollRequest>(body).is_ok() {
            break body.to_owned();
        }
    };
    let request: EnrollRequest = serde_json::from_str(&body).unwrap();
    let csr = rcgen::CertificateSigningRequestParams::from_pem(&request.csr_pem).unwrap();
    let certificate = csr.signed_by(ca).unwrap();
    let answer = EnrollResponse {
        tenant: "acme".into(),
        device: "pump-7".into(),
        certificate_pem: certificate.pem(),
        ca_pem: ca.pem(),
        mqtt_host: "localhost".into(),
        mqtt_port: 8883,
        desired_key: "07".repeat(32),
    };
    let answer = serde_json::to_string(&answer).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len());
    stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    request.code
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

async fn over_tls(
    shows: &Ca,
    with_ca: bool,
    answers: &Ca,
    code: &JoinCode,
    host: &str,
) -> (anyhow::Result<Identity>, bool) {
    over_tls_at(TlsTime::default(), shows, with_ca, answers, code, host).await
}

/// Enrols over TLS at a server that answers with `answers` and proves itself with `shows`.
async fn over_tls_at(
    time: TlsTime,
    shows: &Ca,
    with_ca: bool,
    answers: &Ca,
    code: &JoinCode,
    host: &str,
) -> (anyhow::Result<Identity>, bool) {
    let (listener, port) = listener().await;
    let acceptor = TlsAcceptor::from(Arc::new(server_config(shows, with_ca)));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        if let Ok(stream) = acceptor.accept(stream).await {
            assert_eq!(serve(stream, answers).await, "secret");
        }
    };
    let url = format!("https://{host}:{port}/");
    let (enrolled, ()) = tokio::join!(enroll_at(time, &url, code, &data), server);
    let stored = Credentials::load(&data).unwrap();
    (enrolled, stored.is_some())
}

#[tokio::test]
async fn a_device_enrols_with_the_server_of_its_code() {
    let ca = ca();
    let (enrolled, stored) = over_tls(&ca, true, &ca, &code(&ca), "localhost").await;
    let identity = enrolled.unwrap();
    assert_eq!((identity.device.as_str(), identity.mqtt_port), ("pump-7", 8883));
    assert!(stored);
}

#[tokio::test]
async fn nobody_else_learns_the_secret() {
    let (good, evil) = (ca(), ca());
    for (shows, with_ca, host) in
        [(&evil, true, "localhost"), (&good, false, "localhost"), (&good, true, "127.0.0.1")]
    {
        // Another CA, none shown, another name: in no case is a byte of the request sent.
        let (enrolled, stored) = over_tls(shows, with_ca, &good, &code(&good), host).await;
        assert!(enrolled.is_err(), "{with_ca} {host}");
        assert!(!stored);
    }
}

#[tokio::test]
async fn plain_http_is_for_this_machine_and_still_bound_to_the_ca() {
    let (good, evil) = (ca(), ca());
    let dir = tempfile::tempdir().unwrap();
    let far = enroll("http://192.0.2.1", &code(&good), dir.path()).await.unwrap_err();
    assert!(far.to_string().contains("https://"), "{far}");
    for (answers, fine) in [(&good, true), (&evil, false)] {
        let (listener, port) = listener().await;
        let server = async {
            let (stream, _) = listener.accept().await.unwrap();
            serve(stream, answers).await
        };
        let url = format!("http://127.0.0.1:{port}");
        let code = code(&good);
        let (enrolled, _) = tokio::join!(enroll(&url, &code, dir.path()), server);
        assert_eq!(enrolled.is_ok(), fine);
    }
}

/// The test's certificates hold from 1975 on, as `rcgen` has it by default.
#[tokio::test]
async fn a_device_that_believes_in_1970_can_enrol() {
    let ca = ca();
    let time = TlsTime::of_1970(0);
    let (enrolled, stored) = over_tls_at(time, &ca, true, &ca, &code(&ca), "localhost").await;
    enrolled.unwrap();
    assert!(stored);
}

/// Enrols at a fleet, on this machine.
async fn over_loopback(ca: &Ca, data: &Path) -> anyhow::Result<Identity> {
    let (listener, port) = listener().await;
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, ca).await
    };
    let url = format!("http://127.0.0.1:{port}");
    let code = code(ca);
    tokio::select! {
        enrolled = enroll(&url, &code, data) => enrolled,
        // The server is done first; what is left is the device's own work.
        _ = async { server.await; std::future::pending::<()>().await } => unreachable!(),
    }
}

/// The databases in a directory, by what they hold.
fn pasts(data: &Path) -> Vec<(String, String)> {
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let paths = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
    let databases = paths.filter(|path| name(path).starts_with(DATABASE));
    let mut pasts: Vec<_> =
        databases.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect();
    pasts.sort();
    pasts
}

#[tokio::test]
async fn the_past_of_the_same_names_in_another_fleet_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path();
    let fleets = [ca(), ca()];
    std::fs::write(data.join(DATABASE), "before any fleet").unwrap();
    over_loopback(&fleets[0], data).await.unwrap();
    over_loopback(&fleets[0], data).await.unwrap();
    assert_eq!(pasts(data), [(DATABASE.into(), "before any fleet".into())], "its own past");

    let key = data.join(secrets::KEY_FILE);
    std::fs::write(&key, "what was sealed to the device").unwrap();
    over_loopback(&fleets[1], data).await.unwrap();
    assert!(!key.exists(), "nothing of the old fleet opens any more");
    std::fs::write(data.join(DATABASE), "of the second").unwrap();
    over_loopback(&fleets[0], data).await.unwrap();
    let aside = |n: u32| format!("{DATABASE}.of-pump-7-{n}");
    let expected =
        [(aside(1), "before any fleet".to_owned()), (aside(2), "of the second".to_owned())];
    assert_eq!(pasts(data), expected, "none is written over another");
}

#[tokio::test]
async fn nobody_is_enrolled_under_a_running_agent() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Some(dir.path().join("elsewhere.sock"));
    let data_dir = dir.path().join("data");
    let config = crate::config::Config {
        data_dir: data_dir.clone(),
        socket: elsewhere,
        ..crate::config::Config::default()
    };
    let agent = crate::agent::Agent::start(&config).unwrap();
    let ca = ca();
    // Nobody listens there: the code is not spent.
    let error = enroll("http://127.0.0.1:1", &code(&ca), &data_dir).await.unwrap_err();
    assert!(error.to_string().contains("stop it"), "{error:#}");
    agent.stop().await.unwrap();
    over_loopback(&ca, &data_dir).await.unwrap();
}

#[test]
fn codes_are_read_whole_or_not_at_all() {
    let good = format!("abc.{}", "0f".repeat(32));
    assert!(JoinCode::parse(&format!(" {good}\n")).is_ok());
    for bad in ["", "abc", "abc.", ".0f", &good[..good.len() - 1], &good[3..]] {
        assert!(JoinCode::parse(bad).is_err(), "{bad}");
    }
}

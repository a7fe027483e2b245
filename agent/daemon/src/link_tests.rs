//! The link against a broker of a few lines, with real TLS on both sides.

use std::time::Duration;

use bytes::BytesMut;
use openclaw_protocol::id::{DeviceId, Digest, TenantId};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rumqttc::mqttbytes::v4::{ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;
use crate::event;

const WAIT: Duration = Duration::from_secs(20);

struct Fleet {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Fleet {
    fn new() -> Self {
        crate::tls::install_provider();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { ca }
    }

    fn certificate(&self, name: &str) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.ca).unwrap().pem(), key)
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let (pem, key) = self.certificate(name);
        let chain = rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![chain], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    fn credentials(&self, mqtt_host: &str, mqtt_port: u16) -> Credentials {
        let (certificate_pem, key) = self.certificate("pump-7");
        Credentials {
            identity: Identity {
                tenant: TenantId::parse("acme").unwrap(),
                device: DeviceId::parse("pump-7").unwrap(),
                server: "https://localhost".into(),
                mqtt_host: mqtt_host.to_owned(),
                mqtt_port,
                desired_key: Digest([0; 32]),
            },
            key_pem: key.serialize_pem(),
            certificate_pem,
            ca_pem: self.ca.pem(),
        }
    }
}

/// The broker's side of one connection.
struct Session {
    stream: TlsStream<tokio::net::TcpStream>,
    buffer: BytesMut,
}

impl Session {
    async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> std::io::Result<Self> {
        let (stream, _) = listener.accept().await?;
        Ok(Self { stream: acceptor.accept(stream).await?, buffer: BytesMut::new() })
    }

    async fn next(&mut self) -> Packet {
        loop {
            if let Ok(packet) = Packet::read(&mut self.buffer, limits::PACKET_BYTES) {
                return packet;
            }
            assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "hung up");
        }
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// CONNECT and SUBSCRIBE, as every connection begins.
    async fn greet(&mut self) {
        let Packet::Connect(connect) = self.next().await else { panic!("no CONNECT") };
        assert_eq!((connect.client_id.as_str(), connect.clean_session), ("pump-7", true));
        let ack = ConnAck { session_present: false, code: ConnectReturnCode::Success };
        self.send(|b| drop(ack.write(b))).await;
        let Packet::Subscribe(subscribe) = self.next().await else { panic!("no SUBSCRIBE") };
        let topics: Vec<_> = subscribe.filters.iter().map(|f| f.path.as_str()).collect();
        assert_eq!(topics, ["openclaw/v1/acme/pump-7/down/sync"]);
        let codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
        let ack = SubAck { pkid: subscribe.pkid, return_codes: codes };
        self.send(|b| drop(ack.write(b))).await;
    }
}

/// A link that runs, with what the brain would hold.
fn link(
    credentials: &Credentials,
    connect: Option<String>,
) -> (Outgoing, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    link_at(tls::TlsTime::default(), credentials, connect)
}

fn link_at(
    time: tls::TlsTime,
    credentials: &Credentials,
    connect: Option<String>,
) -> (Outgoing, tokio::sync::mpsc::UnboundedReceiver<Event>) {
    let (events, receiver) = event::queue();
    let (outgoing, queue) = queue();
    let config = config::Link { connect, backoff_max_ms: 100 };
    tokio::spawn(Link::new(credentials, &config, time, 7, events, queue).unwrap().run());
    let (sender, forwarded) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = receiver.recv_timeout(Duration::from_secs(60)) {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    (outgoing, forwarded)
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, what).await.expect("in time")
}

#[tokio::test]
async fn frames_go_both_ways_and_a_cut_is_survived() {
    let fleet = Fleet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = fleet.acceptor("control.example");
    // Enrolment named a host that is reached over a relay here.
    let credentials = fleet.credentials("control.example", 1);
    let (outgoing, mut events) = link(&credentials, Some(address.to_string()));
    for round in 0..3_u8 {
        let mut session = soon(Session::accept(&listener, &acceptor)).await.unwrap();
        soon(session.greet()).await;
        assert!(matches!(soon(events.recv()).await, Some(Event::LinkUp)));
        let large = vec![round; openclaw_protocol::limits::FRAME_BYTES];
        assert!(outgoing.send(large.clone()));
        let Packet::Publish(publish) = soon(session.next()).await else { panic!("no PUBLISH") };
        assert_eq!(publish.topic, "openclaw/v1/acme/pump-7/up/sync");
        assert_eq!(publish.payload, large);
        session.send(|b| drop(PubAck { pkid: publish.pkid }.write(b))).await;
        let down = "openclaw/v1/acme/pump-7/down/sync";
        for (topic, payload) in [("other/topic", vec![9]), (down, large)] {
            let frame = Publish::new(topic, QoS::AtMostOnce, payload);
            session.send(|b| drop(frame.write(b))).await;
        }
        let Some(Event::Frame(frame)) = soon(events.recv()).await else { panic!("no frame") };
        assert_eq!(frame, vec![round; openclaw_protocol::limits::FRAME_BYTES]);
        if round == 0 {
            outgoing.reconnect();
        } else {
            drop(session);
        }
        assert!(matches!(soon(events.recv()).await, Some(Event::LinkDown)));
    }
}

#[tokio::test]
async fn a_broker_that_is_not_the_fleets_hears_nothing() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for acceptor in [other.acceptor("localhost"), fleet.acceptor("another.example")] {
        let credentials = fleet.credentials("localhost", port);
        let (_outgoing, mut events) = link(&credentials, None);
        assert!(soon(Session::accept(&listener, &acceptor)).await.is_err());
        assert!(matches!(soon(events.recv()).await, Some(Event::LinkDown)));
    }
}

/// Certificates of the test's fleet hold from 1975 to 4096, as `rcgen` has it by default.
#[tokio::test]
async fn a_clock_that_begins_in_1970_does_not_keep_the_device_out() {
    let fleet = Fleet::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let credentials = fleet.credentials("localhost", listener.local_addr().unwrap().port());
    let acceptor = fleet.acceptor("localhost");
    let (_outgoing, mut events) = link_at(tls::TlsTime::of_1970(0), &credentials, None);
    let mut session = soon(Session::accept(&listener, &acceptor)).await.unwrap();
    soon(session.greet()).await;
    assert!(matches!(soon(events.recv()).await, Some(Event::LinkUp)));

    // The control: what is over is over, and the highest time that was trusted knows it.
    const YEAR_4100_MS: i64 = 67_216_348_800_000;
    let time = tls::TlsTime::of_1970(YEAR_4100_MS);
    let (_outgoing, mut events) = link_at(time, &credentials, None);
    assert!(soon(Session::accept(&listener, &acceptor)).await.is_err());
    assert!(matches!(soon(events.recv()).await, Some(Event::LinkDown)));
}

#[test]
fn credentials_that_do_not_fit_are_noticed_at_once() {
    let fleet = Fleet::new();
    let mut credentials = fleet.credentials("localhost", 1);
    credentials.key_pem = KeyPair::generate().unwrap().serialize_pem();
    assert!(tls::client_config(&credentials, tls::TlsTime::default()).is_err(), "another key");
    credentials.key_pem = "nonsense".into();
    assert!(tls::client_config(&credentials, tls::TlsTime::default()).is_err());
    let mut credentials = fleet.credentials("localhost", 1);
    credentials.ca_pem = String::new();
    assert!(tls::client_config(&credentials, tls::TlsTime::default()).is_err(), "no CA");
}

//! A gate with its router, CA and devices on loopback, and clients that behave or do not.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use openclaw_protocol::id::{DeviceId, TenantId};
use openclaw_protocol::topic::{self, Direction};
use rcgen::{CertificateParams, KeyPair};
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS, TlsConfiguration,
    Transport,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::connection::{Access, Directory};
use super::gate::{self, GateEvent, GateHandle};
use super::router::{Hub, UpFrame};
use super::{GateLimits, tls};
use crate::fleet::ca::{FleetCa, ServerIdentity};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// 2026, in milliseconds since 1970: certificates of tests are checked against the real clock.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Waits for something, but not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// What a device has after its enrolment.
pub(crate) struct Credentials {
    pub(crate) tenant: TenantId,
    pub(crate) device: DeviceId,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
}

impl Credentials {
    pub(crate) fn issue(ca: &FleetCa, tenant: &str, device: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let (tenant, device) = (TenantId::parse(tenant).unwrap(), DeviceId::parse(device).unwrap());
        let issued = ca.issue(&csr, &tenant, &device, now_ms()).unwrap();
        Self { tenant, device, certificate_pem: issued.pem, key_pem: key.serialize_pem() }
    }

    pub(crate) fn topic(&self, direction: Direction) -> String {
        topic::sync(&self.tenant, &self.device, direction)
    }
}

/// TLS of a client that trusts this CA and shows this certificate, if any.
pub(crate) fn client_tls(ca_pem: &str, credentials: Option<&Credentials>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match credentials {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = CertificateDer::pem_slice_iter(own.certificate_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(own.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
    })
}

/// A gate, all that is behind it, and a directory that knows everybody but the revoked.
pub(crate) struct Fixture {
    pub(crate) ca: FleetCa,
    pub(crate) gate: GateHandle,
    pub(crate) hub: Hub,
    pub(crate) frames: mpsc::Receiver<UpFrame>,
    pub(crate) news: mpsc::Receiver<GateEvent>,
    pub(crate) revoked: Arc<Mutex<BTreeSet<DeviceId>>>,
    /// How many routers have ended.
    pub(crate) restarts: Arc<AtomicU64>,
    stop: CancellationToken,
    _dir: TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Fixture {
    pub(crate) async fn start(limits: GateLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = FleetCa::open(dir.path(), now_ms()).unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let identity = ServerIdentity::new(&ca, names, now_ms()).unwrap();
        let tls = tls::server_config(&ca, identity).unwrap();
        let revoked = Arc::new(Mutex::new(BTreeSet::new()));
        let known = Arc::clone(&revoked);
        let directory: Directory = Arc::new(move |_, device: DeviceId, _| {
            let access = match device.as_str() {
                "stranger" => Access::Unknown,
                _ if known.lock().unwrap().contains(&device) => Access::Revoked,
                _ => Access::Granted,
            };
            std::future::ready(Ok(access)).boxed()
        });
        let (stop, restarts) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
        let (hub, frames) = Hub::start(limits.connections, Arc::clone(&restarts), stop.clone());
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let (gate, news) =
            gate::start(listen, tls, hub.clone(), directory, limits, stop.clone()).await.unwrap();
        Self { ca, gate, hub, frames, news, revoked, restarts, stop, _dir: dir }
    }

    pub(crate) fn credentials(&self, device: &str) -> Credentials {
        Credentials::issue(&self.ca, "acme", device)
    }

    /// The next event of the gate that the test cares for.
    pub(crate) async fn event<T>(&mut self, pick: impl Fn(&GateEvent) -> Option<T>) -> T {
        within("an event of the gate", async {
            loop {
                let event = self.news.recv().await.expect("the gate lives");
                if let Some(found) = pick(&event) {
                    return found;
                }
            }
        })
        .await
    }

    /// A well-behaved client, connected and subscribed.
    pub(crate) async fn device(&self, credentials: &Credentials) -> Device {
        let mut device = Device::new(self.gate.addr, self.ca.certificate_pem(), credentials);
        device.connected().await.unwrap();
        device
    }

    /// A raw MQTT connection over TLS, before CONNECT.
    pub(crate) async fn raw(&self, credentials: &Credentials) -> io::Result<Raw> {
        Raw::open(self.gate.addr, client_tls(self.ca.certificate_pem(), Some(credentials))).await
    }

    /// A raw connection that has said CONNECT and was let in.
    pub(crate) async fn raw_connected(&self, credentials: &Credentials) -> Raw {
        let mut raw = self.raw(credentials).await.unwrap();
        raw.send(&connect_packet(credentials.device.as_str(), 60)).await;
        assert_eq!(raw.read(4).await, [0x20, 2, 0, 0], "CONNACK");
        raw
    }
}

/// The real client library with its event loop.
pub(crate) struct Device {
    pub(crate) client: AsyncClient,
    pub(crate) eventloop: EventLoop,
    up: String,
    down: String,
}

impl Device {
    pub(crate) fn new(addr: SocketAddr, ca_pem: &str, credentials: &Credentials) -> Self {
        Self::with_client_id(addr, ca_pem, credentials, credentials.device.as_str())
    }

    pub(crate) fn with_client_id(
        addr: SocketAddr,
        ca_pem: &str,
        credentials: &Credentials,
        client_id: &str,
    ) -> Self {
        let mut options = MqttOptions::new(client_id, addr.ip().to_string(), addr.port());
        let tls = client_tls(ca_pem, Some(credentials));
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(128 * 1024, 1024 * 1024);
        let (client, eventloop) = AsyncClient::new(options, 100);
        let (up, down) = (credentials.topic(Direction::Up), credentials.topic(Direction::Down));
        Self { client, eventloop, up, down }
    }

    /// Connects and subscribes.
    pub(crate) async fn connected(&mut self) -> Result<(), ConnectionError> {
        self.client.try_subscribe(self.down.clone(), QoS::AtLeastOnce).unwrap();
        within("the SUBACK", async {
            loop {
                if let Event::Incoming(Packet::SubAck(_)) = self.eventloop.poll().await? {
                    return Ok(());
                }
            }
        })
        .await
    }

    pub(crate) fn publish(&self, payload: Vec<u8>) {
        self.client.try_publish(self.up.clone(), QoS::AtLeastOnce, false, payload).unwrap();
    }

    /// The next message, with its topic.
    pub(crate) async fn message(&mut self) -> Result<(String, Vec<u8>), ConnectionError> {
        within("a message", async {
            loop {
                if let Event::Incoming(Packet::Publish(publish)) = self.eventloop.poll().await? {
                    return Ok((publish.topic, publish.payload.to_vec()));
                }
            }
        })
        .await
    }

    /// Polls until the connection ends.
    pub(crate) async fn end(&mut self) -> ConnectionError {
        within("the end of a connection", async {
            loop {
                if let Err(error) = self.eventloop.poll().await {
                    return error;
                }
            }
        })
        .await
    }
}

/// A client that sends whatever bytes it is told to.
pub(crate) struct Raw(TlsStream<TcpStream>);

impl Raw {
    pub(crate) async fn open(addr: SocketAddr, tls: Arc<ClientConfig>) -> io::Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        let name = ServerName::try_from("localhost").unwrap();
        within("a TLS handshake", TlsConnector::from(tls).connect(name, stream)).await.map(Self)
    }

    /// The certificates that the server has shown.
    pub(crate) fn server_chain(&self) -> &[CertificateDer<'static>] {
        self.0.get_ref().1.peer_certificates().unwrap()
    }

    /// Sends; that the other side has closed shows when reading.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        drop(self.0.write_all(bytes).await);
        drop(self.0.flush().await);
    }

    pub(crate) async fn read(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        within("bytes", self.0.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Everything until the other side closes.
    pub(crate) async fn rest(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let end = within("the end", self.0.read_to_end(&mut bytes)).await.map(drop);
        (bytes, end)
    }
}

/// A CONNECT packet with this client id and keep-alive.
pub(crate) fn connect_packet(client_id: &str, keep_alive_s: u16) -> Vec<u8> {
    let id = client_id.as_bytes();
    let mut packet = vec![0x10, u8::try_from(12 + id.len()).unwrap()];
    packet.extend(b"\x00\x04MQTT\x04\x02");
    packet.extend(keep_alive_s.to_be_bytes());
    packet.extend(u16::try_from(id.len()).unwrap().to_be_bytes());
    packet.extend(id);
    packet
}

/// A PUBLISH packet with these flags (RETAIN, QoS, DUP).
pub(crate) fn publish_packet(topic: &str, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    if flags & 0b110 != 0 {
        body.extend([0, 1]);
    }
    body.extend(payload);
    packet(0x30 | flags, &body)
}

/// A SUBSCRIBE packet with one filter.
pub(crate) fn subscribe_packet(filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    body.extend(u16::try_from(filter.len()).unwrap().to_be_bytes());
    body.extend(filter.as_bytes());
    body.push(qos);
    packet(0x82, &body)
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = [0, 7, 14].map(|shift| u8::try_from(body.len() >> shift & 0x7f).unwrap());
    let mut packet = vec![first, length[0] | 0x80, length[1] | 0x80, length[2]];
    packet.extend(body);
    packet
}

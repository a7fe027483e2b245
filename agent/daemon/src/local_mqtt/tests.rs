//! The task against a broker of a few lines, packet by packet.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use openclaw_agent_core::limits::MESSAGE_DATA_BYTES;
use openclaw_protocol::ordered::VecMap;
use rcgen::{CertificateParams, KeyPair};
use rumqttc::mqttbytes::v4::{
    ConnAck, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe,
};
use rumqttc::{QoS, SubscribeReasonCode};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::event::{self, Event, Inbox};
use crate::tls;

const WAIT: Duration = Duration::from_secs(20);

/// What the brain's end leads to, in tests of the brain.
#[derive(Debug)]
pub(crate) struct Line(Ends);

impl Line {
    /// The next message that was handed over: its connection, its number, and itself.
    pub(crate) fn given(&mut self) -> Option<(u64, u64, Publication)> {
        let given = self.0.outgoing.try_recv().ok()?;
        Some((given.connection, given.seq, given.publication))
    }

    /// What is to be heard.
    pub(crate) fn wanted(&self) -> Filters {
        Arc::clone(&self.0.wanted.borrow())
    }
}

/// A brain's end without a task.
pub(crate) fn pair() -> (Broker, Line) {
    let (broker, ends) = ends("broker.site.example:1883");
    (broker, Line(ends))
}

/// The broker's side of one connection.
struct Session<S> {
    stream: S,
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    async fn next(&mut self) -> Packet {
        let reading = async {
            loop {
                if let Ok(packet) = Packet::read(&mut self.buffer, limits::MESSAGE_PACKET_BYTES) {
                    return packet;
                }
                assert!(self.stream.read_buf(&mut self.buffer).await.unwrap() > 0, "hung up");
            }
        };
        tokio::time::timeout(WAIT, reading).await.expect("a packet")
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut bytes = BytesMut::new();
        write(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Takes the CONNECT and says yes. Gives what it said.
    async fn greet(&mut self) -> rumqttc::mqttbytes::v4::Connect {
        let Packet::Connect(connect) = self.next().await else { panic!("no CONNECT") };
        let ack = ConnAck { session_present: false, code: ConnectReturnCode::Success };
        self.send(|b| drop(ack.write(b))).await;
        connect
    }

    /// Takes a SUBSCRIBE and refuses these filters. Gives all that it asks for.
    async fn subscribed(&mut self, refused: &[&str]) -> Vec<(String, QoS)> {
        let Packet::Subscribe(Subscribe { pkid, filters }) = self.next().await else {
            panic!("no SUBSCRIBE");
        };
        let code = |path: &str, qos| {
            if refused.contains(&path) {
                SubscribeReasonCode::Failure
            } else {
                SubscribeReasonCode::Success(qos)
            }
        };
        let return_codes = filters.iter().map(|f| code(&f.path, f.qos)).collect();
        self.send(|b| drop(SubAck { pkid, return_codes }.write(b))).await;
        filters.into_iter().map(|f| (f.path, f.qos)).collect()
    }

    async fn published(&mut self) -> Publish {
        let Packet::Publish(publish) = self.next().await else { panic!("no PUBLISH") };
        publish
    }

    async fn acknowledge(&mut self, publish: &Publish) {
        self.send(|b| drop(PubAck::new(publish.pkid).write(b))).await;
    }

    async fn deliver(&mut self, topic: &str, retain: bool, payload: Vec<u8>) {
        let mut publish = Publish::from_bytes(topic, QoS::AtMostOnce, Bytes::from(payload));
        publish.retain = retain;
        self.send(|b| drop(publish.write(b))).await;
    }
}

/// A task, its broker's listener, and the brain's ends of both.
struct Site {
    listener: TcpListener,
    broker: Broker,
    events: Inbox,
}

impl Site {
    async fn new(change: impl FnOnce(&mut LocalBroker, &mut LocalMqtt)) -> Self {
        tls::install_provider();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = LocalBroker {
            address: format!("localhost:{port}"),
            username: None,
            password_file: None,
            tls_ca_file: None,
            client_id: None,
            backoff_max_ms: 100,
        };
        let (events, receiver) = event::queue();
        let new = |config: &LocalBroker| {
            super::new(config, "pump-7", TlsTime::default(), 7, events.clone())
        };
        let (_, mut task) = new(&config);
        change(&mut config, &mut task);
        let patience = task.patience;
        let (broker, mut task) = new(&config);
        task.patience = patience;
        tokio::spawn(task.run());
        Self { listener, broker, events: receiver }
    }

    async fn accept(&self) -> Session<tokio::net::TcpStream> {
        let accepted = tokio::time::timeout(WAIT, self.listener.accept()).await;
        Session::new(accepted.expect("a connection").unwrap().0)
    }

    async fn heard(&self) -> FromBroker {
        let until = tokio::time::Instant::now() + WAIT;
        loop {
            match self.events.recv_timeout(Duration::ZERO) {
                Ok(Event::Broker(event)) => return event,
                Ok(other) => panic!("{other:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
            assert!(tokio::time::Instant::now() < until, "nothing is heard");
        }
    }

    async fn up(&self) -> u64 {
        loop {
            let heard = self.heard().await;
            if let FromBroker::Up { connection } = heard {
                return connection;
            }
            assert!(matches!(heard, FromBroker::Down { .. }), "{heard:?}");
        }
    }

    async fn message(&self) -> Message {
        let FromBroker::Message { message, .. } = self.heard().await else { panic!("no message") };
        message
    }

    fn give(&self, connection: u64, seq: u64, qos: u8) {
        let payload = seq.to_string().into_bytes();
        let (topic, message_id) = ("out".to_owned(), String::new());
        let publication =
            Publication { message_id, topic, qos, retain: seq == 2, payload, confirm: None };
        assert!(self.broker.publish(connection, seq, publication));
    }
}

fn filters(of: &[(&str, u8)]) -> Filters {
    Arc::new(of.iter().map(|(filter, qos)| ((*filter).to_owned(), *qos)).collect())
}

#[tokio::test]
async fn it_logs_in_and_asks_for_what_is_wanted_and_changes() {
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "secret\nnot this\n").unwrap();
    let site = Site::new(|config, _| {
        config.username = Some("pump".into());
        config.password_file = Some(password.clone());
    })
    .await;
    site.broker.subscribe(filters(&[("a/+", 0), ("b", 1), ("secret/#", 0)]));
    let mut session = site.accept().await;
    let connect = session.greet().await;
    assert_eq!((connect.client_id.as_str(), connect.clean_session), ("openclaw-pump-7", true));
    let login = connect.login.unwrap();
    assert_eq!((login.username.as_str(), login.password.as_str()), ("pump", "secret"));
    let asked = session.subscribed(&["secret/#"]).await;
    let all = [("a/+", QoS::AtMostOnce), ("b", QoS::AtLeastOnce), ("secret/#", QoS::AtMostOnce)];
    assert_eq!(asked, all.map(|(filter, qos)| (filter.to_owned(), qos)));
    assert_eq!(site.up().await, 1);
    let FromBroker::Deaf { filters: deaf } = site.heard().await else { panic!("it is told") };
    assert_eq!(deaf, ["secret/#"]);

    site.broker.subscribe(filters(&[("a/+", 1), ("c", 0)]));
    for gone in ["b", "secret/#"] {
        let Packet::Unsubscribe(unsubscribe) = session.next().await else { panic!("no UNSUB") };
        assert_eq!(unsubscribe.topics, [gone]);
    }
    let asked = session.subscribed(&[]).await;
    let new = [("a/+", QoS::AtLeastOnce), ("c", QoS::AtMostOnce)];
    assert_eq!(asked, new.map(|(filter, qos)| (filter.to_owned(), qos)));

    // A new connection asks for all of it again.
    drop(session);
    let mut session = site.accept().await;
    session.greet().await;
    assert_eq!(session.subscribed(&[]).await.len(), 2);
    assert_eq!(site.up().await, 2);
}

#[tokio::test]
async fn more_filters_than_fit_at_once_are_all_asked_for() {
    let site = Site::new(|_, _| {}).await;
    let many: VecMap<String, u8> = (0..2_000).map(|n| (format!("t/{n:04}"), 0)).collect();
    site.broker.subscribe(Arc::new(many.clone()));
    let mut session = site.accept().await;
    session.greet().await;
    let mut asked = VecMap::new();
    while asked.len() < many.len() {
        asked.extend(session.subscribed(&[]).await.into_iter().map(|(filter, _)| (filter, 0)));
    }
    assert_eq!(asked, many);
}

#[tokio::test]
async fn messages_are_json_or_text_or_base64_and_bounded() {
    let site = Site::new(|_, _| {}).await;
    let mut session = site.accept().await;
    session.greet().await;
    site.up().await;
    session.deliver("a/b", true, b"{\"n\": 1}".to_vec()).await;
    session.deliver("a/b", false, b"it's hot".to_vec()).await;
    session.deliver("a/b", false, vec![0xff, 0]).await;
    session.deliver("a/b", false, vec![b'1'; MESSAGE_DATA_BYTES]).await;
    // Below the bound as bytes, above it as text of an expression.
    session.deliver("a/b", false, vec![0xfe; MESSAGE_DATA_BYTES - 2_000]).await;
    session.deliver("a/b", false, b"".to_vec()).await;
    let first = site.message().await;
    assert_eq!((first.topic.as_str(), first.retained, first.qos), ("a/b", true, 0));
    assert_eq!(first.payload.value(), serde_json::json!({ "n": 1 }));
    for expected in ["it's hot", "/wA=", ""] {
        let message = site.message().await;
        assert_eq!((message.payload.value(), message.retained), (expected.into(), false));
    }
    assert_eq!(site.broker.dropped(), (0, 2));
}

#[tokio::test]
async fn a_brain_that_is_behind_is_not_waited_for() {
    let site = Site::new(|_, _| {}).await;
    let mut session = site.accept().await;
    session.greet().await;
    site.up().await;
    let room = limits::MESSAGES_WAITING_BYTES / 50_000;
    for n in 0..room + 2 {
        session.deliver("a", false, vec![b'0' + u8::try_from(n).unwrap(); 50_000 - 1]).await;
    }
    let until = tokio::time::Instant::now() + WAIT;
    while site.broker.dropped().0 < 2 {
        assert!(tokio::time::Instant::now() < until, "{:?}", site.broker.dropped());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The others are there, in order, and then there is room again.
    for _ in 0..room {
        site.message().await;
    }
    session.deliver("a", false, b"7".to_vec()).await;
    assert_eq!(site.message().await.payload.value(), 7);
}

#[tokio::test]
async fn messages_go_out_in_order_and_count_when_they_have_arrived() {
    let site = Site::new(|_, _| {}).await;
    let mut session = site.accept().await;
    session.greet().await;
    let connection = site.up().await;
    site.give(connection + 1, 99, 1);
    for (seq, qos) in [(1, 1), (2, 0), (3, 1)] {
        site.give(connection, seq, qos);
    }
    let mut got = Vec::new();
    for _ in 0..3 {
        got.push(session.published().await);
    }
    let seen: Vec<_> = got.iter().map(|p| (&p.payload[..], p.qos as u8, p.retain)).collect();
    assert_eq!(seen, [(&b"1"[..], 1, false), (b"2", 0, true), (b"3", 1, false)]);
    assert!(matches!(site.heard().await, FromBroker::Published { seq: 2 }));
    for (publish, expected) in [(&got[0], 1), (&got[2], 3)] {
        session.acknowledge(publish).await;
        let heard = site.heard().await;
        assert!(matches!(heard, FromBroker::Published { seq } if seq == expected), "{heard:?}");
    }
}

#[tokio::test]
async fn a_message_that_costs_every_connection_goes_alone_and_is_given_up() {
    let site = Site::new(|_, task| {
        task.patience.strikes = 3;
        task.patience.time = Duration::ZERO;
    })
    .await;
    for strike in 1..=3 {
        let mut session = site.accept().await;
        session.greet().await;
        let connection = site.up().await;
        for seq in [1, 2] {
            site.give(connection, seq, 1);
        }
        assert_eq!(&session.published().await.payload[..], b"1", "strike {strike}");
        if strike == 1 {
            assert_eq!(&session.published().await.payload[..], b"2", "nothing is suspected yet");
        }
    }
    let heard = site.heard().await;
    assert!(matches!(heard, FromBroker::Refused { seq: 1, .. }), "{heard:?}");
    // The next one is innocent and goes like any other.
    let mut session = site.accept().await;
    session.greet().await;
    let connection = site.up().await;
    for seq in [2, 3] {
        site.give(connection, seq, 1);
    }
    let second = session.published().await;
    assert_eq!(&session.published().await.payload[..], b"3");
    session.acknowledge(&second).await;
    assert!(matches!(site.heard().await, FromBroker::Published { seq: 2 }));
}

#[tokio::test]
async fn tls_trusts_the_given_ca_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let certificate = || {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.self_signed(&key).unwrap(), key)
    };
    let (own, key) = certificate();
    std::fs::write(&ca, certificate().0.pem()).unwrap();
    let site = Site::new(|config, _| config.tls_ca_file = Some(ca.clone())).await;
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let stream = site.accept().await.stream;
    assert!(acceptor.accept(stream).await.is_err(), "a stranger's certificate");
    assert!(matches!(site.heard().await, FromBroker::Down { .. }));
    // The file is read for each connection.
    std::fs::write(&ca, own.pem()).unwrap();
    loop {
        let stream = site.accept().await.stream;
        if let Ok(stream) = acceptor.accept(stream).await {
            Session::new(stream).greet().await;
            break;
        }
    }
    site.up().await;
    std::fs::remove_file(&ca).unwrap();
    loop {
        let FromBroker::Down { reason } = site.heard().await else { panic!("not down") };
        if reason.contains("ca.pem") {
            return;
        }
    }
}

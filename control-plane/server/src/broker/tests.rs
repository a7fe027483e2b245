//! The gate against the real client library and against clients that misbehave, over real TLS.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openclaw_protocol::id::DeviceId;
use openclaw_protocol::topic::Direction;
use rumqttc::{ConnectReturnCode, ConnectionError};
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::GateLimits;
use super::acl::Violation;
use super::gate::GateEvent;
use super::testing::{
    Credentials, Device, Fixture, Raw, client_tls, connect_packet, now_ms, publish_packet,
    subscribe_packet, within,
};
use crate::fleet::ca::FleetCa;

fn violation(event: &GateEvent) -> Option<Violation> {
    match event {
        GateEvent::Violation { violation, .. } => Some(*violation),
        GateEvent::Connected { .. } | GateEvent::Disconnected { .. } => None,
    }
}

/// A frame up, a frame down: whoever can do this was not harmed.
async fn works(fixture: &mut Fixture, device: &mut Device, own: &Credentials, mark: &str) {
    device.publish(mark.as_bytes().to_vec());
    let frame = loop {
        tokio::select! {
            polled = device.eventloop.poll() => drop(polled.expect("the bystander's connection")),
            frame = within("a frame", fixture.frames.recv()) => break frame.unwrap(),
        }
    };
    assert_eq!((&frame.device, &frame.bytes[..]), (&own.device, mark.as_bytes()));
    fixture.hub.send(&own.tenant, &own.device, mark.as_bytes().to_vec()).await;
    let (topic, payload) = device.message().await.expect("the bystander's connection");
    assert_eq!((topic, payload), (own.topic(Direction::Down), mark.as_bytes().to_vec()));
}

async fn alert(fixture: &Fixture, credentials: Option<&Credentials>) -> AlertDescription {
    let tls = client_tls(fixture.ca.certificate_pem(), credentials);
    let error = match Raw::open(fixture.gate.addr, tls).await {
        Err(error) => error,
        // In TLS 1.3 the client is done before the server has seen its certificate.
        Ok(mut raw) => {
            raw.send(&connect_packet("pump-7", 60)).await;
            let (bytes, end) = raw.rest().await;
            assert!(bytes.is_empty(), "no MQTT answer without a certificate");
            end.unwrap_err()
        }
    };
    let tls = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        other => panic!("not a TLS alert: {other:?} {error}"),
    }
}

#[tokio::test]
async fn no_certificate_or_a_foreign_one_gets_a_tls_alert() {
    let fixture = Fixture::start(GateLimits::default()).await;
    assert_eq!(alert(&fixture, None).await, AlertDescription::CertificateRequired);
    let dir = tempfile::tempdir().unwrap();
    let other_ca = FleetCa::open(dir.path(), now_ms()).unwrap();
    let foreign = Credentials::issue(&other_ca, "acme", "pump-7");
    // rustls sends a certificate of any issuer if it is asked; the gate does not know this one.
    let got = alert(&fixture, Some(&foreign)).await;
    assert!(matches!(got, AlertDescription::UnknownCA | AlertDescription::DecryptError), "{got:?}");
    // The client library sees it as the end of its connection, too.
    let mut device = Device::new(fixture.gate.addr, fixture.ca.certificate_pem(), &foreign);
    let error = device.connected().await.unwrap_err();
    assert!(!matches!(error, ConnectionError::ConnectionRefused(_)), "{error:?}");
}

#[tokio::test]
async fn an_expired_certificate_gets_a_tls_alert() {
    let fixture = Fixture::start(GateLimits::default()).await;
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let mut own = fixture.credentials("pump-7");
    let long_ago = now_ms() - 91 * 86_400_000;
    own.certificate_pem = fixture.ca.issue(&csr, &own.tenant, &own.device, long_ago).unwrap().pem;
    own.key_pem = key.serialize_pem();
    assert_eq!(alert(&fixture, Some(&own)).await, AlertDescription::CertificateExpired);
}

#[tokio::test]
async fn the_codes_of_connack_say_why() {
    let fixture = Fixture::start(GateLimits::default()).await;
    let (addr, ca) = (fixture.gate.addr, fixture.ca.certificate_pem());
    let own = fixture.credentials("pump-7");
    let refused = |error: ConnectionError| {
        let ConnectionError::ConnectionRefused(code) = error else { panic!("{error:?}") };
        code
    };
    let mut other = Device::with_client_id(addr, ca, &own, "pump-8");
    let code = refused(other.connected().await.unwrap_err());
    assert_eq!(code, ConnectReturnCode::BadClientId, "CONNACK 2 for another's client id");
    fixture.revoked.lock().unwrap().insert(own.device.clone());
    let code = refused(Device::new(addr, ca, &own).connected().await.unwrap_err());
    assert_eq!(code, ConnectReturnCode::NotAuthorized, "CONNACK 5 for a revoked device");
    let stranger = fixture.credentials("stranger");
    let code = refused(Device::new(addr, ca, &stranger).connected().await.unwrap_err());
    assert_eq!(code, ConnectReturnCode::NotAuthorized, "CONNACK 5 for one that was removed");

    let own = fixture.credentials("pump-9");
    let mut five = connect_packet("pump-9", 60);
    five[8] = 5;
    let mut raw = fixture.raw(&own).await.unwrap();
    raw.send(&five).await;
    assert_eq!(raw.rest().await.0, [0x20, 2, 0, 1], "CONNACK 1 for another protocol version");
    let mut will = connect_packet("pump-9", 60);
    will[9] |= 0x04;
    will.extend(b"\x00\x01t\x00\x01m");
    will[1] += 6;
    let mut raw = fixture.raw(&own).await.unwrap();
    raw.send(&will).await;
    assert_eq!(raw.rest().await.0, [0x20, 2, 0, 5], "CONNACK 5 for a last will");
}

#[tokio::test]
async fn a_revoked_device_is_cut_off_at_once_and_stays_out() {
    let mut fixture = Fixture::start(GateLimits::default()).await;
    let (own, other) = (fixture.credentials("pump-7"), fixture.credentials("pump-8"));
    let mut device = fixture.device(&own).await;
    let mut bystander = fixture.device(&other).await;
    fixture.revoked.lock().unwrap().insert(own.device.clone());
    let told = Instant::now();
    fixture.gate.kick(&own.tenant, &own.device).await;
    device.end().await;
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    let error = device.connected().await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized)),
        "{error:?}"
    );
    works(&mut fixture, &mut bystander, &other, "still here").await;
}

#[tokio::test]
async fn the_newer_connection_of_a_device_replaces_the_older() {
    let mut fixture = Fixture::start(GateLimits::default()).await;
    let own = fixture.credentials("pump-7");
    let mut older = fixture.device(&own).await;
    let mut newer = fixture.device(&own).await;
    older.end().await;
    works(&mut fixture, &mut newer, &own, "I am the one").await;
    let mut order = Vec::new();
    for _ in 0..3 {
        order.push(
            fixture
                .event(|event| match event {
                    GateEvent::Connected { connection, .. } => Some(("up", *connection)),
                    GateEvent::Disconnected { connection, .. } => Some(("down", *connection)),
                    GateEvent::Violation { .. } => None,
                })
                .await,
        );
    }
    let (first, second) = (order[0].1, order[2].1);
    assert_eq!(order, [("up", first), ("down", first), ("up", second)], "one at a time, in order");
}

/// Two devices of one fleet and one of another: whatever a device tries on another's topics, it
/// is cut off, nobody reads or hears anything, and the others keep working.
#[tokio::test]
async fn nobody_reads_or_writes_anothers_topics() {
    let mut fixture = Fixture::start(GateLimits::default()).await;
    let victim = fixture.credentials("victim");
    let thief = fixture.credentials("thief");
    let namesake = Credentials::issue(&fixture.ca, "beta", "victim");
    let mut bystander = fixture.device(&victim).await;
    let (up, down) = (victim.topic(Direction::Up), victim.topic(Direction::Down));
    let filters = [
        down.as_str(),
        up.as_str(),
        "#",
        "+/#",
        "openclaw/#",
        "openclaw/v1/acme/+/down/sync",
        "openclaw/v1/+/victim/down/sync",
        "openclaw/v1/acme/victim/down/+",
        "$SYS/#",
        "",
        "$share/g/openclaw/v1/acme/victim/down/sync",
        "$share/g/#",
        "é/1",
        "openclaw/v1/acme/thief/../victim/down/sync",
        "openclaw/v1/acme/thief/up/sync",
    ];
    let topics = [
        (up.as_str(), 0b010),
        (up.as_str(), 0),
        (up.as_str(), 0b011),
        (down.as_str(), 0b010),
        (down.as_str(), 0b001),
        ("é/1", 0b010),
        ("openclaw/v1/acme/thief/down/sync", 0b010),
        ("openclaw/v1/acme/thief/up/sync", 0b011),
        ("openclaw/v1/acme/thief/up/sync", 0b100),
        ("openclaw/v1/+/+/up/sync", 0),
        ("#", 0),
        ("$SYS/x", 0),
        ("", 0),
        ("\0", 0),
    ];
    let mut attempts = 0;
    for who in [&thief, &namesake] {
        let subscribes = filters.iter().map(|filter| subscribe_packet(filter, 1));
        let publishes =
            topics.iter().map(|(topic, flags)| publish_packet(topic, *flags, b"forged"));
        for packet in subscribes.chain(publishes) {
            let mut raw = fixture.raw_connected(who).await;
            raw.send(&packet).await;
            let (bytes, _) = raw.rest().await;
            assert!(bytes.is_empty(), "no answer to {packet:02x?}");
            fixture.event(violation).await;
            attempts += 1;
        }
    }
    assert_eq!(attempts, 2 * (filters.len() + topics.len()));
    // Had any forged frame got through, it would come before this one.
    works(&mut fixture, &mut bystander, &victim, "after all that").await;
    assert_eq!(fixture.restarts.load(Ordering::Relaxed), 0, "the router never noticed");
}

#[tokio::test]
async fn packets_that_promise_too_much_or_make_no_sense_cost_only_their_sender() {
    let mut fixture = Fixture::start(GateLimits::default()).await;
    let own = fixture.credentials("pump-7");
    let other = fixture.credentials("bystander");
    let mut bystander = fixture.device(&other).await;
    let large = publish_packet(&own.topic(Direction::Up), 0b010, &vec![0; 70_000]);
    let cases: [(&[u8], Violation); 9] = [
        (&[0x32, 0xff, 0xff, 0xff, 0x7f], Violation::Oversize),
        (&large[..20], Violation::Oversize),
        (&[0x32, 0xff, 0xff, 0xff, 0xff, 0x7f], Violation::Malformed),
        (&[0x00, 0x00], Violation::Malformed),
        (&[0xf0, 0x00], Violation::Malformed),
        (&[0x90, 0x03, 0, 1, 0], Violation::Unexpected),
        (&[0x62, 0x02, 0, 1], Violation::QosTwo),
        (&[0x82, 0x02, 0, 1], Violation::Malformed),
        (&connect_packet("pump-7", 60), Violation::Unexpected),
    ];
    for (bytes, expected) in cases {
        let mut raw = fixture.raw_connected(&own).await;
        raw.send(bytes).await;
        assert!(raw.rest().await.0.is_empty(), "no answer to {bytes:02x?}");
        assert_eq!(fixture.event(violation).await, expected, "{bytes:02x?}");
    }
    // An acknowledgement nobody waits for: the router itself drops the link, and only that one.
    let mut raw = fixture.raw_connected(&own).await;
    raw.send(&[0x40, 0x02, 0, 9]).await;
    assert!(raw.rest().await.0.is_empty());
    works(&mut fixture, &mut bystander, &other, "not harmed").await;
    assert_eq!(fixture.restarts.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn silent_and_slow_connections_do_not_keep_a_device_out() {
    let limits = GateLimits { pending_per_address: 40, ..GateLimits::default() };
    let mut fixture = Fixture::start(limits).await;
    let own = fixture.credentials("pump-7");
    let mut hangers_on = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(fixture.gate.addr).await.unwrap();
        if n % 2 == 0 {
            // The first byte of a TLS record, and never the rest.
            stream.write_all(&[0x16]).await.unwrap();
        }
        hangers_on.push(stream);
    }
    let begun = Instant::now();
    let mut device = fixture.device(&own).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    works(&mut fixture, &mut device, &own, "in").await;
    // The oldest had to make room; at most the bound is still open.
    let mut open = 0;
    for stream in &mut hangers_on {
        let mut byte = [0];
        let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut byte)).await;
        open += usize::from(read.is_err());
    }
    assert!(open <= 40, "{open} silent connections are still open");
}

#[tokio::test]
async fn who_does_not_say_who_it_is_in_time_is_cut() {
    let limits = GateLimits { handshake: Duration::from_millis(300), ..GateLimits::default() };
    let fixture = Fixture::start(limits).await;
    let own = fixture.credentials("pump-7");
    let mut silent = TcpStream::connect(fixture.gate.addr).await.unwrap();
    let mut dumb = fixture.raw(&own).await.unwrap();
    let mut loris = fixture.raw(&own).await.unwrap();
    let connect = connect_packet("pump-7", 60);
    loris.send(&connect[..connect.len() - 1]).await;
    let begun = Instant::now();
    assert_eq!(within("the cut", silent.read(&mut [0])).await.unwrap_or(0), 0);
    assert!(dumb.rest().await.0.is_empty());
    assert!(loris.rest().await.0.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_client_that_falls_silent_or_does_not_read_is_cut() {
    let limits = GateLimits { write: Duration::from_secs(1), ..GateLimits::default() };
    let mut fixture = Fixture::start(limits).await;
    let (own, other) = (fixture.credentials("pump-7"), fixture.credentials("bystander"));
    let mut bystander = fixture.device(&other).await;
    let mut silent = fixture.raw(&own).await.unwrap();
    silent.send(&connect_packet("pump-7", 1)).await;
    assert_eq!(silent.read(4).await, [0x20, 2, 0, 0]);
    // Feeding one byte of a packet after the other does not count as being alive.
    silent.send(&[0x32]).await;
    let begun = Instant::now();
    assert!(silent.rest().await.0.is_empty());
    let lived = begun.elapsed();
    assert!(lived > Duration::from_millis(900) && lived < Duration::from_secs(10), "{lived:?}");

    let mut stalled = fixture.raw_connected(&own).await;
    stalled.send(&subscribe_packet(&own.topic(Direction::Down), 0)).await;
    assert_eq!(stalled.read(5).await, [0x90, 3, 0, 1, 0], "SUBACK");
    fixture
        .event(|event| {
            matches!(event, GateEvent::Connected { device, .. }
        if *device == own.device)
            .then_some(())
        })
        .await;
    let gone = |event: &GateEvent| match event {
        GateEvent::Disconnected { device, .. } => Some(device.clone()),
        GateEvent::Connected { .. } | GateEvent::Violation { .. } => None,
    };
    let hub = fixture.hub.clone();
    let (tenant, device): (_, DeviceId) = (own.tenant.clone(), own.device.clone());
    let flood = tokio::spawn(async move {
        for _ in 0..2_000 {
            hub.send(&tenant, &device, vec![0; 60_000]).await;
        }
    });
    loop {
        if fixture.event(gone).await == own.device {
            break;
        }
    }
    within("the flood", flood).await.unwrap();
    works(&mut fixture, &mut bystander, &other, "not harmed").await;
    drop(stalled);
}

#[tokio::test]
async fn unsubscribe_is_always_answered() {
    let fixture = Fixture::start(GateLimits::default()).await;
    let own = fixture.credentials("pump-7");
    let mut raw = fixture.raw_connected(&own).await;
    let filter = own.topic(Direction::Down);
    let mut unsubscribe = subscribe_packet(&filter, 0);
    unsubscribe.pop();
    unsubscribe[0] = 0xa2;
    unsubscribe[1] -= 1;
    raw.send(&unsubscribe).await;
    assert_eq!(raw.read(4).await, [0xb0, 2, 0, 1], "of a filter never subscribed to");
    raw.send(&subscribe_packet(&filter, 1)).await;
    assert_eq!(raw.read(5).await, [0x90, 3, 0, 1, 1]);
    raw.send(&unsubscribe).await;
    assert_eq!(raw.read(4).await, [0xb0, 2, 0, 1]);
    raw.send(&[0xc0, 0]).await;
    assert_eq!(raw.read(2).await, [0xd0, 0], "exactly one UNSUBACK, then the pong");
    fixture.hub.send(&own.tenant, &own.device, b"into the void".to_vec()).await;
    raw.send(&[0xc0, 0]).await;
    assert_eq!(raw.read(2).await, [0xd0, 0], "nothing is delivered any more");
}

#[tokio::test]
async fn connections_are_bounded() {
    let limits = GateLimits { connections: 2, connections_per_address: 2, ..GateLimits::default() };
    let fixture = Fixture::start(limits).await;
    let _one = fixture.device(&fixture.credentials("pump-1")).await;
    let _two = fixture.device(&fixture.credentials("pump-2")).await;
    let own = fixture.credentials("pump-3");
    let mut three = Device::new(fixture.gate.addr, fixture.ca.certificate_pem(), &own);
    let error = three.connected().await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::ConnectionRefused(ConnectReturnCode::ServiceUnavailable)),
        "{error:?}"
    );
}

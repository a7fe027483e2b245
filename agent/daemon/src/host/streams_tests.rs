//! Streams against real sockets on loopback.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use openclaw_sandbox::Stop;

use super::*;
use crate::clock;

fn net() -> Net {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    Net::new(handle)
}

fn grants(entries: &[String]) -> Arc<NetGrants> {
    Arc::new(NetGrants::new(entries))
}

const ON: Watch<'static> = &|| None;

fn wait(timeout_ms: u32) -> Wait<'static> {
    Wait::new(timeout_ms, u64::MAX, ON)
}

/// Stream 0 and its other side.
fn pair() -> (Streams, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = Name::parse("127.0.0.1").unwrap();
    let granted = grants(&[format!("127.0.0.1:{port}")]);
    let tcp = Tcp::new(None, net());
    let end = tcp.connect((&host, port), &granted, Duration::from_secs(5), ON).unwrap();
    let mut streams = Streams::default();
    streams.add(0, end);
    (streams, listener.accept().unwrap().0)
}

#[test]
fn reads_give_as_much_as_is_asked_for() {
    let (mut streams, mut other) = pair();
    other.write_all(b"0123456789").unwrap();
    assert_eq!(streams.read(0, (4, 4), &wait(5_000)).unwrap(), b"0123");
    assert_eq!(streams.read(0, (1, 3), &wait(5_000)).unwrap().len(), 3);
    assert_eq!(streams.read(0, (0, 0), &wait(5_000)).unwrap(), b"");
    other.write_all(b"ab").unwrap();
    assert_eq!(streams.read(0, (5, 64), &wait(5_000)).unwrap(), b"789ab");
    assert_eq!(streams.read(0, (0, 64), &wait(5_000)).unwrap(), b"", "nothing is there");
    other.write_all(b"rest").unwrap();
    drop(other);
    assert_eq!(streams.read(0, (9, 64), &wait(5_000)).unwrap(), b"rest", "fewer at the end");
    assert_eq!(streams.read(0, (9, 64), &wait(5_000)).unwrap(), b"", "and the end stays");
}

#[test]
fn what_came_too_late_stays_for_the_next_read() {
    let (mut streams, mut other) = pair();
    other.write_all(b"abc").unwrap();
    let error = streams.read(0, (8, 16), &wait(200)).unwrap_err();
    assert!(matches!(&error, HostError::TimedOut(m) if m.contains("3 bytes")), "{error:?}");
    other.write_all(b"defgh").unwrap();
    // Less is asked for than lies there: the rest stays again.
    assert_eq!(streams.read(0, (2, 2), &wait(5_000)).unwrap(), b"ab");
    assert_eq!(streams.read(0, (6, 16), &wait(5_000)).unwrap(), b"cdefgh");
}

#[test]
fn a_stop_and_the_end_of_the_call_are_seen_while_waiting() {
    let (mut streams, _other) = pair();
    let stopped = Wait::new(60_000, u64::MAX, &|| Some(Stop::Cancelled));
    assert_eq!(streams.read(0, (1, 1), &stopped).unwrap_err(), HostError::Cancelled);
    let over = Wait::new(60_000, clock::boot_ms() + 100, ON);
    let error = streams.read(0, (1, 1), &over).unwrap_err();
    assert!(matches!(error, HostError::TimedOut(_)), "{error:?}");
    // Nobody reads on the other side: what is written finds no room in the end.
    let error = loop {
        match streams.write(0, &[0; 64 * 1024], &wait(200)) {
            Ok(()) => {}
            Err(e) => break e,
        }
    };
    assert!(matches!(error, HostError::TimedOut(_)), "{error:?}");
}

#[test]
fn streams_end_with_their_call_and_are_known_by_number() {
    let (mut streams, mut other) = pair();
    streams.write(0, b"bye", &wait(5_000)).unwrap();
    for result in [
        streams.write(1, b"x", &wait(100)),
        streams.close(1),
        streams.read(1, (0, 1), &wait(100)).map(drop),
    ] {
        assert!(matches!(result, Err(HostError::Invalid(_))), "{result:?}");
    }
    drop(streams);
    let mut said = Vec::new();
    other.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"bye", "the other side sees the end");
    let (mut streams, other) = pair();
    drop(other);
    streams.close(0).unwrap();
    assert!(streams.close(0).is_err());
}

#[test]
fn a_broken_connection_says_so() {
    let (mut streams, other) = pair();
    // Closed with unread bytes on it: a reset.
    streams.write(0, b"unread", &wait(5_000)).unwrap();
    drop(other);
    let error = loop {
        match streams.write(0, b"more", &wait(5_000)) {
            Ok(()) => {}
            Err(e) => break e,
        }
    };
    assert!(matches!(&error, HostError::Failed(m) if m.contains("open it anew")), "{error:?}");
}

#[test]
fn connections_go_where_grants_and_configuration_both_allow() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = Name::parse("127.0.0.1").unwrap();
    let connect = |tcp: &Tcp, entries: &[String]| {
        tcp.connect((&host, port), &grants(entries), Duration::from_secs(5), ON).map(drop)
    };
    let named = [format!("127.0.0.1:{port}")];
    assert!(connect(&Tcp::new(None, net()), &named).is_ok());
    let narrowed = |list: &[String]| Tcp::new(Some(NetGrants::new(list)), net());
    assert!(connect(&narrowed(&named), &named).is_ok());
    for (tcp, entries) in [
        (narrowed(&[]), named.as_slice()),
        (narrowed(&["*:*".to_owned()]), &named),
        (Tcp::new(None, net()), &["*:*".to_owned()]),
        (Tcp::new(None, net()), &[]),
    ] {
        let error = connect(&tcp, entries).unwrap_err();
        assert!(matches!(error, HostError::Denied(_)), "{entries:?}: {error:?}");
    }
    drop(listener);
    let error = connect(&Tcp::new(None, net()), &named).unwrap_err();
    assert!(matches!(error, HostError::Failed(_)), "nobody listens: {error:?}");
}

//! The HTTP client against small servers, and every way round its grants.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};

use openclaw_sandbox::Stop;
use zeroize::Zeroizing;

use super::*;

/// A server that gives each connection the same answer. Counts connections.
struct Server {
    port: u16,
    seen: Arc<AtomicUsize>,
}

impl Server {
    fn start(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                counter.fetch_add(1, Ordering::SeqCst);
                let mut stream = stream.unwrap();
                let mut said = Vec::new();
                let mut part = [0; 4096];
                while !said.windows(4).any(|w| w == b"\r\n\r\n") {
                    let Ok(n) = stream.read(&mut part) else { break };
                    if n == 0 {
                        break;
                    }
                    said.extend_from_slice(&part[..n]);
                }
                let _ = stream.write_all(answer);
            }
        });
        Self { port, seen }
    }
}

/// A client on a runtime that is driven by another thread, as in the agent.
fn client(narrowed: Option<&[&str]>) -> Http {
    crate::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let handle = runtime.handle().clone();
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
    let narrowed = narrowed.map(|list| NetGrants::new(&owned(list)));
    Http::new(narrowed, TlsTime::default(), Net::new(handle))
}

fn request(url: &str, grants: &[String]) -> HttpRequest {
    HttpRequest {
        method: "GET".into(),
        target: Target::parse(url).unwrap(),
        headers: BTreeMap::from([("x-test".to_owned(), "1".to_owned())]),
        body: Vec::new(),
        max_response_bytes: 1_000,
        grants: Arc::new(NetGrants::new(grants)),
    }
}

fn fetch(client: &Http, url: &str, grants: &[String]) -> Result<HttpResponse, HostError> {
    client.fetch(&request(url, grants), &Handles::new(&[]), Duration::from_secs(5), &|| None)
}

#[test]
fn a_granted_request_is_answered() {
    let server =
        Server::start(b"HTTP/1.1 203 OK\r\ncontent-length: 5\r\nx-a: 1\r\nx-a: 2\r\n\r\nhello");
    let grants = vec![format!("127.0.0.1:{}", server.port)];
    let answer =
        fetch(&client(None), &format!("http://127.0.0.1:{}/a?b=c", server.port), &grants).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (203, b"hello".as_slice()));
    assert_eq!(answer.headers["x-a"], "1, 2");
}

#[test]
fn a_name_does_not_lead_into_the_devices_own_network() {
    let server = Server::start(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let port = server.port;
    // `localhost` is granted as a name, and resolves to loopback: refused at the address.
    let named = vec![format!("localhost:{port}")];
    let error = fetch(&client(None), &format!("http://localhost:{port}/"), &named).unwrap_err();
    assert!(matches!(error, HostError::Denied(_)), "{error:?}");
    // Named by block as well, it is allowed: the grant says so on purpose.
    let both =
        vec![format!("localhost:{port}"), format!("127.0.0.0/8:{port}"), format!("[::1]:{port}")];
    assert!(fetch(&client(None), &format!("http://localhost:{port}/"), &both).is_ok());
    // The device's configuration narrows what was granted.
    let narrowed = client(Some(&["example.com:443"]));
    let error = fetch(&narrowed, &format!("http://localhost:{port}/"), &both).unwrap_err();
    assert!(matches!(error, HostError::Denied(_)), "{error:?}");
    assert_eq!(server.seen.load(Ordering::SeqCst), 1, "refused before a connection was made");
}

#[test]
fn any_public_host_is_not_this_device() {
    let server = Server::start(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let port = server.port;
    let (by_name, by_address) =
        (format!("http://localhost:{port}/"), format!("http://127.0.0.1:{port}/"));
    let star = vec!["*:*".to_owned()];
    let shipped = vec!["*:*".to_owned(), "127.0.0.1:*".to_owned(), "[::1]:*".to_owned()];
    for (url, grants) in [(&by_name, &star), (&by_address, &star), (&by_name, &shipped)] {
        let error = fetch(&client(None), url, grants).unwrap_err();
        assert!(matches!(error, HostError::Denied(_)), "{url} {grants:?}: {error:?}");
    }
    assert_eq!(server.seen.load(Ordering::SeqCst), 0, "no connection was made");
    assert!(fetch(&client(None), &by_address, &shipped).is_ok(), "granted by address");
    let error = fetch(&client(Some(&["*:*"])), &by_address, &shipped).unwrap_err();
    assert!(matches!(error, HostError::Denied(_)), "the device's own list has no loopback");
}

#[test]
fn a_redirect_is_the_plugins_business() {
    let server = Server::start(
        b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    );
    let grants = vec![format!("127.0.0.1:{}", server.port)];
    let url = format!("http://127.0.0.1:{}/", server.port);
    let answer = fetch(&client(None), &url, &grants).unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(answer.headers["location"], "http://169.254.169.254/");
}

#[test]
fn answers_are_bounded_in_size_and_time() {
    let flood: &'static [u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
        400\r\n"
        .as_slice();
    let long = [flood, &[b'x'; 0x400], b"\r\n0\r\n\r\n"].concat().leak();
    let server = Server::start(long);
    let grants = vec![format!("127.0.0.1:{}", server.port)];
    let url = format!("http://127.0.0.1:{}/", server.port);
    let error = fetch(&client(None), &url, &grants).unwrap_err();
    assert!(matches!(error, HostError::TooLarge(_)), "{error:?}");

    // A listener that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let grants = vec![format!("127.0.0.1:{port}")];
    let asked = request(&format!("http://127.0.0.1:{port}/"), &grants);
    let client = client(None);
    let none = Handles::new(&[]);
    let error = client.fetch(&asked, &none, Duration::from_millis(200), &|| None).unwrap_err();
    assert!(matches!(error, HostError::Failed(_)), "{error:?}");
    let began = std::time::Instant::now();
    let error = client.fetch(&asked, &none, Duration::from_secs(60), &|| Some(Stop::Cancelled));
    assert_eq!(error.unwrap_err(), HostError::Cancelled);
    assert!(began.elapsed() < Duration::from_secs(10), "a stop is noticed while waiting");
}

#[test]
fn nonsense_is_an_error_and_not_a_panic() {
    for answer in [b"".as_slice(), b"HTTP/1.1", b"\0\0\0\0\r\n\r\n", b"HTTP/9.9 1 x\r\n\r\n"] {
        let server = Server::start(answer);
        let grants = vec![format!("127.0.0.1:{}", server.port)];
        let error = fetch(&client(None), &format!("http://127.0.0.1:{}/", server.port), &grants);
        assert!(matches!(error, Err(HostError::Failed(_))), "{error:?}");
    }
    let grants = vec!["127.0.0.1:1".to_owned()];
    let mut bad = request("http://127.0.0.1:1/", &grants);
    bad.headers.insert("a b".into(), "c".into());
    let none = Handles::new(&[]);
    let error = client(None).fetch(&bad, &none, Duration::from_secs(1), &|| None).unwrap_err();
    assert!(matches!(error, HostError::Failed(_) | HostError::Invalid(_)), "{error:?}");
}

/// A server that sends back what it was sent, as the body and as a header.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut said = Vec::new();
            let mut part = [0; 4096];
            // The requests of these tests end with this body.
            while !said.ends_with(b"the end") {
                let n = stream.read(&mut part).unwrap();
                assert!(n > 0, "the request ends early");
                said.extend_from_slice(&part[..n]);
            }
            let line = String::from_utf8_lossy(&said).lines().next().unwrap().to_owned();
            let length = said.len();
            let head =
                format!("HTTP/1.1 200 OK\r\nx-line: {line}\r\ncontent-length: {length}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&said).unwrap();
        }
    });
    port
}

#[test]
fn a_secret_goes_out_in_path_header_and_body_and_does_not_come_back() {
    let port = echo();
    let grants = vec![format!("127.0.0.1:{port}")];
    let values = vec![("token".to_owned(), Zeroizing::new("correct-horse battery".to_owned()))];
    let mut handles = Handles::new(&values);
    let random = |drawn: &mut [u8]| getrandom::fill(drawn).unwrap();
    let handle = String::from_utf8(handles.issue("token", &random).unwrap()).unwrap();
    let mut asked = request(&format!("http://127.0.0.1:{port}/a/{handle}?k=v"), &grants);
    asked.method = "POST".into();
    asked.headers.insert("authorization".into(), format!("Bearer {handle}"));
    asked.body = format!("{{\"key\":\"{handle}\"}} the end").into_bytes();
    let send = |handles: &Handles<'_>| {
        let answer = client(None).fetch(&asked, handles, Duration::from_secs(5), &|| None).unwrap();
        (String::from_utf8(answer.body).unwrap(), answer.headers["x-line"].clone())
    };
    let (body, line) = send(&handles);
    assert_eq!(line, "POST /a/***?k=v HTTP/1.1", "the path has it, percent-encoded");
    assert!(body.contains("authorization: Bearer ***\r\n"), "{body}");
    assert!(body.ends_with("{\"key\":\"***\"} the end"), "{body}");
    // Control: what the other side was sent is the value, here the handle of another call.
    let (body, line) = send(&Handles::new(&values));
    assert!(line.contains(&handle) && body.matches(&handle).count() == 3, "{body}");
    // A value that no header can carry is refused without being told.
    let values = vec![("token".to_owned(), Zeroizing::new("two\r\nlines-of-it".to_owned()))];
    let mut handles = Handles::new(&values);
    let handle = String::from_utf8(handles.issue("token", &random).unwrap()).unwrap();
    asked.headers.insert("authorization".into(), format!("Bearer {handle}"));
    let error = client(None).fetch(&asked, &handles, Duration::from_secs(5), &|| None).unwrap_err();
    assert!(matches!(&error, HostError::Invalid(m) if !m.contains("lines-of-it")), "{error:?}");
}

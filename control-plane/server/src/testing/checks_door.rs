//! What the door and the connections behind it bear: streams that end with their login, readers
//! that stop reading, crowds from one host, proxies, cookies.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::server::{Client, Database, PASSWORD, Server};
use crate::store::args;

/// How long anything here may take that takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);

async fn watch(client: &Client<'_>) -> Response {
    client.request(Method::GET, "/api/v1/events").send().await.unwrap()
}

/// Whether a stream has ended, and not just been silent, within [`PATIENCE`].
async fn ends(mut stream: Response) -> bool {
    assert_eq!(stream.status(), 200);
    let read = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(PATIENCE, read).await.is_ok()
}

pub(super) async fn a_stream_ends_with_its_login(database: Database) {
    let server = Server::start_with(&database, |config| {
        config.http.limits.recheck = Duration::from_millis(100);
    })
    .await;
    let (admin, other) = (server.admin().await, server.admin().await);
    let leaver = server.admin().await;
    let stays = watch(&admin).await;
    let left = watch(&leaver).await;
    assert_eq!(leaver.call(Method::POST, "/api/v1/auth/logout", None).await.0, 204);
    assert!(ends(left).await, "logged out");

    let disabled = watch(&other).await;
    admin.post(&format!("/api/v1/users/{}/disable", other.username), json!({})).await;
    assert!(ends(disabled).await, "disabled");

    let made = admin.post("/api/v1/api-keys", json!({ "name": "k", "role": "viewer" })).await;
    let key = server.with_token(made["secret"].as_str().unwrap());
    let revoked = watch(&key).await;
    let path = format!("/api/v1/api-keys/{}", made["key"]["id"].as_str().unwrap());
    assert_eq!(admin.call(Method::DELETE, &path, None).await.0, 204);
    assert!(ends(revoked).await, "revoked");

    let mut stays = stays;
    let read = tokio::time::timeout(Duration::from_millis(300), stays.chunk()).await;
    assert!(read.is_err(), "whoever is still logged in goes on watching: {read:?}");
    server.stop().await;
}

pub(super) async fn streams_of_one_login_are_counted(database: Database) {
    let server = Server::start_with(&database, |config| config.http.limits.streams = 2).await;
    let (admin, other) = (server.admin().await, server.admin().await);
    let first = watch(&admin).await;
    let second = watch(&admin).await;
    admin.refused(Method::GET, "/api/v1/events", None, (429, "events.too_many")).await;
    assert_eq!(watch(&other).await.status(), 200, "each principal has its own count");
    drop((first, second));
    let opened = async {
        while watch(&admin).await.status() != 200 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, opened).await.expect("there is room once they are closed");
    server.stop().await;
}

fn address(server: &Server) -> SocketAddr {
    server.ctx.addresses.get().unwrap().http
}

pub(super) async fn a_reader_that_stops_reading_is_cut_off(database: Database) {
    let server = Server::start_with(&database, |config| {
        config.http.limits.write = Duration::from_millis(200);
    })
    .await;
    let mut stream = TcpStream::connect(address(&server)).await.unwrap();
    let asks = async {
        // Asks and asks, and reads no answer: once all buffers are full, nothing moves, until
        // the server ends it.
        while stream.write_all(b"GET /api/openapi.json HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok() {
        }
    };
    let cut = tokio::time::timeout(PATIENCE * 3, asks).await;
    assert!(cut.is_ok(), "the connection is still held");
    server.stop().await;
}

pub(super) async fn one_host_has_so_many_connections(database: Database) {
    let server =
        Server::start_with(&database, |config| config.http.limits.connections_per_host = 2).await;
    let first = greeted(&server).await.unwrap();
    let second = greeted(&server).await.unwrap();
    assert!(greeted(&server).await.is_none(), "the third is turned away");
    drop((first, second));
    let again = async { while greeted(&server).await.is_none() {} };
    tokio::time::timeout(PATIENCE, again).await.expect("there is room once they have gone");
    server.stop().await;
}

/// A connection that has been answered; `None` where it was closed instead.
async fn greeted(server: &Server) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address(server)).await.ok()?;
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.ok()?;
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.ok()?;
    (begin == *b"HTTP/1.1 200").then_some(stream)
}

async fn login_from(server: &Server, forwarded_for: &str) -> String {
    let body = json!({ "username": "admin", "password": PASSWORD });
    let nobody = server.nobody();
    let request = nobody.request(Method::POST, "/api/v1/auth/login").json(&body);
    let (status, answer) = nobody.send(request.header("x-forwarded-for", forwarded_for)).await;
    assert_eq!(status, 200, "{answer}");
    let mut tx = server.ctx.db.read().await.unwrap();
    let sql = "SELECT detail FROM audit WHERE action = 'session.begin' ORDER BY id DESC LIMIT 1";
    tx.row(sql, args![]).await.unwrap().unwrap().text("detail").unwrap()
}

pub(super) async fn only_a_trusted_proxy_says_who_is_behind_it(database: Database) {
    let server = Server::start(&database).await;
    let detail = login_from(&server, "198.51.100.7").await;
    assert!(detail.contains("127.0.0.1"), "{detail}");
    server.stop().await;
    let Database::Sqlite = database else { return };
    let server = Server::start_with(&database, |config| {
        config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let detail = login_from(&server, "203.0.113.66, 198.51.100.7").await;
    assert!(detail.contains("198.51.100.7"), "{detail}");
    server.stop().await;
}

pub(super) async fn guessing_join_codes_is_no_login(database: Database) {
    let server = Server::start(&database).await;
    let nobody = server.nobody();
    let guess = |n: u32| Some(json!({ "code": format!("guess-{n}"), "csr_pem": "x" }));
    for n in 0..60 {
        let invalid = (422, "join_code.invalid");
        nobody.refused(Method::POST, "/api/v1/enroll", guess(n), invalid).await;
    }
    let slow = (429, "auth.too_many");
    nobody.refused(Method::POST, "/api/v1/enroll", guess(61), slow).await;
    nobody.post("/api/v1/auth/login", json!({ "username": "admin", "password": PASSWORD })).await;
    server.stop().await;
}

pub(super) async fn under_https_only_our_own_cookie_counts(database: Database) {
    let server = Server::start_with(&database, |config| {
        config.http.public_url = Some("https://fleet.example".to_owned());
    })
    .await;
    let admin = server.admin().await;
    let nobody = server.nobody();
    let with = |name: &str| {
        let cookie = format!("{name}={}", admin.token);
        nobody.request(Method::GET, "/api/v1/auth/me").header("cookie", cookie)
    };
    assert_eq!(nobody.send(with("openclaw")).await.0, 401, "a neighbour may have set it");
    let response = with("__Host-openclaw").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["strict-transport-security"], "max-age=31536000");
    server.stop().await;
}

pub(super) async fn metrics_are_open_to_this_machine_only_if_so_wanted(database: Database) {
    let server = Server::start_with(&database, |config| config.http.local_metrics = true).await;
    let nobody = server.nobody();
    let metrics = nobody.get("/metrics").await;
    assert!(metrics.as_str().unwrap().contains("openclaw_devices_connected 0"), "{metrics}");
    let proxied = nobody.request(Method::GET, "/metrics").header("x-forwarded-for", "192.0.2.1");
    assert_eq!(nobody.send(proxied).await.0, 401, "through a proxy nobody is local");
    server.stop().await;
}

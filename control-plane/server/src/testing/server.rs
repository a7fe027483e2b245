//! A whole control plane on free ports, and a client that holds every answer to the API's
//! description.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use openclaw_protocol::api::Role;
use openclaw_protocol::id::TenantId;

use super::contract::Contract;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{Config, DEFAULT_TENANT};
use crate::context::Ctx;
use crate::identity::{SESSION_PREFIX, role_name};
use crate::random;
use crate::service::users;
use crate::store::{self, Tx};

/// When the tests' time begins.
pub(super) const START_MS: i64 = 1_800_000_000_000;
/// Password of the first admin.
pub(super) const PASSWORD: &str = "correct horse battery";

/// Where a check keeps its facts.
#[derive(Debug, Clone)]
pub(super) enum Database {
    Sqlite,
    /// At this address.
    Postgres(String),
}

pub(super) struct Server {
    pub(super) url: String,
    pub(super) ctx: Ctx,
    pub(super) dir: TempDir,
    now_ms: Arc<AtomicI64>,
    stop: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    contract: Contract,
    http: reqwest::Client,
}

impl Server {
    pub(super) async fn start(database: &Database) -> Self {
        Self::start_with(database, |_| {}).await
    }

    pub(super) async fn start_with(database: &Database, set: impl FnOnce(&mut Config)) -> Self {
        // The client wants one; that another test was faster is no fault.
        _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(&dir, database);
        set(&mut config);
        let now_ms = Arc::new(AtomicI64::new(START_MS));
        let clock = Clock::Manual(Arc::clone(&now_ms));
        let (app, first) = App::build(config, clock, Some(PASSWORD.to_owned())).await.unwrap();
        assert_eq!(first.unwrap().password, None, "a password that was given is not shown");
        let (ctx, stop) = (Arc::clone(app.ctx()), CancellationToken::new());
        let (ready, waits) = oneshot::channel();
        let running = tokio::spawn(app.run(stop.clone(), ready));
        let addresses = waits.await.unwrap();
        Self {
            url: format!("http://{}", addresses.http),
            ctx,
            dir,
            now_ms,
            stop,
            running: Some(running),
            contract: Contract::load(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(super) fn pass_ms(&self, ms: i64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn tenant(&self) -> TenantId {
        TenantId::parse(DEFAULT_TENANT).unwrap()
    }

    pub(super) async fn write(&self) -> Tx {
        self.ctx.db.write().await.unwrap()
    }

    /// A session of a new user with this role, without the cost of a login.
    pub(super) async fn session(&self, tenant: &str, role: Role) -> Client<'_> {
        let username = format!("{}-{}", role_name(role), random::secret());
        let mut tx = self.write().await;
        let row = users::new_row(&username, role, "none".to_owned(), self.now_ms());
        assert!(store::users::insert(&mut tx, tenant, &row).await.unwrap());
        let token = format!("{SESSION_PREFIX}{}", random::secret());
        let (hash, now_ms) = (random::hash(&token), self.now_ms());
        store::sessions::insert(&mut tx, &hash, tenant, &username, now_ms, i64::MAX).await.unwrap();
        tx.commit().await.unwrap();
        Client { server: self, token, username }
    }

    pub(super) async fn admin(&self) -> Client<'_> {
        self.session(DEFAULT_TENANT, Role::Admin).await
    }

    /// Somebody without a credential.
    pub(super) fn nobody(&self) -> Client<'_> {
        Client { server: self, token: String::new(), username: String::new() }
    }

    pub(super) fn with_token(&self, token: &str) -> Client<'_> {
        Client { server: self, token: token.to_owned(), username: String::new() }
    }

    /// Ends it in order, and waits until it has.
    pub(super) async fn stop(mut self) -> TempDir {
        self.stop.cancel();
        self.running.take().unwrap().await.unwrap().unwrap();
        let empty = tempfile::tempdir().unwrap();
        std::mem::replace(&mut self.dir, empty)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(super) fn config(dir: &TempDir, database: &Database) -> Config {
    let mut config = Config { data_dir: dir.path().join("data"), ..Config::default() };
    config.http.bind = ([127, 0, 0, 1], 0).into();
    config.mqtt.bind = ([127, 0, 0, 1], 0).into();
    if let Database::Postgres(url) = database {
        config.database.url.clone_from(url);
    }
    config
}

/// Somebody who calls the API.
pub(super) struct Client<'a> {
    pub(super) server: &'a Server,
    pub(super) token: String,
    pub(super) username: String,
}

impl Client<'_> {
    /// A request that is ready to send.
    pub(super) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.server.http.request(method, format!("{}{path}", self.server.url));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    /// Sends, and holds the answer to the API's description.
    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response: Response = self.server.http.execute(request).await.unwrap();
        let status = response.status();
        let kind = response.headers().get("content-type").cloned();
        let kind = kind.map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
        let text = response.text().await.unwrap();
        let body = if kind.contains("json") {
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e}: {text}"))
        } else {
            Value::String(text)
        };
        self.server.contract.hold(&method, &path, status, &kind, &body);
        (status, body)
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        self.send(request).await
    }

    /// A GET that must succeed.
    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert!(status.is_success(), "GET {path}: {status}: {body}");
        body
    }

    /// A POST that must succeed.
    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "POST {path}: {status}: {answer}");
        answer
    }

    /// A call that must be refused with this status and code.
    pub(super) async fn refused(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        (status, code): (u16, &str),
    ) -> Value {
        let (seen, answer) = self.call(method.clone(), path, body).await;
        let expected = (status, json!(code));
        assert_eq!((seen.as_u16(), answer["code"].clone()), expected, "{method} {path}: {answer}");
        answer
    }

    /// Stores a workflow.
    pub(super) async fn apply(&self, document: &str) -> Value {
        let request = self.request(Method::POST, "/api/v1/workflows").body(document.to_owned());
        let (status, body) = self.send(request).await;
        assert!(status.is_success(), "{status}: {body}");
        body
    }

    /// Publishes a plugin, and approves what it may touch.
    pub(super) async fn publish(&self, manifest: &str, module: &[u8]) -> (StatusCode, Value) {
        self.upload("?approve=true", manifest, module, None).await
    }

    /// Uploads a plugin.
    pub(super) async fn upload(
        &self,
        query: &str,
        manifest: &str,
        module: &[u8],
        signature: Option<Value>,
    ) -> (StatusCode, Value) {
        let boundary = "part-of-a-test";
        let signature = signature.map(|signature| {
            format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"signature\"\r\n\r\n\
                 {signature}\r\n"
            )
        });
        let mut body = format!(
            "{}--{boundary}\r\nContent-Disposition: form-data; name=\"manifest\"\r\n\r\n\
             {manifest}\r\n--{boundary}\r\nContent-Disposition: form-data; name=\"module\"; \
             filename=\"m.wasm\"\r\nContent-Type: application/wasm\r\n\r\n",
            signature.unwrap_or_default()
        )
        .into_bytes();
        body.extend_from_slice(module);
        body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        let request = self
            .request(Method::POST, &format!("/api/v1/plugins{query}"))
            .header("content-type", format!("multipart/form-data; boundary={boundary}"))
            .body(body);
        self.send(request).await
    }
}

//! The listener: one request a connection (HTTP/1.1, RFC 9112), an answer after the commit.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use openclaw_protocol::id::RunId;
use openclaw_protocol::limits::WEBHOOK_BODY_BYTES;
use openclaw_protocol::report::Refusal;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::timeout;

use super::request::{data, is_signed};
use super::{Hook, Listener, Offer};
use crate::config::Webhook;
use crate::event::{Event, Events};
use crate::limits;
use crate::secrets::Secrets;

/// The network's end.
#[derive(Debug)]
pub struct Server {
    /// Absent where the address could not be had yet.
    listener: Option<TcpListener>,
    address: SocketAddr,
    desk: Arc<Desk>,
    seats: Arc<Semaphore>,
}

/// What every connection needs.
#[derive(Debug)]
struct Desk {
    hooks: watch::Receiver<Arc<Vec<Hook>>>,
    secrets: Secrets,
    events: Events,
    /// Requests that may wait for the brain.
    waiting: Semaphore,
}

/// Listens where the configuration says. Nothing is served before the brain says what. Where the
/// address is taken, or not (yet) one of this device, it is tried again: nothing else waits for it.
pub fn listen(config: &Webhook, secrets: Secrets, events: Events) -> (Listener, Server) {
    let listener = bind(config.listen)
        .inspect_err(|e| {
            let address = config.listen;
            tracing::error!(%address, error = %e, "cannot listen for webhooks; it is tried again");
        })
        .ok();
    let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
    let address = address.unwrap_or(config.listen);
    let (hooks, ours) = watch::channel(Arc::default());
    let waiting = Semaphore::new(limits::WEBHOOKS_WAITING);
    let desk = Arc::new(Desk { hooks: ours, secrets, events, waiting });
    let seats = Arc::new(Semaphore::new(limits::WEBHOOK_CONNECTIONS));
    let brain = Listener { hooks, offer: Offer::of(Some(config)) };
    (brain, Server { listener, address, desk, seats })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tries until the address can be had.
    async fn bound(address: SocketAddr) -> TcpListener {
        loop {
            tokio::time::sleep(limits::WEBHOOK_BIND_AGAIN).await;
            if let Ok(listener) = bind(address) {
                tracing::info!(%address, "listening for webhooks");
                return listener;
            }
        }
    }

    /// Serves until it is dropped.
    pub async fn run(self) {
        let listener = match self.listener {
            Some(listener) => listener,
            None => Self::bound(self.address).await,
        };
        loop {
            // Those who come while all seats are taken wait in the kernel's queue.
            let Ok(seat) = Arc::clone(&self.seats).acquire_owned().await else { return };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(e) => {
                    tracing::warn!(error = %e, "the webhook listener cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let desk = Arc::clone(&self.desk);
            tokio::spawn(async move {
                // A caller that goes away is its own affair.
                let _ = timeout(limits::WEBHOOK_TIME, converse(stream, desk)).await;
                drop(seat);
            });
        }
    }
}

async fn converse(stream: TcpStream, desk: Arc<Desk>) -> Result<(), hyper::Error> {
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(desk.answer(request).await) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::WEBHOOK_HEAD_TIME)
        .keep_alive(false)
        .max_buf_size(limits::WEBHOOK_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

type Answer = Response<Full<Bytes>>;

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match self.take(request).await {
            Ok(outcome) => outcome_answer(outcome),
            Err(answer) => *answer,
        }
    }

    async fn take(
        &self,
        request: Request<Incoming>,
    ) -> Result<Result<RunId, Refusal>, Box<Answer>> {
        let (head, body) = request.into_parts();
        let hooks = Arc::clone(&self.hooks.borrow());
        let hook = find(&hooks, head.uri.path(), head.method.as_str())?;
        let body = read(body).await?;
        if let Some(rule) = &hook.hmac {
            let Some(key) = self.secrets.secret(&rule.secret) else {
                tracing::error!(secret = rule.secret, "a webhook's secret is not on this device");
                let detail = "the device does not have what it needs to check the signature";
                return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "webhook.secret", detail));
            };
            if !is_signed(&head.headers, rule, &key, &body) {
                let detail = format!("header {} does not carry the body's signature", rule.header);
                return Err(problem(StatusCode::UNAUTHORIZED, "webhook.signature", &detail));
            }
        }
        let data = data(&head, hook.hmac.as_ref(), &body);
        if data.len() > limits::WEBHOOK_DATA_BYTES {
            let detail = "the request is too large once it is written out as JSON";
            return Err(problem(StatusCode::PAYLOAD_TOO_LARGE, "limit.payload", detail));
        }
        let busy = || {
            problem(StatusCode::SERVICE_UNAVAILABLE, "agent.busy", "too much is waiting; try again")
        };
        let _seat = self.waiting.try_acquire().map_err(|_| busy())?;
        let (reply, answer) = oneshot::channel();
        let (workflow, trigger) = (hook.workflow.clone(), hook.trigger.clone());
        let event = Event::Webhook { workflow, trigger, data, reply };
        self.events.send_async(event).await.map_err(|_| busy())?;
        answer.await.map_err(|_| busy())
    }
}

fn find<'h>(hooks: &'h [Hook], path: &str, method: &str) -> Result<&'h Hook, Box<Answer>> {
    let here: Vec<&Hook> = hooks.iter().filter(|hook| hook.path == path).collect();
    if here.is_empty() {
        let detail = "no workflow in force listens to this path";
        return Err(problem(StatusCode::NOT_FOUND, "webhook.unknown", detail));
    }
    let known = here.iter().find(|hook| hook.methods.iter().any(|one| one == method));
    known.copied().ok_or_else(|| {
        let methods: Vec<&str> =
            here.iter().flat_map(|hook| &hook.methods).map(String::as_str).collect();
        let allowed = methods.join(", ");
        let detail = format!("this path takes {allowed}");
        let mut answer = problem(StatusCode::METHOD_NOT_ALLOWED, "webhook.method", &detail);
        if let Ok(value) = HeaderValue::from_str(&allowed) {
            answer.headers_mut().insert(ALLOW, value);
        }
        answer
    })
}

async fn read(body: Incoming) -> Result<Bytes, Box<Answer>> {
    let large = || {
        let detail = format!("the body has more than {WEBHOOK_BODY_BYTES} bytes");
        problem(StatusCode::PAYLOAD_TOO_LARGE, "limit.payload", &detail)
    };
    if body.size_hint().lower() > WEBHOOK_BODY_BYTES as u64 {
        return Err(large());
    }
    let whole = Limited::new(body, WEBHOOK_BODY_BYTES).collect();
    match timeout(limits::WEBHOOK_BODY_TIME, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(e)) if e.is::<LengthLimitError>() => Err(large()),
        Ok(Err(_)) => Err(problem(StatusCode::BAD_REQUEST, "webhook.body", "the body broke off")),
        Err(_) => {
            let detail = "the body took too long";
            Err(problem(StatusCode::REQUEST_TIMEOUT, "webhook.slow", detail))
        }
    }
}

/// What came of it: a run, or nothing for a reason that is as it should be, or a refusal.
fn outcome_answer(outcome: Result<RunId, Refusal>) -> Answer {
    let Refusal { code, message } = match outcome {
        Ok(run) => return accepted(&json!({ "execution": run })),
        Err(refusal) => refusal,
    };
    let status = match code.as_str() {
        "trigger.later" | "trigger.other" | "duplicate" => {
            return accepted(&json!({ "execution": null, "reason": code }));
        }
        "trigger.unknown" => StatusCode::NOT_FOUND,
        "throttled" | "queue_full" | "single" | "hold.full" => StatusCode::TOO_MANY_REQUESTS,
        "inputs.invalid" | "when.error" | "dedupe.error" => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    *problem(status, &code, &message)
}

fn accepted(body: &Value) -> Answer {
    answer(StatusCode::ACCEPTED, "application/json", body)
}

/// RFC 9457.
fn problem(status: StatusCode, code: &str, detail: &str) -> Box<Answer> {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({
        "type": "about:blank",
        "title": title,
        "status": status.as_u16(),
        "code": code,
        "detail": detail,
    });
    let mut answer = answer(status, "application/problem+json", &body);
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    Box::new(answer)
}

fn answer(status: StatusCode, kind: &'static str, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

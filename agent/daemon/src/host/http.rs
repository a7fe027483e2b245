//! HTTP for plugins: one request, one connection, HTTP/1.1 (RFC 9112), TLS by the public roots.
//!
//! Where it may connect to is a matter of the way to the network ([`Net`]). Redirects are not
//! followed: the plugin sees the 3xx and asks anew, which is checked anew. There is no proxy and no
//! cookie.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use openclaw_sandbox::grants::NetGrants;
use openclaw_sandbox::target::{Host as Name, Target};
use openclaw_sandbox::{HostError, HttpRequest, HttpResponse};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::handles::{Handles, Place};
use super::net::{Net, Way};
use super::wait::Watch;
use crate::limits;
use crate::tls::{TlsTime, Wire};

/// The client.
pub struct Http {
    /// What the device's configuration leaves of all grants; `None` leaves them as they are.
    narrowed: Option<NetGrants>,
    time: TlsTime,
    net: Net,
    tls: OnceLock<TlsConnector>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("narrowed", &self.narrowed).finish_non_exhaustive()
    }
}

impl Http {
    /// A client that is narrowed by the configuration.
    #[must_use]
    pub fn new(narrowed: Option<NetGrants>, time: TlsTime, net: Net) -> Self {
        Self { narrowed, time, net, tls: OnceLock::new() }
    }

    /// Sends a request, with the values of secrets where their handles stand, and waits for the
    /// whole response, at most until `time` is over or `watch` says to stop.
    ///
    /// # Errors
    /// Not allowed, no answer, or too large an answer.
    pub(super) fn fetch(
        &self,
        request: &HttpRequest,
        handles: &Handles<'_>,
        time: Duration,
        watch: Watch<'_>,
    ) -> Result<HttpResponse, HostError> {
        let late = || failed(&request.target, "no answer in time");
        let exchange = self.exchange(request, handles);
        let mut response = self.net.wait(exchange, time.min(limits::HTTP_TIME), watch, &late)?;
        handles.clean(&mut response);
        Ok(response)
    }

    async fn exchange(
        &self,
        request: &HttpRequest,
        handles: &Handles<'_>,
    ) -> Result<HttpResponse, HostError> {
        let target = &request.target;
        let message = message(request, handles)?;
        let stream = self.net.connect(&self.way(request)).await?;
        let response = if target.https {
            let name = server_name(target)?;
            let stream = self
                .tls()
                .connect(name, stream)
                .await
                .map_err(|e| failed(target, &format!("TLS: {e}")))?;
            send(Box::new(stream), message, request).await
        } else {
            send(Box::new(stream), message, request).await
        };
        response.map_err(|e| match e {
            Refused::TooLarge(max) => {
                HostError::TooLarge(format!("{target}: the response is larger than {max} bytes"))
            }
            Refused::Broken(reason) => failed(target, &reason),
        })
    }

    fn way<'a>(&'a self, request: &'a HttpRequest) -> Way<'a> {
        let Target { host, port, .. } = &request.target;
        let narrowed = self.narrowed.as_ref();
        Way { host, port: *port, granted: &request.grants, narrowed, label: &request.target }
    }

    fn tls(&self) -> &TlsConnector {
        self.tls.get_or_init(|| {
            let roots: rustls::RootCertStore =
                webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
            let mut config =
                rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            config.time_provider = Arc::new(self.time.clone());
            TlsConnector::from(Arc::new(config))
        })
    }
}

fn server_name(target: &Target) -> Result<ServerName<'static>, HostError> {
    match &target.host {
        Name::Ip(ip) => Ok(ServerName::IpAddress((*ip).into())),
        Name::Name(name) => ServerName::try_from(name.clone())
            .map_err(|e| HostError::Invalid(format!("{target}: {e}"))),
    }
}

/// The message as it goes out; only here are values in it. What is said of it is said of what the
/// plugin gave.
fn message(
    request: &HttpRequest,
    handles: &Handles<'_>,
) -> Result<Request<Full<Bytes>>, HostError> {
    let invalid = |what: String| HostError::Invalid(format!("{}: {what}", request.target));
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| invalid(format!("`{}` is not a method", request.method)))?;
    let body = handles.fill(&request.body, Place::Plain)?;
    let body = Bytes::copy_from_slice(&body);
    let length = body.len();
    let mut message = Request::new(Full::new(body));
    let path = handles.fill(request.target.path.as_bytes(), Place::Path)?;
    *message.uri_mut() = Uri::try_from(&*path).map_err(|e| invalid(format!("bad path: {e}")))?;
    let bodiless = length == 0 && matches!(method, Method::GET | Method::HEAD | Method::DELETE);
    *message.method_mut() = method;
    let headers = message.headers_mut();
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(format!("`{name}` is not a header name")))?;
        let value = handles.fill(value.as_bytes(), Place::Plain)?;
        let value = std::str::from_utf8(&value).ok().and_then(|v| HeaderValue::from_str(v).ok());
        let value =
            value.ok_or_else(|| invalid(format!("header `{name}` has a forbidden character")))?;
        headers.append(name, value);
    }
    let host = authority(&request.target);
    let host = HeaderValue::from_str(&host).map_err(|_| invalid(format!("bad host `{host}`")))?;
    headers.insert(HOST, host);
    if !bodiless {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let agent = concat!("openclaw-agent/", env!("CARGO_PKG_VERSION"));
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
    Ok(message)
}

/// RFC 9110, section 7.2: the port only where it is not the scheme's.
fn authority(target: &Target) -> String {
    let usual = if target.https { 443 } else { 80 };
    if target.port == usual {
        target.host.to_string()
    } else {
        format!("{}:{}", target.host, target.port)
    }
}

enum Refused {
    TooLarge(usize),
    Broken(String),
}

async fn send(
    stream: Box<dyn Wire>,
    message: Request<Full<Bytes>>,
    request: &HttpRequest,
) -> Result<HttpResponse, Refused> {
    let broken = |e: hyper::Error| Refused::Broken(e.to_string());
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(limits::HTTP_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let max = request.max_response_bytes.min(limits::HTTP_BODY_BYTES);
    let exchange = async {
        let response = sender.send_request(message).await.map_err(broken)?;
        read(response, max).await
    };
    tokio::pin!(exchange);
    tokio::pin!(connection);
    // The connection lives exactly as long as the exchange: no task outlives the request.
    tokio::select! {
        answer = &mut exchange => answer,
        // A server that hangs up without ceremony may have answered before.
        ended = &mut connection => match (exchange.await, ended) {
            (Err(Refused::Broken(_)), Err(e)) => Err(broken(e)),
            (answer, _) => answer,
        },
    }
}

async fn read(
    response: Response<hyper::body::Incoming>,
    max: usize,
) -> Result<HttpResponse, Refused> {
    let (head, mut body) = response.into_parts();
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push_str(", ");
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Refused::Broken(e.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > max {
            return Err(Refused::TooLarge(max));
        }
        whole.extend_from_slice(&data);
    }
    Ok(HttpResponse { status: head.status.as_u16(), headers, body: whole })
}

fn failed(target: &Target, reason: &str) -> HostError {
    HostError::Failed(format!("{target}: {reason}"))
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

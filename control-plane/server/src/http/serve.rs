//! Connections: plain on loopback, TLS elsewhere; bounded in number, in all and of
//! one host, in headers and in patience.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::stall::Stall;
use crate::context::Ctx;
use crate::identity::{Crowd, Place};
use crate::network::one_host;

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take to arrive, the first and each next one.
const HEAD: Duration = Duration::from_secs(15);
/// Headers of a request.
const HEADERS: usize = 64;
/// Bytes of a request's head.
const HEAD_BYTES: usize = 32 * 1024;
/// How long connections may take to end once they are told to.
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until told to stop, then lets requests that are under way end.
pub(crate) async fn serve(
    ctx: Ctx,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
) {
    let (limits, stop) = (&ctx.config.http.limits, &ctx.stop);
    let (permits, tasks) = (Arc::new(Semaphore::new(limits.connections)), TaskTracker::new());
    let hosts = Crowd::default();
    loop {
        let permit = Arc::clone(&permits).acquire_owned();
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = async { (permit.await, listener.accept().await) } => accepted,
        };
        let (Ok(permit), Ok((stream, from))) = accepted else {
            // Out of file descriptors, most likely: give connections a moment to end.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Ok(place) = place(&ctx, &hosts, from.ip()) else {
            tracing::debug!(%from, "too many HTTP connections of one host");
            continue;
        };
        // Small answers shall not wait for acknowledgements; without it they are only slower.
        _ = stream.set_nodelay(true);
        let stream = Stall::new(stream, limits.write);
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        tasks.spawn(async move {
            connection(stream, from, tls, router, stop).await;
            drop((permit, place));
        });
    }
    tasks.close();
    if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "HTTP connections cut at the end");
    }
}

/// A host's place among its connections, where those are counted: all that comes through a
/// trusted proxy comes from its one address.
fn place(ctx: &Ctx, hosts: &Crowd<IpAddr>, from: IpAddr) -> Result<Option<Place<IpAddr>>, Full> {
    let http = &ctx.config.http;
    if http.trusted_proxies.iter().any(|network| network.contains(from)) {
        return Ok(None);
    }
    hosts.enter(one_host(from), http.limits.connections_per_host).map(Some).ok_or(Full)
}

/// A host has as many connections as it may have.
struct Full;

async fn connection(
    stream: Stall<TcpStream>,
    from: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: CancellationToken,
) {
    let Some(tls) = tls else { return requests(stream, from, router, stop).await };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => requests(stream, from, router, stop).await,
        Ok(Err(error)) => tracing::debug!(%from, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%from, "TLS handshake took too long"),
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    from: SocketAddr,
    router: Router,
    stop: CancellationToken,
) {
    let service = router.map_request(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        request.map(axum::body::Body::new)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(HEADERS)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%from, %error, "HTTP connection ended badly");
    }
}

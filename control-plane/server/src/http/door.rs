//! The one door: who is asking, and may they? Besides, what every answer carries.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::{Error, problem};
use super::proxy;
use crate::context::{Context, Ctx};
use crate::identity::{Access, Principal, access_of, role_name};
use crate::service::{Fault, auth};

/// Header by which our own page shows that a request with a cookie is its own: another site
/// cannot set it without asking first (CORS), and is never allowed.
pub(crate) const CSRF_HEADER: HeaderName = HeaderName::from_static("x-openclaw-csrf");
/// How long an answer may take to begin.
const TIME_LIMIT: Duration = Duration::from_secs(60);
const CONTENT_SECURITY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Lets a request through if the table says so, with its principal.
pub(crate) async fn door(State(ctx): State<Ctx>, mut request: Request, next: Next) -> Response {
    let from = connected_from(request.extensions());
    let from = proxy::client(from, request.headers(), &ctx.config.http.trusted_proxies);
    request.extensions_mut().insert(ClientAddress(from));
    let visit = Visit::of(&ctx, &request);
    match admit(&ctx, visit).await {
        Ok(Some(principal)) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        Ok(None) => next.run(request).await,
        Err(fault) => Error::from(fault).into_response(),
    }
}

/// What the door looks at; a request's body may not be looked at while others wait.
struct Visit {
    access: Option<Access>,
    credential: Option<(String, bool)>,
    is_local: bool,
    is_safe: bool,
    is_ours: bool,
}

impl Visit {
    fn of(ctx: &Context, request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
        Self {
            access: access_of(request.method(), route),
            credential: credential(request.headers(), cookie_name(ctx)),
            is_local: ctx.config.http.local_metrics && is_local(request),
            is_safe: [Method::GET, Method::HEAD].contains(request.method()),
            is_ours: request.headers().contains_key(CSRF_HEADER),
        }
    }
}

async fn admit(ctx: &Context, visit: Visit) -> Result<Option<Principal>, Fault> {
    let role = match visit.access {
        None => return Err(Fault::Forbidden("nobody has said who may call this".to_owned())),
        Some(Access::Public) => return Ok(None),
        Some(Access::AtLeastOrLocal(_)) if visit.is_local => return Ok(None),
        Some(Access::AtLeast(role) | Access::AtLeastOrLocal(role)) => role,
    };
    let (token, by_cookie) = visit.credential.ok_or(Fault::Unauthorized)?;
    let principal = auth::principal(ctx, &token, by_cookie).await?;
    if by_cookie && !visit.is_safe && !visit.is_ours {
        let detail = format!("a request with a cookie needs the header `{CSRF_HEADER}`");
        return Err(Fault::Forbidden(detail));
    }
    if principal.role < role {
        let detail = format!(
            "this needs the role {}, you are {}",
            role_name(role),
            role_name(principal.role)
        );
        return Err(Fault::Forbidden(detail));
    }
    Ok(Some(principal))
}

fn credential(headers: &HeaderMap, cookie: &str) -> Option<(String, bool)> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| (token.trim().to_owned(), false));
    }
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == cookie).then(|| value.to_owned())
    });
    pairs.next().map(|token| (token, true))
}

/// Under HTTPS: a browser takes a cookie of this name from nobody else, not even from a page of a
/// neighbouring host (RFC 6265bis, section 4.1.3.2), so no other name is looked at then.
const COOKIE_SECURE: &str = "__Host-openclaw";
const COOKIE_PLAIN: &str = "openclaw";

fn is_secure(ctx: &Context) -> bool {
    ctx.public_url().starts_with("https://")
}

fn cookie_name(ctx: &Context) -> &'static str {
    if is_secure(ctx) { COOKIE_SECURE } else { COOKIE_PLAIN }
}

/// The `Set-Cookie` of a session; without a token, one that ends it.
pub(super) fn cookie(ctx: &Context, token: Option<&str>) -> String {
    let (name, secure) = (cookie_name(ctx), if is_secure(ctx) { "; Secure" } else { "" });
    let (value, age) = token.map_or(("", 0), |token| (token, 12 * 3_600));
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={age}{secure}")
}

/// The address a request came from, maybe through a trusted proxy.
#[derive(Clone, Copy)]
struct ClientAddress(IpAddr);

/// The address a request came from. Without one it is taken for a stranger's.
pub(super) fn peer(extensions: &Extensions) -> IpAddr {
    extensions
        .get::<ClientAddress>()
        .map_or_else(|| connected_from(extensions), |ClientAddress(address)| *address)
}

/// The address at the other end of the connection.
fn connected_from(extensions: &Extensions) -> IpAddr {
    let info = extensions.get::<ConnectInfo<SocketAddr>>();
    info.map_or(IpAddr::from([0, 0, 0, 0]), |ConnectInfo(address)| address.ip().to_canonical())
}

/// Whether a request comes from this very machine, and not through a proxy on it.
fn is_local(request: &Request) -> bool {
    let proxied = ["forwarded", "x-forwarded-for", "x-real-ip", "via"]
        .iter()
        .any(|name| request.headers().contains_key(*name));
    connected_from(request.extensions()).is_loopback() && !proxied
}

/// Counts the answer and puts the headers on it that every answer has.
pub(crate) async fn outermost(State(ctx): State<Ctx>, request: Request, next: Next) -> Response {
    let is_api = request.uri().path().starts_with("/api/");
    let mut response = next.run(request).await;
    ctx.metrics.count_http(response.status().as_u16());
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY);
    if is_secure(&ctx) {
        // RFC 6797; browsers heed it only where they trust the certificate.
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
    if is_api {
        set(header::CACHE_CONTROL, "no-store");
    }
    response
}

/// Ends a request whose answer does not begin in time.
pub(crate) async fn time_limit(request: Request, next: Next) -> Response {
    match tokio::time::timeout(TIME_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let detail = "the request took too long; try again".to_owned();
            problem(StatusCode::SERVICE_UNAVAILABLE, "request.timeout", detail, Vec::new())
        }
    }
}

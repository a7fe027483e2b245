//! Probes, health and metrics.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use openclaw_protocol::api::Health;

use super::error::{Answer, problem};
use super::openapi::Problems;
use crate::context::{Context, Ctx};
use crate::identity::Principal;
use crate::monitor;
use crate::store;

/// Whether the process is alive.
#[utoipa::path(get, path = "/livez", tag = "health", security(()),
    responses((status = 200, content_type = "text/plain", body = String)))]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether it can do its work.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()),
    responses((status = 200, content_type = "text/plain", body = String), Problems))]
pub(super) async fn readyz(State(ctx): State<Ctx>) -> Response {
    if ctx.stop.is_cancelled() {
        let detail = "the server is stopping".to_owned();
        return problem(StatusCode::SERVICE_UNAVAILABLE, "server.stopping", detail, Vec::new());
    }
    match database(&ctx).await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            let detail = "the database cannot be used; the server's log says why".to_owned();
            problem(StatusCode::SERVICE_UNAVAILABLE, "server.not_ready", detail, Vec::new())
        }
    }
}

/// How each part does.
#[utoipa::path(get, path = "/api/v1/health", tag = "health",
    responses((status = 200, body = Health), Problems))]
pub(super) async fn health(State(ctx): State<Ctx>, _: Principal) -> axum::Json<Health> {
    let database = database(&ctx).await.map_or_else(|error| error.to_string(), |()| ok());
    let gate = if ctx.addresses.get().is_some() { ok() } else { "not listening".to_owned() };
    let components = BTreeMap::from([("database".to_owned(), database), ("gate".to_owned(), gate)]);
    let is_well = components.values().all(|state| state == "ok");
    let status = if is_well { ok() } else { "degraded".to_owned() };
    axum::Json(Health { status, version: crate::VERSION.to_owned(), components })
}

/// The Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses((status = 200, content_type = "text/plain", body = String), Problems))]
pub(super) async fn metrics(State(ctx): State<Ctx>) -> Answer<Response> {
    let text = monitor::prometheus(&ctx).await?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response())
}

fn ok() -> String {
    "ok".to_owned()
}

async fn database(ctx: &Context) -> store::Result<()> {
    let mut tx = ctx.db.read().await?;
    store::server::generation(&mut tx).await.map(drop)
}

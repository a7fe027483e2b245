//! The HTTP API, the console and the probes: the whole URL map on one screen.
//!
//! Every request passes one door (`door.rs`), which asks `identity::access_of` what the route
//! demands and makes the one [`Principal`](crate::identity::Principal). Handlers read the
//! request, call `service`, and answer; they decide nothing.

mod api_keys;
mod approvals;
mod auth;
mod deployments;
mod devices;
mod door;
mod enroll;
pub(crate) mod error;
mod events;
mod executions;
pub(crate) mod extract;
mod health;
mod openapi;
mod part;
mod plugins;
mod proxy;
mod publisher_keys;
mod requests;
mod secrets;
mod security_events;
pub(crate) mod serve;
mod stall;
mod users;
mod workflows;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post, put};

use openclaw_protocol::limits;

use crate::console;
use crate::context::Ctx;

pub use openapi::openapi_json;

/// A request's body at most, where its route says nothing else.
const BODY_BYTES: usize = 256 * 1024;
/// A workflow's document with what JSON adds to it.
const WORKFLOW_BYTES: usize = limits::DOCUMENT_BYTES + 1024;
/// A plugin's module with its manifest and what multipart adds to them.
const PLUGIN_BYTES: usize = limits::MODULE_BYTES + 256 * 1024;

/// Everything that is served.
pub(crate) fn router(ctx: Ctx) -> Router {
    Router::new()
        .route("/", get(console::index))
        .route("/console/{file}", get(console::file))
        .route("/status.html", get(console::status))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/api/openapi.json", get(openapi::document))
        .nest("/api/v1", v1())
        .route_layer(from_fn_with_state(ctx.clone(), door::door))
        .fallback(error::no_such_route)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES))
        .layer(from_fn_with_state(ctx.clone(), door::outermost))
        .layer(from_fn(door::time_limit))
        .with_state(ctx)
}

fn v1() -> Router<Ctx> {
    let large = |bytes| DefaultBodyLimit::max(bytes);
    Router::new()
        .route("/health", get(health::health))
        .route("/enroll", post(enroll::enroll))
        .route("/auth/login", post(auth::login))
        .route("/auth/logout", post(auth::logout))
        .route("/auth/me", get(auth::me))
        .route("/users", get(users::list).post(users::create))
        .route("/users/{name}/disable", post(users::disable))
        .route("/api-keys", get(api_keys::list).post(api_keys::create))
        .route("/api-keys/{id}", delete(api_keys::revoke))
        .route("/devices", get(devices::list))
        .route("/devices/enroll-codes", post(devices::create_join_code))
        .route("/devices/{id}", get(devices::find).delete(devices::remove))
        .route("/devices/{id}/results", get(devices::results))
        .route("/devices/{id}/revoke", post(devices::revoke))
        .route("/devices/{id}/labels", put(devices::set_labels))
        .route("/devices/{id}/recordings", post(devices::record))
        .route("/plugins", get(plugins::list).post(plugins::publish).layer(large(PLUGIN_BYTES)))
        .route("/plugins/{name}", get(plugins::versions))
        .route("/plugins/{name}/{version}", get(plugins::find))
        .route("/plugins/{name}/{version}/module", get(plugins::module))
        .route("/plugins/{name}/{version}/manifest", get(plugins::manifest))
        .route("/plugins/{name}/{version}/approve", post(plugins::approve))
        .route("/plugins/{name}/{version}/yank", post(plugins::yank))
        .route("/plugins/{name}/{version}/unyank", post(plugins::unyank))
        .route("/plugins/{name}/{version}/deprecate", post(plugins::deprecate))
        .route("/modules/{digest}", get(plugins::module_by_digest))
        .route("/publisher-keys", get(publisher_keys::list).post(publisher_keys::add))
        .route("/publisher-keys/{id}", delete(publisher_keys::revoke))
        .route(
            "/workflows",
            get(workflows::list).post(workflows::apply).layer(large(WORKFLOW_BYTES)),
        )
        .route("/workflows/validate", post(workflows::validate).layer(large(WORKFLOW_BYTES)))
        .route("/workflows/{name}", get(workflows::versions))
        .route("/workflows/{name}/{revision}", get(workflows::find))
        .route("/workflows/{name}/run", post(workflows::run))
        .route("/deployments", get(deployments::list).post(deployments::create))
        .route("/deployments/{id}", get(deployments::find).delete(deployments::delete))
        .route("/deployments/{id}/rollback", post(deployments::rollback))
        .route("/executions", get(executions::list))
        .route("/executions/retry", post(executions::retry_many))
        .route("/executions/{device}/{run}", get(executions::find))
        .route("/executions/{device}/{run}/events", get(executions::events))
        .route("/executions/{device}/{run}/cancel", post(executions::cancel))
        .route("/executions/{device}/{run}/retry", post(executions::retry))
        .route(
            "/executions/{device}/{run}/recording",
            get(executions::recording).post(executions::record),
        )
        .route("/executions/{device}/{run}/signals", post(executions::signal))
        .route("/executions/{device}/{run}/decisions", post(executions::decide))
        .route("/approvals", get(approvals::list))
        .route("/requests/{id}", get(requests::find))
        .route("/secrets", get(secrets::list))
        .route("/secrets/{name}", get(secrets::find).put(secrets::put).delete(secrets::delete))
        .route("/security-events", get(security_events::list))
        .route("/events", get(events::stream))
}

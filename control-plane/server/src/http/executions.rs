//! `/executions`: what ran where, step by step.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use serde::Deserialize;

use openclaw_protocol::api::{
    Decide, Execution, ExecutionEvent, ExecutionSummary, Page, Requests, RetriedRuns, RetryRuns,
    SendSignal,
};

use super::error::Answer;
use super::extract::{Json, Named, Query, idempotency_key};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::events::{self, EventQuery};
use crate::service::executions::{self, ExecutionQuery};
use crate::service::{again, approvals, requests};

/// How to cancel.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct CancelQuery {
    /// Without waiting for grace periods.
    #[serde(default)]
    #[param(required = false)]
    force: bool,
}

/// How to retry.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RetryQuery {
    /// Go on from the failed step with what had succeeded, instead of from the beginning.
    #[serde(default)]
    #[param(required = false)]
    from_failed: bool,
}

/// Which recording.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecordingQuery {
    /// That which this wish asked for; where absent the newest.
    request: Option<String>,
}

/// List executions, latest change first.
#[utoipa::path(get, path = "/api/v1/executions", tag = "executions", params(ExecutionQuery),
    responses((status = 200, body = Page<ExecutionSummary>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<ExecutionQuery>,
) -> Answer<axum::Json<Page<ExecutionSummary>>> {
    Ok(axum::Json(executions::list(&ctx, &who, query).await?))
}

/// One execution with its steps.
#[utoipa::path(get, path = "/api/v1/executions/{device}/{run}", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id")),
    responses((status = 200, body = Execution), Problems))]
pub(super) async fn find(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
) -> Answer<axum::Json<Execution>> {
    Ok(axum::Json(executions::find(&ctx, &who, &device, &run).await?))
}

/// The events of an execution, in order.
#[utoipa::path(get, path = "/api/v1/executions/{device}/{run}/events", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id"), EventQuery),
    responses((status = 200, body = Page<ExecutionEvent>), Problems))]
pub(super) async fn events(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    Query(query): Query<EventQuery>,
) -> Answer<axum::Json<Page<ExecutionEvent>>> {
    Ok(axum::Json(events::list(&ctx, &who, &device, &run, query).await?))
}

/// Wish the end of an execution.
#[utoipa::path(post, path = "/api/v1/executions/{device}/{run}/cancel", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id"), CancelQuery),
    responses((status = 202, body = Requests), Problems))]
pub(super) async fn cancel(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    Query(CancelQuery { force }): Query<CancelQuery>,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let answer = requests::cancel(&ctx, &who, &device, &run, force).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// Wish another run with the same inputs.
#[utoipa::path(post, path = "/api/v1/executions/{device}/{run}/retry", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id"), RetryQuery,
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    responses((status = 202, body = Requests), Problems))]
pub(super) async fn retry(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    Query(RetryQuery { from_failed }): Query<RetryQuery>,
    headers: HeaderMap,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let key = idempotency_key(&headers, &("retry", &device, &run, from_failed))?;
    let answer = again::retry(&ctx, &who, &device, &run, from_failed, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// Wish the same of all that match, at most 1,000 at once; `dry_run` says which these are.
#[utoipa::path(post, path = "/api/v1/executions/retry", tag = "executions",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    request_body = RetryRuns, responses((status = 202, body = RetriedRuns), Problems))]
pub(super) async fn retry_many(
    State(ctx): State<Ctx>,
    who: Principal,
    headers: HeaderMap,
    Json(body): Json<RetryRuns>,
) -> Answer<(StatusCode, axum::Json<RetriedRuns>)> {
    let key = idempotency_key(&headers, &("retry", &body))?;
    let answer = again::retry_many(&ctx, &who, body, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// Wish a recording of an execution: its journal and its definition, to be replayed at the desk.
#[utoipa::path(post, path = "/api/v1/executions/{device}/{run}/recording", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    responses((status = 202, body = Requests), Problems))]
pub(super) async fn record(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    headers: HeaderMap,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let key = idempotency_key(&headers, &("record", &device, &run))?;
    let answer = again::record(&ctx, &who, &device, &run, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// The newest recording of an execution that has come; `openclaw replay` reads it.
#[utoipa::path(get, path = "/api/v1/executions/{device}/{run}/recording", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id"), RecordingQuery),
    responses((status = 200, body = Object), Problems))]
pub(super) async fn recording(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    Query(RecordingQuery { request }): Query<RecordingQuery>,
) -> Answer<impl IntoResponse> {
    let text = again::recording(&ctx, &who, &device, &run, request.as_deref()).await?;
    Ok(([(CONTENT_TYPE, "application/json")], text))
}

/// Wish that an execution hears a signal. A `wait` for it takes it, now or later.
#[utoipa::path(post, path = "/api/v1/executions/{device}/{run}/signals", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    request_body = SendSignal, responses((status = 202, body = Requests), Problems))]
pub(super) async fn signal(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<SendSignal>,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let key = idempotency_key(&headers, &("signal", &device, &run, &body))?;
    let answer = requests::signal(&ctx, &who, &device, &run, body, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// Wish an answer to an open approval, in the name of whoever asks. The first valid answer that
/// reaches the device counts. Who may is what the approval says; a 409 says that it is not open.
#[utoipa::path(post, path = "/api/v1/executions/{device}/{run}/decisions", tag = "executions",
    params(("device" = String, Path, description = "Device id"),
        ("run" = String, Path, description = "Run id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    request_body = Decide, responses((status = 202, body = Requests), Problems))]
pub(super) async fn decide(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Decide>,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let key = idempotency_key(&headers, &("decide", &device, &run, &body))?;
    let answer = approvals::decide(&ctx, &who, &device, &run, body, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

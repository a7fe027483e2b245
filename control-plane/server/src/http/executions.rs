//! `/executions`: what ran where, step by step.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use openclaw_protocol::api::{Execution, ExecutionEvent, ExecutionSummary, Page, Requests};

use super::error::Answer;
use super::extract::{Named, Query, idempotency_key};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::executions::{self, ExecutionQuery};
use crate::service::page::PageQuery;
use crate::service::requests;

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
        ("run" = String, Path, description = "Run id"), PageQuery),
    responses((status = 200, body = Page<ExecutionEvent>), Problems))]
pub(super) async fn events(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<ExecutionEvent>>> {
    Ok(axum::Json(executions::events(&ctx, &who, &device, &run, &query).await?))
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
        ("run" = String, Path, description = "Run id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    responses((status = 202, body = Requests), Problems))]
pub(super) async fn retry(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((device, run)): Named<(String, String)>,
    headers: HeaderMap,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let key = idempotency_key(&headers, &("retry", &device, &run))?;
    let answer = requests::retry(&ctx, &who, &device, &run, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

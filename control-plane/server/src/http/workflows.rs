//! `/workflows`: documents as versions that never change, and wishes to run them.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use openclaw_protocol::api::{Page, Requests, StartRuns, Validation, WorkflowVersion};

use super::error::Answer;
use super::extract::{Json, Named, Query, Text, idempotency_key};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::page::PageQuery;
use crate::service::{Fault, requests, workflows};

/// List workflows, the newest version of each.
#[utoipa::path(get, path = "/api/v1/workflows", tag = "workflows", params(PageQuery),
    responses((status = 200, body = Page<WorkflowVersion>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<WorkflowVersion>>> {
    Ok(axum::Json(workflows::list(&ctx, &who, &query).await?))
}

/// Store a document. 201: a new version; 200: this content was there already.
#[utoipa::path(post, path = "/api/v1/workflows", tag = "workflows",
    request_body(content = String, content_type = "application/yaml",
        description = "The document, YAML or JSON, as it is"),
    responses((status = 200, body = WorkflowVersion), (status = 201, body = WorkflowVersion),
        Problems))]
pub(super) async fn apply(
    State(ctx): State<Ctx>,
    who: Principal,
    Text(document): Text,
) -> Answer<(StatusCode, axum::Json<WorkflowVersion>)> {
    let (version, is_new) = workflows::apply(&ctx, &who, document).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(version)))
}

/// Say what is wrong with a document, and store nothing.
#[utoipa::path(post, path = "/api/v1/workflows/validate", tag = "workflows",
    request_body(content = String, content_type = "application/yaml",
        description = "The document, YAML or JSON, as it is"),
    responses((status = 200, body = Validation), Problems))]
pub(super) async fn validate(_: Principal, Text(document): Text) -> axum::Json<Validation> {
    axum::Json(workflows::validate(&document))
}

/// List the versions of a workflow, newest first.
#[utoipa::path(get, path = "/api/v1/workflows/{name}", tag = "workflows",
    params(("name" = String, Path, description = "Workflow name"), PageQuery),
    responses((status = 200, body = Page<WorkflowVersion>), Problems))]
pub(super) async fn versions(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(name): Named<String>,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<WorkflowVersion>>> {
    Ok(axum::Json(workflows::versions(&ctx, &who, &name, &query).await?))
}

/// One version, with its document.
#[utoipa::path(get, path = "/api/v1/workflows/{name}/{revision}", tag = "workflows",
    params(("name" = String, Path, description = "Workflow name"),
        ("revision" = u32, Path, description = "Number of the version, from 1")),
    responses((status = 200, body = WorkflowVersion), Problems))]
pub(super) async fn find(
    State(ctx): State<Ctx>,
    who: Principal,
    Named((name, revision)): Named<(String, String)>,
) -> Answer<axum::Json<WorkflowVersion>> {
    let none = |_| Fault::not_found("workflow", format!("{name}/{revision}"));
    let number = revision.parse().map_err(none)?;
    Ok(axum::Json(workflows::find(&ctx, &who, &name, number).await?))
}

/// Wish a run on each device of the target that has the workflow.
#[utoipa::path(post, path = "/api/v1/workflows/{name}/run", tag = "workflows",
    params(("name" = String, Path, description = "Workflow name"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    request_body = StartRuns, responses((status = 202, body = Requests), Problems))]
pub(super) async fn run(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(name): Named<String>,
    headers: HeaderMap,
    Json(request): Json<StartRuns>,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let key = idempotency_key(&headers, &("run", &name, &request))?;
    let answer = requests::start(&ctx, &who, &name, request, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

//! `/deployments`: this workflow on those devices.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use openclaw_protocol::api::{CreateDeployment, Deployment, Page};

use super::error::Answer;
use super::extract::{Json, Named, Query, idempotency_key};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::deployments;
use crate::service::page::PageQuery;

/// List deployments, newest first.
#[utoipa::path(get, path = "/api/v1/deployments", tag = "deployments", params(PageQuery),
    responses((status = 200, body = Page<Deployment>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<Deployment>>> {
    Ok(axum::Json(deployments::list(&ctx, &who, &query).await?))
}

/// Put a workflow on devices.
#[utoipa::path(post, path = "/api/v1/deployments", tag = "deployments",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same key, the same \
        deployment")),
    request_body = CreateDeployment, responses((status = 201, body = Deployment), Problems))]
pub(super) async fn create(
    State(ctx): State<Ctx>,
    who: Principal,
    headers: HeaderMap,
    Json(request): Json<CreateDeployment>,
) -> Answer<(StatusCode, axum::Json<Deployment>)> {
    let key = idempotency_key(&headers, &("deploy", &request))?;
    let answer = deployments::create(&ctx, &who, request, key).await?;
    Ok((StatusCode::CREATED, axum::Json(answer)))
}

/// One deployment, device by device.
#[utoipa::path(get, path = "/api/v1/deployments/{id}", tag = "deployments",
    params(("id" = String, Path, description = "Deployment id")),
    responses((status = 200, body = Deployment), Problems))]
pub(super) async fn find(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<axum::Json<Deployment>> {
    Ok(axum::Json(deployments::find(&ctx, &who, &id).await?))
}

/// Take a workflow off the devices, unless another deployment puts it there.
#[utoipa::path(delete, path = "/api/v1/deployments/{id}", tag = "deployments",
    params(("id" = String, Path, description = "Deployment id")),
    responses((status = 204), Problems))]
pub(super) async fn delete(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<StatusCode> {
    deployments::delete(&ctx, &who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Go back to the revision before.
#[utoipa::path(post, path = "/api/v1/deployments/{id}/rollback", tag = "deployments",
    params(("id" = String, Path, description = "Deployment id")),
    responses((status = 200, body = Deployment), Problems))]
pub(super) async fn rollback(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<axum::Json<Deployment>> {
    Ok(axum::Json(deployments::rollback(&ctx, &who, &id).await?))
}

//! `/api-keys`: credentials for programs.

use axum::extract::State;
use axum::http::StatusCode;

use openclaw_protocol::api::{ApiKey, CreateApiKey, CreatedApiKey, Page};

use super::error::Answer;
use super::extract::{Json, Named, Query};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::api_keys;
use crate::service::page::PageQuery;

/// List API keys, without their secrets.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "api-keys", params(PageQuery),
    responses((status = 200, body = Page<ApiKey>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<ApiKey>>> {
    Ok(axum::Json(api_keys::list(&ctx, &who, &query).await?))
}

/// Make an API key. Its secret is shown once.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "api-keys", request_body = CreateApiKey,
    responses((status = 201, body = CreatedApiKey), Problems))]
pub(super) async fn create(
    State(ctx): State<Ctx>,
    who: Principal,
    Json(request): Json<CreateApiKey>,
) -> Answer<(StatusCode, axum::Json<CreatedApiKey>)> {
    Ok((StatusCode::CREATED, axum::Json(api_keys::create(&ctx, &who, request).await?)))
}

/// Revoke an API key.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "api-keys",
    params(("id" = String, Path, description = "The key's public id")),
    responses((status = 204), Problems))]
pub(super) async fn revoke(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<StatusCode> {
    api_keys::revoke(&ctx, &who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

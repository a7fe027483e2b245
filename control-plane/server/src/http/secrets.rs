//! `/secrets`: values that go in and never come out.

use axum::extract::State;
use axum::http::StatusCode;

use openclaw_protocol::api::{Page, PutSecret, Secret, SecretDetail};

use super::error::Answer;
use super::extract::{Json, Named, Query};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::page::PageQuery;
use crate::service::secrets;

/// List secrets: names, versions, and how many devices have them. Never values.
#[utoipa::path(get, path = "/api/v1/secrets", tag = "secrets", params(PageQuery),
    responses((status = 200, body = Page<Secret>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<Secret>>> {
    Ok(axum::Json(secrets::list(&ctx, &who, &query).await?))
}

/// One secret, device by device: who has its newest value, and who has not.
#[utoipa::path(get, path = "/api/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "The secret's name")),
    responses((status = 200, body = SecretDetail), Problems))]
pub(super) async fn find(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(name): Named<String>,
) -> Answer<axum::Json<SecretDetail>> {
    Ok(axum::Json(secrets::find(&ctx, &who, &name).await?))
}

/// Set a secret's value: the first one, or a new one in place of the old.
#[utoipa::path(put, path = "/api/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "Letters, digits and underscores")),
    request_body = PutSecret,
    responses((status = 200, body = Secret), Problems))]
pub(super) async fn put(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(name): Named<String>,
    Json(request): Json<PutSecret>,
) -> Answer<axum::Json<Secret>> {
    Ok(axum::Json(secrets::put(&ctx, &who, &name, request).await?))
}

/// Delete a secret that no deployed workflow declares.
#[utoipa::path(delete, path = "/api/v1/secrets/{name}", tag = "secrets",
    params(("name" = String, Path, description = "The secret's name")),
    responses((status = 204), Problems))]
pub(super) async fn delete(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(name): Named<String>,
) -> Answer<StatusCode> {
    secrets::delete(&ctx, &who, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

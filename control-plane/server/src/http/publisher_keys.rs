//! `/publisher-keys`: who may sign plugins.

use axum::extract::State;
use axum::http::StatusCode;

use openclaw_protocol::api::{AddPublisherKey, Page, PublisherKey};

use super::error::Answer;
use super::extract::{Json, Named, Query};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::page::PageQuery;
use crate::service::publisher_keys;

/// List the keys that sign plugins, revoked ones too.
#[utoipa::path(get, path = "/api/v1/publisher-keys", tag = "publisher-keys", params(PageQuery),
    responses((status = 200, body = Page<PublisherKey>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<PublisherKey>>> {
    Ok(axum::Json(publisher_keys::list(&ctx, &who, &query).await?))
}

/// Add a key: what it signs is taken for its owner's.
#[utoipa::path(post, path = "/api/v1/publisher-keys", tag = "publisher-keys",
    request_body = AddPublisherKey, responses((status = 200, body = PublisherKey), Problems))]
pub(super) async fn add(
    State(ctx): State<Ctx>,
    who: Principal,
    Json(request): Json<AddPublisherKey>,
) -> Answer<axum::Json<PublisherKey>> {
    Ok(axum::Json(publisher_keys::add(&ctx, &who, request).await?))
}

/// Revoke a key: it signs nothing new. What it has signed stays published.
#[utoipa::path(delete, path = "/api/v1/publisher-keys/{id}", tag = "publisher-keys",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204), Problems))]
pub(super) async fn revoke(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<StatusCode> {
    publisher_keys::revoke(&ctx, &who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

//! `/users`: people.

use axum::extract::State;
use axum::http::StatusCode;

use openclaw_protocol::api::{CreateUser, CreatedUser, Page, User};

use super::error::Answer;
use super::extract::{Json, Named, Query};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::page::PageQuery;
use crate::service::users;

/// List users.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", params(PageQuery),
    responses((status = 200, body = Page<User>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<User>>> {
    Ok(axum::Json(users::list(&ctx, &who, &query).await?))
}

/// Make a user.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = CreateUser,
    responses((status = 201, body = CreatedUser), Problems))]
pub(super) async fn create(
    State(ctx): State<Ctx>,
    who: Principal,
    Json(request): Json<CreateUser>,
) -> Answer<(StatusCode, axum::Json<CreatedUser>)> {
    Ok((StatusCode::CREATED, axum::Json(users::create(&ctx, &who, request).await?)))
}

/// Disable a user and end their sessions.
#[utoipa::path(post, path = "/api/v1/users/{name}/disable", tag = "users",
    params(("name" = String, Path, description = "User name")),
    responses((status = 200, body = User), Problems))]
pub(super) async fn disable(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(name): Named<String>,
) -> Answer<axum::Json<User>> {
    Ok(axum::Json(users::disable(&ctx, &who, &name).await?))
}

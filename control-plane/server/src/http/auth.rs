//! `/auth`: log in, log out, who am I.

use axum::extract::State;
use axum::http::Extensions;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use openclaw_protocol::api::{LoginRequest, LoginResponse, User};

use super::door;
use super::error::Answer;
use super::extract::Json;
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::auth;

/// Log in with name and password.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = LoginRequest,
    responses((status = 200, body = LoginResponse), Problems), security(()))]
pub(super) async fn login(
    State(ctx): State<Ctx>,
    extensions: Extensions,
    Json(request): Json<LoginRequest>,
) -> Answer<Response> {
    let answer = auth::login(&ctx, request, door::peer(&extensions)).await?;
    let cookie = door::cookie(&ctx, Some(&answer.token));
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(answer)).into_response())
}

/// End this session.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth",
    responses((status = 204), Problems))]
pub(super) async fn logout(State(ctx): State<Ctx>, who: Principal) -> Answer<Response> {
    auth::logout(&ctx, &who).await?;
    let cookie = door::cookie(&ctx, None);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Who is asking.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth",
    responses((status = 200, body = User), Problems))]
pub(super) async fn me(State(ctx): State<Ctx>, who: Principal) -> Answer<axum::Json<User>> {
    Ok(axum::Json(auth::me(&ctx, &who).await?))
}

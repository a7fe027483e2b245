//! `/requests`: what became of a wish.

use axum::extract::State;

use openclaw_protocol::api::RequestView;

use super::error::Answer;
use super::extract::Named;
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::requests;

/// One wish, and what the device answered.
#[utoipa::path(get, path = "/api/v1/requests/{id}", tag = "requests",
    params(("id" = String, Path, description = "Request id")),
    responses((status = 200, body = RequestView), Problems))]
pub(super) async fn find(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<axum::Json<RequestView>> {
    Ok(axum::Json(requests::find(&ctx, &who, &id).await?))
}

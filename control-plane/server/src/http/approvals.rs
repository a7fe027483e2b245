//! `/approvals`: what waits for the answer of people, on all devices.

use axum::extract::State;

use openclaw_protocol::api::{Approval, Page};

use super::error::Answer;
use super::extract::Query;
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::approvals::{self, ApprovalQuery};

/// List open approvals, those that have waited longest first.
#[utoipa::path(get, path = "/api/v1/approvals", tag = "approvals", params(ApprovalQuery),
    responses((status = 200, body = Page<Approval>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<ApprovalQuery>,
) -> Answer<axum::Json<Page<Approval>>> {
    Ok(axum::Json(approvals::list(&ctx, &who, query).await?))
}

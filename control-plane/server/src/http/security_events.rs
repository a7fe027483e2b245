//! `/security-events`: what devices and the control plane noticed.

use axum::extract::State;

use openclaw_protocol::api::{Page, SecurityEvent};

use super::error::Answer;
use super::extract::Query;
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::security::{self, SecurityQuery};

/// List security events, latest first.
#[utoipa::path(get, path = "/api/v1/security-events", tag = "security-events",
    params(SecurityQuery), responses((status = 200, body = Page<SecurityEvent>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<SecurityQuery>,
) -> Answer<axum::Json<Page<SecurityEvent>>> {
    Ok(axum::Json(security::list(&ctx, &who, query).await?))
}

//! `/enroll`: a device exchanges its join code for a certificate.

use axum::extract::State;
use axum::http::Extensions;

use openclaw_protocol::api::{EnrollRequest, EnrollResponse};

use super::door;
use super::error::Answer;
use super::extract::Json;
use super::openapi::Problems;
use crate::context::Ctx;
use crate::fleet;

/// Enrol a device. The join code is the credential.
#[utoipa::path(post, path = "/api/v1/enroll", tag = "devices", request_body = EnrollRequest,
    responses((status = 200, body = EnrollResponse), Problems), security(()))]
pub(super) async fn enroll(
    State(ctx): State<Ctx>,
    extensions: Extensions,
    Json(request): Json<EnrollRequest>,
) -> Answer<axum::Json<EnrollResponse>> {
    let from = door::peer(&extensions);
    Ok(axum::Json(fleet::enroll(&ctx, request, from).await?))
}

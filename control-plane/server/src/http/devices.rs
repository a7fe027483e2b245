//! `/devices`: enrolled machines, and the codes that let new ones in.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use openclaw_protocol::api::{
    CreateJoinCode, Device, JoinCode, Page, RecordRuns, Requests, ResultEntry,
};

use super::error::Answer;
use super::extract::{Json, Named, Query, idempotency_key};
use super::openapi::Problems;
use crate::context::Ctx;
use crate::identity::Principal;
use crate::service::page::PageQuery;
use crate::service::{again, devices};

/// List devices.
#[utoipa::path(get, path = "/api/v1/devices", tag = "devices", params(PageQuery),
    responses((status = 200, body = Page<Device>), Problems))]
pub(super) async fn list(
    State(ctx): State<Ctx>,
    who: Principal,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<Device>>> {
    Ok(axum::Json(devices::list(&ctx, &who, &query).await?))
}

/// One device, with its result ledger.
#[utoipa::path(get, path = "/api/v1/devices/{id}", tag = "devices",
    params(("id" = String, Path, description = "Device id")),
    responses((status = 200, body = Device), Problems))]
pub(super) async fn find(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<axum::Json<Device>> {
    Ok(axum::Json(devices::find(&ctx, &who, &id).await?))
}

/// A device's results, row by row, by epoch and number: for auditors.
#[utoipa::path(get, path = "/api/v1/devices/{id}/results", tag = "devices",
    params(("id" = String, Path, description = "Device id"), PageQuery),
    responses((status = 200, body = Page<ResultEntry>), Problems))]
pub(super) async fn results(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
    Query(query): Query<PageQuery>,
) -> Answer<axum::Json<Page<ResultEntry>>> {
    Ok(axum::Json(devices::results(&ctx, &who, &id, &query).await?))
}

/// Make a join code: single use, short-lived, shown once.
#[utoipa::path(post, path = "/api/v1/devices/enroll-codes", tag = "devices",
    request_body = CreateJoinCode, responses((status = 201, body = JoinCode), Problems))]
pub(super) async fn create_join_code(
    State(ctx): State<Ctx>,
    who: Principal,
    Json(request): Json<CreateJoinCode>,
) -> Answer<(StatusCode, axum::Json<JoinCode>)> {
    Ok((StatusCode::CREATED, axum::Json(devices::create_join_code(&ctx, &who, request).await?)))
}

/// Replace a device's labels; deployments by label follow.
#[utoipa::path(put, path = "/api/v1/devices/{id}/labels", tag = "devices",
    params(("id" = String, Path, description = "Device id")),
    request_body = BTreeMap<String, String>,
    responses((status = 200, body = Device), Problems))]
pub(super) async fn set_labels(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
    Json(labels): Json<BTreeMap<String, String>>,
) -> Answer<axum::Json<Device>> {
    Ok(axum::Json(devices::set_labels(&ctx, &who, &id, labels).await?))
}

/// Wish that the next runs of a workflow are recorded with all that their plugins are told from
/// outside, so that these can be run again at the desk.
#[utoipa::path(post, path = "/api/v1/devices/{id}/recordings", tag = "devices",
    params(("id" = String, Path, description = "Device id"),
        ("Idempotency-Key" = Option<String>, Header, description = "The same key, the same wish")),
    request_body = RecordRuns, responses((status = 202, body = Requests), Problems))]
pub(super) async fn record(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
    headers: HeaderMap,
    Json(body): Json<RecordRuns>,
) -> Answer<(StatusCode, axum::Json<Requests>)> {
    let key = idempotency_key(&headers, &("record next", &id, &body))?;
    let answer = again::record_next(&ctx, &who, &id, body, key).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(answer)))
}

/// Shut a device out, at once and for good.
#[utoipa::path(post, path = "/api/v1/devices/{id}/revoke", tag = "devices",
    params(("id" = String, Path, description = "Device id")),
    responses((status = 200, body = Device), Problems))]
pub(super) async fn revoke(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<axum::Json<Device>> {
    Ok(axum::Json(devices::revoke(&ctx, &who, &id).await?))
}

/// Remove a device and all facts of it.
#[utoipa::path(delete, path = "/api/v1/devices/{id}", tag = "devices",
    params(("id" = String, Path, description = "Device id")),
    responses((status = 204), Problems))]
pub(super) async fn remove(
    State(ctx): State<Ctx>,
    who: Principal,
    Named(id): Named<String>,
) -> Answer<StatusCode> {
    devices::remove(&ctx, &who, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
